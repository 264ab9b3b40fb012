/*
 * zone: time zones: the offset from UTC of an instant in a named zone, from the machine's time zone database
 * (TZif files, RFC 8536, package tzdata).
 *
 * All zones are read once, by zones_load, before other threads start; afterwards everything is constant and may
 * be asked on any thread without a lock and without I/O. The folder is TZDIR of the environment, else
 * /usr/share/zoneinfo. "UTC" is known even without any file.
 */
#ifndef QUERN_BASE_ZONE_H
#define QUERN_BASE_ZONE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct zone;

/* Reads all zones; how many there are. What cannot be read is not there. */
int zones_load(void);
/* Files and folders that an error kept zones_load from reading (EIO, EMFILE, ...). */
int zones_unread(void);
void zones_free(void);
/* By its name ("Asia/Seoul"), without regard to case; NULL: there is none (or name is NULL). */
const struct zone *zone_find(const char *name);
/* As the database spells it. */
const char *zone_name(const struct zone *z);

/* The offset holds for all instants in [from, to), Unix seconds. */
struct zone_span {
    int64_t from, to;
    int32_t offset; /* seconds east of UTC */
};
/* z NULL: UTC. Any instant, also far outside the years that the database lists: its rule goes on. */
void zone_at(const struct zone *z, int64_t unix_s, struct zone_span *ret);

/* One TZif file from memory, for its tests. ERR_INVALID. Freed with zone_free_one. */
int zone_read(const char *name, const uint8_t *p, size_t n, struct zone **ret) MUST_USE;
void zone_free_one(struct zone *z);

#endif

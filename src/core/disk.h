/*
 * disk: is there room to accept queries, and the reserve that lets a full disk be recorded.
 *
 * DIR/reserve is a preallocated file (spool.reserve). When the registry meets a full disk it is given up, the
 * transaction is tried once more, and no new query is accepted until there is room for the reserve again.
 * Below spool.min_free, without free inodes or on a disk that became read-only nothing new is accepted
 * either. Threads: any. disk_tick is the janitor's, once a second; whoever meets a full disk calls it too.
 */
#ifndef QUERN_CORE_DISK_H
#define QUERN_CORE_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct disk;

/* After the spool was opened. Looks at the disk and makes the reserve; a full disk is a state, not a failure. */
int disk_open(const char *data_dir, struct disk **ret, struct err *e) MUST_USE;
void disk_close(struct disk *d);
/* Neither blocks. disk_ok: false fills e (ERR_UNAVAILABLE; names reason and key). */
bool disk_low(const struct disk *d);
bool disk_ok(struct disk *d, struct err *e);
/* The registry met a full disk: gives up the reserve. False when there was none. */
bool disk_give_up(struct disk *d);
/* Looks again; makes the reserve when there is room. True when the answer of disk_low changed. */
bool disk_tick(struct disk *d);
uint64_t disk_free(const struct disk *d); /* bytes, as the last look saw it */

#endif

/*
 * slots: the memfds that batches travel in, as the child sees them: mapped once, not for every batch.
 *
 * The daemon hands the same few memfds over again and again, each time as a new descriptor; their identity tells which
 * it is. Job thread.
 */
#ifndef QUERN_ENGINES_SLOTS_H
#define QUERN_ENGINES_SLOTS_H

#include "engines/wire.h"

#include <sys/types.h>

struct slot_view {
    dev_t dev;
    ino_t ino;
    uint8_t *p; /* NULL none */
    size_t len;
    size_t ready; /* bytes from the start whose pages this job has made */
};

struct slot_views {
    struct slot_view all[WIRE_SLOTS];
};

/* A job begins: the daemon took the pages of the last one. */
void slots_begin(struct slot_views *v);
/* The memory of `fd`, which the caller goes on owning, with at least `need` bytes that can be written; *ret is valid until the
 * slot's next call. ERR_LIMIT when it is not that large, or memory is short. */
int slots_map(struct slot_views *v, uint32_t slot, int fd, uint64_t need, uint8_t **ret) MUST_USE;

#endif

/*
 * retention: may age delete now? What a wrong wall clock calls old is not deleted: after a start, and after the
 * wall clock moved otherwise than the monotonic one by more than RETENTION_JUMP_MS between two looks, nothing is
 * deleted by age for a while, measured by the monotonic clock. The rule alone: the janitor asks once a second,
 * the simulator in tests/unit/core/ at random. Nothing here is locked.
 */
#ifndef QUERN_CORE_RETENTION_H
#define QUERN_CORE_RETENTION_H

#include <stdbool.h>
#include <stdint.h>

#define RETENTION_JUMP_MS 60000

struct retention_clock {                                /* all zero: a start */
    int64_t last_wall_ms, last_mono_ms, quiet_until_ms; /* the last two monotonic, never 0 after a look */
};

/* mono_ms > 0. *ret_jumped: the wall clock jumped since the last look. */
bool retention_may_delete(struct retention_clock *c, int64_t wall_ms, int64_t mono_ms, int64_t quiet_ms,
                          bool *ret_jumped);

#endif

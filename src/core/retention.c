/*
 * retention: see retention.h.
 */
#include "core/retention.h"

bool retention_may_delete(struct retention_clock *c, int64_t wall_ms, int64_t mono_ms, int64_t quiet_ms,
                          bool *ret_jumped)
{
    int64_t drift = c->last_mono_ms ? wall_ms - c->last_wall_ms - (mono_ms - c->last_mono_ms) : 0;
    bool jumped = drift > RETENTION_JUMP_MS || drift < -RETENTION_JUMP_MS;
    if ((jumped || !c->last_mono_ms) && mono_ms + quiet_ms > c->quiet_until_ms)
        c->quiet_until_ms = mono_ms + quiet_ms;
    c->last_wall_ms = wall_ms;
    c->last_mono_ms = mono_ms;
    *ret_jumped = jumped;
    return mono_ms >= c->quiet_until_ms;
}

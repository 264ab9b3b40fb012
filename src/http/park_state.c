/*
 * park_state: who wakes a parked request: the state machine. park.c is the owner's side of it, watch.c the clock's and
 * the socket's.
 *
 *              park_register            park_commit
 *     (new) ----------------> PARKING ----------------> PARKED
 *                                |                         |
 *               park_fire (CAS)  |        park_fire (CAS)  |  + resume()
 *                                v                         v
 *                              WOKEN <---------------------+
 *                                |  park_end
 *                                v
 *                              (freed with the last reference)
 *
 * Four may fire, each at any moment and from any thread: the query's waiter (WAKE), the watch thread's heap
 * (DEADLINE), its epoll (GONE), and server_stop (STOP). One compare-and-swap decides; losers do nothing.
 * Whoever moves PARKED -> WOKEN, and only he, calls resume(), so a suspended connection is resumed exactly
 * once. Whoever moves PARKING -> WOKEN does not: the owner is still running and learns it from park_commit.
 *
 * A park that lasts is settled by the watch (memory given back): PARKED -> PARKING, settle(), PARKED again,
 * exactly as if the owner had parked it a second time; who fires meanwhile leaves resume() to the watch.
 *
 * Lifetime: the request must not be freed under a loser that is late. Losers touch only this block, and it is
 * counted: one reference for the owner, one for the waiter while the query may call wake(), one for each pass
 * of the watch thread that holds it outside its lock. The connection is touched only inside resume(), that is
 * before the owner can go on. park_end first leaves the watch (its lock orders that against its pass), then
 * the query. When query_unwait says that wake() was or is being called, wake() gives the waiter's reference
 * up itself.
 *
 * Lock order: nothing is held while resume() or query_wait() is called.
 */
#include <stdlib.h>

#include "http/park.h"

struct park *park_ref(struct park *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void park_unref(struct park *p)
{
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
        free(p);
}

void park_fire(struct park *p, enum park_reason why)
{
    uint32_t woken = PARK_WOKEN | (uint32_t)why << 16;
    uint32_t seen = atomic_load(&p->state);
    while ((seen & 0xffff) != PARK_WOKEN)
        if (atomic_compare_exchange_weak(&p->state, &seen, woken)) {
            if (seen == PARK_PARKED)
                p->resume(p->arg);
            return;
        }
}

bool park_commit(struct park *p)
{
    uint32_t seen = PARK_PARKING;
    return atomic_compare_exchange_strong(&p->state, &seen, PARK_PARKED);
}

void park_settle(struct park *p)
{
    uint32_t seen = PARK_PARKED;
    if (!p->settle || !atomic_compare_exchange_strong(&p->state, &seen, PARK_PARKING))
        return;
    p->settle(p->arg);
    if (!park_commit(p))
        p->resume(p->arg);
}

/*
 * park: one parked request: who may wake it, and that exactly one does. The state machine is in park_state.c.
 * docs/http.md, "Parking".
 */
#ifndef QUERN_HTTP_PARK_H
#define QUERN_HTTP_PARK_H

#include <stdatomic.h>

#include "core/query.h"

enum park_state { PARK_PARKING, PARK_PARKED, PARK_WOKEN };
enum park_reason { PARK_NONE, PARK_WAKE, PARK_DEADLINE, PARK_GONE, PARK_STOP };

struct watch;
struct park {
    _Atomic uint32_t state; /* enum park_state; a woken park's reason is in the upper half */
    _Atomic uint32_t refs;
    struct query_waiter waiter;
    struct query *query; /* the request's reference */
    bool registered;     /* owner's: the waiter was accepted */
    int fd;              /* of the connection, -1 in tests; the watch thread polls it for the client's end */
    int64_t deadline_ns; /* monotonic, 0 none */
    void (*resume)(void *arg); /* called once, by the winner, only if the park was committed */
    void *arg;
    /* Called once by the watch when it has been parked for a while, with the argument of resume(); nobody
     * else owns the request meanwhile. NULL: nothing. */
    void (*settle)(void *arg);
    struct watch *watch;
    /* watch's, guarded by its lock */
    uint32_t heap, slot;                   /* position + 1, 0 = not in */
    struct park *young_next, **young_prev; /* young_prev NULL: not in */
    int64_t added_ns;
};

/* One reference, the owner's. NULL when out of memory. */
struct park *park_new(struct watch *w, int fd, struct query *q, uint32_t until, uint64_t version,
                      int64_t deadline_ns, void (*resume)(void *), void *arg);
/* Owner: registers with the query and the watch. False: it would wake at once; call park_end. */
bool park_register(struct park *p);
/* Owner, after resume() or an uncommitted park: takes everything back, gives up the reference, says who woke
 * it (PARK_NONE: nobody). */
enum park_reason park_end(struct park *p);

/* ---- park_state.c ---- */
/* Owner, once the connection is suspended: true = parked, p and the request belong to whoever wakes them, do
 * not touch either any more. False: somebody has woken it already, nobody will call resume(). */
bool park_commit(struct park *p);
/* Watch, with a reference: calls settle() if it is parked, and then resume() if somebody has woken it
 * meanwhile. */
void park_settle(struct park *p);
/* Any thread, with a reference: wakes it if nobody has. */
void park_fire(struct park *p, enum park_reason why);
struct park *park_ref(struct park *p);
void park_unref(struct park *p);

#endif

/*
 * park: a parked request as its owner sees it: made, registered with its query and the watch, taken back. Who wakes it
 * in between, and why that is safe, stands in park_state.c.
 */
#include "http/park.h"

#include <stdlib.h>

#include "http/watch.h"

static void wake(struct query_waiter *w)
{
    struct park *p = (struct park *)((char *)w - offsetof(struct park, waiter));
    park_fire(p, PARK_WAKE);
    park_unref(p);
}

struct park *park_new(struct watch *w, int fd, struct query *q, uint32_t until, uint64_t version,
                      int64_t deadline_ns, void (*resume)(void *), void *arg)
{
    struct park *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    atomic_init(&p->state, PARK_PARKING);
    atomic_init(&p->refs, 1);
    p->waiter.wake = wake;
    p->waiter.until = until;
    p->waiter.version = version;
    p->waiter.for_ever = deadline_ns == 0;
    p->query = q;
    p->fd = fd;
    p->deadline_ns = deadline_ns;
    p->resume = resume;
    p->arg = arg;
    p->watch = w;
    return p;
}

bool park_register(struct park *p)
{
    if (p->query) {
        park_ref(p); /* the waiter's, before wake() may run */
        p->registered = true;
        if (!query_wait(p->query, &p->waiter)) {
            p->registered = false;
            park_unref(p);
            return false;
        }
    }
    watch_add(p->watch, p);
    return true;
}

enum park_reason park_end(struct park *p)
{
    watch_remove(p->watch, p);
    if (p->registered && query_unwait(p->query, &p->waiter))
        park_unref(p); /* the waiter's: wake() will not come */
    uint32_t state = atomic_load(&p->state);
    enum park_reason why = (state & 0xffff) == PARK_WOKEN ? (enum park_reason)(state >> 16) : PARK_NONE;
    park_unref(p);
    return why;
}

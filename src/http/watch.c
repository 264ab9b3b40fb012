/*
 * watch: see watch.h. Runs on its own thread; the other functions are called from any.
 *
 * A park begins in the list of the young; the first sweep that finds it older than YOUNG_NS gives it a slot,
 * so that its client's end is noticed, and settles it. So a short park costs no system call, and a client
 * that leaves is noticed 0.3 s late at most.
 *
 * Invariants: a park is in the heap iff p->heap, in the slot table iff p->slot, in the young list iff
 * p->young_prev, all guarded by `lock`. An epoll event names slot and generation, so a late event for a park
 * that has left finds nobody. Parks are fired outside the lock with a reference of their own. A connection's
 * descriptor is shut down only under the lock and only while the connection is listed, and it is unlisted
 * before it is closed: no other socket can be hit. The heap and the slot table grow with the number of parked
 * requests, which http.max_connections bounds.
 */
#include "http/watch.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys_wait.h"

#define SWEEP_NS     250000000ll
#define LINGER_NS    2000000000ll
#define LINGER_BYTES (64u << 20)
#define LINGER_MAX   256
#define FIRE_MAX     64
#define YOUNG_NS                                                                                             \
    50000000ll /* most parks are over by then: before it nothing is spent on their sockets and memory */

struct slot {
    struct park *park;
    uint32_t generation, next_free;
};
struct lingering {
    int fd;
    int64_t until_ns;
    uint64_t bytes;
};

struct watch {
    pthread_mutex_t lock;
    struct park **heap;
    uint32_t nheap, heap_cap;
    struct slot *slots;
    uint32_t nslots, free_slot;       /* index + 1 */
    struct park *young, **young_tail; /* the oldest first */
    struct watch_conn *conns;
    struct lingering lingering[LINGER_MAX];
    uint32_t nlingering;
    int64_t sleeping_until; /* 0: awake */
    bool stop;
    int epoll, event;
    pthread_t thread;
};

/* ---- heap, lock held ---- */

static void put(struct watch *w, uint32_t i, struct park *p)
{
    w->heap[i] = p;
    p->heap = i + 1;
}

static void sift(struct watch *w, uint32_t i)
{
    struct park *p = w->heap[i];
    while (i && w->heap[(i - 1) / 2]->deadline_ns > p->deadline_ns) {
        put(w, i, w->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        uint32_t c = 2 * i + 1;
        if (c + 1 < w->nheap && w->heap[c + 1]->deadline_ns < w->heap[c]->deadline_ns)
            c++;
        if (c >= w->nheap || w->heap[c]->deadline_ns >= p->deadline_ns)
            break;
        put(w, i, w->heap[c]);
        i = c;
    }
    put(w, i, p);
}

static void heap_remove(struct watch *w, struct park *p)
{
    uint32_t i = p->heap - 1;
    p->heap = 0;
    struct park *last = w->heap[--w->nheap];
    if (last != p) {
        put(w, i, last);
        sift(w, i);
    }
}

static bool heap_add(struct watch *w, struct park *p)
{
    if (w->nheap == w->heap_cap) {
        uint32_t cap = w->heap_cap ? w->heap_cap * 2 : 256;
        struct park **heap = realloc(w->heap, cap * sizeof(struct park *));
        if (!heap)
            return false;
        w->heap = heap;
        w->heap_cap = cap;
    }
    put(w, w->nheap++, p);
    sift(w, w->nheap - 1);
    return true;
}

/* ---- slots, lock held ---- */

static bool slot_add(struct watch *w, struct park *p)
{
    if (!w->free_slot) {
        uint32_t n = w->nslots ? w->nslots * 2 : 256;
        struct slot *slots = realloc(w->slots, n * sizeof *slots);
        if (!slots)
            return false;
        w->slots = slots;
        for (uint32_t i = n; i-- > w->nslots;) {
            slots[i] = (struct slot){NULL, 0, w->free_slot};
            w->free_slot = i + 1;
        }
        w->nslots = n;
    }
    p->slot = w->free_slot;
    struct slot *s = &w->slots[p->slot - 1];
    w->free_slot = s->next_free;
    s->park = p;
    s->generation++;
    return true;
}

static void slot_remove(struct watch *w, struct park *p)
{
    struct slot *s = &w->slots[p->slot - 1];
    s->park = NULL;
    s->next_free = w->free_slot;
    w->free_slot = p->slot;
    p->slot = 0;
}

/* ---- the young, lock held ---- */

static void young_add(struct watch *w, struct park *p)
{
    p->added_ns = sys_mono_ns();
    p->young_next = NULL;
    p->young_prev = w->young_tail;
    *w->young_tail = p;
    w->young_tail = &p->young_next;
}

static void young_remove(struct watch *w, struct park *p)
{
    if (!p->young_prev)
        return;
    *p->young_prev = p->young_next;
    if (p->young_next)
        p->young_next->young_prev = p->young_prev;
    else
        w->young_tail = p->young_prev;
    p->young_prev = NULL;
}

/* Lock held; given up in between. */
static void grow_up(struct watch *w, int64_t now)
{
    struct park *batch[FIRE_MAX];
    bool refused[FIRE_MAX];
    uint32_t n;
    do {
        n = 0;
        while (w->young && n < FIRE_MAX && now - w->young->added_ns >= YOUNG_NS) {
            struct park *p = w->young;
            young_remove(w, p);
            refused[n] = !slot_add(w, p); /* out of memory: it may not wait */
            if (!refused[n]) {
                struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLONESHOT};
                ev.data.u64 = (uint64_t)p->slot << 32 | w->slots[p->slot - 1].generation;
                (void)epoll_ctl(w->epoll, EPOLL_CTL_ADD, p->fd,
                                &ev); /* if not, its client's end goes unnoticed */
            }
            batch[n++] = park_ref(p);
        }
        if (n) {
            pthread_mutex_unlock(&w->lock);
            for (uint32_t i = 0; i < n; i++) {
                if (refused[i])
                    park_fire(batch[i], PARK_DEADLINE);
                else
                    park_settle(batch[i]);
                park_unref(batch[i]);
            }
            pthread_mutex_lock(&w->lock);
        }
    } while (n == FIRE_MAX);
}

static void nudge(struct watch *w)
{
    sys_event_set(w->event);
}

void watch_add(struct watch *w, struct park *p)
{
    bool wake = false, refused = false;
    pthread_mutex_lock(&w->lock);
    if (p->deadline_ns) {
        refused = !heap_add(w, p);
        wake = !refused && w->sleeping_until && p->deadline_ns < w->sleeping_until;
    }
    if (!refused && p->fd >= 0)
        young_add(w, p);
    pthread_mutex_unlock(&w->lock);
    if (refused)
        park_fire(p, PARK_DEADLINE); /* out of memory: it may not wait */
    if (wake)
        nudge(w);
}

void watch_remove(struct watch *w, struct park *p)
{
    pthread_mutex_lock(&w->lock);
    if (p->heap)
        heap_remove(w, p);
    young_remove(w, p);
    if (p->slot) {
        slot_remove(w, p);
        epoll_ctl(w->epoll, EPOLL_CTL_DEL, p->fd, NULL);
    }
    pthread_mutex_unlock(&w->lock);
}

void watch_fire_all(struct watch *w, enum park_reason why)
{
    /* All parks with a descriptor are young or have a slot, all others have a deadline: fire all three, in
     * portions. */
    for (bool more = true; more;) {
        struct park *batch[FIRE_MAX];
        uint32_t n = 0;
        pthread_mutex_lock(&w->lock);
        while (w->young && n < FIRE_MAX) {
            batch[n++] = park_ref(w->young);
            young_remove(w, w->young); /* fired, it needs no slot any more */
        }
        more = w->young != NULL;
        pthread_mutex_unlock(&w->lock);
        for (uint32_t k = 0; k < n; k++) {
            park_fire(batch[k], why);
            park_unref(batch[k]);
        }
    }
    for (uint32_t table = 0; table < 2; table++)
        for (uint32_t i = 0;;) {
            struct park *batch[FIRE_MAX];
            uint32_t n = 0;
            pthread_mutex_lock(&w->lock);
            uint32_t end = table ? w->nheap : w->nslots;
            for (; i < end && n < FIRE_MAX; i++) {
                struct park *p = table ? w->heap[i] : w->slots[i].park;
                if (p)
                    batch[n++] = park_ref(p);
            }
            bool more = i < end;
            pthread_mutex_unlock(&w->lock);
            for (uint32_t k = 0; k < n; k++) {
                park_fire(batch[k], why);
                park_unref(batch[k]);
            }
            if (!more)
                break;
        }
}

/* ---- connections ---- */

void watch_timing(struct watch_conn *c, int64_t deadline_ns, int64_t stall_ns, int64_t age_ns)
{
    atomic_store_explicit(&c->stall_ns, stall_ns, memory_order_relaxed);
    atomic_store_explicit(&c->age_ns, age_ns, memory_order_relaxed);
    atomic_store_explicit(&c->deadline_ns, deadline_ns, memory_order_relaxed);
}

void watch_conn_add(struct watch *w, struct watch_conn *c)
{
    pthread_mutex_lock(&w->lock);
    c->next = w->conns;
    c->prev = &w->conns;
    if (c->next)
        c->next->prev = &c->next;
    w->conns = c;
    pthread_mutex_unlock(&w->lock);
}

void watch_conn_remove(struct watch *w, struct watch_conn *c)
{
    pthread_mutex_lock(&w->lock);
    *c->prev = c->next;
    if (c->next)
        c->next->prev = c->prev;
    pthread_mutex_unlock(&w->lock);
}

static uint64_t acknowledged(int fd)
{
    struct tcp_info info;
    socklen_t n = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0 ||
        n < offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof info.tcpi_bytes_acked)
        return 0;
    return info.tcpi_bytes_acked;
}

/* Lock held: the owner cannot close meanwhile. */
static void sweep(struct watch *w, int64_t now)
{
    for (struct watch_conn *c = w->conns; c; c = c->next) {
        int64_t age = atomic_load_explicit(&c->age_ns, memory_order_relaxed);
        int64_t until = atomic_load_explicit(&c->deadline_ns, memory_order_relaxed);
        if (age && now >= age) {
            shutdown(c->fd, SHUT_RDWR);
            continue;
        }
        if (!until || now < until)
            continue;
        int64_t stall = atomic_load_explicit(&c->stall_ns, memory_order_relaxed);
        if (stall) {
            uint64_t acked = acknowledged(c->fd);
            if (acked != c->acked) {
                c->acked = acked;
                atomic_compare_exchange_strong(&c->deadline_ns, &until, now + stall);
                continue;
            }
        }
        shutdown(c->fd, SHUT_RDWR);
    }
}

/* ---- lingering close ---- */

void watch_linger(struct watch *w, int fd)
{
    shutdown(fd, SHUT_WR);
    pthread_mutex_lock(&w->lock);
    if (w->nlingering < LINGER_MAX && !w->stop) {
        w->lingering[w->nlingering++] = (struct lingering){fd, sys_mono_ns() + LINGER_NS, 0};
        fd = -1;
    }
    bool wake = w->nlingering == 1;
    pthread_mutex_unlock(&w->lock);
    if (fd >= 0)
        close(fd);
    else if (wake)
        nudge(w);
}

/* Lock held. Only this thread removes. */
static void drain(struct watch *w, int64_t now)
{
    char sink[65536];
    for (uint32_t i = 0; i < w->nlingering;) {
        struct lingering *l = &w->lingering[i];
        ssize_t n = 0;
        for (int k = 0; k < 16 && (n = sys_recv(l->fd, sink, sizeof sink, MSG_DONTWAIT)) > 0; k++)
            l->bytes += (uint64_t)n;
        bool over = n == 0 || (n < 0 && errno != EAGAIN);
        if (over || now >= l->until_ns || l->bytes > LINGER_BYTES) {
            close(l->fd);
            *l = w->lingering[--w->nlingering];
        } else {
            i++;
        }
    }
}

/* ---- the thread ---- */

static void *run(void *arg)
{
    struct watch *w = arg;
    int64_t next_sweep = sys_mono_ns() + SWEEP_NS;
    struct epoll_event events[FIRE_MAX];
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        int64_t now = sys_mono_ns(), until = next_sweep;
        if (w->nheap && w->heap[0]->deadline_ns < until)
            until = w->heap[0]->deadline_ns;
        if (w->nlingering && now + 5000000 < until)
            until = now + 5000000;
        int timeout = until <= now ? 0 : (int)((until - now + 999999) / 1000000);
        w->sleeping_until = until;
        pthread_mutex_unlock(&w->lock);
        int n = sys_epoll_wait(w->epoll, events, FIRE_MAX, timeout);
        struct park *fire[2 * FIRE_MAX];
        enum park_reason why[2 * FIRE_MAX];
        uint32_t nfire = 0;
        pthread_mutex_lock(&w->lock);
        w->sleeping_until = 0;
        for (int i = 0; i < n; i++) {
            uint32_t slot = (uint32_t)(events[i].data.u64 >> 32), generation = (uint32_t)events[i].data.u64;
            if (!slot) {
                sys_event_clear(w->event);
                continue;
            }
            struct slot *s = &w->slots[slot - 1];
            if (s->park && s->generation == generation) {
                why[nfire] = PARK_GONE;
                fire[nfire++] = park_ref(s->park);
            }
        }
        now = sys_mono_ns();
        while (w->nheap && w->heap[0]->deadline_ns <= now && nfire < 2 * FIRE_MAX) {
            struct park *p = w->heap[0];
            heap_remove(w, p);
            why[nfire] = PARK_DEADLINE;
            fire[nfire++] = park_ref(p);
        }
        if (now >= next_sweep) {
            sweep(w, now);
            grow_up(w, now);
            next_sweep = now + SWEEP_NS;
        }
        drain(w, now);
        if (nfire) {
            pthread_mutex_unlock(&w->lock);
            for (uint32_t i = 0; i < nfire; i++) {
                park_fire(fire[i], why[i]);
                park_unref(fire[i]);
            }
            pthread_mutex_lock(&w->lock);
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void destroy(struct watch *w)
{
    for (uint32_t i = 0; i < w->nlingering; i++)
        close(w->lingering[i].fd);
    if (w->epoll >= 0)
        close(w->epoll);
    if (w->event >= 0)
        close(w->event);
    pthread_mutex_destroy(&w->lock);
    free(w->heap);
    free(w->slots);
    free(w);
}

int watch_start(struct watch **ret, struct err *e)
{
    struct watch *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(e, ERR_NOMEM, NULL, "out of memory");
    pthread_mutex_init(&w->lock, NULL);
    w->young_tail = &w->young;
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN};
    ev.data.u64 = 0;
    int rc = w->epoll < 0 || w->event < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->event, &ev) ? errno : 0;
    if (!rc) {
        sigset_t all, old;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        rc = pthread_create(&w->thread, NULL, run, w);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    if (rc) {
        destroy(w);
        return err_errno(e, rc, "starting the watch thread");
    }
    *ret = w;
    return 0;
}

void watch_stop(struct watch *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_mutex_unlock(&w->lock);
    nudge(w);
    pthread_join(w->thread, NULL);
    destroy(w);
}

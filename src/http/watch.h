/*
 * watch: one thread that keeps every deadline of the HTTP room and notices clients that leave while parked.
 *
 *   parked requests    a heap of exact deadlines, and an epoll set of their sockets (EPOLLRDHUP)
 *   connections        a sweep each 250 ms over one atomic deadline per connection; I/O threads only store into it
 *   lingering sockets  answered early with unread input: drained for a moment, so that the answer is not lost by a reset
 */
#ifndef QUERN_HTTP_WATCH_H
#define QUERN_HTTP_WATCH_H

#include "http/park.h"

/* Of one connection; lives from accept to close. The thread that owns the connection stores, the sweep reads. */
struct watch_conn {
    _Atomic int64_t deadline_ns; /* 0 none; when it has passed the socket is shut down */
    _Atomic int64_t age_ns;      /* 0 none; a second, final one */
    _Atomic int64_t
        stall_ns; /* not 0: deadline_ns is a stall: it moves on by this much as long as the peer acknowledges bytes */
    uint64_t acked; /* sweep's */
    int fd;
    struct watch_conn *next, **prev; /* guarded by the watch's lock */
};

struct watch;

int watch_start(struct watch **ret, struct err *e) MUST_USE;
/* Joins; nothing may be parked any more. NULL allowed. */
void watch_stop(struct watch *w);

void watch_add(struct watch *w, struct park *p); /* any thread */
void watch_remove(
    struct watch *w,
    struct park *p); /* any thread; afterwards the watch will not fire it (it may be firing it now) */
void watch_fire_all(struct watch *w, enum park_reason why);

/* When the connection is to be closed: at the deadline, or after no progress for `stall`, or at `age`; 0 none. Its
 * I/O thread. */
void watch_timing(struct watch_conn *c, int64_t deadline_ns, int64_t stall_ns, int64_t age_ns);
void watch_conn_add(struct watch *w, struct watch_conn *c);
void watch_conn_remove(struct watch *w, struct watch_conn *c); /* before the socket is closed */
/* Takes over a descriptor: sends FIN, throws away input until the peer's end, 2 s or 64 MiB, then closes. */
void watch_linger(struct watch *w, int fd);

#endif

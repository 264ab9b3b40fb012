/*
 * claims: who may hold a workspace's catalog next. The whole rule, without threads, clocks or queries:
 * catalog.c drives it under its lock, the simulator in tests/unit/core/ drives it step by step.
 *
 * Readers share, a writer is alone. All stand in one line, in the order in which they were announced: first
 * come, first served. A claim may stand there before it is known what it wants (open); it holds back all that
 * come behind it, so that two statements that leave the queue at the same instant keep their order whichever
 * thread is quicker. A writer that waits holds readers back too, but only until it has waited for `hold`;
 * from then on readers pass it and it takes the first instant without any.
 *
 * Invariants: readers or one writer, never both; who holds does not stand in the line. All zero is a lock
 * that nobody holds. Nothing here is locked.
 */
#ifndef QUERN_CORE_CLAIMS_H
#define QUERN_CORE_CLAIMS_H

#include <stdbool.h>
#include <stdint.h>

enum claim_place {
    CLAIM_AWAY, /* neither in the line nor granted: all zero */
    CLAIM_OPEN, /* in the line; it is not known yet whether it reads, writes or leaves */
    CLAIM_WAITING,
    CLAIM_HOLDING
};

struct claim {
    enum claim_place place;
    bool write;
    int64_t since_ns; /* when it was known what it wants */
    struct claim *next;
};

struct claim_list {
    struct claim *first, *last;
};

struct claims {
    int readers;
    bool writer;
    struct claim_list line;
};

/* Stands at the end of the line, open. */
void claims_announce(struct claims *l, struct claim *c);
/* What it wants; one that was not announced comes to the end of the line. Then call claims_grant. */
void claims_want(struct claims *l, struct claim *c, bool write, int64_t now_ns);
/* Leaves the line. False: it did not stand there. Those behind it may be granted then. */
bool claims_leave(struct claims *l, struct claim *c);
void claims_release(struct claims *l, struct claim *c);
/* Grants all that may be granted now, in order, and returns them. */
struct claim_list claims_grant(struct claims *l, int64_t now_ns, int64_t hold_ns);
/* Takes out and returns those who have waited for `wait`. */
struct claim_list claims_expire(struct claims *l, int64_t now_ns, int64_t wait_ns);
/* The next instant after now at which one of the two has something to do; INT64_MAX none. */
int64_t claims_due(const struct claims *l, int64_t now_ns, int64_t wait_ns, int64_t hold_ns);

#endif

/* janitor_int: what janitor_ask.c (what the others ask for) and janitor.c (the thread) share. Not for other files. */
#ifndef QUERN_CORE_JANITOR_INT_H
#define QUERN_CORE_JANITOR_INT_H

#include "core/retention.h"
#include "core/service_int.h"

#define JANITOR_BATCH 250

struct removal {
    struct query *q;
    struct removal *next;
    void (*fn)(struct query *q, int tries);
    int tries;
};

struct janitor {
    struct service *service;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct removal *removals, *again;
    bool stop, running;
    struct retention_clock clock; /* janitor thread */
    uint32_t ticks, erase_errors; /* likewise */
};

/* janitor_forget.c: at most JANITOR_BATCH queries; false when something could not be recorded. */
bool janitor__expire(struct service *s, const struct qid *ids, size_t n, int64_t now);
bool janitor__forget(struct service *s, const struct qid *ids, size_t n, int64_t now);
/* janitor_erase.c: a part of what removed workspaces have left, if asked. */
void janitor__erase(struct janitor *j, int64_t now);

#endif

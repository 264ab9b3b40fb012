/* delivery_int: what delivery.c (its threads), delivery_queue.c (what waits for them) and delivery_plan.c (which files) share.
 * Not for other files. */
#ifndef QUERN_CORE_DELIVERY_INT_H
#define QUERN_CORE_DELIVERY_INT_H

#include "core/service_int.h"

#define DELIVERY_THREADS_MAX 64 /* of delivery.threads */

struct delivery_node {
    struct turn_item turn; /* first: an item is its node */
    struct query *q;
};

struct delivery {
    struct service *service;
    pthread_t threads[DELIVERY_THREADS_MAX];
    int nthreads;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct turns *turns; /* (lock) of delivery_node */
    int backlog;         /* (lock) */
    atomic_bool stop;
};

/* ---- delivery_plan.c ---- */
/* Which files the dialect wants of q; no key: none. */
int delivery__plan(struct service *s, struct query *q, struct arena *a, struct delivery_plan *ret,
                   struct err *e) MUST_USE;
/* Canceled before it was delivered anew: what the process that died made of its files, whole or not, goes. */
void delivery__unmake(struct service *s, struct query *q);

#endif

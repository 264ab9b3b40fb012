/*
 * delivery_queue: the queries that wait for a delivery thread. Any thread.
 */
#include <stdlib.h>

#include "core/delivery_int.h"

void delivery_push(struct delivery *d, struct query *q)
{
    struct delivery_node *n = malloc(sizeof *n);
    ASSERT(n);
    *n = (struct delivery_node){.q = query_ref(q)};
    pthread_mutex_lock(&d->lock);
    bool ok = turns_push(d->turns, q->rec.workspace, &n->turn);
    ASSERT(ok);
    d->backlog++;
    pthread_cond_signal(&d->cond);
    pthread_mutex_unlock(&d->lock);
}

int delivery_backlog(struct delivery *d)
{
    pthread_mutex_lock(&d->lock);
    int n = d->backlog;
    pthread_mutex_unlock(&d->lock);
    return n;
}

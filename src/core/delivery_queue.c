/*
 * delivery_queue: the queries that wait for a delivery thread. One that will come when its phase is recorded counts
 * already: until then neither a slot nor a delivery has it, and a drain would not wait for it. Any thread.
 */
#include <stdlib.h>

#include "core/delivery_int.h"

void delivery_announce(struct delivery *d)
{
    pthread_mutex_lock(&d->lock);
    d->backlog++;
    pthread_mutex_unlock(&d->lock);
}

void delivery_call_off(struct delivery *d)
{
    pthread_mutex_lock(&d->lock);
    d->backlog--;
    pthread_mutex_unlock(&d->lock);
}

void delivery_push(struct delivery *d, struct query *q)
{
    delivery_announce(d);
    delivery_push_announced(d, q);
}

void delivery_push_announced(struct delivery *d, struct query *q)
{
    struct delivery_node *n = malloc(sizeof *n);
    ASSERT(n);
    *n = (struct delivery_node){.q = query_ref(q)};
    pthread_mutex_lock(&d->lock);
    bool ok = turns_push(d->turns, q->rec.workspace, &n->turn);
    ASSERT(ok);
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

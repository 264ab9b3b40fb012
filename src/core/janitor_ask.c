/*
 * janitor_ask: what the janitor is asked to do soon: remove files, write a record again. Any thread.
 */
#include <stdlib.h>

#include "core/janitor_int.h"

void janitor_remove(struct janitor *j, struct query *q)
{
    struct removal *r = malloc(sizeof *r);
    if (!r)
        return; /* the search for orphans finds the file */
    pthread_mutex_lock(&j->lock);
    *r = (struct removal){.q = query_ref(q), .next = j->removals};
    j->removals = r;
    pthread_cond_signal(&j->cond);
    pthread_mutex_unlock(&j->lock);
}

void janitor_again(struct janitor *j, struct query *q, void (*fn)(struct query *q, int tries), int tries)
{
    struct removal *r = malloc(sizeof *r);
    ASSERT(r);
    pthread_mutex_lock(&j->lock);
    *r = (struct removal){query_ref(q), j->again, fn, tries};
    j->again = r;
    pthread_mutex_unlock(&j->lock);
}

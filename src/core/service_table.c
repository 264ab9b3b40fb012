/*
 * service_table: the queries in memory: every one that has not ended and the last RECENT_KEPT that have. Any thread; under
 * table_lock.
 */
#include "core/observe.h"
#include "core/service_int.h"

static struct query **table_slot(struct service *s, const struct qid *id)
{
    return &s->table[id_hash(id) & (TABLE_BUCKETS - 1)];
}

struct query *service__lookup(struct service *s, const struct qid *id)
{
    pthread_mutex_lock(&s->table_lock);
    struct query *q = *table_slot(s, id);
    while (q && !id_equal(&q->rec.id, id))
        q = q->table_next;
    if (q)
        query_ref(q);
    pthread_mutex_unlock(&s->table_lock);
    return q;
}

void service__table_add(struct service *s, struct query *q)
{
    pthread_mutex_lock(&s->table_lock);
    struct query **slot = table_slot(s, &q->rec.id);
    q->table_next = *slot;
    *slot = query_ref(q);
    q->in_table = true;
    pthread_mutex_unlock(&s->table_lock);
    observe_alive(&q->rec);
}

static bool remove_locked(struct service *s, struct query *q)
{
    if (!q->in_table)
        return false;
    struct query **p = table_slot(s, &q->rec.id);
    while (*p != q)
        p = &(*p)->table_next;
    *p = q->table_next;
    q->table_next = NULL;
    q->in_table = false;
    return true;
}

void service__table_retire(struct service *s, struct query *q)
{
    pthread_mutex_lock(&s->table_lock);
    struct query **slot = &s->recent[s->recent_next++ % RECENT_KEPT], *old = *slot;
    *slot = query_ref(q);
    bool out = old && remove_locked(s, old);
    pthread_mutex_unlock(&s->table_lock);
    if (out)
        query_unref(old); /* the table's reference */
    query_unref(old);     /* the ring's */
}

void service__table_remove(struct service *s, struct query *q)
{
    pthread_mutex_lock(&s->table_lock);
    bool out = remove_locked(s, q);
    pthread_mutex_unlock(&s->table_lock);
    if (out)
        query_unref(q);
}

struct query *service__table_enter(struct service *s, struct query *q)
{
    pthread_mutex_lock(&s->table_lock);
    struct query **slot = table_slot(s, &q->rec.id), *other = *slot;
    while (other && !id_equal(&other->rec.id, &q->rec.id))
        other = other->table_next;
    if (other) {
        query_ref(other);
    } else {
        q->table_next = *slot;
        *slot = query_ref(q);
        q->in_table = true;
    }
    pthread_mutex_unlock(&s->table_lock);
    if (other) {
        query_unref(q);
        return other;
    }
    service__table_retire(s, q);
    return q;
}

void service__table_clear(struct service *s)
{
    for (uint32_t i = 0; i < RECENT_KEPT; i++)
        query_unref(s->recent[i]);
    for (uint32_t i = 0; i < SEGMENTS_OPEN; i++)
        query_unref(s->open[i]);
    for (uint32_t i = 0; i < TABLE_BUCKETS; i++) {
        for (struct query *q = s->table[i], *next; q; q = next) {
            next = q->table_next;
            q->in_table = false;
            query_unref(q);
        }
    }
}

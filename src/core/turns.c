/*
 * turns: see turns.h. Lanes are found through a small hash table that grows with the number of workspaces; a
 * lane once made stays.
 */
#include "core/turns.h"

#include <stdlib.h>

#include "base/err.h"

struct turn_lane {
    int64_t workspace;
    struct turn_item *head, *tail;
    int64_t queued, running;
    int64_t queue, slots; /* limits; negative: none */
    bool in_ring;
    struct turn_lane *before, *after; /* in the ring */
    struct turn_lane *same;           /* next of the same bucket */
};

struct turns {
    struct turn_lane **buckets;
    size_t nbuckets, nlanes;
    struct turn_lane *first; /* of the ring; NULL when it is empty */
    int64_t queued;
};

static size_t bucket_of(const struct turns *t, int64_t workspace)
{
    return (size_t)(((uint64_t)workspace * 0x9e3779b97f4a7c15u) >> 32) & (t->nbuckets - 1);
}

static struct turn_lane *lane_find(const struct turns *t, int64_t workspace)
{
    struct turn_lane *l = t->buckets[bucket_of(t, workspace)];
    while (l && l->workspace != workspace)
        l = l->same;
    return l;
}

static void grow(struct turns *t)
{
    size_t n = t->nbuckets;
    struct turn_lane **old = t->buckets, **fresh = calloc(n * 2, sizeof(struct turn_lane *));
    if (!fresh)
        return; /* slower, not wrong */
    t->buckets = fresh;
    t->nbuckets = n * 2;
    for (size_t i = 0; i < n; i++) {
        for (struct turn_lane *l = old[i], *next; l; l = next) {
            next = l->same;
            struct turn_lane **b = &t->buckets[bucket_of(t, l->workspace)];
            l->same = *b;
            *b = l;
        }
    }
    free(old);
}

static struct turn_lane *lane_make(struct turns *t, int64_t workspace)
{
    struct turn_lane *l = lane_find(t, workspace);
    if (l)
        return l;
    l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    if (t->nlanes >= t->nbuckets)
        grow(t);
    l->workspace = workspace;
    l->queue = l->slots = -1;
    struct turn_lane **b = &t->buckets[bucket_of(t, workspace)];
    l->same = *b;
    *b = l;
    t->nlanes++;
    return l;
}

/* Restores the invariant; a lane that enters stands at the end. */
static void ring_settle(struct turns *t, struct turn_lane *l)
{
    bool wants = l->head && (l->slots < 0 || l->running < l->slots);
    if (wants == l->in_ring)
        return;
    l->in_ring = wants;
    if (!wants) {
        l->before->after = l->after;
        l->after->before = l->before;
        if (t->first == l)
            t->first = l->after == l ? NULL : l->after;
        l->before = l->after = NULL;
    } else if (!t->first) {
        t->first = l->before = l->after = l;
    } else {
        l->after = t->first;
        l->before = t->first->before;
        l->before->after = l->after->before = l;
    }
}

static void unlink_item(struct turns *t, struct turn_item *item)
{
    struct turn_lane *l = item->lane;
    if (item->prev)
        item->prev->next = item->next;
    else
        l->head = item->next;
    if (item->next)
        item->next->prev = item->prev;
    else
        l->tail = item->prev;
    *item = (struct turn_item){NULL, NULL, NULL};
    l->queued--;
    t->queued--;
}

struct turns *turns_new(void)
{
    struct turns *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->nbuckets = 64;
    t->buckets = calloc(t->nbuckets, sizeof(struct turn_lane *));
    if (!t->buckets) {
        free(t);
        return NULL;
    }
    return t;
}

void turns_free(struct turns *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->nbuckets; i++) {
        for (struct turn_lane *l = t->buckets[i], *next; l; l = next) {
            next = l->same;
            free(l);
        }
    }
    free(t->buckets);
    free(t);
}

bool turns_limit(struct turns *t, int64_t workspace, int64_t queue, int64_t slots)
{
    struct turn_lane *l = lane_make(t, workspace);
    if (!l)
        return false;
    l->queue = queue;
    l->slots = slots;
    ring_settle(t, l);
    return true;
}

enum turns_room turns_room(const struct turns *t, int64_t workspace, int64_t total)
{
    if (total >= 0 && t->queued >= total)
        return TURNS_FULL;
    const struct turn_lane *l = lane_find(t, workspace);
    return l && l->queue >= 0 && l->queued >= l->queue ? TURNS_FULL_WORKSPACE : TURNS_ROOM;
}

bool turns_push(struct turns *t, int64_t workspace, struct turn_item *item)
{
    ASSERT(!item->lane);
    struct turn_lane *l = lane_make(t, workspace);
    if (!l)
        return false;
    *item = (struct turn_item){.prev = l->tail, .lane = l};
    if (l->tail)
        l->tail->next = item;
    else
        l->head = item;
    l->tail = item;
    l->queued++;
    t->queued++;
    ring_settle(t, l);
    return true;
}

bool turns_push_front(struct turns *t, int64_t workspace, struct turn_item *item)
{
    ASSERT(!item->lane);
    struct turn_lane *l = lane_make(t, workspace);
    if (!l)
        return false;
    *item = (struct turn_item){.next = l->head, .lane = l};
    if (l->head)
        l->head->prev = item;
    else
        l->tail = item;
    l->head = item;
    l->queued++;
    t->queued++;
    ring_settle(t, l);
    return true;
}

struct turn_item *turns_take(struct turns *t)
{
    struct turn_lane *l = t->first;
    if (!l)
        return NULL;
    struct turn_item *item = l->head;
    unlink_item(t, item);
    l->running++;
    t->first = l->after; /* the lane goes to the end of the ring ... */
    ring_settle(t, l);   /* ... or leaves it */
    return item;
}

bool turns_cancel(struct turns *t, struct turn_item *item)
{
    struct turn_lane *l = item->lane;
    if (!l)
        return false;
    unlink_item(t, item);
    ring_settle(t, l);
    return true;
}

void turns_done(struct turns *t, int64_t workspace)
{
    struct turn_lane *l = lane_find(t, workspace);
    ASSERT(l && l->running > 0);
    l->running--;
    ring_settle(t, l);
}

struct turn_item *turns_drop(struct turns *t)
{
    for (size_t i = 0; i < t->nbuckets; i++) {
        for (struct turn_lane *l = t->buckets[i]; l; l = l->same) {
            struct turn_item *item = l->head;
            if (!item)
                continue;
            turns_cancel(t, item);
            return item;
        }
    }
    return NULL;
}

int64_t turns_queued(const struct turns *t)
{
    return t->queued;
}

int64_t turns_queued_of(const struct turns *t, int64_t workspace)
{
    const struct turn_lane *l = lane_find(t, workspace);
    return l ? l->queued : 0;
}

int64_t turns_running_of(const struct turns *t, int64_t workspace)
{
    const struct turn_lane *l = lane_find(t, workspace);
    return l ? l->running : 0;
}

bool turns_ready(const struct turns *t)
{
    return t->first != NULL;
}

void turns_each(const struct turns *t, void (*fn)(void *arg, int64_t workspace), void *arg)
{
    for (size_t i = 0; i < t->nbuckets; i++)
        for (const struct turn_lane *l = t->buckets[i]; l; l = l->same)
            fn(arg, l->workspace);
}

/*
 * claims: see claims.h.
 */
#include "core/claims.h"

#include <stddef.h>

#include "base/err.h"

static void append(struct claim_list *list, struct claim *c)
{
    c->next = NULL;
    if (list->last)
        list->last->next = c;
    else
        list->first = c;
    list->last = c;
}

/* Takes out the claim behind `before` (NULL: the first). */
static struct claim *take_out(struct claims *l, struct claim *before)
{
    struct claim **at = before ? &before->next : &l->line.first, *c = *at;
    *at = c->next;
    if (l->line.last == c)
        l->line.last = before;
    c->next = NULL;
    c->place = CLAIM_AWAY;
    return c;
}

void claims_announce(struct claims *l, struct claim *c)
{
    ASSERT(c->place == CLAIM_AWAY);
    c->place = CLAIM_OPEN;
    append(&l->line, c);
}

void claims_want(struct claims *l, struct claim *c, bool write, int64_t now_ns)
{
    if (c->place == CLAIM_AWAY)
        claims_announce(l, c);
    ASSERT(c->place == CLAIM_OPEN);
    c->place = CLAIM_WAITING;
    c->write = write;
    c->since_ns = now_ns;
}

bool claims_leave(struct claims *l, struct claim *c)
{
    if (c->place != CLAIM_OPEN && c->place != CLAIM_WAITING)
        return false;
    struct claim *before = NULL;
    for (struct claim *at = l->line.first; at != c; at = at->next)
        before = at;
    take_out(l, before);
    return true;
}

void claims_release(struct claims *l, struct claim *c)
{
    ASSERT(c->place == CLAIM_HOLDING);
    ASSERT(c->write ? l->writer && l->readers == 0 : l->readers > 0 && !l->writer);
    c->place = CLAIM_AWAY;
    if (c->write)
        l->writer = false;
    else
        l->readers--;
}

struct claim_list claims_grant(struct claims *l, int64_t now_ns, int64_t hold_ns)
{
    struct claim_list granted = {NULL, NULL};
    struct claim *before = NULL, *next;
    bool held_back = false;
    for (struct claim *c = l->line.first; c && !l->writer && c->place != CLAIM_OPEN; c = next) {
        next = c->next;
        if (c->write ? l->readers > 0 : held_back) {
            if (c->write && now_ns < c->since_ns + hold_ns)
                held_back = true;
            before = c;
            continue;
        }
        take_out(l, before);
        c->place = CLAIM_HOLDING;
        if (c->write)
            l->writer = true;
        else
            l->readers++;
        append(&granted, c);
    }
    return granted;
}

struct claim_list claims_expire(struct claims *l, int64_t now_ns, int64_t wait_ns)
{
    struct claim_list expired = {NULL, NULL};
    struct claim *before = NULL, *next;
    for (struct claim *c = l->line.first; c; c = next) {
        next = c->next;
        if (c->place == CLAIM_WAITING && c->since_ns + wait_ns <= now_ns)
            append(&expired, take_out(l, before));
        else
            before = c;
    }
    return expired;
}

int64_t claims_due(const struct claims *l, int64_t now_ns, int64_t wait_ns, int64_t hold_ns)
{
    int64_t due = INT64_MAX;
    for (const struct claim *c = l->line.first; c; c = c->next) {
        if (c->place != CLAIM_WAITING)
            continue;
        if (c->since_ns + wait_ns < due)
            due = c->since_ns + wait_ns;
        if (c->write && c->since_ns + hold_ns > now_ns && c->since_ns + hold_ns < due)
            due = c->since_ns + hold_ns;
    }
    return due;
}

/* simulator_world: see simulator.h. What a step works with: chance, the record of the last events, slots and the
 * catalog's lock, and the registry's model. */
#include "simulator.h"

static uint64_t next(struct world *w)
{
    /* splitmix64 */
    uint64_t z = (w->rng += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int sim_below(struct world *w, int n)
{
    return (int)(next(w) % (uint64_t)n);
}

void sim_say(struct world *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(w->log[w->step % LAST], sizeof w->log[0], format, args);
    va_end(args);
}

void sim_broken(struct world *w, const char *what, int q)
{
    print_message("simulator: seed %llu, step %ld, query %d: %s\n", (unsigned long long)w->seed, w->step, q,
                  what);
    for (long i = w->step - LAST + 1; i <= w->step; i++)
        if (i >= 0)
            print_message("  %ld %s\n", i, w->log[i % LAST]);
    print_message("again: QUERN_SEED=%llu\n", (unsigned long long)w->seed);
    fail();
}

/* ---- slots, and the catalog's lock ---- */

bool sim_has_slot(const struct q *q)
{
    return q->place == LOOKING || q->place == RUNS;
}

/* Its worker is free again. */
void sim_leave_slot(struct world *w, struct q *q, enum place to)
{
    MUST(w, sim_has_slot(q), (int)(q - w->q));
    q->place = to;
    turns_done(w->turns, q->workspace);
    w->running[q->workspace]--, w->nrunning--;
}

/* First come, first served: nobody who left the queue earlier still waits, but a writer whom readers may pass. */
static void in_order(struct world *w, const struct q *q)
{
    for (int i = 0; i < w->n; i++) {
        const struct q *o = &w->q[i];
        if (o->workspace != q->workspace || o->ticket >= q->ticket ||
            (o->claim.place != CLAIM_OPEN && o->claim.place != CLAIM_WAITING))
            continue;
        MUST(w,
             !q->claim.write && o->claim.place == CLAIM_WAITING && o->claim.write &&
                 w->mono * 1000000 >= o->claim.since_ns + HOLD * 1000000LL,
             (int)(q - w->q));
        w->passed++;
    }
}

/* Grants what may be granted now; but for `mine`, whose worker asks, they come back to the queue's front
 * (runner_catalog.c, answered). */
void sim_grant(struct world *w, int ws, const struct q *mine)
{
    struct claim_list list = claims_grant(&w->claims[ws], w->mono * 1000000, HOLD * 1000000LL);
    for (struct claim *c = list.first, *after; c; c = after) {
        after = c->next;
        c->next = NULL;
        struct q *q = (struct q *)(void *)((char *)c - offsetof(struct q, claim));
        in_order(w, q);
        q->holds = true;
        if (q == mine)
            continue;
        MUST(w, q->place == PARKED, (int)(q - w->q));
        q->place = LANE;
        if (!turns_push_front(w->turns, ws, &q->item))
            fail_msg("out of memory");
    }
}

void sim_let_go(struct world *w, struct q *q)
{
    if (!q->holds)
        return;
    q->holds = false;
    claims_release(&w->claims[q->workspace], &q->claim);
    sim_grant(w, q->workspace, NULL);
}

void sim_leave_line(struct world *w, struct q *q)
{
    if (claims_leave(&w->claims[q->workspace], &q->claim))
        sim_grant(w, q->workspace, NULL);
}

/* Whatever it does, it does no more; its worker, if any, notices by itself. */
void sim_leave_queue(struct world *w, struct q *q)
{
    if (q->place == LANE) {
        bool left = turns_cancel(w->turns, &q->item);
        MUST(w, left, (int)(q - w->q));
        q->place = AWAY;
        sim_let_go(w, q);
    } else if (q->place == PARKED) {
        q->place = AWAY;
        sim_leave_line(w, q);
    }
}

/* ---- the registry's model: writes are queued, a commit makes all of them durable, a crash loses them ---- */

void sim_put(struct world *w, int i)
{
    struct q *q = &w->q[i];
    q->pending = (struct record){.exists = true,
                                 .exposed = q->pending.exposed,
                                 .gone = q->gone,
                                 .writes = q->pending.writes,
                                 .state = q->state,
                                 .ending = q->pending.ending,
                                 .runs = q->runs,
                                 .ended = q->pending.ended};
    q->dirty = true;
}

void sim_commit(struct world *w)
{
    for (int i = 0; i < w->n; i++) {
        struct q *q = &w->q[i];
        if (!q->dirty)
            continue;
        q->durable = q->pending;
        q->dirty = false;
        if (!q->accepted && !q->refused) {
            q->accepted = true; /* only now is the client answered (service.c, insert_done) */
            w->accepted++;
            if (q->key >= 0)
                w->keys[q->workspace][q->key].durable = true;
        }
        q->shown = q->state; /* an end is shown when it is durable (service.c, end_done) */
        if (q->state == QUERY_FINISHED)
            q->was_finished = true;
    }
}

/* The disk is full: what was queued fails; new queries are refused, ends are shown as they are in memory when
 * nothing better is known. */
void sim_commit_fails(struct world *w)
{
    for (int i = 0; i < w->n; i++) {
        struct q *q = &w->q[i];
        if (!q->dirty || q->accepted)
            continue;
        q->refused = true;
        w->refused++;
        if (!query_state_ended((enum query_state)q->state)) {
            sim_leave_queue(w, q);
            if (sim_has_slot(q)) {
                sim_leave_slot(w, q, AWAY);
                sim_leave_line(w, q);
                sim_let_go(w, q);
            }
            q->state = QUERY_FAILED;
        }
        q->dirty = false;
        q->live = false;
        if (q->key >= 0 && w->keys[q->workspace][q->key].q == i)
            w->keys[q->workspace][q->key] = (struct key){-1, 0, false};
    }
}

bool sim_move(struct world *w, int i, enum query_state to)
{
    struct q *q = &w->q[i];
    enum query_state from = (enum query_state)q->state;
    if (!query_move_legal(from, to))
        return false;
    MUST(w, !query_state_ended(from), i); /* ended once */
    q->state = (uint8_t)to;
    return true;
}

void sim_end(struct world *w, int i, enum ending ending)
{
    struct q *q = &w->q[i];
    if (!sim_move(w, i, endings[ending].state))
        return;
    q->pending.ending = (uint8_t)ending;
    q->pending.ended = w->wall;
    sim_put(w, i);
}

/* simulator_events: see simulator.h. Everything that may happen in a step. */
#include "simulator.h"

/* ---- events ---- */

static int pick(struct world *w, bool (*fits)(const struct world *w, const struct q *q))
{
    int start = w->n ? sim_below(w, w->n) : 0;
    for (int k = 0; k < w->n; k++) {
        int i = (start + k) % w->n;
        if (fits(w, &w->q[i]))
            return i;
    }
    return -1;
}

static bool fits_running(const struct world *w, const struct q *q)
{
    (void)w;
    return q->live && q->place == RUNS;
}
static bool fits_looking(const struct world *w, const struct q *q)
{
    (void)w;
    return q->live && q->place == LOOKING;
}
static bool fits_alive(const struct world *w, const struct q *q)
{
    (void)w;
    return q->live && q->accepted && !query_state_ended((enum query_state)q->state);
}
static bool fits_ended(const struct world *w, const struct q *q)
{
    (void)w;
    return q->live && q->accepted && query_state_ended((enum query_state)q->shown) && !q->gone;
}

void sim_submit(struct world *w)
{
    int ws =
        sim_below(w, WORKSPACES) ? 0 : sim_below(w, WORKSPACES); /* one submits far more than the others */
    int key = sim_below(w, 3) == 0 ? sim_below(w, KEYS) : -1, body = sim_below(w, 4);
    if (w->draining || w->n == QUERIES)
        return;
    if (key >= 0 && w->keys[ws][key].q >= 0) {
        struct key *k = &w->keys[ws][key];
        sim_say(w, "submit again with key %d", key);
        if (k->body != body) {
            w->conflicts++; /* 409: nothing happens */
            return;
        }
        w->replays++; /* the same id; it is answered when that one is accepted */
        MUST(w, w->q[k->q].workspace == ws && !w->q[k->q].refused, k->q);
        return;
    }
    enum turns_room room = turns_room(w->turns, ws, TOTAL);
    int64_t queued = turns_queued(w->turns), queued_of = turns_queued_of(w->turns, ws);
    MUST(w, (room == TURNS_FULL) == (queued >= TOTAL), -1);
    if (room != TURNS_ROOM) {
        MUST(w, room == TURNS_FULL || queued_of >= TOTAL / 2, -1);
        w->refused++;
        sim_say(w, "submit of %d: full", ws);
        return;
    }
    int i = w->n++;
    struct q *q = &w->q[i];
    *q = (struct q){.workspace = ws,
                    .live = true,
                    .state = QUERY_QUEUED,
                    .shown = QUERY_QUEUED,
                    .key = key,
                    .place = LANE,
                    .need = (enum need)sim_below(w, 3)};
    if (key >= 0)
        w->keys[ws][key] = (struct key){i, body, false};
    sim_put(w, i);
    if (!turns_push(w->turns, ws, &q->item))
        fail_msg("out of memory");
    sim_say(w, "submit %d of %d", i, ws);
}

void sim_start_next(struct world *w)
{
    if (w->paused || w->nrunning == SLOTS)
        return;
    struct turn_item *item = turns_take(w->turns);
    if (!item) {
        for (int ws = 0; ws < WORKSPACES; ws++) /* work and room, and nobody is served */
            MUST(w, turns_queued_of(w->turns, ws) == 0 || w->running[ws] >= w->limit[ws], -1);
        return;
    }
    struct q *q = (struct q *)(void *)item;
    int i = (int)(q - w->q);
    MUST(w, q->live && q->state == QUERY_QUEUED, i);
    MUST(w, q->place == LANE, i); /* one live attempt */
    w->running[q->workspace]++, w->nrunning++;
    MUST(w, w->running[q->workspace] <= w->limit[q->workspace], i);
    MUST(w, turns_running_of(w->turns, q->workspace) == w->running[q->workspace], i);
    /* fairness: whoever has work and room is served before anybody else is served twice */
    for (int ws = 0; ws < WORKSPACES; ws++) {
        int(*since)[WORKSPACES] = w->since;
        if (ws == q->workspace || turns_queued_of(w->turns, ws) == 0 || w->running[ws] >= w->limit[ws]) {
            memset(since[ws], 0, sizeof since[ws]);
            continue;
        }
        MUST(w, ++since[ws][q->workspace] <= 2, i); /* 2: its lane may have entered the ring just behind */
    }
    q->place = LOOKING;
    if (!q->holds) {
        q->ticket = ++w->tickets;
        claims_announce(&w->claims[q->workspace], &q->claim);
    }
    sim_say(w, "a worker takes %d of %d", i, q->workspace);
}

static void run(struct world *w, int i)
{
    struct q *q = &w->q[i];
    bool moved = sim_move(w, i, QUERY_RUNNING);
    MUST(w, moved, i);
    MUST(w, q->holds == (q->need != NONE), i);
    q->place = RUNS;
    q->runs++;
    MUST(w, q->runs <= MAX_RUNS, i);
    sim_put(w, i);
    /* Only a read-only statement may run before its record says so: a write of which a crash leaves no trace
     * would be done again. */
    if (q->need == WRITE) {
        q->pending.writes = true;
        sim_commit(w);
    }
    sim_say(w, "start %d of %d, run %d", i, q->workspace, q->runs);
}

/* A worker decides (runner.c, attempt). */
void sim_look(struct world *w)
{
    int i = pick(w, fits_looking);
    if (i < 0)
        return;
    struct q *q = &w->q[i];
    if (query_state_ended((enum query_state)q->state)) {
        sim_leave_slot(w, q, AWAY);
        sim_leave_line(w, q);
        sim_let_go(w, q);
        sim_say(w, "%d had ended", i);
        return;
    }
    if (!q->holds && q->need == NONE) {
        sim_leave_line(w, q);
    } else if (!q->holds) {
        claims_want(&w->claims[q->workspace], &q->claim, q->need == WRITE, w->mono * 1000000);
        sim_grant(w, q->workspace, q);
        if (!q->holds) {
            sim_leave_slot(w, q, PARKED);
            w->parked++;
            sim_say(w, "%d waits for the catalog of %d", i, q->workspace);
            return;
        }
    }
    run(w, i);
}

/* The catalog's thread: who waited too long ends, and readers may pass a writer. */
void sim_catalog_turn(struct world *w)
{
    for (int ws = 0; ws < WORKSPACES; ws++) {
        struct claim_list late = claims_expire(&w->claims[ws], w->mono * 1000000, WAIT * 1000000LL);
        for (struct claim *c = late.first, *after; c; c = after) {
            after = c->next;
            c->next = NULL;
            struct q *q = (struct q *)(void *)((char *)c - offsetof(struct q, claim));
            int i = (int)(q - w->q);
            MUST(w, q->place == PARKED, i);
            q->place = AWAY;
            sim_end(w, i, END_CATALOG_WAIT);
            w->waited_out++;
            sim_say(w, "%d waited too long", i);
        }
        sim_grant(w, ws, NULL);
        int64_t due = claims_due(&w->claims[ws], w->mono * 1000000, WAIT * 1000000LL, HOLD * 1000000LL);
        MUST(w, due > w->mono * 1000000, -1); /* nothing is left to do now: its thread would spin */
    }
}

void sim_engine_says(struct world *w)
{
    int i = pick(w, fits_running);
    if (i < 0)
        return;
    struct q *q = &w->q[i];
    int what = sim_below(w, 8);
    if (what == 0) { /* a row leaves early: the flag is durable before (recovery) */
        q->pending.exposed = true;
        sim_put(w, i);
        sim_commit(w);
        sim_say(w, "%d shows a row", i);
        return;
    }
    if (q->need == WRITE)
        q->effects++;
    enum ending e = what < 5    ? END_FINISHED
                    : what == 5 ? END_SQL_ERROR
                    : what == 6 ? END_ENGINE_CRASHED
                                : END_RUN_TIMEOUT;
    sim_end(w, i, e); /* loses against a cancel that came first */
    sim_leave_slot(w, q, AWAY);
    sim_let_go(w, q);
    sim_say(w, "engine of %d: %s", i, endings[e].name);
}

void sim_cancel(struct world *w)
{
    int i = pick(w, fits_alive);
    if (i < 0)
        return;
    struct q *q = &w->q[i];
    sim_end(w, i, q->state == QUERY_QUEUED ? END_CANCELED_QUEUED : END_CANCELED_RUNNING);
    sim_leave_queue(w, q); /* its place is free at once, and what it held is another's */
    MUST(w, q->place == AWAY || sim_has_slot(q), i);
    sim_commit(w); /* answered when durable */
    q->cancel_acked = q->durable.state == QUERY_CANCELED;
    MUST(w, q->cancel_acked, i);
    sim_say(w, "cancel %d", i);
}

void sim_delete_one(struct world *w)
{
    int i = pick(w, fits_ended);
    if (i < 0)
        return;
    w->q[i].gone = true;
    sim_put(w, i);
    sim_commit(w);
    w->q[i].delete_acked = true;
    sim_say(w, "delete %d", i);
}

static enum recovery_verdict verdict(const struct record *r)
{
    const struct query_record record = {
        .state = r->state, .exposed = r->exposed, .writes = r->writes, .runs = (uint32_t)r->runs};
    return recovery_verdict(&record, MAX_RUNS);
}

/* kill -9, or power lost, and a start. */
void sim_crash(struct world *w)
{
    w->crashes++;
    sim_say(w, "crash with %d running, %lld queued", w->nrunning, (long long)turns_queued(w->turns));
    while (turns_drop(w->turns)) {
    }
    turns_free(w->turns);
    w->turns = turns_new();
    if (!w->turns)
        fail_msg("out of memory");
    memset(w->running, 0, sizeof w->running);
    w->nrunning = 0;
    memset(w->since, 0, sizeof w->since);
    memset(w->claims, 0, sizeof w->claims);
    for (int ws = 0; ws < WORKSPACES; ws++)
        if (!turns_limit(w->turns, ws, TOTAL / 2, w->limit[ws]))
            fail_msg("out of memory");
    for (int i = 0; i < w->n; i++) {
        struct q *q = &w->q[i];
        if (q->refused)
            continue;
        memset(&q->item, 0, sizeof q->item);
        memset(&q->claim, 0, sizeof q->claim);
        q->holds = q->dirty = false;
        q->place = AWAY;
        if (!q->durable.exists) { /* nobody was told of it */
            MUST(w, !q->accepted, i);
            q->refused = true;
            q->live = false;
            if (q->key >= 0 && w->keys[q->workspace][q->key].q == i)
                w->keys[q->workspace][q->key] = (struct key){-1, 0, false};
            continue;
        }
        q->state = q->durable.state;
        q->runs = q->durable.runs;
        q->gone = q->durable.gone;
        q->pending = q->durable;
        q->accepted = true;
        switch (verdict(&q->durable)) {
        case RECOVERY_NOTHING:
        case RECOVERY_DELIVER: /* nothing is delivered here */
            break;
        case RECOVERY_QUEUE:
            if (q->state == QUERY_RUNNING) {
                bool moved = sim_move(w, i, QUERY_QUEUED);
                MUST(w, moved, i);
            }
            sim_put(w, i);
            q->shown = QUERY_QUEUED;
            q->place = LANE;
            if (!turns_push(w->turns, q->workspace, &q->item))
                fail_msg("out of memory");
            break;
        case RECOVERY_FAIL:
            sim_end(w, i, END_RESTARTED);
            break;
        }
    }
    w->paused = w->draining = false;
    sim_commit(w);
    w->clock = (struct retention_clock){0}; /* the janitor remembers nothing, so a start is like a jump */
    w->ahead =
        0; /* a jump before the start, or while it was down, is covered by the start's own quiet time */
}

/* One turn of the janitor. The promise "no early deletion": after a jump forward nothing is deleted by age for a
 * while (QUIET, by the monotonic clock). */
void sim_janitor(struct world *w)
{
    if (w->ahead > RETENTION_JUMP_MS)
        w->jumped_at = w->mono; /* the ledger, not the janitor's */
    w->ahead = 0;
    bool jumped, may = retention_may_delete(&w->clock, w->wall, w->mono, QUIET, &jumped);
    for (int i = 0; i < w->n && may; i++) {
        struct q *q = &w->q[i];
        if (!q->live || q->gone || !q->accepted || !query_state_ended((enum query_state)q->shown) ||
            q->durable.ended + RETENTION > w->wall)
            continue;
        MUST(w, !w->jumped_at || w->mono - w->jumped_at >= QUIET, i);
        q->gone = true;
        sim_put(w, i);
        w->expired++;
    }
    sim_commit(w);
}

void sim_clock_moves(struct world *w)
{
    w->mono += TICK;
    w->wall += TICK;
    if (sim_below(w, 200) == 0) {
        w->jumps++;
        int64_t by = (sim_below(w, 2) ? 1 : -1) * (int64_t)sim_below(w, 10000000);
        if (w->wall + by < 1)
            by = 0;
        w->wall += by;
        w->ahead += by;
        sim_say(w, "the clock jumps to %lld", (long long)w->wall);
    }
}

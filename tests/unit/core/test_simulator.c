/*
 * simulator: queue, scheduler, catalog lock, durability, restarts, retention and idempotency as one
 * deterministic machine of single steps, thousands of random histories of it, and what must hold after every
 * step.
 *
 * Real: turns.c (whose query starts next), claims.c (who has a workspace's catalog), query_move_legal() and
 * the endings table (ending.c), recovery_verdict() (recovery.c), retention.c. Modelled, because the daemon's
 * own code is threads, SQLite and processes: the registry (a list of writes that are committed in batches; a
 * crash loses what was not), the engine (ends, fails, dies, or says nothing), the clock (jumps). Where a model
 * is a rule of core/ in other words, the comment names the file.
 *
 * One seed is one history. QUERN_SEED=n runs that one alone, QUERN_SIM_SEEDS=n that many, QUERN_SIM_STEPS=n
 * steps each; a failure prints the seed, the step and the last events. Everything runs on one thread.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/claims.h"
#include "core/query.h"
#include "core/recovery.h"
#include "core/retention.h"
#include "core/turns.h"

#define WORKSPACES 5
#define QUERIES    4096
#define KEYS       64
#define SLOTS      3
#define TOTAL      60
#define MAX_RUNS   3
#define RETENTION  200000 /* ms, as all that follow */
#define QUIET      30000
#define TICK       1000
#define WAIT       60000 /* catalog.wait */
#define HOLD       15000 /* catalog.max_writer_wait */
#define LAST       24

/* ---- the world ---- */

/* What the registry knows of a query when everything queued so far is committed, or what it knew at the last
 * commit. */
struct record {
    bool exists, exposed, gone, writes;
    uint8_t state, ending;
    int runs;
    int64_t ended;
};

/* Where a query is on its way (scheduler.c, runner.c). */
enum place {
    AWAY,    /* nowhere: not accepted, ended, or forgotten */
    LANE,    /* queued */
    LOOKING, /* a worker has it and has not decided yet what it needs of the catalog */
    PARKED,  /* waits for the catalog without a slot */
    RUNS     /* an engine has it */
};
enum need { NONE, READ, WRITE };

struct q {
    struct turn_item item; /* first: the item is the query */
    struct claim claim;
    enum place place;
    enum need need;
    bool holds;  /* the catalog's lock */
    long ticket; /* when it left the queue */
    int workspace;
    bool live;              /* in the daemon's memory */
    bool accepted, refused; /* what its client was told */
    bool cancel_acked, delete_acked;
    uint8_t shown; /* the last state that a client saw */
    uint8_t state; /* in memory; moved by move() alone */
    bool gone;
    int runs, effects; /* how often its (not read-only) effect took place */
    struct record durable, pending;
    bool dirty; /* pending differs from durable */
    int key;    /* idempotency key, -1 none */
    bool was_finished;
};

struct key {
    int q;
    int body;
    bool durable;
};

struct world {
    uint64_t rng;
    struct turns *turns;
    struct claims claims[WORKSPACES];
    struct q *q;
    long tickets;
    int n;
    struct key keys[WORKSPACES][KEYS];
    int running[WORKSPACES], limit[WORKSPACES];
    int nrunning;
    int since[WORKSPACES][WORKSPACES]; /* starts of b while a could have been served */
    bool paused, draining;
    int64_t wall, mono; /* ms */
    int64_t ahead,
        jumped_at; /* by how much the wall clock jumped since the janitor's last turn; when that was forward, by the monotonic clock */
    struct retention_clock clock;
    char log[LAST][96];
    long step;
    uint64_t seed;
    long accepted, finished, crashes, jumps, expired, refused, replays, conflicts, parked, waited_out,
        passed; /* that all of it happens */
};

static uint64_t next(struct world *w)
{
    /* splitmix64 */
    uint64_t z = (w->rng += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int below(struct world *w, int n)
{
    return (int)(next(w) % (uint64_t)n);
}

__attribute__((format(printf, 2, 3))) static void say(struct world *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(w->log[w->step % LAST], sizeof w->log[0], format, args);
    va_end(args);
}

static void broken(struct world *w, const char *what, int q)
{
    print_message("simulator: seed %llu, step %ld, query %d: %s\n", (unsigned long long)w->seed, w->step, q,
                  what);
    for (long i = w->step - LAST + 1; i <= w->step; i++)
        if (i >= 0)
            print_message("  %ld %s\n", i, w->log[i % LAST]);
    print_message("again: QUERN_SEED=%llu\n", (unsigned long long)w->seed);
    fail();
}

#define MUST(w, condition, q)                                                                                \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            broken(w, #condition, q);                                                                        \
    } while (0)

/* ---- slots, and the catalog's lock ---- */

static bool has_slot(const struct q *q)
{
    return q->place == LOOKING || q->place == RUNS;
}

/* Its worker is free again. */
static void leave_slot(struct world *w, struct q *q, enum place to)
{
    MUST(w, has_slot(q), (int)(q - w->q));
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
static void grant(struct world *w, int ws, const struct q *mine)
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

static void let_go(struct world *w, struct q *q)
{
    if (!q->holds)
        return;
    q->holds = false;
    claims_release(&w->claims[q->workspace], &q->claim);
    grant(w, q->workspace, NULL);
}

static void leave_line(struct world *w, struct q *q)
{
    if (claims_leave(&w->claims[q->workspace], &q->claim))
        grant(w, q->workspace, NULL);
}

/* Whatever it does, it does no more; its worker, if any, notices by itself. */
static void leave_queue(struct world *w, struct q *q)
{
    if (q->place == LANE) {
        bool left = turns_cancel(w->turns, &q->item);
        MUST(w, left, (int)(q - w->q));
        q->place = AWAY;
        let_go(w, q);
    } else if (q->place == PARKED) {
        q->place = AWAY;
        leave_line(w, q);
    }
}

/* ---- the registry's model: writes are queued, a commit makes all of them durable, a crash loses them ---- */

static void put(struct world *w, int i)
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

static void commit(struct world *w)
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
static void commit_fails(struct world *w)
{
    for (int i = 0; i < w->n; i++) {
        struct q *q = &w->q[i];
        if (!q->dirty || q->accepted)
            continue;
        q->refused = true;
        w->refused++;
        if (!query_state_ended((enum query_state)q->state)) {
            leave_queue(w, q);
            if (has_slot(q)) {
                leave_slot(w, q, AWAY);
                leave_line(w, q);
                let_go(w, q);
            }
            q->state = QUERY_FAILED;
        }
        q->dirty = false;
        q->live = false;
        if (q->key >= 0 && w->keys[q->workspace][q->key].q == i)
            w->keys[q->workspace][q->key] = (struct key){-1, 0, false};
    }
}

static bool move(struct world *w, int i, enum query_state to)
{
    struct q *q = &w->q[i];
    enum query_state from = (enum query_state)q->state;
    if (!query_move_legal(from, to))
        return false;
    MUST(w, !query_state_ended(from), i); /* ended once */
    q->state = (uint8_t)to;
    return true;
}

static void end(struct world *w, int i, enum ending ending)
{
    struct q *q = &w->q[i];
    if (!move(w, i, endings[ending].state))
        return;
    q->pending.ending = (uint8_t)ending;
    q->pending.ended = w->wall;
    put(w, i);
}

/* ---- events ---- */

static int pick(struct world *w, bool (*fits)(const struct world *w, const struct q *q))
{
    int start = w->n ? below(w, w->n) : 0;
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

static void submit(struct world *w)
{
    int ws = below(w, WORKSPACES) ? 0 : below(w, WORKSPACES); /* one submits far more than the others */
    int key = below(w, 3) == 0 ? below(w, KEYS) : -1, body = below(w, 4);
    if (w->draining || w->n == QUERIES)
        return;
    if (key >= 0 && w->keys[ws][key].q >= 0) {
        struct key *k = &w->keys[ws][key];
        say(w, "submit again with key %d", key);
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
        say(w, "submit of %d: full", ws);
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
                    .need = (enum need)below(w, 3)};
    if (key >= 0)
        w->keys[ws][key] = (struct key){i, body, false};
    put(w, i);
    if (!turns_push(w->turns, ws, &q->item))
        fail_msg("out of memory");
    say(w, "submit %d of %d", i, ws);
}

static void start_next(struct world *w)
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
    say(w, "a worker takes %d of %d", i, q->workspace);
}

static void run(struct world *w, int i)
{
    struct q *q = &w->q[i];
    bool moved = move(w, i, QUERY_RUNNING);
    MUST(w, moved, i);
    MUST(w, q->holds == (q->need != NONE), i);
    q->place = RUNS;
    q->runs++;
    MUST(w, q->runs <= MAX_RUNS, i);
    put(w, i);
    /* Only a read-only statement may run before its record says so: a write of which a crash leaves no trace
     * would be done again. */
    if (q->need == WRITE) {
        q->pending.writes = true;
        commit(w);
    }
    say(w, "start %d of %d, run %d", i, q->workspace, q->runs);
}

/* A worker decides (runner.c, attempt). */
static void look(struct world *w)
{
    int i = pick(w, fits_looking);
    if (i < 0)
        return;
    struct q *q = &w->q[i];
    if (query_state_ended((enum query_state)q->state)) {
        leave_slot(w, q, AWAY);
        leave_line(w, q);
        let_go(w, q);
        say(w, "%d had ended", i);
        return;
    }
    if (!q->holds && q->need == NONE) {
        leave_line(w, q);
    } else if (!q->holds) {
        claims_want(&w->claims[q->workspace], &q->claim, q->need == WRITE, w->mono * 1000000);
        grant(w, q->workspace, q);
        if (!q->holds) {
            leave_slot(w, q, PARKED);
            w->parked++;
            say(w, "%d waits for the catalog of %d", i, q->workspace);
            return;
        }
    }
    run(w, i);
}

/* The catalog's thread: who waited too long ends, and readers may pass a writer. */
static void catalog_turn(struct world *w)
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
            end(w, i, END_CATALOG_WAIT);
            w->waited_out++;
            say(w, "%d waited too long", i);
        }
        grant(w, ws, NULL);
        int64_t due = claims_due(&w->claims[ws], w->mono * 1000000, WAIT * 1000000LL, HOLD * 1000000LL);
        MUST(w, due > w->mono * 1000000, -1); /* nothing is left to do now: its thread would spin */
    }
}

static void engine_says(struct world *w)
{
    int i = pick(w, fits_running);
    if (i < 0)
        return;
    struct q *q = &w->q[i];
    int what = below(w, 8);
    if (what == 0) { /* a row leaves early: the flag is durable before (recovery) */
        q->pending.exposed = true;
        put(w, i);
        commit(w);
        say(w, "%d shows a row", i);
        return;
    }
    if (q->need == WRITE)
        q->effects++;
    enum ending e = what < 5    ? END_FINISHED
                    : what == 5 ? END_SQL_ERROR
                    : what == 6 ? END_ENGINE_CRASHED
                                : END_RUN_TIMEOUT;
    end(w, i, e); /* loses against a cancel that came first */
    leave_slot(w, q, AWAY);
    let_go(w, q);
    say(w, "engine of %d: %s", i, endings[e].name);
}

static void cancel(struct world *w)
{
    int i = pick(w, fits_alive);
    if (i < 0)
        return;
    struct q *q = &w->q[i];
    end(w, i, q->state == QUERY_QUEUED ? END_CANCELED_QUEUED : END_CANCELED_RUNNING);
    leave_queue(w, q); /* its place is free at once, and what it held is another's */
    MUST(w, q->place == AWAY || has_slot(q), i);
    commit(w); /* answered when durable */
    q->cancel_acked = q->durable.state == QUERY_CANCELED;
    MUST(w, q->cancel_acked, i);
    say(w, "cancel %d", i);
}

static void delete_one(struct world *w)
{
    int i = pick(w, fits_ended);
    if (i < 0)
        return;
    w->q[i].gone = true;
    put(w, i);
    commit(w);
    w->q[i].delete_acked = true;
    say(w, "delete %d", i);
}

static enum recovery_verdict verdict(const struct record *r)
{
    const struct query_record record = {
        .state = r->state, .exposed = r->exposed, .writes = r->writes, .runs = (uint32_t)r->runs};
    return recovery_verdict(&record, MAX_RUNS);
}

/* kill -9, or power lost, and a start. */
static void crash(struct world *w)
{
    w->crashes++;
    say(w, "crash with %d running, %lld queued", w->nrunning, (long long)turns_queued(w->turns));
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
                bool moved = move(w, i, QUERY_QUEUED);
                MUST(w, moved, i);
            }
            put(w, i);
            q->shown = QUERY_QUEUED;
            q->place = LANE;
            if (!turns_push(w->turns, q->workspace, &q->item))
                fail_msg("out of memory");
            break;
        case RECOVERY_FAIL:
            end(w, i, END_RESTARTED);
            break;
        }
    }
    w->paused = w->draining = false;
    commit(w);
    w->clock = (struct retention_clock){0}; /* the janitor remembers nothing, so a start is like a jump */
    w->ahead =
        0; /* a jump before the start, or while it was down, is covered by the start's own quiet time */
}

/* One turn of the janitor. The promise "no early deletion": after a jump forward nothing is deleted by age for a
 * while (QUIET, by the monotonic clock). */
static void janitor(struct world *w)
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
        put(w, i);
        w->expired++;
    }
    commit(w);
}

static void clock_moves(struct world *w)
{
    w->mono += TICK;
    w->wall += TICK;
    if (below(w, 200) == 0) {
        w->jumps++;
        int64_t by = (below(w, 2) ? 1 : -1) * (int64_t)below(w, 10000000);
        if (w->wall + by < 1)
            by = 0;
        w->wall += by;
        w->ahead += by;
        say(w, "the clock jumps to %lld", (long long)w->wall);
    }
}

/* ---- what must hold after every step ---- */

static void invariants(struct world *w)
{
    int running[WORKSPACES] = {0}, readers[WORKSPACES] = {0}, writers[WORKSPACES] = {0}, queued = 0,
        keyed[WORKSPACES][KEYS];
    memset(keyed, 0, sizeof keyed);
    for (int i = 0; i < w->n; i++) {
        const struct q *q = &w->q[i];
        if (q->refused)
            continue;
        MUST(w, !q->accepted || q->durable.exists, i); /* accepted means durable */
        MUST(w, !query_state_ended((enum query_state)q->shown) || q->durable.state == q->shown,
             i); /* an end is told only when it is durable */
        MUST(w, !q->was_finished || q->state == QUERY_FINISHED, i); /* ended once */
        MUST(w, !q->cancel_acked || (q->state == QUERY_CANCELED && q->durable.state == QUERY_CANCELED), i);
        MUST(w, !q->delete_acked || (q->gone && q->durable.gone), i);
        MUST(w, q->effects <= 1, i); /* a write happens once, whatever happens */
        MUST(w, q->state != QUERY_QUEUED || q->place == LANE || q->place == LOOKING || q->place == PARKED, i);
        MUST(w, (q->place == LANE) == (q->item.lane != NULL), i); /* what waits stands in its lane */
        MUST(w, q->state == QUERY_QUEUED || !q->item.lane, i);    /* and nothing else does */
        MUST(w, q->holds == (q->claim.place == CLAIM_HOLDING), i);
        MUST(w, (q->place == PARKED) == (q->claim.place == CLAIM_WAITING), i);
        MUST(w, !q->holds || q->place == LANE || has_slot(q), i); /* what is held is on its way or in use */
        MUST(w, q->place != RUNS || q->holds == (q->need != NONE), i);
        readers[q->workspace] += q->holds && q->need == READ;
        writers[q->workspace] += q->holds && q->need == WRITE;
        queued += q->item.lane != NULL;
        running[q->workspace] += has_slot(q);
        if (q->key >= 0 && q->accepted)
            keyed[q->workspace][q->key]++;
    }
    MUST(w, queued == turns_queued(w->turns), -1);
    int all = 0;
    for (int ws = 0; ws < WORKSPACES; ws++) {
        MUST(w, running[ws] == w->running[ws] && running[ws] <= w->limit[ws], -1);
        all += running[ws];
        const struct claims *l = &w->claims[ws];
        MUST(w, writers[ws] == 0 || (writers[ws] == 1 && readers[ws] == 0), -1); /* a writer is alone */
        MUST(w, l->readers == readers[ws] && l->writer == (writers[ws] == 1), -1);
        MUST(w, readers[ws] + writers[ws] > 0 || !l->line.first || l->line.first->place == CLAIM_OPEN,
             -1); /* nobody waits for what nobody has */
        for (int k = 0; k < KEYS; k++)
            MUST(w, keyed[ws][k] <= 1, -1); /* one query a key */
    }
    MUST(w, all == w->nrunning && all <= SLOTS, -1);
}

/* At the end: let everything run dry. Nothing accepted is lost or stuck. */
static void drain(struct world *w)
{
    w->paused = false;
    for (int turn = 0; turn < 100000; turn++) {
        w->mono += TICK;
        start_next(w);
        look(w);
        engine_says(w);
        catalog_turn(w);
        commit(w);
        w->step++;
        bool line = false;
        for (int ws = 0; ws < WORKSPACES; ws++)
            line = line || w->claims[ws].line.first || w->claims[ws].readers || w->claims[ws].writer;
        if (w->nrunning == 0 && turns_queued(w->turns) == 0 && !line)
            break;
    }
    for (int i = 0; i < w->n; i++)
        if (w->q[i].accepted && !w->q[i].refused)
            MUST(w, query_state_ended((enum query_state)w->q[i].shown), i);
}

static void history(uint64_t seed, long steps, struct world *sum)
{
    static struct q queries[QUERIES];
    struct world w = {
        .rng = seed, .seed = seed, .q = queries, .wall = 1000000, .mono = 1, .turns = turns_new()};
    if (!w.turns)
        fail_msg("out of memory");
    for (int ws = 0; ws < WORKSPACES; ws++) {
        for (int k = 0; k < KEYS; k++)
            w.keys[ws][k].q = -1;
        w.limit[ws] = 1 + below(&w, SLOTS);
        if (!turns_limit(w.turns, ws, TOTAL / 2, w.limit[ws]))
            fail_msg("out of memory");
    }
    for (w.step = 0; w.step < steps; w.step++) {
        w.log[w.step % LAST][0] = 0;
        clock_moves(&w);
        catalog_turn(&w);
        switch (below(&w, 24)) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4:
        case 5:
            submit(&w);
            break;
        case 6:
        case 7:
        case 8:
            start_next(&w);
            break;
        case 9:
        case 10:
        case 11:
            engine_says(&w);
            break;
        case 12:
        case 13:
        case 14:
            commit(&w);
            break;
        case 15:
            cancel(&w);
            break;
        case 16:
            delete_one(&w);
            break;
        case 17:
            janitor(&w);
            break;
        case 18:
            if (below(&w, 10) == 0)
                crash(&w);
            else
                w.paused = below(&w, 6) == 0;
            break;
        case 19:
        case 20:
        case 21:
        case 22:
            look(&w);
            break;
        default:
            if (below(&w, 30) == 0)
                commit_fails(&w);
            else
                start_next(&w);
            break;
        }
        invariants(&w);
    }
    drain(&w);
    sum->accepted += w.accepted, sum->crashes += w.crashes, sum->jumps += w.jumps, sum->expired += w.expired,
        sum->refused += w.refused;
    sum->parked += w.parked, sum->waited_out += w.waited_out, sum->passed += w.passed;
    sum->replays += w.replays, sum->conflicts += w.conflicts, sum->step += w.step;
    for (int i = 0; i < w.n; i++)
        sum->finished += w.q[i].was_finished;
    while (turns_drop(w.turns)) {
    }
    turns_free(w.turns);
}

static long number(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtol(text, NULL, 10) : otherwise;
}

static void histories(void **state)
{
    (void)state;
    long one = number("QUERN_SEED", -1), seeds = one >= 0 ? 1 : number("QUERN_SIM_SEEDS", 300),
         steps = number("QUERN_SIM_STEPS", 1500);
    struct world sum = {0};
    for (long i = 0; i < seeds; i++)
        history(one >= 0 ? (uint64_t)one : (uint64_t)i + 1, steps, &sum);
    print_message(
        "simulator: seeds %ld to %ld, %ld steps: %ld accepted, %ld finished, %ld refused, %ld "
        "crashes, %ld jumps, %ld expired, %ld replays, %ld conflicts; catalog: %ld waited, %ld too long, "
        "%ld passed a writer\n",
        one >= 0 ? one : 1, one >= 0 ? one : seeds, sum.step, sum.accepted, sum.finished, sum.refused,
        sum.crashes, sum.jumps, sum.expired, sum.replays, sum.conflicts, sum.parked, sum.waited_out,
        sum.passed);
    if (one < 0 && seeds >= 100) { /* a simulation in which nothing happens shows nothing */
        assert_true(sum.accepted > seeds && sum.finished > 0 && sum.refused > 0 && sum.crashes > 0 &&
                    sum.jumps > 0 && sum.expired > 0 && sum.replays > 0 && sum.conflicts > 0 &&
                    sum.parked > 0 && sum.waited_out > 0 && sum.passed > 0);
    }
}

/* The same seed is the same history. */
static void deterministic(void **state)
{
    (void)state;
    struct world a = {0}, b = {0};
    history(77, 2000, &a);
    history(77, 2000, &b);
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(a.accepted > 0);
}

/* 5,000 of one workspace wait, one of another comes: it is served next. */
static void five_thousand(void **state)
{
    (void)state;
    static struct turn_item many[5000], other;
    struct turns *t = turns_new();
    assert_non_null(t);
    for (int i = 0; i < 5000; i++)
        assert_true(turns_push(t, 1, &many[i]));
    assert_ptr_equal(turns_take(t), &many[0]);
    assert_true(turns_push(t, 2, &other));
    struct turn_item *first = turns_take(t), *second = turns_take(t);
    assert_true(first == &other || second == &other);
    while (turns_drop(t)) {
    }
    assert_int_equal(turns_queued(t), 0);
    turns_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(five_thousand), cmocka_unit_test(deterministic),
                                       cmocka_unit_test(histories)};
    return cmocka_run_group_tests_name("simulator", tests, NULL, NULL);
}

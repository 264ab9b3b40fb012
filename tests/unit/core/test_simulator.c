/*
 * simulator: queue, scheduler, durability, restarts, retention and idempotency as one deterministic machine
 * of single steps, thousands of random histories of it, and what must hold after every step.
 *
 * Real: turns.c (whose query starts next), query_move_legal() and the endings table (query.c). Modelled,
 * because the daemon's own code is threads, SQLite and processes: the registry (a list of writes that are
 * committed in batches; a crash loses what was not), the engine (ends, fails, dies, or says nothing), the
 * clock (jumps), the rules of recovery.c and of the janitor. Where a model is a rule of core/ in other words,
 * the comment names the file.
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

#include "core/query.h"
#include "core/turns.h"

#define WORKSPACES 5
#define QUERIES    4096
#define KEYS       64
#define SLOTS      3
#define TOTAL      60
#define MAX_RUNS   3
#define RETENTION  2000
#define JUMP       1000
#define QUIET      300
#define LAST       24

/* ---- the world ---- */

/* What the registry knows of a query when everything queued so far is committed, or what it knew at the last
 * commit. */
struct record {
    bool exists, exposed, gone;
    uint8_t state, ending;
    int runs;
    int64_t ended;
};

struct q {
    struct turn_item item; /* first: the item is the query */
    int workspace;
    bool live;              /* in the daemon's memory */
    bool accepted, refused; /* what its client was told */
    bool cancel_acked, delete_acked;
    uint8_t shown; /* the last state that a client saw */
    bool running;  /* an engine has it */
    bool read_only;
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
    struct q *q;
    int n;
    struct key keys[WORKSPACES][KEYS];
    int running[WORKSPACES], limit[WORKSPACES];
    int nrunning;
    int since[WORKSPACES][WORKSPACES]; /* starts of b while a could have been served */
    bool paused, draining;
    int64_t wall, mono; /* ms */
    int64_t ahead,
        jumped_at; /* by how much the wall clock jumped since the janitor's last turn; when that was forward, by the monotonic clock */
    int64_t last_wall, last_mono, quiet_until; /* the janitor's memory */
    char log[LAST][96];
    long step;
    uint64_t seed;
    long accepted, finished, crashes, jumps, expired, refused, replays,
        conflicts; /* that all of it happens */
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

/* ---- the registry's model: writes are queued, a commit makes all of them durable, a crash loses them ---- */

static void put(struct world *w, int i)
{
    struct q *q = &w->q[i];
    q->pending = (struct record){.exists = true,
                                 .exposed = q->pending.exposed,
                                 .gone = q->gone,
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
            turns_cancel(w->turns, &q->item);
            if (q->running) {
                turns_done(w->turns, q->workspace);
                w->running[q->workspace]--, w->nrunning--;
                q->running = false;
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
    return q->live && q->running;
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
                    .read_only = below(w, 3) > 0};
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
    MUST(w, !q->running, i); /* one live attempt */
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
    bool moved = move(w, i, QUERY_RUNNING);
    MUST(w, moved, i);
    q->running = true;
    q->runs++;
    MUST(w, q->runs <= MAX_RUNS, i);
    put(w, i);
    /* Only a read-only statement may run before its record says so: a write of which a crash leaves no trace
     * would be done again. */
    if (!q->read_only)
        commit(w);
    say(w, "start %d of %d, run %d", i, q->workspace, q->runs);
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
    if (!q->read_only)
        q->effects++;
    enum ending e = what < 5    ? END_FINISHED
                    : what == 5 ? END_SQL_ERROR
                    : what == 6 ? END_ENGINE_CRASHED
                                : END_RUN_TIMEOUT;
    end(w, i, e); /* loses against a cancel that came first */
    q->running = false;
    turns_done(w->turns, q->workspace);
    w->running[q->workspace]--, w->nrunning--;
    say(w, "engine of %d: %s", i, endings[e].name);
}

static void cancel(struct world *w)
{
    int i = pick(w, fits_alive);
    if (i < 0)
        return;
    struct q *q = &w->q[i];
    bool was_queued = q->state == QUERY_QUEUED;
    int64_t queued = turns_queued(w->turns);
    end(w, i, was_queued ? END_CANCELED_QUEUED : END_CANCELED_RUNNING);
    bool left = turns_cancel(w->turns, &q->item);
    MUST(w, left == was_queued, i);
    MUST(w, turns_queued(w->turns) == queued - was_queued, i); /* its place is free at once */
    commit(w);                                                 /* answered when durable */
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

/* The rule of recovery.c, one query: what a record becomes at a start. */
enum recovered { RECOVER_NOTHING, RECOVER_QUEUE, RECOVER_FAIL };
static enum recovered recovery(const struct record *r, bool read_only)
{
    if (query_state_ended((enum query_state)r->state))
        return RECOVER_NOTHING;
    if (r->state == QUERY_QUEUED)
        return RECOVER_QUEUE;
    return read_only && !r->exposed && r->runs < MAX_RUNS ? RECOVER_QUEUE : RECOVER_FAIL;
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
    for (int ws = 0; ws < WORKSPACES; ws++)
        if (!turns_limit(w->turns, ws, TOTAL / 2, w->limit[ws]))
            fail_msg("out of memory");
    for (int i = 0; i < w->n; i++) {
        struct q *q = &w->q[i];
        if (q->refused)
            continue;
        memset(&q->item, 0, sizeof q->item);
        q->running = q->dirty = false;
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
        switch (recovery(&q->durable, q->read_only)) {
        case RECOVER_NOTHING:
            break;
        case RECOVER_QUEUE:
            if (q->state == QUERY_RUNNING) {
                bool moved = move(w, i, QUERY_QUEUED);
                MUST(w, moved, i);
            }
            put(w, i);
            q->shown = QUERY_QUEUED;
            if (!turns_push(w->turns, q->workspace, &q->item))
                fail_msg("out of memory");
            break;
        case RECOVER_FAIL:
            end(w, i, END_RESTARTED);
            break;
        }
    }
    w->paused = w->draining = false;
    commit(w);
    w->last_wall = w->wall; /* the janitor remembers nothing, so a start is like a jump */
    w->last_mono = w->mono;
    w->ahead =
        0; /* a jump before the start, or while it was down, is covered by the start's own quiet time */
    w->quiet_until = w->mono + QUIET;
}

/* One turn of the janitor, by the rule that the promise "no early deletion" needs: after a jump forward
 * nothing is deleted by age for a while (QUIET, by the monotonic clock). A jump is what the wall clock went
 * further than the monotonic one since the last turn. */
static void janitor(struct world *w)
{
    if (w->ahead > JUMP)
        w->jumped_at = w->mono; /* the ledger, not the janitor's */
    w->ahead = 0;
    if (w->wall - w->last_wall - (w->mono - w->last_mono) > JUMP)
        w->quiet_until = w->mono + QUIET;
    w->last_wall = w->wall;
    w->last_mono = w->mono;
    for (int i = 0; i < w->n && w->mono >= w->quiet_until; i++) {
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
    w->mono += 10;
    w->wall += 10;
    if (below(w, 200) == 0) {
        w->jumps++;
        int64_t by = (below(w, 2) ? 1 : -1) * (int64_t)below(w, 100000);
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
    int running[WORKSPACES] = {0}, queued = 0, keyed[WORKSPACES][KEYS];
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
        MUST(w, q->state != QUERY_QUEUED || q->item.lane,
             i); /* what waits stands in its lane, and nothing else does */
        MUST(w, q->state == QUERY_QUEUED || !q->item.lane, i);
        queued += q->item.lane != NULL;
        running[q->workspace] += q->running;
        if (q->key >= 0 && q->accepted)
            keyed[q->workspace][q->key]++;
    }
    MUST(w, queued == turns_queued(w->turns), -1);
    int all = 0;
    for (int ws = 0; ws < WORKSPACES; ws++) {
        MUST(w, running[ws] == w->running[ws] && running[ws] <= w->limit[ws], -1);
        all += running[ws];
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
        start_next(w);
        engine_says(w);
        commit(w);
        w->step++;
        if (w->nrunning == 0 && turns_queued(w->turns) == 0)
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
        .rng = seed, .seed = seed, .q = queries, .wall = 1000000, .last_wall = 1000000, .turns = turns_new()};
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
        switch (below(&w, 20)) {
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
    print_message("simulator: seeds %ld to %ld, %ld steps: %ld accepted, %ld finished, %ld refused, %ld "
                  "crashes, %ld jumps, %ld expired, %ld replays, %ld conflicts\n",
                  one >= 0 ? one : 1, one >= 0 ? one : seeds, sum.step, sum.accepted, sum.finished,
                  sum.refused, sum.crashes, sum.jumps, sum.expired, sum.replays, sum.conflicts);
    if (one < 0 && seeds >= 100) { /* a simulation in which nothing happens shows nothing */
        assert_true(sum.accepted > seeds && sum.finished > 0 && sum.refused > 0 && sum.crashes > 0 &&
                    sum.jumps > 0 && sum.expired > 0 && sum.replays > 0 && sum.conflicts > 0);
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

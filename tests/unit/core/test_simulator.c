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
#include "simulator.h"

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
        MUST(w, !q->holds || q->place == LANE || sim_has_slot(q),
             i); /* what is held is on its way or in use */
        MUST(w, q->place != RUNS || q->holds == (q->need != NONE), i);
        readers[q->workspace] += q->holds && q->need == READ;
        writers[q->workspace] += q->holds && q->need == WRITE;
        queued += q->item.lane != NULL;
        running[q->workspace] += sim_has_slot(q);
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
        sim_start_next(w);
        sim_look(w);
        sim_engine_says(w);
        sim_catalog_turn(w);
        sim_commit(w);
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
        w.limit[ws] = 1 + sim_below(&w, SLOTS);
        if (!turns_limit(w.turns, ws, TOTAL / 2, w.limit[ws]))
            fail_msg("out of memory");
    }
    for (w.step = 0; w.step < steps; w.step++) {
        w.log[w.step % LAST][0] = 0;
        sim_clock_moves(&w);
        sim_catalog_turn(&w);
        switch (sim_below(&w, 24)) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4:
        case 5:
            sim_submit(&w);
            break;
        case 6:
        case 7:
        case 8:
            sim_start_next(&w);
            break;
        case 9:
        case 10:
        case 11:
            sim_engine_says(&w);
            break;
        case 12:
        case 13:
        case 14:
            sim_commit(&w);
            break;
        case 15:
            sim_cancel(&w);
            break;
        case 16:
            sim_delete_one(&w);
            break;
        case 17:
            sim_janitor(&w);
            break;
        case 18:
            if (sim_below(&w, 10) == 0)
                sim_crash(&w);
            else
                w.paused = sim_below(&w, 6) == 0;
            break;
        case 19:
        case 20:
        case 21:
        case 22:
            sim_look(&w);
            break;
        default:
            if (sim_below(&w, 30) == 0)
                sim_commit_fails(&w);
            else
                sim_start_next(&w);
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

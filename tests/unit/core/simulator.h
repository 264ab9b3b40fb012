/*
 * simulator: the world that test_simulator.c drives, see there. simulator_world.c: slots, the catalog's lock and the
 * registry's model. simulator_events.c: what may happen in a step. One thread.
 */
#ifndef QUERN_TESTS_SIMULATOR_H
#define QUERN_TESTS_SIMULATOR_H

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

#define MUST(w, condition, q)                                                                                \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            sim_broken(w, #condition, q);                                                                    \
    } while (0)

/* ---- simulator_world.c ---- */

int sim_below(struct world *w, int n);
void sim_say(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_broken(struct world *w, const char *what, int q);
bool sim_has_slot(const struct q *q);
void sim_leave_slot(struct world *w, struct q *q, enum place to);
void sim_grant(struct world *w, int ws, const struct q *mine);
void sim_let_go(struct world *w, struct q *q);
void sim_leave_line(struct world *w, struct q *q);
void sim_leave_queue(struct world *w, struct q *q);
void sim_put(struct world *w, int i);
void sim_commit(struct world *w);
void sim_commit_fails(struct world *w);
bool sim_move(struct world *w, int i, enum query_state to);
void sim_end(struct world *w, int i, enum ending ending);

/* ---- simulator_events.c ---- */

void sim_submit(struct world *w);
void sim_start_next(struct world *w);
void sim_look(struct world *w);
void sim_catalog_turn(struct world *w);
void sim_engine_says(struct world *w);
void sim_cancel(struct world *w);
void sim_delete_one(struct world *w);
void sim_crash(struct world *w);
void sim_janitor(struct world *w);
void sim_clock_moves(struct world *w);

#endif

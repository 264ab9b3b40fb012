/*
 * query_int: the inside of a query, for core only (query.c, service*.c, runner.c, delivery.c, janitor.c).
 *
 * One writer per thing: rec.state is assigned by query_move() alone; results, schema and the spool writer
 * belong to the run worker until query_end(); after a terminal state the record does not change but for
 * gone_ms (L).
 */
#ifndef QUERN_CORE_QUERY_INT_H
#define QUERN_CORE_QUERY_INT_H

#include "core/catalog.h"
#include "core/query.h"
#include "core/registry.h"
#include "core/turns.h"
#include "pool/pool.h"

struct service;

/* A registry write of this query; freed in its done(). */
struct query_write {
    struct registry_write w;
    struct query *q; /* a reference */
    int64_t at_ms;
    uint32_t runs;
    bool writes;
};

struct query {
    atomic_int refs;
    struct service *service; /* (C) */
    pthread_mutex_t lock;
    struct arena *arena;          /* (L) for allocation */
    struct query_record rec;      /* texts, limits and owner (C); the rest (L) */
    enum query_state shown;       /* (L) what readers may be told: lags rec.state until the end is durable */
    uint32_t flags;               /* (L) enum query_flag */
    uint64_t version;             /* (L) */
    struct query_waiter *waiters; /* (L) */
    bool refused;                 /* (L) its record could not be written; rec.error says why */
    bool plan_now, hold;          /* (C) */
    bool in_table;                /* guarded by the service's table lock */
    struct query *table_next;     /* likewise */
    struct turn_item turn;        /* guarded by the scheduler's lock */
    struct plan_node *plan;       /* likewise: waits for the plan lane */
    struct result *left;          /* (L) stored results that the end did not keep: their files go */
    uint32_t nleft;               /* (L) */
    struct engine *engine;        /* (L) while a worker runs it: for cancel */
    struct engine *plan_engine;   /* (L) while the plan lane compiles it: for stop */
    bool cancel_sent;             /* (L) */
    int64_t submitted_ns, started_ns; /* (C), (L): monotonic */
    int64_t expires_mono_ms; /* (L) when rec.expires_ms is, by the clock that does not jump; 0: not known */
    int64_t hold_until_ns;   /* (C) */
    bool schema_known;       /* (L) */
    struct schema *schema;   /* (L) set once, in the arena */
    double progress;         /* (L) */
    uint64_t live_rows, live_bytes, live_batches; /* (L) readable while it runs */
    struct segment *
        segment; /* (L) open rows of the shown result, or NULL; the service's ring bounds how many are open */
    bool live_segment;       /* (L) segment is a view of the writer */
    bool live_whole;         /* (L) its last row is in it */
    bool followed;           /* (L) renderings follow it, or did */
    bool redelivers;         /* (C) an earlier process may have begun its delivery */
    struct rendering *ahead; /* (L) one for its delivery, begun while it runs */
    /* Scripts (runner_script.c): */
    bool
        multi; /* (L) it has several statements, or none: nothing is shown as its one result before the end */
    bool
        keeps; /* (L) a run worker has it: whoever ends it decides how, the worker adds what came before and records it */
    bool why;             /* (L) the last result says how it ended; shown with the end */
    uint32_t statement;   /* (L) ordinal of the one under way */
    int64_t statement_ms; /* (L) its start */
    bool exposing;        /* (L) `exposed` is durable */
    /* The workspace's catalog (runner.c). A run worker's, or the catalog's while it waits there: */
    struct catalog_claim claim;
    uint8_t need, after; /* enum run_need */
    bool holds, refreshed;
    bool waiting; /* (L) */
    /* Reuse (reuse.c): */
    uint8_t reuse_key[32];   /* (C) rec.reuse_key points here when the result may be reused */
    bool leads;              /* guarded by the reuse lock: others may wait for its result */
    struct query *followers; /* likewise: references, linked by follower_next */
    struct query *follower_next;
    bool source_set; /* source holds; written before the query is handed to a delivery thread */
    struct qid source;
    bool whole; /* registry's thread: accept and end were written as one */
    /* Idempotency: */
    const char *idempotency_key; /* (C) NULL none */
    uint8_t body_hash[32];       /* (C) */
    const struct err
        *no_room;   /* (C) why nothing new is accepted: it is only asked whether the key is known */
    bool duplicate; /* (L) an earlier query has the key: `original` */
    struct qid original;
};

struct query *query_new(struct service *s);
/* The one mover. Lock held. False when the table forbids it: somebody else's end came first. */
bool query_move(struct query *q, enum query_state to);
/* Sets flags, bumps the version when `moved`, wakes waiters. Lock held on entry, released inside. */
void query_signal_unlock(struct query *q, uint32_t flags, bool moved);
/* Which result single-result dialects show: the last that returned rows, else the last. NULL when none. Lock
 * held or query ended. */
struct result *query_shown_result(struct query *q);

/* Its result was deleted, or its time is over: from that moment on nobody is shown it, whenever the janitor comes.
 * Lock held. */
bool query_gone(const struct query *q);

#endif

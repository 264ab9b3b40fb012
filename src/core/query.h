/*
 * query: what was submitted, its state, and who waits for it.
 *
 * State is a table of legal moves with one mover, query_move(); no other code assigns it. A query is
 * reference counted. Fields marked (L) are guarded by q->lock; fields marked (C) are constant after creation.
 * Terminal states are written once.
 *
 * Lock order: scheduler -> query -> registry queue. Never held while calling an engine, the spool or a
 * client.
 */
#ifndef QUERN_CORE_QUERY_H
#define QUERN_CORE_QUERY_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/id.h"
#include "core/identity.h"
#include "encoders/schema.h"
#include "engines/wire.h"
#include "results/segment.h"

enum query_state { QUERY_QUEUED = 1, QUERY_RUNNING, QUERY_FINISHED, QUERY_FAILED, QUERY_CANCELED };
#define QUERY_STATES 6
static inline bool query_state_ended(enum query_state s)
{
    return s >= QUERY_FINISHED;
}
const char *query_state_name(enum query_state s);
/* The table: may a query go from `from` to `to`? */
bool query_move_legal(enum query_state from, enum query_state to);

enum query_phase { PHASE_NONE, PHASE_DELIVERING };
enum dialect_id {
    DIALECT_NONE,
    DIALECT_KAKAO,
    DIALECT_JACKDB,
    DIALECT_CANNER,
    DIALECT_DATA360,
    DIALECT_KYLIN,
    DIALECT_NEUTRAL,
    DIALECTS =
        16 /* room: a dialect's file may take a number that is free. It is stored, so it never changes */
};

/* ---- endings: one row for each way a query can end (also docs/life.md and tests/faults) ---- */
enum ending {
    END_NONE,
    END_FINISHED,
    END_SQL_ERROR,
    END_REFUSED,
    END_CANCELED_QUEUED,
    END_CANCELED_RUNNING,
    END_RUN_TIMEOUT,
    END_PLAN_TIMEOUT,
    END_MEMORY,
    END_RESULT_LIMIT,
    END_ENGINE_CRASHED,
    END_ENGINE_HUNG,
    END_ENGINE_LIED,
    END_DISK_FULL,
    END_RESTARTED,
    END_DELIVERY,
    END_INTERNAL,
    END_CATALOG_WAIT,
    ENDINGS
};
struct ending_row {
    enum ending ending;
    const char *name; /* "engine_crashed": metric label and audit word */
    enum query_state state;
    const char *sqlstate;   /* "" where the engine's own is kept */
    const char *trino_name; /* "" where it follows from the SQLSTATE */
    const char *text;       /* "" where the engine's own text is kept */
    const char *slot_free;  /* documentation: how soon the slot is free */
};
extern const struct ending_row endings[ENDINGS];
/* Trino's error for a SQLSTATE: name, number, type. Never NULL. */
struct trino_error {
    const char *sqlstate;
    const char *name;
    int number;
    const char *type;
};
const struct trino_error *trino_error_of(const char *sqlstate, enum ending ending);

/* ---- one result (one per statement) ---- */
struct result {
    uint32_t ordinal;
    uint8_t kind;          /* enum wire_kind */
    int64_t update_count;  /* -1 none */
    uint64_t rows, bytes;  /* bytes of the batches */
    struct schema *schema; /* in the query's arena; NULL when none */
    bool sealed;           /* file exists and the manifest is committed */
    bool is_inline;        /* batch kept in the registry */
    struct segment_facts facts;
    struct qid
        origin; /* the query whose run made the file (its footer says so); another's when the result was reused */
    const uint8_t *index;
    uint32_t index_len; /* inline */
    const uint8_t *body;
    uint32_t body_len;
    bool cut;                     /* row_limit cut it */
    int64_t started_ms, ended_ms; /* of a script's statement; 0 = the query's own */
    const struct err
        *error; /* RESULT_ERROR; or reading its rows broke off, those before are there. NULL none */
};
/* Kind of a result that is an error (a script's); the others are enum wire_kind. */
#define RESULT_ERROR 64

/* How a script runs: several statements in one text, one after the other in one engine session, one result
 * each, which stays readable whatever becomes of the next ones. */
enum script_mode {
    SCRIPT = 1,        /* one statement is allowed too: its end keeps rows that came before it */
    SCRIPT_ATOMIC = 2, /* one transaction, undone at the first error */
    SCRIPT_GO_ON = 4   /* an error does not keep the statements behind it from running */
};

/* Wake reasons a waiter can wait for; a query's flags only ever gain bits. ENDED brings all of them. */
enum query_flag {
    QF_ACCEPTED = 1, /* its record is durable (or it was refused: then QF_ENDED too and `refused`) */
    QF_PLANNED = 2,  /* schema known, or it never will be */
    QF_ROWS = 4,     /* at least one row can be read, or it ended */
    QF_ENDED = 8,    /* terminal, and that is durable */
    QF_UNRECORDED =
        16 /* it has ended, and for some seconds that could not be recorded; readers see what is */
};

struct query;

/* Someone who waits; lives in the caller's memory until it was woken or query_unwait returned. wake() is
 * called at most once, from any thread, with no lock held that the service needs; it must not block. */
struct query_waiter {
    void (*wake)(struct query_waiter *w);
    uint32_t until;                    /* wake when (flags & until) == until; 0 = not by flags */
    uint64_t version;                  /* wake when the query's version differs; 0 = not by version */
    bool for_ever;                     /* has no deadline: wake when the end cannot be recorded, too */
    bool queued;                       /* (L) */
    struct query_waiter *next, **prev; /* (L) */
};

/* Scalars of a query at one instant. Texts are borrowed from the query (C) or constant once set; valid while
 * the reference is held. */
struct query_view {
    struct qid id;
    int64_t workspace, user;
    const char *workspace_name, *user_name;
    enum dialect_id dialect;
    enum query_state state; /* what readers may be told: terminal only when durable */
    enum query_phase phase;
    bool waiting; /* QUEUED, and it is the workspace's catalog that it waits for */
    enum ending ending;
    uint32_t flags;
    uint64_t version; /* moves on acceptance, planning, new rows, end; not on progress */
    const char *sql;
    size_t sql_len;
    const char *default_source, *default_database, *timezone, *language, *bucket, *path, *request;
    int64_t row_limit;
    bool reuse;
    int32_t max_reuse_age_s;
    bool reused;
    int64_t reused_created_ms;
    int64_t created_ms, started_ms, ended_ms, expires_ms, gone_ms; /* 0 = not yet */
    int64_t queued_ns, plan_ns, run_ns, elapsed_ns;
    double progress; /* 0..1 */
    uint64_t rows_scanned, bytes_scanned;
    uint64_t
        rows_processed; /* rows_scanned, or the rows that came out where the engine cannot say what it reads;
                              * never falls */
    uint64_t peak_memory; /* bytes; 0 = it ended before the first heartbeat */
    bool scanned;
    uint32_t runs;
    uint32_t note; /* the dialect's own small number, see service_note(); 0 = none */
    uint8_t kind;  /* enum wire_kind, valid once QF_PLANNED */
    uint32_t nresults;
    uint64_t rows, bytes, batches; /* readable now, of the chosen result (of a script under way: none yet) */
    bool stored;                   /* delivered to the bucket */
    uint64_t file_bytes;           /* of the delivered file */
    uint64_t file_replaced;        /* characters of it that its charset does not have */
    bool cut;
    const struct schema *schema; /* NULL while unknown or none */
    struct err error;            /* code ERR_NONE when none */
};

struct query *query_ref(struct query *q);
void query_unref(struct query *q);
void query_view(struct query *q, struct query_view *ret);
const struct qid *query_id(const struct query *q);

/* Registers w; false (and not registered) when it would wake at once. */
bool query_wait(struct query *q, struct query_waiter *w);
/* Takes w back; false when wake() was or is being called (then the caller must expect it). */
bool query_unwait(struct query *q, struct query_waiter *w);

#endif

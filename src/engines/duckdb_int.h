/*
 * duckdb_int: what the files around the engine library share. Only they include duckdb.h.
 *
 *   duckdb_sql.c     text of our own for the engine: run, quote
 *   duckdb_open.c    the instance: settings, catalog, datasets; sessions
 *   duckdb_policy.c  which statements may run
 *   duckdb_plan.c    prepare, parameters, schema; duckdb_describe.c: where parameters decide the schema
 *   duckdb_types.c   the engine's types as columns (struct node tree)
 *   duckdb_rows.c    vectors -> batch body (measure, then fill)
 *   duckdb_copy.c    the library's own copy of a chunk, made here
 *   duckdb_text.c    values that travel as text
 *   duckdb_run.c     one job from begin to end; duckdb_stream.c: its rows
 *   duckdb_ready.c   statements that stay prepared
 *   duckdb_scan.c    rows and bytes that a run read
 *   duckdb_script.c  several statements in one text, and their session
 *   duckdb_error.c   the engine's errors as ours
 *   compat*.c        SQL of the Trino family, semantics profiles (compat.h)
 *
 * Thread: everything here belongs to the job thread, except duck_interrupt and duck_progress (main thread;
 * locked by `mu`).
 */
#ifndef QUERN_ENGINES_DUCKDB_INT_H
#define QUERN_ENGINES_DUCKDB_INT_H

#include <duckdb.h>
#include <pthread.h>

#include "base/arena.h"
#include "base/buf.h"
#include "engines/duck.h"
#include "engines/slots.h"

/* Numbers that the pinned header does not know yet. */
#define DUCK_STATEMENT_MERGE 30
#define DUCK_TYPE_GEOMETRY   40
#define DUCK_TYPE_VARIANT    41

#define SESSIONS                                                                                             \
    4 /* dialects differ in profile and default names; more kinds than that seldom meet in one process */

/* What a session is made for; its settings differ. */
enum session_use {
    SESSION_PLAIN,
    SESSION_COUNTS, /* the library keeps a profile, duckdb_scan.c */
    SESSION_BARE,   /* reads nothing: without the library's optimizer, which is half of the cost then */
};

/* A connection with its session settings applied; made ahead of time with those of the last job, or that job's own
 * where its statement left nothing behind (duck__session_keep). */
struct session {
    duckdb_connection conn;
    uint32_t uses; /* jobs that it served */
    uint64_t kept; /* when it was put aside; the oldest makes room */
    uint8_t use;   /* enum session_use */
    uint8_t profile;
    bool quiet;              /* of SESSION_COUNTS: the library keeps no profile now */
    struct ready_set *ready; /* statements that stay prepared; NULL none */
    char timezone[64];
    char catalog[256], schema[256];
};

struct duck {
    const struct wire_setup *setup;
    duckdb_database db;
    struct session next[SESSIONS]; /* for jobs to come; conn NULL: none made */
    uint64_t kept;                 /* sessions put aside so far */
    struct session like;           /* what the last job asked for */
    struct session script;         /* of a script under way; conn NULL: none */
    bool script_tx;                /* all of it in one transaction */
    bool attached;                 /* the catalog's file is open */
    bool broken;                   /* the instance may be invalid */
    bool heavy;                    /* job thread: the last job took long enough to be worth a malloc_trim */
    struct dataset_facts *facts;   /* one a data set, duckdb_scan.c; NULL none yet */
    struct slot_views slots;       /* job thread */
    pthread_mutex_t mu;
    duckdb_connection current; /* of the running job, for interrupt and progress */
};

/* ---- duckdb_sql.c ---- */
int duck__exec(duckdb_connection c, const char *sql, struct err *e) MUST_USE;
/* Appends 'text' with quotes doubled. */
void duck__quote(struct buf *b, char quote, const char *text);
/* Appends where a data set's files are, as the engine's reader is told. */
void duck__dataset_place(struct buf *b, const struct wire_dataset *d);

/* ---- duckdb_open.c ---- */
int duck__session(struct duck *d, const struct wire_job *job, enum session_use use, struct session *ret,
                  struct err *e) MUST_USE;
/* The session serves the next job as well: its last statement only read, to its end, and left no trace in it. False when
 * it is due to be made anew; then it is the caller's still. */
bool duck__session_keep(struct duck *d, struct session *s) MUST_USE;
/* Disconnects; idempotent. */
void duck__session_end(struct session *s);
/* Makes the next session ahead of time, with the settings of `like`. */
void duck__session_ahead(struct duck *d, const struct session *like);
/* A writer lets go of the catalog: checkpoint, detach. */
int duck__close_catalog(struct duck *d, struct err *e) MUST_USE;
/* Every dataset's view is still ours, on this connection's transaction. */
int duck__datasets_intact(struct duck *d, duckdb_connection c, struct err *e) MUST_USE;
const char *duck__view_marker(void);

/* ---- duckdb_scan.c ---- */
/* What the session's statements scan is counted. */
int duck__profile_on(duckdb_connection c, struct err *e) MUST_USE;
/* Takes that back. */
int duck__profile_off(duckdb_connection c, struct err *e) MUST_USE;
struct file_stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};
#define SCANNED_FILES 8
struct scanned {
    uint64_t rows, bytes;
    bool whole;      /* it read whole Parquet files of data sets, those below, and nothing else */
    uint32_t nscans; /* each holds a descriptor while its statement is prepared */
    uint32_t nfiles;
    struct {
        uint32_t dataset; /* number in the setup */
        struct file_stamp stamp;
    } files[SCANNED_FILES];
};
/* After the last row was fetched: what it scanned; zeros when the library kept no profile. */
void duck__scanned(struct duck *d, duckdb_connection c, struct scanned *ret);
void duck__facts_free(struct duck *d);

/* ---- duckdb_error.c ---- */
/* Fills *e from the engine's message (JSON or plain); sql gives positions (NULL: none). Returns e->code;
 * *ret_kind is a wire_failure. */
int duck__error(const struct duck *d, const char *message, int type, const char *sql, size_t sql_len,
                struct err *e, uint32_t *ret_kind);
/* Takes absolute paths out of a text. */
void duck__scrub(const struct duck *d, char *text);
void duck__position(struct err *e, const char *sql, size_t sql_len, size_t byte);

/* ---- duckdb_policy.c ---- */
struct statement {
    int type;     /* duckdb_statement_type */
    uint8_t kind; /* enum wire_kind */
    bool writes;  /* changes data_catalog */
    bool returning;
    bool unreliable_schema; /* types known only after binding */
};
/* What can be said before preparing: first word. ERR_DENIED. */
/* ERR_LIMIT for a text that the library's scanner would take for ever to read. Before it is given one. */
int duck__policy_runs(const char *sql, size_t n, struct err *e) MUST_USE;
int duck__policy_text(const char *sql, size_t n, struct err *e) MUST_USE;
/* Its functions and views, by its text and the engine's parse tree: before preparing, since binding runs what is
 * constant, and an error may tell what came of it. ERR_DENIED. */
int duck__policy_functions(duckdb_connection c, const struct wire_job *job, struct err *e) MUST_USE;
/* What else may run, after preparing. ERR_DENIED; *ret is filled on success. */
int duck__policy(struct duck *d, duckdb_connection c, const struct wire_job *job,
                 duckdb_prepared_statement ps, struct statement *ret, struct err *e) MUST_USE;
/* Whether the first of several extracted statements is the engine's own (PIVOT makes an enum first). */
bool duck__policy_pivot(const char *sql, size_t n);
/* The name occurs as an identifier; one of the `count` names. */
bool duck__policy_mentions(const char *sql, size_t n, const char *name);
bool duck__policy_mentions_any(const char *sql, size_t n, const char *const *names, size_t count);

/* ---- duckdb_types.c ---- */
struct node {
    const struct column *column;
    duckdb_type id, internal; /* internal: of DECIMAL and ENUM */
    uint64_t array_size;
    uint32_t dict_len;
    const char *const *dict; /* ENUM */
    const uint32_t *dict_bytes;
    uint32_t nchildren;
    struct node *children;
    /* measured */
    uint64_t rows, nulls, bytes;
    /* filling */
    uint8_t *validity, *values, *data, *data_end;
    int32_t *offsets;
    uint64_t row, byte;
};
struct duck_rows;
struct rows_plan {
    struct schema *schema;
    struct node *nodes;
    bool needs_cast; /* a column must be cast to VARCHAR first */
};
int duck__column(struct arena *a, duckdb_logical_type type, const char *name, unsigned depth,
                 struct column *c, struct node *n, bool *needs_cast, struct err *e) MUST_USE;
/* Appends the cast target of a type whose unsupported parts are text. */
void duck__cast_type(struct buf *b, duckdb_logical_type type);

/* ---- duckdb_text.c ---- */
#define DUCK_TEXT_MAX 64
/* Text of the values that have a short one; returns its length. */
size_t duck__text(duckdb_type id, const void *data, idx_t row, char out[DUCK_TEXT_MAX]);
bool duck__is_short_text(duckdb_type id);
size_t duck__bit_length(const duckdb_string_t *s);
void duck__bit_text(const duckdb_string_t *s, char *out);
/* Decimal text of a BIGNUM; malloc, NULL when out of memory. */
char *duck__bignum_text(const duckdb_string_t *s, size_t *ret_len);

/* ---- duckdb_rows.c ---- */
#define ROWS_CHUNKS 64
struct kept {
    duckdb_data_chunk chunk;
    idx_t from, to;
    bool owned;
};
struct duck_rows {
    const struct schema *schema;
    struct node *nodes;
    uint32_t ncolumns;
    struct kept kept[ROWS_CHUNKS];
    uint32_t nkept;
    uint64_t nrows;
    uint64_t *saved; /* counters of all nodes, to take a measurement back */
    struct arena *arena;
};
int duck__rows_init(struct duck_rows *r, struct arena *a, const struct schema *s, struct node *nodes,
                    struct err *e) MUST_USE;
/* Measures rows [from, to) of a chunk on top of what is kept. */
int duck__rows_measure(struct duck_rows *r, duckdb_data_chunk chunk, idx_t from, idx_t to,
                       struct err *e) MUST_USE;
void duck__rows_save(struct duck_rows *r);
void duck__rows_restore(struct duck_rows *r);
uint64_t duck__rows_body(const struct duck_rows *r);
/* Writes index and body (index_len = batch_index_size, body at the next multiple of 64 when `gap`). */
int duck__rows_index(struct duck_rows *r, struct buf *out, uint64_t *ret_body) MUST_USE;
void duck__rows_fill(struct duck_rows *r, uint8_t *body);
void duck__rows_reset(struct duck_rows *r);

/* ---- duckdb_plan.c ---- */
struct plan {
    duckdb_extracted_statements extracted;
    duckdb_prepared_statement ps;
    struct statement st;
    struct rows_plan out;
    uint32_t nparams;
    const char *text_column; /* name of the only column of WIRE_KIND_TEXT; NULL: "Query Plan" */
    int8_t kind;             /* 1 + enum wire_kind instead of what the type says; 0: none */
    bool wrapped;            /* ps is not the job's text alone */
};
int duck__plan(struct duck *d, duckdb_connection c, const struct wire_job *job, struct arena *a,
               struct plan *ret, struct err *e, uint32_t *ret_kind) MUST_USE;
void duck__plan_free(struct plan *p);
/* Columns of a prepared statement or, with result, of a result. */
int duck__plan_columns(struct arena *a, struct plan *p, duckdb_result *result, struct err *e) MUST_USE;
/* Values for the parameters of ps, in order; *ret_n is how many it has. */
int duck__bind(struct duck *d, duckdb_connection c, const struct wire_job *job, duckdb_prepared_statement ps,
               uint32_t *ret_n, struct err *e, uint32_t *ret_kind) MUST_USE;
/* ---- duckdb_describe.c ---- */
/* Names and types that hang on parameters, before the run or instead of it; parameters not given are NULL.
 * may_run: where only a run with LIMIT 0 tells, it does that, else the schema stays unreliable. */
int duck__plan_resolve(struct duck *d, duckdb_connection c, const struct wire_job *job, struct arena *a,
                       struct plan *p, bool may_run, struct err *e, uint32_t *ret_kind) MUST_USE;

/* ---- duckdb_reason.c ---- */
/* The error of a read that was only reported as interrupted: it runs once more for it, as long as before. Negative and
 * *e, *ret_kind; 0 when none came up (volatile functions, files that changed). */
int duck__reason(struct duck *d, duckdb_connection c, const struct wire_job *job, struct err *e,
                 uint32_t *ret_kind) MUST_USE;

/* ---- duckdb_ready.c ---- */
struct ready {
    char *sql; /* NULL none */
    uint32_t sql_len;
    duckdb_prepared_statement ps;
    struct statement st;
    struct scanned scanned; /* by each of its runs */
    uint64_t used;
};
bool duck__stamp(const char *path, struct file_stamp *ret);
bool duck__same_stamp(const struct file_stamp *a, const struct file_stamp *b);
/* The session's prepared statement for the job; the set's, until the session ends. */
struct ready *duck__ready_find(const struct duck *d, struct session *s, const struct wire_job *job);
/* Takes p->ps over, when it is worth it. */
void duck__ready_keep(struct session *s, const struct wire_job *job, struct plan *p,
                      const struct scanned *scanned);
void duck__ready_free(struct session *s);

/* ---- duckdb_script.c ---- */
#define DUCK_TOUCH_WRITER "CREATE SCHEMA data_catalog.quern_internal; DROP SCHEMA data_catalog.quern_internal"
/* What lies between the semicolons that stand in no string, quoted name or comment; a piece without a token is
 * none. Pure, hostile bytes allowed, fuzzed. */
int duck__cut(struct arena *a, const char *sql, size_t n, struct wire_script *ret, struct err *e) MUST_USE;
/* The statements of the text, as the engine's parser agrees. Nothing is run. */
int duck__split(struct duck *d, duckdb_connection c, const struct wire_job *job, struct arena *a,
                struct wire_script *ret, struct err *e, uint32_t *kind) MUST_USE;
/* d->script is there, in its transaction when the job wants one. */
int duck__script_begin(struct duck *d, const struct wire_job *job, struct err *e) MUST_USE;
int duck__script_commit(struct duck *d, struct err *e) MUST_USE;
/* Undoes an open transaction; idempotent. */
void duck__script_end(struct duck *d);

#endif

/*
 * service: all that a dialect may do. Submit, find, wait (query.h), rows, cancel, delete, list.
 *
 * Threads: calls marked (any) never block and may run on an HTTP thread. Calls marked (worker) may read disk
 * or registry and must run on a worker. Visibility is decided here and nowhere else: what the identity may
 * not see is ERR_NOTFOUND.
 */
#ifndef QUERN_CORE_SERVICE_H
#define QUERN_CORE_SERVICE_H

#include "core/query.h"
#include "encoders/encoder.h"

struct service;
struct render_spec;
struct registry;
struct workspaces;
struct sources;
struct pool;

/* ---- life ---- */
/* Text of a delivered result's metadata file, in the dialect's own form; main registers it. Appends to out. */
typedef int (*delivery_metadata_fn)(const struct query_view *v, struct buf *out);
/* What a finished result of a dialect's query is delivered as: one file of rows, and where the dialect has
 * one a metadata file that is written last. Texts live in the plan's arena, or are constant. */
struct delivery_plan {
    const char *key;          /* of the object in the bucket: "a/b/c.csv" */
    const char *metadata_key; /* NULL none */
    const struct encoder *encoder;
    struct encode_options options;
    const struct render_spec
        *render;     /* a file (xlsx, parquet: core/render.h) instead of the encoder's; NULL */
    bool text_lines; /* EXPLAIN and the like are delivered as their lines, whatever the encoder */
    bool owned;      /* the file goes when the result is deleted or expires; else it is the customer's */
};
/* Any thread that may block; asked again after a restart, and when the result goes: the same view, the same
 * plan. */
typedef int (*delivery_plan_fn)(const struct query_view *v, struct arena *a, struct delivery_plan *ret,
                                struct err *e);
/* plan and metadata by dialect, NULL = its queries have no such file: there from the start, because
 * deliveries that a restart interrupted go on inside service_open. */
struct service_options {
    struct registry *registry;
    struct workspaces *workspaces;
    struct sources *sources;
    struct pool *pool;
    const char *data_dir;
    delivery_plan_fn plan[DIALECTS];
    delivery_metadata_fn metadata[DIALECTS];
};
/* Opens the spool, recovers what an earlier run left (design.md decision 1), starts workers. Blocking. */
int service_open(const struct service_options *o, struct service **ret, struct err *e) MUST_USE;
/* From now on submits answer ERR_UNAVAILABLE. */
void service_drain(struct service *s);
/* Takes submits again. */
void service_undrain(struct service *s);
bool service_draining(struct service *s);
/* Starts no queued query any more, ends running engines (their queries are queued again or failed by the next
 * start), joins all threads. The caller drained before: service_drain, then waited for service_running() to
 * reach 0 or its deadline. No call into the service may be under way. */
void service_close(struct service *s);
/* Queries that have not ended; and those that hold a run slot or are being delivered. */
int service_live(struct service *s);
int service_running(struct service *s);
/* No queued query starts while paused (bench, maintenance). */
void service_pause(struct service *s, bool pause);

/* What a dialect submits; texts are copied. */
struct submit {
    enum dialect_id dialect;
    const char *sql;
    size_t sql_len;
    const struct wire_param *params;
    uint32_t nparams;
    uint8_t profile; /* enum wire_profile */
    const char *default_source,
        *default_database; /* NULL: unqualified names do not resolve (see data_catalog.main, design.md 7) */
    const char *timezone, *language; /* NULL = default */
    int64_t row_limit;               /* -1 none, 0 schema only */
    int64_t run_timeout_ms;          /* 0 = config */
    const char *bucket, *path;       /* deliver there; NULL = no delivery, "" = the workspace's own folder */
    const char
        *request; /* the dialect's own memory, JSON text up to 16 KiB, given back in the view; NULL none */
    bool reuse;
    int32_t max_reuse_age_s; /* age in seconds at which an earlier result is still good */
    bool read_only;          /* the dialect allows only queries: writes are refused with 0A000 */
    uint8_t script;          /* bits of enum script_mode; 0 = exactly one statement */
    int64_t keep_ms;         /* result retention: 0 = result.retention, -1 = until it is deleted */
    bool plan_now;           /* compile at once, on a plan slot when no run slot is free (Data 360) */
    bool hold; /* the caller waits for the end: acceptance may be held up to 2 ms to share a transaction */
    const char *idempotency_key; /* NULL none */
    int64_t
        created_ms; /* creation instant (id second, created_ms of the view); 0 = now. Kakao's folder date must agree with it */
};

/* (any) Creates the query and starts the durable record; the caller then waits for QF_ACCEPTED (or more)
 * before it answers. The reference is the caller's. ERR_INVALID, ERR_DENIED (reader), ERR_NOTFOUND (bucket),
 * ERR_LIMIT (queue full; 429), ERR_UNAVAILABLE (draining; 503). After the wait check service_refusal(). */
int service_submit(struct service *s, const struct identity *who, const struct submit *in, struct query **ret,
                   struct err *e) MUST_USE;
/* 0 when the query was recorded; else the error of recording it (ERR_UNAVAILABLE: disk full ...). Valid once
 * QF_ACCEPTED is set. */
int service_refusal(struct query *q, struct err *e) MUST_USE;
/* As service_refusal; and when an earlier query has the same idempotency key and body, *inout becomes that
 * one (a new reference; the one that came in stays the caller's too). (any) unless ERR_WOULDBLOCK.
 * ERR_CONFLICT: the key was used with another body. */
int service_settle(struct service *s, const struct identity *who, bool may_block, struct query **inout,
                   struct err *e) MUST_USE;

/* (any when may_block is false: ERR_WOULDBLOCK if the registry must be read; (worker) otherwise.) Both id
 * spellings. ERR_NOTFOUND. */
int service_find(struct service *s, const struct identity *who, const char *id, size_t id_len, bool may_block,
                 struct query **ret, struct err *e) MUST_USE;

/* (as service_find) For whoever comes by a link that service_linked found good: it names the query, and nobody is
 * asked who he is. */
int service_find_linked(struct service *s, const char *id, size_t id_len, bool may_block, struct query **ret,
                        struct err *e) MUST_USE;
/* (any) The mark of a link's text, that only this installation can make: base64url, LINK_MARK_LEN characters and
 * NUL. A link is valid as long as its text says; who makes the text puts an end into it. */
#define LINK_MARK_LEN 43
void service_link(struct service *s, const char *text, size_t n, char ret_mark[LINK_MARK_LEN + 1]);
bool service_linked(struct service *s, const char *text, size_t n, const char *mark, size_t mark_len);

/* (any) Owner or admin, else ERR_DENIED. ERR_CONFLICT when ended. The record is CANCELED at once for all
 * readers in this process; *wait_durable: the caller waits for QF_ENDED before it answers. */
int service_cancel(struct service *s, const struct identity *who, struct query *q, struct err *e) MUST_USE;
/* (any) Deletes the result (cancels first when it runs). Role and owner as cancel. The record stays. */
int service_delete(struct service *s, const struct identity *who, struct query *q, struct err *e) MUST_USE;

/* (worker) Deletes (as above) the results of all queries of `dialect` in the caller's workspace that deliver
 * files and were last changed (ended; or submitted, when they have not ended) before before_ms. Admins only.
 * Durable when it returns; *ret_n (may be NULL) is how many. */
int service_delete_older(struct service *s, const struct identity *who, enum dialect_id dialect,
                         int64_t before_ms, uint64_t *ret_n, struct err *e) MUST_USE;
/* (worker) Waits until what was asked for before is recorded. */
void service_sync(struct service *s);

/* (worker) Keeps one small number of the dialect with the query: query_view.note at once, durable when it
 * returns. 0 = never set. Data 360 remembers there how a pending submit was answered, because chunk numbers
 * depend on it (docs/data360.md). ERR_UNAVAILABLE when it cannot be recorded. */
int service_note(struct service *s, struct query *q, uint32_t note, struct err *e) MUST_USE;

/* ---- results, for the dialect that shows each of several (service_results.c) ---- */
struct result_view {
    uint32_t ordinal;
    uint8_t kind;                 /* enum wire_kind, or RESULT_ERROR */
    int64_t update_count;         /* -1 none */
    uint64_t rows;                /* that can be read now */
    const struct schema *schema;  /* NULL none; lives as long as the query */
    bool more;                    /* rows are still coming */
    bool cut;                     /* submit.row_limit cut it */
    int64_t started_ms, ended_ms; /* ended 0: it goes on */
    struct err error;             /* RESULT_ERROR, or what broke the rows off; code ERR_NONE when none */
};
/* (any) Results there are now: complete ones, and the one under way once it has rows. */
uint32_t service_nresults(struct query *q);
/* (any) False: there is none of this number, yet. */
bool service_result(struct query *q, uint32_t ordinal, struct result_view *ret);

/* ---- rows ---- */
/* A pin on one result's rows; survives expiry and deletion until closed. */
struct rows;
/* (worker) Result `ordinal` (UINT32_MAX = the one that single-result dialects show; results that came before a
 * bad end are there by their number). Works while the query
 * runs if rows are readable; then marks the query exposed durably first. ERR_GONE (deleted, expired),
 * ERR_CONFLICT (no rows yet, or ended without a result; use the view), ERR_CORRUPT, ERR_IO. */
/* (any) rows_open for the shown result, and reading its rows, would not block now: a small result that is
 * held in memory. */
bool rows_at_once(struct query *q);
int rows_open(struct service *s, struct query *q, uint32_t ordinal, struct rows **ret,
              struct err *e) MUST_USE;
void rows_close(struct rows *r); /* (any) */
const struct qid *rows_query_id(const struct rows *r);
struct segment *rows_segment(struct rows *r); /* borrowed; row and batch counts grow while the query runs */
bool rows_complete(const struct rows *r);     /* opened on a finished result: counts are final */

/* ---- buckets, sources: what Kakao needs to know before it accepts ---- */
/* UNREACHABLE: it cannot be told now, so nobody is told that a right is missing. */
enum bucket_state { BUCKET_OK, BUCKET_UNKNOWN, BUCKET_NOT_WRITABLE, BUCKET_UNREACHABLE };
/* (worker) Looks at the bucket of the workspace. */
enum bucket_state service_bucket_state(struct service *s, const struct identity *who, const char *name);
/* (any) Was it found good within the last second, so that service_bucket_state answers without looking? */
bool service_bucket_fresh(struct service *s, const struct identity *who, const char *name);

/* (any) The data sources; what may be done with them is core/source.h. */
struct sources *service_sources(struct service *s);

/* (any) The name of the workspace's default bucket, in `a`; "" is the folder that every workspace has without
 * an administrator. What a submit names as `bucket`, so that a later change of the default moves nothing. */
int service_default_bucket(struct service *s, const struct identity *who, struct arena *a, const char **ret,
                           struct err *e) MUST_USE;
/* (worker) URL of the bucket that a query delivers to, in `a`. ERR_NOTFOUND without one. */
int service_bucket_url(struct service *s, const struct query_view *v, struct arena *a, const char **ret,
                       struct err *e) MUST_USE;

/* ---- a workspace's engine: on or off, in use or at rest (power.c) ---- */
struct engine_use {
    bool on; /* off: its queries wait until somebody switches it on */
    bool
        awake; /* on, and used within the last idle_ms: later it has no process left, the next query wakes it */
    int64_t last_used_ms; /* the workspace's creation before the first use */
    int64_t idle_ms;      /* engine.idle */
};
/* (worker) */
int service_engine(struct service *s, const struct identity *who, struct engine_use *ret,
                   struct err *e) MUST_USE;
/* (worker) Durable when it returns. On: what waits starts, and an engine at rest wakes. Off: nothing new starts
 * and idle processes leave; what runs goes on. ERR_DENIED (reader). */
int service_engine_switch(struct service *s, const struct identity *who, bool on, struct err *e) MUST_USE;

/* ---- list ---- */
enum list_sort {
    SORT_CREATED,
    SORT_ID,
    SORT_TEXT,
    SORT_STATE,
    SORT_ELAPSED,
    SORT_SCANNED,
    SORT_CREATOR,
    SORT_STORAGE
};
struct list_order {
    enum list_sort by;
    bool desc;
};
struct list_filter {
    uint32_t states;      /* bit (1 << enum query_state); 0 = all */
    const char *creator;  /* NULL any */
    const struct qid *id; /* NULL any */
    bool there;           /* only those whose result is not gone; the total counts all */
    uint64_t offset;
    uint32_t limit;
    uint32_t norders;
    struct list_order orders[8]; /* none: newest first */
};
struct list {
    struct query **queries;
    uint32_t n;
    uint64_t total;
}; /* references held by the list */
/* (worker) Only the ids of a list, in `a`; each is then taken by service_list_get, so that a long list is never
 * in memory whole. */
int service_list_ids(struct service *s, const struct identity *who, const struct list_filter *f,
                     struct arena *a, struct qid **ret_ids, size_t *ret_n, uint64_t *ret_total,
                     struct err *e) MUST_USE;
/* (worker) ERR_NOTFOUND: history retention took it meanwhile. */
int service_list_get(struct service *s, const struct qid *id, struct query **ret, struct err *e) MUST_USE;
/* (worker) */
int service_list(struct service *s, const struct identity *who, const struct list_filter *f, struct list *ret,
                 struct err *e) MUST_USE;
void list_free(struct list *l);

/* ---- for http ---- */
bool service_ready(struct service *s, struct err *e); /* can accept now; else why not */

#endif

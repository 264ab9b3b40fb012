/*
 * registry: what must survive. SQLite (WAL, synchronous=FULL) in DIR/registry.db; only registry*.c include
 * sqlite3.h.
 *
 * Schema: see registry_schema.c (STRICT tables, user_version migrations). Writing: one writer thread. A write
 * is a caller-owned `struct registry_write`; whatever is queued is applied in one transaction (a refused write
 * takes back itself only) and committed with one fsync, then every done() is called on that thread. A failed
 * commit fails all of its writes. A failed fsync ends the process: the kernel may have dropped the pages
 * (specs/reliability.md section 1.6). Reading: registry_get_*, registry_list on any thread that may block (a
 * small pool of read-only connections).
 */
#ifndef QUERN_CORE_REGISTRY_H
#define QUERN_CORE_REGISTRY_H

#include "base/arena.h"
#include "base/id.h"
#include "core/query.h"

/* Longest age a dialect may ask for in reuse (Kakao: 1440 minutes). */
#define REUSE_AGE_MAX_MS (1440LL * 60000)

struct registry;

/* Opens or makes DIR/registry.db, migrates, checks, starts the writer. ERR_CORRUPT, ERR_IO, ERR_CONFLICT
 * (newer version than this program). */
int registry_open(const char *data_dir, struct registry **ret, struct err *e) MUST_USE;
/* Did the run before this one end by registry_close? */
bool registry_was_clean(const struct registry *r);
/* Before the first write: fn is called on the writer thread when a transaction meets a full disk; when it
 * says true (it made room) the transaction is tried once more: apply functions may then be called twice. */
void registry_on_full(struct registry *r, bool (*fn)(void *arg), void *arg);
/* Applies what is queued, checkpoints, joins the writer. */
void registry_close(struct registry *r);

struct registry_write {
    /* On the writer thread, inside the transaction. Non-zero rolls back this write only; may be called again
     * for another attempt. */
    int (*apply)(struct registry *r, struct registry_write *w, struct err *e);
    /* On the writer thread after commit; rc is apply's or the commit's. Must not block. NULL allowed. */
    void (*done)(struct registry_write *w, int rc, const struct err *e);
    int64_t
        hold_until_ns; /* not applied before this instant unless another write is applied anyway or registry_hurry was called; 0 = at once */
    struct registry_write *next; /* registry's own */
    int rc;
    struct err error; /* registry's own */
};
/* (any thread, never blocks) */
void registry_queue(struct registry *r, struct registry_write *w);
/* Lets held writes go now. */
void registry_hurry(struct registry *r);
/* Queues w and lets everything go at once; when nobody is committing, this thread does it and calls the
 * done() of what it committed. For a thread that may block and has nothing better to do; no lock held. */
void registry_queue_here(struct registry *r, struct registry_write *w);
/* Queues and waits for done (threads that may block; not the writer). */
int registry_do(struct registry *r, struct registry_write *w, struct err *e) MUST_USE;
/* Waits until everything queued before the call is applied (threads that may block). */
void registry_sync(struct registry *r);
/* Number of writes waiting. */
int registry_backlog(struct registry *r);

/* ---- query records ---- */

/* All that is kept of a query; texts live in the arena it was loaded into, or the query's. */
struct query_record {
    struct qid id;
    int64_t workspace, user;
    const char *user_name, *workspace_name; /* joined in on load */
    uint8_t dialect, state, phase, ending, profile, kind;
    const char *sql;
    size_t sql_len;
    const uint8_t *params;
    uint32_t params_len; /* encoded parameters, service.c's form; NULL none */
    const char *default_source, *default_database, *timezone, *language, *bucket, *path,
        *request; /* NULL none */
    int64_t row_limit, run_timeout_ms;
    int64_t keep_ms; /* result retention: 0 = result.retention, -1 = until it is deleted */
    uint8_t script;  /* bits of enum script_mode; 0 = exactly one statement */
    bool reuse, reused, read_only, exposed, scanned, stored, cut, writes;
    int32_t max_reuse_age_s;
    int64_t created_ms, started_ms, ended_ms, expires_ms, gone_ms, reused_created_ms;
    int64_t queued_ns, plan_ns, run_ns, elapsed_ns;
    uint64_t rows_scanned, bytes_scanned;
    uint64_t file_bytes, file_replaced; /* of the delivered file */
    uint64_t peak_memory; /* of its engine process, as the heartbeats told it; 0 = it ended before one */
    uint32_t runs, note;
    const uint8_t *reuse_key; /* 32 bytes, or NULL: the result must not be reused (not loaded) */
    const struct err *error;  /* NULL = none (records are many, errors are large) */
    uint32_t nresults;
    struct result *results;
};

/* For apply functions (writer thread only). */
int registry_put_query(struct registry *r, const struct query_record *q,
                       struct err *e) MUST_USE; /* a new row, in any state, with its results */
/* writes: from here on the run may have changed data, so that it is never run again. */
int registry_put_running(struct registry *r, const struct qid *id, int64_t started_ms, uint32_t runs,
                         bool writes, struct err *e) MUST_USE;
int registry_put_exposed(struct registry *r, const struct qid *id, struct err *e) MUST_USE;
int registry_put_note(struct registry *r, const struct qid *id, uint32_t note, struct err *e) MUST_USE;
int registry_put_requeued(struct registry *r, const struct qid *id,
                          struct err *e) MUST_USE; /* drops results of the run before */
/* One result of a running script, before its end. */
int registry_put_result(struct registry *r, const struct qid *id, const struct result *x,
                        struct err *e) MUST_USE;
/* State, phase, ending, times, statistics, error, and all results with their manifests. */
int registry_put_end(struct registry *r, const struct query_record *q, struct err *e) MUST_USE;
int registry_put_gone(struct registry *r, const struct qid *id, int64_t gone_ms,
                      struct err *e) MUST_USE; /* drops inline bytes too */
int registry_delete_query(struct registry *r, const struct qid *id, struct err *e) MUST_USE;

/* Inside a write (it sees what the writes before it did): 0 = nobody used (workspace, user, key); 1 = an earlier
 * query did with the same `body` (32 bytes): *ret_query names it; ERR_CONFLICT = with another body. */
int registry_get_idempotency(struct registry *r, const struct query_record *q, const char *key,
                             const uint8_t body[32], struct qid *ret_query, struct err *e) MUST_USE;
/* Remembers that (workspace, user, key) is q's, for `body`; nobody had it. */
int registry_put_idempotency(struct registry *r, const struct query_record *q, const char *key,
                             const uint8_t body[32], struct err *e) MUST_USE;
/* No result of the workspace's queries so far may be reused any more (a write changed its data). */
int registry_put_unreusable(struct registry *r, int64_t workspace, struct err *e) MUST_USE;
/* At most n; *ret_n is how many went. */
int registry_drop_idempotency(struct registry *r, int64_t before_ms, uint32_t n, uint32_t *ret_n,
                              struct err *e) MUST_USE;

/* ---- reading ---- */
/* Calls fn for each result that may be reused, created after after_ms, among the `most` newest queries, oldest
 * first. */
int registry_each_reusable(struct registry *r, int64_t after_ms, int64_t most,
                           void (*fn)(void *arg, const struct qid *id, int64_t workspace, int64_t created_ms,
                                      const uint8_t key[32]),
                           void *arg, struct err *e) MUST_USE;
/* ERR_NOTFOUND. */
int registry_get_query(struct registry *r, const struct qid *id, struct arena *a, struct query_record *ret,
                       struct err *e) MUST_USE;
/* Ids of all queries that have not ended, oldest first. */
int registry_unfinished(struct registry *r, struct arena *a, struct qid **ret_ids, size_t *ret_n,
                        struct err *e) MUST_USE;
struct registry_list_filter {
    int64_t workspace;
    uint32_t states; /* bit (1 << state), 0 all */
    const char *creator;
    const struct qid *id;
    uint64_t offset;
    uint32_t limit;
    bool by_created, desc; /* order by creation: served from an index at any size */
    const char *
        order_sql; /* otherwise: chosen by the service from a constant table, never user text. Names: the query columns, and the aliases
                                   * user_name (u.name) and storage_url (bucket || '/' || path, '' without a bucket). ERR_INVALID when more than
                                   * list.max_sort queries would have to be sorted */
    int64_t user;  /* 0 any: only this user's (access.queries = owner) */
    int64_t there_ms; /* 0 all; else those whose result is there at this time. Not counted in the total */
};
/* ERR_INVALID also for an offset over list.max_offset; the texts name the keys. */
int registry_list(struct registry *r, const struct registry_list_filter *f, struct arena *a,
                  struct qid **ret_ids, size_t *ret_n, uint64_t *ret_total, struct err *e) MUST_USE;
/* Does a manifest name this sealed file (and its result is not gone)? For spool_sweep; loads all once into
 * memory through the callback: fn for each. */
int registry_each_sealed(struct registry *r, void (*fn)(void *arg, const struct qid *id, uint32_t ordinal),
                         void *arg, struct err *e) MUST_USE;
/* Bytes of stored files per workspace, for the running totals. */
int registry_each_stored(struct registry *r, void (*fn)(void *arg, int64_t workspace, int64_t bytes),
                         void *arg, struct err *e) MUST_USE;
/* A removed workspace that has still to be erased: its number and id; ERR_NOTFOUND. And up to n of its queries. */
int registry_erasable(struct registry *r, int64_t *ret_workspace, char ret_uuid[ID_TEXT_MAX],
                      struct err *e) MUST_USE;
int registry_erasable_queries(struct registry *r, int64_t workspace, uint32_t n, struct arena *a,
                              struct qid **ret_ids, size_t *ret_n, struct err *e) MUST_USE;
/* Up to n ids whose result expired before now_ms and is not gone; and up to n ended before history_ms. For
 * the janitor. */
int registry_expired(struct registry *r, int64_t now_ms, uint32_t n, struct arena *a, struct qid **ret_ids,
                     size_t *ret_n, struct err *e) MUST_USE;
int registry_historic(struct registry *r, int64_t before_ms, uint32_t n, struct arena *a,
                      struct qid **ret_ids, size_t *ret_n, struct err *e) MUST_USE;

/* Up to n ids of queries of a dialect in a workspace that deliver files, whose result is not gone and which
 * last changed before before_ms, oldest first, behind *inout (zeroed: from the start), which moves on. */
struct registry_place {
    int64_t created_ms, seq;
};
int registry_delivered(struct registry *r, int64_t workspace, uint8_t dialect, int64_t before_ms, uint32_t n,
                       struct registry_place *inout, struct arena *a, struct qid **ret_ids, size_t *ret_n,
                       struct err *e) MUST_USE;

/* A copy of the whole registry as it is at one instant, durable when it returns (registry_backup.c). `to`
 * must not exist. */
int registry_backup(struct registry *r, const char *to, struct err *e) MUST_USE;
/* Of such a copy: fn for each result that has a file; rows of queries. */
int registry_backup_each(const char *file, void (*fn)(void *arg, const struct qid *id, uint32_t ordinal),
                         void *arg, int64_t *ret_queries, struct err *e) MUST_USE;
/* The catalogs were copied after `file`: a query that `file` calls unfinished and that began to write in between is
 * marked in it, so that a start on the copy does not run it once more; results older than such a write are not
 * reused there. */
int registry_backup_since(struct registry *r, const char *file, struct err *e) MUST_USE;

/* ---- workspaces, users, keys, buckets, datasets: rows as they are (registry_names.c) ---- */
struct workspace_row {
    int64_t id;
    const char *name, *uuid;
    int64_t created_ms;
    uint64_t epoch;
    bool stopped; /* its queries wait */
};
struct key_row {
    int64_t id;
    const char *key_id;
    int64_t workspace, user;
    const char *workspace_name, *workspace_uuid, *user_name;
    uint8_t role;
    uint8_t hash[32];
    int64_t created_ms, revoked_ms, expires_ms;
};
struct bucket_row {
    int64_t id, workspace;
    const char *name, *url;
    bool read_only, is_default;
    int64_t created_ms;
};
struct dataset_row {
    int64_t id, workspace;
    const char *name, *path, *format;
    bool folder;
    int64_t created_ms;
};

/* Readers: fn for each row; texts are valid during the call. */
int registry_each_workspace(struct registry *r, void (*fn)(void *arg, const struct workspace_row *w),
                            void *arg, struct err *e) MUST_USE;
int registry_each_key(struct registry *r, void (*fn)(void *arg, const struct key_row *k), void *arg,
                      struct err *e) MUST_USE;
int registry_each_bucket(struct registry *r, void (*fn)(void *arg, const struct bucket_row *b), void *arg,
                         struct err *e) MUST_USE;
int registry_each_dataset(struct registry *r, void (*fn)(void *arg, const struct dataset_row *d), void *arg,
                          struct err *e) MUST_USE;
int registry_each_limit(struct registry *r,
                        void (*fn)(void *arg, int64_t workspace, const char *key, int64_t value), void *arg,
                        struct err *e) MUST_USE;
/* ---- saved SQL (registry_saved.c) ---- */
struct saved_row {
    struct qid id;
    int64_t workspace, user;
    const char *user_name;           /* joined in on load */
    const char *title, *description; /* description NULL: none */
    const char *sql;
    size_t sql_len;
    int64_t created_ms;
    bool ran; /* `last` names its latest run */
    struct qid last;
};
/* For apply functions. ERR_LIMIT when the workspace has `most` already. */
int registry_put_saved(struct registry *r, const struct saved_row *s, int64_t most, struct err *e) MUST_USE;
/* Remembers the latest run, if the registry has that query. */
int registry_put_saved_ran(struct registry *r, const struct qid *id, const struct qid *query,
                           struct err *e) MUST_USE;
/* ERR_NOTFOUND. */
int registry_get_saved(struct registry *r, const struct qid *id, struct arena *a, struct saved_row *ret,
                       struct err *e) MUST_USE;
/* Those of a workspace, newest first: `offset` are skipped of what comes after `after` (NULL: from the start),
 * then fn for each until it says false; texts are valid during the call. *ret_end: there is no further one. */
int registry_each_saved(struct registry *r, int64_t workspace, const struct saved_row *after, uint64_t offset,
                        bool (*fn)(void *arg, const struct saved_row *s), void *arg, bool *ret_end,
                        struct err *e) MUST_USE;
/* When the newest query of the workspace came or ended; 0 = it has none. */
int registry_newest(struct registry *r, int64_t workspace, int64_t *ret_ms, struct err *e) MUST_USE;

/* Writers, for apply functions. The first two find or make. ERR_CONFLICT when the name exists, ERR_NOTFOUND. */
int registry_put_workspace(struct registry *r, const char *name, int64_t *ret_id, struct err *e) MUST_USE;
/* Takes a workspace out of use, with its keys, buckets, datasets, sources, limits and saved SQL; its queries stay
 * until they are erased. ERR_NOTFOUND. */
int registry_remove_workspace(struct registry *r, int64_t workspace, struct err *e) MUST_USE;
/* Nothing of it is left but its row. */
int registry_put_erased(struct registry *r, int64_t workspace, struct err *e) MUST_USE;
int registry_put_stopped(struct registry *r, int64_t workspace, bool stopped, struct err *e) MUST_USE;
int registry_put_user(struct registry *r, const char *name, int64_t *ret_id, struct err *e) MUST_USE;
int registry_put_key(struct registry *r, const struct key_row *k, int64_t *ret_id, struct err *e) MUST_USE;
int registry_put_key_revoked(struct registry *r, const char *key_id, int64_t now_ms, struct err *e) MUST_USE;
int registry_put_key_expires(struct registry *r, const char *key_id, int64_t expires_ms,
                             struct err *e) MUST_USE;
int registry_put_bucket(struct registry *r, const struct bucket_row *b, struct err *e) MUST_USE;
int registry_put_dataset(struct registry *r, const struct dataset_row *d,
                         struct err *e) MUST_USE; /* moves the workspace's epoch */
int registry_delete_dataset(struct registry *r, int64_t workspace, const char *name, struct err *e) MUST_USE;
int registry_put_limit(struct registry *r, int64_t workspace, const char *key, int64_t value,
                       struct err *e) MUST_USE; /* value 0: takes it away */

/* ---- instances and data sources (registry_source.c); numbers are source.h's enums ---- */
struct instance_row {
    const char *name, *host, *tls;
    uint8_t kind;
    uint16_t port;
    int64_t created_ms;
};
struct source_row {
    int64_t id, workspace, user;
    const char *uid, *user_name, *name, *label;
    uint8_t kind, scope;
    const char *description, *instance, *address, *username, *database; /* NULL none */
    const uint8_t *secret;                                              /* sealed; NULL none */
    uint32_t secret_len;
    int64_t created_ms;
};
int registry_each_instance(struct registry *r, void (*fn)(void *arg, const struct instance_row *i), void *arg,
                           struct err *e) MUST_USE;
int registry_each_source(struct registry *r, void (*fn)(void *arg, const struct source_row *s), void *arg,
                         struct err *e) MUST_USE;
/* Writers, for apply functions. ERR_CONFLICT when the name exists, ERR_NOTFOUND. */
int registry_put_instance(struct registry *r, const struct instance_row *i, struct err *e) MUST_USE;
int registry_delete_instance(struct registry *r, const char *name, struct err *e) MUST_USE;
int registry_put_source(struct registry *r, const struct source_row *s, struct err *e) MUST_USE;
int registry_delete_source(struct registry *r, int64_t id, struct err *e) MUST_USE;

#endif

/*
 * registry_int: what registry.c (writer, connections), registry_query.c (query rows) and registry_names.c
 * (workspaces and what belongs to them) share. Not for other files.
 */
#ifndef QUERN_CORE_REGISTRY_INT_H
#define QUERN_CORE_REGISTRY_INT_H

#include <pthread.h>

#include "core/registry.h"

struct sqlite3;
struct sqlite3_stmt;

/* Every statement is prepared once a connection and kept. The texts are registry__sql[] in registry_schema.c. */
enum reg_stmt {
    REG_BEGIN,
    REG_BEGIN_READ,
    REG_COMMIT,
    REG_ROLLBACK,
    REG_SAVE,
    REG_UNSAVE,
    REG_RELEASE,
    REG_QUERY_PUT,
    REG_QUERY_FIND,
    REG_QUERY_RUNNING,
    REG_QUERY_EXPOSED,
    REG_QUERY_NOTE,
    REG_QUERY_REQUEUED,
    REG_QUERY_END,
    REG_QUERY_GONE,
    REG_QUERY_GONE_INLINE,
    REG_QUERY_DELETE,
    REG_QUERY_COUNT,
    REG_RESULT_PUT,
    REG_RESULT_DELETE,
    REG_RESULT_COUNT,
    REG_QUERY_GET,
    REG_RESULT_GET,
    REG_UNFINISHED,
    REG_EACH_SEALED,
    REG_STORED_BYTES,
    REG_REUSABLE,
    REG_UNREUSABLE,
    REG_IDEMPOTENCY_GET,
    REG_IDEMPOTENCY_PUT,
    REG_IDEMPOTENCY_DROP,
    REG_EXPIRED,
    REG_HISTORIC,
    REG_DELIVERED,
    REG_WORKSPACE_FIND,
    REG_WORKSPACE_PUT,
    REG_WORKSPACE_EACH,
    REG_WORKSPACE_EPOCH,
    REG_WORKSPACE_STOP,
    REG_NEWEST,
    REG_SAVED_PUT,
    REG_SAVED_RAN,
    REG_SAVED_COUNT,
    REG_SAVED_GET,
    REG_SAVED_EACH,
    REG_LIMIT_PUT,
    REG_LIMIT_DELETE,
    REG_LIMIT_EACH,
    REG_USER_FIND,
    REG_USER_PUT,
    REG_KEY_PUT,
    REG_KEY_REVOKE,
    REG_KEY_EXPIRES,
    REG_KEY_EACH,
    REG_BUCKET_PUT,
    REG_BUCKET_UNDEFAULT,
    REG_BUCKET_EACH,
    REG_DATASET_PUT,
    REG_DATASET_DELETE,
    REG_DATASET_EACH,
    REG_INSTANCE_PUT,
    REG_INSTANCE_DELETE,
    REG_INSTANCE_EACH,
    REG_SOURCE_PUT,
    REG_SOURCE_DELETE,
    REG_SOURCE_EACH,
    REG_REMOVE_NAME, /* to REG_REMOVE_IDEMPOTENCY: all of them remove a workspace */
    REG_REMOVE_KEYS,
    REG_REMOVE_BUCKETS,
    REG_REMOVE_DATASETS,
    REG_REMOVE_SOURCES,
    REG_REMOVE_LIMITS,
    REG_REMOVE_SAVED,
    REG_REMOVE_SAVED_COUNT,
    REG_REMOVE_IDEMPOTENCY,
    REG_ERASED,
    REG_ERASED_COUNTS,
    REG_ERASABLE,
    REG_ERASABLE_QUERIES,
    REG_STMTS
};
extern const char *const registry__sql[REG_STMTS];
/* Migration i brings the file from user_version i to i + 1. */
extern const char *const registry__migrations[];
extern const int registry__nmigrations;

struct reg_conn {
    struct sqlite3 *db;
    struct sqlite3_stmt *stmts[REG_STMTS];
    struct reg_conn *next;
};

/* By how much the queries of a user in a state became more in the open transaction. */
struct reg_count {
    int64_t workspace, user, n;
    int state;
};
#define REG_COUNTS_MAX 64

struct registry {
    char *path;                              /* (C) */
    struct reg_conn writer;                  /* of whoever is busy (and before the writer thread starts) */
    struct reg_count counts[REG_COUNTS_MAX]; /* of whoever is busy */
    size_t ncounts;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t wake, idle;
    struct registry_write *head, **tail;
    int backlog;
    bool hurry, stop, running;
    bool busy;                /* somebody works on a batch, or on the log */
    bool ticking;             /* the writer thread looks again by itself soon */
    int64_t held_ns;          /* when a held write came last */
    struct reg_conn *readers; /* free read-only connections */
    int nreaders;
    bool unclean;               /* (C) the run before did not end by registry_close */
    bool (*on_full)(void *arg); /* set once, before anything is written (C) */
    void *on_full_arg;
};

/* Name of the SQLite file layer that passes the fault seam (registry_vfs.c). */
const char *registry__vfs(void);
/* ---- registry_conn.c ---- */
/* The code of e (ERR_INTERNAL when it has none): there is no statement. */
int registry__failed(const struct err *e);
int registry__no_memory(struct err *e);
/* The text, the id lives until the statement has run. */
void registry__bind_text(struct sqlite3_stmt *st, int at, const char *s);
void registry__bind_id(struct sqlite3_stmt *st, int at, const struct qid *id);
int registry__conn_open(struct registry *r, struct reg_conn *c, bool writer, struct err *e) MUST_USE;
void registry__conn_close(struct reg_conn *c);
int registry__conn_exec(struct sqlite3 *db, const char *sql, struct err *e) MUST_USE;
/* The statement, reset and unbound; NULL with e filled. */
struct sqlite3_stmt *registry__stmt(struct reg_conn *c, enum reg_stmt id, struct err *e);
/* Steps a statement that returns no rows, resets it. *ret_changes may be NULL. */
int registry__run(struct reg_conn *c, struct sqlite3_stmt *st, int *ret_changes, struct err *e) MUST_USE;
/* One step: 1 = a row, 0 = done (reset), <0 error (reset). */
int registry__row(struct reg_conn *c, struct sqlite3_stmt *st, struct err *e) MUST_USE;
/* Notes that n more queries are in the state (fewer when negative); written once before the commit. Writer
 * thread, in a transaction. */
int registry__count(struct registry *r, int64_t workspace, int64_t user, int state, int64_t n,
                    struct err *e) MUST_USE;
/* Writes what was noted. */
int registry__counts_flush(struct registry *r, struct err *e) MUST_USE;
/* registry_write.c: starts the writer thread; lets it finish what is queued and joins it. */
int registry__writer_start(struct registry *r, struct err *e) MUST_USE;
void registry__writer_stop(struct registry *r);
/* Turns SQLite's last error of the connection into ours. */
int registry__error(struct sqlite3 *db, int rc, struct err *e);
int registry__reader(struct registry *r, struct reg_conn **ret, struct err *e) MUST_USE;
void registry__reader_back(struct registry *r, struct reg_conn *c);

/* A read transaction on a reader, so that several statements see one state; the end gives the reader back. */
int registry__read_begin(struct reg_conn *c, struct err *e) MUST_USE;
void registry__read_end(struct registry *r, struct reg_conn *c);
/* Steps st to its end, the first column being ids. */
int registry__collect(struct reg_conn *c, struct sqlite3_stmt *st, struct arena *a, struct qid **ret_ids,
                      size_t *ret_n, struct err *e) MUST_USE;

/* Calls row(st, box) for each row until it fails. (registry_names.c) */
int registry__each(struct registry *r, enum reg_stmt id,
                   int (*row)(struct sqlite3_stmt *st, void *box, struct err *e), void *box,
                   struct err *e) MUST_USE;
/* Copies a column's text or bytes into the arena; NULL stays NULL. */
const char *registry__text(struct sqlite3_stmt *st, int col, struct arena *a);

#endif

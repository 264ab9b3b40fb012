/*
 * saved: SQL that a workspace keeps under a title, to be run again. It belongs to the workspace: every key of it
 * may read it and, with the role for that, run it; there is no update and no delete (no dialect has one).
 *
 * Threads: all calls block (registry): worker threads only. Texts of a saved_sql are valid as long as said.
 */
#ifndef QUERN_CORE_SAVED_H
#define QUERN_CORE_SAVED_H

#include "core/service.h"

struct saved_sql {
    struct qid id;
    const char *user_name;           /* who saved it */
    const char *title, *description; /* description NULL: none */
    const char *sql;
    size_t sql_len;
    int64_t created_ms;
    bool ran; /* `last` is its latest run; it may have left the history */
    struct qid last;
};

/* Keeps title, description and sql of `in`; fills id, user_name and created_ms. Durable when it returns.
 * ERR_DENIED (reader), ERR_INVALID (names saved.max_sql), ERR_LIMIT (names saved.per_workspace),
 * ERR_UNAVAILABLE. */
int saved_put(struct service *s, const struct identity *who, struct saved_sql *in, struct err *e) MUST_USE;
/* Both id spellings; in `a`. ERR_NOTFOUND, also for what is another workspace's. */
int saved_find(struct service *s, const struct identity *who, const char *id, size_t id_len, struct arena *a,
               struct saved_sql *ret, struct err *e) MUST_USE;
/* The query is the latest run of that saved SQL: recorded when it returns, and so is the query's own record. */
int saved_ran(struct service *s, const struct qid *id, struct query *q, struct err *e) MUST_USE;
/* Newest first. Skips `offset`, or begins behind `after` (id and created_ms of one seen before; NULL: at the
 * start), and calls fn until it says false; its texts are valid during the call. *ret_end: that was the last. */
int saved_each(struct service *s, const struct identity *who, const struct saved_sql *after, uint64_t offset,
               bool (*fn)(void *arg, const struct saved_sql *x), void *arg, bool *ret_end,
               struct err *e) MUST_USE;

#endif

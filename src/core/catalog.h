/*
 * catalog: who may use a workspace's catalog file now. One lock for each workspace: readers share, a writer
 * is alone (design.md decision 2). The rule is claims.h's, with catalog.max_writer_wait as `hold` and
 * catalog.wait as the longest wait: who waits longer is told so. Nobody blocks a thread: who cannot have the
 * lock now is called back.
 *
 * The engine library's own file lock is never relied upon: a statement that reads the file's bytes would drop
 * it. So the holder of the lock must have its engine process let go of the file before catalog_release
 * (docs/engine.md, Catalog).
 *
 * Threads: any; callbacks come from the releasing thread or the catalog's own, with no lock held.
 */
#ifndef QUERN_CORE_CATALOG_H
#define QUERN_CORE_CATALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/claims.h"

struct catalog;
struct catalog_lock;

enum catalog_answer {
    CATALOG_GRANTED,
    CATALOG_EXPIRED, /* catalog.wait has passed */
    CATALOG_CLOSED   /* the daemon ends */
};

/* One holder or waiter; lives in the caller's memory from catalog_take until released, forgotten, expired or
 * closed. */
struct catalog_claim {
    void (*answer)(struct catalog_claim *c,
                   enum catalog_answer a); /* at most once a take, and only when that returned false */
    struct catalog_lock *lock;             /* the rest is the catalog's own */
    struct claim claim;
};

int catalog_open(struct catalog **ret, struct err *e) MUST_USE;
/* Answers CATALOG_CLOSED to all who wait. Nobody may hold a lock that is still to be released. */
void catalog_close(struct catalog *c);

/* It will ask with catalog_take, or decline, in a moment: those who come later wait for that. */
void catalog_announce(struct catalog *c, struct catalog_claim *claim, int64_t workspace);
/* True: it holds the lock now. False: `answer` will be called, unless catalog_forget is quicker; it may have
 * been called before this returns. */
bool catalog_take(struct catalog *c, struct catalog_claim *claim, int64_t workspace, bool write) MUST_USE;
/* As catalog_take, but never waits: false = not now, and nothing will be called. */
bool catalog_try(struct catalog *c, struct catalog_claim *claim, int64_t workspace, bool write) MUST_USE;
/* Nothing when it was not announced. */
void catalog_decline(struct catalog *c, struct catalog_claim *claim);
/* True: it waited and does no more. */
bool catalog_forget(struct catalog *c, struct catalog_claim *claim);
void catalog_release(struct catalog *c, struct catalog_claim *claim);

/* What the holder knows of the file: the grants version whose views it holds, 0 = it may need a writer
 * (unknown since the start, or its last writer did not end well). */
uint64_t catalog_views(const struct catalog_claim *claim);
void catalog_set_views(const struct catalog_claim *claim, uint64_t epoch); /* a writer */
/* Who waits, for the metrics. */
int catalog_waiting(struct catalog *c);

/* ---- catalog_text.c: what a statement touches, by its words ---- */
enum catalog_need {
    CATALOG_NONE, /* reads no table but datasets: an engine without the catalog's file gives the same answer */
    CATALOG_READ,
    CATALOG_WRITE /* its first word says that it writes */
};
struct catalog_text {
    const char *sql;
    uint64_t sql_len;
    const char *default_source, *default_database;
    uint32_t ndatasets;
    const char *const *datasets;
    bool script; /* it may hold several statements */
};
/* Over-approximate: in doubt it reads. */
enum catalog_need catalog_need(const struct catalog_text *t);
/* Does one of the datasets' names occur as a word? */
bool catalog_mentions_dataset(const struct catalog_text *t);
/* Is `name` the first part of a dotted name in the text? False where the text cannot be read. */
bool catalog_text_names(const char *sql, uint64_t n, const char *name);

#endif

/*
 * runner_int: what runner.c (from slot to end), runner_job.c (one job), runner_catalog.c (the catalog) and runner_script.c
 * (several statements) share. Not for other files.
 */
#ifndef QUERN_CORE_RUNNER_INT_H
#define QUERN_CORE_RUNNER_INT_H

#include "core/service_int.h"

/* Where a query stands on its way to an engine (query.need). */
enum run_need {
    NEED_LOOK,    /* not looked at yet */
    NEED_NONE,    /* an engine without the catalog's file */
    NEED_READ,    /* its read lock */
    NEED_REFRESH, /* its write lock, to bring the datasets' views up to date or the log in; then query.after */
    NEED_WRITE    /* its write lock */
};

struct run {
    struct service *s;
    struct query *q;
    struct arena *arena; /* this run's; batch indexes use their own */
    struct engine *engine;
    bool plan_only, planned, canceling;
    bool write;                 /* with the catalog's writer */
    bool no_catalog;            /* an engine without the catalog's file */
    bool moves;                 /* a read engine said that it writes */
    struct catalog_claim *lane; /* plan lane */
    struct engine_key key;      /* of the engine; texts in `arena` */
    int64_t run_deadline, plan_deadline;
    bool quota_time;    /* the run deadline is the workspace's quota */
    bool own_time;      /* it is the request's */
    int64_t quota_rows; /* the workspace's, when it is less than result.max_rows; 0 = it is not */
    bool delivers;      /* it is in the hands of the delivery */
    uint64_t counted;   /* bytes that count as the workspace's stored ones (usage.h) */
    struct segment_writer *writer;
    uint64_t rows, bytes, batches;
    enum ending ending; /* END_NONE until decided here */
    struct err err;
    struct result *result; /* in the query's arena */
    /* A script (runner_script.c): */
    const struct wire_piece *pieces; /* in `arena` */
    uint32_t npieces, ordinal;
    bool split, complete;               /* it has none or several statements; all ran to their end */
    uint32_t inline_used;               /* bytes of small results kept in the registry */
    uint64_t rows_before, bytes_before; /* scanned by earlier statements */
    enum ending first;                  /* of the first error that it went on after */
    struct err first_err;
};

/* ---- runner_job.c ---- */
/* Somebody ended the query, or the service stops. */
bool runner__over(struct run *r);
int runner__start_job(struct run *r, const char *sql, uint32_t n, uint8_t step) MUST_USE;
/* True while the job goes on. */
bool runner__step(struct run *r);
/* Seals the file of the result that r->result tells of; false when it cannot be stored. */
bool runner__seal(struct run *r);
/* Readers get no more of the live view. */
void runner__hide_live(struct run *r);
void runner__drop_rows(struct run *r);
/* What the job said the text holds. */
void runner__pieces(struct run *r, const struct wire_script *s);

/* ---- runner_script.c ---- */
/* Runs them; r->engine stays the caller's. */
void runner__script(struct run *r);
/* The end of every run of a script, of one statement too. */
void runner__finish_script(struct run *r);

/* ---- runner_catalog.c ---- */
/* It has left the queue without a run: what it holds for the run goes. */
void runner__left(struct service *s, struct query *q);
/* What the statement needs, by its words. */
uint8_t runner__look(struct run *r);
/* True: the query holds the lock that q->need asks for. False: it waits and will come back, or has ended. */
bool runner__hold(struct run *r);
void runner__let_go(struct run *r);
/* For the plan lane: may it be planned now, and where? Takes r->lane when it needs the catalog. */
bool runner__lane(struct run *r);
/* With a read lock: should the catalog be opened by a writer first? Then the lock was let go, q->need says
 * what comes next and the caller starts over. */
bool runner__stale(struct run *r);
/* With a read lock: while there is no file, nobody needs to wait for this one. */
void runner__without(struct run *r);
/* With the write lock: opens and closes the catalog with a writer. */
void runner__refresh(struct run *r);
/* With the write lock: readers' processes are gone and the file is there. Sets r->key. */
int runner__before_write(struct run *r) MUST_USE;
/* With the write lock, the writer released: waits for its process and brings in a log that it left. */
void runner__after_write(struct run *r);

#endif

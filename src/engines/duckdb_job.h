/*
 * duckdb_job: what the files of one job share: its state, and how it ends badly. Job thread.
 *
 *   duckdb_run.c     stages, from JOB to DONE or FAILED
 *   duckdb_stream.c  the rows in between
 *   duckdb_error.c   what went wrong
 */
#ifndef QUERN_ENGINES_DUCKDB_JOB_H
#define QUERN_ENGINES_DUCKDB_JOB_H

#include "engines/compat_int.h"
#include "engines/duckdb_int.h"

/* One job; duck_run makes it and clears it away. Owned and written by the job thread alone. */
struct duck_job {
    struct duck *d;
    const struct wire_job *job;
    struct compat compat; /* holds the job once its text went through the room */
    struct arena *arena;
    struct port *port;
    struct session session;
    struct plan plan;
    struct ready *ready; /* the plan is the session's own; NULL: made for this job */
    struct scanned scanned;
    struct duck_rows rows;
    duckdb_pending_result pending;
    duckdb_result result;
    bool has_result, in_transaction, sent_batch, cut, rewritten, counts;
    bool kept;                 /* the session is d->script */
    struct wire_script script; /* npieces 0 or more than 1: the answer */
    bool split;
    struct wire_done done;
    uint64_t bytes; /* of batches sent */
    int64_t began, first_kept;
    struct err e;
    uint32_t fail; /* enum wire_failure */
    struct buf inline_index;
    uint8_t *inline_body;
};

/* Each sets x->fail and x->e and gives the error's code (below 0): a reason of ours; a cancel; what the library says,
 * `type` being its duckdb_error_type (0 where it has none to tell). */
int duck__job_failed(struct duck_job *x, uint32_t kind, int code, const char *state, const char *text);
int duck__job_canceled(struct duck_job *x);
int duck__job_engine_failed(struct duck_job *x, const char *message, int type);

/* Fetches rows until the stream ends or row_limit is reached and sends them as batches; what fits into inline_max stays
 * for DONE. 0, or as duck__job_failed. Needs x->rows and x->result. */
int duck__stream(struct duck_job *x);

/* While it runs, done.rows_scanned is the highest that the library's progress showed, its own estimate. */
void duck__stream_progress(struct duck_job *x);

#endif

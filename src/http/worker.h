/*
 * worker: the threads on which requests may block: deferred handlers and the filling of streamed replies.
 *
 * Two lanes. HANDLERS goes first, but every fourth job comes from STREAMS when both wait, so that neither
 * starves. A connection has at most one job, so the number of jobs is bounded by http.max_connections.
 */
#ifndef QUERN_HTTP_WORKER_H
#define QUERN_HTTP_WORKER_H

#include "base/err.h"
#include "results/segment.h"

enum work_lane { WORK_HANDLERS, WORK_STREAMS, WORK_LANES };

struct worker_job {
    void (*fn)(struct worker_job *w, struct segment_scratch *x); /* may free or queue w again */
    struct worker_job *next;
};

struct workers;

int workers_start(uint32_t threads, struct workers **ret, struct err *e) MUST_USE;
void workers_push(struct workers *ws, struct worker_job *w, enum work_lane lane); /* any thread */
/* Runs what is queued, joins, frees. Nothing may be pushed meanwhile. NULL allowed. */
void workers_stop(struct workers *ws);

#endif

/*
 * render: a stored result as a file, in a process that runs no SQL (docs/formats.md). Child only.
 *
 * The process takes one RENDER, answers with BEATs and DONE or FAILED, and ends. Main thread: frames and beats;
 * render thread: everything else.
 */
#ifndef QUERN_ENGINES_RENDER_H
#define QUERN_ENGINES_RENDER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/zone.h"
#include "engines/port.h"

struct ArrowArrayStream;

struct render_job {
    const struct wire_setup *setup;
    struct wire_render order;
    struct segment *segment;
    const struct zone *zone;    /* NULL: UTC */
    uint64_t first, end;        /* rows of the segment; end UINT64_MAX: it grows */
    _Atomic uint64_t rows_done; /* for progress */
    _Atomic uint64_t weight;    /* permille that all rows stand for: the rest is closing the file */
    /* of a result that grows: */
    struct port *port;
    pthread_mutex_t mu;
    pthread_cond_t told;   /* by the main thread: more batches, or complete */
    bool complete;         /* (mu) no batch follows */
    uint64_t read, credit; /* (mu) batches read; that may be told */
};

/* ---- render_grow.c ---- */
/* Is row `row` there to be read? Waits for it when the result grows; false: it is behind the last. Rows before it are
 * not read again. Rows are asked for in order, by one thread at a time. */
bool render_has(struct render_job *j, uint64_t row);

/* ---- render.c ---- */
/* Serves until the daemon ends the process; returns the exit code. statm: descriptor of /proc/self/statm. */
int render_serve(const struct wire_setup *setup, struct port *port, int statm);

/* ---- formats: write WIRE_RENDER_OUT; the error says why not ---- */
int render_xlsx(struct render_job *j, struct err *e) MUST_USE;
int render_parquet(struct render_job *j, struct err *e) MUST_USE;

/* Whole batches of the segment from the one that holds row j->first on, as an Arrow stream with columns c0, c1,
 * ...; *ret_skip rows come before j->first. Dates become 32 bits, intervals text; the rest lies as stored. */
int render_arrow(struct render_job *j, struct ArrowArrayStream *ret, uint64_t *ret_skip,
                 struct err *e) MUST_USE;
/* Name of field i of a row in files: its own, else as the text formats say it ("field0"). */
#define RENDER_FIELD_MAX 32
const char *render_field(const struct column *c, uint32_t i, char room[RENDER_FIELD_MAX]);
/* What went wrong inside the stream; code 0: nothing. */
const struct err *render_arrow_error(const struct ArrowArrayStream *s);

#endif

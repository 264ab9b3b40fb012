/*
 * pool: engine processes from the parent's side: spawn, warm pool, wire, kill.
 *
 * One engine process runs one job at a time. Threads: a `struct engine` belongs to the thread that acquired
 * it until it is released; only engine_cancel may be called from any thread meanwhile. The pool itself is
 * locked inside.
 *
 * Key of an engine: (workspace, epoch, mode). An epoch that has moved retires idle engines of older ones.
 * Idle engines leave by LRU over engine.idle_max and after engine.idle; each has a private folder DIR/run/<n>
 * that is wiped when it leaves and at start.
 */
#ifndef QUERN_POOL_POOL_H
#define QUERN_POOL_POOL_H

#include "base/id.h"
#include "engines/wire.h"

struct pool;
struct engine;

struct pool_options {
    const char *data_dir;
    const char *engine_path; /* quern-engine */
    int64_t max_processes; /* most that live at once, for the sum of their memory walls; 0 = no such bound */
};

/* What a workspace's engines may see. Strings are copied. */
struct engine_key {
    int64_t workspace;
    uint64_t epoch;           /* grants version: datasets, sources, catalog generation */
    bool write;               /* catalog writer; never kept warm */
    bool render;              /* no SQL: one engine_render; never kept warm, has a memory wall of its own */
    const char *catalog_path; /* "" = none yet */
    uint32_t ndatasets;
    const struct wire_dataset *datasets;
};

/* How far the child could be confined; for /readyz and metrics. */
struct engine_level {
    int landlock_abi;
    bool seccomp;
    char library[64];
};

int pool_open(const struct pool_options *o, struct pool **ret, struct err *e) MUST_USE;
/* Kills every engine, reaps, wipes private folders. */
void pool_close(struct pool *p);

/* Starts one confined child that runs the hostile list and the raw probes. 0 = nothing succeeded. ERR_DENIED:
 * e->text names what succeeded. *ret_level is filled in both cases. Blocking, at start. */
int pool_selftest(struct pool *p, struct engine_level *ret_level, struct err *e) MUST_USE;

/* A ready engine for the key: warm if there is one, else spawned (blocks for tens of ms). ERR_ENGINE when it
 * does not come up within engine.silence. */
int pool_acquire(struct pool *p, const struct engine_key *key, struct engine **ret, struct err *e) MUST_USE;
/* Starts a warm engine in the background when none is idle for the key (called after a release took the last,
 * and at start). */
void pool_prewarm(struct pool *p, const struct engine_key *key);
/* Gives it back: kept warm when it ended its job cleanly and says it is reusable, else killed and reaped
 * (returns at once, reaping is in the background). */
void engine_release(struct engine *x);
/* Kills idle engines of the workspace older than `epoch` and waits until no engine of that workspace holds
 * the catalog open (running ones too) or the deadline passes (ERR_TIMEOUT). */
int pool_retire(struct pool *p, int64_t workspace, uint64_t epoch, int64_t deadline_ns,
                struct err *e) MUST_USE;
/* Drops all idle engines of the workspace. */
void pool_drop_idle(struct pool *p, int64_t workspace);
/* Drops idle engines past engine.idle; janitor. */
void pool_tick(struct pool *p);
int pool_idle(struct pool *p);
pid_t engine_pid(const struct engine *x);

/* ---- running a job: the acquiring thread ---- */

enum engine_event_type {
    ENGINE_PLANNED,
    ENGINE_BATCH,
    ENGINE_BEAT,
    ENGINE_DONE,
    ENGINE_FAILED,  /* as the wire; DONE, FAILED and SCRIPT end the job */
    ENGINE_SCRIPT,  /* the text of a WIRE_STEP_SCRIPT job holds no statement or several; nothing ran */
    ENGINE_CRASHED, /* the process died: .failed.error names signal or exit code. Ends the job */
    ENGINE_HUNG,    /* no frame for engine.silence: it was killed. Ends the job */
    ENGINE_LIED,    /* broke the protocol: it was killed. Ends the job */
    ENGINE_KILLED,  /* did not obey engine_cancel within the grace: it was killed. Ends the job */
    ENGINE_WANT,    /* a rendering of a result that grows: .want batches may be told in all */
    ENGINE_TICK     /* nothing happened until the deadline given to engine_next, or engine_wake was called */
};

struct engine_batch {
    const uint8_t *index;
    uint32_t index_len;
    const uint8_t *body;
    uint64_t body_len;
    uint64_t rows;
};

struct engine_event {
    enum engine_event_type type;
    struct wire_planned planned; /* schema lives until the next job */
    struct engine_batch
        batch; /* a copy that nobody else sees; NOT yet checked (batch_index_read, batch_check are the caller's); valid until the next engine_next */
    struct wire_beat beat;
    struct wire_done done; /* inline bytes valid until the next engine_next */
    struct wire_failed failed;
    uint64_t want;
    struct wire_script script; /* pieces inside the job's text; live until the next job */
};

/* Sends the job and two memfds. */
int engine_start(struct engine *x, const struct wire_job *job, struct err *e) MUST_USE;
/* Waits for the next event until `deadline_ns` (monotonic). Handles credit (the memfd again after each batch),
 * silence, cancel grace. */
int engine_next(struct engine *x, int64_t deadline_ns, struct engine_event *ret, struct err *e) MUST_USE;
/* The caller found a lie in a batch: kill it; the next engine_next returns ENGINE_LIED with `text`. */
void engine_liar(struct engine *x, const char *text);
/* Any thread, any time, idempotent: interrupt now, SIGKILL after engine.grace. Wakes engine_next. With
 * kill_now no grace. */
void engine_cancel(struct engine *x, bool kill_now);

/* Any thread: engine_next answers ENGINE_TICK soon. */
void engine_wake(struct engine *x);

/* ---- rendering: instead of a job, once, in a process acquired with key.render ---- */

/* Makes the file that the process shall fill (*ret_out: read and write, the caller's; the process may open it
 * by name in its private folder) and sends the order with the segment's descriptor (-1: a small result comes
 * inside `m`). m->job is set here. Then engine_next as for a job: BEAT, and an end. */
int engine_render(struct engine *x, struct wire_render *m, int segment_fd, int *ret_out,
                  struct err *e) MUST_USE;
/* Of one that was ordered with m->grows: the next batch, within what ENGINE_WANT allows; or that was all (`rows` of
 * them). A process that is gone is told by engine_next. */
int engine_more(struct engine *x, struct wire_more *m, uint64_t rows, struct err *e) MUST_USE;
/* Kills it and waits until it is reaped: from then on nobody else can write to the file. ERR_TIMEOUT. */
int engine_end(struct engine *x, struct err *e) MUST_USE;

#endif

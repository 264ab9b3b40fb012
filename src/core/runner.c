/*
 * runner: one query from slot to end, on a scheduler's worker thread, which owns the engine handle and the
 * spool writer meanwhile.
 *
 * Order of a good end: last row from the engine -> engine released (the slot of the engine is free) ->
 * segment sealed (fsync, rename, fsync folder) -> manifest and state in one transaction -> readers see
 * FINISHED. What the engine says is checked before it is used (design.md decision 4). Whoever ends the query
 * first wins (service__end); the runner then only cleans up.
 *
 * The workspace's catalog (catalog.h). A statement that needs it waits QUEUED and holds no slot meanwhile: it
 * comes back through the scheduler with the lock in its hands. Which way it goes is told by its first word
 * (INSERT, CREATE, ...: to the writer, so that writes come in the order of their submits and find what those
 * before them made), else by the engine: a read engine that says PLANNED with `writes` has run nothing, and
 * the statement goes on to a writer. Order of a write: lock -> readers' processes gone -> writer ready ->
 * RUNNING with `writes` committed -> the statement -> writer's process gone -> lock let go -> end. A writer
 * that left a log behind is followed by one that only opens and closes the catalog. runner_catalog.c has what
 * is done under the lock.
 */
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/observe.h"
#include "core/runner_int.h"

#define BUSY_TRIES    300
#define BUSY_PAUSE_MS 100

/* ---- state changes on the way ---- */

static int apply_running(struct registry *r, struct registry_write *w, struct err *e)
{
    struct query_write *qw = (struct query_write *)(void *)w;
    if (qw->q->whole)
        return 0;
    return registry_put_running(r, &qw->q->rec.id, qw->at_ms, qw->runs, qw->writes, e);
}

static bool begin(struct run *r)
{
    struct query *q = r->q;
    pthread_mutex_lock(&q->lock);
    bool ok = query_move(q, QUERY_RUNNING);
    if (ok) {
        q->started_ns = sys_mono_ns();
        q->rec.started_ms = sys_wall_ms();
        q->rec.queued_ns = q->started_ns - q->submitted_ns;
        q->rec.runs++;
        q->keeps = q->rec.script != 0;
    }
    int64_t at = q->rec.started_ms;
    uint32_t runs = q->rec.runs;
    pthread_mutex_unlock(&q->lock);
    /* Not waited for: the engine can only read, and a lost count is at worst one run more after a crash. A
     * write records it when its engine is ready. */
    if (ok && !r->write)
        service__write(q, apply_running, service__write_done, q->hold_until_ns, at, runs);
    return ok;
}

/* Before a statement may change anything: whatever happens now, no start will run it again. */
static bool record_write(struct run *r)
{
    struct query *q = r->q;
    struct query_write qw = {.w = {.apply = apply_running}, .q = q, .writes = true};
    pthread_mutex_lock(&q->lock);
    qw.at_ms = q->rec.started_ms;
    qw.runs = q->rec.runs;
    bool go = !query_state_ended(q->rec.state);
    if (go)
        q->rec.writes = true;
    pthread_mutex_unlock(&q->lock);
    if (!go)
        return false;
    struct err e;
    err_clear(&e);
    if (registry_do(q->service->registry, &qw.w, &e) == 0)
        return true;
    if (e.code != ERR_CONFLICT)
        log_event(LOG_ERROR, "core", "the start of a write could not be recorded", "error", e.text, NULL);
    r->ending = END_DISK_FULL; /* or it has ended: then this one comes too late */
    return false;
}

/* Back to the queue: it needs more than it has. */
static bool back(struct run *r)
{
    struct query *q = r->q;
    pthread_mutex_lock(&q->lock);
    bool ok = query_move(q, QUERY_QUEUED);
    if (ok) {
        q->started_ns = 0;
        q->rec.started_ms = 0;
        q->rec.queued_ns = 0;
        q->rec.runs--;
        q->keeps = false;
    }
    query_signal_unlock(q, 0, ok);
    if (ok)
        service__write(q, service__apply_requeued, service__write_done, 0, 0, 0);
    return ok;
}

/* ---- the loop ---- */

/* Engine from the pool, known to the query so that a cancel finds it. False when there is none, or nothing to
 * do any more. */
static bool take_engine(struct run *r)
{
    int rc = r->write ? runner__before_write(r)
                      : workspace_engine_key(r->s->workspaces, r->q->rec.workspace, false, r->arena, &r->key,
                                             &r->err);
    if (r->no_catalog)
        r->key.catalog_path = "";
    if (!rc)
        rc = pool_acquire(r->s->pool, &r->key, &r->engine, &r->err);
    /* No process can be had for the moment (fork refused, ceiling): the query waits, it does not fail. */
    for (int tries = 0; rc == ERR_BUSY && tries < BUSY_TRIES && !runner__over(r); tries++) {
        sys_sleep_ms(BUSY_PAUSE_MS);
        rc = pool_acquire(r->s->pool, &r->key, &r->engine, &r->err);
    }
    if (rc) {
        r->ending = rc == ERR_ENGINE ? END_ENGINE_CRASHED : END_INTERNAL;
        return false;
    }
    pthread_mutex_lock(&r->q->lock);
    /* A stop that came before this looked for an engine to end and found none. */
    bool go = !query_state_ended(r->q->rec.state) && !atomic_load(&r->s->stopping);
    if (go)
        *(r->plan_only ? &r->q->plan_engine : &r->q->engine) = r->engine;
    pthread_mutex_unlock(&r->q->lock);
    return go;
}

static void give_engine_back(struct run *r)
{
    pthread_mutex_lock(&r->q->lock);
    *(r->plan_only ? &r->q->plan_engine : &r->q->engine) = NULL;
    pthread_mutex_unlock(&r->q->lock);
    if (r->engine)
        engine_release(r->engine);
    r->engine = NULL;
}

static void execute(struct run *r)
{
    int64_t now = sys_mono_ns();
    int64_t limit = r->q->rec.run_timeout_ms > 0 && r->q->rec.run_timeout_ms < config.engine_run_timeout
                        ? r->q->rec.run_timeout_ms
                        : config.engine_run_timeout;
    int64_t quota = workspace_limit(r->s->workspaces, r->q->rec.workspace, LIMIT_RUN_TIMEOUT),
            rows = workspace_limit(r->s->workspaces, r->q->rec.workspace, LIMIT_ROWS);
    r->quota_time = quota > 0 && quota < limit;
    if (r->quota_time)
        limit = quota;
    r->own_time = !r->quota_time && limit == r->q->rec.run_timeout_ms;
    r->quota_rows = rows > 0 && rows < config.result_max_rows ? rows : 0;
    r->run_deadline = now + limit * 1000000;
    r->plan_deadline = now + config.engine_plan_timeout * 1000000;
    if (take_engine(r) && (!r->write || record_write(r))) {
        const struct query_record *rec = &r->q->rec;
        if (runner__start_job(r, rec->sql, (uint32_t)rec->sql_len,
                              rec->script ? WIRE_STEP_SCRIPT : WIRE_STEP_ONLY)) {
            r->ending = END_ENGINE_CRASHED;
            engine_cancel(r->engine, true);
        }
        while (runner__step(r)) {
        }
        if (r->split)
            runner__script(r);
    }
    give_engine_back(r);
}

/* ---- the end ---- */

static int apply_delivering(struct registry *r, struct registry_write *w, struct err *e)
{
    struct query *q = ((struct query_write *)(void *)w)->q;
    pthread_mutex_lock(&q->lock);
    struct query_record rec = q->rec;
    pthread_mutex_unlock(&q->lock);
    if (query_state_ended(rec.state))
        return 0; /* cancelled meanwhile: its own write follows */
    rec.ended_ms = rec.expires_ms = 0;
    return registry_put_end(r, &rec, e);
}

static void delivering_done(struct registry_write *w, int rc, const struct err *e)
{
    struct query_write *qw = (struct query_write *)(void *)w;
    struct delivery *d = qw->q->service->delivery;
    if (rc) {
        service__end(qw->q, END_DISK_FULL, e, NULL, 0); /* and drops the file */
        render_drop_ahead(qw->q);
        delivery_call_off(d);
    } else {
        delivery_push_announced(d, qw->q);
    }
    query_unref(qw->q);
    free(qw);
}

/* Results with rows go to the bucket before the query is FINISHED; the dialect's plan says as what. */
static bool deliver(struct run *r)
{
    struct query *q = r->q;
    if (!q->rec.bucket || !q->schema || q->rec.kind == WIRE_KIND_UPDATE || q->rec.kind == WIRE_KIND_DDL)
        return false;
    pthread_mutex_lock(&q->lock);
    bool go = !query_state_ended(q->rec.state);
    if (go) {
        q->rec.phase = PHASE_DELIVERING;
        q->rec.results = r->result;
        q->rec.nresults = 1;
        q->rec.run_ns = sys_mono_ns() - q->started_ns;
    }
    pthread_mutex_unlock(&q->lock);
    r->delivers = go;
    if (go) {
        delivery_announce(r->s->delivery);
        service__write(q, apply_delivering, delivering_done, 0, 0, 0);
    } else {
        runner__drop_rows(r);
    }
    return true;
}

static void finish(struct run *r)
{
    if (r->q->rec.script) {
        runner__finish_script(r);
        return;
    }
    /* Stopping: whatever happened to the engine, the record stays RUNNING and the next start decides
     * (design.md decision 1). */
    if (atomic_load(&r->s->stopping) && (r->ending || !r->result)) {
        runner__drop_rows(r);
        return;
    }
    bool good = !r->ending && r->result && runner__seal(r);
    if (good) {
        runner__hide_live(r);
        if (deliver(r))
            return;
        if (service__end_here(r->q, END_FINISHED, r->result, 1))
            return;
    } else {
        if (!r->ending)
            r->ending = END_INTERNAL;
        service__end(r->q, r->ending, &r->err, NULL, 0);
    }
    if (!good || query_state_ended(r->q->rec.state))
        runner__drop_rows(r);
}

static struct run *run_new(struct service *s, struct query *q)
{
    struct run *r = calloc(1, sizeof *r);
    ASSERT(r);
    r->s = s;
    r->q = q;
    r->arena = arena_new((size_t)128 << 20);
    ASSERT(r->arena);
    err_clear(&r->err);
    return r;
}

static void run_free(struct run *r)
{
    usage_add(r->s->usage, r->q->rec.workspace, -(int64_t)r->counted); /* what was not kept */
    if (!r->delivers)
        render_drop_ahead(r->q);
    segment_writer_free(r->writer);
    arena_free(r->arena);
    free(r);
}

/* What follows say whether the same worker starts over with the query. */

static bool run_read(struct run *r)
{
    struct query *q = r->q;
    if (q->need == NEED_NONE)
        r->no_catalog = true;
    bool begun = begin(r);
    if (begun)
        execute(r);
    runner__let_go(r);
    if (!begun)
        return false;
    if (!atomic_load(&r->s->stopping)) {
        if (r->moves && !r->ending) {
            q->need = NEED_WRITE;
            return back(r);
        }
        /* Its words were misread: it does name something of the catalog. */
        bool missing = strcmp(r->err.sqlstate, "42P01") == 0 || strcmp(r->err.sqlstate, "3F000") == 0;
        if (q->need == NEED_NONE && r->ending == END_SQL_ERROR && !r->planned && missing) {
            q->need = NEED_READ;
            return back(r);
        }
    }
    finish(r);
    return false;
}

static bool run_write(struct run *r)
{
    r->write = true;
    bool begun = begin(r);
    if (begun) {
        execute(r);
        runner__after_write(r);
        if (r->q->rec.writes && (r->split || (r->ending != END_SQL_ERROR && r->ending != END_REFUSED)))
            reuse_written(r->s, r->q->rec.workspace);
    }
    runner__let_go(r);
    if (begun)
        finish(r);
    return false;
}

static bool attempt(struct run *r)
{
    struct query *q = r->q;
    if (runner__over(r)) {
        if (q->holds)
            runner__let_go(r);
        else
            catalog_decline(r->s->catalog, &q->claim);
        return false;
    }
    if (q->need == NEED_LOOK)
        q->need = runner__look(r);
    if (!runner__hold(r))
        return false;
    if (q->need == NEED_READ) {
        if (runner__stale(r))
            return true;
        runner__without(r);
    }
    switch (q->need) {
    case NEED_REFRESH:
        runner__refresh(r);
        runner__let_go(r);
        q->need = q->after;
        q->refreshed = true;
        return true;
    case NEED_WRITE:
        return run_write(r);
    default:
        return run_read(r);
    }
}

static void run_lane(struct service *s, struct query *q)
{
    for (bool again = true; again;) {
        struct run *r = run_new(s, q);
        again = attempt(r);
        run_free(r);
    }
}

static void plan_lane(struct service *s, struct query *q)
{
    pthread_mutex_lock(&q->lock);
    bool wanted = q->rec.state == QUERY_QUEUED && !(q->flags & QF_PLANNED);
    pthread_mutex_unlock(&q->lock);
    if (!wanted)
        return;
    struct run *r = run_new(s, q);
    r->plan_only = true;
    /* Its own claim, for the run worker has the query's; only where there is nothing to wait for. */
    struct catalog_claim claim = {0};
    r->lane = &claim;
    if (runner__lane(r))
        execute(r);
    if (claim.lock)
        catalog_release(s->catalog, &claim);
    if (r->ending == END_SQL_ERROR || r->ending == END_REFUSED) {
        pthread_mutex_lock(&q->lock);
        bool still = q->rec.state == QUERY_QUEUED;
        pthread_mutex_unlock(&q->lock);
        if (still)
            service__end(q, r->ending, &r->err, NULL, 0);
    }
    run_free(r);
}

const struct scheduled_work runner_work = {run_lane, plan_lane, runner__left};

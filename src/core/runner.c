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

static atomic_uint_fast64_t job_ids;

bool runner__over(struct run *r)
{
    pthread_mutex_lock(&r->q->lock);
    bool yes = query_state_ended(r->q->rec.state);
    pthread_mutex_unlock(&r->q->lock);
    return yes || atomic_load(&r->s->stopping);
}

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

/* Copies the engine's schema into the query. */
static int keep_schema(struct run *r, const struct wire_planned *p)
{
    struct query *q = r->q;
    CLEANUP_BUF struct buf b = BUF_INIT(64u << 20);
    int rc = schema_write(p->schema, &b);
    if (rc)
        return rc;
    pthread_mutex_lock(&q->lock);
    if (!q->schema_known) {
        struct schema *s = NULL;
        if (p->schema->ncolumns > 0)
            rc = schema_read(b.p, b.len, q->arena, &s, &r->err);
        if (rc) {
            pthread_mutex_unlock(&q->lock);
            return rc;
        }
        q->schema = s;
        q->schema_known = true;
        q->rec.kind = p->kind;
    }
    q->rec.plan_ns = (int64_t)p->plan_ns;
    query_signal_unlock(q, q->multi ? 0 : QF_PLANNED, true);
    return 0;
}

/* ---- what the engine says ---- */

static void lied(struct run *r, const struct err *e)
{
    r->ending = END_ENGINE_LIED;
    log_event(LOG_WARN, "core", "the engine sent a malformed answer", "error", e->text, NULL);
    engine_liar(r->engine, e->text);
}

static void store_failed(struct run *r, const struct err *e)
{
    r->ending = END_DISK_FULL;
    if (strcmp(e->sqlstate, "53100") == 0)
        disk_tick(r->s->disk);
    log_event(LOG_ERROR, "core", "a result could not be stored", "error", e->text, NULL);
    if (r->engine)
        engine_cancel(r->engine, true);
}

/* Room for `bytes` more among the workspace's stored results. */
static bool within_quota(struct run *r, uint64_t bytes)
{
    const char *key;
    int64_t workspace = r->q->rec.workspace, most = service__spool_limit(r->s, workspace, &key);
    if (usage_take(r->s->usage, workspace, bytes, most)) {
        r->counted += bytes;
        return true;
    }
    r->ending = END_RESULT_LIMIT;
    err_set(&r->err, ERR_LIMIT, "53400",
            "the workspace's stored results would take more than %lld bytes (%s): delete results or wait "
            "until some expire",
            (long long)most, key);
    engine_cancel(r->engine, false);
    return false;
}

static bool first_batch(struct run *r)
{
    struct query *q = r->q;
    struct err e;
    err_clear(&e);
    struct segment *view = NULL;
    int rc = spool_create(r->s->spool, &q->rec.id, r->ordinal, q->schema, &r->writer, &e);
    if (!rc)
        rc = segment_view(r->writer, &view, &e);
    if (rc) {
        store_failed(r, &e);
        return false;
    }
    pthread_mutex_lock(&q->lock);
    q->segment = view;
    q->live_segment = true;
    pthread_mutex_unlock(&q->lock);
    return true;
}

static void on_batch(struct run *r, const struct engine_batch *b)
{
    struct query *q = r->q;
    struct err e;
    err_clear(&e);
    if (!q->schema) {
        err_set(&e, ERR_CORRUPT, NULL, "rows for a statement that returns none");
        lied(r, &e);
        return;
    }
    struct arena *a = arena_new((size_t)64 << 20);
    struct batch_index *ix;
    int rc = a ? batch_index_read(b->index, b->index_len, q->schema, a, &ix, &e) : ERR_NOMEM;
    if (!rc && (ix->rows != b->rows || ix->body_len != b->body_len || ix->rows == 0))
        rc = err_set(&e, ERR_CORRUPT, NULL, "the batch contradicts its frame");
    if (!rc)
        rc = batch_check(q->schema, ix, b->body, &e);
    if (rc) {
        lied(r, &e);
    } else if (within_quota(r, ix->body_len) && (r->writer || first_batch(r))) {
        if (segment_append(r->writer, ix, b->body, &e)) {
            store_failed(r, &e);
        } else {
            r->rows += ix->rows;
            r->bytes += ix->body_len;
            r->batches++;
            pthread_mutex_lock(&q->lock);
            q->live_rows = r->rows;
            q->live_bytes = r->bytes;
            q->live_batches = r->batches;
            bool followed = q->followed;
            query_signal_unlock(q, q->multi ? 0 : QF_ROWS, true);
            if (r->batches == 1)
                delivery_foresee(r->s, q);
            else if (followed)
                render_more(r->s->render, &q->rec.id);
        }
    }
    arena_free(a);
}

static void on_beat(struct run *r, const struct wire_beat *b)
{
    pthread_mutex_lock(&r->q->lock);
    double p = (double)b->permille / 1000.0;
    if (b->permille >= 0 && p > r->q->progress)
        r->q->progress = p;
    if (r->rows_before + b->rows_scanned > r->q->rec.rows_scanned)
        r->q->rec.rows_scanned = r->rows_before + b->rows_scanned;
    if (b->memory > r->q->rec.peak_memory)
        r->q->rec.peak_memory = b->memory;
    pthread_mutex_unlock(&r->q->lock);
}

/* The small result that came inside DONE. */
static bool keep_inline(struct run *r, const struct wire_done *d, struct result *res)
{
    struct err e;
    err_clear(&e);
    struct arena *a = arena_new((size_t)64 << 20);
    struct batch_index *ix;
    int rc = a ? batch_index_read(d->index, d->index_len, r->q->schema, a, &ix, &e) : ERR_NOMEM;
    if (!rc && (ix->rows != d->rows || ix->body_len != d->body_len))
        rc = err_set(&e, ERR_CORRUPT, NULL, "the small result contradicts its frame");
    if (!rc)
        rc = batch_check(r->q->schema, ix, d->body, &e);
    arena_free(a);
    if (rc) {
        lied(r, &e);
        return false;
    }
    pthread_mutex_lock(&r->q->lock);
    uint8_t *index = arena_alloc(r->q->arena, d->index_len), *body = arena_alloc(r->q->arena, d->body_len);
    pthread_mutex_unlock(&r->q->lock);
    if (!index || !body) {
        r->ending = END_INTERNAL;
        err_set(&r->err, ERR_NOMEM, "53200", "out of memory");
        return false;
    }
    memcpy(index, d->index, d->index_len);
    memcpy(body, d->body, d->body_len);
    res->index = index;
    res->index_len = d->index_len;
    res->body = body;
    res->body_len = d->body_len;
    res->bytes = d->body_len;
    return true;
}

static void on_done(struct run *r, const struct wire_done *d)
{
    struct query *q = r->q;
    if (r->plan_only || r->moves)
        return;
    pthread_mutex_lock(&q->lock);
    struct result *res = arena_alloc(q->arena, sizeof *res);
    /* counted at the end, the progress' estimates go */
    if (d->bytes_scanned || r->rows_before + d->rows_scanned > q->rec.rows_scanned)
        q->rec.rows_scanned = r->rows_before + d->rows_scanned;
    q->rec.bytes_scanned = r->bytes_before + d->bytes_scanned;
    q->rec.scanned |= d->scanned;
    q->rec.cut = d->cut;
    pthread_mutex_unlock(&q->lock);
    if (!res) {
        r->ending = END_INTERNAL;
        err_set(&r->err, ERR_NOMEM, "53200", "out of memory");
        return;
    }
    res->ordinal = r->ordinal;
    res->kind = q->rec.kind;
    res->origin = q->rec.id;
    res->update_count = d->update_count;
    res->rows = d->rows;
    res->schema = q->schema;
    res->cut = d->cut;
    if (d->index_len > 0) {
        if (r->writer || !q->schema) {
            struct err e;
            err_set(&e, ERR_CORRUPT, NULL, "a small result where none can be");
            lied(r, &e);
            return;
        }
        if (!keep_inline(r, d, res))
            return;
    }
    res->is_inline = r->writer == NULL;
    r->inline_used += d->index_len + d->body_len;
    if (r->writer)
        res->bytes = r->bytes;
    r->result = res;
    pthread_mutex_lock(&q->lock);
    q->live_whole = true;
    bool followed = q->followed;
    pthread_mutex_unlock(&q->lock);
    if (followed)
        render_more(r->s->render, &q->rec.id);
}

static void on_failed(struct run *r, const struct wire_failed *f)
{
    static const enum ending of[] = {
        [WIRE_FAIL_SQL] = END_SQL_ERROR,     [WIRE_FAIL_REFUSED] = END_REFUSED,
        [WIRE_FAIL_MEMORY] = END_MEMORY,     [WIRE_FAIL_LIMIT] = END_RESULT_LIMIT,
        [WIRE_FAIL_CANCELED] = END_INTERNAL, [WIRE_FAIL_FATAL] = END_ENGINE_CRASHED,
    };
    if (r->ending)
        return;
    r->ending = f->kind < sizeof of / sizeof of[0] ? of[f->kind] : END_INTERNAL;
    r->err = f->error;
    if (f->kind == WIRE_FAIL_LIMIT && r->quota_rows && strstr(r->err.text, "result.max_rows"))
        err_set(&r->err, ERR_LIMIT, "54000",
                "the result has more rows than the workspace's quota rows (%lld) allows",
                (long long)r->quota_rows);
    if (!r->err.code)
        r->err.code = ERR_INVALID;
    const struct query_record *q = &r->q->rec;
    source_explain(r->s->sources, q->workspace, q->user, q->default_source, q->sql, q->sql_len, &r->err);
}

/* ---- the loop ---- */

static void timed_out(struct run *r, int64_t now)
{
    if (r->canceling || now < r->run_deadline) {
        if (r->canceling || r->planned || now < r->plan_deadline)
            return;
        r->ending = END_PLAN_TIMEOUT;
    } else {
        r->ending = END_RUN_TIMEOUT;
        if (r->own_time)
            err_set(&r->err, ERR_TIMEOUT, "57014",
                    "canceled by query timeout: the run time limit that was asked for was reached");
        if (r->quota_time)
            err_set(&r->err, ERR_TIMEOUT, "57014",
                    "canceled by query timeout: the run time limit was reached (the workspace's quota "
                    "run_timeout)");
    }
    r->canceling = true;
    if (!r->plan_only)
        service__end(r->q, r->ending,
                     r->ending == END_RUN_TIMEOUT && (r->quota_time || r->own_time) ? &r->err : NULL, NULL,
                     0); /* told at once; the engine follows */
    engine_cancel(r->engine, false);
}

bool runner__step(struct run *r)
{
    struct engine_event ev;
    int64_t deadline = r->canceling                                       ? INT64_MAX
                       : r->planned || r->plan_deadline > r->run_deadline ? r->run_deadline
                                                                          : r->plan_deadline;
    int rc = engine_next(r->engine, deadline, &ev, &r->err);
    if (rc) {
        if (!r->ending)
            r->ending = END_INTERNAL;
        return false;
    }
    switch (ev.type) {
    case ENGINE_PLANNED:
        r->planned = true;
        r->moves = ev.planned.writes && !r->write && !r->q->rec.read_only;
        if (r->moves)
            return true; /* its columns may be others when its turn comes */
        if (keep_schema(r, &ev.planned) && !r->ending) {
            r->ending = END_INTERNAL;
            engine_cancel(r->engine, true);
        }
        return true;
    case ENGINE_BATCH:
        if (!r->ending && !r->canceling)
            on_batch(r, &ev.batch);
        return true;
    case ENGINE_BEAT:
        on_beat(r, &ev.beat);
        return true;
    case ENGINE_WANT:
    case ENGINE_TICK:
        timed_out(r, sys_mono_ns());
        return true;
    case ENGINE_DONE:
        if (!r->ending)
            on_done(r, &ev.done);
        return false;
    case ENGINE_FAILED:
        on_failed(r, &ev.failed);
        return false;
    case ENGINE_SCRIPT:
        if (!r->ending)
            runner__pieces(r, &ev.script);
        return false;
    case ENGINE_CRASHED:
        if (!r->ending) {
            r->ending = END_ENGINE_CRASHED;
            r->err = ev.failed.error;
        }
        return false;
    case ENGINE_HUNG:
        if (!r->ending)
            r->ending = END_ENGINE_HUNG;
        return false;
    case ENGINE_LIED:
        if (!r->ending)
            r->ending = END_ENGINE_LIED;
        return false;
    case ENGINE_KILLED:
        if (!r->ending)
            r->ending = END_CANCELED_RUNNING;
        return false;
    }
    return false;
}

/* Small results of a script are kept in the registry too, but not without end. */
#define INLINE_ALL (1u << 20)

static uint32_t inline_max(const struct run *r)
{
    uint32_t most = (uint32_t)config.result_inline_max,
             left = r->inline_used < INLINE_ALL ? INLINE_ALL - r->inline_used : 0;
    return most < left ? most : left;
}

int runner__start_job(struct run *r, const char *sql, uint32_t n, uint8_t step)
{
    struct query_record *rec = &r->q->rec;
    struct wire_param *params;
    uint32_t nparams;
    int rc = params_decode(rec->params, rec->params_len, r->arena, &params, &nparams);
    if (rc)
        return err_set(&r->err, ERR_INTERNAL, "XX000", "the stored parameters cannot be read");
    struct wire_job job = {
        .job = atomic_fetch_add(&job_ids, 1) + 1,
        .plan_only = r->plan_only,
        .profile = rec->profile,
        .sql = sql,
        .sql_len = n,
        .default_catalog = rec->default_source ? rec->default_source : "",
        .default_schema = rec->default_database ? rec->default_database : "",
        .nparams = nparams,
        .params = params,
        .row_limit = rec->row_limit,
        .max_rows = (uint64_t)(r->quota_rows ? r->quota_rows : config.result_max_rows),
        .max_bytes = (uint64_t)config.result_max_bytes,
        .inline_max = inline_max(r),
        .timezone = rec->timezone ? rec->timezone : "",
        .allow_write = !rec->read_only,
        .step = step,
        .one_transaction = step == WIRE_STEP_NEXT && (rec->script & SCRIPT_ATOMIC),
    };
    return engine_start(r->engine, &job, &r->err);
}

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
    r->own_time = !r->quota_time && r->q->rec.script && limit == r->q->rec.run_timeout_ms;
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
    if (rc) {
        service__end(qw->q, END_DISK_FULL, e, NULL, 0); /* and drops the file */
        render_drop_ahead(qw->q);
    } else {
        delivery_push(qw->q->service->delivery, qw->q);
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
    if (go)
        service__write(q, apply_delivering, delivering_done, 0, 0, 0);
    else
        runner__drop_rows(r);
    return true;
}

/* The sealed file takes the place of the view of what was written so far. */
static void hide_live(struct run *r)
{
    pthread_mutex_lock(&r->q->lock);
    struct segment *view = r->q->live_segment ? r->q->segment : NULL;
    if (view) {
        r->q->segment = NULL; /* later readers open the sealed file */
        r->q->live_segment = false;
    }
    pthread_mutex_unlock(&r->q->lock);
    segment_unref(view);
}

bool runner__seal(struct run *r)
{
    struct err e;
    err_clear(&e);
    if (!r->writer)
        return true;
    if (spool_seal(r->s->spool, &r->q->rec.id, r->ordinal, r->writer, &r->result->facts, &e)) {
        store_failed(r, &e);
        return false;
    }
    r->result->sealed = true;
    usage_add(r->s->usage, r->q->rec.workspace, (int64_t)r->result->facts.file_size - (int64_t)r->counted);
    r->counted = 0;
    observe_spool(r->q->rec.workspace, r->q->rec.workspace_name, usage_of(r->s->usage, r->q->rec.workspace));
    return true;
}

void runner__drop_rows(struct run *r)
{
    if (!r->writer)
        return;
    if (r->result && r->result->sealed) {
        service__remove_file(r->s, r->q, r->ordinal);
    } else {
        spool_abort(r->s->spool, &r->q->rec.id, r->ordinal);
    }
    pthread_mutex_lock(&r->q->lock);
    struct segment *view = r->q->segment;
    r->q->segment = NULL;
    r->q->live_segment = false;
    pthread_mutex_unlock(&r->q->lock);
    segment_unref(view);
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
        hide_live(r);
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

/*
 * runner_job: one job of a run: sent to the engine, then frame by frame until it is over: schema, batches into the segment,
 * the end. Run workers and plan workers; the run is the caller's.
 */
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/observe.h"
#include "core/runner_int.h"

/* Small results of a script are kept in the registry too, but not without end. */
#define INLINE_ALL (1u << 20)

static atomic_uint_fast64_t job_ids;

bool runner__over(struct run *r)
{
    pthread_mutex_lock(&r->q->lock);
    bool yes = query_state_ended(r->q->rec.state);
    pthread_mutex_unlock(&r->q->lock);
    return yes || atomic_load(&r->s->stopping);
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
    if (r->engine)
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

/* The sealed file takes the place of the view of what was written so far. */
void runner__hide_live(struct run *r)
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
    /* What stands behind the batches counts too: the last byte may be the one too many. */
    uint64_t size = r->result->facts.file_size;
    bool fits = size <= r->counted || within_quota(r, size - r->counted);
    usage_add(r->s->usage, r->q->rec.workspace, (int64_t)size - (int64_t)r->counted);
    r->counted = 0;
    if (!fits)
        return false; /* counted in full until the file is dropped */
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

void runner__pieces(struct run *r, const struct wire_script *s)
{
    struct wire_piece *p = arena_alloc(r->arena, (s->npieces + 1) * sizeof *p);
    if (!p) {
        r->ending = END_INTERNAL;
        err_set(&r->err, ERR_NOMEM, "53200", "out of memory");
        return;
    }
    if (s->npieces)
        memcpy(p, s->pieces, s->npieces * sizeof *p);
    r->pieces = p;
    r->npieces = s->npieces;
    r->split = true;
}

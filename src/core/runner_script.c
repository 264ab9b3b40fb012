/*
 * runner_script: several statements in one text, one after the other in one engine session; and the end of
 * every query that was submitted as a script.
 *
 * The first job of a run says what the text holds (engine's parser). With one statement that job is the run;
 * else nothing ran yet, and each statement is a job of its own, until the last, or the first error, or the end
 * by somebody else. A script with any statement that may write has the catalog's writer and its lock for all of
 * them. Each result is published when it is complete (its file sealed, its row queued for the registry, so that
 * a crash leaves what came before); the rows of the one under way can be read from its live view.
 *
 * The query has one owner of its end: while q->keeps is set whoever ends it (cancel, delete, timeout) only
 * decides how, and this worker adds what there is and records it (service__end_script). Run worker's thread.
 */
#include <string.h>

#include "base/config.h"
#include "base/sys.h"
#include "base/utf8.h"
#include "core/runner_int.h"

/* ---- results ---- */

static int apply_result(struct registry *reg, struct registry_write *w, struct err *e)
{
    struct query_write *qw = (struct query_write *)(void *)w;
    struct query *q = qw->q;
    pthread_mutex_lock(&q->lock);
    bool any = !q->whole && !q->refused && qw->runs < q->rec.nresults && !q->rec.gone_ms;
    struct result x = any ? q->rec.results[qw->runs] : (struct result){0};
    pthread_mutex_unlock(&q->lock);
    return any ? registry_put_result(reg, &q->rec.id, &x, e) : 0;
}

/* Grows by doubling; what was handed out stays where it is. Lock held. */
static bool append(struct query *q, const struct result *x)
{
    uint32_t n = q->rec.nresults;
    if ((n & (n - 1)) == 0) {
        struct result *all = arena_alloc(q->arena, (n ? 2 * (size_t)n : 1) * sizeof *all);
        if (!all)
            return false;
        if (n)
            memcpy(all, q->rec.results, n * sizeof *all);
        q->rec.results = all;
    }
    q->rec.results[n] = *x;
    q->rec.nresults = n + 1;
    return true;
}

/* From here on it is one of the query's results; its file takes the place of the live view. */
static bool publish(struct run *r, struct result *x)
{
    struct query *q = r->q;
    pthread_mutex_lock(&q->lock);
    x->ordinal = r->ordinal;
    x->started_ms = q->statement_ms ? q->statement_ms : q->rec.started_ms;
    x->ended_ms = sys_wall_ms();
    if (x->ended_ms < x->started_ms)
        x->ended_ms = x->started_ms;
    bool ok = append(q, x);
    struct segment *view = ok && q->live_segment ? q->segment : NULL;
    if (view)
        q->segment = NULL;
    q->live_segment &= !view;
    q->live_rows = ok ? 0 : q->live_rows;
    query_signal_unlock(q, 0, true);
    segment_unref(view);
    if (!ok) {
        r->ending = END_INTERNAL;
        err_set(&r->err, ERR_NOMEM, "53200", "out of memory");
    } else if (r->split && r->ordinal + 1 < r->npieces) { /* the last one comes with the end */
        service__write(q, apply_result, service__write_done, 0, 0, r->ordinal);
    }
    return ok;
}

/* The rows that came before an error, as a result; NULL when there are none or they cannot be stored. */
static struct result *broken(struct run *r)
{
    struct query *q = r->q;
    if (!r->writer || !r->rows || r->ending == END_DISK_FULL || r->ending == END_ENGINE_LIED)
        return NULL;
    pthread_mutex_lock(&q->lock);
    struct result *x = arena_alloc(q->arena, sizeof *x);
    pthread_mutex_unlock(&q->lock);
    if (!x)
        return NULL;
    *x = (struct result){.kind = q->rec.kind,
                         .update_count = -1,
                         .rows = r->rows,
                         .bytes = r->bytes,
                         .schema = q->schema,
                         .origin = q->rec.id};
    enum ending ending = r->ending; /* it stays what it is */
    r->result = x;
    bool ok = runner__seal(r);
    r->ending = ending;
    return ok ? x : NULL;
}

/* Takes the error as a result, so that the next statement may run. */
static bool go_on(struct run *r)
{
    struct query *q = r->q;
    bool sql = r->ending == END_SQL_ERROR || r->ending == END_REFUSED ||
               (r->ending == END_RESULT_LIMIT && strcmp(r->err.sqlstate, "53400") != 0); /* no room at all */
    if (!(q->rec.script & SCRIPT_GO_ON) || (q->rec.script & SCRIPT_ATOMIC) || !sql || runner__over(r))
        return false;
    struct result *x = broken(r);
    if (!x && r->writer)
        runner__drop_rows(r);
    pthread_mutex_lock(&q->lock);
    struct err *copy = arena_alloc(q->arena, sizeof *copy);
    x = x ? x : arena_alloc(q->arena, sizeof *x);
    if (x && !x->schema)
        *x = (struct result){.kind = RESULT_ERROR, .update_count = -1, .origin = q->rec.id};
    pthread_mutex_unlock(&q->lock);
    if (!x || !copy)
        return false;
    *copy = r->err;
    x->error = copy;
    if (!r->first) {
        r->first = r->ending;
        r->first_err = r->err;
    }
    r->ending = END_NONE;
    err_clear(&r->err);
    return publish(r, x);
}

/* ---- statements ---- */

/* The engine counted from the statement's begin; the client counts from the text's. */
static void place(struct run *r, const struct wire_piece *p)
{
    struct err *e = &r->err;
    const char *sql = r->q->rec.sql;
    if (e->position < 0 || r->ending != END_SQL_ERROR)
        return;
    int64_t before = (int64_t)utf8_length(sql, p->at);
    e->position += before;
    if (e->position_end >= 0)
        e->position_end += before;
    int32_t lines = 0;
    uint32_t line_at = 0;
    for (uint32_t i = 0; i < p->at; i++)
        if (sql[i] == '\n') {
            lines++;
            line_at = i + 1;
        }
    if (e->line == 1)
        e->column += (int32_t)utf8_length(sql + line_at, p->at - line_at);
    if (e->line > 0)
        e->line += lines;
}

static void begin_statement(struct run *r, uint32_t k)
{
    struct query *q = r->q;
    segment_writer_free(r->writer);
    r->writer = NULL;
    r->result = NULL;
    r->ordinal = k;
    r->rows = r->bytes = r->batches = 0;
    r->planned = r->moves = false;
    r->plan_deadline = sys_mono_ns() + config.engine_plan_timeout * 1000000;
    pthread_mutex_lock(&q->lock);
    r->rows_before = q->rec.rows_scanned;
    r->bytes_before = q->rec.bytes_scanned;
    q->schema = NULL;
    q->schema_known = false;
    q->rec.kind = 0;
    q->live_rows = q->live_bytes = q->live_batches = 0;
    q->statement = k;
    q->statement_ms = sys_wall_ms();
    pthread_mutex_unlock(&q->lock);
}

static bool one(struct run *r, uint32_t k)
{
    const struct wire_piece *p = &r->pieces[k];
    begin_statement(r, k);
    if (runner__start_job(r, r->q->rec.sql + p->at, p->n, WIRE_STEP_NEXT)) {
        if (!runner__over(r))
            r->ending = END_ENGINE_CRASHED;
        return false;
    }
    while (runner__step(r)) {
    }
    if (r->moves && !r->ending) {
        r->ending = END_REFUSED;
        err_set(&r->err, ERR_DENIED, "0A000",
                "this form of a statement that changes data is not possible among several statements");
    }
    if (!r->ending && r->result)
        return runner__seal(r) && publish(r, r->result);
    if (!r->ending)
        return false;
    place(r, p);
    return go_on(r);
}

/* Commits, or undoes, and lets the session go; a writer closes the catalog. */
static void end_session(struct run *r, bool commit)
{
    const struct wire_job job = {.job = 1,
                                 .sql = "",
                                 .default_catalog = "",
                                 .default_schema = "",
                                 .timezone = "",
                                 .row_limit = -1,
                                 .max_rows = 1,
                                 .max_bytes = 1,
                                 .step = commit ? WIRE_STEP_COMMIT : WIRE_STEP_ROLLBACK};
    struct err e;
    err_clear(&e);
    if (engine_start(r->engine, &job, &e)) {
        if (commit && (r->q->rec.script & SCRIPT_ATOMIC))
            r->ending = END_ENGINE_CRASHED;
        return;
    }
    for (;;) {
        struct engine_event ev;
        if (engine_next(r->engine, INT64_MAX, &ev, &e) || (ev.type > ENGINE_BEAT && ev.type != ENGINE_TICK)) {
            bool atomic = commit && (r->q->rec.script & SCRIPT_ATOMIC);
            if (atomic && ev.type == ENGINE_FAILED) {
                r->ending = END_SQL_ERROR;
                r->err = ev.failed.error;
            } else if (atomic && ev.type != ENGINE_DONE) {
                r->ending = END_ENGINE_CRASHED;
            }
            return;
        }
    }
}

void runner__script(struct run *r)
{
    struct query *q = r->q;
    pthread_mutex_lock(&q->lock);
    q->multi = true;
    pthread_mutex_unlock(&q->lock);
    if ((int64_t)r->npieces > config.engine_max_statements) {
        r->ending = END_RESULT_LIMIT;
        err_set(&r->err, ERR_LIMIT, "54000",
                "the text holds %u statements, more than engine.max_statements (%lld) allows", r->npieces,
                (long long)config.engine_max_statements);
    }
    uint32_t k = 0;
    while (!r->ending && k < r->npieces && !runner__over(r) && one(r, k))
        k++;
    bool all = k == r->npieces && !r->ending;
    bool there =
        !r->ending || r->ending == END_SQL_ERROR || r->ending == END_REFUSED || r->ending == END_RESULT_LIMIT;
    if (there && !runner__over(r))
        end_session(r, all);
    if (all && r->ending) { /* the commit failed: its error is a result of its own */
        segment_writer_free(r->writer);
        r->writer = NULL;
        r->rows = 0;
        pthread_mutex_lock(&q->lock);
        q->statement_ms = 0;
        pthread_mutex_unlock(&q->lock);
    }
    r->complete = all && !r->ending;
}

void runner__finish_script(struct run *r)
{
    struct query *q = r->q;
    if (!r->split && !r->ending && r->result)
        r->complete = runner__seal(r) && publish(r, r->result);
    pthread_mutex_lock(&q->lock);
    bool ended = query_state_ended(q->rec.state);
    bool published = q->rec.nresults > r->ordinal;
    pthread_mutex_unlock(&q->lock);
    if (atomic_load(&r->s->stopping) && !ended && !r->complete) {
        if (!published)
            runner__drop_rows(r);
        return; /* the record stays RUNNING, the next start decides */
    }
    struct result *b = published || r->complete ? NULL : broken(r);
    if (!b && !published && !r->complete)
        runner__drop_rows(r);
    if (r->complete && !r->first)
        service__end_script(q, END_FINISHED, NULL, NULL, true);
    else if (r->complete)
        service__end_script(q, r->first, &r->first_err, NULL, true);
    else
        service__end_script(q, r->ending ? r->ending : END_INTERNAL, &r->err, b, false);
}

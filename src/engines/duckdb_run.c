/*
 * duckdb_run: one job, from JOB to DONE or FAILED. Job thread.
 *
 * Stages: session, plan (PLANNED goes out), execute as a stream, rows (duckdb_stream.c), end.
 *
 * A writing job runs in a transaction that touches the schema quern_internal first: from then on the engine
 * itself refuses to change any database but data_catalog. Before DONE a writer checkpoints and detaches, so
 * that DONE means that the file is closed. A process without catalog_write only plans a statement that
 * writes.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "engines/duckdb_job.h"

#define FRAME_CEILING (WIRE_INLINE_MAX + (40u << 20))

#define HEAVY_NS    20000000
#define IDLE_NS     20000
#define IDLE_MAX_NS 1000000
#define SOON_NS     1000000 /* below the main thread's first look at a job, which sends what waits */

static int send_planned(struct duck_job *x, int64_t plan_ns)
{
    struct wire_planned m = {.job = x->job->job,
                             .kind = x->plan.st.kind,
                             .writes = x->plan.st.writes,
                             .nparams = x->plan.nparams,
                             .plan_ns = (uint64_t)plan_ns,
                             .schema = x->plan.out.schema};
    CLEANUP_BUF struct buf b = BUF_INIT(FRAME_CEILING);
    if (wire_put_planned(&b, &m) < 0)
        return duck__job_failed(x, WIRE_FAIL_LIMIT, ERR_LIMIT, "54000", "the result has too many columns");
    /* A read that was planned at once often ends at once. */
    if (x->plan.st.writes || plan_ns > SOON_NS)
        port_send(x->port, &b);
    else
        port_send_soon(x->port, &b);
    return 0;
}

/* Works on the statement until rows can be fetched. While the library's other threads have all that there is to
 * do this one sleeps, a little longer each time; the library's own loop would spin. */
static void work(struct duck_job *x)
{
    long pause_ns = IDLE_NS;
    for (;;) {
        duckdb_pending_state s = duckdb_pending_execute_task(x->pending);
        if (s == DUCKDB_PENDING_RESULT_NOT_READY) {
            pause_ns = IDLE_NS;
        } else if (s == DUCKDB_PENDING_NO_TASKS_AVAILABLE) {
            struct timespec t = {.tv_nsec = pause_ns};
            (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
            pause_ns += pause_ns < IDLE_MAX_NS ? pause_ns / 4 : 0;
        } else {
            return; /* ready, or an error that the caller meets */
        }
    }
}

/* The one place that names the deprecated streaming calls. */
static int execute(struct duck_job *x)
{
    if (duckdb_pending_prepared_streaming(x->plan.ps, &x->pending) != DuckDBSuccess)
        return duck__job_engine_failed(x, duckdb_pending_error(x->pending), 0);
    if (port_canceled(x->port))
        return duck__job_canceled(x);
    work(x);
    if (duckdb_execute_pending(x->pending, &x->result) != DuckDBSuccess) {
        x->has_result = true;
        return duck__job_engine_failed(x, duckdb_result_error(&x->result),
                                       (int)duckdb_result_error_type(&x->result));
    }
    x->has_result = true;
    return 0;
}

static int begin_write(struct duck_job *x)
{
    if (x->d->script_tx)
        return 0;
    int r = duck__exec(x->session.conn, "BEGIN; " DUCK_TOUCH_WRITER, &x->e);
    x->in_transaction = true;
    return r < 0 ? duck__job_failed(x, WIRE_FAIL_REFUSED, ERR_DENIED, "42501",
                                    "this statement needs the catalog's writer")
                 : 0;
}

static int end_write(struct duck_job *x)
{
    if (x->has_result)
        duckdb_destroy_result(&x->result);
    x->has_result = false;
    if (x->d->script_tx)
        return 0; /* with the rest of the script */
    int r = duck__datasets_intact(x->d, x->session.conn, &x->e);
    if (!r && duck__exec(x->session.conn, DUCK_TOUCH_WRITER, NULL) < 0)
        r = err_set(&x->e, ERR_DENIED, "42501", "the schema quern_internal cannot be changed by SQL");
    if (r < 0) {
        x->fail = WIRE_FAIL_REFUSED;
        return r;
    }
    x->in_transaction = false;
    x->fail = WIRE_FAIL_SQL;
    return duck__exec(x->session.conn, "COMMIT", &x->e);
}

static int read_count(struct duck_job *x)
{
    if (duckdb_result_return_type(x->result) == DUCKDB_RESULT_TYPE_CHANGED_ROWS ||
        x->plan.st.kind == WIRE_KIND_UPDATE) {
        x->done.update_count = (int64_t)duckdb_rows_changed(&x->result);
    }
    duckdb_data_chunk chunk;
    while ((chunk = duckdb_fetch_chunk(x->result))) {
        if (x->plan.st.kind == WIRE_KIND_DDL && duckdb_data_chunk_get_size(chunk) == 1 &&
            duckdb_data_chunk_get_column_count(chunk) == 1) {
            duckdb_vector v = duckdb_data_chunk_get_vector(chunk, 0);
            duckdb_logical_type t = duckdb_vector_get_column_type(v);
            if (duckdb_get_type_id(t) == DUCKDB_TYPE_BIGINT)
                x->done.update_count = *(int64_t *)duckdb_vector_get_data(v);
            duckdb_destroy_logical_type(&t);
        }
        duckdb_destroy_data_chunk(&chunk);
    }
    const char *message = duckdb_result_error(&x->result);
    return message ? duck__job_engine_failed(x, message, (int)duckdb_result_error_type(&x->result)) : 0;
}

/* No word that names a table, a view or a file: the statement computes from what its text holds. Over-approximate: false
 * also where such a word is only mentioned. */
static bool reads_nothing(const struct wire_job *job)
{
    static const char *const words[] = {"from",     "table", "pivot",     "pivot_wider", "unpivot", "show",
                                        "describe", "desc",  "summarize", "explain",     "update",  "merge"};
    return !memmem(job->sql, job->sql_len, "read_", 5) &&
           !duck__policy_mentions_any(job->sql, job->sql_len, words, sizeof words / sizeof *words);
}

/* Whether a table or a file is read: a reader function or a dataset's name in the text, or else the engine's list of
 * names, for which it parses again (it sees through views down to tables). Over-approximate where a name is only
 * mentioned. */
static bool reads_something(const struct duck_job *x)
{
    if (reads_nothing(x->job))
        return false;
    if (x->plan.st.type == DUCKDB_STATEMENT_TYPE_UPDATE || x->plan.st.type == DUCK_STATEMENT_MERGE)
        return true; /* the table that they change; it is not among the engine's names */
    bool any = memmem(x->job->sql, x->job->sql_len, "read_", 5) != NULL;
    for (uint32_t i = 0; i < x->d->setup->ndatasets && !any; i++)
        any = duck__policy_mentions(x->job->sql, x->job->sql_len, x->d->setup->datasets[i].name);
    if (any)
        return true;
    duckdb_value v = duckdb_get_table_names(x->session.conn, x->job->sql, false);
    if (!v)
        return true; /* it cannot say (PIVOT) */
    any = duckdb_get_list_size(v) > 0;
    duckdb_destroy_value(&v);
    return any;
}

/* Counting costs a moment, so only where there may be something to count; and EXPLAIN ANALYZE has a profile of its
 * own. */
static enum session_use use_of(const struct wire_job *job)
{
    if (reads_nothing(job))
        return SESSION_BARE;
    return duck__policy_mentions(job->sql, job->sql_len, "explain") ? SESSION_PLAIN : SESSION_COUNTS;
}

static void count_scanned(struct duck_job *x)
{
    if (x->ready)
        x->scanned = x->ready->scanned;
    else if (x->counts) /* before the COMMIT, which the library takes for the last statement */
        duck__scanned(x->d, x->session.conn, &x->scanned);
    if (x->scanned.rows || x->scanned.bytes) {
        x->done.rows_scanned = x->scanned.rows;
        x->done.bytes_scanned = x->scanned.bytes;
    }
}

/* A statement that stayed prepared was bound anew: its columns are those that were told, or nothing is sent. */
static int check_columns(struct duck_job *x)
{
    struct plan now = {.st = x->plan.st};
    int r = duck__plan_columns(x->arena, &now, &x->result, &x->e);
    if (r || schema_equal(now.out.schema, x->plan.out.schema))
        return r;
    return duck__job_failed(x, WIRE_FAIL_SQL, ERR_CONFLICT, "40001",
                            "a data set's file changed while the statement began: run it again");
}

static int run_statement(struct duck_job *x)
{
    bool rows = x->plan.st.kind != WIRE_KIND_UPDATE && x->plan.st.kind != WIRE_KIND_DDL;
    int r = x->plan.st.writes ? begin_write(x) : 0;
    if (!r)
        r = execute(x);
    if (r < 0)
        return r;
    duck__stream_progress(x);
    if (x->ready && (r = check_columns(x)) < 0)
        return r;
    if (x->plan.st.unreliable_schema) {
        r = duck__plan_columns(x->arena, &x->plan, &x->result, &x->e);
        if (!r && x->plan.out.needs_cast)
            r = duck__job_failed(x, WIRE_FAIL_SQL, ERR_INVALID, "0A000",
                                 "a column's type cannot be returned");
        if (!r)
            r = send_planned(x, sys_mono_ns() - x->began);
    }
    if (!r)
        r = duck__rows_init(&x->rows, x->arena, x->plan.out.schema, x->plan.out.nodes, &x->e);
    if (!r)
        r = rows ? duck__stream(x) : read_count(x);
    if (!r)
        count_scanned(x);
    if (!r && x->plan.st.writes)
        r = end_write(x);
    return r;
}

static void set_current(struct duck *d, duckdb_connection c)
{
    pthread_mutex_lock(&d->mu);
    d->current = c;
    pthread_mutex_unlock(&d->mu);
}

static int take_session(struct duck_job *x)
{
    struct duck *d = x->d;
    x->kept = x->job->step == WIRE_STEP_NEXT;
    if (!x->kept)
        duck__script_end(d); /* of a script that was left */
    int r = x->kept ? duck__script_begin(d, x->job, &x->e)
                    : duck__session(d, x->job, use_of(x->job), &x->session, &x->e);
    if (x->kept)
        x->session = d->script;
    if (r < 0)
        return r;
    set_current(d, x->session.conn);
    return port_canceled(x->port) ? duck__job_canceled(x) : 0;
}

/* What does the text hold? With several statements the session is the script's from here on. */
static int split(struct duck_job *x)
{
    int r = duck__split(x->d, x->session.conn, x->job, x->arena, &x->script, &x->e, &x->fail);
    x->split = r == 0 && x->script.npieces != 1;
    if (x->split) {
        x->d->script = x->session;
        x->kept = true;
    }
    return r;
}

/* The end of a script: nothing is planned and nothing returned. */
static int end_script(struct duck_job *x)
{
    x->plan.st.kind = WIRE_KIND_DDL;
    int r = duck__plan_columns(x->arena, &x->plan, NULL, &x->e);
    if (!r)
        r = send_planned(x, 0);
    if (!r && x->job->step == WIRE_STEP_COMMIT)
        r = duck__script_commit(x->d, &x->e);
    duck__script_end(x->d);
    return r;
}

/* The profile costs a moment: off for what is known. */
static int keep_profile(struct session *s, bool on, struct err *e)
{
    if (s->use != SESSION_COUNTS || s->quiet == !on)
        return 0;
    int r = on ? duck__profile_on(s->conn, e) : duck__profile_off(s->conn, e);
    s->quiet = !on;
    return r;
}

static int plan(struct duck_job *x)
{
    struct session *s = &x->session;
    x->ready = x->kept || x->plan.kind || x->plan.text_column ? NULL : duck__ready_find(x->d, s, x->job);
    int r = keep_profile(s, !x->ready, &x->e);
    if (r < 0 || !x->ready)
        return r < 0 ? r : duck__plan(x->d, s->conn, x->job, x->arena, &x->plan, &x->e, &x->fail);
    x->plan.ps = x->ready->ps;
    x->plan.st = x->ready->st;
    return duck__plan_columns(x->arena, &x->plan, NULL, &x->e);
}

static int go(struct duck_job *x)
{
    x->fail = WIRE_FAIL_SQL;
    if (x->job->step >= WIRE_STEP_COMMIT)
        return end_script(x);
    int r = duck__policy_runs(x->job->sql, x->job->sql_len, &x->e);
    if (!r)
        r = take_session(x);
    if (!r && x->job->step == WIRE_STEP_SCRIPT)
        r = split(x);
    if (r < 0 || x->split)
        return r;
    r = compat_job(x->d, x->session.conn, x->job, x->arena, &x->compat, &x->e, &x->fail);
    if (r < 0)
        return r;
    x->job = &x->compat.job;
    x->rewritten = true;
    x->plan.text_column = x->compat.text_column;
    x->plan.kind = x->compat.has_kind ? (int8_t)(x->compat.kind + 1) : 0;
    r = plan(x);
    if (r < 0)
        return r;
    bool reader =
        x->plan.st.writes && !x->d->setup->catalog_write; /* the daemon takes the statement to a writer */
    bool run = !x->job->plan_only && !reader && (x->job->row_limit != 0 || x->plan.st.writes);
    /* Who sends typed parameters (PG) wants the schema at once, however long the run takes. */
    bool early = !run || x->job->profile == WIRE_PROFILE_PG;
    if (early && x->plan.st.unreliable_schema) {
        bool cut = !run || x->session.use != SESSION_BARE; /* without its optimizer LIMIT 0 computes all */
        r = duck__plan_resolve(x->d, x->session.conn, x->job, x->arena, &x->plan, cut, &x->e, &x->fail);
        if (!r && run && !x->plan.st.unreliable_schema && x->plan.out.needs_cast)
            r = duck__job_failed(x, WIRE_FAIL_SQL, ERR_INVALID, "0A000",
                                 "a column's type cannot be returned");
        if (r < 0)
            return r;
    }
    if (!(run && x->plan.st.unreliable_schema))
        r = send_planned(x, sys_mono_ns() - x->began);
    if (r < 0 || !run)
        return r;
    x->done.scanned = x->ready || reads_something(x);
    x->counts = x->done.scanned && !x->ready && x->plan.st.kind != WIRE_KIND_TEXT &&
                (x->session.use == SESSION_COUNTS || duck__profile_on(x->session.conn, NULL) == 0);
    return run_statement(x);
}

/* A plain SELECT that came to its end changes nothing of its session. What does (SET, temporary objects, PREPARE) is
 * another kind of statement, but for a PIVOT, which makes an enum first, and for the seed of random(). */
static bool leaves_no_trace(const struct duck_job *x)
{
    static const char *const traces[] = {"pivot", "pivot_wider", "setseed"};
    return x->has_result && !x->cut && !x->kept && !x->in_transaction &&
           (x->session.use == SESSION_COUNTS || !x->counts) &&
           x->plan.st.type == DUCKDB_STATEMENT_TYPE_SELECT && x->plan.st.kind == WIRE_KIND_ROWS &&
           !x->plan.st.writes &&
           !duck__policy_mentions_any(x->job->sql, x->job->sql_len, traces, sizeof traces / sizeof *traces);
}

static void tear_down(struct duck_job *x, bool good)
{
    bool clean = good && leaves_no_trace(x);
    set_current(x->d, NULL);
    if (x->rows.saved)
        duck__rows_reset(&x->rows);
    if (x->has_result)
        duckdb_destroy_result(&x->result);
    if (x->pending)
        duckdb_destroy_pending(&x->pending);
    if (x->ready)
        x->plan.ps = NULL; /* the session's */
    else if (clean && x->counts && x->session.use == SESSION_COUNTS)
        duck__ready_keep(&x->session, x->job, &x->plan, &x->scanned);
    duck__plan_free(&x->plan);
    if (x->in_transaction && x->session.conn && duck__exec(x->session.conn, "ROLLBACK", NULL) < 0)
        x->d->broken = true;
    if (clean && duck__session_keep(x->d, &x->session))
        return;
    if (!x->kept)
        duck__session_end(&x->session);
}

static void send_script(struct duck_job *x)
{
    CLEANUP_BUF struct buf b = BUF_INIT(2u << 20);
    if (wire_put_script(&b, &x->script) < 0)
        _exit(3);
    port_send_last(x->port, &b);
}

/* A writer serves one statement, or one script. */
static bool reusable(const struct duck_job *x)
{
    return !x->d->broken && (!x->d->setup->catalog_write || x->kept);
}

static void send_done(struct duck_job *x)
{
    x->done.job = x->job->job;
    x->done.run_ns = (uint64_t)(sys_mono_ns() - x->began);
    x->done.cut = x->cut;
    x->done.reusable = reusable(x);
    x->done.index = (const uint8_t *)x->inline_index.p;
    x->done.body = x->inline_body;
    CLEANUP_BUF struct buf b = BUF_INIT(FRAME_CEILING);
    if (wire_put_done(&b, &x->done) < 0)
        _exit(3);
    port_send_last(x->port, &b);
}

static void send_failed(struct duck_job *x)
{
    bool bad = x->fail == WIRE_FAIL_FATAL || x->fail == WIRE_FAIL_MEMORY;
    if (bad)
        x->d->broken = true;
    if (x->e.code >= 0)
        err_set(&x->e, ERR_ENGINE, "XX000", "the engine failed without a reason");
    if (x->rewritten)
        compat_place(&x->compat, &x->e);
    struct wire_failed m = {.job = x->job->job, .error = x->e, .kind = x->fail, .reusable = reusable(x)};
    duck__scrub(x->d, m.error.text);
    CLEANUP_BUF struct buf b = BUF_INIT(FRAME_CEILING);
    if (wire_put_failed(&b, &m) < 0)
        _exit(3);
    port_send_last(x->port, &b);
}

void duck_run(struct duck *d, const struct wire_job *job, struct arena *a, struct port *port)
{
    struct duck_job x;
    memset(&x, 0, sizeof x);
    x.d = d;
    x.job = job;
    x.arena = a;
    x.port = port;
    x.began = sys_mono_ns();
    x.done.update_count = -1;
    buf_init(&x.inline_index, FRAME_CEILING);
    err_clear(&x.e);
    slots_begin(&d->slots);
    int r = go(&x);
    /* A good read is told before the library cleans up: nobody waits for that but the next job. */
    bool told = r == 0 && (!d->setup->catalog_write || x.kept) && !x.in_transaction && !x.split;
    d->heavy = sys_mono_ns() - x.began > HEAVY_NS;
    if (told) {
        set_current(d, NULL);
        send_done(&x);
    }
    tear_down(&x, told);
    if (r < 0 && port_canceled(port) && x.fail != WIRE_FAIL_FATAL)
        (void)duck__job_canceled(&x);
    if (r < 0 && x.kept && x.fail != WIRE_FAIL_SQL && x.fail != WIRE_FAIL_REFUSED &&
        x.fail != WIRE_FAIL_LIMIT) {
        duck__script_end(d); /* canceled, or past use: no more statements will come */
        x.kept = false;
    }
    /* What was committed is committed, also when the log cannot be emptied now: the daemon sees that it is
     * there and opens the catalog again. */
    if (d->setup->catalog_write && !x.kept && duck__close_catalog(d, NULL) < 0)
        d->broken = true;
    if (r < 0)
        send_failed(&x);
    else if (x.split)
        send_script(&x);
    else if (!told)
        send_done(&x);
    buf_free(&x.inline_index);
    free(x.inline_body);
}

void duck_between(struct duck *d)
{
    struct session like = d->like;
    /* Gives back what a large job left; after a small one it would only cost page faults in the next. */
    if (d->heavy)
        (void)malloc_trim(0);
    if (like.profile == 0 && !like.timezone[0])
        like = (struct session){
            .profile = WIRE_PROFILE_PLAIN, .timezone = "UTC", .catalog = "data_catalog", .schema = "main"};
    if (!d->setup->catalog_write)
        duck__session_ahead(d, &like);
}

void duck_interrupt(struct duck *d)
{
    pthread_mutex_lock(&d->mu);
    if (d->current)
        duckdb_interrupt(d->current);
    pthread_mutex_unlock(&d->mu);
}

void duck_progress(struct duck *d, uint64_t *ret_scanned, uint64_t *ret_total, int32_t *ret_permille)
{
    *ret_scanned = *ret_total = 0;
    *ret_permille = -1;
    pthread_mutex_lock(&d->mu);
    if (d->current) {
        duckdb_query_progress_type p = duckdb_query_progress(d->current);
        *ret_scanned = p.rows_processed;
        *ret_total = p.total_rows_to_process;
        if (p.percentage >= 0)
            *ret_permille = p.percentage >= 100 ? 1000 : (int32_t)(p.percentage * 10);
    }
    pthread_mutex_unlock(&d->mu);
}

int duck_try(struct duck *d, const char *sql, uint8_t profile, bool allow_write, struct err *e)
{
    struct wire_job job = {.sql = sql,
                           .sql_len = (uint32_t)strlen(sql),
                           .default_catalog = "data_catalog",
                           .default_schema = "main",
                           .row_limit = -1,
                           .timezone = "",
                           .profile = profile,
                           .allow_write = allow_write};
    struct arena *a = arena_new(64u << 20);
    struct session s = {0};
    struct plan p = {0};
    uint32_t kind;
    struct compat room;
    int r = a ? duck__session(d, &job, SESSION_PLAIN, &s, e) : ERR_NOMEM;
    if (!r)
        r = compat_job(d, s.conn, &job, a, &room, e, &kind);
    if (!r)
        r = duck__plan(d, s.conn, &room.job, a, &p, e, &kind);
    if (!r) {
        duckdb_result res;
        memset(&res, 0, sizeof res);
        if (duckdb_execute_prepared(p.ps, &res) != DuckDBSuccess)
            r = err_set(e, ERR_DENIED, "42501", "refused by the engine");
        duckdb_destroy_result(&res);
    }
    duck__plan_free(&p);
    if (s.conn)
        duckdb_disconnect(&s.conn);
    arena_free(a);
    return r;
}

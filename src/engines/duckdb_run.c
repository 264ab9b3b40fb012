/*
 * duckdb_run: one job, from JOB to DONE or FAILED. Job thread.
 *
 * Stages: session, plan (PLANNED goes out), execute as a stream, keep chunks, write batches, end. Chunks are
 * kept until 65,536 rows, about 4 MiB or 250 ms since the first kept row. A result that fits into inline_max
 * travels in DONE. A NULL chunk is the end of a stream or its failure: the result's error decides.
 *
 * A writing job runs in a transaction that touches quern_internal.writer first: from then on the engine
 * itself refuses to change any database but data_catalog. Before DONE a writer checkpoints and detaches, so
 * that DONE means that the file is closed. A process without catalog_write only plans a statement that
 * writes.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "encoders/batch.h"
#include "base/sys.h"
#include "engines/compat_int.h"
#include "engines/duckdb_int.h"

#define BATCH_ROWS         65536u
#define BATCH_BYTES        (4u << 20)
#define BATCH_NS           INT64_C(250000000)
#define FRAME_CEILING      (WIRE_INLINE_MAX + (40u << 20))
#define TOUCH_WRITER       DUCK_TOUCH_WRITER
#define BODY_AT(index_len) (((uint64_t)(index_len) + 63) & ~UINT64_C(63))

#define HEAVY_NS    20000000
#define IDLE_NS     20000
#define IDLE_MAX_NS 1000000
#define SOON_NS     1000000 /* below the main thread's first look at a job, which sends what waits */

struct duck_run {
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

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int failed(struct duck_run *x, uint32_t kind, int code, const char *state, const char *text)
{
    x->fail = kind;
    return err_set(&x->e, code, state, "%s", text);
}

static int canceled(struct duck_run *x)
{
    return failed(x, WIRE_FAIL_CANCELED, ERR_CANCELED, "57014", "canceled");
}

static int engine_failed(struct duck_run *x, const char *message, int type)
{
    return duck__error(x->d, message ? message : "unknown error", type, x->job->sql, x->job->sql_len, &x->e,
                       &x->fail);
}

/* ---- batches ---- */

static int send_memfd(struct duck_run *x, const struct buf *index, uint64_t body)
{
    uint32_t slot;
    int fd;
    if (port_slot(x->port, &slot, &fd) < 0)
        return canceled(x);
    uint64_t at = BODY_AT(index->len);
    uint8_t *map;
    int r = slots_map(&x->d->slots, slot, fd, at + body, &map);
    (void)close(fd);
    if (r < 0)
        return failed(x, WIRE_FAIL_LIMIT, ERR_LIMIT, "54000", "the memory of a batch is too small");
    memcpy(map, index->p, index->len);
    memset(map + index->len, 0, at - index->len);
    duck__rows_fill(&x->rows, map + at);
    struct wire_batch b = {x->job->job, slot, x->rows.nrows, (uint32_t)index->len, body};
    CLEANUP_BUF struct buf out = BUF_INIT(256);
    if (wire_put_batch(&out, &b) < 0)
        return failed(x, WIRE_FAIL_FATAL, ERR_INTERNAL, "XX000", "a frame cannot be written");
    port_send(x->port, &out);
    x->sent_batch = true;
    x->bytes += body;
    return 0;
}

static int check_limits(struct duck_run *x, uint64_t more)
{
    if (x->job->max_rows && x->done.rows > x->job->max_rows)
        return failed(x, WIRE_FAIL_LIMIT, ERR_LIMIT, "54000",
                      "the result has more rows than result.max_rows allows");
    if (x->job->max_bytes && x->bytes + more > x->job->max_bytes)
        return failed(x, WIRE_FAIL_LIMIT, ERR_LIMIT, "54000",
                      "the result is larger than result.max_bytes allows");
    return 0;
}

/* While it runs, rows_scanned is the highest that the engine's progress showed, its own estimate; at the end
 * count_scanned says it exactly. */
static void sample_progress(struct duck_run *x)
{
    duckdb_query_progress_type p = duckdb_query_progress(x->session.conn);
    uint64_t n = p.rows_processed > p.total_rows_to_process ? p.total_rows_to_process : p.rows_processed;
    if (n > x->done.rows_scanned)
        x->done.rows_scanned = n;
}

static int flush(struct duck_run *x, bool last)
{
    if (!x->rows.nrows)
        return 0;
    CLEANUP_BUF struct buf index = BUF_INIT(16u << 20);
    uint64_t body = 0;
    if (duck__rows_index(&x->rows, &index, &body) < 0)
        return failed(x, WIRE_FAIL_MEMORY, ERR_NOMEM, "53200", "out of memory");
    int r = check_limits(x, body);
    if (r < 0)
        return r;
    if (last && !x->sent_batch && index.len + body <= x->job->inline_max) {
        x->inline_body = calloc(1, body ? body : 1);
        if (!x->inline_body)
            return failed(x, WIRE_FAIL_MEMORY, ERR_NOMEM, "53200", "out of memory");
        duck__rows_fill(&x->rows, x->inline_body);
        if (buf_add(&x->inline_index, index.p, index.len) < 0)
            return failed(x, WIRE_FAIL_MEMORY, ERR_NOMEM, "53200", "out of memory");
        x->done.index_len = (uint32_t)index.len;
        x->done.body_len = (uint32_t)body;
    } else {
        r = send_memfd(x, &index, body);
        sample_progress(x);
    }
    duck__rows_reset(&x->rows);
    return r;
}

/* Keeps rows [from, to) of a chunk; the chunk goes with the last of its parts. */
static int keep(struct duck_run *x, duckdb_data_chunk chunk, idx_t to)
{
    struct duck_rows *r = &x->rows;
    uint64_t room = x->d->setup->batch_max;
    uint64_t index = BODY_AT(batch_index_size(r->schema->nnodes, r->schema->nbuffers));
    idx_t from = 0, end = to;
    int rc = 0;
    while (from < to && !rc) {
        duck__rows_save(r);
        x->fail = WIRE_FAIL_SQL;
        rc = duck__rows_measure(r, chunk, from, end, &x->e);
        if (rc)
            break;
        if (duck__rows_body(r) + index > room && r->nrows) { /* what is kept goes first */
            duck__rows_restore(r);
            rc = flush(x, false);
        } else if (duck__rows_body(r) + index > room) {
            duck__rows_restore(r);
            if (end - from == 1)
                rc = failed(x, WIRE_FAIL_LIMIT, ERR_LIMIT, "54000",
                            "a single row is larger than a batch may be (result.max_batch)");
            end = from + (end - from) / 2;
        } else {
            if (!r->nrows)
                x->first_kept = now_ns();
            bool whole = end == to;
            r->kept[r->nkept++] = (struct kept){chunk, from, end, whole};
            r->nrows += end - from;
            if (whole)
                chunk = NULL;
            from = end;
            end = to;
            bool full =
                r->nrows + 2048 > BATCH_ROWS || duck__rows_body(r) >= BATCH_BYTES || r->nkept >= ROWS_CHUNKS;
            if (full || now_ns() - x->first_kept > BATCH_NS)
                rc = flush(x, false);
        }
    }
    if (chunk) {
        duck__rows_reset(r); /* nothing kept may point into it */
        duckdb_destroy_data_chunk(&chunk);
    }
    return rc;
}

/* EXPLAIN: the second column's text, one row a line. */
static int keep_plan_text(struct duck_run *x, duckdb_data_chunk chunk)
{
    duckdb_logical_type t = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
    idx_t columns = duckdb_data_chunk_get_column_count(chunk), n = duckdb_data_chunk_get_size(chunk);
    duckdb_vector v = duckdb_data_chunk_get_vector(chunk, columns - 1);
    duckdb_string_t *s = duckdb_vector_get_data(v);
    int rc = 0;
    for (idx_t i = 0; i < n && !rc; i++) {
        const char *p = duckdb_string_t_data(&s[i]), *end = p + duckdb_string_t_length(s[i]);
        char *text = strndup(p, (size_t)(end - p));
        if (!text)
            return failed(x, WIRE_FAIL_MEMORY, ERR_NOMEM, "53200", "out of memory");
        duck__scrub(x->d, text);
        p = text;
        end = text + strlen(text);
        while (p < end && !rc) {
            duckdb_data_chunk out = duckdb_create_data_chunk(&t, 1);
            duckdb_vector ov = duckdb_data_chunk_get_vector(out, 0);
            idx_t k = 0;
            for (; p < end && k < duckdb_vector_size(); k++) {
                const char *nl = memchr(p, '\n', (size_t)(end - p));
                size_t len = (size_t)((nl ? nl : end) - p);
                duckdb_vector_assign_string_element_len(ov, k, p, len);
                p += len + (nl ? 1 : 0);
            }
            duckdb_data_chunk_set_size(out, k);
            x->done.rows += k;
            rc = keep(x, out, k);
        }
        free(text);
    }
    duckdb_destroy_logical_type(&t);
    duckdb_destroy_data_chunk(&chunk);
    return rc;
}

static int stream_rows(struct duck_run *x)
{
    int64_t limit = x->plan.st.kind == WIRE_KIND_TEXT ? -1 : x->job->row_limit;
    for (;;) {
        if (port_canceled(x->port))
            return canceled(x);
        duckdb_data_chunk chunk = duckdb_fetch_chunk(x->result);
        if (!chunk)
            break;
        idx_t n = duckdb_data_chunk_get_size(chunk);
        if (n == 0) {
            duckdb_destroy_data_chunk(&chunk);
            continue;
        }
        int r;
        if (x->plan.st.kind == WIRE_KIND_TEXT) {
            r = keep_plan_text(x, chunk);
        } else {
            if (limit >= 0 && n > (uint64_t)limit - x->done.rows) {
                n = (uint64_t)limit - x->done.rows;
                x->cut = true;
            }
            if (n == 0) {
                duckdb_destroy_data_chunk(&chunk);
                break;
            }
            x->done.rows += n;
            r = keep(x, chunk, n);
        }
        if (!r && x->done.rows > (x->job->max_rows ? x->job->max_rows : UINT64_MAX))
            r = check_limits(x, 0);
        if (r < 0)
            return r;
        if (x->cut)
            break;
    }
    const char *message = x->cut ? NULL : duckdb_result_error(&x->result);
    if (message)
        return engine_failed(x, message, (int)duckdb_result_error_type(&x->result));
    return flush(x, true);
}

/* ---- stages ---- */

static int send_planned(struct duck_run *x, int64_t plan_ns)
{
    struct wire_planned m = {.job = x->job->job,
                             .kind = x->plan.st.kind,
                             .writes = x->plan.st.writes,
                             .nparams = x->plan.nparams,
                             .plan_ns = (uint64_t)plan_ns,
                             .schema = x->plan.out.schema};
    CLEANUP_BUF struct buf b = BUF_INIT(FRAME_CEILING);
    if (wire_put_planned(&b, &m) < 0)
        return failed(x, WIRE_FAIL_LIMIT, ERR_LIMIT, "54000", "the result has too many columns");
    /* A read that was planned at once often ends at once. */
    if (x->plan.st.writes || plan_ns > SOON_NS)
        port_send(x->port, &b);
    else
        port_send_soon(x->port, &b);
    return 0;
}

/* Works on the statement until rows can be fetched. While the library's other threads have all that there is to
 * do this one sleeps, a little longer each time; the library's own loop would spin. */
static void work(struct duck_run *x)
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
static int execute(struct duck_run *x)
{
    if (duckdb_pending_prepared_streaming(x->plan.ps, &x->pending) != DuckDBSuccess)
        return engine_failed(x, duckdb_pending_error(x->pending), 0);
    if (port_canceled(x->port))
        return canceled(x);
    work(x);
    if (duckdb_execute_pending(x->pending, &x->result) != DuckDBSuccess) {
        x->has_result = true;
        return engine_failed(x, duckdb_result_error(&x->result), (int)duckdb_result_error_type(&x->result));
    }
    x->has_result = true;
    return 0;
}

static int begin_write(struct duck_run *x)
{
    if (x->d->script_tx)
        return 0;
    int r = duck__exec(x->session.conn, "BEGIN; " TOUCH_WRITER, &x->e);
    x->in_transaction = true;
    return r < 0 ? failed(x, WIRE_FAIL_REFUSED, ERR_DENIED, "42501",
                          "this statement needs the catalog's writer")
                 : 0;
}

static int end_write(struct duck_run *x)
{
    if (x->has_result)
        duckdb_destroy_result(&x->result);
    x->has_result = false;
    if (x->d->script_tx)
        return 0; /* with the rest of the script */
    int r = duck__datasets_intact(x->d, x->session.conn, &x->e);
    if (!r && duck__exec(x->session.conn, TOUCH_WRITER, NULL) < 0)
        r = err_set(&x->e, ERR_DENIED, "42501", "the schema quern_internal cannot be changed by SQL");
    if (r < 0) {
        x->fail = WIRE_FAIL_REFUSED;
        return r;
    }
    x->in_transaction = false;
    x->fail = WIRE_FAIL_SQL;
    return duck__exec(x->session.conn, "COMMIT", &x->e);
}

static int read_count(struct duck_run *x)
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
    return message ? engine_failed(x, message, (int)duckdb_result_error_type(&x->result)) : 0;
}

/* No word that names a table, a view or a file: the statement computes from what its text holds. Over-approximate: false
 * also where such a word is only mentioned. */
static bool reads_nothing(const struct wire_job *job)
{
    static const char *const words[] = {"from", "table",    "pivot", "pivot_wider", "unpivot",
                                        "show", "describe", "desc",  "summarize",   "explain"};
    return !memmem(job->sql, job->sql_len, "read_", 5) &&
           !duck__policy_mentions_any(job->sql, job->sql_len, words, sizeof words / sizeof *words);
}

/* Whether a table or a file is read: a reader function or a dataset's name in the text, or else the engine's list of
 * names, for which it parses again (it sees through views down to tables). Over-approximate where a name is only
 * mentioned. */
static bool reads_something(const struct duck_run *x)
{
    if (reads_nothing(x->job))
        return false;
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

static void count_scanned(struct duck_run *x)
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
static int check_columns(struct duck_run *x)
{
    struct plan now = {.st = x->plan.st};
    int r = duck__plan_columns(x->arena, &now, &x->result, &x->e);
    if (r || schema_equal(now.out.schema, x->plan.out.schema))
        return r;
    return failed(x, WIRE_FAIL_SQL, ERR_CONFLICT, "40001",
                  "a data set's file changed while the statement began: run it again");
}

static int run_statement(struct duck_run *x)
{
    bool rows = x->plan.st.kind != WIRE_KIND_UPDATE && x->plan.st.kind != WIRE_KIND_DDL;
    int r = x->plan.st.writes ? begin_write(x) : 0;
    if (!r)
        r = execute(x);
    if (r < 0)
        return r;
    sample_progress(x);
    if (x->ready && (r = check_columns(x)) < 0)
        return r;
    if (x->plan.st.unreliable_schema) {
        r = duck__plan_columns(x->arena, &x->plan, &x->result, &x->e);
        if (!r && x->plan.out.needs_cast)
            r = failed(x, WIRE_FAIL_SQL, ERR_INVALID, "0A000", "a column's type cannot be returned");
        if (!r)
            r = send_planned(x, now_ns() - x->began);
    }
    if (!r)
        r = duck__rows_init(&x->rows, x->arena, x->plan.out.schema, x->plan.out.nodes, &x->e);
    if (!r)
        r = rows ? stream_rows(x) : read_count(x);
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

static int take_session(struct duck_run *x)
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
    return port_canceled(x->port) ? canceled(x) : 0;
}

/* What does the text hold? With several statements the session is the script's from here on. */
static int split(struct duck_run *x)
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
static int end_script(struct duck_run *x)
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

static int plan(struct duck_run *x)
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

static int go(struct duck_run *x)
{
    x->fail = WIRE_FAIL_SQL;
    if (x->job->step >= WIRE_STEP_COMMIT)
        return end_script(x);
    int r = take_session(x);
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
            r = failed(x, WIRE_FAIL_SQL, ERR_INVALID, "0A000", "a column's type cannot be returned");
        if (r < 0)
            return r;
    }
    if (!(run && x->plan.st.unreliable_schema))
        r = send_planned(x, now_ns() - x->began);
    if (r < 0 || !run)
        return r;
    x->done.scanned = x->ready || reads_something(x);
    x->counts = x->done.scanned && !x->ready && x->plan.st.kind != WIRE_KIND_TEXT &&
                (x->session.use == SESSION_COUNTS || duck__profile_on(x->session.conn, NULL) == 0);
    return run_statement(x);
}

/* A plain SELECT that came to its end changes nothing of its session. What does (SET, temporary objects, PREPARE) is
 * another kind of statement, but for a PIVOT, which makes an enum first, and for the seed of random(). */
static bool leaves_no_trace(const struct duck_run *x)
{
    static const char *const traces[] = {"pivot", "pivot_wider", "setseed"};
    return x->has_result && !x->cut && !x->kept && !x->in_transaction &&
           (x->session.use == SESSION_COUNTS || !x->counts) &&
           x->plan.st.type == DUCKDB_STATEMENT_TYPE_SELECT && x->plan.st.kind == WIRE_KIND_ROWS &&
           !x->plan.st.writes &&
           !duck__policy_mentions_any(x->job->sql, x->job->sql_len, traces, sizeof traces / sizeof *traces);
}

static void tear_down(struct duck_run *x, bool good)
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

static void send_script(struct duck_run *x)
{
    CLEANUP_BUF struct buf b = BUF_INIT(2u << 20);
    if (wire_put_script(&b, &x->script) < 0)
        _exit(3);
    port_send_last(x->port, &b);
}

/* A writer serves one statement, or one script. */
static bool reusable(const struct duck_run *x)
{
    return !x->d->broken && (!x->d->setup->catalog_write || x->kept);
}

static void send_done(struct duck_run *x)
{
    x->done.job = x->job->job;
    x->done.run_ns = (uint64_t)(now_ns() - x->began);
    x->done.cut = x->cut;
    x->done.reusable = reusable(x);
    x->done.index = (const uint8_t *)x->inline_index.p;
    x->done.body = x->inline_body;
    CLEANUP_BUF struct buf b = BUF_INIT(FRAME_CEILING);
    if (wire_put_done(&b, &x->done) < 0)
        _exit(3);
    port_send_last(x->port, &b);
}

static void send_failed(struct duck_run *x)
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
    struct duck_run x;
    memset(&x, 0, sizeof x);
    x.d = d;
    x.job = job;
    x.arena = a;
    x.port = port;
    x.began = now_ns();
    x.done.update_count = -1;
    buf_init(&x.inline_index, FRAME_CEILING);
    err_clear(&x.e);
    slots_begin(&d->slots);
    int r = go(&x);
    /* A good read is told before the library cleans up: nobody waits for that but the next job. */
    bool told = r == 0 && (!d->setup->catalog_write || x.kept) && !x.in_transaction && !x.split;
    d->heavy = now_ns() - x.began > HEAVY_NS;
    if (told) {
        set_current(d, NULL);
        send_done(&x);
    }
    tear_down(&x, told);
    if (r < 0 && port_canceled(port) && x.fail != WIRE_FAIL_FATAL)
        (void)canceled(&x);
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

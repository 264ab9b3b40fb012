/*
 * registry_query: the rows of queries and their results, written and read.
 *
 * Invariants: a row that has ended is never changed again, except that its result goes (gone_ms) and that
 * history retention removes it; a result row exists only together with the state that made it true, in one
 * transaction. Column numbers follow registry_schema.c. Threads: registry_put_* and registry_delete_query on
 * the writer thread; the rest on any thread that may block. A read that needs more than one statement runs in
 * one read transaction, so that it sees one instant.
 */
#include "core/registry.h"

#include <sqlite3.h>
#include <string.h>

#include "core/registry_int.h"

#define LIST_SQL_MAX     2048
#define SCHEMA_BYTES_MAX (64u << 20)
#define IDS_BYTES_MAX    (256u << 20)

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "53200", "out of memory in the registry");
}

static int failed(const struct err *e)
{
    return e && e->code ? e->code : ERR_INTERNAL;
}

static void bind_id(struct sqlite3_stmt *st, int at, const struct qid *id)
{
    sqlite3_bind_blob(st, at, id->b, sizeof id->b, SQLITE_STATIC);
}

/* ---- writing ---- */

/* Binds one column after the other. */
struct binder {
    struct sqlite3_stmt *st;
    int at;
};

static void put_int(struct binder *b, int64_t v)
{
    sqlite3_bind_int64(b->st, b->at++, v);
}

static void put_text(struct binder *b, const char *s)
{
    sqlite3_bind_text(b->st, b->at++, s, -1, SQLITE_STATIC);
}

/* NULL is stored for NULL, an empty blob for no bytes. */
static void put_blob(struct binder *b, const void *p, size_t n)
{
    sqlite3_bind_blob64(b->st, b->at++, p, n, SQLITE_STATIC);
}

static void put_error(struct binder *b, const struct err *x)
{
    bool any = x && x->code;
    put_int(b, any ? x->code : 0);
    put_text(b, any ? x->sqlstate : NULL);
    put_text(b, any ? x->text : NULL);
    put_text(b, any ? x->hint : NULL);
    if (!any)
        return; /* unbound columns are NULL */
    put_int(b, x->position);
    put_int(b, x->position_end);
    put_int(b, x->line);
    put_int(b, x->column);
}

/* Where a query's row is. */
struct place {
    int64_t seq, workspace, user;
    int state;
};

static int find(struct registry *r, const struct qid *id, struct place *ret, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_QUERY_FIND, e);
    if (!st)
        return failed(e);
    bind_id(st, 1, id);
    int rc = registry__row(&r->writer, st, e);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return err_set(e, ERR_NOTFOUND, "02000", "query not found");
    ret->seq = sqlite3_column_int64(st, 0);
    ret->workspace = sqlite3_column_int64(st, 1);
    ret->user = sqlite3_column_int64(st, 2);
    ret->state = sqlite3_column_int(st, 3);
    sqlite3_reset(st);
    return 0;
}

/* One that has not ended. */
static int find_live(struct registry *r, const struct qid *id, struct place *ret, struct err *e)
{
    int rc = find(r, id, ret, e);
    if (!rc && query_state_ended((enum query_state)ret->state))
        rc = err_set(e, ERR_CONFLICT, "55000", "the query has ended already");
    return rc;
}

static int count_move(struct registry *r, const struct place *p, int state, struct err *e)
{
    if (p->state == state)
        return 0;
    int rc = registry__count(r, p->workspace, p->user, p->state, -1, e);
    return rc ? rc : registry__count(r, p->workspace, p->user, state, 1, e);
}

/* A statement whose first parameter is the row. */
static struct sqlite3_stmt *on_row(struct registry *r, enum reg_stmt id, int64_t seq, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, id, e);
    if (st)
        sqlite3_bind_int64(st, 1, seq);
    return st;
}

static int put_result(struct registry *r, const struct qid *id, int64_t seq, const struct result *x,
                      struct err *e);

int registry_put_query(struct registry *r, const struct query_record *q, struct err *e)
{
    struct binder b = {registry__stmt(&r->writer, REG_QUERY_PUT, e), 1};
    if (!b.st)
        return failed(e);
    put_blob(&b, q->id.b, sizeof q->id.b);
    put_int(&b, q->workspace);
    put_int(&b, q->user);
    put_int(&b, q->dialect);
    put_int(&b, q->state);
    put_int(&b, q->phase);
    put_int(&b, q->ending);
    put_int(&b, q->profile);
    put_int(&b, q->kind);
    sqlite3_bind_text64(b.st, b.at++, q->sql, q->sql_len, SQLITE_STATIC, SQLITE_UTF8);
    put_blob(&b, q->params, q->params_len);
    put_text(&b, q->default_source);
    put_text(&b, q->default_database);
    put_text(&b, q->timezone);
    put_text(&b, q->language);
    put_text(&b, q->bucket);
    put_text(&b, q->path);
    put_text(&b, q->request);
    put_int(&b, q->row_limit);
    put_int(&b, q->run_timeout_ms);
    put_int(&b, q->reuse);
    put_int(&b, q->reused);
    put_int(&b, q->read_only);
    put_int(&b, q->exposed);
    put_int(&b, q->scanned);
    put_int(&b, q->stored);
    put_int(&b, q->cut);
    put_int(&b, q->max_reuse_age_s);
    put_int(&b, q->created_ms);
    put_int(&b, q->started_ms);
    put_int(&b, q->ended_ms);
    put_int(&b, q->expires_ms);
    put_int(&b, q->gone_ms);
    put_int(&b, q->reused_created_ms);
    put_int(&b, q->queued_ns);
    put_int(&b, q->plan_ns);
    put_int(&b, q->run_ns);
    put_int(&b, q->elapsed_ns);
    put_int(&b, (int64_t)q->rows_scanned);
    put_int(&b, (int64_t)q->bytes_scanned);
    put_int(&b, q->runs);
    put_error(&b, q->error);
    b.at = 50; /* the error's columns may have been left unbound */
    put_blob(&b, q->reuse_key, 32);
    put_int(&b, (int64_t)q->peak_memory);
    put_int(&b, q->script);
    put_int(&b, q->keep_ms);
    int rc = registry__run(&r->writer, b.st, NULL, e);
    if (!rc)
        rc = registry__count(r, q->workspace, q->user, q->state, 1, e);
    int64_t seq = sqlite3_last_insert_rowid(r->writer.db);
    for (uint32_t k = 0; k < q->nresults && !rc; k++)
        rc = put_result(r, &q->id, seq, &q->results[k], e);
    return rc;
}

int registry_put_running(struct registry *r, const struct qid *id, int64_t started_ms, uint32_t runs,
                         bool writes, struct err *e)
{
    struct place p;
    int rc = find_live(r, id, &p, e);
    if (rc)
        return rc;
    struct binder b = {on_row(r, REG_QUERY_RUNNING, p.seq, e), 2};
    if (!b.st)
        return failed(e);
    put_int(&b, started_ms);
    put_int(&b, runs);
    put_int(&b, writes);
    rc = registry__run(&r->writer, b.st, NULL, e);
    return rc ? rc : count_move(r, &p, QUERY_RUNNING, e);
}

int registry_put_exposed(struct registry *r, const struct qid *id, struct err *e)
{
    struct place p;
    int rc = find(r, id, &p, e);
    return rc ? rc : registry__run(&r->writer, on_row(r, REG_QUERY_EXPOSED, p.seq, e), NULL, e);
}

int registry_get_idempotency(struct registry *r, const struct query_record *q, const char *key,
                             const uint8_t body[32], struct qid *ret_query, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_IDEMPOTENCY_GET, e);
    if (!st)
        return failed(e);
    sqlite3_bind_int64(st, 1, q->workspace);
    sqlite3_bind_int64(st, 2, q->user);
    sqlite3_bind_text(st, 3, key, -1, SQLITE_STATIC);
    int rc = registry__row(&r->writer, st, e);
    if (rc <= 0)
        return rc;
    const void *had = sqlite3_column_blob(st, 0), *id = sqlite3_column_blob(st, 1);
    bool same = had && sqlite3_column_bytes(st, 0) == 32 && memcmp(had, body, 32) == 0;
    if (id && sqlite3_column_bytes(st, 1) == (int)sizeof ret_query->b)
        memcpy(ret_query->b, id, sizeof ret_query->b);
    sqlite3_reset(st);
    return same ? 1
                : err_set(e, ERR_CONFLICT, "22023", "Idempotency-Key was used before with another request");
}

int registry_put_idempotency(struct registry *r, const struct query_record *q, const char *key,
                             const uint8_t body[32], struct err *e)
{
    struct binder b = {registry__stmt(&r->writer, REG_IDEMPOTENCY_PUT, e), 1};
    if (!b.st)
        return failed(e);
    put_int(&b, q->workspace);
    put_int(&b, q->user);
    sqlite3_bind_text(b.st, 3, key, -1, SQLITE_STATIC);
    b.at = 4;
    put_blob(&b, body, 32);
    put_blob(&b, q->id.b, sizeof q->id.b);
    put_int(&b, q->created_ms);
    return registry__run(&r->writer, b.st, NULL, e);
}

int registry_put_unreusable(struct registry *r, int64_t workspace, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_UNREUSABLE, e);
    if (!st)
        return failed(e);
    sqlite3_bind_int64(st, 1, workspace);
    return registry__run(&r->writer, st, NULL, e);
}

int registry_drop_idempotency(struct registry *r, int64_t before_ms, uint32_t n, uint32_t *ret_n,
                              struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_IDEMPOTENCY_DROP, e);
    int changes = 0;
    if (!st)
        return failed(e);
    sqlite3_bind_int64(st, 1, before_ms);
    sqlite3_bind_int64(st, 2, n);
    int rc = registry__run(&r->writer, st, &changes, e);
    if (!rc)
        *ret_n = (uint32_t)changes;
    return rc;
}

int registry_put_note(struct registry *r, const struct qid *id, uint32_t note, struct err *e)
{
    struct place p;
    int rc = find(r, id, &p, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = on_row(r, REG_QUERY_NOTE, p.seq, e);
    if (!st)
        return failed(e);
    sqlite3_bind_int64(st, 2, note);
    return registry__run(&r->writer, st, NULL, e);
}

static int drop_results(struct registry *r, int64_t seq, struct err *e)
{
    return registry__run(&r->writer, on_row(r, REG_RESULT_DELETE, seq, e), NULL, e);
}

static int put_result(struct registry *r, const struct qid *id, int64_t seq, const struct result *x,
                      struct err *e)
{
    CLEANUP_BUF struct buf schema = BUF_INIT(SCHEMA_BYTES_MAX);
    if (x->schema && schema_write(x->schema, &schema))
        return no_memory(e);
    struct binder b = {on_row(r, REG_RESULT_PUT, seq, e), 2};
    if (!b.st)
        return failed(e);
    put_int(&b, x->ordinal);
    put_int(&b, x->kind);
    put_int(&b, x->update_count);
    put_int(&b, (int64_t)x->rows);
    put_int(&b, (int64_t)x->bytes);
    put_blob(&b, x->schema ? schema.p : NULL, schema.len);
    put_int(&b, x->sealed);
    put_int(&b, (int64_t)x->facts.file_size);
    put_int(&b, (int64_t)x->facts.stream_len);
    put_int(&b, (int64_t)x->facts.nbatches);
    put_int(&b, x->facts.footer_crc);
    put_int(&b, x->cut);
    /* Not NULL is what tells an inline result of no bytes from one that is not inline. */
    put_blob(&b, x->is_inline ? x->index ? (const void *)x->index : "" : NULL, x->index_len);
    put_blob(&b, x->is_inline ? x->body ? (const void *)x->body : "" : NULL, x->body_len);
    put_blob(&b, id_equal(&x->origin, id) ? NULL : x->origin.b, sizeof x->origin.b);
    put_int(&b, x->started_ms);
    put_int(&b, x->ended_ms);
    if (x->error)
        put_error(&b, x->error); /* unbound columns are NULL */
    return registry__run(&r->writer, b.st, NULL, e);
}

int registry_put_requeued(struct registry *r, const struct qid *id, struct err *e)
{
    struct place p;
    int rc = find_live(r, id, &p, e);
    if (!rc)
        rc = registry__run(&r->writer, on_row(r, REG_QUERY_REQUEUED, p.seq, e), NULL, e);
    if (!rc)
        rc = drop_results(r, p.seq, e);
    return rc ? rc : count_move(r, &p, QUERY_QUEUED, e);
}

int registry_put_result(struct registry *r, const struct qid *id, const struct result *x, struct err *e)
{
    struct place p;
    int rc = find_live(r, id, &p, e);
    return rc ? rc : put_result(r, id, p.seq, x, e);
}

int registry_put_end(struct registry *r, const struct query_record *q, struct err *e)
{
    struct place p;
    int rc = find_live(r, &q->id, &p, e);
    if (rc)
        return rc;
    struct binder b = {on_row(r, REG_QUERY_END, p.seq, e), 2};
    if (!b.st)
        return failed(e);
    put_int(&b, q->state);
    put_int(&b, q->phase);
    put_int(&b, q->ending);
    put_int(&b, q->kind);
    put_int(&b, q->reused);
    put_int(&b, q->scanned);
    put_int(&b, q->stored);
    put_int(&b, q->cut);
    put_int(&b, q->started_ms);
    put_int(&b, q->ended_ms);
    put_int(&b, q->expires_ms);
    put_int(&b, q->reused_created_ms);
    put_int(&b, q->queued_ns);
    put_int(&b, q->plan_ns);
    put_int(&b, q->run_ns);
    put_int(&b, q->elapsed_ns);
    put_int(&b, (int64_t)q->rows_scanned);
    put_int(&b, (int64_t)q->bytes_scanned);
    put_int(&b, q->runs);
    put_error(&b, q->error);
    b.at = 29; /* the error's columns may have been left unbound */
    put_int(&b, (int64_t)q->file_bytes);
    put_int(&b, (int64_t)q->file_replaced);
    put_int(&b, (int64_t)q->peak_memory);
    rc = registry__run(&r->writer, b.st, NULL, e);
    if (!rc)
        rc = count_move(r, &p, q->state, e);
    if (!rc)
        rc = drop_results(r, p.seq, e); /* those of the delivering phase, or of a run before a restart */
    for (uint32_t i = 0; i < q->nresults && !rc; i++)
        rc = put_result(r, &q->id, p.seq, &q->results[i], e);
    return rc;
}

int registry_put_gone(struct registry *r, const struct qid *id, int64_t gone_ms, struct err *e)
{
    struct place p;
    int rc = find(r, id, &p, e);
    if (rc)
        return rc == ERR_NOTFOUND ? 0 : rc;
    struct sqlite3_stmt *st = on_row(r, REG_QUERY_GONE, p.seq, e);
    if (!st)
        return failed(e);
    sqlite3_bind_int64(st, 2, gone_ms);
    rc = registry__run(&r->writer, st, NULL, e);
    return rc ? rc : registry__run(&r->writer, on_row(r, REG_QUERY_GONE_INLINE, p.seq, e), NULL, e);
}

int registry_delete_query(struct registry *r, const struct qid *id, struct err *e)
{
    struct place p;
    int rc = find(r, id, &p, e);
    if (rc)
        return rc == ERR_NOTFOUND ? 0 : rc;
    rc = drop_results(r, p.seq, e);
    if (!rc)
        rc = registry__run(&r->writer, on_row(r, REG_QUERY_DELETE, p.seq, e), NULL, e);
    return rc ? rc : registry__count(r, p.workspace, p.user, p.state, -1, e);
}

/* ---- reading one query ---- */

/* Takes one column after the other; `failed` when the arena is full. */
struct taker {
    struct sqlite3_stmt *st;
    struct arena *a;
    int at;
    bool failed;
};

static int64_t take_int(struct taker *t)
{
    return sqlite3_column_int64(t->st, t->at++);
}

static bool take_bool(struct taker *t)
{
    return take_int(t) != 0;
}

/* Bytes with a NUL behind them (NUL bytes inside are kept); NULL stays NULL. */
static char *take_bytes(struct taker *t, size_t *ret_n)
{
    int at = t->at++;
    *ret_n = 0;
    if (sqlite3_column_type(t->st, at) == SQLITE_NULL)
        return NULL;
    const void *p = sqlite3_column_blob(t->st, at);
    size_t n = (size_t)sqlite3_column_bytes(t->st, at);
    char *copy = arena_alloc(t->a, n + 1);
    if (!copy || (n > 0 && !p)) {
        t->failed = true;
        return NULL;
    }
    if (n > 0)
        memcpy(copy, p, n);
    *ret_n = n;
    return copy;
}

static const char *take_text(struct taker *t)
{
    size_t n;
    return take_bytes(t, &n);
}

static void take_word(struct taker *t, char *out, size_t cap)
{
    const char *s = (const char *)sqlite3_column_text(t->st, t->at++);
    size_t n = s ? strnlen(s, cap - 1) : 0;
    if (n > 0)
        memcpy(out, s, n);
    out[n] = 0;
}

static const struct err *take_error(struct taker *t)
{
    int code = (int)take_int(t);
    if (!code) {
        t->at += 7;
        return NULL;
    }
    struct err *x = arena_alloc(t->a, sizeof *x);
    if (!x) {
        t->failed = true;
        t->at += 7;
        return NULL;
    }
    err_clear(x);
    x->code = code;
    take_word(t, x->sqlstate, sizeof x->sqlstate);
    take_word(t, x->text, sizeof x->text);
    take_word(t, x->hint, sizeof x->hint);
    x->position = take_int(t);
    x->position_end = take_int(t);
    x->line = (int32_t)take_int(t);
    x->column = (int32_t)take_int(t);
    return x;
}

static int take_query(struct sqlite3_stmt *st, struct arena *a, struct query_record *q, int64_t *ret_seq,
                      struct err *e)
{
    struct taker t = {.st = st, .a = a};
    size_t n;
    memset(q, 0, sizeof *q);
    const void *id = sqlite3_column_blob(st, t.at);
    if (!id || sqlite3_column_bytes(st, t.at) != (int)sizeof q->id.b)
        return err_set(e, ERR_CORRUPT, "XX001", "a query record is damaged");
    memcpy(q->id.b, id, sizeof q->id.b);
    t.at++;
    q->workspace = take_int(&t);
    q->user = take_int(&t);
    q->dialect = (uint8_t)take_int(&t);
    q->state = (uint8_t)take_int(&t);
    q->phase = (uint8_t)take_int(&t);
    q->ending = (uint8_t)take_int(&t);
    q->profile = (uint8_t)take_int(&t);
    q->kind = (uint8_t)take_int(&t);
    q->sql = take_bytes(&t, &q->sql_len);
    q->params = (const uint8_t *)take_bytes(&t, &n);
    q->params_len = (uint32_t)n;
    q->default_source = take_text(&t);
    q->default_database = take_text(&t);
    q->timezone = take_text(&t);
    q->language = take_text(&t);
    q->bucket = take_text(&t);
    q->path = take_text(&t);
    q->request = take_text(&t);
    q->row_limit = take_int(&t);
    q->run_timeout_ms = take_int(&t);
    q->reuse = take_bool(&t);
    q->reused = take_bool(&t);
    q->read_only = take_bool(&t);
    q->exposed = take_bool(&t);
    q->scanned = take_bool(&t);
    q->stored = take_bool(&t);
    q->cut = take_bool(&t);
    q->max_reuse_age_s = (int32_t)take_int(&t);
    q->created_ms = take_int(&t);
    q->started_ms = take_int(&t);
    q->ended_ms = take_int(&t);
    q->expires_ms = take_int(&t);
    q->gone_ms = take_int(&t);
    q->reused_created_ms = take_int(&t);
    q->queued_ns = take_int(&t);
    q->plan_ns = take_int(&t);
    q->run_ns = take_int(&t);
    q->elapsed_ns = take_int(&t);
    q->rows_scanned = (uint64_t)take_int(&t);
    q->bytes_scanned = (uint64_t)take_int(&t);
    q->runs = (uint32_t)take_int(&t);
    q->error = take_error(&t);
    q->user_name = take_text(&t);
    q->workspace_name = take_text(&t);
    q->note = (uint32_t)take_int(&t);
    q->writes = take_bool(&t);
    q->file_bytes = (uint64_t)take_int(&t);
    q->file_replaced = (uint64_t)take_int(&t);
    q->peak_memory = (uint64_t)take_int(&t);
    *ret_seq = take_int(&t);
    q->script = (uint8_t)take_int(&t);
    q->keep_ms = take_int(&t);
    return t.failed ? no_memory(e) : 0;
}

static int take_result(struct sqlite3_stmt *st, const struct qid *id, struct arena *a, struct result *x,
                       struct err *e)
{
    struct taker t = {.st = st, .a = a};
    size_t n;
    x->ordinal = (uint32_t)take_int(&t);
    x->kind = (uint8_t)take_int(&t);
    x->update_count = take_int(&t);
    x->rows = (uint64_t)take_int(&t);
    x->bytes = (uint64_t)take_int(&t);
    int at = t.at++;
    x->sealed = take_bool(&t);
    x->facts.file_size = (uint64_t)take_int(&t);
    x->facts.stream_len = (uint64_t)take_int(&t);
    x->facts.nbatches = (uint64_t)take_int(&t);
    x->facts.footer_crc = (uint32_t)take_int(&t);
    x->facts.rows = x->rows;
    x->cut = take_bool(&t);
    x->is_inline = sqlite3_column_type(st, t.at) != SQLITE_NULL;
    x->index = (const uint8_t *)take_bytes(&t, &n);
    x->index_len = (uint32_t)n;
    x->body = (const uint8_t *)take_bytes(&t, &n);
    x->body_len = (uint32_t)n;
    const void *origin = sqlite3_column_blob(st, t.at);
    if (origin && sqlite3_column_bytes(st, t.at) == (int)sizeof x->origin.b)
        memcpy(x->origin.b, origin, sizeof x->origin.b);
    else
        x->origin = *id;
    t.at++;
    x->started_ms = take_int(&t);
    x->ended_ms = take_int(&t);
    x->error = take_error(&t);
    if (t.failed)
        return no_memory(e);
    if (sqlite3_column_type(st, at) == SQLITE_NULL)
        return 0;
    const void *schema = sqlite3_column_blob(st, at);
    return schema_read(schema ? schema : "", (size_t)sqlite3_column_bytes(st, at), a, &x->schema, e);
}

static int get_results(struct reg_conn *c, int64_t seq, struct arena *a, struct query_record *q,
                       struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(c, REG_RESULT_COUNT, e);
    if (!st)
        return failed(e);
    sqlite3_bind_int64(st, 1, seq);
    int rc = registry__row(c, st, e);
    if (rc < 0)
        return rc;
    int64_t n = rc ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    if (n == 0)
        return 0;
    q->results = arena_alloc(a, (size_t)n * sizeof *q->results);
    if (!q->results)
        return no_memory(e);
    st = registry__stmt(c, REG_RESULT_GET, e);
    if (!st)
        return failed(e);
    sqlite3_bind_int64(st, 1, seq);
    while ((rc = registry__row(c, st, e)) > 0 && (int64_t)q->nresults < n) {
        rc = take_result(st, &q->id, a, &q->results[q->nresults], e);
        if (rc)
            break;
        q->nresults++;
    }
    sqlite3_reset(st);
    return rc < 0 ? rc : 0;
}

/* What follows sees one instant. */
int registry__read_begin(struct reg_conn *c, struct err *e)
{
    return registry__run(c, registry__stmt(c, REG_BEGIN_READ, e), NULL, e);
}

/* Ends a read transaction, which cannot be refused, and gives the connection back. */
void registry__read_end(struct registry *r, struct reg_conn *c)
{
    if (!sqlite3_get_autocommit(c->db))
        sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    registry__reader_back(r, c);
}

int registry_get_query(struct registry *r, const struct qid *id, struct arena *a, struct query_record *ret,
                       struct err *e)
{
    struct reg_conn *c;
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    struct query_record q;
    int64_t seq = 0;
    rc = registry__read_begin(c, e);
    if (!rc) {
        struct sqlite3_stmt *st = registry__stmt(c, REG_QUERY_GET, e);
        if (st)
            bind_id(st, 1, id);
        rc = st ? registry__row(c, st, e) : failed(e);
        if (rc == 0) {
            rc = err_set(e, ERR_NOTFOUND, "02000", "query not found");
        } else if (rc > 0) {
            rc = take_query(st, a, &q, &seq, e);
            sqlite3_reset(st);
        }
        if (!rc)
            rc = get_results(c, seq, a, &q, e);
    }
    registry__read_end(r, c);
    if (!rc)
        *ret = q;
    return rc;
}

/* ---- reading many ids ---- */

/* Steps st to its end, ids (column 0) into the arena. */
int registry__collect(struct reg_conn *c, struct sqlite3_stmt *st, struct arena *a, struct qid **ret_ids,
                      size_t *ret_n, struct err *e)
{
    CLEANUP_BUF struct buf b = BUF_INIT(IDS_BYTES_MAX);
    int rc;
    while ((rc = registry__row(c, st, e)) > 0) {
        const void *id = sqlite3_column_blob(st, 0);
        bool good = id && sqlite3_column_bytes(st, 0) == (int)sizeof(struct qid);
        if (good && buf_add(&b, id, sizeof(struct qid)) == 0)
            continue;
        rc = good ? no_memory(e) : err_set(e, ERR_CORRUPT, "XX001", "a query record is damaged");
        sqlite3_reset(st);
        return rc;
    }
    if (rc < 0)
        return rc;
    struct qid *ids = arena_alloc(a, b.len);
    if (!ids)
        return no_memory(e);
    if (b.len > 0)
        memcpy(ids, b.p, b.len);
    *ret_ids = ids;
    *ret_n = b.len / sizeof(struct qid);
    return 0;
}

int registry_unfinished(struct registry *r, struct arena *a, struct qid **ret_ids, size_t *ret_n,
                        struct err *e)
{
    struct reg_conn *c;
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = registry__stmt(c, REG_UNFINISHED, e);
    rc = st ? registry__collect(c, st, a, ret_ids, ret_n, e) : failed(e);
    registry__reader_back(r, c);
    return rc;
}

static int ids_before(struct registry *r, enum reg_stmt id, int64_t ms, uint32_t n, struct arena *a,
                      struct qid **ret_ids, size_t *ret_n, struct err *e)
{
    struct reg_conn *c;
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = registry__stmt(c, id, e);
    struct qid before;
    if (st) {
        sqlite3_bind_int64(st, 1, ms);
        sqlite3_bind_int64(st, 2, n);
        id_first(ms + 999, &before);
        sqlite3_bind_blob(st, 3, before.b, sizeof before.b,
                          SQLITE_STATIC); /* has no effect where there is no ?3 */
    }
    rc = st ? registry__collect(c, st, a, ret_ids, ret_n, e) : failed(e);
    registry__reader_back(r, c);
    return rc;
}

int registry_expired(struct registry *r, int64_t now_ms, uint32_t n, struct arena *a, struct qid **ret_ids,
                     size_t *ret_n, struct err *e)
{
    return ids_before(r, REG_EXPIRED, now_ms, n, a, ret_ids, ret_n, e);
}

int registry_historic(struct registry *r, int64_t before_ms, uint32_t n, struct arena *a,
                      struct qid **ret_ids, size_t *ret_n, struct err *e)
{
    return ids_before(r, REG_HISTORIC, before_ms, n, a, ret_ids, ret_n, e);
}

int registry_delivered(struct registry *r, int64_t workspace, uint8_t dialect, int64_t before_ms, uint32_t n,
                       struct registry_place *inout, struct arena *a, struct qid **ret_ids, size_t *ret_n,
                       struct err *e)
{
    struct qid *ids = arena_alloc(a, n * sizeof *ids);
    struct reg_conn *c;
    size_t got = 0;
    if (!ids)
        return no_memory(e);
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = registry__stmt(c, REG_DELIVERED, e);
    rc = st ? 0 : failed(e);
    if (st) {
        sqlite3_bind_int64(st, 1, workspace);
        sqlite3_bind_int64(st, 2, inout->created_ms);
        sqlite3_bind_int64(st, 3, inout->seq);
        sqlite3_bind_int64(st, 4, dialect);
        sqlite3_bind_int64(st, 5, before_ms);
        sqlite3_bind_int64(st, 6, n);
    }
    while (!rc && (rc = registry__row(c, st, e)) > 0) {
        const void *id = sqlite3_column_blob(st, 0);
        rc = 0;
        if (!id || sqlite3_column_bytes(st, 0) != (int)sizeof ids->b || got == n)
            continue;
        memcpy(ids[got++].b, id, sizeof ids->b);
        *inout = (struct registry_place){sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2)};
    }
    registry__reader_back(r, c);
    if (!rc) {
        *ret_ids = ids;
        *ret_n = got;
    }
    return rc;
}

int registry_each_reusable(struct registry *r, int64_t after_ms, int64_t most,
                           void (*fn)(void *arg, const struct qid *id, int64_t workspace, int64_t created_ms,
                                      const uint8_t key[32]),
                           void *arg, struct err *e)
{
    struct reg_conn *c;
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = registry__stmt(c, REG_REUSABLE, e);
    rc = st ? 0 : failed(e);
    if (st) {
        sqlite3_bind_int64(st, 1, after_ms);
        sqlite3_bind_int64(st, 2, most);
    }
    while (!rc && (rc = registry__row(c, st, e)) > 0) {
        const void *id = sqlite3_column_blob(st, 0), *key = sqlite3_column_blob(st, 3);
        struct qid q;
        rc = 0;
        if (!id || sqlite3_column_bytes(st, 0) != (int)sizeof q.b || !key ||
            sqlite3_column_bytes(st, 3) != 32)
            continue;
        memcpy(q.b, id, sizeof q.b);
        fn(arg, &q, sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2), key);
    }
    registry__reader_back(r, c);
    return rc;
}

int registry_each_sealed(struct registry *r, void (*fn)(void *arg, const struct qid *id, uint32_t ordinal),
                         void *arg, struct err *e)
{
    struct reg_conn *c;
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = registry__stmt(c, REG_EACH_SEALED, e);
    rc = st ? 0 : failed(e);
    while (!rc && (rc = registry__row(c, st, e)) > 0) {
        const void *id = sqlite3_column_blob(st, 0);
        struct qid q;
        rc = 0;
        if (!id || sqlite3_column_bytes(st, 0) != (int)sizeof q.b)
            continue;
        memcpy(q.b, id, sizeof q.b);
        fn(arg, &q, (uint32_t)sqlite3_column_int64(st, 1));
    }
    registry__reader_back(r, c);
    return rc;
}

int registry_each_stored(struct registry *r, void (*fn)(void *arg, int64_t workspace, int64_t bytes),
                         void *arg, struct err *e)
{
    struct reg_conn *c;
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = registry__stmt(c, REG_STORED_BYTES, e);
    rc = st ? 0 : failed(e);
    while (!rc && (rc = registry__row(c, st, e)) > 0) {
        rc = 0;
        fn(arg, sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1));
    }
    registry__reader_back(r, c);
    return rc;
}

/*
 * registry_query: the rows of queries and their results, written; registry_read.c reads them.
 *
 * Invariants: a row that has ended is never changed again, except that its result goes (gone_ms) and that
 * history retention removes it; a result row exists only together with the state that made it true, in one
 * transaction. Column numbers follow registry_schema.c. Threads: registry_put_* and registry_delete_query on
 * the writer thread; registry_get_idempotency on any that may block.
 */
#include "core/registry.h"

#include <sqlite3.h>
#include <string.h>

#include "core/registry_int.h"

#define SCHEMA_BYTES_MAX (64u << 20)

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
        return registry__failed(e);
    registry__bind_id(st, 1, id);
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
        return registry__failed(e);
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
        return registry__failed(e);
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
        return registry__failed(e);
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
        return registry__failed(e);
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
        return registry__failed(e);
    sqlite3_bind_int64(st, 1, workspace);
    return registry__run(&r->writer, st, NULL, e);
}

int registry_drop_idempotency(struct registry *r, int64_t before_ms, uint32_t n, uint32_t *ret_n,
                              struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_IDEMPOTENCY_DROP, e);
    int changes = 0;
    if (!st)
        return registry__failed(e);
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
        return registry__failed(e);
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
        return registry__no_memory(e);
    struct binder b = {on_row(r, REG_RESULT_PUT, seq, e), 2};
    if (!b.st)
        return registry__failed(e);
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
        return registry__failed(e);
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
        return registry__failed(e);
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

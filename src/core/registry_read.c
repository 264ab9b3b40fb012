/*
 * registry_read: the rows of queries and their results, read: one query, or many ids. Column numbers follow
 * registry_schema.c; registry_query.c writes them. Any thread that may block. A read that needs more than one statement
 * runs in one read transaction, so that it sees one instant.
 */
#include "core/registry.h"

#include <sqlite3.h>
#include <string.h>

#include "core/registry_int.h"

#define IDS_BYTES_MAX (256u << 20)

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
    return t.failed ? registry__no_memory(e) : 0;
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
        return registry__no_memory(e);
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
        return registry__failed(e);
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
        return registry__no_memory(e);
    st = registry__stmt(c, REG_RESULT_GET, e);
    if (!st)
        return registry__failed(e);
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
            registry__bind_id(st, 1, id);
        rc = st ? registry__row(c, st, e) : registry__failed(e);
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
        rc = good ? registry__no_memory(e) : err_set(e, ERR_CORRUPT, "XX001", "a query record is damaged");
        sqlite3_reset(st);
        return rc;
    }
    if (rc < 0)
        return rc;
    struct qid *ids = arena_alloc(a, b.len);
    if (!ids)
        return registry__no_memory(e);
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
    rc = st ? registry__collect(c, st, a, ret_ids, ret_n, e) : registry__failed(e);
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
    rc = st ? registry__collect(c, st, a, ret_ids, ret_n, e) : registry__failed(e);
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
        return registry__no_memory(e);
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = registry__stmt(c, REG_DELIVERED, e);
    rc = st ? 0 : registry__failed(e);
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
    rc = st ? 0 : registry__failed(e);
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
    rc = st ? 0 : registry__failed(e);
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
    rc = st ? 0 : registry__failed(e);
    while (!rc && (rc = registry__row(c, st, e)) > 0) {
        rc = 0;
        fn(arg, sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1));
    }
    registry__reader_back(r, c);
    return rc;
}

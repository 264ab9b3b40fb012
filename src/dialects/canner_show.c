/*
 * canner_show: the objects of Canner's answers: the Query, its statistics, its error, a saved SQL, and rows with
 * their columns (specs/canner.md sections 3 to 7). Absent optionals are left out. Rows are arrays in the order of
 * the columns, values in Trino's JSON (value_text.c, TEXT_CANNER). Any thread that owns the request.
 */
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "dialects/canner_int.h"
#include "dialects/trino.h"

#define NS_PER_MS 1000000

const char *canner__status(const struct query_view *v)
{
    switch (v->state) {
    case QUERY_RUNNING:
        return v->flags & QF_PLANNED ? "RUNNING" : "PLANNING";
    case QUERY_FINISHED:
        return "FINISHED";
    case QUERY_FAILED:
    case QUERY_CANCELED: /* its clients wait for FINISHED or FAILED */
        return "FAILED";
    default:
        return "QUEUED";
    }
}

static bool failed(const struct query_view *v)
{
    return v->state == QUERY_FAILED || v->state == QUERY_CANCELED;
}

/* ---- the error: Trino's QueryError ---- */

/* Line and column of a place in the text, both from 1. */
static bool place_of(const struct query_view *v, int64_t *ret_line, int64_t *ret_column)
{
    *ret_line = v->error.line;
    *ret_column = v->error.column > 0 ? v->error.column : 1;
    if (v->error.line > 0)
        return true;
    if (v->error.position < 0)
        return false;
    *ret_line = *ret_column = 1;
    size_t at = 0;
    for (int64_t i = 0; i < v->error.position && at < v->sql_len; i++) {
        uint32_t cp = 0;
        int len = utf8_next(v->sql + at, v->sql_len - at, &cp);
        at += (size_t)(len < 0 ? -len : len);
        bool line = len == 1 && cp == '\n';
        *ret_line += line;
        *ret_column = line ? 1 : *ret_column + 1;
    }
    return true;
}

static void write_error(struct json_write *w, struct arena *a, const struct query_view *v)
{
    const struct trino_error *t = trino_error_of(v->error.sqlstate, v->ending);
    const char *text = trino_message(a, v);
    int64_t line, column;
    json_object_begin(w);
    json_kstr(w, "message", text[0] ? text : "the query failed");
    json_ki64(w, "errorCode", t->number);
    json_kstr(w, "errorName", t->name);
    json_kstr(w, "errorType", t->type);
    if (place_of(v, &line, &column)) {
        json_key(w, "errorLocation");
        json_object_begin(w);
        json_ki64(w, "lineNumber", line);
        json_ki64(w, "columnNumber", column);
        json_object_end(w);
    }
    json_key(w, "failureInfo");
    json_object_begin(w);
    json_kstr(w, "type", t->name);
    json_kstr(w, "message", v->error.text);
    json_object_end(w);
    json_object_end(w);
}

/* ---- statistics: Trino's StatementStats. A query is one split on one node ---- */

static void write_splits(struct json_write *w, const struct query_view *v)
{
    enum query_state s = v ? v->state : QUERY_STATES;
    json_ki64(w, "nodes", s == QUERY_RUNNING);
    json_ki64(w, "totalSplits", v != NULL);
    json_ki64(w, "queuedSplits", s == QUERY_QUEUED);
    json_ki64(w, "runningSplits", s == QUERY_RUNNING);
    json_ki64(w, "completedSplits", v && query_state_ended(s));
}

void canner__write_stats(struct json_write *w, const struct query_view *v, bool progress)
{
    bool began = v && (v->started_ms || query_state_ended(v->state));
    json_object_begin(w);
    json_kstr(w, "state", v ? canner__status(v) : "NONE");
    json_kbool(w, "queued", v && v->state == QUERY_QUEUED);
    json_kbool(w, "scheduled", began);
    write_splits(w, v);
    json_ki64(w, "cpuTimeMillis", v ? v->run_ns / NS_PER_MS : 0);
    json_ki64(w, "wallTimeMillis", v ? v->run_ns / NS_PER_MS : 0);
    json_ki64(w, "queuedTimeMillis", v ? v->queued_ns / NS_PER_MS : 0);
    json_ki64(w, "elapsedTimeMillis", v ? v->elapsed_ns / NS_PER_MS : 0);
    json_key(w, "processedRows");
    json_u64(w, v ? v->rows_processed : 0);
    json_key(w, "processedBytes");
    json_u64(w, v && !v->reused ? v->bytes_scanned : 0);
    json_key(w, "peakMemoryBytes");
    json_u64(w, v ? v->peak_memory : 0);
    json_ki64(w, "spilledBytes", 0);
    if (progress && v) {
        json_key(w, "progressPercentage");
        json_double(w, v->progress > 0 ? v->progress * 100 : 0);
    }
    json_object_end(w);
}

static void write_stage(struct json_write *w, const struct query_view *v)
{
    json_object_begin(w);
    json_kstr(w, "stageId", "0");
    json_kstr(w, "state", canner__status(v));
    json_kbool(w, "done", query_state_ended(v->state));
    write_splits(w, v);
    json_key(w, "processedRows");
    json_u64(w, v->rows_processed);
    json_key(w, "subStages");
    json_array_begin(w);
    json_array_end(w);
    json_object_end(w);
}

/* ---- the Query ---- */

static void write_ids(struct json_write *w, const struct query_view *v)
{
    char id[ID_TEXT_MAX];
    json_kstr(w, "id", id_uuid(&v->id, id));
    json_kstr(w, "statementId", id_kakao(&v->id, id)); /* the other spelling: every call takes both */
}

static bool has_rows(const struct query_view *v)
{
    return v->state == QUERY_FINISHED && v->schema && !v->gone_ms;
}

static const char *location(struct arena *a, const struct query_view *v)
{
    char id[ID_TEXT_MAX];
    return has_rows(v) ? arena_printf(a, "/quern/v1/query/%s/download", id_uuid(&v->id, id)) : NULL;
}

static bool knows_columns(const struct query_view *v)
{
    return v->state == QUERY_FINISHED || ((v->flags & QF_PLANNED) && v->schema);
}

static void write_columns(struct json_write *w, const struct query_view *v)
{
    if (trino_columns(w, v->schema))
        w->b->why = w->b->why ? w->b->why : ERR_LIMIT;
}

static void write_source(struct json_write *w, const struct query_view *v)
{
    struct json_doc *doc CLEANUP_JSON = NULL;
    const char *source = NULL;
    if (v->dialect == DIALECT_CANNER && v->request && !json_parse(v->request, strlen(v->request), &doc, NULL))
        source = json_string(json_get(json_root(doc), "source"), NULL);
    json_kstr(w, "source", source ? source : "RESTFUL");
}

void canner__write_query(struct json_write *w, struct arena *a, const struct identity *who,
                         const struct query_view *v)
{
    char time[40];
    json_object_begin(w);
    write_ids(w, v);
    json_kstr(w, "accountId", v->user_name);
    json_kstr(w, "status", canner__status(v));
    json_kstr(w, "startedAt", clock_iso_ms(v->created_ms, time, sizeof time));
    json_key(w, "sql");
    json_strn(w, v->sql, v->sql_len);
    json_ki64(w, "duration", v->elapsed_ns / NS_PER_MS);
    json_kstr(w, "workspaceId", who->workspace_uuid);
    json_kstr(w, "workspaceSqlName", v->workspace_name);
    if (has_rows(v))
        json_kstr(w, "location", location(a, v));
    if (failed(v)) {
        json_key(w, "error");
        write_error(w, a, v);
    }
    json_kstr(w, "userId", v->user_name);
    json_kstr(w, "userType", "USER");
    json_key(w, "rowCount");
    json_u64(w, v->rows);
    json_kbool(w, "fromCache", v->reused);
    write_source(w, v);
    if (knows_columns(v)) {
        json_key(w, "columns");
        write_columns(w, v);
    }
    json_key(w, "queryStats");
    canner__write_stats(w, v, true);
    json_key(w, "outputStage");
    write_stage(w, v);
    json_kstr(w, "dataFormat", "PARQUET");
    json_object_end(w);
}

void canner__write_graphql_query(struct json_write *w, struct arena *a, const struct query_view *v)
{
    json_object_begin(w);
    write_ids(w, v);
    json_kstr(w, "status", canner__status(v));
    json_key(w, "error");
    if (failed(v))
        write_error(w, a, v);
    else
        json_null(w);
    json_kstr(w, "location", location(a, v));
    json_key(w, "rowCount");
    json_u64(w, v->rows);
    json_key(w, "columns");
    if (knows_columns(v))
        write_columns(w, v);
    else
        json_null(w);
    json_object_end(w);
}

void canner__write_saved(struct json_write *w, const struct identity *who, const struct saved_sql *x,
                         bool graphql)
{
    char id[ID_TEXT_MAX];
    json_kstr(w, "id", id_uuid(&x->id, id));
    json_kstr(w, "title", x->title);
    if (x->description || graphql)
        json_kstr(w, "description", x->description);
    json_key(w, "sql");
    json_strn(w, x->sql, x->sql_len);
    json_kstr(w, "workspaceId", who->workspace_uuid);
    if (!graphql)
        json_kstr(w, "accountId", x->user_name);
}

/* ---- rows ---- */

bool canner__no_result(struct arena *a, const struct query_view *v, int *ret_status, const char **ret_code,
                       const char **ret_text)
{
    *ret_status = 400;
    if (!query_state_ended(v->state)) {
        *ret_code = "QUERY_NOT_FINISHED";
        *ret_text = "the query has not ended yet: its status is not FINISHED";
        return true;
    }
    if (failed(v)) {
        *ret_code = trino_error_of(v->error.sqlstate, v->ending)->name;
        *ret_text = trino_message(a, v);
        return true;
    }
    if (!v->gone_ms)
        return false;
    *ret_status = 404;
    *ret_code = "RESULT_EXPIRED";
    *ret_text = "the result was deleted or has expired";
    return true;
}

bool canner__result(struct request *rq, handler_fn self, struct query **ret_query, struct query_view *v,
                    enum handled *ret)
{
    int status;
    const char *code, *text;
    if (!request_found(rq, self, ret_query, ret))
        return false;
    query_view(*ret_query, v);
    bool there = !canner__no_result(rq->arena, v, &status, &code, &text);
    if (!there)
        *ret = canner__refuse(rq, status, code, text);
    return there;
}

struct sending {
    struct canner_rows r;
    const struct schema *schema; /* the query's, which the request keeps */
    uint64_t total;
};

static int behind_rows(struct request *rq, uint64_t sent, struct buf *out)
{
    const struct sending *s = rq->state;
    (void)sent;
    if (!s->r.only_result) {
        struct json_write w = JSON_WRITE_INIT(out);
        buf_str_add(out, ",\"columns\":");
        if (trino_columns(&w, s->schema))
            return ERR_LIMIT;
        buf_str_add(out, ",\"rowCount\":");
        buf_u64(out, s->total);
    }
    return buf_str_add(out, s->r.behind);
}

enum handled canner__send_rows(struct request *rq, struct query *q, const struct canner_rows *r,
                               handler_fn self)
{
    struct query_view v;
    struct err e;
    err_clear(&e);
    query_view(q, &v);
    bool any = v.schema && v.rows > r->offset && r->limit > 0;
    if (any && !rq->may_block && !rows_at_once(q))
        return request_defer(rq, self);
    struct sending *s = arena_alloc(rq->arena, sizeof *s);
    if (!s)
        return reply_no_memory(rq);
    *s = (struct sending){*r, v.schema, v.rows};
    struct rows *rows = NULL;
    int rc = any ? rows_open(rq->service, q, UINT32_MAX, &rows, &e) : 0;
    if (rc == ERR_GONE)
        return canner__refuse(rq, 404, "RESULT_EXPIRED", e.text);
    if (rc)
        return reply_error(rq, reply_status_of(rc), &e);
    rq->state = s;
    reply_json(rq, 200);
    buf_str_add(&rq->reply.body, r->before);
    buf_str_add(&rq->reply.body, "\"result\":");
    if (!rows) {
        buf_str_add(&rq->reply.body, "[]");
        if (behind_rows(rq, 0, &rq->reply.body))
            return reply_no_memory(rq);
        return REPLY_READY;
    }
    struct reply_rows *out = &rq->reply.rows;
    out->rows = rows;
    out->encoder = encoder_find("rows");
    out->options = (struct encode_options){.profile = TEXT_CANNER};
    out->from = r->offset;
    out->limit = r->limit;
    out->head = out->tail = true;
    out->suffix = behind_rows;
    rq->reply.streaming = true;
    rq->reply.length = -1;
    return REPLY_READY;
}

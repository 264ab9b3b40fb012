/*
 * jackdb_result: one result of a query and its rows (specs/jackdb.md 3.4, 3.5 and 4).
 *
 * hasMore says that rows are still being fetched, not that there are more pages; numRows is what can be read now.
 * Rows are strings or null, streamed from the stored result (or from what is written of it so far), so that a page
 * costs the same wherever it begins. Handlers may be entered again after DEFER and start from the top.
 */
#include "dialects/jackdb_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/config.h"

const char *jackdb__format(const struct column *c)
{
    switch (c->sql) {
    case SQLT_TINYINT:
    case SQLT_SMALLINT:
    case SQLT_INTEGER:
    case SQLT_BIGINT:
    case SQLT_HUGEINT:
    case SQLT_UTINYINT:
    case SQLT_USMALLINT:
    case SQLT_UINTEGER:
    case SQLT_UBIGINT:
    case SQLT_UHUGEINT:
    case SQLT_BIGNUM:
        return "integer";
    case SQLT_FLOAT:
    case SQLT_DOUBLE:
    case SQLT_DECIMAL:
        return "numeric";
    case SQLT_DATE:
        return "date";
    case SQLT_TIMESTAMP_S:
    case SQLT_TIMESTAMP_MS:
    case SQLT_TIMESTAMP:
    case SQLT_TIMESTAMP_NS:
        return "timestamp";
    case SQLT_TIMESTAMPTZ:
        return "timestamptz";
    case SQLT_BLOB:
        return "bytea";
    default:
        return "string";
    }
}

/* ---- the object ---- */

static const char *type_of(const struct result_view *v)
{
    if (v->kind == RESULT_ERROR)
        return "error";
    return v->kind == WIRE_KIND_UPDATE || v->kind == WIRE_KIND_DDL ? "update" : "query";
}

/* What a canceled query says; a time limit that is not the request's own names itself. */
static void message(struct json_write *w, const struct query_view *q, const struct err *x)
{
    char text[sizeof x->text + 64];
    json_key(w, "error");
    bool stopped = strcmp(x->sqlstate, "57014") == 0;
    if (stopped && q->state == QUERY_CANCELED) {
        json_str(w, "Query was canceled");
    } else if (stopped && q->ending == END_RUN_TIMEOUT) {
        bool own = strstr(x->text, "asked for") != NULL;
        snprintf(text, sizeof text, own ? "Query timed out" : "Query timed out (%s)", x->text);
        json_str(w, text);
    } else {
        json_str(w, x->text);
    }
}

static void detail_of_error(struct json_write *w, const struct err *x)
{
    json_key(w, "errorDetail");
    json_object_begin(w);
    json_kstr(w, "sqlState", x->sqlstate[0] ? x->sqlstate : NULL);
    json_key(w, "position");
    if (x->position >= 0)
        json_i64(w, x->position);
    else
        json_null(w);
    json_key(w, "line");
    if (x->line > 0)
        json_i64(w, x->line);
    else
        json_null(w);
    json_object_end(w);
}

static void columns(struct json_write *w, const struct schema *s)
{
    json_key(w, "columns");
    json_array_begin(w);
    for (uint32_t i = 0; s && i < s->ncolumns; i++) {
        json_object_begin(w);
        json_ki64(w, "ordinalPosition", i);
        json_kstr(w, "name", s->columns[i].name);
        json_kstr(w, "type", s->columns[i].detail);
        json_kstr(w, "format", jackdb__format(&s->columns[i]));
        json_object_end(w);
    }
    json_array_end(w);
}

void jackdb__result_object(struct json_write *w, const struct query_view *q, const struct result_view *v,
                           bool error_detail)
{
    char id[ID_TEXT_MAX], text[40];
    const char *type = type_of(v);
    int64_t started = v->started_ms > q->created_ms ? v->started_ms : q->created_ms;
    int64_t ended = v->ended_ms && v->ended_ms < started ? started : v->ended_ms;
    json_object_begin(w);
    json_kstr(w, "queryId", id_uuid(&q->id, id));
    json_ki64(w, "ordinalPosition", v->ordinal);
    json_kstr(w, "type", type);
    json_kstr(w, "startedAt", clock_iso_ms(started, text, sizeof text));
    json_kstr(w, "completedAt", ended ? clock_iso_ms(ended, text, sizeof text) : NULL);
    json_key(w, "detail");
    json_object_begin(w);
    if (strcmp(type, "query") == 0) {
        columns(w, v->schema);
        json_kbool(w, "hasMore", v->more);
        json_ki64(w, "numRows", (int64_t)v->rows);
        if (v->cut)
            json_kbool(w, "truncated", true);
    } else if (strcmp(type, "update") == 0) {
        json_key(w, "updateCount");
        if (v->kind == WIRE_KIND_UPDATE && v->update_count >= 0)
            json_i64(w, v->update_count);
        else
            json_null(w);
    }
    if (v->error.code) {
        message(w, q, &v->error);
        if (error_detail)
            detail_of_error(w, &v->error);
    }
    json_object_end(w);
    json_object_end(w);
}

/* ---- one result ---- */

/* The result of the path. False: *ret is what the handler returns. */
static bool find(struct request *rq, handler_fn self, struct query **q, struct query_view *v,
                 struct result_view *x, enum handled *ret)
{
    struct err e;
    err_clear(&e);
    if (!jackdb__find(rq, self, q, v, ret))
        return false;
    const char *text = rq->params[1].p;
    size_t n = rq->params[1].n;
    if (!n || strspn(text, "0123456789") != n) {
        err_set(&e, ERR_INVALID, "22023", "the index of a result must be an integer that is not negative");
        *ret = reply_error(rq, 400, &e);
        return false;
    }
    unsigned long long index = n > 9 ? UINT32_MAX - 1 : strtoull(text, NULL, 10);
    if (service_result(*q, (uint32_t)index, x))
        return true;
    err_set(&e, ERR_NOTFOUND, "02000", "Result not found");
    *ret = reply_error(rq, 404, &e);
    return false;
}

enum handled jackdb__result(struct request *rq)
{
    enum handled ret;
    struct query *q;
    struct query_view v;
    struct result_view x;
    if (!jackdb__admit(rq, NULL, &ret) || !find(rq, jackdb__result, &q, &v, &x, &ret))
        return ret;
    struct json_write w = reply_json(rq, 200);
    jackdb__result_object(&w, &v, &x, jackdb__wants(rq, "expand", "errorDetail"));
    return REPLY_READY;
}

/* ---- rows ---- */

static enum handled send_rows(struct request *rq, struct rows *rows, const struct encoder *encoder,
                              uint64_t from, uint64_t limit)
{
    struct reply *reply = &rq->reply;
    struct reply_rows *out = &reply->rows;
    out->rows = rows;
    out->encoder = encoder;
    out->options = (struct encode_options){.profile = TEXT_JACKDB, .header = true, .separator = ""};
    out->from = from;
    out->limit = limit;
    out->head = out->tail = true;
    reply->status = 200;
    reply->streaming = true;
    reply->content_type = strcmp(encoder->name, "rows") == 0 ? "application/json" : encoder->media_type;
    reply->length = -1;
    return REPLY_READY;
}

static enum handled no_rows(struct request *rq)
{
    struct json_write w = reply_json(rq, 200);
    json_array_begin(&w);
    json_array_end(&w);
    return REPLY_READY;
}

static int range_of(struct request *rq, bool all, int64_t *seek, int64_t *limit, struct err *e)
{
    int r = jackdb__number(rq, "seek", 0, INT64_MAX, seek, e);
    if (!r)
        r = jackdb__number(rq, "limit", all ? INT64_MAX : JACKDB_ROWS, INT64_MAX, limit, e);
    int64_t most = config.jackdb_max_page_rows;
    if (!r && most && *limit > most)
        r = err_set(e, ERR_INVALID, "54000", "limit must be at most %lld (jackdb.max_page_rows)",
                    (long long)most);
    return r;
}

enum handled jackdb__rows(struct request *rq)
{
    enum handled ret;
    struct err e;
    err_clear(&e);
    struct query *q;
    struct query_view v;
    struct result_view x;
    const char *format;
    int64_t seek, limit;
    if (!jackdb__admit(rq, &format, &ret) || !find(rq, jackdb__rows, &q, &v, &x, &ret))
        return ret;
    bool json = strcmp(format, "rows") == 0;
    if (range_of(rq, !json, &seek, &limit, &e))
        return reply_error(rq, 400, &e);
    if (!x.schema) {
        err_set(&e, ERR_INVALID, "22023", "a result of type %s has no rows", type_of(&x));
        return reply_error(rq, 400, &e);
    }
    uint64_t from = (uint64_t)seek, n = x.rows > from ? x.rows - from : 0;
    n = n < (uint64_t)limit ? n : (uint64_t)limit;
    char count[32];
    snprintf(count, sizeof count, "%llu", (unsigned long long)x.rows);
    if (!n && json) {
        reply_header(rq, "X-Row-Count", count);
        return no_rows(rq);
    }
    if (!rq->may_block)
        return request_defer(rq, jackdb__rows);
    struct rows *rows;
    int r = rows_open(rq->service, q, x.ordinal, &rows, &e);
    if (r == ERR_GONE || r == ERR_NOTFOUND) { /* between the look and the opening */
        err_set(&e, ERR_NOTFOUND, "02000", "Query not found");
        return reply_error(rq, 404, &e);
    }
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    reply_header(rq, "X-Row-Count", count);
    return send_rows(rq, rows, encoder_find(format), from, n);
}

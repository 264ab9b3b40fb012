/*
 * neutral: what belongs to no dialect: the download of a whole result with any dialect's credential,
 * /healthz, /readyz, /metrics, and the words of errors on paths that are nobody's
 * ({"error":{"code","sqlstate","message","hint"}}).
 *
 * The download is streamed from the stored result; the arrow one is the stored stream itself. /healthz,
 * /readyz and /metrics answer only peers on this machine that speak for nobody else; to all others they do
 * not exist.
 */
#include "dialects/neutral.h"

#include <stdatomic.h>
#include <string.h>

#include "base/metrics.h"
#include "dialects/dialect.h"

#define FORMATS "csv, json, ndjson, arrow"

static struct {
    void (*fn)(void *arg, struct json_write *w);
    void *arg;
} status_hook;
static _Atomic bool is_draining;

void neutral_status_set(void (*fn)(void *arg, struct json_write *w), void *arg)
{
    status_hook.fn = fn;
    status_hook.arg = arg;
}

void neutral_draining_set(bool draining)
{
    atomic_store(&is_draining, draining);
}

static void write_error(struct request *rq, int status, const struct err *e)
{
    struct json_write w = reply_json(rq, status);
    json_object_begin(&w);
    json_key(&w, "error");
    json_object_begin(&w);
    json_kstr(&w, "code", err_name(e->code));
    if (e->sqlstate[0])
        json_kstr(&w, "sqlstate", e->sqlstate);
    json_kstr(&w, "message", e->text);
    if (e->hint[0])
        json_kstr(&w, "hint", e->hint);
    if (e->position >= 0)
        json_ki64(&w, "position", e->position);
    json_object_end(&w);
    json_kstr(&w, "requestId", rq->request_id);
    json_object_end(&w);
}

static enum handled refuse(struct request *rq, int status, int code, const char *sqlstate, const char *text)
{
    struct err e;
    err_clear(&e);
    err_set(&e, code, sqlstate, "%s", text);
    return reply_error(rq, status, &e);
}

/* ---- health ---- */

static enum handled hidden(struct request *rq)
{
    return refuse(rq, 404, ERR_NOTFOUND, "02000", "no such path");
}

static enum handled healthz(struct request *rq)
{
    if (!request_is_local(rq))
        return hidden(rq);
    rq->reply.status = 200;
    rq->reply.content_type = "text/plain; charset=utf-8";
    buf_str_add(&rq->reply.body, "ok\n");
    return REPLY_READY;
}

static enum handled readyz(struct request *rq)
{
    if (!request_is_local(rq))
        return hidden(rq);
    struct err e;
    err_clear(&e);
    bool draining = atomic_load(&is_draining), ready = service_ready(rq->service, &e) && !draining;
    struct json_write w = reply_json(rq, ready ? 200 : 503);
    json_object_begin(&w);
    json_kbool(&w, "ready", ready);
    json_kbool(&w, "draining", draining);
    if (!ready)
        json_kstr(&w, "reason", draining ? "draining" : e.text);
    if (status_hook.fn)
        status_hook.fn(status_hook.arg, &w);
    json_object_end(&w);
    return REPLY_READY;
}

static enum handled metrics(struct request *rq)
{
    if (!request_is_local(rq))
        return hidden(rq);
    rq->reply.status = 200;
    rq->reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_render(&rq->reply.body);
    return REPLY_READY;
}

/* ---- download ---- */

static int parse_bool(struct request *rq, const char *name, bool def, bool *ret, struct err *e)
{
    const char *v = request_query(rq, name, 0);
    if (!v) {
        *ret = def;
        return 0;
    }
    if (strcmp(v, "true") == 0 || strcmp(v, "1") == 0)
        *ret = true;
    else if (strcmp(v, "false") == 0 || strcmp(v, "0") == 0)
        *ret = false;
    else
        return err_set(e, ERR_INVALID, "22023", "parameter %s must be true or false", name);
    return 0;
}

static int parse_options(struct request *rq, const struct encoder **ret_encoder, struct encode_options *o,
                         struct err *e)
{
    const char *format = request_query(rq, "format", 0);
    if (!format)
        format = "csv";
    if (strcmp(format, "xlsx") == 0 || strcmp(format, "parquet") == 0)
        return err_set(e, ERR_INVALID, "0A000", "format %s is not enabled yet; formats: " FORMATS, format);
    bool arrow = strcmp(format, "arrow") == 0;
    if (strcmp(format, "csv") != 0 && strcmp(format, "json") != 0 && strcmp(format, "ndjson") != 0 && !arrow)
        return err_set(e, ERR_INVALID, "22023", "parameter format must be one of: " FORMATS);
    memset(o, 0, sizeof *o);
    o->profile = TEXT_NEUTRAL;
    o->stream_end = arrow;
    o->separator = "";
    int rc = parse_bool(rq, "header", true, &o->header, e);
    if (rc)
        return rc;
    const char *separator = request_query(rq, "separator", 0);
    if (separator) {
        size_t n = strlen(separator);
        if (n == 0 || n > 8 || strpbrk(separator, "\"\r\n"))
            return err_set(e, ERR_INVALID, "22023",
                           "parameter separator must be 1 to 8 bytes without quotes and line ends");
        o->separator = separator;
    }
    *ret_encoder = encoder_find(format);
    if (!*ret_encoder)
        return err_set(e, ERR_INVALID, "0A000", "format %s is not enabled; formats: " FORMATS, format);
    return 0;
}

static enum handled fail(struct request *rq, const struct err *e)
{
    return reply_error(rq, reply_status_of(e->code), e);
}

static enum handled download(struct request *rq)
{
    struct err e;
    struct query *q;
    struct query_view v;
    const struct encoder *encoder;
    struct encode_options options;
    err_clear(&e);
    if (parse_options(rq, &encoder, &options, &e))
        return fail(rq, &e);
    int rc = request_find(rq, rq->params[0].p, rq->params[0].n, download, &q, &e);
    if (rc == 0)
        return REPLY_DEFER;
    if (rc < 0)
        return fail(rq, &e);
    query_view(q, &v);
    if (!query_state_ended(v.state))
        return refuse(rq, 409, ERR_CONFLICT, "55000",
                      "the query has not ended yet; there is no result to download");
    if (v.state != QUERY_FINISHED) {
        if (v.error.code == ERR_NONE)
            err_set(&v.error, ERR_CANCELED, "57014", "the query was canceled");
        return reply_error(rq, 409, &v.error);
    }
    if (v.gone_ms)
        return refuse(rq, 410, ERR_GONE, "02000", "the result was deleted or has expired");
    if (!rq->may_block)
        return request_defer(rq, download);

    struct reply_rows *r = &rq->reply.rows;
    rc = rows_open(rq->service, q, UINT32_MAX, &r->rows, &e);
    if (rc)
        return fail(rq, &e);
    struct reply *reply = &rq->reply;
    char id[ID_TEXT_MAX];
    id_uuid(query_id(q), id);
    r->encoder = encoder;
    r->options = options;
    r->limit = UINT64_MAX;
    r->head = r->tail = true;
    if (strcmp(encoder->name, "arrow") == 0) {
        r->raw = true;
        r->raw_len = segment_stream_len(rows_segment(r->rows));
        reply->length = (int64_t)r->raw_len;
    }
    reply->status = 200;
    reply->streaming = true;
    reply->content_type = encoder->media_type;
    /* Results never change and encoding is a function of the options: they are the tag. The separator is in
     * it as hex. */
    struct buf tag;
    buf_init(&tag, 256);
    buf_printf(&tag, "\"%s.%s%s", id, encoder->name, options.header ? "" : "-n");
    for (const char *p = options.separator; *p; p++)
        buf_printf(&tag, "-%02x", (unsigned char)*p);
    buf_char(&tag, '"');
    const char *text = buf_str(&tag);
    reply->etag = text ? arena_strdup(rq->arena, text) : NULL;
    buf_free(&tag);
    const char *name = arena_printf(rq->arena, "%s%s", id, encoder->suffix);
    reply_attachment(rq, name ? name : id);
    return REPLY_READY;
}

static const struct route routes[] = {
    {"GET", "/quern/v1/query/{id}/download", "neutral.download", download, ROLE_READER},
    {"GET", "/healthz", "neutral.healthz", healthz, 0},
    {"GET", "/readyz", "neutral.readyz", readyz, 0},
    {"GET", "/metrics", "neutral.metrics", metrics, 0},
    {NULL, NULL, NULL, NULL, 0},
};

const struct dialect dialect_neutral = {
    .id = DIALECT_NEUTRAL,
    .name = "neutral",
    .credential = CREDENTIAL_ANY,
    .routes = routes,
    .error = write_error,
};

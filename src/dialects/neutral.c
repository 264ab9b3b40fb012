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
#include "base/sys.h"
#include "dialects/dialect.h"

#define FORMATS       "csv, json, ndjson, arrow, xlsx, parquet"
#define SEPARATOR_MAX 4096
#define SMALL_BYTES   2048 /* of a stored result */

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
    /* of the process (SIGTERM), or asked for by an operator */
    bool draining = atomic_load(&is_draining) || service_draining(rq->service);
    bool ready = service_ready(rq->service, &e) && !draining;
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

/* What one download asked for; kept while it is parked. */
struct download {
    struct render_spec spec;
    bool arrow, waits;
    int64_t deadline_ns; /* answers 202 when there is nothing to send by then; 0 = none */
    bool ahead;          /* a file was begun while the query ran, or could not be */
};

static enum handled download(struct request *rq);

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

static int parse_separator(struct request *rq, struct encode_options *o, struct err *e)
{
    const char *separator = request_query(rq, "separator", 0);
    if (!separator)
        return 0;
    size_t n = strlen(separator);
    if (n == 0 || n > SEPARATOR_MAX || strpbrk(separator, "\"\r\n"))
        return err_set(e, ERR_INVALID, "22023",
                       "parameter separator must be 1 to %d bytes without quotes and line ends",
                       SEPARATOR_MAX);
    o->separator = separator;
    return 0;
}

static int parse_parquet(struct request *rq, struct render_spec *s, struct err *e)
{
    int64_t version;
    s->codec = request_query(rq, "codec", 0);
    if (s->codec && !render_codec_known(s->codec))
        return err_set(e, ERR_INVALID, "22023", "parameter codec must be one of %s", render_codecs());
    int rc = request_query_int(rq, "version", 1, 1, 2, &version, e);
    s->version = (uint8_t)version;
    bool dictionary = true;
    if (!rc)
        rc = parse_bool(rq, "dictionary", true, &dictionary, e);
    s->plain = !dictionary;
    return rc;
}

/* What belongs to every format, and to each. */
static int parse_options(struct request *rq, struct download *d, struct err *e)
{
    struct render_spec *s = &d->spec;
    int64_t offset, limit, wait;
    const char *format = request_query(rq, "format", 0), *encoding = request_query(rq, "encoding", 0);
    if (!format)
        format = "csv";
    s->file = strcmp(format, "xlsx") == 0      ? WIRE_RENDER_XLSX
              : strcmp(format, "parquet") == 0 ? WIRE_RENDER_PARQUET
                                               : WIRE_RENDER_NONE;
    s->encoder = s->file ? NULL : encoder_find(format);
    if (!s->file && (!s->encoder || s->encoder->dialect_only))
        return err_set(e, ERR_INVALID, "22023", "parameter format must be one of: " FORMATS);
    d->arrow = s->encoder && strcmp(format, "arrow") == 0;
    s->options.profile = TEXT_NEUTRAL;
    s->options.stream_end = d->arrow;
    s->options.separator = "";
    if (encoding && !charset_find(encoding, &s->options.charset))
        return err_set(e, ERR_INVALID, "22023", "parameter encoding must be utf-8 or gbk");
    if (s->options.charset && (s->file || d->arrow))
        return err_set(e, ERR_INVALID, "22023",
                       "parameter encoding is for text formats only (csv, json, ndjson)");
    int rc = parse_bool(rq, "header", true, &s->options.header, e);
    if (!rc)
        rc = parse_separator(rq, &s->options, e);
    if (!rc)
        rc = request_query_int(rq, "offset", 0, 0, INT64_MAX, &offset, e);
    if (!rc)
        rc = request_query_int(rq, "limit", -1, 0, INT64_MAX, &limit, e);
    if (!rc)
        rc = request_query_int(rq, "wait", -1, 0, 86400, &wait, e);
    if (!rc && s->file == WIRE_RENDER_PARQUET)
        rc = parse_parquet(rq, s, e);
    if (rc)
        return rc;
    s->from = (uint64_t)offset;
    s->limit = limit < 0 ? UINT64_MAX : (uint64_t)limit;
    d->waits = wait >= 0;
    d->deadline_ns = wait < 0 ? 0 : sys_mono_ns() + wait * 1000000000;
    return 0;
}

static enum handled fail(struct request *rq, const struct err *e)
{
    return reply_error(rq, reply_status_of(e->code), e);
}

/* Results never change and encoding is a function of the options: they are the tag, with the separator as
 * hex; of a rendered file its own tag too. */
static void put_tag(struct request *rq, const struct download *d, const char *id)
{
    const struct render_spec *s = &d->spec;
    CLEANUP_BUF struct buf tag = BUF_INIT(65536);
    const char *name = s->encoder ? s->encoder->name : rendering_suffix(rq->rendering) + 1;
    buf_printf(&tag, "\"%s.%s%s", id, name, s->options.header ? "" : "-n");
    for (const char *p = s->options.separator; *p; p++)
        buf_printf(&tag, "-%02x", (unsigned char)*p);
    if (s->options.charset)
        buf_printf(&tag, "-%s", charset_name(s->options.charset));
    if (s->from || s->limit != UINT64_MAX)
        buf_printf(&tag, "-%llu.%llu", (unsigned long long)s->from, (unsigned long long)s->limit);
    if (s->file)
        buf_printf(&tag, "-%s", rendering_tag(rq->rendering));
    buf_char(&tag, '"');
    const char *text = buf_str(&tag);
    rq->reply.etag = text ? arena_strdup(rq->arena, text) : NULL;
}

static enum handled under_way(struct request *rq)
{
    int permille = rq->rendering ? rendering_permille(rq->rendering) : 0;
    struct json_write w = reply_json(rq, 202);
    json_object_begin(&w);
    json_kstr(&w, "state", !rq->rendering ? "running" : permille < 0 ? "waiting" : "rendering");
    json_ki64(&w, "permille", permille < 0 ? 0 : permille);
    json_object_end(&w);
    reply_header(rq, "Retry-After", "1");
    return REPLY_READY;
}

/* Streamed from the stored result, its length not known beforehand; or (arrow) the stored stream itself. */
static int stream_rows(struct request *rq, struct query *q, const struct download *d, struct err *e)
{
    struct reply *reply = &rq->reply;
    struct reply_rows *r = &reply->rows;
    int rc = rows_open(rq->service, q, UINT32_MAX, &r->rows, e);
    if (rc)
        return rc;
    char *type = arena_alloc(rq->arena, 64);
    r->encoder = d->spec.encoder;
    r->options = d->spec.options;
    r->from = d->spec.from;
    r->limit = d->spec.limit;
    r->head = r->tail = true;
    reply->resumable = !d->arrow;
    if (d->arrow && r->from == 0 && r->limit == UINT64_MAX) {
        r->raw = true;
        r->raw_len = segment_stream_len(rows_segment(r->rows));
        reply->length = (int64_t)r->raw_len;
    }
    reply->status = 200;
    reply->streaming = true;
    reply->content_type = type ? encoder_media_type(r->encoder, r->options.charset, type, 64) : NULL;
    return 0;
}

static enum handled send_result(struct request *rq, struct query *q, uint64_t bytes, const struct download *d)
{
    struct err e;
    err_clear(&e);
    int rc = 1;
    /* What fits one buffer needs no measuring: it goes out whole, with its length. */
    bool measured = !d->arrow && bytes > SMALL_BYTES && (request_header(rq, "Range") || rq->method[0] == 'H');
    if (d->spec.file || measured)
        rc = request_render(rq, q, &d->spec, download, d->deadline_ns, &e);
    if (rc == 0)
        return REPLY_PARK;
    if (rc == ERR_WOULDBLOCK)
        return under_way(rq);
    if (rc < 0) /* a file that is too much for the limits of rendering will be so the next time too: no 429 */
        return rc == ERR_LIMIT || rc == ERR_TIMEOUT ? reply_error(rq, 422, &e) : fail(rq, &e);
    if (!d->spec.file && !rq->may_block)
        return request_defer(rq, download);
    rc = rq->rendering ? reply_rendering(rq, q, &e) : stream_rows(rq, q, d, &e);
    if (rc)
        return fail(rq, &e);
    char id[ID_TEXT_MAX];
    id_uuid(query_id(q), id);
    put_tag(rq, d, id);
    const char *name = arena_printf(rq->arena, "%s%s", id,
                                    d->spec.file ? rendering_suffix(rq->rendering) : d->spec.encoder->suffix);
    reply_attachment(rq, name ? name : id);
    return REPLY_READY;
}

/* The query has not ended. Without `wait` that is an error. With it the request waits for the end, and a file begins
 * to be made while rows come. */
static enum handled await_end(struct request *rq, struct query *q, const struct query_view *v,
                              struct download *d)
{
    if (!d->waits)
        return refuse(rq, 409, ERR_CONFLICT, "55000",
                      "the query has not ended yet; there is no result to download (parameter wait waits)");
    if (sys_mono_ns() >= d->deadline_ns)
        return under_way(rq);
    bool rows = (v->flags & QF_ROWS) != 0;
    if (d->spec.file && rows && !d->ahead) {
        d->ahead = true;
        request_render_ahead(rq, q, &d->spec);
    }
    uint32_t until = d->spec.file && !rows ? QF_ROWS : QF_ENDED;
    return request_park(rq, q, until, 0, d->deadline_ns, download);
}

static enum handled download(struct request *rq)
{
    struct err e;
    struct query *q;
    struct query_view v;
    err_clear(&e);
    struct download *d = rq->state;
    if (!d) {
        d = rq->state = arena_alloc(rq->arena, sizeof *d);
        if (!d)
            err_no_memory(&e);
        if (!d || parse_options(rq, d, &e))
            return fail(rq, &e);
    }
    int rc = request_find(rq, rq->params[0].p, rq->params[0].n, download, &q, &e);
    if (rc == 0)
        return REPLY_DEFER;
    if (rc < 0)
        return fail(rq, &e);
    query_view(q, &v);
    d->spec.options.zone = zone_find(v.timezone);
    if (!query_state_ended(v.state))
        return await_end(rq, q, &v, d);
    if (v.state != QUERY_FINISHED) {
        if (v.error.code == ERR_NONE)
            err_set(&v.error, ERR_CANCELED, "57014", "the query was canceled");
        return reply_error(rq, 409, &v.error);
    }
    if (v.gone_ms)
        return refuse(rq, 410, ERR_GONE, "02000", "the result was deleted or has expired");
    return send_result(rq, q, v.bytes, d);
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

/*
 * kylin_read: what is asked about a query (specs 1.5, 1.6, 2.9 to 2.12): status, metadata, size, download,
 * path.
 *
 * Checks stand in Kylin's order: project, owner, state. Here a query is read by whoever submitted it and by
 * admins only, narrower than core's rule; to others of the workspace it answers in Kylin's words, HTTP 200
 * with code 401 or 500. What is unknown, deleted, expired or another workspace's is MISSING to everybody, and
 * for the other calls what the owner rule makes of it: nobody but an admin can be told that it is not there.
 */
#include <string.h>

#include "dialects/kylin_int.h"

#define ONLY "Access denied. Only task submitters or admin users can "

bool kylin__owns(struct request *rq, const struct query_view *v)
{
    return rq->who.role == ROLE_ADMIN || rq->who.user == v->user;
}

/* Finds the query: *ret_there false when it is not, or not any more. False: *bad is the answer (or a wait). */
static bool find(struct request *rq, handler_fn self, struct query **ret, struct query_view *v,
                 bool *ret_there, enum handled *bad)
{
    struct err e;
    err_clear(&e);
    *ret_there = false;
    int r = request_find(rq, rq->params[0].p, rq->params[0].n, self, ret, &e);
    if (r == 0) {
        *bad = REPLY_DEFER;
        return false;
    }
    if (r < 0 && r != ERR_NOTFOUND) {
        *bad = reply_error(rq, reply_status_of(r), &e);
        return false;
    }
    if (r > 0) {
        query_view(*ret, v);
        *ret_there = !v->gone_ms;
    }
    return true;
}

static bool is_v2(struct request *rq)
{
    return kylin__shape(rq) == KYLIN_V2;
}

/* Project by URL or body; V2 needs none. */
static bool project(struct request *rq, enum handled *bad)
{
    return kylin__project(rq, true, is_v2(rq), bad);
}

/* V2 without a project looks everywhere: what it does not find it says. */
static bool says_unknown(struct request *rq, bool there)
{
    return is_v2(rq) && !there && !kylin__param(rq, "project");
}

const char *kylin__info(struct request *rq, const struct query_view *v, bool one_line)
{
    if (kylin__blank(v->sql, v->sql_len))
        return "SQL can’t be empty. Please check and try again.";
    if (v->state == QUERY_CANCELED)
        return "Stopped by user.";
    if (v->ending == END_REFUSED)
        return "This SQL is not supported at the moment. Please try a different SQL.";
    char *text = v->error.line > 0 && strncmp(v->error.text, "line ", 5) != 0
                     ? arena_printf(rq->arena, "line %d:%d: %s", v->error.line,
                                    v->error.column > 0 ? v->error.column : 1, v->error.text)
                     : arena_strdup(rq->arena, v->error.text);
    char *to = text;
    for (const char *p = text; p && *p; p++)
        if (!one_line || (*p != '\n' && *p != '\r'))
            *to++ = *p;
    if (to)
        *to = '\0';
    return text ? text : "the query failed";
}

/* ---- status ---- */

static const char *success_info(struct request *rq, const struct query_view *v)
{
    if (!v->file_replaced)
        return "await fetching results";
    const char *text =
        arena_printf(rq->arena, "await fetching results (%llu characters are not in GBK and became \"?\")",
                     (unsigned long long)v->file_replaced);
    return text ? text : "await fetching results";
}

static enum handled denied(struct request *rq, const char *what, const char *data)
{
    const char *msg = arena_printf(rq->arena, ONLY "%s", what);
    struct json_write w = kylin__begin(rq, false, "401");
    json_raw(&w, data, strlen(data));
    return kylin__end(rq, &w, false, msg ? msg : ONLY);
}

enum handled kylin__status(struct request *rq)
{
    struct query *q;
    struct query_view v;
    enum handled bad;
    bool there;
    if (!project(rq, &bad) || !find(rq, kylin__status, &q, &v, &there, &bad))
        return bad;
    if (there && !kylin__owns(rq, &v))
        return denied(rq, "get the query status", "null");
    char id[ID_TEXT_MAX];
    const char *status = "MISSING", *info = "query status is lost";
    if (there && !query_state_ended(v.state)) {
        status = "RUNNING";
        info = "still running";
    } else if (there) {
        status = v.state == QUERY_FINISHED ? "SUCCESSFUL" : "FAILED";
        info = v.state == QUERY_FINISHED ? success_info(rq, &v) : kylin__info(rq, &v, true);
    }
    struct json_write w = kylin__begin(rq, false, "000");
    json_object_begin(&w);
    json_kstr(&w, is_v2(rq) ? "queryID" : "query_id", there ? id_uuid(&v.id, id) : rq->params[0].p);
    json_kstr(&w, "status", status);
    json_kstr(&w, "info", info);
    json_object_end(&w);
    return kylin__end(rq, &w, false, "");
}

/* ---- metadata ---- */

static void write_metadata(struct json_write *w, const struct schema *s)
{
    uint32_t n = s ? s->ncolumns : 0;
    json_array_begin(w);
    json_array_begin(w);
    for (uint32_t i = 0; i < n; i++)
        json_str(w, s->columns[i].name ? s->columns[i].name : "");
    json_array_end(w);
    json_array_begin(w);
    for (uint32_t i = 0; i < n; i++) {
        CLEANUP_BUF struct buf b = BUF_INIT(256);
        kylin__type_name(&s->columns[i], &b);
        json_str(w, buf_str(&b));
    }
    json_array_end(w);
    json_array_end(w);
}

enum handled kylin__metadata(struct request *rq)
{
    struct query *q;
    struct query_view v;
    enum handled bad;
    bool there;
    if (!project(rq, &bad) || !find(rq, kylin__metadata, &q, &v, &there, &bad))
        return bad;
    if (says_unknown(rq, there))
        return kylin__fail(rq, KYLIN_UNKNOWN_QUERY, NULL);
    if (there ? !kylin__owns(rq, &v) : rq->who.role != ROLE_ADMIN)
        return denied(rq, "get the metadata", "null");
    if (!there || v.state != QUERY_FINISHED)
        return kylin__fail(rq, KYLIN_NO_RESULT, NULL);
    struct json_write w = kylin__begin(rq, false, "000");
    write_metadata(&w, v.schema);
    return kylin__end(rq, &w, false, "");
}

/* ---- size ---- */

/* The file as a rendering: one that a render process makes, a range of a text, or of another dialect's query,
 * which delivered no such file.
 * True: rq->rendering is ready. */
static bool render(struct request *rq, struct query *q, const struct kylin_file *f, handler_fn self,
                   enum handled *bad)
{
    struct render_spec spec;
    struct err e;
    err_clear(&e);
    kylin__spec(f, &spec);
    int rc = request_render(rq, q, &spec, self, 0, &e);
    if (rc == 0)
        *bad = REPLY_PARK;
    else if (rc < 0)
        *bad = reply_error(rq, reply_status_of(rc), &e);
    return rc > 0;
}

static enum handled size_of(struct request *rq, handler_fn self)
{
    struct query *q;
    struct query_view v;
    enum handled bad;
    bool there;
    if (!project(rq, &bad) || !find(rq, self, &q, &v, &there, &bad))
        return bad;
    if (says_unknown(rq, there))
        return kylin__fail(rq, KYLIN_UNKNOWN_QUERY, NULL);
    if (there ? !kylin__owns(rq, &v) : rq->who.role != ROLE_ADMIN)
        return denied(rq, "get the file status", "0");
    if (!there || v.state != QUERY_FINISHED)
        return kylin__fail(rq, KYLIN_NO_RESULT, NULL);
    uint64_t bytes = v.file_bytes;
    if (!kylin__has_file(&v) && v.schema) {
        struct kylin_file f;
        struct err e;
        err_clear(&e);
        int rc = kylin__file_of(&v, rq->arena, &f, &e);
        if (rc)
            return reply_error(rq, reply_status_of(rc), &e);
        if (!render(rq, q, &f, self, &bad))
            return bad;
        bytes = rendering_size(rq->rendering);
    }
    struct json_write w = kylin__begin(rq, false, "000");
    json_u64(&w, bytes);
    return kylin__end(rq, &w, false, "");
}

enum handled kylin__file_status(struct request *rq)
{
    enum handled bad;
    return kylin__not_v2(rq, &bad) ? size_of(rq, kylin__file_status) : bad;
}

enum handled kylin__file_status_v2(struct request *rq)
{
    return size_of(rq, kylin__file_status_v2);
}

/* ---- download ---- */

/* include_header and includeHeader of the URL, either may say yes; *ret stays as it is without them. */
static bool read_header(struct request *rq, bool *ret, enum handled *bad)
{
    static const char *const names[] = {"include_header", "includeHeader"};
    bool any = false, yes = false;
    for (size_t i = 0; i < 2; i++) {
        const char *s = request_query(rq, names[i], 0);
        bool one = false;
        if (!s)
            continue;
        if (!kylin__truth(s, &one)) {
            *bad = kylin__fail(rq, KYLIN_BAD_PARAMETER,
                               arena_printf(rq->arena, "%s must be true or false", names[i]));
            return false;
        }
        any = true;
        yes |= one;
    }
    if (any)
        *ret = yes;
    return true;
}

/* Bytes of the body: the delivered file's, and the header line more or less. */
static int64_t body_length(const struct query_view *v, const struct kylin_file *own,
                           const struct kylin_file *f)
{
    if (own->header == f->header || f->format != KYLIN_CSV)
        return (int64_t)v->file_bytes;
    struct kylin_file with = *f;
    struct render_spec spec;
    struct encode_state st = {0};
    CLEANUP_BUF struct buf b = BUF_INIT((size_t)64 << 20);
    with.header = true;
    kylin__spec(&with, &spec);
    if (encode_head(spec.encoder, &spec.options, &st, v->schema, &b, NULL))
        return -1;
    return (int64_t)v->file_bytes + (f->header ? (int64_t)b.len : -(int64_t)b.len);
}

/* The whole, with its length known from the delivery: no need to measure it before the first byte leaves. */
static int send_rows(struct request *rq, struct query *q, const struct query_view *v,
                     const struct kylin_file *own, const struct kylin_file *f, struct err *e)
{
    struct reply *reply = &rq->reply;
    struct render_spec spec;
    kylin__spec(f, &spec);
    int rc = rows_open(rq->service, q, UINT32_MAX, &reply->rows.rows, e);
    if (rc)
        return rc;
    reply->rows.encoder = spec.encoder;
    reply->rows.options = spec.options;
    reply->rows.limit = UINT64_MAX;
    reply->rows.head = reply->rows.tail = true;
    reply->streaming = true;
    reply->length = body_length(v, own, f);
    reply->status = 200;
    return 0;
}

static void file_headers(struct request *rq, const struct query_view *v, const struct kylin_file *f)
{
    char id[ID_TEXT_MAX];
    const char *word = kylin__format_name(f->format);
    rq->reply.content_type =
        arena_printf(rq->arena, "application/%s;charset=%s", f->format == KYLIN_XLSX ? "octet-stream" : word,
                     f->gbk ? "gbk" : "utf-8");
    rq->reply.etag = arena_printf(rq->arena, "\"%s.kylin.%s%s%s\"", id_uuid(&v->id, id), word,
                                  f->header ? "-h" : "", rq->rendering ? rendering_tag(rq->rendering) : "");
    const char *name = arena_printf(rq->arena, "%s.%s", f->name, word);
    reply_attachment(rq, name ? name : word);
}

static enum handled send_file(struct request *rq, struct query *q, const struct query_view *v)
{
    struct kylin_file own, f;
    struct err e;
    enum handled bad;
    err_clear(&e);
    int rc = kylin__file_of(v, rq->arena, &own, &e);
    if (rc)
        return reply_error(rq, reply_status_of(rc), &e);
    f = own;
    if (!read_header(rq, &f.header, &bad))
        return bad;
    if (!v->schema) { /* a statement without rows, of another dialect */
        reply_json(rq, 200);
    } else if (kylin__has_file(v) && kylin__is_text(&f) && !request_header(rq, "Range")) {
        if (!rq->may_block)
            return request_defer(rq, kylin__download);
        rc = send_rows(rq, q, v, &own, &f, &e);
    } else {
        if (!render(rq, q, &f, kylin__download, &bad))
            return bad;
        if (!rq->may_block)
            return request_defer(rq, kylin__download);
        rc = reply_rendering(rq, q, &e);
    }
    if (rc)
        return reply_error(rq, reply_status_of(rc), &e);
    file_headers(rq, v, &f);
    return REPLY_READY;
}

enum handled kylin__download(struct request *rq)
{
    struct query *q;
    struct query_view v;
    enum handled bad;
    bool there, header = false;
    if (!read_header(rq, &header, &bad) || !project(rq, &bad) ||
        !find(rq, kylin__download, &q, &v, &there, &bad))
        return bad;
    if (says_unknown(rq, there))
        return kylin__fail(rq, KYLIN_UNKNOWN_QUERY, NULL);
    if (there ? !kylin__owns(rq, &v) : rq->who.role != ROLE_ADMIN)
        return kylin__fail(rq, KYLIN_NOT_OWNER, NULL);
    if (!there || v.state != QUERY_FINISHED)
        return kylin__fail(rq, KYLIN_NO_RESULT, NULL);
    return send_file(rq, q, &v);
}

/* ---- path ---- */

/* A key as it stands in a URL. */
static void add_key(struct buf *b, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("-._~/", c))
            buf_char(b, (char)c);
        else
            buf_printf(b, "%%%02X", c);
    }
}

enum handled kylin__path(struct request *rq)
{
    struct query *q;
    struct query_view v;
    struct err e;
    enum handled bad;
    bool there;
    err_clear(&e);
    if (!kylin__not_v2(rq, &bad) || !project(rq, &bad) || !find(rq, kylin__path, &q, &v, &there, &bad))
        return bad;
    if (there ? !kylin__owns(rq, &v) : rq->who.role != ROLE_ADMIN)
        return denied(rq, "get the query path", "\"\"");
    if (!there || !v.bucket || v.dialect != DIALECT_KYLIN) /* only Kylin's own have a folder of their own */
        return kylin__fail(rq, KYLIN_UNKNOWN_QUERY, NULL);
    if (!rq->may_block)
        return request_defer(rq, kylin__path);
    const char *url;
    int rc = service_bucket_url(rq->service, &v, rq->arena, &url, &e);
    if (rc)
        return kylin__fail(rq, KYLIN_FOREIGN, e.text);
    char id[ID_TEXT_MAX];
    CLEANUP_BUF struct buf b = BUF_INIT(65536);
    size_t n = strlen(url);
    while (n && url[n - 1] == '/')
        n--;
    buf_add(&b, url, n);
    buf_char(&b, '/');
    add_key(&b, v.path ? v.path : "");
    buf_printf(&b, "/%s", id_uuid(&v.id, id));
    struct json_write w = kylin__begin(rq, false, "000");
    json_str(&w, buf_str(&b));
    return kylin__end(rq, &w, false, "");
}

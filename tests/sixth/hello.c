/*
 * hello: a sixth dialect, the smallest that is complete: it submits, tells the status (and waits for the end), gives the
 * rows, cancels and deletes. Not in the product; tests/api/test_sixth_dialect.py holds it to what the other five do, so
 * that this file stays all that a dialect takes (docs/adding-a-dialect.md).
 *
 *   POST   /hello/v1/query {"say"}    {"id","is"}
 *   GET    /hello/v1/query/{id}       {"id","is","sorry"?}, waits up to 10 s for the end
 *   GET    /hello/v1/query/{id}/rows  CSV
 *   DELETE /hello/v1/query/{id}       {}
 *
 * Handlers do not block on an HTTP thread; each may be entered again and starts from its top.
 */
#include "dialects/dialect.h"

#define BASE    "/hello/v1/query"
#define HELLO   ((enum dialect_id)(DIALECTS - 1))
#define WAIT_MS 10000

static void error(struct request *rq, int status, const struct err *e)
{
    struct json_write w = reply_json(rq, status);
    json_object_begin(&w);
    json_kstr(&w, "sorry", e && e->text[0] ? e->text : "there is no answer");
    json_object_end(&w);
}

static enum handled show(struct request *rq, const struct query_view *v)
{
    char id[ID_TEXT_MAX];
    struct json_write w = reply_json(rq, 200);
    json_object_begin(&w);
    json_kstr(&w, "id", id_uuid(&v->id, id));
    json_kstr(&w, "is", query_state_name(v->state));
    if (v->error.code)
        json_kstr(&w, "sorry", v->error.text);
    json_object_end(&w);
    return REPLY_READY;
}

static enum handled submitted(struct request *rq)
{
    struct query *q = rq->state;
    struct query_view v;
    enum handled ret;
    return request_accepted(rq, &q, submitted, reply_error, &v, &ret) ? show(rq, &v) : ret;
}

static enum handled submit(struct request *rq)
{
    struct err e;
    err_clear(&e);
    json_value body;
    struct query *q;
    struct submit in = {.dialect = HELLO,
                        .profile = WIRE_PROFILE_TRINO,
                        .default_source = "data_catalog",
                        .default_database = "main",
                        .row_limit = -1,
                        .idempotency_key = request_header(rq, "Idempotency-Key")};
    int r = body_object(rq->arena, rq->body, rq->body_len, NULL, &body, &e);
    if (!r && !(in.sql = json_string(json_get(body, "say"), &in.sql_len)))
        r = err_set(&e, ERR_INVALID, "22023", "say must be a string");
    if (!r)
        r = request_submit(rq, &in, &q, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    rq->state = q;
    return submitted(rq);
}

static bool find(struct request *rq, handler_fn self, struct query **q, struct query_view *v,
                 enum handled *ret)
{
    struct err e;
    if (!request_found(rq, self, q, ret))
        return false;
    query_view(*q, v);
    if (!v->gone_ms)
        return true;
    err_clear(&e);
    err_set(&e, ERR_GONE, "02000", "the result is gone");
    *ret = reply_error(rq, 410, &e);
    return false;
}

static enum handled status(struct request *rq)
{
    struct query *q;
    struct query_view v;
    enum handled ret;
    if (!find(rq, status, &q, &v, &ret) || request_hold(rq, q, WAIT_MS, status, &ret))
        return ret;
    query_view(q, &v);
    return show(rq, &v);
}

static enum handled rows(struct request *rq)
{
    struct query *q;
    struct query_view v;
    struct err e;
    enum handled ret;
    err_clear(&e);
    if (!find(rq, rows, &q, &v, &ret))
        return ret;
    if (!rq->may_block)
        return request_defer(rq, rows);
    struct reply_rows *out = &rq->reply.rows;
    int r = rows_open(rq->service, q, UINT32_MAX, &out->rows, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    out->encoder = encoder_find("csv");
    out->options = (struct encode_options){.profile = TEXT_NEUTRAL, .separator = ""};
    out->limit = UINT64_MAX;
    out->head = out->tail = true;
    rq->reply.status = 200;
    rq->reply.content_type = out->encoder->media_type;
    rq->reply.streaming = true;
    rq->reply.length = -1;
    return REPLY_READY;
}

static enum handled forget(struct request *rq)
{
    struct query *q;
    struct query_view v;
    struct err e;
    enum handled ret;
    err_clear(&e);
    if (!find(rq, forget, &q, &v, &ret))
        return ret;
    int r = service_delete(rq->service, &rq->who, q, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    struct json_write w = reply_json(rq, 200);
    json_object_begin(&w);
    json_object_end(&w);
    return REPLY_READY;
}

static const struct route routes[] = {
    {"POST", BASE, "hello.submit", submit, ROLE_MEMBER},
    {"GET", BASE "/{id}", "hello.status", status, ROLE_READER},
    {"GET", BASE "/{id}/rows", "hello.rows", rows, ROLE_READER},
    {"DELETE", BASE "/{id}", "hello.delete", forget, ROLE_MEMBER},
    {NULL, NULL, NULL, NULL, 0},
};

extern const struct dialect dialect_hello;
const struct dialect dialect_hello = {
    .id = HELLO,
    .name = "hello",
    .credential = CREDENTIAL_DATA360,
    .routes = routes,
    .error = error,
};

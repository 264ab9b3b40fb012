/*
 * kakao: the KakaoCloud Data Query Open API. Routes, run and abort; see kakao_int.h for the other files and
 * docs/kakao.md for the wire.
 *
 * Order of checks (specs section 2): credential, route, body, role, existence, bucket, state. The run answers
 * 202 once the record is durable, always with QUEUED; every error of the statement itself shows later as
 * FAILED. Handlers that look at a bucket or at rows run on a worker; waiting is parking, never a thread.
 */
#include "dialects/kakao_int.h"

#include <string.h>

#include "base/sys.h"
#include "base/utf8.h"

/* ---- errors: {"error":{"code":400,"message":"..."}} (specs section 2, "Error body") ---- */

static void write_error(struct request *rq, int status, const struct err *e)
{
    struct json_write w = reply_json(rq, status);
    json_object_begin(&w);
    json_key(&w, "error");
    json_object_begin(&w);
    json_ki64(&w, "code", status);
    json_kstr(&w, "message", e && e->text[0] ? e->text : "the request could not be answered");
    json_object_end(&w);
    json_object_end(&w);
}

/* ---- run (specs 3.1) ---- */

struct run_state {
    struct kakao_run run;
    struct query *query;
};

static enum handled run_accepted(struct request *rq)
{
    struct run_state *st = rq->state;
    struct query_view v;
    enum handled ret;
    if (!request_accepted(rq, &st->query, run_accepted, reply_error, &v, &ret))
        return ret;
    char id[ID_TEXT_MAX];
    struct json_write w = reply_json(rq, 202);
    json_object_begin(&w);
    json_key(&w, "queryInfo");
    json_object_begin(&w);
    json_kstr(&w, "queryId", id_kakao(&v.id, id));
    json_kstr(&w, "state", "QUEUED"); /* also when a worker has begun already */
    json_object_end(&w);
    json_object_end(&w);
    return REPLY_READY;
}

/* An optional header with a name in it; empty means absent. */
static int name_header(struct request *rq, const char *header, const char **ret, struct err *e)
{
    const char *v = request_header(rq, header);
    if (!v || !*v)
        return 0;
    size_t n = strlen(v);
    if (n > NAME_MAX_LEN || !utf8_valid(v, n))
        return err_set(e, ERR_INVALID, "22023", "%s must be a name of at most %d bytes", header,
                       NAME_MAX_LEN);
    *ret = v;
    return 0;
}

static enum handled run_submit(struct request *rq) /* worker, unless the bucket was looked at just now */
{
    struct run_state *st = rq->state;
    const struct kakao_run *run = &st->run;
    struct err e;
    err_clear(&e);
    switch (service_bucket_state(rq->service, &rq->who, run->bucket)) {
    case BUCKET_OK:
        break;
    case BUCKET_UNKNOWN:
        err_set(&e, ERR_NOTFOUND, "42704", "bucket %s not found", run->bucket);
        return reply_error(rq, 404, &e);
    case BUCKET_UNREACHABLE:
        err_set(&e, ERR_UNAVAILABLE, "58030", "bucket %s cannot be reached now", run->bucket);
        return reply_error(rq, reply_status_of(e.code), &e);
    case BUCKET_NOT_WRITABLE:
    default:
        err_set(&e, ERR_DENIED, "42501", "the service agent lacks the right to write to bucket %s",
                run->bucket);
        return reply_error(rq, 499, &e);
    }
    struct submit in = {.dialect = DIALECT_KAKAO, .profile = WIRE_PROFILE_TRINO, .row_limit = -1};
    in.sql = run->sql;
    in.sql_len = run->sql_len;
    in.bucket = run->bucket;
    in.reuse = run->reuse;
    in.max_reuse_age_s = run->max_reuse_age_min * 60;
    in.idempotency_key = request_header(rq, "Idempotency-Key");
    int r = name_header(rq, "X-Data-Source", &in.default_source, &e);
    if (!r)
        r = name_header(rq, "X-Database", &in.default_database, &e);
    if (r)
        return reply_error(rq, 400, &e);
    /* folder, createdAt and id agree: all three come from this instant */
    in.created_ms = sys_wall_ms();
    char folder[KAKAO_TEXT_MAX];
    kakao__folder(in.created_ms, folder);
    in.path =
        run->path[0] ? arena_printf(rq->arena, "%s/%s", run->path, folder) : arena_strdup(rq->arena, folder);
    CLEANUP_BUF struct buf memory = BUF_INIT(4096);
    struct json_write w = JSON_WRITE_INIT(&memory);
    json_object_begin(&w);
    json_kstr(&w, "path", run->path); /* as asked, without the date */
    json_object_end(&w);
    in.request = buf_str(&memory);
    if (!in.path || !in.request)
        return reply_no_memory(rq);
    r = request_submit(rq, &in, &st->query, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    return run_accepted(rq);
}

static enum handled run(struct request *rq)
{
    struct err e;
    err_clear(&e);
    struct run_state *st = arena_alloc(rq->arena, sizeof *st);
    if (!st)
        return reply_no_memory(rq);
    int r = kakao__read_run(rq->arena, rq->body, rq->body_len, &st->run, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    if (rq->who.role < ROLE_MEMBER) {
        err_set(&e, ERR_DENIED, "42501", "the role of this key may not run queries");
        return reply_error(rq, 403, &e);
    }
    rq->state = st;
    bool ready = rq->may_block || service_bucket_fresh(rq->service, &rq->who, st->run.bucket);
    return ready ? run_submit(rq) : request_defer(rq, run_submit);
}

/* ---- abort (specs 3.4) ---- */

static enum handled aborted(struct request *rq)
{
    struct query *q = rq->state;
    struct query_view v;
    query_view(q, &v);
    if (!(v.flags & QF_ENDED))
        return request_park(rq, q, QF_ENDED, 0, 0, aborted);
    if (v.state != QUERY_CANCELED) { /* the first terminal state won */
        struct err e;
        err_set(&e, ERR_CONFLICT, "55000", "the query has already ended as %s", kakao__state(v.state));
        return reply_error(rq, 409, &e);
    }
    char id[ID_TEXT_MAX];
    struct json_write w = reply_json(rq, 200);
    json_object_begin(&w);
    json_key(&w, "queryInfo");
    json_object_begin(&w);
    json_kstr(&w, "queryId", id_kakao(&v.id, id));
    json_kstr(&w, "state", kakao__state(v.state));
    json_object_end(&w);
    json_object_end(&w);
    return REPLY_READY;
}

/* It has ended, and that may still be on its way into the registry: until then readers see it run. */
static enum handled too_late(struct request *rq)
{
    struct query_view v;
    struct err e;
    query_view(rq->state, &v);
    if (!(v.flags & QF_ENDED))
        return request_park(rq, rq->state, QF_ENDED, 0, 0, too_late);
    err_set(&e, ERR_CONFLICT, "55000", "the query has ended already");
    return reply_error(rq, reply_status_of(ERR_CONFLICT), &e);
}

static enum handled abort_query(struct request *rq)
{
    struct err e;
    err_clear(&e);
    struct query *q;
    enum handled ret;
    if (!request_found(rq, abort_query, &q, &ret))
        return ret;
    rq->state = q;
    int r = service_cancel(rq->service, &rq->who, q, &e);
    if (r == ERR_CONFLICT)
        return too_late(rq);
    return r ? reply_error(rq, reply_status_of(r), &e) : aborted(rq);
}

/* ---- the table ---- */

#define BASE "/v1/data-query"

static const struct route routes[] = {
    /* run and create check the body before the role (specs section 2), so their least role is the reader's */
    {"POST", BASE "/query", "kakao.run", run, ROLE_READER},
    {"GET", BASE "/query", "kakao.list", kakao__list, ROLE_READER},
    {"GET", BASE "/query/{id}", "kakao.result", kakao__page, ROLE_READER},
    {"PUT", BASE "/query/{id}/abort", "kakao.abort", abort_query, ROLE_MEMBER},
    {"PUT", BASE "/query/{id}", "kakao.abort_short", abort_query,
     ROLE_MEMBER}, /* as the page's own example writes it */
    {"GET", BASE "/data-source", "kakao.sources", kakao__sources, ROLE_READER},
    {"POST", BASE "/data-source", "kakao.create_source", kakao__create_source, ROLE_READER},
    {"DELETE", BASE "/data-source/{name}", "kakao.delete_source", kakao__delete_source, ROLE_MEMBER},
    {NULL, NULL, NULL, NULL, 0},
};

const struct dialect dialect_kakao = {
    .id = DIALECT_KAKAO,
    .name = "kakao",
    .credential = CREDENTIAL_KAKAO,
    .routes = routes,
    .error = write_error,
    .plan = kakao__plan,
    .metadata = kakao__metadata,
};

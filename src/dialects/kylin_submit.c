/*
 * kylin_submit: the asynchronous submit (specs/kylin.md), and what it shares with the synchronous one: reading a
 * request, the statement's part of a submit. Handlers never block on an HTTP thread.
 */
#include <string.h>
#include <strings.h>

#include "base/config.h"
#include "dialects/kylin_int.h"

struct submit_state {
    struct kylin_submit in;
    struct query *query;
};

/* {"query_id","status","info"} in the words of a submit. */
static enum handled answer(struct request *rq, const char *code, const char *id, const char *status,
                           const char *info)
{
    struct json_write w = kylin__begin(rq, false, code);
    json_object_begin(&w);
    json_kstr(&w, kylin__shape(rq) == KYLIN_V2 ? "queryID" : "query_id", id);
    json_kstr(&w, "status", status);
    json_kstr(&w, "info", info);
    json_object_end(&w);
    return kylin__end(rq, &w, false, "");
}

static enum handled submitted(struct request *rq)
{
    struct submit_state *st = rq->state;
    struct query_view v;
    enum handled ret;
    if (!request_accepted(rq, &st->query, submitted, reply_error, &v, &ret))
        return ret;
    char id[ID_TEXT_MAX];
    id_uuid(&v.id, id);
    if (v.state == QUERY_FINISHED)
        return answer(rq, "000", id, "SUCCESSFUL", "query success");
    if (query_state_ended(v.state))
        return answer(rq, "000", id, "FAILED", kylin__info(rq, &v, true));
    return answer(rq, "000", id, "RUNNING",
                  kylin__shape(rq) == KYLIN_V2 ? "still running" : "query still running");
}

int kylin__statement(struct request *rq, const struct kylin_submit *in, struct submit *ret, struct err *e)
{
    bool blank = !in->sql || kylin__blank(in->sql, in->sql_len);
    *ret = (struct submit){.dialect = DIALECT_KYLIN,
                           .profile = WIRE_PROFILE_TRINO,
                           .default_source = "data_catalog",
                           .default_database = "main",
                           .read_only = true,
                           .row_limit = in->limit > 0 ? in->limit : -1,
                           .params = in->params,
                           .nparams = in->nparams};
    /* no statement at all is a query that fails */
    ret->sql = blank ? " " : kylin__with_offset(rq->arena, in->sql, in->sql_len, in->offset, &ret->sql_len);
    if (blank)
        ret->sql_len = 1;
    return ret->sql ? 0 : err_no_memory(e);
}

/* Where the result goes as a file, and how. */
static int fill(struct request *rq, const struct kylin_submit *in, struct submit *out, struct err *e)
{
    int r = kylin__statement(rq, in, out, e);
    if (r)
        return r;
    out->idempotency_key = request_header(rq, "Idempotency-Key");
    out->path = kylin__folder(rq->who.workspace_name, rq->arena);
    struct kylin_file file = in->file;
    file.bare = config.kylin_header_quoting == 1;
    out->request = kylin__file_text(&file, rq->arena);
    if (!out->path || !out->request)
        return err_no_memory(e);
    return service_default_bucket(rq->service, &rq->who, rq->arena, &out->bucket, e);
}

static enum handled submit(struct request *rq) /* worker: makes the default bucket where it is missing */
{
    struct submit_state *st = rq->state;
    struct submit in;
    struct err e;
    err_clear(&e);
    int r = fill(rq, &st->in, &in, &e);
    if (!r)
        r = request_submit(rq, &in, &st->query, &e);
    if (r == ERR_DENIED || r == ERR_INVALID || r == ERR_NOTFOUND)
        return kylin__fail(rq, KYLIN_FOREIGN, e.text);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    return submitted(rq);
}

/* JSON, or nothing said. What a form or a text is sent as is refused as Kylin does, whatever is in it. */
static bool takes_type(const char *type)
{
    if (!type || !*type)
        return true;
    size_t n = strcspn(type, "; \t");
    return (n == 16 && !strncasecmp(type, "application/json", n)) ||
           (n > 5 && !strncasecmp(type + n - 5, "+json", 5));
}

bool kylin__read_request(struct request *rq, enum kylin_body kind, struct kylin_submit *ret,
                         enum handled *bad)
{
    struct err e;
    err_clear(&e);
    const char *type = request_header(rq, "Content-Type");
    if (!takes_type(type)) {
        *bad =
            kylin__fail(rq, KYLIN_FOREIGN, arena_printf(rq->arena, "Content type '%s' not supported", type));
        return false;
    }
    if (kylin__blank(rq->body, rq->body_len)) {
        *bad = kylin__fail(rq, KYLIN_FOREIGN, "Required request body is missing");
        return false;
    }
    int r = kylin__read_submit(rq->arena, kind, rq->body, rq->body_len, ret, &e);
    if (!r && (!ret->project || !*ret->project))
        *bad = kylin__fail(rq, KYLIN_EMPTY_PROJECT, NULL);
    else if (!r && rq->who.role < ROLE_MEMBER)
        *bad = kylin__fail(rq, KYLIN_NO_ACCESS, NULL);
    else if (!r)
        return kylin__project_is(rq, ret->project, bad);
    else if (r == ERR_INVALID)
        *bad = kylin__fail(rq, KYLIN_BAD_JSON, e.text);
    else if (r == ERR_LIMIT)
        *bad = kylin__fail(rq, KYLIN_TAG_TOO_LONG, NULL);
    else
        *bad = reply_no_memory(rq);
    return false;
}

enum handled kylin__submit(struct request *rq)
{
    struct submit_state *st = arena_alloc(rq->arena, sizeof *st);
    enum handled bad;
    if (!st)
        return reply_no_memory(rq);
    bool v2 = kylin__shape(rq) == KYLIN_V2;
    if (!kylin__read_request(rq, v2 ? KYLIN_BODY_V2 : KYLIN_BODY_V4, &st->in, &bad))
        return bad;
    if (st->in.illegal)
        return answer(rq, "KE-020040001(Asynchronous query illegal parameters)", st->in.query_id, "FAILED",
                      st->in.illegal);
    rq->state = st;
    return request_defer(rq, submit);
}

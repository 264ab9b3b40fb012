/*
 * kylin: Apache Kylin's asynchronous query API in its generations 5 and 2, and the synchronous calls that its
 * drivers need. Routes and the submit; see kylin_int.h for the other files and docs/kylin.md for the wire.
 *
 * Every path exists once; the shape of an answer follows the Accept header (kylin__shape). A submit answers
 * once the record is durable. Each result becomes a file in the workspace's default bucket before the query is
 * SUCCESSFUL; errors of the statement itself show later, as FAILED. All routes need the reader's role only:
 * what else a call needs is answered in Kylin's own words by its handler.
 */
#include <string.h>
#include <strings.h>

#include "base/config.h"
#include "dialects/kylin_int.h"

struct submit_state {
    struct kylin_submit in;
    struct query *query;
};

static enum handled no_memory(struct request *rq)
{
    struct err e;
    err_set(&e, ERR_NOMEM, "53200", "out of memory");
    return kylin__fail_with(rq, 503, &e);
}

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
    struct err e;
    err_clear(&e);
    query_view(st->query, &v);
    if (!(v.flags & QF_ACCEPTED))
        return request_park(rq, st->query, QF_ACCEPTED, 0, 0, submitted);
    int r = request_settle(rq, &st->query, &e);
    if (r > 0)
        return request_defer(rq, submitted);
    if (r)
        return kylin__fail_with(rq, reply_status_of(r), &e);
    query_view(st->query, &v);
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
    return ret->sql ? 0 : err_set(e, ERR_NOMEM, "53200", "out of memory");
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
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
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
        r = service_submit(rq->service, &rq->who, &in, &st->query, &e);
    if (r == ERR_DENIED || r == ERR_INVALID || r == ERR_NOTFOUND)
        return kylin__fail(rq, KYLIN_FOREIGN, e.text);
    if (r)
        return kylin__fail_with(rq, reply_status_of(r), &e);
    if (!request_own_query(rq, st->query))
        return no_memory(rq);
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
        *bad = no_memory(rq);
    return false;
}

static enum handled post(struct request *rq)
{
    struct submit_state *st = arena_alloc(rq->arena, sizeof *st);
    enum handled bad;
    if (!st)
        return no_memory(rq);
    bool v2 = kylin__shape(rq) == KYLIN_V2;
    if (!kylin__read_request(rq, v2 ? KYLIN_BODY_V2 : KYLIN_BODY_V4, &st->in, &bad))
        return bad;
    if (st->in.illegal)
        return answer(rq, "KE-020040001(Asynchronous query illegal parameters)", st->in.query_id, "FAILED",
                      st->in.illegal);
    rq->state = st;
    return request_defer(rq, submit);
}

/* ---- the table ---- */

#define API   "/kylin/api"
#define ASYNC API "/async_query"

static const struct route routes[] = {
    {"POST", ASYNC, "kylin.submit", post, ROLE_READER},
    {"DELETE", ASYNC, "kylin.delete_many", kylin__delete_many, ROLE_READER},
    {"DELETE", ASYNC "/{id}", "kylin.delete", kylin__delete_one, ROLE_READER},
    {"DELETE", ASYNC "/stop/{id}", "kylin.stop", kylin__stop, ROLE_READER},
    {"GET", ASYNC "/{id}/status", "kylin.status", kylin__status, ROLE_READER},
    {"GET", ASYNC "/{id}/metadata", "kylin.metadata", kylin__metadata, ROLE_READER},
    {"GET", ASYNC "/{id}/file_status", "kylin.file_status", kylin__file_status, ROLE_READER},
    {"GET", ASYNC "/{id}/filestatus", "kylin.file_status_v2", kylin__file_status_v2, ROLE_READER},
    {"GET", ASYNC "/{id}/result_download", "kylin.download", kylin__download, ROLE_READER},
    {"GET", ASYNC "/{id}/result_path", "kylin.path", kylin__path, ROLE_READER},
    {"POST", API "/query", "kylin.query", kylin__query, ROLE_READER},
    {"GET", API "/user/authentication", "kylin.login", kylin__login, ROLE_READER},
    {"POST", API "/user/authentication", "kylin.login_post", kylin__login, ROLE_READER},
    {"GET", API "/projects", "kylin.projects", kylin__projects, ROLE_READER},
    {"GET", API "/tables_and_columns", "kylin.columns", kylin__tables_and_columns, ROLE_READER},
    {"GET", API "/query/tables_and_columns", "kylin.columns_v4", kylin__tables_and_columns, ROLE_READER},
    {"GET", API "/tables", "kylin.tables", kylin__tables, ROLE_READER},
    {"GET", API "/health", "kylin.health", kylin__health, ROLE_READER},
    {NULL, NULL, NULL, NULL, 0},
};

const struct dialect dialect_kylin = {
    .id = DIALECT_KYLIN,
    .name = "kylin",
    .credential = CREDENTIAL_KYLIN,
    .routes = routes,
    .error = kylin__write_error,
    .plan = kylin__plan,
    .trailing_slash = true,
};

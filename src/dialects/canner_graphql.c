/*
 * canner_graphql: the six operations that Canner's Python client sends to `<endpoint>/graphql` instead of calling
 * the REST paths (specs/canner.md section 8). No GraphQL is parsed: operationName (or the operation's name in the
 * text) decides, the answers have the keys that this client selects. Errors of an operation are 200 with
 * errors[0].message and errors[0].extensions.code; a body that is no JSON object is a plain 400.
 */
#include <string.h>

#include "base/config.h"
#include "dialects/canner_int.h"

static enum handled answer_errors(struct request *rq, const char *code, const char *text)
{
    buf_reset(&rq->reply.body);
    struct json_write w = reply_json(rq, 200);
    json_object_begin(&w);
    json_key(&w, "errors");
    json_array_begin(&w);
    json_object_begin(&w);
    json_kstr(&w, "message", text);
    json_key(&w, "extensions");
    json_object_begin(&w);
    json_kstr(&w, "code", code);
    json_object_end(&w);
    json_object_end(&w);
    json_array_end(&w);
    json_key(&w, "data");
    json_null(&w);
    json_object_end(&w);
    return REPLY_READY;
}

/* What is not the operation's own fault keeps its status: a client that must come back later is told so. */
static enum handled fail(struct request *rq, int status, const struct err *e)
{
    if (status >= 429)
        return reply_error(rq, status, e);
    return answer_errors(rq, canner__code(status), e->text);
}

static void begin_data(struct json_write *w, const char *field)
{
    json_object_begin(w);
    json_key(w, "data");
    json_object_begin(w);
    json_key(w, field);
}

static enum handled end_data(struct json_write *w)
{
    json_object_end(w);
    json_object_end(w);
    return REPLY_READY;
}

static enum handled answer_query(struct request *rq, const char *field, const struct query_view *v)
{
    struct json_write w = reply_json(rq, 200);
    begin_data(&w, field);
    canner__write_graphql_query(&w, rq->arena, v);
    return end_data(&w);
}

static enum handled answer_created(struct request *rq, const struct query_view *v)
{
    return answer_query(rq, "createSqlQuery", v);
}

static enum handled forbidden(struct request *rq)
{
    const char *text =
        arena_printf(rq->arena,
                     "This API need WorkspaceOwner,WorkspaceDataAnalyst of scope %s, but not found "
                     "in user roles",
                     rq->who.workspace_uuid);
    return answer_errors(rq, canner__code(403), text ? text : "forbidden");
}

static enum handled create_query(struct request *rq, const struct canner_graphql *g)
{
    struct err e;
    err_clear(&e);
    if (rq->who.role < ROLE_MEMBER)
        return forbidden(rq);
    int r = canner__workspace(rq, g->submit.workspace, &e);
    if (r)
        return fail(rq, reply_status_of(r), &e);
    struct canner_submitting *st = arena_alloc(rq->arena, sizeof *st);
    if (!st)
        return reply_no_memory(rq);
    *st = (struct canner_submitting){.answer = answer_created, .fail = fail};
    return canner__submit(rq, &g->submit, NULL, st);
}

static enum handled send_result(struct request *rq, struct query *q, const struct canner_graphql *g)
{
    struct query_view v;
    int status;
    const char *code, *text;
    query_view(q, &v);
    if (canner__no_result(rq->arena, &v, &status, &code, &text))
        return answer_errors(rq, code, text);
    /* "the last n rows" of a result with fewer begins before the first */
    struct canner_rows rows = {.before = "{\"data\":{\"sqlResultPagination\":{",
                               .behind = "}}}",
                               .offset = g->offset > 0 ? (uint64_t)g->offset : 0,
                               .limit = g->limit < 0 ? UINT64_MAX : (uint64_t)g->limit,
                               .only_result = !g->with_columns};
    return canner__send_rows(rq, q, &rows, canner__graphql);
}

static enum handled deleted(struct request *rq)
{
    struct query *q = rq->state;
    struct query_view v;
    char id[ID_TEXT_MAX];
    query_view(q, &v);
    if (!(v.flags & QF_ENDED))
        return request_park(rq, q, QF_ENDED, 0, 0, deleted);
    struct json_write w = reply_json(rq, 200);
    begin_data(&w, "deleteStatement");
    json_object_begin(&w);
    json_kstr(&w, "id", id_kakao(&v.id, id));
    json_object_end(&w);
    return end_data(&w);
}

static enum handled delete_statement(struct request *rq, struct query *q)
{
    struct err e;
    err_clear(&e);
    int r = service_cancel(rq->service, &rq->who, q, &e);
    if (r == ERR_DENIED)
        return rq->who.role < ROLE_MEMBER ? forbidden(rq) : fail(rq, 403, &e);
    if (r && r != ERR_CONFLICT)
        return fail(rq, reply_status_of(r), &e);
    rq->state = q;
    return deleted(rq);
}

static enum handled list_saved(struct request *rq, const struct canner_graphql *g)
{
    struct err e;
    err_clear(&e);
    int r = canner__workspace(rq, g->submit.workspace, &e);
    if (r)
        return fail(rq, reply_status_of(r), &e);
    return canner__send_saved(rq, 0, UINT64_MAX, true, "{\"data\":{\"sqls\":[", "]}}");
}

static enum handled user_me(struct request *rq)
{
    struct json_write w = reply_json(rq, 200);
    begin_data(&w, "userMe");
    json_object_begin(&w);
    json_kstr(&w, "id", rq->who.user_name);
    json_kstr(&w, "accountRole", rq->who.role == ROLE_ADMIN ? "ADMIN" : "MEMBER");
    json_key(&w, "attributes");
    json_object_begin(&w);
    json_object_end(&w);
    json_kstr(&w, "createdAt", NULL);
    json_kstr(&w, "email", strchr(rq->who.user_name, '@') ? rq->who.user_name : NULL);
    json_key(&w, "groups");
    json_array_begin(&w);
    json_array_end(&w);
    json_kstr(&w, "lastName", "");
    json_kstr(&w, "firstName", rq->who.user_name);
    json_kstr(&w, "username", rq->who.user_name);
    json_object_end(&w);
    return end_data(&w);
}

/* The operations on one query. */
static enum handled on_query(struct request *rq, const struct canner_graphql *g)
{
    struct err e;
    struct query *q;
    enum handled ret;
    err_clear(&e);
    int r = request_find(rq, g->id, strlen(g->id), canner__graphql, &q, &e);
    if (r == 0)
        return REPLY_DEFER;
    if (r < 0)
        return fail(rq, reply_status_of(r), &e);
    if (g->operation == CANNER_DELETE_STATEMENT)
        return delete_statement(rq, q);
    if (g->operation == CANNER_RESULT)
        return send_result(rq, q, g);
    if (request_hold(rq, q, config.canner_hold, canner__graphql, &ret))
        return ret;
    struct query_view v;
    query_view(q, &v);
    return answer_query(rq, "sqlQuery", &v);
}

enum handled canner__graphql(struct request *rq)
{
    struct err e;
    struct canner_graphql g;
    bool is_json;
    err_clear(&e);
    int r = canner__read_graphql(rq->arena, rq->body, rq->body_len, &g, &is_json, &e);
    if (r)
        return is_json ? answer_errors(rq, canner__code(400), e.text)
                       : reply_error(rq, reply_status_of(r), &e);
    switch (g.operation) {
    case CANNER_CREATE_QUERY:
        return create_query(rq, &g);
    case CANNER_QUERY:
    case CANNER_RESULT:
    case CANNER_DELETE_STATEMENT:
        return on_query(rq, &g);
    case CANNER_SQLS:
        return list_saved(rq, &g);
    case CANNER_USER_ME:
        return user_me(rq);
    case CANNER_UNKNOWN:
        break;
    }
    return answer_errors(
        rq, "GRAPHQL_VALIDATION_FAILED",
        "unknown operation; known: createSqlQuery, sqlQuery, sqlResultPagination, deleteStatement, "
        "sqls, UserMe");
}

/*
 * kylin_end: deletes and stop (specs 1.5, 1.6, 2.13, as design.md section 7 decides them). The owner and
 * admins may end a query; batch deletes are for admins, within their workspace, and take what this dialect
 * delivered. A delete answers once it is recorded; the file in the bucket goes with the result.
 */
#include <string.h>

#include "base/config.h"
#include "dialects/kylin_int.h"

#define NO_QUERY                                                                                             \
    "KE-010031301: Can’t find the query by this query ID in this project. Please check and try again."
#define CANNOT_CLEAN                                                                                         \
    "Can’t clean file folder at the moment. Please ensure that the related file on HDFS could be accessed."

static enum handled truth(struct request *rq, const char *code, bool data, const char *msg)
{
    struct json_write w = kylin__begin(rq, false, code);
    json_bool(&w, data);
    return kylin__end(rq, &w, false, msg);
}

/* What a batch delete is to take: of the URL, and what that lacks of the body, as on the other calls. A name
 * in the wrong place must never turn "some" into "all". */
static bool read_which(struct request *rq, const char **ret_project, const char **ret_older,
                       enum handled *bad)
{
    static const char *const keys[] = {"project", "older_than", "Older_than"};
    const char *words[] = {kylin__param(rq, keys[0]), kylin__param(rq, keys[1]), NULL};
    struct err e;
    err_clear(&e);
    for (size_t i = 0; i < 3 && rq->body && !kylin__blank(rq->body, rq->body_len); i++)
        if (!words[i] && kylin__read_word(rq->arena, rq->body, rq->body_len, keys[i], &words[i], &e)) {
            *bad = kylin__fail(rq, KYLIN_BAD_JSON, e.text);
            return false;
        }
    *ret_project = words[0];
    *ret_older = words[1] ? words[1] : words[2];
    return true;
}

enum handled kylin__delete_many(struct request *rq)
{
    struct err e;
    enum handled bad;
    int64_t before = INT64_MAX;
    const char *project, *older;
    err_clear(&e);
    if (!kylin__not_v2(rq, &bad))
        return bad;
    if (rq->who.role != ROLE_ADMIN)
        return kylin__fail(rq, KYLIN_NOT_ADMIN, NULL);
    if (!read_which(rq, &project, &older, &bad))
        return bad;
    /* An empty name is the project of the key, as one client in the wild sends it; none at all is not. */
    if (project && *project && !kylin__project_is(rq, project, &bad))
        return bad;
    if ((older && !project) || (project && !older))
        return truth(rq, "000", false, CANNOT_CLEAN);
    if (older) {
        int64_t s;
        if (!kylin__time(older, &s))
            return kylin__fail(rq, KYLIN_TIME_FORMAT, NULL);
        if (!kylin__utc(config.kylin_time_zone, s, &s))
            return kylin__fail(rq, KYLIN_FOREIGN, "kylin.time_zone is no zone that the server knows");
        before = s * 1000;
    }
    if (!rq->may_block)
        return request_defer(rq, kylin__delete_many);
    int rc = service_delete_older(rq->service, &rq->who, DIALECT_KYLIN, before, NULL, &e);
    return rc ? reply_error(rq, reply_status_of(rc), &e) : truth(rq, "000", true, "");
}

/* ---- one query ---- */

/* Finds what may be ended. 1: *ret; 0: *bad is the answer, or a wait; -1: not there. */
static int find(struct request *rq, handler_fn self, struct query **ret, struct query_view *v,
                enum handled *bad)
{
    struct err e;
    err_clear(&e);
    int r = request_find(rq, rq->params[0].p, rq->params[0].n, self, ret, &e);
    if (r == 0) {
        *bad = REPLY_DEFER;
        return 0;
    }
    if (r < 0 && r != ERR_NOTFOUND) {
        *bad = reply_error(rq, reply_status_of(r), &e);
        return 0;
    }
    if (r < 0)
        return -1;
    query_view(*ret, v);
    return v->gone_ms ? -1 : 1;
}

static enum handled deleted(struct request *rq) /* worker */
{
    service_sync(rq->service);
    return truth(rq, "000", true, "");
}

/* A script of another dialect keeps what it has: its end is recorded a little later than the deletion. */
static enum handled ended(struct request *rq)
{
    struct query_view v;
    query_view(rq->state, &v);
    return v.flags & QF_ENDED ? request_defer(rq, deleted)
                              : request_park(rq, rq->state, QF_ENDED, 0, 0, ended);
}

enum handled kylin__delete_one(struct request *rq)
{
    struct query *q;
    struct query_view v;
    struct err e;
    enum handled bad;
    err_clear(&e);
    if (!kylin__not_v2(rq, &bad) || !kylin__project(rq, true, false, &bad))
        return bad;
    if (rq->who.role < ROLE_MEMBER)
        return kylin__fail(rq, KYLIN_NO_ACCESS, NULL);
    int r = find(rq, kylin__delete_one, &q, &v, &bad);
    if (r == 0)
        return bad;
    if (r < 0)
        return truth(rq, "000", false, NO_QUERY);
    if (!kylin__owns(rq, &v))
        return truth(rq, "401", false, "Access denied. Only admin users can delete the query results");
    r = service_delete(rq->service, &rq->who, q, &e);
    rq->state = q;
    return r ? reply_error(rq, reply_status_of(r), &e) : ended(rq);
}

static enum handled word(struct request *rq, const char *code, const char *data, const char *msg)
{
    struct json_write w = kylin__begin(rq, false, code);
    json_str(&w, data);
    return kylin__end(rq, &w, false, msg);
}

/* Answered once the end is recorded: a status asked for next is no longer RUNNING, also after a restart. */
static enum handled stopped(struct request *rq)
{
    struct query_view v;
    char id[ID_TEXT_MAX];
    query_view(rq->state, &v);
    if (!(v.flags & QF_ENDED))
        return request_park(rq, rq->state, QF_ENDED, 0, 0, stopped);
    const char *msg = arena_printf(rq->arena, "Async Query（id=%s） will be canceled", id_uuid(&v.id, id));
    return word(rq, "000", "", msg ? msg : "");
}

/* It has ended, and that may still be on its way into the registry: until then a status says RUNNING. */
static enum handled not_running(struct request *rq)
{
    struct query_view v;
    query_view(rq->state, &v);
    return v.flags & QF_ENDED ? word(rq, "999", "Query is not running", "Query is not running. please check")
                              : request_park(rq, rq->state, QF_ENDED, 0, 0, not_running);
}

enum handled kylin__stop(struct request *rq)
{
    struct query *q;
    struct query_view v;
    struct err e;
    enum handled bad;
    err_clear(&e);
    if (!kylin__not_v2(rq, &bad) || !kylin__project(rq, false, false, &bad))
        return bad;
    if (rq->who.role < ROLE_MEMBER)
        return kylin__fail(rq, KYLIN_NO_ACCESS, NULL);
    int r = find(rq, kylin__stop, &q, &v, &bad);
    if (r == 0)
        return bad;
    if (r < 0)
        return kylin__fail(rq, KYLIN_UNKNOWN_QUERY, NULL);
    if (!kylin__owns(rq, &v))
        return word(rq, "401", "Access denied.", "Access denied. Only admin users can stop the query");
    rq->state = q;
    r = service_cancel(rq->service, &rq->who, q, &e);
    if (r == ERR_CONFLICT)
        return not_running(rq);
    return r ? reply_error(rq, reply_status_of(r), &e) : stopped(rq);
}

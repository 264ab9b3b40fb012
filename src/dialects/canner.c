/*
 * canner: Canner Enterprise RESTful API V1, and the GraphQL operations of its Python client. Routes and services; see canner_int.h for the other files and docs/canner.md for the wire.
 *
 * Both base paths of the product are served, `/api/v1` (cluster) and `/web/api/v1` (standalone). Every success is
 * 200. Errors are {"code","message"}; an SQL error is not one of them: it shows in the query, whose status is
 * FAILED. The workspaceId of a request must be the key's own workspace, anything else is 404. Handlers never block
 * on an HTTP thread.
 */
#include "dialects/canner_int.h"

#include <string.h>

#include "base/clock.h"

#define SERVICE "SQL_ENGINE"

/* ---- services: the workspace's engine is the only one ---- */

static enum handled answer_service(struct request *rq)
{
    struct err e;
    struct engine_use use;
    char time[40];
    err_clear(&e);
    int r = service_engine(rq->service, &rq->who, &use, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    struct json_write w = reply_json(rq, 200);
    json_object_begin(&w);
    json_kstr(&w, "id", rq->who.workspace_uuid);
    json_kstr(&w, "service", SERVICE);
    json_kstr(&w, "status", use.awake ? "RUNNING" : "STOPPED");
    json_kstr(&w, "lastUsed", clock_iso_ms(use.last_used_ms, time, sizeof time));
    json_ki64(&w, "maxIdleTime", use.idle_ms / 1000);
    json_object_end(&w);
    return REPLY_READY;
}

static bool service_known(struct request *rq)
{
    return rq->params[0].n == strlen(SERVICE) && memcmp(rq->params[0].p, SERVICE, rq->params[0].n) == 0;
}

static enum handled get_service(struct request *rq)
{
    if (!service_known(rq))
        return canner__refuse(rq, 404, canner__code(404), "service not found; there is " SERVICE);
    return rq->may_block ? answer_service(rq) : request_defer(rq, answer_service);
}

static enum handled put_service(struct request *rq)
{
    struct err e;
    bool on = false;
    err_clear(&e);
    if (!service_known(rq))
        return canner__refuse(rq, 404, canner__code(404), "service not found; there is " SERVICE);
    int r = canner__read_state(rq->arena, rq->body, rq->body_len, &on, &e);
    if (!r && !rq->may_block)
        return request_defer(rq, put_service);
    if (!r)
        r = service_engine_switch(rq->service, &rq->who, on, &e);
    return r ? reply_error(rq, reply_status_of(r), &e) : answer_service(rq);
}

/* ---- the table ---- */

#define ROUTES(base, name)                                                                                   \
    {"GET", base "/api/v1/service/{service}", name ".service", get_service, ROLE_READER},                    \
        {"PUT", base "/api/v1/service/{service}", name ".switch_service", put_service, ROLE_MEMBER},         \
        {"GET", base "/api/v1/sqls", name ".list_saved", canner__list_saved, ROLE_READER},                   \
        {"GET", base "/api/v1/sql/{id}", name ".get_saved", canner__get_saved, ROLE_READER},                 \
        {"POST", base "/api/v1/sql", name ".save", canner__save, ROLE_MEMBER},                               \
        {"POST", base "/api/v1/sql/{id}", name ".run_saved", canner__run_saved, ROLE_MEMBER},                \
        {"GET", base "/api/v1/queries", name ".list", canner__list_queries, ROLE_READER},                    \
        {"GET", base "/api/v1/query/{id}", name ".query", canner__get_query, ROLE_READER},                   \
        {"GET", base "/api/v1/query/{id}/result", name ".result", canner__get_result, ROLE_READER},          \
        {"GET", base "/api/v1/query/{id}/result/signedUrls", name ".signed_urls", canner__signed_urls,       \
         ROLE_READER},                                                                                       \
        {"GET", base "/api/v1/result/{id}/{part}", name ".part", canner__part, 0},                           \
        {"POST", base "/api/v1/query", name ".submit", canner__submit_query, ROLE_MEMBER},                   \
        {"PUT", base "/api/v1/query/{id}/cancel", name ".cancel", canner__cancel_query, ROLE_MEMBER},        \
    {                                                                                                        \
        "POST", base "/graphql", name ".graphql", canner__graphql, ROLE_READER                               \
    }

static const struct route routes[] = {
    ROUTES("", "canner"),
    ROUTES("/web", "canner_web"),
    {NULL, NULL, NULL, NULL, 0},
};

const struct dialect dialect_canner = {
    .id = DIALECT_CANNER,
    .name = "canner",
    .credential = CREDENTIAL_CANNER,
    .routes = routes,
    .error = canner__error,
    .metadata = NULL,
};

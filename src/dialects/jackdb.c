/*
 * jackdb: the JackDB Query API v2. Routes, execute, cancel and delete; see jackdb_int.h for the other files and
 * docs/jackdb.md for the wire.
 *
 * Success is 200, also of what creates; {} where there is nothing to say; an error is {"error":{"message"}}.
 * A query has no state field: startedAt, completedAt and success tell it. Several statements in one command have
 * one result each. Order of checks: credential, Accept and User-Agent, existence, arguments. Handlers never block
 * on an HTTP thread; waiting is parking.
 */
#include "dialects/jackdb_int.h"

#include "base/sys.h"

#define NS_PER_S 1000000000LL

/* ---- execute (specs 5) ---- */

struct execution {
    struct query *query;
    int64_t deadline; /* monotonic; of the wait */
};

static enum handled executed(struct request *rq)
{
    struct execution *x = rq->state;
    struct query_view v;
    enum handled ret;
    if (!request_accepted(rq, &x->query, executed, reply_error, &v, &ret) ||
        jackdb__wait(rq, x->query, x->deadline, executed, &ret))
        return ret;
    query_view(x->query, &v);
    char id[ID_TEXT_MAX];
    const char *location = arena_printf(rq->arena, JACKDB_BASE "/query/%s", id_uuid(&v.id, id));
    struct json_write w = reply_json(rq, 200);
    jackdb__query(rq, &w, x->query, &v);
    reply_header(rq, "Location", location ? location : id);
    return REPLY_READY;
}

/* What was asked for, for people and for telling two requests apart. */
static const char *memory(const struct jackdb_execute *in, struct buf *b)
{
    struct json_write w = JSON_WRITE_INIT(b);
    json_object_begin(&w);
    json_ki64(&w, "retention", in->retention);
    json_ki64(&w, "timeout", in->timeout);
    json_ki64(&w, "maxRows", in->max_rows);
    json_kbool(&w, "autocommit", in->autocommit);
    json_kbool(&w, "stopOnError", in->stop_on_error);
    json_object_end(&w);
    return buf_str(b);
}

static enum handled execute(struct request *rq)
{
    enum handled ret;
    struct err e;
    err_clear(&e);
    struct jackdb_execute in;
    struct source source;
    if (!jackdb__admit(rq, NULL, &ret) || !jackdb__source(rq, &source, &ret))
        return ret;
    int r =
        jackdb__read_execute(rq->arena, request_header(rq, "Content-Type"), rq->body, rq->body_len, &in, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    struct execution *x = arena_alloc(rq->arena, sizeof *x);
    CLEANUP_BUF struct buf b = BUF_INIT(4096);
    const char *request = memory(&in, &b);
    if (!x || !request)
        return reply_no_memory(rq);
    struct submit s = {.dialect = DIALECT_JACKDB,
                       .profile = WIRE_PROFILE_PLAIN,
                       .sql = in.command,
                       .sql_len = in.command_len};
    s.params = in.params;
    s.nparams = in.nparams;
    s.default_source = source.name;
    s.default_database = source.kind == SOURCE_CATALOG ? "main" : source.database;
    s.row_limit = in.max_rows;
    s.run_timeout_ms = in.timeout * 1000;
    s.keep_ms = in.retention ? in.retention * 1000 : -1;
    s.script =
        (uint8_t)(SCRIPT | (in.autocommit ? 0 : SCRIPT_ATOMIC) | (in.stop_on_error ? 0 : SCRIPT_GO_ON));
    s.hold = in.wait > 0;
    s.request = request;
    s.idempotency_key = request_header(rq, "Idempotency-Key");
    x->deadline = sys_mono_ns() + in.wait * NS_PER_S;
    r = request_submit(rq, &s, &x->query, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    rq->state = x;
    return executed(rq);
}

/* ---- cancel and delete (specs 3.2, 3.3) ---- */

static enum handled nothing(struct request *rq)
{
    struct json_write w = reply_json(rq, 200);
    json_object_begin(&w);
    json_object_end(&w);
    return REPLY_READY;
}

static enum handled ended(struct request *rq)
{
    enum handled ret;
    return jackdb__wait(rq, rq->state, 0, ended, &ret) ? ret : nothing(rq);
}

static enum handled recorded(struct request *rq) /* worker */
{
    service_sync(rq->service);
    return nothing(rq);
}

/* Of a deletion: the end is not all that must be recorded. */
static enum handled gone(struct request *rq)
{
    enum handled ret;
    return jackdb__wait(rq, rq->state, 0, gone, &ret) ? ret : request_defer(rq, recorded);
}

static enum handled
change(struct request *rq, handler_fn self,
       int (*how)(struct service *, const struct identity *, struct query *, struct err *), handler_fn then)
{
    enum handled ret;
    struct err e;
    err_clear(&e);
    struct query *q;
    struct query_view v;
    if (!jackdb__admit(rq, NULL, &ret) || !jackdb__find(rq, self, &q, &v, &ret))
        return ret;
    int r = how(rq->service, &rq->who, q, &e);
    if (r && r != ERR_CONFLICT) /* a query that has ended stays as it is */
        return reply_error(rq, reply_status_of(r), &e);
    rq->state = q;
    return then(rq);
}

static enum handled cancel(struct request *rq)
{
    return change(rq, cancel, service_cancel, ended);
}

static enum handled delete_query(struct request *rq)
{
    return change(rq, delete_query, service_delete, gone);
}

/* ---- the table ---- */

#define SOURCE  JACKDB_BASE "/data-source"
#define SOURCE2 JACKDB_BASE "/datasource"

static const struct route routes[] = {
    {"GET", JACKDB_BASE "/query", "jackdb.list", jackdb__list, ROLE_READER},
    {"GET", JACKDB_BASE "/query/{id}", "jackdb.get", jackdb__get, ROLE_READER},
    {"POST", JACKDB_BASE "/query/{id}/cancel", "jackdb.cancel", cancel, ROLE_MEMBER},
    {"DELETE", JACKDB_BASE "/query/{id}", "jackdb.delete", delete_query, ROLE_MEMBER},
    {"GET", JACKDB_BASE "/query/{id}/result/{index}", "jackdb.result", jackdb__result, ROLE_READER},
    {"GET", JACKDB_BASE "/query/{id}/result/{index}/rows", "jackdb.rows", jackdb__rows, ROLE_READER},
    {"POST", SOURCE "/{source}/execute", "jackdb.execute", execute, ROLE_MEMBER},
    /* its path is our own choice: the others that a caller may try mean the same */
    {"POST", SOURCE "/{source}/command", "jackdb.execute_command", execute, ROLE_MEMBER},
    {"POST", SOURCE "/{source}/query", "jackdb.execute_query", execute, ROLE_MEMBER},
    {"POST", SOURCE2 "/{source}/execute", "jackdb.execute_short", execute, ROLE_MEMBER},
    {"GET", SOURCE, "jackdb.sources", jackdb__sources, ROLE_READER},
    {"POST", SOURCE, "jackdb.create_source", jackdb__create_source, ROLE_MEMBER},
    {"GET", SOURCE "/{source}", "jackdb.source", jackdb__get_source, ROLE_READER},
    {"DELETE", SOURCE "/{source}", "jackdb.delete_source", jackdb__delete_source, ROLE_MEMBER},
    {NULL, NULL, NULL, NULL, 0},
};

const struct dialect dialect_jackdb = {
    .id = DIALECT_JACKDB,
    .name = "jackdb",
    .credential = CREDENTIAL_JACKDB,
    .routes = routes,
    .error = jackdb__error,
};

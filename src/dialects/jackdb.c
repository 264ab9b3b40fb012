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

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/config.h"
#include "base/sys.h"

#define NS_PER_S  1000000000LL
#define VENDOR    "application/vnd.jackdb."
#define VENDOR_V2 "application/vnd.jackdb.v2+json"

void jackdb__error(struct request *rq, int status, const struct err *e)
{
    struct json_write w = reply_json(rq, status);
    json_object_begin(&w);
    json_key(&w, "error");
    json_object_begin(&w);
    json_kstr(&w, "message", e && e->text[0] ? e->text : "the request could not be answered");
    json_object_end(&w);
    json_object_end(&w);
}

enum handled jackdb__fail(struct request *rq, int status, const struct err *e)
{
    return reply_error(rq, status, e);
}

enum handled jackdb__no_memory(struct request *rq)
{
    struct err e;
    err_clear(&e);
    err_set(&e, ERR_NOMEM, "53200", "out of memory");
    return jackdb__fail(rq, 503, &e);
}

/* ---- what every request goes through ---- */

/* The media range at p, without parameters; *ret_next is what follows its comma. *ret_no: q=0. */
static size_t range(const char *p, const char **ret_next, bool *ret_no)
{
    size_t n = strcspn(p, ",;"), all = strcspn(p, ",");
    const char *q = memmem(p + n, all - n, "q=", 2);
    *ret_no = q && strtod(q + 2, NULL) <= 0;
    *ret_next = p + all + (p[all] == ',');
    while (n && (p[n - 1] == ' ' || p[n - 1] == '\t'))
        n--;
    return n;
}

static bool is(const char *p, size_t n, const char *type)
{
    return n == strlen(type) && strncasecmp(p, type, n) == 0;
}

/* The first range of the header that we can serve; NULL when there is none. */
static const char *accepted(const char *accept, bool rows)
{
    if (!accept || !*accept)
        return "rows";
    for (const char *p = accept, *next; *p; p = next) {
        while (*p == ' ' || *p == '\t' || *p == ',')
            p++;
        bool no;
        size_t n = range(p, &next, &no);
        if (no || !n)
            continue;
        if (is(p, n, VENDOR_V2) || is(p, n, "application/json") || is(p, n, "application/*") ||
            is(p, n, "*/*"))
            return "rows";
        if (rows && (is(p, n, "text/csv") || is(p, n, "text/*")))
            return "csv";
        if (rows && (is(p, n, "application/x-ndjson") || is(p, n, "application/ndjson")))
            return "ndjson";
    }
    return NULL;
}

bool jackdb__admit(struct request *rq, const char **ret_format, enum handled *ret)
{
    struct err e;
    err_clear(&e);
    const char *format = accepted(request_header(rq, "Accept"), ret_format != NULL);
    if (!format) {
        err_set(&e, ERR_INVALID, "0A000", "Accept must allow " VENDOR_V2 " or application/json%s",
                ret_format ? ", text/csv or application/x-ndjson" : "");
        *ret = jackdb__fail(rq, 406, &e);
        return false;
    }
    const char *agent = config.jackdb_require_user_agent ? request_header(rq, "User-Agent") : "-";
    if (!agent || !agent[strspn(agent, " \t")]) {
        err_set(&e, ERR_INVALID, "22023",
                "User-Agent must be there and not blank (jackdb.require_user_agent)");
        *ret = jackdb__fail(rq, 400, &e);
        return false;
    }
    if (ret_format)
        *ret_format = format;
    return true;
}

bool jackdb__find(struct request *rq, handler_fn self, struct query **ret_query, struct query_view *v,
                  enum handled *ret)
{
    struct err e;
    err_clear(&e);
    int r = request_find(rq, rq->params[0].p, rq->params[0].n, self, ret_query, &e);
    if (r == 0) {
        *ret = REPLY_DEFER;
        return false;
    }
    if (r > 0) {
        query_view(*ret_query, v);
        if (!v->gone_ms && (!v->expires_ms || !query_state_ended(v->state) || sys_wall_ms() < v->expires_ms))
            return true;
        r = ERR_NOTFOUND;
    }
    if (r == ERR_NOTFOUND || r == ERR_GONE)
        err_set(&e, ERR_NOTFOUND, "02000", "Query not found");
    *ret = jackdb__fail(rq, r == ERR_GONE ? 404 : reply_status_of(r), &e);
    return false;
}

int jackdb__number(struct request *rq, const char *name, int64_t def, int64_t most, int64_t *ret,
                   struct err *e)
{
    const char *text = request_query(rq, name, 0);
    if (text && !*text)
        text = NULL;
    size_t n = text ? strlen(text) : 0;
    if (n && strspn(text, "0123456789") == n) {
        errno = 0;
        long long v = strtoll(text, NULL, 10);
        *ret = errno ? INT64_MAX : v; /* further than any */
        if (*ret <= most)
            return 0;
    } else if (!text) {
        *ret = def;
        return 0;
    }
    if (most == INT64_MAX)
        return err_set(e, ERR_INVALID, "22023", "%s must be an integer that is not negative", name);
    return err_set(e, ERR_INVALID, "22023", "%s must be an integer from 0 to %lld", name, (long long)most);
}

bool jackdb__wants(struct request *rq, const char *parameter, const char *word)
{
    const char *p;
    for (uint32_t i = 0; (p = request_query(rq, parameter, i)); i++)
        for (size_t n; *p; p += n + (p[n] == ','))
            if ((n = strcspn(p, ",")) == strlen(word) && strncmp(p, word, n) == 0)
                return true;
    return false;
}

bool jackdb__wait(struct request *rq, struct query *q, int64_t deadline_ns, handler_fn self,
                  enum handled *ret)
{
    struct query_view v;
    query_view(q, &v);
    if ((v.flags & QF_ENDED) || (deadline_ns && sys_mono_ns() >= deadline_ns))
        return false;
    *ret = request_park(rq, q, QF_ENDED, 0, deadline_ns, self);
    return true;
}

/* ---- execute (specs 5) ---- */

struct execution {
    struct query *query;
    int64_t deadline; /* monotonic; of the wait */
};

static enum handled executed(struct request *rq)
{
    struct execution *x = rq->state;
    struct query_view v;
    struct err e;
    err_clear(&e);
    query_view(x->query, &v);
    if (!(v.flags & QF_ACCEPTED))
        return request_park(rq, x->query, QF_ACCEPTED, 0, 0, executed);
    int r = request_settle(rq, &x->query, &e);
    if (r > 0)
        return request_defer(rq, executed);
    if (r)
        return jackdb__fail(rq, reply_status_of(r), &e);
    enum handled ret;
    if (jackdb__wait(rq, x->query, x->deadline, executed, &ret))
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
        return jackdb__fail(rq, reply_status_of(r), &e);
    struct execution *x = arena_alloc(rq->arena, sizeof *x);
    CLEANUP_BUF struct buf b = BUF_INIT(4096);
    const char *request = memory(&in, &b);
    if (!x || !request)
        return jackdb__no_memory(rq);
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
    r = service_submit(rq->service, &rq->who, &s, &x->query, &e);
    if (r)
        return jackdb__fail(rq, reply_status_of(r), &e);
    if (!request_own_query(rq, x->query))
        return jackdb__no_memory(rq);
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

static enum handled change(struct request *rq, handler_fn self,
                           int (*how)(struct service *, const struct identity *, struct query *,
                                      struct err *))
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
        return jackdb__fail(rq, reply_status_of(r), &e);
    rq->state = q;
    return ended(rq);
}

static enum handled cancel(struct request *rq)
{
    return change(rq, cancel, service_cancel);
}

static enum handled delete_query(struct request *rq)
{
    return change(rq, delete_query, service_delete);
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

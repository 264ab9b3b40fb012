/*
 * kylin_query: the synchronous companion's query (clients page): what kylinpy, SQLAlchemy and the JDBC
 * drivers run, with prepared parameters; and their log-in, projects and health.
 *
 * A statement runs as any other query and shows in the history; its answer waits, parked, for the end and then
 * streams the rows. An error of the statement is HTTP 200 with isException, as Kylin's own. A client that
 * leaves before the answer ends its query, since nobody else knows its id. Bodies and columns hold only keys
 * that the oldest of these clients knows: it refuses others.
 */
#include <string.h>
#include <strings.h>

#include "dialects/kylin_int.h"

struct sync_state {
    struct kylin_submit in;
    struct query
        *query; /* whose answer it is: `own`, or the earlier one with the same key (kept by the request) */
    struct query *own; /* this request's reference */
    struct service *service;
    struct identity who;
    bool keyed, answered;
};

/* The request is over. */
static void leave(void *arg)
{
    struct sync_state *st = arg;
    if (!st->keyed && !st->answered)
        (void)!service_cancel(st->service, &st->who, st->own, NULL);
    query_unref(st->own);
}

static void write_column(struct json_write *w, const struct column *c)
{
    int jdbc, size, digits;
    const char *name;
    CLEANUP_BUF struct buf type = BUF_INIT(256);
    kylin__type_name(c, &type);
    kylin__type_of_name(buf_str(&type), &name, &jdbc, &size, &digits);
    json_object_begin(w);
    json_kstr(w, "label", c->name ? c->name : "");
    json_kstr(w, "name", c->name ? c->name : "");
    json_kstr(w, "columnTypeName", name);
    json_ki64(w, "columnType", jdbc);
    json_ki64(w, "displaySize", size);
    json_ki64(w, "precision", size);
    json_ki64(w, "scale", digits);
    json_ki64(w, "isNullable", c->nullable ? 1 : 0);
    json_kstr(w, "schemaName", NULL);
    json_kstr(w, "catelogName", NULL);
    json_kstr(w, "tableName", NULL);
    json_kbool(w, "autoIncrement", false);
    json_kbool(w, "caseSensitive", true);
    json_kbool(w, "searchable", true);
    json_kbool(w, "currency", false);
    json_kbool(w, "signed", jdbc <= 8 && jdbc != -2);
    json_kbool(w, "readOnly", true);
    json_kbool(w, "writable", false);
    json_kbool(w, "definitelyWritable", false);
    json_object_end(w);
}

/* Everything but the rows, which come last. */
static void begin(struct json_write *w, const struct query_view *v, const char *why)
{
    char id[ID_TEXT_MAX];
    json_object_begin(w);
    json_key(w, "columnMetas");
    json_array_begin(w);
    for (uint32_t i = 0; !why && v->schema && i < v->schema->ncolumns; i++)
        write_column(w, &v->schema->columns[i]);
    json_array_end(w);
    json_kstr(w, "cube", "");
    json_ki64(w, "affectedRowCount", 0);
    json_kbool(w, "isException", why != NULL);
    json_kstr(w, "exceptionMessage", why);
    json_ki64(w, "duration", v->elapsed_ns / 1000000);
    json_ki64(w, "totalScanCount", (int64_t)v->rows_scanned);
    json_kbool(w, "hitExceptionCache", false);
    json_kbool(w, "storageCacheUsed", v->reused);
    json_kbool(w, "partial", false);
    json_kstr(w, "queryId", id_uuid(&v->id, id));
    json_key(w, "results");
}

static int end_rows(struct request *rq, uint64_t sent, struct buf *out)
{
    (void)sent;
    return buf_str_add(out, kylin__shape(rq) == KYLIN_PLAIN ? "}" : "},\"msg\":\"\"}");
}

static enum handled answer_empty(struct request *rq, const struct query_view *v, const char *why)
{
    struct json_write w = kylin__begin(rq, true, "000");
    begin(&w, v, why);
    if (why) {
        json_null(&w);
    } else {
        json_array_begin(&w);
        json_array_end(&w);
    }
    json_object_end(&w);
    return kylin__end(rq, &w, true, "");
}

static enum handled answer_rows(struct request *rq) /* worker */
{
    struct sync_state *st = rq->state;
    struct query_view v;
    struct err e;
    err_clear(&e);
    query_view(st->query, &v);
    struct reply_rows *r = &rq->reply.rows;
    int rc = rows_open(rq->service, st->query, UINT32_MAX, &r->rows, &e);
    if (rc)
        return reply_error(rq, reply_status_of(rc), &e);
    struct json_write w = kylin__begin(rq, true, "000");
    begin(&w, &v, NULL);
    r->encoder = encoder_find("rows");
    r->options = (struct encode_options){.profile = TEXT_KYLIN_ROWS};
    r->limit = UINT64_MAX;
    r->head = r->tail = true;
    r->suffix = end_rows;
    rq->reply.streaming = true;
    rq->reply.length = -1;
    return REPLY_READY;
}

static enum handled ended(struct request *rq)
{
    struct sync_state *st = rq->state;
    struct query_view v;
    enum handled ret;
    if (!request_accepted(rq, &st->query, ended, reply_error, &v, &ret)) {
        st->answered = ret == REPLY_READY;
        return ret;
    }
    if (!(v.flags & QF_ENDED))
        return request_park(rq, st->query, QF_ENDED, 0, 0, ended);
    st->answered = true;
    if (v.state != QUERY_FINISHED)
        return answer_empty(rq, &v, kylin__info(rq, &v, false));
    if (v.gone_ms || !v.schema)
        return answer_empty(rq, &v, v.gone_ms ? "the result was deleted or has expired" : NULL);
    return rq->may_block || rows_at_once(st->query) ? answer_rows(rq) : request_defer(rq, answer_rows);
}

int kylin__sync_submit(struct request *rq, const struct kylin_submit *in, const char *idempotency_key,
                       struct query **ret, struct err *e)
{
    struct submit s;
    int r = kylin__statement(rq, in, &s, e);
    if (r)
        return r;
    s.hold = true;
    s.idempotency_key = idempotency_key;
    return service_submit(rq->service, &rq->who, &s, ret, e);
}

enum handled kylin__query(struct request *rq)
{
    struct sync_state *st = arena_alloc(rq->arena, sizeof *st);
    enum handled bad;
    struct err e;
    err_clear(&e);
    if (!st)
        return reply_no_memory(rq);
    if (!kylin__read_request(rq, KYLIN_BODY_SYNC, &st->in, &bad))
        return bad;
    int r = kylin__sync_submit(rq, &st->in, request_header(rq, "Idempotency-Key"), &st->query, &e);
    if (r == ERR_INVALID || r == ERR_DENIED)
        return kylin__fail(rq, KYLIN_FOREIGN, e.text);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    st->service = rq->service;
    st->who = rq->who;
    st->keyed = request_header(rq, "Idempotency-Key") != NULL;
    st->own = st->query;
    if (arena_on_free(rq->arena, leave, st)) {
        leave(st);
        return reply_no_memory(rq);
    }
    rq->state = st;
    return ended(rq);
}

/* ---- log-in, projects, health ---- */

static void write_authorities(struct json_write *w, struct request *rq)
{
    json_key(w, "authorities");
    json_array_begin(w);
    static const char *const all[] = {"ROLE_ADMIN", "ROLE_MODELER", "ROLE_ANALYST", "ALL_USERS"};
    static const enum role least[] = {ROLE_ADMIN, ROLE_ADMIN, ROLE_MEMBER, ROLE_READER};
    for (size_t i = 0; i < 4; i++) {
        if (rq->who.role < least[i])
            continue;
        json_object_begin(w);
        json_kstr(w, "authority", all[i]);
        json_object_end(w);
    }
    json_array_end(w);
}

static void write_user(struct json_write *w, struct request *rq)
{
    json_kstr(w, "username", rq->who.user_name);
    write_authorities(w, rq);
    json_kbool(w, "disabled", false);
    json_kbool(w, "defaultPassword", false);
    json_kbool(w, "locked", false);
}

enum handled kylin__login(struct request *rq)
{
    struct json_write w = kylin__begin(rq, true, "000");
    json_object_begin(&w);
    json_key(&w, "userDetails");
    json_object_begin(&w);
    write_user(&w, rq);
    json_object_end(&w);
    if (kylin__shape(rq) != KYLIN_PLAIN)
        write_user(&w, rq); /* the newer generations have them one level up */
    json_object_end(&w);
    return kylin__end(rq, &w, true, "");
}

static void write_project(struct json_write *w, struct request *rq)
{
    json_object_begin(w);
    json_kstr(w, "uuid", rq->who.workspace_uuid);
    json_kstr(w, "name", rq->who.workspace_name);
    json_kstr(w, "owner", NULL);
    json_kstr(w, "status", "ENABLED");
    json_kstr(w, "description", "");
    json_key(w, "tables");
    json_array_begin(w);
    json_array_end(w);
    json_object_end(w);
}

/* Which page of one thing: 1, unless its beginning lies further on, or pages are empty. */
bool kylin__first_page(struct request *rq)
{
    static const char *const offsets[] = {"page_offset", "pageOffset"};
    for (size_t i = 0; i < 2; i++) {
        const char *s = request_query(rq, offsets[i], 0);
        if (s && strspn(s, "0") != strlen(s))
            return false;
    }
    return true;
}

enum handled kylin__projects(struct request *rq)
{
    enum kylin_shape shape = kylin__shape(rq);
    const char *name = request_query(rq, "project", 0);
    bool one = kylin__first_page(rq) && (!name || !*name || !strcasecmp(name, rq->who.workspace_name));
    struct json_write w = kylin__begin(rq, true, "000");
    if (shape != KYLIN_PLAIN) {
        json_object_begin(&w);
        json_key(&w, shape == KYLIN_V2 ? "projects" : "value");
    }
    json_array_begin(&w);
    if (one)
        write_project(&w, rq);
    json_array_end(&w);
    if (shape != KYLIN_PLAIN) {
        json_ki64(&w, shape == KYLIN_V2 ? "size" : "total_size", one);
        if (shape != KYLIN_V2) {
            json_ki64(&w, "offset", 0);
            json_ki64(&w, "limit", 1000);
        }
        json_object_end(&w);
    }
    return kylin__end(rq, &w, true, "");
}

/* The same for all shapes; with a credential as every call here (probes without one read /readyz). */
enum handled kylin__health(struct request *rq)
{
    struct err e;
    err_clear(&e);
    bool up = service_ready(rq->service, &e);
    struct json_write w = reply_json(rq, up ? 200 : 503);
    json_object_begin(&w);
    json_kstr(&w, "status", up ? "UP" : "OUT_OF_SERVICE");
    json_object_end(&w);
    return REPLY_READY;
}

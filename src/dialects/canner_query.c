/*
 * canner_query: submit, status, result, cancel and list of queries (specs/canner.md sections 2 to 6).
 *
 * A submit answers once its record is durable. Submit and status wait a little for the end (canner.hold, parked):
 * the page's own client polls with pauses that grow, so that a fast query would cost seconds. A cancelled query is
 * FAILED; a second cancel changes nothing. The list is made piece by piece, one query in memory at a time.
 */
#include "base/config.h"
#include "base/sys.h"
#include "dialects/canner_int.h"

#define NS_PER_MS     1000000
#define LIMIT_DEFAULT 100

/* ---- submit ---- */

static enum handled submitted(struct request *rq)
{
    struct canner_submitting *st = rq->state;
    struct query_view v;
    enum handled ret;
    if (!request_accepted(rq, &st->query, submitted, st->fail, &v, &ret))
        return ret;
    if (!(v.flags & QF_ENDED) && sys_mono_ns() < st->hold_until)
        return request_park(rq, st->query, QF_ENDED, 0, st->hold_until, submitted);
    return st->answer(rq, &v);
}

static const char *request_memory(const char *source, struct buf *b)
{
    struct json_write w = JSON_WRITE_INIT(b);
    json_object_begin(&w);
    json_kstr(&w, "source", source);
    json_object_end(&w);
    return buf_str(b);
}

enum handled canner__submit(struct request *rq, const struct canner_submit *in, const struct saved_sql *saved,
                            struct canner_submitting *st)
{
    struct err e;
    err_clear(&e);
    CLEANUP_BUF struct buf memory = BUF_INIT(4096);
    struct submit s = {.dialect = DIALECT_CANNER,
                       .profile = WIRE_PROFILE_TRINO,
                       .default_source = "data_catalog",
                       .default_database = "main",
                       .row_limit = -1,
                       .sql = in->sql,
                       .sql_len = in->sql_len,
                       .reuse = in->reuse,
                       .max_reuse_age_s = in->max_age_s,
                       .hold = config.canner_hold > 0,
                       .idempotency_key = request_header(rq, "Idempotency-Key")};
    s.request = in->source ? request_memory(in->source, &memory) : NULL;
    st->hold_until = sys_mono_ns() + config.canner_hold * NS_PER_MS;
    int r = request_submit(rq, &s, &st->query, &e);
    if (!r && saved)
        r = saved_ran(rq->service, &saved->id, st->query, &e);
    if (r)
        return st->fail(rq, reply_status_of(r), &e);
    rq->state = st;
    return submitted(rq);
}

static enum handled answer_query(struct request *rq, const struct query_view *v)
{
    struct json_write w = reply_json(rq, 200);
    canner__write_query(&w, rq->arena, &rq->who, v);
    return REPLY_READY;
}

enum handled canner__submit_query(struct request *rq)
{
    struct err e;
    struct canner_submit in;
    err_clear(&e);
    int r = canner__read_submit(rq->arena, rq->body, rq->body_len, true, &in, &e);
    if (!r)
        r = canner__workspace(rq, in.workspace, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    struct canner_submitting *st = arena_alloc(rq->arena, sizeof *st);
    if (!st)
        return reply_no_memory(rq);
    *st = (struct canner_submitting){.answer = answer_query, .fail = reply_error};
    return canner__submit(rq, &in, NULL, st);
}

enum handled canner__run_saved(struct request *rq)
{
    struct err e;
    struct canner_submit in;
    err_clear(&e);
    int r = canner__read_submit(rq->arena, rq->body, rq->body_len, false, &in, &e);
    if (!r)
        r = canner__workspace(rq, in.workspace, &e);
    if (!r && !rq->may_block)
        return request_defer(rq, canner__run_saved);
    struct saved_sql *saved = arena_alloc(rq->arena, sizeof *saved);
    struct canner_submitting *st = arena_alloc(rq->arena, sizeof *st);
    if (!saved || !st)
        return reply_no_memory(rq);
    if (!r)
        r = saved_find(rq->service, &rq->who, rq->params[0].p, rq->params[0].n, rq->arena, saved, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    in.sql = saved->sql;
    in.sql_len = saved->sql_len;
    *st = (struct canner_submitting){.answer = answer_query, .fail = reply_error};
    return canner__submit(rq, &in, saved, st);
}

/* ---- status ---- */

enum handled canner__get_query(struct request *rq)
{
    struct err e;
    struct query *q;
    enum handled ret;
    err_clear(&e);
    int r = canner__workspace(rq, NULL, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    if (!request_found(rq, canner__get_query, &q, &ret))
        return ret;
    if (request_hold(rq, q, config.canner_hold, canner__get_query, &ret))
        return ret;
    struct query_view v;
    query_view(q, &v);
    return answer_query(rq, &v);
}

/* ---- result ---- */

enum handled canner__get_result(struct request *rq)
{
    struct err e;
    struct query *q;
    struct query_view v;
    enum handled ret;
    struct canner_rows rows = {.before = "{", .behind = "}"};
    err_clear(&e);
    int r = canner__window(rq, &rows.offset, &rows.limit, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    if (!canner__result(rq, canner__get_result, &q, &v, &ret))
        return ret;
    return canner__send_rows(rq, q, &rows, canner__get_result);
}

/* ---- cancel ---- */

static enum handled canceled(struct request *rq)
{
    struct query *q = rq->state;
    struct query_view v;
    query_view(q, &v);
    if (!(v.flags & QF_ENDED))
        return request_park(rq, q, QF_ENDED, 0, 0, canceled);
    return answer_query(rq, &v);
}

enum handled canner__cancel_query(struct request *rq)
{
    struct err e;
    struct query *q;
    const char *workspace;
    enum handled ret;
    err_clear(&e);
    int r = canner__read_workspace(rq->arena, rq->body, rq->body_len, &workspace, &e);
    if (!r)
        r = canner__workspace(rq, workspace, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    if (!request_found(rq, canner__cancel_query, &q, &ret))
        return ret;
    r = service_cancel(rq->service, &rq->who, q, &e);
    if (r && r != ERR_CONFLICT) /* it had ended: nothing changes */
        return reply_error(rq, reply_status_of(r), &e);
    rq->state = q;
    return canceled(rq);
}

/* ---- list ---- */

struct listing {
    struct qid *ids;
    size_t n, at;
    bool any;
};

static int next_queries(struct request *rq, size_t soft, struct buf *out, bool *ret_done, struct err *e)
{
    struct listing *l = rq->state;
    struct arena *a = arena_new(1u << 20); /* of these items' texts */
    if (!a)
        return err_no_memory(e);
    int r = 0;
    while (!r && l->at < l->n && out->len < soft) {
        struct query *q;
        struct query_view v;
        r = service_list_get(rq->service, &l->ids[l->at++], &q, e);
        if (r == ERR_NOTFOUND) { /* history retention took it since */
            r = 0;
            continue;
        }
        if (r)
            break;
        if (l->any)
            buf_char(out, ',');
        l->any = true;
        query_view(q, &v);
        struct json_write w = JSON_WRITE_INIT(out);
        canner__write_query(&w, a, &rq->who, &v);
        query_unref(q);
    }
    arena_free(a);
    if (!r && l->at == l->n) {
        buf_str_add(out, "]}");
        *ret_done = true;
    }
    return r;
}

enum handled canner__list_queries(struct request *rq)
{
    struct err e;
    int64_t limit, offset;
    err_clear(&e);
    int r = canner__workspace(rq, NULL, &e);
    if (!r)
        r = request_query_int(rq, "limit", LIMIT_DEFAULT, 0, INT64_MAX, &limit, &e);
    if (!r)
        r = request_query_int(rq, "offset", 0, 0, INT64_MAX, &offset, &e);
    if (!r && limit > config.canner_max_page)
        r = err_set(&e, ERR_INVALID, "22023", "parameter limit must be at most %lld (canner.max_page)",
                    (long long)config.canner_max_page);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    if (!rq->may_block)
        return request_defer(rq, canner__list_queries);
    struct listing *l = arena_alloc(rq->arena, sizeof *l);
    if (!l)
        return reply_no_memory(rq);
    struct list_filter f = {.offset = (uint64_t)offset, .limit = (uint32_t)limit};
    uint64_t total;
    r = service_list_ids(rq->service, &rq->who, &f, rq->arena, &l->ids, &l->n, &total, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    l->at = 0;
    l->any = false;
    rq->state = l;
    reply_json(rq, 200);
    buf_str_add(&rq->reply.body, "{\"totalCount\":");
    buf_u64(&rq->reply.body, total);
    buf_str_add(&rq->reply.body, ",\"result\":[");
    rq->reply.streaming = true;
    rq->reply.pull = next_queries;
    return REPLY_READY;
}

/*
 * canner_saved: saved SQL: list, save, look (specs/canner.md sections 2 and 7.1); running it is canner_query.c's.
 * The list is all of it, newest first, made piece by piece whatever its length; limit and offset are ours. Handlers
 * that read the registry run on a worker.
 */
#include "dialects/canner_int.h"

/* ---- list ---- */

struct listing {
    struct saved_sql last; /* where to go on; `any` says that there is one */
    bool any, full, graphql;
    uint64_t offset, left;
    const struct identity *who;
    const char *behind;
    size_t soft;
    struct buf *out;
};

static bool add_saved(void *arg, const struct saved_sql *x)
{
    struct listing *l = arg;
    if (l->left == 0 || l->out->len >= l->soft)
        return false;
    if (l->any)
        buf_char(l->out, ',');
    struct json_write w = JSON_WRITE_INIT(l->out);
    json_object_begin(&w);
    canner__write_saved(&w, l->who, x, l->graphql);
    json_object_end(&w);
    l->last.id = x->id;
    l->last.created_ms = x->created_ms;
    l->any = true;
    l->left--;
    return true;
}

static int next_saved(struct request *rq, size_t soft, struct buf *out, bool *ret_done, struct err *e)
{
    struct listing *l = rq->state;
    bool end = l->left == 0;
    l->soft = soft;
    l->out = out;
    int r = end ? 0
                : saved_each(rq->service, &rq->who, l->any ? &l->last : NULL, l->any ? 0 : l->offset,
                             add_saved, l, &end, e);
    if (!r && (end || l->left == 0)) {
        buf_str_add(out, l->behind);
        *ret_done = true;
    }
    return r;
}

enum handled canner__send_saved(struct request *rq, uint64_t offset, uint64_t limit, bool graphql,
                                const char *before, const char *behind)
{
    struct listing *l = arena_alloc(rq->arena, sizeof *l);
    if (!l)
        return reply_no_memory(rq);
    *l = (struct listing){
        .graphql = graphql, .offset = offset, .left = limit, .who = &rq->who, .behind = behind};
    rq->state = l;
    reply_json(rq, 200);
    buf_str_add(&rq->reply.body, before);
    rq->reply.streaming = true;
    rq->reply.pull = next_saved;
    return REPLY_READY;
}

enum handled canner__list_saved(struct request *rq)
{
    struct err e;
    uint64_t offset, limit;
    err_clear(&e);
    int r = canner__window(rq, &offset, &limit, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    return canner__send_saved(rq, offset, limit, false, "[", "]");
}

/* ---- save ---- */

static enum handled answer_saved(struct request *rq, const struct saved_sql *x)
{
    struct json_write w = reply_json(rq, 200);
    json_object_begin(&w);
    canner__write_saved(&w, &rq->who, x, false);
    json_object_end(&w);
    return REPLY_READY;
}

enum handled canner__save(struct request *rq)
{
    struct err e;
    struct canner_save in;
    err_clear(&e);
    int r = canner__read_save(rq->arena, rq->body, rq->body_len, &in, &e);
    if (!r)
        r = canner__workspace(rq, in.workspace, &e);
    if (!r && !rq->may_block)
        return request_defer(rq, canner__save);
    struct saved_sql x = {
        .title = in.title, .description = in.description, .sql = in.sql, .sql_len = in.sql_len};
    if (!r)
        r = saved_put(rq->service, &rq->who, &x, &e);
    return r ? reply_error(rq, reply_status_of(r), &e) : answer_saved(rq, &x);
}

/* ---- look ---- */

/* The page says {id, stats}; a saved SQL shows all of itself, with the statistics of its latest run. */
static enum handled answer_stats(struct request *rq, const struct saved_sql *x, struct query *q)
{
    char id[ID_TEXT_MAX];
    struct query_view v;
    if (q)
        query_view(q, &v);
    struct json_write w = reply_json(rq, 200);
    json_object_begin(&w);
    if (x)
        canner__write_saved(&w, &rq->who, x, false);
    else
        json_kstr(&w, "id", id_uuid(query_id(q), id));
    json_key(&w, "stats");
    canner__write_stats(&w, q ? &v : NULL, false);
    json_object_end(&w);
    return REPLY_READY;
}

/* Not a saved SQL: a query's statistics, by either of its ids. */
static enum handled stats_of_query(struct request *rq, const struct err *unknown)
{
    struct err e;
    struct query *q;
    err_clear(&e);
    int r = request_find(rq, rq->params[0].p, rq->params[0].n, canner__get_saved, &q, &e);
    if (r < 0)
        return reply_error(rq, reply_status_of(r), r == ERR_NOTFOUND ? unknown : &e);
    return r ? answer_stats(rq, NULL, q) : REPLY_DEFER;
}

enum handled canner__get_saved(struct request *rq)
{
    struct err e;
    struct saved_sql x;
    struct query *last = NULL;
    char id[ID_TEXT_MAX];
    err_clear(&e);
    int r = canner__workspace(rq, NULL, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    if (!rq->may_block)
        return request_defer(rq, canner__get_saved);
    r = saved_find(rq->service, &rq->who, rq->params[0].p, rq->params[0].n, rq->arena, &x, &e);
    if (r == ERR_NOTFOUND)
        return stats_of_query(rq, &e);
    if (!r && x.ran) {
        r = request_find(rq, id_uuid(&x.last, id), ID_UUID_LEN, canner__get_saved, &last, &e);
        if (r == ERR_NOTFOUND) /* it left the history, or this key may not see it */
            r = 0;
    }
    return r < 0 ? reply_error(rq, reply_status_of(r), &e) : answer_stats(rq, &x, last);
}

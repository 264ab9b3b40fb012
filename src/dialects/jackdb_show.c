/*
 * jackdb_show: the Query object (specs/jackdb.md 3.1), and the list of queries that JackDB itself does not have.
 *
 * The six fields are always there; what the caller did not ask for by ?expand= or ?include= is not. Handlers may be
 * entered again after DEFER or PARK and start from the top.
 */
#include "dialects/jackdb_int.h"

#include "base/clock.h"

#define LIST_MOST 1000

static void time_or_null(struct json_write *w, const char *key, int64_t ms)
{
    char text[40];
    json_kstr(w, key, ms ? clock_iso_ms(ms, text, sizeof text) : NULL);
}

static int64_t later(int64_t a, int64_t b)
{
    return a && a < b ? b : a;
}

void jackdb__query(struct request *rq, struct json_write *w, struct query *q, const struct query_view *v)
{
    char id[ID_TEXT_MAX];
    bool ended = query_state_ended(v->state);
    uint32_t n = service_nresults(q);
    json_object_begin(w);
    json_kstr(w, "id", id_uuid(&v->id, id));
    time_or_null(w, "createdAt", v->created_ms);
    int64_t started = later(v->started_ms, v->created_ms);
    time_or_null(w, "startedAt", started);
    time_or_null(w, "completedAt", ended ? later(v->ended_ms, started ? started : v->created_ms) : 0);
    json_key(w, "success");
    if (ended)
        json_bool(w, v->state == QUERY_FINISHED);
    else
        json_null(w);
    json_key(w, "numResults");
    if (n || ended)
        json_i64(w, n);
    else
        json_null(w);
    if (jackdb__wants(rq, "expand", "status"))
        json_kstr(w, "status", query_state_name(v->state));
    if (jackdb__wants(rq, "expand", "expiresAt"))
        time_or_null(w, "expiresAt", v->expires_ms);
    if (jackdb__wants(rq, "include", "results")) {
        json_key(w, "results");
        json_array_begin(w);
        struct result_view x;
        for (uint32_t i = 0; i < n && service_result(q, i, &x); i++)
            jackdb__result_object(w, v, &x, jackdb__wants(rq, "expand", "errorDetail"));
        json_array_end(w);
    }
    json_object_end(w);
}

enum handled jackdb__get(struct request *rq)
{
    enum handled ret;
    struct err e;
    err_clear(&e);
    struct query *q;
    struct query_view v;
    int64_t wait;
    if (!jackdb__admit(rq, NULL, &ret) || !jackdb__find(rq, jackdb__get, &q, &v, &ret))
        return ret;
    if (jackdb__number(rq, "wait", 0, JACKDB_WAIT, &wait, &e))
        return reply_error(rq, 400, &e);
    if (request_hold(rq, q, wait * 1000, jackdb__get, &ret))
        return ret;
    if (wait)
        query_view(q, &v);
    struct json_write w = reply_json(rq, 200);
    jackdb__query(rq, &w, q, &v);
    return REPLY_READY;
}

enum handled jackdb__list(struct request *rq)
{
    enum handled ret;
    struct err e;
    err_clear(&e);
    int64_t seek, limit;
    if (!jackdb__admit(rq, NULL, &ret))
        return ret;
    if (jackdb__number(rq, "seek", 0, INT64_MAX, &seek, &e) ||
        jackdb__number(rq, "limit", 100, LIST_MOST, &limit, &e))
        return reply_error(rq, 400, &e);
    if (!rq->may_block)
        return request_defer(rq, jackdb__list);
    struct list_filter f = {.offset = (uint64_t)seek, .limit = (uint32_t)limit, .there = true};
    struct list all = {0};
    int r = limit ? service_list(rq->service, &rq->who, &f, &all, &e) : 0;
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    struct json_write w = reply_json(rq, 200);
    json_array_begin(&w);
    for (uint32_t i = 0; i < all.n; i++) {
        struct query_view v;
        query_view(all.queries[i], &v);
        if (!v.gone_ms) /* it may have gone since */
            jackdb__query(rq, &w, all.queries[i], &v);
    }
    json_array_end(&w);
    list_free(&all);
    return REPLY_READY;
}

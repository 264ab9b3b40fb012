/*
 * service_results: the results of a query one by one, at any instant of its life. Never blocks; any thread.
 *
 * A result exists from its first rows on, or from its end. What other dialects see of several results is
 * query_shown_result's to say. A query that ended badly without any has one: its error.
 */
#include "core/service_int.h"

/* Complete results that may be told. Lock held. */
static uint32_t told(const struct query *q)
{
    return q->rec.nresults - (q->why && !query_state_ended(q->shown));
}

/* The result under way has rows that can be read. Lock held. */
static bool live(const struct query *q)
{
    uint32_t ordinal = q->multi ? q->statement : 0;
    return !query_state_ended(q->shown) && q->live_rows > 0 && told(q) <= ordinal;
}

static bool only_error(const struct query *q)
{
    return (q->shown == QUERY_FAILED || q->shown == QUERY_CANCELED) && q->rec.nresults == 0 && q->rec.error;
}

uint32_t service_nresults(struct query *q)
{
    pthread_mutex_lock(&q->lock);
    uint32_t n = told(q) + (live(q) || only_error(q));
    pthread_mutex_unlock(&q->lock);
    return n;
}

static void of_stored(const struct query *q, const struct result *x, struct result_view *v)
{
    v->kind = x->kind;
    v->update_count = x->update_count;
    v->rows = x->rows;
    v->schema = x->schema;
    v->cut = x->cut;
    v->started_ms = x->started_ms ? x->started_ms : q->rec.started_ms ? q->rec.started_ms : q->rec.created_ms;
    v->ended_ms = x->ended_ms ? x->ended_ms : q->rec.ended_ms;
    if (x->error)
        v->error = *x->error;
}

bool service_result(struct query *q, uint32_t ordinal, struct result_view *ret)
{
    struct result_view v = {.ordinal = ordinal, .update_count = -1};
    bool found = true;
    err_clear(&v.error);
    pthread_mutex_lock(&q->lock);
    const struct query_record *r = &q->rec;
    if (ordinal < told(q)) {
        of_stored(q, &r->results[ordinal], &v);
    } else if (live(q) && ordinal == (q->multi ? q->statement : 0)) {
        v.kind = r->kind;
        v.schema = q->schema;
        v.rows = q->live_rows;
        v.more = true;
        v.started_ms = q->multi ? q->statement_ms : r->started_ms;
    } else if (only_error(q) && ordinal == 0) {
        v.kind = RESULT_ERROR;
        v.error = *r->error;
        v.started_ms = r->started_ms ? r->started_ms : r->ended_ms;
        v.ended_ms = r->ended_ms;
    } else {
        found = false;
    }
    pthread_mutex_unlock(&q->lock);
    if (found)
        *ret = v;
    return found;
}

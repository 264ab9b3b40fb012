/*
 * turn: the handler's turns: called on the I/O thread, on a worker (DEFER), or again when a parked request wakes
 * (PARK); then the reply. Which of the threads owns the exchange is said by where its connection is: suspended or not.
 */
#include "http/http_int.h"

#define TURNS_MAX 100000

static void refuse_now(struct exchange *x, int status, int code, const char *sqlstate, const char *text)
{
    struct err e;
    err_clear(&e);
    err_set(&e, code, sqlstate, "%s", text);
    exchange_refuse(x, status, &e);
    x->stage = STAGE_REPLY;
}

static void stopping(struct exchange *x)
{
    refuse_now(x, 503, ERR_UNAVAILABLE, "57P01", "the server is stopping");
}

static void run_job(struct worker_job *w, struct segment_scratch *scratch);

static enum exchange_next to_worker(struct exchange *x)
{
    x->work.fn = run_job;
    if (!connection_suspend(x)) {
        stopping(x);
        return EXCHANGE_SEND;
    }
    workers_push(x->server->workers, &x->work, WORK_HANDLERS);
    return EXCHANGE_WAIT;
}

/* False: goes on at once (then x->park is NULL). */
static enum exchange_next park(struct exchange *x, bool on_worker, bool *ret_parked)
{
    struct request *rq = &x->rq;
    struct reply_wait *w = &rq->wait;
    struct server *s = x->server;
    *ret_parked = true;
    struct park *p = park_new(s->watch, x->conn->watch.fd, w->query, w->until, w->version, w->deadline_ns,
                              connection_resume, x);
    rq->woken_by_deadline = false;
    if (!p) {
        refuse_now(x, 503, ERR_UNAVAILABLE, "53200", "out of memory");
        return EXCHANGE_SEND;
    }
    p->settle = connection_trim;
    if (!park_register(p)) {
        park_end(p);
        *ret_parked = false;
        return EXCHANGE_BODY;
    }
    if (!on_worker && !connection_suspend(x)) {
        park_end(p);
        stopping(x);
        return EXCHANGE_SEND;
    }
    if (on_worker && atomic_load(&s->stopping)) {
        park_end(p);
        stopping(x);
        return EXCHANGE_SEND;
    }
    x->park = p;
    metric_add(s->parked, 1);
    if (park_commit(p))
        return EXCHANGE_WAIT;
    if (!on_worker) { /* woken in between; the handler goes on when the library calls again */
        connection_resume(x);
        return EXCHANGE_WAIT;
    }
    *ret_parked = false;
    return EXCHANGE_BODY;
}

/* Takes the park back. False: the client has gone. */
static bool unpark(struct exchange *x)
{
    enum park_reason why = exchange_unpark(x);
    if (why == PARK_GONE) {
        x->stage = STAGE_DROP;
        return false;
    }
    x->rq.woken_by_deadline = why != PARK_WAKE;
    return true;
}

static enum exchange_next turn(struct exchange *x, bool on_worker, struct segment_scratch *scratch)
{
    struct request *rq = &x->rq;
    for (;;) {
        if (x->park && !unpark(x))
            return EXCHANGE_DROP;
        if (++x->turns > TURNS_MAX) {
            refuse_now(x, 500, ERR_INTERNAL, "XX000", "the request does not come to an end");
            return EXCHANGE_SEND;
        }
        rq->may_block = on_worker;
        enum handled h = rq->next(rq);
        rq->may_block = false;
        if (h == REPLY_READY) {
            if (rq->reply.streaming) {
                struct rows *rows = rq->reply.rows.rows;
                bool at_once = !rq->reply.pull && (!rows || segment_inline_held(rows_segment(rows)));
                if ((on_worker || at_once) && answer_begin(x, scratch)) /* in memory: not worth a worker */
                    return EXCHANGE_SEND;
                x->stage = STAGE_REPLY;
                return to_worker(x);
            }
            if (!rq->reply.status || buf_failed(&rq->reply.body))
                refuse_now(x, 500, ERR_INTERNAL, "XX000", "the reply could not be made");
            x->stage = STAGE_REPLY;
            return EXCHANGE_SEND;
        }
        if (h == REPLY_DEFER) {
            if (on_worker)
                continue;
            return to_worker(x);
        }
        bool parked;
        enum exchange_next next = park(x, on_worker, &parked);
        if (parked)
            return next;
    }
}

static void run_job(struct worker_job *w, struct segment_scratch *scratch)
{
    struct exchange *x = (struct exchange *)((char *)w - offsetof(struct exchange, work));
    enum exchange_next next = EXCHANGE_SEND;
    if (x->stage == STAGE_REPLY)
        (void)answer_begin(x, scratch);
    else
        next = turn(x, true, scratch);
    if (next != EXCHANGE_WAIT)
        connection_resume(x);
}

enum exchange_next exchange_run(struct exchange *x)
{
    switch (x->stage) {
    case STAGE_BODY:
        x->rq.body = x->body.p ? x->body.p : "";
        x->rq.body_len = x->body.len;
        x->stage = STAGE_RUN;
        return turn(x, false, NULL);
    case STAGE_RUN:
        return turn(x, false, NULL);
    case STAGE_DISCARD:
        x->stage = STAGE_REPLY;
        return EXCHANGE_SEND;
    case STAGE_REPLY:
        return EXCHANGE_SEND;
    case STAGE_SENT:
    case STAGE_DROP:
        break;
    }
    return EXCHANGE_DROP;
}

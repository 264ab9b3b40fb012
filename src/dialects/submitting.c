/*
 * submitting: how a request submits a query and waits, parked, until it is recorded or has ended. Any thread that owns
 * the request.
 */
#include "base/sys.h"
#include "dialects/dialect.h"

#define NS_PER_MS 1000000

int request_submit(struct request *rq, const struct submit *in, struct query **ret, struct err *e)
{
    struct query *q;
    int rc = service_submit(rq->service, &rq->who, in, &q, e);
    if (rc)
        return rc;
    if (!request_own_query(rq, q))
        return err_no_memory(e);
    *ret = q;
    return 0;
}

/* 0 = recorded (or *inout is now the earlier query with the same idempotency key, kept by the request); 1 = a
 * worker must look; <0 refused, e says why. */
static int settle(struct request *rq, struct query **inout, struct err *e)
{
    struct query *q = *inout;
    int rc = service_settle(rq->service, &rq->who, rq->may_block, inout, e);
    if (rc == ERR_WOULDBLOCK)
        return 1;
    if (rc == 0 && *inout != q) {
        request_keep_query(rq, *inout);
        query_unref(*inout); /* the request holds its own */
    }
    return rc;
}

bool request_accepted(struct request *rq, struct query **inout, handler_fn self, error_fn fail,
                      struct query_view *v, enum handled *ret)
{
    struct err e;
    err_clear(&e);
    query_view(*inout, v);
    if (!(v->flags & QF_ACCEPTED)) {
        *ret = request_park(rq, *inout, QF_ACCEPTED, 0, 0, self);
        return false;
    }
    int r = settle(rq, inout, &e);
    if (r) {
        *ret = r > 0 ? request_defer(rq, self) : fail(rq, reply_status_of(r), &e);
        return false;
    }
    query_view(*inout, v);
    return true;
}

bool request_hold(struct request *rq, struct query *q, int64_t ms, handler_fn self, enum handled *ret)
{
    if (ms <= 0 || rq->woken_by_deadline)
        return false;
    struct query_view v;
    query_view(q, &v);
    if (v.flags & QF_ENDED)
        return false;
    int64_t *deadline = rq->state;
    if (!deadline) {
        deadline = arena_alloc(rq->arena, sizeof *deadline);
        if (!deadline)
            return false;
        *deadline = sys_mono_ns() + ms * NS_PER_MS;
        rq->state = deadline;
    }
    if (sys_mono_ns() >= *deadline)
        return false;
    *ret = request_park(rq, q, QF_ENDED, 0, *deadline, self);
    return true;
}

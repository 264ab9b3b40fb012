/*
 * service_write: the small writes of a query's record. Any thread; they are committed by the registry's.
 */
#include <stdlib.h>

#include "base/log.h"
#include "core/service_int.h"

void service__write_done(struct registry_write *w, int rc, const struct err *e)
{
    struct query_write *qw = (struct query_write *)(void *)w;
    if (rc)
        log_event(LOG_ERROR, "core", "a query's record could not be written", "error", e->text, NULL);
    query_unref(qw->q);
    free(qw);
}

struct query_write *service__write_new(struct query *q,
                                       int (*apply)(struct registry *, struct registry_write *, struct err *),
                                       void (*done)(struct registry_write *, int, const struct err *))
{
    struct query_write *qw = calloc(1, sizeof *qw);
    ASSERT(qw);
    qw->w.apply = apply;
    qw->w.done = done;
    qw->q = query_ref(q);
    return qw;
}

void service__write(struct query *q, int (*apply)(struct registry *, struct registry_write *, struct err *),
                    void (*done)(struct registry_write *, int, const struct err *), int64_t hold_until_ns,
                    int64_t at_ms, uint32_t runs)
{
    struct query_write *qw = service__write_new(q, apply, done);
    qw->w.hold_until_ns = hold_until_ns;
    qw->at_ms = at_ms;
    qw->runs = runs;
    registry_queue(q->service->registry, &qw->w);
}

struct query *service__write_query(struct registry_write *w)
{
    return ((struct query_write *)(void *)w)->q;
}

int service__apply_requeued(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_put_requeued(r, &((struct query_write *)(void *)w)->q->rec.id, e);
}

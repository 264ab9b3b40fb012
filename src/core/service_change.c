/*
 * service_change: cancel and delete. A result is gone when that is recorded; then its files go. See service.h for the
 * threads.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/sys.h"
#include "core/observe.h"
#include "core/service_int.h"

static int may_change(const struct identity *who, const struct query *q, struct err *e)
{
    if (who->role >= ROLE_MEMBER && service__owns(who, q))
        return 0;
    observe_denied(who, "change", &q->rec);
    if (who->role < ROLE_MEMBER)
        return err_set(e, ERR_DENIED, "42501", "the key's role is reader: it may not change queries");
    return err_set(e, ERR_DENIED, "42501", "only the query's owner or an admin may do this");
}

static void interrupt(struct query *q)
{
    pthread_mutex_lock(&q->lock);
    if (q->engine && !q->cancel_sent) {
        q->cancel_sent = true;
        engine_cancel(q->engine, false);
    }
    pthread_mutex_unlock(&q->lock);
}

int service_cancel(struct service *s, const struct identity *who, struct query *q, struct err *e)
{
    int rc = may_change(who, q, e);
    if (rc)
        return rc;
    pthread_mutex_lock(&q->lock);
    enum ending ending = q->rec.state == QUERY_QUEUED ? END_CANCELED_QUEUED : END_CANCELED_RUNNING;
    pthread_mutex_unlock(&q->lock);
    if (!service__end(q, ending, NULL, NULL, 0))
        return err_set(e, ERR_CONFLICT, "55000", "the query has ended already");
    observe_cancel(who, &q->rec);
    if (catalog_forget(s->catalog, &q->claim))
        query_unref(q);
    interrupt(q);
    return 0;
}

static int apply_gone(struct registry *r, struct registry_write *w, struct err *e)
{
    struct query_write *qw = (struct query_write *)(void *)w;
    return registry_put_gone(r, &qw->q->rec.id, qw->at_ms, e);
}

static void gone_done(struct registry_write *w, int rc, const struct err *e)
{
    struct query_write *qw = (struct query_write *)(void *)w;
    struct query *q = qw->q;
    if (rc && qw->runs == 0)
        log_event(LOG_ERROR, "core", "the deletion of a result could not be recorded: it will be tried again",
                  "error", e->text, NULL);
    if (rc)
        janitor_again(q->service->janitor, q, service__gone_again, (int)qw->runs + 1);
    else
        janitor_remove(q->service->janitor, q);
    query_unref(q);
    free(w);
}

void service__gone_again(struct query *q, int tries)
{
    service__write(q, apply_gone, gone_done, 0, q->rec.gone_ms, (uint32_t)tries);
}

int service_delete(struct service *s, const struct identity *who, struct query *q, struct err *e)
{
    int rc = service_cancel(s, who, q, e);
    if (rc && rc != ERR_CONFLICT)
        return rc;
    int64_t now = sys_wall_ms();
    pthread_mutex_lock(&q->lock);
    bool first = q->rec.gone_ms == 0;
    if (first)
        q->rec.gone_ms = now;
    q->version++;
    pthread_mutex_unlock(&q->lock);
    if (!first)
        return 0;
    observe_delete(who, &q->rec);
    service__write(q, apply_gone, gone_done, 0, now, 0);
    return 0;
}

#define OLDER_BATCH 250

int service_delete_older(struct service *s, const struct identity *who, enum dialect_id dialect,
                         int64_t before_ms, uint64_t *ret_n, struct err *e)
{
    if (who->role != ROLE_ADMIN)
        return err_set(e, ERR_DENIED, "42501", "only an admin may delete the results of all");
    struct registry_place place = {0};
    uint64_t done = 0;
    size_t n = OLDER_BATCH;
    int rc = 0;
    registry_sync(s->registry); /* what was accepted or ended before now is found */
    while (!rc && n == OLDER_BATCH) {
        struct arena *a = arena_new(1u << 20);
        struct qid *ids;
        rc = a ? registry_delivered(s->registry, who->workspace, (uint8_t)dialect, before_ms, OLDER_BATCH,
                                    &place, a, &ids, &n, e)
               : err_set(e, ERR_NOMEM, "53200", "out of memory");
        for (size_t i = 0; !rc && i < n; i++) {
            struct query *q = service__lookup(s, &ids[i]);
            if (!q && service__find_stored(s, &ids[i], &q, NULL))
                continue; /* it left the history meanwhile */
            rc = service_delete(s, who, q, e);
            done += rc == 0;
            query_unref(q);
        }
        arena_free(a);
        registry_sync(s->registry);
    }
    if (!rc && ret_n)
        *ret_n = done;
    return rc;
}

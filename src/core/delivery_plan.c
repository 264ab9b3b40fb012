/*
 * delivery_plan: which files a query's delivery makes, as the dialect says: looked at while it runs, to begin early, when
 * they are made, and when they are removed.
 */
#include "base/log.h"
#include "core/delivery_int.h"
#include "core/render.h"
#include "results/bucket.h"

int delivery__plan(struct service *s, struct query *q, struct arena *a, struct delivery_plan *ret,
                   struct err *e)
{
    struct query_view v;
    query_view(q, &v);
    delivery_plan_fn fn = s->plan[q->rec.dialect];
    *ret = (struct delivery_plan){0};
    return fn ? fn(&v, a, ret, e) : 0;
}

void delivery_foresee(struct service *s, struct query *q)
{
    struct arena *a = q->rec.bucket && !q->rec.script ? arena_new(1u << 20) : NULL;
    struct delivery_plan plan;
    struct err e;
    if (!a)
        return;
    err_clear(&e);
    int rc = delivery__plan(s, q, a, &plan, &e); /* a plan that fails is told by the delivery */
    bool text = plan.text_lines && q->rec.kind == WIRE_KIND_TEXT;
    struct rendering *r = !rc && plan.key && plan.render && !text ? render_follow(s, q, plan.render) : NULL;
    pthread_mutex_lock(&q->lock);
    q->ahead = r;
    pthread_mutex_unlock(&q->lock);
    arena_free(a);
}

/* From the bucket: all that the plan names, or only a file that is the query's own. */
static void remove_files(struct service *s, struct query *q, bool all, const char *failed)
{
    struct arena *a = arena_new(1u << 20);
    struct delivery_plan plan;
    struct err e;
    const char *url;
    if (!a)
        return;
    err_clear(&e);
    int rc = delivery__plan(s, q, a, &plan, &e);
    if (!rc && plan.key && (all || plan.owned)) {
        rc = workspace_bucket_url(s->workspaces, q->rec.workspace, q->rec.bucket, a, &url, &e);
        if (!rc && all && plan.metadata_key)
            rc = bucket_remove(url, plan.metadata_key, &e);
        if (!rc)
            rc = bucket_remove(url, plan.key, &e);
    }
    if (rc)
        log_event(LOG_WARN, "core", failed, "error", e.text, NULL);
    arena_free(a);
}

void delivery__unmake(struct service *s, struct query *q)
{
    if (q->rec.bucket)
        remove_files(s, q, true, "what is left of a delivery could not be removed");
}

void delivery_remove(struct service *s, struct query *q)
{
    if (q->rec.bucket && q->rec.stored)
        remove_files(s, q, false, "a delivered file could not be removed");
}

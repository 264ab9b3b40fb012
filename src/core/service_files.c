/*
 * service_files: the stored files of results: their removal, and the limit of their bytes. Workers, unless noted.
 */
#include "base/config.h"
#include "base/log.h"
#include "core/observe.h"
#include "core/service_int.h"

void service__drop_result(struct service *s, struct query *q)
{
    pthread_mutex_lock(&q->lock);
    struct segment *old = q->live_segment ? NULL : q->segment; /* its worker's, while there is one */
    if (old)
        q->segment = NULL;
    uint32_t n = q->rec.nresults, nleft = q->nleft;
    const struct result *all = q->rec.results; /* what it has of them does not change */
    q->nleft = 0;
    pthread_mutex_unlock(&q->lock);
    segment_unref(old);
    render_forget(s->render, &q->rec.id);
    pthread_mutex_lock(&s->files_lock);
    for (uint32_t i = 0; i < n; i++)
        if (all[i].sealed)
            service__remove_file(s, q, all[i].ordinal);
    for (uint32_t i = 0; i < nleft; i++)
        if (q->left[i].sealed)
            service__remove_file(s, q, q->left[i].ordinal);
    pthread_mutex_unlock(&s->files_lock);
    delivery_remove(s, q);
}

void service__remove_file(struct service *s, const struct query *q, uint32_t ordinal)
{
    struct err e;
    err_clear(&e);
    uint64_t bytes = 0;
    if (spool_remove(s->spool, &q->rec.id, ordinal, &bytes, &e))
        log_event(LOG_WARN, "core", "a stored result could not be removed", "error", e.text, NULL);
    usage_add(s->usage, q->rec.workspace, -(int64_t)bytes);
    observe_spool(q->rec.workspace, q->rec.workspace_name, usage_of(s->usage, q->rec.workspace));
}

int64_t service__spool_limit(struct service *s, int64_t workspace, const char **ret_key)
{
    int64_t quota = workspace_limit(s->workspaces, workspace, LIMIT_SPOOL_BYTES);
    if (ret_key)
        *ret_key = quota > 0 ? "the workspace's quota spool_bytes" : "spool.per_workspace";
    return quota > 0 ? quota : config.spool_per_workspace;
}

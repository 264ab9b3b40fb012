/*
 * janitor_erase: what a removed workspace leaves: its queries with their results, its catalog, the files that were
 * delivered below DIR. Nobody can reach any of it any more; a daemon that is killed goes on at its next start.
 *
 * In parts, so that a large history holds nothing else up; folders last, so that no engine process has a file in
 * them. Buckets outside DIR are the customer's and stay. The janitor's thread.
 */
#include "base/log.h"
#include "core/erase.h"
#include "core/janitor_int.h"

#define PARTS 20 /* a tick */

/* Ends what waits or runs; false while there is any. */
static bool nothing_lives(struct service *s, int64_t workspace)
{
    struct registry_list_filter f = {.workspace = workspace,
                                     .states = 1u << QUERY_QUEUED | 1u << QUERY_RUNNING,
                                     .limit = JANITOR_BATCH,
                                     .by_created = true};
    struct identity who = {.workspace = workspace, .role = ROLE_ADMIN, .user_name = "admin"};
    struct arena *a = arena_new(1u << 20);
    struct qid *ids;
    size_t n = 1;
    uint64_t total;
    if (a && registry_list(s->registry, &f, a, &ids, &n, &total, NULL) == 0) {
        for (size_t i = 0; i < n; i++) {
            struct query *q = service__lookup(s, &ids[i]);
            if (q && service_cancel(s, &who, q, NULL)) {
                /* it has ended already, which is soon recorded */
            }
            query_unref(q);
        }
    }
    arena_free(a);
    return n == 0 && !scheduler_busy(s->scheduler, workspace);
}

/* False: nothing more can be done in this tick. */
static bool erase_part(struct service *s, int64_t workspace, const char *uuid, int64_t now, struct err *e)
{
    if (!nothing_lives(s, workspace))
        return false;
    struct arena *a = arena_new(1u << 20);
    struct qid *ids;
    size_t n = 0;
    int rc = a ? registry_erasable_queries(s->registry, workspace, JANITOR_BATCH, a, &ids, &n, e)
               : err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (!rc && n > 0)
        rc = janitor__forget(s, ids, n, now) ? 0 : err_set(e, ERR_IO, NULL, "its queries");
    arena_free(a);
    if (rc || n > 0)
        return !rc;
    pool_drop_idle(s->pool, workspace);
    return erase_end(s->registry, s->data_dir, workspace, uuid, e) == 0;
}

void janitor__erase(struct janitor *j, int64_t now)
{
    struct service *s = j->service;
    unsigned wanted = atomic_load(&s->erase_wanted);
    if (wanted == atomic_load(&s->erase_done))
        return;
    for (int i = 0; i < PARTS; i++) {
        int64_t workspace;
        char uuid[ID_TEXT_MAX];
        struct err e;
        err_clear(&e);
        int rc = registry_erasable(s->registry, &workspace, uuid, &e);
        if (rc == ERR_NOTFOUND) {
            atomic_store(&s->erase_done, wanted);
            return;
        }
        if (rc || !erase_part(s, workspace, uuid, now, &e)) {
            if (e.code && j->erase_errors++ % 600 == 0)
                log_event(LOG_ERROR, "core", "a removed workspace cannot be erased yet", "workspaceId", uuid,
                          "error", e.text, NULL);
            return;
        }
    }
}

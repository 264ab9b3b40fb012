/*
 * recovery: see recovery.h. Runs once, before the listener opens. Files that no manifest names are removed.
 */
#include "core/recovery.h"

#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/service_int.h"

static void requeue(struct service *s, struct query *q)
{
    pthread_mutex_lock(&q->lock);
    bool was_running = q->rec.state == QUERY_RUNNING;
    if (was_running)
        query_move(q, QUERY_QUEUED);
    uint32_t n = q->rec.nresults;
    q->rec.nresults = 0; /* a script's: they will be made again */
    q->rec.started_ms = 0;
    q->shown = QUERY_QUEUED;
    pthread_mutex_unlock(&q->lock);
    for (uint32_t i = 0; i < n; i++)
        if (q->rec.results[i].sealed)
            service__remove_file(s, q, q->rec.results[i].ordinal);
    if (was_running)
        service__write(q, service__apply_requeued, service__write_done, 0, 0, 0);
    scheduler_push(s->scheduler, q, false);
}

enum recovery_verdict recovery_verdict(const struct query_record *r, uint32_t max_runs)
{
    if (query_state_ended((enum query_state)r->state))
        return RECOVERY_NOTHING;
    if (r->state == QUERY_QUEUED)
        return r->writes ? RECOVERY_FAIL : RECOVERY_QUEUE;
    if (r->phase == PHASE_DELIVERING && r->nresults > 0)
        return RECOVERY_DELIVER;
    return !r->exposed && !r->writes && r->runs < max_runs ? RECOVERY_QUEUE : RECOVERY_FAIL;
}

static void recover_one(struct service *s, struct query *q)
{
    struct query_record *r = &q->rec;
    q->submitted_ns = sys_mono_ns() - (sys_wall_ms() - r->created_ms) * 1000000;
    atomic_fetch_add(&s->live, 1);
    service__table_add(s, q);
    switch (recovery_verdict(r, (uint32_t)config.recovery_max_runs)) {
    case RECOVERY_NOTHING: /* only what has not ended is asked about */
        break;
    case RECOVERY_QUEUE:
        requeue(s, q);
        break;
    case RECOVERY_DELIVER:
        q->started_ns = sys_mono_ns();
        q->schema_known = true;
        q->flags |= QF_PLANNED;
        q->redelivers = true;
        delivery_push(s->delivery, q);
        break;
    case RECOVERY_FAIL:
        q->started_ns = sys_mono_ns();
        if (r->writes) /* it may have changed what older results were made of */
            reuse_written(s, r->workspace);
        if (r->script)
            service__end_script(q, END_RESTARTED, NULL, NULL, false);
        else
            service__end(q, END_RESTARTED, NULL, NULL, 0);
        break;
    }
}

/* ---- files that no manifest names ---- */

struct keep_set {
    struct qid *ids;
    size_t n, cap;
    bool failed;
    struct service *running;
};

static void keep_add(void *arg, const struct qid *id, uint32_t ordinal)
{
    (void)ordinal;
    struct keep_set *k = arg;
    if (k->n == k->cap) {
        size_t cap = k->cap ? k->cap * 2 : 1024;
        struct qid *p = realloc(k->ids, cap * sizeof *p);
        if (!p) {
            k->failed = true;
            return;
        }
        k->ids = p;
        k->cap = cap;
    }
    k->ids[k->n++] = *id;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct qid));
}

/* While queries run a file may be newer than the set. First the table: a query stays there until its end is
 * committed; then the registry, which knows whatever has left the table since. In doubt the file stays. */
static bool needed(struct service *s, const struct qid *id)
{
    struct query *q = service__lookup(s, id);
    if (q) {
        pthread_mutex_lock(&q->lock);
        bool there = q->rec.gone_ms == 0;
        pthread_mutex_unlock(&q->lock);
        query_unref(q);
        return there;
    }
    struct arena *a = arena_new((size_t)64 << 20);
    struct query_record r;
    bool yes = true;
    if (a) {
        int rc = registry_get_query(s->registry, id, a, &r, NULL);
        yes = rc == 0 ? r.gone_ms == 0 : rc != ERR_NOTFOUND;
    }
    arena_free(a);
    return yes;
}

static bool keep_has(void *arg, const struct qid *id, uint32_t ordinal)
{
    (void)ordinal;
    struct keep_set *k = arg;
    return (k->n && bsearch(id, k->ids, k->n, sizeof *k->ids, compare_ids)) ||
           (k->running && needed(k->running, id));
}

/* *ret_removed is negative when the spool could not be searched to its end. */
static int sweep(struct service *s, bool running, int64_t *ret_removed, struct err *e)
{
    struct keep_set k = {.running = running ? s : NULL};
    int rc = registry_each_sealed(s->registry, keep_add, &k, e);
    if (!rc && k.failed)
        rc = err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (!rc) {
        if (k.n)
            qsort(k.ids, k.n, sizeof *k.ids, compare_ids);
        pthread_mutex_lock(&s->files_lock);
        *ret_removed = spool_sweep(s->spool, keep_has, &k);
        pthread_mutex_unlock(&s->files_lock);
    }
    free(k.ids);
    return rc;
}

int64_t service__sweep(struct service *s, struct err *e)
{
    int64_t removed = 0;
    int rc = sweep(s, true, &removed, e);
    return rc ? rc : removed;
}

int service__recover(struct service *s, struct err *e)
{
    int64_t start = sys_mono_ns();
    struct arena *a = arena_new((size_t)64 << 20);
    struct qid *ids = NULL;
    size_t n = 0;
    if (!a)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    scheduler_pause(s->scheduler, true); /* turns are fair only when all that waits is known */
    int64_t removed = 0;
    int rc = sweep(s, false, &removed, e);
    int64_t swept = sys_mono_ns();
    if (removed < 0)
        log_event(LOG_WARN, "core",
                  "the spool could not be searched to its end for files that no record names: the janitor "
                  "tries again",
                  NULL);
    if (!rc)
        rc = registry_unfinished(s->registry, a, &ids, &n, e);
    for (size_t i = 0; i < n && !rc; i++) {
        struct query *q;
        rc = service__load(s, &ids[i], &q, e);
        if (rc)
            break;
        recover_one(s, q);
        query_unref(q);
    }
    arena_free(a);
    scheduler_pause(s->scheduler, false);
    if (rc)
        return rc;
    if (!registry_was_clean(s->registry) || removed > 0 || n > 0)
        log_line(LOG_INFO, "core",
                 "start%s: spool searched in %lld ms, %lld files that no record names removed; %zu "
                 "unfinished queries taken up in %lld ms",
                 registry_was_clean(s->registry) ? "" : " after an unclean stop",
                 (long long)((swept - start) / 1000000), (long long)removed, n,
                 (long long)((sys_mono_ns() - swept) / 1000000));
    return rc;
}

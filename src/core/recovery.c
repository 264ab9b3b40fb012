/*
 * recovery: what a start does with what an earlier run left (design.md decision 1). Runs once, before the listener opens.
 *
 *   QUEUED                          queued again
 *   RUNNING, delivering             delivery resumes (results are sealed)
 *   RUNNING, nothing handed out,    queued again; the engine only had read access, so that no effect can be doubled: `writes` is committed before
 *     no `writes`, fewer than         an engine gets a statement that it may write for
 *     recovery.max_runs
 *   RUNNING otherwise               FAILED "interrupted by restart"; the engine's own log makes a write whole or undone when the catalog is next opened
 * Files that no manifest names are removed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/service_int.h"

int service__apply_requeued(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_put_requeued(r, &((struct query_write *)(void *)w)->q->rec.id, e);
}

static void requeue(struct service *s, struct query *q)
{
    pthread_mutex_lock(&q->lock);
    bool was_running = q->rec.state == QUERY_RUNNING;
    if (was_running) query_move(q, QUERY_QUEUED);
    q->rec.started_ms = 0;
    q->shown = QUERY_QUEUED;
    pthread_mutex_unlock(&q->lock);
    if (was_running) service__write(q, service__apply_requeued, service__write_done, 0, 0, 0);
    scheduler_push(s->scheduler, q, false);
}

static void recover_one(struct service *s, struct query *q)
{
    struct query_record *r = &q->rec;
    q->submitted_ns = sys_mono_ns() - (sys_wall_ms() - r->created_ms) * 1000000;
    atomic_fetch_add(&s->live, 1);
    service__table_add(s, q);
    if (r->state == QUERY_QUEUED) {
        requeue(s, q);
    } else if (r->phase == PHASE_DELIVERING && r->nresults > 0) {
        q->started_ns = sys_mono_ns();
        q->schema_known = true;
        q->flags |= QF_PLANNED;
        delivery_push(s->delivery, q);
    } else if (!r->exposed && !r->writes && r->runs < (uint32_t)config.recovery_max_runs) {
        requeue(s, q);
    } else {
        q->started_ns = sys_mono_ns();
        service__end(q, END_RESTARTED, NULL, NULL, 0);
    }
}

/* ---- files that no manifest names ---- */

struct keep_set { struct qid *ids; size_t n, cap; bool failed; };

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

static bool keep_has(void *arg, const struct qid *id, uint32_t ordinal)
{
    (void)ordinal;
    struct keep_set *k = arg;
    return bsearch(id, k->ids, k->n, sizeof *k->ids, compare_ids) != NULL;
}

static int sweep(struct service *s, struct err *e)
{
    struct keep_set k = {0};
    int rc = registry_each_sealed(s->registry, keep_add, &k, e);
    if (!rc && k.failed) rc = err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (!rc) {
        if (k.n) qsort(k.ids, k.n, sizeof *k.ids, compare_ids);
        int64_t n = spool_sweep(s->spool, keep_has, &k);
        if (n > 0) log_line(LOG_INFO, "core", "removed %lld files that no record names", (long long)n);
    }
    free(k.ids);
    return rc;
}

int service__recover(struct service *s, struct err *e)
{
    int64_t start = sys_mono_ns();
    struct arena *a = arena_new((size_t)64 << 20);
    struct qid *ids = NULL;
    size_t n = 0;
    if (!a) return err_set(e, ERR_NOMEM, "53200", "out of memory");
    scheduler_pause(s->scheduler, true); /* turns are fair only when all that waits is known */
    int rc = sweep(s, e);
    if (!rc) rc = registry_unfinished(s->registry, a, &ids, &n, e);
    for (size_t i = 0; i < n && !rc; i++) {
        struct query *q;
        rc = service__load(s, &ids[i], &q, e);
        if (rc) break;
        recover_one(s, q);
        query_unref(q);
    }
    arena_free(a);
    scheduler_pause(s->scheduler, false);
    if (!rc) log_line(LOG_INFO, "core", "start: %zu unfinished queries taken up in %lld ms", n, (long long)((sys_mono_ns() - start) / 1000000));
    return rc;
}

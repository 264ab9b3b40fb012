/*
 * scheduler: which queued query starts next, and the threads that run them.
 *
 * Fair by workspace: each workspace has a FIFO; workers take from the workspaces in turn, so a workspace with thousands of queued queries holds
 * another one's next query back by at most one start. config.engine_slots run workers, config.engine_plan_slots plan workers; a worker is a slot.
 * Threads: push from any, take on workers; everything is guarded by c->lock.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/service_int.h"

struct lane { /* one workspace's queue */
    int64_t workspace;
    struct query *head, **tail;
    int n;
    struct lane *next; /* ring of lanes with work */
    struct lane *all;
};

struct scheduler {
    struct service *service;
    pthread_mutex_t lock;
    pthread_cond_t work, plan_work, quiet;
    struct lane *lanes;       /* all ever seen; bounded by the number of workspaces */
    struct lane *turn;        /* last lane of the ring of lanes with work (its next is first) */
    int queued, idle, running;
    struct plan_node { struct query *q; struct plan_node *next; } *plans, **plans_tail;
    bool stop, paused;
    int nthreads;
    pthread_t *threads;
    struct query **current;   /* per run worker, for stop */
};

struct worker_arg { struct scheduler *c; int index; bool plan; };

static struct lane *lane_of(struct scheduler *c, int64_t workspace)
{
    for (struct lane *l = c->lanes; l; l = l->all)
        if (l->workspace == workspace) return l;
    struct lane *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    l->workspace = workspace;
    l->tail = &l->head;
    l->all = c->lanes;
    c->lanes = l;
    return l;
}

static void ring_add(struct scheduler *c, struct lane *l)
{
    if (!c->turn) {
        l->next = l;
    } else {
        l->next = c->turn->next;
        c->turn->next = l;
    }
    c->turn = l;
}

/* Next query by turn; lock held; NULL when there is none. */
static struct query *take(struct scheduler *c)
{
    if (!c->turn || c->paused) return NULL;
    struct lane *l = c->turn->next;
    struct query *q = l->head;
    l->head = q->queue_next;
    q->queue_next = NULL;
    l->n--;
    c->queued--;
    if (l->head) {
        c->turn = l; /* goes to the end of the turn */
    } else {
        l->tail = &l->head;
        if (l->next == l) {
            c->turn = NULL;
        } else {
            c->turn->next = l->next;
        }
    }
    return q;
}

static void *run_worker(void *arg)
{
    struct worker_arg *w = arg;
    struct scheduler *c = w->c;
    pthread_setname_np(pthread_self(), "q-run");
    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        struct query *q = take(c);
        if (!q) {
            c->idle++;
            pthread_cond_wait(&c->work, &c->lock);
            c->idle--;
            continue;
        }
        c->running++;
        c->current[w->index] = q;
        metric_set(c->service->m_queued, c->queued);
        metric_set(c->service->m_running, c->running);
        pthread_mutex_unlock(&c->lock);
        runner_run(c->service, q);
        pthread_mutex_lock(&c->lock);
        c->current[w->index] = NULL;
        c->running--;
        metric_set(c->service->m_running, c->running);
        pthread_cond_broadcast(&c->quiet);
        pthread_mutex_unlock(&c->lock);
        query_unref(q);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    free(w);
    return NULL;
}

static void *plan_worker(void *arg)
{
    struct worker_arg *w = arg;
    struct scheduler *c = w->c;
    pthread_setname_np(pthread_self(), "q-plan");
    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        struct plan_node *n = c->plans;
        if (!n) {
            pthread_cond_wait(&c->plan_work, &c->lock);
            continue;
        }
        c->plans = n->next;
        if (!c->plans) c->plans_tail = &c->plans;
        pthread_mutex_unlock(&c->lock);
        runner_plan(c->service, n->q);
        query_unref(n->q);
        free(n);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    free(w);
    return NULL;
}

int scheduler_room(struct scheduler *c, int64_t workspace, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&c->lock);
    if (c->queued >= config.queue_total) {
        rc = err_set(e, ERR_LIMIT, "53300", "the queue is full: %lld queries wait (queue.total)", (long long)config.queue_total);
    } else {
        for (struct lane *l = c->lanes; l && !rc; l = l->all)
            if (l->workspace == workspace && l->n >= config.queue_per_workspace)
                rc = err_set(e, ERR_LIMIT, "53300", "the workspace's queue is full: %lld queries wait (queue.per_workspace)",
                             (long long)config.queue_per_workspace);
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

void scheduler_push(struct scheduler *c, struct query *q, bool plan_now)
{
    pthread_mutex_lock(&c->lock);
    struct lane *l = lane_of(c, q->rec.workspace);
    ASSERT(l);
    if (!l->head) ring_add(c, l);
    *l->tail = query_ref(q);
    l->tail = &q->queue_next;
    q->queue_next = NULL;
    l->n++;
    bool slot_free = c->idle >= ++c->queued && !c->paused;
    metric_set(c->service->m_queued, c->queued);
    pthread_cond_signal(&c->work);
    if (plan_now && !slot_free) {
        struct plan_node *n = malloc(sizeof *n);
        if (n) {
            n->q = query_ref(q);
            n->next = NULL;
            *c->plans_tail = n;
            c->plans_tail = &n->next;
            pthread_cond_signal(&c->plan_work);
        }
    }
    pthread_mutex_unlock(&c->lock);
}

void scheduler_push_front(struct scheduler *c, struct query *q)
{
    pthread_mutex_lock(&c->lock);
    struct lane *l = lane_of(c, q->rec.workspace);
    ASSERT(l);
    if (!l->head) {
        ring_add(c, l);
        l->tail = &q->queue_next;
    }
    q->queue_next = l->head;
    l->head = query_ref(q);
    l->n++;
    c->queued++;
    metric_set(c->service->m_queued, c->queued);
    pthread_cond_signal(&c->work);
    pthread_mutex_unlock(&c->lock);
}

void scheduler_pause(struct scheduler *c, bool pause)
{
    pthread_mutex_lock(&c->lock);
    c->paused = pause;
    pthread_cond_broadcast(&c->work);
    pthread_mutex_unlock(&c->lock);
}

int scheduler_running(struct scheduler *c)
{
    pthread_mutex_lock(&c->lock);
    int n = c->running;
    pthread_mutex_unlock(&c->lock);
    return n;
}

int scheduler_start(struct service *s, struct scheduler **ret, struct err *e)
{
    struct scheduler *c = calloc(1, sizeof *c);
    int nrun = (int)config.engine_slots, n = nrun + (int)config.engine_plan_slots;
    if (c) {
        c->threads = calloc((size_t)n, sizeof *c->threads);
        c->current = calloc((size_t)nrun, sizeof(struct query *));
    }
    if (!c || !c->threads || !c->current) {
        if (c) free(c->threads), free(c->current);
        free(c);
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    }
    c->service = s;
    c->plans_tail = &c->plans;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->work, NULL);
    pthread_cond_init(&c->plan_work, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->quiet, &attr);
    pthread_condattr_destroy(&attr);
    s->scheduler = c;
    *ret = c;
    for (int i = 0; i < n; i++) {
        struct worker_arg *w = malloc(sizeof *w);
        if (!w) return err_set(e, ERR_NOMEM, "53200", "out of memory");
        *w = (struct worker_arg){c, i, i >= nrun};
        if (pthread_create(&c->threads[i], NULL, w->plan ? plan_worker : run_worker, w)) {
            free(w);
            return err_set(e, ERR_NOMEM, "53000", "cannot start the scheduler's threads");
        }
        c->nthreads++;
    }
    return 0;
}

void scheduler_stop(struct scheduler *c, int64_t drain_ms)
{
    if (!c) return;
    int64_t until = sys_mono_ns() + drain_ms * 1000000;
    struct timespec ts = {until / 1000000000, until % 1000000000};
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_broadcast(&c->work);
    pthread_cond_broadcast(&c->plan_work);
    while (c->running > 0 && pthread_cond_timedwait(&c->quiet, &c->lock, &ts) == 0) {}
    atomic_store(&c->service->stopping, true);
    for (int i = 0; i < (int)config.engine_slots && c->current; i++) {
        struct query *q = c->current[i];
        if (!q) continue;
        pthread_mutex_lock(&q->lock);
        if (q->engine) engine_cancel(q->engine, true);
        pthread_mutex_unlock(&q->lock);
    }
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < c->nthreads; i++) pthread_join(c->threads[i], NULL);
    c->nthreads = 0;
}

void scheduler_free(struct scheduler *c)
{
    if (!c) return;
    while (c->lanes) {
        struct lane *l = c->lanes;
        c->lanes = l->all;
        for (struct query *q = l->head, *next; q; q = next) {
            next = q->queue_next;
            q->queue_next = NULL;
            query_unref(q);
        }
        free(l);
    }
    while (c->plans) {
        struct plan_node *n = c->plans;
        c->plans = n->next;
        query_unref(n->q);
        free(n);
    }
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->work);
    pthread_cond_destroy(&c->plan_work);
    pthread_cond_destroy(&c->quiet);
    free(c->threads);
    free(c->current);
    free(c);
}

/*
 * scheduler: the queue of queries, and the threads that run them.
 *
 * Which one is next is turns.h's rule. config.engine_slots run workers, config.engine_plan_slots plan
 * workers; a worker is a slot. Nothing starts while the disk is too full (disk.h) or the scheduler is paused.
 * A query that ends while it waits leaves at once (scheduler_leave). Threads: push from any, take on workers;
 * everything is guarded by c->lock.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/service_int.h"

#define ALIVE_BESIDE 1024

struct plan_node {
    struct query *q;
    struct plan_node *prev, *next;
};

/* A run worker that waits. The last one to lie down is woken first: its stack and its memory are still in the caches. */
struct idle_worker {
    pthread_cond_t wake;
    bool woken;
    struct idle_worker *below;
};

struct scheduler {
    struct service *service;
    const struct scheduled_work *work; /* (C) */
    pthread_mutex_t lock;
    pthread_cond_t plan_work, quiet;
    struct idle_worker *waiting; /* the top of a stack */
    struct turns *turns;
    int idle, running;
    struct plan_node *plans, *plans_last;
    bool stop, paused;
    int nthreads, nrun;
    pthread_t *threads;
    struct query **current; /* per worker, plan lane included, for stop */
};

struct worker_arg {
    struct scheduler *c;
    int index;
    bool plan;
};

static struct query *query_of(struct turn_item *item)
{
    return item ? (struct query *)(void *)((char *)item - offsetof(struct query, turn)) : NULL;
}

/* What an administrator set for the workspace takes the place of the configured number. */
static int64_t limit_of(struct scheduler *c, int64_t workspace, enum workspace_limit key, int64_t configured)
{
    int64_t quota = workspace_limit(c->service->workspaces, workspace, key);
    return quota > 0 ? quota : configured;
}

struct limits {
    int64_t queue, slots;
};

static struct limits limits_of(struct scheduler *c, int64_t workspace)
{
    struct limits l = {limit_of(c, workspace, LIMIT_QUEUE, config.queue_per_workspace),
                       limit_of(c, workspace, LIMIT_SLOTS, config.engine_slots_per_workspace)};
    if (l.slots == 0)
        l.slots = -1;
    if (workspace_stopped(c->service->workspaces, workspace))
        l.slots = 0;
    return l;
}

/* Next query by turn; lock held; NULL when none may start. */
static struct query *take(struct scheduler *c)
{
    if (c->paused || disk_low(c->service->disk))
        return NULL;
    return query_of(turns_take(c->turns));
}

static void show_queued(struct scheduler *c)
{
    metric_set(c->service->m_queued, turns_queued(c->turns));
}

/* Lock held, as in the three below. */
static void wake_one(struct scheduler *c)
{
    struct idle_worker *w = c->waiting;
    if (!w)
        return;
    c->waiting = w->below;
    w->woken = true;
    pthread_cond_signal(&w->wake);
}

static void wake_all(struct scheduler *c)
{
    while (c->waiting)
        wake_one(c);
}

static void wait_for_work(struct scheduler *c, struct idle_worker *me)
{
    me->woken = false;
    me->below = c->waiting;
    c->waiting = me;
    c->idle++;
    while (!me->woken)
        pthread_cond_wait(&me->wake, &c->lock);
    c->idle--;
}

static void *run_worker(void *arg)
{
    struct worker_arg *w = arg;
    struct scheduler *c = w->c;
    struct idle_worker me = {.wake = PTHREAD_COND_INITIALIZER};
    pthread_setname_np(pthread_self(), "q-run");
    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        struct query *q = take(c);
        if (!q) {
            wait_for_work(c, &me);
            continue;
        }
        c->running++;
        c->current[w->index] = q;
        int64_t workspace = q->rec.workspace;
        if (!q->holds) /* here, where the order of the queue is known: see claims.h */
            catalog_announce(c->service->catalog, &q->claim, workspace);
        show_queued(c);
        metric_set(c->service->m_running, c->running);
        pthread_mutex_unlock(&c->lock);
        power_used(c->service->power, workspace);
        c->work->run(c->service, q);
        power_used(c->service->power, workspace);
        pthread_mutex_lock(&c->lock);
        turns_done(c->turns, workspace);
        c->current[w->index] = NULL;
        c->running--;
        metric_set(c->service->m_running, c->running);
        pthread_cond_broadcast(&c->quiet);
        pthread_mutex_unlock(&c->lock);
        query_unref(q);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    pthread_cond_destroy(&me.wake);
    free(w);
    return NULL;
}

/* Lock held. */
static void plan_unlink(struct scheduler *c, struct plan_node *n)
{
    if (n->prev)
        n->prev->next = n->next;
    else
        c->plans = n->next;
    if (n->next)
        n->next->prev = n->prev;
    else
        c->plans_last = n->prev;
    n->q->plan = NULL;
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
        plan_unlink(c, n);
        c->current[w->index] = n->q;
        pthread_mutex_unlock(&c->lock);
        c->work->plan(c->service, n->q);
        pthread_mutex_lock(&c->lock);
        c->current[w->index] = NULL;
        pthread_mutex_unlock(&c->lock);
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
    struct limits l = limits_of(c, workspace);
    pthread_mutex_lock(&c->lock);
    /* What lives without standing in the queue (joined to another query, in delivery, on its way to the
     * record) is bounded too, only wider. */
    enum turns_room room =
        atomic_load(&c->service->live) >= 2 * config.queue_total + ALIVE_BESIDE ? TURNS_FULL : TURNS_ROOM;
    if (room == TURNS_ROOM && !turns_limit(c->turns, workspace, l.queue, l.slots)) {
        pthread_mutex_unlock(&c->lock);
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    }
    if (room == TURNS_ROOM)
        room = turns_room(c->turns, workspace, config.queue_total);
    pthread_mutex_unlock(&c->lock);
    if (room == TURNS_FULL)
        return err_set(e, ERR_LIMIT, "53300", "the queue is full: %lld queries wait (queue.total)",
                       (long long)config.queue_total);
    if (room == TURNS_ROOM)
        return 0;
    bool quota = workspace_limit(c->service->workspaces, workspace, LIMIT_QUEUE) > 0;
    return err_set(e, ERR_LIMIT, "53300", "the workspace's queue is full: %lld queries wait (%s)",
                   (long long)l.queue, quota ? "its quota queue" : "queue.per_workspace");
}

/* Lock held. */
static void plan_push(struct scheduler *c, struct query *q)
{
    struct plan_node *n = config.engine_plan_slots > 0 && !q->plan ? malloc(sizeof *n) : NULL;
    if (!n)
        return;
    *n = (struct plan_node){query_ref(q), c->plans_last, NULL};
    if (n->prev)
        n->prev->next = n;
    else
        c->plans = n;
    c->plans_last = n;
    q->plan = n;
    pthread_cond_signal(&c->plan_work);
}

void scheduler_push(struct scheduler *c, struct query *q, bool plan_now)
{
    int64_t workspace = q->rec.workspace;
    struct limits l = limits_of(c, workspace);
    pthread_mutex_lock(&c->lock);
    pthread_mutex_lock(&q->lock);
    bool ended = query_state_ended(q->rec.state); /* whoever ended it came by before it stood in the queue */
    pthread_mutex_unlock(&q->lock);
    if (!ended) {
        ASSERT(turns_limit(c->turns, workspace, l.queue, l.slots) &&
               turns_push(c->turns, workspace, &query_ref(q)->turn));
        bool mine = l.slots < 0 ||
                    turns_queued_of(c->turns, workspace) + turns_running_of(c->turns, workspace) <= l.slots;
        bool slot_free =
            mine && c->idle >= turns_queued(c->turns) && !c->paused && !disk_low(c->service->disk);
        show_queued(c);
        if (!c->paused)
            wake_one(c);
        if (plan_now && !slot_free)
            plan_push(c, q);
    }
    pthread_mutex_unlock(&c->lock);
}

void scheduler_push_front(struct scheduler *c, struct query *q)
{
    pthread_mutex_lock(&c->lock);
    ASSERT(
        turns_push_front(c->turns, q->rec.workspace,
                         &query_ref(q)->turn)); /* even when it has ended: its worker lets go of the lock */
    show_queued(c);
    wake_one(c);
    pthread_mutex_unlock(&c->lock);
}

void scheduler_leave(struct scheduler *c, struct query *q)
{
    pthread_mutex_lock(&c->lock);
    bool waited = turns_cancel(c->turns, &q->turn);
    struct plan_node *n = q->plan;
    if (n)
        plan_unlink(c, n);
    if (waited)
        show_queued(c);
    pthread_mutex_unlock(&c->lock);
    if (waited) {
        c->work->left(c->service, q);
        query_unref(q);
    }
    if (n)
        query_unref(q);
    free(n);
}

struct refresh {
    struct scheduler *c;
    int64_t *ids;
    size_t n, cap;
};

static void refresh_add(void *arg, int64_t workspace)
{
    struct refresh *r = arg;
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 64;
        int64_t *p = realloc(r->ids, cap * sizeof *p);
        if (!p)
            return;
        r->ids = p;
        r->cap = cap;
    }
    r->ids[r->n++] = workspace;
}

void scheduler_refresh(struct scheduler *c)
{
    struct refresh r = {.c = c};
    pthread_mutex_lock(&c->lock);
    turns_each(c->turns, refresh_add, &r);
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < r.n; i++) {
        struct limits l = limits_of(c, r.ids[i]);
        pthread_mutex_lock(&c->lock);
        (void)turns_limit(c->turns, r.ids[i], l.queue, l.slots);
        pthread_mutex_unlock(&c->lock);
    }
    free(r.ids);
    pthread_mutex_lock(&c->lock);
    if (c->idle > 0 && turns_ready(c->turns))
        wake_all(c);
    pthread_mutex_unlock(&c->lock);
}

bool scheduler_busy(struct scheduler *c, int64_t workspace)
{
    pthread_mutex_lock(&c->lock);
    bool busy = turns_queued_of(c->turns, workspace) + turns_running_of(c->turns, workspace) > 0;
    pthread_mutex_unlock(&c->lock);
    return busy;
}

void scheduler_pause(struct scheduler *c, bool pause)
{
    pthread_mutex_lock(&c->lock);
    c->paused = pause;
    wake_all(c);
    pthread_mutex_unlock(&c->lock);
}

int scheduler_running(struct scheduler *c)
{
    pthread_mutex_lock(&c->lock);
    int n = c->running;
    pthread_mutex_unlock(&c->lock);
    return n;
}

bool scheduler_idle(struct scheduler *c)
{
    pthread_mutex_lock(&c->lock);
    bool yes = turns_queued(c->turns) == 0;
    pthread_mutex_unlock(&c->lock);
    return yes;
}

int scheduler_start(struct service *s, const struct scheduled_work *work, struct scheduler **ret,
                    struct err *e)
{
    struct scheduler *c = calloc(1, sizeof *c);
    struct turns *t = turns_new();
    int nrun = (int)config.engine_slots, n = nrun + (int)config.engine_plan_slots;
    if (c) {
        c->threads = calloc((size_t)n, sizeof *c->threads);
        c->current = calloc((size_t)n, sizeof(struct query *));
    }
    if (!c || !c->threads || !c->current || !t) {
        if (c)
            free(c->threads), free(c->current);
        free(c);
        turns_free(t);
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    }
    c->service = s;
    c->work = work;
    c->turns = t;
    c->nrun = nrun;
    pthread_mutex_init(&c->lock, NULL);
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
        if (!w)
            return err_set(e, ERR_NOMEM, "53200", "out of memory");
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
    if (!c)
        return;
    int64_t until = sys_mono_ns() + drain_ms * 1000000;
    struct timespec ts = {until / 1000000000, until % 1000000000};
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    wake_all(c);
    pthread_cond_broadcast(&c->plan_work);
    while (c->running > 0 && pthread_cond_timedwait(&c->quiet, &c->lock, &ts) == 0) {
    }
    atomic_store(&c->service->stopping, true);
    for (int i = 0; i < c->nthreads; i++) {
        struct query *q = c->current[i];
        if (!q)
            continue;
        pthread_mutex_lock(&q->lock);
        struct engine *x = i < c->nrun ? q->engine : q->plan_engine;
        if (x)
            engine_cancel(x, true);
        pthread_mutex_unlock(&q->lock);
    }
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < c->nthreads; i++)
        pthread_join(c->threads[i], NULL);
    c->nthreads = 0;
}

void scheduler_free(struct scheduler *c)
{
    if (!c)
        return;
    struct query *q;
    while ((q = query_of(turns_drop(c->turns))) != NULL)
        query_unref(q);
    turns_free(c->turns);
    while (c->plans) {
        struct plan_node *n = c->plans;
        plan_unlink(c, n);
        query_unref(n->q);
        free(n);
    }
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->plan_work);
    pthread_cond_destroy(&c->quiet);
    free(c->threads);
    free(c->current);
    free(c);
}

/*
 * catalog: see catalog.h.
 *
 * Invariants: after every change all that may be granted has been granted. A lock, once made, stays until the
 * close (as many as workspaces). Everything is guarded by `mu`; answers are given after it was let go.
 */
#include "core/catalog.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include "base/config.h"
#include "base/metrics.h"
#include "base/sys.h"

/* Reloadable keys change under us, one relaxed word at a time. */
#define CONF(field) atomic_load_explicit(&config.field, memory_order_relaxed)

struct catalog_lock {
    int64_t workspace;
    struct catalog *catalog;
    struct claims claims;
    uint64_t views;
    struct catalog_lock *next;
};

struct catalog {
    pthread_mutex_t mu;
    pthread_cond_t changed;
    pthread_t thread;
    bool running, stop;
    int waiting;
    struct catalog_lock *locks;
    struct metric *m_waiting, *m_expired, *m_seconds;
};

/* (mu) NULL out of memory. */
static struct catalog_lock *lock_of(struct catalog *c, int64_t workspace)
{
    for (struct catalog_lock *l = c->locks; l; l = l->next)
        if (l->workspace == workspace)
            return l;
    struct catalog_lock *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->workspace = workspace;
    l->catalog = c;
    l->next = c->locks;
    c->locks = l;
    return l;
}

/* (mu) */
static void count(struct catalog *c, int change)
{
    c->waiting += change;
    metric_set(c->m_waiting, c->waiting);
}

static struct catalog_claim *outer(struct claim *c)
{
    return (struct catalog_claim *)(void *)((char *)c - offsetof(struct catalog_claim, claim));
}

/* (mu) It waits no more. */
static void waited(struct catalog *c, const struct claim *w)
{
    count(c, -1);
    metric_observe_ns(c->m_seconds, sys_mono_ns() - w->since_ns);
}

/* (mu) */
static struct claim_list grant(struct catalog_lock *l, int64_t now)
{
    struct claim_list granted = claims_grant(&l->claims, now, CONF(catalog_max_writer_wait) * 1000000);
    for (const struct claim *w = granted.first; w; w = w->next)
        waited(l->catalog, w);
    return granted;
}

/* All but `mine`, which is its caller's. */
static void answer_all(struct claim *list, const struct claim *mine, enum catalog_answer a)
{
    while (list) {
        struct claim *w = list;
        list = w->next;
        w->next = NULL;
        if (w != mine)
            outer(w)->answer(outer(w), a); /* may be used again or freed inside */
    }
}

/* (mu) */
static struct catalog_lock *lock_for(struct catalog *c, struct catalog_claim *w, int64_t workspace)
{
    struct catalog_lock *l = lock_of(c, workspace);
    ASSERT(l);
    w->lock = l;
    return l;
}

void catalog_announce(struct catalog *c, struct catalog_claim *w, int64_t workspace)
{
    pthread_mutex_lock(&c->mu);
    claims_announce(&lock_for(c, w, workspace)->claims, &w->claim);
    pthread_mutex_unlock(&c->mu);
}

static bool take(struct catalog *c, struct catalog_claim *w, int64_t workspace, bool write, bool wait)
{
    pthread_mutex_lock(&c->mu);
    struct catalog_lock *l = lock_for(c, w, workspace);
    int64_t now = sys_mono_ns();
    claims_want(&l->claims, &w->claim, write, now);
    count(c, 1);
    struct claim_list granted = grant(l, now);
    bool mine = w->claim.place == CLAIM_HOLDING;
    if (!mine && !wait) {
        claims_leave(&l->claims, &w->claim);
        waited(c, &w->claim);
    } else if (!mine) {
        pthread_cond_signal(&c->changed); /* its limit may be the next deadline */
    }
    pthread_mutex_unlock(&c->mu);
    answer_all(granted.first, &w->claim, CATALOG_GRANTED);
    return mine;
}

bool catalog_take(struct catalog *c, struct catalog_claim *w, int64_t workspace, bool write)
{
    return take(c, w, workspace, write, true);
}

bool catalog_try(struct catalog *c, struct catalog_claim *w, int64_t workspace, bool write)
{
    return take(c, w, workspace, write, false);
}

static bool leave(struct catalog *c, struct catalog_claim *w, enum claim_place from)
{
    struct claim_list granted = {NULL, NULL};
    pthread_mutex_lock(&c->mu);
    bool stood = w->claim.place == from;
    if (stood) {
        claims_leave(&w->lock->claims, &w->claim);
        if (from == CLAIM_WAITING)
            waited(c, &w->claim);
        granted = grant(w->lock, sys_mono_ns());
    }
    pthread_mutex_unlock(&c->mu);
    answer_all(granted.first, NULL, CATALOG_GRANTED);
    return stood;
}

void catalog_decline(struct catalog *c, struct catalog_claim *w)
{
    (void)leave(c, w, CLAIM_OPEN);
}

bool catalog_forget(struct catalog *c, struct catalog_claim *w)
{
    return leave(c, w, CLAIM_WAITING);
}

void catalog_release(struct catalog *c, struct catalog_claim *w)
{
    pthread_mutex_lock(&c->mu);
    claims_release(&w->lock->claims, &w->claim);
    struct claim_list granted = grant(w->lock, sys_mono_ns());
    pthread_mutex_unlock(&c->mu);
    answer_all(granted.first, NULL, CATALOG_GRANTED);
}

uint64_t catalog_views(const struct catalog_claim *w)
{
    pthread_mutex_lock(&w->lock->catalog->mu);
    uint64_t v = w->lock->views;
    pthread_mutex_unlock(&w->lock->catalog->mu);
    return v;
}

void catalog_set_views(const struct catalog_claim *w, uint64_t epoch)
{
    pthread_mutex_lock(&w->lock->catalog->mu);
    ASSERT(w->claim.place == CLAIM_HOLDING && w->claim.write);
    w->lock->views = epoch;
    pthread_mutex_unlock(&w->lock->catalog->mu);
}

int catalog_waiting(struct catalog *c)
{
    pthread_mutex_lock(&c->mu);
    int n = c->waiting;
    pthread_mutex_unlock(&c->mu);
    return n;
}

/* ---- deadlines ---- */

#define LOOK_AT_LEAST INT64_C(60000000000)

static void join(struct claim_list *to, struct claim_list more)
{
    if (!more.first)
        return;
    if (to->last)
        to->last->next = more.first;
    else
        to->first = more.first;
    to->last = more.last;
}

/* (mu) Takes out who waited too long and lets in whom a writer may hold back no longer. Returns the next
 * instant to look again. */
static int64_t look(struct catalog *c, int64_t now, struct claim_list *expired, struct claim_list *granted)
{
    int64_t limit = CONF(catalog_wait) * 1000000, hold = CONF(catalog_max_writer_wait) * 1000000,
            next = now + LOOK_AT_LEAST;
    for (struct catalog_lock *l = c->locks; l; l = l->next) {
        struct claim_list late = claims_expire(&l->claims, now, limit);
        for (const struct claim *w = late.first; w; w = w->next) {
            waited(c, w);
            metric_add(c->m_expired, 1);
        }
        join(expired, late);
        join(granted, grant(l, now));
        int64_t due = claims_due(&l->claims, now, limit, hold);
        if (due < next)
            next = due;
    }
    return next;
}

static void *deadlines_main(void *arg)
{
    struct catalog *c = arg;
    pthread_setname_np(pthread_self(), "q-catalog");
    pthread_mutex_lock(&c->mu);
    while (!c->stop) {
        struct claim_list expired = {NULL, NULL}, granted = {NULL, NULL};
        int64_t next = look(c, sys_mono_ns(), &expired, &granted);
        if (expired.first || granted.first) {
            pthread_mutex_unlock(&c->mu);
            answer_all(expired.first, NULL, CATALOG_EXPIRED);
            answer_all(granted.first, NULL, CATALOG_GRANTED);
            pthread_mutex_lock(&c->mu);
            continue;
        }
        struct timespec ts = {next / 1000000000, next % 1000000000};
        pthread_cond_timedwait(&c->changed, &c->mu, &ts);
    }
    pthread_mutex_unlock(&c->mu);
    return NULL;
}

/* ---- life ---- */

int catalog_open(struct catalog **ret, struct err *e)
{
    struct catalog *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    pthread_mutex_init(&c->mu, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->changed, &attr);
    pthread_condattr_destroy(&attr);
    c->m_waiting = metrics_get(METRIC_GAUGE, "quern_catalog_waiting", "",
                               "Queries that wait for their workspace's catalog.");
    c->m_expired = metrics_get(METRIC_COUNTER, "quern_catalog_wait_expired_total", "",
                               "Queries that waited longer than catalog.wait.");
    c->m_seconds = metrics_get(METRIC_HISTOGRAM, "quern_catalog_wait_seconds", "",
                               "Time that a query waited for its workspace's catalog.");
    c->running = pthread_create(&c->thread, NULL, deadlines_main, c) == 0;
    if (!c->running) {
        catalog_close(c);
        return err_set(e, ERR_NOMEM, "53000", "cannot start the catalog's thread");
    }
    *ret = c;
    return 0;
}

void catalog_close(struct catalog *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->mu);
    c->stop = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->mu);
    if (c->running)
        pthread_join(c->thread, NULL);
    while (c->locks) {
        struct catalog_lock *l = c->locks;
        struct claim *list = l->claims.line.first;
        c->locks = l->next;
        for (struct claim *w = list; w; w = w->next)
            w->place = CLAIM_AWAY;
        answer_all(list, NULL, CATALOG_CLOSED);
        free(l);
    }
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->mu);
    free(c);
}

/*
 * catalog: see catalog.h.
 *
 * Invariants: a lock has readers or one writer, never both; the waiting claims stand in the order in which
 * they came; after every change advance() has granted all that may be granted. A lock, once made, stays until
 * the close (as many as workspaces). Everything is guarded by `mu`; answers are given after it was let go.
 */
#include "core/catalog.h"

#include <pthread.h>
#include <stdatomic.h>
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
    int readers;
    bool writer;
    uint64_t views;
    struct catalog_claim *head, **tail;
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
    l->tail = &l->head;
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

/* (mu) Takes the claim behind *at out of the queue. */
static struct catalog_claim *unlink_claim(struct catalog_lock *l, struct catalog_claim **at)
{
    struct catalog_claim *w = *at;
    *at = w->next;
    if (!*at)
        l->tail = at;
    w->next = NULL;
    w->waiting = false;
    count(l->catalog, -1);
    metric_observe_ns(l->catalog->m_seconds, sys_mono_ns() - w->since_ns);
    return w;
}

/* (mu) Grants what may be granted, in order; who got it is appended to the list at *tail. */
static void advance(struct catalog_lock *l, int64_t now, struct catalog_claim ***tail)
{
    int64_t hold = CONF(catalog_max_writer_wait) * 1000000;
    bool held_back = false;
    for (struct catalog_claim **at = &l->head; *at && !l->writer;) {
        struct catalog_claim *w = *at;
        bool grant = w->write ? l->readers == 0 : !held_back;
        if (!grant) {
            if (w->write && now < w->since_ns + hold)
                held_back = true;
            at = &w->next;
            continue;
        }
        if (w->write)
            l->writer = true;
        else
            l->readers++;
        unlink_claim(l, at);
        **tail = w;
        *tail = &w->next;
    }
}

static void answer_all(struct catalog_claim *list, enum catalog_answer a)
{
    while (list) {
        struct catalog_claim *w = list;
        list = w->next;
        w->next = NULL;
        w->answer(w, a); /* may be used again or freed inside */
    }
}

static bool take(struct catalog *c, struct catalog_claim *w, int64_t workspace, bool write, bool wait)
{
    pthread_mutex_lock(&c->mu);
    struct catalog_lock *l = lock_of(c, workspace);
    ASSERT(l);
    struct catalog_claim *granted = NULL, **tail = &granted;
    w->lock = l;
    w->write = write;
    w->waiting = true;
    w->since_ns = sys_mono_ns();
    w->next = NULL;
    *l->tail = w;
    l->tail = &w->next;
    count(c, 1);
    advance(l, w->since_ns, &tail);
    bool mine = !w->waiting;
    if (!mine && !wait) {
        struct catalog_claim **at = &l->head;
        while (*at != w)
            at = &(*at)->next;
        unlink_claim(l, at);
    } else if (!mine) {
        pthread_cond_signal(&c->changed); /* its limit may be the next deadline */
    }
    pthread_mutex_unlock(&c->mu);
    /* One arrival lets nobody else in but for deadlines that passed just now. */
    for (struct catalog_claim **at = &granted; mine && *at; at = &(*at)->next) {
        if (*at != w)
            continue;
        *at = w->next;
        break;
    }
    answer_all(granted, CATALOG_GRANTED);
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

bool catalog_forget(struct catalog *c, struct catalog_claim *w)
{
    struct catalog_claim *granted = NULL, **tail = &granted;
    pthread_mutex_lock(&c->mu);
    bool waited = w->waiting;
    if (waited) {
        struct catalog_lock *l = w->lock;
        struct catalog_claim **at = &l->head;
        while (*at != w)
            at = &(*at)->next;
        unlink_claim(l, at);
        advance(l, sys_mono_ns(), &tail);
    }
    pthread_mutex_unlock(&c->mu);
    answer_all(granted, CATALOG_GRANTED);
    return waited;
}

void catalog_release(struct catalog *c, struct catalog_claim *w)
{
    struct catalog_claim *granted = NULL, **tail = &granted;
    pthread_mutex_lock(&c->mu);
    struct catalog_lock *l = w->lock;
    ASSERT(!w->waiting && (w->write ? l->writer && l->readers == 0 : l->readers > 0 && !l->writer));
    if (w->write)
        l->writer = false;
    else
        l->readers--;
    advance(l, sys_mono_ns(), &tail);
    pthread_mutex_unlock(&c->mu);
    answer_all(granted, CATALOG_GRANTED);
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
    ASSERT(w->write && w->lock->writer);
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

/* (mu) Takes out who waited too long and lets in whom a writer may hold back no longer. Returns the next
 * instant to look again. */
static int64_t look(struct catalog *c, int64_t now, struct catalog_claim ***expired,
                    struct catalog_claim ***granted)
{
    int64_t limit = CONF(catalog_wait) * 1000000, hold = CONF(catalog_max_writer_wait) * 1000000,
            next = now + INT64_C(60000000000);
    for (struct catalog_lock *l = c->locks; l; l = l->next) {
        for (struct catalog_claim **at = &l->head; *at;) {
            struct catalog_claim *w = *at;
            if (w->since_ns + limit <= now) {
                unlink_claim(l, at);
                metric_add(c->m_expired, 1);
                **expired = w;
                *expired = &w->next;
            } else {
                at = &w->next;
            }
        }
        advance(l, now, granted);
        for (const struct catalog_claim *w = l->head; w; w = w->next) {
            if (w->since_ns + limit < next)
                next = w->since_ns + limit;
            if (w->write && w->since_ns + hold > now && w->since_ns + hold < next)
                next = w->since_ns + hold;
        }
    }
    return next;
}

static void *deadlines_main(void *arg)
{
    struct catalog *c = arg;
    pthread_setname_np(pthread_self(), "q-catalog");
    pthread_mutex_lock(&c->mu);
    while (!c->stop) {
        struct catalog_claim *expired = NULL, **etail = &expired, *granted = NULL, **gtail = &granted;
        int64_t next = look(c, sys_mono_ns(), &etail, &gtail);
        if (expired || granted) {
            pthread_mutex_unlock(&c->mu);
            answer_all(expired, CATALOG_EXPIRED);
            answer_all(granted, CATALOG_GRANTED);
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
        struct catalog_claim *list = l->head;
        c->locks = l->next;
        for (struct catalog_claim *w = list; w; w = w->next)
            w->waiting = false;
        answer_all(list, CATALOG_CLOSED);
        free(l);
    }
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->mu);
    free(c);
}

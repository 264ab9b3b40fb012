/*
 * janitor: every deadline of stored things in one place, on one thread: result retention, history retention,
 * idempotency keys, files that no record names, removal of deleted results, records that could not be
 * written, free space, idle engines; see tick().
 *
 * Ticks once a second. When age may delete: retention.h, for retention.quiet (or for the result retention,
 * where that is shorter).
 */
#include <stdlib.h>
#include <time.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/janitor_int.h"
#include "core/retention.h"

#define TICK_MS    1000
#define DAY_MS     86400000LL
#define BATCHES    20   /* a tick */
#define KEYS_EVERY 3600 /* ticks */

static void remove_all(struct janitor *j, struct removal *list)
{
    while (list) {
        struct removal *r = list;
        list = r->next;
        service__drop_result(j->service, r->q);
        query_unref(r->q);
        free(r);
    }
}

/* ---- retention ---- */

struct keys_write {
    struct registry_write w;
    int64_t at_ms;
    uint32_t changed;
};

static int apply_forget_keys(struct registry *r, struct registry_write *w, struct err *e)
{
    struct keys_write *kw = (struct keys_write *)(void *)w;
    return registry_drop_idempotency(r, kw->at_ms, JANITOR_BATCH, &kw->changed, e);
}

/* In batches; a tick does at most BATCHES, so that nothing else waits for long. */
static void sweep(struct service *s, int64_t now, int64_t before,
                  bool (*act)(struct service *, const struct qid *, size_t, int64_t),
                  int (*find)(struct registry *, int64_t, uint32_t, struct arena *, struct qid **, size_t *,
                              struct err *))
{
    size_t n = JANITOR_BATCH;
    for (int i = 0; i < BATCHES && n == JANITOR_BATCH; i++) {
        struct arena *a = arena_new(1u << 20);
        struct qid *ids;
        if (!a || find(s->registry, before, JANITOR_BATCH, a, &ids, &n, NULL) ||
            (n > 0 && !act(s, ids, n, now)))
            n = 0;
        arena_free(a);
    }
}

/* Idempotency keys live as long as the query's record may, at least a day. */
static void sweep_keys(struct service *s, int64_t now)
{
    int64_t age = config.retention_history > DAY_MS ? config.retention_history : DAY_MS;
    struct keys_write w = {.w = {.apply = apply_forget_keys}, .at_ms = now - age, .changed = JANITOR_BATCH};
    for (int i = 0; i < BATCHES && w.changed == JANITOR_BATCH; i++) {
        w.changed = 0;
        if (registry_do(s->registry, &w.w, NULL))
            return;
    }
}

/* ---- the clock ---- */

static void orphans(struct service *s)
{
    struct err e;
    err_clear(&e);
    int64_t n = service__sweep(s, &e);
    if (n > 0)
        log_line(LOG_WARN, "core", "removed %lld files that no record names", (long long)n);
    else if (n < 0)
        log_event(LOG_WARN, "core", "the search for files that no record names failed", "error",
                  e.text[0] ? e.text : "reading the spool", NULL);
}

static void try_again(struct janitor *j)
{
    pthread_mutex_lock(&j->lock);
    struct removal *list = j->again;
    j->again = NULL;
    pthread_mutex_unlock(&j->lock);
    while (list) {
        struct removal *r = list;
        list = r->next;
        r->fn(r->q, r->tries);
        query_unref(r->q);
        free(r);
    }
}

static bool may_delete(struct janitor *j, int64_t wall)
{
    int64_t quiet =
        config.retention_quiet < config.result_retention ? config.retention_quiet : config.result_retention;
    bool jumped;
    bool may = retention_may_delete(&j->clock, wall, sys_mono_ns() / 1000000, quiet, &jumped);
    if (jumped)
        log_event(LOG_WARN, "core",
                  "the wall clock jumped: nothing is deleted by age for a while (retention.quiet)", NULL);
    return may;
}

/* Every deadline. Those of requests and downloads are http's (src/http/watch.c, stream.c), of a running query
 * its worker's (runner.c), of limits on credentials the limiter's. */
static void tick(struct janitor *j)
{
    struct service *s = j->service;
    int64_t now = sys_wall_ms();
    bool may = may_delete(j, now);
    disk_tick(s->disk);
    metric_set(s->m_disk_free, (int64_t)disk_free(s->disk));
    metric_set(s->m_disk_low, disk_low(s->disk));
    metric_set(s->m_spool, (int64_t)usage_total(s->usage));
    try_again(j);
    if (may) {
        sweep(s, now, now, janitor__expire, registry_expired);
        sweep(s, now, now - config.retention_history, janitor__forget, registry_historic);
        if (j->ticks % KEYS_EVERY == 0)
            sweep_keys(s, now);
        if (j->ticks > 0 && j->ticks % (config.spool_sweep / TICK_MS) == 0)
            orphans(s);
        j->ticks++;
    }
    janitor__erase(j, now);
    scheduler_refresh(s->scheduler);
    render_tick(s->render, disk_low(s->disk));
    pool_tick(s->pool);
}

static void *janitor_main(void *arg)
{
    struct janitor *j = arg;
    pthread_setname_np(pthread_self(), "q-janitor");
    pthread_mutex_lock(&j->lock);
    int64_t next = sys_mono_ns() + TICK_MS * 1000000LL;
    while (!j->stop) {
        struct removal *list = j->removals;
        j->removals = NULL;
        bool due = sys_mono_ns() >= next;
        if (!list && !due) {
            struct timespec ts = {next / 1000000000, next % 1000000000};
            pthread_cond_timedwait(&j->cond, &j->lock, &ts);
            continue;
        }
        pthread_mutex_unlock(&j->lock);
        remove_all(j, list);
        if (due) {
            tick(j);
            next = sys_mono_ns() + TICK_MS * 1000000LL;
        }
        pthread_mutex_lock(&j->lock);
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

int janitor_start(struct service *s, struct janitor **ret, struct err *e)
{
    struct janitor *j = calloc(1, sizeof *j);
    if (!j)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    j->service = s;
    pthread_mutex_init(&j->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&j->cond, &attr);
    pthread_condattr_destroy(&attr);
    j->running = pthread_create(&j->thread, NULL, janitor_main, j) == 0;
    *ret = j;
    return j->running ? 0 : err_set(e, ERR_NOMEM, "53000", "cannot start the janitor");
}

void janitor_stop(struct janitor *j)
{
    if (!j)
        return;
    pthread_mutex_lock(&j->lock);
    j->stop = true;
    pthread_cond_signal(&j->cond);
    pthread_mutex_unlock(&j->lock);
    if (j->running)
        pthread_join(j->thread, NULL);
    if (j->running)
        try_again(j); /* what was told to a client and not recorded yet has its last chance */
    j->running = false;
}

void janitor_free(struct janitor *j)
{
    if (!j)
        return;
    remove_all(j, j->removals);
    while (j->again) { /* failed at the stop too: the next start decides about them */
        struct removal *r = j->again;
        j->again = r->next;
        query_unref(r->q);
        free(r);
    }
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->cond);
    free(j);
}

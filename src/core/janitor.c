/*
 * janitor: every deadline of stored things in one place, on one thread: result retention, history retention, removal of deleted results, idle engines.
 *
 * Ticks once a second. A wall clock that jumped forward by more than an hour between two ticks skips deletion for one cycle (specs/reliability.md 5.5).
 */
#include <stdlib.h>
#include <time.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/observe.h"
#include "core/service_int.h"

#define TICK_MS 1000
#define BATCH 250
#define JUMP_MS 3600000
#define DAY_MS 86400000LL
#define KEYS_EVERY 3600 /* ticks */

struct removal { struct query *q; struct removal *next; };

struct janitor {
    struct service *service;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct removal *removals;
    bool stop, running;
    int64_t last_wall_ms; /* janitor thread */
    uint32_t ticks;       /* likewise */
};

void janitor_remove(struct janitor *j, struct query *q)
{
    struct removal *r = malloc(sizeof *r);
    if (!r) return; /* the next start's sweep finds the file */
    pthread_mutex_lock(&j->lock);
    *r = (struct removal){query_ref(q), j->removals};
    j->removals = r;
    pthread_cond_signal(&j->cond);
    pthread_mutex_unlock(&j->lock);
}

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

struct id_write { struct registry_write w; struct qid id; int64_t at_ms; };

static int apply_expire(struct registry *r, struct registry_write *w, struct err *e)
{
    struct id_write *iw = (struct id_write *)(void *)w;
    return registry_put_gone(r, &iw->id, iw->at_ms, e);
}

static int apply_forget(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_delete_query(r, &((struct id_write *)(void *)w)->id, e);
}

/* The record says gone before a file goes: a reader that comes between finds "expired", never a missing file. */
static void expire_one(struct service *s, const struct qid *id, int64_t now)
{
    struct err e;
    err_clear(&e);
    struct query *q = service__lookup(s, id);
    if (!q && service__load(s, id, &q, &e)) return;
    struct id_write w = {.w = {.apply = apply_expire}, .id = *id, .at_ms = now};
    pthread_mutex_lock(&q->lock);
    bool first = q->rec.gone_ms == 0;
    q->rec.gone_ms = first ? now : q->rec.gone_ms;
    pthread_mutex_unlock(&q->lock);
    if (registry_do(s->registry, &w.w, &e) == 0) {
        service__drop_result(s, q);
        if (first) observe_retention(id, q->rec.workspace_name, "result");
    }
    query_unref(q);
}

static int apply_forget_keys(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_drop_idempotency(r, ((struct id_write *)(void *)w)->at_ms, e);
}

/* Idempotency keys live as long as the query's record may, at least a day. */
static void sweep_keys(struct service *s, int64_t now)
{
    int64_t age = config.retention_history > DAY_MS ? config.retention_history : DAY_MS;
    struct id_write w = {.w = {.apply = apply_forget_keys}, .at_ms = now - age};
    (void)!registry_do(s->registry, &w.w, NULL);
}

static void sweep(struct service *s, int64_t now)
{
    struct err e;
    err_clear(&e);
    struct arena *a = arena_new(1u << 20);
    struct qid *ids;
    size_t n;
    if (!a) return;
    if (registry_expired(s->registry, now, BATCH, a, &ids, &n, &e) == 0)
        for (size_t i = 0; i < n; i++) expire_one(s, &ids[i], now);
    if (registry_historic(s->registry, now - config.retention_history, BATCH, a, &ids, &n, &e) == 0) {
        for (size_t i = 0; i < n; i++) {
            expire_one(s, &ids[i], now);
            struct id_write w = {.w = {.apply = apply_forget}, .id = ids[i]};
            if (registry_do(s->registry, &w.w, &e) == 0) observe_retention(&ids[i], NULL, "history");
        }
    }
    arena_free(a);
}

static void tick(struct janitor *j)
{
    int64_t now = sys_wall_ms();
    bool jumped = j->last_wall_ms && now - j->last_wall_ms > JUMP_MS;
    j->last_wall_ms = now;
    if (jumped) log_event(LOG_WARN, "core", "the clock jumped forward: nothing is deleted in this cycle", NULL);
    else sweep(j->service, now);
    if (!jumped && j->ticks++ % KEYS_EVERY == 0) sweep_keys(j->service, now);
    pool_tick(j->service->pool);
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
    if (!j) return err_set(e, ERR_NOMEM, "53200", "out of memory");
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
    if (!j) return;
    pthread_mutex_lock(&j->lock);
    j->stop = true;
    pthread_cond_signal(&j->cond);
    pthread_mutex_unlock(&j->lock);
    if (j->running) pthread_join(j->thread, NULL);
    j->running = false;
}

void janitor_free(struct janitor *j)
{
    if (!j) return;
    remove_all(j, j->removals);
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->cond);
    free(j);
}

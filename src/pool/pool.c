/*
 * pool: which engine processes exist, and who may have one.
 *
 * The key of an engine is its workspace, epoch, mode, and what it may see (catalog or none, data sets): two
 * keys are equal when all of it is. An idle engine is handed out again only for an equal key, most recently
 * used first. It stays idle only if its job ended cleanly, it said it is reusable, it is no writer, its epoch
 * is still the newest seen for the workspace, nobody waits in pool_retire for its catalog, and the socket is
 * silent (a stray byte would belong to the next job). Everything else is killed; a writer that ended cleanly
 * is asked to leave first.
 *
 * A process counts as "catalog open" from before its SETUP until it is reaped, whatever it did in between:
 * that is what pool_retire waits for. Threads: any; see pool_int.h for the locks.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "pool/pool_int.h"

#define CLOSE_WAIT_NS MS_NS(10000)

static const char *const reason_names[REASONS] = {
    [REASON_NONE] = "",           [REASON_USED] = "used",       [REASON_IDLE] = "idle",
    [REASON_RETIRED] = "retired", [REASON_CRASHED] = "crashed", [REASON_HUNG] = "hung",
    [REASON_LIED] = "lied",       [REASON_KILLED] = "killed",   [REASON_ABANDONED] = "abandoned",
    [REASON_START] = "start",     [REASON_CLOSED] = "closed",
};

/* ---- idle engines ---- */

int pool_acquire(struct pool *p, const struct engine_key *key, struct engine **ret, struct err *e)
{
    pthread_mutex_lock(&p->mu);
    if (p->closing) {
        pthread_mutex_unlock(&p->mu);
        return err_set(e, ERR_UNAVAILABLE, "57P01", "the engine pool is closing");
    }
    struct pool_workspace *w = pool__workspace(p, key->workspace);
    if (w && key->epoch > w->epoch) {
        w->epoch = key->epoch;
        pool__drop_older(p, key->workspace, key->epoch, false);
    }
    struct engine *x = key->write || key->render ? NULL : pool__take_idle(p, key);
    pthread_mutex_unlock(&p->mu);
    if (!x)
        return pool__bring_up(p, key, false, ret, e);
    *ret = x;
    return 0;
}

void pool_prewarm(struct pool *p, const struct engine_key *key)
{
    if (key->write || CONF(engine_idle_max) == 0)
        return;
    struct prewarm w;
    if (pool__key_copy(key, &w.arena, &w.key))
        return;
    pthread_mutex_lock(&p->mu);
    bool have = p->closing || p->nprewarm == POOL_PREWARM_MAX ||
                (p->prewarming && pool__key_equal(p->prewarming, key));
    for (const struct engine *x = p->all; x && !have; x = x->next)
        have = x->state == STATE_IDLE && pool__key_equal(x->key, key);
    for (int i = 0; i < p->nprewarm && !have; i++)
        have = pool__key_equal(p->prewarm[i].key, key);
    if (!have) {
        p->prewarm[p->nprewarm++] = w;
        pthread_cond_signal(&p->chores_wanted);
    }
    pthread_mutex_unlock(&p->mu);
    if (have)
        arena_free(w.arena);
}

int pool_retire(struct pool *p, int64_t workspace, uint64_t epoch, int64_t deadline_ns, struct err *e)
{
    struct timespec ts;
    pool__until(deadline_ns, &ts);
    pthread_mutex_lock(&p->mu);
    struct pool_workspace *w = pool__workspace(p, workspace);
    if (!w) {
        pthread_mutex_unlock(&p->mu);
        return err_set(e, ERR_NOMEM, NULL, "out of memory");
    }
    if (epoch > w->epoch)
        w->epoch = epoch;
    w->retiring++;
    pool__drop_older(p, workspace, epoch, true);
    int rc = 0;
    while ((w = pool__workspace(p, workspace))->catalog_open > 0 && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&p->changed, &p->mu, &ts);
    w->retiring--;
    int left = w->catalog_open;
    pthread_mutex_unlock(&p->mu);
    if (left > 0)
        return err_set(e, ERR_TIMEOUT, "55006", "%d engine process%s still holds the catalog", left,
                       left == 1 ? "" : "es");
    return 0;
}

void pool_drop_idle(struct pool *p, int64_t workspace)
{
    pthread_mutex_lock(&p->mu);
    for (struct engine *x = p->all; x; x = x->next)
        if (x->state == STATE_IDLE && x->key->workspace == workspace)
            pool__discard(x, REASON_IDLE);
    pthread_mutex_unlock(&p->mu);
}

void pool_tick(struct pool *p)
{
    pthread_mutex_lock(&p->mu);
    int64_t before = sys_mono_ns() - MS_NS(CONF(engine_idle));
    for (struct engine *x = p->all; x; x = x->next)
        if (x->state == STATE_IDLE && x->idle_since_ns <= before)
            pool__discard(x, REASON_IDLE);
    pool__trim_idle(p);
    if (p->nunwiped > 0) {
        p->wipe_again = true;
        pthread_cond_signal(&p->chores_wanted);
    }
    pthread_mutex_unlock(&p->mu);
}

int pool_idle(struct pool *p)
{
    pthread_mutex_lock(&p->mu);
    int n = p->idle;
    pthread_mutex_unlock(&p->mu);
    return n;
}

/* ---- the pool itself ---- */

static void pool_free(struct pool *p)
{
    for (int i = 0; i < p->nprewarm; i++)
        arena_free(p->prewarm[i].arena);
    if (p->run_fd >= 0)
        close(p->run_fd);
    if (p->wake >= 0)
        close(p->wake);
    pthread_cond_destroy(&p->changed);
    pthread_cond_destroy(&p->chores_wanted);
    pthread_mutex_destroy(&p->mu);
    free(p->workspaces);
    free(p->engine_path);
    free(p->run_path);
    free(p);
}

static void register_metrics(struct pool *p)
{
    p->m_spawned = metrics_get(METRIC_COUNTER, "quern_engine_spawned_total", "", "Engine processes started.");
    p->m_idle = metrics_get(METRIC_GAUGE, "quern_engine_idle", "", "Engine processes kept warm.");
    p->m_start = metrics_get(METRIC_HISTOGRAM, "quern_engine_start_seconds", "",
                             "Time from asking for a new engine to its READY.");
    for (int r = REASON_NONE + 1; r < REASONS; r++) {
        char label[64];
        (void)snprintf(label, sizeof label, "reason=\"%s\"", reason_names[r]);
        p->m_ended[r] = metrics_get(METRIC_COUNTER, "quern_engine_ended_total", label,
                                    "Engine processes ended, by reason.");
    }
}

int pool_open(const struct pool_options *o, struct pool **ret, struct err *e)
{
    struct pool *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, NULL, "out of memory");
    p->run_fd = -1;
    pthread_condattr_t attr;
    ASSERT(pthread_condattr_init(&attr) == 0 && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_mutex_init(&p->mu, NULL) == 0 && pthread_cond_init(&p->changed, &attr) == 0);
    ASSERT(pthread_cond_init(&p->chores_wanted, NULL) == 0);
    pthread_condattr_destroy(&attr);
    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->engine_path = strdup(o->engine_path);
    p->max_processes = o->max_processes;
    int rc = 0;
    if (p->wake < 0 || !p->engine_path)
        rc = err_set(e, ERR_NOMEM, NULL, "out of memory or descriptors");
    if (!rc)
        rc = rundir__open(o->data_dir, &p->run_path, &p->run_fd, e);
    if (!rc) {
        register_metrics(p);
        rc = spawner__start(p, e);
    }
    if (!rc && (rc = chores__start(p, e)) != 0)
        spawner__stop(p);
    if (rc) {
        pool_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

void pool_close(struct pool *p)
{
    if (!p)
        return;
    struct timespec ts;
    pool__until(sys_mono_ns() + CLOSE_WAIT_NS, &ts);
    pthread_mutex_lock(&p->mu);
    p->closing = true;
    for (struct engine *x = p->all; x; x = x->next) {
        if (x->state == STATE_DYING)
            x->killed = false; /* asked to leave, no time left */
        if (x->state == STATE_IDLE || x->state == STATE_BLANK)
            pool__discard(x, REASON_CLOSED);
        else
            pool__kill(x, REASON_CLOSED);
    }
    pool__wake(p);
    pthread_cond_signal(&p->chores_wanted);
    int rc = 0;
    while (p->all && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&p->changed, &p->mu, &ts);
    bool left = p->all != NULL;
    pthread_mutex_unlock(&p->mu);
    if (left)
        return; /* a caller still has an engine, or the kernel does not let one die: the memory stays theirs */
    chores__stop(p);
    spawner__stop(p);
    pool_free(p);
}

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
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "pool/pool_int.h"

#define ROOM_WAIT_MS 1000

#define KEY_ARENA     (16u * 1024u * 1024u)
#define CLOSE_WAIT_NS MS_NS(10000)

static const char *const reason_names[REASONS] = {
    [REASON_NONE] = "",           [REASON_USED] = "used",       [REASON_IDLE] = "idle",
    [REASON_RETIRED] = "retired", [REASON_CRASHED] = "crashed", [REASON_HUNG] = "hung",
    [REASON_LIED] = "lied",       [REASON_KILLED] = "killed",   [REASON_ABANDONED] = "abandoned",
    [REASON_START] = "start",     [REASON_CLOSED] = "closed",
};

/* ---- keys ---- */

int pool__key_copy(const struct engine_key *k, struct arena **ret_arena, struct engine_key **ret_key)
{
    struct arena *a = arena_new(KEY_ARENA);
    if (!a)
        return ERR_NOMEM;
    struct engine_key *c = arena_alloc(a, sizeof *c);
    struct wire_dataset *d = arena_alloc(a, k->ndatasets * sizeof *d);
    bool ok = c && d;
    if (ok) {
        *c = *k;
        c->catalog_path = arena_strdup(a, k->catalog_path ? k->catalog_path : "");
        c->datasets = d;
        ok = c->catalog_path != NULL;
    }
    for (uint32_t i = 0; ok && i < k->ndatasets; i++) {
        d[i].name = arena_strdup(a, k->datasets[i].name);
        d[i].path = arena_strdup(a, k->datasets[i].path);
        d[i].format = arena_strdup(a, k->datasets[i].format);
        d[i].folder = k->datasets[i].folder;
        ok = d[i].name && d[i].path && d[i].format;
    }
    if (!ok) {
        arena_free(a);
        return ERR_NOMEM;
    }
    *ret_arena = a;
    *ret_key = c;
    return 0;
}

bool pool__key_equal(const struct engine_key *a, const struct engine_key *b)
{
    if (a->workspace != b->workspace || a->epoch != b->epoch || a->write != b->write ||
        a->render != b->render || a->ndatasets != b->ndatasets)
        return false;
    if (strcmp(a->catalog_path ? a->catalog_path : "", b->catalog_path ? b->catalog_path : ""))
        return false;
    for (uint32_t i = 0; i < a->ndatasets; i++) {
        const struct wire_dataset *x = &a->datasets[i], *y = &b->datasets[i];
        if (x->folder != y->folder || strcmp(x->name, y->name) || strcmp(x->path, y->path) ||
            strcmp(x->format, y->format))
            return false;
    }
    return true;
}

struct pool_workspace *pool__workspace(struct pool *p, int64_t id)
{
    size_t lo = 0, hi = p->nworkspaces;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (p->workspaces[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < p->nworkspaces && p->workspaces[lo].id == id)
        return &p->workspaces[lo];
    if (p->nworkspaces == p->workspaces_cap) {
        size_t cap = p->workspaces_cap ? p->workspaces_cap * 2 : 16;
        struct pool_workspace *w = realloc(p->workspaces, cap * sizeof *w);
        if (!w)
            return NULL;
        p->workspaces = w;
        p->workspaces_cap = cap;
    }
    memmove(&p->workspaces[lo + 1], &p->workspaces[lo], (p->nworkspaces - lo) * sizeof *p->workspaces);
    p->nworkspaces++;
    p->workspaces[lo] = (struct pool_workspace){.id = id};
    return &p->workspaces[lo];
}

/* ---- one engine's entry ---- */

struct engine *pool__new(struct pool *p, enum pool_state state)
{
    struct engine *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    if (pthread_mutex_init(&x->send_mu, NULL)) {
        free(x);
        return NULL;
    }
    x->magic = ENGINE_MAGIC;
    x->pool = p;
    x->pidfd = x->sock = x->wake = -1;
    x->batch_slot = -1;
    x->state = state;
    link__init(&x->link);
    for (int i = 0; i < WIRE_SLOTS; i++)
        slot__init(&x->slots[i]);
    (void)snprintf(x->folder, sizeof x->folder, "e%llu", (unsigned long long)++p->serial);
    x->next = p->all;
    if (p->all)
        p->all->prev = x;
    p->all = x;
    p->count++;
    return x;
}

void pool__free(struct engine *x)
{
    struct pool *p = x->pool;
    ASSERT(x->magic == ENGINE_MAGIC && x->dead && x->state == STATE_DYING);
    if (x->holds_catalog) { /* it never came to life */
        struct pool_workspace *w = pool__workspace(p, x->key->workspace);
        ASSERT(w && w->catalog_open > 0);
        w->catalog_open--;
    }
    if (x->prev)
        x->prev->next = x->next;
    else
        p->all = x->next;
    if (x->next)
        x->next->prev = x->prev;
    p->count--;
    pthread_mutex_destroy(&x->send_mu);
    arena_free(x->key_arena);
    for (int i = 0; i < WIRE_SLOTS; i++)
        slot__drop(&x->slots[i]);
    engine__job_clear(x);
    link__free(&x->link);
    x->magic = 0;
}

void pool__kill(struct engine *x, enum pool_reason why)
{
    if (x->reason == REASON_NONE)
        x->reason = why;
    if (x->killed || x->dead || !x->spawn_done)
        return;
    x->killed = true;
    (void)pidfd_send_signal(x->pidfd, SIGKILL, NULL, 0);
}

static void set_idle(struct pool *p, int change)
{
    p->idle += change;
    metric_add(p->m_idle, change);
}

void pool__discard(struct engine *x, enum pool_reason why)
{
    struct pool *p = x->pool;
    if (x->state == STATE_IDLE)
        set_idle(p, -1);
    x->state = STATE_DYING;
    pool__kill(x, why);
    if (x->dead)
        pthread_cond_signal(&p->chores_wanted);
    pthread_cond_broadcast(&p->changed);
}

void engine__kill(struct engine *x, enum pool_reason why)
{
    pthread_mutex_lock(&x->pool->mu);
    pool__kill(x, why);
    pthread_mutex_unlock(&x->pool->mu);
}

static void timespec_of(int64_t ns, struct timespec *ts)
{
    ts->tv_sec = (time_t)(ns / 1000000000);
    ts->tv_nsec = (long)(ns % 1000000000);
}

bool engine__await_death(struct engine *x, int64_t deadline_ns)
{
    struct timespec ts;
    timespec_of(deadline_ns, &ts);
    pthread_mutex_lock(&x->pool->mu);
    int rc = 0;
    while (!x->dead && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&x->pool->changed, &x->pool->mu, &ts);
    bool dead = x->dead;
    pthread_mutex_unlock(&x->pool->mu);
    return dead;
}

pid_t engine_pid(const struct engine *x)
{
    ASSERT(x->magic == ENGINE_MAGIC);
    return x->pid;
}

/* ---- idle engines ---- */

/* (mu) The longest idle one, or NULL. */
static struct engine *oldest_idle(struct pool *p)
{
    struct engine *old = NULL;
    for (struct engine *x = p->all; x; x = x->next)
        if (x->state == STATE_IDLE && (!old || x->idle_since_ns < old->idle_since_ns))
            old = x;
    return old;
}

int64_t pool__alive(const struct pool *p)
{
    int64_t n = 0;
    for (const struct engine *x = p->all; x; x = x->next)
        n += !x->dead && !(x->key && x->key->render);
    return n;
}

bool pool__room(struct pool *p)
{
    struct timespec ts;
    timespec_of(sys_mono_ns() + MS_NS(ROOM_WAIT_MS), &ts);
    int rc = 0;
    while (p->max_processes > 0 && !p->closing && pool__alive(p) >= p->max_processes) {
        struct engine *x = oldest_idle(p);
        bool leaving = false;
        for (struct engine *y = p->all; y; y = y->next) {
            if (!x && y->state == STATE_BLANK && y->spawn_done)
                x = y;
            leaving |= y->state == STATE_DYING && !y->dead;
        }
        if (!leaving && !x)
            return false;
        if (!leaving)
            pool__discard(x, REASON_IDLE);
        if (rc == ETIMEDOUT)
            return false;
        rc = pthread_cond_timedwait(&p->changed, &p->mu, &ts);
    }
    return true;
}

/* (mu) */
static void trim_idle(struct pool *p)
{
    int64_t most = CONF(engine_idle_max);
    while (p->idle > most) {
        struct engine *x = oldest_idle(p);
        ASSERT(x);
        pool__discard(x, REASON_IDLE);
    }
}

/* (mu) Drops idle engines of a workspace that are of an older epoch; with `catalog`, also those that hold it
 * open. */
static void drop_older(struct pool *p, int64_t workspace, uint64_t epoch, bool catalog)
{
    for (struct engine *x = p->all; x; x = x->next)
        if (x->state == STATE_IDLE && x->key->workspace == workspace &&
            (x->key->epoch < epoch || (catalog && x->holds_catalog)))
            pool__discard(x, REASON_RETIRED);
}

/* (mu) The most recently used idle engine for the key that is still in order. */
static struct engine *take_idle(struct pool *p, const struct engine_key *key)
{
    for (;;) {
        struct engine *best = NULL;
        for (struct engine *x = p->all; x; x = x->next)
            if (x->state == STATE_IDLE && pool__key_equal(x->key, key) &&
                (!best || x->idle_since_ns > best->idle_since_ns))
                best = x;
        if (!best)
            return NULL;
        if (best->dead || !link__quiet(best)) {
            pool__discard(best, REASON_CRASHED);
            continue;
        }
        set_idle(p, -1);
        best->state = STATE_BUSY;
        return best;
    }
}

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
        drop_older(p, key->workspace, key->epoch, false);
    }
    struct engine *x = key->write || key->render ? NULL : take_idle(p, key);
    pthread_mutex_unlock(&p->mu);
    if (!x)
        return pool__bring_up(p, key, false, ret, e);
    *ret = x;
    return 0;
}

/* A writer that ended cleanly may close its catalog by itself; the spawner kills it after the grace. */
static void ask_to_leave(struct engine *x)
{
    CLEANUP_BUF struct buf b = BUF_INIT(64);
    if (wire_put_quit(&b) == 0) {
        pthread_mutex_lock(&x->send_mu);
        (void)send(x->sock, b.p, b.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        pthread_mutex_unlock(&x->send_mu);
    }
}

void pool__put(struct engine *x, bool clean)
{
    struct pool *p = x->pool;
    engine__job_clear(x);
    bool quiet = clean && link__quiet(x);
    bool reusable = clean && x->reusable && quiet;
    if (quiet && x->key->write)
        ask_to_leave(x);
    atomic_store(&x->cancel, 0);
    pthread_mutex_lock(&p->mu);
    ASSERT(x->state == STATE_BUSY);
    x->running = false;
    x->kill_at_ns = 0;
    const struct pool_workspace *w = pool__workspace(p, x->key->workspace);
    bool stale = !w || x->key->epoch < w->epoch || (w->retiring > 0 && x->holds_catalog);
    if (quiet && x->key->write && !x->killed && !x->dead && !p->closing) {
        x->state = STATE_DYING;
        x->reason = x->reason ? x->reason : REASON_USED;
        x->killed = true;
        x->kill_at_ns = sys_mono_ns() + MS_NS(CONF(engine_grace)) + 1;
        spawner__wake(p);
        pthread_cond_broadcast(&p->changed);
    } else if (!reusable || x->killed || x->dead || stale || x->key->write || p->closing) {
        pool__discard(x, p->closing  ? REASON_CLOSED
                         : !clean    ? REASON_ABANDONED
                         : !reusable ? REASON_USED
                         : stale     ? REASON_RETIRED
                                     : REASON_USED);
    } else {
        x->state = STATE_IDLE;
        x->idle_since_ns = sys_mono_ns();
        set_idle(p, 1);
        trim_idle(p);
    }
    pthread_mutex_unlock(&p->mu);
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
    timespec_of(deadline_ns, &ts);
    pthread_mutex_lock(&p->mu);
    struct pool_workspace *w = pool__workspace(p, workspace);
    if (!w) {
        pthread_mutex_unlock(&p->mu);
        return err_set(e, ERR_NOMEM, NULL, "out of memory");
    }
    if (epoch > w->epoch)
        w->epoch = epoch;
    w->retiring++;
    drop_older(p, workspace, epoch, true);
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
    trim_idle(p);
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
    timespec_of(sys_mono_ns() + CLOSE_WAIT_NS, &ts);
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
    spawner__wake(p);
    pthread_cond_signal(&p->chores_wanted);
    int rc = 0;
    while (p->all && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&p->changed, &p->mu, &ts);
    bool left = p->all != NULL;
    pthread_mutex_unlock(&p->mu);
    if (left)
        return; /* a caller still has an engine, or the kernel does not let one die: the memory stays theirs */
    spawner__stop(p);
    pool_free(p);
}

/*
 * registry_write: what is queued is written: group commit, and the thread that does it.
 *
 * Whoever works takes everything that is queued, so that throughput grows with load by itself while at low
 * load a write costs one fsync. That is the writer thread, or a thread that may block and brings the only
 * work there is (registry_queue_here), which saves two wakes; r->busy keeps them apart. The queue is guarded
 * by r->lock.
 */
#include <sqlite3.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "core/registry_int.h"

#define WRITES_PER_COMMIT 512
/* Pages in the WAL after which the writer checkpoints even when it is busy; when idle it does so much
 * earlier. */
#define WAL_PAGES_BUSY 16000
#define WAL_PAGES_IDLE 500
/* While held writes come one after the other, the writer looks for them every so often instead of being woken by each. */
#define TICK_NS     INT64_C(2000000)
#define TICK_FOR_NS INT64_C(8000000)

static int wal_pages; /* of whoever is busy; set by the hook below */

static int simple(struct registry *r, enum reg_stmt id, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, id, e);
    return registry__run(&r->writer, st, NULL, e);
}

/* ---- how many queries there are ---- */

int registry__counts_flush(struct registry *r, struct err *e)
{
    for (size_t i = 0; i < r->ncounts; i++) {
        const struct reg_count *c = &r->counts[i];
        struct sqlite3_stmt *st = c->n ? registry__stmt(&r->writer, REG_QUERY_COUNT, e) : NULL;
        if (c->n && !st)
            return e && e->code ? e->code : ERR_INTERNAL;
        if (!c->n)
            continue;
        sqlite3_bind_int64(st, 1, c->workspace);
        sqlite3_bind_int64(st, 2, c->user);
        sqlite3_bind_int(st, 3, c->state);
        sqlite3_bind_int64(st, 4, c->n);
        int rc = registry__run(&r->writer, st, NULL, e);
        if (rc)
            return rc;
    }
    r->ncounts = 0;
    return 0;
}

int registry__count(struct registry *r, int64_t workspace, int64_t user, int state, int64_t n, struct err *e)
{
    size_t i = 0;
    while (i < r->ncounts &&
           (r->counts[i].workspace != workspace || r->counts[i].user != user || r->counts[i].state != state))
        i++;
    if (i == REG_COUNTS_MAX) {
        int rc = registry__counts_flush(r, e);
        if (rc)
            return rc;
        i = 0;
    }
    if (i == r->ncounts) {
        r->counts[i] = (struct reg_count){workspace, user, 0, state};
        r->ncounts++;
    }
    r->counts[i].n += n;
    return 0;
}

/* Applies one write in its own savepoint; a failure takes back this write only. Returns the error when the
 * transaction itself is broken. */
static int apply_saved(struct registry *r, struct registry_write *w)
{
    w->rc = simple(r, REG_SAVE, &w->error);
    bool saved = w->rc == 0;
    if (saved)
        w->rc = w->apply(r, w, &w->error);
    if (saved && !w->rc)
        w->rc = registry__counts_flush(r, &w->error);
    if (saved && !w->rc)
        w->rc = simple(r, REG_RELEASE, &w->error);
    if (!w->rc)
        return 0;
    r->ncounts = 0;
    if (sqlite3_get_autocommit(r->writer.db))
        return w->rc; /* a full disk and the like take back the whole transaction */
    if (!saved)
        return 0;
    if (simple(r, REG_UNSAVE, NULL))
        return w->rc;
    (void)!simple(r, REG_RELEASE, NULL); /* an empty savepoint that stays open does not matter */
    return 0;
}

/* A failed fsync means that the kernel may have dropped what we wrote: only a restart, which replays the WAL,
 * tells what is really there. */
static void die_on_fsync(struct registry *r)
{
    int rc = sqlite3_extended_errcode(r->writer.db);
    if (rc != SQLITE_IOERR_FSYNC && rc != SQLITE_IOERR_DIR_FSYNC)
        return;
    log_event(LOG_ERROR, "core",
              "fsync of the registry failed: stopping, a restart recovers what was acknowledged", NULL);
    _exit(70);
}

static bool is_full(const struct err *e)
{
    return strcmp(e->sqlstate, "53100") == 0;
}

static void roll_back(struct registry *r)
{
    r->ncounts = 0;
    if (!sqlite3_get_autocommit(r->writer.db))
        sqlite3_exec(r->writer.db, "ROLLBACK", NULL, NULL, NULL);
}

/* Applies the writes and commits. With `saves` a write that is refused takes back itself only; without, which
 * is cheaper, it ends the attempt: *ret_refused is set, nothing is changed, and 0 is returned. */
static int attempt(struct registry *r, struct registry_write *list, bool saves, bool *ret_refused,
                   struct err *e)
{
    int rc = simple(r, REG_BEGIN, e);
    if (rc)
        return rc;
    bool refused = false;
    for (struct registry_write *w = list; w && !rc && !refused; w = w->next) {
        err_clear(&w->error);
        if (saves)
            rc = apply_saved(r, w);
        else
            refused = (w->rc = w->apply(r, w, &w->error)) != 0;
        if (w->rc && is_full(&w->error))
            rc = w->rc; /* the rest would meet it too */
        if (rc)
            *e = w->error;
    }
    if (!rc && !refused)
        rc = registry__counts_flush(r, e);
    if (!rc && !refused)
        rc = simple(r, REG_COMMIT, e);
    if (rc)
        die_on_fsync(r);
    if (rc || refused)
        roll_back(r);
    *ret_refused = refused;
    return rc;
}

static int transaction(struct registry *r, struct registry_write *list, struct err *e)
{
    bool refused;
    int rc = attempt(r, list, false, &refused, e);
    if (!rc && refused && list->next)
        rc = attempt(r, list, true, &refused, e);
    return rc;
}

static void commit_batch(struct registry *r, struct registry_write *list)
{
    struct err e;
    err_clear(&e);
    int rc = transaction(r, list, &e);
    if (rc && is_full(&e) && r->on_full && r->on_full(r->on_full_arg)) {
        err_clear(&e);
        rc = transaction(r, list, &e);
    }
    if (rc)
        log_event(LOG_ERROR, "core", "registry transaction failed", "error", e.text, NULL);
    while (list) {
        struct registry_write *w = list;
        list = w->next; /* done() may free w */
        if (rc) {
            w->rc = rc;
            w->error = e;
        }
        if (w->done)
            w->done(w, w->rc, &w->error);
    }
}

static int on_wal(void *arg, struct sqlite3 *db, const char *name, int pages)
{
    (void)arg, (void)db, (void)name;
    wal_pages = pages;
    return SQLITE_OK;
}

static void checkpoint(struct registry *r)
{
    int rc = sqlite3_wal_checkpoint_v2(r->writer.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (rc != SQLITE_OK && rc != SQLITE_BUSY)
        die_on_fsync(r);
    wal_pages = 0;
}

/* Cuts up to WRITES_PER_COMMIT writes off the queue when at least one may go. Returns NULL and the instant of
 * the first held one otherwise. Lock held. */
static struct registry_write *take(struct registry *r, int64_t now, int64_t *ret_until)
{
    int64_t until = INT64_MAX;
    bool go = r->hurry || r->stop;
    for (struct registry_write *w = r->head; w && !go; w = w->next) {
        if (w->hold_until_ns <= now)
            go = true;
        else if (w->hold_until_ns < until)
            until = w->hold_until_ns;
    }
    *ret_until = until;
    if (!go || !r->head)
        return NULL;
    struct registry_write *list = r->head, *last = list;
    int n = 1;
    while (last->next && n < WRITES_PER_COMMIT)
        last = last->next, n++;
    r->head = last->next;
    if (!r->head) {
        r->tail = &r->head;
        r->hurry = false;
    }
    last->next = NULL;
    r->backlog -= n;
    return list;
}

/* Takes a batch if one may go and nobody else is at it, and commits it. *ret_until: see take. Lock held on
 * entry and return, not meanwhile. */
static bool work(struct registry *r, int64_t *ret_until)
{
    *ret_until = INT64_MAX;
    struct registry_write *list = r->busy ? NULL : take(r, sys_mono_ns(), ret_until);
    if (!list)
        return false;
    r->busy = true;
    pthread_mutex_unlock(&r->lock);
    commit_batch(r, list);
    if (wal_pages > WAL_PAGES_BUSY)
        checkpoint(r);
    pthread_mutex_lock(&r->lock);
    r->busy = false;
    return true;
}

/* Nothing to do: the log is emptied while nobody waits. Lock as above. */
static bool tidy(struct registry *r)
{
    if (r->busy || r->head || wal_pages <= WAL_PAGES_IDLE)
        return false;
    r->busy = true;
    pthread_mutex_unlock(&r->lock);
    checkpoint(r);
    pthread_mutex_lock(&r->lock);
    r->busy = false;
    return true;
}

static void *writer_main(void *arg)
{
    struct registry *r = arg;
    pthread_setname_np(pthread_self(), "q-registry");
    pthread_mutex_lock(&r->lock);
    for (;;) {
        int64_t until;
        if (work(r, &until))
            continue;
        if (r->stop && !r->busy)
            break;
        if (tidy(r))
            continue;
        int64_t now = sys_mono_ns();
        r->ticking = r->held_ns > 0 && now - r->held_ns < TICK_FOR_NS;
        if (r->ticking && until > now + TICK_NS)
            until = now + TICK_NS;
        if (until == INT64_MAX) {
            pthread_cond_wait(&r->wake, &r->lock);
        } else {
            struct timespec ts = {until / 1000000000, until % 1000000000};
            pthread_cond_timedwait(&r->wake, &r->lock, &ts);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* Lock held. */
static void append(struct registry *r, struct registry_write *w)
{
    w->next = NULL;
    *r->tail = w;
    r->tail = &w->next;
    r->backlog++;
}

void registry_queue(struct registry *r, struct registry_write *w)
{
    int64_t held_ns = w->hold_until_ns ? sys_mono_ns() : 0;
    pthread_mutex_lock(&r->lock);
    append(r, w);
    if (held_ns)
        r->held_ns = held_ns;
    if (!held_ns || !r->ticking)
        pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

void registry_hurry(struct registry *r)
{
    pthread_mutex_lock(&r->lock);
    r->hurry = r->head != NULL;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

void registry_queue_here(struct registry *r, struct registry_write *w)
{
    int64_t until;
    pthread_mutex_lock(&r->lock);
    append(r, w);
    r->hurry = true;
    bool done = work(r, &until);
    if (!done || r->head || r->stop || wal_pages > WAL_PAGES_IDLE)
        pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

int registry_backlog(struct registry *r)
{
    pthread_mutex_lock(&r->lock);
    int n = r->backlog;
    pthread_mutex_unlock(&r->lock);
    return n;
}

struct sync_write {
    struct registry_write w;
    struct registry_write *user;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool over;
};

static int sync_apply(struct registry *r, struct registry_write *w, struct err *e)
{
    struct sync_write *s = (struct sync_write *)(void *)w;
    return s->user->apply(r, s->user, e);
}

static void sync_done(struct registry_write *w, int rc, const struct err *e)
{
    (void)rc, (void)e;
    struct sync_write *s = (struct sync_write *)(void *)w;
    pthread_mutex_lock(&s->lock);
    s->over = true;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

int registry_do(struct registry *r, struct registry_write *user, struct err *e)
{
    struct sync_write s = {.w = {.apply = sync_apply, .done = sync_done}, .user = user};
    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.cond, NULL);
    registry_queue(r, &s.w);
    pthread_mutex_lock(&s.lock);
    while (!s.over)
        pthread_cond_wait(&s.cond, &s.lock);
    pthread_mutex_unlock(&s.lock);
    pthread_mutex_destroy(&s.lock);
    pthread_cond_destroy(&s.cond);
    if (s.w.rc && e)
        *e = s.w.error;
    return s.w.rc;
}

void registry_on_full(struct registry *r, bool (*fn)(void *arg), void *arg)
{
    r->on_full = fn;
    r->on_full_arg = arg;
}

static int apply_nothing(struct registry *r, struct registry_write *w, struct err *e)
{
    (void)r, (void)w, (void)e;
    return 0;
}

void registry_sync(struct registry *r)
{
    struct registry_write w = {.apply = apply_nothing};
    (void)!registry_do(r, &w, NULL);
}

int registry__writer_start(struct registry *r, struct err *e)
{
    sqlite3_wal_hook(r->writer.db, on_wal, r);
    r->running = pthread_create(&r->thread, NULL, writer_main, r) == 0;
    return r->running ? 0 : err_set(e, ERR_NOMEM, "53000", "cannot start the registry's thread");
}

void registry__writer_stop(struct registry *r)
{
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    if (r->running)
        pthread_join(r->thread, NULL);
}

/*
 * registry: connections, the writer thread with group commit, the pool of readers. See registry.h for the
 * promises.
 *
 * The writer takes everything that is queued, so that throughput grows with load by itself while at low load
 * a write costs one fsync. Threads: `writer` is touched by whoever is `busy` with a batch: the writer thread,
 * or a thread that may block and brings the only work there is (registry_queue_here), which saves two wakes.
 * The reader list and the queue are guarded by r->lock.
 */
#include "core/registry.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/sys.h"
#include "core/registry_int.h"

#define READERS_KEPT      8
#define WRITES_PER_COMMIT 512
/* Pages in the WAL after which the writer checkpoints even when it is busy; when idle it does so much
 * earlier. */
#define WAL_PAGES_BUSY 16000
#define WAL_PAGES_IDLE 500
/* While held writes come, the writer looks for them every so often instead of being woken by each. */
#define TICK_NS     INT64_C(2000000)
#define TICK_FOR_NS INT64_C(100000000)

static int wal_pages; /* of whoever is busy; set by the hook below */

int registry__error(struct sqlite3 *db, int rc, struct err *e)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return err_set(e, ERR_UNAVAILABLE, "53100", "the disk is full: the query cannot be recorded now");
    case SQLITE_NOMEM:
        return err_set(e, ERR_NOMEM, "53200", "out of memory in the registry");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return err_set(e, ERR_CORRUPT, "XX001", "the registry file is damaged (%s)",
                       db ? sqlite3_errmsg(db) : "open");
    case SQLITE_CONSTRAINT:
        return err_set(e, ERR_CONFLICT, "23505", "exists already");
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_IOERR:
        return err_set(e, ERR_UNAVAILABLE, "58030", "the registry cannot be written or read now (%s)",
                       sqlite3_errstr(rc));
    default:
        return err_set(e, ERR_INTERNAL, "XX000", "registry: %s",
                       db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
    }
}

static int conn_exec(struct sqlite3 *db, const char *sql, struct err *e)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : registry__error(db, rc, e);
}

static void conn_close(struct reg_conn *c)
{
    for (int i = 0; i < REG_STMTS; i++)
        sqlite3_finalize(c->stmts[i]);
    sqlite3_close(c->db);
    memset(c, 0, sizeof *c);
}

static int conn_open(struct registry *r, struct reg_conn *c, bool writer, struct err *e)
{
    int flags =
        (writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX;
    int rc = sys_fault(SYS_OPEN) ? SQLITE_CANTOPEN : sqlite3_open_v2(r->path, &c->db, flags, registry__vfs());
    if (rc != SQLITE_OK) {
        int code = registry__error(c->db, rc, e);
        conn_close(c);
        return code;
    }
    sqlite3_extended_result_codes(c->db, 1);
    sqlite3_busy_timeout(c->db, 10000);
    rc = conn_exec(c->db,
                   writer ? "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
                            "PRAGMA trusted_schema=OFF;"
                            "PRAGMA cell_size_check=ON; PRAGMA wal_autocheckpoint=0; PRAGMA "
                            "temp_store=MEMORY; PRAGMA cache_size=-8192"
                          : "PRAGMA trusted_schema=OFF; PRAGMA query_only=ON; PRAGMA temp_store=MEMORY; "
                            "PRAGMA cache_size=-2048",
                   e);
    if (rc)
        conn_close(c);
    return rc;
}

struct sqlite3_stmt *registry__stmt(struct reg_conn *c, enum reg_stmt id, struct err *e)
{
    struct sqlite3_stmt *st = c->stmts[id];
    if (!st) {
        int rc = sqlite3_prepare_v3(c->db, registry__sql[id], -1, SQLITE_PREPARE_PERSISTENT, &st, NULL);
        if (rc != SQLITE_OK) {
            registry__error(c->db, rc, e);
            return NULL;
        }
        c->stmts[id] = st;
    } else {
        sqlite3_reset(st);
        sqlite3_clear_bindings(st);
    }
    return st;
}

int registry__row(struct reg_conn *c, struct sqlite3_stmt *st, struct err *e)
{
    int rc = sys_fault(SYS_SQLITE) ? SQLITE_IOERR : sqlite3_step(st);
    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE) {
        sqlite3_reset(st);
        return 0;
    }
    rc = registry__error(c->db, rc, e);
    sqlite3_reset(st);
    return rc;
}

int registry__run(struct reg_conn *c, struct sqlite3_stmt *st, int *ret_changes, struct err *e)
{
    if (!st)
        return e && e->code ? e->code : ERR_INTERNAL;
    int rc = registry__row(c, st, e);
    if (rc > 0) {
        sqlite3_reset(st);
        rc = 0;
    }
    if (rc == 0 && ret_changes)
        *ret_changes = sqlite3_changes(c->db);
    return rc;
}

const char *registry__text(struct sqlite3_stmt *st, int col, struct arena *a)
{
    const char *p = (const char *)sqlite3_column_text(st, col);
    return p ? arena_strndup(a, p, (size_t)sqlite3_column_bytes(st, col)) : NULL;
}

/* ---- readers ---- */

int registry__reader(struct registry *r, struct reg_conn **ret, struct err *e)
{
    pthread_mutex_lock(&r->lock);
    struct reg_conn *c = r->readers;
    if (c) {
        r->readers = c->next;
        r->nreaders--;
    }
    pthread_mutex_unlock(&r->lock);
    if (!c) {
        c = calloc(1, sizeof *c);
        if (!c)
            return err_set(e, ERR_NOMEM, "53200", "out of memory in the registry");
        int rc = conn_open(r, c, false, e);
        if (rc) {
            free(c);
            return rc;
        }
    }
    c->next = NULL;
    *ret = c;
    return 0;
}

void registry__reader_back(struct registry *r, struct reg_conn *c)
{
    pthread_mutex_lock(&r->lock);
    bool keep = r->nreaders < READERS_KEPT;
    if (keep) {
        c->next = r->readers;
        r->readers = c;
        r->nreaders++;
    }
    pthread_mutex_unlock(&r->lock);
    if (!keep) {
        conn_close(c);
        free(c);
    }
}

/* ---- writer ---- */

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

/* ---- open and close ---- */

static int migrate(struct registry *r, struct err *e)
{
    struct sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(r->writer.db, "PRAGMA user_version", -1, &st, NULL);
    if (rc != SQLITE_OK)
        return registry__error(r->writer.db, rc, e);
    int version = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int(st, 0) : -1;
    sqlite3_finalize(st);
    if (version < 0)
        return err_set(e, ERR_CORRUPT, "XX001", "the registry file cannot be read");
    if (version > registry__nmigrations)
        return err_set(e, ERR_CONFLICT, "0A000",
                       "the registry has version %d, this program knows up to %d: use a newer quernd",
                       version, registry__nmigrations);
    for (; version < registry__nmigrations; version++) {
        char set[64];
        snprintf(set, sizeof set, "PRAGMA user_version = %d; COMMIT", version + 1);
        rc = conn_exec(r->writer.db, "BEGIN IMMEDIATE", e);
        if (!rc)
            rc = conn_exec(r->writer.db, registry__migrations[version], e);
        if (!rc)
            rc = conn_exec(r->writer.db, set, e);
        if (rc)
            return rc;
    }
    return 0;
}

/* ---- after an unclean stop ---- */

#define CHECK_MAX ((int64_t)256 << 20) /* a larger file is not read through at the start */

static int64_t size_of(const char *path, const char *suffix)
{
    char name[4096];
    struct stat st;
    return snprintf(name, sizeof name, "%s%s", path, suffix) < (int)sizeof name && stat(name, &st) == 0
               ? (int64_t)st.st_size
               : 0;
}

/* The write-ahead log carries checksums and is replayed by SQLite at the first read; then the file itself is
 * looked through. */
static int check(struct registry *r, int64_t wal, int64_t start_ns, struct err *e)
{
    int64_t size = size_of(r->path, "");
    if (size > CHECK_MAX) {
        log_line(LOG_WARN, "core",
                 "start after an unclean stop: %lld bytes of the registry's log replayed in %lld ms; its "
                 "file (%lld bytes) is too large to be looked through",
                 (long long)wal, (long long)((sys_mono_ns() - start_ns) / 1000000), (long long)size);
        return 0;
    }
    struct sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(r->writer.db, "PRAGMA quick_check(1)", -1, &st, NULL);
    if (rc != SQLITE_OK)
        return registry__error(r->writer.db, rc, e);
    rc = sqlite3_step(st);
    const char *text = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
    if (!text)
        rc = registry__error(r->writer.db, rc, e);
    else if (strcmp(text, "ok") != 0)
        rc =
            err_set(e, ERR_CORRUPT, "XX001", "the registry file is damaged (%.200s): restore a backup", text);
    else
        rc = 0;
    sqlite3_finalize(st);
    if (!rc)
        log_line(LOG_WARN, "core",
                 "start after an unclean stop: %lld bytes of the registry's log replayed, its file (%lld "
                 "bytes) looked through, in %lld ms",
                 (long long)wal, (long long)size, (long long)((sys_mono_ns() - start_ns) / 1000000));
    return rc;
}

bool registry_was_clean(const struct registry *r)
{
    return !r->unclean;
}

static void registry_free(struct registry *r)
{
    while (r->readers) {
        struct reg_conn *c = r->readers;
        r->readers = c->next;
        conn_close(c);
        free(c);
    }
    conn_close(&r->writer);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->wake);
    free(r->path);
    free(r);
}

int registry_open(const char *data_dir, struct registry **ret, struct err *e)
{
    struct registry *r = calloc(1, sizeof *r);
    if (!r || asprintf(&r->path, "%s/registry.db", data_dir) < 0) {
        free(r);
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    }
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &attr);
    pthread_condattr_destroy(&attr);
    r->tail = &r->head;
    int64_t wal = size_of(r->path, "-wal"), start_ns = sys_mono_ns();
    r->unclean = wal > 0; /* a clean stop leaves none */
    int rc = conn_open(r, &r->writer, true, e);
    if (!rc && r->unclean)
        rc = check(r, wal, start_ns, e);
    if (!rc)
        rc = migrate(r, e);
    if (!rc) {
        sqlite3_wal_hook(r->writer.db, on_wal, r);
        r->running = pthread_create(&r->thread, NULL, writer_main, r) == 0;
        if (!r->running)
            rc = err_set(e, ERR_NOMEM, "53000", "cannot start the registry's thread");
    }
    if (rc) {
        registry_free(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void registry_close(struct registry *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    if (r->running)
        pthread_join(r->thread, NULL);
    sqlite3_wal_checkpoint_v2(r->writer.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    registry_free(r);
}

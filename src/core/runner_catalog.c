/*
 * runner_catalog: what a run does about its workspace's catalog: which lock, waiting for it, and the writers
 * that only open and close the file. See runner.c for the order of things and catalog.h for the lock.
 *
 * Invariants. A process has the catalog's file open only while somebody holds the lock for it, or idle: then
 * the next writer ends it first (pool_retire). A file named catalog.duckdb was once closed whole: a new one
 * is made under another name. Readers never meet a log: who holds the write lock brings it in before it lets
 * go, and the first user after a start does.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/runner_int.h"

#define RETIRE_NS INT64_C(30000000000)

/* ---- words ---- */

static const char **dataset_names(struct run *r, const struct engine_key *k)
{
    const char **names = arena_alloc(r->arena, (k->ndatasets + 1) * sizeof *names);
    for (uint32_t i = 0; names && i < k->ndatasets; i++)
        names[i] = k->datasets[i].name;
    return names;
}

/* The statement and what its words may mean; also the reader's key. False when the workspace is gone or
 * memory is out: a run will say so. */
static bool text_of(struct run *r, struct engine_key *key, struct catalog_text *t)
{
    const struct query_record *rec = &r->q->rec;
    if (workspace_engine_key(r->s->workspaces, rec->workspace, false, r->arena, key, NULL))
        return false;
    const char **names = dataset_names(r, key);
    if (!names)
        return false;
    *t = (struct catalog_text){rec->sql,       rec->sql_len, rec->default_source, rec->default_database,
                               key->ndatasets, names,        rec->script != 0};
    return true;
}

uint8_t runner__look(struct run *r)
{
    struct engine_key key;
    struct catalog_text t;
    if (!text_of(r, &key, &t))
        return NEED_READ;
    switch (catalog_need(&t)) {
    case CATALOG_NONE:
        return NEED_NONE;
    case CATALOG_WRITE:
        return r->q->rec.read_only ? NEED_READ : NEED_WRITE;
    case CATALOG_READ:
        break;
    }
    return NEED_READ;
}

/* ---- the lock ---- */

static void answered(struct catalog_claim *c, enum catalog_answer a)
{
    struct query *q = (struct query *)(void *)((char *)c - offsetof(struct query, claim));
    pthread_mutex_lock(&q->lock);
    q->waiting = false;
    query_signal_unlock(q, 0, true);
    if (a == CATALOG_GRANTED)
        scheduler_push_front(q->service->scheduler, q);
    else if (a == CATALOG_EXPIRED)
        service__end(q, END_CATALOG_WAIT, NULL, NULL, 0);
    query_unref(q);
}

bool runner__hold(struct run *r)
{
    struct query *q = r->q;
    struct catalog *c = r->s->catalog;
    if (q->holds)
        return true;
    if (q->need == NEED_NONE) {
        catalog_decline(c, &q->claim);
        return true;
    }
    q->claim.answer = answered;
    q->holds = true; /* once it waits, the query is the next worker's */
    pthread_mutex_lock(&q->lock);
    q->waiting = true;
    pthread_mutex_unlock(&q->lock);
    query_ref(q);
    if (catalog_take(c, &q->claim, q->rec.workspace, q->need == NEED_WRITE || q->need == NEED_REFRESH)) {
        pthread_mutex_lock(&q->lock);
        q->waiting = false;
        pthread_mutex_unlock(&q->lock);
        query_unref(q);
        return true;
    }
    pthread_mutex_lock(&q->lock);
    bool over = query_state_ended(q->rec.state);
    query_signal_unlock(q, 0, true);
    /* A cancel that came before the claim stood in the queue did not find it. */
    if (over && catalog_forget(c, &q->claim))
        query_unref(q);
    return false;
}

void runner__let_go(struct run *r)
{
    if (!r->q->holds)
        return;
    r->q->holds = false;
    catalog_release(r->s->catalog, &r->q->claim);
}

void runner__left(struct service *s, struct query *q)
{
    if (!q->holds || !s->catalog)
        return; /* none: the service closes */
    q->holds = false;
    catalog_release(s->catalog, &q->claim);
}

bool runner__lane(struct run *r)
{
    struct engine_key key;
    struct catalog_text t;
    if (!text_of(r, &key, &t))
        return false;
    r->no_catalog = catalog_need(&t) == CATALOG_NONE;
    if (r->no_catalog)
        return true;
    struct catalog_claim claim = {0};
    if (!catalog_try(r->s->catalog, r->lane, r->q->rec.workspace, false)) {
        *r->lane = claim;
        return false;
    }
    return !key.catalog_path[0] || catalog_views(r->lane) != 0;
}

/* ---- writers that only open and close ---- */

/* Is there anything beside the file that is not in it yet? */
static bool log_left(const char *path)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    ASSERT(slash);
    *slash = 0;
    const char *name = slash + 1;
    size_t n = strlen(name);
    DIR *d = opendir(folder);
    if (!d)
        return errno != ENOENT;
    bool left = false;
    for (struct dirent *x; !left && (x = readdir(d));) {
        struct stat st;
        if (strncmp(x->d_name, name, n) != 0 || x->d_name[n] != '.')
            continue;
        left = fstatat(dirfd(d), x->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size > 0;
    }
    closedir(d);
    return left;
}

/* Removes `path` and what the engine may have left beside it. */
static void remove_files(const char *path, bool itself)
{
    static const char *const beside[] = {
        "", ".wal", ".wal.checkpoint", ".wal.recovery", ".checkpoint.wal", ".recovery.wal"};
    char name[4200];
    for (size_t i = itself ? 0 : 1; i < sizeof beside / sizeof beside[0]; i++) {
        snprintf(name, sizeof name, "%s%s", path, beside[i]);
        (void)sys_unlinkat(AT_FDCWD, name, 0);
    }
}

static int retire(struct run *r, uint64_t epoch, struct err *e)
{
    return pool_retire(r->s->pool, r->q->rec.workspace, epoch, sys_mono_ns() + RETIRE_NS, e);
}

/* One writer on `path` that runs nothing: it brings a log in, makes the datasets' views, and closes. */
static int open_and_close(struct run *r, const struct engine_key *key, struct err *e)
{
    struct engine *x = NULL;
    int rc = retire(r, key->epoch, e);
    if (!rc)
        rc = pool_acquire(r->s->pool, key, &x, e);
    if (rc)
        return rc;
    const struct wire_job job = {.job = 1,
                                 .sql = "SELECT 1",
                                 .sql_len = 8,
                                 .default_catalog = "",
                                 .default_schema = "",
                                 .row_limit = -1,
                                 .max_rows = 10,
                                 .max_bytes = 1u << 20,
                                 .inline_max = 4096,
                                 .timezone = ""};
    rc = engine_start(x, &job, e);
    bool done = false;
    for (bool on = !rc; on;) {
        struct engine_event ev;
        rc = engine_next(x, INT64_MAX, &ev, e);
        if (rc)
            break;
        done = ev.type == ENGINE_DONE;
        on = ev.type == ENGINE_PLANNED || ev.type == ENGINE_BATCH || ev.type == ENGINE_BEAT ||
             ev.type == ENGINE_TICK;
    }
    engine_release(x);
    struct err late;
    err_clear(&late);
    int gone = retire(r, key->epoch, &late);
    if (!rc && !done)
        rc = err_set(e, ERR_ENGINE, "58000", "the catalog's writer did not close the catalog");
    if (!rc && gone)
        rc = err_set(e, gone, "58000", "%s", late.text);
    if (!rc && log_left(key->catalog_path))
        rc = err_set(e, ERR_IO, "58030", "the catalog's log could not be brought in");
    return rc;
}

/* The catalog's file is made under another name, so that a file of its name is always a whole one. */
static int create(struct run *r, const struct engine_key *key, struct err *e)
{
    char fresh[4096];
    snprintf(fresh, sizeof fresh, "%s", key->catalog_path);
    char *slash = strrchr(fresh, '/');
    ASSERT(slash && (size_t)(slash - fresh) + 16 < sizeof fresh);
    memcpy(slash + 1, "new.duckdb", 11);
    struct engine_key k = *key;
    k.catalog_path = fresh;
    remove_files(fresh, true);
    remove_files(key->catalog_path, false);
    int rc = open_and_close(r, &k, e);
    if (rc)
        return rc;
    CLEANUP_FD int fd = sys_open(fresh, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0 || sys_fsync(fd) < 0 || sys_rename(fresh, key->catalog_path) < 0)
        return err_errno(e, errno, "making the catalog");
    *slash = 0;
    if (sys_fsync_dir(fresh) < 0)
        return err_errno(e, errno, "making the catalog");
    log_line(LOG_INFO, "core", "a catalog was made for workspace %lld", (long long)key->workspace);
    return 0;
}

static void refresh(struct run *r, const struct engine_key *key)
{
    struct err e;
    err_clear(&e);
    catalog_set_views(&r->q->claim, 0);
    int rc = open_and_close(r, key, &e);
    if (!rc)
        catalog_set_views(&r->q->claim, key->epoch);
    else
        log_event(LOG_ERROR, "core", "a workspace's catalog could not be brought up to date", "error", e.text,
                  NULL);
}

void runner__refresh(struct run *r)
{
    struct engine_key key;
    if (workspace_engine_key(r->s->workspaces, r->q->rec.workspace, true, r->arena, &key, NULL))
        return;
    if (access(key.catalog_path, F_OK) < 0 || catalog_views(&r->q->claim) == key.epoch)
        return; /* none, or somebody was quicker */
    refresh(r, &key);
}

bool runner__stale(struct run *r)
{
    struct query *q = r->q;
    struct engine_key key;
    struct catalog_text t;
    if (q->refreshed || !text_of(r, &key, &t) || !key.catalog_path[0])
        return false;
    uint64_t views = catalog_views(&q->claim);
    if (views == key.epoch)
        return false;
    runner__let_go(r);
    q->after = q->need;
    q->refreshed = true;
    bool must = views == 0 || catalog_mentions_dataset(&t);
    if (!must) { /* old views do for this statement; new ones if nobody minds */
        if (!catalog_try(r->s->catalog, &q->claim, q->rec.workspace, true))
            return true;
        q->holds = true;
    }
    q->need = NEED_REFRESH;
    return true;
}

void runner__without(struct run *r)
{
    struct engine_key key;
    if (workspace_engine_key(r->s->workspaces, r->q->rec.workspace, false, r->arena, &key, NULL) ||
        key.catalog_path[0])
        return;
    r->no_catalog = true;
    runner__let_go(r);
}

/* ---- writing ---- */

int runner__before_write(struct run *r)
{
    int rc = workspace_engine_key(r->s->workspaces, r->q->rec.workspace, true, r->arena, &r->key, &r->err);
    if (!rc)
        rc = retire(r, r->key.epoch, &r->err);
    if (!rc && access(r->key.catalog_path, F_OK) < 0)
        rc = create(r, &r->key, &r->err);
    return rc;
}

void runner__after_write(struct run *r)
{
    struct err e;
    err_clear(&e);
    if (!r->key.write)
        return; /* it did not come so far */
    if (retire(r, r->key.epoch, &e)) {
        log_event(LOG_ERROR, "core", "a catalog's writer does not end", "error", e.text, NULL);
        catalog_set_views(&r->q->claim, 0);
    } else if (!log_left(r->key.catalog_path)) {
        catalog_set_views(&r->q->claim, access(r->key.catalog_path, F_OK) == 0 ? r->key.epoch : 0);
    } else if (!atomic_load(&r->s->stopping)) {
        log_event(LOG_WARN, "core", "a catalog's writer did not close it: it is opened again", NULL);
        refresh(r, &r->key);
    }
}

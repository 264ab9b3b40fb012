/*
 * workspace: the tenants in memory, with their buckets and datasets; workspace_admin.c is what an administrator does with
 * them.
 *
 * All rows are read into one immutable model; a change is committed in the registry first and then a new
 * model takes the place of the old one. Invariants: what a reader gets is one model's, so that epoch and
 * datasets belong together; texts are copied into the caller's arena before the lock is let go. Threads:
 * reads on any thread under `lock` (the catalog's file is looked for with one access()); administration on
 * threads that may block, one at a time (`admin`).
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/workspace_int.h"

#include "base/sys.h"
#include "core/dataset.h"
#include "core/loader.h"
#include "core/registry.h"
#include "results/bucket.h"

#define MODEL_BYTES_MAX ((size_t)256 << 20)

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "53200", "out of memory");
}

int workspace__none(struct err *e, const char *name)
{
    if (!name)
        return err_set(e, ERR_NOTFOUND, "02000", "there is no such workspace");
    return err_set(e, ERR_NOTFOUND, "02000",
                   "there is no workspace \"%.255s\"; \"key create --workspace ...\" makes one", name);
}

/* ---- limits ---- */

const struct workspace_limit_row workspace__limits[WORKSPACE_LIMITS] = {
    [LIMIT_QUEUE] = {"queue", CONFIG_INT, 10000000},
    [LIMIT_SLOTS] = {"slots", CONFIG_INT, 256},
    [LIMIT_SPOOL_BYTES] = {"spool_bytes", CONFIG_SIZE, (int64_t)1 << 60},
    [LIMIT_ROWS] = {"rows", CONFIG_INT, 1000000000000000},
    [LIMIT_RUN_TIMEOUT] = {"run_timeout", CONFIG_MS, 864000000},
};

const char *workspace_limit_name(enum workspace_limit key)
{
    return workspace__limits[key].name;
}

enum workspace_limit workspace__limit_find(const char *name, size_t n)
{
    enum workspace_limit k = 0;
    while (k < WORKSPACE_LIMITS &&
           !(strlen(workspace__limits[k].name) == n && memcmp(workspace__limits[k].name, name, n) == 0))
        k++;
    return k;
}

/* ---- the model ---- */

struct workspace_loader {
    struct loader l; /* first */
    struct workspace_row *workspaces;
    struct dataset_row *datasets;
    struct bucket_row *buckets;
    size_t nworkspaces, ndatasets, nbuckets;
    struct model *built; /* for the limits, which come last */
};

static void load_workspace(void *arg, const struct workspace_row *row)
{
    struct workspace_loader *l = arg;
    void *p = loader_room(&l->l, l->workspaces, l->nworkspaces, sizeof *row);
    if (!p)
        return;
    l->workspaces = p;
    struct workspace_row *w = &l->workspaces[l->nworkspaces++];
    *w = *row;
    w->name = loader_keep(&l->l, row->name);
    w->uuid = loader_keep(&l->l, row->uuid);
}

static void load_dataset(void *arg, const struct dataset_row *row)
{
    struct workspace_loader *l = arg;
    void *p = loader_room(&l->l, l->datasets, l->ndatasets, sizeof *row);
    if (!p)
        return;
    l->datasets = p;
    struct dataset_row *d = &l->datasets[l->ndatasets++];
    *d = *row;
    d->name = loader_keep(&l->l, row->name);
    d->path = loader_keep(&l->l, row->path);
    d->format = loader_keep(&l->l, row->format);
}

static void load_bucket(void *arg, const struct bucket_row *row)
{
    struct workspace_loader *l = arg;
    void *p = loader_room(&l->l, l->buckets, l->nbuckets, sizeof *row);
    if (!p)
        return;
    l->buckets = p;
    struct bucket_row *b = &l->buckets[l->nbuckets++];
    *b = *row;
    b->name = loader_keep(&l->l, row->name);
    b->url = loader_keep(&l->l, row->url);
}

static int build(struct workspace_loader *l, struct model *m, struct err *e)
{
    if (l->l.failed)
        return no_memory(e);
    m->arena = l->l.arena;
    m->n = l->nworkspaces;
    m->all = arena_alloc(l->l.arena, m->n * sizeof *m->all);
    if (!m->all)
        return no_memory(e);
    for (size_t i = 0; i < m->n; i++) {
        struct workspace *w = &m->all[i];
        w->row = l->workspaces[i];
        size_t nd = 0, nb = 0;
        for (size_t k = 0; k < l->ndatasets; k++)
            nd += l->datasets[k].workspace == w->row.id;
        for (size_t k = 0; k < l->nbuckets; k++)
            nb += l->buckets[k].workspace == w->row.id;
        w->datasets = arena_alloc(l->l.arena, nd * sizeof *w->datasets);
        w->buckets = arena_alloc(l->l.arena, nb * sizeof *w->buckets);
        if (!w->datasets || !w->buckets)
            return no_memory(e);
        for (size_t k = 0; k < l->ndatasets; k++)
            if (l->datasets[k].workspace == w->row.id)
                w->datasets[w->ndatasets++] = l->datasets[k];
        for (size_t k = 0; k < l->nbuckets; k++)
            if (l->buckets[k].workspace == w->row.id)
                w->buckets[w->nbuckets++] = l->buckets[k];
    }
    return 0;
}

static void load_limit(void *arg, int64_t workspace, const char *key, int64_t value)
{
    struct workspace_loader *l = arg;
    enum workspace_limit k = workspace__limit_find(key, strlen(key));
    for (size_t i = 0; k < WORKSPACE_LIMITS && i < l->built->n; i++)
        if (l->built->all[i].row.id == workspace)
            l->built->all[i].limits[k] = value;
}

int workspaces_reload(struct workspaces *w, struct err *e)
{
    struct workspace_loader l = {.l.arena = arena_new(MODEL_BYTES_MAX)};
    struct model fresh = {0}, old = {.arena = l.l.arena};
    if (!l.l.arena)
        return no_memory(e);
    int rc = registry_each_workspace(w->registry, load_workspace, &l, e);
    if (!rc)
        rc = registry_each_dataset(w->registry, load_dataset, &l, e);
    if (!rc)
        rc = registry_each_bucket(w->registry, load_bucket, &l, e);
    if (!rc)
        rc = build(&l, &fresh, e);
    l.built = &fresh;
    if (!rc)
        rc = registry_each_limit(w->registry, load_limit, &l, e);
    if (!rc) {
        pthread_rwlock_wrlock(&w->lock);
        old = w->model;
        w->model = fresh;
        pthread_rwlock_unlock(&w->lock);
    }
    free(l.workspaces);
    free(l.datasets);
    free(l.buckets);
    arena_free(old.arena);
    return rc;
}

int workspaces_open(struct registry *r, const char *data_dir, struct workspaces **ret, struct err *e)
{
    struct workspaces *w = calloc(1, sizeof *w);
    if (!w)
        return no_memory(e);
    w->registry = r;
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&w->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&w->admin, NULL);
    char catalog[PATH_BYTES];
    w->data_dir = realpath(data_dir, NULL);
    int rc = w->data_dir ? 0 : err_errno(e, errno, "the data folder");
    if (!rc && snprintf(catalog, sizeof catalog, "%s/catalog", w->data_dir) >= (int)sizeof catalog - 64)
        rc = err_set(e, ERR_INVALID, NULL, "the name of the data folder is too long");
    if (!rc && sys_mkdir_p(catalog, 0700) < 0)
        rc = err_errno(e, errno, "making the catalogs' folder");
    if (!rc)
        rc = workspaces_reload(w, e);
    if (rc) {
        workspaces_close(w);
        return rc;
    }
    *ret = w;
    return 0;
}

void workspaces_close(struct workspaces *w)
{
    if (!w)
        return;
    arena_free(w->model.arena);
    pthread_rwlock_destroy(&w->lock);
    pthread_mutex_destroy(&w->admin);
    free(w->data_dir);
    free(w);
}

/* Lock held. */
static const struct workspace *by_id(const struct workspaces *w, int64_t id)
{
    size_t low = 0, high = w->model.n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (w->model.all[mid].row.id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < w->model.n && w->model.all[low].row.id == id ? &w->model.all[low] : NULL;
}

/* ---- what the other rooms ask ---- */

static int fill_key(const struct workspaces *w, const struct workspace *x, bool write, struct arena *a,
                    struct engine_key *ret, struct err *e)
{
    struct engine_key k = {
        .workspace = x->row.id, .epoch = x->row.epoch, .write = write, .ndatasets = (uint32_t)x->ndatasets};
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/catalog/%lld", w->data_dir,
             (long long)x->row.id); /* a folder each: a process is granted the folder */
    if (write && sys_mkdir_p(path, 0700) < 0)
        return err_errno(e, errno, "making the catalog's folder");
    snprintf(path, sizeof path, "%s/catalog/%lld/catalog.duckdb", w->data_dir, (long long)x->row.id);
    /* A writer makes the file, readers begin to see it when it is there. */
    k.catalog_path = arena_strdup(a, write || access(path, F_OK) == 0 ? path : "");
    struct wire_dataset *d = arena_alloc(a, x->ndatasets * sizeof *d);
    if (!k.catalog_path || !d)
        return no_memory(e);
    k.datasets = d;
    for (size_t i = 0; i < x->ndatasets; i++) {
        d[i].name = arena_strdup(a, x->datasets[i].name);
        d[i].path = arena_strdup(a, x->datasets[i].path);
        d[i].format = arena_strdup(a, x->datasets[i].format);
        d[i].folder = x->datasets[i].folder;
        if (!d[i].name || !d[i].path || !d[i].format)
            return no_memory(e);
    }
    *ret = k;
    return 0;
}

int workspace_engine_key(struct workspaces *w, int64_t workspace, bool write, struct arena *a,
                         struct engine_key *ret, struct err *e)
{
    pthread_rwlock_rdlock(&w->lock);
    const struct workspace *x = by_id(w, workspace);
    int rc = x ? fill_key(w, x, write, a, ret, e) : workspace__none(e, NULL);
    pthread_rwlock_unlock(&w->lock);
    return rc;
}

uint64_t workspace_epoch(struct workspaces *w, int64_t workspace)
{
    pthread_rwlock_rdlock(&w->lock);
    const struct workspace *x = by_id(w, workspace);
    uint64_t epoch = x ? x->row.epoch : 0;
    pthread_rwlock_unlock(&w->lock);
    return epoch;
}

bool workspace_stopped(struct workspaces *w, int64_t workspace)
{
    pthread_rwlock_rdlock(&w->lock);
    const struct workspace *x = by_id(w, workspace);
    bool stopped = x && x->row.stopped;
    pthread_rwlock_unlock(&w->lock);
    return stopped;
}

int64_t workspace_created_ms(struct workspaces *w, int64_t workspace)
{
    pthread_rwlock_rdlock(&w->lock);
    const struct workspace *x = by_id(w, workspace);
    int64_t ms = x ? x->row.created_ms : 0;
    pthread_rwlock_unlock(&w->lock);
    return ms;
}

int64_t workspace_limit(struct workspaces *w, int64_t workspace, enum workspace_limit key)
{
    pthread_rwlock_rdlock(&w->lock);
    const struct workspace *x = by_id(w, workspace);
    int64_t value = x ? x->limits[key] : 0;
    pthread_rwlock_unlock(&w->lock);
    return value;
}

/* The bucket that a workspace has without an administrator: a folder below DIR. */
static int own_bucket(const struct workspaces *w, const struct workspace *x, struct buf *url)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/buckets/%lld", w->data_dir, (long long)x->row.id);
    return dataset_url(url, path);
}

static const struct bucket_row *find_bucket(const struct workspace *x, const char *name)
{
    for (size_t i = 0; i < x->nbuckets; i++)
        if (name ? strcmp(x->buckets[i].name, name) == 0 : x->buckets[i].is_default)
            return &x->buckets[i];
    return NULL;
}

int workspace_bucket_url(struct workspaces *w, int64_t workspace, const char *name, struct arena *a,
                         const char **ret_url, struct err *e)
{
    CLEANUP_BUF struct buf own = BUF_INIT(3 * PATH_BYTES);
    const char *url = NULL;
    bool make = false;
    pthread_rwlock_rdlock(&w->lock);
    const struct workspace *x = by_id(w, workspace);
    const struct bucket_row *b = x && !(name && !*name) ? find_bucket(x, name) : NULL;
    int rc = 0;
    if (!x) {
        rc = workspace__none(e, NULL);
    } else if (b) {
        rc =
            b->read_only ? err_set(e, ERR_DENIED, "42501", "the bucket \"%.255s\" is read-only", b->name) : 0;
        url = rc ? NULL : arena_strdup(a, b->url);
    } else if (name && *name) {
        rc = err_set(e, ERR_NOTFOUND, "02000", "there is no bucket \"%.255s\"", name);
    } else {
        make = own_bucket(w, x, &own) == 0;
        url = make ? arena_strdup(a, buf_str(&own)) : NULL;
    }
    pthread_rwlock_unlock(&w->lock);
    if (!rc && !url)
        rc = no_memory(e);
    if (!rc && make)
        rc = bucket_prepare(url, e);
    if (!rc)
        *ret_url = url;
    return rc;
}

int workspace_default_bucket(struct workspaces *w, int64_t workspace, struct arena *a, const char **ret,
                             struct err *e)
{
    pthread_rwlock_rdlock(&w->lock);
    const struct workspace *x = by_id(w, workspace);
    const struct bucket_row *b = x ? find_bucket(x, NULL) : NULL;
    const char *name = x ? arena_strdup(a, b ? b->name : "") : NULL;
    pthread_rwlock_unlock(&w->lock);
    if (!x)
        return workspace__none(e, NULL);
    if (!name)
        return no_memory(e);
    *ret = name;
    return 0;
}

void workspace_each_dataset(struct workspaces *w, int64_t workspace, void (*fn)(void *arg, const char *name),
                            void *arg)
{
    pthread_rwlock_rdlock(&w->lock);
    const struct workspace *x = by_id(w, workspace);
    for (size_t i = 0; x && i < x->ndatasets; i++)
        fn(arg, x->datasets[i].name);
    pthread_rwlock_unlock(&w->lock);
}

void workspaces_each(struct workspaces *w, void (*fn)(void *arg, int64_t id), void *arg)
{
    pthread_rwlock_rdlock(&w->lock);
    size_t n = w->model.n;
    int64_t *all = n ? malloc(n * sizeof *all) : NULL;
    for (size_t i = 0; all && i < n; i++)
        all[i] = w->model.all[i].row.id;
    pthread_rwlock_unlock(&w->lock);
    for (size_t i = 0; all && i < n; i++)
        fn(arg, all[i]); /* without the lock: it asks us again */
    free(all);
}

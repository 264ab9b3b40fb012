/*
 * workspace: the tenants in memory, with their buckets and datasets, and what an administrator does with
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

#include "core/workspace.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/json_write.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/audit.h"
#include "core/dataset.h"
#include "core/identity.h"
#include "core/registry.h"
#include "results/bucket.h"

#define MODEL_BYTES_MAX ((size_t)256 << 20)
#define PATH_BYTES      4096

struct workspace {
    struct workspace_row row;
    struct dataset_row *datasets;
    struct bucket_row *buckets;
    size_t ndatasets, nbuckets;
    int64_t limits[WORKSPACE_LIMITS];
};

struct model {
    struct arena *arena;
    struct workspace *all; /* by id, ascending */
    size_t n;
};

struct workspaces {
    struct registry *registry;
    char *data_dir; /* resolved */
    pthread_rwlock_t lock;
    struct model model; /* guarded by lock */
    pthread_mutex_t admin;
};

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "53200", "out of memory");
}

static int no_workspace(struct err *e, const char *name)
{
    if (!name)
        return err_set(e, ERR_NOTFOUND, "02000", "there is no such workspace");
    return err_set(e, ERR_NOTFOUND, "02000",
                   "there is no workspace \"%.255s\"; \"key create --workspace ...\" makes one", name);
}

/* ---- limits ---- */

static const struct {
    const char *name;
    enum config_type type;
    int64_t most;
} limits[WORKSPACE_LIMITS] = {
    [LIMIT_QUEUE] = {"queue", CONFIG_INT, 10000000},
    [LIMIT_SLOTS] = {"slots", CONFIG_INT, 256},
    [LIMIT_SPOOL_BYTES] = {"spool_bytes", CONFIG_SIZE, (int64_t)1 << 60},
    [LIMIT_ROWS] = {"rows", CONFIG_INT, 1000000000000000},
    [LIMIT_RUN_TIMEOUT] = {"run_timeout", CONFIG_MS, 864000000},
};

const char *workspace_limit_name(enum workspace_limit key)
{
    return limits[key].name;
}

/* WORKSPACE_LIMITS when there is none of that name. */
static enum workspace_limit limit_find(const char *name, size_t n)
{
    enum workspace_limit k = 0;
    while (k < WORKSPACE_LIMITS && !(strlen(limits[k].name) == n && memcmp(limits[k].name, name, n) == 0))
        k++;
    return k;
}

/* ---- the model ---- */

struct loader {
    struct arena *a;
    struct workspace_row *workspaces;
    struct dataset_row *datasets;
    struct bucket_row *buckets;
    size_t nworkspaces, ndatasets, nbuckets;
    struct model *built; /* for the limits, which come last */
    bool failed;
};

/* Room for one more of `size` bytes behind `n` in an array that doubles at powers of two. */
static void *room(struct loader *l, void *p, size_t n, size_t size)
{
    if (n & (n - 1) || (n > 0 && n < 16))
        return p;
    void *q = realloc(p, (n ? n * 2 : 16) * size);
    if (!q)
        l->failed = true;
    return q;
}

static const char *keep(struct loader *l, const char *s)
{
    const char *p = arena_strdup(l->a, s);
    if (!p)
        l->failed = true;
    return p;
}

static void load_workspace(void *arg, const struct workspace_row *row)
{
    struct loader *l = arg;
    void *p = l->failed ? NULL : room(l, l->workspaces, l->nworkspaces, sizeof *row);
    if (!p)
        return;
    l->workspaces = p;
    struct workspace_row *w = &l->workspaces[l->nworkspaces++];
    *w = *row;
    w->name = keep(l, row->name);
    w->uuid = keep(l, row->uuid);
}

static void load_dataset(void *arg, const struct dataset_row *row)
{
    struct loader *l = arg;
    void *p = l->failed ? NULL : room(l, l->datasets, l->ndatasets, sizeof *row);
    if (!p)
        return;
    l->datasets = p;
    struct dataset_row *d = &l->datasets[l->ndatasets++];
    *d = *row;
    d->name = keep(l, row->name);
    d->path = keep(l, row->path);
    d->format = keep(l, row->format);
}

static void load_bucket(void *arg, const struct bucket_row *row)
{
    struct loader *l = arg;
    void *p = l->failed ? NULL : room(l, l->buckets, l->nbuckets, sizeof *row);
    if (!p)
        return;
    l->buckets = p;
    struct bucket_row *b = &l->buckets[l->nbuckets++];
    *b = *row;
    b->name = keep(l, row->name);
    b->url = keep(l, row->url);
}

static int build(struct loader *l, struct model *m, struct err *e)
{
    if (l->failed)
        return no_memory(e);
    m->arena = l->a;
    m->n = l->nworkspaces;
    m->all = arena_alloc(l->a, m->n * sizeof *m->all);
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
        w->datasets = arena_alloc(l->a, nd * sizeof *w->datasets);
        w->buckets = arena_alloc(l->a, nb * sizeof *w->buckets);
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
    struct loader *l = arg;
    enum workspace_limit k = limit_find(key, strlen(key));
    for (size_t i = 0; k < WORKSPACE_LIMITS && i < l->built->n; i++)
        if (l->built->all[i].row.id == workspace)
            l->built->all[i].limits[k] = value;
}

int workspaces_reload(struct workspaces *w, struct err *e)
{
    struct loader l = {.a = arena_new(MODEL_BYTES_MAX)};
    struct model fresh = {0}, old = {.arena = l.a};
    if (!l.a)
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
    int rc = x ? fill_key(w, x, write, a, ret, e) : no_workspace(e, NULL);
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
        rc = no_workspace(e, NULL);
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
        return no_workspace(e, NULL);
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

/* ---- administration ---- */

struct change {
    struct registry_write w;
    struct bucket_row bucket;
    struct dataset_row dataset;
    int64_t workspace, value;
    enum workspace_limit limit;
    bool stopped;
};

static int apply_bucket(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_put_bucket(r, &((struct change *)(void *)w)->bucket, e);
}

static int apply_dataset(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_put_dataset(r, &((struct change *)(void *)w)->dataset, e);
}

static int apply_remove(struct registry *r, struct registry_write *w, struct err *e)
{
    const struct dataset_row *d = &((struct change *)(void *)w)->dataset;
    return registry_delete_dataset(r, d->workspace, d->name, e);
}

static int apply_limit(struct registry *r, struct registry_write *w, struct err *e)
{
    const struct change *c = (const struct change *)(void *)w;
    return registry_put_limit(r, c->workspace, limits[c->limit].name, c->value, e);
}

static int apply_stopped(struct registry *r, struct registry_write *w, struct err *e)
{
    const struct change *c = (const struct change *)(void *)w;
    return registry_put_stopped(r, c->workspace, c->stopped, e);
}

static int find_workspace(struct workspaces *w, const char *name, int64_t *ret, struct err *e)
{
    bool found = false;
    pthread_rwlock_rdlock(&w->lock);
    for (size_t i = 0; i < w->model.n && !found; i++) {
        found = strcmp(w->model.all[i].row.name, name) == 0;
        if (found)
            *ret = w->model.all[i].row.id;
    }
    pthread_rwlock_unlock(&w->lock);
    return found ? 0 : no_workspace(e, name);
}

/* Commits and makes it seen. */
static int commit(struct workspaces *w, struct change *c, struct err *e)
{
    pthread_mutex_lock(&w->admin);
    int rc = registry_do(w->registry, &c->w, e);
    if (!rc)
        rc = workspaces_reload(w, e);
    pthread_mutex_unlock(&w->admin);
    return rc;
}

int workspace_stop(struct workspaces *w, int64_t workspace, bool stopped, struct err *e)
{
    struct change c = {.w = {.apply = apply_stopped}, .workspace = workspace, .stopped = stopped};
    return workspace_stopped(w, workspace) == stopped ? 0 : commit(w, &c, e);
}

static void json_time(struct json_write *j, const char *key, int64_t ms)
{
    char text[40];
    json_kstr(j, key, ms ? clock_iso_ms(ms, text, sizeof text) : NULL);
}

static int written(struct buf *out, struct err *e)
{
    return buf_failed(out) ? err_set(e, out->why, "54000", "the answer does not fit; name a workspace") : 0;
}

static void write_bucket(struct json_write *j, const char *workspace, const struct bucket_row *b)
{
    json_object_begin(j);
    json_kstr(j, "workspace", workspace);
    json_kstr(j, "name", b->name);
    json_kstr(j, "url", b->url);
    json_kbool(j, "readOnly", b->read_only);
    json_kbool(j, "default", b->is_default);
    json_time(j, "createdAt", b->created_ms);
    json_object_end(j);
}

static void write_dataset(struct json_write *j, const char *workspace, const struct dataset_row *d)
{
    CLEANUP_BUF struct buf url = BUF_INIT(3 * PATH_BYTES);
    dataset_url(&url, d->path);
    json_object_begin(j);
    json_kstr(j, "workspace", workspace);
    json_kstr(j, "name", d->name);
    json_kstr(j, "url", buf_str(&url));
    json_kstr(j, "format", d->format);
    json_kbool(j, "folder", d->folder);
    json_time(j, "createdAt", d->created_ms);
    json_object_end(j);
}

int workspace_bucket_create(struct workspaces *w, const char *workspace, const char *name, const char *url,
                            bool read_only, bool is_default, struct buf *out, struct err *e)
{
    struct change c = {.w = {.apply = apply_bucket},
                       .bucket = {.name = name,
                                  .url = url,
                                  .read_only = read_only,
                                  .is_default = is_default,
                                  .created_ms = sys_wall_ms()}};
    int rc = name_check("bucket", name, e);
    if (!rc && read_only && is_default)
        rc = err_set(e, ERR_INVALID, "22023",
                     "a read-only bucket cannot be the default: results are delivered there");
    if (!rc)
        rc = find_workspace(w, workspace, &c.bucket.workspace, e);
    if (!rc)
        rc = bucket_check_url(url, e);
    if (!rc && !read_only)
        rc = bucket_prepare(url, e);
    if (!rc)
        rc = commit(w, &c, e);
    if (rc)
        return rc;
    audit_event("bucket_created", "workspace", workspace, "bucket", name, "by", "admin", NULL);
    log_event(LOG_INFO, "core", "bucket created", "workspace", workspace, "bucket", name, NULL);
    struct json_write j = JSON_WRITE_INIT(out);
    write_bucket(&j, workspace, &c.bucket);
    return written(out, e);
}

int workspace_dataset_add(struct workspaces *w, const char *workspace, const char *name, const char *url,
                          struct buf *out, struct err *e)
{
    struct dataset_place place;
    struct change c = {.w = {.apply = apply_dataset}, .dataset = {.name = name, .created_ms = sys_wall_ms()}};
    int rc = dataset_name_check(name, e);
    if (!rc)
        rc = find_workspace(w, workspace, &c.dataset.workspace, e);
    if (!rc)
        rc = dataset_look(url, w->data_dir, &place, e);
    if (rc)
        return rc;
    c.dataset.path = place.path;
    c.dataset.format = place.format;
    c.dataset.folder = place.folder;
    rc = commit(w, &c, e);
    if (rc)
        return rc;
    audit_event("dataset_added", "workspace", workspace, "dataset", name, "by", "admin", NULL);
    log_event(LOG_INFO, "core", "dataset added", "workspace", workspace, "dataset", name, "format",
              place.format, NULL);
    struct json_write j = JSON_WRITE_INIT(out);
    write_dataset(&j, workspace, &c.dataset);
    return written(out, e);
}

int workspace_dataset_remove(struct workspaces *w, const char *workspace, const char *name, struct buf *out,
                             struct err *e)
{
    struct change c = {.w = {.apply = apply_remove}, .dataset = {.name = name}};
    int rc = find_workspace(w, workspace, &c.dataset.workspace, e);
    if (!rc)
        rc = commit(w, &c, e);
    if (rc)
        return rc;
    audit_event("dataset_removed", "workspace", workspace, "dataset", name, "by", "admin", NULL);
    log_event(LOG_INFO, "core", "dataset removed", "workspace", workspace, "dataset", name, NULL);
    struct json_write j = JSON_WRITE_INIT(out);
    json_object_begin(&j);
    json_kstr(&j, "workspace", workspace);
    json_kstr(&j, "name", name);
    json_kbool(&j, "removed", true);
    json_object_end(&j);
    return written(out, e);
}

static void write_limits(struct json_write *j, const char *workspace, const int64_t values[WORKSPACE_LIMITS])
{
    json_object_begin(j);
    json_kstr(j, "workspace", workspace);
    for (enum workspace_limit k = 0; k < WORKSPACE_LIMITS; k++) {
        if (values[k])
            json_ki64(j, limits[k].name, values[k]);
        else
            json_kstr(j, limits[k].name, NULL);
    }
    json_object_end(j);
}

int workspace_set(struct workspaces *w, const char *workspace, const char *setting, struct buf *out,
                  struct err *e)
{
    size_t n = strcspn(setting, "=");
    struct change c = {.w = {.apply = apply_limit}, .limit = limit_find(setting, n)};
    if (!setting[n])
        return err_set(e, ERR_INVALID, "42601", "KEY=VALUE is wanted, not \"%.100s\"", setting);
    if (c.limit == WORKSPACE_LIMITS)
        return err_set(e, ERR_INVALID, "42601",
                       "unknown key \"%.*s\"; it is queue, slots, spool_bytes, rows or run_timeout",
                       (int)(n < 100 ? n : 100), setting);
    const char *value = setting + n + 1, *name = limits[c.limit].name;
    bool away = strcmp(value, "default") == 0;
    if (!away && (!config_number(limits[c.limit].type, value, &c.value) || c.value < 1 ||
                  c.value > limits[c.limit].most))
        return err_set(e, ERR_INVALID, "22023", "%s must be 1 to %lld (or \"default\"), not \"%.100s\"", name,
                       (long long)limits[c.limit].most, value);
    int rc = find_workspace(w, workspace, &c.workspace, e);
    if (!rc)
        rc = commit(w, &c, e);
    if (rc)
        return rc;
    audit_event("workspace_limit_set", "workspace", workspace, "limit", name, "value", value, "by", "admin",
                NULL);
    log_event(LOG_INFO, "core", "workspace limit set", "workspace", workspace, "limit", name, "value", value,
              NULL);
    int64_t values[WORKSPACE_LIMITS];
    for (enum workspace_limit k = 0; k < WORKSPACE_LIMITS; k++)
        values[k] = workspace_limit(w, c.workspace, k);
    struct json_write j = JSON_WRITE_INIT(out);
    write_limits(&j, workspace, values);
    return written(out, e);
}

/* Writes what `one` makes of each workspace (of that name; NULL all) into an array. */
static int list(struct workspaces *w, const char *workspace,
                void (*one)(struct json_write *j, const struct workspace *x), struct buf *out, struct err *e)
{
    int64_t id = 0;
    int rc = workspace ? find_workspace(w, workspace, &id, e) : 0;
    if (rc)
        return rc;
    struct json_write j = JSON_WRITE_INIT(out);
    json_array_begin(&j);
    pthread_rwlock_rdlock(&w->lock);
    for (size_t i = 0; i < w->model.n; i++)
        if (!workspace || w->model.all[i].row.id == id)
            one(&j, &w->model.all[i]);
    pthread_rwlock_unlock(&w->lock);
    json_array_end(&j);
    return written(out, e);
}

static void list_datasets(struct json_write *j, const struct workspace *x)
{
    for (size_t i = 0; i < x->ndatasets; i++)
        write_dataset(j, x->row.name, &x->datasets[i]);
}

static void list_buckets(struct json_write *j, const struct workspace *x)
{
    for (size_t i = 0; i < x->nbuckets; i++)
        write_bucket(j, x->row.name, &x->buckets[i]);
}

static void list_workspace(struct json_write *j, const struct workspace *x)
{
    json_object_begin(j);
    json_kstr(j, "workspace", x->row.name);
    json_kstr(j, "workspaceId", x->row.uuid);
    json_ki64(j, "datasets", (int64_t)x->ndatasets);
    json_ki64(j, "buckets", (int64_t)x->nbuckets);
    for (enum workspace_limit k = 0; k < WORKSPACE_LIMITS; k++) {
        if (x->limits[k])
            json_ki64(j, limits[k].name, x->limits[k]);
        else
            json_kstr(j, limits[k].name, NULL);
    }
    json_time(j, "createdAt", x->row.created_ms);
    json_object_end(j);
}

int workspace_dataset_list(struct workspaces *w, const char *workspace, struct buf *out, struct err *e)
{
    return list(w, workspace, list_datasets, out, e);
}

int workspace_bucket_list(struct workspaces *w, const char *workspace, struct buf *out, struct err *e)
{
    return list(w, workspace, list_buckets, out, e);
}

int workspace_list(struct workspaces *w, struct buf *out, struct err *e)
{
    return list(w, NULL, list_workspace, out, e);
}

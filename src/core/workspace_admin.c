/*
 * workspace_admin: what an administrator does with workspaces: buckets, data sets, limits, the engine's switch. Committed
 * in the registry first, then the model is read anew. Threads that may block, one at a time (`admin`).
 */
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/json_write.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/audit.h"
#include "core/dataset.h"
#include "core/identity.h"
#include "core/workspace_int.h"
#include "results/bucket.h"

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
    return registry_put_limit(r, c->workspace, workspace__limits[c->limit].name, c->value, e);
}

static int apply_removed(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_remove_workspace(r, ((struct change *)(void *)w)->workspace, e);
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
    return found ? 0 : workspace__none(e, name);
}

int workspace_named(struct workspaces *w, const char *workspace, int64_t *ret, char ret_uuid[40],
                    struct err *e)
{
    int rc = find_workspace(w, workspace, ret, e);
    pthread_rwlock_rdlock(&w->lock);
    for (size_t i = 0; i < w->model.n && !rc; i++) {
        if (w->model.all[i].row.id != *ret)
            continue;
        ret_uuid[0] = 0;
        strncat(ret_uuid, w->model.all[i].row.uuid, 39);
    }
    pthread_rwlock_unlock(&w->lock);
    return rc;
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

int workspace_remove(struct workspaces *w, int64_t workspace, struct err *e)
{
    struct change c = {.w = {.apply = apply_removed}, .workspace = workspace};
    return commit(w, &c, e);
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
            json_ki64(j, workspace__limits[k].name, values[k]);
        else
            json_kstr(j, workspace__limits[k].name, NULL);
    }
    json_object_end(j);
}

int workspace_set(struct workspaces *w, const char *workspace, const char *setting, struct buf *out,
                  struct err *e)
{
    size_t n = strcspn(setting, "=");
    struct change c = {.w = {.apply = apply_limit}, .limit = workspace__limit_find(setting, n)};
    if (!setting[n])
        return err_set(e, ERR_INVALID, "42601", "KEY=VALUE is wanted, not \"%.100s\"", setting);
    if (c.limit == WORKSPACE_LIMITS)
        return err_set(e, ERR_INVALID, "42601",
                       "unknown key \"%.*s\"; it is queue, slots, spool_bytes, rows or run_timeout",
                       (int)(n < 100 ? n : 100), setting);
    const char *value = setting + n + 1, *name = workspace__limits[c.limit].name;
    bool away = strcmp(value, "default") == 0;
    if (!away && (!config_number(workspace__limits[c.limit].type, value, &c.value) || c.value < 1 ||
                  c.value > workspace__limits[c.limit].most))
        return err_set(e, ERR_INVALID, "22023", "%s must be 1 to %lld (or \"default\"), not \"%.100s\"", name,
                       (long long)workspace__limits[c.limit].most, value);
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
            json_ki64(j, workspace__limits[k].name, x->limits[k]);
        else
            json_kstr(j, workspace__limits[k].name, NULL);
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

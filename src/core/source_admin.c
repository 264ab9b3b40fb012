/*
 * source_admin: what an administrator does with data sources: list, remove, test. They see all, PRIVATE ones too,
 * and no secret. Threads: those of commands, which may block.
 */
#include "core/source_int.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "base/log.h"
#include "core/audit.h"

static int written(struct buf *out, struct err *e)
{
    return buf_failed(out) ? err_set(e, out->why, "54000", "the answer does not fit; name a workspace") : 0;
}

/* Lock held. */
static const struct owner *workspace_named(const struct sources *s, const char *name, struct err *e)
{
    for (size_t i = 0; i < s->model.nworkspaces; i++)
        if (strcmp(s->model.workspaces[i].name, name) == 0)
            return &s->model.workspaces[i];
    err_set(e, ERR_NOTFOUND, "02000", "there is no workspace \"%.255s\"", name);
    return NULL;
}

static void write_row(struct json_write *j, const char *workspace, const struct source_row *r)
{
    char when[40];
    json_object_begin(j);
    json_kstr(j, "workspace", workspace);
    json_kstr(j, "name", r ? r->name : SOURCE_CATALOG_NAME);
    json_kstr(j, "kind", source_kind_name(r ? (enum source_kind)r->kind : SOURCE_CATALOG));
    json_kstr(j, "scope", source_scope_name(r ? (enum source_scope)r->scope : SCOPE_NONE));
    json_kstr(j, "creator", r ? r->user_name : NULL);
    json_kstr(j, "instance", r ? r->instance : NULL);
    json_kstr(j, "createdAt", r ? clock_iso_ms(r->created_ms, when, sizeof when) : NULL);
    json_object_end(j);
}

int source_admin_list(struct sources *s, const char *workspace, struct buf *out, struct err *e)
{
    int rc = source__reload(s, e); /* a workspace may be new */
    if (rc)
        return rc;
    struct json_write j = JSON_WRITE_INIT(out);
    json_array_begin(&j);
    pthread_rwlock_rdlock(&s->lock);
    const struct owner *only = workspace ? workspace_named(s, workspace, e) : NULL;
    for (size_t w = 0; w < s->model.nworkspaces; w++) {
        const struct owner *o = &s->model.workspaces[w];
        if (workspace && o != only)
            continue;
        write_row(&j, o->name, NULL);
        for (size_t i = 0; i < s->model.n; i++)
            if (s->model.rows[i].workspace == o->id)
                write_row(&j, o->name, &s->model.rows[i]);
    }
    rc = workspace && !only ? ERR_NOTFOUND : 0;
    pthread_rwlock_unlock(&s->lock);
    json_array_end(&j);
    return rc ? rc : written(out, e);
}

static int workspace_id(struct sources *s, const char *workspace, int64_t *ret, struct err *e)
{
    int rc = source__reload(s, e);
    if (rc)
        return rc;
    pthread_rwlock_rdlock(&s->lock);
    const struct owner *o = workspace_named(s, workspace, e);
    if (o)
        *ret = o->id;
    pthread_rwlock_unlock(&s->lock);
    return o ? 0 : ERR_NOTFOUND;
}

int source_admin_reload(struct sources *s, struct err *e)
{
    return source__reload(s, e);
}

int source_admin_remove(struct sources *s, const char *workspace, const char *name, struct buf *out,
                        struct err *e)
{
    int64_t id = 0;
    int rc = workspace_id(s, workspace, &id, e);
    if (!rc && strcasecmp(name, SOURCE_CATALOG_NAME) == 0)
        rc = err_set(e, ERR_INVALID, "42501", "the catalog cannot be removed");
    if (rc)
        return rc;
    pthread_mutex_lock(&s->admin);
    rc = source__remove(s, id, NULL, name, e);
    pthread_mutex_unlock(&s->admin);
    if (rc)
        return rc;
    audit_event("source_deleted", "workspace", workspace, "source", name, "by", "admin", NULL);
    log_event(LOG_INFO, "core", "data source deleted", "workspace", workspace, "source", name, NULL);
    struct json_write j = JSON_WRITE_INIT(out);
    json_object_begin(&j);
    json_kstr(&j, "workspace", workspace);
    json_kstr(&j, "name", name);
    json_kbool(&j, "removed", true);
    json_object_end(&j);
    return written(out, e);
}

/* Lock held. */
static int unseal(const struct sources *s, const struct source_row *r, struct err *e)
{
    if (!r->secret)
        return 0;
    char ad[64];
    uint8_t *plain = malloc(r->secret_len);
    if (!plain)
        return source__no_memory(e);
    source__bind_to(r, ad);
    bool ok = r->secret_len >= SEAL_EXTRA &&
              crypto_open(s->seal_key, r->secret, r->secret_len, ad, strlen(ad), plain);
    crypto_wipe(plain, r->secret_len);
    free(plain);
    return ok ? 0
              : err_set(e, ERR_CORRUPT, "XX001",
                        "the secret of data source \"%s\" does not open with this keyring", r->name);
}

int source_admin_test(struct sources *s, const char *workspace, const char *name, int64_t *ret_workspace,
                      enum source_kind *ret_kind, struct err *e)
{
    int64_t id = 0;
    int rc = workspace_id(s, workspace, &id, e);
    if (rc)
        return rc;
    enum source_kind kind = SOURCE_CATALOG;
    bool found = strcasecmp(name, SOURCE_CATALOG_NAME) == 0;
    pthread_rwlock_rdlock(&s->lock);
    for (size_t i = 0; i < s->model.n && !found; i++) {
        const struct source_row *r = &s->model.rows[i];
        found = r->workspace == id && source__called(r, name);
        if (found) {
            rc = unseal(s, r, e);
            kind = (enum source_kind)r->kind;
        }
    }
    pthread_rwlock_unlock(&s->lock);
    if (!found)
        return err_set(e, ERR_NOTFOUND, "3D000", "there is no data source \"%.255s\"", name);
    if (rc)
        return rc;
    *ret_workspace = id;
    *ret_kind = kind;
    return 0;
}

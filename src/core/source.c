/*
 * source: see source.h.
 *
 * All rows are read into one immutable model; a change is committed in the registry first, then a new model
 * takes the place of the old one. Invariant: what a reader gets is copied into its arena before the lock is
 * let go. A secret lies sealed in the model too and is unsealed only where it is used. Threads: reads on any
 * thread under `lock`; changes on threads that may block, one at a time (`admin`).
 */
#include "core/source.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/config.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/utf8.h"
#include "core/audit.h"
#include "core/catalog.h"
#include "core/instance.h"
#include "core/keyring.h"
#include "core/loader.h"
#include "core/observe.h"
#include "core/registry.h"
#include "core/source_int.h"

#define MODEL_BYTES_MAX ((size_t)256 << 20)
#define UID_LEN         17u

/* ---- words ---- */

int source__no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "53200", "out of memory");
}

static int not_found(struct err *e)
{
    return err_set(e, ERR_NOTFOUND, "42704", "data source not found");
}

/* ---- the model ---- */

struct source_loader {
    struct loader l; /* first */
    struct source_row *rows;
    struct owner *workspaces;
    size_t n, nworkspaces;
};

static void load_workspace(void *arg, const struct workspace_row *w)
{
    struct source_loader *l = arg;
    void *p = loader_room(&l->l, l->workspaces, l->nworkspaces, sizeof *l->workspaces);
    if (!p)
        return;
    l->workspaces = p;
    l->workspaces[l->nworkspaces++] =
        (struct owner){w->id, loader_keep(&l->l, w->name), loader_keep(&l->l, w->uuid)};
}

static void load_source(void *arg, const struct source_row *row)
{
    struct source_loader *l = arg;
    void *p = loader_room(&l->l, l->rows, l->n, sizeof *row);
    if (!p)
        return;
    l->rows = p;
    struct source_row *s = &l->rows[l->n++];
    *s = *row;
    s->uid = loader_keep(&l->l, row->uid);
    s->user_name = loader_keep(&l->l, row->user_name);
    s->name = loader_keep(&l->l, row->name);
    s->label = loader_keep(&l->l, row->label);
    s->description = loader_keep(&l->l, row->description);
    s->instance = loader_keep(&l->l, row->instance);
    s->address = loader_keep(&l->l, row->address);
    s->username = loader_keep(&l->l, row->username);
    s->database = loader_keep(&l->l, row->database);
    if (row->secret) {
        void *copy = arena_alloc(l->l.arena, row->secret_len);
        if (copy)
            memcpy(copy, row->secret, row->secret_len);
        else
            l->l.failed = true;
        s->secret = copy;
    }
}

static void model_free(struct model *m)
{
    arena_free(m->arena);
    free(m->rows);
    free(m->workspaces);
}

int source__reload(struct sources *s, struct err *e)
{
    struct source_loader l = {.l.arena = arena_new(MODEL_BYTES_MAX)};
    if (!l.l.arena)
        return source__no_memory(e);
    int rc = registry_each_workspace(s->registry, load_workspace, &l, e);
    if (!rc)
        rc = registry_each_source(s->registry, load_source, &l, e);
    if (!rc && l.l.failed)
        rc = source__no_memory(e);
    struct model fresh = {l.l.arena, l.rows, l.workspaces, l.n, l.nworkspaces}, old = fresh;
    if (!rc) {
        pthread_rwlock_wrlock(&s->lock);
        old = s->model;
        s->model = fresh;
        pthread_rwlock_unlock(&s->lock);
    }
    model_free(&old);
    return rc;
}

int sources_open(struct registry *r, const char *data_dir, struct sources **ret, struct err *e)
{
    static const char purpose[] = "quern data source secrets";
    uint8_t keyring[CRYPTO_KEY_LEN];
    int rc = keyring_open(data_dir, false, keyring, e);
    if (rc)
        return rc;
    struct sources *s = calloc(1, sizeof *s);
    if (s) {
        s->registry = r;
        crypto_hash(keyring, purpose, sizeof purpose, s->seal_key);
        pthread_rwlock_init(&s->lock, NULL);
        pthread_mutex_init(&s->admin, NULL);
        rc = source__reload(s, e);
    } else {
        rc = source__no_memory(e);
    }
    crypto_wipe(keyring, sizeof keyring);
    if (rc) {
        sources_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void sources_close(struct sources *s)
{
    if (!s)
        return;
    model_free(&s->model);
    crypto_wipe(s->seal_key, sizeof s->seal_key);
    pthread_rwlock_destroy(&s->lock);
    pthread_mutex_destroy(&s->admin);
    free(s);
}

/* ---- looking ---- */

static bool visible(const struct source_row *r, int64_t workspace, int64_t user)
{
    return r->workspace == workspace && (r->scope == SCOPE_PUBLIC || r->user == user);
}

bool source__called(const struct source_row *r, const char *name)
{
    return strcasecmp(r->name, name) == 0 || strcmp(r->uid, name) == 0;
}

static bool copy_text(struct arena *a, const char *from, const char **ret)
{
    *ret = from ? arena_strdup(a, from) : NULL;
    return !from || *ret;
}

static int show(const struct source_row *r, const struct identity *who, struct arena *a, struct source *ret,
                struct err *e)
{
    struct source s = {.kind = (enum source_kind)r->kind,
                       .scope = (enum source_scope)r->scope,
                       .created_ms = r->created_ms,
                       .mine = r->user == who->user};
    bool ok = copy_text(a, r->uid, &s.uid) && copy_text(a, r->name, &s.name) &&
              copy_text(a, r->label, &s.label) && copy_text(a, r->description, &s.description) &&
              copy_text(a, r->user_name, &s.creator) && copy_text(a, r->instance, &s.instance) &&
              copy_text(a, r->address, &s.address) && copy_text(a, r->username, &s.username) &&
              copy_text(a, r->database, &s.database);
    if (!ok)
        return source__no_memory(e);
    *ret = s;
    return 0;
}

/* The workspace's own: its uid follows from the workspace's, so that it is the same after every start. */
static int show_catalog(const struct identity *who, struct arena *a, struct source *ret, struct err *e)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint8_t hash[CRYPTO_HASH_LEN];
    char *uid = arena_alloc(a, UID_LEN + 1);
    if (!uid)
        return source__no_memory(e);
    crypto_digest(who->workspace_uuid, strlen(who->workspace_uuid), hash);
    uid[0] = 'D';
    for (unsigned i = 1; i < UID_LEN; i++)
        uid[i] = digits[hash[i] % 62];
    *ret = (struct source){.uid = uid,
                           .name = SOURCE_CATALOG_NAME,
                           .label = SOURCE_CATALOG_NAME,
                           .kind = SOURCE_CATALOG,
                           .scope = SCOPE_NONE};
    return 0;
}

int source_list(struct sources *s, const struct identity *who, struct arena *a, struct source **ret,
                size_t *ret_n, struct err *e)
{
    pthread_rwlock_rdlock(&s->lock);
    size_t n = 1;
    for (size_t i = 0; i < s->model.n; i++)
        n += visible(&s->model.rows[i], who->workspace, who->user);
    struct source *all = arena_alloc(a, n * sizeof *all);
    int rc = all ? show_catalog(who, a, &all[0], e) : source__no_memory(e);
    size_t at = 1;
    for (size_t i = 0; i < s->model.n && !rc; i++)
        if (visible(&s->model.rows[i], who->workspace, who->user))
            rc = show(&s->model.rows[i], who, a, &all[at++], e);
    pthread_rwlock_unlock(&s->lock);
    if (rc)
        return rc;
    *ret = all;
    *ret_n = n;
    return 0;
}

int source_find(struct sources *s, const struct identity *who, const char *name, struct arena *a,
                struct source *ret, struct err *e)
{
    struct source own;
    int rc = show_catalog(who, a, &own, e);
    if (rc)
        return rc;
    if (strcasecmp(name, own.name) == 0 || strcmp(name, own.uid) == 0) {
        *ret = own;
        return 0;
    }
    rc = ERR_NOTFOUND;
    pthread_rwlock_rdlock(&s->lock);
    for (size_t i = 0; i < s->model.n && rc == ERR_NOTFOUND; i++)
        if (visible(&s->model.rows[i], who->workspace, who->user) && source__called(&s->model.rows[i], name))
            rc = show(&s->model.rows[i], who, a, ret, e);
    pthread_rwlock_unlock(&s->lock);
    return rc == ERR_NOTFOUND ? not_found(e) : rc;
}

/* "Catalog 'NAME' not found": of SHOW SCHEMAS FROM NAME, where no dot stands behind the name. */
static bool is_the_catalog(const char *text, const char *name)
{
    char want[SOURCE_NAME_MAX + 32];
    (void)snprintf(want, sizeof want, "Catalog '%s' not found", name);
    return strcasecmp(text, want) == 0;
}

void source_explain(struct sources *s, int64_t workspace, int64_t user, const char *default_source,
                    const char *sql, size_t sql_len, struct err *e)
{
    if (strcmp(e->sqlstate, "3D000") != 0 && strcmp(e->sqlstate, "3F000") != 0 &&
        strcmp(e->sqlstate, "42P01") != 0)
        return;
    char name[SOURCE_NAME_MAX + 1] = "";
    enum source_kind kind = SOURCE_CATALOG;
    pthread_rwlock_rdlock(&s->lock);
    for (size_t i = 0; i < s->model.n && !name[0]; i++) {
        const struct source_row *r = &s->model.rows[i];
        if (!visible(r, workspace, user))
            continue;
        if (!(default_source && strcasecmp(default_source, r->name) == 0) &&
            !catalog_text_names(sql, sql_len, r->name) && !is_the_catalog(e->text, r->name))
            continue;
        memcpy(name, r->name, strlen(r->name) + 1);
        kind = (enum source_kind)r->kind;
    }
    pthread_rwlock_unlock(&s->lock);
    if (!name[0])
        return;
    e->code = ERR_INVALID;
    memcpy(e->sqlstate, "0A000", sizeof "0A000");
    snprintf(e->text, sizeof e->text,
             "data source \"%s\" is of kind %s: queries to this kind are not enabled yet", name,
             source_kind_name(kind));
    e->hint[0] = 0;
}

/* ---- changing ---- */

struct change {
    struct registry_write w;
    struct source_row row;
    struct sources *s;
};

void source__bind_to(const struct source_row *r, char out[64])
{
    snprintf(out, 64, "%lld/%.20s", (long long)r->workspace, r->uid);
}

static int apply_put(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_put_source(r, &((struct change *)(void *)w)->row, e);
}

static int apply_delete(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_delete_source(r, ((struct change *)(void *)w)->row.id, e);
}

/* `admin` held. */
static int commit(struct sources *s, struct change *c, struct err *e)
{
    int rc = registry_do(s->registry, &c->w, e);
    return rc ? rc : source__reload(s, e);
}

static int check_text(const char *field, const char *text, struct err *e)
{
    if (!text)
        return 0;
    size_t n = strlen(text);
    if (n > SOURCE_TEXT_MAX)
        return err_set(e, ERR_INVALID, "54000", "%s is longer than %d bytes", field, SOURCE_TEXT_MAX);
    return utf8_valid(text, n) ? 0 : err_set(e, ERR_INVALID, "22021", "%s is not UTF-8", field);
}

static int check_name(const char *name, struct err *e)
{
    /* what the engine or the service has for itself */
    static const char *const taken[] = {SOURCE_CATALOG_NAME,  "memory",    "system", "temp", "main",
                                        "information_schema", "pg_catalog"};
    size_t n = strlen(name);
    bool ok = n > 0 && n <= SOURCE_NAME_MAX;
    for (size_t i = 0; i < n && ok; i++)
        ok = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
             (name[i] >= '0' && name[i] <= '9') || name[i] == '_' || name[i] == '-';
    if (!ok)
        return err_set(e, ERR_INVALID, "42602", "name must be 1 to %d letters, digits, \"_\" and \"-\"",
                       SOURCE_NAME_MAX);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (strcasecmp(name, taken[i]) == 0)
            return err_set(e, ERR_CONFLICT, "42710",
                           i == 0 ? "a data source with the name \"%s\" exists already"
                                  : "the name \"%s\" is reserved: a data source needs another one",
                           name);
    return 0;
}

static int check_new(const struct source_new *in, struct err *e)
{
    const struct {
        const char *field, *text;
    } texts[] = {{"label", in->label},     {"description", in->description}, {"instanceId", in->instance},
                 {"address", in->address}, {"username", in->username},       {"databaseName", in->database}};
    int rc = check_name(in->name, e);
    for (size_t i = 0; i < sizeof texts / sizeof *texts && !rc; i++)
        rc = check_text(texts[i].field, texts[i].text, e);
    if (!rc && in->secret_len > SOURCE_TEXT_MAX)
        rc = err_set(e, ERR_INVALID, "54000", "password is longer than %d bytes", SOURCE_TEXT_MAX);
    if (!rc && (in->kind == SOURCE_CATALOG || in->scope == SCOPE_NONE))
        rc = err_set(e, ERR_INVALID, "22023", "a catalog cannot be created as a data source");
    return rc;
}

static int seal(const struct sources *s, const struct source_new *in, struct arena *a, struct source_row *r,
                struct err *e)
{
    if (!in->secret)
        return 0;
    char ad[64];
    uint8_t *sealed = arena_alloc(a, in->secret_len + SEAL_EXTRA);
    if (!sealed)
        return source__no_memory(e);
    source__bind_to(r, ad);
    crypto_seal(s->seal_key, in->secret, in->secret_len, ad, strlen(ad), sealed);
    r->secret = sealed;
    r->secret_len = (uint32_t)(in->secret_len + SEAL_EXTRA);
    return 0;
}

static int within_limit(struct sources *s, int64_t workspace, struct err *e)
{
    int64_t n = 0;
    pthread_rwlock_rdlock(&s->lock);
    for (size_t i = 0; i < s->model.n; i++)
        n += s->model.rows[i].workspace == workspace;
    pthread_rwlock_unlock(&s->lock);
    if (n < config.source_per_workspace)
        return 0;
    return err_set(e, ERR_INVALID, "53400", "the workspace has %lld data sources (source.per_workspace)",
                   (long long)n);
}

static int may_change(const struct identity *who, struct err *e)
{
    if (who->role >= ROLE_MEMBER)
        return 0;
    observe_denied(who, "change a data source", NULL);
    return err_set(e, ERR_DENIED, "42501", "the key's role is reader: it may not change data sources");
}

int source_create(struct sources *s, const struct identity *who, const struct source_new *in, struct arena *a,
                  struct source *ret, struct err *e)
{
    int rc = may_change(who, e);
    if (!rc)
        rc = check_new(in, e);
    if (!rc && in->instance)
        rc = instance_check(s->registry, in->instance, in->kind, e);
    if (rc)
        return rc;
    char uid[UID_LEN + 1] = "D";
    crypto_random_text(uid + 1, UID_LEN - 1);
    struct change c = {.w = {.apply = apply_put},
                       .row = {.workspace = who->workspace,
                               .user = who->user,
                               .uid = uid,
                               .user_name = who->user_name,
                               .name = in->name,
                               .label = in->label ? in->label : in->name,
                               .kind = (uint8_t)in->kind,
                               .scope = (uint8_t)in->scope,
                               .description = in->description,
                               .instance = in->instance,
                               .address = in->address,
                               .username = in->username,
                               .database = in->database,
                               .created_ms = sys_wall_ms()}};
    rc = seal(s, in, a, &c.row, e);
    if (rc)
        return rc;
    pthread_mutex_lock(&s->admin);
    rc = within_limit(s, who->workspace, e);
    if (!rc)
        rc = commit(s, &c, e);
    pthread_mutex_unlock(&s->admin);
    if (rc)
        return rc;
    audit_event("source_created", "workspace", who->workspace_name, "user", who->user_name, "source",
                in->name, "kind", source_kind_name(in->kind), "scope", source_scope_name(in->scope), NULL);
    log_event(LOG_INFO, "core", "data source created", "workspace", who->workspace_name, "source", in->name,
              NULL);
    return show(&c.row, who, a, ret, e);
}

int source__remove(struct sources *s, int64_t workspace, const struct identity *who, const char *name,
                   struct err *e)
{
    struct change c = {.w = {.apply = apply_delete}};
    int rc = ERR_NOTFOUND;
    pthread_rwlock_rdlock(&s->lock);
    for (size_t i = 0; i < s->model.n && rc == ERR_NOTFOUND; i++) {
        const struct source_row *r = &s->model.rows[i];
        if (r->workspace != workspace || !source__called(r, name) ||
            (who && !visible(r, workspace, who->user)))
            continue;
        c.row.id = r->id;
        rc = !who || r->user == who->user || who->role == ROLE_ADMIN ? 0 : ERR_DENIED;
    }
    pthread_rwlock_unlock(&s->lock);
    if (rc == ERR_NOTFOUND)
        return not_found(e);
    if (rc) {
        observe_denied(who, "delete a data source", NULL);
        return err_set(e, ERR_DENIED, "42501",
                       "only the data source's creator or an admin of the workspace may delete it");
    }
    return commit(s, &c, e);
}

int source_delete(struct sources *s, const struct identity *who, const char *name, struct err *e)
{
    struct source own;
    int rc = may_change(who, e);
    struct arena *a = rc ? NULL : arena_new(4096);
    if (!rc)
        rc = a ? show_catalog(who, a, &own, e) : source__no_memory(e);
    if (!rc && (strcasecmp(name, own.name) == 0 || strcmp(name, own.uid) == 0))
        rc = err_set(e, ERR_INVALID, "42501", "the catalog cannot be deleted");
    arena_free(a);
    if (rc)
        return rc;
    pthread_mutex_lock(&s->admin);
    rc = source__remove(s, who->workspace, who, name, e);
    pthread_mutex_unlock(&s->admin);
    if (rc)
        return rc;
    audit_event("source_deleted", "workspace", who->workspace_name, "user", who->user_name, "source", name,
                NULL);
    log_event(LOG_INFO, "core", "data source deleted", "workspace", who->workspace_name, "source", name,
              NULL);
    return 0;
}

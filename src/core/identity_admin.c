/*
 * identity_admin: what an administrator does with keys: make, rotate, revoke, list. A change is in the table before the call
 * returns, so that it takes effect at once. Threads that may block, one at a time (`admin`).
 */
#include <string.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/json_write.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/audit.h"
#include "core/identity_int.h"

struct key_write {
    struct registry_write w;
    const char *workspace, *user;
    const char *old;
    int64_t old_expires_ms; /* the key that this one takes the place of; 0: revoked at once */
    struct key_row row;
};

static int apply_create(struct registry *r, struct registry_write *w, struct err *e)
{
    struct key_write *k = (struct key_write *)(void *)w;
    int rc = registry_put_workspace(r, k->workspace, &k->row.workspace, e);
    if (!rc)
        rc = registry_put_user(r, k->user, &k->row.user, e);
    if (!rc)
        rc = registry_put_key(r, &k->row, &k->row.id, e);
    return rc;
}

static int apply_revoke(struct registry *r, struct registry_write *w, struct err *e)
{
    struct key_write *k = (struct key_write *)(void *)w;
    return registry_put_key_revoked(r, k->row.key_id, k->row.revoked_ms, e);
}

static void header_basic(struct json_write *j, const char *dialect, const char *key_id, const char *suffix,
                         const char *secret)
{
    char plain[KEY_ID_LEN + 8 + SECRET_LEN + 2], value[256] = "Basic ";
    size_t n = 0;
    for (const char *parts[] = {key_id, suffix, ":", secret}, **p = parts; p < parts + 4; p++) {
        memcpy(plain + n, *p, strlen(*p));
        n += strlen(*p);
    }
    crypto_base64_encode(plain, n, value + 6);
    json_key(j, dialect);
    json_object_begin(j);
    json_kstr(j, "Authorization", value);
    json_object_end(j);
    crypto_wipe(plain, sizeof plain);
    crypto_wipe(value, sizeof value);
}

static void header_token(struct json_write *j, const char *dialect, const char *scheme, const char *token)
{
    char value[TOKEN_LEN + 16];
    size_t n = strlen(scheme);
    memcpy(value, scheme, n);
    memcpy(value + n, token, TOKEN_LEN + 1);
    json_key(j, dialect);
    json_object_begin(j);
    json_kstr(j, "Authorization", value);
    json_object_end(j);
    crypto_wipe(value, sizeof value);
}

static void write_created(struct buf *out, const struct identity *who, const char *secret)
{
    char token[TOKEN_LEN + 1];
    memcpy(token, TOKEN_PREFIX, PREFIX_LEN);
    memcpy(token + PREFIX_LEN, who->key_id, KEY_ID_LEN);
    token[PREFIX_LEN + KEY_ID_LEN] = '_';
    memcpy(token + PREFIX_LEN + KEY_ID_LEN + 1, secret, SECRET_LEN);
    identity__token_check(token, TOKEN_LEN - CHECK_LEN, token + TOKEN_LEN - CHECK_LEN);
    struct json_write j = JSON_WRITE_INIT(out);
    json_object_begin(&j);
    json_kstr(&j, "workspace", who->workspace_name);
    json_kstr(&j, "workspaceId", who->workspace_uuid);
    json_kstr(&j, "user", who->user_name);
    json_kstr(&j, "role", role_name(who->role));
    json_kstr(&j, "keyId", who->key_id);
    json_kstr(&j, "secret", secret);
    json_kstr(&j, "token", token);
    json_key(&j, "headers");
    json_object_begin(&j);
    json_key(&j, "kakao");
    json_object_begin(&j);
    json_kstr(&j, "Credential-ID", who->key_id);
    json_kstr(&j, "Credential-Secret", secret);
    json_object_end(&j);
    header_basic(&j, "jackdb", who->key_id, "@api", secret);
    header_token(&j, "canner", "Token ", token);
    header_token(&j, "data360", "Bearer ", token);
    header_basic(&j, "kylin", who->key_id, "", secret);
    json_object_end(&j);
    json_object_end(&j);
    crypto_wipe(token, sizeof token);
}

/* Live keys of the user in the workspace, `but` not counted; whether the user and the workspace are known at
 * all. `admin` held. */
static int64_t live_keys(struct identities *ids, const char *workspace, const char *user, const char *but,
                         bool *ret_user, bool *ret_workspace)
{
    int64_t n = 0;
    pthread_rwlock_rdlock(&ids->lock);
    for (size_t i = 0; i < ids->table.n; i++) {
        const struct key_entry *k = &ids->table.entries[i];
        bool same_user = strcmp(k->who.user_name, user) == 0,
             same_workspace = strcmp(k->who.workspace_name, workspace) == 0;
        *ret_user = *ret_user || same_user;
        *ret_workspace = *ret_workspace || same_workspace;
        n += same_user && same_workspace && identity__active(k) && !(but && strcmp(but, k->who.key_id) == 0);
    }
    pthread_rwlock_unlock(&ids->lock);
    return n;
}

static int too_many(const char *workspace, const char *user, int64_t n, struct err *e)
{
    return err_set(e, ERR_LIMIT, "53400",
                   "the user \"%.255s\" has %lld live keys in the workspace \"%.255s\" already "
                   "(auth.keys_per_user = %lld): revoke one first",
                   user, (long long)n, workspace, (long long)config.auth_keys_per_user);
}

/* Makes the secret, commits with `k`'s apply, answers. `admin` held. */
static int make_key(struct identities *ids, struct key_write *k, struct buf *out, struct err *e)
{
    char key_id[KEY_ID_LEN + 1], secret[SECRET_LEN + 1];
    crypto_random_text(key_id, KEY_ID_LEN);
    crypto_random_text(secret, SECRET_LEN);
    k->row.key_id = key_id;
    k->row.created_ms = sys_wall_ms();
    struct credential c = {key_id, secret, KEY_ID_LEN, SECRET_LEN};
    identity__secret_hash(ids, &c, k->row.hash);
    int rc = registry_do(ids->registry, &k->w, e);
    if (!rc)
        rc = identity__load(ids, e);
    struct identity who;
    if (!rc && !identity__credential_right(ids, &c, &who))
        rc = err_set(e, ERR_INTERNAL, "XX000", "the new key cannot be read back");
    if (!rc) {
        const char *role = role_name((enum role)k->row.role);
        write_created(out, &who, secret);
        log_event(LOG_INFO, "core", "key created", "key", key_id, "workspace", k->workspace, "user", k->user,
                  "role", role, NULL);
        audit_event("authn_token_created", "key", key_id, "workspace", k->workspace, "user", k->user, "role",
                    role, "in_place_of", k->old, "by", "admin", NULL);
    }
    crypto_wipe(secret, sizeof secret);
    k->row.key_id = NULL;
    return rc ? rc : buf_failed(out) ? err_set(e, out->why, "54000", "the answer does not fit") : 0;
}

int identity_key_create(struct identities *ids, const char *workspace, const char *user, enum role role,
                        int64_t expires_ms, struct buf *out, struct err *e)
{
    int rc = name_check("workspace", workspace, e);
    if (!rc)
        rc = name_check("user", user, e);
    if (rc)
        return rc;
    struct key_write k = {.w = {.apply = apply_create},
                          .workspace = workspace,
                          .user = user,
                          .row = {.role = (uint8_t)role, .expires_ms = expires_ms}};
    bool known_user = false, known_workspace = false;
    pthread_mutex_lock(&ids->admin);
    int64_t n = live_keys(ids, workspace, user, NULL, &known_user, &known_workspace);
    rc = n >= config.auth_keys_per_user ? too_many(workspace, user, n, e) : make_key(ids, &k, out, e);
    if (!rc && !known_workspace)
        audit_event("workspace_created", "workspace", workspace, "by", "admin", NULL);
    if (!rc && !known_user)
        audit_event("user_created", "user", user, "role", role_name(role), "by", "admin", NULL);
    pthread_mutex_unlock(&ids->admin);
    return rc;
}

static int apply_rotate(struct registry *r, struct registry_write *w, struct err *e)
{
    struct key_write *k = (struct key_write *)(void *)w;
    int rc = k->old_expires_ms ? registry_put_key_expires(r, k->old, k->old_expires_ms, e)
                               : registry_put_key_revoked(r, k->old, k->row.created_ms, e);
    return rc ? rc : registry_put_key(r, &k->row, &k->row.id, e);
}

int identity_key_rotate(struct identities *ids, const char *key_id, int64_t grace_ms, int64_t expires_ms,
                        struct buf *out, struct err *e)
{
    struct identity who;
    int64_t now = sys_wall_ms(), until = 0;
    bool live = false, known = false;
    pthread_mutex_lock(&ids->admin);
    pthread_rwlock_rdlock(&ids->lock);
    const struct key_entry *old = identity__table_find(&ids->table, key_id, strlen(key_id));
    if (old) {
        live = identity__active(old);
        who = old->who;
        until = grace_ms == 0                                         ? 0
                : old->expires_ms && old->expires_ms < now + grace_ms ? old->expires_ms
                                                                      : now + grace_ms;
    }
    pthread_rwlock_unlock(&ids->lock);
    int rc = live ? 0 : err_set(e, ERR_NOTFOUND, "02000", "there is no active key of that id");
    if (!rc) {
        struct key_write k = {.w = {.apply = apply_rotate},
                              .workspace = who.workspace_name,
                              .user = who.user_name,
                              .old = key_id,
                              .old_expires_ms = until,
                              .row = {.workspace = who.workspace,
                                      .user = who.user,
                                      .role = (uint8_t)who.role,
                                      .expires_ms = expires_ms}};
        int64_t n =
            live_keys(ids, who.workspace_name, who.user_name, grace_ms ? NULL : key_id, &known, &known);
        rc = n >= config.auth_keys_per_user ? too_many(who.workspace_name, who.user_name, n, e)
                                            : make_key(ids, &k, out, e);
    }
    if (!rc)
        audit_event(grace_ms ? "authn_token_ending" : "authn_token_revoked", "key", key_id, "workspace",
                    who.workspace_name, "user", who.user_name, "by", "admin", NULL);
    pthread_mutex_unlock(&ids->admin);
    return rc;
}

static void json_time(struct json_write *j, const char *key, int64_t ms)
{
    char text[40];
    json_kstr(j, key, ms ? clock_iso_ms(ms, text, sizeof text) : NULL);
}

static void write_listed(struct json_write *j, const struct key_entry *k)
{
    json_object_begin(j);
    json_kstr(j, "keyId", k->who.key_id);
    json_kstr(j, "workspace", k->who.workspace_name);
    json_kstr(j, "workspaceId", k->who.workspace_uuid);
    json_kstr(j, "user", k->who.user_name);
    json_kstr(j, "role", role_name(k->who.role));
    json_kstr(j, "state", k->revoked_ms ? "revoked" : identity__active(k) ? "active" : "expired");
    json_time(j, "createdAt", k->created_ms);
    json_time(j, "revokedAt", k->revoked_ms);
    json_time(j, "expiresAt", k->expires_ms);
    json_object_end(j);
}

int identity_key_list(struct identities *ids, const char *workspace, struct buf *out, struct err *e)
{
    struct json_write j = JSON_WRITE_INIT(out);
    json_array_begin(&j);
    pthread_rwlock_rdlock(&ids->lock);
    for (size_t i = 0; i < ids->table.n; i++) {
        const struct key_entry *k = &ids->table.entries[i];
        if (!workspace || strcmp(workspace, k->who.workspace_name) == 0)
            write_listed(&j, k);
    }
    pthread_rwlock_unlock(&ids->lock);
    json_array_end(&j);
    return buf_failed(out) ? err_set(e, out->why, "54000", "the list does not fit; name a workspace") : 0;
}

int identities_reload(struct identities *ids, struct err *e)
{
    pthread_mutex_lock(&ids->admin);
    int rc = identity__load(ids, e);
    pthread_mutex_unlock(&ids->admin);
    return rc;
}

int identity_key_revoke(struct identities *ids, const char *key_id, struct buf *out, struct err *e)
{
    int64_t now = sys_wall_ms();
    struct key_write w = {.w = {.apply = apply_revoke}, .row = {.key_id = key_id, .revoked_ms = now}};
    pthread_mutex_lock(&ids->admin);
    int rc = registry_do(ids->registry, &w.w, e);
    if (!rc) {
        pthread_rwlock_wrlock(&ids->lock);
        struct key_entry *k = identity__table_find(&ids->table, key_id, strlen(key_id));
        if (k)
            k->revoked_ms = now;
        pthread_rwlock_unlock(&ids->lock);
    }
    pthread_mutex_unlock(&ids->admin);
    if (rc)
        return rc;
    audit_event("authn_token_revoked", "key", key_id, "by", "admin", NULL);
    log_event(LOG_INFO, "core", "key revoked", "key", key_id, NULL);
    struct json_write j = JSON_WRITE_INIT(out);
    json_object_begin(&j);
    json_kstr(&j, "keyId", key_id);
    json_kstr(&j, "state", "revoked");
    json_time(&j, "revokedAt", now);
    json_object_end(&j);
    return buf_failed(out) ? err_set(e, out->why, "54000", "the answer does not fit") : 0;
}

/*
 * identity: the key table in memory and the check of a credential; identity_admin.c is what an administrator does with keys.
 *
 * A token is "qrn_<keyId>_<secret><check>": keyId 12, secret 43 (256 bits) and check 6 characters of base 62;
 * check is the CRC-32C of all before it, so that a scanner for leaked tokens has no false alarms. Stored of a
 * secret: keyed BLAKE2b-256 of "<keyId>:<secret>" under the installation's keyring.
 *
 * Invariants: the hash is computed and compared for every credential that is not right, known or not, so that
 * all wrong ones cost the same; an absent, a revoked and an expired key are told apart by nobody; the limiter
 * is asked only after the comparison failed. Once a key's credential was right, a 128-bit mark of it under a
 * key of this process (SipHash) is kept beside it, so that a right one costs little. Threads: identity_check
 * on any, it reads under `lock`; administration on threads that may block, one at a time (`admin`). A change
 * is in the table before the call returns, so that it takes effect at once.
 */
#include "core/identity_int.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/crypto.h"
#include "base/json_write.h"
#include "base/sys.h"
#include "base/utf8.h"
#include "core/audit.h"
#include "core/keyring.h"
#include "core/firsts.h"
#include "core/limiter.h"
#include "core/registry.h"

#define CREDENTIAL_MAX 512u /* a longer key id or secret is wrong without being looked at */

const char *role_name(enum role r)
{
    return r == ROLE_ADMIN ? "admin" : r == ROLE_MEMBER ? "member" : "reader";
}

bool role_parse(const char *text, enum role *ret)
{
    for (enum role r = ROLE_READER; r <= ROLE_ADMIN; r++) {
        if (strcmp(text, role_name(r)) != 0)
            continue;
        *ret = r;
        return true;
    }
    return false;
}

int name_check(const char *what, const char *name, struct err *e)
{
    size_t n = name ? strlen(name) : 0;
    if (n == 0)
        return err_set(e, ERR_INVALID, "22023", "the name of the %s is empty", what);
    if (n > NAME_MAX_LEN)
        return err_set(e, ERR_INVALID, "22023", "the name of the %s is longer than %d bytes", what,
                       NAME_MAX_LEN);
    if (!utf8_valid(name, n))
        return err_set(e, ERR_INVALID, "22023", "the name of the %s is not UTF-8", what);
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return err_set(e, ERR_INVALID, "22023", "the name of the %s may not be \"%s\"", what, name);
    uint32_t cp = 0;
    for (size_t i = 0; i < n; i += (size_t)utf8_next(name + i, n - i, &cp)) {
        unsigned char c = (unsigned char)name[i];
        bool control = c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)name[i + 1] < 0xa0);
        if (control || c == '/')
            return err_set(e, ERR_INVALID, "22023", "the name of the %s holds %s", what,
                           control ? "a control character" : "a \"/\"");
    }
    return 0;
}

/* ---- the table ---- */

static size_t slot_of(const struct key_table *t, const char *key_id, size_t len)
{
    return crypto_crc32c(0, key_id, len) & (t->nslots - 1);
}

struct key_entry *identity__table_find(const struct key_table *t, const char *key_id, size_t len)
{
    if (t->nslots == 0)
        return NULL;
    for (size_t i = slot_of(t, key_id, len); t->slots[i]; i = (i + 1) & (t->nslots - 1)) {
        struct key_entry *k = &t->entries[t->slots[i] - 1];
        if (strlen(k->who.key_id) == len && memcmp(k->who.key_id, key_id, len) == 0)
            return k;
    }
    return NULL;
}

static void table_free(struct key_table *t)
{
    free(t->entries);
    free(t->slots);
    *t = (struct key_table){0};
}

struct loader {
    struct key_table t;
    bool failed;
};

static void copy_name(char *out, size_t cap, const char *from)
{
    size_t n = strnlen(from, cap - 1);
    memcpy(out, from, n);
    out[n] = 0;
}

static void load_one(void *arg, const struct key_row *row)
{
    struct loader *l = arg;
    struct key_table *t = &l->t;
    if (t->n == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 64;
        struct key_entry *p = realloc(t->entries, cap * sizeof *p);
        if (!p) {
            l->failed = true;
            return;
        }
        t->entries = p;
        t->cap = cap;
    }
    struct key_entry *k = &t->entries[t->n++];
    memset(k, 0, sizeof *k);
    k->who.workspace = row->workspace;
    k->who.user = row->user;
    k->who.key = row->id;
    k->who.role = (enum role)row->role;
    copy_name(k->who.workspace_name, sizeof k->who.workspace_name, row->workspace_name);
    copy_name(k->who.workspace_uuid, sizeof k->who.workspace_uuid, row->workspace_uuid);
    copy_name(k->who.user_name, sizeof k->who.user_name, row->user_name);
    copy_name(k->who.key_id, sizeof k->who.key_id, row->key_id);
    memcpy(k->hash, row->hash, sizeof k->hash);
    k->created_ms = row->created_ms;
    k->revoked_ms = row->revoked_ms;
    k->expires_ms = row->expires_ms;
}

static bool build_slots(struct key_table *t)
{
    t->nslots = 64;
    while (t->nslots < t->n * 2)
        t->nslots *= 2;
    t->slots = calloc(t->nslots, sizeof *t->slots);
    if (!t->slots)
        return false;
    for (size_t k = 0; k < t->n; k++) {
        size_t i = slot_of(t, t->entries[k].who.key_id, strlen(t->entries[k].who.key_id));
        while (t->slots[i])
            i = (i + 1) & (t->nslots - 1);
        t->slots[i] = (uint32_t)k + 1;
    }
    return true;
}

int identity__load(struct identities *ids, struct err *e)
{
    struct loader l = {0};
    int rc = registry_each_key(ids->registry, load_one, &l, e);
    if (!rc && (l.failed || !build_slots(&l.t)))
        rc = err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (!rc) {
        pthread_rwlock_wrlock(&ids->lock);
        struct key_table old = ids->table;
        ids->table = l.t;
        pthread_rwlock_unlock(&ids->lock);
        l.t = old;
    }
    table_free(&l.t);
    return rc;
}

int identities_open(struct registry *r, const char *data_dir, struct identities **ret, struct err *e)
{
    struct identities *ids = calloc(1, sizeof *ids);
    if (!ids)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    ids->registry = r;
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&ids->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&ids->admin, NULL);
    pthread_mutex_init(&ids->marking, NULL);
    sys_random(ids->nobody, sizeof ids->nobody);
    sys_random(ids->mark_key, sizeof ids->mark_key);
    ids->limiter = limiter_new();
    ids->addresses = firsts_new();
    int rc = crypto_init() ? err_set(e, ERR_INTERNAL, "XX000", "the cryptography library does not start") : 0;
    if (!rc && (!ids->limiter || !ids->addresses))
        rc = err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (!rc)
        rc = identity__load(ids, e);
    if (!rc)
        rc = keyring_open(data_dir, ids->table.n == 0, ids->keyring, e);
    if (rc) {
        identities_close(ids);
        return rc;
    }
    *ret = ids;
    return 0;
}

void identities_close(struct identities *ids)
{
    if (!ids)
        return;
    table_free(&ids->table);
    limiter_free(ids->limiter);
    firsts_free(ids->addresses);
    pthread_rwlock_destroy(&ids->lock);
    pthread_mutex_destroy(&ids->admin);
    pthread_mutex_destroy(&ids->marking);
    crypto_wipe(ids, sizeof *ids);
    free(ids);
}

/* ---- the check ---- */

void identity__token_check(const char *text, size_t n, char out[CHECK_LEN + 1])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint32_t crc = crypto_crc32c(0, text, n);
    for (unsigned i = CHECK_LEN; i > 0; i--, crc /= 62)
        out[i - 1] = digits[crc % 62];
    out[CHECK_LEN] = 0;
}

/* False: cannot be a credential of ours; then c names what is known of it, for the limiter. */
static bool credential_parse(const char *key_id, size_t key_id_len, const char *secret, size_t secret_len,
                             struct credential *c)
{
    *c = (struct credential){key_id, secret ? secret : "", key_id_len, secret ? secret_len : 0};
    if (secret)
        return key_id_len <= CREDENTIAL_MAX && secret_len <= CREDENTIAL_MAX;
    *c = (struct credential){"", "", 0, 0};
    if (key_id_len != TOKEN_LEN || memcmp(key_id, TOKEN_PREFIX, PREFIX_LEN) != 0 ||
        key_id[PREFIX_LEN + KEY_ID_LEN] != '_')
        return false;
    char check[CHECK_LEN + 1];
    identity__token_check(key_id, TOKEN_LEN - CHECK_LEN, check);
    if (memcmp(check, key_id + TOKEN_LEN - CHECK_LEN, CHECK_LEN) != 0)
        return false;
    *c = (struct credential){key_id + PREFIX_LEN, key_id + PREFIX_LEN + KEY_ID_LEN + 1, KEY_ID_LEN,
                             SECRET_LEN};
    return true;
}

void identity__secret_hash(const struct identities *ids, const struct credential *c,
                           uint8_t out[CRYPTO_HASH_LEN])
{
    char text[2 * CREDENTIAL_MAX + 1];
    memcpy(text, c->key_id, c->key_id_len);
    text[c->key_id_len] = ':';
    memcpy(text + c->key_id_len + 1, c->secret, c->secret_len);
    crypto_hash(ids->keyring, text, c->key_id_len + 1 + c->secret_len, out);
    crypto_wipe(text, sizeof text);
}

bool identity__active(const struct key_entry *k)
{
    return k->revoked_ms == 0 && (k->expires_ms == 0 || sys_wall_ms() < k->expires_ms);
}

/* Many may get here at once for one key; whoever comes first writes, the others leave it. */
static void remember(struct identities *ids, struct key_entry *k, const uint8_t mark[CRYPTO_MARK_LEN])
{
    pthread_mutex_lock(&ids->marking);
    if (!atomic_load_explicit(&k->quick_set, memory_order_relaxed)) {
        memcpy(k->quick, mark, CRYPTO_MARK_LEN);
        atomic_store_explicit(&k->quick_set, true, memory_order_release);
    }
    pthread_mutex_unlock(&ids->marking);
}

/* The names are mostly much shorter than their room. */
static void copy_identity(struct identity *to, const struct identity *from)
{
    to->workspace = from->workspace;
    to->user = from->user;
    to->key = from->key;
    to->role = from->role;
    copy_name(to->workspace_name, sizeof to->workspace_name, from->workspace_name);
    copy_name(to->workspace_uuid, sizeof to->workspace_uuid, from->workspace_uuid);
    copy_name(to->user_name, sizeof to->user_name, from->user_name);
    copy_name(to->key_id, sizeof to->key_id, from->key_id);
}

bool identity__credential_right(struct identities *ids, const struct credential *c, struct identity *ret)
{
    uint8_t hash[CRYPTO_HASH_LEN], mark[CRYPTO_MARK_LEN];
    crypto_mark(ids->mark_key, c->secret, c->secret_len, mark);
    pthread_rwlock_rdlock(&ids->lock);
    struct key_entry *k = identity__table_find(&ids->table, c->key_id, c->key_id_len);
    bool right = k && atomic_load_explicit(&k->quick_set, memory_order_acquire) &&
                 crypto_equal(mark, k->quick, sizeof mark);
    if (!right) {
        identity__secret_hash(ids, c, hash);
        right = crypto_equal(hash, k ? k->hash : ids->nobody, sizeof hash) && k;
        if (right)
            remember(ids, k, mark);
    }
    right = right && identity__active(k);
    if (right)
        copy_identity(ret, &k->who);
    pthread_rwlock_unlock(&ids->lock);
    return right;
}

int identity_check(struct identities *ids, const char *key_id, size_t key_id_len, const char *secret,
                   size_t secret_len, const char *peer, struct identity *ret, struct err *e)
{
    struct credential c;
    if (credential_parse(key_id, key_id_len, secret, secret_len, &c) &&
        identity__credential_right(ids, &c, ret)) {
        if (peer && firsts_is(ids->addresses, ret->key, peer, strlen(peer)))
            audit_event("authn_login_success", "workspace", ret->workspace_name, "user", ret->user_name,
                        "key", ret->key_id, "peer", peer, NULL);
        return 0;
    }
    /* Not what might be a secret in the wrong place: only what has the shape of a key id. */
    char shown[KEY_ID_LEN + 1] = "";
    bool shaped = c.key_id_len == KEY_ID_LEN && utf8_valid(c.key_id, c.key_id_len);
    if (shaped)
        memcpy(shown, c.key_id, KEY_ID_LEN);
    int64_t wait_ms =
        limiter_failure(ids->limiter, c.key_id, c.key_id_len, peer, config.auth_max_failures, sys_mono_ns());
    audit_refusal(wait_ms ? "authn_login_lock" : "authn_login_fail", "key", shaped ? shown : NULL, "peer",
                  peer, NULL);
    if (wait_ms == 0)
        return err_set(e, ERR_UNAUTH, "28000", "the credential is not valid");
    return err_set(e, ERR_LIMIT, "28000",
                   "too many wrong credentials for this key from this address (auth.max_failures = %lld a "
                   "minute); try again in %lld s",
                   (long long)config.auth_max_failures, (long long)(wait_ms + 999) / 1000);
}

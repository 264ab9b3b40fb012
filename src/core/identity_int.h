/* identity_int: what identity.c (the key table, checks) and identity_admin.c (administrators' commands) share. Not for other
 * files. */
#ifndef QUERN_CORE_IDENTITY_INT_H
#define QUERN_CORE_IDENTITY_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/crypto.h"
#include "core/identity.h"
#include "core/registry.h"

#define TOKEN_PREFIX "qrn_"
#define PREFIX_LEN   4u
#define KEY_ID_LEN   12u
#define SECRET_LEN   43u
#define CHECK_LEN    6u
#define TOKEN_LEN    (PREFIX_LEN + KEY_ID_LEN + 1 + SECRET_LEN + CHECK_LEN)

struct key_entry {
    struct identity who;
    uint8_t hash[CRYPTO_HASH_LEN];
    int64_t created_ms, revoked_ms, expires_ms;
    _Atomic bool quick_set; /* quick[] is the mark of the right credential */
    uint8_t quick[CRYPTO_MARK_LEN];
};

struct key_table {
    struct key_entry *entries;
    size_t n, cap;
    uint32_t *slots;
    size_t nslots; /* a power of two; slot 0 = free, else entry + 1 */
};

struct identities {
    struct registry *registry;
    struct limiter *limiter;
    struct firsts *addresses; /* from which each key came */
    uint8_t keyring[CRYPTO_KEY_LEN];
    uint8_t nobody[CRYPTO_HASH_LEN];       /* compared with when there is no such key */
    uint8_t mark_key[CRYPTO_MARK_KEY_LEN]; /* of this process only */
    pthread_rwlock_t lock;
    struct key_table table; /* guarded by lock */
    pthread_mutex_t admin;
    pthread_mutex_t marking;
};

struct credential {
    const char *key_id, *secret;
    size_t key_id_len, secret_len;
};

struct key_entry *identity__table_find(const struct key_table *t, const char *key_id, size_t len);
/* Reads all keys and puts them in the place of those before. */
int identity__load(struct identities *ids, struct err *e);
void identity__token_check(const char *text, size_t n, char out[CHECK_LEN + 1]);
void identity__secret_hash(const struct identities *ids, const struct credential *c,
                           uint8_t out[CRYPTO_HASH_LEN]);
bool identity__active(const struct key_entry *k);
bool identity__credential_right(struct identities *ids, const struct credential *c, struct identity *ret);

#endif

/*
 * identity: who is asking. Workspaces, users, keys, roles; credential check with a cache; failed-credential
 * limit.
 *
 * A key belongs to one user and one workspace and carries a role. Only a keyed hash of the secret is stored.
 * The whole key table is held in memory (read-write lock); a check costs one hash and no registry access.
 */
#ifndef QUERN_CORE_IDENTITY_H
#define QUERN_CORE_IDENTITY_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

#define NAME_MAX_LEN 255

enum role { ROLE_READER = 1, ROLE_MEMBER, ROLE_ADMIN };

struct identity {                 /* a plain value, copied into the request */
    int64_t workspace, user, key; /* registry row ids */
    enum role role;
    char workspace_name[NAME_MAX_LEN + 1];
    char workspace_uuid[40];
    char user_name[NAME_MAX_LEN + 1];
    char key_id[40];
};

struct registry;
struct identities;

int identities_open(struct registry *r, const char *data_dir, struct identities **ret,
                    struct err *e) MUST_USE;
void identities_close(struct identities *ids);
/* keyId + secret, or a token (which is keyId and secret in one text: "qrn_<keyId>_<secret><crc>"; then secret
 * is NULL and key_id the whole token). `peer` feeds the limiter. ERR_UNAUTH; ERR_LIMIT (429, names
 * auth.max_failures) only for wrong credentials over the limit: a correct one always passes. */
int identity_check(struct identities *ids, const char *key_id, size_t key_id_len, const char *secret,
                   size_t secret_len, const char *peer, struct identity *ret, struct err *e) MUST_USE;

/* ---- administration (blocking; durable when they return; JSON in the form of design.md section 6 appended
 * to out) ---- */
/* expires_ms: Unix time, 0 never. ERR_LIMIT when the user has auth.keys_per_user live keys in the workspace. */
int identity_key_create(struct identities *ids, const char *workspace, const char *user, enum role role,
                        int64_t expires_ms, struct buf *out, struct err *e) MUST_USE;
/* A new key of the same workspace, user and role; the old one ends grace_ms from now (0: at once). */
int identity_key_rotate(struct identities *ids, const char *key_id, int64_t grace_ms, int64_t expires_ms,
                        struct buf *out, struct err *e) MUST_USE;
int identity_key_list(struct identities *ids, const char *workspace, struct buf *out, struct err *e) MUST_USE;
int identity_key_revoke(struct identities *ids, const char *key_id, struct buf *out, struct err *e) MUST_USE;
/* The table of keys is read again: others changed it. */
int identities_reload(struct identities *ids, struct err *e) MUST_USE;
const char *role_name(enum role r);
bool role_parse(const char *text, enum role *ret);
/* Names of workspaces, users and buckets: 1..255 bytes of UTF-8, no control character, no "/", not "." or
 * "..". `what` is for the message. */
int name_check(const char *what, const char *name, struct err *e) MUST_USE;

#endif

/* source_int: what source.c (the model, users' calls) and source_admin.c (administrators' commands) share. Not for
 * other files. */
#ifndef QUERN_CORE_SOURCE_INT_H
#define QUERN_CORE_SOURCE_INT_H

#include <pthread.h>

#include "base/crypto.h"
#include "core/registry.h"
#include "core/source.h"

#define SEAL_EXTRA 40u /* crypto_seal's nonce and tag */

struct owner {
    int64_t id;
    const char *name, *uuid;
};

struct model {
    struct arena *arena;
    struct source_row *rows; /* in the order of creation */
    struct owner *workspaces;
    size_t n, nworkspaces;
};

struct sources {
    struct registry *registry;
    uint8_t seal_key[CRYPTO_KEY_LEN];
    pthread_rwlock_t lock;
    struct model model; /* guarded by lock */
    pthread_mutex_t admin;
};

int source__no_memory(struct err *e);
/* Reads all rows anew; blocks. */
int source__reload(struct sources *s, struct err *e) MUST_USE;
/* By name or uid. */
bool source__called(const struct source_row *r, const char *name);
/* What the seal of its secret holds for: this workspace and this source only. */
void source__bind_to(const struct source_row *r, char out[64]);
/* Takes a source away; `who` NULL: an administrator, who may all. `admin` held. */
int source__remove(struct sources *s, int64_t workspace, const struct identity *who, const char *name,
                   struct err *e) MUST_USE;

#endif

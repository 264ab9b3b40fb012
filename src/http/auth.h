/*
 * auth: how each dialect's clients say who they are. Pure parsing; any thread. The check itself is
 * core/identity.h.
 */
#ifndef QUERN_HTTP_AUTH_H
#define QUERN_HTTP_AUTH_H

#include "dialects/dialect.h"

#define AUTH_MAX 2048 /* longest decoded credential */

struct auth_parts {
    size_t key_len, secret_len;
    bool has_secret;         /* false: key is a whole token */
    char text[AUTH_MAX + 1]; /* key, then secret */
};

/* The headers that matter; NULL when absent. */
struct auth_headers {
    const char *authorization, *credential_id, *credential_secret;
};

enum auth_verdict { AUTH_PARSED, AUTH_ABSENT, AUTH_MALFORMED };
enum auth_verdict auth_parse(enum credential kind, const struct auth_headers *h, struct auth_parts *ret);
/* Value of WWW-Authenticate for a 401, NULL for none. */
const char *auth_challenge(enum credential kind);
const char *auth_credential_name(enum credential kind);

#endif

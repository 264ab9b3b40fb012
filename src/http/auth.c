/*
 * auth: see auth.h. Five ways to write one credential. Nothing here allocates or compares secrets; the caller
 * wipes `auth_parts`.
 */
#include "http/auth.h"

#include <string.h>
#include <strings.h>

#include "base/crypto.h"

static enum auth_verdict two(struct auth_parts *ret, const char *key, size_t kn, const char *secret,
                             size_t sn)
{
    if (kn == 0 || sn == 0 || kn > AUTH_MAX || sn > AUTH_MAX - kn)
        return AUTH_MALFORMED;
    memmove(ret->text, key, kn);
    memmove(ret->text + kn, secret, sn);
    ret->text[kn + sn] = '\0';
    ret->key_len = kn;
    ret->secret_len = sn;
    ret->has_secret = true;
    return AUTH_PARSED;
}

static size_t trimmed(const char *s)
{
    size_t n = strlen(s);
    while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
        n--;
    return n;
}

static enum auth_verdict token(struct auth_parts *ret, const char *s)
{
    size_t n = trimmed(s);
    if (n == 0 || n > AUTH_MAX || memchr(s, ' ', n))
        return AUTH_MALFORMED;
    memcpy(ret->text, s, n);
    ret->text[n] = '\0';
    ret->key_len = n;
    ret->secret_len = 0;
    ret->has_secret = false;
    return AUTH_PARSED;
}

/* at_api: 1 the key must end in "@api", 0 it stays as it is, -1 the ending is optional. */
static enum auth_verdict basic(struct auth_parts *ret, const char *s, int at_api)
{
    char plain[AUTH_MAX + 1];
    size_t len = 0;
    enum auth_verdict v = AUTH_MALFORMED;
    if (crypto_base64_decode(s, trimmed(s), (uint8_t *)plain, AUTH_MAX, &len)) {
        const char *colon = memchr(plain, ':', len);
        if (colon) {
            size_t kn = (size_t)(colon - plain);
            bool api = kn > 4 && memcmp(colon - 4, "@api", 4) == 0;
            if (at_api <= 0 || api)
                v = two(ret, plain, kn - (api && at_api ? 4 : 0), colon + 1, len - kn - 1);
        }
    }
    crypto_wipe(plain, sizeof plain);
    return v;
}

/* The text after "SCHEME ", or NULL. */
static const char *after(const char *value, const char *scheme)
{
    size_t n = strlen(scheme);
    if (!value || strncasecmp(value, scheme, n) != 0 || value[n] != ' ')
        return NULL;
    value += n;
    while (*value == ' ')
        value++;
    return value;
}

static enum auth_verdict kakao(const struct auth_headers *h, struct auth_parts *ret)
{
    if (!h->credential_id && !h->credential_secret)
        return AUTH_ABSENT;
    if (!h->credential_id || !h->credential_secret)
        return AUTH_MALFORMED;
    return two(ret, h->credential_id, trimmed(h->credential_id), h->credential_secret,
               trimmed(h->credential_secret));
}

enum auth_verdict auth_parse(enum credential kind, const struct auth_headers *h, struct auth_parts *ret)
{
    const char *a = h->authorization, *rest;
    if (kind == CREDENTIAL_KAKAO)
        return kakao(h, ret);
    if (kind == CREDENTIAL_ANY) {
        enum auth_verdict v = kakao(h, ret);
        if (v != AUTH_ABSENT)
            return v;
    }
    if (!a)
        return AUTH_ABSENT;
    switch (kind) {
    case CREDENTIAL_JACKDB:
        rest = after(a, "Basic");
        return rest ? basic(ret, rest, 1) : AUTH_MALFORMED;
    case CREDENTIAL_KYLIN:
        rest = after(a, "Basic");
        return rest ? basic(ret, rest, 0) : AUTH_MALFORMED;
    case CREDENTIAL_CANNER:
        rest = after(a, "Token");
        if (!rest)
            rest = after(a, "Bearer"); /* its oldest clients */
        return rest ? token(ret, rest) : AUTH_MALFORMED;
    case CREDENTIAL_DATA360:
        rest = after(a, "Bearer");
        return rest ? token(ret, rest) : AUTH_MALFORMED;
    case CREDENTIAL_ANY:
        if ((rest = after(a, "Bearer")) || (rest = after(a, "Token")))
            return token(ret, rest);
        rest = after(a, "Basic");
        return rest ? basic(ret, rest, -1) : AUTH_MALFORMED;
    case CREDENTIAL_NONE:
    case CREDENTIAL_KAKAO:
        break;
    }
    return AUTH_ABSENT;
}

const char *auth_challenge(enum credential kind)
{
    switch (kind) {
    case CREDENTIAL_JACKDB:
        return "Basic realm=\"api\"";
    case CREDENTIAL_CANNER:
        return "Token";
    case CREDENTIAL_DATA360:
    case CREDENTIAL_ANY:
        return "Bearer realm=\"quern\"";
    case CREDENTIAL_NONE:
    case CREDENTIAL_KAKAO:
    case CREDENTIAL_KYLIN: /* Kylin sends none (its page, section 3), and a browser asks nobody */
        break;
    }
    return NULL;
}

const char *auth_credential_name(enum credential kind)
{
    static const char *const names[] = {"none", "kakao", "jackdb", "canner", "data360", "kylin", "any"};
    return names[kind];
}

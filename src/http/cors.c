/* cors: see cors.h. */
#include "http/cors.h"

#include <stdlib.h>
#include <string.h>

struct cors {
    bool any;
    size_t n;
    char text[];
}; /* origins, each ended by NUL */

static bool origin_ok(const char *s, size_t n)
{
    if (n == 4 && memcmp(s, "null", 4) == 0)
        return true;
    const char *at = memmem(s, n, "://", 3);
    if (!at || at == s || (size_t)(at + 3 - s) == n)
        return false;
    for (const char *p = s; p < s + n; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f || (*p >= 'A' && *p <= 'Z') || *p == '*' ||
            (*p == '/' && p != at + 1 && p != at + 2))
            return false;
    return true;
}

int cors_parse(const char *text, struct cors **ret, struct err *e)
{
    size_t size = strlen(text), n = 0;
    struct cors *c = NULL;
    for (const char *s = text; *(s += strspn(s, ", \t")); s += n) {
        n = strcspn(s, ", \t");
        if (!c && !(c = calloc(1, sizeof *c + size + 1)))
            return err_set(e, ERR_NOMEM, NULL, "out of memory");
        if (n == 1 && *s == '*') {
            c->any = true;
        } else if (origin_ok(s, n)) {
            memcpy(c->text + c->n, s, n);
            c->n += n + 1;
        } else {
            free(c);
            return err_set(e, ERR_INVALID, NULL,
                           "http.cors_origins: \"%.*s\" is no origin (scheme://host[:port] in small letters, "
                           "without a path)",
                           (int)n, s);
        }
    }
    if (c && c->any && c->n) {
        free(c);
        return err_set(e, ERR_INVALID, NULL, "http.cors_origins: \"*\" stands alone or not at all");
    }
    *ret = c;
    return 0;
}

void cors_free(struct cors *c)
{
    free(c);
}

bool cors_any(const struct cors *c)
{
    return c && c->any;
}

bool cors_allows(const struct cors *c, const char *origin)
{
    if (!c || !origin)
        return false;
    if (c->any)
        return true;
    for (size_t i = 0; i < c->n; i += strlen(c->text + i) + 1)
        if (strcmp(c->text + i, origin) == 0)
            return true;
    return false;
}

bool cors_headers_ok(const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              strchr("-_.!#$%&'*+^`|~, ", c)))
            return false;
    }
    return n <= 1024;
}

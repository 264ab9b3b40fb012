/*
 * bucket: finds the kind of a bucket by its URL and checks object keys once for all kinds.
 *
 * A key that passes is a relative path of plain names: no kind has to think about "..", empty or hidden
 * temporary names again. Pure dispatch; any thread.
 */
#include <string.h>

#include "base/utf8.h"
#include "results/bucket_int.h"

#define KEY_MAX     1024
#define SEGMENT_MAX 255

static const struct bucket_kind *const kinds[] = {&bucket__local};

static int find(const char *url, const struct bucket_kind **ret, const char **ret_rest, struct err *e)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t n = strlen(kinds[i]->scheme);
        if (strncmp(url, kinds[i]->scheme, n) != 0)
            continue;
        *ret = kinds[i];
        *ret_rest = url + n;
        return 0;
    }
    return err_set(e, ERR_INVALID, "22023", "the bucket URL is of no known kind; known: file:///DIR");
}

static bool segment_ok(const char *p, size_t n)
{
    if (n == 0 || n > SEGMENT_MAX)
        return false;
    if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
        return false;
    if (n >= 7 && memcmp(p, ".quern-", 7) == 0)
        return false; /* names of unfinished uploads */
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f || p[i] == '\\')
            return false;
    return true;
}

int bucket_check_key(const char *key, struct err *e)
{
    size_t n = strlen(key);
    bool ok = n > 0 && n <= KEY_MAX && utf8_valid(key, n);
    for (const char *p = key; ok; p = strchr(p, '/') + 1) {
        ok = segment_ok(p, strcspn(p, "/"));
        if (!strchr(p, '/'))
            break;
    }
    return ok ? 0 : err_set(e, ERR_INVALID, "22023", "the object name is not allowed in a bucket");
}

int bucket_check_url(const char *url, struct err *e)
{
    const struct bucket_kind *k;
    const char *rest;
    int rc = find(url, &k, &rest, e);
    return rc < 0 ? rc : k->check_url(rest, e);
}

int bucket_prepare(const char *url, struct err *e)
{
    const struct bucket_kind *k;
    const char *rest;
    int rc = find(url, &k, &rest, e);
    return rc < 0 ? rc : k->prepare(rest, e);
}

int bucket_writable(const char *url, struct err *e)
{
    const struct bucket_kind *k;
    const char *rest;
    int rc = find(url, &k, &rest, e);
    return rc < 0 ? rc : k->writable(rest, e);
}

int bucket_begin(const char *url, const char *key, struct bucket_upload **ret, struct err *e)
{
    const struct bucket_kind *k;
    const char *rest;
    int rc = find(url, &k, &rest, e);
    if (rc == 0)
        rc = bucket_check_key(key, e);
    if (rc == 0)
        rc = k->begin(rest, key, ret, e);
    if (rc == 0)
        (*ret)->kind = k;
    return rc;
}

int bucket_write(struct bucket_upload *u, const void *p, size_t n, struct err *e)
{
    return u->kind->write(u, p, n, e);
}
int bucket_commit(struct bucket_upload *u, struct err *e)
{
    return u->kind->commit(u, e);
}

void bucket_abort(struct bucket_upload *u)
{
    if (u)
        u->kind->abort(u);
}

int bucket_remove(const char *url, const char *key, struct err *e)
{
    const struct bucket_kind *k;
    const char *rest;
    int rc = find(url, &k, &rest, e);
    if (rc == 0)
        rc = bucket_check_key(key, e);
    return rc < 0 ? rc : k->remove(rest, key, e);
}

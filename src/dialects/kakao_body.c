/*
 * kakao_body: the two request bodies of the Kakao Open API (specs 3.1 "Run query", 3.6 "Create data source"),
 * read strictly by the documented fields, leniently in what the page's own samples do: the body is JSON
 * whatever its Content-Type says, unknown fields are ignored, bucket and path are accepted flat when
 * resultConfig is absent (nested wins). Every refusal names the field; none repeats a secret or the query.
 * Pure; any thread; hostile bytes allowed, fuzzed.
 */
#include "dialects/kakao_int.h"

#include <string.h>

#include "base/config.h"
#include "base/crypto.h"
#include "base/utf8.h"
#include "results/bucket.h"

static bool is_blank(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ' && (s[i] < '\t' || s[i] > '\r'))
            return false;
    return true;
}

/* A text that must be there; blank is refused when `filled`. */
static int read_text(json_value object, const char *key, bool filled, const char **ret, size_t *ret_len,
                     struct err *e)
{
    json_value v = json_get(object, key);
    enum json_kind k = json_kind(v);
    if (k == JSON_ABSENT || k == JSON_NULL)
        return err_set(e, ERR_INVALID, "22023", "%s is required", key);
    size_t n;
    const char *s = json_string(v, &n);
    if (!s)
        return err_set(e, ERR_INVALID, "22023", "%s must be a string, not %s", key, json_kind_name(k));
    if (filled && is_blank(s, n))
        return err_set(e, ERR_INVALID, "22023", "%s must not be blank", key);
    *ret = s;
    if (ret_len)
        *ret_len = n;
    return 0;
}

/* Slashes at the ends go, several in a row are one: not every kind of bucket has folders without a name. */
static int check_path(const char *given, size_t given_n, struct arena *a, const char **ret, struct err *e)
{
    char *raw = arena_alloc(a, given_n + 1);
    if (!raw)
        return err_no_memory(e);
    size_t n = 0;
    for (size_t i = 0; i < given_n; i++)
        if (given[i] != '/' || (n && raw[n - 1] != '/'))
            raw[n++] = given[i];
    if (n && raw[n - 1] == '/')
        n--;
    raw[n] = 0;
    size_t start = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && ((unsigned char)raw[i] < 0x20 || raw[i] == 0x7F))
            return err_set(e, ERR_INVALID, "22023", "path must not hold control characters");
        if (i == n || raw[i] == '/') {
            size_t len = i - start;
            if ((len == 1 && raw[start] == '.') || (len == 2 && raw[start] == '.' && raw[start + 1] == '.'))
                return err_set(e, ERR_INVALID, "22023", "path must not hold \".\" or \"..\" as a folder");
            start = i + 1;
        }
    }
    /* path/YYYY/MM/DD/{queryId}.metadata, the longer of the two file names */
    if (n + (n ? 1 : 0) + 10 + 1 + ID_KAKAO_LEN + strlen(".metadata") > KAKAO_KEY_MAX)
        return err_set(e, ERR_INVALID, "22023",
                       "path is too long: the name of a result file may have %d bytes", KAKAO_KEY_MAX);
    /* refused now, not when the query has run and its files cannot be written */
    if (n && bucket_check_key(raw, NULL))
        return err_set(e, ERR_INVALID, "22023",
                       "path must not hold a backslash, a folder of more than 255 bytes, or one that begins "
                       "with \".quern-\"");
    *ret = raw;
    return 0;
}

static int read_reuse(json_value root, struct kakao_run *run, struct err *e)
{
    json_value conf = json_get(root, "reuseConfig");
    enum json_kind k = json_kind(conf);
    if (k == JSON_ABSENT || k == JSON_NULL)
        return 0;
    if (k != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "22023", "reuseConfig must be an object, not %s", json_kind_name(k));
    json_value reuse = json_get(conf, "reuse");
    k = json_kind(reuse);
    if (k != JSON_ABSENT && k != JSON_NULL && !json_boolean(reuse, &run->reuse))
        return err_set(e, ERR_INVALID, "22023", "reuse must be a boolean, not %s", json_kind_name(k));
    if (!run->reuse)
        return 0; /* the age means nothing then */
    json_value age = json_get(conf, "maxReuseAge");
    k = json_kind(age);
    if (k == JSON_ABSENT || k == JSON_NULL)
        return err_set(e, ERR_INVALID, "22023", "maxReuseAge is required when reuse is true");
    int64_t minutes;
    if (!json_int(age, &minutes) || minutes < 1 || minutes > 1440)
        return err_set(e, ERR_INVALID, "22023", "maxReuseAge must be an integer between 1 and 1440");
    run->max_reuse_age_min = (int32_t)minutes;
    return 0;
}

int kakao__read_run(struct arena *a, const char *body, size_t n, struct kakao_run *ret, struct err *e)
{
    json_value root;
    int r = body_object(a, body, n, NULL, &root, e);
    if (r)
        return r;
    struct kakao_run run = {0};
    r = read_text(root, "query", true, &run.sql, &run.sql_len, e);
    if (r)
        return r;
    if (run.sql_len > (size_t)config.kakao_max_query &&
        utf8_length(run.sql, run.sql_len) > (size_t)config.kakao_max_query)
        return err_set(e, ERR_INVALID, "54000", "query is longer than %lld characters (kakao.max_query)",
                       (long long)config.kakao_max_query);
    json_value conf = json_get(root, "resultConfig");
    enum json_kind k = json_kind(conf);
    if (k == JSON_ABSENT || k == JSON_NULL)
        conf = root; /* the older flat form, still in the page's own example */
    else if (k != JSON_OBJECT)
        return err_set(e, ERR_INVALID, "22023", "resultConfig must be an object, not %s", json_kind_name(k));
    r = read_text(conf, "bucketName", true, &run.bucket, NULL, e);
    if (r)
        return r;
    const char *path;
    size_t path_len;
    r = read_text(conf, "path", false, &path, &path_len, e);
    if (r)
        return r;
    r = check_path(path, path_len, a, &run.path, e);
    if (r)
        return r;
    r = read_reuse(root, &run, e);
    if (r)
        return r;
    *ret = run;
    return 0;
}

static bool is_source_name(const char *s, size_t n)
{
    if (n < 3 || n > 72)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '_'))
            return false;
    return true;
}

static int read_password(struct arena *a, json_value root, struct source_new *in, struct err *e)
{
    const char *text;
    size_t n, got;
    int r = read_text(root, "password", true, &text, &n, e);
    if (r)
        return r;
    if (n > 2 * (size_t)SOURCE_TEXT_MAX)
        return err_set(e, ERR_INVALID, "54000", "password is longer than %d bytes", SOURCE_TEXT_MAX);
    uint8_t *plain = arena_alloc(a, n + 4);
    if (!plain)
        return err_no_memory(e);
    if (!crypto_base64_decode(text, n, plain, n + 4, &got))
        return err_set(e, ERR_INVALID, "22023", "password must be a base64 text");
    if (got && plain[got - 1] == '\n')
        got -= got > 1 && plain[got - 2] == '\r' ? 2 : 1;
    if (got == 0)
        return err_set(e, ERR_INVALID, "22023", "password must not be empty");
    in->secret = plain;
    in->secret_len = got;
    return 0;
}

/* Type, name, scope, description: what it is. */
static int read_source_head(json_value root, struct source_new *in, struct err *e)
{
    const char *type, *scope;
    size_t name_len = 0;
    int r = read_text(root, "type", true, &type, NULL, e);
    if (r)
        return r;
    if (strcmp(type, "MYSQL") != 0 && strcmp(type, "POSTGRESQL") != 0)
        return err_set(e, ERR_INVALID, "22023", "type must be MYSQL or POSTGRESQL");
    in->kind = type[0] == 'M' ? SOURCE_MYSQL : SOURCE_POSTGRESQL;
    r = read_text(root, "name", true, &in->name, &name_len, e);
    if (r)
        return r;
    if (!is_source_name(in->name, name_len))
        return err_set(e, ERR_INVALID, "22023",
                       "name must be 3 to 72 lower-case letters, digits and underscores");
    r = read_text(root, "scope", true, &scope, NULL, e);
    if (r)
        return r;
    if (strcmp(scope, "PRIVATE") != 0 && strcmp(scope, "PUBLIC") != 0)
        return err_set(e, ERR_INVALID, "22023", "scope must be PRIVATE or PUBLIC");
    in->scope = strcmp(scope, "PUBLIC") == 0 ? SCOPE_PUBLIC : SCOPE_PRIVATE;
    enum json_kind k = json_kind(json_get(root, "description"));
    return k == JSON_ABSENT || k == JSON_NULL
               ? 0
               : read_text(root, "description", false, &in->description, NULL, e);
}

int kakao__read_source(struct arena *a, const char *body, size_t n, struct source_new *ret, struct err *e)
{
    json_value root;
    int r = body_object(a, body, n, NULL, &root, e);
    if (r)
        return r;
    struct source_new in = {0};
    r = read_source_head(root, &in, e);
    if (!r)
        r = read_text(root, "instanceId", true, &in.instance, NULL, e);
    if (!r)
        r = read_text(root, "username", true, &in.username, NULL, e);
    if (!r)
        r = read_password(a, root, &in, e);
    if (!r && in.kind == SOURCE_POSTGRESQL)
        r = read_text(root, "databaseName", true, &in.database, NULL, e);
    if (r)
        return r;
    *ret = in;
    return 0;
}

/*
 * jackdb_source: data sources in the words of JackDB (specs/jackdb.md section 5). What a source is and who may
 * see it is core/source.h; here a source is addressed by its id or its alias, which is its name in SQL.
 *
 * configUri is taken apart once: user and password leave it, the password is sealed and shown in the answer to
 * the create only, as JackDB does; every read masks it. Listing does not block; creating and deleting run on a
 * worker.
 */
#include "dialects/jackdb_int.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"

#define MASK     "***"
#define HOST_MAX 255

static enum handled failed(struct request *rq, int r, const struct err *e)
{
    return reply_error(rq, reply_status_of(r), e);
}

/* ":alias=x" and ":alias:x" are "x"; so are ":id=x" and ":id:x". */
static const char *unique_field(const char *p)
{
    static const char *const fields[] = {":alias", ":id"};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        size_t n = strlen(fields[i]);
        if (strncmp(p, fields[i], n) == 0 && (p[n] == '=' || p[n] == ':'))
            return p + n + 1;
    }
    return p;
}

static int lookup(struct request *rq, struct source *ret, struct err *e)
{
    const char *name = unique_field(rq->params[0].p);
    int r = source_find(service_sources(rq->service), &rq->who, name, rq->arena, ret, e);
    return r == ERR_NOTFOUND ? err_set(e, r, "42704", "Data source not found") : r;
}

bool jackdb__source(struct request *rq, struct source *ret_source, enum handled *ret)
{
    struct err e;
    err_clear(&e);
    int r = lookup(rq, ret_source, &e);
    if (r)
        *ret = failed(rq, r, &e);
    return r == 0;
}

/* ---- configUri ---- */

struct uri {                              /* texts live in the arena; NULL where there is none */
    const char *scheme, *host, *database; /* host: with its port */
    const char *user, *password;
    const char *options; /* completed; no secret */
};

static bool says(const char *p, size_t n, const char *word)
{
    return n == strlen(word) && strncasecmp(p, word, n) == 0;
}

/* A name that may stand for a secret must not be kept in the clear. */
static bool secret_like(const char *p, size_t n)
{
    static const char *const words[] = {"pass", "pwd", "secret", "token", "key"};
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++)
        for (size_t i = 0, len = strlen(words[w]); i + len <= n; i++)
            if (strncasecmp(p + i, words[w], len) == 0)
                return true;
    return false;
}

static int bad_uri(struct err *e, const char *why)
{
    return err_set(e, ERR_INVALID, "22023", "configUri %s", why);
}

static int read_options(struct arena *a, const char *query, struct uri *u, struct err *e)
{
    CLEANUP_BUF struct buf out = BUF_INIT(8192);
    bool ssl = false, validate = false;
    for (const char *p = query, *end; *p; p = end + (*end == '&')) {
        end = p + strcspn(p, "&");
        size_t name = strcspn(p, "=&"), n = (size_t)(end - p);
        const char *value = name < n ? p + name + 1 : end;
        size_t skip, len = (size_t)(end - value);
        bool user = says(p, name, "user") || says(p, name, "username"), password = says(p, name, "password");
        if (!n)
            continue;
        if (user || password) {
            const char *text = jackdb__decode(a, value, len, &skip);
            if (!text)
                return bad_uri(e, "is not percent-encoded");
            *(user ? &u->user : &u->password) = text;
            continue;
        }
        if (secret_like(p, name))
            return bad_uri(
                e, "has an option whose name speaks of a secret; only user and password are kept as such");
        bool *flag = says(p, name, "ssl") ? &ssl : says(p, name, "validateSsl") ? &validate : NULL;
        if (flag && (*flag || (!says(value, len, "true") && !says(value, len, "false"))))
            return bad_uri(e, "must give ssl and validateSsl as true or false, and each once at most");
        if (flag)
            *flag = true;
        buf_printf(&out, "%s%.*s", out.len ? "&" : "", (int)n, p);
    }
    if (!validate)
        buf_printf(&out, "%svalidateSsl=false", out.len ? "&" : "");
    if (!ssl)
        buf_str_add(&out, "&ssl=true");
    const char *text = buf_str(&out);
    u->options = text ? arena_strdup(a, text) : NULL;
    return u->options ? 0 : bad_uri(e, "is too long");
}

/* A name, an IPv4 address or [an IPv6 address], and perhaps a port. */
static bool host_ok(const char *p, size_t n)
{
    static const char name[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_";
    size_t len = n && p[0] == '[' ? strspn(p + 1, "0123456789abcdefABCDEF:.") + 2 : strspn(p, name);
    if (n && p[0] == '[' && (len > n || len == 2 || p[len - 1] != ']'))
        return false;
    if (len == 0 || len > HOST_MAX || len > n || (len < n && p[len] != ':'))
        return false;
    size_t digits = len < n ? strspn(p + len + 1, "0123456789") : 0;
    long port = digits && digits <= 5 ? strtol(p + len + 1, NULL, 10) : 0;
    return len == n || (len + 1 + digits == n && port >= 1 && port <= 65535);
}

/* scheme://[user[:password]@]host[:port][/database][?options] */
static int read_uri(struct arena *a, const char *text, struct uri *ret, struct err *e)
{
    struct uri u = {0};
    const char *after = strstr(text, "://");
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return bad_uri(e, "must not hold blanks or control characters");
    if (!after || after == text)
        return bad_uri(e, "must have the form type://user:password@host:port/database");
    u.scheme = arena_strndup(a, text, (size_t)(after - text));
    const char *host = after + 3, *end = host + strcspn(host, "/?#"), *query = end + strcspn(end, "?#");
    const char *at = memrchr(host, '@', (size_t)(end - host));
    size_t skip;
    if (*query == '#' || strchr(query, '#'))
        return bad_uri(e, "must not have a fragment");
    if (at) {
        const char *colon = memchr(host, ':', (size_t)(at - host));
        u.user = jackdb__decode(a, host, (size_t)((colon ? colon : at) - host), &skip);
        u.password = colon ? jackdb__decode(a, colon + 1, (size_t)(at - colon - 1), &skip) : NULL;
        if (!u.user || (colon && !u.password))
            return bad_uri(e, "is not percent-encoded");
        host = at + 1;
    }
    if (host == end)
        return bad_uri(e, "names no host");
    /* "/" or "?" inside of a password: it would be shown as what follows the host */
    if (memchr(end, '@', (size_t)(query - end)) || (!at && strchr(query, '@')))
        return bad_uri(e, "has an @ behind its host: \"/\", \"?\", \"#\" and \"@\" in a user or password "
                          "must be percent-encoded");
    if (!host_ok(host, (size_t)(end - host)))
        return bad_uri(e, "must name a host, and may name a port from 1 to 65535 behind it");
    u.host = arena_strndup(a, host, (size_t)(end - host));
    if (*end == '/' && query > end + 1) {
        u.database = jackdb__decode(a, end + 1, (size_t)(query - end - 1), &skip);
        if (!u.database)
            return bad_uri(e, "is not percent-encoded");
    }
    int r = read_options(a, *query ? query + 1 : "", &u, e);
    if (!r)
        *ret = u;
    return r;
}

static void put_escaped(struct buf *b, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        bool plain =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("-._~", c);
        if (plain)
            buf_char(b, (char)c);
        else
            buf_printf(b, "%%%02X", c);
    }
}

/* As it is shown: with `password` instead of the one there is. */
static const char *show_uri(struct arena *a, const struct source *s, const char *password)
{
    CLEANUP_BUF struct buf b = BUF_INIT(65536);
    const char *address = s->address ? s->address : s->instance ? s->instance : "";
    size_t host = strcspn(address, "?");
    buf_printf(&b, "%s://", source_kind_name(s->kind));
    if (s->username) {
        put_escaped(&b, s->username);
        if (password) {
            buf_char(&b, ':');
            if (strcmp(password, MASK) == 0)
                buf_str_add(&b, MASK);
            else
                put_escaped(&b, password);
        }
        buf_char(&b, '@');
    }
    buf_add(&b, address, host);
    if (s->database) {
        buf_char(&b, '/');
        put_escaped(&b, s->database);
    }
    buf_str_add(&b, address + host);
    const char *text = buf_str(&b);
    return text ? arena_strdup(a, text) : NULL;
}

/* ---- shown ---- */

static void write_source(struct json_write *w, const struct source *s, const char *uri)
{
    char text[40];
    const char *created = s->created_ms ? clock_iso_ms(s->created_ms, text, sizeof text) : NULL;
    json_object_begin(w);
    json_kstr(w, "id", s->uid);
    json_kstr(w, "name", s->label ? s->label : s->name);
    json_kstr(w, "alias", s->name);
    json_kstr(w, "type", source_kind_name(s->kind));
    if (uri)
        json_kstr(w, "configUri", uri);
    json_kstr(w, "createdAt", created);
    json_kstr(w, "updatedAt", created); /* nothing changes one */
    json_object_end(w);
}

enum handled jackdb__sources(struct request *rq)
{
    enum handled ret;
    struct err e;
    err_clear(&e);
    struct source *all;
    size_t n;
    if (!jackdb__admit(rq, NULL, &ret))
        return ret;
    int r = source_list(service_sources(rq->service), &rq->who, rq->arena, &all, &n, &e);
    if (r)
        return failed(rq, r, &e);
    struct json_write w = reply_json(rq, 200);
    json_array_begin(&w);
    for (size_t i = 0; i < n; i++)
        write_source(&w, &all[i], NULL);
    json_array_end(&w);
    return REPLY_READY;
}

enum handled jackdb__get_source(struct request *rq)
{
    enum handled ret;
    struct source s;
    if (!jackdb__admit(rq, NULL, &ret) || !jackdb__source(rq, &s, &ret))
        return ret;
    const char *uri = s.kind == SOURCE_CATALOG ? NULL : show_uri(rq->arena, &s, MASK);
    struct json_write w = reply_json(rq, 200);
    write_source(&w, &s, uri);
    return REPLY_READY;
}

/* ---- made and deleted ---- */

static bool alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The name in SQL of a source that was given none. */
static int alias_of(struct arena *a, const char *name, const char **ret, struct err *e)
{
    char *s = arena_strndup(a, name, strnlen(name, SOURCE_NAME_MAX));
    bool any = false;
    if (!s)
        return err_no_memory(e);
    for (char *p = s; *p; p++) {
        any |= alnum(*p);
        *p = alnum(*p) ? *p : '_';
    }
    *ret = s;
    return any ? 0
               : err_set(e, ERR_INVALID, "22023",
                         "alias is required where the name has no letter or digit (A to Z, 0 to 9) to make "
                         "one of");
}

/* The arguments by their own names: core knows them as name and label. */
static int check_names(const struct source_new *in, struct err *e)
{
    size_t n = strlen(in->name);
    bool ok = n <= SOURCE_NAME_MAX;
    for (size_t i = 0; i < n && ok; i++)
        ok = alnum(in->name[i]) || in->name[i] == '_' || in->name[i] == '-';
    if (!ok)
        return err_set(e, ERR_INVALID, "42602", "alias must be 1 to %d letters, digits, \"_\" and \"-\"",
                       SOURCE_NAME_MAX);
    if (strlen(in->label) > SOURCE_TEXT_MAX)
        return err_set(e, ERR_INVALID, "54000", "name is longer than %d bytes", SOURCE_TEXT_MAX);
    return 0;
}

static int read_source(struct request *rq, struct source_new *ret, struct uri *u, struct err *e)
{
    static const char *const names[] = {"name", NULL}, *const aliases[] = {"alias", NULL},
                             *const uris[] = {"configUri", NULL};
    struct source_new in = {.scope = SCOPE_PUBLIC};
    struct jackdb_args x;
    const char *text;
    int r = jackdb__read_args(rq->arena, request_header(rq, "Content-Type"), rq->body ? rq->body : "",
                              rq->body_len, &x, e);
    if (!r)
        r = jackdb__text(&x, names, &in.label, NULL, e);
    if (!r)
        r = jackdb__text(&x, aliases, &in.name, NULL, e);
    if (!r)
        r = jackdb__text(&x, uris, &text, NULL, e);
    if (!r && (!in.label || !text))
        r = err_set(e, ERR_INVALID, "22023", "%s is required", in.label ? "configUri" : "name");
    if (!r)
        r = read_uri(rq->arena, text, u, e);
    if (r)
        return r;
    if (strcasecmp(u->scheme, "postgres") == 0)
        u->scheme = "postgresql";
    if (!source_kind_parse(u->scheme, &in.kind) || in.kind == SOURCE_CATALOG)
        return bad_uri(e, "must begin with mysql://, postgresql:// or trino://");
    if (!in.name)
        r = alias_of(rq->arena, in.label, &in.name, e);
    if (!r)
        r = check_names(&in, e);
    if (r)
        return r;
    in.address = arena_printf(rq->arena, "%s?%s", u->host, u->options);
    if (!in.address)
        return err_no_memory(e);
    in.username = u->user;
    in.database = u->database;
    in.secret = u->password;
    in.secret_len = u->password ? strlen(u->password) : 0;
    *ret = in;
    return 0;
}

static enum handled create(struct request *rq)
{
    struct err e;
    err_clear(&e);
    struct source_new in;
    struct source made;
    struct uri u = {0};
    int r = read_source(rq, &in, &u, &e);
    if (!r)
        r = source_create(service_sources(rq->service), &rq->who, &in, rq->arena, &made, &e);
    if (r)
        return failed(rq, r, &e);
    struct json_write w = reply_json(rq, 200);
    write_source(&w, &made, show_uri(rq->arena, &made, u.password));
    return REPLY_READY;
}

enum handled jackdb__create_source(struct request *rq)
{
    enum handled ret;
    if (!jackdb__admit(rq, NULL, &ret))
        return ret;
    return rq->may_block ? create(rq) : request_defer(rq, create);
}

static enum handled remove_source(struct request *rq)
{
    struct err e;
    err_clear(&e);
    struct source s;
    int r = lookup(rq, &s, &e);
    if (!r)
        r = source_delete(service_sources(rq->service), &rq->who, s.uid, &e);
    if (r)
        return failed(rq, r, &e);
    struct json_write w = reply_json(rq, 200);
    json_object_begin(&w);
    json_object_end(&w);
    return REPLY_READY;
}

enum handled jackdb__delete_source(struct request *rq)
{
    enum handled ret;
    if (!jackdb__admit(rq, NULL, &ret))
        return ret;
    return rq->may_block ? remove_source(rq) : request_defer(rq, remove_source);
}

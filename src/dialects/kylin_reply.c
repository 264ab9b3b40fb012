/*
 * kylin_reply: what answers of the Kylin dialect are made of (specs 1.1 to 1.4, 3): the shapes behind the
 * Accept header, the envelope, the errors with Kylin's codes and texts, and the project of a request. Any
 * thread that owns the request.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "dialects/kylin_int.h"

#define DETAIL_BYTES 4096 /* of what the client sent, or of a text of ours, inside a message */

/* ---- Accept ---- */

#define VND "application/vnd.apache.kylin-"

static const struct {
    const char *media;
    enum kylin_shape shape;
} medias[] = {{VND "v4+json", KYLIN_V4}, {VND "v4-public+json", KYLIN_V4_PUBLIC}, {VND "v2+json", KYLIN_V2}};

/* Of the n bytes of one media range with its parameters. */
static double quality(const char *p, size_t n)
{
    const char *q = memmem(p, n, "q=", 2);
    return q ? strtod(q + 2, NULL) : 1;
}

/* The one of Kylin's own types that the header likes best, of equals the first. */
enum kylin_shape kylin__shape(struct request *rq)
{
    enum kylin_shape best = KYLIN_PLAIN;
    double most = 0;
    for (const char *p = request_header(rq, "Accept"); p && *p;) {
        p += strspn(p, " \t,");
        size_t n = strcspn(p, ",; \t"), all = strcspn(p, ",");
        for (size_t i = 0; i < sizeof medias / sizeof *medias; i++) {
            bool named = strlen(medias[i].media) == n && strncasecmp(medias[i].media, p, n) == 0;
            double liked = named ? quality(p + n, all - n) : 0;
            if (liked > most) {
                best = medias[i].shape;
                most = liked;
            }
        }
        p += all;
    }
    return best;
}

static const char *content_type(enum kylin_shape s)
{
    switch (s) {
    case KYLIN_V2:
        return VND "v2+json;charset=UTF-8";
    case KYLIN_V4:
        return VND "v4+json;charset=UTF-8";
    case KYLIN_V4_PUBLIC:
        return VND "v4-public+json;charset=UTF-8";
    case KYLIN_PLAIN:
        break;
    }
    return "application/json;charset=UTF-8";
}

/* ---- the envelope ---- */

struct json_write kylin__begin(struct request *rq, bool sync, const char *code)
{
    enum kylin_shape shape = kylin__shape(rq);
    struct json_write w = reply_json(rq, 200);
    rq->reply.content_type = content_type(shape);
    if (sync && shape == KYLIN_PLAIN)
        return w;
    json_object_begin(&w);
    json_kstr(&w, "code", code);
    json_key(&w, "data");
    return w;
}

enum handled kylin__end(struct request *rq, struct json_write *w, bool sync, const char *msg)
{
    if (sync && kylin__shape(rq) == KYLIN_PLAIN)
        return REPLY_READY;
    json_kstr(w, "msg", msg);
    json_object_end(w);
    return REPLY_READY;
}

/* ---- errors ---- */

#define NO_QUERY  "Can’t find the query by this query ID in this project. Please check and try again."
#define ASK_AGAIN " Please check and try again."
#define NOT_ADMIN "Access denied. Only admin users can delete the query results"

/* code, title (NULL: the newer form, "CODE: text"), suggestion (NULL: null), HTTP status, text */
static const struct known {
    const char *code, *title, *suggestion;
    int status;
    const char *text;
} errors[KYLIN_ERRORS] = {
    [KYLIN_NO_PROJECT] = {"KE-010031302", NULL, "unknown msg", 500,
                          "The project name can’t be empty." ASK_AGAIN},
    [KYLIN_EMPTY_PROJECT] = {"KE-010001002", "Empty Project Name", NULL, 500,
                             "Can’t find project information. Please select a project."},
    [KYLIN_UNKNOWN_PROJECT] = {"KE-010001201", NULL, "", 500, "Can't find project \"%s\"." ASK_AGAIN},
    [KYLIN_UNKNOWN_QUERY] = {"KE-010031301", NULL, "unknown msg", 500, NO_QUERY},
    [KYLIN_NO_RESULT] = {"KE-020040001", "Asynchronous query illegal parameters", NULL, 500, NO_QUERY},
    [KYLIN_TIME_FORMAT] = {"KE-010031303", NULL, "unknown msg", 500,
                           "The time format is invalid. Please enter the date in the format “yyyy-MM-dd "
                           "HH:mm:ss”."},
    [KYLIN_NO_ACCESS] = {"KE-010024001", "No access", NULL, 400, "The user doesn't have access."},
    [KYLIN_NOT_ADMIN] = {"KE-010024001", "No access", NULL, 500, NOT_ADMIN},
    [KYLIN_NOT_OWNER] = {"KE-010024001", "No access", NULL, 500,
                         "Access denied. Only task submitters or admin users can download the query results"},
    [KYLIN_BAD_PARAMETER] = {"KE-010000003", "Invalid Parameter", NULL, 400, "%s"},
    [KYLIN_BAD_JSON] = {"KE-000030001", "Failed Parse Json", NULL, 500, "%s"},
    [KYLIN_TAG_TOO_LONG] =
        {NULL, NULL, NULL, 400,
         "Can’t add the tag, as the length exceeds the maximum 256 characters. Please modify "
         "it."},
    [KYLIN_FOREIGN] = {"KE-000000001", "UNKNOWN ERRORCODE", NULL, 500, "%s"},
    [KYLIN_NOT_LOGGED_IN] = {"KE-010003207", NULL, "", 401, "Can't authenticate. Please login again."},
    [KYLIN_BAD_LOGIN] = {"KE-010003208", NULL, "", 401, "Invalid username or password." ASK_AGAIN},
    [KYLIN_BUSY] = {"KE-020040002", "Busy Async Query", NULL, 429, "%s"},
};

static void add_escaped(struct buf *b, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("-._~:", c))
            buf_char(b, (char)c);
        else
            buf_printf(b, "%%%02X", c);
    }
}

static void add_pair(void *arg, const char *name, const char *value)
{
    struct buf *b = arg;
    buf_char(b, b->len && memchr(b->p, '?', b->len) ? '&' : '?');
    add_escaped(b, name);
    buf_char(b, '=');
    add_escaped(b, value);
}

/* The address that was asked for, as the client wrote it; with its parameters for errors of the login. */
static void add_url(struct request *rq, bool with_query, struct buf *b)
{
    const char *host = request_header(rq, "Host");
    buf_printf(b, "http://%s%s", host ? host : "localhost", rq->path ? rq->path : "/");
    if (with_query)
        request_query_each(rq, add_pair, b);
}

/* What Kylin calls a foreign exception: the bare text in `exception`, no error_code. */
static bool is_foreign(enum kylin_error which)
{
    return which == KYLIN_FOREIGN || which == KYLIN_BAD_JSON || which == KYLIN_TAG_TOO_LONG;
}

static enum handled write_envelope(struct request *rq, enum kylin_error which, int status, const char *detail)
{
    const struct known *k = &errors[which];
    CLEANUP_BUF struct buf text = BUF_INIT(16384), msg = BUF_INIT(16384), url = BUF_INIT(65536);
    const char *hole = strstr(k->text, "%s");
    if (hole) {
        buf_add(&text, k->text, (size_t)(hole - k->text));
        buf_add(&text, detail ? detail : "", detail ? utf8_cut(detail, strlen(detail), DETAIL_BYTES) : 0);
        buf_str_add(&text, hole + 2);
    } else {
        buf_str_add(&text, k->text);
    }
    const char *bare = buf_str(&text);
    if (!k->code)
        buf_str_add(&msg, bare ? bare : "");
    else if (is_foreign(which))
        buf_printf(&msg, "%s(%s): %s", k->code, k->title, bare ? bare : "");
    else if (k->title)
        buf_printf(&msg, "%s(%s):%s", k->code, k->title, bare ? bare : "");
    else
        buf_printf(&msg, "%s: %s", k->code, bare ? bare : "");
    add_url(rq, status == 401, &url);
    struct json_write w = reply_json(rq, status);
    rq->reply.content_type = content_type(status == 401 ? KYLIN_PLAIN : kylin__shape(rq));
    json_object_begin(&w);
    json_kstr(&w, "code", "999");
    json_key(&w, "data");
    json_null(&w);
    json_kstr(&w, "msg", buf_str(&msg));
    json_kstr(&w, "stacktrace", ""); /* clients read the key; there is nothing of ours to see in it */
    json_kstr(&w, "exception", is_foreign(which) ? bare : buf_str(&msg));
    json_kstr(&w, "url", buf_str(&url));
    json_kstr(&w, "suggestion", k->suggestion);
    json_kstr(&w, "error_code", is_foreign(which) ? NULL : k->code);
    json_object_end(&w);
    return REPLY_READY;
}

enum handled kylin__fail(struct request *rq, enum kylin_error which, const char *detail)
{
    return write_envelope(rq, which, errors[which].status, detail);
}

void kylin__write_error(struct request *rq, int status, const struct err *e)
{
    enum kylin_error which = KYLIN_FOREIGN;
    if (status == 401)
        which = request_header(rq, "Authorization") ? KYLIN_BAD_LOGIN : KYLIN_NOT_LOGGED_IN;
    else if (status == 429 && e->code == ERR_LIMIT)
        which = KYLIN_BUSY;
    write_envelope(rq, which, status, e->text[0] ? e->text : "the request could not be answered");
}

/* ---- parameters and project ---- */

struct wanted {
    const char *name, *value;
};

static void look(void *arg, const char *name, const char *value)
{
    struct wanted *w = arg;
    if (!w->value && strcasecmp(name, w->name) == 0)
        w->value = value;
}

const char *kylin__param(struct request *rq, const char *name)
{
    struct wanted w = {name, request_query(rq, name, 0)};
    if (!w.value)
        request_query_each(rq, look, &w); /* the source document writes one of them with a capital */
    return w.value;
}

/* The name in any case; and with what stands behind it in the source document's own example, a stray
 * backtick, where no such project exists. */
static bool names_own(struct request *rq, const char *name)
{
    const char *own = rq->who.workspace_name;
    size_t n = strlen(name), own_len = strlen(own);
    if (n > own_len && strspn(name + own_len, "`") == n - own_len)
        n = own_len;
    return n == own_len && strncasecmp(name, own, n) == 0;
}

bool kylin__project_is(struct request *rq, const char *name, enum handled *ret)
{
    if (name && *name && names_own(rq, name))
        return true;
    *ret = name && *name ? kylin__fail(rq, KYLIN_UNKNOWN_PROJECT, name)
                         : kylin__fail(rq, KYLIN_EMPTY_PROJECT, NULL);
    return false;
}

bool kylin__project(struct request *rq, bool in_body, bool optional, enum handled *ret)
{
    const char *name = kylin__param(rq, "project");
    if (name)
        return kylin__project_is(rq, name, ret);
    if (in_body && rq->body && !kylin__blank(rq->body, rq->body_len)) {
        struct err e;
        err_clear(&e);
        int r = kylin__read_word(rq->arena, rq->body, rq->body_len, "project", &name, &e);
        if (!r && (name || !optional))
            return kylin__project_is(rq, name, ret);
        if (r) {
            *ret = kylin__fail(rq, KYLIN_BAD_JSON, e.text);
            return false;
        }
    }
    if (optional)
        return true;
    *ret = kylin__fail(rq, KYLIN_NO_PROJECT, NULL);
    return false;
}

bool kylin__not_v2(struct request *rq, enum handled *ret)
{
    if (kylin__shape(rq) != KYLIN_V2)
        return true;
    CLEANUP_BUF struct buf b = BUF_INIT(65536);
    buf_printf(&b, "%s API of version v2 is no longer supported", rq->path);
    *ret = kylin__fail(rq, KYLIN_FOREIGN, buf_str(&b));
    return false;
}

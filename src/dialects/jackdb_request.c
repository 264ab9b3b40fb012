/*
 * jackdb_request: what every request of the JackDB dialect goes through: Accept and User-Agent, the query of the path,
 * arguments of the URL, the wait for an end; and the error body. Handlers stand in the files above.
 */
#include "dialects/jackdb_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/config.h"
#include "base/sys.h"

#define VENDOR    "application/vnd.jackdb."
#define VENDOR_V2 "application/vnd.jackdb.v2+json"

void jackdb__error(struct request *rq, int status, const struct err *e)
{
    struct json_write w = reply_json(rq, status);
    json_object_begin(&w);
    json_key(&w, "error");
    json_object_begin(&w);
    json_kstr(&w, "message", e && e->text[0] ? e->text : "the request could not be answered");
    json_object_end(&w);
    json_object_end(&w);
}

/* The media range at p, without parameters; *ret_next is what follows its comma; *ret_quality 0: not wanted. */
static size_t range(const char *p, const char **ret_next, double *ret_quality)
{
    size_t n = strcspn(p, ",;"), all = strcspn(p, ",");
    const char *q = memmem(p + n, all - n, "q=", 2);
    *ret_quality = q ? strtod(q + 2, NULL) : 1;
    *ret_next = p + all + (p[all] == ',');
    while (n && (p[n - 1] == ' ' || p[n - 1] == '\t'))
        n--;
    return n;
}

static bool is(const char *p, size_t n, const char *type)
{
    return n == strlen(type) && strncasecmp(p, type, n) == 0;
}

/* What we have for a media range; NULL nothing. */
static const char *served(const char *p, size_t n, bool rows)
{
    if (is(p, n, VENDOR_V2) || is(p, n, "application/json") || is(p, n, "application/*") || is(p, n, "*/*"))
        return "rows";
    if (rows && (is(p, n, "text/csv") || is(p, n, "text/*")))
        return "csv";
    if (rows && (is(p, n, "application/x-ndjson") || is(p, n, "application/ndjson")))
        return "ndjson";
    return NULL;
}

/* What of ours the header likes best, of equals the first; NULL when it takes none. */
static const char *accepted(const char *accept, bool rows)
{
    if (!accept || !*accept)
        return "rows";
    const char *best = NULL;
    double most = 0;
    for (const char *p = accept, *next; *p; p = next) {
        while (*p == ' ' || *p == '\t' || *p == ',')
            p++;
        double quality;
        size_t n = range(p, &next, &quality);
        const char *ours = n && quality > most ? served(p, n, rows) : NULL;
        if (ours) {
            best = ours;
            most = quality;
        }
    }
    return best;
}

bool jackdb__admit(struct request *rq, const char **ret_format, enum handled *ret)
{
    struct err e;
    err_clear(&e);
    const char *format = accepted(request_header(rq, "Accept"), ret_format != NULL);
    if (!format) {
        err_set(&e, ERR_INVALID, "0A000", "Accept must allow " VENDOR_V2 " or application/json%s",
                ret_format ? ", text/csv or application/x-ndjson" : "");
        *ret = reply_error(rq, 406, &e);
        return false;
    }
    const char *agent = config.jackdb_require_user_agent ? request_header(rq, "User-Agent") : "-";
    if (!agent || !agent[strspn(agent, " \t")]) {
        err_set(&e, ERR_INVALID, "22023",
                "User-Agent must be there and not blank (jackdb.require_user_agent)");
        *ret = reply_error(rq, 400, &e);
        return false;
    }
    if (ret_format)
        *ret_format = format;
    return true;
}

bool jackdb__find(struct request *rq, handler_fn self, struct query **ret_query, struct query_view *v,
                  enum handled *ret)
{
    struct err e;
    err_clear(&e);
    int r = request_find(rq, rq->params[0].p, rq->params[0].n, self, ret_query, &e);
    if (r == 0) {
        *ret = REPLY_DEFER;
        return false;
    }
    if (r > 0) {
        query_view(*ret_query, v);
        if (!v->gone_ms)
            return true;
        r = ERR_NOTFOUND;
    }
    if (r == ERR_NOTFOUND || r == ERR_GONE)
        err_set(&e, ERR_NOTFOUND, "02000", "Query not found");
    *ret = reply_error(rq, r == ERR_GONE ? 404 : reply_status_of(r), &e);
    return false;
}

int jackdb__number(struct request *rq, const char *name, int64_t def, int64_t most, int64_t *ret,
                   struct err *e)
{
    const char *text = request_query(rq, name, 0);
    if (text && !*text)
        text = NULL;
    size_t n = text ? strlen(text) : 0;
    if (n && strspn(text, "0123456789") == n) {
        errno = 0;
        long long v = strtoll(text, NULL, 10);
        *ret = errno ? INT64_MAX : v; /* further than any */
        if (*ret <= most)
            return 0;
    } else if (!text) {
        *ret = def;
        return 0;
    }
    if (most == INT64_MAX)
        return err_set(e, ERR_INVALID, "22023", "%s must be an integer that is not negative", name);
    return err_set(e, ERR_INVALID, "22023", "%s must be an integer from 0 to %lld", name, (long long)most);
}

bool jackdb__wants(struct request *rq, const char *parameter, const char *word)
{
    const char *p;
    for (uint32_t i = 0; (p = request_query(rq, parameter, i)); i++)
        for (size_t n; *p; p += n + (p[n] == ','))
            if ((n = strcspn(p, ",")) == strlen(word) && strncmp(p, word, n) == 0)
                return true;
    return false;
}

bool jackdb__wait(struct request *rq, struct query *q, int64_t deadline_ns, handler_fn self,
                  enum handled *ret)
{
    struct query_view v;
    query_view(q, &v);
    if ((v.flags & QF_ENDED) || (deadline_ns && sys_mono_ns() >= deadline_ns))
        return false;
    *ret = request_park(rq, q, QF_ENDED, 0, deadline_ns, self);
    return true;
}

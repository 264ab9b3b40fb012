/*
 * dialects: helpers for all dialects (dialect.h). They fill struct request and call core; they know nothing
 * of sockets. Any thread that owns the request.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dialects/dialect.h"

#define HEADERS_MAX (sizeof((struct reply *)0)->headers / sizeof((struct reply *)0)->headers[0])

static bool header_text_ok(const char *s)
{
    for (; *s; s++)
        if (((unsigned char)*s < 0x20 && *s != '\t') || *s == 0x7f)
            return false;
    return true;
}

void reply_header(struct request *rq, const char *name, const char *value)
{
    struct reply *r = &rq->reply;
    if (r->nheaders == HEADERS_MAX || !header_text_ok(name) || !header_text_ok(value))
        return; /* never a header that ends early and begins another */
    const char *n = arena_strdup(rq->arena, name), *v = arena_strdup(rq->arena, value);
    if (!n || !v)
        return;
    r->headers[r->nheaders].name = n;
    r->headers[r->nheaders].value = v;
    r->nheaders++;
}

struct json_write reply_json(struct request *rq, int status)
{
    rq->reply.status = status;
    rq->reply.content_type = "application/json";
    buf_reset(&rq->reply.body);
    (void)buf_reserve(&rq->reply.body, 1024); /* most fit: the buffer grows once; a failure stays in it */
    return JSON_WRITE_INIT(&rq->reply.body);
}

enum handled reply_error(struct request *rq, int status, const struct err *e)
{
    buf_reset(&rq->reply.body);
    rq->dialect->error(rq, status, e);
    return REPLY_READY;
}

enum handled reply_no_memory(struct request *rq)
{
    struct err e;
    err_clear(&e);
    err_no_memory(&e);
    return reply_error(rq, 503, &e);
}

static void drop_query(void *arg)
{
    query_unref(arg);
}

const char *request_header(struct request *rq, const char *name)
{
    return rq->source->header(rq, name);
}

bool request_header_prefix(struct request *rq, const char *prefix)
{
    return rq->source->header_prefix(rq, prefix);
}

const char *request_query(struct request *rq, const char *name, uint32_t i)
{
    return rq->source->query(rq, name, i);
}

void request_query_each(struct request *rq, void (*fn)(void *arg, const char *name, const char *value),
                        void *arg)
{
    rq->source->query_each(rq, fn, arg);
}

bool request_is_local(struct request *rq)
{
    return rq->source->is_local(rq);
}

bool request_own_query(struct request *rq, struct query *q)
{
    bool kept = arena_on_free(rq->arena, drop_query, q) == 0;
    if (!kept)
        query_unref(q);
    return kept;
}

void request_keep_query(struct request *rq, struct query *q)
{
    if (arena_on_free(rq->arena, drop_query, query_ref(q)))
        query_unref(q); /* out of memory: the caller's own reference is all there is */
}

enum handled request_park(struct request *rq, struct query *q, uint32_t until, uint64_t version,
                          int64_t deadline_ns, handler_fn next)
{
    struct query_view v;
    if (!deadline_ns)
        query_view(q, &v);
    if (!deadline_ns && (v.flags & QF_UNRECORDED) && !(v.flags & QF_ENDED)) {
        struct err e;
        err_set(
            &e, ERR_UNAVAILABLE, "53100",
            "the query has ended, but that cannot be recorded now (the disk is full, or cannot be written): "
            "ask for it again");
        return reply_error(rq, 503, &e);
    }
    rq->wait = (struct reply_wait){q, until, version, deadline_ns};
    rq->next = next;
    return REPLY_PARK;
}

enum handled request_defer(struct request *rq, handler_fn next)
{
    rq->next = next;
    return REPLY_DEFER;
}

int request_find(struct request *rq, const char *id, size_t n, handler_fn self, struct query **ret,
                 struct err *e)
{
    struct query *q;
    int rc = service_find(rq->service, &rq->who, id, n, rq->may_block, &q, e);
    if (rc == ERR_WOULDBLOCK) {
        rq->next = self;
        return 0;
    }
    if (rc)
        return rc;
    if (!request_own_query(rq, q))
        return err_no_memory(e);
    *ret = q;
    return 1;
}

bool request_found(struct request *rq, handler_fn self, struct query **ret_query, enum handled *ret)
{
    struct err e;
    err_clear(&e);
    int r = request_find(rq, rq->params[0].p, rq->params[0].n, self, ret_query, &e);
    if (r <= 0)
        *ret = r ? reply_error(rq, reply_status_of(r), &e) : REPLY_DEFER;
    return r > 0;
}

int request_query_int(struct request *rq, const char *name, int64_t def, int64_t least, int64_t most,
                      int64_t *ret, struct err *e)
{
    const char *text = request_query(rq, name, 0);
    if (!text) {
        *ret = def;
        return 0;
    }
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    bool digits = (text[0] >= '0' && text[0] <= '9') || (text[0] == '-' && text[1] >= '0' && text[1] <= '9');
    if (!digits || *end || errno || v < least || v > most)
        return err_set(e, ERR_INVALID, "22023", "parameter %s must be an integer from %lld to %lld", name,
                       (long long)least, (long long)most);
    *ret = v;
    return 0;
}

void reply_attachment(struct request *rq, const char *file_name)
{
    struct buf b;
    buf_init(&b, 8192);
    bool plain = true;
    buf_str_add(&b, "attachment; filename=\"");
    for (const char *p = file_name; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c >= 0x80 || c < 0x20 || c == 0x7f || c == '"' || c == '\\' || c == '%') {
            plain = false;
            if (c < 0x80 || c >= 0xc0) /* one for each character */
                buf_char(&b, '_');
        } else {
            buf_char(&b, (char)c);
        }
    }
    buf_char(&b, '"');
    if (!plain) {
        buf_str_add(&b, "; filename*=UTF-8''");
        for (const char *p = file_name; *p; p++) {
            unsigned char c = (unsigned char)*p;
            if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                strchr("!#$&+-.^_`|~", c))
                buf_char(&b, (char)c);
            else
                buf_printf(&b, "%%%02X", c);
        }
    }
    if (buf_str(&b))
        reply_header(rq, "Content-Disposition", b.p);
    reply_header(rq, "X-Content-Type-Options", "nosniff");
    buf_free(&b);
}

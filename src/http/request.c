/*
 * request: what handlers may ask about their request (dialect.h). Any thread that owns the exchange; values
 * live as long as the request.
 */
#include <string.h>

#include "http/http_int.h"

static struct exchange *exchange_of(struct request *rq)
{
    struct exchange *x = rq->http;
    ASSERT(x && x->magic == EXCHANGE_MAGIC);
    return x;
}

struct lines {
    struct arena *a;
    const char *text; /* of the lines so far; NULL none */
};

static void one_line(void *arg, const char *name, const char *value)
{
    struct lines *l = arg;
    const char *both = l->text ? arena_printf(l->a, "%s, %s", l->text, value) : value;
    (void)name;
    l->text = both ? both : l->text;
}

/* Accept is a list, which may stand in several lines (RFC 9110, 5.3); of the others the first counts. */
static const char *source_header(struct request *rq, const char *name)
{
    if (strcasecmp(name, "Accept") == 0) {
        struct lines l = {rq->arena, NULL};
        connection_headers(exchange_of(rq), name, one_line, &l);
        return l.text;
    }
    return connection_header(exchange_of(rq), name);
}

static bool source_header_prefix(struct request *rq, const char *prefix)
{
    return connection_header_prefix(exchange_of(rq), prefix);
}

struct collect {
    struct exchange *x;
    uint32_t n;
    bool count;
};

static char *decoded(struct exchange *x, const char *s)
{
    size_t n = strlen(s);
    char *out = arena_alloc(x->rq.arena, n + 1);
    /* The library has made blanks of "+" already. */
    if (!out || guard_unescape(s, n, false, out) < 0)
        return NULL;
    return out;
}

static void collect(void *arg, const char *name, const char *value)
{
    struct collect *c = arg;
    if (c->count) {
        c->n++;
        return;
    }
    char *n = decoded(c->x, name), *v = decoded(c->x, value ? value : "");
    if (!n || !v)
        return; /* no memory: exchange_begin has seen to their escapes */
    c->x->args[c->x->nargs * 2] = n;
    c->x->args[c->x->nargs * 2 + 1] = v;
    c->x->nargs++;
}

struct escapes {
    struct exchange *x;
    const char *bad; /* the first name whose text or value cannot be decoded; NULL none */
};

static void check_escapes(void *arg, const char *name, const char *value)
{
    struct escapes *e = arg;
    const char *texts[] = {name, value};
    for (int i = 0; i < 2 && !e->bad; i++)
        if (texts[i] && strchr(texts[i], '%') && !decoded(e->x, texts[i]))
            e->bad = name;
}

const char *exchange_bad_arg(struct exchange *x)
{
    struct escapes e = {x, NULL};
    connection_args(x, check_escapes, &e);
    return e.bad;
}

static void load_args(struct exchange *x)
{
    if (x->args)
        return;
    struct collect c = {x, 0, true};
    connection_args(x, collect, &c);
    x->args = arena_alloc(x->rq.arena, (c.n + 1) * 2 * sizeof(char *));
    if (!x->args)
        return;
    c.count = false;
    connection_args(x, collect, &c);
}

static const char *source_query(struct request *rq, const char *name, uint32_t i)
{
    struct exchange *x = exchange_of(rq);
    load_args(x);
    for (uint32_t k = 0; k < x->nargs; k++)
        if (strcmp(x->args[k * 2], name) == 0 && i-- == 0)
            return x->args[k * 2 + 1];
    return NULL;
}

static void source_query_each(struct request *rq, void (*fn)(void *arg, const char *name, const char *value),
                              void *arg)
{
    struct exchange *x = exchange_of(rq);
    load_args(x);
    for (uint32_t k = 0; k < x->nargs; k++)
        fn(arg, x->args[k * 2], x->args[k * 2 + 1]);
}

static bool source_is_local(struct request *rq)
{
    struct exchange *x = exchange_of(rq);
    return x->conn->admin || (x->conn->loopback && !x->guard.forwarded);
}

const struct request_source http__request_source = {source_header, source_header_prefix, source_query,
                                                    source_query_each, source_is_local};

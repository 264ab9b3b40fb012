/*
 * kakao_source: data sources in the words of the Kakao Open API (specs/kakao.md 3.5 to 3.7). What a source is
 * and who may see it is core/source.h. Listing does not block; creating and deleting run on a worker.
 */
#include "dialects/kakao_int.h"

#include <string.h>

/* The page knows three types; what came by another way is shown as the one that cannot be edited here. */
static const char *type_name(enum source_kind k)
{
    return k == SOURCE_MYSQL ? "MYSQL" : k == SOURCE_POSTGRESQL ? "POSTGRESQL" : "DATA_CATALOG";
}

/* Fields in the order of the page. A catalog belongs to nobody; a description that was not given is left out,
 * an empty one is kept. */
static void write_source(struct json_write *w, const struct source *s)
{
    json_object_begin(w);
    json_kstr(w, "scope", source_scope_name(s->scope));
    json_kstr(w, "creatorName", s->creator ? s->creator : "-");
    json_kstr(w, "type", type_name(s->kind));
    if (s->description)
        json_kstr(w, "description", s->description);
    json_kstr(w, "name", s->name);
    json_object_end(w);
}

static enum handled failed(struct request *rq, int r, const struct err *e)
{
    return reply_error(rq, reply_status_of(r), e);
}

enum handled kakao__sources(struct request *rq)
{
    struct err e;
    err_clear(&e);
    struct source *all;
    size_t n;
    int r = source_list(service_sources(rq->service), &rq->who, rq->arena, &all, &n, &e);
    if (r)
        return failed(rq, r, &e);
    struct json_write w = reply_json(rq, 200);
    json_array_begin(&w);
    for (size_t i = 0; i < n; i++)
        write_source(&w, &all[i]);
    json_array_end(&w);
    return REPLY_READY;
}

static enum handled create(struct request *rq)
{
    struct err e;
    err_clear(&e);
    struct source_new in;
    struct source made;
    int r = kakao__read_source(rq->arena, rq->body, rq->body_len, &in, &e);
    if (r)
        return failed(rq, r, &e);
    r = source_create(service_sources(rq->service), &rq->who, &in, rq->arena, &made, &e);
    explicit_bzero((void *)(uintptr_t)in.secret, in.secret_len);
    if (r)
        return failed(rq, r, &e);
    struct json_write w = reply_json(rq, 200);
    write_source(&w, &made);
    return REPLY_READY;
}

enum handled kakao__create_source(struct request *rq)
{
    return rq->may_block ? create(rq) : request_defer(rq, create);
}

static enum handled delete_source(struct request *rq)
{
    struct err e;
    err_clear(&e);
    struct source s;
    const char *name = rq->params[0].p;
    int r = source_find(service_sources(rq->service), &rq->who, name, rq->arena, &s, &e);
    if (!r && strcmp(type_name(s.kind), "DATA_CATALOG") == 0)
        r = err_set(&e, ERR_INVALID, "42501", "a data source of type DATA_CATALOG cannot be deleted");
    if (!r)
        r = source_delete(service_sources(rq->service), &rq->who, name, &e);
    if (r)
        return failed(rq, r, &e);
    struct json_write w = reply_json(rq, 200);
    json_object_begin(&w);
    json_object_end(&w);
    return REPLY_READY;
}

enum handled kakao__delete_source(struct request *rq)
{
    return rq->may_block ? delete_source(rq) : request_defer(rq, delete_source);
}

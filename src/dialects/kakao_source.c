/*
 * kakao_source: data sources in the words of the Kakao Open API (specs 3.5 to 3.7). The workspace's catalog
 * is always there; other kinds are validated and refused until the service has them. Handlers run on HTTP
 * threads and do not block.
 */
#include "dialects/kakao_int.h"

#include <string.h>

#define CATALOG "data_catalog"

enum handled kakao__sources(struct request *rq)
{
    /* a bare array, fields in the order of the page; a catalog has no description and belongs to nobody */
    struct json_write w = reply_json(rq, 200);
    json_array_begin(&w);
    json_object_begin(&w);
    json_kstr(&w, "scope", "NONE");
    json_kstr(&w, "creatorName", "-");
    json_kstr(&w, "type", "DATA_CATALOG");
    json_kstr(&w, "name", CATALOG);
    json_object_end(&w);
    json_array_end(&w);
    return REPLY_READY;
}

enum handled kakao__create_source(struct request *rq)
{
    struct err e;
    err_clear(&e);
    struct kakao_source s;
    int r = kakao__read_source(rq->arena, rq->body, rq->body_len, &s, &e);
    if (r)
        return kakao__fail(rq, reply_status_of(r), &e);
    if (rq->who.role < ROLE_MEMBER) {
        err_set(&e, ERR_DENIED, "42501", "the role of this key may not create data sources");
        return kakao__fail(rq, 403, &e);
    }
    if (strcmp(s.name, CATALOG) == 0) {
        err_set(&e, ERR_CONFLICT, "42710", "a data source with this name exists already");
        return kakao__fail(rq, 409, &e);
    }
    err_set(&e, ERR_INVALID, "0A000", "type %s: this kind of data source is not enabled yet", s.type);
    return kakao__fail(rq, 400, &e);
}

enum handled kakao__delete_source(struct request *rq)
{
    struct err e;
    err_clear(&e);
    if (strcmp(rq->params[0].p, CATALOG) == 0) {
        err_set(&e, ERR_INVALID, "42501", "a data source of type DATA_CATALOG cannot be deleted");
        return kakao__fail(rq, 400, &e);
    }
    err_set(&e, ERR_NOTFOUND, "42704", "data source not found");
    return kakao__fail(rq, 404, &e);
}

/*
 * kakao_int: what the files of the Kakao dialect share. kakao.c: routes, run, abort. kakao_body.c: request
 * bodies. kakao_error.c: why a query failed. kakao_show.c: result page and list. kakao_source.c: data sources. kakao_text.c: strings that only
 * this dialect has.
 */
#ifndef QUERN_DIALECTS_KAKAO_INT_H
#define QUERN_DIALECTS_KAKAO_INT_H

#include "core/source.h"
#include "dialects/dialect.h"

#define KAKAO_PAGE_ROWS 100 /* rows of a result page; pages 0..9 */
#define KAKAO_PAGES     10
#define KAKAO_TEXT_MAX  32  /* bytes of a size or duration text */
#define KAKAO_KEY_MAX   432 /* longest object key */
#define KAKAO_KST_S     (9 * 3600)

/* ---- kakao_text.c ---- */
/* "25.6MB", "12.81KB", "0B". Base 1024, the largest unit that is at least 1, rounded half up to two decimals,
 * trailing zeros cut. */
const char *kakao__size(uint64_t bytes, char out[KAKAO_TEXT_MAX]);
/* "439ms", "9.83m", "0ms". */
const char *kakao__duration(int64_t ns, char out[KAKAO_TEXT_MAX]);
/* "2025/03/27", the KST date of an instant. */
const char *kakao__folder(int64_t unix_ms, char out[KAKAO_TEXT_MAX]);
const char *kakao__state(enum query_state s);
/* EXPLAIN and SHOW CREATE give text. */
bool kakao__is_text(const struct query_view *v);

/* ---- kakao_body.c ---- */
struct kakao_run { /* texts live in the arena */
    const char *sql;
    size_t sql_len;
    const char *bucket, *path; /* path as asked, without slashes at its ends */
    bool reuse;
    int32_t max_reuse_age_min;
};
int kakao__read_run(struct arena *a, const char *body, size_t n, struct kakao_run *ret,
                    struct err *e) MUST_USE;

/* A new data source. The password is decoded; one newline at its end is dropped, because the page's own
 * sample ("echo admin | base64") has it. The caller wipes ret->secret (in the arena). */
int kakao__read_source(struct arena *a, const char *body, size_t n, struct source_new *ret,
                       struct err *e) MUST_USE;

/* ---- kakao_error.c ---- */
/* "error":{code,name,type,message} of a FAILED query. */
void kakao__write_query_error(struct json_write *w, struct arena *a, const struct query_view *v);

/* ---- kakao_show.c, kakao_source.c ---- */
enum handled kakao__page(struct request *rq);
enum handled kakao__list(struct request *rq);
/* {path}/{id}.csv and {id}.metadata, the customer's (specs section 5). */
int kakao__plan(const struct query_view *v, struct arena *a, struct delivery_plan *ret, struct err *e);
/* The .metadata file beside a delivered result (specs section 5). */
int kakao__metadata(const struct query_view *v, struct buf *out);
enum handled kakao__sources(struct request *rq);
enum handled kakao__create_source(struct request *rq);
enum handled kakao__delete_source(struct request *rq);

#endif

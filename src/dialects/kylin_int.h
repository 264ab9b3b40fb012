/*
 * kylin_int: what the files of the Apache Kylin dialect share. kylin.c: routes. kylin_submit.c: the submit.
 * kylin_body.c: request bodies. kylin_reply.c: envelopes, errors, project. kylin_read.c: status, metadata, sizes, download.
 * kylin_end.c: deletes and stop. kylin_file.c: options of a result file, the delivery. kylin_types.c: names of
 * types. kylin_sql.c: offset. kylin_time.c: older_than. kylin_query.c, kylin_tables.c: the synchronous companion.
 */
#ifndef QUERN_DIALECTS_KYLIN_INT_H
#define QUERN_DIALECTS_KYLIN_INT_H

#include "dialects/dialect.h"

/* ---- kylin_reply.c: shapes ---- */

/* What the Accept header asks for. PLAIN: none of Kylin's own types is named (no Accept, any, JSON): the shape
 * of v4 on the asynchronous calls, no envelope on the synchronous ones. */
enum kylin_shape { KYLIN_PLAIN, KYLIN_V2, KYLIN_V4, KYLIN_V4_PUBLIC };
enum kylin_shape kylin__shape(struct request *rq);

/* Kylin's own errors, with code, text and HTTP status (specs 1.4, 1.6). */
enum kylin_error {
    KYLIN_NO_PROJECT,      /* neither in the URL nor in a body */
    KYLIN_EMPTY_PROJECT,   /* named, but empty */
    KYLIN_UNKNOWN_PROJECT, /* %s: its name */
    KYLIN_UNKNOWN_QUERY,   /* stop, path */
    KYLIN_NO_RESULT,       /* download, metadata, size: not SUCCESSFUL */
    KYLIN_TIME_FORMAT,
    KYLIN_NO_ACCESS,     /* the role does not allow it */
    KYLIN_NOT_ADMIN,     /* batch delete */
    KYLIN_NOT_OWNER,     /* download */
    KYLIN_BAD_PARAMETER, /* %s: which, and what is allowed */
    KYLIN_BAD_JSON,      /* %s: why */
    KYLIN_TAG_TOO_LONG,
    KYLIN_FOREIGN,       /* %s: any other text */
    KYLIN_NOT_LOGGED_IN, /* 401 */
    KYLIN_BAD_LOGIN,     /* 401 */
    KYLIN_BUSY,          /* 429; %s: the limit */
    KYLIN_ERRORS
};
/* Answers with the error envelope; `detail` fills the text's %s. */
enum handled kylin__fail(struct request *rq, enum kylin_error which, const char *detail);
void kylin__write_error(struct request *rq, int status, const struct err *e);

/* Begins {"code":code,"data": (PLAIN on a synchronous path: nothing); the caller writes the data. */
struct json_write kylin__begin(struct request *rq, bool sync, const char *code);
/* Ends it: ,"msg":msg}. */
enum handled kylin__end(struct request *rq, struct json_write *w, bool sync, const char *msg);

/* The project of a request: URL parameter first, then the body's (`in_body`). True: it is the key's own. Else
 * *ret is the answer. `optional`: none at all is fine too. */
bool kylin__project(struct request *rq, bool in_body, bool optional, enum handled *ret);
/* ... by a name that was read already (NULL or "": empty). */
bool kylin__project_is(struct request *rq, const char *name, enum handled *ret);
/* A URL parameter by its name in any case; NULL absent. */
const char *kylin__param(struct request *rq, const char *name);
/* V2 Accept where V2 has no such call: false, and *ret is the answer. */
bool kylin__not_v2(struct request *rq, enum handled *ret);

/* ---- kylin_file.c ---- */
enum kylin_format { KYLIN_CSV, KYLIN_JSON, KYLIN_XLSX, KYLIN_PARQUET };

/* How a result becomes a file. Kept with the query (submit.request) as JSON text. */
struct kylin_file {
    enum kylin_format format;
    bool gbk, header;
    bool bare; /* names in the header are never quoted: kylin.header_quoting at the submit */
    const char *name, *separator;
};
/* JSON text of the options in `a`, NULL: out of memory. */
const char *kylin__file_text(const struct kylin_file *f, struct arena *a);
/* Of a query of any dialect: its own options, or the defaults. */
int kylin__file_of(const struct query_view *v, struct arena *a, struct kylin_file *ret,
                   struct err *e) MUST_USE;
/* It delivered the file that its own options ask for. */
bool kylin__has_file(const struct query_view *v);
/* Made by an encoder, not by a render process. */
bool kylin__is_text(const struct kylin_file *f);
/* How the file is made of the rows. */
void kylin__spec(const struct kylin_file *f, struct render_spec *ret);
/* "{project}/async_query_result", the folder of a workspace's results in the bucket. */
const char *kylin__folder(const char *workspace, struct arena *a);
int kylin__plan(const struct query_view *v, struct arena *a, struct delivery_plan *ret, struct err *e);

/* ---- kylin_body.c ---- */
struct kylin_submit { /* texts live in the arena */
    const char *sql;  /* NULL or blank: the query will fail */
    size_t sql_len;
    const char *project;
    const char *query_id;  /* what the client sent; NULL none */
    int64_t offset, limit; /* 0 none */
    struct kylin_file file;
    const char *illegal; /* format, encode or file_name is not allowed: the text */
    const struct wire_param *params;
    uint32_t nparams;
};
enum kylin_body { KYLIN_BODY_V4, KYLIN_BODY_V2, KYLIN_BODY_SYNC };
/* ERR_INVALID: KYLIN_BAD_JSON; ERR_LIMIT: the tag is too long; ERR_NOMEM. */
int kylin__read_submit(struct arena *a, enum kylin_body kind, const char *body, size_t n,
                       struct kylin_submit *ret, struct err *e) MUST_USE;
/* One text of a body ("project"); NULL when it has none. ERR_INVALID: no JSON object, or no text. */
int kylin__read_word(struct arena *a, const char *body, size_t n, const char *key, const char **ret,
                     struct err *e) MUST_USE;
const char *kylin__format_name(enum kylin_format f);
/* true/on/yes/1, false/off/no/0 in any case. */
bool kylin__truth(const char *s, bool *ret);
/* Blank or no text at all. */
bool kylin__blank(const char *s, size_t n);

/* ---- kylin_submit.c ---- */
/* Type, body, project and role of a submit, in Kylin's order. False: *bad is the answer. */
bool kylin__read_request(struct request *rq, enum kylin_body kind, struct kylin_submit *ret,
                         enum handled *bad);
/* The statement's part of a submit: offset, limit, parameters, profile. */
int kylin__statement(struct request *rq, const struct kylin_submit *in, struct submit *ret,
                     struct err *e) MUST_USE;

/* ---- kylin_sql.c ---- */
/* sql with OFFSET n behind it, where it is a query without an OFFSET of its own at its top level; else sql
 * itself. NULL: out of memory. */
const char *kylin__with_offset(struct arena *a, const char *sql, size_t n, int64_t offset, size_t *ret_len);

/* ---- kylin_time.c ---- */
/* "2021-04-26 10:00:00" as seconds since 1970 by the same clock. */
bool kylin__time(const char *s, int64_t *ret_s);
/* What a clock of the zone ("Asia/Shanghai", "UTC", "+08:00") shows, as Unix seconds. False: no such zone. */
/* kylin.time_zone is one that kylin__utc knows. */
int kylin__check(struct err *e);
bool kylin__utc(const char *zone, int64_t local_s, int64_t *ret_s);

/* ---- kylin_types.c ---- */
/* Kylin's name of a column's type: "DECIMAL(18,4)", "VARCHAR". */
void kylin__type_name(const struct column *c, struct buf *out);

/* What the drivers are told, from a type's name in the engine's catalog ("INTEGER[]") or in Kylin's words:
 * TIME and BINARY are VARCHAR there. */
void kylin__type_of_name(const char *engine_type, const char **ret_name, int *ret_jdbc, int *ret_size,
                         int *ret_digits);

/* ---- calls ---- */
enum handled kylin__submit(struct request *rq);
enum handled kylin__status(struct request *rq);
enum handled kylin__metadata(struct request *rq);
enum handled kylin__file_status(struct request *rq);
enum handled kylin__file_status_v2(struct request *rq);
enum handled kylin__download(struct request *rq);
enum handled kylin__path(struct request *rq);
enum handled kylin__delete_many(struct request *rq);
enum handled kylin__delete_one(struct request *rq);
enum handled kylin__stop(struct request *rq);
enum handled kylin__query(struct request *rq);
enum handled kylin__login(struct request *rq);
enum handled kylin__projects(struct request *rq);
enum handled kylin__health(struct request *rq);
enum handled kylin__tables_and_columns(struct request *rq);
enum handled kylin__tables(struct request *rq);
/* Submits a statement whose answer this request waits for; no file is made of it. The reference is the
 * caller's. */
int kylin__sync_submit(struct request *rq, const struct kylin_submit *in, const char *idempotency_key,
                       struct query **ret, struct err *e) MUST_USE;
/* page_offset (pageOffset) is 0 or absent: all that there is stands on the first page. */
bool kylin__first_page(struct request *rq);
/* Owner or admin (Kylin's own rule, on top of core's). */
bool kylin__owns(struct request *rq, const struct query_view *v);
/* Text of a failed or stopped query; on one line as Kylin's status has it, its lines joined by nothing. */
const char *kylin__info(struct request *rq, const struct query_view *v, bool one_line);

#endif

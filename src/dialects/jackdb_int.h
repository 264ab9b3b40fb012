/*
 * jackdb_int: what the files of the JackDB dialect share. jackdb.c: routes, execute, cancel, delete.
 * jackdb_request.c: what every request goes through. jackdb_body.c: request bodies. jackdb_show.c: the Query object and lists. jackdb_result.c: results and rows.
 * jackdb_source.c: data sources.
 */
#ifndef QUERN_DIALECTS_JACKDB_INT_H
#define QUERN_DIALECTS_JACKDB_INT_H

#include "core/source.h"
#include "dialects/dialect.h"

#define JACKDB_BASE "/api/v2"
#define JACKDB_ROWS 1000 /* rows of a page when no limit is given */
#define JACKDB_WAIT 60   /* seconds; most that a request may wait */

/* ---- jackdb_body.c ---- */
/* The arguments of a request, from a form or from one JSON object. Lives in the request's arena. */
struct jackdb_args {
    json_value object; /* NULL: a form */
    struct jackdb_field {
        const char *name, *value;
        size_t value_len;
    } * fields;
    uint32_t nfields;
};
/* A body that begins with a brace, or says that it is JSON, is JSON. ERR_INVALID, ERR_NOMEM. */
int jackdb__read_args(struct arena *a, const char *content_type, const char *body, size_t n,
                      struct jackdb_args *ret, struct err *e) MUST_USE;
/* A text argument by any of its names (NULL at the end). Absent, null or empty: *ret NULL. ERR_INVALID when
 * it is given twice, or is no text. */
int jackdb__text(const struct jackdb_args *x, const char *const *names, const char **ret, size_t *ret_len,
                 struct err *e) MUST_USE;

/* Percent-decodes one side of name=value. NULL: bad escape, NUL, or not UTF-8 (or out of memory). */
char *jackdb__decode(struct arena *a, const char *p, size_t n, size_t *ret_len);

struct jackdb_execute { /* texts live in the arena */
    const char *command;
    size_t command_len;
    int64_t retention, timeout, wait; /* seconds */
    int64_t max_rows;                 /* -1 none */
    bool autocommit, stop_on_error;
    struct wire_param *params;
    uint32_t nparams;
};
int jackdb__read_execute(struct arena *a, const char *content_type, const char *body, size_t n,
                         struct jackdb_execute *ret, struct err *e) MUST_USE;

/* ---- jackdb_request.c ---- */
void jackdb__error(struct request *rq, int status, const struct err *e);
/* What every handler begins with: User-Agent and Accept. False: *ret is the refusal. `rows`: CSV and NDJSON
 * are acceptable too; *ret_format then says what is wanted ("rows", "csv", "ndjson"). */
bool jackdb__admit(struct request *rq, const char **ret_format, enum handled *ret);
/* The query of the path; gone and expired ones do not exist. False: *ret is what the handler returns. */
bool jackdb__find(struct request *rq, handler_fn self, struct query **ret_query, struct query_view *v,
                  enum handled *ret);
/* An integer argument of the URL; "" counts as absent. */
int jackdb__number(struct request *rq, const char *name, int64_t def, int64_t most, int64_t *ret,
                   struct err *e);
/* The word stands in the parameter's list: ?expand=status,expiresAt. */
bool jackdb__wants(struct request *rq, const char *parameter, const char *word);
/* Waits, parked, for the end of q until the deadline (monotonic). True: return *ret. */
bool jackdb__wait(struct request *rq, struct query *q, int64_t deadline_ns, handler_fn self,
                  enum handled *ret);

/* ---- jackdb_show.c ---- */
void jackdb__query(struct request *rq, struct json_write *w, struct query *q, const struct query_view *v);
enum handled jackdb__get(struct request *rq);
enum handled jackdb__list(struct request *rq);

/* ---- jackdb_result.c ---- */
/* "string", "integer", ...: how values of the column are written. */
const char *jackdb__format(const struct column *c);
void jackdb__result_object(struct json_write *w, const struct query_view *q, const struct result_view *v,
                           bool error_detail);
enum handled jackdb__result(struct request *rq);
enum handled jackdb__rows(struct request *rq);

/* ---- jackdb_source.c ---- */
/* The source that the path names, by id, alias, ":alias=x" or ":alias:x". False: *ret is the refusal. */
bool jackdb__source(struct request *rq, struct source *ret_source, enum handled *ret);
enum handled jackdb__sources(struct request *rq);
enum handled jackdb__get_source(struct request *rq);
enum handled jackdb__create_source(struct request *rq);
enum handled jackdb__delete_source(struct request *rq);

#endif

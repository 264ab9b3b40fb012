/*
 * canner_int: what the files of the Canner REST v1 dialect share. canner.c: routes, services.
 * canner_request.c: errors, and what handlers begin with. canner_body.c: request bodies. canner_query.c: submit, status,
 * result, cancel, list. canner_saved.c: saved SQL. canner_files.c: Parquet files behind signed links. canner_graphql.c:
 * the operations that its Python client sends. canner_show.c: the objects of the answers, and rows.
 */
#ifndef QUERN_DIALECTS_CANNER_INT_H
#define QUERN_DIALECTS_CANNER_INT_H

#include "core/saved.h"
#include "dialects/dialect.h"

/* ---- canner_body.c ---- */
#define CANNER_TITLE_MAX       1024
#define CANNER_DESCRIPTION_MAX 65536
#define CANNER_SOURCE_MAX      32

/* Texts live in the arena; NULL: absent. */
struct canner_submit {
    const char *workspace;
    const char *sql;
    size_t sql_len;
    const char *source; /* GraphQL only: a word of [A-Z_], NULL when there was none or none of this kind */
    bool reuse;         /* both cache parameters were there and cacheRefresh is false */
    int32_t max_age_s;  /* cacheTTL */
};
/* need_sql: `sql` must be there. An empty body counts as {}. */
int canner__read_submit(struct arena *a, const char *body, size_t n, bool need_sql, struct canner_submit *ret,
                        struct err *e) MUST_USE;
struct canner_save {
    const char *workspace, *title, *description, *sql;
    size_t sql_len;
};
int canner__read_save(struct arena *a, const char *body, size_t n, struct canner_save *ret,
                      struct err *e) MUST_USE;
/* {"state": true | false | "true" | "false"} */
int canner__read_state(struct arena *a, const char *body, size_t n, bool *ret, struct err *e) MUST_USE;
/* {"workspaceId"?}; an empty body is none. */
int canner__read_workspace(struct arena *a, const char *body, size_t n, const char **ret,
                           struct err *e) MUST_USE;

enum canner_operation {
    CANNER_UNKNOWN,
    CANNER_CREATE_QUERY,
    CANNER_QUERY,
    CANNER_RESULT,
    CANNER_DELETE_STATEMENT,
    CANNER_SQLS,
    CANNER_USER_ME
};
struct canner_graphql {
    enum canner_operation operation;
    const char *name;            /* as sent, for messages; "" none */
    struct canner_submit submit; /* of variables.data; workspace of variables.where */
    const char *id;              /* variables.where.id */
    int64_t limit, offset;       /* -1 = no limit; the offset as sent, also below 0 */
    bool with_columns;           /* the text asks for columns and rowCount of a result */
};
/* *ret_is_json: the body was a JSON object; what else is wrong is for a GraphQL error. */
int canner__read_graphql(struct arena *a, const char *body, size_t n, struct canner_graphql *ret,
                         bool *ret_is_json, struct err *e) MUST_USE;

/* ---- canner_request.c ---- */
void canner__error(struct request *rq, int status, const struct err *e);
/* Answers with a code of its own. */
enum handled canner__refuse(struct request *rq, int status, const char *code, const char *text);
/* Word for an HTTP status. */
const char *canner__code(int status);
/* The workspace that a request names, in its body or (NULL) its query string: must be the key's own. ERR_INVALID
 * when absent, ERR_NOTFOUND. */
int canner__workspace(struct request *rq, const char *in_body, struct err *e) MUST_USE;
/* ... and offset and limit (UINT64_MAX: all) of a GET's query string. */
int canner__window(struct request *rq, uint64_t *ret_offset, uint64_t *ret_limit, struct err *e) MUST_USE;

/* ---- canner_show.c ---- */
const char *canner__status(const struct query_view *v);
void canner__write_query(struct json_write *w, struct arena *a, const struct identity *who,
                         const struct query_view *v);
/* Exactly the seven keys that the Python client's data class takes. */
void canner__write_graphql_query(struct json_write *w, struct arena *a, const struct query_view *v);
/* Statistics; v NULL: of something that never ran. */
void canner__write_stats(struct json_write *w, const struct query_view *v, bool progress);
void canner__write_saved(struct json_write *w, const struct identity *who, const struct saved_sql *x,
                         bool graphql);
/* Keys `result`, `columns` and `rowCount` of a finished query, streamed: what stands before and behind them. */
struct canner_rows {
    const char *before, *behind; /* constant texts: "{" and "}" */
    uint64_t offset, limit;      /* UINT64_MAX: all */
    bool only_result;
};
/* `self` is called again on a worker when rows must be read from disk. */
enum handled canner__send_rows(struct request *rq, struct query *q, const struct canner_rows *r,
                               handler_fn self);
/* Why the result of the query cannot be read: true, and the HTTP status, code and text. False: FINISHED, there. */
bool canner__no_result(struct arena *a, const struct query_view *v, int *ret_status, const char **ret_code,
                       const char **ret_text);
/* The query of the path, whose result is there. False: *ret is what the handler returns. */
bool canner__result(struct request *rq, handler_fn self, struct query **ret_query, struct query_view *v,
                    enum handled *ret);

/* ---- canner_query.c ---- */
enum handled canner__submit_query(struct request *rq);
enum handled canner__get_query(struct request *rq);
enum handled canner__get_result(struct request *rq);
enum handled canner__cancel_query(struct request *rq);
enum handled canner__list_queries(struct request *rq);
/* A submit on its way. Answers with answer(rq, view) when it is recorded and, if that takes no longer than
 * canner.hold, ended. fail() answers with an error. */
struct canner_submitting {
    enum handled (*answer)(struct request *rq, const struct query_view *v);
    error_fn fail;
    struct query *query;
    int64_t hold_until; /* monotonic */
};
/* With `saved` (worker only) the query becomes that one's latest run. */
enum handled canner__submit(struct request *rq, const struct canner_submit *in, const struct saved_sql *saved,
                            struct canner_submitting *st);

/* ---- canner_saved.c ---- */
enum handled canner__list_saved(struct request *rq);
enum handled canner__get_saved(struct request *rq);
enum handled canner__save(struct request *rq);
enum handled canner__run_saved(struct request *rq);
/* The array of saved SQL between two constant texts, streamed; limit UINT64_MAX: all. */
enum handled canner__send_saved(struct request *rq, uint64_t offset, uint64_t limit, bool graphql,
                                const char *before, const char *behind);

/* ---- canner_files.c ---- */
/* "part-12.parquet" -> 12; digits of an expiry. Strict, so that one link has one spelling. False: neither. */
bool canner__read_part(const char *s, size_t n, uint32_t *ret);
bool canner__read_expiry(const char *s, int64_t *ret);
/* A Host header that may stand in a link: name or address, and port. */
bool canner__host_ok(const char *s);
enum handled canner__signed_urls(struct request *rq);
enum handled canner__part(struct request *rq);

/* ---- canner_graphql.c ---- */
enum handled canner__graphql(struct request *rq);

#endif

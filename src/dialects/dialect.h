/*
 * dialect: the seam between HTTP and the five faces of one thing.
 *
 * A dialect is a table of routes. A handler reads the request, calls core/service.h, and fills the reply. It
 * knows wire names, shapes and codes and nothing of SQLite, files, engines or threads; it never blocks on an
 * HTTP thread. A handler ends in one of three ways:
 *
 *   REPLY_READY   the reply is complete
 *   REPLY_DEFER   call rq->next again on a worker thread, where rq->may_block is true
 *   REPLY_PARK    the connection is parked without a thread; rq->next is called again (on an HTTP thread) when the waiter in rq->wait wakes,
 *                 or at rq->wait.deadline_ns, or not at all when the client is gone (then only rq's arena is freed)
 *
 * Adding a dialect is one new file with a `const struct dialect` and one line in table.c: tests/sixth is one.
 */
#ifndef QUERN_DIALECTS_DIALECT_H
#define QUERN_DIALECTS_DIALECT_H

#include "base/json_read.h"
#include "base/json_write.h"
#include "core/render.h"
#include "core/service.h"

struct request;
enum handled { REPLY_READY, REPLY_DEFER, REPLY_PARK };
typedef enum handled (*handler_fn)(struct request *rq);

/* Answers with an error. */
typedef enum handled (*error_fn)(struct request *rq, int status, const struct err *e);

enum credential {
    CREDENTIAL_NONE,
    CREDENTIAL_KAKAO /* two headers */,
    CREDENTIAL_JACKDB /* Basic keyId@api:secret */,
    CREDENTIAL_CANNER /* Token */,
    CREDENTIAL_DATA360 /* Bearer */,
    CREDENTIAL_KYLIN /* Basic keyId:secret */,
    CREDENTIAL_ANY /* any of the five */
};

struct route {
    const char *method; /* "GET" */
    const char
        *pattern; /* "/v1/data-query/query/{id}/abort"; {x} matches one non-empty segment, percent-decoded */
    const char *name; /* metric label, unique: "kakao.abort" */
    handler_fn handler;
    enum role role; /* least role; 0 = no role needed (CREDENTIAL_NONE routes) */
};

struct dialect {
    enum dialect_id id;
    const char *name; /* "kakao" */
    enum credential credential;
    const struct route *routes; /* ended by method NULL */
    /* Writes the dialect's error body for a failure found before or outside a handler (401, 403 by role, 404,
     * 405, 413, 415, 429, 500, 503). status is the HTTP status. */
    void (*error)(struct request *rq, int status, const struct err *e);
    delivery_plan_fn plan;         /* what its results are delivered as; NULL: it delivers nothing */
    delivery_metadata_fn metadata; /* text of the metadata file beside a delivered result; NULL: none */
    int (*check)(struct err *e);   /* what is wrong with its own keys of the configuration; NULL: it has none
                                      that could be; at a start, after zones_load */
    bool trailing_slash;           /* its paths may end with one */
};

#define PATH_PARAMS_MAX 4
struct slice {
    const char *p;
    size_t n;
};

/* Rows streamed into a reply: prefix, rows [from, from + limit) by an encoder, suffix. */
struct reply_rows {
    struct rows *rows; /* owned; closed at the end */
    const struct encoder *encoder;
    struct encode_options options; /* texts live in the request arena */
    uint64_t from, limit;          /* limit UINT64_MAX = all */
    uint64_t byte_limit;           /* stop before the row that would pass it (at least one row); 0 = none */
    bool
        raw; /* arrow only: the stored stream as it is (whole batches): sends [raw_off, raw_off + raw_len) of the segment's stream */
    uint64_t raw_off, raw_len;
    bool head, tail; /* call encoder->head / ->tail */
    /* Appends what follows the rows; `sent` rows were sent. May be NULL. */
    int (*suffix)(struct request *rq, uint64_t sent, struct buf *out);
};

/* A body made piece by piece, for lists: appends the next piece to out (about `soft` bytes in all are wanted),
 * sets *ret_done with the last one. Worker; may block. An error is answered as one while nothing was sent, and
 * cuts the connection afterwards. */
typedef int (*reply_pull_fn)(struct request *rq, size_t soft, struct buf *out, bool *ret_done, struct err *e);

struct reply {
    int status;               /* 0 = not set */
    const char *content_type; /* NULL: none (204) */
    struct buf body;          /* whole body, or the prefix when `rows` is used */
    struct {
        const char *name, *value;
    } headers[16]; /* texts live in the request arena */
    uint32_t nheaders;
    bool streaming;     /* rows below are used, or pull */
    reply_pull_fn pull; /* NULL: rows */
    struct reply_rows rows;
    /* For resumable downloads: total known length, or -1; http answers Range and If-Range itself when etag is
     * set and length known. `resumable`: it is not known now, but a Range would be answered all the same. */
    int64_t length;
    const char *etag;
    bool resumable;
    /* A rendering (the request's): a file goes out by its descriptor, and `rows` may stay empty; for text it
     * knows where in the rows a range begins. NULL: none. */
    struct rendering *rendering;
};

struct reply_wait {
    struct query *query; /* borrowed: the request keeps its reference until it ends */
    uint32_t until;
    uint64_t version;
    int64_t deadline_ns; /* monotonic; 0 = none */
};

struct request {
    struct service *service; /* (C) */
    struct arena *arena;     /* freed when the request ends */
    const struct dialect *dialect;
    const struct route *route;
    struct identity who;       /* filled unless CREDENTIAL_NONE */
    const char *method, *path; /* path percent-encoded as sent, without query string */
    const char *request_id;
    const char
        *peer; /* address of the client as text: the connection's, or the one that a trusted proxy names */
    struct slice params[PATH_PARAMS_MAX]; /* in pattern order, percent-decoded, NUL-terminated */
    uint32_t nparams;
    const char *body;
    size_t body_len;
    bool may_block;         /* true on a worker thread */
    bool woken_by_deadline; /* after REPLY_PARK */
    handler_fn next;        /* for DEFER and PARK */
    struct reply_wait wait;
    struct reply reply;
    void *state;                         /* the handler's own, in the arena */
    struct rendering *rendering;         /* of request_render; given back when the request ends */
    struct rendering *ahead;             /* of request_render_ahead; likewise */
    const struct request_source *source; /* where headers and parameters come from */
    void *http;                          /* http room's own */
};

/* What lies behind a request: the http room's table, so that no arrow runs from here up to it. */
struct request_source {
    const char *(*header)(struct request *rq, const char *name);
    bool (*header_prefix)(struct request *rq, const char *prefix);
    const char *(*query)(struct request *rq, const char *name, uint32_t i);
    void (*query_each)(struct request *rq, void (*fn)(void *arg, const char *name, const char *value),
                       void *arg);
    bool (*is_local)(struct request *rq);
};

/* Value of a request header, NULL when absent. Case-insensitive. Of Accept all its lines, of others the first. */
const char *request_header(struct request *rq, const char *name);
/* Is there a request header whose name begins so ("x-hyperdb-")? Case-insensitive. */
bool request_header_prefix(struct request *rq, const char *prefix);
/* i-th value of a query parameter (percent-decoded, "+" is a blank), NULL when there is none. A parameter
 * without "=" has the value "". */
const char *request_query(struct request *rq, const char *name, uint32_t i);
/* Calls fn for each query parameter in order. */
void request_query_each(struct request *rq, void (*fn)(void *arg, const char *name, const char *value),
                        void *arg);
/* The peer is on this machine and no forwarding header says that it speaks for somebody else; or it came by
 * the admin listener. */
bool request_is_local(struct request *rq);

/* ---- helpers for all dialects (dialects.c) ---- */
/* Reads a request body that must be one JSON object; it lives as long as `a`. *ret_is_json (may be NULL) tells
 * whether the body was JSON at all. ERR_INVALID, ERR_NOMEM. */
int body_object(struct arena *a, const char *body, size_t n, bool *ret_is_json, json_value *ret,
                struct err *e) MUST_USE;
void reply_header(struct request *rq, const char *name, const char *value); /* copied */
/* Sets status, type application/json and returns a writer on the body. */
struct json_write reply_json(struct request *rq, int status);
enum handled reply_error(struct request *rq, int status,
                         const struct err *e);    /* through the dialect's error() */
enum handled reply_no_memory(struct request *rq); /* 503 */
/* Content-Disposition: attachment with this file name (UTF-8; RFC 6266: an ASCII form, and filename* when it
 * differs). */
void reply_attachment(struct request *rq, const char *file_name);
/* HTTP status for a service error as most dialects use it: INVALID 400, DENIED 403, NOTFOUND 404, CONFLICT
 * 409, LIMIT/BUSY 429, UNAVAILABLE 503, TIMEOUT 408 ... */
int reply_status_of(int code);
/* The word that several dialects have for an HTTP status, "NOT_FOUND"; NULL: none that they share. */
const char *reply_word(int status);
/* Takes the caller's reference and lets it go when the request ends; false (out of memory): it is gone now. */
bool request_own_query(struct request *rq, struct query *q);
/* Keeps a reference of its own until the request ends. */
void request_keep_query(struct request *rq, struct query *q);
/* Waits for `until` or another version. Without a deadline (0) it also ends, with 503, when the query's end
 * cannot be recorded. */
enum handled request_park(struct request *rq, struct query *q, uint32_t until, uint64_t version,
                          int64_t deadline_ns, handler_fn next);
enum handled request_defer(struct request *rq, handler_fn next);
/* service_find with DEFER handled: 1 = *ret set; 0 = return REPLY_DEFER; <0 error filled. `self` is the
 * handler to call again. */
int request_find(struct request *rq, const char *id, size_t n, handler_fn self, struct query **ret,
                 struct err *e);
/* ... of the query whose id is the path's first parameter. False: *ret is what the handler returns. */
bool request_found(struct request *rq, handler_fn self, struct query **ret_query, enum handled *ret);
/* Parses an integer query parameter: 0 ok (absent: *ret = def), ERR_INVALID with a text naming the parameter
 * and range. */
int request_query_int(struct request *rq, const char *name, int64_t def, int64_t least, int64_t most,
                      int64_t *ret, struct err *e);

/* ---- submitting.c ---- */
/* service_submit of a query that the request then holds until it ends. */
int request_submit(struct request *rq, const struct submit *in, struct query **ret, struct err *e) MUST_USE;
/* After it: waits, parked, until the query's record is durable. True: it is; *inout (the earlier query with the
 * same idempotency key, if there is one) and *v are what to answer with. False: *ret is what the handler
 * returns: `self` is called again, or `fail` (reply_error) has answered with why the submit is refused. */
bool request_accepted(struct request *rq, struct query **inout, handler_fn self, error_fn fail,
                      struct query_view *v, enum handled *ret);
/* Waits, parked, for the end of q, at most `ms` from the first visit (kept in rq->state) on. True: return *ret.
 * False: answer with what there is. */
bool request_hold(struct request *rq, struct query *q, int64_t ms, handler_fn self, enum handled *ret);

/* ---- rendering.c ---- */
/* Starts (or joins) the rendering and keeps it in rq->rendering: 1 = ready; 0 = return REPLY_PARK, `self` is
 * called again; ERR_WOULDBLOCK = not ready at deadline_ns (monotonic; 0 = wait for it however long it takes):
 * rendering_permille tells how far it is; else < 0: it failed. q must be kept by the request. (any) */
int request_render(struct request *rq, struct query *q, const struct render_spec *spec, handler_fn self,
                   int64_t deadline_ns, struct err *e);
/* The query runs, and the request will want all of its rows as that file once it has FINISHED: the work begins now,
 * if that holds nobody up (render_follow). request_render with the same spec takes it over. (any) */
void request_render_ahead(struct request *rq, struct query *q, const struct render_spec *spec);
/* Makes the ready rq->rendering the reply's body: status 200, length, media type; etag and headers are the
 * caller's. (worker) for text formats, which open the rows. */
int reply_rendering(struct request *rq, struct query *q, struct err *e);

extern const struct dialect dialect_kakao, dialect_canner, dialect_data360, dialect_jackdb, dialect_kylin,
    dialect_neutral;
/* All dialects, NULL-terminated; order does not matter. In table.c, alone, so that a test can bring its own
 * (tests/sixth). */
extern const struct dialect *const dialects[];

#endif

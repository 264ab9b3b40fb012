/*
 * data360_int: what the files of the Data 360 Query v3 dialect share. data360.c: routes, submit.
 * data360_body.c: the submit's body. data360_params.c: placeholders. data360_types.c, data360_array.c,
 * data360_interval.c: typed parameters.
 * data360_read.c: status, rows, chunks, metadata, delete. data360_reply.c: what answers are made of:
 * negotiation, metadata, status object. data360_error.c: errors.
 */
#ifndef QUERN_DIALECTS_DATA360_INT_H
#define QUERN_DIALECTS_DATA360_INT_H

#include "dialects/dialect.h"

#define D360_BYTES_MAX                                                                                       \
    20971520 /* 20 MiB: largest byteLimit, and the inline range; real clients send exactly this */
#define D360_WAIT_MAX   10000 /* ms: waitTimeMs, and the wait for a chunk or row at the frontier */
#define D360_GRACE_MS   60000 /* a canceled query answers 408 for this long, then 404 */
#define D360_PARAMS_MAX 10000
#define D360_ARROW      "application/vnd.apache.arrow.stream"

/* ---- data360_params.c ---- */
enum d360_style { D360_QMARK, D360_NAMED, D360_DOLLAR };

struct d360_placeholders {
    const char *sql;
    size_t sql_len;     /* with $1..$n in place of what stood there */
    uint32_t count;     /* n */
    const char **names; /* NAMED: the n names, without colon, by first appearance */
};
/* Rewrites. ERR_INVALID with position for placeholders of another style. */
int data360__placeholders(struct arena *a, enum d360_style style, const char *sql, size_t n,
                          struct d360_placeholders *ret, struct err *e) MUST_USE;
/* Undoes it: the text as it was sent, and the place in it (code points) of a place in the rewritten one. Only
 * needs the style and names. *pos and *end (-1 = unknown) are changed in place. */
int data360__restore(struct arena *a, enum d360_style style, const char *const *names, uint32_t nnames,
                     const char *sql, size_t n, int64_t *pos, int64_t *end, const char **ret,
                     size_t *ret_len) MUST_USE;
/* The parameters array against the placeholders: types known, texts well formed, counts equal. The result
 * lies in `a`, in the order of $1..$n. */
int data360__parameters(struct arena *a, enum d360_style style, const struct d360_placeholders *ph,
                        json_value parameters, struct wire_param **ret, struct err *e) MUST_USE;

/* ---- data360_types.c ---- */
/* A value that is no array, of the type in type[0..n); item holds its length, precision and scale. `label`
 * begins its messages. */
int data360__scalar(struct arena *a, json_value item, const char *type, size_t n, json_value value,
                    const char *label, struct wire_param *ret, struct err *e) MUST_USE;

/* ---- data360_interval.c ---- */
/* Does the text begin as a duration of ISO 8601 does? */
bool data360__is_duration(const char *s, size_t n);
/* Its words for the engine, "1 days -2 hours"; NULL when it is none (or no memory). */
const char *data360__duration_words(struct arena *a, const char *s, size_t n);

/* ---- data360_array.c ---- */
/* One element of the parameters array, of any type. */
int data360__typed(struct arena *a, json_value item, const char *label, struct wire_param *ret,
                   struct err *e) MUST_USE;

/* ---- data360_body.c ---- */
struct d360_submit { /* texts live in the arena */
    bool async;
    enum d360_style style;
    struct d360_placeholders ph;
    struct wire_param *params;
    const char *timezone, *language; /* NULL absent */
    int64_t run_timeout_ms;          /* 0 absent */
    bool has_range;
    int64_t range_rows, range_bytes; /* 0 = not limited */
    int64_t row_limit;               /* -1 none */
};
/* `*ret_is_json` tells whether the body was JSON at all (415 under the Arrow type). */
int data360__read_submit(struct arena *a, const char *body, size_t n, struct d360_submit *ret,
                         bool *ret_is_json, struct err *e) MUST_USE;
/* "1500ms", "10s", "1500" (ms). False when it is none of these. */
bool data360__read_duration(const char *s, int64_t *ret_ms);

/* ---- data360_reply.c ---- */
enum d360_format { D360_JSON, D360_ARROW_STREAM, D360_NONE };
/* Accept header (NULL = absent) to what is sent: highest q, then the more specific range, then the earlier
 * one, then JSON. */
enum d360_format data360__accept(const char *header);
/* What a Content-Type says: JSON for absent or application/json, ARROW, or NONE. */
enum d360_format data360__content_type(const char *header);

/* How a query's rows are numbered in chunks; docs/data360.md. ROWS: chunk i is batch i. EMPTY: chunk 0 is the
 * empty range of a pending answer, rows begin in chunk 1. INLINE: chunk 0 is what a complete answer held,
 * whole batches up to D360_BYTES_MAX. Numbers 1 and 2 are stored (service_note). */
enum d360_layout { D360_INLINE, D360_ROWS, D360_EMPTY };
enum d360_layout data360__layout(const struct query_view *v);
/* Batches of the inline range. */
uint64_t data360__inline_batches(const struct segment *s);
/* Chunks that can be fetched; `inline_batches` counts only for INLINE. */
uint64_t data360__chunk_count(enum d360_layout l, uint64_t batches, uint64_t inline_batches, bool complete);
/* Batches [*ret_first, *ret_first + *ret_n) of a chunk that exists. */
void data360__chunk(enum d360_layout l, uint64_t chunk, uint64_t inline_batches, uint64_t *ret_first,
                    uint64_t *ret_n);

/* {"columns":[...]} (NULL schema: no columns). */
void data360__metadata(struct json_write *w, const struct schema *s);
const char *data360__type_name(const struct column *c);
/* The status object, one line, ASCII. */
void data360__status(struct json_write *w, const struct query_view *v, uint64_t chunks);
/* Arrow schema message; no columns when s is NULL. */
int data360__arrow_schema(const struct schema *s, struct buf *out, struct err *e) MUST_USE;

/* ---- data360_error.c ---- */
/* Answers with the error of a query that failed or was canceled: its stored error, in terms of the text that was sent. */
enum handled data360__fail_query(struct request *rq, const struct query_view *v);
/* HTTP status and "is it the user's fault" of a stored error. */
int data360__error_status(const struct query_view *v, bool *ret_user);
void data360__write_error(struct request *rq, int status, const struct err *e); /* the dialect's error() */
/* The line of text at a code point offset with a caret below, as the engine of the product prints it: "\nline 1, column 38: SELECT ...\n   ^". */
int data360__caret(const char *sql, size_t n, int64_t position, struct buf *out);
/* Gone, canceled too long ago, failed, canceled: true and *ret is the answer. */
bool data360__ended_badly(struct request *rq, const struct query_view *v, enum handled *ret);

/* ---- data360_read.c ---- */
/* Answers 200 with rows [first, first + n) (byte_limit 0 = none), streaming; takes `rows` over. `raw`: whole
 * batches [batch, batch + nbatches), which are those rows. */
struct d360_range {
    uint64_t first, n, byte_limit;
    const struct zone *zone; /* the query's; NULL: UTC */
    bool raw;
    uint64_t batch, nbatches;
};
enum handled data360__send(struct request *rq, enum d360_format f, const struct schema *s, bool omit_schema,
                           struct rows *rows, const struct d360_range *range);
/* ... without rows: JSON "data" is [] or null. */
enum handled data360__send_empty(struct request *rq, enum d360_format f, const struct schema *s,
                                 bool omit_schema, bool null_data);
enum handled data360__get_status(struct request *rq);
enum handled data360__get_rows(struct request *rq);
enum handled data360__get_chunk(struct request *rq);
enum handled data360__get_metadata(struct request *rq);
enum handled data360__delete(struct request *rq);

#endif

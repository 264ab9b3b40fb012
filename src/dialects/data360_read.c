/*
 * data360_read: reading a query: status with long poll (specs 1.4), chunks (1.5), rows by offset (1.6),
 * metadata (1.7); and delete (1.8).
 *
 * All reads give the query's stored error when it failed, 408 for a minute when it was canceled, 404 when it
 * is unknown or gone. No status header here: one client takes it for "still running". Every handler may be
 * entered again after DEFER or PARK and starts from the top; what must not move between visits (a deadline, a
 * baseline) lies in rq->state. Rows are opened on workers only; waiting is parking.
 */
#include "dialects/data360_int.h"

#include <string.h>
#include <strings.h>

#include "base/sys.h"

#define NS_PER_MS 1000000LL

struct visit { /* rq->state of all reads */
    int64_t deadline;
    bool has_baseline;
    uint64_t chunks; /* at the first visit */
};

static struct visit *visit_of(struct request *rq, int64_t wait_ms)
{
    struct visit *x = rq->state;
    if (!x) {
        x = arena_alloc(rq->arena, sizeof *x);
        if (x)
            x->deadline = sys_mono_ns() + wait_ms * NS_PER_MS;
        rq->state = x;
    }
    return x;
}

static enum handled service_error(struct request *rq, int r, const struct err *e)
{
    return reply_error(rq, r == ERR_GONE ? 404 : reply_status_of(r), e);
}

/* Finds the query. False: *ret is what the handler returns. */
static bool find(struct request *rq, handler_fn self, struct query **ret_query, struct query_view *v,
                 enum handled *ret)
{
    struct err e;
    err_clear(&e);
    int r = request_find(rq, rq->params[0].p, rq->params[0].n, self, ret_query, &e);
    if (r == 0) {
        *ret = REPLY_DEFER;
        return false;
    }
    if (r == ERR_NOTFOUND || r == ERR_GONE) {
        err_set(&e, ERR_NOTFOUND, "42704", "query %.64s not found or expired", rq->params[0].p);
        *ret = reply_error(rq, 404, &e);
        return false;
    }
    if (r < 0) {
        *ret = service_error(rq, r, &e);
        return false;
    }
    query_view(*ret_query, v);
    return !data360__ended_badly(rq, v, ret);
}

static int read_flag(struct request *rq, const char *name, bool *ret, struct err *e)
{
    const char *s = request_query(rq, name, 0);
    *ret = false;
    if (!s || !strcasecmp(s, "false") || !strcmp(s, "0"))
        return 0;
    if (*s && strcasecmp(s, "true") != 0 && strcmp(s, "1") != 0)
        return err_set(e, ERR_INVALID, "22023", "%s must be true or false", name);
    *ret = true;
    return 0;
}

static bool accept(struct request *rq, enum d360_format *ret, enum handled *refused)
{
    struct err e;
    *ret = data360__accept(request_header(rq, "Accept"));
    if (*ret != D360_NONE)
        return true;
    err_set(&e, ERR_INVALID, "0A000", "Accept must allow application/json or " D360_ARROW);
    *refused = reply_error(rq, 406, &e);
    return false;
}

/* ---- bodies ---- */

static int returned_rows(struct request *rq, uint64_t sent, struct buf *out)
{
    (void)rq;
    return buf_printf(out, ",\"returnedRows\":%llu}", (unsigned long long)sent);
}

static void begin_json(struct json_write *w, const struct schema *s, bool omit_schema)
{
    json_object_begin(w);
    if (!omit_schema) {
        json_key(w, "metadata");
        data360__metadata(w, s);
    }
    json_key(w, "data");
}

/* Type and prefix of an Arrow body. */
static int begin_arrow(struct request *rq, const struct schema *s, bool omit_schema, struct err *e)
{
    reply_json(rq, 200); /* status and an empty body */
    rq->reply.content_type = D360_ARROW;
    return omit_schema ? 0 : data360__arrow_schema(s, &rq->reply.body, e);
}

enum handled data360__send_empty(struct request *rq, enum d360_format f, const struct schema *s,
                                 bool omit_schema, bool null_data)
{
    if (f == D360_ARROW_STREAM) {
        struct err e;
        err_clear(&e);
        int r = begin_arrow(rq, s, omit_schema, &e);
        return r ? reply_error(rq, 500, &e) : REPLY_READY;
    }
    struct json_write w = reply_json(rq, 200);
    begin_json(&w, s, omit_schema);
    if (null_data) {
        json_null(&w);
    } else {
        json_array_begin(&w);
        json_array_end(&w);
    }
    json_ki64(&w, "returnedRows", 0);
    json_object_end(&w);
    return REPLY_READY;
}

enum handled data360__send(struct request *rq, enum d360_format f, const struct schema *s, bool omit_schema,
                           struct rows *rows, const struct d360_range *range)
{
    struct err e;
    err_clear(&e);
    struct segment *seg = rows_segment(rows);
    struct reply_rows out = {
        .rows = rows, .from = range->first, .limit = range->n, .byte_limit = range->byte_limit};
    for (uint64_t i = 0; range->raw && i < range->nbatches; i++) {
        uint64_t first, n, off, len;
        segment_batch_rows(seg, range->batch + i, &first, &n);
        segment_batch_range(seg, range->batch + i, &off, &len);
        if (i == 0) {
            out.from = first;
            out.limit = 0;
            out.raw_off = off;
            out.raw_len = 0;
        }
        out.limit += n;
        out.raw_len = off + len - out.raw_off;
    }
    if (!out.limit) {
        rows_close(rows);
        return data360__send_empty(rq, f, s, omit_schema, false);
    }
    if (f == D360_ARROW_STREAM) {
        int r = begin_arrow(rq, s, omit_schema, &e);
        if (r) {
            rows_close(rows);
            return reply_error(rq, 500, &e);
        }
        out.encoder = encoder_find("arrow");
        out.options = (struct encode_options){
            .profile = TEXT_DATA360, .no_schema = true}; /* never an end-of-stream marker (specs 2.5) */
        out.raw = range->raw;
    } else {
        struct json_write w = reply_json(rq, 200);
        begin_json(&w, s, omit_schema);
        out.encoder = encoder_find("rows");
        out.options = (struct encode_options){.profile = TEXT_DATA360, .zone = range->zone};
        out.head = out.tail = true;
        out.suffix = returned_rows;
    }
    rq->reply.rows = out;
    rq->reply.streaming = true;
    rq->reply.length = -1;
    return REPLY_READY;
}

/* ---- status ---- */

/* Chunks that can be fetched now. False: needs a worker, *ret is what to return. */
static bool count_chunks(struct request *rq, struct query *q, const struct query_view *v, handler_fn self,
                         uint64_t *ret_chunks, enum handled *ret)
{
    enum d360_layout layout = data360__layout(v);
    bool complete = v->state == QUERY_FINISHED;
    uint64_t inline_batches = v->batches;
    if (layout == D360_INLINE && complete && v->batches > 1) { /* sizes of batches decide */
        struct err e;
        err_clear(&e);
        if (!rq->may_block) {
            *ret = request_defer(rq, self);
            return false;
        }
        struct rows *rows;
        int r = rows_open(rq->service, q, UINT32_MAX, &rows, &e);
        if (r) {
            *ret = service_error(rq, r, &e);
            return false;
        }
        inline_batches = data360__inline_batches(rows_segment(rows));
        rows_close(rows);
    }
    *ret_chunks = data360__chunk_count(layout, v->batches, inline_batches, complete);
    return true;
}

enum handled data360__get_status(struct request *rq)
{
    struct err e;
    err_clear(&e);
    enum d360_format f;
    enum handled ret;
    if (!accept(rq, &f, &ret)) /* an Arrow Accept gets JSON here: the status has no other form */
        return ret;
    int64_t wait_ms;
    int r = request_query_int(rq, "waitTimeMs", D360_WAIT_MAX, 0, INT64_MAX, &wait_ms, &e);
    if (r)
        return reply_error(rq, 400, &e);
    struct visit *x = visit_of(rq, wait_ms < D360_WAIT_MAX ? wait_ms : D360_WAIT_MAX);
    if (!x)
        return reply_no_memory(rq);
    struct query *q;
    struct query_view v;
    uint64_t chunks;
    if (!find(rq, data360__get_status, &q, &v, &ret) ||
        !count_chunks(rq, q, &v, data360__get_status, &chunks, &ret))
        return ret;
    if (!x->has_baseline) {
        x->has_baseline = true;
        x->chunks = chunks;
    }
    /* waits for the end or for new chunks, not for planning, progress or QUEUED -> RUNNING (design.md section
     * 7) */
    if (!query_state_ended(v.state) && chunks == x->chunks && sys_mono_ns() < x->deadline)
        return request_park(rq, q, QF_ENDED, v.version, x->deadline, data360__get_status);
    struct json_write w = reply_json(rq, 200);
    data360__status(&w, &v, chunks);
    return REPLY_READY;
}

/* ---- chunks ---- */

static enum handled chunk_out_of_range(struct request *rq)
{
    struct err e;
    err_set(&e, ERR_INVALID, "22023", "The requested chunk id '%.32s' is out of range", rq->params[1].p);
    return reply_error(rq, 400, &e);
}

enum handled data360__get_chunk(struct request *rq)
{
    struct err e;
    err_clear(&e);
    enum d360_format f;
    enum handled ret;
    if (!accept(rq, &f, &ret))
        return ret;
    const char *text = rq->params[1].p;
    size_t n = rq->params[1].n;
    uint64_t chunk = 0;
    bool omit;
    if (strspn(text, "0123456789") != n || !n) {
        err_set(&e, ERR_INVALID, "22023", "the chunk id must be a number from 0");
        return reply_error(rq, 400, &e);
    }
    for (size_t i = 0; i < n; i++)
        chunk = chunk > 100000000000000000ULL ? chunk : chunk * 10 + (uint64_t)(text[i] - '0');
    int r = read_flag(rq, "omitSchema", &omit, &e);
    if (r)
        return reply_error(rq, 400, &e);
    struct visit *x = visit_of(rq, D360_WAIT_MAX);
    if (!x)
        return reply_no_memory(rq);
    struct query *q;
    struct query_view v;
    uint64_t chunks;
    if (!find(rq, data360__get_chunk, &q, &v, &ret) ||
        !count_chunks(rq, q, &v, data360__get_chunk, &chunks, &ret))
        return ret;
    if (chunk >= chunks) {
        if (!query_state_ended(v.state) && chunk == chunks &&
            sys_mono_ns() < x->deadline) /* the frontier of a running query */
            return request_park(rq, q, QF_ENDED, v.version, x->deadline, data360__get_chunk);
        return chunk_out_of_range(rq);
    }
    enum d360_layout layout = data360__layout(&v);
    struct d360_range range = {.raw = true, .zone = zone_find(v.timezone)};
    if (v.batches == 0 || (layout == D360_EMPTY && chunk == 0))
        return data360__send_empty(rq, f, v.schema, omit, false);
    if (!rq->may_block && !rows_at_once(q))
        return request_defer(rq, data360__get_chunk);
    struct rows *rows;
    r = rows_open(rq->service, q, UINT32_MAX, &rows, &e);
    if (r)
        return service_error(rq, r, &e);
    struct segment *seg = rows_segment(rows);
    data360__chunk(layout, chunk, layout == D360_INLINE ? data360__inline_batches(seg) : 0, &range.batch,
                   &range.nbatches);
    if (range.batch + range.nbatches > segment_nbatches(seg)) {
        rows_close(rows);
        return chunk_out_of_range(rq);
    }
    return data360__send(rq, f, v.schema, omit, rows, &range);
}

/* ---- rows ---- */

struct rows_query {
    int64_t offset, limit, bytes;
    bool omit;
};

static int read_rows_query(struct request *rq, struct rows_query *in, struct err *e)
{
    /* rowLimit is what the companion API calls it */
    const char *limit = request_query(rq, "limit", 0) ? "limit" : "rowLimit";
    int r = request_query_int(rq, "offset", 0, 0, INT64_MAX, &in->offset, e);
    if (!r)
        r = request_query_int(rq, limit, INT64_MAX, 1, INT64_MAX, &in->limit, e);
    if (!r)
        r = request_query_int(rq, "byteLimit", D360_BYTES_MAX, 1, D360_BYTES_MAX, &in->bytes, e);
    return r ? r : read_flag(rq, "omitSchema", &in->omit, e);
}

enum handled data360__get_rows(struct request *rq)
{
    struct err e;
    err_clear(&e);
    enum d360_format f;
    enum handled ret;
    if (!accept(rq, &f, &ret))
        return ret;
    struct rows_query in;
    int r = read_rows_query(rq, &in, &e);
    if (r)
        return reply_error(rq, 400, &e);
    bool omit = in.omit && f == D360_JSON; /* an Arrow body of rows always has its schema (specs 1.6) */
    struct visit *x = visit_of(rq, D360_WAIT_MAX);
    if (!x)
        return reply_no_memory(rq);
    struct query *q;
    struct query_view v;
    if (!find(rq, data360__get_rows, &q, &v, &ret))
        return ret;
    if ((uint64_t)in.offset >= v.rows) {
        if (!query_state_ended(v.state)) {
            if (sys_mono_ns() < x->deadline)
                return request_park(rq, q, QF_ENDED, v.version, x->deadline, data360__get_rows);
            return data360__send_empty(rq, f, v.schema, omit, false);
        }
        if (v.rows == 0 && in.offset == 0) /* an empty result can be read, for its schema */
            return data360__send_empty(rq, f, v.schema, omit, false);
        err_set(&e, ERR_INVALID, "22023",
                "Request out of range: The specified offset is %lld, but only %llu tuples are available",
                (long long)in.offset, (unsigned long long)v.rows);
        return reply_error(rq, 400, &e);
    }
    if (!rq->may_block && !rows_at_once(q))
        return request_defer(rq, data360__get_rows);
    struct rows *rows;
    r = rows_open(rq->service, q, UINT32_MAX, &rows, &e);
    if (r)
        return service_error(rq, r, &e);
    uint64_t have = segment_rows(rows_segment(rows)), offset = (uint64_t)in.offset;
    struct d360_range range = {.first = offset,
                               .n = have > offset ? have - offset : 0,
                               .byte_limit = (uint64_t)in.bytes,
                               .zone = zone_find(v.timezone)};
    if (range.n > (uint64_t)in.limit)
        range.n = (uint64_t)in.limit;
    return data360__send(rq, f, v.schema, omit, rows, &range);
}

/* ---- metadata ---- */

enum handled data360__get_metadata(struct request *rq)
{
    enum d360_format f;
    enum handled ret;
    if (!accept(rq, &f, &ret))
        return ret;
    struct visit *x = visit_of(rq, D360_WAIT_MAX);
    if (!x)
        return reply_no_memory(rq);
    struct query *q;
    struct query_view v;
    if (!find(rq, data360__get_metadata, &q, &v, &ret))
        return ret;
    if (!(v.flags & QF_PLANNED) && sys_mono_ns() < x->deadline) /* submitted elsewhere, not compiled yet */
        return request_park(rq, q, QF_PLANNED, 0, x->deadline, data360__get_metadata);
    if (f == D360_ARROW_STREAM)
        return data360__send_empty(rq, f, v.schema, false, false);
    struct json_write w = reply_json(rq, 200);
    json_object_begin(&w);
    json_key(&w, "metadata");
    data360__metadata(&w, v.schema);
    json_object_end(&w);
    return REPLY_READY;
}

/* ---- delete ---- */

static enum handled gone(struct request *rq)
{
    rq->reply.status = 204;
    rq->reply.content_type = NULL;
    return REPLY_READY;
}

static enum handled deleted(struct request *rq) /* worker */
{
    service_sync(rq->service);
    return gone(rq);
}

/* A script of another dialect keeps what it has: its end is recorded a little later than the deletion. */
static enum handled ended(struct request *rq)
{
    struct query_view v;
    query_view(rq->state, &v);
    return v.flags & QF_ENDED ? request_defer(rq, deleted)
                              : request_park(rq, rq->state, QF_ENDED, 0, 0, ended);
}

/* 204 whatever there is or was; only a reader is told that it may not, and only about what it can see.
 * Answers once the end and the deletion are recorded; the engine stops behind. */
enum handled data360__delete(struct request *rq)
{
    struct err e;
    err_clear(&e);
    struct query *q;
    int r = request_find(rq, rq->params[0].p, rq->params[0].n, data360__delete, &q, &e);
    if (r == 0)
        return REPLY_DEFER;
    if (r > 0) {
        if (rq->who.role < ROLE_MEMBER) {
            err_set(&e, ERR_DENIED, "42501", "the role of this key may not delete queries");
            return reply_error(rq, 403, &e);
        }
        r = service_delete(rq->service, &rq->who, q, &e);
    }
    if (r < 0 && reply_status_of(r) >= 500)
        return reply_error(rq, reply_status_of(r), &e);
    rq->state = q;
    return r == 0 ? ended(rq) : gone(rq);
}

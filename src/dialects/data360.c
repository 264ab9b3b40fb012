/*
 * data360: Salesforce Data 360 Query API v3. Routes and the submit; see data360_int.h for the other files and
 * docs/data360.md for the wire.
 *
 * A submit answers 200 with the status object in the headers x-hyperdb-status and status (two revisions of
 * the documentation name it differently). The statement is compiled before the answer, so its errors are the
 * submit's own, in both modes. ASYNC then answers without rows; ADAPTIVE waits, parked, for the end of the
 * query up to data360.adaptive_timeout, and then answers with the first rows when there are any ("exceeds the
 * adaptive timeout without producing rows": source page). What such an answer said about chunk 0 is recorded
 * before it leaves, because the client goes on by chunk numbers (design.md section 7, Data 360). Handlers
 * never block on an HTTP thread.
 */
#include "dialects/data360_int.h"

#include "base/config.h"
#include "base/sys.h"

#define NS_PER_MS 1000000LL
#define ADAPTIVE_MAX_MS                                                                                      \
    25000 /* most that a header may ask for: clients give up on a request after 30 s and submit again */

struct submit_state {
    struct d360_submit in;
    enum d360_format format;
    bool empty_pending; /* Arrow: a pending body has no bytes at all */
    struct query *query;
    int64_t adaptive_until, plan_until; /* monotonic */
};

static enum handled submitted(struct request *rq);

static bool status_headers(struct request *rq, const struct query_view *v, uint64_t chunks)
{
    CLEANUP_BUF struct buf b = BUF_INIT(4096);
    struct json_write w = JSON_WRITE_INIT(&b);
    data360__status(&w, v, chunks);
    const char *text = buf_str(&b);
    if (!text)
        return false;
    reply_header(rq, "x-hyperdb-status", text);
    reply_header(rq, "status", text);
    return true;
}

/* ---- answers ---- */

/* resultRange, of `have` rows. */
static struct d360_range asked_range(const struct submit_state *st, uint64_t have, const struct zone *zone)
{
    uint64_t most = (uint64_t)st->in.range_rows;
    return (struct d360_range){.n = most && most < have ? most : have,
                               .byte_limit =
                                   st->in.range_bytes ? (uint64_t)st->in.range_bytes : D360_BYTES_MAX,
                               .zone = zone};
}

static enum handled answer_pending(struct request *rq, const struct query_view *v)
{
    struct submit_state *st = rq->state;
    enum d360_layout layout = data360__layout(v);
    /* an ASYNC submit may find the query finished; its layout is ROWS, so no segment is needed */
    uint64_t chunks = data360__chunk_count(layout, v->batches, 0, false);
    if (!status_headers(rq, v, chunks))
        return reply_no_memory(rq);
    /* An earlier answer to this Idempotency-Key has let chunk 0 hold rows: a body with a schema would be taken for it. */
    bool rows_in_0 = !st->in.async && v->note == D360_ROWS;
    if (st->format == D360_ARROW_STREAM && (st->empty_pending || rows_in_0)) {
        reply_json(rq, 200);
        rq->reply.content_type = D360_ARROW;
        return REPLY_READY;
    }
    return data360__send_empty(rq, st->format, v->schema, false, true);
}

/* Worker: the first rows are there, more will come: chunk 0, or the range that was asked for. No more than
 * the status says. */
static enum handled first_rows(struct request *rq, const struct query_view *v)
{
    struct submit_state *st = rq->state;
    struct err e;
    err_clear(&e);
    struct rows *rows;
    int r = rows_open(rq->service, st->query, UINT32_MAX, &rows, &e);
    if (r)
        return reply_error(rq, r == ERR_GONE ? 404 : reply_status_of(r), &e);
    if (!status_headers(rq, v, data360__chunk_count(D360_ROWS, v->batches, 0, false))) {
        rows_close(rows);
        return reply_no_memory(rq);
    }
    struct d360_range range = {.zone = zone_find(v->timezone), .raw = true, .nbatches = 1};
    if (st->in.has_range)
        range = asked_range(st, v->rows, range.zone);
    return data360__send(rq, st->format, v->schema, false, rows, &range);
}

/* Worker: records what this answer makes of chunk 0, then answers. The view is taken before, so that status
 * and body agree. */
static enum handled pending(struct request *rq)
{
    struct submit_state *st = rq->state;
    struct query_view v;
    struct err e;
    err_clear(&e);
    query_view(st->query, &v);
    if (query_state_ended(v.state))
        return submitted(rq);
    if (!v.note) {
        bool schema_body = st->format == D360_ARROW_STREAM && !st->empty_pending && !v.batches;
        uint32_t note = schema_body ? D360_EMPTY : D360_ROWS;
        int r = service_note(rq->service, st->query, note, &e);
        if (r)
            return reply_error(rq, reply_status_of(r), &e);
        v.note = note;
    }
    return v.note == D360_ROWS && v.batches ? first_rows(rq, &v) : answer_pending(rq, &v);
}

/* Worker, or HTTP thread when nothing must be read from disk: the query is complete; the answer holds chunk
 * 0, or the range that was asked for. */
static enum handled complete(struct request *rq)
{
    struct submit_state *st = rq->state;
    struct query_view v;
    struct err e;
    err_clear(&e);
    query_view(st->query, &v);
    enum handled bad;
    if (data360__ended_badly(rq, &v, &bad))
        return bad;
    enum d360_layout layout = data360__layout(&v);
    if (!v.rows) {
        if (!status_headers(rq, &v, data360__chunk_count(layout, v.batches, v.batches, true)))
            return reply_no_memory(rq);
        return data360__send_empty(rq, st->format, v.schema, false, false);
    }
    struct rows *rows;
    int r = rows_open(rq->service, st->query, UINT32_MAX, &rows, &e);
    if (r)
        return reply_error(rq, r == ERR_GONE ? 404 : reply_status_of(r), &e);
    struct segment *seg = rows_segment(rows);
    uint64_t inline_batches = data360__inline_batches(seg);
    if (!status_headers(rq, &v, data360__chunk_count(layout, segment_nbatches(seg), inline_batches, true))) {
        rows_close(rows);
        return reply_no_memory(rq);
    }
    struct d360_range range = {.zone = zone_find(v.timezone)};
    if (st->in.has_range) {
        range = asked_range(st, segment_rows(seg), range.zone);
    } else {
        data360__chunk(layout, 0, inline_batches, &range.batch, &range.nbatches);
        range.raw = true;
    }
    return data360__send(rq, st->format, v.schema, false, rows, &range);
}

/* HTTP thread, or worker: where does the submit stand? Waits on, or answers. */
static enum handled submitted(struct request *rq)
{
    struct submit_state *st = rq->state;
    struct query_view v;
    enum handled ret;
    if (!request_accepted(rq, &st->query, submitted, reply_error, &v, &ret) ||
        data360__ended_badly(rq, &v, &ret))
        return ret;
    int64_t now = sys_mono_ns();
    if (query_state_ended(v.state)) {
        if (st->in.async)
            return answer_pending(rq, &v);
        return rq->may_block || !v.rows || rows_at_once(st->query) ? complete(rq)
                                                                   : request_defer(rq, complete);
    }
    if (!st->in.async && now < st->adaptive_until)
        return request_park(rq, st->query, QF_ENDED, 0, st->adaptive_until, submitted);
    if (!(v.flags & QF_PLANNED) &&
        now < st->plan_until) /* the answer must have the schema, or the syntax error */
        return request_park(rq, st->query, QF_ACCEPTED | QF_PLANNED, 0, st->plan_until, submitted);
    if (st->in.async)
        return answer_pending(rq, &v);
    return rq->may_block ? pending(rq) : request_defer(rq, pending);
}

/* ---- the submit ---- */

/* What later answers need to know of the request: does the complete answer hold chunk 0; what stood where
 * $1..$n stand now. */
static const char *request_memory(const struct d360_submit *in, struct buf *b)
{
    for (int with_names = 1; with_names >= 0; with_names--) {
        buf_reset(b);
        struct json_write w = JSON_WRITE_INIT(b);
        json_object_begin(&w);
        json_kbool(&w, "inline", !in->async && !in->has_range);
        json_ki64(&w, "style", in->style);
        if (in->has_range) { /* another range is another request (Idempotency-Key) */
            json_ki64(&w, "rangeRows", in->range_rows);
            json_ki64(&w, "rangeBytes", in->range_bytes);
        }
        if (with_names && in->style == D360_NAMED) {
            json_key(&w, "names");
            json_array_begin(&w);
            for (uint32_t i = 0; i < in->ph.count; i++)
                json_str(&w, in->ph.names[i]);
            json_array_end(&w);
        }
        json_object_end(&w);
        const char *text = buf_str(b);
        if (text)
            return text;
    }
    return NULL;
}

static enum handled submit(struct request *rq)
{
    struct err e;
    err_clear(&e);
    struct submit_state *st = arena_alloc(rq->arena, sizeof *st);
    if (!st)
        return reply_no_memory(rq);
    st->format = data360__accept(request_header(rq, "Accept"));
    if (st->format == D360_NONE) {
        err_set(&e, ERR_INVALID, "0A000", "Accept must allow application/json or " D360_ARROW);
        return reply_error(rq, 406, &e);
    }
    enum d360_format type = data360__content_type(request_header(rq, "Content-Type"));
    if (type == D360_NONE) {
        err_set(&e, ERR_INVALID, "0A000", "Content-Type must be application/json");
        return reply_error(rq, 415, &e);
    }
    bool is_json;
    int r = data360__read_submit(rq->arena, rq->body, rq->body_len, &st->in, &is_json, &e);
    if (r)
        return reply_error(rq, type == D360_ARROW_STREAM && !is_json ? 415 : reply_status_of(r), &e);
    /* Clients that send such a header take a pending body of no bytes for "still running"; the others read the
     * schema from it. */
    st->empty_pending = config.data360_arrow_pending_body == 1 || request_header_prefix(rq, "x-hyperdb-");

    int64_t wait_ms = config.data360_adaptive_timeout, asked;
    const char *header = request_header(rq, "X-hyperdb-adaptive-timeout");
    if (header && data360__read_duration(
                      header, &asked)) /* its syntax is not documented: what we cannot read changes nothing */
        wait_ms = asked < ADAPTIVE_MAX_MS ? asked : ADAPTIVE_MAX_MS;
    int64_t now = sys_mono_ns();
    st->adaptive_until = now + wait_ms * NS_PER_MS;
    st->plan_until = now + config.data360_plan_wait * NS_PER_MS;

    CLEANUP_BUF struct buf memory = BUF_INIT(16000);
    struct submit in = {.dialect = DIALECT_DATA360,
                        .profile = WIRE_PROFILE_PG,
                        .default_source = "data_catalog",
                        .default_database = "main"};
    in.sql = st->in.ph.sql;
    in.sql_len = st->in.ph.sql_len;
    in.params = st->in.params;
    in.nparams = st->in.ph.count;
    in.timezone = st->in.timezone;
    in.language = st->in.language;
    in.row_limit = st->in.row_limit;
    in.run_timeout_ms = st->in.run_timeout_ms;
    in.read_only = true;
    in.plan_now = true;
    in.hold = !st->in.async;
    in.idempotency_key = request_header(rq, "Idempotency-Key");
    in.request = request_memory(&st->in, &memory);
    if (!in.request)
        return reply_no_memory(rq);
    r = request_submit(rq, &in, &st->query, &e);
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    rq->state = st;
    return submitted(rq);
}

/* ---- the table ---- */

#define BASE "/api/v3/query"

static const struct route routes[] = {
    {"POST", BASE, "data360.submit", submit, ROLE_MEMBER},
    {"GET", BASE "/{id}", "data360.status", data360__get_status, ROLE_READER},
    {"GET", BASE "/{id}/rows", "data360.rows", data360__get_rows, ROLE_READER},
    {"GET", BASE "/{id}/row", "data360.row", data360__get_rows,
     ROLE_READER}, /* pre-GA shapes, still called by one client */
    {"GET", BASE "/{id}/chunks/{chunk}", "data360.chunk", data360__get_chunk, ROLE_READER},
    {"GET", BASE "/{id}/chunk/{chunk}", "data360.chunk_singular", data360__get_chunk, ROLE_READER},
    {"GET", BASE "/{id}/metadata", "data360.metadata", data360__get_metadata, ROLE_READER},
    {"DELETE", BASE "/{id}", "data360.delete", data360__delete,
     ROLE_READER}, /* the handler refuses readers, unknown ids are 204 for all */
    {NULL, NULL, NULL, NULL, 0},
};

const struct dialect dialect_data360 = {
    .id = DIALECT_DATA360,
    .name = "data360",
    .credential = CREDENTIAL_DATA360,
    .routes = routes,
    .error = data360__write_error,
};

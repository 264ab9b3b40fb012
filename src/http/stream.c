/*
 * stream: see stream.h. Runs on workers (fill) and I/O threads (take), never on both at once.
 *
 * An error in the middle leaves the bytes made so far to be sent and `failed` set: the server then cuts the
 * connection, so that a client never takes a part for the whole.
 */
#include "http/stream.h"

#include <string.h>

#define WINDOW_BYTES (4 * STREAM_BUFFER)

void stream_begin(struct stream *s, struct request *rq)
{
    memset(s, 0, sizeof *s);
    s->rq = rq;
    s->rows = &rq->reply.rows;
    buf_init(&s->out, STREAM_ROW_MAX);
    if (rq->reply.pull)
        return;
    if (s->rows->raw) {
        s->next = s->rows->raw_off;
        s->end = s->rows->raw_off + s->rows->raw_len;
    } else {
        s->next = s->rows->from;
        s->end = s->rows->limit > UINT64_MAX - s->rows->from ? UINT64_MAX : s->rows->from + s->rows->limit;
    }
}

void stream_seek(struct stream *s, uint64_t row, bool bare, uint64_t skip)
{
    if (bare) {
        s->step = STREAM_ROWS;
        s->sent = row - s->next;
        s->encode.rows_done = s->sent; /* what stands between two rows depends on it */
        s->next = row;
    }
    s->skip = skip;
}

static int raw_piece(struct stream *s, size_t soft, struct err *e)
{
    uint64_t left = s->end - s->next;
    if (s->skip) { /* a range: nothing needs to be read to be left out */
        uint64_t n = s->skip < left ? s->skip : left;
        s->next += n;
        s->skip -= n;
        left -= n;
    }
    size_t n = s->out.len < soft ? soft - s->out.len : 0;
    if (n > left)
        n = (size_t)left;
    if (n) {
        int rc = buf_reserve(&s->out, n);
        if (rc)
            return err_set(e, rc, NULL, "out of memory");
        rc = segment_read(rows_segment(s->rows->rows), s->next, s->out.p + s->out.len, n, e);
        if (rc)
            return rc;
        s->out.len += n;
        s->next += n;
    }
    if (s->next >= s->end)
        s->step = STREAM_TAIL;
    return 0;
}

/* Encodes rows [s->next, to) of the window; encoders count from the window's first row, everything here from
 * the result's. */
static int some_rows(struct stream *s, const struct window *w, uint64_t to, size_t soft, uint64_t *ret_next,
                     struct err *e)
{
    uint64_t next;
    int rc = encode_rows(s->rows->encoder, &s->rows->options, &s->encode, w, s->next - w->first_row,
                         to - w->first_row, soft, &s->out, &next, e);
    if (!rc)
        *ret_next = w->first_row + next;
    return rc;
}

/* Keeps to byte_limit: the row that would pass it is left out, unless it is the first. */
static int encode(struct stream *s, const struct window *w, uint64_t to, size_t soft, uint64_t *ret_next,
                  struct err *e)
{
    uint64_t limit = s->rows->byte_limit;
    if (!limit)
        return some_rows(s, w, to, soft, ret_next, e);
    size_t base = s->out.len;
    struct encode_state before = s->encode;
    uint64_t room = limit > s->row_bytes ? limit - s->row_bytes : 0;
    size_t stop = room < soft - base ? base + (size_t)room : soft;
    for (;;) {
        int rc = some_rows(s, w, to, stop, ret_next, e);
        if (rc)
            return rc;
        uint64_t made = s->out.len - base, n = *ret_next - s->next;
        if (made <= room || (s->sent == 0 && n == 1)) {
            s->row_bytes += made;
            if (s->row_bytes >= limit)
                s->end = *ret_next;
            return 0;
        }
        /* Too far. Text encoders pass by one row; others make one message of many rows: come down in
         * proportion. */
        s->out.len = base;
        s->encode = before;
        uint64_t fewer = n - 1, share = made ? (uint64_t)((double)n * (double)room / (double)made) : 0;
        if (n > 8 && made > room + room / 4 && share < fewer)
            fewer = share;
        if (fewer == 0 && s->sent == 0)
            fewer = 1;
        s->end = s->next + fewer; /* the limit ends the stream here */
        if (fewer == 0) {
            *ret_next = s->next;
            return 0;
        }
        to = s->end;
        stop = SIZE_MAX;
    }
}

/* How many rows to load: what the buffer has room for and a little more, going by the rows so far. */
static uint64_t rows_wanted(const struct stream *s, size_t soft)
{
    uint64_t left = s->end - s->next;
    if (!s->made_bytes)
        return left;
    double room = (double)(soft - s->out.len), rows = (double)s->made_rows;
    double wanted = room * rows / (double)s->made_bytes * 1.125 + 8;
    return wanted < (double)left ? (uint64_t)wanted : left;
}

static int rows_piece(struct stream *s, struct segment_scratch *x, size_t soft, struct err *e)
{
    if (s->next >= s->end) {
        s->step = STREAM_TAIL;
        return 0;
    }
    struct window w;
    int rc =
        segment_window(rows_segment(s->rows->rows), s->next, rows_wanted(s, soft), WINDOW_BYTES, x, &w, e);
    if (rc == ERR_END) {
        s->step = STREAM_TAIL;
        return 0;
    }
    if (rc)
        return rc;
    /* A window may give more than the buffer takes: go on inside it in the next call. */
    uint64_t to = w.first_row + w.rows, next = s->next;
    size_t before = s->out.len;
    if (to > s->end)
        to = s->end;
    rc = encode(s, &w, to, soft, &next, e);
    if (rc)
        return rc;
    if (next == s->next && s->end > s->next)
        return err_set(e, ERR_INTERNAL, "XX000", "the encoder made no progress");
    s->made_rows += next - s->next;
    s->made_bytes += s->out.len - before;
    s->sent += next - s->next;
    s->next = next;
    return 0;
}

/* Another window for the last corner of the buffer costs more than it gives. Where the rows end with it, the tail is
 * made at once. */
static bool full_enough(const struct stream *s, size_t soft)
{
    return s->step == STREAM_ROWS && !s->rows->raw && s->out.len - s->off >= soft - soft / 4 &&
           s->next < s->end && s->next < segment_rows(rows_segment(s->rows->rows));
}

static void apply_skip(struct stream *s)
{
    uint64_t n = s->out.len - s->off;
    if (n > s->skip)
        n = s->skip;
    s->skip -= n;
    s->off += (size_t)n;
    if (s->off == s->out.len)
        s->off = s->out.len = 0;
}

static int pull_piece(struct stream *s, size_t soft, struct err *e)
{
    bool done = false;
    size_t before = s->out.len;
    int rc = s->rq->reply.pull(s->rq, soft, &s->out, &done, e);
    if (done)
        s->step = STREAM_DONE;
    else if (!rc && s->out.len == before && !buf_failed(&s->out))
        rc = err_set(e, ERR_INTERNAL, "XX000", "the reply made no progress");
    return rc;
}

int stream_fill(struct stream *s, struct segment_scratch *x, size_t soft, struct err *e)
{
    struct reply_rows *r = s->rows;
    int rc = 0;
    if (s->off) {
        buf_drop(&s->out, s->off);
        s->off = 0;
    }
    if (s->out.cap > 2 * STREAM_BUFFER && s->out.len == 0)
        buf_free(&s->out);
    while (!rc && s->step != STREAM_DONE && s->out.len < soft && !full_enough(s, soft)) {
        switch (s->step) {
        case STREAM_PREFIX:
            rc = buf_add(&s->out, s->rq->reply.body.p, s->rq->reply.body.len);
            buf_free(&s->rq->reply.body);
            s->step = s->rq->reply.pull ? STREAM_PULL : STREAM_HEAD;
            break;
        case STREAM_PULL:
            rc = pull_piece(s, soft, e);
            break;
        case STREAM_HEAD:
            if (r->head && !r->raw && r->encoder->head)
                rc = encode_head(r->encoder, &r->options, &s->encode, segment_schema(rows_segment(r->rows)),
                                 &s->out, e);
            s->step = STREAM_ROWS;
            break;
        case STREAM_ROWS:
            rc = r->raw ? raw_piece(s, soft, e) : rows_piece(s, x, soft, e);
            break;
        case STREAM_TAIL:
            if (r->tail && !r->raw && r->encoder->tail)
                rc = encode_tail(r->encoder, &r->options, &s->encode, segment_schema(rows_segment(r->rows)),
                                 &s->out, e);
            s->step = STREAM_SUFFIX;
            break;
        case STREAM_SUFFIX:
            if (r->suffix)
                rc = r->suffix(s->rq, s->sent, &s->out);
            s->step = STREAM_DONE;
            break;
        case STREAM_DONE:
            break;
        }
        if (!rc && buf_failed(&s->out))
            rc = err_set(e, ERR_LIMIT, "54000", "one row is too large to be sent");
        if (s->skip && !rc)
            apply_skip(s);
    }
    s->failed = rc != 0;
    return rc;
}

size_t stream_take(struct stream *s, char *p, size_t n)
{
    size_t have = s->out.len - s->off;
    if (n > have)
        n = have;
    if (n > 0)
        memcpy(p, s->out.p + s->off, n);
    s->off += n;
    if (s->off == s->out.len)
        s->off = s->out.len = 0;
    return n;
}

void stream_free(struct stream *s)
{
    buf_free(&s->out);
    if (s->rows && s->rows->rows) {
        rows_close(s->rows->rows);
        s->rows->rows = NULL;
    }
}

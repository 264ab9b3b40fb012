/*
 * answer: a streamed reply before it is sent: a descriptor, a body of known length, or a stream that workers refill.
 * A worker's, except io_scratch's: what is held in memory is begun on the I/O thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "http/http_int.h"

#define VERIFY_PIECE (8u << 20)

bool answer_range(struct exchange *x, uint64_t total, enum range_verdict *ret, uint64_t *ret_off,
                  uint64_t *ret_len)
{
    const struct reply *r = &x->rq.reply;
    const char *range = x->guard.ranged && r->etag && r->status == 200 ? connection_header(x, "Range") : NULL;
    const char *condition = range ? connection_header(x, "If-Range") : NULL;
    if (!range || (condition && strcmp(condition, r->etag) != 0))
        return false;
    *ret = guard_range(range, total, ret_off, ret_len);
    return *ret != RANGE_NONE;
}

/* A rendered file goes out by its descriptor. */
static int open_file(struct exchange *x, struct err *e)
{
    const struct rendering *f = x->rq.reply.rendering;
    x->send_fd = fcntl(rendering_fd(f), F_DUPFD_CLOEXEC, 0);
    if (x->send_fd < 0)
        return err_errno(e, errno, "opening a rendered file");
    x->send_off = 0;
    x->send_len = rendering_size(f);
    return 0;
}

/* Text whose lengths were measured: begins near the first byte of the range. True when something was left out. */
static bool begin_at_range(struct exchange *x)
{
    const struct reply *r = &x->rq.reply;
    enum range_verdict v;
    uint64_t off, len, row, at;
    if (r->length < 0 || r->rows.raw || !answer_range(x, (uint64_t)r->length, &v, &off, &len) ||
        v != RANGE_ONE || off == 0)
        return false;
    if (r->rendering) {
        rendering_seek(r->rendering, off, &row, &at);
        stream_seek(&x->stream, row, at > 0, off - at);
    } else {
        x->stream.skip = off;
    }
    return true;
}

/* Decides how a raw stored stream goes out: as a descriptor when the whole is that. */
static int open_raw(struct exchange *x, struct err *e)
{
    struct reply *r = &x->rq.reply;
    struct reply_rows *rr = &r->rows;
    uint64_t off = rr->raw_off, len = rr->raw_len, range_off, range_len;
    if (r->body.len || rr->suffix || len <= FILL_SOFT)
        return 0;
    enum range_verdict v;
    if (answer_range(x, len, &v, &range_off, &range_len) && v == RANGE_ONE) {
        off += range_off;
        len = range_len;
    }
    int fd = -1;
    for (uint64_t done = 0;
         done < len;) { /* verified before the first byte leaves; a part once verified stays so */
        uint64_t n = len - done < VERIFY_PIECE ? len - done : VERIFY_PIECE;
        int rc = segment_sendfile(rows_segment(rr->rows), off + done, n, &fd, e);
        if (rc)
            return rc;
        if (fd < 0)
            return 0; /* kept in memory */
        done += n;
    }
    if (fd >= 0) {
        fd = dup(fd);
        if (fd < 0)
            return 0;
        x->send_fd = fd;
        x->send_off = rr->raw_off;
        x->send_len = rr->raw_len;
    }
    return 0;
}

/* ---- an I/O thread's own window memory, for results held in memory ---- */

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void scratch_end(void *p)
{
    segment_scratch_free(p);
}

static void scratch_key_make(void)
{
    if (pthread_key_create(&scratch_key, scratch_end))
        abort();
}

static struct segment_scratch *io_scratch(void)
{
    pthread_once(&scratch_once, scratch_key_make);
    struct segment_scratch *x = pthread_getspecific(scratch_key);
    if (!x && (x = segment_scratch_new()) != NULL && pthread_setspecific(scratch_key, x)) {
        segment_scratch_free(x);
        x = NULL;
    }
    return x;
}

/* ---- begin and go on ---- */

/* The first fill. What fits the buffer becomes a plain body of known length. */
bool answer_begin(struct exchange *x, struct segment_scratch *scratch)
{
    if (!scratch && (scratch = io_scratch()) == NULL)
        return false;
    struct err e;
    err_clear(&e);
    struct reply *r = &x->rq.reply;
    if (r->rows.rows) {
        x->rows_format = r->rows.encoder ? r->rows.encoder->name : NULL;
        x->rows_id = *rows_query_id(r->rows.rows);
    } else if (r->rendering) {
        x->rows_format = rendering_suffix(r->rendering) + 1;
        x->rows_id = *query_id(rendering_query(r->rendering));
    }
    bool file = r->rendering && rendering_fd(r->rendering) >= 0;
    int rc = file ? open_file(x, &e) : r->rows.raw ? open_raw(x, &e) : 0;
    if (!rc && x->send_fd < 0) {
        stream_begin(&x->stream, &x->rq);
        x->streaming = true;
        bool cut = begin_at_range(x);
        rc = stream_fill(&x->stream, scratch, FILL_SOFT, &e);
        if (!rc && stream_done(&x->stream) && !cut) {
            struct buf whole = x->stream.out;
            buf_init(&x->stream.out, 0);
            stream_free(&x->stream);
            x->streaming = false;
            r->streaming = false;
            buf_free(&r->body);
            r->body = whole;
            r->length = -1;
        } else if (!rc) {
            x->pulled = true;
        }
    }
    x->stage = STAGE_REPLY;
    if (rc) {
        log_event(LOG_WARN, "http", "reply failed", "request", x->request_id, "code", err_name(e.code),
                  "error", e.text, NULL);
        exchange_refuse(x, reply_status_of(e.code), &e);
        x->stage = STAGE_REPLY;
    }
    return true;
}

static void fill_job(struct worker_job *w, struct segment_scratch *scratch)
{
    struct exchange *x = (struct exchange *)((char *)w - offsetof(struct exchange, work));
    struct err e;
    err_clear(&e);
    if (stream_fill(&x->stream, scratch, FILL_SOFT, &e)) {
        metric_add(x->server->cut_streams, 1);
        log_event(LOG_WARN, "http", "stream cut", "request", x->request_id, "code", err_name(e.code), "error",
                  e.text, NULL);
    }
    connection_resume(x);
}

bool answer_refill(struct exchange *x)
{
    x->work.fn = fill_job;
    if (!connection_suspend(x))
        return false;
    workers_push(x->server->workers, &x->work, WORK_STREAMS);
    return true;
}

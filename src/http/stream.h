/*
 * stream: a streamed reply, pulled piece by piece. Knows rows and encoders, and bodies that their handler makes
 * (reply.pull); nothing of sockets. docs/http.md, "Streams".
 *
 * One thread at a time: the worker that fills, or the I/O thread that takes. Memory of a stream is one buffer
 * of STREAM_BUFFER (more only while a single row is larger; it shrinks afterwards). Windows are loaded into
 * the worker's scratch memory.
 */
#ifndef QUERN_HTTP_STREAM_H
#define QUERN_HTTP_STREAM_H

#include "dialects/dialect.h"

#define STREAM_BUFFER  65536u
#define STREAM_ROW_MAX (1u << 30) /* a single encoded row beyond this ends the stream with an error */

enum stream_step {
    STREAM_PREFIX,
    STREAM_PULL,
    STREAM_HEAD,
    STREAM_ROWS,
    STREAM_TAIL,
    STREAM_SUFFIX,
    STREAM_DONE
};

struct stream {
    struct request *rq;
    struct reply_rows *rows; /* in rq->reply */
    struct buf out;          /* bytes [off, out.len) wait to be taken */
    size_t off;
    struct encode_state encode;
    enum stream_step step;
    uint64_t next, end;             /* rows, or bytes of the stored stream when raw */
    uint64_t row_bytes;             /* counted against byte_limit */
    uint64_t sent;                  /* rows */
    uint64_t made_rows, made_bytes; /* by the encoder: what a row takes */
    uint64_t skip;                  /* bytes still to be left out (a range) */
    bool failed;
};

void stream_begin(struct stream *s, struct request *rq);
/* Right after stream_begin: begins at `row` (without what comes before the rows when `bare`) and leaves out the
 * first `skip` bytes from there. */
void stream_seek(struct stream *s, uint64_t row, bool bare, uint64_t skip);
/* Appends to `out` until it holds about `soft` bytes or all is done. 0 or the error; then s->failed. Worker. */
int stream_fill(struct stream *s, struct segment_scratch *x, size_t soft, struct err *e) MUST_USE;
static inline bool stream_done(const struct stream *s)
{
    return s->step == STREAM_DONE;
}
/* Bytes that can be taken; moves them to p. */
size_t stream_take(struct stream *s, char *p, size_t n);
void stream_free(struct stream *s); /* the rows too */

#endif

/*
 * send: see send.h.
 */
#include "http/send.h"

#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys_wait.h"

static void add_header(struct MHD_Response *r, const char *name, const char *value)
{
    if (MHD_add_response_header(r, name, value) != MHD_YES)
        log_event(LOG_WARN, "http", "a response header was refused", "name", name, NULL);
}

static ssize_t pull(void *cls, uint64_t pos, char *p, size_t n)
{
    struct exchange *x = cls;
    (void)pos;
    size_t got = stream_take(&x->stream, p, n);
    if (got) {
        int64_t now = sys_mono_ns();
        atomic_store_explicit(&x->conn->watch.deadline_ns, now + config.download_stall * 1000000,
                              memory_order_relaxed);
        metric_add(x->server->sent_bytes, (int64_t)got);
        x->out_bytes += got;
        return (ssize_t)got;
    }
    if (x->stream.failed)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (stream_done(&x->stream))
        return MHD_CONTENT_READER_END_OF_STREAM;
    return answer_refill(x) ? 0 : MHD_CONTENT_READER_END_WITH_ERROR;
}

/* What part of `total` goes out: sets status and, when it is a part, writes Content-Range. */
static void choose_range(struct exchange *x, uint64_t total, uint64_t *ret_off, uint64_t *ret_len,
                         char content_range[80])
{
    struct reply *r = &x->rq.reply;
    *ret_off = 0;
    *ret_len = total;
    enum range_verdict v;
    if (!answer_range(x, total, &v, ret_off, ret_len))
        return;
    switch (v) {
    case RANGE_ONE:
        r->status = 206;
        snprintf(content_range, 80, "bytes %llu-%llu/%llu", (unsigned long long)*ret_off,
                 (unsigned long long)(*ret_off + *ret_len - 1), (unsigned long long)total);
        break;
    case RANGE_UNSATISFIABLE:
        r->status = 416;
        *ret_off = *ret_len = 0;
        snprintf(content_range, 80, "bytes */%llu", (unsigned long long)total);
        break;
    case RANGE_NONE:
        break;
    }
}

static struct MHD_Response *make_response(struct exchange *x, char content_range[80])
{
    struct reply *r = &x->rq.reply;
    uint64_t off = 0, len;
    if (x->send_fd >= 0) {
        len = x->send_len;
        if (r->etag)
            choose_range(x, x->send_len, &off, &len, content_range);
        if (len == 0)
            return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        struct MHD_Response *m = MHD_create_response_from_fd_at_offset64(len, x->send_fd, x->send_off + off);
        if (m) {
            x->send_fd = -1; /* the library closes it */
            metric_add(x->server->sent_bytes, (int64_t)len);
            x->out_bytes = len;
        }
        return m;
    }
    if (x->pulled) {
        len = MHD_SIZE_UNKNOWN;
        if (r->length >= 0) {
            len = (uint64_t)r->length;
            if (r->etag)
                choose_range(x, len, &off, &len, content_range);
        }
        if (len == 0)
            return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        struct MHD_Response *m = MHD_create_response_from_callback(len, 16384, pull, x, NULL);
        /* The library ends a chunked answer to HEAD with a last chunk, which is no part of it: such an answer goes
         * without chunks, and the connection ends with it. */
        if (m && len == MHD_SIZE_UNKNOWN && strcmp(x->rq.method, "HEAD") == 0)
            (void)MHD_set_response_options(m, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
        return m;
    }
    len = r->body.len;
    if (r->etag)
        choose_range(x, r->body.len, &off, &len, content_range);
    metric_add(x->server->sent_bytes, (int64_t)len);
    x->out_bytes = len;
    /* The body lives in the exchange, which outlives the response. */
    return MHD_create_response_from_buffer((size_t)len, len ? r->body.p + off : NULL, MHD_RESPMEM_PERSISTENT);
}

/* What lets a web page of another origin read the answer. Pages that are for this machine only are for nobody
 * else. */
static void origin_headers(struct exchange *x, struct MHD_Response *m)
{
    const struct cors *c = x->server->cors;
    if (x->conn->admin || (x->rq.route && !x->rq.route->role))
        return;
    if (!cors_any(c))
        add_header(m, "Vary", "Origin");
    const char *origin = connection_header(x, "Origin");
    if (!cors_allows(c, origin))
        return;
    add_header(m, "Access-Control-Allow-Origin", cors_any(c) ? "*" : origin);
    if (!cors_any(c)) /* never together with "*" */
        add_header(m, "Access-Control-Allow-Credentials", "true");
    add_header(m, "Access-Control-Expose-Headers", CORS_EXPOSED);
}

bool send_reply(struct exchange *x)
{
    struct reply *r = &x->rq.reply;
    char content_range[80] = "";
    if (r->etag && r->status == 200) {
        const char *match = connection_header(x, "If-None-Match");
        if (match && guard_etag_listed(match, r->etag, true)) {
            r->status = 304;
            buf_reset(&r->body);
            x->pulled = false;
            if (x->send_fd >= 0) {
                close(x->send_fd);
                x->send_fd = -1;
            }
        }
    }
    bool ranges =
        r->etag && (x->send_fd >= 0 || !x->pulled || r->length >= 0 || r->resumable) && r->status != 304;
    struct MHD_Response *m = make_response(x, content_range);
    if (!m)
        return false;
    if (r->content_type && r->status != 304)
        add_header(m, "Content-Type", r->content_type);
    add_header(m, "X-Request-Id", x->request_id);
    if (r->etag)
        add_header(m, "ETag", r->etag);
    if (ranges)
        add_header(m, "Accept-Ranges", "bytes");
    if (content_range[0])
        add_header(m, "Content-Range", content_range);
    if (x->server->cors)
        origin_headers(x, m);
    bool retry = false;
    for (uint32_t i = 0; i < r->nheaders; i++) {
        add_header(m, r->headers[i].name, r->headers[i].value);
        retry |= strcasecmp(r->headers[i].name, "Retry-After") == 0;
    }
    if ((r->status == 429 || r->status == 503) && !retry)
        add_header(m, "Retry-After", r->status == 429 ? "5" : "2");
    if (x->early || x->last || atomic_load_explicit(&x->server->stopping, memory_order_relaxed))
        add_header(m, "Connection", "close");
    int64_t now = sys_mono_ns();
    watch_timing(&x->conn->watch, now + config.download_stall * 1000000, config.download_stall * 1000000,
                 x->pulled || r->streaming ? now + config.download_max_age * 1000000 : 0);
    if (x->pulled)
        metric_add(x->server->streams, 1);
    x->queued = true;
    x->stage = STAGE_SENT;
    enum MHD_Result ok = MHD_queue_response(x->mhd, (unsigned)r->status, m);
    MHD_destroy_response(m);
    return ok == MHD_YES;
}

void send_raw(struct exchange *x)
{
    struct reply *r = &x->rq.reply;
    char head[512];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d Content Too Large\r\nContent-Type: %s\r\nContent-Length: "
                     "%zu\r\nX-Request-Id: %s\r\nConnection: close\r\n\r\n",
                     r->status, r->content_type ? r->content_type : "text/plain", r->body.len, x->request_id);
    if (n <= 0 || (size_t)n >= sizeof head)
        return;
    if (x->server->tls && !x->conn->admin) {
        const union MHD_ConnectionInfo *i =
            MHD_get_connection_info(x->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
        if (i && i->tls_session) {
            tls_send(i->tls_session, head, (size_t)n);
            tls_send(i->tls_session, r->body.p, r->body.len);
        }
    } else {
        struct iovec iov[2] = {{head, (size_t)n}, {r->body.p, r->body.len}};
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = r->body.len ? 2 : 1};
        ssize_t sent = sys_sendmsg(x->conn->watch.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)sent;
    }
}

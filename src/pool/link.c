/*
 * link: frames over the socket to one engine process.
 *
 * The socket never blocks. Sending waits for room, but no longer than engine.silence without progress: a
 * child that does not read is killed by the caller. Receiving takes what is there into one buffer whose
 * ceiling is the largest frame a child may send; it grows with the bytes that arrive, not with the length
 * that was announced. Descriptors that a child sends are dropped by the kernel (no control buffer is given).
 * Thread: the acquiring one; link__send under engine.send_mu.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pool/pool_int.h"
#include "base/sys_wait.h"

#define READ_STEP (64u * 1024u)
#define KEEP_MAX  (256u * 1024u) /* a larger buffer is given back between frames */

void link__init(struct link *l)
{
    buf_init(&l->rx, 8u + (size_t)wire_ceiling(WIRE_PLANNED) + READ_STEP);
    l->used = 0;
}

void link__free(struct link *l)
{
    buf_free(&l->rx);
    l->used = 0;
}

static int poll_ms(int64_t deadline_ns)
{
    int64_t left = deadline_ns - sys_mono_ns();
    if (left <= 0)
        return 0;
    int64_t ms = left / 1000000 + 1;
    return ms > 60000 ? 60000 : (int)ms;
}

int link__send(struct engine *x, const struct buf *frame, int fd)
{
    size_t at = 0;
    int64_t give_up = sys_mono_ns() + MS_NS(CONF(engine_silence));
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    while (at < frame->len) {
        struct iovec iov = {frame->p + at, frame->len - at};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        if (at == 0 && fd >= 0) {
            memset(&control, 0, sizeof control);
            msg.msg_control = control.room;
            msg.msg_controllen = sizeof control.room;
            struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(sizeof(int));
            memcpy(CMSG_DATA(c), &fd, sizeof fd);
        }
        ssize_t n = sys_sendmsg(x->sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            at += (size_t)n;
            give_up = sys_mono_ns() + MS_NS(CONF(engine_silence));
            continue;
        }
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS)
            return ERR_END;
        if (sys_mono_ns() >= give_up)
            return ERR_TIMEOUT;
        struct pollfd p = {.fd = x->sock, .events = POLLOUT};
        (void)sys_poll(&p, 1, poll_ms(give_up));
    }
    return 0;
}

int link__next(struct engine *x, enum wire_type *ret_type, const uint8_t **ret_payload, uint32_t *ret_len)
{
    struct link *l = &x->link;
    if (l->used) {
        buf_drop(&l->rx, l->used);
        l->used = 0;
        if (l->rx.len == 0 && l->rx.cap > KEEP_MAX)
            buf_free(&l->rx);
    }
    for (;;) {
        size_t want = 8;
        if (l->rx.len >= 8) {
            enum wire_type t;
            uint32_t len;
            if (wire_header((const uint8_t *)l->rx.p, &t, &len) || t < WIRE_READY)
                return ERR_CORRUPT;
            want = 8 + (size_t)len;
            if (l->rx.len >= want) {
                l->used = want;
                *ret_type = t;
                *ret_payload = (const uint8_t *)l->rx.p + 8;
                *ret_len = len;
                return 0;
            }
        }
        if (buf_reserve(&l->rx, READ_STEP))
            return ERR_NOMEM;
        ssize_t n = sys_recv(x->sock, l->rx.p + l->rx.len, READ_STEP, MSG_DONTWAIT);
        if (n > 0) {
            l->rx.len += (size_t)n;
            continue;
        }
        if (n == 0)
            return ERR_END;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return ERR_WOULDBLOCK;
        return ERR_END;
    }
}

void link__wait(struct engine *x, int64_t deadline_ns)
{
    struct pollfd p[2] = {{.fd = x->sock, .events = POLLIN}, {.fd = x->wake, .events = POLLIN}};
    int n = sys_poll(p, 2, poll_ms(deadline_ns));
    if (n > 0 && (p[1].revents & POLLIN))
        sys_event_clear(x->wake);
}

bool link__quiet(struct engine *x)
{
    struct link *l = &x->link;
    if (l->rx.len != l->used)
        return false;
    struct pollfd p = {.fd = x->sock, .events = POLLIN};
    return sys_poll(&p, 1, 0) == 0;
}

/*
 * port: the child's end of the wire. See port.h for the two threads.
 *
 * Descriptors are matched to MEMFD frames in the order of arrival: the kernel never lets a read go past the
 * bytes that carry descriptors, so they may come early with respect to the frame, never late. The filter
 * forbids sendmsg and sendto: frames leave by write(2), SIGPIPE is ignored.
 */
#include "engines/port.h"
#include "base/sys_wait.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define RX_CEILING (64u * 1024u * 1024u + 256u * 1024u)
#define READ_STEP  (64u * 1024u)

int port_init(struct port *p, int fd)
{
    *p = (struct port){.fd = fd, .rx = BUF_INIT(RX_CEILING), .held = BUF_INIT(RX_CEILING)};
    p->timer = -1;
    if (pthread_mutex_init(&p->send_mu, NULL) || pthread_mutex_init(&p->mu, NULL) ||
        pthread_cond_init(&p->cv, NULL))
        return ERR_NOMEM;
    return 0;
}

/* One recvmsg into the buffer. */
static int receive(struct port *p, size_t want)
{
    if (buf_reserve(&p->rx, want < READ_STEP ? READ_STEP : want) < 0)
        return ERR_NOMEM;
    union {
        char space[CMSG_SPACE(PORT_MEMFDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {p->rx.p + p->rx.len, want < READ_STEP ? READ_STEP : want};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.space,
                       .msg_controllen = sizeof control.space};
    ssize_t n = sys_recvmsg(p->fd, &m, MSG_CMSG_CLOEXEC);
    if (n <= 0)
        return ERR_END;
    p->rx.len += (size_t)n;
    if (m.msg_flags & MSG_CTRUNC)
        return ERR_CORRUPT;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (p->nfds < PORT_MEMFDS)
                p->fds[p->nfds++] = fd;
            else
                (void)close(fd);
        }
    }
    return 0;
}

int port_timer_open(struct port *p)
{
    p->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return p->timer < 0 ? ERR_UNAVAILABLE : 0;
}

void port_timer(struct port *p, int64_t delay_ns)
{
    struct itimerspec t = {.it_value = {delay_ns / 1000000000, delay_ns % 1000000000}};
    (void)timerfd_settime(p->timer, 0, &t, NULL);
}

void port_timer_wait(struct port *p)
{
    struct pollfd pf = {p->timer, POLLIN, 0};
    (void)sys_poll(&pf, 1, -1);
    sys_event_clear(p->timer);
}

void port_unread(struct port *p)
{
    p->used = 0;
}

int port_read(struct port *p, int timeout_ms, bool timed, enum wire_type *ret_type,
              const uint8_t **ret_payload, uint32_t *ret_len)
{
    if (p->used) {
        buf_drop(&p->rx, p->used);
        p->used = 0;
    }
    for (;;) {
        enum wire_type type;
        uint32_t len = 0;
        size_t want = 8;
        if (p->rx.len >= 8) {
            if (wire_header((const uint8_t *)p->rx.p, &type, &len) < 0)
                return ERR_CORRUPT;
            want = (size_t)len + 8;
            if (p->rx.len >= want) {
                p->used = want;
                *ret_type = type;
                *ret_payload = (const uint8_t *)p->rx.p + 8;
                *ret_len = len;
                return 0;
            }
        }
        struct pollfd pf[2] = {{p->fd, POLLIN, 0}, {p->timer, POLLIN, 0}};
        int r = timeout_ms < 0 && !timed ? 1 : sys_poll(pf, timed ? 2 : 1, timeout_ms);
        if (r < 0)
            return ERR_END;
        if (r > 0 && timed && pf[1].revents) {
            sys_event_clear(p->timer);
            return ERR_WOULDBLOCK;
        }
        if (r <= 0)
            return ERR_WOULDBLOCK;
        r = receive(p, want - p->rx.len);
        if (r < 0)
            return r;
    }
}

static void remove_memfd(struct port *p, unsigned i)
{
    p->nmemfds--;
    for (; i < p->nmemfds; i++)
        p->memfds[i] = p->memfds[i + 1];
}

int port_memfd(struct port *p, uint32_t slot)
{
    if (p->nfds == 0)
        return ERR_CORRUPT;
    int fd = p->fds[0];
    p->nfds--;
    for (unsigned i = 0; i < p->nfds; i++)
        p->fds[i] = p->fds[i + 1];
    pthread_mutex_lock(&p->mu);
    bool room = p->nmemfds < PORT_MEMFDS;
    if (room)
        p->memfds[p->nmemfds++] = (struct port_memfd){slot, fd};
    pthread_cond_broadcast(&p->cv);
    pthread_mutex_unlock(&p->mu);
    if (!room)
        (void)close(fd);
    return room ? 0 : ERR_CORRUPT;
}

void port_cancel(struct port *p, uint64_t job)
{
    pthread_mutex_lock(&p->mu);
    if (p->job == job)
        p->canceled = true;
    pthread_cond_broadcast(&p->cv);
    pthread_mutex_unlock(&p->mu);
}

void port_begin(struct port *p, uint64_t job)
{
    pthread_mutex_lock(&p->send_mu);
    p->over = false;
    pthread_mutex_unlock(&p->send_mu);
    pthread_mutex_lock(&p->mu);
    p->job = job;
    p->canceled = false;
    pthread_mutex_unlock(&p->mu);
}

bool port_canceled(struct port *p)
{
    pthread_mutex_lock(&p->mu);
    bool c = p->canceled;
    pthread_mutex_unlock(&p->mu);
    return c;
}

int port_slot(struct port *p, uint32_t *ret_slot, int *ret_fd)
{
    int r = ERR_CANCELED;
    pthread_mutex_lock(&p->mu);
    while (!p->canceled && r) {
        for (unsigned i = 0; i < p->nmemfds && r; i++) {
            *ret_slot = p->memfds[i].slot;
            *ret_fd = p->memfds[i].fd;
            remove_memfd(p, i);
            r = 0;
        }
        if (r) {
            port_timer(p, 1); /* somebody must read what the daemon sends */
            pthread_cond_wait(&p->cv, &p->mu);
        }
    }
    pthread_mutex_unlock(&p->mu);
    return r;
}

/* send_mu held. */
static void write_bytes(struct port *p, const struct buf *frames)
{
    const char *at = frames->p;
    size_t left = frames->len;
    while (left) {
        ssize_t n = sys_send(p->fd, at, left, 0);
        if (n <= 0)
            _exit(0);
        at += n;
        left -= (size_t)n;
    }
}

/* send_mu held. */
static void write_frames(struct port *p, const struct buf *frames)
{
    bool joined = p->held.len > 0 && buf_add(&p->held, frames->p, frames->len) == 0;
    if (p->held.len > 0)
        write_bytes(p, &p->held);
    buf_reset(&p->held);
    if (!joined)
        write_bytes(p, frames);
}

void port_send_soon(struct port *p, const struct buf *frames)
{
    pthread_mutex_lock(&p->send_mu);
    if (buf_add(&p->held, frames->p, frames->len) < 0)
        write_frames(p, frames);
    pthread_mutex_unlock(&p->send_mu);
}

void port_flush(struct port *p)
{
    pthread_mutex_lock(&p->send_mu);
    if (p->held.len > 0)
        write_bytes(p, &p->held);
    buf_reset(&p->held);
    pthread_mutex_unlock(&p->send_mu);
}

void port_send(struct port *p, const struct buf *frames)
{
    pthread_mutex_lock(&p->send_mu);
    write_frames(p, frames);
    pthread_mutex_unlock(&p->send_mu);
}

void port_send_last(struct port *p, const struct buf *frames)
{
    pthread_mutex_lock(&p->send_mu);
    write_frames(p, frames);
    p->over = true;
    pthread_mutex_unlock(&p->send_mu);
}

void port_send_beat(struct port *p, const struct buf *frames)
{
    pthread_mutex_lock(&p->send_mu);
    if (!p->over)
        write_frames(p, frames);
    pthread_mutex_unlock(&p->send_mu);
}

/*
 * sys_wait: see sys_wait.h. Any thread.
 *
 * Invariants: EINTR never leaves this file; a timeout is not made longer by signals (its end is fixed before
 * the first call).
 */
#include "base/sys_wait.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/sys_int.h"

/* The end of a wait; INT64_MAX for none. */
static int64_t end_of(int timeout_ms)
{
    return timeout_ms < 0 ? INT64_MAX : timeout_ms == 0 ? 0 : sys_mono_ns() + (int64_t)timeout_ms * 1000000;
}

/* What is left until then, rounded up. */
static int left_of(int64_t end)
{
    int64_t ns = end == INT64_MAX ? 0 : end - sys_mono_ns();
    return end == INT64_MAX ? -1 : ns <= 0 ? 0 : (int)((ns + 999999) / 1000000);
}

int sys_poll(struct pollfd *fds, size_t n, int timeout_ms)
{
    int64_t end = end_of(timeout_ms);
    bool cut;
    if (sys__fails(SYS_POLL, &cut))
        return -1;
    int r = cut ? -1 : poll(fds, (nfds_t)n, timeout_ms);
    while (r < 0 && sys__again(&cut))
        r = poll(fds, (nfds_t)n, left_of(end));
    return r;
}

int sys_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms)
{
    int64_t end = end_of(timeout_ms);
    bool cut;
    if (sys__fails(SYS_POLL, &cut))
        return -1;
    int r = cut ? -1 : epoll_wait(epoll, events, max, timeout_ms);
    while (r < 0 && sys__again(&cut))
        r = epoll_wait(epoll, events, max, left_of(end));
    return r;
}

ssize_t sys_recv(int fd, void *p, size_t n, int flags)
{
    bool cut;
    if (sys__fails(SYS_RECV, &cut))
        return -1;
    ssize_t r;
    do
        r = cut ? -1 : recv(fd, p, n, flags);
    while (r < 0 && sys__again(&cut));
    return r;
}

ssize_t sys_recvmsg(int fd, struct msghdr *m, int flags)
{
    bool cut;
    if (sys__fails(SYS_RECV, &cut))
        return -1;
    ssize_t r;
    do
        r = cut ? -1 : recvmsg(fd, m, flags);
    while (r < 0 && sys__again(&cut));
    return r;
}

ssize_t sys_send(int fd, const void *p, size_t n, int flags)
{
    bool cut;
    if (sys__fails(SYS_SEND, &cut))
        return -1;
    ssize_t r;
    do
        r = cut ? -1 : flags ? send(fd, p, n, flags) : write(fd, p, n);
    while (r < 0 && sys__again(&cut));
    return r;
}

ssize_t sys_sendmsg(int fd, const struct msghdr *m, int flags)
{
    bool cut;
    if (sys__fails(SYS_SEND, &cut))
        return -1;
    ssize_t r;
    do
        r = cut ? -1 : sendmsg(fd, m, flags);
    while (r < 0 && sys__again(&cut));
    return r;
}

int sys_accept(int fd, struct sockaddr *ret_from, socklen_t *n, int flags)
{
    bool cut;
    if (sys__fails(SYS_ACCEPT, &cut))
        return -1;
    int r;
    do
        r = cut ? -1 : accept4(fd, ret_from, n, flags);
    while (r < 0 && sys__again(&cut));
    return r;
}

int sys_connect(int fd, const struct sockaddr *to, socklen_t n)
{
    bool cut;
    if (sys__fails(SYS_CONNECT, &cut))
        return -1;
    int r;
    do
        r = cut ? -1 : connect(fd, to, n);
    while (r < 0 && sys__again(&cut));
    return r;
}

int sys_waitid(int idtype, id_t id, siginfo_t *ret, int options)
{
    bool cut;
    if (sys__fails(SYS_WAIT, &cut))
        return -1;
    int r;
    do
        r = cut ? -1 : waitid((idtype_t)idtype, id, ret, options);
    while (r < 0 && sys__again(&cut));
    return r;
}

void sys_event_set(int fd)
{
    uint64_t one = 1;
    bool cut;
    ssize_t r;
    if (sys__fails(SYS_EVENT, &cut))
        return;
    do
        r = cut ? -1 : write(fd, &one, sizeof one);
    while (r < 0 && sys__again(&cut));
}

void sys_event_clear(int fd)
{
    uint64_t count;
    bool cut;
    ssize_t r;
    if (sys__fails(SYS_EVENT, &cut))
        return;
    do
        r = cut ? -1 : read(fd, &count, sizeof count);
    while (r < 0 && sys__again(&cut));
}

/*
 * sys_wait: the calls of the seam (sys.h) that wait for somebody or wake somebody: poll, sockets, children, events.
 * They count and fail as sys.h tells. Any thread.
 */
#ifndef QUERN_BASE_SYS_WAIT_H
#define QUERN_BASE_SYS_WAIT_H

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/sys.h"

/* As the system call, -1 and errno on failure; EINTR is retried
 * inside, and what is left of a timeout (milliseconds, -1: none) is waited then. */
int sys_poll(struct pollfd *fds, size_t n, int timeout_ms);
int sys_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms);
ssize_t sys_recv(int fd, void *p, size_t n, int flags);
ssize_t sys_recvmsg(int fd, struct msghdr *m, int flags);
ssize_t sys_send(int fd, const void *p, size_t n, int flags); /* also to what is no socket, with flags 0 */
ssize_t sys_sendmsg(int fd, const struct msghdr *m, int flags);
int sys_accept(int fd, struct sockaddr *ret_from, socklen_t *n, int flags);
int sys_connect(int fd, const struct sockaddr *to, socklen_t n); /* of a local socket */
int sys_waitid(int idtype, id_t id, siginfo_t *ret, int options);
/* An eventfd is made readable; an eventfd or timerfd is read. What cannot be done is not needed: it is readable
 * already, or was not. */
void sys_event_set(int fd);
void sys_event_clear(int fd);

#endif

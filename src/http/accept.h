/*
 * accept: one thread that accepts connections of all listeners and hands them on, so that a full house or a
 * lack of descriptors makes it wait instead of spin: what cannot be taken stays in the kernel's queue.
 */
#ifndef QUERN_HTTP_ACCEPT_H
#define QUERN_HTTP_ACCEPT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

#define ACCEPT_LISTENERS 2

struct acceptor;

struct accept_options {
    int listeners[ACCEPT_LISTENERS]; /* non-blocking; borrowed */
    uint32_t n;
    bool (*room)(void *arg); /* one more may come */
    void (*take)(void *arg, uint32_t listener, int fd, const struct sockaddr *sa, socklen_t n); /* owns fd */
    void *arg;
};

int acceptor_start(const struct accept_options *o, struct acceptor **ret, struct err *e) MUST_USE;
/* Joins: nothing is taken afterwards. NULL allowed. */
void acceptor_stop(struct acceptor *a);

#endif

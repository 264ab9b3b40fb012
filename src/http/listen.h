/*
 * listen: the sockets on which the service listens, and how many connections the limit of open files allows.
 * Called by the main thread, before anything else of this room runs.
 */
#ifndef QUERN_HTTP_LISTEN_H
#define QUERN_HTTP_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* "HOST:PORT" of the configuration's key -> a listening socket and its address as text, with the port that the
 * system chose for 0. `plain`: an address that is not loopback needs http.plain_non_loopback. The caller closes
 * *ret_fd. */
int listen_open(const char *key, const char *listen_at, bool plain, int *ret_fd, char *ret_address, size_t n,
                struct err *e) MUST_USE;
/* What listen_open would refuse before it opens a socket. */
int listen_check(const char *key, const char *listen_at, bool plain, struct err *e) MUST_USE;
/* Raises the limit of open files as far as http.max_connections needs it, or says that it cannot. */
void listen_raise_descriptors(void);
/* The most connections at a time: http.max_connections, or fewer. */
int64_t listen_connections(void);

#endif

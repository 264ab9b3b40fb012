/*
 * server: the HTTP seam. libmicrohttpd behind one door; server.c, connection.c and send.c include microhttpd.h.
 *
 * Threads: config.http_threads I/O threads (parse, route, run handlers that do not block),
 * config.http_workers worker threads (deferred handlers, filling of streamed replies), one watch thread
 * (deadlines, parked connections whose client has gone). docs/http.md.
 */
#ifndef QUERN_HTTP_SERVER_H
#define QUERN_HTTP_SERVER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json_write.h"
#include "core/identity.h"
#include "core/service.h"

struct server;

struct server_options {
    struct service *service;
    struct identities *identities;
    const char *listen; /* HOST:PORT */
    /* Adds members to the object of /readyz (sandbox level and reason, ...); any thread, must not block.
     * NULL: nothing to add. */
    void (*status)(void *arg, struct json_write *w);
    void *status_arg;
};

/* Binds and serves. ret_address is filled with the URL (https:// with TLS). ERR_INVALID for a bad address,
 * certificate or list in the configuration, or plain HTTP on an address that is not loopback without
 * http.plain_non_loopback. */
int server_start(const struct server_options *o, struct server **ret, char *ret_address, size_t n,
                 struct err *e) MUST_USE;
/* What server_start would refuse of the configuration (certificates are read), without a socket. Before any
 * server_start. */
int server_check(const char *listen, struct err *e) MUST_USE;
/* Reads the certificate again; on error the one in use stays. Blocks on files. */
int server_reload(struct server *s, struct err *e) MUST_USE;
/* Answers that go out piece by piece now. */
int server_streams(const struct server *s);
/* Submits answer 503 + Retry-After and /readyz says draining; polls and downloads go on. */
void server_drain(struct server *s);
/* Wakes and ends everything, joins all threads. */
void server_stop(struct server *s);
/* The route table as JSON (`quernd routes --json`): array of {method, pattern, dialect, name, role,
 * credential}. */
int server_routes_json(struct buf *out);

#endif

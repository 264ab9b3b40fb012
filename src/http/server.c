/*
 * server: libmicrohttpd behind one door (see server.h). Its callbacks run on its I/O threads.
 *
 * What it does badly, and what stands against it (docs/http.md): lenient framing (guard.c), timers of
 * inactivity only (watch.c, the library's own are off), blindness while suspended (watch.c), a lost answer
 * when input is left unread (watch_linger), a receive pool that stays touched (connection_trim).
 *
 * Invariant: MHD_stop_daemon is called only when no connection is suspended (connection.c).
 */
#include "http/server.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/audit.h"
#include "dialects/neutral.h"
#include "http/http_int.h"
#include "http/listen.h"
#include "http/peers.h"
#include "http/send.h"

#define BODY_RATE      1024 /* bytes a second that a body must keep up, beyond http.body_timeout */
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"

/* ---- connections ---- */

static struct http_conn *conn_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return i ? i->socket_context : NULL;
}

/* ---- the acceptor's thread ---- */

static bool room(void *arg)
{
    struct server *s = arg;
    int64_t pending = s->handed - atomic_load(&s->started);
    if (pending > 0 &&
        sys_mono_ns() - s->handed_ns > 1000000000) { /* the library dropped some for lack of memory */
        s->handed -= pending;
        pending = 0;
    }
    return atomic_load(&s->open) + pending < s->most_connections;
}

static void take(void *arg, uint32_t listener, int fd, const struct sockaddr *sa, socklen_t n)
{
    struct server *s = arg;
    struct listener *l = &s->listeners[listener];
    unsigned char address[16];
    bool loopback = peers_address(sa, address, NULL, 0);
    if (!l->admin && config.http_per_peer && !loopback && !proxies_has(s->proxies, address) &&
        peers_full(s->peers, address, config.http_per_peer)) {
        close(fd);
        return;
    }
    if (MHD_add_connection(l->daemon, fd, sa, n) == MHD_YES) { /* else it closed it */
        s->handed++;
        s->handed_ns = sys_mono_ns();
    }
}

/* ---- connections of the library's threads ---- */

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct listener *l = cls;
    struct server *s = l->server;
    struct http_conn *c = *context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        atomic_fetch_add(&s->open, 1);
        atomic_fetch_add(&s->started, 1);
        const union MHD_ConnectionInfo *fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        const union MHD_ConnectionInfo *peer =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
        c = calloc(1, sizeof *c);
        if (!c || !fd) { /* requests of a connection without context are dropped */
            free(c);
            return;
        }
        c->watch.fd = fd->connect_fd;
        c->loopback = peers_address(peer ? peer->client_addr : NULL, c->address, c->peer, sizeof c->peer);
        c->admin = l->admin;
        c->proxy = proxies_has(s->proxies, c->address);
        watch_timing(&c->watch, sys_mono_ns() + config.http_header_timeout * 1000000, 0, 0);
        if (!c->loopback && !c->proxy && !c->admin && config.http_per_peer) {
            c->counted = peers_add(s->peers, c->address, config.http_per_peer);
            if (!c->counted)
                shutdown(c->watch.fd, SHUT_RDWR);
        }
        watch_conn_add(s->watch, &c->watch);
        metric_add(s->connections, 1);
        *context = c;
        return;
    }
    atomic_fetch_sub(&s->open, 1);
    if (c) {
        watch_conn_remove(s->watch, &c->watch);
        if (c->counted)
            peers_remove(s->peers, c->address);
        metric_add(s->connections, -1);
        exchange_free_spare(c);
        free(c);
        *context = NULL;
    }
}

/* The request line is there: from now on the headers have http.header_timeout, whatever was left of the idle
 * time. */
static void *on_target(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct http_conn *c = conn_of(mhd);
    (void)cls;
    if (!c)
        return NULL;
    c->target_end = uri + strlen(uri);
    watch_timing(&c->watch, sys_mono_ns() + config.http_header_timeout * 1000000, 0, 0);
    return NULL;
}

static size_t no_unescape(void *cls, struct MHD_Connection *mhd, char *s)
{
    (void)cls;
    (void)mhd;
    return strlen(s); /* path and parameters reach us as sent */
}

/* ---- requests ---- */

static enum MHD_Result carry_out(struct exchange *x, enum exchange_next next)
{
    switch (next) {
    case EXCHANGE_BODY:
    case EXCHANGE_WAIT: /* x may be somebody else's by now */
        return MHD_YES;
    case EXCHANGE_SEND:
        return send_reply(x) ? MHD_YES : MHD_NO;
    case EXCHANGE_DROP:
        break;
    }
    if (x->stop_body && !x->queued) {
        send_raw(x);
        x->queued = true;
    }
    return MHD_NO;
}

static enum MHD_Result one_header(void *cls, enum MHD_ValueKind kind, const char *name, size_t nn,
                                  const char *value, size_t vn)
{
    (void)kind;
    return guard_header(cls, name, nn, value ? value : "", value ? vn : 0) ? MHD_YES : MHD_NO;
}

static void body_deadline(struct exchange *x)
{
    uint64_t size = x->guard.has_length ? x->guard.length : x->discarded;
    watch_timing(&x->conn->watch,
                 x->begun_ns + config.http_body_timeout * 1000000 + (int64_t)(size / BODY_RATE) * 1000000000,
                 0, 0);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **context)
{
    struct exchange *x = *context;
    if (!x) {
        struct http_conn *c = conn_of(mhd);
        x = c ? exchange_new(cls, c, mhd) : NULL;
        if (!x)
            return MHD_NO;
        *context = x;
        guard_begin(&x->guard, version + strlen(version));
        guard_line(&x->guard, c->target_end, version);
        MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, one_header, &x->guard);
        guard_end(&x->guard, strcmp(version, MHD_HTTP_VERSION_1_1) == 0);
        enum exchange_next next = exchange_begin(x, method, url);
        body_deadline(x);
        return carry_out(x, next);
    }
    ASSERT(x->magic == EXCHANGE_MAGIC);
    if (*size) {
        size_t n = *size;
        *size = 0;
        enum exchange_next next = exchange_body(x, data, n);
        if (x->guard.chunked)
            body_deadline(x);
        return carry_out(x, next);
    }
    if (x->queued)
        return MHD_YES;
    watch_timing(&x->conn->watch, 0, 0, 0);
    return carry_out(x, exchange_run(x));
}

/* Who read which rows (audit.reads). Bytes are those that went to the socket; a client that left in the
 * middle has complete=no. */
static void audit_read(const struct exchange *x, bool complete)
{
    char id[ID_TEXT_MAX], bytes[32];
    const struct request *rq = &x->rq;
    bool download = rq->reply.etag != NULL; /* a whole file, whatever the dialect; not a page of rows */
    if (!x->rows_format || !x->queued || rq->reply.status >= 300 || config.audit_reads == 2 ||
        (config.audit_reads == 0 && !download))
        return;
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)(rq->method[0] == 'H' ? 0 : x->out_bytes));
    audit_event(download ? "result_download" : "result_read", "query", id_uuid(&x->rows_id, id), "workspace",
                rq->who.workspace_name, "user", rq->who.user_name, "key", rq->who.key_id, "peer", x->rq.peer,
                "dialect", rq->dialect->name, "format", x->rows_format, "bytes", bytes, "complete",
                complete ? "yes" : "no", "request", x->request_id, NULL);
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode why)
{
    struct server *s = cls;
    struct exchange *x = *context;
    (void)mhd;
    *context = NULL;
    if (!x)
        return;
    audit_read(x, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    int64_t now = sys_mono_ns();
    watch_timing(&x->conn->watch, now + config.http_idle * 1000000, 0, 0);
    uint32_t n = x->route_number == UINT32_MAX ? router_routes(s->router) : x->route_number;
    int status = x->rq.reply.status;
    if (x->queued && status >= 100 && status < 600)
        metric_add(s->stats[n].classes[status / 100 - 1], 1);
    metric_observe_ns(s->stats[n].seconds, now - x->begun_ns);
    if (x->pulled && x->stage == STAGE_SENT)
        metric_add(s->streams, -1);
    if ((x->early || x->last || x->stop_body) && !atomic_load(&s->stopping)) {
        int fd = dup(x->conn->watch.fd);
        if (fd >= 0)
            watch_linger(s->watch, fd);
    }
    exchange_free(x);
}

/* ---- start and stop ---- */

static int make_stats(struct server *s)
{
    uint32_t n = router_routes(s->router);
    s->stats = calloc(n + 1, sizeof *s->stats);
    if (!s->stats)
        return ERR_NOMEM;
    for (uint32_t i = 0; i <= n; i++) {
        const struct dialect *d;
        const char *name = i < n ? router_route(s->router, i, &d)->name : "none";
        char labels[128];
        for (int c = 0; c < 5; c++) {
            snprintf(labels, sizeof labels, "route=\"%s\",class=\"%dxx\"", name, c + 1);
            s->stats[i].classes[c] =
                metrics_get(METRIC_COUNTER, "quern_http_requests_total", labels, "answered requests");
        }
        snprintf(labels, sizeof labels, "route=\"%s\"", name);
        s->stats[i].seconds = metrics_get(METRIC_HISTOGRAM, "quern_http_request_seconds", labels,
                                          "time from the headers to the last byte");
    }
    s->parked = metrics_get(METRIC_GAUGE, "quern_http_parked", "", "requests parked without a thread");
    s->streams = metrics_get(METRIC_GAUGE, "quern_http_streams", "", "replies going out piece by piece");
    s->connections = metrics_get(METRIC_GAUGE, "quern_http_connections", "", "open connections");
    s->sent_bytes = metrics_get(METRIC_COUNTER, "quern_http_sent_bytes_total", "", "bytes of reply bodies");
    s->client_gone = metrics_get(METRIC_COUNTER, "quern_http_client_gone_total", "",
                                 "clients that left while their request was parked");
    s->cut_streams =
        metrics_get(METRIC_COUNTER, "quern_http_streams_cut_total", "", "streamed replies cut by an error");
    return 0;
}

static void destroy(struct server *s)
{
    workers_stop(s->workers);
    watch_stop(s->watch);
    for (uint32_t i = 0; i < s->nlisteners; i++)
        close(s->listeners[i].fd);
    tls_close(s->tls);
    proxies_free(s->proxies);
    cors_free(s->cors);
    peers_free(s->peers);
    router_free(s->router);
    free(s->stats);
    free(s);
}

/* What the configuration says, before anything is bound. */
static int read_settings(struct server *s, struct err *e)
{
    bool certificate = config.http_tls_certificate[0], key = config.http_tls_key[0];
    if (certificate != key)
        return err_set(e, ERR_INVALID, NULL, "http.tls_certificate and http.tls_key come together");
    int rc = certificate ? tls_open(config.http_tls_certificate, config.http_tls_key, &s->tls, e) : 0;
    if (!rc)
        rc = proxies_parse(config.http_trusted_proxies, &s->proxies, e);
    if (!rc)
        rc = cors_parse(config.http_cors_origins, &s->cors, e);
    return rc;
}

int server_check(const char *listen, struct err *e)
{
    struct server s = {0};
    int rc = read_settings(&s, e);
    if (!rc)
        rc = listen_check("http.listen", listen, !s.tls, e);
    if (!rc && config.http_admin_listen[0])
        rc = listen_check("http.admin_listen", config.http_admin_listen, false, e);
    cors_free(s.cors);
    proxies_free(s.proxies);
    tls_close(s.tls);
    return rc;
}

static int add_listener(struct server *s, const char *key, const char *at, bool admin, char *address,
                        size_t n, struct err *e)
{
    struct listener *l = &s->listeners[s->nlisteners];
    *l = (struct listener){s, NULL, -1, admin};
    int rc = listen_open(key, at, !admin && !s->tls, &l->fd, address, n, e);
    if (!rc)
        s->nlisteners++;
    return rc;
}

static int start_daemon(struct server *s, struct listener *l, struct err *e)
{
    bool tls = s->tls && !l->admin, pool = config.http_threads > 1 && !l->admin;
    struct MHD_OptionItem options[8] = {
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)config.http_max_header, NULL},
        /* the acceptor keeps to the limit; what it hands over at once may pass it by a little */
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)(config.http_max_connections + 128 * config.http_threads),
         NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, 0, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL}};
    uint32_t n = 4;
    if (pool)
        options[n++] =
            (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)config.http_threads, NULL};
    if (tls) {
        options[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_CERT_CALLBACK, 0, tls_callback()};
        options[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, TLS_PRIORITIES};
    }
    options[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    l->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                                     MHD_USE_NO_LISTEN_SOCKET | (tls ? MHD_USE_TLS : 0),
                                 0, NULL, NULL, on_request, s, MHD_OPTION_ARRAY, options,
                                 MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_NOTIFY_CONNECTION,
                                 on_connection, l, MHD_OPTION_URI_LOG_CALLBACK, on_target, s,
                                 MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, s, MHD_OPTION_END);
    return l->daemon ? 0 : err_set(e, ERR_INTERNAL, NULL, "the HTTP library did not start");
}

static void stop_daemons(struct server *s)
{
    for (uint32_t i = 0; i < s->nlisteners; i++)
        if (s->listeners[i].daemon)
            MHD_stop_daemon(s->listeners[i].daemon);
}

int server_start(const struct server_options *o, struct server **ret, char *ret_address, size_t n,
                 struct err *e)
{
    struct server *s = calloc(1, sizeof *s);
    char address[300], admin_address[300];
    if (!s)
        return err_set(e, ERR_NOMEM, NULL, "out of memory");
    s->service = o->service;
    s->identities = o->identities;
    s->peers = peers_new();
    listen_raise_descriptors();
    s->most_connections = listen_connections();
    int rc = s->peers ? router_new(dialects, &s->router, e) : err_set(e, ERR_NOMEM, NULL, "out of memory");
    if (!rc && make_stats(s))
        rc = err_set(e, ERR_NOMEM, NULL, "out of memory");
    if (!rc)
        rc = read_settings(s, e);
    if (!rc)
        rc = watch_start(&s->watch, e);
    if (!rc)
        rc = workers_start((uint32_t)config.http_workers, &s->workers, e);
    if (!rc)
        rc = add_listener(s, "http.listen", o->listen, false, address, sizeof address, e);
    if (!rc && config.http_admin_listen[0])
        rc = add_listener(s, "http.admin_listen", config.http_admin_listen, true, admin_address,
                          sizeof admin_address, e);
    if (rc) {
        destroy(s);
        return rc;
    }
    if (o->status)
        neutral_status_set(o->status, o->status_arg);
    neutral_draining_set(false);
    struct accept_options accept = {.n = s->nlisteners, .room = room, .take = take, .arg = s};
    for (uint32_t i = 0; i < s->nlisteners && !rc; i++) {
        accept.listeners[i] = s->listeners[i].fd;
        rc = start_daemon(s, &s->listeners[i], e);
    }
    if (!rc)
        rc = acceptor_start(&accept, &s->acceptor, e);
    if (rc) {
        stop_daemons(s);
        destroy(s);
        return rc;
    }
    if (s->nlisteners > 1)
        log_event(LOG_INFO, "http", "admin listener", "url", admin_address, NULL);
    snprintf(ret_address, n, "%s://%s", s->tls ? "https" : "http", address);
    *ret = s;
    return 0;
}

int server_reload(struct server *s, struct err *e)
{
    return s->tls ? tls_reload(s->tls, e) : 0;
}

int server_streams(const struct server *s)
{
    return (int)metric_value(s->streams);
}

void server_drain(struct server *s)
{
    atomic_store(&s->draining, true);
    neutral_draining_set(true);
}

void server_stop(struct server *s)
{
    if (!s)
        return;
    atomic_store(&s->stopping, true);
    acceptor_stop(s->acceptor);
    while (atomic_load(&s->suspended) >
           0) { /* workers finish what they have; parked ones are woken, again until none is left */
        watch_fire_all(s->watch, PARK_STOP);
        sys_sleep_ms(1);
    }
    stop_daemons(s);
    destroy(s);
}

int server_routes_json(struct buf *out)
{
    struct json_write w = JSON_WRITE_INIT(out);
    json_array_begin(&w);
    for (const struct dialect *const *d = dialects; *d; d++)
        for (const struct route *r = (*d)->routes; r->method; r++) {
            json_object_begin(&w);
            json_kstr(&w, "method", r->method);
            json_kstr(&w, "pattern", r->pattern);
            json_kstr(&w, "dialect", (*d)->name);
            json_kstr(&w, "name", r->name);
            json_kstr(&w, "role", r->role ? role_name(r->role) : "none");
            json_kstr(&w, "credential", auth_credential_name(r->role ? (*d)->credential : CREDENTIAL_NONE));
            json_object_end(&w);
        }
    json_array_end(&w);
    return buf_failed(out) ? ERR_NOMEM : 0;
}

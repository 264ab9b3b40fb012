/*
 * admission: from the headers to the complete body: framing, size, route, credential, role. I/O thread.
 *
 * A refusal found before the body is kept while the body is read and thrown away, so that the client reads
 * its answer and the connection lives on; where the framing is doubtful, the body too large, or the client
 * waits for 100-continue, it is answered at once and the connection ends.
 */
#include <string.h>
#include <strings.h>

#include "base/config.h"
#include "base/crypto.h"
#include "base/sys.h"
#include "core/audit.h"
#include "http/http_int.h"
#include "http/peers.h"

static void request_id(struct exchange *x)
{
    static _Thread_local uint64_t seed, count;
    const char *sent = connection_header(x, "X-Request-Id");
    if (sent && guard_request_id_ok(sent)) {
        memcpy(x->request_id, sent, strlen(sent) + 1);
    } else {
        if (!seed)
            sys_random(&seed, sizeof seed);
        uint64_t v =
            seed + 0x9e3779b97f4a7c15u * ++count; /* splitmix64: a bijection, so no thread repeats itself */
        v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9u;
        v = (v ^ v >> 27) * 0x94d049bb133111ebu;
        v ^= v >> 31;
        for (int i = 0; i < 16; i++, v >>= 4)
            x->request_id[i] = "0123456789abcdef"[v & 15];
        x->request_id[16] = '\0';
    }
    x->rq.request_id = x->request_id;
}

/* Refuses before the body: STAGE_DISCARD, or at once. */
static enum exchange_next refuse(struct exchange *x, int status, bool close_now, const struct err *e)
{
    exchange_refuse(x, status, e);
    if (close_now || x->guard.expect_continue) {
        x->early = true;
        x->stage = STAGE_REPLY;
        return EXCHANGE_SEND;
    }
    x->stage = STAGE_DISCARD;
    return EXCHANGE_BODY;
}

static int too_large(struct err *e)
{
    return err_set(e, ERR_LIMIT, "54000", "the request body is larger than http.max_body allows (%lld bytes)",
                   (long long)config.http_max_body);
}

static int authenticate(struct exchange *x, int *ret_status, struct err *e)
{
    struct auth_headers h = {connection_header(x, "Authorization"), connection_header(x, "Credential-ID"),
                             connection_header(x, "Credential-Secret")};
    struct auth_parts parts;
    enum credential kind = x->rq.dialect->credential;
    *ret_status = 401;
    if (auth_parse(kind, &h, &parts) != AUTH_PARSED)
        return err_set(e, ERR_UNAUTH, "28000", "%s",
                       h.authorization || h.credential_id ? "the credential is malformed"
                                                          : "a credential is required");
    int rc = identity_check(x->server->identities, parts.text, parts.key_len,
                            parts.has_secret ? parts.text + parts.key_len : NULL, parts.secret_len,
                            x->rq.peer, &x->rq.who, e);
    crypto_wipe(parts.text, parts.key_len + parts.secret_len);
    if (rc)
        *ret_status = rc == ERR_LIMIT ? 429 : rc == ERR_UNAUTH ? 401 : reply_status_of(rc);
    return rc;
}

#define FORWARD_LINES 16

struct lines {
    const char *all[FORWARD_LINES];
    uint32_t n;
};

static void one_line(void *arg, const char *name, const char *value)
{
    struct lines *l = arg;
    (void)name;
    if (l->n < FORWARD_LINES)
        l->all[l->n++] = value;
    else /* what is nearest to us counts */
        memmove(l->all, l->all + 1, sizeof l->all - sizeof l->all[0]), l->all[FORWARD_LINES - 1] = value;
}

/* Of a trusted proxy: for whom it speaks. Headers of both kinds must agree, since a proxy may write one and
 * pass on what a client sent as the other. */
static int find_client(struct exchange *x, int *ret_status, struct err *e)
{
    struct lines forwarded = {.n = 0}, x_forwarded = {.n = 0};
    unsigned char a[16], b[16];
    connection_headers(x, "Forwarded", one_line, &forwarded);
    connection_headers(x, "X-Forwarded-For", one_line, &x_forwarded);
    bool one = forwarded_client(x->server->proxies, FORWARD_RFC7239, forwarded.all, forwarded.n, a);
    bool other = forwarded_client(x->server->proxies, FORWARD_X, x_forwarded.all, x_forwarded.n, b);
    *ret_status = 400;
    if (forwarded.n && x_forwarded.n && (one != other || (one && memcmp(a, b, sizeof a) != 0)))
        return err_set(e, ERR_INVALID, "08P01", "Forwarded and X-Forwarded-For name different clients");
    if (!one && !other)
        return 0;
    memcpy(x->address, one ? a : b, sizeof x->address);
    address_text(x->address, x->peer, sizeof x->peer);
    x->rq.peer = x->peer;
    if (!config.http_per_peer || proxies_has(x->server->proxies, x->address))
        return 0;
    x->peer_counted = peers_add(x->server->peers, x->address, config.http_per_peer);
    *ret_status = 429;
    return x->peer_counted ? 0
                           : err_set(e, ERR_LIMIT, "53300",
                                     "too many requests at a time from this address (http.per_peer = %lld)",
                                     (long long)config.http_per_peer);
}

/* A browser asks before it sends a page's request to another origin. True: answered. */
static bool preflight(struct exchange *x, const struct route_match *m)
{
    const struct cors *c = x->server->cors;
    if (!c || x->conn->admin || strcmp(x->rq.method, "OPTIONS") != 0 ||
        !cors_allows(c, connection_header(x, "Origin")) ||
        !connection_header(x, "Access-Control-Request-Method"))
        return false;
    const char *wanted = connection_header(x, "Access-Control-Request-Headers");
    x->rq.reply.status = 204;
    reply_header(&x->rq, "Access-Control-Allow-Methods", m->allow);
    if (wanted && cors_headers_ok(wanted))
        reply_header(&x->rq, "Access-Control-Allow-Headers", wanted);
    reply_header(&x->rq, "Access-Control-Max-Age", CORS_MAX_AGE);
    return true;
}

static bool take_params(struct exchange *x, const struct route_match *m)
{
    for (uint32_t i = 0; i < m->nparams; i++) {
        char *p = arena_alloc(x->rq.arena, m->params[i].n + 1);
        int64_t n = p ? guard_unescape(m->params[i].p, m->params[i].n, false, p) : -1;
        if (n < 0)
            return false;
        x->rq.params[i] = (struct slice){p, (size_t)n};
    }
    x->rq.nparams = m->nparams;
    return true;
}

/* What stands in the request line and the headers. False: *ret_next, it is refused. */
static bool well_framed(struct exchange *x, enum exchange_next *ret_next)
{
    struct err e;
    err_clear(&e);
    int status = 400;
    if (x->guard.why)
        err_set(&e, ERR_INVALID, "08P01", "%s", x->guard.why);
    else if (!guard_target_ok(x->rq.path))
        err_set(&e, ERR_INVALID, "08P01",
                "the request target holds a blank, a control character or a byte that must be escaped");
    else if (x->guard.has_length && x->guard.length > (uint64_t)config.http_max_body)
        status = 413, too_large(&e);
    else if (!x->conn->proxy || !x->guard.forwarded || !find_client(x, &status, &e))
        return true;
    *ret_next = refuse(x, status, status != 429, &e);
    return false;
}

/* The path, and a method that it knows. */
static bool routed(struct exchange *x, enum route_verdict v, const struct route_match *m,
                   enum exchange_next *ret_next)
{
    struct err e;
    err_clear(&e);
    if (x->conn->admin && (v != ROUTE_FOUND || m->route->role))
        v = ROUTE_NONE;
    if (v == ROUTE_NONE || (v == ROUTE_FOUND && !take_params(x, m))) {
        err_set(&e, ERR_NOTFOUND, "02000", "no such path");
        *ret_next = refuse(x, 404, false, &e);
        return false;
    }
    if (v == ROUTE_METHOD && preflight(x, m)) {
        x->early = x->guard.expect_continue;
        x->stage = x->early ? STAGE_REPLY : STAGE_DISCARD;
        *ret_next = x->early ? EXCHANGE_SEND : EXCHANGE_BODY;
        return false;
    }
    if (v == ROUTE_METHOD) {
        err_set(&e, ERR_INVALID, "0A000", "the method is not allowed here; allowed: %s", m->allow);
        *ret_next = refuse(x, 405, false, &e);
        reply_header(&x->rq, "Allow", m->allow);
        return false;
    }
    x->rq.route = m->route;
    x->route_number = m->number;
    return true;
}

/* The credential and its role. */
static bool allowed(struct exchange *x, enum exchange_next *ret_next)
{
    struct request *rq = &x->rq;
    struct err e;
    int status;
    err_clear(&e);
    if (!rq->route->role)
        return true;
    if (authenticate(x, &status, &e)) {
        const char *challenge = auth_challenge(rq->dialect->credential);
        *ret_next = refuse(x, status, false, &e);
        if (status == 401 && challenge)
            reply_header(rq, "WWW-Authenticate", challenge);
        return false;
    }
    if (rq->who.role >= rq->route->role)
        return true;
    audit_refusal("authz_fail", "workspace", rq->who.workspace_name, "user", rq->who.user_name, "key",
                  rq->who.key_id, "peer", rq->peer, "what", rq->route->name, NULL);
    err_set(&e, ERR_DENIED, "42501", "the key's role (%s) does not allow this; it needs %s",
            role_name(rq->who.role), role_name(rq->route->role));
    *ret_next = refuse(x, 403, false, &e);
    return false;
}

/* The path of a target in absolute form (http://HOST/PATH), which servers must take too; what names another host than
 * the header stays as it is, and is no path. */
static const char *origin_form(struct exchange *x, const char *target)
{
    size_t scheme = strncasecmp(target, "http://", 7) == 0    ? 7
                    : strncasecmp(target, "https://", 8) == 0 ? 8
                                                              : 0;
    const char *host = scheme ? connection_header(x, "Host") : NULL;
    size_t n = scheme ? strcspn(target + scheme, "/") : 0;
    if (!host || n == 0 || strlen(host) != n || strncasecmp(target + scheme, host, n) != 0)
        return target;
    return target[scheme + n] ? target + scheme + n : "/";
}

enum exchange_next exchange_begin(struct exchange *x, const char *method, const char *path)
{
    struct request *rq = &x->rq;
    struct err e;
    struct route_match m;
    enum exchange_next next;
    x->begun_ns = sys_mono_ns();
    rq->method = method;
    rq->path = path = origin_form(x, path);
    x->last = x->guard.chunked; /* the library is lenient inside the chunks' framing */
    request_id(x);
    enum route_verdict v = router_match(x->server->router, method, path, &m);
    rq->dialect = m.dialect;
    if (!well_framed(x, &next) || !routed(x, v, &m, &next) || !allowed(x, &next))
        return next;
    if (x->guard.encoded) {
        err_clear(&e);
        err_set(&e, ERR_INVALID, "0A000", "a request body must come without Content-Encoding");
        return refuse(x, 415, false, &e);
    }
    const char *bad = exchange_bad_arg(x);
    if (bad) {
        err_clear(&e);
        err_set(&e, ERR_INVALID, "22023",
                "parameter %.100s: what follows a %% must be two hexadecimal digits, not 00", bad);
        return refuse(x, 400, false, &e);
    }
    rq->next = m.route->handler;
    buf_init(&x->body, (size_t)config.http_max_body);
    if (x->guard.has_length && x->guard.length && x->guard.length <= 65536)
        (void)buf_reserve(&x->body, (size_t)x->guard.length); /* a failure shows when bytes come */
    x->stage = STAGE_BODY;
    return EXCHANGE_BODY;
}

enum exchange_next exchange_body(struct exchange *x, const char *p, size_t n)
{
    struct err e;
    err_clear(&e);
    x->discarded += n;
    if (x->stage == STAGE_BODY && x->discarded <= (uint64_t)config.http_max_body) {
        if (buf_add(&x->body, p, n) == 0)
            return EXCHANGE_BODY;
        err_set(&e, ERR_UNAVAILABLE, "53200", "out of memory");
        exchange_refuse(x, 503, &e);
        buf_free(&x->body);
        x->stage = STAGE_DISCARD;
        return EXCHANGE_BODY;
    }
    if (x->discarded <= (uint64_t)config.http_max_body)
        return EXCHANGE_BODY;
    too_large(&e);
    exchange_refuse(x, 413, &e);
    x->stop_body = true;
    x->stage = STAGE_DROP;
    return EXCHANGE_DROP;
}

/*
 * exchange: the life of one request, from its headers to its reply. docs/http.md, "One request".
 *
 *   framing -> size -> route -> credential -> role -> body -> handler (READY | DEFER | PARK, any number of times) -> reply
 *
 * A refusal found before the body is kept while the body is read and thrown away, so that the client reads
 * its answer and the connection lives on; where the framing is doubtful, the body too large, or the client
 * waits for 100-continue, it is answered at once and the connection ends.
 *
 * Threads: exchange_begin, _body, _run, _refill on the connection's I/O thread; run_job and fill_job on a
 * worker. Which of them owns the exchange is said by where the connection is: suspended or not.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/audit.h"
#include "http/http_int.h"
#include "http/peers.h"

#define TURNS_MAX      100000
#define SPARE_BODY_MAX 2048u /* an idle connection keeps no larger reply buffer */
#define VERIFY_PIECE   (8u << 20)

static void request_id(struct exchange *x)
{
    static _Thread_local uint64_t seed, count;
    const char *sent = server__header(x, "X-Request-Id");
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

/* One block of memory, arena and reply buffer of a connection go from request to request, so that a poll does
 * not allocate. */
static struct exchange *from_spare(struct http_conn *c)
{
    struct exchange *x = c->spare;
    struct arena *arena = x->rq.arena;
    struct buf body = x->rq.reply.body;
    c->spare = NULL;
    memset(x, 0, sizeof *x);
    x->rq.arena = arena;
    x->rq.reply.body = body;
    return x;
}

static struct exchange *fresh(void)
{
    struct exchange *x = calloc(1, sizeof *x);
    struct arena *arena = arena_new(ARENA_CEILING);
    if (!x || !arena) {
        free(x);
        arena_free(arena);
        return NULL;
    }
    x->rq.arena = arena;
    buf_init(&x->rq.reply.body, REPLY_CEILING);
    return x;
}

struct exchange *exchange_new(struct server *s, struct http_conn *c, struct MHD_Connection *mhd)
{
    struct exchange *x = c->spare ? from_spare(c) : fresh();
    if (!x)
        return NULL;
    x->magic = EXCHANGE_MAGIC;
    x->server = s;
    x->conn = c;
    x->mhd = mhd;
    x->send_fd = -1;
    x->route_number = UINT32_MAX;
    x->rq.service = s->service;
    x->rq.http = x;
    x->rq.source = &http__request_source;
    x->rq.peer = c->peer;
    x->rq.reply.length = -1;
    return x;
}

void exchange_free(struct exchange *x)
{
    ASSERT(x->magic == EXCHANGE_MAGIC);
    x->magic = 0;
    if (x->park) { /* woken by server_stop, and the library ended the connection before it called us again */
        park_end(x->park);
        metric_add(x->server->parked, -1);
    }
    if (x->peer_counted)
        peers_remove(x->server->peers, x->address);
    if (x->streaming)
        stream_free(&x->stream);
    else if (x->rq.reply.streaming && x->rq.reply.rows.rows)
        rows_close(x->rq.reply.rows.rows);
    if (x->send_fd >= 0)
        close(x->send_fd);
    buf_free(&x->body);
    rendering_close(x->rq.rendering);
    x->rq.rendering = NULL;
    if (x->conn->spare || atomic_load_explicit(&x->server->stopping, memory_order_relaxed)) {
        buf_free(&x->rq.reply.body);
        arena_free(x->rq.arena);
        free(x);
        return;
    }
    arena_reset(x->rq.arena);
    if (x->rq.reply.body.cap > SPARE_BODY_MAX)
        buf_free(&x->rq.reply.body);
    else
        buf_reset(&x->rq.reply.body);
    x->conn->spare = x;
}

void exchange_free_spare(struct http_conn *c)
{
    if (!c->spare)
        return;
    buf_free(&c->spare->rq.reply.body);
    arena_free(c->spare->rq.arena);
    free(c->spare);
    c->spare = NULL;
}

/* ---- refusals ---- */

static void reset_reply(struct exchange *x)
{
    struct reply *r = &x->rq.reply;
    if (x->streaming) {
        stream_free(&x->stream);
        x->streaming = false;
    } else if (r->streaming && r->rows.rows) {
        rows_close(r->rows.rows);
    }
    struct buf body = r->body;
    memset(r, 0, sizeof *r);
    r->body = body;
    r->length = -1;
    buf_reset(&r->body);
}

void exchange_refuse(struct exchange *x, int status, const struct err *e)
{
    reset_reply(x);
    const struct dialect *d = x->rq.dialect ? x->rq.dialect : &dialect_neutral;
    d->error(&x->rq, status, e);
    if (!x->rq.reply.status)
        x->rq.reply.status = status;
    x->rq.reply.streaming = false;
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

/* ---- who ---- */

static int authenticate(struct exchange *x, int *ret_status, struct err *e)
{
    struct auth_headers h = {server__header(x, "Authorization"), server__header(x, "Credential-ID"),
                             server__header(x, "Credential-Secret")};
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
    server__headers(x, "Forwarded", one_line, &forwarded);
    server__headers(x, "X-Forwarded-For", one_line, &x_forwarded);
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
        !cors_allows(c, server__header(x, "Origin")) || !server__header(x, "Access-Control-Request-Method"))
        return false;
    const char *wanted = server__header(x, "Access-Control-Request-Headers");
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

enum exchange_next exchange_begin(struct exchange *x, const char *method, const char *path)
{
    struct request *rq = &x->rq;
    struct err e;
    struct route_match m;
    err_clear(&e);
    x->begun_ns = sys_mono_ns();
    rq->method = method;
    rq->path = path;
    request_id(x);
    enum route_verdict v = router_match(x->server->router, method, path, &m);
    rq->dialect = m.dialect;
    if (x->guard.why) {
        err_set(&e, ERR_INVALID, "08P01", "%s", x->guard.why);
        return refuse(x, 400, true, &e);
    }
    if (!guard_target_ok(path)) {
        err_set(&e, ERR_INVALID, "08P01",
                "the request target holds a blank, a control character or a byte that must be escaped");
        return refuse(x, 400, true, &e);
    }
    if (x->guard.has_length && x->guard.length > (uint64_t)config.http_max_body) {
        too_large(&e);
        return refuse(x, 413, true, &e);
    }
    if (x->conn->proxy && x->guard.forwarded) {
        int status;
        if (find_client(x, &status, &e))
            return refuse(x, status, status == 400, &e);
    }
    if (x->conn->admin && (v != ROUTE_FOUND || m.route->role))
        v = ROUTE_NONE;
    if (v == ROUTE_NONE || (v == ROUTE_FOUND && !take_params(x, &m))) {
        err_set(&e, ERR_NOTFOUND, "02000", "no such path");
        return refuse(x, 404, false, &e);
    }
    if (v == ROUTE_METHOD && preflight(x, &m)) {
        if (x->guard.expect_continue)
            x->early = true;
        x->stage = x->early ? STAGE_REPLY : STAGE_DISCARD;
        return x->early ? EXCHANGE_SEND : EXCHANGE_BODY;
    }
    if (v == ROUTE_METHOD) {
        err_set(&e, ERR_INVALID, "0A000", "the method is not allowed here; allowed: %s", m.allow);
        enum exchange_next next = refuse(x, 405, false, &e);
        reply_header(rq, "Allow", m.allow);
        return next;
    }
    rq->route = m.route;
    x->route_number = m.number;
    if (m.route->role) {
        int status;
        if (authenticate(x, &status, &e)) {
            const char *challenge = auth_challenge(rq->dialect->credential);
            enum exchange_next next = refuse(x, status, false, &e);
            if (status == 401 && challenge)
                reply_header(rq, "WWW-Authenticate", challenge);
            return next;
        }
        if (rq->who.role < m.route->role) {
            audit_refusal("authz_fail", "workspace", rq->who.workspace_name, "user", rq->who.user_name, "key",
                          rq->who.key_id, "peer", x->rq.peer, "what", m.route->name, NULL);
            err_set(&e, ERR_DENIED, "42501", "the key's role (%s) does not allow this; it needs %s",
                    role_name(rq->who.role), role_name(m.route->role));
            return refuse(x, 403, false, &e);
        }
    }
    if (x->guard.encoded) {
        err_set(&e, ERR_INVALID, "0A000", "a request body must come without Content-Encoding");
        return refuse(x, 415, false, &e);
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

/* ---- handlers ---- */

static void refuse_now(struct exchange *x, int status, int code, const char *sqlstate, const char *text)
{
    struct err e;
    err_clear(&e);
    err_set(&e, code, sqlstate, "%s", text);
    exchange_refuse(x, status, &e);
    x->stage = STAGE_REPLY;
}

static void stopping(struct exchange *x)
{
    refuse_now(x, 503, ERR_UNAVAILABLE, "57P01", "the server is stopping");
}

bool exchange_range(struct exchange *x, uint64_t total, enum range_verdict *ret, uint64_t *ret_off,
                    uint64_t *ret_len)
{
    const struct reply *r = &x->rq.reply;
    const char *range = x->guard.ranged && r->etag && r->status == 200 ? server__header(x, "Range") : NULL;
    const char *condition = range ? server__header(x, "If-Range") : NULL;
    if (!range || (condition && strcmp(condition, r->etag) != 0))
        return false;
    *ret = guard_range(range, total, ret_off, ret_len);
    return *ret != RANGE_NONE;
}

/* A rendered file goes out by its descriptor. */
static int open_file(struct exchange *x, struct err *e)
{
    const struct rendering *f = x->rq.reply.rendering;
    x->send_fd = fcntl(rendering_fd(f), F_DUPFD_CLOEXEC, 0);
    if (x->send_fd < 0)
        return err_errno(e, errno, "opening a rendered file");
    x->send_off = 0;
    x->send_len = rendering_size(f);
    return 0;
}

/* Text whose lengths were measured: begins near the first byte of the range. True when something was left out. */
static bool begin_at_range(struct exchange *x)
{
    const struct reply *r = &x->rq.reply;
    enum range_verdict v;
    uint64_t off, len, row, at;
    if (r->length < 0 || r->rows.raw || !exchange_range(x, (uint64_t)r->length, &v, &off, &len) ||
        v != RANGE_ONE || off == 0)
        return false;
    if (r->rendering) {
        rendering_seek(r->rendering, off, &row, &at);
        stream_seek(&x->stream, row, at > 0, off - at);
    } else {
        x->stream.skip = off;
    }
    return true;
}

/* Decides how a raw stored stream goes out: as a descriptor when the whole is that. */
static int open_raw(struct exchange *x, struct err *e)
{
    struct reply *r = &x->rq.reply;
    struct reply_rows *rr = &r->rows;
    uint64_t off = rr->raw_off, len = rr->raw_len, range_off, range_len;
    if (r->body.len || rr->suffix || len <= FILL_SOFT)
        return 0;
    enum range_verdict v;
    if (exchange_range(x, len, &v, &range_off, &range_len) && v == RANGE_ONE) {
        off += range_off;
        len = range_len;
    }
    int fd = -1;
    for (uint64_t done = 0;
         done < len;) { /* verified before the first byte leaves; a part once verified stays so */
        uint64_t n = len - done < VERIFY_PIECE ? len - done : VERIFY_PIECE;
        int rc = segment_sendfile(rows_segment(rr->rows), off + done, n, &fd, e);
        if (rc)
            return rc;
        if (fd < 0)
            return 0; /* kept in memory */
        done += n;
    }
    if (fd >= 0) {
        fd = dup(fd);
        if (fd < 0)
            return 0;
        x->send_fd = fd;
        x->send_off = rr->raw_off;
        x->send_len = rr->raw_len;
    }
    return 0;
}

/* Worker: the first fill. What fits the buffer becomes a plain body of known length. */
static void start_stream(struct exchange *x, struct segment_scratch *scratch)
{
    struct err e;
    err_clear(&e);
    struct reply *r = &x->rq.reply;
    if (r->rows.rows) {
        x->rows_format = r->rows.encoder ? r->rows.encoder->name : NULL;
        x->rows_id = *rows_query_id(r->rows.rows);
    } else if (r->rendering) {
        x->rows_format = rendering_suffix(r->rendering) + 1;
        x->rows_id = *query_id(rendering_query(r->rendering));
    }
    bool file = r->rendering && rendering_fd(r->rendering) >= 0;
    int rc = file ? open_file(x, &e) : r->rows.raw ? open_raw(x, &e) : 0;
    if (!rc && x->send_fd < 0) {
        stream_begin(&x->stream, &x->rq);
        x->streaming = true;
        bool cut = begin_at_range(x);
        rc = stream_fill(&x->stream, scratch, FILL_SOFT, &e);
        if (!rc && stream_done(&x->stream) && !cut) {
            struct buf whole = x->stream.out;
            buf_init(&x->stream.out, 0);
            stream_free(&x->stream);
            x->streaming = false;
            r->streaming = false;
            buf_free(&r->body);
            r->body = whole;
            r->length = -1;
        } else if (!rc) {
            x->pulled = true;
        }
    }
    x->stage = STAGE_REPLY;
    if (rc) {
        log_event(LOG_WARN, "http", "reply failed", "request", x->request_id, "code", err_name(e.code),
                  "error", e.text, NULL);
        exchange_refuse(x, reply_status_of(e.code), &e);
        x->stage = STAGE_REPLY;
    }
}

/* ---- an I/O thread's own window memory, for results held in memory ---- */

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void scratch_end(void *p)
{
    segment_scratch_free(p);
}

static void scratch_key_make(void)
{
    if (pthread_key_create(&scratch_key, scratch_end))
        abort();
}

static struct segment_scratch *io_scratch(void)
{
    pthread_once(&scratch_once, scratch_key_make);
    struct segment_scratch *x = pthread_getspecific(scratch_key);
    if (!x && (x = segment_scratch_new()) != NULL && pthread_setspecific(scratch_key, x)) {
        segment_scratch_free(x);
        x = NULL;
    }
    return x;
}

static void run_job(struct work *w, struct segment_scratch *scratch);

static enum exchange_next to_worker(struct exchange *x)
{
    x->work.fn = run_job;
    if (!server__suspend(x)) {
        stopping(x);
        return EXCHANGE_SEND;
    }
    workers_push(x->server->workers, &x->work, WORK_HANDLERS);
    return EXCHANGE_WAIT;
}

/* False: goes on at once (then x->park is NULL). */
static enum exchange_next park(struct exchange *x, bool on_worker, bool *ret_parked)
{
    struct request *rq = &x->rq;
    struct reply_wait *w = &rq->wait;
    struct server *s = x->server;
    *ret_parked = true;
    struct park *p = park_new(s->watch, x->conn->watch.fd, w->query, w->until, w->version, w->deadline_ns,
                              server__resume, x);
    rq->woken_by_deadline = false;
    if (!p) {
        refuse_now(x, 503, ERR_UNAVAILABLE, "53200", "out of memory");
        return EXCHANGE_SEND;
    }
    p->settle = server__trim;
    if (!park_register(p)) {
        park_end(p);
        *ret_parked = false;
        return EXCHANGE_BODY;
    }
    if (!on_worker && !server__suspend(x)) {
        park_end(p);
        stopping(x);
        return EXCHANGE_SEND;
    }
    if (on_worker && atomic_load(&s->stopping)) {
        park_end(p);
        stopping(x);
        return EXCHANGE_SEND;
    }
    x->park = p;
    metric_add(s->parked, 1);
    if (park_commit(p))
        return EXCHANGE_WAIT;
    if (!on_worker) { /* woken in between; the handler goes on when the library calls again */
        server__resume(x);
        return EXCHANGE_WAIT;
    }
    *ret_parked = false;
    return EXCHANGE_BODY;
}

/* Takes the park back. False: the client has gone. */
static bool unpark(struct exchange *x)
{
    enum park_reason why = park_end(x->park);
    x->park = NULL;
    metric_add(x->server->parked, -1);
    if (why == PARK_GONE) {
        metric_add(x->server->client_gone, 1);
        x->stage = STAGE_DROP;
        return false;
    }
    x->rq.woken_by_deadline = why != PARK_WAKE;
    return true;
}

static enum exchange_next turn(struct exchange *x, bool on_worker, struct segment_scratch *scratch)
{
    struct request *rq = &x->rq;
    for (;;) {
        if (x->park && !unpark(x))
            return EXCHANGE_DROP;
        if (++x->turns > TURNS_MAX) {
            refuse_now(x, 500, ERR_INTERNAL, "XX000", "the request does not come to an end");
            return EXCHANGE_SEND;
        }
        rq->may_block = on_worker;
        enum handled h = rq->next(rq);
        rq->may_block = false;
        if (h == REPLY_READY) {
            if (rq->reply.streaming) {
                struct rows *rows = rq->reply.rows.rows;
                bool at_once = !rq->reply.pull && (!rows || segment_inline_held(rows_segment(rows)));
                if (!on_worker && at_once && (scratch = io_scratch()) != NULL) {
                    start_stream(x, scratch); /* in memory: not worth a worker */
                    return EXCHANGE_SEND;
                }
                if (!on_worker)
                    return x->stage = STAGE_REPLY, to_worker(x);
                start_stream(x, scratch);
                return EXCHANGE_SEND;
            }
            if (!rq->reply.status || buf_failed(&rq->reply.body))
                refuse_now(x, 500, ERR_INTERNAL, "XX000", "the reply could not be made");
            x->stage = STAGE_REPLY;
            return EXCHANGE_SEND;
        }
        if (h == REPLY_DEFER) {
            if (on_worker)
                continue;
            return to_worker(x);
        }
        bool parked;
        enum exchange_next next = park(x, on_worker, &parked);
        if (parked)
            return next;
    }
}

static void run_job(struct work *w, struct segment_scratch *scratch)
{
    struct exchange *x = (struct exchange *)((char *)w - offsetof(struct exchange, work));
    enum exchange_next next = EXCHANGE_SEND;
    if (x->stage == STAGE_REPLY)
        start_stream(x, scratch);
    else
        next = turn(x, true, scratch);
    if (next != EXCHANGE_WAIT)
        server__resume(x);
}

enum exchange_next exchange_run(struct exchange *x)
{
    switch (x->stage) {
    case STAGE_BODY:
        x->rq.body = x->body.p ? x->body.p : "";
        x->rq.body_len = x->body.len;
        x->stage = STAGE_RUN;
        return turn(x, false, NULL);
    case STAGE_RUN:
        return turn(x, false, NULL);
    case STAGE_DISCARD:
        x->stage = STAGE_REPLY;
        return EXCHANGE_SEND;
    case STAGE_REPLY:
        return EXCHANGE_SEND;
    case STAGE_SENT:
    case STAGE_DROP:
        break;
    }
    return EXCHANGE_DROP;
}

/* ---- refills ---- */

static void fill_job(struct work *w, struct segment_scratch *scratch)
{
    struct exchange *x = (struct exchange *)((char *)w - offsetof(struct exchange, work));
    struct err e;
    err_clear(&e);
    if (stream_fill(&x->stream, scratch, FILL_SOFT, &e)) {
        metric_add(x->server->cut_streams, 1);
        log_event(LOG_WARN, "http", "stream cut", "request", x->request_id, "code", err_name(e.code), "error",
                  e.text, NULL);
    }
    server__resume(x);
}

bool exchange_refill(struct exchange *x)
{
    x->work.fn = fill_job;
    if (!server__suspend(x))
        return false;
    workers_push(x->server->workers, &x->work, WORK_STREAMS);
    return true;
}

#include "stub.h"

#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/sys.h"

struct query *stub_shared;
_Atomic int stub_open_rows, stub_live_queries;
static struct query *done;

/* ---- queries ---- */

struct query *stub_query_new(void)
{
    struct query *q = calloc(1, sizeof *q);
    assert(q);
    atomic_init(&q->refs, 1);
    pthread_mutex_init(&q->lock, NULL);
    q->version = 1;
    q->id = id_new(1700000000000);
    q->view.state = QUERY_RUNNING;
    err_clear(&q->view.error);
    atomic_fetch_add(&stub_live_queries, 1);
    return q;
}

struct query *query_ref(struct query *q)
{
    atomic_fetch_add(&q->refs, 1);
    return q;
}

void query_unref(struct query *q)
{
    if (!q || atomic_fetch_sub(&q->refs, 1) != 1)
        return;
    assert(!q->waiters);
    segment_unref(q->segment);
    pthread_mutex_destroy(&q->lock);
    free(q);
    atomic_fetch_sub(&stub_live_queries, 1);
}

const struct qid *query_id(const struct query *q)
{
    return &q->id;
}

void query_view(struct query *q, struct query_view *ret)
{
    pthread_mutex_lock(&q->lock);
    *ret = q->view;
    ret->flags = q->flags;
    ret->version = q->version;
    pthread_mutex_unlock(&q->lock);
}

static bool ready(const struct query *q, const struct query_waiter *w)
{
    return (w->until && (q->flags & w->until) == w->until) || (w->version && w->version != q->version);
}

bool query_wait(struct query *q, struct query_waiter *w)
{
    pthread_mutex_lock(&q->lock);
    bool wait = !ready(q, w);
    if (wait) {
        w->next = q->waiters;
        w->prev = &q->waiters;
        if (w->next)
            w->next->prev = &w->next;
        q->waiters = w;
        w->queued = true;
    }
    pthread_mutex_unlock(&q->lock);
    return wait;
}

static void unlink_waiter(struct query_waiter *w)
{
    *w->prev = w->next;
    if (w->next)
        w->next->prev = w->prev;
    w->queued = false;
}

bool query_unwait(struct query *q, struct query_waiter *w)
{
    pthread_mutex_lock(&q->lock);
    bool was = w->queued;
    if (was)
        unlink_waiter(w);
    pthread_mutex_unlock(&q->lock);
    return was;
}

void stub_query_signal(struct query *q, uint32_t flags)
{
    struct query_waiter *woken = NULL;
    pthread_mutex_lock(&q->lock);
    q->flags |= flags;
    q->version++;
    for (struct query_waiter *w = q->waiters, *next; w; w = next) {
        next = w->next;
        if (ready(q, w)) {
            unlink_waiter(w);
            w->next = woken;
            woken = w;
        }
    }
    pthread_mutex_unlock(&q->lock);
    while (woken) {
        struct query_waiter *next = woken->next;
        woken->wake(woken);
        woken = next;
    }
}

void stub_query_reset(struct query *q)
{
    pthread_mutex_lock(&q->lock);
    q->flags = 0;
    pthread_mutex_unlock(&q->lock);
}

/* ---- rows ---- */

struct rows {
    struct query *q;
    struct segment *segment;
};

int rows_open(struct service *s, struct query *q, uint32_t ordinal, struct rows **ret, struct err *e)
{
    (void)s;
    (void)ordinal;
    if (!q->segment)
        return err_set(e, ERR_CONFLICT, NULL, "no rows");
    struct rows *r = calloc(1, sizeof *r);
    assert(r);
    r->q = query_ref(q);
    r->segment = segment_ref(q->segment);
    atomic_fetch_add(&stub_open_rows, 1);
    *ret = r;
    return 0;
}

void rows_close(struct rows *r)
{
    segment_unref(r->segment);
    query_unref(r->q);
    free(r);
    atomic_fetch_sub(&stub_open_rows, 1);
}

struct segment *rows_segment(struct rows *r)
{
    return r->segment;
}

const struct qid *rows_query_id(const struct rows *r)
{
    return query_id(r->q);
}

bool rows_complete(const struct rows *r)
{
    (void)r;
    return true;
}

static struct column columns[2];
static struct schema schema;
static char segment_dir[64], last_name[64];
static int segment_dir_fd = -1;

static void make_schema(void)
{
    columns[0] = (struct column){.name = "n", .detail = "BIGINT", .phys = PHYS_INT64, .sql = SQLT_BIGINT};
    columns[1] = (struct column){.name = "text", .detail = "VARCHAR", .phys = PHYS_UTF8, .sql = SQLT_VARCHAR};
    schema.ncolumns = 2;
    schema.columns = columns;
    int rc = schema_number(&schema, NULL);
    assert(rc == 0);
}

struct segment *stub_segment(uint64_t batches, uint64_t nrows, size_t width)
{
    static int number;
    struct segment_writer *w;
    struct segment_facts facts;
    struct segment *seg;
    struct err e;
    struct qid id = id_new(1700000000000);
    snprintf(last_name, sizeof last_name, "%d.seg", ++number);
    int rc = segment_create(segment_dir_fd, last_name, &id, 0, &schema, &w, &e);
    assert(rc == 0);
    size_t offsets = ((nrows + 1) * 4 + 7) & ~(size_t)7, text = (nrows * width + 7) & ~(size_t)7,
           total = nrows * 8 + offsets + text;
    uint8_t *body = calloc(1, total + 8);
    assert(body);
    struct batch_node nodes[2] = {{nrows, 0}, {nrows, 0}};
    struct batch_buffer buffers[5] = {{0, 0},
                                      {0, nrows * 8},
                                      {nrows * 8, 0},
                                      {nrows * 8, (nrows + 1) * 4},
                                      {nrows * 8 + offsets, nrows * width}};
    struct batch_index ix = {nrows, total, 2, 5, nodes, buffers};
    for (uint64_t b = 0; b < batches; b++) {
        for (uint64_t i = 0; i < nrows; i++) {
            uint64_t v = b * nrows + i;
            memcpy(body + i * 8, &v, 8);
            memset(body + nrows * 8 + offsets + i * width, 'a' + (int)(v % 26), width);
        }
        for (uint64_t i = 0; i <= nrows; i++) {
            int32_t o = (int32_t)(i * width);
            memcpy(body + nrows * 8 + i * 4, &o, 4);
        }
        rc = segment_append(w, &ix, body, &e);
        assert(rc == 0);
    }
    free(body);
    rc = segment_seal(w, &facts, &e);
    assert(rc == 0);
    segment_writer_free(w);
    rc = segment_open(segment_dir_fd, last_name, &id, 0, &facts, &seg, &e);
    assert(rc == 0);
    return seg;
}

void stub_damage(uint64_t off)
{
    int fd = sys_openat(segment_dir_fd, last_name, O_RDWR, 0);
    uint8_t b = 0;
    ssize_t n = pread(fd, &b, 1, (off_t)off);
    b ^= 0x40;
    n += pwrite(fd, &b, 1, (off_t)off);
    assert(n == 2);
    close(fd);
}

void stub_set_rows(struct segment *s)
{
    segment_unref(done->segment);
    done->segment = s;
}

/* ---- service, identity ---- */

int service_find(struct service *s, const struct identity *who, const char *id, size_t n, bool may_block,
                 struct query **ret, struct err *e)
{
    (void)s;
    (void)who;
    if (n == 4 && memcmp(id, "done", 4) == 0) {
        if (!may_block)
            return ERR_WOULDBLOCK;
        *ret = query_ref(done);
        return 0;
    }
    if (n == 6 && memcmp(id, "shared", 6) == 0) {
        *ret = query_ref(stub_shared);
        return 0;
    }
    return err_set(e, ERR_NOTFOUND, "02000", "no such query");
}

bool service_ready(struct service *s, struct err *e)
{
    (void)s;
    (void)e;
    return true;
}

bool service_draining(struct service *s)
{
    (void)s;
    return false;
}

const char *role_name(enum role r)
{
    return r == ROLE_READER ? "reader" : r == ROLE_MEMBER ? "member" : "admin";
}

int identity_check(struct identities *ids, const char *key, size_t kn, const char *secret, size_t sn,
                   const char *peer, struct identity *ret, struct err *e)
{
    (void)ids;
    (void)peer;
    if (kn == 5 && memcmp(key, "limit", 5) == 0)
        return err_set(e, ERR_LIMIT, NULL, "too many wrong credentials (auth.max_failures)");
    bool token = !secret && kn == 3 && memcmp(key, "tok", 3) == 0;
    bool pair = secret && kn == 1 && sn == 1 && *secret == 's' && (*key == 'k' || *key == 'r');
    if (!token && !pair)
        return err_set(e, ERR_UNAUTH, "28000", "the credential is wrong");
    memset(ret, 0, sizeof *ret);
    ret->role = pair && *key == 'r' ? ROLE_READER : ROLE_MEMBER;
    return 0;
}

/* ---- the dialect "test" ---- */

static enum handled text(struct request *rq, int status, const char *s)
{
    rq->reply.status = status;
    rq->reply.content_type = "text/plain";
    buf_str_add(&rq->reply.body, s);
    return REPLY_READY;
}

static enum handled hello(struct request *rq)
{
    return text(rq, 200, "hello\n");
}

static enum handled echo(struct request *rq)
{
    rq->reply.status = 200;
    rq->reply.content_type = "application/octet-stream";
    buf_add(&rq->reply.body, rq->body, rq->body_len);
    return REPLY_READY;
}

static enum handled woken(struct request *rq)
{
    return text(rq, 200, rq->woken_by_deadline ? "deadline\n" : "woken\n");
}

static enum handled park(struct request *rq)
{
    int64_t ms;
    struct err e;
    if (request_query_int(rq, "ms", 0, 0, 100000000, &ms, &e))
        return reply_error(rq, 400, &e);
    request_keep_query(rq, stub_shared);
    return request_park(rq, stub_shared, QF_ENDED, 0, ms ? sys_mono_ns() + ms * 1000000 : 0, woken);
}

static enum handled deferred(struct request *rq)
{
    return text(rq, 200, rq->may_block ? "worker\n" : "not a worker\n");
}

static enum handled defer(struct request *rq)
{
    return request_defer(rq, deferred);
}

static enum handled defer_park(struct request *rq)
{
    return request_defer(rq, park);
}

static int suffix(struct request *rq, uint64_t sent, struct buf *out)
{
    (void)rq;
    return buf_printf(out, "sent %llu\n", (unsigned long long)sent);
}

static enum handled rows(struct request *rq)
{
    struct query *q;
    struct err e;
    int64_t from, limit, bytes;
    const char *format = request_query(rq, "format", 0);
    if (!rq->may_block)
        return request_defer(rq, rows);
    if (request_query_int(rq, "from", 0, 0, INT64_MAX, &from, &e) ||
        request_query_int(rq, "limit", INT64_MAX, 0, INT64_MAX, &limit, &e) ||
        request_query_int(rq, "bytes", 0, 0, INT64_MAX, &bytes, &e))
        return reply_error(rq, 400, &e);
    int rc = request_find(rq, "done", 4, rows, &q, &e);
    if (rc == 0)
        return REPLY_DEFER;
    struct reply_rows *r = &rq->reply.rows;
    if (rc < 0 || rows_open(NULL, q, 0, &r->rows, &e))
        return reply_error(rq, 500, &e);
    r->encoder = encoder_find(format ? format : "csv");
    r->options.profile = TEXT_NEUTRAL;
    r->options.separator = "";
    r->from = (uint64_t)from;
    r->limit = (uint64_t)limit;
    r->byte_limit = (uint64_t)bytes;
    r->suffix = request_query(rq, "suffix", 0) ? suffix : NULL;
    rq->reply.status = 200;
    rq->reply.content_type = r->encoder->media_type;
    rq->reply.streaming = true;
    if (request_query(rq, "prefix", 0))
        buf_str_add(&rq->reply.body, "prefix\n");
    return REPLY_READY;
}

static enum handled pair(struct request *rq)
{
    rq->reply.status = 200;
    rq->reply.content_type = "text/plain";
    buf_printf(&rq->reply.body, "%s|%s|%s", rq->params[0].p, rq->params[1].p,
               request_query(rq, "q", 0) ? request_query(rq, "q", 0) : "-");
    return REPLY_READY;
}

static void error(struct request *rq, int status, const struct err *e)
{
    rq->reply.status = status;
    rq->reply.content_type = "text/plain";
    buf_reset(&rq->reply.body);
    buf_printf(&rq->reply.body, "test error: %s\n", e->text);
}

static const struct route routes[] = {
    {"GET", "/t/hello", "test.hello", hello, 0},
    {"GET", "/t/status", "test.status", hello, ROLE_READER},
    {"POST", "/t/echo", "test.echo", echo, 0},
    {"POST", "/t/member", "test.member", echo, ROLE_MEMBER},
    {"GET", "/t/park", "test.park", park, 0},
    {"GET", "/t/defer", "test.defer", defer, 0},
    {"GET", "/t/defer-park", "test.defer_park", defer_park, 0},
    {"GET", "/t/rows", "test.rows", rows, 0},
    {"GET", "/t/{a}/and/{b}", "test.pair", pair, 0},
    {"DELETE", "/t/{a}/and/{b}", "test.pair_delete", pair, 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const struct dialect dialect_test = {
    .id = DIALECT_KYLIN, .name = "test", .credential = CREDENTIAL_KYLIN, .routes = routes, .error = error};
const struct dialect *const dialects[] = {&dialect_test, &dialect_neutral, NULL};

void stub_begin(void)
{
    config_defaults();
    sys_init();
    log_init(LOG_WARN, false);
    int rc = crypto_init();
    assert(rc == 0);
    make_schema();
    snprintf(segment_dir, sizeof segment_dir, "/tmp/quern-http-XXXXXX");
    assert(mkdtemp(segment_dir));
    segment_dir_fd = sys_open(segment_dir, O_RDONLY | O_DIRECTORY, 0);
    assert(segment_dir_fd >= 0);
    stub_shared = stub_query_new();
    done = stub_query_new();
    done->view.state = QUERY_FINISHED;
    done->flags = 15;
}

void stub_end(void)
{
    query_unref(stub_shared);
    query_unref(done);
    char name[128];
    for (int i = 1; i < 1000; i++) {
        snprintf(name, sizeof name, "%d.seg", i);
        if (sys_unlinkat(segment_dir_fd, name, 0) != 0)
            break;
    }
    close(segment_dir_fd);
    rmdir(segment_dir);
}

/* ---- renderings: none here (tests/api/test_formats.py has the real ones) ---- */

const char *render_codecs(void)
{
    return "";
}

bool render_codec_known(const char *name)
{
    return !name;
}

int render_start(struct service *s, struct query *q, uint32_t ordinal, const struct render_spec *spec,
                 struct rendering **ret, struct err *e)
{
    (void)s, (void)q, (void)ordinal, (void)spec, (void)ret;
    return err_set(e, ERR_INVALID, "0A000", "no renderings here");
}

struct rendering *render_follow(struct service *s, struct query *q, const struct render_spec *spec)
{
    (void)s, (void)q, (void)spec;
    return NULL;
}

int rendering_state(struct rendering *r, struct err *e)
{
    (void)r;
    return err_set(e, ERR_INTERNAL, NULL, "no renderings here");
}

int rendering_permille(struct rendering *r)
{
    return r ? 0 : -1;
}

void rendering_close(struct rendering *r)
{
    (void)r;
}

struct query *rendering_query(struct rendering *r)
{
    (void)r;
    return NULL;
}

uint64_t rendering_size(const struct rendering *r)
{
    return r ? 1 : 0;
}

const char *rendering_media_type(const struct rendering *r)
{
    return r ? "" : NULL;
}

const char *rendering_suffix(const struct rendering *r)
{
    return r ? "" : ".none";
}

const char *rendering_tag(const struct rendering *r)
{
    return r ? "" : NULL;
}

const struct render_spec *rendering_spec(const struct rendering *r)
{
    (void)r;
    return NULL;
}

int rendering_fd(const struct rendering *r)
{
    (void)r;
    return -1;
}

void rendering_seek(const struct rendering *r, uint64_t off, uint64_t *ret_row, uint64_t *ret_off)
{
    (void)r;
    *ret_row = 0;
    *ret_off = off;
}

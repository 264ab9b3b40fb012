/*
 * The handlers of both dialects against a service that exists only here: one query whose view the test sets.
 * Shows which steps an answer takes (defer, park, answer), on which kind of thread each service call happens,
 * and what is recorded before a pending answer leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <cmocka.h>

#include "base/config.h"
#include "base/sys.h"
#include "core/source.h"
#include "dialects/data360_int.h"
#include "dialects/kakao_int.h"

/* ---- the world ---- */

static struct query_view now;   /* what query_view() tells */
static struct submit submitted; /* the last submit */
static char submitted_sql[256], submitted_path[256], submitted_request[256];
static enum bucket_state bucket;
static int submit_error, cancel_error, deletes, unrefs, opened, closed;
static uint32_t noted;
static uint64_t seg_batches, seg_batch_len, seg_batch_rows;
static struct request rq;
static struct {
    const char *name, *value;
} headers[8], params[8];
static int dummy;
#define Q ((struct query *)(void *)&dummy)

static const char *a_header(struct request *r, const char *name)
{
    (void)r;
    for (size_t i = 0; i < 8 && headers[i].name; i++)
        if (!strcasecmp(headers[i].name, name))
            return headers[i].value;
    return NULL;
}

static const char *a_query(struct request *r, const char *name, uint32_t at)
{
    (void)r;
    for (size_t i = 0; i < 8 && params[i].name; i++)
        if (!strcmp(params[i].name, name) && at-- == 0)
            return params[i].value;
    return NULL;
}

static bool a_prefix(struct request *r, const char *prefix)
{
    (void)r;
    for (size_t i = 0; i < 8 && headers[i].name; i++)
        if (!strncasecmp(headers[i].name, prefix, strlen(prefix)))
            return true;
    return false;
}

static const struct request_source source = {a_header, a_prefix, a_query, NULL, NULL};

struct query *query_ref(struct query *q)
{
    unrefs--;
    return q;
}

void query_unref(struct query *q)
{
    assert_ptr_equal(q, Q);
    unrefs++;
}

void query_view(struct query *q, struct query_view *ret)
{
    assert_ptr_equal(q, Q);
    *ret = now;
}

const struct qid *query_id(const struct query *q)
{
    (void)q;
    return &now.id;
}

/* No test here asks for data sources; they are stood in for so that the service is not linked. */
struct sources *service_sources(struct service *s)
{
    (void)s;
    return NULL;
}
const char *source_scope_name(enum source_scope s)
{
    (void)s;
    return "";
}
int source_list(struct sources *s, const struct identity *who, struct arena *a, struct source **ret,
                size_t *ret_n, struct err *e)
{
    (void)s, (void)who, (void)a, (void)ret, (void)ret_n;
    return err_set(e, ERR_INTERNAL, NULL, "not here");
}
int source_find(struct sources *s, const struct identity *who, const char *name, struct arena *a,
                struct source *ret, struct err *e)
{
    (void)s, (void)who, (void)name, (void)a, (void)ret;
    return err_set(e, ERR_INTERNAL, NULL, "not here");
}
int source_create(struct sources *s, const struct identity *who, const struct source_new *in, struct arena *a,
                  struct source *ret, struct err *e)
{
    (void)s, (void)who, (void)in, (void)a, (void)ret;
    return err_set(e, ERR_INTERNAL, NULL, "not here");
}
int source_delete(struct sources *s, const struct identity *who, const char *name, struct err *e)
{
    (void)s, (void)who, (void)name;
    return err_set(e, ERR_INTERNAL, NULL, "not here");
}

void service_sync(struct service *s)
{
    (void)s;
}

const struct trino_error *trino_error_of(const char *sqlstate, enum ending ending)
{
    static const struct trino_error t = {"42601", "SYNTAX_ERROR", 1, "USER_ERROR"};
    (void)sqlstate;
    (void)ending;
    return &t;
}

int service_submit(struct service *s, const struct identity *who, const struct submit *in, struct query **ret,
                   struct err *e)
{
    (void)s;
    (void)who;
    if (submit_error)
        return err_set(e, submit_error, "53300", "the queue is full (queue.total)");
    submitted = *in;
    snprintf(submitted_sql, sizeof submitted_sql, "%.*s", (int)in->sql_len, in->sql);
    snprintf(submitted_path, sizeof submitted_path, "%s", in->path ? in->path : "");
    snprintf(submitted_request, sizeof submitted_request, "%s", in->request ? in->request : "");
    *ret = query_ref(Q);
    return 0;
}

int service_settle(struct service *s, const struct identity *who, bool may_block, struct query **inout,
                   struct err *e)
{
    (void)s;
    (void)who;
    (void)may_block;
    (void)inout;
    (void)e;
    return 0;
}

int service_find(struct service *s, const struct identity *who, const char *id, size_t n, bool may_block,
                 struct query **ret, struct err *e)
{
    (void)s;
    (void)who;
    if (!may_block && n == 4 && !memcmp(id, "cold", 4))
        return ERR_WOULDBLOCK;
    if (n == 4 && !memcmp(id, "none", 4))
        return err_set(e, ERR_NOTFOUND, "42704", "no such query");
    *ret = query_ref(Q);
    return 0;
}

int service_cancel(struct service *s, const struct identity *who, struct query *q, struct err *e)
{
    (void)s;
    (void)who;
    (void)q;
    return cancel_error ? err_set(e, cancel_error, "55000", "the query has ended") : 0;
}

int service_delete(struct service *s, const struct identity *who, struct query *q, struct err *e)
{
    (void)s;
    (void)who;
    (void)q;
    deletes++;
    return err_set(e, ERR_DENIED, "42501", "not the owner");
}

int service_note(struct service *s, struct query *q, uint32_t note, struct err *e)
{
    (void)s;
    (void)q;
    (void)e;
    assert_true(rq.may_block);
    noted = now.note = note;
    return 0;
}

bool service_bucket_fresh(struct service *s, const struct identity *who, const char *name)
{
    (void)s;
    (void)who;
    (void)name;
    return false;
}

enum bucket_state service_bucket_state(struct service *s, const struct identity *who, const char *name)
{
    (void)s;
    (void)who;
    (void)name;
    assert_true(rq.may_block);
    return bucket;
}

int service_list(struct service *s, const struct identity *who, const struct list_filter *f, struct list *ret,
                 struct err *e)
{
    static struct query *queries[1];
    (void)s;
    (void)who;
    (void)e;
    assert_true(rq.may_block);
    assert_int_equal(f->limit, 2);
    queries[0] = Q;
    *ret = (struct list){queries, 1, 5};
    return 0;
}

void list_free(struct list *l)
{
    l->n = 0;
}

bool rows_at_once(struct query *q)
{
    (void)q;
    return false;
}

int rows_open(struct service *s, struct query *q, uint32_t ordinal, struct rows **ret, struct err *e)
{
    (void)s;
    (void)q;
    (void)e;
    assert_true(rq.may_block);
    assert_int_equal(ordinal, UINT32_MAX);
    opened++;
    *ret = (struct rows *)(void *)&dummy;
    return 0;
}

void rows_close(struct rows *r)
{
    closed += r != NULL;
}

struct segment *rows_segment(struct rows *r)
{
    return (struct segment *)(void *)r;
}

uint64_t segment_nbatches(const struct segment *s)
{
    (void)s;
    return seg_batches;
}

uint64_t segment_rows(const struct segment *s)
{
    (void)s;
    return seg_batches * seg_batch_rows;
}

void segment_batch_rows(const struct segment *s, uint64_t i, uint64_t *first, uint64_t *n)
{
    (void)s;
    *first = i * seg_batch_rows;
    *n = seg_batch_rows;
}

void segment_batch_range(const struct segment *s, uint64_t i, uint64_t *off, uint64_t *len)
{
    (void)s;
    *off = 1000 + i * seg_batch_len;
    *len = seg_batch_len;
}

static const struct encoder fake_rows = {.name = "rows"}, fake_arrow = {.name = "arrow"};

const struct encoder *encoder_find(const char *name)
{
    return !strcmp(name, "rows") ? &fake_rows : &fake_arrow;
}

int arrow_schema_message(const struct schema *s, enum arrow_flavour f, struct buf *out, struct err *e)
{
    (void)s;
    (void)e;
    assert_int_equal(f, ARROW_DATA360);
    return buf_str_add(out, "SCHEMA");
}

/* ---- driving ---- */

static struct column column = {.name = "n", .sql = SQLT_BIGINT, .phys = PHYS_INT64, .nullable = true};
static struct schema schema = {.ncolumns = 1, .columns = &column, .nnodes = 1, .nbuffers = 2};
static char body[65536];

static void reset(const struct dialect *d, const char *method, const char *json)
{
    if (rq.arena) {
        buf_free(&rq.reply.body);
        arena_free(rq.arena);
        assert_int_equal(unrefs, 0); /* every reference was given back */
        assert_true(closed <= opened);
    }
    memset(&rq, 0, sizeof rq);
    rq.source = &source;
    memset(headers, 0, sizeof headers);
    memset(params, 0, sizeof params);
    rq.arena = arena_new(1u << 24);
    rq.dialect = d;
    rq.method = method;
    rq.path = "/x";
    rq.who.role = ROLE_MEMBER;
    rq.body = json;
    rq.body_len = json ? strlen(json) : 0;
    rq.reply.body = BUF_INIT(1u << 22);
    now = (struct query_view){.dialect = d->id,
                              .state = QUERY_QUEUED,
                              .sql = "select 1",
                              .sql_len = 8,
                              .schema = &schema,
                              .user_name = "u"};
    err_clear(&now.error);
    bucket = BUCKET_OK;
    submit_error = cancel_error = deletes = opened = closed = 0;
    noted = 0;
    seg_batches = 0;
    seg_batch_len = 1000;
    seg_batch_rows = 10;
}

static handler_fn handler(const char *name)
{
    for (const struct route *r = rq.dialect->routes; r->method; r++)
        if (!strcmp(r->name, name))
            return r->handler;
    fail_msg("no route %s", name);
    return NULL;
}

static void id(const char *a, const char *b)
{
    rq.params[0] = (struct slice){a, strlen(a)};
    if (b)
        rq.params[1] = (struct slice){b, strlen(b)};
}

static enum handled step(handler_fn fn, bool worker)
{
    rq.may_block = worker;
    return fn(&rq);
}

static const char *text(void)
{
    const char *s = buf_str(&rq.reply.body);
    snprintf(body, sizeof body, "%s", s ? s : "");
    return body;
}

static void has(const char *part)
{
    if (!strstr(text(), part))
        fail_msg("%s not in %d %s", part, rq.reply.status, text());
}

static void finished(uint64_t batches)
{
    now.state = QUERY_FINISHED;
    now.flags = QF_ACCEPTED | QF_PLANNED | QF_ROWS | QF_ENDED;
    seg_batches = now.batches = batches;
    now.rows = batches * seg_batch_rows;
}

/* ---- Kakao ---- */

#define RUN                                                                                                  \
    "{\"query\":\"select "                                                                                   \
    "1\",\"bucketName\":\"b\",\"path\":\"a\",\"reuseConfig\":{\"reuse\":true,\"maxReuseAge\":5}}"

static void kakao_run(void **state)
{
    (void)state;
    reset(&dialect_kakao, "POST", RUN);
    assert_int_equal(step(handler("kakao.run"), false), REPLY_DEFER); /* the bucket needs a worker */
    assert_int_equal(step(rq.next, true), REPLY_PARK);
    assert_int_equal(rq.wait.until, QF_ACCEPTED);
    char folder[KAKAO_TEXT_MAX], want[64];
    snprintf(want, sizeof want, "a/%s", kakao__folder(submitted.created_ms, folder));
    assert_string_equal(submitted_path, want);
    assert_string_equal(submitted_request, "{\"path\":\"a\"}");
    assert_true(submitted.reuse && submitted.max_reuse_age_s == 300 && !submitted.default_source);
    now.flags = QF_ACCEPTED;
    now.state = QUERY_RUNNING;
    assert_int_equal(step(rq.next, false), REPLY_READY);
    assert_int_equal(rq.reply.status, 202);
    has("\"state\":\"QUEUED\"}}");

    static const struct {
        enum bucket_state b;
        int submit, status;
        enum role role;
    } rows[] = {
        {BUCKET_UNKNOWN, 0, 404, ROLE_MEMBER},    {BUCKET_NOT_WRITABLE, 0, 499, ROLE_MEMBER},
        {BUCKET_OK, ERR_LIMIT, 429, ROLE_MEMBER}, {BUCKET_OK, ERR_UNAVAILABLE, 503, ROLE_MEMBER},
        {BUCKET_UNKNOWN, 0, 403, ROLE_READER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        reset(&dialect_kakao, "POST", RUN);
        bucket = rows[i].b;
        submit_error = rows[i].submit;
        rq.who.role = rows[i].role;
        assert_int_equal(step(handler("kakao.run"), true), REPLY_READY);
        assert_int_equal(rq.reply.status, rows[i].status);
        has("{\"error\":{\"code\":");
    }
}

static void kakao_page(void **state)
{
    (void)state;
    reset(&dialect_kakao, "GET", NULL);
    id("cold", NULL);
    now.state = QUERY_QUEUED;
    assert_int_equal(step(handler("kakao.result"), false), REPLY_DEFER);
    assert_int_equal(step(rq.next, true), REPLY_READY);
    assert_int_equal(rq.reply.status, 200);
    has("\"columnData\":[],\"queryData\":[],\"totalPages\":0,\"totalElements\":0,\"number\":0,\"size\":100,"
        "\"numberOfElements\":0}");

    reset(&dialect_kakao, "GET", NULL);
    id("warm", NULL);
    params[0].name = "page", params[0].value = "1";
    seg_batch_rows = 125;
    finished(1);
    assert_int_equal(step(handler("kakao.result"), false), REPLY_DEFER);
    assert_int_equal(step(rq.next, true), REPLY_READY);
    assert_true(rq.reply.streaming);
    assert_int_equal(rq.reply.rows.from, 100);
    assert_int_equal(rq.reply.rows.limit, 25);
    assert_int_equal(rq.reply.rows.options.profile, TEXT_KAKAO);
    struct buf suffix = BUF_INIT(1000);
    assert_int_equal(rq.reply.rows.suffix(&rq, 25, &suffix), 0);
    assert_string_equal(
        buf_str(&suffix),
        ",\"totalPages\":2,\"totalElements\":125,\"number\":1,\"size\":100,\"numberOfElements\":25}");
    buf_free(&suffix);
    has("\"columnData\":[{\"name\":\"n\",\"index\":1,\"type\":\"bigint\"}],\"queryData\":");

    reset(&dialect_kakao, "GET", NULL);
    id("warm", NULL);
    now.state = QUERY_FAILED;
    now.flags = QF_ENDED;
    err_set(&now.error, ERR_INVALID, "42601", "syntax error");
    now.error.line = 1, now.error.column = 8;
    assert_int_equal(step(handler("kakao.result"), false), REPLY_READY);
    has("\"error\":{\"code\":1,\"name\":\"SYNTAX_ERROR\",\"type\":\"USER_ERROR\",\"message\":\"line 1:8: "
        "syntax error\"}");

    reset(&dialect_kakao, "GET", NULL);
    id("warm", NULL);
    params[0].name = "wait", params[0].value = "5";
    assert_int_equal(step(handler("kakao.result"), false), REPLY_PARK);
    assert_int_equal(rq.wait.until, QF_ENDED);
    finished(0);
    assert_int_equal(step(rq.next, false), REPLY_READY);
    assert_int_equal(rq.reply.status, 200);
}

static void kakao_abort_and_list(void **state)
{
    (void)state;
    reset(&dialect_kakao, "PUT", NULL);
    id("warm", NULL);
    assert_int_equal(step(handler("kakao.abort"), false), REPLY_PARK);
    now.state = QUERY_CANCELED;
    now.flags = QF_ENDED;
    assert_int_equal(step(rq.next, false), REPLY_READY);
    assert_int_equal(rq.reply.status, 200);
    has("\"state\":\"ABORTED\"");

    reset(&dialect_kakao, "PUT", NULL); /* it ended by itself before the cancel was durable */
    id("warm", NULL);
    assert_int_equal(step(handler("kakao.abort"), false), REPLY_PARK);
    finished(1);
    assert_int_equal(step(rq.next, false), REPLY_READY);
    assert_int_equal(rq.reply.status, 409);

    reset(&dialect_kakao, "PUT", NULL);
    id("warm", NULL);
    cancel_error = ERR_CONFLICT; /* it has ended, which is told when it is recorded */
    assert_int_equal(step(handler("kakao.abort"), false), REPLY_PARK);
    assert_int_equal(rq.wait.until, QF_ENDED);
    finished(1);
    assert_int_equal(step(rq.next, false), REPLY_READY);
    assert_int_equal(rq.reply.status, 409);

    reset(&dialect_kakao, "GET", NULL);
    params[0].name = "size", params[0].value = "2";
    assert_int_equal(step(handler("kakao.list"), false), REPLY_DEFER);
    assert_int_equal(step(rq.next, true), REPLY_READY);
    has("\"totalPages\":3,\"totalElements\":5,\"last\":false,\"numberOfElements\":1,\"size\":2,\"number\":"
        "0,");
}

/* ---- Data 360 ---- */

static const char *status_header(void)
{
    for (uint32_t i = 0; i < rq.reply.nheaders; i++)
        if (!strcmp(rq.reply.headers[i].name, "x-hyperdb-status"))
            return rq.reply.headers[i].value;
    return "";
}

static void submit_async(void **state)
{
    (void)state;
    reset(&dialect_data360, "POST",
          "{\"sql\":\"select "
          ":a\",\"transferMode\":\"ASYNC\",\"paramStyle\":\"NAMED\",\"parameters\":[{\"type\":\"int\","
          "\"value\":1}]}");
    assert_int_equal(step(handler("data360.submit"), false), REPLY_PARK);
    assert_string_equal(submitted_sql, "select $1");
    assert_true(submitted.plan_now && submitted.read_only && !submitted.hold && submitted.nparams == 1);
    assert_string_equal(submitted_request, "{\"inline\":false,\"style\":1,\"names\":[\"a\"]}");
    now.flags = QF_ACCEPTED;
    assert_int_equal(step(rq.next, false), REPLY_PARK);
    assert_int_equal(rq.wait.until, QF_ACCEPTED | QF_PLANNED);
    now.flags |= QF_PLANNED;
    assert_int_equal(step(rq.next, false), REPLY_READY);
    assert_int_equal(rq.reply.status, 200);
    assert_string_equal(text(), "{\"metadata\":{\"columns\":[{\"name\":\"n\",\"type\":\"bigint\","
                                "\"nullable\":true}]},\"data\":null,\"returnedRows\":0}");
    assert_non_null(strstr(status_header(), "\"completionStatus\":\"RUNNING\",\"chunkCount\":0"));
    assert_int_equal(noted, 0);
}

static void submit_inline(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        bool arrow;
    } rows[] = {{"application/json", false}, {D360_ARROW, true}};
    for (size_t i = 0; i < 2; i++) {
        reset(&dialect_data360, "POST", "{\"sql\":\"select 1\"}");
        headers[0].name = "Accept", headers[0].value = rows[i].accept;
        assert_int_equal(step(handler("data360.submit"), false), REPLY_PARK);
        assert_true(submitted.hold);
        now.flags = QF_ACCEPTED;
        assert_int_equal(step(rq.next, false), REPLY_PARK);
        assert_int_equal(rq.wait.until, QF_ENDED);
        now.request = submitted_request;
        seg_batch_len = 4u << 20;
        finished(7); /* 28 MiB: five whole batches fit in 20 MiB */
        assert_int_equal(step(rq.next, false), REPLY_DEFER);
        assert_int_equal(step(rq.next, true), REPLY_READY);
        assert_true(rq.reply.streaming);
        assert_int_equal(rq.reply.rows.from, 0);
        assert_int_equal(rq.reply.rows.limit, 50);
        assert_int_equal(rq.reply.rows.raw, rows[i].arrow);
        assert_int_equal(rq.reply.rows.raw_off, 1000);
        assert_int_equal(rq.reply.rows.raw_len, 5 * seg_batch_len);
        assert_non_null(strstr(status_header(), "\"chunkCount\":3,\"rowCount\":70"));
        assert_string_equal(rq.reply.content_type, rows[i].arrow ? D360_ARROW : "application/json");
        if (rows[i].arrow)
            assert_string_equal(text(), "SCHEMA");
    }
}

static void submit_pending(void **state)
{
    (void)state;
    static const struct {
        const char *accept, *extra;
        uint32_t note;
        const char *chunks, *says;
    } rows[] = {
        {"application/json", NULL, D360_ROWS, "\"chunkCount\":0", "\"data\":null"},
        {D360_ARROW, NULL, D360_EMPTY, "\"chunkCount\":1", "SCHEMA"},
        {D360_ARROW, "x-hyperdb-workload", D360_ROWS, "\"chunkCount\":0", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        reset(&dialect_data360, "POST", "{\"sql\":\"select 1\"}");
        headers[0].name = "Accept", headers[0].value = rows[i].accept;
        headers[1].name = "X-hyperdb-adaptive-timeout", headers[1].value = "0";
        if (!rows[i].extra)
            headers[1].name = NULL;
        else
            headers[2].name = rows[i].extra, headers[2].value = "w";
        config.data360_adaptive_timeout = 0;
        assert_int_equal(step(handler("data360.submit"), false), REPLY_PARK);
        now.flags = QF_ACCEPTED | QF_PLANNED;
        now.state = QUERY_RUNNING;
        assert_int_equal(step(rq.next, false), REPLY_DEFER);
        assert_int_equal(noted, 0);
        assert_int_equal(step(rq.next, true), REPLY_READY);
        assert_int_equal(noted, rows[i].note); /* before the answer */
        assert_non_null(strstr(status_header(), rows[i].chunks));
        has(rows[i].says);
        if (!*rows[i].says)
            assert_int_equal(rq.reply.body.len, 0);
    }
    config.data360_adaptive_timeout = 5000;
}

static void submit_failed(void **state)
{
    (void)state;
    reset(&dialect_data360, "POST",
          "{\"sql\":\"select ? x "
          "y\",\"transferMode\":\"ASYNC\",\"parameters\":[{\"type\":\"int\",\"value\":1}]}");
    assert_int_equal(step(handler("data360.submit"), false), REPLY_PARK);
    now.flags = QF_ACCEPTED | QF_PLANNED | QF_ENDED;
    now.state = QUERY_FAILED;
    now.ending = END_SQL_ERROR;
    now.request = submitted_request;
    now.sql = submitted_sql;
    now.sql_len = strlen(submitted_sql);
    err_set(&now.error, ERR_INVALID, "42601", "syntax error at or near \"y\"");
    now.error.position = 12; /* in "select $1 x y" */
    assert_int_equal(step(rq.next, false), REPLY_READY);
    assert_int_equal(rq.reply.status, 400);
    has("\"errorBeginCharacterOffset\":\"11\"");
    has("select ? x y");
    assert_int_equal(rq.reply.nheaders, 0);
}

static void reads(void **state)
{
    (void)state;
    /* status: QUEUED -> RUNNING and planning do not end the wait, new chunks do */
    reset(&dialect_data360, "GET", NULL);
    id("warm", NULL);
    now.version = 1;
    assert_int_equal(step(handler("data360.status"), false), REPLY_PARK);
    now.version = 2, now.state = QUERY_RUNNING, now.flags = QF_ACCEPTED | QF_PLANNED;
    assert_int_equal(step(rq.next, false), REPLY_PARK);
    assert_int_equal(rq.wait.version, 2);
    now.version = 3, now.batches = 1, now.rows = 10;
    assert_int_equal(step(rq.next, false), REPLY_READY);
    has("\"chunkCount\":1,\"rowCount\":10");
    assert_int_equal(rq.reply.nheaders, 0);
    assert_int_equal(opened, 0); /* a status never exposes rows */

    /* the frontier: waits for the next chunk only */
    reset(&dialect_data360, "GET", NULL);
    id("warm", "2");
    now.state = QUERY_RUNNING, now.batches = 1, now.rows = 10;
    assert_int_equal(step(handler("data360.chunk"), false), REPLY_READY);
    assert_int_equal(rq.reply.status, 400);
    has("The requested chunk id '2' is out of range");
    reset(&dialect_data360, "GET", NULL);
    id("warm", "1");
    now.state = QUERY_RUNNING, now.batches = 1, now.rows = 10;
    assert_int_equal(step(handler("data360.chunk"), false), REPLY_PARK);
    finished(2);
    assert_int_equal(step(rq.next, false), REPLY_DEFER);
    assert_int_equal(step(rq.next, true), REPLY_READY);
    assert_int_equal(rq.reply.rows.from, 10);
    assert_int_equal(rq.reply.rows.limit, 10);

    /* rows */
    reset(&dialect_data360, "GET", NULL);
    id("warm", NULL);
    params[0].name = "offset", params[0].value = "20";
    finished(2);
    assert_int_equal(step(handler("data360.rows"), false), REPLY_READY);
    assert_int_equal(rq.reply.status, 400);
    has("Request out of range: The specified offset is 20, but only 20 tuples are available");
    reset(&dialect_data360, "GET", NULL);
    id("cold", NULL);
    params[0].name = "offset", params[0].value = "5";
    params[1].name = "rowLimit", params[1].value = "7";
    finished(2);
    assert_int_equal(step(handler("data360.rows"), false), REPLY_DEFER);
    assert_int_equal(step(rq.next, true), REPLY_READY);
    assert_int_equal(rq.reply.rows.from, 5);
    assert_int_equal(rq.reply.rows.limit, 7);
    assert_int_equal(rq.reply.rows.byte_limit, D360_BYTES_MAX);
    assert_false(rq.reply.rows.raw);

    /* canceled: 408 for a minute, then 404; deleted: 404 */
    for (int late = 0; late < 3; late++) {
        reset(&dialect_data360, "GET", NULL);
        id("warm", NULL);
        finished(1);
        now.state = late < 2 ? QUERY_CANCELED : QUERY_FINISHED;
        now.ended_ms = sys_wall_ms() - (late == 1 ? D360_GRACE_MS : 0);
        now.gone_ms = now.ended_ms;
        assert_int_equal(step(handler("data360.rows"), true), REPLY_READY);
        assert_int_equal(rq.reply.status, late == 0 ? 408 : 404);
        assert_int_equal(opened, 0);
    }
}

static void deletes_answer_204(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        enum role role;
        int status, deletes;
    } rows[] = {
        {"warm", ROLE_MEMBER, 204, 1},
        {"none", ROLE_MEMBER, 204, 0},
        {"warm", ROLE_READER, 403, 0},
        {"none", ROLE_READER, 204, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        reset(&dialect_data360, "DELETE", NULL);
        id(rows[i].id, NULL);
        rq.who.role = rows[i].role;
        assert_int_equal(step(handler("data360.delete"), true), REPLY_READY);
        assert_int_equal(rq.reply.status, rows[i].status);
        assert_int_equal(deletes, rows[i].deletes);
    }
}

int main(void)
{
    config_defaults();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kakao_run),
        cmocka_unit_test(kakao_page),
        cmocka_unit_test(kakao_abort_and_list),
        cmocka_unit_test(submit_async),
        cmocka_unit_test(submit_inline),
        cmocka_unit_test(submit_pending),
        cmocka_unit_test(submit_failed),
        cmocka_unit_test(reads),
        cmocka_unit_test(deletes_answer_204),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The whole room over real sockets, on the service of cardboard: framing, order of refusals, parking,
 * streams, ranges, stop. Run under TSan too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/config.h"
#include "base/metrics.h"
#include "base/sys.h"
#include "http/server.h"
#include "stub.h"

#define HEADER_MS 120000

static struct server *server;
static uint16_t port;

static int begin(void **state)
{
    struct err e;
    char address[64];
    (void)state;
    stub_begin();
    config.http_header_timeout = HEADER_MS;
    config.http_max_body = 100000;
    struct server_options o = {.listen = "127.0.0.1:0"};
    if (server_start(&o, &server, address, sizeof address, &e))
        return -1;
    port = (uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10);
    return 0;
}

static int end(void **state)
{
    (void)state;
    server_stop(server);
    stub_end();
    return atomic_load(&stub_open_rows) || atomic_load(&stub_live_queries);
}

/* ---- a raw client ---- */

static int dial(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    struct timeval patience = {240, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    size_t n = strlen(text);
    assert_int_equal(send(fd, text, n, MSG_NOSIGNAL), (ssize_t)n);
}

struct answer {
    int status;
    char head[4096];
    char *body;
    size_t len, cap;
    bool chunked, whole, closed;
};

static void room(struct answer *a, size_t n)
{
    if (a->len + n <= a->cap)
        return;
    a->cap = (a->len + n) * 2 + 64;
    a->body = realloc(a->body, a->cap);
    assert_non_null(a->body);
}

static const char *field(const struct answer *a, const char *name)
{
    static _Thread_local char value[512];
    char want[128];
    snprintf(want, sizeof want, "\r\n%s: ", name);
    const char *p = strstr(a->head, want);
    if (!p)
        return NULL;
    p += strlen(want);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(p, "\r"), p);
    return value;
}

static bool read_one(int fd, char *c)
{
    return recv(fd, c, 1, 0) == 1;
}

static void listen_to(int fd, bool head_only, struct answer *a)
{
    memset(a, 0, sizeof *a);
    size_t n = 0;
    while (n < sizeof a->head - 1 && read_one(fd, &a->head[n])) {
        n++;
        if (n >= 4 && memcmp(a->head + n - 4, "\r\n\r\n", 4) == 0)
            break;
    }
    if (n == 0) {
        a->closed = true;
        return;
    }
    a->status = (int)strtol(a->head + 9, NULL, 10);
    if (head_only || a->status == 304) {
        a->whole = true;
        return;
    }
    const char *length = field(a, "Content-Length");
    room(a, 1);
    if (length) {
        size_t want = strtoull(length, NULL, 10);
        room(a, want + 1);
        while (a->len < want) {
            ssize_t got = recv(fd, a->body + a->len, want - a->len, 0);
            if (got <= 0)
                break;
            a->len += (size_t)got;
        }
        a->whole = a->len == want;
        return;
    }
    a->chunked = field(a, "Transfer-Encoding") != NULL;
    for (;;) {
        char line[32];
        size_t k = 0;
        while (k < sizeof line - 1 && read_one(fd, &line[k]) && line[k++] != '\n')
            ;
        line[k] = 0;
        size_t size = strtoull(line, NULL, 16);
        if (k == 0)
            return; /* cut */
        if (size == 0) {
            char crlf[2];
            a->whole = recv(fd, crlf, 2, MSG_WAITALL) == 2;
            return;
        }
        room(a, size + 1);
        if (recv(fd, a->body + a->len, size, MSG_WAITALL) != (ssize_t)size)
            return;
        a->len += size;
        char crlf[2];
        if (recv(fd, crlf, 2, MSG_WAITALL) != 2)
            return;
    }
}

static void ask(const char *request, struct answer *a)
{
    int fd = dial();
    say(fd, request);
    listen_to(fd, strncmp(request, "HEAD", 4) == 0, a);
    close(fd);
}

static int status_of(const char *request)
{
    struct answer a;
    ask(request, &a);
    free(a.body);
    return a.status;
}

static void body_is(const char *request, int status, const char *body)
{
    struct answer a;
    ask(request, &a);
    assert_int_equal(a.status, status);
    assert_true(a.whole);
    assert_int_equal(a.len, strlen(body));
    assert_memory_equal(a.body, body, a.len);
    free(a.body);
}

#define H "Host: x\r\n"

/* ---- tests ---- */

static void plain_requests(void **state)
{
    (void)state;
    body_is("GET /t/hello HTTP/1.1\r\n" H "\r\n", 200, "hello\n");
    body_is("GET /t/hello HTTP/1.0\r\n\r\n", 200, "hello\n");
    body_is("POST /t/echo HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nabcde", 200, "abcde");
    body_is("POST /t/echo HTTP/1.1\r\n" H
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            200, "abcde");
    body_is("GET /t/a%2Fb/and/c?q=1%2B2+3 HTTP/1.1\r\n" H "\r\n", 200, "a/b|c|1+2 3");
    body_is("GET /t/defer HTTP/1.1\r\n" H "\r\n", 200, "worker\n");
    struct answer a;
    ask("HEAD /t/hello HTTP/1.1\r\n" H "\r\n", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(field(&a, "Content-Length"), "6");
    ask("GET /t/hello HTTP/1.1\r\n" H "X-Request-Id: abc-1\r\n\r\n", &a);
    assert_string_equal(field(&a, "X-Request-Id"), "abc-1");
    free(a.body);
    ask("GET /t/hello HTTP/1.1\r\n" H "X-Request-Id: a b\r\n\r\n", &a);
    assert_string_not_equal(field(&a, "X-Request-Id"), "a b");
    free(a.body);
}

static void order_of_refusals(void **state)
{
    (void)state;
    struct answer a;
    assert_int_equal(status_of("GET /nowhere HTTP/1.1\r\n" H "\r\n"), 404);
    ask("PUT /t/status HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", &a);
    assert_int_equal(a.status, 405);
    assert_string_equal(field(&a, "Allow"), "GET, HEAD");
    assert_memory_equal(a.body, "test error:", 11); /* in the dialect's words */
    free(a.body);
    ask("GET /t/status HTTP/1.1\r\n" H "\r\n", &a);
    assert_int_equal(a.status, 401);
    assert_null(
        field(&a, "WWW-Authenticate")); /* the test dialect takes Kylin's credential, whose page has none */
    free(a.body);
    assert_int_equal(status_of("GET /t/status HTTP/1.1\r\n" H "Authorization: Basic azpz\r\n\r\n"), 200);
    assert_int_equal(status_of("GET /t/status HTTP/1.1\r\n" H "Authorization: Basic azp4\r\n\r\n"), 401);
    assert_int_equal(status_of("GET /t/status HTTP/1.1\r\n" H "Authorization: junk\r\n\r\n"), 401);
    ask("GET /t/status HTTP/1.1\r\n" H "Authorization: Basic bGltaXQ6eA==\r\n\r\n", &a);
    assert_int_equal(a.status, 429);
    assert_non_null(field(&a, "Retry-After"));
    free(a.body);
    assert_int_equal(
        status_of("POST /t/member HTTP/1.1\r\n" H "Authorization: Basic cjpz\r\nContent-Length: 1\r\n\r\nx"),
        403);
    assert_int_equal(
        status_of("POST /t/member HTTP/1.1\r\n" H "Authorization: Basic azpz\r\nContent-Length: 1\r\n\r\nx"),
        200);
    assert_int_equal(
        status_of("POST /t/echo HTTP/1.1\r\n" H "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"), 415);
    assert_int_equal(status_of("POST /t/member HTTP/1.1\r\n" H "Content-Length: 100001\r\n\r\n"),
                     413); /* before route's credential */
    assert_int_equal(
        status_of("POST /nowhere HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"), 400);
}

static void connections_live_on(void **state)
{
    (void)state;
    struct answer a;
    int fd = dial();
    for (int i = 0; i < 3; i++) {
        say(fd, "POST /t/member HTTP/1.1\r\n" H
                "Content-Length: 4\r\n\r\nabcd"); /* refused with a body: read and thrown away */
        listen_to(fd, false, &a);
        assert_int_equal(a.status, 401);
        free(a.body);
        say(fd, "GET /t/hello HTTP/1.1\r\n" H "\r\n");
        listen_to(fd, false, &a);
        assert_int_equal(a.status, 200);
        free(a.body);
    }
    say(fd, "GET /t/hello HTTP/1.1\r\n" H "\r\nGET /t/defer HTTP/1.1\r\n" H "\r\n"); /* pipelined */
    listen_to(fd, false, &a);
    assert_memory_equal(a.body, "hello\n", 6);
    free(a.body);
    listen_to(fd, false, &a);
    assert_memory_equal(a.body, "worker", 6);
    free(a.body);
    close(fd);
}

static void framing_closes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "POST /t/echo HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "POST /t/echo HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /t/echo HTTP/1.1\r\n" H "Content-Length : 3\r\n\r\nabc",
        "GET /t/hello HTTP/1.1\r\n" H "X: a\rb\r\n\r\n",
        "GET /t/hello HTTP/1.1\r\n" H "X: a\nY: b\r\n\r\n",
        "GET /t/hello HTTP/1.1\r\n" H "X: a\r\n folded\r\n\r\n",
        "GET /t/hello HTTP/1.1\n" H "\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct answer a;
        int fd = dial();
        say(fd, bad[i]);
        listen_to(fd, false, &a);
        if (a.status != 400)
            fail_msg("status %d for %s", a.status, bad[i]);
        free(a.body);
        char c;
        assert_int_equal(recv(fd, &c, 1, 0), 0); /* and the end */
        close(fd);
    }
}

static void large_bodies(void **state)
{
    (void)state;
    struct answer a;
    char *big = malloc(400000);
    memset(big, 'x', 400000);
    int fd = dial();
    say(fd, "POST /t/echo HTTP/1.1\r\n" H "Content-Length: 400000\r\n\r\n");
    send(fd, big, 400000, MSG_NOSIGNAL);
    listen_to(fd, false, &a);
    assert_int_equal(a.status, 413);
    big[399999] = 0;
    a.body[a.len - 1] = 0;
    assert_non_null(strstr(a.body, "http.max_body"));
    free(a.body);
    close(fd);
    fd = dial();
    say(fd, "POST /t/echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n61a80\r\n");
    send(fd, big, 400000, MSG_NOSIGNAL);
    listen_to(fd, false, &a);
    assert_int_equal(a.status, 413);
    free(a.body);
    char c;
    assert_int_equal(recv(fd, &c, 1, 0), 0);
    close(fd);
    fd = dial();
    say(fd, "POST /t/echo HTTP/1.1\r\n" H "Content-Length: 100001\r\nExpect: 100-continue\r\n\r\n");
    listen_to(fd, false, &a);
    assert_int_equal(a.status, 413);
    free(a.body);
    close(fd);
    fd = dial();
    say(fd, "POST /t/echo HTTP/1.1\r\n" H "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    listen_to(fd, true, &a);
    assert_int_equal(a.status, 100);
    say(fd, "ab");
    listen_to(fd, false, &a);
    assert_int_equal(a.status, 200);
    free(a.body);
    close(fd);
    free(big);
}

static void slow_headers(void **state)
{
    (void)state;
    config.http_header_timeout = 600; /* here only: others may be slow */
    int64_t begun = sys_mono_ns();
    int fd = dial();
    say(fd, "GET /t/hello HTTP/1.1\r\nX-A: ");
    char c;
    struct timeval short_wait = {0, 100000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &short_wait, sizeof short_wait);
    ssize_t n = -1;
    for (int i = 0; i < 1000 && n != 0; i++) { /* a byte now and then does not help */
        if (send(fd, "a", 1, MSG_NOSIGNAL) < 0)
            n = 0;
        else
            n = recv(fd, &c, 1, 0);
    }
    assert_int_equal(n, 0);
    assert_true(sys_mono_ns() - begun > 500000000);
    close(fd);
    config.http_header_timeout = HEADER_MS;
}

static void parking(void **state)
{
    (void)state;
    body_is("GET /t/park?ms=30 HTTP/1.1\r\n" H "\r\n", 200, "deadline\n");
    body_is("GET /t/defer-park?ms=30 HTTP/1.1\r\n" H "\r\n", 200, "deadline\n");
    int fds[40];
    for (int i = 0; i < 40; i++) {
        fds[i] = dial();
        say(fds[i], i % 2 ? "GET /t/park HTTP/1.1\r\n" H "\r\n"
                          : "GET /t/defer-park?ms=1000000 HTTP/1.1\r\n" H "\r\n");
    }
    struct metric *parked = metrics_get(METRIC_GAUGE, "quern_http_parked", "", "");
    for (int i = 0; i < 60000 && metric_value(parked) < 40; i++)
        sys_sleep_ms(1);
    assert_int_equal(metric_value(parked), 40);
    for (int i = 0; i < 10; i++) /* ten leave */
        close(fds[i]);
    for (int i = 0; i < 60000 && metric_value(parked) > 30; i++)
        sys_sleep_ms(1);
    assert_int_equal(metric_value(parked), 30);
    stub_query_signal(stub_shared, QF_ENDED);
    for (int i = 10; i < 40; i++) {
        struct answer a;
        listen_to(fds[i], false, &a);
        assert_int_equal(a.status, 200);
        assert_memory_equal(a.body, "woken\n", 6);
        free(a.body);
        close(fds[i]);
    }
    body_is("GET /t/park HTTP/1.1\r\n" H "\r\n", 200, "woken\n"); /* at once */
    stub_query_reset(stub_shared);
}

static size_t csv_length(uint64_t rows, size_t width)
{
    size_t n = 0;
    for (uint64_t i = 0; i < rows; i++) {
        char line[32];
        n += (size_t)snprintf(line, sizeof line, "%llu", (unsigned long long)i) + width + 2;
    }
    return n;
}

static void streams(void **state)
{
    (void)state;
    struct answer a;
    stub_set_rows(stub_segment(3, 2000, 50));
    ask("GET /t/rows?limit=10&prefix&suffix HTTP/1.1\r\n" H "\r\n", &a); /* small: one known length */
    assert_false(a.chunked);
    assert_true(a.whole);
    assert_memory_equal(a.body, "prefix\n0,a", 10);
    assert_memory_equal(a.body + a.len - 8, "sent 10\n", 8);
    free(a.body);
    ask("GET /t/rows HTTP/1.1\r\n" H "\r\n", &a);
    assert_true(a.chunked && a.whole);
    assert_int_equal(a.len, csv_length(6000, 50));
    free(a.body);
    ask("GET /t/rows?from=5999&suffix HTTP/1.1\r\n" H "\r\n", &a);
    assert_memory_equal(a.body, "5999,", 5);
    assert_memory_equal(a.body + a.len - 7, "sent 1\n", 7);
    free(a.body);
    ask("GET /t/rows?bytes=500&suffix HTTP/1.1\r\n" H "\r\n", &a); /* rows of 53 bytes: nine fit */
    assert_memory_equal(a.body + a.len - 7, "sent 9\n", 7);
    free(a.body);
    ask("GET /t/rows?bytes=1&suffix HTTP/1.1\r\n" H "\r\n", &a); /* at least one */
    assert_memory_equal(a.body + a.len - 7, "sent 1\n", 7);
    free(a.body);
    ask("GET /t/rows?limit=0&suffix HTTP/1.1\r\n" H "\r\n", &a);
    assert_memory_equal(a.body, "sent 0\n", 7);
    free(a.body);
    stub_set_rows(stub_segment(3, 3, 3000000)); /* rows larger than the buffer */
    ask("GET /t/rows HTTP/1.1\r\n" H "\r\n", &a);
    assert_true(a.whole);
    assert_int_equal(a.len, csv_length(9, 3000000));
    free(a.body);
}

static void damaged_streams_are_cut(void **state)
{
    (void)state;
    struct answer a;
    stub_set_rows(stub_segment(4, 5000, 100));
    stub_damage(1500000);
    ask("GET /t/rows HTTP/1.1\r\n" H "\r\n", &a);
    assert_int_equal(a.status, 200);
    assert_false(a.whole);
    assert_true(a.len < csv_length(20000, 100));
    free(a.body);
    stub_set_rows(stub_segment(1, 10, 100));
    stub_damage(900);
    assert_int_equal(status_of("GET /t/rows HTTP/1.1\r\n" H "\r\n"),
                     500); /* nothing was sent yet: a proper error */
}

#define D "GET /quern/v1/query/done/download?format="
#define K " HTTP/1.1\r\n" H "Authorization: Bearer tok\r\n"

static void downloads(void **state)
{
    (void)state;
    struct answer a, part;
    stub_set_rows(stub_segment(4, 5000, 100));
    ask(D "arrow" K "\r\n", &a);
    assert_int_equal(a.status, 200);
    assert_true(a.whole && !a.chunked);
    assert_non_null(strstr(a.head, "Accept-Ranges: bytes"));
    char etag[128], request[512];
    snprintf(etag, sizeof etag, "%s", field(&a, "ETag"));
    ask(D "arrow" K "Range: bytes=1000000-1000099\r\n\r\n", &part);
    assert_int_equal(part.status, 206);
    assert_int_equal(part.len, 100);
    assert_memory_equal(part.body, a.body + 1000000, 100);
    free(part.body);
    snprintf(request, sizeof request, D "arrow" K "Range: bytes=-1000000\r\nIf-Range: %s\r\n\r\n", etag);
    ask(request, &part);
    assert_int_equal(part.status, 206);
    assert_int_equal(part.len, 1000000);
    assert_memory_equal(part.body, a.body + a.len - 1000000, 1000000);
    free(part.body);
    ask(D "arrow" K "Range: bytes=0-9\r\nIf-Range: \"other\"\r\n\r\n", &part);
    assert_int_equal(part.status, 200);
    assert_int_equal(part.len, a.len);
    free(part.body);
    ask(D "arrow" K "Range: bytes=0-1,4-5\r\n\r\n", &part);
    assert_int_equal(part.status, 200);
    free(part.body);
    ask(D "arrow" K "Range: bytes=99999999-\r\n\r\n", &part);
    assert_int_equal(part.status, 416);
    assert_non_null(strstr(part.head, "Content-Range: bytes */"));
    free(part.body);
    snprintf(request, sizeof request, D "arrow" K "If-None-Match: %s\r\n\r\n", etag);
    assert_int_equal(status_of(request), 304);
    free(a.body);
    ask("HEAD /quern/v1/query/done/download?format=arrow" K "\r\n", &a);
    assert_int_equal(a.status, 200);
    assert_true(strtoull(field(&a, "Content-Length"), NULL, 10) > 2000000);
    static const char *const formats[] = {"csv", "json", "ndjson"};
    for (int i = 0; i < 3; i++) {
        snprintf(request, sizeof request, D "%s" K "\r\n", formats[i]);
        ask(request, &a);
        assert_true(a.status == 200 && a.whole && a.chunked);
        assert_non_null(strstr(a.head, "Content-Disposition: attachment; filename=\""));
        assert_non_null(strstr(a.head, "nosniff"));
        free(a.body);
    }
    stub_set_rows(stub_segment(1, 10, 10)); /* small: ranges of the encoded form too */
    ask(D "csv" K "Range: bytes=0-5\r\n\r\n", &a);
    assert_int_equal(a.status, 206);
    assert_memory_equal(a.body, "n,text", 6);
    free(a.body);
    assert_int_equal(status_of(D "xlsx" K "\r\n"), 400);
    assert_int_equal(status_of(D "pdf" K "\r\n"), 400);
    assert_int_equal(status_of("GET /quern/v1/query/other/download" K "\r\n"), 404);
    assert_int_equal(status_of("GET /quern/v1/query/shared/download" K "\r\n"), 409);
    assert_int_equal(status_of("GET /quern/v1/query/done/download HTTP/1.1\r\n" H "\r\n"), 401);
    assert_int_equal(status_of("GET /quern/v1/query/done/download HTTP/1.1\r\n" H
                               "Credential-ID: k\r\nCredential-Secret: s\r\n\r\n"),
                     200);
}

static void health(void **state)
{
    (void)state;
    body_is("GET /healthz HTTP/1.1\r\n" H "\r\n", 200, "ok\n");
    assert_int_equal(status_of("GET /readyz HTTP/1.1\r\n" H "\r\n"), 200);
    assert_int_equal(status_of("GET /healthz HTTP/1.1\r\n" H "X-Forwarded-For: 1.2.3.4\r\n\r\n"), 404);
    assert_int_equal(status_of("GET /metrics HTTP/1.1\r\n" H "Forwarded: for=1.2.3.4\r\n\r\n"), 404);
    struct answer a;
    ask("GET /metrics HTTP/1.1\r\n" H "\r\n", &a);
    a.body[a.len - 1] = 0;
    assert_non_null(strstr(a.body, "quern_http_requests_total{route=\"test.hello\",class=\"2xx\"}"));
    free(a.body);
    server_drain(server);
    assert_int_equal(status_of("GET /readyz HTTP/1.1\r\n" H "\r\n"), 503);
}

/* ---- many at once, ended by server_stop in the middle ---- */

static _Atomic bool over;
static _Atomic int answers;

static void *client(void *arg)
{
    unsigned n = (unsigned)(uintptr_t)arg;
    static const char *const requests[] = {
        "GET /t/hello HTTP/1.1\r\n" H "\r\n",     "GET /t/defer HTTP/1.1\r\n" H "\r\n",
        "GET /t/park?ms=3 HTTP/1.1\r\n" H "\r\n", "GET /t/defer-park?ms=2 HTTP/1.1\r\n" H "\r\n",
        "GET /t/rows HTTP/1.1\r\n" H "\r\n",      "GET /t/park HTTP/1.1\r\n" H "\r\n"};
    while (!atomic_load(&over)) {
        struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
        sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct timeval patience = {240, 0};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
            close(fd);
            break;
        }
        for (int i = 0; i < 5; i++) {
            const char *r = requests[n++ % 6];
            if (send(fd, r, strlen(r), MSG_NOSIGNAL) < 0)
                break;
            if (n % 7 == 0)
                break; /* leaves without listening */
            struct answer a;
            listen_to(fd, false, &a);
            free(a.body);
            if (a.status == 200)
                atomic_fetch_add(&answers, 1);
            else
                break;
        }
        close(fd);
    }
    return NULL;
}

static void storm_and_stop(void **state)
{
    (void)state;
    stub_set_rows(stub_segment(2, 2000, 100));
    pthread_t clients[12];
    for (uintptr_t i = 0; i < 12; i++)
        pthread_create(&clients[i], NULL, client, (void *)i);
    int64_t until = sys_mono_ns() + 2000000000;
    while (sys_mono_ns() < until || atomic_load(&answers) <= 50) {
        stub_query_signal(stub_shared, QF_ENDED);
        stub_query_reset(stub_shared);
        sys_sleep_ms(2);
    }
    server_stop(server); /* parked, streaming and deferred ones are under way */
    atomic_store(&over, true);
    for (int i = 0; i < 12; i++)
        pthread_join(clients[i], NULL);
    print_message("%d answers\n", atomic_load(&answers));
    assert_true(atomic_load(&answers) > 50);
    assert_int_equal(atomic_load(&stub_open_rows), 0);
    server = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(plain_requests),
                                       cmocka_unit_test(order_of_refusals),
                                       cmocka_unit_test(connections_live_on),
                                       cmocka_unit_test(framing_closes),
                                       cmocka_unit_test(large_bodies),
                                       cmocka_unit_test(slow_headers),
                                       cmocka_unit_test(parking),
                                       cmocka_unit_test(streams),
                                       cmocka_unit_test(damaged_streams_are_cut),
                                       cmocka_unit_test(downloads),
                                       cmocka_unit_test(health),
                                       cmocka_unit_test(storm_and_stop)};
    return cmocka_run_group_tests(tests, begin, end);
}

/* Framing rules, ranges, tags, escapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "http/guard.h"

/* Parses a header block as the library does, in place, and feeds the guard. `block` begins behind the request
 * line's CR LF. */
static const char *judge_version(const char *block, bool http_1_1, struct guard *g)
{
    static char room[8192];
    memset(room, 'x', sizeof room);
    memcpy(room, "HTTP/1.1\r\n", 10);
    assert_true(strlen(block) + 11 < sizeof room);
    memcpy(room + 10, block, strlen(block)); /* what follows is body */
    char *at = room + 8;
    memset(at, 0, 2);
    guard_begin(g, room + 8);
    at += 2;
    for (;;) {
        char *lf = memchr(at, 0x0a, sizeof room - (size_t)(at - room));
        if (!lf)
            break;
        char *end = lf > at && lf[-1] == '\r' ? lf - 1 : lf;
        memset(end, 0, (size_t)(lf + 1 - end));
        if (end == at)
            break;
        char *colon = strchr(at, ':'), *value = colon;
        assert_non_null(colon);
        *value++ = 0;
        while (*value == ' ' || *value == '\t')
            value++;
        guard_header(g, at, strlen(at), value, strlen(value));
        at = lf + 1;
    }
    guard_end(g, http_1_1);
    return g->why;
}

static const char *judge(const char *block)
{
    struct guard g;
    return judge_version(block, true, &g);
}

static void good_requests(void **state)
{
    (void)state;
    struct guard g;
    assert_null(judge("Host: a\r\n\r\n"));
    assert_null(judge("Host:a\r\nAccept: */*\r\nX-Empty:\r\nCookie: a=b; c=\"d\"\r\n\r\n"));
    assert_null(judge_version(
        "Host: a\r\nContent-Length: 12 \r\nExpect: 100-continue\r\nContent-Encoding: gzip\r\n\r\n", true,
        &g));
    assert_true(g.has_length && g.length == 12 && g.expect_continue && g.encoded && !g.chunked &&
                !g.forwarded);
    assert_null(judge_version(
        "Host: a\r\nTransfer-Encoding: Chunked\r\nX-Forwarded-For: 1.2.3.4\r\nRange: bytes=0-1\r\n\r\n", true,
        &g));
    assert_true(g.chunked && !g.has_length && g.forwarded && g.ranged);
    assert_null(judge("Host: a\r\nX: caf\xc3\xa9\r\nY: a\tb\r\n\r\n"));
}

static void smuggling_shapes(void **state)
{
    (void)state;
    static const char *const bad[] = {"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
                                      "Content-Length: 5\r\ncontent-length: 6\r\n\r\n",
                                      "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                                      "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
                                      "Content-Length: 5, 5\r\n\r\n",
                                      "Content-Length: +5\r\n\r\n",
                                      "Content-Length: 0x5\r\n\r\n",
                                      "Content-Length:\r\n\r\n",
                                      "Content-Length: 9999999999999999999\r\n\r\n",
                                      "Content-Length : 5\r\n\r\n",
                                      "Content-Length\t: 5\r\n\r\n",
                                      " Content-Length: 5\r\n\r\n",
                                      "Transfer-Encoding: chunked, identity\r\n\r\n",
                                      "Transfer-Encoding: xchunked\r\n\r\n",
                                      "Transfer-Encoding: identity\r\n\r\n",
                                      "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                                      "Transfer-Encoding\x0b: chunked\r\n\r\n",
                                      "Transfer-Encoding: chunked \r\n\r\n",
                                      "Transfer-Encoding: chunked\t\r\n\r\n",
                                      "Idempotency-Key: a\r\nidempotency-key: a\r\n\r\n",
                                      "X: a\rb\r\n\r\n",
                                      "X: a\x01\r\n\r\n",
                                      "X\x7f: a\r\n\r\n",
                                      "X(y): a\r\n\r\n",
                                      ": a\r\n\r\n",
                                      "Host: a\r\nHost: b\r\n\r\n",
                                      "Authorization: Token a\r\nAuthorization: Token b\r\n\r\n",
                                      "X: a\nY: b\r\n\r\n",
                                      "X: a\r\nY: b\n\r\n",
                                      "Expect: 100-continue\r\nExpect: x\r\n\r\n",
                                      "Caf\xc3\xa9: a\r\n\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (!judge(bad[i]))
            fail_msg("accepted: %s", bad[i]);
    struct guard g;
    assert_non_null(judge_version("Transfer-Encoding: chunked\r\n\r\n", false, &g));
}

static void hidden_bytes(void **state)
{
    (void)state;
    /* A NUL inside a value: the library cuts the value there, the next name lies too far behind. */
    struct guard g;
    char room[64] = "HTTP/1.1\0\0X\0 a\0b\0\0Y\0 c\0\0\0\0";
    guard_begin(&g, room + 8);
    assert_true(guard_header(&g, room + 10, 1, room + 13, 1));
    assert_false(guard_header(&g, room + 18, 1, room + 21, 1));
    assert_non_null(g.why);
    assert_false(guard_end(&g, true));
    /* In the target: the library's text ends at the NUL, the version is farther away. */
    static const char line[] = "/a\0b\0HTTP/1.1";
    guard_begin(&g, NULL);
    guard_line(&g, line + 4, line + 5);
    assert_null(g.why);
    guard_line(&g, line + 2, line + 5);
    assert_non_null(g.why);
    char last[64] = "HTTP/1.1\0\0X\0 a\0b\0\0\0\0";
    guard_begin(&g, last + 8);
    assert_true(guard_header(&g, last + 10, 1, last + 13, 1));
    assert_false(guard_end(&g, true));
}

static void many_headers(void **state)
{
    (void)state;
    struct guard g;
    guard_begin(&g, NULL);
    for (int i = 0; i < GUARD_HEADERS_MAX; i++)
        assert_true(guard_header(&g, "X", 1, "", 0));
    assert_false(guard_header(&g, "X", 1, "", 0));
}

static void small_checks(void **state)
{
    (void)state;
    assert_true(guard_request_id_ok("Az09._-"));
    assert_false(guard_request_id_ok(""));
    assert_false(guard_request_id_ok("a b"));
    assert_false(guard_request_id_ok("a\"b"));
    char id[GUARD_REQUEST_ID_MAX + 2];
    memset(id, 'a', sizeof id);
    id[GUARD_REQUEST_ID_MAX + 1] = 0;
    assert_false(guard_request_id_ok(id));
    id[GUARD_REQUEST_ID_MAX] = 0;
    assert_true(guard_request_id_ok(id));
    assert_true(guard_target_ok("/a%20b"));
    assert_false(guard_target_ok("/a\tb"));
    assert_false(guard_target_ok("/caf\xc3\xa9"));
}

static void ranges(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t total;
        enum range_verdict v;
        uint64_t off, len;
    } t[] = {{"bytes=0-0", 10, RANGE_ONE, 0, 1},
             {"bytes=0-", 10, RANGE_ONE, 0, 10},
             {"bytes=9-", 10, RANGE_ONE, 9, 1},
             {"bytes=10-", 10, RANGE_UNSATISFIABLE, 0, 0},
             {"bytes=3-5", 10, RANGE_ONE, 3, 3},
             {"bytes=3-99", 10, RANGE_ONE, 3, 7},
             {"bytes=5-3", 10, RANGE_NONE, 0, 0},
             {"bytes=-3", 10, RANGE_ONE, 7, 3},
             {"bytes=-30", 10, RANGE_ONE, 0, 10},
             {"bytes=-0", 10, RANGE_UNSATISFIABLE, 0, 0},
             {"bytes=0-1,3-4", 10, RANGE_NONE, 0, 0},
             {"bytes=", 10, RANGE_NONE, 0, 0},
             {"items=0-1", 10, RANGE_NONE, 0, 0},
             {"bytes=a-1", 10, RANGE_NONE, 0, 0},
             {"bytes=0-", 0, RANGE_UNSATISFIABLE, 0, 0},
             {"bytes=-5", 0, RANGE_UNSATISFIABLE, 0, 0},
             {"bytes=99999999999999999999-", 10, RANGE_NONE, 0, 0},
             {"Bytes= 1-2 ", 10, RANGE_ONE, 1, 2},
             {"bytes=1-2x", 10, RANGE_NONE, 0, 0}};
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        uint64_t off = 0, len = 0;
        enum range_verdict v = guard_range(t[i].text, t[i].total, &off, &len);
        if (v != t[i].v || (v == RANGE_ONE && (off != t[i].off || len != t[i].len)))
            fail_msg("%s of %u", t[i].text, (unsigned)t[i].total);
    }
}

static void tags(void **state)
{
    (void)state;
    assert_true(guard_etag_listed("\"a\"", "\"a\"", true));
    assert_true(guard_etag_listed("\"b\", W/\"a\"", "\"a\"", true));
    assert_false(guard_etag_listed("\"b\", W/\"a\"", "\"a\"", false));
    assert_true(guard_etag_listed("*", "\"a\"", true));
    assert_false(guard_etag_listed("\"ab\"", "\"a\"", true));
    assert_false(guard_etag_listed("a", "\"a\"", true));
    assert_false(guard_etag_listed("\"a", "\"a\"", true));
}

static void escapes(void **state)
{
    (void)state;
    char out[32];
    assert_int_equal(guard_unescape("a%2Fb+c", 7, false, out), 5);
    assert_string_equal(out, "a/b+c");
    assert_int_equal(guard_unescape("a+b", 3, true, out), 3);
    assert_string_equal(out, "a b");
    assert_int_equal(guard_unescape("%00", 3, false, out), -1);
    assert_int_equal(guard_unescape("%4", 2, false, out), -1);
    assert_int_equal(guard_unescape("%zz", 3, false, out), -1);
    assert_int_equal(guard_unescape("", 0, false, out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(good_requests), cmocka_unit_test(smuggling_shapes),
                                       cmocka_unit_test(hidden_bytes),  cmocka_unit_test(many_headers),
                                       cmocka_unit_test(small_checks),  cmocka_unit_test(ranges),
                                       cmocka_unit_test(tags),          cmocka_unit_test(escapes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

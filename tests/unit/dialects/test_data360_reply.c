/* data360_reply: negotiation, chunk numbering, the status object, carets, the error envelope. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/config.h"
#include "dialects/data360_int.h"

/* What the helpers of the http room would do, without HTTP. */
struct json_write reply_json(struct request *rq, int status)
{
    buf_reset(&rq->reply.body);
    rq->reply.status = status;
    return (struct json_write)JSON_WRITE_INIT(&rq->reply.body);
}

enum handled reply_error(struct request *rq, int status, const struct err *e)
{
    data360__write_error(rq, status, e);
    return REPLY_READY;
}

static void accepts(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        enum d360_format f;
    } rows[] = {
        {NULL, D360_JSON},
        {"", D360_JSON},
        {"*/*", D360_JSON},
        {"application/*", D360_JSON},
        {"application/json", D360_JSON},
        {"Application/JSON; charset=utf-8", D360_JSON},
        {D360_ARROW, D360_ARROW_STREAM},
        {D360_ARROW ", */*", D360_ARROW_STREAM},
        {"*/*, " D360_ARROW, D360_ARROW_STREAM},
        {"application/json, " D360_ARROW, D360_JSON},
        {D360_ARROW ",application/json", D360_ARROW_STREAM},
        {D360_ARROW ";q=0.5, application/json;q=0.9", D360_JSON},
        {D360_ARROW ";q=0.9, application/json;q=0.5", D360_ARROW_STREAM},
        {"application/json;q=0, */*", D360_ARROW_STREAM},
        {"text/html", D360_NONE},
        {"text/html, */*;q=0.1", D360_JSON},
        {"application/json;q=0", D360_NONE},
        {"*/*;q=0", D360_NONE},
        {"application/xml, text/*", D360_NONE},
        {" , ", D360_JSON},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (data360__accept(rows[i].header) != rows[i].f)
            fail_msg("%s", rows[i].header ? rows[i].header : "(none)");
    assert_int_equal(data360__content_type(NULL), D360_JSON);
    assert_int_equal(data360__content_type("application/json; charset=utf-8"), D360_JSON);
    assert_int_equal(data360__content_type(D360_ARROW), D360_ARROW_STREAM);
    assert_int_equal(data360__content_type("application/x-www-form-urlencoded"), D360_NONE);
}

static void layouts(void **state)
{
    (void)state;
    struct query_view v = {.dialect = DIALECT_DATA360, .request = "{\"inline\":true,\"style\":0}"};
    assert_int_equal(data360__layout(&v), D360_INLINE);
    v.note = D360_EMPTY;
    assert_int_equal(data360__layout(&v), D360_EMPTY);
    v.note = 0;
    v.request = "{\"inline\":false}";
    assert_int_equal(data360__layout(&v), D360_ROWS);
    v.dialect = DIALECT_KAKAO;
    v.request = NULL;
    assert_int_equal(data360__layout(&v), D360_ROWS);
    /* every layout covers every batch exactly once */
    for (int l = D360_INLINE; l <= D360_EMPTY; l++)
        for (uint64_t batches = 0; batches < 6; batches++)
            for (uint64_t k = batches ? 1 : 0; k <= batches; k++) {
                uint64_t next = 0, n = data360__chunk_count((enum d360_layout)l, batches, k, true);
                for (uint64_t c = 0; c < n; c++) {
                    uint64_t first, count;
                    data360__chunk((enum d360_layout)l, c, k, &first, &count);
                    assert_int_equal(first, next);
                    next += count;
                }
                assert_int_equal(next, batches);
            }
    assert_int_equal(data360__chunk_count(D360_INLINE, 3, 0, false), 0);
}

static const char *text_of(struct buf *b)
{
    const char *s = buf_str(b);
    assert_non_null(s);
    return s;
}

static void statuses(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(4096);
    struct json_write w = JSON_WRITE_INIT(&b);
    struct query_view v = {.state = QUERY_RUNNING, .rows = 7, .progress = 1.0};
    data360__status(&w, &v, 2);
    const char *s = text_of(&b);
    assert_non_null(strstr(s, "\"completionStatus\":\"RUNNING\",\"chunkCount\":2,\"rowCount\":7,\"progress\":"
                              "0.99,\"expirationTime\":null"));
    buf_reset(&b);
    w = (struct json_write)JSON_WRITE_INIT(&b);
    v.state = QUERY_FINISHED;
    v.expires_ms = 1758883507438;
    v.elapsed_ns = 1500000000;
    data360__status(&w, &v, 2);
    s = text_of(&b);
    assert_non_null(strstr(s, "\"completionStatus\":\"FINISHED\""));
    assert_non_null(strstr(s, "\"progress\":1.0,\"expirationTime\":\"2025-09-26T10:45:07.438Z\","
                              "\"executionStats\":{\"wallClockTime\":1.5,"));
    assert_null(strpbrk(s, "\r\n"));
    buf_free(&b);
}

static void carets(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        int64_t at;
        const char *out;
    } rows[] = {
        {"SELECT x", 7, "\nline 1, column 8: SELECT x\n                         ^"},
        {"a\n\xC3\xA9 b", 4, "\nline 2, column 3: \xC3\xA9 b\n                    ^"},
        {"ab", 9, "\nline 1, column 3: ab\n                    ^"},
        {"", 0, "\nline 1, column 1: \n                  ^"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b = BUF_INIT(4096);
        assert_int_equal(data360__caret(rows[i].sql, strlen(rows[i].sql), rows[i].at, &b), 0);
        assert_string_equal(text_of(&b), rows[i].out);
        buf_free(&b);
    }
}

static void envelopes(void **state)
{
    (void)state;
    struct request rq = {
        .path = "/api/v3/query", .arena = arena_new(1u << 20), .reply.body = BUF_INIT(65536)};
    const char *sql = "select $1, b from";
    struct query_view v = {.dialect = DIALECT_DATA360,
                           .state = QUERY_FAILED,
                           .ending = END_SQL_ERROR,
                           .sql = sql,
                           .sql_len = strlen(sql),
                           .request = "{\"inline\":true,\"style\":1,\"names\":[\"first\"]}"};
    err_set(&v.error, ERR_INVALID, "42601", "syntax error");
    v.error.position = 13;
    v.error.position_end = 17;
    assert_int_equal(data360__fail_query(&rq, &v), REPLY_READY);
    const char *s = text_of(&rq.reply.body);
    assert_int_equal(rq.reply.status, 400);
    assert_non_null(strstr(s, "\"error\":\"42601\",\"errorCode\":\"BAD_REQUEST\",\"message\":\"syntax "
                              "error\",\"path\":\"/api/v3/query\""));
    assert_non_null(strstr(s, "\"errorBeginCharacterOffset\":\"17\",\"errorEndCharacterOffset\":\"21\""));
    assert_non_null(strstr(s, "select :first, b from"));
    assert_non_null(strstr(s, "\"errorSource\":\"User\""));
    v.error.position = v.error.position_end = -1; /* a syntax error always has a position */
    data360__fail_query(&rq, &v);
    assert_non_null(strstr(text_of(&rq.reply.body),
                           "\"errorBeginCharacterOffset\":\"0\",\"errorEndCharacterOffset\":\"6\""));
    v.ending = END_ENGINE_CRASHED;
    err_set(&v.error, ERR_ENGINE, "XX000", "the engine stopped");
    data360__fail_query(&rq, &v);
    assert_int_equal(rq.reply.status, 500);
    assert_non_null(strstr(text_of(&rq.reply.body), "\"errorSource\":\"System\""));
    assert_null(strstr(text_of(&rq.reply.body), "position"));
    v.state = QUERY_CANCELED;
    v.ending = END_CANCELED_RUNNING;
    err_clear(&v.error);
    data360__fail_query(&rq, &v);
    assert_int_equal(rq.reply.status, 408);
    assert_non_null(
        strstr(text_of(&rq.reply.body),
               "\"error\":\"57014\",\"errorCode\":\"TIME_OUT\",\"message\":\"canceled by user\""));
    buf_free(&rq.reply.body);
    arena_free(rq.arena);
}

static void types(void **state)
{
    (void)state;
    struct column item = {.name = "item", .sql = SQLT_VARCHAR, .nullable = true};
    struct column columns[] = {
        {.name = "n",
         .sql = SQLT_DECIMAL,
         .phys = PHYS_DECIMAL,
         .precision = 18,
         .scale = 4,
         .nullable = true},
        {.name = "h", .sql = SQLT_HUGEINT, .phys = PHYS_DECIMAL, .precision = 38, .scale = 0},
        {.name = "l",
         .sql = SQLT_LIST,
         .phys = PHYS_LIST,
         .nchildren = 1,
         .children = &item,
         .nullable = true},
        {.name = "t", .sql = SQLT_TINYINT, .phys = PHYS_INT16},
    };
    struct schema s = {.ncolumns = 4, .columns = columns};
    struct buf b = BUF_INIT(4096);
    struct json_write w = JSON_WRITE_INIT(&b);
    data360__metadata(&w, &s);
    assert_string_equal(
        text_of(&b),
        "{\"columns\":[{\"name\":\"n\",\"type\":\"numeric\",\"nullable\":true,\"precision\":18,\"scale\":4},"
        "{\"name\":\"h\",\"type\":\"numeric\",\"nullable\":false,\"precision\":38,\"scale\":0},"
        "{\"name\":\"l\",\"type\":\"array\",\"nullable\":true,\"innerElement\":{\"type\":\"varchar\","
        "\"nullable\":true}},"
        "{\"name\":\"t\",\"type\":\"smallint\",\"nullable\":false}]}");
    buf_free(&b);
}

int main(void)
{
    config_defaults();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts), cmocka_unit_test(layouts),   cmocka_unit_test(statuses),
        cmocka_unit_test(carets),  cmocka_unit_test(envelopes), cmocka_unit_test(types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

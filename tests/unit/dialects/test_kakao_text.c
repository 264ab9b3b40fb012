/* kakao_text: the samples of the Kakao page, and the edges of the rounding rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dialects/kakao_int.h"
#include "dialects/trino.h"

static void sizes(void **state)
{
    (void)state;
    char t[KAKAO_TEXT_MAX];
    assert_string_equal(kakao__size(0, t), "0B");
    assert_string_equal(kakao__size(1023, t), "1023B");
    assert_string_equal(kakao__size(1024, t), "1KB");
    assert_string_equal(kakao__size(13117, t), "12.81KB");
    assert_string_equal(kakao__size(26843546, t), "25.6MB");
    assert_string_equal(kakao__size(1048575, t), "1MB"); /* 1024.00KB shows the next unit */
    assert_string_equal(kakao__size(1034, t), "1.01KB");
    assert_string_equal(kakao__size(1ULL << 50, t), "1PB");
    assert_string_equal(kakao__size(UINT64_MAX, t), "16384PB");
}

static void durations(void **state)
{
    (void)state;
    char t[KAKAO_TEXT_MAX];
    assert_string_equal(kakao__duration(0, t), "0ms");
    assert_string_equal(kakao__duration(-5, t), "0ms");
    assert_string_equal(kakao__duration(999, t), "999ns");
    assert_string_equal(kakao__duration(1500, t), "1.5us");
    assert_string_equal(kakao__duration(439000000, t), "439ms");
    assert_string_equal(kakao__duration(999996000, t), "1s");
    assert_string_equal(kakao__duration(59999000000, t), "1m");
    assert_string_equal(kakao__duration(589800000000, t), "9.83m");
    assert_string_equal(kakao__duration(3600000000000, t), "1h");
    assert_string_equal(kakao__duration(86399999999999, t), "1d");
    assert_string_equal(kakao__duration(INT64_MAX, t), "106751.99d");
}

static void folders(void **state)
{
    (void)state;
    char t[KAKAO_TEXT_MAX];
    assert_string_equal(kakao__folder(1743057053000, t),
                        "2025/03/27"); /* 15:30:53 KST, as in the id of the sample */
    assert_string_equal(kakao__folder(1743087599999, t), "2025/03/27");
    assert_string_equal(kakao__folder(1743087600000, t), "2025/03/28"); /* midnight KST */
}

static const char *type(const struct column *c)
{
    static char out[256];
    struct buf b = BUF_INIT(255);
    assert_int_equal(trino_type_name(c, &b), 0);
    memcpy(out, b.p, b.len);
    out[b.len] = '\0';
    buf_free(&b);
    return out;
}

static void types(void **state)
{
    (void)state;
    assert_string_equal(type(&(struct column){.sql = SQLT_BIGINT}), "bigint");
    assert_string_equal(type(&(struct column){.sql = SQLT_HUGEINT}), "decimal(38,0)");
    assert_string_equal(type(&(struct column){.sql = SQLT_FLOAT}), "real");
    assert_string_equal(type(&(struct column){.sql = SQLT_BLOB}), "varbinary");
    assert_string_equal(type(&(struct column){.sql = SQLT_TIMESTAMPTZ}), "timestamp(6) with time zone");
    assert_string_equal(type(&(struct column){.sql = SQLT_DECIMAL, .precision = 18, .scale = 4}),
                        "decimal(18,4)");
    struct column item = {.name = "item", .sql = SQLT_INTEGER};
    struct column list = {.name = "l", .sql = SQLT_LIST, .nchildren = 1, .children = &item};
    assert_string_equal(type(&list), "array(integer)");
    struct column fields[] = {{.name = "a", .sql = SQLT_VARCHAR}, list};
    fields[1].name = "B \"c\"";
    struct column row = {.name = "r", .sql = SQLT_STRUCT, .nchildren = 2, .children = fields};
    assert_string_equal(type(&row), "row(a varchar,\"B \"\"c\"\"\" array(integer))");
    struct column entries[] = {{.name = "key", .sql = SQLT_VARCHAR}, {.name = "value", .sql = SQLT_DOUBLE}};
    struct column entry = {.name = "entries", .sql = SQLT_STRUCT, .nchildren = 2, .children = entries};
    assert_string_equal(type(&(struct column){.sql = SQLT_MAP, .nchildren = 1, .children = &entry}),
                        "map(varchar,double)");
    for (int s = 0; s <= SQLT_END; s++)
        assert_true(type(&(struct column){.sql = (enum sqltype)s})[0] != '\0');
}

static void text_kind(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        bool text;
    } rows[] = {
        {"EXPLAIN select 1", true},    {"-- c\n explain analyze select 1", true},
        {"show create table t", true}, {"show tables", false},
        {"select 'explain'", false},   {"", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct query_view v = {.sql = rows[i].sql, .sql_len = strlen(rows[i].sql)};
        assert_int_equal(kakao__is_text(&v), rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes), cmocka_unit_test(durations), cmocka_unit_test(folders),
        cmocka_unit_test(types), cmocka_unit_test(text_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

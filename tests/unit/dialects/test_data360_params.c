/* data360_params, data360_types, data360_body: rewriting and its undoing, binding, typed values, the submit
 * body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/zone.h"
#include "dialects/data360_int.h"

static struct arena *arena;
static struct err e;

static int setup(void **state)
{
    (void)state;
    zones_load();
    arena = arena_new(64u << 20);
    return arena ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    zones_free();
    arena_free(arena);
    return 0;
}

static void rewrites(void **state)
{
    (void)state;
    static const struct {
        enum d360_style style;
        const char *in, *out;
        uint32_t count;
    } rows[] = {
        {D360_QMARK, "select ?, '?', ?::int", "select $1, '?', $2::int", 2},
        {D360_QMARK, "select 1", "select 1", 0},
        {D360_NAMED, "select :a, :b, :a", "select $1, $2, $1", 2},
        {D360_NAMED, "select a[1:2], :x -- :y\n", "select a[1:2], $1 -- :y\n", 1},
        {D360_DOLLAR, "select $2, $1", "select $2, $1", 2},
        {D360_QMARK, "", "", 0},
        {D360_QMARK, "select?,limit?", "select/**/$1,limit/**/$2", 2},
        {D360_QMARK, "select /**/?", "select /**//**/$1", 1},
        {D360_NAMED, "x=/**/:a or\xC3\xA9 :a", "x=/**//**/$1 or\xC3\xA9 $1", 1},
        {D360_DOLLAR, "select$01", "select$01", 0}, /* one word */
        {D360_DOLLAR, "select $01", "select $01", 1},
        {D360_QMARK, "??", "$1$2", 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct d360_placeholders ph;
        assert_int_equal(data360__placeholders(arena, rows[i].style, rows[i].in, strlen(rows[i].in), &ph, &e),
                         0);
        assert_string_equal(ph.sql, rows[i].out);
        assert_int_equal(ph.sql_len, strlen(rows[i].out));
        assert_int_equal(ph.count, rows[i].count);
        int64_t none = -1, none2 = -1;
        const char *back;
        size_t len;
        assert_int_equal(data360__restore(arena, rows[i].style, ph.names, ph.count, ph.sql, ph.sql_len, &none,
                                          &none2, &back, &len),
                         0);
        assert_string_equal(back, rows[i].in);
        assert_int_equal(none, -1);
    }
}

static void conflicts(void **state)
{
    (void)state;
    static const struct {
        enum d360_style style;
        const char *in;
        int64_t position;
    } rows[] = {
        {D360_QMARK, "select :a", 7}, {D360_QMARK, "select '\xC3\xA9', $1", 12},
        {D360_NAMED, "select ?", 7},  {D360_DOLLAR, "select $x", 7},
        {D360_QMARK, "select ?5", 7},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct d360_placeholders ph;
        assert_int_equal(data360__placeholders(arena, rows[i].style, rows[i].in, strlen(rows[i].in), &ph, &e),
                         ERR_INVALID);
        assert_string_equal(e.sqlstate, "42601");
        assert_int_equal(e.position, rows[i].position);
    }
    struct d360_placeholders ph;
    assert_int_equal(data360__placeholders(arena, D360_QMARK, "select :a", 9, &ph, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "conflicting parameter style 'named'"));
    assert_non_null(strstr(e.text, "set to 'qmark'"));
}

static void positions_go_back(void **state)
{
    (void)state;
    /* "select :name, boom" was sent; the engine saw "select $1, boom" */
    const char *names[] = {"name"}, *back;
    size_t len;
    for (int64_t at = 0; at < 16; at++) {
        int64_t pos = at, end = at + 4;
        const char *sql = "select $1, boom";
        assert_int_equal(
            data360__restore(arena, D360_NAMED, names, 1, sql, strlen(sql), &pos, &end, &back, &len), 0);
        assert_string_equal(back, "select :name, boom");
        if (at <= 7)
            assert_int_equal(pos, at);
        if (at == 8)
            assert_int_equal(pos, 7); /* inside the placeholder: its start */
        if (at >= 9)
            assert_int_equal(pos, at + 3);
    }
    int64_t pos = 14, end = 18;
    const char *sql = "select $1, $2, boom"; /* "select ?, ?, boom" */
    pos = 15, end = 19;
    assert_int_equal(data360__restore(arena, D360_QMARK, NULL, 0, sql, strlen(sql), &pos, &end, &back, &len),
                     0);
    assert_string_equal(back, "select ?, ?, boom");
    assert_int_equal(pos, 13);
    assert_int_equal(end, 17);
}

/* Binds a JSON array to a statement. */
static int bind(enum d360_style style, const char *sql, const char *json, struct wire_param **ret,
                uint32_t *ret_n)
{
    struct d360_placeholders ph;
    struct json_doc *doc;
    err_clear(&e);
    assert_int_equal(data360__placeholders(arena, style, sql, strlen(sql), &ph, &e), 0);
    assert_int_equal(json_parse(json, strlen(json), &doc, NULL), 0);
    int r = data360__parameters(arena, style, &ph, json_root(doc), ret, &e);
    if (ret_n)
        *ret_n = ph.count;
    arena_on_free(arena, (void (*)(void *))json_doc_free, doc);
    return r;
}

static void binding(void **state)
{
    (void)state;
    struct wire_param *p;
    assert_int_equal(bind(D360_NAMED, ":a + :b",
                          "[{\"name\":\"b\",\"type\":\"int\",\"value\":2},{\"name\":\":a\",\"type\":\"int\","
                          "\"value\":\"1\"}]",
                          &p, NULL),
                     0);
    assert_string_equal(p[0].value, "1");
    assert_string_equal(p[1].value, "2");
    assert_int_equal(bind(D360_NAMED, ":a + :b + :a",
                          "[{\"type\":\"int\",\"value\":1},{\"type\":\"int\",\"value\":2}]", &p, NULL),
                     0);
    static const struct {
        enum d360_style style;
        const char *sql, *json, *says;
    } rows[] = {
        {D360_QMARK, "?", "[]", "1 parameters"},
        {D360_QMARK, "1", "[{\"type\":\"int\",\"value\":1}]", "0 parameters"},
        {D360_NAMED, ":a", "[{\"name\":\"a\",\"type\":\"int\",\"value\":1},{\"type\":\"int\",\"value\":1}]",
         "parameter 2"},
        {D360_NAMED, ":a", "[{\"name\":\"zz\",\"type\":\"int\",\"value\":1}]", ":zz"},
        {D360_NAMED, ":a+:b", "[{\"name\":\"a\",\"type\":\"int\",\"value\":1}]", ":b"},
        {D360_NAMED, ":a",
         "[{\"name\":\"a\",\"type\":\"int\",\"value\":1},{\"name\":\":a\",\"type\":\"int\",\"value\":1}]",
         "twice"},
        {D360_DOLLAR, "$2", "[{\"type\":\"int\",\"value\":1},{\"type\":\"int\",\"value\":1}]", "$1"},
        {D360_QMARK, "?", "[{\"value\":1}]", "parameter 1"},
        {D360_QMARK, "?", "[{\"type\":\"int\"}]", "parameter 1"},
        {D360_QMARK, "?", "[{\"type\":\"nope\",\"value\":1}]", "nope"},
        {D360_QMARK, "?", "[1]", "parameter 1"},
        {D360_QMARK, "?", "{}", "array"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int r = bind(rows[i].style, rows[i].sql, rows[i].json, &p, NULL);
        if (r != ERR_INVALID || !strstr(e.text, rows[i].says))
            fail_msg("%s %s -> %d %s", rows[i].sql, rows[i].json, r, e.text);
    }
}

static void values(void **state)
{
    (void)state;
    static const struct {
        const char *json, *type, *value, *sqlstate;
    } rows[] = {
        {"\"type\":\"VARCHAR\",\"value\":\"a'b\"", "VARCHAR", "a'b", ""},
        {"\"type\":\"varchar(3)\",\"value\":\"abcd\"", "", "", "22001"},
        {"\"type\":\"char\",\"length\":3,\"value\":\"abcd\"", "", "", "22001"},
        {"\"type\":\"boolean\",\"value\":true", "BOOLEAN", "true", ""},
        {"\"type\":\"bool\",\"value\":\"T\"", "BOOLEAN", "true", ""},
        {"\"type\":\"bool\",\"value\":\"perhaps\"", "", "", "22P02"},
        {"\"type\":\"int\",\"value\":30", "INTEGER", "30", ""},
        {"\"type\":\"integer\",\"value\":\"2147483648\"", "", "", "22003"},
        {"\"type\":\"integer\",\"value\":\"-2147483648\"", "INTEGER", "-2147483648", ""},
        {"\"type\":\"smallint\",\"value\":\"x\"", "", "", "22P02"},
        {"\"type\":\"smallint\",\"value\":1.5", "", "", "22P02"},
        {"\"type\":\"numeric\",\"value\":\"12.340\"", "DECIMAL(5,3)", "12.340", ""},
        {"\"type\":\"numeric\",\"value\":\"12345678901234567890123456789012345678.9\"", "", "", "22003"},
        {"\"type\":\"numeric(5,2)\",\"value\":\"1234.5\"", "", "", "22003"},
        {"\"type\":\"decimal\",\"precision\":10,\"scale\":2,\"value\":1", "DECIMAL(10,2)", "1", ""},
        {"\"type\":\"double\",\"value\":\"NaN\"", "DOUBLE", "NaN", ""},
        {"\"type\":\"float8\",\"value\":\"1e5x\"", "", "", "22P02"},
        {"\"type\":\"date\",\"value\":\"2024-02-29\"", "DATE", "2024-02-29", ""},
        {"\"type\":\"date\",\"value\":\"2023-02-29\"", "", "", "22007"},
        {"\"type\":\"date\",\"value\":\"2023-00-01\"", "", "", "22007"},
        {"\"type\":\"time\",\"value\":\"14:30:00.123456\"", "TIME", "14:30:00.123456", ""},
        {"\"type\":\"time\",\"value\":\"25:00\"", "", "", "22007"},
        {"\"type\":\"timestamp\",\"value\":\"2024-06-10T08:00:00\"", "TIMESTAMP", "2024-06-10T08:00:00", ""},
        {"\"type\":\"timestamptz\",\"value\":\"2024-06-10 08:00:00+02:00\"", "TIMESTAMP WITH TIME ZONE",
         "2024-06-10 08:00:00+02:00", ""},
        {"\"type\":\"timestamptz\",\"value\":\"yesterday\"", "", "", "22007"},
        {"\"type\":\"bytea\",\"value\":\"\\\\x00fF\"", "BLOB", "00fF", ""},
        {"\"type\":\"bytea\",\"value\":\"\\\\x0\"", "", "", "22P02"},
        {"\"type\":\"json\",\"value\":\"{\"", "", "", "22P02"},
        {"\"type\":\"varchar\",\"value\":[1]", "", "", "22023"},
        {"\"type\":\"varchar()\",\"value\":\"a\"", "", "", "42704"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char json[512];
        struct wire_param *p;
        snprintf(json, sizeof json, "[{%s}]", rows[i].json);
        int r = bind(D360_QMARK, "?", json, &p, NULL);
        if (rows[i].sqlstate[0]) {
            if (r != ERR_INVALID || strcmp(e.sqlstate, rows[i].sqlstate) != 0 ||
                !strstr(e.text, "parameter 1"))
                fail_msg("%s -> %d %s %s", json, r, e.sqlstate, e.text);
        } else {
            if (r || strcmp(p->type, rows[i].type) != 0 || p->value_len != strlen(rows[i].value) ||
                memcmp(p->value, rows[i].value, p->value_len) != 0)
                fail_msg("%s -> %d %s", json, r, e.text);
        }
    }
    struct wire_param *p;
    assert_int_equal(bind(D360_QMARK, "?", "[{\"type\":\"varchar\",\"value\":null}]", &p, NULL), 0);
    assert_true(p->is_null);
}

static int body(const char *text, struct d360_submit *ret)
{
    bool is_json;
    err_clear(&e);
    return data360__read_submit(arena, text, strlen(text), ret, &is_json, &e);
}

static void bodies(void **state)
{
    (void)state;
    struct d360_submit s;
    assert_int_equal(body("{\"sql\":\"select 1\"}", &s), 0);
    assert_false(s.async);
    assert_int_equal(s.row_limit, -1);
    assert_false(s.has_range);
    assert_int_equal(body("{\"sql\":\"select "
                          "?\",\"transferMode\":\"ADAPTIVE\",\"paramStyle\":\"QUESTION_MARK\",\"parameters\":"
                          "[{\"type\":\"varchar\","
                          "\"value\":\"EMEA\"}],\"settings\":{\"time_zone\":\"UTC\",\"timezone\":\"Etc/"
                          "UTC\",\"language\":\"de_DE\",\"query_timeout\":\"10s\","
                          "\"date_style\":\"x\"},\"resultRange\":{\"rowLimit\":10,\"byteLimit\":20971520},"
                          "\"queryRowLimit\":0}",
                          &s),
                     0);
    assert_string_equal(s.timezone, "Etc/UTC");
    assert_string_equal(s.language, "de_DE");
    assert_int_equal(s.run_timeout_ms, 10000);
    assert_int_equal(s.row_limit, 0);
    assert_true(s.has_range);
    static const struct {
        const char *body, *says;
    } bad[] = {
        {"{", "JSON"},
        {"[]", "object"},
        {"{}", "sql"},
        {"{\"sql\":1}", "sql"},
        {"{\"sql\":\" \"}", "sql"},
        {"{\"sql\":\"x\",\"transferMode\":\"SYNC\"}", "transferMode"},
        {"{\"sql\":\"x\",\"paramStyle\":\"X\"}", "paramStyle"},
        {"{\"sql\":\"x\",\"transferMode\":\"ASYNC\",\"resultRange\":{}}", "resultRange"},
        {"{\"sql\":\"x\",\"resultRange\":{\"rowLimit\":0}}", "rowLimit"},
        {"{\"sql\":\"x\",\"resultRange\":{\"byteLimit\":20971521}}", "byteLimit"},
        {"{\"sql\":\"x\",\"queryRowLimit\":-2}", "queryRowLimit"},
        {"{\"sql\":\"x\",\"queryRowLimit\":\"5\"}", "queryRowLimit"},
        {"{\"sql\":\"x\",\"settings\":{\"timezone\":1}}", "timezone"},
        {"{\"sql\":\"x\",\"settings\":{\"timezone\":\"a b\"}}", "timezone"},
        {"{\"sql\":\"x\",\"settings\":{\"query_timeout\":\"soon\"}}", "query_timeout"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int r = body(bad[i].body, &s);
        if (r != ERR_INVALID || !strstr(e.text, bad[i].says))
            fail_msg("%s -> %d %s", bad[i].body, r, e.text);
    }
    assert_int_equal(
        body("{\"sql\":\"select "
             "$1\",\"paramStyle\":\"DOLLAR_NUMBERED\",\"parameters\":[{\"type\":\"int\",\"value\":1}]}",
             &s),
        0);
}

static void many_placeholders(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(4u << 20);
    for (int i = 0; i < 200000; i++)
        buf_printf(&b, ":n%d,", i % 9000);
    struct d360_placeholders ph;
    assert_int_equal(data360__placeholders(arena, D360_NAMED, b.p, b.len, &ph, &e), 0);
    assert_int_equal(ph.count, 9000);
    buf_reset(&b);
    for (int i = 0; i < D360_PARAMS_MAX + 1; i++)
        buf_str_add(&b, "?,");
    assert_int_equal(data360__placeholders(arena, D360_QMARK, b.p, b.len, &ph, &e), ERR_INVALID);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rewrites),          cmocka_unit_test(conflicts), cmocka_unit_test(positions_go_back),
        cmocka_unit_test(binding),           cmocka_unit_test(values),    cmocka_unit_test(bodies),
        cmocka_unit_test(many_placeholders),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

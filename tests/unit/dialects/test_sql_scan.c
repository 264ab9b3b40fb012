/* sql_scan: tokens, and above all what is no placeholder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dialects/sql_scan.h"

/* The placeholders of a text, joined by blanks. */
static const char *placeholders(const char *sql)
{
    static char out[1024];
    struct sql_scan s;
    size_t n = 0;
    sql_scan_init(&s, sql, strlen(sql));
    for (struct sql_piece t = sql_scan_next(&s); t.token != SQL_END; t = sql_scan_next(&s))
        if (t.token == SQL_QMARK || t.token == SQL_NAMED || t.token == SQL_NUMBERED ||
            t.token == SQL_DOLLAR) {
            if (n)
                out[n++] = ' ';
            memcpy(out + n, sql + t.at, t.n);
            n += t.n;
        }
    out[n] = '\0';
    return out;
}

static void finds_placeholders(void **state)
{
    (void)state;
    assert_string_equal(placeholders("select ?, :a, $1, $x"), "? :a $1 $x");
    assert_string_equal(placeholders("select * from t where a=:a and b>:b_2"), ":a :b_2");
    assert_string_equal(placeholders("limit :n offset ?"), ":n ?");
    assert_string_equal(placeholders("[:a, :b]"), ":a :b");
    assert_string_equal(placeholders("ARRAY[:a], x in[:b]"), ":a :b");
    assert_string_equal(placeholders("f(:a)(:b)"), ":a :b");
    assert_string_equal(placeholders("a[f(:x)]"), ":x");
    assert_string_equal(placeholders("$12$13"), "$12 $13");
    assert_string_equal(placeholders("(?)::int"), "?");
    assert_string_equal(placeholders(":a::int"), ":a");
}

static void skips_the_rest(void **state)
{
    (void)state;
    assert_string_equal(placeholders("'?:a$1' \"?:a$1\""), "");
    assert_string_equal(placeholders("'it''s ?' ?"), "?");
    assert_string_equal(placeholders("E'a\\'?' ?"), "?");
    assert_string_equal(placeholders("'a\\' ? 'b'"), "?");
    assert_string_equal(placeholders("-- ? :a\n?"), "?");
    assert_string_equal(placeholders("/* ? /* ? */ ? */ :z"), ":z");
    assert_string_equal(placeholders("$$ ? $1 $$ ?"), "?");
    assert_string_equal(placeholders("$t$ ? $$ $1 $t$ $2"), "$2");
    assert_string_equal(placeholders("a::int, b :: text"), "");
    assert_string_equal(placeholders("f(x := 1, y:=2)"), "");
    assert_string_equal(placeholders("a[1:2], a[x:y], a[:y], a[1 :y]"), "");
    assert_string_equal(placeholders("{'k':v, k:w}"), "");
    assert_string_equal(placeholders("a$1 + b"), "");
    assert_string_equal(placeholders("'open ?"), "");
    assert_string_equal(placeholders("/* open ?"), "");
    assert_string_equal(placeholders("$q$ open ?"), "");
}

static void words(void **state)
{
    (void)state;
    struct sql_scan s;
    const char *sql = " /* x */ ShOw -- y\n CREATE;";
    sql_scan_init(&s, sql, strlen(sql));
    assert_true(sql_piece_is(&s, sql_scan_next(&s), "show"));
    assert_true(sql_piece_is(&s, sql_scan_next(&s), "create"));
    assert_int_equal(sql_scan_next(&s).token, SQL_SEMICOLON);
    assert_int_equal(sql_scan_next(&s).token, SQL_END);
    assert_int_equal(sql_scan_next(&s).token, SQL_END);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_placeholders),
        cmocka_unit_test(skips_the_rest),
        cmocka_unit_test(words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

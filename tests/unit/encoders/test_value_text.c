/* Tests of encoders/value_text: every type at its edges, in every profile, bare and as JSON. */
#include <math.h>

#include "sample.h"

/* neutral, kakao, data360, kylin, canner, jackdb: the order of enum text_profile */
struct expect {
    const char *text[TEXT_PROFILES], *json[TEXT_PROFILES];
};

static void check_row(const struct sample *s, uint64_t row, const struct expect *x)
{
    struct window w = sample_window(s);
    for (int p = 0; p < TEXT_PROFILES; p++) {
        struct buf b = BUF_INIT(1 << 16);
        if (x->text[p]) {
            assert_int_equal(value_text((enum text_profile)p, &w.columns[0], row, &b), 0);
            if (strcmp(buf_str(&b), x->text[p]) != 0)
                fail_msg("profile %d row %d: text is '%s', should be '%s'", p, (int)row, b.p, x->text[p]);
        }
        buf_reset(&b);
        assert_int_equal(value_json((enum text_profile)p, &w.columns[0], row, &b), 0);
        if (x->json[p] && strcmp(buf_str(&b), x->json[p]) != 0)
            fail_msg("profile %d row %d: JSON is '%s', should be '%s'", p, (int)row, b.p, x->json[p]);
        buf_free(&b);
    }
}

static void check(struct column c, struct cells v, const struct expect *x)
{
    struct sample s = pack(&c, 1, &v, v.length);
    struct err e;
    if (sample_check(&s, &e))
        fail_msg("%s", e.text);
    for (uint64_t i = 0; i < v.length; i++)
        check_row(&s, i, &x[i]);
    sample_free(&s);
}

#define SAME(t)                                                                                              \
    {                                                                                                        \
        t, t, t, t, t, t                                                                                     \
    }
/* JSON of a value whose text is the same everywhere and which is a number (or word) in JSON: kakao and jackdb
 * quote it */
#define BARE(t)                                                                                              \
    {                                                                                                        \
        SAME(t),                                                                                             \
        {                                                                                                    \
            t, "\"" t "\"", t, t, t, "\"" t "\""                                                             \
        }                                                                                                    \
    }
#define QUOTED(t)                                                                                            \
    {                                                                                                        \
        SAME(t), SAME("\"" t "\"")                                                                           \
    }

static void integers(void **state)
{
    (void)state;
    static const int64_t i64[] = {0, 9, 10, 99, 100, 9999, 10000, -1, 123456789012345, INT64_MAX, INT64_MIN};
    static const struct expect x64[] = {BARE("0"),
                                        BARE("9"),
                                        BARE("10"),
                                        BARE("99"),
                                        BARE("100"),
                                        BARE("9999"),
                                        BARE("10000"),
                                        BARE("-1"),
                                        BARE("123456789012345"),
                                        BARE("9223372036854775807"),
                                        BARE("-9223372036854775808")};
    static const int32_t i32[] = {INT32_MIN, INT32_MAX};
    static const struct expect x32[] = {BARE("-2147483648"), BARE("2147483647")};
    static const int16_t i16[] = {INT16_MIN, 255};
    static const struct expect x16[] = {BARE("-32768"), BARE("255")};
    static const struct expect xb[] = {BARE("true"), BARE("false")};
    check((struct column)COL("a", PHYS_INT64, SQLT_BIGINT), (struct cells){.length = 11, .values = i64}, x64);
    check((struct column)COL("a", PHYS_INT32, SQLT_INTEGER), (struct cells){.length = 2, .values = i32}, x32);
    check((struct column)COL("a", PHYS_INT16, SQLT_UTINYINT), (struct cells){.length = 2, .values = i16},
          x16);
    check((struct column)COL("a", PHYS_BOOL, SQLT_BOOLEAN), (struct cells){.length = 2, .bools = "10"}, xb);
}

#define DEC(t)                                                                                               \
    {                                                                                                        \
        SAME(t),                                                                                             \
        {                                                                                                    \
            t, "\"" t "\"", t, t, "\"" t "\"", "\"" t "\""                                                   \
        }                                                                                                    \
    }
/* A number that lies as text: Data 360 has no type that wide, so its cell is a string like its metadata's. */
#define WIDE(t)                                                                                              \
    {                                                                                                        \
        SAME(t),                                                                                             \
        {                                                                                                    \
            t, "\"" t "\"", "\"" t "\"", t, "\"" t "\"", "\"" t "\""                                         \
        }                                                                                                    \
    }
static void decimals(void **state)
{
    (void)state;
    __extension__ __int128 big = 1;
    for (int i = 0; i < 38; i++)
        big *= 10;
    __extension__ const __int128 v[] = {150, -5, 0, big - 1, 1 - big, (__int128)INT64_MAX * 100};
    static const struct expect x[] = {DEC("1.50"),
                                      DEC("-0.05"),
                                      DEC("0.00"),
                                      DEC("999999999999999999999999999999999999.99"),
                                      DEC("-999999999999999999999999999999999999.99"),
                                      DEC("9223372036854775807.00")};
    struct column c = COL("a", PHYS_DECIMAL, SQLT_DECIMAL);
    c.precision = 38;
    c.scale = 2;
    check(c, (struct cells){.length = 6, .values = v}, x);
    static const struct expect all[] = {DEC("0.00000000000000000000000000000000000150"),
                                        DEC("-0.00000000000000000000000000000000000005")};
    c.scale = 38;
    check(c, (struct cells){.length = 2, .values = v}, all);
    static const struct expect huge[] = {DEC("150"), DEC("-5"), DEC("0"),
                                         DEC("99999999999999999999999999999999999999")};
    c.scale = 0;
    c.sql = SQLT_HUGEINT;
    check(c, (struct cells){.length = 4, .values = v}, huge);
    static const char *const t[] = {"340282366920938463463374607431768211455", "NaN", "1.5e", "-0.5"};
    static const struct expect text[] = {WIDE("340282366920938463463374607431768211455"), QUOTED("NaN"),
                                         QUOTED("1.5e"), WIDE("-0.5")};
    check((struct column)COL("a", PHYS_UTF8, SQLT_UHUGEINT), (struct cells){.length = 4, .texts = t}, text);
}

#define REAL(point, java, digits)                                                                            \
    {                                                                                                        \
        {point, java, point, java, java, digits},                                                            \
        {                                                                                                    \
            point, "\"" java "\"", point, java, java, "\"" digits "\""                                       \
        }                                                                                                    \
    }
static void doubles(void **state)
{
    (void)state;
    static const double d[] = {100,    91063.82, 0.1,    1e7,           1e16,
                               100000, 1e-3,     1e-4,   1e-5,          12345678901234567890.0,
                               -0.0,   1e21,     1.5e-7, 123456789.125, 1e15};
    static const struct expect x[] = {
        REAL("100.0", "100.0", "100"),
        REAL("91063.82", "91063.82", "91063.82"),
        REAL("0.1", "0.1", "0.1"),
        REAL("10000000.0", "1.0E7", "10000000"),
        REAL("1e+16", "1.0E16", "10000000000000000"),
        REAL("100000.0", "100000.0", "100000"),
        REAL("0.001", "0.001", "0.001"),
        REAL("0.0001", "1.0E-4", "0.0001"),
        REAL("1e-05", "1.0E-5", "0.00001"),
        REAL("1.2345678901234567e+19", "1.2345678901234567E19", "12345678901234567000"),
        REAL("-0.0", "-0.0", "-0"),
        REAL("1e+21", "1.0E21", "1000000000000000000000"),
        REAL("1.5e-07", "1.5E-7", "0.00000015"),
        REAL("123456789.125", "1.23456789125E8", "123456789.125"),
        REAL("1000000000000000.0", "1.0E15", "1000000000000000")};
    check((struct column)COL("a", PHYS_FLOAT64, SQLT_DOUBLE), (struct cells){.length = COUNT(d), .values = d},
          x);
    const double odd[] = {NAN, INFINITY, -INFINITY};
    static const struct expect xo[] = {QUOTED("NaN"), QUOTED("Infinity"), QUOTED("-Infinity")};
    check((struct column)COL("a", PHYS_FLOAT64, SQLT_DOUBLE), (struct cells){.length = 3, .values = odd}, xo);
    const float f[] = {0.1f, 3.4028235e38f, 1e-45f, 16777216};
    static const struct expect xf[] = {
        REAL("0.1", "0.1", "0.1"),
        REAL("3.4028235e+38", "3.4028235E38", "340282350000000000000000000000000000000"),
        {{"1e-45", "1.4E-45", "1e-45", "1.4E-45", "1.4E-45", NULL}, {NULL}},
        REAL("16777216.0", "1.6777216E7", "16777216")};
    check((struct column)COL("a", PHYS_FLOAT32, SQLT_FLOAT), (struct cells){.length = 4, .values = f}, xf);
    const double edge[] = {1.7976931348623157e308, 5e-324, -1.7976931348623157e308, -2.2250738585072014e-308};
    struct column c = COL("a", PHYS_FLOAT64, SQLT_DOUBLE);
    struct cells v = {.length = 4, .values = edge};
    struct sample s = pack(&c, 1, &v, 4);
    struct window w = sample_window(&s);
    for (uint64_t i = 0; i < 4; i++) {
        for (int p = 0; p < TEXT_PROFILES; p++) {
            struct buf b = BUF_INIT(1000);
            assert_int_equal(value_text((enum text_profile)p, &w.columns[0], i, &b), 0);
            assert_true(strtod(buf_str(&b), NULL) == edge[i] || (i == 1 && p != TEXT_NEUTRAL));
            buf_free(&b);
        }
    }
    sample_free(&s);
}

#define DAY INT64_C(86400000)
static void dates(void **state)
{
    (void)state;
    static const int64_t v[] = {0,
                                9809 * DAY,
                                -1 * DAY,
                                SCHEMA_DATE_INFINITY,
                                -SCHEMA_DATE_INFINITY,
                                2932897 * DAY,
                                -719528 * DAY,
                                -735160 * DAY,
                                106751991167 * DAY};
#define DATE(pg, java)                                                                                       \
    {                                                                                                        \
        {pg, java, pg, java, java, pg},                                                                      \
        {                                                                                                    \
            "\"" pg "\"", "\"" java "\"", "\"" pg "\"", "\"" java "\"", "\"" java "\"", "\"" pg "\""         \
        }                                                                                                    \
    }
    static const struct expect x[] = {QUOTED("1970-01-01"),
                                      QUOTED("1996-11-09"),
                                      QUOTED("1969-12-31"),
                                      QUOTED("infinity"),
                                      QUOTED("-infinity"),
                                      DATE("10000-01-01", "+10000-01-01"),
                                      DATE("0001-12-31 BC", "0000-12-31"),
                                      DATE("0044-03-15 BC", "-0043-03-15"),
                                      DATE("292278994-08-17", "+292278994-08-17")};
    int64_t w[COUNT(v)];
    memcpy(w, v, sizeof v);
    w[6] = -719528 * DAY + 365 * DAY; /* year 0 is a leap year: 0000-12-31 */
    check((struct column)COL("a", PHYS_DATE, SQLT_DATE), (struct cells){.length = COUNT(w), .values = w}, x);
}

static void stamps(void **state)
{
    (void)state;
    static const int64_t v[] = {1732583928000000, 1732583928120000,   1732583928123456,   -1,       INT64_MAX,
                                -INT64_MAX,       -62135596800000001, 253402300800000000, INT64_MIN};
#define T "2024-11-26T01:18:48"
#define S "2024-11-26 01:18:48"
    static const struct expect x[] = {
        {{S ".000", S ".000", T, S, S ".000", T ".000"},
         {"\"" S ".000\"", "\"" S ".000\"", "\"" T "\"", "\"" T ".000+0000\"", "\"" S ".000\"",
          "\"" T ".000\""}},
        {{S ".120", S ".120", T ".120", S ".12", S ".120", T ".120"}, {NULL}},
        {{S ".123456", S ".123456", T ".123456", S ".123", S ".123456", T ".123"}, {NULL}},
        {{"1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999", "1969-12-31T23:59:59.999999",
          "1969-12-31 23:59:59.999", "1969-12-31 23:59:59.999999", "1969-12-31T23:59:59.999"},
         {NULL}},
        QUOTED("infinity"),
        QUOTED("-infinity"),
        {{"0001-12-31 23:59:59.999999 BC", "0000-12-31 23:59:59.999999", "0001-12-31T23:59:59.999999 BC",
          NULL, NULL, NULL},
         {NULL}},
        {{"10000-01-01 00:00:00.000", "+10000-01-01 00:00:00.000", "10000-01-01T00:00:00", NULL, NULL, NULL},
         {NULL}},
        {{"290309-12-21 19:59:05.224192 BC", NULL, NULL, NULL, NULL, NULL}, {NULL}},
    };
    check((struct column)COL("a", PHYS_TIMESTAMP, SQLT_TIMESTAMP),
          (struct cells){.length = COUNT(v), .values = v}, x);
    static const struct expect z[] = {{{S ".000+00:00", S ".000 UTC", T "+00:00", S, S ".000 UTC", T ".000Z"},
                                       {"\"" S ".000+00:00\"", "\"" S ".000 UTC\"", "\"" T "+00:00\"",
                                        "\"" T ".000+0000\"", "\"" S ".000 UTC\"", "\"" T ".000Z\""}}};
    check((struct column)COL("a", PHYS_TIMESTAMPTZ, SQLT_TIMESTAMPTZ),
          (struct cells){.length = 1, .values = v}, z);
}

static void times(void **state)
{
    (void)state;
    static const int64_t v[] = {52200000000, 86399999999, 86400000000, 500000};
    static const struct expect x[] = {
        {{"14:30:00.000", "14:30:00.000", "14:30:00", "14:30:00", "14:30:00.000", "14:30:00"},
         {"\"14:30:00.000\"", "\"14:30:00.000\"", "\"14:30:00\"", "\"14:30:00\"", "\"14:30:00.000\"",
          "\"14:30:00\""}},
        {{"23:59:59.999999", "23:59:59.999999", "23:59:59.999999", "23:59:59.999", "23:59:59.999999",
          "23:59:59.999999"},
         {NULL}},
        {{"24:00:00.000", NULL, "24:00:00", NULL, NULL, NULL}, {NULL}},
        {{"00:00:00.500", NULL, "00:00:00.500", "00:00:00.5", NULL, "00:00:00.5"}, {NULL}},
    };
    check((struct column)COL("a", PHYS_TIME, SQLT_TIME), (struct cells){.length = 4, .values = v}, x);
}

static void intervals(void **state)
{
    (void)state;
    static const struct interval v[] = {{0, 0, 0},
                                        {0, 1, 0},
                                        {14, 0, 0},
                                        {-5, 0, 0},
                                        {14, 3, 14706500000000},
                                        {0, 1, -3600000000000},
                                        {0, 0, -1500000},
                                        {INT32_MIN, INT32_MIN, INT64_MIN},
                                        {0, 0, 1001},
                                        {0, 0, 1000001}};
#define IV(trino, iso)                                                                                       \
    {                                                                                                        \
        {trino, trino, iso, trino, trino, trino},                                                            \
        {                                                                                                    \
            "\"" trino "\"", "\"" trino "\"", "\"" iso "\"", "\"" trino "\"", "\"" trino "\"",               \
                "\"" trino "\""                                                                              \
        }                                                                                                    \
    }
    static const struct expect x[] = {
        IV("0 00:00:00.000", "PT0S"),
        IV("1 00:00:00.000", "P1D"),
        IV("1-2", "P1Y2M"),
        IV("-0-5", "P-5M"),
        IV("1-2 3 04:05:06.500", "P1Y2M3DT4H5M6.5S"),
        IV("0 23:00:00.000", "P1DT-1H"),
        IV("-0 00:00:00.001500", "PT-0.0015S"),
        IV("-178956970-8 -2147590399 23:47:16.854775808",
           "P-178956970Y-8M-2147483648DT-2562047H-47M-16.854775808S"),
        IV("0 00:00:00.000001001", "PT0.000001001S"),
        IV("0 00:00:00.001000001", "PT0.001000001S"),
    };
    check((struct column)COL("a", PHYS_INTERVAL, SQLT_INTERVAL),
          (struct cells){.length = COUNT(v), .values = v}, x);
}

static void texts(void **state)
{
    (void)state;
    static const char *const t[] = {"", "a\"b\\\n\t\r\b\f\x01\x7f", "\xED\x95\x9C\xE2\x80\xA8", "a\0b"};
    static const size_t lens[] = {0, 11, 6, 3};
    static const struct expect x[] = {
        QUOTED(""),
        {SAME("a\"b\\\n\t\r\b\f\x01\x7f"), SAME("\"a\\\"b\\\\\\n\\t\\r\\b\\f\\u0001\x7f\"")},
        QUOTED("\xED\x95\x9C\xE2\x80\xA8"),
        {SAME("a"), SAME("\"a\\u0000b\"")}};
    check((struct column)COL("a", PHYS_UTF8, SQLT_VARCHAR),
          (struct cells){.length = 4, .texts = t, .lens = lens}, x);
    static const char *const b[] = {"", "\x00\xff\x10"};
    static const size_t blens[] = {0, 3};
    static const struct expect xb[] = {
        {{"", "", "\\x", "", "", ""}, {"\"\"", "\"\"", "\"\\\\x\"", "\"\"", "\"\"", "\"\""}},
        {{"00ff10", "00ff10", "\\x00ff10", "00ff10", "00ff10", "00ff10"},
         {"\"00ff10\"", "\"00ff10\"", "\"\\\\x00ff10\"", "\"00ff10\"", "\"AP8Q\"", "\"00ff10\""}}};
    check((struct column)COL("a", PHYS_BINARY, SQLT_BLOB),
          (struct cells){.length = 2, .texts = b, .lens = blens}, xb);
}

static void json_type(void **state)
{
    (void)state;
    static const char *const t[] = {"{\"a\": [1, 2.5e3,\n null]}",
                                    "{\"a\":",
                                    "[1,]",
                                    "\"x\"",
                                    " true ",
                                    "",
                                    "01",
                                    "[}",
                                    "{\"a\" 1}",
                                    "\"\\u12g4\"",
                                    "[[],{}]"};
    static const char *const x[] = {"{\"a\": [1, 2.5e3,  null]}",
                                    "\"{\\\"a\\\":\"",
                                    "\"[1,]\"",
                                    "\"x\"",
                                    " true ",
                                    "\"\"",
                                    "\"01\"",
                                    "\"[}\"",
                                    "\"{\\\"a\\\" 1}\"",
                                    "\"\\\"\\\\u12g4\\\"\"",
                                    "[[],{}]"};
    struct column c = COL("a", PHYS_UTF8, SQLT_JSON);
    struct cells v = {.length = COUNT(t), .texts = t};
    struct sample s = pack(&c, 1, &v, COUNT(t));
    struct window w = sample_window(&s);
    struct buf b = BUF_INIT(1000000);
    for (uint64_t i = 0; i < COUNT(t); i++) {
        buf_reset(&b);
        assert_int_equal(value_json(TEXT_DATA360, &w.columns[0], i, &b), 0);
        assert_string_equal(buf_str(&b), x[i]);
    }
    buf_reset(&b);
    assert_int_equal(value_json(TEXT_NEUTRAL, &w.columns[0], 3, &b), 0);
    assert_string_equal(buf_str(&b), "\"\\\"x\\\"\"");
    sample_free(&s);

    char *deep = malloc(2001); /* deeper than anybody reads: a string */
    memset(deep, '[', 1000);
    memset(deep + 1000, ']', 1000);
    deep[2000] = 0;
    const char *const one[] = {deep};
    struct cells dv = {.length = 1, .texts = one};
    s = pack(&c, 1, &dv, 1);
    w = sample_window(&s);
    buf_reset(&b);
    assert_int_equal(value_json(TEXT_DATA360, &w.columns[0], 0, &b), 0);
    assert_int_equal(b.p[0], '"');
    sample_free(&s);
    free(deep);
    buf_free(&b);
}

static void nested(void **state)
{
    (void)state;
    struct sample s = every_type();
    struct window w = sample_window(&s);
    static const struct {
        int col;
        struct expect x[2];
    } t[] = {
        {14,
         {{{"[1, null, 3]", "[1, null, 3]", "[1, null, 3]", "[1,null,3]", "[1, null, 3]", "[1, null, 3]"},
           {"[1,null,3]", "\"[1, null, 3]\"", "[1,null,3]", "[1,null,3]", "[1,null,3]", "\"[1, null, 3]\""}},
          {{"[]", "[]", "[]", "[]", "[]", "[]"}, {"[]", "\"[]\"", "[]", "[]", "[]", "\"[]\""}}}},
        {15,
         {{{"{x=a, y=1.50}", "{x=a, y=1.50}", "{x=a, y=1.50}", "{\"x\":\"a\",\"y\":1.50}", "{x=a, y=1.50}",
            "{x=a, y=1.50}"},
           {"{\"x\":\"a\",\"y\":1.50}", "\"{x=a, y=1.50}\"", "{\"x\":\"a\",\"y\":1.50}",
            "{\"x\":\"a\",\"y\":1.50}", "[\"a\",\"1.50\"]", "\"{x=a, y=1.50}\""}},
          {{"{x=b\", y=-0.01}", NULL, NULL, NULL, NULL, NULL},
           {"{\"x\":\"b\\\"\",\"y\":-0.01}", "\"{x=b\\\", y=-0.01}\"", NULL, NULL, NULL, NULL}}}},
        {16,
         {{{"{k1=1.5, k\n2=-0.0}", "{k1=1.5, k\n2=-0.0}", NULL, "{\"k1\":1.5,\"k\\n2\":-0.0}", NULL,
            "{k1=1.5, k\n2=-0}"},
           {"{\"k1\":1.5,\"k\\n2\":-0.0}", "\"{k1=1.5, k\\n2=-0.0}\"", NULL, NULL,
            "{\"k1\":1.5,\"k\\n2\":-0.0}", NULL}},
          {{"{}", "{}", "{}", "{}", "{}", "{}"}, {"{}", "\"{}\"", "{}", "{}", "{}", "\"{}\""}}}},
    };
    for (size_t i = 0; i < COUNT(t); i++) {
        struct window_column c = w.columns[t[i].col];
        struct column *col = s.schema->columns;
        struct sample one = s;
        struct schema sub = {.ncolumns = 1, .columns = &col[t[i].col]};
        one.schema = &sub;
        (void)c;
        check_row(&one, 0, &t[i].x[0]);
        check_row(&one, 1, &t[i].x[1]);
        struct buf b = BUF_INIT(100);
        assert_int_equal(value_json(TEXT_NEUTRAL, &w.columns[t[i].col], 2, &b), 0);
        assert_string_equal(buf_str(&b), "null");
        buf_free(&b);
    }
    sample_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),  cmocka_unit_test(decimals), cmocka_unit_test(doubles),
        cmocka_unit_test(dates),     cmocka_unit_test(stamps),   cmocka_unit_test(times),
        cmocka_unit_test(intervals), cmocka_unit_test(texts),    cmocka_unit_test(json_type),
        cmocka_unit_test(nested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

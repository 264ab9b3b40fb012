/* json_read and json_write: strictness, positions in messages, big integers, escaping against a plain model. */
#include "unit.h"

#include "base/json_read.h"
#include "base/json_write.h"
#include "base/utf8.h"

static void accepts(void **state)
{
    (void)state;
    const char *text =
        " {\"s\":\"\\u00e9\\ud83d\\ude00\",\"i\":-9223372036854775808,\"r\":1.5,\"b\":[true,false,null],"
        "\"o\":{\"x\":1,\"y\":{}},\"big\":9223372036854775808,\"r2\":0.1,"
        "\"bigger\":-123456789012345678901234567890,\"e\":1e2,"
        "\"long\":-0.12345678901234567890,\"after\":[36893488147419103232,1.50]} ";
    CLEANUP_JSON struct json_doc *d = NULL;
    struct err e;
    assert_int_equal(json_parse(text, strlen(text), &d, &e), 0);
    json_value r = json_root(d);
    assert_int_equal(json_kind(r), JSON_OBJECT);
    assert_int_equal(json_size(r), 11);
    size_t n = 0;
    assert_string_equal(json_string(json_get(r, "s"), &n), "\xC3\xA9\xF0\x9F\x98\x80");
    assert_int_equal(n, 6);
    int64_t i = 0;
    assert_true(json_int(json_get(r, "i"), &i));
    assert_true(i == INT64_MIN);
    double v = 0;
    assert_true(json_real(json_get(r, "r"), &v) && v == 1.5);
    assert_true(json_real(json_get(r, "i"), &v));
    assert_false(json_int(json_get(r, "r"), &i));
    bool b = false;
    assert_true(json_boolean(json_at(json_get(r, "b"), 0), &b) && b);
    assert_true(json_boolean(json_at(json_get(r, "b"), 1), &b) && !b);
    assert_int_equal(json_kind(json_at(json_get(r, "b"), 2)), JSON_NULL);
    assert_null(json_at(json_get(r, "b"), 3));
    assert_null(json_get(r, "absent"));
    assert_null(json_get(json_get(r, "b"), "x"));
    assert_int_equal(json_kind(NULL), JSON_ABSENT);
    assert_int_equal(json_size(NULL), 0);
    const char *key = NULL;
    assert_non_null(json_member(json_get(r, "o"), 1, &key));
    assert_string_equal(key, "y");
    assert_null(json_member(json_get(r, "o"), 2, &key));
    char out[64];
    assert_int_equal(json_number_text(json_get(r, "big"), out, sizeof out), 19);
    assert_string_equal(out, "9223372036854775808");
    assert_int_equal(json_kind(json_get(r, "big")), JSON_REAL);
    assert_true(json_number_text(json_get(r, "bigger"), out, sizeof out) > 0);
    assert_string_equal(out, "-123456789012345678901234567890");
    json_number_text(json_get(r, "r2"), out, sizeof out);
    assert_string_equal(out, "0.1");
    json_number_text(json_get(r, "e"), out, sizeof out);
    assert_string_equal(out, "1e2");
    json_number_text(json_get(r, "long"), out, sizeof out);
    assert_string_equal(out, "-0.12345678901234567890");
    json_number_text(json_at(json_get(r, "after"), 1), out, sizeof out);
    assert_string_equal(out, "1.50");
    json_number_text(json_get(r, "i"), out, sizeof out);
    assert_string_equal(out, "-9223372036854775808");
    assert_int_equal(json_number_text(json_get(r, "i"), out, 5), ERR_LIMIT);
    assert_int_equal(json_number_text(json_get(r, "s"), out, 64), ERR_INVALID);

    const char *scalars[] = {"0",     "-0",  "\"x\"", "null", "true", "[]", "{}", "18446744073709551616",
                             " 1 \n", "1E+2"};
    for (size_t k = 0; k < sizeof scalars / sizeof *scalars; k++) {
        CLEANUP_JSON struct json_doc *one = NULL;
        assert_int_equal(json_parse(scalars[k], strlen(scalars[k]), &one, NULL), 0);
    }
}

static int parse_exact(const char *s, size_t n, struct err *e)
{
    struct json_doc *d = NULL;
    char *copy = malloc(n + (n == 0));
    memcpy(copy, s, n);
    int r = json_parse(copy, n, &d, e);
    free(copy);
    if (r < 0)
        assert_null(d);
    json_doc_free(d);
    return r;
}

static void refuses(void **state)
{
    (void)state;
    const char *bad[] = {
        "",
        " ",
        "{",
        "}",
        "[",
        "[1",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\"}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "1 2",
        "{} x",
        "nul",
        "nulll",
        "True",
        "01",
        "-",
        "-a",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x1",
        "NaN",
        "Infinity",
        "1e999",
        "\"",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"a\nb\"",
        "\"\t\"",
        "\"\x80\"",
        "\"\xC0\x80\"",
        "\"\xED\xA0\x80\"",
        "\"\xF5\x80\x80\x80\"",
        "\xEF\xBB\xBF{}",
        "// x\n1",
        "/**/1",
        "[1]]",
        "99999999999999999999a",
        "[99999999999999999999 1]",
        "-99999999999999999999-",
        "099999999999999999999",
    };
    struct err e;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (parse_exact(bad[i], strlen(bad[i]), &e) != ERR_INVALID)
            fail_msg("accepted: %s", bad[i]);
        assert_memory_equal(e.text, "line ", 5);
        parse_exact(bad[i], strlen(bad[i]), NULL);
    }
    assert_int_equal(parse_exact("1\0", 2, &e), ERR_INVALID);
    assert_int_equal(parse_exact("[1\0]", 4, &e), ERR_INVALID);
    assert_int_equal(parse_exact("\0", 1, &e), ERR_INVALID);
    assert_int_equal(parse_exact("\"a\0b\"", 5, &e), ERR_INVALID);

    char huge[400];
    memset(huge, '9', sizeof huge);
    assert_int_equal(parse_exact(huge, sizeof huge, &e), ERR_INVALID);

    char deep[200];
    for (size_t n = 63; n <= 66; n++) {
        memset(deep, '[', n);
        memset(deep + n, ']', n);
        assert_int_equal(parse_exact(deep, 2 * n, &e), n <= 64 ? 0 : ERR_INVALID);
    }
    memset(deep, '[', sizeof deep);
    assert_int_equal(parse_exact(deep, sizeof deep, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "64 levels"));
}

static void says_where(void **state)
{
    (void)state;
    struct err e;
    const char *text = "{\n  \"\xEA\xB0\x80\": 99999999999999999999, \"b\": [1, x]}";
    assert_int_equal(parse_exact(text, strlen(text), &e), ERR_INVALID);
    assert_int_equal(e.line, 2);
    const char *second = strchr(text, '\n') + 1;
    int column = (int)utf8_length(second, (size_t)(strchr(text, 'x') - second)) + 1;
    assert_true(abs(e.column - column) <= 1); /* before or after the token */
}

static void bounds_values(void **state)
{
    (void)state;
    struct err e;
    size_t n = JSON_READ_VALUES_MAX; /* elements, and the array is one more */
    char *text = malloc(2 * n + 2), *p = text;
    *p++ = '[';
    for (size_t i = 0; i < n; i++) {
        *p++ = '1';
        *p++ = ',';
    }
    p[-1] = ']';
    assert_int_equal(parse_exact(text, (size_t)(p - text), &e), ERR_INVALID);
    p[-3] = ']'; /* one element less: exactly the limit */
    assert_int_equal(parse_exact(text, (size_t)(p - text) - 2, &e), 0);
    free(text);
}

static void writes(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf b = BUF_INIT(4096);
    struct json_write w = JSON_WRITE_INIT(&b);
    json_object_begin(&w);
    json_kstr(&w, "a\"", "x\\\n\x01");
    json_kstr(&w, "n", NULL);
    json_ki64(&w, "i", INT64_MIN);
    json_kbool(&w, "t", true);
    json_key(&w, "l");
    json_array_begin(&w);
    json_double(&w, 0.1);
    json_double(&w, 1.0 / 0.0);
    json_u64(&w, UINT64_MAX);
    json_object_begin(&w);
    json_object_end(&w);
    json_array_begin(&w);
    json_array_end(&w);
    json_bool(&w, false);
    json_null(&w);
    json_raw(&w, "{\"r\":1}", 7);
    json_array_end(&w);
    json_key(&w, "z");
    json_strn(&w, "ab", 1);
    json_object_end(&w);
    const char *text = buf_str(&b);
    assert_string_equal(
        text,
        "{\"a\\\"\":\"x\\\\\\n\\u0001\",\"n\":null,\"i\":-9223372036854775808,\"t\":true,\"l\":[0.1,null,"
        "18446744073709551615,{},[],false,null,{\"r\":1}],\"z\":\"a\"}");
    assert_int_equal(parse_exact(text, strlen(text), NULL), 0);

    buf_reset(&b);
    w = JSON_WRITE_INIT(&b);
    for (int i = 0; i < 100; i++)
        json_array_begin(&w);
    for (int i = 0; i < 100; i++)
        json_array_end(&w);
    assert_true(buf_failed(&b));

    CLEANUP_BUF struct buf tiny = BUF_INIT(5);
    w = JSON_WRITE_INIT(&tiny);
    json_str(&w, "too long for it");
    assert_true(buf_failed(&tiny));
}

/* What json_escape must do, byte for byte, in the plainest way. */
static void model(struct buf *b, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        int k = utf8_next(s + i, n - i, &cp);
        const char *names = "\"\"\\\\\bb\ff\nn\rr\tt", *at = NULL;
        for (const char *p = names; k == 1 && *p; p += 2)
            if (*p == s[i])
                at = p + 1;
        if (k < 0)
            buf_str_add(b, UTF8_REPLACEMENT);
        else if (at)
            buf_printf(b, "\\%c", *at);
        else if (cp < 0x20)
            buf_printf(b, "\\u%04x", cp);
        else
            buf_add(b, s + i, (size_t)k);
        i += (size_t)(k < 0 ? -k : k);
    }
}

static void escapes(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a",
                                         "0123456789abcdef",
                                         "\"",
                                         "\\",
                                         "\n",
                                         "\x1F",
                                         "\x7F",
                                         "\xEA\xB0\x80",
                                         "\xE2\x80\xA8",
                                         "\xF0\x9F\x98\x80",
                                         "\xC3\xA9",
                                         "\xFF",
                                         "\xEA\xB0",
                                         "\xF0\x9F",
                                         "\xC0",
                                         "\x80",
                                         " "};
    CLEANUP_BUF struct buf in = BUF_INIT(65536), out = BUF_INIT(65536), want = BUF_INIT(65536);
    uint64_t x = 1;
    for (int round = 0; round < 30000; round++) {
        buf_reset(&in);
        buf_reset(&out);
        buf_reset(&want);
        for (size_t parts = (size_t)(round % 40); parts > 0; parts--) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            buf_str_add(&in, pieces[(x >> 33) % (round % 2 ? 17 : 11)]);
        }
        char *exact = malloc(in.len + (in.len == 0));
        if (in.len > 0)
            memcpy(exact, in.p, in.len);
        assert_int_equal(json_escape(&out, exact, in.len), 0);
        model(&want, exact, in.len);
        free(exact);
        assert_int_equal(out.len, want.len);
        assert_true(out.len == 0 || memcmp(out.p, want.p, out.len) == 0);
        assert_true(out.len == 0 || utf8_valid(out.p, out.len));
    }
    buf_reset(&out);
    assert_int_equal(json_escape(&out, "\0", 1), 0);
    assert_string_equal(buf_str(&out), "\\u0000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),       cmocka_unit_test(refuses), cmocka_unit_test(says_where),
        cmocka_unit_test(bounds_values), cmocka_unit_test(writes),  cmocka_unit_test(escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

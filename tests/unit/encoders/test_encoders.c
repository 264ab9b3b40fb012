/* Tests of the row formats: exact bytes, quoting, repeated names, pausing at any byte, ceilings. */
#include "sample.h"

static void encode(const char *format, const struct encode_options *o, const struct window *w, size_t step,
                   struct buf *all)
{
    const struct encoder *k = encoder_find(format);
    struct encode_state st = {0};
    struct buf out = BUF_INIT(1 << 22);
    struct err e;
    uint64_t row = 0, next;
    assert_non_null(k);
    assert_int_equal(encode_head(k, o, &st, w->schema, all, &e), 0);
    while (row < w->rows) {
        buf_reset(&out);
        assert_int_equal(encode_rows(k, o, &st, w, row, w->rows, step, &out, &next, &e), 0);
        assert_true(next > row);
        if (next < w->rows)
            assert_true(out.len >= step);
        row = next;
        assert_int_equal(buf_add(all, out.p, out.len), 0);
    }
    assert_int_equal(st.rows_done, w->rows);
    assert_int_equal(encode_tail(k, o, &st, w->schema, all, &e), 0);
    buf_free(&out);
}

static void same(const char *format, struct encode_options o, const struct sample *s, const char *want)
{
    struct window w = sample_window(s);
    struct buf b = BUF_INIT(1 << 22);
    encode(format, &o, &w, SIZE_MAX, &b);
    if (strcmp(buf_str(&b), want) != 0)
        fail_msg("%s gives\n%s\nshould be\n%s", format, b.p, want);
    buf_free(&b);
}

static struct sample small(void)
{
    static struct column c[] = {COL("n", PHYS_INT32, SQLT_INTEGER), COL("a b", PHYS_UTF8, SQLT_VARCHAR),
                                COL("n", PHYS_UTF8, SQLT_VARCHAR),  COL("x,\"y", PHYS_FLOAT64, SQLT_DOUBLE),
                                COL("n", PHYS_BOOL, SQLT_BOOLEAN),  COL("n_1", PHYS_INT16, SQLT_SMALLINT)};
    static const int32_t n[] = {1, -2, 3};
    static const char *const t[] = {"", "a,b", "say \"x\"\nand a much longer text, over 16 bytes"},
                             *const u[] = {"#1", NULL, "<>"};
    static const double d[] = {1, 0.5, 0};
    static const int16_t k[] = {7, 8, 9};
    const struct cells v[] = {
        {.length = 3, .values = n, .nulls = "110"},    {.length = 3, .texts = t},
        {.length = 3, .texts = u, .nulls = "101"},     {.length = 3, .values = d, .nulls = "110"},
        {.length = 3, .bools = "101", .nulls = "110"}, {.length = 3, .values = k}};
    return pack(c, COUNT(c), v, 3);
}

static void csv(void **state)
{
    (void)state;
    struct sample s = small();
    same("csv", (struct encode_options){.header = true}, &s,
         "n,a b,n,\"x,\"\"y\",n,n_1\n"
         "1,\"\",\"#1\",1.0,true,7\n"
         "-2,\"a,b\",,0.5,false,8\n"
         ",\"say \"\"x\"\"\nand a much longer text, over 16 bytes\",<>,,,9\n");
    same("csv", (struct encode_options){.profile = TEXT_KAKAO, .header = true, .quote_all = true}, &s,
         "\"n\",\"a b\",\"n\",\"x,\"\"y\",\"n\",\"n_1\"\n"
         "\"1\",\"\",\"#1\",\"1.0\",\"true\",\"7\"\n"
         "\"-2\",\"a,b\",,\"0.5\",\"false\",\"8\"\n"
         ",\"say \"\"x\"\"\nand a much longer text, over 16 bytes\",\"<>\",,,\"9\"\n");
    same("csv",
         (struct encode_options){
             .profile = TEXT_KYLIN, .header = true, .header_bare = true, .separator = "<>"},
         &s,
         "n<>a b<>n<>x,\"y<>n<>n_1\n"
         "1<><>#1<>1.0<>true<>7\n"
         "-2<>a,b<><>0.5<>false<>8\n"
         "<>\"say \"\"x\"\"\nand a much longer text, over 16 bytes\"<>\"<>\"<><><>9\n");
    same("csv", (struct encode_options){.separator = "."}, &s,
         "1.\"\".\"#1\".\"1.0\".true.7\n"
         "-2.a,b..\"0.5\".false.8\n"
         ".\"say \"\"x\"\"\nand a much longer text, over 16 bytes\".<>...9\n");
    sample_free(&s);
}

static void json(void **state)
{
    (void)state;
    struct sample s = small();
    same("json", (struct encode_options){0}, &s,
         "[{\"n\":1,\"a b\":\"\",\"n_2\":\"#1\",\"x,\\\"y\":1.0,\"n_3\":true,\"n_1\":7},\n"
         "{\"n\":-2,\"a b\":\"a,b\",\"n_2\":null,\"x,\\\"y\":0.5,\"n_3\":false,\"n_1\":8},\n"
         "{\"n\":null,\"a b\":\"say \\\"x\\\"\\nand a much longer text, over 16 "
         "bytes\",\"n_2\":\"<>\",\"x,\\\"y\":null,\"n_3\":null,\"n_1\":9}]");
    same("rows", (struct encode_options){.profile = TEXT_KAKAO}, &s,
         "[[\"1\",\"\",\"#1\",\"1.0\",\"true\",\"7\"],[\"-2\",\"a,b\",null,\"0.5\",\"false\",\"8\"],"
         "[null,\"say \\\"x\\\"\\nand a much longer text, over 16 bytes\",\"<>\",null,null,\"9\"]]");
    same("ndjson", (struct encode_options){.profile = TEXT_KYLIN}, &s,
         "{\"n\":1,\"a b\":\"\",\"n_2\":\"#1\",\"x,\\\"y\":1.0,\"n_3\":true,\"n_1\":7}\n"
         "{\"n\":-2,\"a b\":\"a,b\",\"x,\\\"y\":0.5,\"n_3\":false,\"n_1\":8}\n"
         "{\"a b\":\"say \\\"x\\\"\\nand a much longer text, over 16 bytes\",\"n_2\":\"<>\",\"n_1\":9}\n");
    s.ix->rows = 2;
    same("strings", (struct encode_options){.profile = TEXT_KYLIN}, &s,
         "[\"{\\\"n\\\":1,\\\"a "
         "b\\\":\\\"\\\",\\\"n_2\\\":\\\"#1\\\",\\\"x,\\\\\\\"y\\\":1.0,\\\"n_3\\\":true,\\\"n_1\\\":7}\","
         "\"{\\\"n\\\":-2,\\\"a "
         "b\\\":\\\"a,b\\\",\\\"x,\\\\\\\"y\\\":0.5,\\\"n_3\\\":false,\\\"n_1\\\":8}\"]");
    sample_free(&s);
}

static void one_column(void **state)
{
    (void)state;
    struct column c[] = {COL("a", PHYS_UTF8, SQLT_VARCHAR)};
    static const char *const t[] = {NULL, "", "x"};
    struct cells v[] = {{.length = 3, .texts = t, .nulls = "011"}};
    struct sample s = pack(c, 1, v, 3);
    same("csv", (struct encode_options){.header = true}, &s, "a\n\n\"\"\nx\n");
    same("csv", (struct encode_options){.profile = TEXT_KYLIN}, &s, "\n\nx\n");
    same("rows", (struct encode_options){.profile = TEXT_DATA360}, &s, "[[null],[\"\"],[\"x\"]]");
    same("ndjson", (struct encode_options){.profile = TEXT_KYLIN}, &s, "{}\n{\"a\":\"\"}\n{\"a\":\"x\"}\n");
    sample_free(&s);
    s = pack(c, 1, &(struct cells){.length = 0, .texts = t}, 0);
    same("json", (struct encode_options){0}, &s, "[]");
    same("csv", (struct encode_options){.header = true}, &s, "a\n");
    same("ndjson", (struct encode_options){0}, &s, "");
    sample_free(&s);
}

/* Whatever the pauses, the bytes are the same; every cell equals what value_text and value_json say. */
static void pauses(void **state)
{
    (void)state;
    static const char *const formats[] = {"csv", "json", "ndjson", "rows", "strings"};
    struct sample s = every_type();
    struct window w = sample_window(&s);
    for (size_t f = 0; f < COUNT(formats); f++) {
        for (int p = 0; p < TEXT_PROFILES; p++) {
            struct encode_options o = {
                .profile = (enum text_profile)p, .header = true, .quote_all = p == TEXT_KAKAO};
            struct buf all = BUF_INIT(1 << 20);
            encode(formats[f], &o, &w, SIZE_MAX, &all);
            for (size_t step = 1; step < 1200; step += 7) {
                struct buf b = BUF_INIT(1 << 20);
                encode(formats[f], &o, &w, step, &b);
                assert_int_equal(b.len, all.len);
                assert_memory_equal(b.p, all.p, b.len);
                buf_free(&b);
            }
            if (!strcmp(formats[f], "rows")) { /* the fast writers and the slow ones agree */
                struct buf b = BUF_INIT(1 << 20);
                buf_char(&b, '[');
                for (uint64_t r = 0; r < w.rows; r++) {
                    buf_str_add(&b, r ? ",[" : "[");
                    for (uint32_t i = 0; i < s.schema->ncolumns; i++) {
                        if (i)
                            buf_char(&b, ',');
                        assert_int_equal(value_json(o.profile, &w.columns[i], r, &b), 0);
                    }
                    buf_char(&b, ']');
                }
                buf_char(&b, ']');
                assert_string_equal(buf_str(&b), buf_str(&all));
                buf_free(&b);
            }
            buf_free(&all);
        }
    }
    sample_free(&s);
}

/* At every ceiling: an error and whole rows, or the full text; never a byte outside. */
static void ceilings(void **state)
{
    (void)state;
    static const char *const formats[] = {"csv", "json", "ndjson", "rows", "strings", "arrow"};
    struct sample s = every_type();
    struct window w = sample_window(&s);
    for (size_t f = 0; f < COUNT(formats); f++) {
        const struct encoder *k = encoder_find(formats[f]);
        int failed = 0, done = 0;
        for (size_t ceiling = 0; ceiling < 6000; ceiling += 13) {
            struct encode_options o = {.profile = TEXT_KAKAO, .quote_all = true};
            struct encode_state st = {0};
            struct buf out = BUF_INIT(ceiling);
            struct err e;
            uint64_t next = 99;
            int rc = k->put_rows(&o, &st, &w, 0, w.rows, SIZE_MAX, &out, &next, &e);
            assert_true(out.len <= ceiling);
            if (rc) {
                assert_int_equal(rc, ERR_LIMIT);
                assert_int_equal(next, 99);
                failed++;
            } else {
                assert_int_equal(next, w.rows);
                done++;
            }
            buf_free(&out);
        }
        assert_true(failed && done);
    }
    sample_free(&s);
}

static void long_texts(void **state)
{
    (void)state;
    struct column c[] = {COL("a", PHYS_UTF8, SQLT_VARCHAR), COL("b", PHYS_UTF8, SQLT_VARCHAR)};
    char *plain = malloc(100001), *bad = malloc(100001);
    memset(plain, 'x', 100000);
    memset(bad, 1, 100000);
    plain[100000] = bad[100000] = 0;
    const char *t[] = {plain, bad}, *u[] = {bad, "\""};
    struct cells v[] = {{.length = 2, .texts = t}, {.length = 2, .texts = u}};
    struct sample s = pack(c, 2, v, 2);
    struct window w = sample_window(&s);
    struct buf b = BUF_INIT(1 << 21);
    encode("rows", &(struct encode_options){0}, &w, SIZE_MAX, &b);
    assert_int_equal(b.len, 2 + 3 + 2 * 2 + 4 * 2 + 100000 + 600000 + 600000 + 2);
    buf_reset(&b);
    encode("csv", &(struct encode_options){0}, &w, SIZE_MAX, &b);
    assert_int_equal(b.len, 100000 + 1 + 100000 + 1 + 100000 + 1 + 4 + 1);
    buf_free(&b);
    sample_free(&s);
    free(plain);
    free(bad);
}

/* Each text length and each place of a character that needs care, at the end of the data, where 16-byte steps
 * must stop. */
static void text_edges(void **state)
{
    (void)state;
    struct column c[] = {COL("a", PHYS_UTF8, SQLT_VARCHAR)};
    char t[64];
    const char *texts[] = {t};
    for (size_t n = 1; n < 50; n++) {
        for (size_t at = 0; at <= n; at++) {
            memset(t, 'y', n);
            t[n] = 0;
            if (at < n)
                t[at] = '"';
            struct cells v[] = {{.length = 1, .texts = texts}};
            struct sample s = pack(c, 1, v, 1);
            struct window w = sample_window(&s);
            char *exact = malloc(n); /* nothing readable behind it */
            memcpy(exact, t, n);
            w.columns[0].data = (const uint8_t *)exact;
            struct buf b = BUF_INIT(1000);
            encode("csv", &(struct encode_options){0}, &w, SIZE_MAX, &b);
            assert_int_equal(b.len, n + 1 + (at < n ? 3 : 0));
            buf_reset(&b);
            encode("rows", &(struct encode_options){0}, &w, SIZE_MAX, &b);
            assert_int_equal(b.len, 4 + n + 2 + (at < n ? 1 : 0));
            buf_free(&b);
            free(exact);
            sample_free(&s);
        }
    }
}

static void many_names(void **state)
{
    (void)state;
    enum { N = 3000 };
    struct column *c = calloc(N, sizeof *c);
    struct cells *v = calloc(N, sizeof *v);
    static const int16_t one[] = {1};
    for (int i = 0; i < N; i++) {
        c[i] = (struct column)COL("a", PHYS_INT16, SQLT_SMALLINT);
        v[i] = (struct cells){.length = 1, .values = one};
    }
    struct sample s = pack(c, N, v, 1);
    struct window w = sample_window(&s);
    struct buf b = BUF_INIT(1 << 20);
    encode("ndjson", &(struct encode_options){0}, &w, SIZE_MAX, &b);
    assert_non_null(strstr(buf_str(&b), "{\"a\":1,\"a_1\":1,"));
    assert_non_null(strstr(buf_str(&b), ",\"a_2999\":1}\n"));
    buf_free(&b);
    sample_free(&s);
    free(c);
    free(v);
}

static void names(void **state)
{
    (void)state;
    assert_null(encoder_find("xml"));
    assert_null(encoder_find(""));
    assert_true(encoder_find("rows")->dialect_only);
    assert_false(encoder_find("csv")->dialect_only);
    assert_string_equal(encoder_names(), "csv|json|ndjson|arrow");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv),        cmocka_unit_test(json),       cmocka_unit_test(one_column),
        cmocka_unit_test(pauses),     cmocka_unit_test(ceilings),   cmocka_unit_test(long_texts),
        cmocka_unit_test(text_edges), cmocka_unit_test(many_names), cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

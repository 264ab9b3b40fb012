/* Tests of encoders/batch and batch_check: true batches pass, every lie is found, and what passes can be
 * encoded in every way. */
#include "sample.h"

static void encode_all(const struct window *w)
{
    static const char *const formats[] = {"csv", "json", "ndjson", "rows", "strings", "arrow"};
    for (size_t f = 0; f < COUNT(formats); f++) {
        for (int p = 0; p < TEXT_PROFILES; p++) {
            const struct encoder *k = encoder_find(formats[f]);
            struct encode_options o = {.profile = (enum text_profile)p, .header = true};
            struct encode_state st = {0};
            struct buf out = BUF_INIT(1 << 24);
            uint64_t next = 0;
            assert_int_equal(k->head(&o, w->schema, &out, NULL), 0);
            assert_int_equal(k->put_rows(&o, &st, w, 0, w->rows, SIZE_MAX, &out, &next, NULL), 0);
            assert_int_equal(next, w->rows);
            assert_int_equal(k->tail(&o, &st, w->schema, &out, NULL), 0);
            buf_free(&out);
        }
    }
}

static void truth(void **state)
{
    (void)state;
    struct sample s = every_type();
    struct err e;
    assert_int_equal(sample_check(&s, &e), 0);
    struct window w = sample_window(&s);
    assert_int_equal(w.rows, 3);
    assert_true(window_is_null(&w.columns[0], 2));
    encode_all(&w);
    sample_free(&s);
}

static void no_rows(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    struct column c[] = {COL("a", PHYS_UTF8, SQLT_VARCHAR), COL("b", PHYS_INT64, SQLT_BIGINT)};
    struct cells v[] = {{.texts = none}, {.length = 0}};
    struct sample s = pack(c, 2, v, 0);
    assert_int_equal(sample_check(&s, NULL), 0);
    struct window w = sample_window(&s);
    encode_all(&w);
    sample_free(&s);
}

/* Random bytes changed in index and body: either found, or everything that reads the batch stays inside it
 * (the sanitizer watches). */
static void bent(void **state)
{
    (void)state;
    struct sample s = every_type();
    struct buf ixb = BUF_INIT(1 << 20);
    assert_int_equal(batch_index_write(s.ix, &ixb), 0);
    uint64_t seed = 42;
    int passed = 0;
    struct err e;
    for (int i = 0; i < 20000; i++) {
        char *index = malloc(ixb.len), *body = malloc(s.body.len);
        memcpy(index, ixb.p, ixb.len);
        memcpy(body, s.body.p, s.body.len);
        if (dice(&seed) % 4 == 0)
            index[dice(&seed) % ixb.len] ^= (char)(1 << dice(&seed) % 8);
        for (uint32_t k = dice(&seed) % 3; k; k--)
            body[dice(&seed) % s.body.len] = (char)dice(&seed);
        struct arena *a = arena_new(1 << 20);
        struct batch_index *ix;
        int rc = batch_index_read(index, ixb.len, s.schema, a, &ix, &e);
        if (!rc) {
            assert_int_equal(ix->body_len, s.body.len); /* the caller's check */
            rc = batch_check(s.schema, ix, (const uint8_t *)body, &e);
        }
        assert_true(rc == 0 || rc == ERR_CORRUPT);
        if (!rc) {
            struct window w;
            assert_int_equal(window_of_batch(s.schema, ix, (const uint8_t *)body, 0, a, &w), 0);
            if (passed++ % 8 == 0)
                encode_all(&w);
        }
        arena_free(a);
        free(index);
        free(body);
    }
    assert_true(passed > 1000);
    buf_free(&ixb);
    sample_free(&s);
}

static void index_cut(void **state)
{
    (void)state;
    struct sample s = every_type();
    struct buf b = BUF_INIT(1 << 20);
    struct batch_index *ix;
    struct arena *a = arena_new(1 << 24);
    assert_int_equal(batch_index_write(s.ix, &b), 0);
    for (size_t n = 0; n < b.len; n++) {
        char *copy = malloc(n + 1);
        memcpy(copy, b.p, n);
        assert_int_equal(batch_index_read(copy, n, s.schema, a, &ix, NULL), ERR_CORRUPT);
        free(copy);
    }
    arena_free(a);
    buf_free(&b);
    sample_free(&s);
}

#define LIE(change)                                                                                          \
    do {                                                                                                     \
        struct sample s = every_type();                                                                      \
        struct err e;                                                                                        \
        uint8_t *body = (uint8_t *)s.body.p;                                                                 \
        struct batch_index *ix = s.ix;                                                                       \
        (void)body;                                                                                          \
        (void)ix;                                                                                            \
        change;                                                                                              \
        if (sample_check(&s, &e) != ERR_CORRUPT)                                                             \
            fail_msg("not found: %s", #change);                                                              \
        sample_free(&s);                                                                                     \
    } while (0)
#define AT(col, n)          (body + ix->buffers[s.schema->columns[col].first_buffer + (n)].offset)
#define PUT(type, where, v) memcpy((where), &(type){v}, sizeof(type))

static void lies(void **state)
{
    (void)state;
    LIE(ix->rows = 4);
    LIE(ix->rows = UINT64_MAX);
    LIE(ix->body_len += 8);
    LIE(ix->body_len -= 8);
    LIE(ix->nodes[0].length = 2);
    LIE(ix->nodes[0].null_count = 0);
    LIE(ix->nodes[0].null_count = 4);
    LIE(ix->buffers[1].offset += 8);
    LIE(ix->buffers[1].length = UINT64_MAX - 3);
    LIE(ix->buffers[2].length = 0);
    LIE(ix->nodes[ix->nnodes - 1].length = 1); /* a map's values */
    LIE(*AT(0, 0) = 7);                        /* no NULL, but one is counted */
    LIE(AT(0, 0)[3] = 1);                      /* padding */
    LIE(PUT(int32_t, AT(7, 1), 1));            /* offsets of the text: first */
    LIE(PUT(int32_t, AT(7, 1) + 4, 1000));     /* falls afterwards */
    LIE(PUT(int32_t, AT(7, 1) + 4, -1));
    LIE(PUT(int32_t, AT(7, 1) + 12, 5));                                 /* last */
    LIE(PUT(int32_t, AT(7, 1) + 4, 17); PUT(int32_t, AT(7, 1) + 8, 18)); /* inside a Hangul syllable */
    LIE(AT(7, 2)[0] = 0xff);
    LIE(AT(7, 2)[17] = 'x');
    LIE(PUT(int64_t, AT(9, 1), 86400001)); /* a date and a bit */
    LIE(PUT(int64_t, AT(9, 1) + 8, INT64_MIN));
    LIE(PUT(int64_t, AT(10, 1), 86400000001));
    LIE(PUT(int64_t, AT(10, 1), -1));
    LIE(__extension__ PUT(__int128, AT(6, 1), 1000000000000000000)); /* 10^18 in DECIMAL(18,4) */
    LIE(PUT(int32_t, AT(14, 1) + 12, 2));                            /* list offsets against the child */
    LIE(ix->nodes[every_entry[0].node].null_count = 1); /* neither entries nor keys of a map are NULL */
    LIE(ix->nodes[every_pair[0].node].null_count = 1);
}

static void long_texts(void **state)
{
    (void)state;
    char *t[130];
    const char *texts[130];
    for (size_t i = 0; i < COUNT(t); i++) {
        t[i] = malloc(i + 4);
        memset(t[i], 'a', i);
        memcpy(t[i] + i, i % 2 ? "\xC3\xA9" : "b\0", 3);
        texts[i] = t[i];
    }
    struct column c[] = {COL("a", PHYS_UTF8, SQLT_VARCHAR)};
    struct cells v[] = {{.length = COUNT(t), .texts = texts}};
    struct sample s = pack(c, 1, v, COUNT(t));
    assert_int_equal(sample_check(&s, NULL), 0);
    struct window w = sample_window(&s);
    encode_all(&w);
    s.body.p[s.ix->buffers[2].offset + s.ix->buffers[2].length - 1] = '\xC3';
    assert_int_equal(sample_check(&s, NULL), ERR_CORRUPT);
    sample_free(&s);
    for (size_t i = 0; i < COUNT(t); i++)
        free(t[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truth),     cmocka_unit_test(no_rows), cmocka_unit_test(bent),
        cmocka_unit_test(index_cut), cmocka_unit_test(lies),    cmocka_unit_test(long_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

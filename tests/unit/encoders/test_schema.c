/* Tests of encoders/schema: round trip, and hostile bytes. */
#include "sample.h"

static struct buf written(void)
{
    struct sample s = every_type();
    struct buf b = BUF_INIT(1 << 20);
    assert_int_equal(schema_write(s.schema, &b), 0);
    sample_free(&s);
    return b;
}

static void round_trip(void **state)
{
    (void)state;
    struct sample s = every_type();
    struct buf b = written();
    struct arena *a = arena_new(1 << 20);
    struct schema *r;
    struct err e;
    assert_int_equal(schema_read(b.p, b.len, a, &r, &e), 0);
    assert_true(schema_equal(s.schema, r));
    assert_int_equal(r->nnodes, s.schema->nnodes);
    assert_int_equal(r->nbuffers, s.schema->nbuffers);
    r->columns[0].sql = SQLT_OTHER;
    assert_false(schema_equal(s.schema, r));
    arena_free(a);
    buf_free(&b);
    sample_free(&s);
}

static void cut_and_bent(void **state)
{
    (void)state;
    struct buf b = written();
    uint64_t seed = 1;
    struct err e;
    struct schema *r;
    for (size_t n = 0; n < b.len; n++) {
        struct arena *a = arena_new(1 << 20);
        char *copy = malloc(n + 1); /* the sanitizer sees a step too far */
        memcpy(copy, b.p, n);
        assert_true(schema_read(copy, n, a, &r, &e) < 0);
        free(copy);
        arena_free(a);
    }
    for (int i = 0; i < 30000; i++) {
        struct arena *a = arena_new(1 << 22);
        char *copy = malloc(b.len);
        memcpy(copy, b.p, b.len);
        for (uint32_t k = dice(&seed) % 3 + 1; k; k--)
            copy[dice(&seed) % b.len] = (char)dice(&seed);
        int rc = schema_read(copy, b.len, a, &r, &e);
        assert_true(rc == 0 || rc == ERR_CORRUPT || rc == ERR_LIMIT);
        free(copy);
        arena_free(a);
    }
    buf_free(&b);
}

static int read_one(struct column c)
{
    struct schema s = {.ncolumns = 1, .columns = &c}, *r;
    struct buf b = BUF_INIT(1 << 20);
    struct arena *a = arena_new(1 << 24);
    struct err e;
    assert_int_equal(schema_write(&s, &b), 0);
    int rc = schema_read(b.p, b.len, a, &r, &e);
    arena_free(a);
    buf_free(&b);
    return rc;
}

static void lies(void **state)
{
    (void)state;
    struct column ok = COL("a", PHYS_DECIMAL, SQLT_DECIMAL), c;
    ok.precision = 38;
    ok.scale = 38;
    assert_int_equal(read_one(ok), 0);
    c = ok;
    c.precision = 39;
    assert_int_equal(read_one(c), ERR_CORRUPT);
    c = ok;
    c.precision = 0;
    assert_int_equal(read_one(c), ERR_CORRUPT);
    c = ok;
    c.precision = 10;
    assert_int_equal(read_one(c), ERR_CORRUPT);
    c = ok;
    c.sql = SQLT_BIGINT;
    assert_int_equal(read_one(c), ERR_CORRUPT);
    c = ok;
    c.name = "\xff";
    assert_int_equal(read_one(c), ERR_CORRUPT);
    c = ok;
    c.detail = "\xed\xa0\x80";
    assert_int_equal(read_one(c), ERR_CORRUPT);
    c = (struct column)COL("", PHYS_LIST, SQLT_LIST);
    assert_int_equal(read_one(c), ERR_CORRUPT);
    c = (struct column)COL("", PHYS_STRUCT, SQLT_STRUCT);
    assert_int_equal(read_one(c), ERR_CORRUPT);
    c = (struct column)COL("", PHYS_UTF8, SQLT_DECIMAL);
    assert_int_equal(read_one(c), 0); /* written as text */
    c = (struct column)COL("", PHYS_INT64, SQLT_BIGINT);
    c.scale = 1;
    assert_int_equal(read_one(c), ERR_CORRUPT);
    struct column kid = COL("", PHYS_INT64, SQLT_BIGINT);
    c = (struct column)COL("", PHYS_MAP, SQLT_MAP);
    c.nchildren = 1;
    c.children = &kid;
    assert_int_equal(read_one(c), ERR_CORRUPT);
    c = (struct column)COL("", PHYS_INT64, SQLT_BIGINT);
    c.nchildren = 1;
    c.children = &kid;
    assert_int_equal(read_one(c), ERR_CORRUPT);
}

static void depth(void **state)
{
    (void)state;
    struct column c[SCHEMA_DEPTH_MAX + 1];
    for (int i = 0; i <= SCHEMA_DEPTH_MAX; i++) {
        c[i] = (struct column)COL("", PHYS_LIST, SQLT_LIST);
        c[i].nchildren = 1;
        if (i < SCHEMA_DEPTH_MAX)
            c[i].children = &c[i + 1];
    }
    c[SCHEMA_DEPTH_MAX] = (struct column)COL("", PHYS_INT16, SQLT_TINYINT);
    struct schema s = {.ncolumns = 1, .columns = c};
    struct err e;
    assert_int_equal(read_one(c[0]), ERR_LIMIT);
    assert_int_equal(schema_number(&s, &e), ERR_LIMIT);
    assert_int_equal(read_one(c[1]), 0);
}

static void empty_schema(void **state)
{
    (void)state;
    struct schema s = {0}, *r;
    struct buf b = BUF_INIT(100);
    struct arena *a = arena_new(1 << 20);
    assert_int_equal(schema_write(&s, &b), 0);
    assert_int_equal(schema_read(b.p, b.len, a, &r, NULL), 0);
    assert_int_equal(r->ncolumns, 0);
    arena_free(a);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip), cmocka_unit_test(cut_and_bent), cmocka_unit_test(lies),
        cmocka_unit_test(depth),      cmocka_unit_test(empty_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

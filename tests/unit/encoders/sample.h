/*
 * sample: batches for tests of the encoders. A `struct cells` says what a column holds; pack() lays it out as
 * body and index exactly as an engine process would. Everything lives in one arena, one thread.
 */
#ifndef QUERN_TESTS_SAMPLE_H
#define QUERN_TESTS_SAMPLE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../../columns.h"

struct cells {
    uint64_t length;
    const char *nulls;        /* one character a row, '0' is NULL; NULL pointer: no NULLs */
    const void *values;       /* fixed width */
    const char *bools;        /* one character a row, '1' is true */
    const char *const *texts; /* UTF8 and BINARY; lens may be NULL */
    const size_t *lens;
    const int32_t *offsets; /* LIST, MAP */
    const struct cells *children;
};

struct sample {
    struct arena *a;
    struct schema *schema;
    struct batch_index *ix;
    struct buf body;
};

static inline void pad(struct buf *b)
{
    while (b->len & 7)
        assert_int_equal(buf_char(b, 0), 0);
}

static inline void put_buffer(struct sample *s, uint32_t number, const void *p, size_t n)
{
    s->ix->buffers[number] = (struct batch_buffer){s->body.len, n};
    if (n)
        assert_int_equal(buf_add(&s->body, p, n), 0);
    pad(&s->body);
}

static inline void pack_bits(struct sample *s, uint32_t number, const char *bits, uint64_t n)
{
    uint8_t *b = arena_alloc(s->a, n / 8 + 1);
    assert_non_null(b);
    for (uint64_t i = 0; i < n; i++)
        if (bits[i] != '0')
            b[i / 8] = (uint8_t)(b[i / 8] | 1u << (i & 7));
    put_buffer(s, number, b, (n + 7) / 8);
}

static inline void pack_column(struct sample *s, const struct column *c, const struct cells *v)
{
    uint64_t nulls = 0;
    for (uint64_t i = 0; v->nulls && i < v->length; i++)
        nulls += v->nulls[i] == '0';
    s->ix->nodes[c->node] = (struct batch_node){v->length, nulls};
    if (v->nulls)
        pack_bits(s, c->first_buffer, v->nulls, v->length);
    else
        put_buffer(s, c->first_buffer, NULL, 0);
    uint32_t k = c->first_buffer + 1;
    switch (c->phys) {
    case PHYS_BOOL:
        pack_bits(s, k, v->bools, v->length);
        break;
    case PHYS_UTF8:
    case PHYS_BINARY: {
        struct buf data = BUF_INIT(1 << 26);
        int32_t *o = arena_alloc(s->a, 4 * (v->length + 1));
        assert_non_null(o);
        for (uint64_t i = 0; i < v->length; i++) {
            const char *t = v->texts[i] ? v->texts[i] : "";
            assert_int_equal(buf_add(&data, t, v->lens ? v->lens[i] : strlen(t)), 0);
            o[i + 1] = (int32_t)data.len;
        }
        put_buffer(s, k, o, 4 * (v->length + 1));
        put_buffer(s, k + 1, data.p, data.len);
        buf_free(&data);
        break;
    }
    case PHYS_LIST:
    case PHYS_MAP:
        put_buffer(s, k, v->offsets, 4 * (v->length + 1));
        break;
    case PHYS_STRUCT:
        break;
    default:
        put_buffer(s, k, v->values, v->length * phys_width(c->phys));
    }
    for (uint32_t i = 0; i < c->nchildren; i++)
        pack_column(s, &c->children[i], &v->children[i]);
}

/* The schema is numbered here; columns must outlive the sample. */
static inline struct sample pack(struct column *columns, uint32_t n, const struct cells *v, uint64_t rows)
{
    struct sample s = {.a = arena_new(1 << 28)};
    buf_init(&s.body, 1 << 28);
    assert_int_equal(buf_reserve(&s.body, 64), 0);
    s.schema = arena_alloc(s.a, sizeof *s.schema);
    s.ix = arena_alloc(s.a, sizeof *s.ix);
    s.schema->ncolumns = n;
    s.schema->columns = columns;
    assert_int_equal(schema_number(s.schema, NULL), 0);
    s.ix->rows = rows;
    s.ix->nnodes = s.schema->nnodes;
    s.ix->nbuffers = s.schema->nbuffers;
    s.ix->nodes = arena_alloc(s.a, 16u * (s.ix->nnodes + 1u));
    s.ix->buffers = arena_alloc(s.a, 16u * (s.ix->nbuffers + 1u));
    for (uint32_t i = 0; i < n; i++)
        pack_column(&s, &columns[i], &v[i]);
    s.ix->body_len = s.body.len;
    return s;
}

static inline void sample_free(struct sample *s)
{
    buf_free(&s->body);
    arena_free(s->a);
}

static inline struct window sample_window(const struct sample *s)
{
    struct window w;
    assert_int_equal(window_of_batch(s->schema, s->ix, (const uint8_t *)s->body.p, 0, s->a, &w), 0);
    return w;
}

/* Index written, read back and checked; the body checked: the way of every real batch. */
static inline int sample_check(const struct sample *s, struct err *e)
{
    struct buf b = BUF_INIT(1 << 24);
    struct batch_index *ix;
    struct arena *a = arena_new(1 << 24);
    assert_int_equal(batch_index_write(s->ix, &b), 0);
    assert_int_equal(b.len, batch_index_size(s->ix->nnodes, s->ix->nbuffers));
    int rc = batch_index_read(b.p, b.len, s->schema, a, &ix, e);
    if (!rc)
        rc = batch_check(s->schema, ix, (const uint8_t *)s->body.p, e);
    buf_free(&b);
    arena_free(a);
    return rc;
}

/* ---- one batch with every type, two rows and then one of NULLs ---- */

#define EVERY_ROWS 3
static struct column every_list[] = {COL("item", PHYS_INT32, SQLT_INTEGER)};
static struct column every_fields[] = {COL("x", PHYS_UTF8, SQLT_VARCHAR),
                                       COL("y", PHYS_DECIMAL, SQLT_DECIMAL)};
static struct column every_pair[] = {COL("key", PHYS_UTF8, SQLT_VARCHAR),
                                     COL("value", PHYS_FLOAT64, SQLT_DOUBLE)};
static struct column every_entry[] = {{.name = "entries",
                                       .detail = "",
                                       .phys = PHYS_STRUCT,
                                       .sql = SQLT_STRUCT,
                                       .nchildren = 2,
                                       .children = every_pair}};
static struct column every_column[] = {
    COL("b", PHYS_BOOL, SQLT_BOOLEAN),
    COL("i16", PHYS_INT16, SQLT_SMALLINT),
    COL("i32", PHYS_INT32, SQLT_INTEGER),
    COL("i64", PHYS_INT64, SQLT_BIGINT),
    COL("f", PHYS_FLOAT32, SQLT_FLOAT),
    COL("d", PHYS_FLOAT64, SQLT_DOUBLE),
    COL("dec", PHYS_DECIMAL, SQLT_DECIMAL),
    COL("t", PHYS_UTF8, SQLT_VARCHAR),
    COL("bin", PHYS_BINARY, SQLT_BLOB),
    COL("date", PHYS_DATE, SQLT_DATE),
    COL("time", PHYS_TIME, SQLT_TIME),
    COL("ts", PHYS_TIMESTAMP, SQLT_TIMESTAMP),
    COL("tz", PHYS_TIMESTAMPTZ, SQLT_TIMESTAMPTZ),
    COL("iv", PHYS_INTERVAL, SQLT_INTERVAL),
    {.name = "l",
     .detail = "INTEGER[]",
     .phys = PHYS_LIST,
     .sql = SQLT_LIST,
     .nullable = true,
     .nchildren = 1,
     .children = every_list},
    {.name = "s",
     .detail = "",
     .phys = PHYS_STRUCT,
     .sql = SQLT_STRUCT,
     .nullable = true,
     .nchildren = 2,
     .children = every_fields},
    {.name = "m",
     .detail = "",
     .phys = PHYS_MAP,
     .sql = SQLT_MAP,
     .nullable = true,
     .nchildren = 1,
     .children = every_entry},
};
struct interval {
    int32_t months, days;
    int64_t ns;
};

static inline struct sample every_type(void)
{
    static const int16_t i16[] = {INT16_MIN, 7, 0};
    static const int32_t i32[] = {INT32_MIN, 12345, 0}, list[] = {1, 0, 3}, list_offsets[] = {0, 3, 3, 3},
                         map_offsets[] = {0, 2, 2, 2};
    static const int64_t i64[] = {INT64_MIN, INT64_MAX, 0}, date[] = {847497600000, -SCHEMA_DATE_INFINITY, 5};
    static const int64_t time_us[] = {52200000000, 86399999999, -5},
                         stamp[] = {1732583928000000, 1732583928123456, 0};
    static const float f[] = {0.1f, 1e10f, 0};
    static const double d[] = {100, 91063.82, 0}, map_d[] = {1.5, -0.0};
    __extension__ static const __int128 dec[] = {-1234567, 5, 0}, y[] = {150, -1, 0};
    static const struct interval iv[] = {{14, 3, 14706500000000}, {0, 0, 0}, {0, 0, 0}};
    static const char *const t[] = {"it's \"quoted\", \xED\x95\x9C\n", "", NULL}, *const bin[] = {"\x01\xab",
                                                                                                  "", NULL};
    static const char *const x[] = {"a", "b\"", NULL}, *const keys[] = {"k1", "k\n2"};
    static const struct cells list_child[] = {{3, "101", list, NULL, NULL, NULL, NULL, NULL}};
    static const struct cells fields[] = {{3, "110", NULL, NULL, x, NULL, NULL, NULL},
                                          {3, NULL, y, NULL, NULL, NULL, NULL, NULL}};
    static const struct cells pair[] = {{2, NULL, NULL, NULL, keys, NULL, NULL, NULL},
                                        {2, NULL, map_d, NULL, NULL, NULL, NULL, NULL}};
    static const struct cells entry[] = {{2, NULL, NULL, NULL, NULL, NULL, NULL, pair}};
    const struct cells v[] = {
        {3, "110", NULL, "101", NULL, NULL, NULL, NULL},
        {3, "110", i16, NULL, NULL, NULL, NULL, NULL},
        {3, "110", i32, NULL, NULL, NULL, NULL, NULL},
        {3, "110", i64, NULL, NULL, NULL, NULL, NULL},
        {3, "110", f, NULL, NULL, NULL, NULL, NULL},
        {3, "110", d, NULL, NULL, NULL, NULL, NULL},
        {3, "110", dec, NULL, NULL, NULL, NULL, NULL},
        {3, "110", NULL, NULL, t, NULL, NULL, NULL},
        {3, "110", NULL, NULL, bin, NULL, NULL, NULL},
        {3, "110", date, NULL, NULL, NULL, NULL, NULL},
        {3, "110", time_us, NULL, NULL, NULL, NULL, NULL},
        {3, "110", stamp, NULL, NULL, NULL, NULL, NULL},
        {3, "110", stamp, NULL, NULL, NULL, NULL, NULL},
        {3, "110", iv, NULL, NULL, NULL, NULL, NULL},
        {3, "110", NULL, NULL, NULL, NULL, list_offsets, list_child},
        {3, "110", NULL, NULL, NULL, NULL, NULL, fields},
        {3, "110", NULL, NULL, NULL, NULL, map_offsets, entry},
    };
    every_column[6].precision = 18;
    every_column[6].scale = 4;
    every_fields[1].precision = 5;
    every_fields[1].scale = 2;
    return pack(every_column, COUNT(every_column), v, EVERY_ROWS);
}

/* A pseudo-random number, the same in every run. */
static inline uint32_t dice(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

#endif

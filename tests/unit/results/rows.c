/* Random batches of every type, written by hand into the body format of encoders/batch.h. One thread. */
#include "rows.h"

#include <stdlib.h>
#include <string.h>

uint64_t rows_random(uint64_t *seed, uint64_t below)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return below ? *seed % below : *seed;
}

static struct column *columns(struct arena *a, uint32_t n)
{
    struct column *c = arena_alloc(a, n * sizeof *c);
    for (uint32_t i = 0; i < n; i++)
        c[i] = (struct column){
            .name = arena_printf(a, "c%u", i), .detail = "", .nullable = true, .sql = SQLT_OTHER};
    return c;
}

static void child(struct arena *a, struct column *c, uint32_t n)
{
    c->nchildren = n;
    c->children = columns(a, n);
}

static void name_types(struct column *c, uint32_t n)
{
    static const enum sqltype sql[PHYS_END] = {
        0,          SQLT_BOOLEAN, SQLT_SMALLINT,  SQLT_INTEGER,     SQLT_BIGINT,
        SQLT_FLOAT, SQLT_DOUBLE,  SQLT_DECIMAL,   SQLT_VARCHAR,     SQLT_BLOB,
        SQLT_DATE,  SQLT_TIME,    SQLT_TIMESTAMP, SQLT_TIMESTAMPTZ, SQLT_INTERVAL,
        SQLT_LIST,  SQLT_STRUCT,  SQLT_MAP};
    for (uint32_t i = 0; i < n; i++) {
        c[i].sql = sql[c[i].phys];
        name_types(c[i].children, c[i].nchildren);
    }
}

struct schema *rows_schema(struct arena *a, const char *kind)
{
    struct schema *s = arena_alloc(a, sizeof *s);
    static const enum phys flat[] = {PHYS_INT32, PHYS_UTF8, PHYS_FLOAT64, PHYS_DATE, PHYS_BOOL};
    if (strcmp(kind, "flat") == 0) {
        s->ncolumns = 5;
        s->columns = columns(a, 5);
        for (uint32_t i = 0; i < 5; i++)
            s->columns[i].phys = flat[i];
    } else if (strcmp(kind, "all") == 0) {
        s->ncolumns = PHYS_END; /* one more than there are types: a list of maps at the end */
        s->columns = columns(a, s->ncolumns);
        for (uint32_t i = 0; i < s->ncolumns; i++) {
            struct column *c = &s->columns[i];
            c->phys = i + 1 < PHYS_END ? (enum phys)(i + 1) : PHYS_LIST;
            if (c->phys == PHYS_DECIMAL)
                c->precision = 18, c->scale = 4;
            if (c->phys == PHYS_LIST) {
                child(a, c, 1);
                c->children[0].phys = i + 1 < PHYS_END ? PHYS_UTF8 : PHYS_LIST;
                if (i + 1 == PHYS_END) {
                    child(a, &c->children[0], 1);
                    c->children[0].children[0].phys = PHYS_STRUCT;
                    child(a, &c->children[0].children[0], 2);
                    c->children[0].children[0].children[0].phys = PHYS_UTF8;
                    c->children[0].children[0].children[1].phys = PHYS_BOOL;
                }
            } else if (c->phys == PHYS_STRUCT) {
                child(a, c, 3);
                c->children[0].phys = PHYS_BOOL;
                c->children[1].phys = PHYS_UTF8;
                c->children[2].phys = PHYS_LIST;
                child(a, &c->children[2], 1);
                c->children[2].children[0].phys = PHYS_INT16;
            } else if (c->phys == PHYS_MAP) {
                child(a, c, 1);
                c->children[0].phys = PHYS_STRUCT;
                c->children[0].nullable = false;
                child(a, &c->children[0], 2);
                c->children[0].children[0].phys = PHYS_UTF8;
                c->children[0].children[0].nullable = false;
                c->children[0].children[1].phys = PHYS_INT64;
            }
        }
    }
    name_types(s->columns, s->ncolumns);
    if (schema_number(s, NULL) < 0)
        abort();
    return s;
}

/* ---- batches ---- */

struct maker {
    struct rows *r;
    uint64_t *seed;
    unsigned text_max;
    uint32_t node, buffer;
};

static void pad(struct buf *b)
{
    while (b->len % 8)
        (void)buf_char(b, 0);
}

static void put(struct maker *m, const void *p, size_t n)
{
    struct buf *b = &m->r->body;
    m->r->ix.buffers[m->buffer++] = (struct batch_buffer){b->len, n};
    if (n && buf_add(b, p, n) < 0)
        abort();
    pad(b);
}

static void make(struct maker *m, const struct column *c, uint64_t n)
{
    uint64_t nulls = 0;
    uint8_t *bits = calloc(1, n / 8 + 1);
    bool some = c->nullable && rows_random(m->seed, 3) > 0;
    for (uint64_t i = 0; i < n; i++) {
        if (some && rows_random(m->seed, 4) == 0)
            nulls++;
        else
            bits[i / 8] |= (uint8_t)(1u << (i % 8));
    }
    m->r->ix.nodes[m->node++] = (struct batch_node){n, nulls};
    put(m, bits, nulls ? (n + 7) / 8 : 0);

    uint64_t total = 0;
    bool bytes = c->phys == PHYS_UTF8 || c->phys == PHYS_BINARY;
    if (bytes || c->phys == PHYS_LIST || c->phys == PHYS_MAP) {
        int32_t *offsets = calloc(n + 1, 4);
        for (uint64_t i = 0; i < n; i++) {
            bool null = nulls && !((bits[i / 8] >> (i % 8)) & 1);
            if (!null)
                total += rows_random(m->seed, bytes ? m->text_max + 1 : 4);
            offsets[i + 1] = (int32_t)total;
        }
        put(m, offsets, (n + 1) * 4);
        free(offsets);
    }
    uint64_t width = bytes ? 1 : phys_width(c->phys), count = bytes ? total : n;
    if (width) {
        uint8_t *p = calloc(count + 1, width);
        for (uint64_t i = 0; i < count * width; i++)
            p[i] = c->phys == PHYS_UTF8 ? (uint8_t)('a' + rows_random(m->seed, 26))
                                        : (uint8_t)rows_random(m->seed, 256);
        for (uint64_t i = 0; c->phys != PHYS_UTF8 && c->phys != PHYS_BINARY && i < count; i++) {
            if (c->phys == PHYS_DECIMAL)
                memset(p + i * 16 + 7, 0, 9); /* inside its precision */
            if (c->phys == PHYS_DATE) {
                int64_t day = (int64_t)rows_random(m->seed, 40000) * 86400000;
                memcpy(p + i * 8, &day, 8);
            }
            if (c->phys == PHYS_TIME) {
                int64_t us = (int64_t)rows_random(m->seed, 86400000000);
                memcpy(p + i * 8, &us, 8);
            }
        }
        put(m, p, count * width);
        free(p);
    } else if (c->phys == PHYS_BOOL) {
        uint8_t *p = calloc(1, n / 8 + 1);
        for (uint64_t i = 0; i < n; i++)
            if (rows_random(m->seed, 2))
                p[i / 8] |= (uint8_t)(1u << (i % 8));
        put(m, p, (n + 7) / 8);
        free(p);
    }
    free(bits);
    for (uint32_t k = 0; k < c->nchildren; k++)
        make(m, &c->children[k], c->phys == PHYS_STRUCT ? n : total);
}

void rows_make(const struct schema *s, uint64_t n, unsigned text_max, uint64_t first_row, uint64_t *seed,
               struct rows *ret)
{
    *ret = (struct rows){.ix = {.rows = n, .nnodes = s->nnodes, .nbuffers = s->nbuffers},
                         .arena = arena_new(1u << 24)};
    buf_init(&ret->body, SIZE_MAX / 2);
    ret->ix.nodes = calloc(s->nnodes + 1u, sizeof *ret->ix.nodes);
    ret->ix.buffers = calloc(s->nbuffers + 1u, sizeof *ret->ix.buffers);
    struct maker m = {ret, seed, text_max, 0, 0};
    for (uint32_t i = 0; i < s->ncolumns; i++)
        make(&m, &s->columns[i], n);
    ret->ix.body_len = ret->body.len;
    (void)buf_reserve(&ret->body, 8);
    struct err e;
    if (batch_check(s, &ret->ix, (const uint8_t *)ret->body.p, &e) < 0)
        abort();
    if (window_of_batch(s, &ret->ix, (const uint8_t *)ret->body.p, first_row, ret->arena, &ret->window) < 0)
        abort();
}

void rows_free(struct rows *r)
{
    free(r->ix.nodes);
    free(r->ix.buffers);
    buf_free(&r->body);
    arena_free(r->arena);
}

/* ---- cells ---- */

static void hex(const uint8_t *p, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        (void)buf_char(out, "0123456789abcdef"[p[i] >> 4]);
        (void)buf_char(out, "0123456789abcdef"[p[i] & 15]);
    }
}

void rows_cell(const struct window_column *c, uint64_t row, struct buf *out)
{
    if (row >= c->length)
        abort();
    if (window_is_null(c, row)) {
        (void)buf_str_add(out, "NULL");
        return;
    }
    enum phys p = c->column->phys;
    if (p == PHYS_BOOL) {
        uint64_t bit = row + c->values_shift;
        (void)buf_char(out, (c->values[bit / 8] >> (bit % 8)) & 1 ? 't' : 'f');
    } else if (p == PHYS_UTF8 || p == PHYS_BINARY) {
        hex(c->data + (c->offsets[row] - c->offset_base), (size_t)(c->offsets[row + 1] - c->offsets[row]),
            out);
    } else if (p == PHYS_LIST || p == PHYS_MAP) {
        (void)buf_char(out, '[');
        for (int32_t i = c->offsets[row]; i < c->offsets[row + 1]; i++) {
            rows_cell(&c->children[0], (uint64_t)(i - c->offset_base), out);
            (void)buf_char(out, ' ');
        }
        (void)buf_char(out, ']');
    } else if (p == PHYS_STRUCT) {
        (void)buf_char(out, '(');
        for (uint32_t k = 0; k < c->column->nchildren; k++) {
            rows_cell(&c->children[k], row, out);
            (void)buf_char(out, ' ');
        }
        (void)buf_char(out, ')');
    } else {
        hex(c->values + row * phys_width(p), phys_width(p), out);
    }
}

void rows_text(const struct window *w, uint64_t row, struct buf *out)
{
    for (uint32_t i = 0; i < w->schema->ncolumns; i++) {
        rows_cell(&w->columns[i], row, out);
        (void)buf_char(out, '|');
    }
}

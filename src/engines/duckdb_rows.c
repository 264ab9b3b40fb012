/*
 * duckdb_rows: the engine's vectors into one batch body (encoders/batch.h), in two passes.
 *
 * Measuring goes over a chunk as it arrives: rows, NULLs and bytes of every node, and everything that can be
 * wrong with a value (a number or an interval that does not fit, text that is no UTF-8) is found here.
 * Filling goes over the kept chunks once more and writes every buffer to its final place; it cannot fail.
 * Both passes walk the same ranges, so what was measured is what is written.
 *
 * Children of LIST, MAP and ARRAY are reached by ranges of the child vector: entries of NULL rows are
 * skipped, neighbours joined. Slots of NULL rows are zero. The body may hold anything before: every byte of it
 * is written. Job thread.
 */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "encoders/batch.h"
#include "engines/duckdb_int.h"

#define PAD8(n) (((n) + 7) & ~UINT64_C(7))

static bool valid(const uint64_t *mask, idx_t i)
{
    return !mask || (mask[i >> 6] >> (i & 63) & 1);
}

static int range_error(struct err *e, const char *state, const char *what, const struct node *n)
{
    return err_set(e, ERR_INVALID, state, "%s in column \"%.200s\"", what, n->column->name);
}

/* ---- both passes: ranges of the child of a list ---- */

typedef int (*range_fn)(struct node *n, duckdb_vector v, idx_t from, idx_t count, struct err *e);

static int list_ranges(struct node *n, duckdb_vector v, const uint64_t *mask, idx_t from, idx_t count,
                       range_fn fn, struct err *e)
{
    bool array = n->id == DUCKDB_TYPE_ARRAY;
    duckdb_vector cv = array ? duckdb_array_vector_get_child(v) : duckdb_list_vector_get_child(v);
    const duckdb_list_entry *entries = array ? NULL : duckdb_vector_get_data(v);
    idx_t start = 0, length = 0;
    for (idx_t i = from; i < from + count; i++) {
        if (!valid(mask, i))
            continue;
        idx_t off = array ? i * n->array_size : entries[i].offset,
              len = array ? n->array_size : entries[i].length;
        if (!len)
            continue;
        if (length && off == start + length) {
            length += len;
            continue;
        }
        int r = length ? fn(n->children, cv, start, length, e) : 0;
        if (r < 0)
            return r;
        start = off;
        length = len;
    }
    return length ? fn(n->children, cv, start, length, e) : 0;
}

static int struct_ranges(struct node *n, duckdb_vector v, idx_t from, idx_t count, range_fn fn, struct err *e)
{
    for (uint32_t i = 0; i < n->nchildren; i++) {
        int r = fn(&n->children[i], duckdb_struct_vector_get_child(v, i), from, count, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int descend(struct node *n, duckdb_vector v, const uint64_t *mask, idx_t from, idx_t count,
                   range_fn fn, struct err *e)
{
    if (n->column->phys == PHYS_STRUCT)
        return struct_ranges(n, v, from, count, fn, e);
    if (n->nchildren)
        return list_ranges(n, v, mask, from, count, fn, e);
    return 0;
}

static uint32_t enum_code(const struct node *n, const void *data, idx_t i)
{
    uint32_t code = n->internal == DUCKDB_TYPE_UTINYINT    ? ((const uint8_t *)data)[i]
                    : n->internal == DUCKDB_TYPE_USMALLINT ? ((const uint16_t *)data)[i]
                                                           : ((const uint32_t *)data)[i];
    return code < n->dict_len ? code : 0;
}

/* ---- measure ---- */

/* UTF-8 of text values. ASCII goes by eight bytes at a time. */
static bool text_ok(const char *p, size_t n)
{
    const uint64_t high = UINT64_C(0x8080808080808080);
    size_t i = 0;
    uint64_t w, seen = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&w, p + i, 8);
        seen |= w;
    }
    for (; i < n; i++)
        seen |= (uint64_t)(uint8_t)p[i];
    return !(seen & high) || utf8_valid(p, n);
}

/* A short text lies in the value itself, with zeros behind it. */
static bool short_ascii(const duckdb_string_t *s)
{
    uint64_t a;
    uint32_t b;
    memcpy(&a, s->value.inlined.inlined, sizeof a);
    memcpy(&b, s->value.inlined.inlined + sizeof a, sizeof b);
    return !((a | b | (uint64_t)b << 32) & UINT64_C(0x8080808080808080));
}

/* Short texts without NULLs go without a branch a value: what they hold together is looked at, and one by one only when
 * that is no ASCII. False: they must be looked at one by one. */
static bool measure_short(const duckdb_string_t *s, idx_t count, uint64_t *bytes)
{
    uint64_t seen = 0, sum = 0;
    uint32_t longest = 0;
    for (idx_t i = 0; i < count; i++) {
        uint64_t a;
        uint32_t b, len = s[i].value.inlined.length;
        memcpy(&a, s[i].value.inlined.inlined, sizeof a);
        memcpy(&b, s[i].value.inlined.inlined + sizeof a, sizeof b);
        seen |= a | b;
        sum += len;
        longest = len > longest ? len : longest;
    }
    *bytes += sum;
    return longest <= 12 && !(seen & UINT64_C(0x8080808080808080));
}

static int measure_strings(struct node *n, duckdb_string_t *s, const uint64_t *mask, idx_t from, idx_t count,
                           struct err *e)
{
    bool text = n->column->phys == PHYS_UTF8;
    uint64_t bytes = 0;
    if (!mask && measure_short(s + from, count, &bytes)) {
        n->bytes += bytes;
        return 0;
    }
    bytes = 0;
    for (idx_t i = from; i < from + count; i++) {
        if (!valid(mask, i))
            continue;
        uint32_t len = s[i].value.inlined.length;
        bytes += len;
        if (text && !(len <= 12 ? short_ascii(&s[i]) || text_ok(s[i].value.inlined.inlined, len)
                                : text_ok(s[i].value.pointer.ptr, len)))
            return range_error(e, "22021", "text that is not UTF-8", n);
    }
    n->bytes += bytes;
    return 0;
}

static int measure_text(struct node *n, void *data, const uint64_t *mask, idx_t from, idx_t count,
                        struct err *e)
{
    if (n->id == DUCKDB_TYPE_VARCHAR || n->id == DUCKDB_TYPE_BLOB)
        return measure_strings(n, data, mask, from, count, e);
    char text[DUCK_TEXT_MAX];
    for (idx_t i = from; i < from + count; i++) {
        if (!valid(mask, i))
            continue;
        if (n->id == DUCKDB_TYPE_ENUM) {
            n->bytes += n->dict_len ? n->dict_bytes[enum_code(n, data, i)] : 0;
        } else if (n->id == DUCKDB_TYPE_BIT) {
            n->bytes += duck__bit_length((duckdb_string_t *)data + i);
        } else if (n->id == DUCKDB_TYPE_BIGNUM) {
            size_t len = 0;
            char *t = duck__bignum_text((duckdb_string_t *)data + i, &len);
            if (!t)
                return err_set(e, ERR_NOMEM, "53200", "out of memory");
            free(t);
            n->bytes += len;
        } else if (duck__is_short_text(n->id)) {
            n->bytes += duck__text(n->id, data, i, text);
        }
    }
    return 0;
}

static bool hugeint_fits(duckdb_hugeint v)
{
    const __int128 limit =
        (__int128)INT64_C(10000000000000000) * (__int128)INT64_C(10000000000000000) * 1000000; /* 10^38 */
    __int128 x = (__int128)((unsigned __int128)(uint64_t)v.upper << 64 | v.lower);
    return x < limit && x > -limit;
}

static int measure_fixed(const struct node *n, const void *data, const uint64_t *mask, idx_t from,
                         idx_t count, struct err *e)
{
    for (idx_t i = from; i < from + count; i++) {
        if (!valid(mask, i))
            continue;
        int64_t v, scaled;
        switch (n->id) {
        case DUCKDB_TYPE_HUGEINT:
            if (!hugeint_fits(((const duckdb_hugeint *)data)[i]))
                return range_error(e, "22003", "an integer with more than 38 digits", n);
            break;
        case DUCKDB_TYPE_INTERVAL:
            if (__builtin_mul_overflow(((const duckdb_interval *)data)[i].micros, INT64_C(1000), &scaled))
                return range_error(e, "22008", "an interval longer than 292 years of seconds", n);
            break;
        case DUCKDB_TYPE_TIMESTAMP_S:
        case DUCKDB_TYPE_TIMESTAMP_MS:
            v = ((const int64_t *)data)[i];
            if (v != INT64_MAX && v != -INT64_MAX &&
                __builtin_mul_overflow(v, n->id == DUCKDB_TYPE_TIMESTAMP_S ? INT64_C(1000000) : INT64_C(1000),
                                       &scaled))
                return range_error(e, "22008", "a timestamp out of range", n);
            break;
        default:
            return 0;
        }
    }
    return 0;
}

static int measure(struct node *n, duckdb_vector v, idx_t from, idx_t count, struct err *e)
{
    uint64_t *mask = duckdb_vector_get_validity(v);
    void *data = duckdb_vector_get_data(v);
    uint64_t nulls = 0;
    for (idx_t i = from; mask && i < from + count; i++)
        nulls += !valid(mask, i);
    n->rows += count;
    n->nulls += nulls;
    if (n->nchildren)
        return descend(n, v, nulls ? mask : NULL, from, count, measure, e);
    if (n->column->phys == PHYS_UTF8 || n->column->phys == PHYS_BINARY)
        return measure_text(n, data, nulls ? mask : NULL, from, count, e);
    return measure_fixed(n, data, nulls ? mask : NULL, from, count, e);
}

int duck__rows_measure(struct duck_rows *r, duckdb_data_chunk chunk, idx_t from, idx_t to, struct err *e)
{
    for (uint32_t i = 0; i < r->ncolumns; i++) {
        int rc = measure(&r->nodes[i], duckdb_data_chunk_get_vector(chunk, i), from, to - from, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- counters ---- */

static uint64_t *counters(struct node *n, uint64_t *at, bool save)
{
    uint64_t *mine[3] = {&n->rows, &n->nulls, &n->bytes};
    for (int i = 0; i < 3; i++) {
        if (save)
            at[i] = *mine[i];
        else
            *mine[i] = at[i];
    }
    at += 3;
    for (uint32_t i = 0; i < n->nchildren; i++)
        at = counters(&n->children[i], at, save);
    return at;
}

void duck__rows_save(struct duck_rows *r)
{
    uint64_t *at = r->saved;
    for (uint32_t i = 0; i < r->ncolumns; i++)
        at = counters(&r->nodes[i], at, true);
}

void duck__rows_restore(struct duck_rows *r)
{
    uint64_t *at = r->saved;
    for (uint32_t i = 0; i < r->ncolumns; i++)
        at = counters(&r->nodes[i], at, false);
}

int duck__rows_init(struct duck_rows *r, struct arena *a, const struct schema *s, struct node *nodes,
                    struct err *e)
{
    *r = (struct duck_rows){.schema = s, .nodes = nodes, .ncolumns = s->ncolumns, .arena = a};
    r->saved = arena_alloc(a, sizeof *r->saved * 3 * (s->nnodes + 1));
    return r->saved ? 0 : err_set(e, ERR_NOMEM, "53200", "out of memory");
}

void duck__rows_reset(struct duck_rows *r)
{
    for (uint32_t i = 0; i < r->nkept; i++) {
        if (r->kept[i].owned)
            duckdb_destroy_data_chunk(&r->kept[i].chunk);
    }
    r->nkept = 0;
    r->nrows = 0;
    memset(r->saved, 0, sizeof *r->saved * 3 * r->schema->nnodes);
    duck__rows_restore(r);
}

/* ---- layout ---- */

/* Lengths of a node's buffers, without padding. */
static unsigned lengths(const struct node *n, uint64_t out[3])
{
    out[0] = n->nulls ? (n->rows + 7) / 8 : 0;
    switch (n->column->phys) {
    case PHYS_STRUCT:
        return 1;
    case PHYS_BOOL:
        out[1] = (n->rows + 7) / 8;
        return 2;
    case PHYS_UTF8:
    case PHYS_BINARY:
        out[1] = (n->rows + 1) * 4;
        out[2] = n->bytes;
        return 3;
    case PHYS_LIST:
    case PHYS_MAP:
        out[1] = (n->rows + 1) * 4;
        return 2;
    default:
        out[1] = n->rows * phys_width(n->column->phys);
        return 2;
    }
}

static uint64_t body_of(const struct node *n)
{
    uint64_t len[3], sum = 0;
    unsigned count = lengths(n, len);
    for (unsigned i = 0; i < count; i++)
        sum += PAD8(len[i]);
    for (uint32_t i = 0; i < n->nchildren; i++)
        sum += body_of(&n->children[i]);
    return sum;
}

uint64_t duck__rows_body(const struct duck_rows *r)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < r->ncolumns; i++)
        sum += body_of(&r->nodes[i]);
    return sum;
}

struct layout {
    struct batch_node *nodes;
    struct batch_buffer *buffers;
    uint64_t at;
};

static void lay_out(const struct node *n, struct layout *l)
{
    uint64_t len[3];
    unsigned count = lengths(n, len);
    *l->nodes++ = (struct batch_node){n->rows, n->nulls};
    for (unsigned i = 0; i < count; i++) {
        *l->buffers++ = (struct batch_buffer){l->at, len[i]};
        l->at += PAD8(len[i]);
    }
    for (uint32_t i = 0; i < n->nchildren; i++)
        lay_out(&n->children[i], l);
}

int duck__rows_index(struct duck_rows *r, struct buf *out, uint64_t *ret_body)
{
    struct batch_index ix = {.rows = r->nrows, .nnodes = r->schema->nnodes, .nbuffers = r->schema->nbuffers};
    ix.nodes = calloc(ix.nnodes + 1, sizeof *ix.nodes);
    ix.buffers = calloc(ix.nbuffers + 1, sizeof *ix.buffers);
    int rc = ERR_NOMEM;
    if (ix.nodes && ix.buffers) {
        struct layout l = {ix.nodes, ix.buffers, 0};
        for (uint32_t i = 0; i < r->ncolumns; i++)
            lay_out(&r->nodes[i], &l);
        ix.body_len = l.at;
        *ret_body = l.at;
        rc = batch_index_write(&ix, out);
    }
    free(ix.nodes);
    free(ix.buffers);
    return rc;
}

/* ---- fill ---- */

/* Sets the pointers of a node, and to zero what filling only adds to or leaves out: bits, slots of NULL rows,
 * first offsets, padding. Returns the first byte after its subtree. */
static uint8_t *place(struct node *n, uint8_t *at)
{
    uint64_t len[3];
    unsigned count = lengths(n, len);
    uint8_t *p[3] = {NULL, NULL, NULL};
    bool sparse = n->nulls || n->column->phys == PHYS_BOOL;
    for (unsigned i = 0; i < count; i++) {
        p[i] = at;
        uint64_t keep = i == 0 || (i == 1 && sparse) ? 0 : len[i];
        memset(at + keep, 0, PAD8(len[i]) - keep);
        at += PAD8(len[i]);
    }
    n->validity = len[0] ? p[0] : NULL;
    bool has_offsets = n->column->phys == PHYS_UTF8 || n->column->phys == PHYS_BINARY ||
                       n->column->phys == PHYS_LIST || n->column->phys == PHYS_MAP;
    n->offsets = has_offsets ? (int32_t *)(void *)p[1] : NULL;
    n->values = has_offsets ? NULL : p[1];
    n->data = p[2];
    n->data_end = p[2] ? p[2] + len[2] : NULL;
    if (n->offsets)
        n->offsets[0] = 0;
    n->row = n->byte = 0;
    for (uint32_t i = 0; i < n->nchildren; i++)
        at = place(&n->children[i], at);
    return at;
}

static void fill_validity(struct node *n, const uint64_t *mask, idx_t from, idx_t count)
{
    if (!n->validity)
        return;
    uint64_t row = n->row;
    for (idx_t i = from; i < from + count; i++, row++) {
        if (valid(mask, i))
            n->validity[row >> 3] = (uint8_t)(n->validity[row >> 3] | 1u << (row & 7));
    }
}

/* The first of them that are short and have room for all 12 bytes, which are copied whole: the next value begins inside.
 * Returns how many they are. */
static idx_t fill_short(const duckdb_string_t *s, idx_t count, uint8_t *to, uint64_t size, uint64_t *ret_at,
                        int32_t *off)
{
    uint64_t at = *ret_at;
    idx_t i = 0;
    for (; i < count; i++) {
        uint32_t len = s[i].value.inlined.length;
        if (len > 12 || size - at < 12)
            break;
        memcpy(to + at, s[i].value.inlined.inlined, 12);
        at += len;
        off[i] = (int32_t)at;
    }
    *ret_at = at;
    return i;
}

static void fill_strings(struct node *n, const duckdb_string_t *s, const uint64_t *mask, idx_t from,
                         idx_t count)
{
    int32_t *off = n->offsets + n->row + 1;
    uint8_t *to = n->data;
    uint64_t at = n->byte, size = (uint64_t)(n->data_end - n->data);
    idx_t done = mask ? 0 : fill_short(s + from, count, to, size, &at, off);
    off += done;
    for (idx_t i = from + done; i < from + count; i++) {
        if (valid(mask, i)) {
            uint32_t len = s[i].value.inlined.length;
            if (len <= 12 && size - at >= 12) { /* as a whole; the next value begins inside of it */
                memcpy(to + at, s[i].value.inlined.inlined, 12);
            } else if (len <= 12) { /* the last ones: never past the buffer's end */
                for (uint32_t k = 0; k < len; k++)
                    to[at + k] = (uint8_t)s[i].value.inlined.inlined[k];
            } else {
                memcpy(to + at, s[i].value.pointer.ptr, len);
            }
            at += len;
        }
        *off++ = (int32_t)at;
    }
    n->byte = at;
}

static void fill_text(struct node *n, void *data, const uint64_t *mask, idx_t from, idx_t count)
{
    if (n->id == DUCKDB_TYPE_VARCHAR || n->id == DUCKDB_TYPE_BLOB) {
        fill_strings(n, data, mask, from, count);
        return;
    }
    char text[DUCK_TEXT_MAX];
    for (idx_t i = from; i < from + count; i++) {
        uint8_t *to = n->data + n->byte;
        size_t len = 0;
        if (!valid(mask, i)) {
        } else if (n->id == DUCKDB_TYPE_ENUM && n->dict_len) {
            uint32_t code = enum_code(n, data, i);
            len = n->dict_bytes[code];
            memcpy(to, n->dict[code], len);
        } else if (n->id == DUCKDB_TYPE_BIT) {
            len = duck__bit_length((duckdb_string_t *)data + i);
            duck__bit_text((duckdb_string_t *)data + i, (char *)to);
        } else if (n->id == DUCKDB_TYPE_BIGNUM) {
            char *t = duck__bignum_text((duckdb_string_t *)data + i, &len);
            ASSERT(t != NULL); /* it was made once already */
            memcpy(to, t, len);
            free(t);
        } else if (duck__is_short_text(n->id)) {
            len = duck__text(n->id, data, i, text);
            memcpy(to, text, len);
        }
        n->byte += len;
        n->offsets[n->row + (i - from) + 1] = (int32_t)n->byte;
    }
}

static void put64(uint8_t *at, int64_t v)
{
    memcpy(at, &v, 8);
}

static void put128(uint8_t *at, __int128 v)
{
    memcpy(at, &v, 16);
}

static void fill_one(const struct node *n, const void *data, idx_t i, uint8_t *to, uint64_t k)
{
    switch (n->id) {
    case DUCKDB_TYPE_BOOLEAN:
        if (((const uint8_t *)data)[i])
            n->values[k >> 3] = (uint8_t)(n->values[k >> 3] | 1u << (k & 7));
        return;
    case DUCKDB_TYPE_TINYINT: {
        int16_t v = ((const int8_t *)data)[i];
        memcpy(to, &v, sizeof v);
        return;
    }
    case DUCKDB_TYPE_UTINYINT: {
        int16_t v = ((const uint8_t *)data)[i];
        memcpy(to, &v, sizeof v);
        return;
    }
    case DUCKDB_TYPE_USMALLINT: {
        int32_t v = ((const uint16_t *)data)[i];
        memcpy(to, &v, sizeof v);
        return;
    }
    case DUCKDB_TYPE_UINTEGER:
        put64(to, ((const uint32_t *)data)[i]);
        return;
    case DUCKDB_TYPE_UBIGINT:
        put128(to, (__int128)((const uint64_t *)data)[i]);
        return;
    case DUCKDB_TYPE_DATE: {
        int32_t d = ((const int32_t *)data)[i];
        put64(to, (int64_t)d * 86400000); /* infinities: SCHEMA_DATE_INFINITY */
        return;
    }
    case DUCKDB_TYPE_TIMESTAMP_S:
    case DUCKDB_TYPE_TIMESTAMP_MS: {
        int64_t v = ((const int64_t *)data)[i];
        if (v != INT64_MAX && v != -INT64_MAX)
            v *= n->id == DUCKDB_TYPE_TIMESTAMP_S ? 1000000 : 1000;
        put64(to, v);
        return;
    }
    case DUCKDB_TYPE_INTERVAL: {
        duckdb_interval v = ((const duckdb_interval *)data)[i];
        memcpy(to, &v.months, 4);
        memcpy(to + 4, &v.days, 4);
        put64(to + 8, v.micros * 1000);
        return;
    }
    case DUCKDB_TYPE_DECIMAL:
        switch (n->internal) {
        case DUCKDB_TYPE_SMALLINT:
            put128(to, ((const int16_t *)data)[i]);
            return;
        case DUCKDB_TYPE_INTEGER:
            put128(to, ((const int32_t *)data)[i]);
            return;
        case DUCKDB_TYPE_BIGINT:
            put128(to, ((const int64_t *)data)[i]);
            return;
        default:
            memcpy(to, (const uint8_t *)data + 16 * i, 16);
            return;
        }
    default: { /* the same form on both sides */
        uint32_t w = phys_width(n->column->phys);
        memcpy(to, (const uint8_t *)data + (size_t)w * i, w);
    }
    }
}

static bool same_form(duckdb_type id)
{
    switch (id) {
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_HUGEINT:
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
    case DUCKDB_TYPE_TIME:
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
        return true;
    default:
        return false;
    }
}

static void fill_fixed(struct node *n, const void *data, const uint64_t *mask, idx_t from, idx_t count)
{
    uint32_t w = phys_width(n->column->phys);
    uint8_t *to = n->values + n->row * w;
    if (!mask && same_form(n->id)) {
        memcpy(to, (const uint8_t *)data + from * w, count * w);
        return;
    }
    for (idx_t i = 0; i < count; i++) {
        if (valid(mask, from + i))
            fill_one(n, data, from + i, to + i * w, n->row + i);
    }
}

static int fill(struct node *n, duckdb_vector v, idx_t from, idx_t count, struct err *e)
{
    uint64_t *mask = n->nulls ? duckdb_vector_get_validity(v) : NULL;
    void *data = duckdb_vector_get_data(v);
    fill_validity(n, mask, from, count);
    enum phys p = n->column->phys;
    if (p == PHYS_LIST || p == PHYS_MAP) {
        const duckdb_list_entry *entries = data;
        for (idx_t i = 0; i < count; i++) {
            if (valid(mask, from + i))
                n->byte += n->id == DUCKDB_TYPE_ARRAY ? n->array_size : entries[from + i].length;
            n->offsets[n->row + i + 1] = (int32_t)n->byte;
        }
    } else if (p == PHYS_UTF8 || p == PHYS_BINARY) {
        fill_text(n, data, mask, from, count);
    } else if (p != PHYS_STRUCT) {
        fill_fixed(n, data, mask, from, count);
    }
    n->row += count;
    return n->nchildren ? descend(n, v, mask, from, count, fill, e) : 0;
}

void duck__rows_fill(struct duck_rows *r, uint8_t *body)
{
    for (uint32_t i = 0; i < r->ncolumns; i++)
        body = place(&r->nodes[i], body);
    for (uint32_t i = 0; i < r->ncolumns; i++) {
        for (uint32_t k = 0; k < r->nkept; k++) {
            const struct kept *c = &r->kept[k];
            int rc =
                fill(&r->nodes[i], duckdb_data_chunk_get_vector(c->chunk, i), c->from, c->to - c->from, NULL);
            ASSERT(rc == 0);
        }
    }
}

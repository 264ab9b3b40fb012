/*
 * arrow: Arrow IPC stream pieces: schema message, record batch header, slices of windows.
 *
 * The schema message comes from nanoarrow's IPC encoder. The record batch message is written here, because
 * nanoarrow's only way to make one copies the body: its metadata is a flatbuffer of one fixed shape, so its
 * length depends on the schema alone:
 *
 *   0 root -> 16 | 4 vtable of Message | 16 Message {header -> 48, body length, version V5, type RecordBatch}
 *   36 vtable of RecordBatch | 48 RecordBatch {nodes -> 68, rows, buffers -> 76 + 16 n} | 68 n, n nodes | 76
 * + 16 n: m, m buffers
 *
 * after the 8 bytes of continuation marker and metadata length; every part is a multiple of 8 long.
 *
 * Invariants: little endian, metadata V5, no compression, no dictionaries, no views; the two flavours differ
 * in the schema message only. Any thread; keeps nothing.
 */
#include <nanoarrow/nanoarrow_ipc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encoders/encoder_int.h"

#define CONTINUATION                 0xffffffffu
#define BATCH_META(nnodes, nbuffers) (80u + 16u * ((uint64_t)(nnodes) + (nbuffers)))

static uint64_t pad8(uint64_t n)
{
    return (n + 7) & ~UINT64_C(7);
}

/* ---- schema ---- */

static int set_type(struct ArrowSchema *f, const struct column *c, enum arrow_flavour flavour)
{
    switch (c->phys) {
    case PHYS_BOOL:
        return ArrowSchemaSetType(f, NANOARROW_TYPE_BOOL);
    case PHYS_INT16:
        return ArrowSchemaSetType(f, NANOARROW_TYPE_INT16);
    case PHYS_INT32:
        return ArrowSchemaSetType(f, NANOARROW_TYPE_INT32);
    case PHYS_INT64:
        return ArrowSchemaSetType(f, NANOARROW_TYPE_INT64);
    case PHYS_FLOAT32:
        return ArrowSchemaSetType(f, NANOARROW_TYPE_FLOAT);
    case PHYS_FLOAT64:
        return ArrowSchemaSetType(f, NANOARROW_TYPE_DOUBLE);
    case PHYS_DECIMAL:
        return ArrowSchemaSetTypeDecimal(f, NANOARROW_TYPE_DECIMAL128, c->precision, c->scale);
    case PHYS_UTF8:
        return ArrowSchemaSetType(f, NANOARROW_TYPE_STRING);
    case PHYS_BINARY:
        return ArrowSchemaSetType(f, NANOARROW_TYPE_BINARY);
    case PHYS_DATE:
        return ArrowSchemaSetType(f, NANOARROW_TYPE_DATE64);
    case PHYS_TIME:
        return ArrowSchemaSetTypeDateTime(f, NANOARROW_TYPE_TIME64, NANOARROW_TIME_UNIT_MICRO, NULL);
    case PHYS_TIMESTAMP:
        return ArrowSchemaSetTypeDateTime(f, NANOARROW_TYPE_TIMESTAMP, NANOARROW_TIME_UNIT_MICRO, NULL);
    case PHYS_TIMESTAMPTZ:
        return ArrowSchemaSetTypeDateTime(f, NANOARROW_TYPE_TIMESTAMP, NANOARROW_TIME_UNIT_MICRO,
                                          flavour == ARROW_DATA360 ? "Utc" : "UTC");
    case PHYS_INTERVAL:
        return ArrowSchemaSetType(f, NANOARROW_TYPE_INTERVAL_MONTH_DAY_NANO);
    case PHYS_LIST:
        return ArrowSchemaSetFormat(f, "+l");
    case PHYS_STRUCT:
        return ArrowSchemaSetFormat(f, "+s");
    case PHYS_MAP:
        return ArrowSchemaSetFormat(f, "+m");
    case PHYS_END:
        break;
    }
    return EINVAL;
}

/* Data 360 clients tell char and json from varchar by this field metadata. */
static int set_hyper_type(struct ArrowSchema *f, const struct column *c)
{
    const char *type = c->sql == SQLT_JSON ? "Json" : NULL;
    if (!type)
        return NANOARROW_OK;
    struct ArrowBuffer b;
    int rc = ArrowMetadataBuilderInit(&b, NULL);
    if (!rc)
        rc = ArrowMetadataBuilderAppend(&b, ArrowCharView("hyper:type"), ArrowCharView(type));
    if (!rc)
        rc = ArrowSchemaSetMetadata(f, (const char *)b.data);
    ArrowBufferReset(&b);
    return rc;
}

/* name: what the parent calls it, or NULL for the column's own. */
static int set_field(struct ArrowSchema *f, const struct column *c, const char *name, bool nullable,
                     enum arrow_flavour flavour)
{
    int rc = set_type(f, c, flavour);
    if (!rc)
        rc = ArrowSchemaSetName(f, name ? name : c->name ? c->name : "");
    if (!rc && flavour == ARROW_DATA360)
        rc = set_hyper_type(f, c);
    f->flags = nullable ? ARROW_FLAG_NULLABLE : 0;
    if (!rc && c->nchildren)
        rc = ArrowSchemaAllocateChildren(f, c->nchildren);
    for (uint32_t i = 0; !rc && i < c->nchildren; i++) {
        const struct column *k = &c->children[i];
        ArrowSchemaInit(f->children[i]);
        if (c->phys == PHYS_LIST) {
            rc = set_field(f->children[i], k, flavour == ARROW_DATA360 ? "$element" : "item", k->nullable,
                           flavour);
        } else if (c->phys == PHYS_MAP) { /* its child is the row of key and value, whose names Arrow fixes */
            struct ArrowSchema *entries = f->children[i];
            rc = ArrowSchemaSetFormat(entries, "+s");
            if (!rc)
                rc = ArrowSchemaSetName(entries, "entries");
            entries->flags = 0;
            if (!rc)
                rc = ArrowSchemaAllocateChildren(entries, 2);
            for (int j = 0; !rc && j < 2; j++) {
                ArrowSchemaInit(entries->children[j]);
                rc = set_field(entries->children[j], &k->children[j], j ? "value" : "key",
                               j && k->children[j].nullable, flavour);
            }
        } else {
            char nameless[16]; /* readers refuse a row whose fields have all the same name, "" */
            (void)snprintf(nameless, sizeof nameless, "field%u", i);
            rc = set_field(f->children[i], k, k->name && *k->name ? NULL : nameless, k->nullable, flavour);
        }
    }
    return rc;
}

static int make_schema(struct ArrowSchema *root, const struct schema *s, enum arrow_flavour flavour)
{
    int rc = ArrowSchemaSetFormat(root, "+s");
    if (!rc)
        rc = ArrowSchemaSetName(root, "");
    if (!rc && s->ncolumns)
        rc = ArrowSchemaAllocateChildren(root, s->ncolumns);
    for (uint32_t i = 0; !rc && i < s->ncolumns; i++)
        ArrowSchemaInit(root->children[i]);
    for (uint32_t i = 0; !rc && i < s->ncolumns; i++)
        rc = set_field(root->children[i], &s->columns[i], NULL, s->columns[i].nullable, flavour);
    return rc;
}

int arrow_schema_message(const struct schema *s, enum arrow_flavour f, struct buf *out, struct err *e)
{
    struct ArrowSchema root;
    struct ArrowIpcEncoder encoder = {0};
    struct ArrowError why = {.message = ""};
    struct ArrowBuffer bytes;
    int ours = 0;
    ArrowSchemaInit(&root);
    ArrowBufferInit(&bytes);
    int rc = make_schema(&root, s, f);
    if (!rc)
        rc = ArrowIpcEncoderInit(&encoder);
    if (!rc) {
        rc = ArrowIpcEncoderEncodeSchema(&encoder, &root, &why);
        if (!rc)
            rc = ArrowIpcEncoderFinalizeBuffer(&encoder, 1, &bytes);
        if (!rc)
            ours = buf_add(out, bytes.data, (size_t)bytes.size_bytes);
        ArrowIpcEncoderReset(&encoder);
    }
    ArrowBufferReset(&bytes);
    if (root.release)
        ArrowSchemaRelease(&root);
    if (rc == ENOMEM)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (rc)
        return err_set(e, ERR_INTERNAL, "XX000", "the Arrow schema could not be written (%d): %s", rc,
                       why.message);
    return ours ? encode__full(ours, e) : 0;
}

/* ---- record batch message ---- */

static void put16(uint8_t *p, unsigned v)
{
    memcpy(p, &(uint16_t){(uint16_t)v}, 2);
}
static void put32(uint8_t *p, uint64_t v)
{
    memcpy(p, &(uint32_t){(uint32_t)v}, 4);
}
static void put64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, 8);
}

int arrow_batch_header(const struct schema *s, const struct batch_index *ix, struct buf *out, struct err *e)
{
    ASSERT(ix->nnodes == s->nnodes && ix->nbuffers == s->nbuffers);
    uint64_t n = ix->nnodes, m = ix->nbuffers, meta = BATCH_META(n, m);
    int rc = buf_reserve(out, 8 + (size_t)meta);
    if (rc)
        return encode__full(rc, e);
    uint8_t *p = (uint8_t *)out->p + out->len;
    put32(p, CONTINUATION);
    put32(p + 4, meta);
    out->len += 8 + (size_t)meta;
    p += 8;
    memset(p, 0, 72);
    put32(p, 16);
    put16(p + 4, 12); /* vtable of Message: its size, the table's size, then where each field lies */
    put16(p + 6, 20);
    put16(p + 8, 16);  /* version */
    put16(p + 10, 18); /* header type */
    put16(p + 12, 4);  /* header */
    put16(p + 14, 8);  /* body length */
    put32(p + 16, 12); /* Message: back to its vtable */
    put32(p + 20, 48 - 20);
    put64(p + 24, ix->body_len);
    put16(p + 32, 4); /* V5 */
    p[34] = 3;        /* RecordBatch */
    put16(p + 36, 10);
    put16(p + 38, 20);
    put16(p + 40, 8);  /* rows */
    put16(p + 42, 4);  /* nodes */
    put16(p + 44, 16); /* buffers */
    put32(p + 48, 48 - 36);
    put32(p + 52, 68 - 52);
    put64(p + 56, ix->rows);
    put32(p + 64, 76 + 16 * n - 64);
    put32(p + 68, n);
    p += 72;
    if (n)
        memcpy(p, ix->nodes, 16 * (size_t)n);
    p += 16 * n;
    put32(p, 0);
    put32(p + 4, m);
    if (m)
        memcpy(p + 8, ix->buffers, 16 * (size_t)m);
    return 0;
}

int arrow_end(struct buf *out)
{
    static const uint8_t end[8] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
    return buf_add(out, end, sizeof end);
}

/* ---- slices of a window ---- */

static uint64_t offset_at(const struct window_column *c, uint64_t row)
{
    return (uint64_t)((int64_t)c->offsets[row] - c->offset_base);
}

/* Body bytes of rows [from, to). A column keeps its validity buffer whenever the window has one: so this is
 * exact. */
static uint64_t slice_size(const struct window_column *c, uint64_t from, uint64_t to)
{
    const struct column *col = c->column;
    uint64_t n = to - from, size = c->validity ? pad8((n + 7) / 8) : 0;
    switch (col->phys) {
    case PHYS_BOOL:
        return size + pad8((n + 7) / 8);
    case PHYS_UTF8:
    case PHYS_BINARY:
        return size + pad8(4 * (n + 1)) + pad8(offset_at(c, to) - offset_at(c, from));
    case PHYS_LIST:
    case PHYS_MAP:
        return size + pad8(4 * (n + 1)) + slice_size(&c->children[0], offset_at(c, from), offset_at(c, to));
    case PHYS_STRUCT:
        for (uint32_t i = 0; i < col->nchildren; i++)
            size += slice_size(&c->children[i], from, to);
        return size;
    default:
        return size + pad8(n * phys_width(col->phys));
    }
}

static uint64_t message_size(const struct window *w, uint64_t from, uint64_t to)
{
    uint64_t size = 8 + BATCH_META(w->schema->nnodes, w->schema->nbuffers);
    for (uint32_t i = 0; i < w->schema->ncolumns; i++)
        size += slice_size(&w->columns[i], from, to);
    return size;
}

/* Copies n bits from bit `shift` of src; zeroes the rest of the last byte. Returns the number of ones. */
static uint64_t copy_bits(uint8_t *dst, const uint8_t *src, uint64_t shift, uint64_t n)
{
    uint64_t sum = 0, bytes = (n + 7) / 8;
    unsigned s = (unsigned)(shift & 7);
    src += shift >> 3;
    if (!n)
        return 0;
    if (!s) {
        memcpy(dst, src, (size_t)bytes);
    } else {
        uint64_t last = (s + n - 1) / 8; /* last readable byte of src */
        for (uint64_t i = 0; i < bytes; i++)
            dst[i] = (uint8_t)(src[i] >> s | (i < last ? src[i + 1] << (8 - s) : 0));
    }
    if (n & 7)
        dst[bytes - 1] = (uint8_t)(dst[bytes - 1] & ((1u << (n & 7)) - 1));
    for (uint64_t i = 0; i < bytes; i++)
        sum += (unsigned)__builtin_popcount(dst[i]);
    return sum;
}

struct body {
    uint8_t *p; /* where the next buffer goes */
    uint64_t at;
    struct batch_index *ix;
};

/* Closes the buffer of `len` bytes that was written at b->p. */
static void finish(struct body *b, uint32_t number, uint64_t len)
{
    b->ix->buffers[number] = (struct batch_buffer){b->at, len};
    memset(b->p + len, 0, (size_t)(pad8(len) - len));
    b->p += pad8(len);
    b->at += pad8(len);
}

static void write_offsets(struct body *b, uint32_t number, const struct window_column *c, uint64_t from,
                          uint64_t to)
{
    int32_t first = c->offsets[from];
    for (uint64_t i = from; i <= to; i++) {
        int32_t v = c->offsets[i] - first;
        memcpy(b->p + 4 * (i - from), &v, 4);
    }
    finish(b, number, 4 * (to - from + 1));
}

static void write_slice(struct body *b, const struct window_column *c, uint64_t from, uint64_t to)
{
    const struct column *col = c->column;
    uint32_t k = col->first_buffer, width = phys_width(col->phys);
    uint64_t n = to - from, nulls = 0;
    if (c->validity)
        nulls = n - copy_bits(b->p, c->validity, from + c->validity_shift, n);
    finish(b, k, c->validity ? (n + 7) / 8 : 0);
    b->ix->nodes[col->node] = (struct batch_node){n, nulls};
    switch (col->phys) {
    case PHYS_BOOL:
        copy_bits(b->p, c->values, from + c->values_shift, n);
        finish(b, k + 1, (n + 7) / 8);
        break;
    case PHYS_UTF8:
    case PHYS_BINARY: {
        uint64_t start = offset_at(c, from), len = offset_at(c, to) - start;
        write_offsets(b, k + 1, c, from, to);
        if (len)
            memcpy(b->p, c->data + start, (size_t)len);
        finish(b, k + 2, len);
        break;
    }
    case PHYS_LIST:
    case PHYS_MAP:
        write_offsets(b, k + 1, c, from, to);
        write_slice(b, &c->children[0], offset_at(c, from), offset_at(c, to));
        break;
    case PHYS_STRUCT:
        for (uint32_t i = 0; i < col->nchildren; i++)
            write_slice(b, &c->children[i], from, to);
        break;
    default:
        if (n)
            memcpy(b->p, c->values + from * width, (size_t)(n * width));
        finish(b, k + 1, n * width);
    }
}

static int write_batch(const struct window *w, uint64_t from, uint64_t to, struct batch_index *ix,
                       struct buf *out, struct err *e)
{
    uint64_t size = message_size(w, from, to), head = 8 + BATCH_META(ix->nnodes, ix->nbuffers);
    int rc = size > SIZE_MAX / 2 ? ERR_LIMIT : buf_reserve(out, (size_t)size);
    if (rc)
        return encode__full(rc, e);
    struct body b = {(uint8_t *)out->p + out->len + head, 0, ix};
    for (uint32_t i = 0; i < w->schema->ncolumns; i++)
        write_slice(&b, &w->columns[i], from, to);
    ix->rows = to - from;
    ix->body_len = b.at;
    ASSERT(head + b.at == size);
    rc = arrow_batch_header(w->schema, ix, out, e); /* fills the room that was left for it */
    if (!rc)
        out->len += (size_t)b.at;
    return rc;
}

static int arrow_rows(const struct encode_options *o, struct encode_state *st, const struct window *w,
                      uint64_t from, uint64_t to, size_t soft, struct buf *out, uint64_t *ret_next,
                      struct err *e)
{
    (void)o;
    if (from >= to || out->len >= soft) {
        *ret_next = from;
        return 0;
    }
    /* The fewest rows with which `soft` is reached: one message, and no crumbs behind it. */
    uint64_t budget = soft - out->len, end = to;
    if (message_size(w, from, to) > budget) {
        uint64_t low = from + 1;
        while (low < end) {
            uint64_t mid = low + (end - low) / 2;
            if (message_size(w, from, mid) >= budget)
                end = mid;
            else
                low = mid + 1;
        }
    }
    struct batch_index ix = {.nnodes = w->schema->nnodes, .nbuffers = w->schema->nbuffers};
    ix.nodes = malloc(16 * ((size_t)ix.nnodes + ix.nbuffers) + 16);
    if (!ix.nodes)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    ix.buffers = (struct batch_buffer *)(void *)(ix.nodes + ix.nnodes);
    int rc = write_batch(w, from, end, &ix, out, e);
    free(ix.nodes);
    if (rc)
        return rc;
    st->rows_done += end - from;
    *ret_next = end;
    return 0;
}

static int arrow_head(const struct encode_options *o, const struct schema *s, struct buf *out, struct err *e)
{
    if (o->no_schema)
        return 0;
    return arrow_schema_message(s, o->profile == TEXT_DATA360 ? ARROW_DATA360 : ARROW_NEUTRAL, out, e);
}

static int arrow_tail(const struct encode_options *o, struct encode_state *st, const struct schema *s,
                      struct buf *out, struct err *e)
{
    (void)st;
    (void)s;
    int rc = o->stream_end ? arrow_end(out) : 0;
    return rc ? encode__full(rc, e) : 0;
}

const struct encoder encoder_arrow = {
    .name = "arrow",
    .media_type = "application/vnd.apache.arrow.stream",
    .suffix = ".arrow",
    .head = arrow_head,
    .put_rows = arrow_rows,
    .tail = arrow_tail,
};

/*
 * Any bytes as a batch body. The input is: number of rows (1 byte), rows of the two children (2 bytes),
 * length of each variable buffer (1 byte each), NULL counts are worked out; the rest is the body. So the
 * index is always well formed, and batch_check decides. What it lets through is encoded in every format and
 * profile: the sanitizers watch.
 */
#include <stdlib.h>
#include <string.h>

#include "batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *p;
    size_t n;
};

static uint8_t take(struct input *in)
{
    if (!in->n)
        return 0;
    in->n--;
    return *in->p++;
}

static void lay(struct batch_index *ix, uint32_t k, uint64_t n)
{
    ix->buffers[k] = (struct batch_buffer){ix->body_len, n};
    ix->body_len += (n + 7) & ~UINT64_C(7);
}

static void lay_column(struct batch_index *ix, const struct column *c, uint64_t rows, struct input *in)
{
    uint32_t k = c->first_buffer;
    bool validity = c->nullable && take(in) % 2;
    ix->nodes[c->node] = (struct batch_node){rows, 0};
    lay(ix, k, validity ? (rows + 7) / 8 : 0);
    uint64_t below = rows;
    switch (c->phys) {
    case PHYS_BOOL:
        lay(ix, k + 1, (rows + 7) / 8);
        break;
    case PHYS_UTF8:
        lay(ix, k + 1, 4 * (rows + 1));
        lay(ix, k + 2, take(in));
        break;
    case PHYS_LIST:
    case PHYS_MAP:
        lay(ix, k + 1, 4 * (rows + 1));
        below = take(in) % 32;
        break;
    case PHYS_STRUCT:
        break;
    default:
        lay(ix, k + 1, rows * phys_width(c->phys));
    }
    for (uint32_t i = 0; i < c->nchildren; i++)
        lay_column(ix, &c->children[i], below, in);
}

static void count_nulls(struct batch_index *ix, const struct column *c, const uint8_t *body)
{
    const struct batch_buffer *b = &ix->buffers[c->first_buffer];
    struct batch_node *n = &ix->nodes[c->node];
    for (uint64_t i = 0; b->length && i < n->length; i++)
        n->null_count += !((body[b->offset + i / 8] >> (i & 7)) & 1);
    for (uint32_t i = 0; i < c->nchildren; i++)
        count_nulls(ix, &c->children[i], body);
}

static void encode_all(const struct window *w)
{
    static const char *const formats[] = {"csv", "json", "ndjson", "rows", "strings", "arrow"};
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        for (int p = 0; p < TEXT_PROFILES; p++) {
            struct encode_options o = {.profile = (enum text_profile)p};
            struct encode_state st = {0};
            struct buf out = BUF_INIT(16u << 20);
            uint64_t next = 0;
            while (next < w->rows) {
                buf_reset(&out);
                if (encoder_find(formats[f])->put_rows(&o, &st, w, next, w->rows, 500, &out, &next, NULL))
                    abort();
            }
            buf_free(&out);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct arena *a = arena_new(16u << 20);
    struct batch_index ix = {0}, *read;
    struct batch_node nodes[32] = {{0}};
    struct batch_buffer buffers[64] = {{0}};
    struct buf b = BUF_INIT(1u << 20);
    struct err e;
    struct window w;
    if (!a || schema_number(&fuzz_schema, &e) || fuzz_schema.nnodes > 32 || fuzz_schema.nbuffers > 64)
        abort();
    ix.nodes = nodes;
    ix.buffers = buffers;
    ix.nnodes = fuzz_schema.nnodes;
    ix.nbuffers = fuzz_schema.nbuffers;
    ix.rows = take(&in) % 40;
    for (uint32_t i = 0; i < fuzz_schema.ncolumns; i++)
        lay_column(&ix, &fuzz_columns[i], ix.rows, &in);
    uint8_t *body = calloc(1, ix.body_len + 1); /* exactly as long as it may be read */
    if (!body)
        abort();
    memcpy(body, in.p, in.n < ix.body_len ? in.n : ix.body_len);
    for (uint32_t i = 0; i < fuzz_schema.ncolumns; i++)
        count_nulls(&ix, &fuzz_columns[i], body);
    if (batch_index_write(&ix, &b))
        abort();
    if (!batch_index_read(b.p, b.len, &fuzz_schema, a, &read, &e) &&
        !batch_check(&fuzz_schema, read, body, &e)) {
        if (window_of_batch(&fuzz_schema, read, body, 0, a, &w))
            abort();
        encode_all(&w);
    }
    free(body);
    buf_free(&b);
    arena_free(a);
    return 0;
}

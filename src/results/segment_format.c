/*
 * The footer of a segment file and the tables of an open segment (docs/spool.md has the format).
 *
 * Pure memory; a table is grown by one thread while any number reads entries that were published before.
 */
#include <stdlib.h>

#include "base/crypto.h"
#include "results/segment_int.h"

static const char footer_magic[8] = {'Q', 'U', 'E', 'R', 'N', 'S', 'E', 'G'};

void segment__footer_put(struct segment_footer *f, uint8_t out[SEGMENT_FOOTER])
{
    memset(out, 0, SEGMENT_FOOTER);
    memcpy(out, footer_magic, 8);
    segment__put32(out + 8, SEGMENT_VERSION);
    segment__put32(out + 12, f->flags);
    memcpy(out + 16, f->id.b, 16);
    segment__put64(out + 32, f->rows);
    segment__put64(out + 40, f->stream_len);
    segment__put64(out + 48, f->schema_off);
    segment__put64(out + 56, f->batches_off);
    segment__put64(out + 64, f->nbatches);
    segment__put64(out + 72, f->blocks_off);
    segment__put32(out + 80, f->ordinal);
    segment__put32(out + 84, f->trailer_crc);
    f->footer_crc = crypto_crc32c(0, out, SEGMENT_FOOTER - 4);
    segment__put32(out + 92, f->footer_crc);
}

bool segment__footer_get(const uint8_t in[SEGMENT_FOOTER], struct segment_footer *ret)
{
    if (memcmp(in, footer_magic, 8) != 0)
        return false;
    if (segment__get32(in + 8) != SEGMENT_VERSION || segment__get32(in + 12) != 0 ||
        segment__get32(in + 88) != 0)
        return false;
    uint32_t crc = segment__get32(in + 92);
    if (crypto_crc32c(0, in, SEGMENT_FOOTER - 4) != crc)
        return false;
    struct segment_footer f = {
        .flags = 0,
        .ordinal = segment__get32(in + 80),
        .trailer_crc = segment__get32(in + 84),
        .footer_crc = crc,
        .rows = segment__get64(in + 32),
        .stream_len = segment__get64(in + 40),
        .schema_off = segment__get64(in + 48),
        .batches_off = segment__get64(in + 56),
        .nbatches = segment__get64(in + 64),
        .blocks_off = segment__get64(in + 72),
    };
    memcpy(f.id.b, in + 16, 16);
    *ret = f;
    return true;
}

void segment__table_init(struct segment_table *t, size_t width, uint64_t base)
{
    memset(t, 0, sizeof *t);
    t->width = width;
    t->base = base ? base : 1;
}

void segment__table_free(struct segment_table *t)
{
    for (int i = 0; i < SEGMENT_CHUNKS; i++)
        free(t->chunk[i]);
    memset(t->chunk, 0, sizeof t->chunk);
    t->capacity = 0;
}

int segment__table_reserve(struct segment_table *t, uint64_t n)
{
    while (t->capacity < n) {
        int k = 0;
        while (k < SEGMENT_CHUNKS && t->chunk[k])
            k++;
        if (k == SEGMENT_CHUNKS)
            return ERR_NOMEM;
        uint64_t add = k ? t->capacity : t->base;
        if (add > SIZE_MAX / t->width / 2)
            return ERR_NOMEM;
        uint8_t *p = calloc((size_t)add, t->width);
        if (!p)
            return ERR_NOMEM;
        t->chunk[k] = p;
        t->capacity += add;
    }
    return 0;
}

void *segment__table_at(const struct segment_table *t, uint64_t i)
{
    if (i < t->base)
        return t->chunk[0] + (size_t)i * t->width;
    uint64_t q = i / t->base;
    unsigned log = 63u - (unsigned)__builtin_clzll(q);
    return t->chunk[log + 1] + (size_t)(i - (t->base << log)) * t->width;
}

struct segment_entry *segment__entry(const struct segment *s, uint64_t i)
{
    return segment__table_at(&s->batches, i);
}

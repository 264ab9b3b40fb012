/*
 * Fuzzes opening and reading of a segment file. The input is the file; footer checksum, trailer checksum and
 * the manifest's facts are made right first, so that the mutations reach what lies behind them. The checksums
 * of the blocks are made right too where the query id is even.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crypto.h"
#include "results/segment_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sum;

static void touch(const struct window_column *c)
{
    for (uint64_t i = 0; i < c->length; i++) {
        if (window_is_null(c, i))
            continue;
        if (c->data)
            for (int32_t k = c->offsets[i]; k < c->offsets[i + 1]; k++)
                sum = sum + c->data[k - c->offset_base];
        else if (c->values && phys_width(c->column->phys))
            sum = sum + c->values[i * phys_width(c->column->phys)];
        else if (c->values)
            sum = sum + c->values[(i + c->values_shift) / 8];
    }
    for (uint32_t k = 0; k < c->column->nchildren; k++)
        touch(&c->children[k]);
}

static void read_all(struct segment *s)
{
    struct segment_scratch *x = segment_scratch_new();
    struct window w;
    struct err e;
    uint64_t at = 0;
    char p[256];
    (void)!segment_read(s, 0, p, segment_stream_len(s) < sizeof p ? (size_t)segment_stream_len(s) : sizeof p,
                        &e);
    for (int i = 0; i < 200; i++) {
        if (segment_window(s, at, 1 + (uint64_t)i * 3, 1000 + (size_t)i * 100, x, &w, &e) < 0)
            break;
        if (w.rows == 0)
            abort();
        for (uint32_t c = 0; c < w.schema->ncolumns; c++)
            touch(&w.columns[c]);
        at += w.rows;
    }
    segment_scratch_free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < SEGMENT_FOOTER || size > 1 << 20)
        return -1;
    uint8_t *file = malloc(size);
    memcpy(file, data, size);
    uint8_t *footer = file + size - SEGMENT_FOOTER;
    uint64_t stream = segment__get64(footer + 40), blocks = segment__get64(footer + 72),
             end = size - SEGMENT_FOOTER;
    if (!(footer[16] & 1) && stream <= end && blocks <= end && stream > 0 &&
        (end - blocks) / 4 >= (stream - 1) / SEGMENT_BLOCK + 1) {
        for (uint64_t b = 0; b * SEGMENT_BLOCK < stream; b++) {
            uint64_t len =
                stream - b * SEGMENT_BLOCK < SEGMENT_BLOCK ? stream - b * SEGMENT_BLOCK : SEGMENT_BLOCK;
            segment__put32(file + blocks + 4 * b, crypto_crc32c(0, file + b * SEGMENT_BLOCK, len));
        }
    }
    if (stream <= end)
        segment__put32(footer + 84, crypto_crc32c(0, file + stream, (size_t)(end - stream)));
    memcpy(footer, "QUERNSEG", 8);
    segment__put32(footer + 8, SEGMENT_VERSION);
    segment__put32(footer + 12, 0);
    segment__put32(footer + 88, 0);
    segment__put32(footer + 92, crypto_crc32c(0, footer, SEGMENT_FOOTER - 4));
    struct segment_facts facts = {size, stream, segment__get64(footer + 32), segment__get64(footer + 64),
                                  segment__get32(footer + 92)};
    struct qid id;
    memcpy(id.b, footer + 16, 16);

    char path[64];
    (void)snprintf(path, sizeof path, "/dev/shm/quern-fuzz-segment-%d", (int)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    bool stored = fd >= 0 && write(fd, file, size) == (ssize_t)size;
    if (fd >= 0)
        close(fd);
    struct segment *s;
    struct err e;
    if (stored && segment_open(AT_FDCWD, path, &id, segment__get32(footer + 80), &facts, &s, &e) == 0) {
        read_all(s);
        segment_unref(s);
    }
    (void)unlink(path);
    free(file);
    return 0;
}

/* Any bytes as a batch index: what is accepted writes back to the same bytes and keeps its promises. */
#include <stdlib.h>
#include <string.h>

#include "batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new(16u << 20);
    struct buf b = BUF_INIT(16u << 20);
    struct batch_index *ix;
    struct err e;
    if (!a || schema_number(&fuzz_schema, &e))
        abort();
    if (!batch_index_read(data, size, &fuzz_schema, a, &ix, &e)) {
        if (batch_index_write(ix, &b) || b.len != size || memcmp(b.p, data, size) != 0)
            abort();
        for (uint32_t i = 0; i < ix->nbuffers; i++)
            if (ix->buffers[i].offset % 8 || ix->buffers[i].length > ix->body_len ||
                ix->buffers[i].offset > ix->body_len - ix->buffers[i].length)
                abort();
    }
    buf_free(&b);
    arena_free(a);
    return 0;
}

/* Any bytes as a serialized schema: read, written again, read again. */
#include <stdlib.h>

#include "encoders/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new(64u << 20);
    struct buf b = BUF_INIT(64u << 20);
    struct schema *s, *again;
    struct err e;
    if (a && !schema_read(data, size, a, &s, &e)) {
        if (schema_write(s, &b) || b.len != size || schema_read(b.p, b.len, a, &again, &e) ||
            !schema_equal(s, again))
            abort();
    }
    buf_free(&b);
    arena_free(a);
    return 0;
}

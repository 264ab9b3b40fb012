/* wire_child: frames as the child reads them. The first byte picks the type; a payload that is accepted must
 * write back to itself. */
#include <stdlib.h>
#include <string.h>

#include "engines/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const uint8_t *p = data + 1;
    size_t n = size - 1;
    struct arena *a = arena_new(64u << 20);
    struct buf b = BUF_INIT(64u << 20);
    int accepted = ERR_CORRUPT, written = 0;
    struct wire_setup setup;
    struct wire_job job;
    struct wire_render render;
    struct wire_more more;
    uint64_t id;
    uint32_t slot;
    switch (data[0] % 6) {
    case 0:
        if (!(accepted = wire_get_setup(p, n, a, &setup)))
            written = wire_put_setup(&b, &setup);
        break;
    case 1:
        if (!(accepted = wire_get_job(p, n, a, &job)))
            written = wire_put_job(&b, &job);
        break;
    case 2:
        if (!(accepted = wire_get_memfd(p, n, &id, &slot)))
            written = wire_put_memfd(&b, id, slot);
        break;
    case 3:
        if (!(accepted = wire_get_render(p, n, a, &render)))
            written = wire_put_render(&b, &render);
        break;
    case 4:
        if (!(accepted = wire_get_more(p, n, &more)))
            written = wire_put_more(&b, &more);
        break;
    default:
        if (!(accepted = wire_get_cancel(p, n, &id)))
            written = wire_put_cancel(&b, id);
        break;
    }
    if (!accepted && !written && (b.len != n + 8 || memcmp(b.p + 8, p, n) != 0))
        abort();
    buf_free(&b);
    arena_free(a);
    return 0;
}

/* wire_daemon: frames as a hostile engine process might send them. The first byte picks the type; a payload
 * that is accepted must write back to itself. */
#include <stdlib.h>
#include <string.h>

#include "engines/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 9)
        return 0;
    enum wire_type t;
    uint32_t len;
    (void)wire_header(data, &t, &len);
    const uint8_t *p = data + 1;
    size_t n = size - 1;
    struct arena *a = arena_new(64u << 20);
    struct buf b = BUF_INIT(64u << 20);
    int accepted = ERR_CORRUPT, written = 0;
    union {
        struct wire_ready ready;
        struct wire_planned planned;
        struct wire_batch batch;
        struct wire_beat beat;
        struct wire_done done;
        struct wire_failed failed;
        struct wire_script script;
    } m;
    uint64_t job, batches;
    switch (data[0] % 8) {
    case 0:
        if (!(accepted = wire_get_ready(p, n, a, &m.ready)))
            written = wire_put_ready(&b, &m.ready);
        break;
    case 1:
        if (!(accepted = wire_get_planned(p, n, a, &m.planned)))
            written = wire_put_planned(&b, &m.planned);
        break;
    case 2:
        if (!(accepted = wire_get_batch(p, n, &m.batch)))
            written = wire_put_batch(&b, &m.batch);
        break;
    case 3:
        if (!(accepted = wire_get_beat(p, n, &m.beat)))
            written = wire_put_beat(&b, &m.beat);
        break;
    case 4:
        if (!(accepted = wire_get_done(p, n, &m.done)))
            written = wire_put_done(&b, &m.done);
        break;
    case 5:
        if (!(accepted = wire_get_script(p, n, a, &m.script)))
            written = wire_put_script(&b, &m.script);
        break;
    case 6:
        if (!(accepted = wire_get_want(p, n, &job, &batches)))
            written = wire_put_want(&b, job, batches);
        break;
    default:
        if (!(accepted = wire_get_failed(p, n, &m.failed)))
            written = wire_put_failed(&b, &m.failed);
        break;
    }
    if (!accepted && !written && (b.len != n + 8 || memcmp(b.p + 8, p, n) != 0))
        abort();
    buf_free(&b);
    arena_free(a);
    return 0;
}

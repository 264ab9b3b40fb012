/*
 * wire_io: see wire_io.h.
 */
#include "engines/wire_io.h"

#include <string.h>

static const uint8_t *take(struct io *io, size_t n)
{
    if (io->bad || n > io->n) {
        io->bad = true;
        return NULL;
    }
    const uint8_t *p = io->p;
    io->p += n;
    io->n -= n;
    return p;
}

void io_check(struct io *io, bool ok)
{
    if (!io->out && !ok)
        io->bad = true;
}

void io_raw(struct io *io, void *v, size_t n)
{
    if (io->out) {
        (void)buf_add(io->out, v, n);
        return;
    }
    const uint8_t *p = take(io, n);
    if (p)
        memcpy(v, p, n);
}

void io_u8(struct io *io, uint8_t *v)
{
    io_raw(io, v, 1);
}

void io_bool(struct io *io, bool *v)
{
    uint8_t x = *v ? 1 : 0;
    io_u8(io, &x);
    io_check(io, x <= 1);
    *v = x == 1;
}

void io_store_u32(uint8_t x[4], uint32_t v)
{
    x[0] = (uint8_t)v;
    x[1] = (uint8_t)(v >> 8);
    x[2] = (uint8_t)(v >> 16);
    x[3] = (uint8_t)(v >> 24);
}

void io_u32(struct io *io, uint32_t *v)
{
    uint8_t x[4] = {0};
    if (io->out)
        io_store_u32(x, *v);
    io_raw(io, x, sizeof x);
    *v = (uint32_t)x[0] | (uint32_t)x[1] << 8 | (uint32_t)x[2] << 16 | (uint32_t)x[3] << 24;
}

void io_u64(struct io *io, uint64_t *v)
{
    uint32_t low = (uint32_t)*v, high = (uint32_t)(*v >> 32);
    io_u32(io, &low);
    io_u32(io, &high);
    *v = low | (uint64_t)high << 32;
}

void io_i32(struct io *io, int32_t *v)
{
    uint32_t x = (uint32_t)*v;
    io_u32(io, &x);
    *v = (int32_t)x;
}

void io_i64(struct io *io, int64_t *v)
{
    uint64_t x = (uint64_t)*v;
    io_u64(io, &x);
    *v = (int64_t)x;
}

void io_span(struct io *io, const uint8_t **p, uint32_t *n)
{
    io_u32(io, n);
    if (!io->out)
        *p = take(io, *n);
    else if (*n)
        (void)buf_add(io->out, *p, *n);
}

void io_bytes(struct io *io, const char **s, uint32_t *n, uint32_t max)
{
    const uint8_t *p = (const uint8_t *)*s;
    io_span(io, &p, n);
    if (io->out)
        return;
    io_check(io, *n <= max);
    char *copy = p && !io->bad ? arena_alloc(io->arena, (size_t)*n + 1) : NULL;
    *s = copy ? copy : "";
    if (!copy) {
        io->bad = true;
        *n = 0;
        return;
    }
    memcpy(copy, p, *n);
    copy[*n] = 0;
}

void io_text(struct io *io, const char **s, uint32_t max)
{
    size_t len = io->out && *s ? strlen(*s) : 0;
    uint32_t n = (uint32_t)len;
    if (len > UINT32_MAX) {
        io->out->failed = true;
        return;
    }
    io_bytes(io, s, &n, max);
    if (!io->out && memchr(*s, 0, n))
        io->bad = true;
}

void io_chars(struct io *io, char *to, size_t cap)
{
    uint32_t n = io->out ? (uint32_t)strlen(to) : 0;
    const uint8_t *p = (const uint8_t *)to;
    io_span(io, &p, &n);
    if (io->out)
        return;
    if (!p || n >= cap || memchr(p, 0, n)) {
        io->bad = true;
        return;
    }
    memcpy(to, p, n);
    to[n] = 0;
}

void *io_array(struct io *io, uint32_t n, uint32_t most, size_t least, size_t size)
{
    if (io->out)
        return NULL;
    io_check(io, n <= most && n <= io->n / least);
    void *p = io->bad ? NULL : arena_alloc(io->arena, size * ((size_t)n + 1));
    io->bad |= !p;
    return p;
}

/*
 * wire_io: the cursor over one payload of the wire, in either direction: each call writes *v, or reads into it. wire.c
 * alone uses it. Any thread; what is read may be hostile: nothing is read past n, nothing allocated beyond a small
 * multiple of n.
 */
#ifndef QUERN_ENGINES_WIRE_IO_H
#define QUERN_ENGINES_WIRE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"

struct io {
    struct buf *out;  /* writing: appended to; NULL: reading */
    const uint8_t *p; /* reading: what is left */
    size_t n;
    struct arena *arena; /* reading: of texts and arrays */
    bool bad;            /* reading: it is a lie (or there is no memory) */
    int rc;              /* writing: what a part of it failed with */
};

/* Reading: what was read must be so. What is written is not asked. */
void io_check(struct io *io, bool ok);
/* n bytes as they are. */
void io_raw(struct io *io, void *v, size_t n);
void io_u8(struct io *io, uint8_t *v);
void io_bool(struct io *io, bool *v); /* one byte, 0 or 1 */
void io_u32(struct io *io, uint32_t *v);
void io_u64(struct io *io, uint64_t *v);
void io_i32(struct io *io, int32_t *v);
void io_i64(struct io *io, int64_t *v);
/* u32 length and bytes; what is read lies in the payload. */
void io_span(struct io *io, const uint8_t **p, uint32_t *n);
/* u32 length and bytes; what is read (`max` at most) is copied, with a NUL behind it. */
void io_bytes(struct io *io, const char **s, uint32_t *n, uint32_t max);
/* ... without a NUL in it. Writing: NULL counts as "". */
void io_text(struct io *io, const char **s, uint32_t max);
/* A text that has its place in the struct. */
void io_chars(struct io *io, char *to, size_t cap);
/* Room for the n elements that a payload says to hold, of at least `least` bytes each in what is left. NULL when
 * writing, or it lies. */
void *io_array(struct io *io, uint32_t n, uint32_t most, size_t least, size_t size);
void io_store_u32(uint8_t x[4], uint32_t v);

#endif

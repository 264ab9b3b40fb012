/*
 * batch: rows of a result as columns.
 *
 * Body format, shared by engine process (writes), daemon (checks once, stores) and readers: the buffers of
 * all nodes in pre-order, each starting at a multiple of 8 from the body's start and zero-padded to the next
 * one, in the order of schema.h: exactly the body of an Arrow record batch. A fixed-layout index tells where
 * each buffer lies:
 *
 *   struct batch_index (little endian):  u32 magic 'QBAT', u32 nnodes, u32 nbuffers, u32 0, u64 rows, u64
 * body_len, nnodes   x { u64 length, u64 null_count } nbuffers x { u64 offset (in the body), u64 length
 * (without padding) }
 *
 * The daemon writes the Arrow metadata itself from the checked index, so bytes that clients get as Arrow
 * cannot contradict it (this is stricter than taking the message from the engine process, see
 * ARCHITECTURE.md).
 *
 * A `struct window` is what encoders see: some consecutive rows, decoded pointers, no copies. It borrows
 * memory from whoever filled it.
 */
#ifndef QUERN_ENCODERS_BATCH_H
#define QUERN_ENCODERS_BATCH_H

#include "encoders/schema.h"

struct batch_node {
    uint64_t length, null_count;
};
struct batch_buffer {
    uint64_t offset, length;
};

struct batch_index {
    uint64_t rows, body_len;
    uint32_t nnodes, nbuffers;
    struct batch_node *nodes;
    struct batch_buffer *buffers;
};

/* Size of the serialized index for a schema. */
size_t batch_index_size(uint32_t nnodes, uint32_t nbuffers);
int batch_index_write(const struct batch_index *ix, struct buf *out) MUST_USE;
/* Reads the index and checks its form: counts equal the schema's, each buffer begins where the one before
 * ended (padded to 8), and is exactly as long as its node's rows ask for; body_len is the end of the last
 * one; null_count <= length, and 0 where the column is not nullable and for entries and keys of maps. Result
 * lives in `a`. ERR_CORRUPT. Hostile bytes allowed. */
int batch_index_read(const void *p, size_t n, const struct schema *s, struct arena *a,
                     struct batch_index **ret, struct err *e) MUST_USE;
/* Checks the body against index and schema, reading every byte that matters once: buffer lengths enough for
 * the rows, validity bits equal null_count, offsets start at 0, monotonic and inside their data, UTF-8 valid,
 * child lengths right, decimals inside their precision, padding zero. ERR_CORRUPT with the column's name.
 * ix comes from batch_index_read with the same schema; the caller knows that ix->body_len bytes are readable
 * at body and cannot change any more. */
int batch_check(const struct schema *s, const struct batch_index *ix, const uint8_t *body,
                struct err *e) MUST_USE;

/* One column of a window. Row numbers below are relative to the window's node rows [0, length). For children
 * of LIST and MAP the offsets of the parent index into the child's rows. */
struct window_column {
    const struct column *column;
    uint64_t length;
    const uint8_t *validity; /* bit i + validity_shift says row i is not NULL; NULL pointer: no NULLs */
    uint32_t validity_shift;
    const uint8_t
        *values; /* fixed width values, unaligned-safe access by memcpy; bits for BOOL (+ values_shift) */
    uint32_t values_shift; /* BOOL only */
    const int32_t
        *offsets; /* UTF8, BINARY, LIST, MAP: length + 1 entries, 4-byte aligned; subtract offset_base */
    int32_t offset_base; /* value of offsets that corresponds to data[0] / child row 0 */
    const uint8_t *data; /* UTF8, BINARY */
    struct window_column *children;
};

struct window {
    const struct schema *schema;
    uint64_t first_row; /* row number in the result */
    uint64_t rows;
    struct window_column *columns; /* schema->ncolumns */
};

static inline bool window_is_null(const struct window_column *c, uint64_t row)
{
    if (!c->validity)
        return false;
    uint64_t bit = row + c->validity_shift;
    return !((c->validity[bit >> 3] >> (bit & 7)) & 1);
}

/* Whole batch in memory as a window (body, at a multiple of 4, stays where it is). Columns live in `a`. */
int window_of_batch(const struct schema *s, const struct batch_index *ix, const uint8_t *body,
                    uint64_t first_row, struct arena *a, struct window *ret) MUST_USE;

#endif

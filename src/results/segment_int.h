/*
 * What the segment files share and nobody else may see: the open segment, its growing tables and the footer.
 *
 * One `struct segment` serves three origins: a sealed file (segment_open), a file that its writer still
 * appends to (segment_view) and a stream in memory (segment_inline). Readers take no lock for rows, batches
 * and blocks: the tables never move, and a count is stored with release after what it counts was written.
 * Order of the stores in append and seal: stream_len, nblocks, nbatches.
 */
#ifndef QUERN_RESULTS_SEGMENT_INT_H
#define QUERN_RESULTS_SEGMENT_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "results/segment.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "segments are little endian and read in place");

#define SEGMENT_MAGIC       0x53474553u
#define SEGMENT_FOOTER      96u
#define SEGMENT_VERSION     1u
#define SEGMENT_RECORD_HEAD 48u         /* of a batch record, before the batch index */
#define SEGMENT_SCHEMA_MAX  (64u << 20) /* serialized schema */
#define SEGMENT_HEADER_MAX  (64u << 20) /* Arrow message header */

/* Entries that never move: chunk 0 holds `base` entries, chunk k > 0 holds base << (k - 1). One thread grows,
 * any reads what was published. */
#define SEGMENT_CHUNKS 48
struct segment_table {
    size_t width;
    uint64_t base;
    _Atomic uint64_t capacity; /* atomic only for segment_memory() */
    uint8_t *chunk[SEGMENT_CHUNKS];
};
void segment__table_init(struct segment_table *t, size_t width, uint64_t base);
void segment__table_free(struct segment_table *t);
int segment__table_reserve(struct segment_table *t,
                           uint64_t n) MUST_USE; /* zeroed entries [0, n); ERR_NOMEM */
void *segment__table_at(const struct segment_table *t, uint64_t i);

/* Entry i of the batch table; entry [nbatches] is a sentinel whose first_row and off end the last batch. */
struct segment_entry {
    uint64_t first_row, off;
    uint32_t header_len, record_crc;
};

struct segment {
    uint32_t magic;
    _Atomic uint32_t refs;
    uint64_t serial; /* never used twice in a process: key of what a scratch remembers */
    int fd;          /* -1: inline */
    uint8_t *mem;    /* inline: the stream */
    struct qid id;
    uint32_t ordinal;
    struct arena *arena; /* holds the schema */
    struct schema *schema;
    uint64_t schema_len;           /* Arrow schema message */
    size_t record_len;             /* of one batch record */
    struct segment_table batches;  /* struct segment_entry */
    struct segment_table blocks;   /* uint32_t */
    struct segment_table verified; /* _Atomic uint64_t, one bit a block */
    _Atomic uint64_t stream_len, nblocks, nbatches;
    _Atomic uint64_t records_off; /* where the batch records lie in fd; 0: not sealed, see below */
    pthread_mutex_t lock;         /* the records of an unsealed or inline segment: */
    struct buf tail;              /* records from number tail_first on */
    uint64_t tail_first;
    int spill_fd; /* records before it, from offset 0; -1: none yet */
};

struct segment_footer {
    uint32_t flags, ordinal, trailer_crc, footer_crc;
    struct qid id;
    uint64_t rows, stream_len, schema_off, batches_off, nbatches, blocks_off;
};
/* Sets f->footer_crc. */
void segment__footer_put(struct segment_footer *f, uint8_t out[SEGMENT_FOOTER]);
/* False when magic, version, reserved words or checksum are wrong. */
bool segment__footer_get(const uint8_t in[SEGMENT_FOOTER], struct segment_footer *ret);

/* An empty segment with a copy of the schema; fd is taken over only on success. nbatches and nblocks: first
 * sizes of the tables. */
int segment__new(int fd, const struct qid *id, uint32_t ordinal, const void *schema, size_t schema_size,
                 uint64_t nbatches, uint64_t nblocks, struct segment **ret, struct err *e) MUST_USE;
/* ERR_CORRUPT with the one text users see; counts. */
int segment__corrupt(struct err *e, const char *detail);
/* An error of reading: EIO is a damaged medium, so ERR_CORRUPT. */
int segment__read_error(struct err *e, int errnum);
/* One batch record follows its predecessor: `next` carries what it must start with, and then what the next one
 * must. */
bool segment__record_follows(const uint8_t *r, size_t len, struct segment_entry *next,
                             struct segment_entry *entry);
/* Its batch index decodes and agrees with its head. */
int segment__record_check(struct segment *s, const uint8_t *r, struct err *e) MUST_USE;
/* Reads batch record i into p (record_len bytes) and compares its checksum. */
int segment__record(struct segment *s, uint64_t i, uint8_t *p, struct err *e) MUST_USE;

struct segment_entry *segment__entry(const struct segment *s, uint64_t i);

static inline void segment__put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
}
static inline void segment__put64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, 8);
}
static inline uint32_t segment__get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static inline uint64_t segment__get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

#endif

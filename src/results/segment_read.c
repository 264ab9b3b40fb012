/*
 * An open segment: reference counts, what is in it, and verified reads of its stream.
 *
 * Invariant: no byte of a block whose checksum is known leaves here before the block was verified once in
 * this process; the last, unfinished block of a segment that is still written has none yet and is served as
 * it is (the same process wrote it a moment ago). Any thread. Verification needs no lock: two threads may
 * verify the same block, the bit is only ever set.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/metrics.h"
#include "base/sys.h"
#include "results/segment_int.h"

void segment_count_corrupt(void)
{
    metric_add(metrics_get(METRIC_COUNTER, "quern_result_corrupt_total", "",
                           "Reads of stored results that found damage"),
               1);
}

int segment__corrupt(struct err *e, const char *detail)
{
    segment_count_corrupt();
    return err_set(e, ERR_CORRUPT, "XX001", "the stored result is corrupt (%s)", detail);
}

int segment__read_error(struct err *e, int errnum)
{
    if (errnum == EIO)
        return segment__corrupt(e, "it cannot be read");
    return err_errno(e, errnum, "reading the stored result");
}

int segment__new(int fd, const struct qid *id, uint32_t ordinal, const void *schema, size_t schema_size,
                 uint64_t nbatches, uint64_t nblocks, struct segment **ret, struct err *e)
{
    static _Atomic uint64_t serials;
    struct segment *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "53200", "out of memory while opening a result");
    s->magic = SEGMENT_MAGIC;
    atomic_init(&s->refs, 1);
    s->serial = atomic_fetch_add(&serials, 1) + 1;
    s->fd = -1;
    s->spill_fd = -1;
    s->id = *id;
    s->ordinal = ordinal;
    pthread_mutex_init(&s->lock, NULL);
    segment__table_init(&s->batches, sizeof(struct segment_entry), nbatches + 1);
    segment__table_init(&s->blocks, sizeof(uint32_t), nblocks);
    segment__table_init(&s->verified, sizeof(uint64_t), (nblocks + 63) / 64);
    buf_init(&s->tail, SIZE_MAX / 2);
    s->arena = arena_new((size_t)SEGMENT_SCHEMA_MAX * 4);
    int rc = s->arena ? schema_read(schema, schema_size, s->arena, &s->schema, e) : ERR_NOMEM;
    if (rc == 0) {
        s->record_len = SEGMENT_RECORD_HEAD + batch_index_size(s->schema->nnodes, s->schema->nbuffers);
        if (segment__table_reserve(&s->batches, 1) < 0)
            rc = ERR_NOMEM;
    }
    if (rc < 0) {
        if (rc == ERR_NOMEM)
            err_set(e, ERR_NOMEM, "53200", "out of memory while opening a result");
        segment_unref(s);
        return rc;
    }
    s->fd = fd;
    *ret = s;
    return 0;
}

struct segment *segment_ref(struct segment *s)
{
    ASSERT(s->magic == SEGMENT_MAGIC);
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void segment_unref(struct segment *s)
{
    if (!s)
        return;
    ASSERT(s->magic == SEGMENT_MAGIC);
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (s->fd >= 0)
        close(s->fd);
    if (s->spill_fd >= 0)
        close(s->spill_fd);
    segment__table_free(&s->batches);
    segment__table_free(&s->blocks);
    segment__table_free(&s->verified);
    buf_free(&s->tail);
    arena_free(s->arena);
    free(s->mem);
    pthread_mutex_destroy(&s->lock);
    s->magic = 0;
    free(s);
}

/* ---- what is in it ---- */

const struct schema *segment_schema(const struct segment *s)
{
    return s->schema;
}
uint64_t segment_schema_len(const struct segment *s)
{
    return s->schema_len;
}
uint64_t segment_nbatches(const struct segment *s)
{
    return atomic_load_explicit(&s->nbatches, memory_order_acquire);
}
uint64_t segment_stream_len(const struct segment *s)
{
    return atomic_load_explicit(&s->stream_len, memory_order_acquire);
}
uint64_t segment_rows(const struct segment *s)
{
    return segment__entry(s, segment_nbatches(s))->first_row;
}

bool segment_inline_held(const struct segment *s)
{
    return s->fd < 0 && s->mem;
}

uint64_t segment_memory(const struct segment *s)
{
    struct segment *m = (struct segment *)(uintptr_t)s;
    uint64_t n = sizeof *s + arena_used(s->arena);
    n += s->batches.capacity * s->batches.width + s->blocks.capacity * s->blocks.width +
         s->verified.capacity * s->verified.width;
    pthread_mutex_lock(&m->lock);
    n += s->tail.cap;
    pthread_mutex_unlock(&m->lock);
    return n + (s->mem ? segment_stream_len(s) : 0);
}

void segment_batch_rows(const struct segment *s, uint64_t i, uint64_t *ret_first, uint64_t *ret_rows)
{
    ASSERT(i < segment_nbatches(s));
    uint64_t first = segment__entry(s, i)->first_row;
    *ret_first = first;
    *ret_rows = segment__entry(s, i + 1)->first_row - first;
}

void segment_batch_range(const struct segment *s, uint64_t i, uint64_t *ret_off, uint64_t *ret_len)
{
    ASSERT(i < segment_nbatches(s));
    uint64_t off = segment__entry(s, i)->off;
    *ret_off = off;
    *ret_len = segment__entry(s, i + 1)->off - off;
}

/* ---- reads ---- */

static int raw_read(struct segment *s, uint64_t off, void *p, size_t n, struct err *e)
{
    if (s->mem) {
        memcpy(p, s->mem + off, n);
        return 0;
    }
    ssize_t got = sys_pread(s->fd, p, n, (int64_t)off);
    if (got < 0)
        return segment__read_error(e, errno);
    if ((size_t)got != n)
        return segment__corrupt(e, "it is shorter than recorded");
    return 0;
}

static bool block_verified(struct segment *s, uint64_t b)
{
    _Atomic uint64_t *word = segment__table_at(&s->verified, b / 64);
    return (atomic_load_explicit(word, memory_order_acquire) >> (b % 64)) & 1;
}

static int block_compare(struct segment *s, uint64_t b, const uint8_t *p, size_t n, struct err *e)
{
    if (crypto_crc32c(0, p, n) != *(uint32_t *)segment__table_at(&s->blocks, b))
        return segment__corrupt(e, "a block does not match its checksum");
    _Atomic uint64_t *word = segment__table_at(&s->verified, b / 64);
    atomic_fetch_or_explicit(word, UINT64_C(1) << (b % 64), memory_order_release);
    return 0;
}

/* Verifies the blocks of [off, off+n). With `have`, the bytes of the range: whole blocks are verified there,
 * and of a block that reaches beyond the range the verified bytes replace what was read first. */
static int verify(struct segment *s, uint64_t off, uint64_t n, uint8_t *have, struct err *e)
{
    if (s->mem || n == 0)
        return 0;
    uint64_t known = atomic_load_explicit(&s->nblocks, memory_order_acquire);
    uint64_t stream = segment_stream_len(s); /* after nblocks: covers all known blocks */
    uint8_t *block = NULL;
    int rc = 0;
    for (uint64_t b = off / SEGMENT_BLOCK; rc == 0 && b < known && b * SEGMENT_BLOCK < off + n; b++) {
        if (block_verified(s, b))
            continue;
        uint64_t start = b * SEGMENT_BLOCK;
        size_t len = stream - start < SEGMENT_BLOCK ? (size_t)(stream - start) : SEGMENT_BLOCK;
        if (have && start >= off && start + len <= off + n) {
            rc = block_compare(s, b, have + (start - off), len, e);
            continue;
        }
        if (!block && !(block = malloc(SEGMENT_BLOCK)))
            return err_set(e, ERR_NOMEM, "53200", "out of memory while reading a result");
        rc = raw_read(s, start, block, len, e);
        if (rc == 0)
            rc = block_compare(s, b, block, len, e);
        if (rc == 0 && have) {
            uint64_t from = start > off ? start : off;
            uint64_t to = start + len < off + n ? start + len : off + n;
            memcpy(have + (from - off), block + (from - start), (size_t)(to - from));
        }
    }
    free(block);
    return rc;
}

static bool inside(const struct segment *s, uint64_t off, uint64_t n)
{
    uint64_t stream = segment_stream_len(s);
    return off <= stream && n <= stream - off;
}

int segment_read(struct segment *s, uint64_t off, void *p, size_t n, struct err *e)
{
    ASSERT(s->magic == SEGMENT_MAGIC);
    if (!inside(s, off, n))
        return err_set(e, ERR_INVALID, NULL, "the range is outside of the result");
    if (n == 0)
        return 0;
    int rc = raw_read(s, off, p, n, e);
    if (rc == 0)
        rc = verify(s, off, n, p, e);
    return rc;
}

int segment_sendfile(struct segment *s, uint64_t off, uint64_t n, int *ret_fd, struct err *e)
{
    ASSERT(s->magic == SEGMENT_MAGIC);
    if (!inside(s, off, n))
        return err_set(e, ERR_INVALID, NULL, "the range is outside of the result");
    int rc = verify(s, off, n, NULL, e);
    if (rc == 0)
        *ret_fd = s->fd;
    return rc;
}

int segment__record(struct segment *s, uint64_t i, uint8_t *p, struct err *e)
{
    uint64_t off = atomic_load_explicit(&s->records_off, memory_order_acquire);
    int fd = s->fd;
    if (!off) { /* still being written, or inline */
        pthread_mutex_lock(&s->lock);
        bool here = i >= s->tail_first;
        if (here)
            memcpy(p, s->tail.p + (size_t)(i - s->tail_first) * s->record_len, s->record_len);
        fd = s->spill_fd;
        pthread_mutex_unlock(&s->lock);
        if (here)
            return 0;
    }
    ssize_t got = sys_pread(fd, p, s->record_len, (int64_t)(off + i * s->record_len));
    if (got < 0)
        return segment__read_error(e, errno);
    if ((size_t)got != s->record_len)
        return segment__corrupt(e, "it is shorter than recorded");
    if (crypto_crc32c(0, p, s->record_len) != segment__entry(s, i)->record_crc)
        return segment__corrupt(e, "its index does not match its checksum");
    return 0;
}

int segment_fd(const struct segment *s)
{
    return s->fd;
}

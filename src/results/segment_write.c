/*
 * segment writer: appends batches to a file and seals it.
 *
 * Invariants: bytes go out once and in order, so the checksum of the current 64 KiB block runs along with
 * them; nothing is published to readers before it is written; after a failed write the writer is dead (the
 * file's end is unknown) while its readers keep what was published. Batch records (they go behind the stream,
 * at seal) wait in memory up to 1 MiB, then in an unlinked file beside the segment, so that the memory of a
 * writer does not grow with the result beyond 24 bytes a batch and 4 bytes a block. One thread; readers of
 * other threads share only `struct segment`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/sys.h"
#include "encoders/encoder.h"
#include "results/segment_int.h"

#define WRITER_MAGIC 0x53475752u
#define TAIL_MAX     (1u << 20)
#define COPY_SIZE    65536u

/* The disk works while the rows still come, so that the fsync of the seal is short. */
#define WRITE_BEHIND (UINT64_C(8) << 20)

struct segment_writer {
    uint32_t magic;
    struct segment *seg;
    int dir_fd;
    char *name;
    struct buf schema; /* serialized */
    struct buf head;   /* Arrow message header of the batch at hand */
    uint64_t off;      /* bytes written */
    uint64_t begun;    /* of them, those that the disk was told to begin with */
    uint64_t rows, nbatches;
    uint64_t nblocks; /* finished blocks; published after the write */
    uint32_t block_crc, block_fill;
    bool failed, sealed;
};

static int write_failed(struct segment_writer *w, struct err *e)
{
    int errnum = errno;
    w->failed = true;
    return err_errno(e, errnum, "writing the result");
}

static int no_memory(struct segment_writer *w, struct err *e)
{
    w->failed = true;
    return err_set(e, ERR_NOMEM, "53200", "out of memory while storing the result");
}

/* Runs the block checksums over the next bytes of the stream. */
static int sum(struct segment_writer *w, const void *p, size_t n)
{
    const uint8_t *b = p;
    while (n > 0) {
        size_t take = SEGMENT_BLOCK - w->block_fill;
        if (take > n)
            take = n;
        w->block_crc = crypto_crc32c(w->block_crc, b, take);
        w->block_fill += (uint32_t)take;
        b += take;
        n -= take;
        if (w->block_fill < SEGMENT_BLOCK)
            break;
        if (segment__table_reserve(&w->seg->blocks, w->nblocks + 1) < 0)
            return ERR_NOMEM;
        if (segment__table_reserve(&w->seg->verified, w->nblocks / 64 + 1) < 0)
            return ERR_NOMEM;
        *(uint32_t *)segment__table_at(&w->seg->blocks, w->nblocks) = w->block_crc;
        w->nblocks++;
        w->block_crc = 0;
        w->block_fill = 0;
    }
    return 0;
}

static int stream_write(struct segment_writer *w, const void *a, size_t an, const void *b, size_t bn,
                        struct err *e)
{
    if (sum(w, a, an) < 0 || sum(w, b, bn) < 0)
        return no_memory(w, e);
    struct iovec iov[2] = {{(void *)(uintptr_t)a, an}, {(void *)(uintptr_t)b, bn}};
    if (sys_writev_all(w->seg->fd, iov, bn ? 2 : 1) < 0)
        return write_failed(w, e);
    w->off += an + bn;
    return 0;
}

int segment_create(int dir_fd, const char *name, const struct qid *id, uint32_t ordinal,
                   const struct schema *s, struct segment_writer **ret, struct err *e)
{
    struct segment_writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(e, ERR_NOMEM, "53200", "out of memory while storing the result");
    w->magic = WRITER_MAGIC;
    w->dir_fd = dir_fd;
    buf_init(&w->schema, SEGMENT_SCHEMA_MAX);
    buf_init(&w->head, SEGMENT_HEADER_MAX);
    w->name = strdup(name);
    int rc = w->name ? schema_write(s, &w->schema) : ERR_NOMEM;
    if (rc == 0)
        rc = arrow_schema_message(s, ARROW_NEUTRAL, &w->head, e);
    else
        rc = err_set(e, rc, rc == ERR_LIMIT ? "54011" : "53200", "the result's schema cannot be stored");
    int fd = -1;
    if (rc == 0) {
        fd = sys_openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            rc = errno == EEXIST ? err_set(e, ERR_CONFLICT, "58P02", "the result is being written already")
                                 : err_errno(e, errno, "creating the result");
    }
    if (rc == 0)
        rc = segment__new(fd, id, ordinal, w->schema.p, w->schema.len, 16, 64, &w->seg, e);
    if (rc == 0) {
        rc = stream_write(w, w->head.p, w->head.len, NULL, 0, e);
        w->seg->schema_len = w->head.len;
        segment__entry(w->seg, 0)->off = w->off;
        atomic_store_explicit(&w->seg->stream_len, w->off, memory_order_release);
        atomic_store_explicit(&w->seg->nblocks, w->nblocks, memory_order_release);
    } else if (fd >= 0) {
        close(fd);
    }
    if (rc < 0) {
        if (fd >= 0)
            (void)sys_unlinkat(dir_fd, name, 0);
        segment_writer_free(w);
        return rc;
    }
    *ret = w;
    return 0;
}

/* Moves the waiting records into the side file. The file has no name from its first moment on; a name left by
 * a crash is swept. */
static int spill(struct segment_writer *w, struct err *e)
{
    struct segment *s = w->seg;
    if (s->spill_fd < 0) {
        char name[256];
        int n = snprintf(name, sizeof name, "%s.ix", w->name);
        if (n < 0 || (size_t)n >= sizeof name)
            return err_set(e, ERR_INTERNAL, "XX000", "the result's file name is too long");
        int fd = sys_openat(w->dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return write_failed(w, e);
        (void)sys_unlinkat(w->dir_fd, name, 0);
        pthread_mutex_lock(&s->lock);
        s->spill_fd = fd;
        pthread_mutex_unlock(&s->lock);
    }
    if (sys_write_all(s->spill_fd, s->tail.p, s->tail.len) < 0)
        return write_failed(w, e);
    pthread_mutex_lock(&s->lock);
    s->tail_first += s->tail.len / s->record_len;
    buf_reset(&s->tail);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

int segment_append(struct segment_writer *w, const struct batch_index *ix, const uint8_t *body, struct err *e)
{
    ASSERT(w->magic == WRITER_MAGIC);
    struct segment *s = w->seg;
    if (w->failed || w->sealed)
        return err_set(e, ERR_IO, "58030", "the result cannot be written any more");
    if (ix->body_len % 8 != 0 || ix->body_len > SIZE_MAX / 2 || ix->nnodes != s->schema->nnodes ||
        ix->nbuffers != s->schema->nbuffers)
        return err_set(e, ERR_CORRUPT, "XX001", "the batch does not fit the result's schema");
    buf_reset(&w->head);
    int rc = arrow_batch_header(s->schema, ix, &w->head, e);
    if (rc < 0)
        return rc;
    if (segment__table_reserve(&s->batches, w->nbatches + 2) < 0)
        return no_memory(w, e);
    if (s->tail.len > TAIL_MAX && (rc = spill(w, e)) < 0)
        return rc;

    uint64_t start = w->off;
    rc = stream_write(w, w->head.p, w->head.len, body, (size_t)ix->body_len, e);
    if (rc < 0)
        return rc;

    uint8_t rec[SEGMENT_RECORD_HEAD] = {0};
    segment__put64(rec, w->rows);
    segment__put64(rec + 8, ix->rows);
    segment__put64(rec + 16, start);
    segment__put64(rec + 24, start + w->head.len);
    segment__put64(rec + 32, ix->body_len);
    segment__put32(rec + 40, (uint32_t)(s->record_len - SEGMENT_RECORD_HEAD));
    pthread_mutex_lock(&s->lock);
    size_t at = s->tail.len;
    rc = buf_add(&s->tail, rec, sizeof rec);
    if (rc == 0)
        rc = batch_index_write(ix, &s->tail);
    uint32_t crc = rc == 0 ? crypto_crc32c(0, s->tail.p + at, s->tail.len - at) : 0;
    bool fits = rc == 0 && s->tail.len - at == s->record_len;
    pthread_mutex_unlock(&s->lock);
    if (!fits)
        return no_memory(w, e);

    w->rows += ix->rows;
    struct segment_entry *entry = segment__entry(s, w->nbatches), *end = segment__entry(s, w->nbatches + 1);
    entry->header_len = (uint32_t)w->head.len;
    entry->record_crc = crc;
    end->first_row = w->rows;
    end->off = w->off;
    w->nbatches++;
    if (w->off - w->begun >= WRITE_BEHIND) {
        sys_write_behind(s->fd, (int64_t)w->begun, (int64_t)(w->off - w->begun));
        w->begun = w->off;
    }
    atomic_store_explicit(&s->stream_len, w->off, memory_order_release);
    atomic_store_explicit(&s->nblocks, w->nblocks, memory_order_release);
    atomic_store_explicit(&s->nbatches, w->nbatches, memory_order_release);
    return 0;
}

/* ---- seal ---- */

static int trailer_write(struct segment_writer *w, uint32_t *crc, const void *p, size_t n, struct err *e)
{
    *crc = crypto_crc32c(*crc, p, n);
    if (n > 0 && sys_write_all(w->seg->fd, p, n) < 0)
        return write_failed(w, e);
    w->off += n;
    return 0;
}

static int trailer_records(struct segment_writer *w, uint32_t *crc, uint8_t *copy, struct err *e)
{
    struct segment *s = w->seg;
    uint64_t spilled = s->tail_first * s->record_len;
    for (uint64_t at = 0; at < spilled;) {
        size_t take = spilled - at < COPY_SIZE ? (size_t)(spilled - at) : COPY_SIZE;
        ssize_t got = sys_pread(s->spill_fd, copy, take, (int64_t)at);
        if (got < 0)
            return write_failed(w, e);
        if ((size_t)got < take)
            return err_set(e, ERR_IO, "58030", "writing the result: its index is gone");
        int rc = trailer_write(w, crc, copy, take, e);
        if (rc < 0)
            return rc;
        at += take;
    }
    return trailer_write(w, crc, s->tail.p, s->tail.len, e);
}

static int trailer_blocks(struct segment_writer *w, uint32_t *crc, uint8_t *copy, struct err *e)
{
    size_t fill = 0;
    for (uint64_t b = 0; b < w->nblocks; b++) {
        memcpy(copy + fill, segment__table_at(&w->seg->blocks, b), 4);
        fill += 4;
        if (fill < COPY_SIZE && b + 1 < w->nblocks)
            continue;
        int rc = trailer_write(w, crc, copy, fill, e);
        if (rc < 0)
            return rc;
        fill = 0;
    }
    return 0;
}

static int seal(struct segment_writer *w, uint8_t *copy, struct segment_facts *facts, struct err *e)
{
    struct segment *s = w->seg;
    buf_reset(&w->head);
    if (arrow_end(&w->head) < 0)
        return no_memory(w, e);
    int rc = stream_write(w, w->head.p, w->head.len, NULL, 0, e);
    if (rc < 0)
        return rc;
    if (w->block_fill > 0) {
        if (segment__table_reserve(&s->blocks, w->nblocks + 1) < 0)
            return no_memory(w, e);
        if (segment__table_reserve(&s->verified, w->nblocks / 64 + 1) < 0)
            return no_memory(w, e);
        *(uint32_t *)segment__table_at(&s->blocks, w->nblocks++) = w->block_crc;
    }
    struct segment_footer f = {
        .ordinal = s->ordinal, .id = s->id, .rows = w->rows, .stream_len = w->off, .nbatches = w->nbatches};
    f.schema_off = w->off;
    rc = trailer_write(w, &f.trailer_crc, w->schema.p, w->schema.len, e);
    f.batches_off = w->off;
    if (rc == 0)
        rc = trailer_records(w, &f.trailer_crc, copy, e);
    f.blocks_off = w->off;
    if (rc == 0)
        rc = trailer_blocks(w, &f.trailer_crc, copy, e);
    if (rc < 0)
        return rc;
    uint8_t footer[SEGMENT_FOOTER];
    segment__footer_put(&f, footer);
    if (sys_write_all(s->fd, footer, sizeof footer) < 0)
        return write_failed(w, e);
    w->off += sizeof footer;
    if (sys_fsync(s->fd) < 0)
        return write_failed(w, e);
    *facts = (struct segment_facts){w->off, f.stream_len, f.rows, f.nbatches, f.footer_crc};
    atomic_store_explicit(&s->records_off, f.batches_off, memory_order_release);
    atomic_store_explicit(&s->stream_len, f.stream_len, memory_order_release);
    atomic_store_explicit(&s->nblocks, w->nblocks, memory_order_release);
    return 0;
}

int segment_seal(struct segment_writer *w, struct segment_facts *ret, struct err *e)
{
    ASSERT(w->magic == WRITER_MAGIC);
    if (w->failed || w->sealed)
        return err_set(e, ERR_IO, "58030", "the result cannot be written any more");
    uint8_t *copy = malloc(COPY_SIZE);
    if (!copy)
        return no_memory(w, e);
    struct segment_facts facts = {0};
    int rc = seal(w, copy, &facts, e);
    free(copy);
    if (rc < 0) {
        w->failed = true;
        return rc;
    }
    w->sealed = true;
    *ret = facts;
    return 0;
}

int segment_view(struct segment_writer *w, struct segment **ret, struct err *e)
{
    (void)e;
    ASSERT(w->magic == WRITER_MAGIC);
    *ret = segment_ref(w->seg);
    return 0;
}

uint64_t segment_written_bytes(const struct segment_writer *w)
{
    return w->off;
}

void segment_writer_free(struct segment_writer *w)
{
    if (!w)
        return;
    ASSERT(w->magic == WRITER_MAGIC);
    if (w->seg)
        segment_unref(w->seg);
    buf_free(&w->schema);
    buf_free(&w->head);
    free(w->name);
    w->magic = 0;
    free(w);
}

/*
 * segment_follow: reading a file that another process still writes. The writer's process tells what is there,
 * batch by batch; the follower adds it to tables of its own, which are those of a writer's view: counts are
 * published after what they count (segment_int.h). What is told was checked when it was written, and is looked
 * at once more here, as a sealed file's index is. Records of batches that were read are dropped (segment_forget),
 * so that a follower keeps 24 bytes a batch and 4 bytes a block.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/sys.h"
#include "results/segment_int.h"

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "53200", "out of memory while reading a result");
}

/* ---- the writer's side ---- */

int segment_tell(struct segment *s, uint64_t i, uint64_t *inout_block, struct buf *record, struct buf *blocks,
                 struct err *e)
{
    ASSERT(s->magic == SEGMENT_MAGIC && i < segment_nbatches(s));
    if (buf_reserve(record, s->record_len) < 0)
        return no_memory(e);
    int rc = segment__record(s, i, (uint8_t *)record->p + record->len, e);
    if (rc < 0)
        return rc;
    record->len += s->record_len;
    for (uint64_t end = segment__entry(s, i + 1)->off / SEGMENT_BLOCK; *inout_block < end; ++*inout_block)
        if (buf_add(blocks, segment__table_at(&s->blocks, *inout_block), sizeof(uint32_t)) < 0)
            return no_memory(e);
    return 0;
}

int segment_reopen(const struct segment *s, int *ret_fd, struct err *e)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", s->fd);
    int fd = s->fd < 0 ? -1 : sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(e, errno, "opening the result once more");
    *ret_fd = fd;
    return 0;
}

/* ---- the follower's ---- */

int segment_follow(int fd, const struct qid *id, uint32_t ordinal, const void *schema, size_t schema_len,
                   struct segment **ret, struct err *e)
{
    struct stat st;
    int rc = 0;
    if (fstat(fd, &st) < 0)
        rc = segment__read_error(e, errno);
    else if (!S_ISREG(st.st_mode))
        rc = segment__corrupt(e, "it is not a file");
    else
        rc = segment__new(fd, id, ordinal, schema, schema_len, 16, 64, ret, e);
    if (rc < 0)
        close(fd);
    return rc;
}

static int learn_blocks(struct segment *s, const uint8_t *blocks, uint64_t n, struct err *e)
{
    uint64_t have = atomic_load(&s->nblocks);
    if (segment__table_reserve(&s->blocks, have + n) < 0 ||
        segment__table_reserve(&s->verified, (have + n) / 64 + 1) < 0)
        return no_memory(e);
    for (uint64_t i = 0; i < n; i++)
        memcpy(segment__table_at(&s->blocks, have + i), blocks + i * sizeof(uint32_t), sizeof(uint32_t));
    return 0;
}

static int keep_record(struct segment *s, const uint8_t *record, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    int rc = buf_add(&s->tail, record, s->record_len);
    pthread_mutex_unlock(&s->lock);
    return rc < 0 ? no_memory(e) : 0;
}

int segment_learn(struct segment *s, const void *record, size_t record_len, const void *blocks,
                  size_t blocks_len, struct err *e)
{
    ASSERT(s->magic == SEGMENT_MAGIC);
    uint64_t n = segment_nbatches(s), nblocks = blocks_len / sizeof(uint32_t);
    if (record_len != s->record_len || blocks_len % sizeof(uint32_t) != 0)
        return segment__corrupt(e, "its index contradicts itself");
    if (segment__table_reserve(&s->batches, n + 2) < 0)
        return no_memory(e);
    struct segment_entry *entry = segment__entry(s, n), next = *entry;
    if (n == 0) /* the schema message ends where the first batch begins */
        s->schema_len = next.off = segment__get64((const uint8_t *)record + 16);
    if (!segment__record_follows(record, record_len, &next, entry) ||
        atomic_load(&s->nblocks) + nblocks != next.off / SEGMENT_BLOCK)
        return segment__corrupt(e, "its index contradicts itself");
    int rc = segment__record_check(s, record, e);
    if (rc == 0)
        rc = learn_blocks(s, blocks, nblocks, e);
    if (rc == 0)
        rc = keep_record(s, record, e);
    if (rc < 0)
        return rc;
    entry->record_crc = crypto_crc32c(0, record, record_len);
    *segment__entry(s, n + 1) = (struct segment_entry){.first_row = next.first_row, .off = next.off};
    atomic_store_explicit(&s->stream_len, next.off, memory_order_release);
    atomic_store_explicit(&s->nblocks, next.off / SEGMENT_BLOCK, memory_order_release);
    atomic_store_explicit(&s->nbatches, n + 1, memory_order_release);
    return 0;
}

void segment_forget(struct segment *s, uint64_t i)
{
    pthread_mutex_lock(&s->lock);
    if (i > s->tail_first && !atomic_load(&s->records_off) && s->fd >= 0) {
        size_t most = s->tail.len / s->record_len;
        size_t n = i - s->tail_first < most ? (size_t)(i - s->tail_first) : most;
        buf_drop(&s->tail, n * s->record_len);
        s->tail_first += n;
    }
    pthread_mutex_unlock(&s->lock);
}

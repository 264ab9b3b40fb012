/*
 * slot: the memfds that batches travel in, and the daemon's copy of the batch at hand.
 *
 * The daemon makes each memfd, of one fixed size (sparse: only what the child writes takes memory) and sealed
 * against shrinking and growing from the start. The child may write to it whenever it likes, also while the
 * daemon reads: so nothing is ever looked at there. A batch is read into memory of the daemon's own, and what is
 * checked, stored and summed is that copy. One copy of bytes that are warm costs less than fresh pages for each
 * batch: memfd and copy serve all batches of a job. Its end gives their pages back. Thread: the acquiring one.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "encoders/batch.h"
#include "pool/pool_int.h"

#define COPY_STEP ((size_t)1 << 20)

uint64_t slot__size(void)
{
    uint64_t n = (uint64_t)config.result_max_batch + SLOT_INDEX_ROOM;
    return (n + 4095) & ~(uint64_t)4095;
}

void slot__init(struct slot *s)
{
    *s = (struct slot){.fd = -1};
}

void slot__drop(struct slot *s)
{
    if (s->fd >= 0)
        close(s->fd);
    slot__init(s);
}

int slot__make(struct slot *s, struct err *e)
{
    ASSERT(s->fd < 0);
    int fd = sys_fault(SYS_MEMFD) ? -1 : memfd_create("quern-batch", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_errno(e, errno, "making memory for a batch");
    if (sys_ftruncate(fd, (int64_t)slot__size()) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        int rc = err_errno(e, errno, "making memory for a batch");
        close(fd);
        return rc;
    }
    s->fd = fd;
    return 0;
}

void slot__empty(struct slot *s)
{
    if (s->used)
        (void)fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)slot__size());
    s->used = false;
}

void slot__copy_free(struct slot_copy *c)
{
    if (c->p)
        munmap(c->p, c->cap);
    *c = (struct slot_copy){0};
}

static int copy_reserve(struct slot_copy *c, size_t n, struct err *e)
{
    if (n <= c->cap)
        return 0;
    slot__copy_free(c);
    size_t cap = (n + COPY_STEP - 1) & ~(COPY_STEP - 1);
    void *p = sys_fault(SYS_MMAP)
                  ? MAP_FAILED
                  : mmap(NULL, cap, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return err_errno(e, errno, "memory for a batch");
    *c = (struct slot_copy){p, cap};
    return 0;
}

int slot__read(struct slot *s, const struct wire_batch *b, struct slot_copy *c, struct engine_batch *ret,
               const char **ret_lie, struct err *e)
{
    uint64_t body_at = ((uint64_t)b->index_len + 63) & ~(uint64_t)63;
    if (b->index_len < batch_index_size(0, 0) || b->index_len > SLOT_INDEX_ROOM) {
        *ret_lie = "index length out of range";
        return ERR_CORRUPT;
    }
    if (b->body_len > slot__size() - body_at) {
        *ret_lie = "body longer than its memory";
        return ERR_CORRUPT;
    }
    s->used = true;
    size_t len = (size_t)(body_at + b->body_len);
    int rc = copy_reserve(c, len, e);
    ssize_t n = rc ? 0 : sys_pread(s->fd, c->p, len, 0);
    if (n < 0)
        rc = err_errno(e, errno, "reading the memory of a batch");
    else if (!rc && (size_t)n < len)
        rc = err_set(e, ERR_IO, "58030", "the memory of a batch ends too early");
    if (rc)
        return rc;
    *ret = (struct engine_batch){.index = c->p,
                                 .index_len = b->index_len,
                                 .body = c->p + body_at,
                                 .body_len = b->body_len,
                                 .rows = b->rows};
    return 0;
}

/*
 * slot: the memfds that batches travel in.
 *
 * The daemon makes each one, of one fixed size (sparse: only what the child writes takes memory) and sealed
 * against shrinking and growing from the start, so that a mapping of it can never fault past its end. At
 * BATCH it is sealed against writing too; that fails while the child keeps a writable mapping, which is a
 * lie. Only then is it mapped, read-only, over exactly the range in use, and prefaulted with a call that can
 * fail (a plain read of a page that cannot be had would be a SIGBUS in the daemon). MAP_PRIVATE, because
 * kernels before 6.7 refuse a shared mapping of a memfd with a write seal. A memfd is used for one batch and
 * closed. Thread: the acquiring one.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "encoders/batch.h"
#include "pool/pool_int.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

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
    if (s->map)
        munmap((void *)(uintptr_t)s->map, s->map_len);
    if (s->fd >= 0)
        close(s->fd);
    slot__init(s);
}

int slot__make(struct slot *s, struct err *e)
{
    ASSERT(s->fd < 0 && !s->map);
    int fd = sys_fault(SYS_MEMFD) ? -1 : memfd_create("quern-batch", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_errno(e, errno, "making memory for a batch");
    if (sys_ftruncate(fd, (int64_t)slot__size()) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
        int rc = err_errno(e, errno, "making memory for a batch");
        close(fd);
        return rc;
    }
    s->fd = fd;
    return 0;
}

int slot__seal(struct slot *s, const struct wire_batch *b, struct engine_batch *ret, const char **ret_lie,
               struct err *e)
{
    uint64_t size = slot__size();
    uint64_t body_at = ((uint64_t)b->index_len + 63) & ~(uint64_t)63;
    if (b->index_len < batch_index_size(0, 0) || b->index_len > SLOT_INDEX_ROOM) {
        *ret_lie = "index length out of range";
        return ERR_CORRUPT;
    }
    if (b->body_len > size - body_at) {
        *ret_lie = "body longer than its memory";
        return ERR_CORRUPT;
    }
    if (fcntl(s->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        *ret_lie = errno == EBUSY ? "memory of a batch is still mapped for writing"
                                  : "memory of a batch cannot be sealed";
        return ERR_CORRUPT;
    }
    struct stat st;
    if (fstat(s->fd, &st) < 0)
        return err_errno(e, errno, "looking at the memory of a batch");
    if (st.st_size < 0 || (uint64_t)st.st_size != size) {
        *ret_lie = "memory of a batch changed its size";
        return ERR_CORRUPT;
    }
    size_t len = (size_t)(body_at + b->body_len);
    void *map = sys_fault(SYS_MMAP) ? MAP_FAILED : mmap(NULL, len, PROT_READ, MAP_PRIVATE, s->fd, 0);
    if (map == MAP_FAILED)
        return err_errno(e, errno, "mapping a batch");
    if (madvise(map, len, MADV_POPULATE_READ) < 0 && errno != EINVAL) {
        int rc = err_errno(e, errno, "reading the memory of a batch");
        munmap(map, len);
        return rc;
    }
    s->map = map;
    s->map_len = len;
    ret->index = s->map;
    ret->index_len = b->index_len;
    ret->body = s->map + body_at;
    ret->body_len = b->body_len;
    ret->rows = b->rows;
    return 0;
}

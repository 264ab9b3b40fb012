/*
 * disk: see disk.h.
 */
#include "core/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"

enum why { WHY_NONE, WHY_SPACE, WHY_FULL, WHY_INODES, WHY_READ_ONLY };

struct disk {
    int dir, spool; /* the spool may be on a disk of its own */
    atomic_int why;
    atomic_uint_fast64_t free;
    pthread_mutex_t lock; /* guards the reserve */
    bool reserve;         /* the file is there, whole */
};

/* The reserve holds blocks, not a hole. Lock held. */
static bool make_reserve(struct disk *d)
{
    if (config.spool_reserve == 0)
        return true;
    int fd = sys_openat(d->dir, "reserve", O_RDWR | O_CREAT, 0600);
    if (fd < 0)
        return false;
    struct stat st;
    bool ok = fstat(fd, &st) == 0 &&
              sys_ftruncate(fd, st.st_size > config.spool_reserve ? config.spool_reserve : st.st_size) == 0 &&
              sys_fallocate(fd, config.spool_reserve) == 0;
    close(fd);
    if (!ok)
        (void)unlinkat(d->dir, "reserve", 0);
    return ok;
}

/* What the file system says. */
static enum why look(struct disk *d, bool reserve)
{
    struct statvfs st[2];
    uint64_t least = UINT64_MAX, need = (uint64_t)config.spool_min_free;
    enum why why = WHY_NONE;
    if (fstatvfs(d->dir, &st[0]) < 0 || fstatvfs(d->spool, &st[1]) < 0)
        return WHY_NONE; /* cannot tell */
    for (int i = 1; i >= 0; i--) {
        uint64_t free = (uint64_t)st[i].f_bavail * (uint64_t)st[i].f_frsize;
        least = free < least ? free : least;
        if (st[i].f_flag & ST_RDONLY)
            why = WHY_READ_ONLY;
        else if (st[i].f_files > 0 && st[i].f_favail == 0)
            why = WHY_INODES;
        else if (free < need + (i == 0 && !reserve ? (uint64_t)config.spool_reserve : 0))
            why = WHY_SPACE;
    }
    atomic_store(&d->free, least);
    return why;
}

static void say(struct disk *d, enum why now)
{
    struct err e;
    err_clear(&e);
    if (now == WHY_NONE)
        log_event(LOG_INFO, "core", "the disk has room again: queries are accepted", NULL);
    else if (!disk_ok(d, &e))
        log_event(LOG_ERROR, "core", "no new queries are accepted", "reason", e.text, NULL);
}

bool disk_tick(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    enum why now = look(d, d->reserve);
    if (now == WHY_NONE && !d->reserve) {
        d->reserve = make_reserve(d);
        if (!d->reserve)
            now = WHY_FULL;
    }
    enum why before = (enum why)atomic_exchange(&d->why, (int)now);
    pthread_mutex_unlock(&d->lock);
    if ((before == WHY_NONE) == (now == WHY_NONE))
        return false;
    say(d, now);
    return true;
}

bool disk_give_up(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    bool had = d->reserve && config.spool_reserve > 0;
    if (had)
        had = unlinkat(d->dir, "reserve", 0) ==
              0; /* not through the seam: the last resort does not fail on purpose */
    if (had)
        d->reserve = false;
    enum why now = look(d, d->reserve),
             before = now == WHY_NONE ? now : (enum why)atomic_exchange(&d->why, (int)now);
    pthread_mutex_unlock(&d->lock);
    if (now != WHY_NONE && before == WHY_NONE)
        say(d, now);
    if (had)
        log_event(LOG_WARN, "core", "the disk is full: the reserve was given up to record it", NULL);
    return had;
}

bool disk_low(const struct disk *d)
{
    return atomic_load_explicit(&d->why, memory_order_relaxed) != WHY_NONE;
}

bool disk_ok(struct disk *d, struct err *e)
{
    long long free = (long long)(atomic_load(&d->free) >> 20),
              need = (long long)(config.spool_min_free >> 20);
    switch ((enum why)atomic_load(&d->why)) {
    case WHY_NONE:
        return true;
    case WHY_SPACE:
        err_set(e, ERR_UNAVAILABLE, "53100",
                "the disk is nearly full: %lld MiB are free, new queries need %lld MiB (spool.min_free)",
                free, need);
        return false;
    case WHY_FULL:
        err_set(e, ERR_UNAVAILABLE, "53100",
                "the disk is full: new queries are accepted when there is room again (spool.min_free, "
                "spool.reserve)");
        return false;
    case WHY_INODES:
        err_set(e, ERR_UNAVAILABLE, "53100", "the disk is full: no more files can be made on it");
        return false;
    case WHY_READ_ONLY:
        err_set(e, ERR_UNAVAILABLE, "25006", "the data folder is on a file system that is read-only now");
        return false;
    }
    return true;
}

uint64_t disk_free(const struct disk *d)
{
    return atomic_load(&d->free);
}

int disk_open(const char *data_dir, struct disk **ret, struct err *e)
{
    struct disk *d = calloc(1, sizeof *d);
    if (!d)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    pthread_mutex_init(&d->lock, NULL);
    d->dir = sys_open(data_dir, O_RDONLY | O_DIRECTORY, 0);
    d->spool = d->dir < 0 ? -1 : sys_openat(d->dir, "spool", O_RDONLY | O_DIRECTORY, 0);
    if (d->spool < 0) {
        int rc = err_errno(e, errno, "opening the data folder");
        disk_close(d);
        return rc;
    }
    struct stat st;
    d->reserve = config.spool_reserve == 0 ||
                 (fstatat(d->dir, "reserve", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                  st.st_size == config.spool_reserve && (int64_t)st.st_blocks * 512 >= config.spool_reserve);
    (void)disk_tick(d);
    *ret = d;
    return 0;
}

void disk_close(struct disk *d)
{
    if (!d)
        return;
    if (d->dir >= 0)
        close(d->dir);
    if (d->spool >= 0)
        close(d->spool);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/*
 * registry_vfs: a thin layer over SQLite's own file access that sends its opens, reads, writes and syncs by
 * the fault seam (base/sys.h), so that the tests that let the k-th call fail reach the registry too.
 *
 * It gathers what is written to the write-ahead log, where each page comes as two small writes, one behind
 * the other, and hands it on at the sync that a commit ends with, and before the file is looked at in any
 * other way. With synchronous=FULL nobody learns of a page before that sync, so that nothing changes but the
 * number of calls. Any thread; one file by one connection.
 */
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "core/registry_int.h"

#define GATHER_MAX (96 * 1024) /* SQLite's own file layer takes less than 128 KiB at once */

struct vfs_file {
    sqlite3_file base;
    sqlite3_file *real; /* lies behind this one */
    bool log;
    char *gathered; /* GATHER_MAX bytes, once something was written to a log */
    int ngathered;
    sqlite3_int64 at; /* where it goes */
};

static sqlite3_vfs shim;
static sqlite3_vfs *below;

static sqlite3_file *real(sqlite3_file *f)
{
    return ((struct vfs_file *)(void *)f)->real;
}

static int hand_on(sqlite3_file *f)
{
    struct vfs_file *v = (struct vfs_file *)(void *)f;
    int n = v->ngathered;
    v->ngathered = 0; /* when it fails, SQLite writes these pages again */
    return n ? real(f)->pMethods->xWrite(real(f), v->gathered, n, v->at) : SQLITE_OK;
}

static int x_close(sqlite3_file *f)
{
    int rc = hand_on(f);
    free(((struct vfs_file *)(void *)f)->gathered);
    int closed = real(f)->pMethods->xClose(real(f));
    return rc ? rc : closed;
}

static int x_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    int rc = hand_on(f);
    if (rc)
        return rc;
    return sys_fault(SYS_READ) ? SQLITE_IOERR_READ : real(f)->pMethods->xRead(real(f), p, n, at);
}

static int x_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    struct vfs_file *v = (struct vfs_file *)(void *)f;
    if (sys_fault(SYS_WRITE))
        return errno == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    if (v->log && !v->gathered)
        v->gathered = malloc(GATHER_MAX);
    if (!v->gathered || n > GATHER_MAX) {
        int rc = hand_on(f);
        return rc ? rc : real(f)->pMethods->xWrite(real(f), p, n, at);
    }
    if (v->ngathered && (at != v->at + v->ngathered || v->ngathered + n > GATHER_MAX)) {
        int rc = hand_on(f);
        if (rc)
            return rc;
    }
    if (!v->ngathered)
        v->at = at;
    memcpy(v->gathered + v->ngathered, p, (size_t)n);
    v->ngathered += n;
    return SQLITE_OK;
}

static int x_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    int rc = hand_on(f);
    return rc ? rc : real(f)->pMethods->xTruncate(real(f), size);
}

static int x_sync(sqlite3_file *f, int flags)
{
    int rc = hand_on(f);
    if (rc)
        return rc;
    return sys_fault(SYS_FSYNC) ? SQLITE_IOERR_FSYNC : real(f)->pMethods->xSync(real(f), flags);
}

static int x_size(sqlite3_file *f, sqlite3_int64 *size)
{
    int rc = hand_on(f);
    return rc ? rc : real(f)->pMethods->xFileSize(real(f), size);
}

static int x_lock(sqlite3_file *f, int level)
{
    return real(f)->pMethods->xLock(real(f), level);
}

static int x_unlock(sqlite3_file *f, int level)
{
    return real(f)->pMethods->xUnlock(real(f), level);
}

static int x_reserved(sqlite3_file *f, int *out)
{
    return real(f)->pMethods->xCheckReservedLock(real(f), out);
}

static int x_control(sqlite3_file *f, int op, void *arg)
{
    int rc = hand_on(f);
    return rc ? rc : real(f)->pMethods->xFileControl(real(f), op, arg);
}

static int x_sector(sqlite3_file *f)
{
    return real(f)->pMethods->xSectorSize(real(f));
}

static int x_features(sqlite3_file *f)
{
    return real(f)->pMethods->xDeviceCharacteristics(real(f));
}

static int x_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **p)
{
    return real(f)->pMethods->xShmMap(real(f), region, size, extend, p);
}

static int x_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    return real(f)->pMethods->xShmLock(real(f), at, n, flags);
}

static void x_shm_barrier(sqlite3_file *f)
{
    real(f)->pMethods->xShmBarrier(real(f));
}

static int x_shm_unmap(sqlite3_file *f, int drop)
{
    return real(f)->pMethods->xShmUnmap(real(f), drop);
}

/* Version 2: without xFetch, so that every read comes by x_read. */
static const sqlite3_io_methods methods = {
    2,          x_close,       x_read,      x_write,   x_truncate, x_sync,     x_size,
    x_lock,     x_unlock,      x_reserved,  x_control, x_sector,   x_features, x_shm_map,
    x_shm_lock, x_shm_barrier, x_shm_unmap, NULL,      NULL};

static int x_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
    (void)v;
    struct vfs_file *file = (struct vfs_file *)(void *)f;
    memset(file, 0, sizeof *file);
    if (sys_fault(SYS_OPEN))
        return errno == ENOSPC ? SQLITE_FULL : SQLITE_CANTOPEN;
    file->real = (sqlite3_file *)(void *)(file + 1);
    file->log = (flags & SQLITE_OPEN_WAL) != 0;
    int rc = below->xOpen(below, name, file->real, flags, out);
    if (rc == SQLITE_OK)
        file->base.pMethods = &methods; /* else SQLite must not close it */
    else if (file->real->pMethods)
        file->real->pMethods->xClose(file->real);
    return rc;
}

static int x_delete(sqlite3_vfs *v, const char *name, int sync_dir)
{
    (void)v;
    return sys_fault(SYS_UNLINK) ? SQLITE_IOERR_DELETE : below->xDelete(below, name, sync_dir);
}

static int x_access(sqlite3_vfs *v, const char *name, int flags, int *out)
{
    (void)v;
    return below->xAccess(below, name, flags, out);
}

static int x_full_path(sqlite3_vfs *v, const char *name, int n, char *out)
{
    (void)v;
    return below->xFullPathname(below, name, n, out);
}

static int x_random(sqlite3_vfs *v, int n, char *out)
{
    (void)v;
    return below->xRandomness(below, n, out);
}

static int x_sleep(sqlite3_vfs *v, int us)
{
    (void)v;
    return below->xSleep(below, us);
}

static int x_time(sqlite3_vfs *v, double *out)
{
    (void)v;
    return below->xCurrentTime(below, out);
}

static int x_last_error(sqlite3_vfs *v, int n, char *out)
{
    (void)v;
    return below->xGetLastError ? below->xGetLastError(below, n, out) : 0;
}

static int x_time64(sqlite3_vfs *v, sqlite3_int64 *out)
{
    (void)v;
    return below->xCurrentTimeInt64(below, out);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make(void)
{
    below = sqlite3_vfs_find(NULL);
    if (!below || below->iVersion < 2)
        return;
    shim = (sqlite3_vfs){.iVersion = 2,
                         .szOsFile = (int)sizeof(struct vfs_file) + below->szOsFile,
                         .mxPathname = below->mxPathname,
                         .zName = "quern",
                         .xOpen = x_open,
                         .xDelete = x_delete,
                         .xAccess = x_access,
                         .xFullPathname = x_full_path,
                         .xRandomness = x_random,
                         .xSleep = x_sleep,
                         .xCurrentTime = x_time,
                         .xGetLastError = x_last_error,
                         .xCurrentTimeInt64 = x_time64};
    if (sqlite3_vfs_register(&shim, 0) != SQLITE_OK)
        below = NULL;
}

const char *registry__vfs(void)
{
    pthread_once(&once, make);
    return below ? "quern" : NULL; /* NULL: SQLite's own, without faults */
}

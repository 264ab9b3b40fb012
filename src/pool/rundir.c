/*
 * rundir: the private folders of engine processes, DIR/run/<name>, 0700.
 *
 * What lies in one was written by a process that ran a stranger's SQL: links are never followed, names are
 * only ever used relative to an open descriptor, and a tree of any depth is removed with two descriptors. A
 * folder is wiped only after its process was reaped, so nobody moves things meanwhile. Everything in DIR/run
 * is left over from an earlier daemon when the pool opens (the data lock is held by then) and is wiped.
 * Threads: rundir__open at start, the rest on the pool's own threads.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/pool_int.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* Opens a folder of the tree, also one whose owner took its own rights away. */
static int open_folder(int at, const char *name)
{
    int fd = sys_openat(at, name, DIR_FLAGS, 0);
    if (fd < 0 && errno == EACCES) {
        if (fchmodat(at, name, 0700, 0) < 0)
            return -1;
        fd = sys_openat(at, name, DIR_FLAGS, 0);
    }
    return fd;
}

/* One pass over a folder: removes files and empty folders. Returns 1 and opens the first folder that is not
 * empty, 0 when all is gone. */
static int sweep(int fd, int *ret_child)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return -1;
    DIR *d = fdopendir(copy);
    if (!d) {
        close(copy);
        return -1;
    }
    rewinddir(d);
    int rc = 0;
    for (;;) {
        errno = 0;
        const struct dirent *de = readdir(d);
        if (!de) {
            rc = errno ? -1 : 0;
            break;
        }
        if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
            continue;
        if (de->d_type != DT_DIR && sys_unlinkat(fd, de->d_name, 0) == 0)
            continue;
        if (de->d_type != DT_DIR && errno != EISDIR && errno != EPERM) {
            if (errno == ENOENT)
                continue;
            if (errno != EACCES || fchmod(fd, 0700) < 0 || sys_unlinkat(fd, de->d_name, 0) < 0) {
                rc = -1;
                break;
            }
            continue;
        }
        if (sys_unlinkat(fd, de->d_name, AT_REMOVEDIR) == 0)
            continue;
        if (errno == EACCES && fchmod(fd, 0700) == 0 && sys_unlinkat(fd, de->d_name, AT_REMOVEDIR) == 0)
            continue;
        if (errno != ENOTEMPTY && errno != EEXIST) {
            rc = -1;
            break;
        }
        *ret_child = open_folder(fd, de->d_name);
        rc = *ret_child < 0 ? -1 : 1;
        break;
    }
    int keep = errno;
    closedir(d);
    errno = keep;
    return rc;
}

/* Empties the folder behind fd. Goes down into the first folder that is not empty and comes back by "..". */
static int empty(int fd)
{
    int cur = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (cur < 0)
        return -1;
    uint64_t depth = 0;
    for (;;) {
        int next = -1;
        int rc = sweep(cur, &next);
        if (rc < 0)
            break;
        if (rc == 0) {
            if (depth == 0) {
                close(cur);
                return 0;
            }
            next = sys_openat(cur, "..", DIR_FLAGS, 0);
            if (next < 0)
                break;
            depth--;
        } else {
            depth++;
        }
        close(cur);
        cur = next;
    }
    int keep = errno;
    close(cur);
    errno = keep;
    return -1;
}

int rundir__make(int run_fd, const char *name)
{
    if (sys_fault(SYS_MKDIR))
        return -1;
    return mkdirat(run_fd, name, 0700);
}

int rundir__wipe(int run_fd, const char *name)
{
    int fd = open_folder(run_fd, name);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    int rc = empty(fd);
    int keep = errno;
    close(fd);
    errno = keep;
    if (rc < 0)
        return -1;
    return sys_unlinkat(run_fd, name, AT_REMOVEDIR);
}

int rundir__open(const char *data_dir, char **ret_path, int *ret_fd, struct err *e)
{
    char *path = NULL;
    if (asprintf(&path, "%s/run", data_dir) < 0)
        return err_set(e, ERR_NOMEM, NULL, "out of memory");
    int rc = 0;
    char *full = NULL;
    int fd = -1;
    if (sys_mkdir_p(path, 0700) < 0) {
        rc = err_errno(e, errno, "making the folder for engine processes");
    } else if (!(full = realpath(path, NULL))) {
        rc = err_errno(e, errno, "finding the folder for engine processes");
    } else if ((fd = sys_open(full, DIR_FLAGS, 0)) < 0) {
        rc = err_errno(e, errno, "opening the folder for engine processes");
    } else if (empty(fd) < 0) {
        rc = err_errno(e, errno, "emptying the folder for engine processes");
    }
    free(path);
    if (rc) {
        free(full);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    *ret_path = full;
    *ret_fd = fd;
    return 0;
}

/*
 * bucket_local: a bucket that is a folder of this machine (file:///DIR, %XX decoded).
 *
 * The root folder is the operator's: it must exist when something is delivered (an unmounted share must not
 * silently become a local folder), links in its own path are followed. Below it a key is walked one name at a
 * time with O_NOFOLLOW, so that no link, wherever a user of the bucket puts it, leads out. Missing folders
 * are made (0755) and made durable.
 *
 * An object is written as ".quern-<hash of its name>.tmp" beside its final name, synced, renamed, and the
 * folder synced. The name is fixed, so that a delivery which is repeated after a crash takes its own leftover
 * away; a lock on the file keeps two deliveries of one object apart. Messages carry no path. One upload is
 * used by one thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/hex.h"
#include "base/sys.h"
#include "results/bucket_int.h"

#define TMP_LEN 48

struct local_upload {
    struct bucket_upload base;
    int dir, fd;
    char tmp[TMP_LEN];
    char name[256];
    char *rest, *key; /* to take the folders away that were made for nothing */
};

/* The folder of the URL, or an error. out: PATH_MAX-like buffer. */
static int root_path(const char *rest, char *out, size_t cap, struct err *e)
{
    size_t n = 0;
    for (const char *p = rest; *p; p++) {
        char c = *p;
        if (c == '%') {
            int hi = hex_digit(p[1]), lo = hi < 0 ? -1 : hex_digit(p[2]);
            if (lo < 0)
                return err_set(e, ERR_INVALID, "22023", "the bucket URL has a broken %% sequence");
            c = (char)(hi * 16 + lo);
            if (c == '/' || c == 0)
                return err_set(e, ERR_INVALID, "22023",
                               "the bucket URL has a %% sequence that is not allowed");
            p += 2;
        } else if (c == '?' || c == '#') {
            return err_set(e, ERR_INVALID, "22023", "a file bucket URL has no query and no fragment");
        }
        if (n + 1 >= cap)
            return err_set(e, ERR_INVALID, "22023", "the bucket URL is too long");
        out[n++] = c;
    }
    out[n] = 0;
    if (out[0] != '/')
        return err_set(e, ERR_INVALID, "22023",
                       "a file bucket URL is file:///DIR with an absolute folder and no host");
    while (n > 1 && out[n - 1] == '/')
        out[--n] = 0;
    if (n == 1)
        return err_set(e, ERR_INVALID, "22023", "the root folder cannot be a bucket");
    for (const char *p = out; p; p = strchr(p + 1, '/')) {
        size_t len = strcspn(p + 1, "/");
        if (len == 0 || (len == 1 && p[1] == '.') || (len == 2 && p[1] == '.' && p[2] == '.'))
            return err_set(e, ERR_INVALID, "22023", "the bucket URL has an empty or relative folder name");
    }
    return 0;
}

static int bucket_error(struct err *e, int errnum, const char *what)
{
    switch (errnum) {
    case EACCES:
    case EPERM:
    case EROFS:
        return err_set(e, ERR_DENIED, "42501", "%s: the bucket does not allow it", what);
    case ELOOP:
    case ENOTDIR:
        return err_set(e, ERR_DENIED, "42501", "%s: a folder of the object's name is no folder of the bucket",
                       what);
    case EISDIR:
    case ENOTEMPTY:
        return err_set(e, ERR_CONFLICT, "58P02", "%s: a folder has the object's name", what);
    case ENOENT:
    case EMFILE:
    case ENFILE:
    case ESTALE:
        return err_set(e, ERR_UNAVAILABLE, "58030", "%s: the bucket cannot be reached now", what);
    default:
        return err_errno(e, errnum, what);
    }
}

static int open_root(const char *rest, int *ret, struct err *e)
{
    char path[4096];
    int rc = root_path(rest, path, sizeof path, e);
    if (rc < 0)
        return rc;
    int fd = sys_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return errno == ENOTDIR ? err_set(e, ERR_UNAVAILABLE, "58030", "the bucket's root is not a folder")
                                : bucket_error(e, errno, "opening the bucket");
    *ret = fd;
    return 0;
}

static int check_url(const char *rest, struct err *e)
{
    char path[4096];
    int rc = root_path(rest, path, sizeof path, e);
    struct stat st;
    if (rc == 0 && stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        rc = err_set(e, ERR_INVALID, "22023", "the bucket URL names something that is not a folder");
    return rc;
}

static int prepare(const char *rest, struct err *e)
{
    char path[4096];
    int rc = root_path(rest, path, sizeof path, e);
    if (rc == 0 && sys_mkdir_p(path, 0755) < 0)
        rc = bucket_error(e, errno, "making the bucket");
    return rc;
}

static int writable(const char *rest, struct err *e)
{
    int root = -1;
    int rc = open_root(rest, &root, e);
    if (rc < 0)
        return rc;
    if (faccessat(root, ".", W_OK | X_OK, AT_EACCESS) < 0)
        rc = bucket_error(e, errno, "writing to the bucket");
    close(root);
    return rc;
}

/* ---- walking a key ---- */

/* One folder down. made: makes what is missing. Takes over and closes `dir`. */
static int step(int dir, const char *name, bool make)
{
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = sys_openat(dir, name, flags, 0);
    if (fd < 0 && errno == ENOENT && make) {
        bool made = !sys_fault(SYS_MKDIR) && mkdirat(dir, name, 0755) == 0;
        if (made || errno == EEXIST)
            fd = sys_openat(dir, name, flags, 0);
        /* whatever the umask is; and the new name must survive what is put into it */
        if (fd >= 0 && made && (fchmod(fd, 0755) < 0 || sys_fsync(dir) < 0)) {
            int errnum = errno;
            close(fd);
            errno = errnum;
            fd = -1;
        }
    }
    int errnum = errno;
    close(dir);
    errno = errnum;
    return fd;
}

/* The folder of the key; *ret_name is its last name (inside key). -1 and errno. Takes over root. */
static int walk(int root, const char *key, bool make, const char **ret_name)
{
    int dir = root;
    const char *slash;
    while ((slash = strchr(key, '/')) != NULL) {
        char name[256];
        size_t n = (size_t)(slash - key);
        memcpy(name, key, n); /* at most 255: bucket.c */
        name[n] = 0;
        dir = step(dir, name, make);
        if (dir < 0)
            return -1;
        key = slash + 1;
    }
    *ret_name = key;
    return dir;
}

/* ---- uploads ---- */

static void temp_name(const char *name, char out[TMP_LEN])
{
    static const uint8_t key[CRYPTO_KEY_LEN] = "quern bucket upload names";
    uint8_t hash[CRYPTO_HASH_LEN];
    crypto_hash(key, name, strlen(name), hash);
    char text[33];
    for (unsigned i = 0; i < 16; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", hash[i]);
    (void)snprintf(out, TMP_LEN, ".quern-%s.tmp", text);
}

/* Removes the leftover of a delivery that died. -1 and errno; EBUSY when it lives. */
static int take_leftover(int dir, const char *tmp)
{
    struct stat st, now;
    if (fstatat(dir, tmp, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -1;
    if (!S_ISREG(st.st_mode))
        return sys_unlinkat(dir, tmp, 0); /* not ours; a folder makes this fail */
    CLEANUP_FD int fd = sys_openat(dir, tmp, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    if (sys_flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        errno = EBUSY;
        return -1;
    }
    /* Its owner may have finished and another begun in between: only the very file that we locked goes. */
    if (fstat(fd, &st) < 0 || fstatat(dir, tmp, &now, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -1;
    if (st.st_ino != now.st_ino || st.st_dev != now.st_dev)
        return 0;
    return sys_unlinkat(dir, tmp, 0);
}

static int create_temp(int dir, const char *tmp)
{
    for (int attempt = 0; attempt < 3; attempt++) {
        int fd = sys_openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd >= 0) {
            /* File systems without locks lose only the protection against a second delivery of the same
             * object. Between creation and lock somebody may have taken the file for a leftover: then its
             * name is gone and another round is due. */
            struct stat st;
            bool mine = !(sys_flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) &&
                        fstat(fd, &st) == 0 && st.st_nlink > 0;
            if (mine && fchmod(fd, 0644) == 0)
                return fd;
            close(fd);
            continue;
        }
        if (errno != EEXIST || take_leftover(dir, tmp) < 0)
            return -1;
    }
    errno = EBUSY;
    return -1;
}

/* Object stores know no empty folders; neither does this one. Goes up from the object's folder, stops at the
 * first that is not empty. */
static void remove_empty(const char *rest, const char *key)
{
    char path[1100];
    (void)snprintf(path, sizeof path, "%s", key);
    for (char *slash = strrchr(path, '/'); slash; slash = strrchr(path, '/')) {
        *slash = 0;
        int root = -1;
        if (open_root(rest, &root, NULL) < 0)
            return;
        const char *name = NULL;
        int dir = walk(root, path, false, &name);
        if (dir < 0)
            return;
        int gone = sys_unlinkat(dir, name, AT_REMOVEDIR);
        close(dir);
        if (gone < 0)
            return;
    }
}

static void upload_free(struct local_upload *u)
{
    if (u->fd >= 0)
        close(u->fd);
    if (u->dir >= 0)
        close(u->dir);
    free(u->rest);
    free(u->key);
    free(u);
}

static int begin(const char *rest, const char *key, struct bucket_upload **ret, struct err *e)
{
    struct local_upload *u = calloc(1, sizeof *u);
    if (!u || !(u->rest = strdup(rest)) || !(u->key = strdup(key))) {
        if (u)
            free(u->rest);
        free(u);
        return err_set(e, ERR_NOMEM, "53200", "out of memory while writing to a bucket");
    }
    int rc = 0;
    for (int attempt = 0; attempt < 3;
         attempt++) { /* bucket_remove may take an empty folder away while we walk */
        u->dir = u->fd = -1;
        int root;
        rc = open_root(rest, &root, e);
        if (rc < 0)
            break;
        const char *name = NULL;
        u->dir = walk(root, key, true, &name);
        if (u->dir >= 0) {
            memcpy(u->name, name, strlen(name) + 1); /* at most 255: bucket.c */
            temp_name(name, u->tmp);
            u->fd = create_temp(u->dir, u->tmp);
        }
        if (u->fd >= 0) {
            *ret = &u->base;
            return 0;
        }
        int errnum = errno;
        if (u->dir >= 0)
            close(u->dir);
        u->dir = -1;
        rc = errnum == EBUSY
                 ? err_set(e, ERR_BUSY, "55006", "the object is being written by another delivery")
                 : bucket_error(e, errnum, "writing to the bucket");
        if (errnum != ENOENT)
            break;
    }
    upload_free(u);
    remove_empty(rest, key);
    return rc;
}

static int write_some(struct bucket_upload *base, const void *p, size_t n, struct err *e)
{
    struct local_upload *u = (struct local_upload *)base;
    if (n == 0 || sys_write_all(u->fd, p, n) == 0)
        return 0;
    return bucket_error(e, errno, "writing to the bucket");
}

static void abort_upload(struct bucket_upload *base)
{
    struct local_upload *u = (struct local_upload *)base;
    (void)sys_unlinkat(u->dir, u->tmp, 0);
    remove_empty(u->rest, u->key);
    upload_free(u);
}

static int commit(struct bucket_upload *base, struct err *e)
{
    struct local_upload *u = (struct local_upload *)base;
    if (sys_fsync(u->fd) < 0 || sys_renameat(u->dir, u->tmp, u->name) < 0) {
        int rc = bucket_error(e, errno, "finishing an object of the bucket");
        abort_upload(base);
        return rc;
    }
    int rc = sys_fsync(u->dir) < 0 ? bucket_error(e, errno, "finishing an object of the bucket") : 0;
    upload_free(u);
    return rc;
}

/* ---- remove ---- */

static int remove_object(const char *rest, const char *key, struct err *e)
{
    int root = -1;
    int rc = open_root(rest, &root, e);
    if (rc < 0)
        return rc;
    const char *name = NULL;
    int dir = walk(root, key, false, &name);
    if (dir < 0)
        return errno == ENOENT ? 0 : bucket_error(e, errno, "removing from the bucket");
    char tmp[TMP_LEN];
    temp_name(name, tmp);
    bool left = take_leftover(dir, tmp) < 0 && errno != EBUSY; /* who writes it now keeps it */
    if (left || (sys_unlinkat(dir, name, 0) < 0 && errno != ENOENT))
        rc = bucket_error(e, errno, "removing from the bucket");
    if (rc == 0 && sys_fsync(dir) < 0)
        rc = bucket_error(e, errno, "removing from the bucket");
    close(dir);
    if (rc == 0)
        remove_empty(rest, key);
    return rc;
}

const struct bucket_kind bucket__local = {
    .scheme = "file://",
    .check_url = check_url,
    .prepare = prepare,
    .writable = writable,
    .begin = begin,
    .write = write_some,
    .commit = commit,
    .abort = abort_upload,
    .remove = remove_object,
};

/* keyring: see keyring.h. */
#include "core/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"

#define MAGIC      "quern-keyring 1 "
#define PATH_BYTES 4096
#define FILE_MAX   256

static int parse(const char *line, size_t n, uint8_t ret[CRYPTO_KEY_LEN])
{
    size_t magic = sizeof MAGIC - 1, len = 0;
    while (n > 0 && line[n - 1] == '\n')
        n--;
    if (n <= magic || memcmp(line, MAGIC, magic) != 0)
        return ERR_CORRUPT;
    uint8_t key[CRYPTO_KEY_LEN];
    bool ok = crypto_base64_decode(line + magic, n - magic, key, sizeof key, &len) && len == sizeof key;
    if (ok)
        memcpy(ret, key, sizeof key);
    crypto_wipe(key, sizeof key);
    return ok ? 0 : ERR_CORRUPT;
}

static int read_key(int fd, uint8_t ret[CRYPTO_KEY_LEN], struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_errno(e, errno, "the keyring");
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_CORRUPT, "XX001", "the keyring is no file");
    if (st.st_mode & 077)
        return err_set(e, ERR_DENIED, "42501", "the keyring may be read by others: chmod 600 it");
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return err_set(e, ERR_DENIED, "42501", "the keyring belongs to another user");
    char line[FILE_MAX];
    ssize_t n = sys_pread(fd, line, sizeof line, 0);
    if (n < 0)
        return err_errno(e, errno, "reading the keyring");
    int rc = parse(line, (size_t)n, ret);
    crypto_wipe(line, sizeof line);
    return rc ? err_set(e, ERR_CORRUPT, "XX001",
                        "the keyring is damaged: restore it from a backup, or no key works")
              : 0;
}

static int make(const char *data_dir, const char *path, uint8_t ret[CRYPTO_KEY_LEN], struct err *e)
{
    char fresh[PATH_BYTES + 8], line[FILE_MAX];
    uint8_t key[CRYPTO_KEY_LEN];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    (void)unlink(fresh); /* of a start that was cut off; DIR/lock is held */
    CLEANUP_FD int fd = sys_open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, errno, "making the keyring");
    sys_random(key, sizeof key);
    memcpy(line, MAGIC, sizeof MAGIC - 1);
    crypto_base64_encode(key, sizeof key, line + sizeof MAGIC - 1);
    size_t n = strlen(line);
    line[n++] = '\n';
    bool ok = sys_write_all(fd, line, n) == 0 && sys_fsync(fd) == 0 && sys_rename(fresh, path) == 0 &&
              sys_fsync_dir(data_dir) == 0;
    int why = errno;
    if (ok)
        memcpy(ret, key, sizeof key);
    else
        (void)unlink(fresh);
    crypto_wipe(key, sizeof key);
    crypto_wipe(line, sizeof line);
    return ok ? 0 : err_errno(e, why, "making the keyring");
}

int keyring_open(const char *data_dir, bool may_make, uint8_t ret_key[CRYPTO_KEY_LEN], struct err *e)
{
    char path[PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/keyring", data_dir) >= (int)sizeof path)
        return err_set(e, ERR_INVALID, NULL, "the name of the data folder is too long");
    CLEANUP_FD int fd = sys_open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd >= 0)
        return read_key(fd, ret_key, e);
    if (errno != ENOENT)
        return err_errno(e, errno, "opening the keyring");
    if (!may_make)
        return err_set(e, ERR_CORRUPT, "XX001",
                       "the keyring is missing, but keys exist: restore it from a backup, or no key works");
    return make(data_dir, path, ret_key, e);
}

/*
 * sandbox_landlock: which files the engine process may open. Child only, one thread, once.
 *
 * Debian 12's headers know Landlock ABI 2; the newer bits are defined here and used as far as the kernel
 * answers (or landlock_abi_max allows: tests force ABI 2, which is what Debian 12's own kernel has). What an
 * old ABI leaves open, seccomp closes (sandbox_seccomp.c).
 *
 * Rules are put on folders, never on single files: a rule on a file binds its inode and would forbid
 * replacing it. Only what exists is granted; nothing may be executed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engines/sandbox_int.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

#define FS_EXECUTE     (1ull << 0)
#define FS_WRITE_FILE  (1ull << 1)
#define FS_READ_FILE   (1ull << 2)
#define FS_READ_DIR    (1ull << 3)
#define FS_REMOVE_DIR  (1ull << 4)
#define FS_REMOVE_FILE (1ull << 5)
#define FS_MAKE_DIR    (1ull << 7)
#define FS_MAKE_REG    (1ull << 8)
#define FS_ALL_V1      ((1ull << 13) - 1)
#define FS_REFER       (1ull << 13) /* ABI 2 */
#define FS_TRUNCATE    (1ull << 14) /* ABI 3 */
#define FS_IOCTL_DEV   (1ull << 15) /* ABI 5 */
#define NET_ALL        3ull         /* ABI 4: bind and connect of TCP */
#define SCOPE_ALL      3ull         /* ABI 6: abstract Unix sockets, signals */

#define FILE_RIGHTS (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)
#define READ        (FS_READ_FILE | FS_READ_DIR)
#define WRITE                                                                                                \
    (READ | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | FS_TRUNCATE)

#define CREATE_VERSION    1u
#define RULE_PATH_BENEATH 1

struct ruleset_attr {
    uint64_t fs, net, scoped;
};
struct path_beneath {
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed));

static int failed(struct err *e, const char *what)
{
    return err_set(e, ERR_INTERNAL, "XX000", "sandbox step landlock %s failed (errno %d)", what, errno);
}

/* What does not exist is not granted; that is no error. */
static int grant(int ruleset, uint64_t handled, const char *path, uint64_t rights, struct err *e)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : failed(e, "path");
    struct stat st;
    int r = 0;
    if (fstat(fd, &st) < 0) {
        r = failed(e, "path");
    } else {
        if (!S_ISDIR(st.st_mode))
            rights &= FILE_RIGHTS;
        struct path_beneath rule = {rights & handled, fd};
        if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) < 0)
            r = failed(e, "rule");
    }
    (void)close(fd);
    return r;
}

static bool holds(const char *folder, const char *path)
{
    size_t n = strlen(folder);
    return strncmp(folder, path, n) == 0 && (path[n] == '/' || path[n] == 0);
}

/* Grants the folder that holds `path`, as named and as resolved: a rule on a file would bind its inode and
 * miss its replacement. Where the service's own data (which private_dir is part of) lies in that folder too,
 * only the file is granted. */
static int grant_folder_of(int ruleset, uint64_t handled, const struct wire_setup *s, const char *path,
                           uint64_t rights, struct err *e)
{
    char own[PATH_MAX];
    const char *ours = realpath(s->private_dir, own) ? own : s->private_dir;
    char named[PATH_MAX], real[PATH_MAX];
    if (strlen(path) >= sizeof named)
        return 0;
    const char *both[2] = {memcpy(named, path, strlen(path) + 1), realpath(path, real) ? real : NULL};
    for (int i = 0; i < 2; i++) {
        char *p = i ? real : named;
        if (!both[i])
            continue;
        char *slash = strrchr(p, '/');
        if (!slash || slash == p)
            continue; /* never the root folder */
        *slash = 0;
        bool file_only = holds(p, s->private_dir) || holds(p, ours);
        if (file_only)
            *slash = '/';
        int r = grant(ruleset, handled, p, rights, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_rules(int ruleset, uint64_t handled, const struct wire_setup *s, struct err *e)
{
    int r = grant(ruleset, handled, s->private_dir, WRITE, e);
    if (!r && s->catalog_path[0])
        r = grant_folder_of(ruleset, handled, s, s->catalog_path, s->catalog_write ? WRITE : READ, e);
    for (uint32_t i = 0; !r && i < s->ndatasets; i++) {
        const struct wire_dataset *d = &s->datasets[i];
        if (d->path[0] != '/')
            continue;
        if (d->folder)
            r = strspn(d->path, "/") == strlen(d->path) ? 0 : grant(ruleset, handled, d->path, READ, e);
        else
            r = grant_folder_of(ruleset, handled, s, d->path, READ, e);
    }
    /* The two cgroup sources without which the engine library aborts at open; own size; time zones;
     * randomness. */
    static const char *const always[] = {"/proc/self/cgroup",   "/proc/self/statm", "/sys/fs/cgroup",
                                         "/usr/share/zoneinfo", "/etc/localtime",   "/dev/urandom"};
    for (size_t i = 0; !r && i < sizeof always / sizeof *always; i++)
        r = grant(ruleset, handled, always[i], READ, e);
    if (!r)
        r = grant(ruleset, handled, "/dev/null", FS_READ_FILE | FS_WRITE_FILE, e);
    if (!r && SANDBOX_SANITIZED)
        r = grant(ruleset, handled, "/proc/self/maps", READ, e);
    return r;
}

int sandbox__landlock(const struct wire_setup *setup, int *ret_abi, struct err *e)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
    if (abi < 0)
        abi = 0;
    if (setup->landlock_abi_max >= 0 && abi > setup->landlock_abi_max)
        abi = setup->landlock_abi_max;
    if (abi == 0) {
        *ret_abi = 0;
        return 0;
    }
    struct ruleset_attr attr = {FS_ALL_V1, 0, 0};
    if (abi >= 2)
        attr.fs |= FS_REFER;
    if (abi >= 3)
        attr.fs |= FS_TRUNCATE;
    if (abi >= 4)
        attr.net = NET_ALL;
    if (abi >= 5)
        attr.fs |= FS_IOCTL_DEV;
    if (abi >= 6)
        attr.scoped = SCOPE_ALL;
    size_t size = abi >= 6 ? sizeof attr : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (ruleset < 0)
        return failed(e, "ruleset");
    int r = add_rules(ruleset, attr.fs, setup, e);
    if (!r && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        r = failed(e, "restriction");
    (void)close(ruleset);
    if (r < 0)
        return r;
    *ret_abi = (int)abi;
    return 0;
}

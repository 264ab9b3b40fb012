/*
 * sys: see sys.h. Any thread; sys_init once before threads.
 *
 * Invariants: a call that the fault plan hits does nothing and fails with the planned errno; without
 * QUERN_FAULT and QUERN_FAULT_COUNT the cost is one load and one branch. EINTR never leaves this file.
 */
#include "base/sys_int.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const kind_names[SYS_KINDS] = {
    [SYS_OPEN] = "open",     [SYS_READ] = "read",       [SYS_WRITE] = "write", [SYS_FSYNC] = "fsync",
    [SYS_RENAME] = "rename", [SYS_UNLINK] = "unlink",   [SYS_MKDIR] = "mkdir", [SYS_SPAWN] = "spawn",
    [SYS_SQLITE] = "sqlite", [SYS_MEMFD] = "memfd",     [SYS_MMAP] = "mmap",   [SYS_TRUNCATE] = "truncate",
    [SYS_LOCK] = "lock",     [SYS_POLL] = "poll",       [SYS_RECV] = "recv",   [SYS_SEND] = "send",
    [SYS_ACCEPT] = "accept", [SYS_CONNECT] = "connect", [SYS_WAIT] = "wait",   [SYS_EVENT] = "event",
};

/* The plan. Written by sys_init only, read by all. */
static struct {
    bool counting; /* a plan or a count file exists */
    int kind;      /* -1: count only; SYS_KINDS: each of all kinds */
    uint64_t first, last;
    int errnum;
    const char *count_path;
} plan = {.kind = -1};

static atomic_uint_fast64_t calls[SYS_KINDS];
static int64_t wall_offset_ms;

/* Counts the call and says whether the plan hits it. */
static bool hit(enum sys_kind kind)
{
    if (__builtin_expect(!plan.counting, 1))
        return false;
    uint64_t n = atomic_fetch_add_explicit(&calls[kind], 1, memory_order_relaxed) + 1;
    return ((int)kind == plan.kind || plan.kind == SYS_KINDS) && n >= plan.first && n <= plan.last;
}

bool sys_fault(enum sys_kind kind)
{
    if (!hit(kind) || plan.errnum == EINTR)
        return false;
    errno = plan.errnum;
    return true;
}

bool sys__fails(enum sys_kind kind, bool *ret_cut)
{
    bool planned = hit(kind);
    *ret_cut = planned && plan.errnum == EINTR;
    if (!planned || *ret_cut)
        return false;
    errno = plan.errnum;
    return true;
}

static void write_counts(void)
{
    CLEANUP_FD int fd = open(plan.count_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (int k = 0; k < SYS_KINDS && fd >= 0; k++)
        dprintf(fd, "%s %llu\n", kind_names[k], (unsigned long long)atomic_load(&calls[k]));
}

/* Digits up to `stop` or the end; moves *p past them. */
static bool parse_u64(const char **p, uint64_t *ret)
{
    const char *s = *p;
    uint64_t v = 0;
    if (*s < '0' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++)
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
            return false;
    *p = s;
    *ret = v;
    return true;
}

static bool parse_plan(const char *s)
{
    const char *colon = strchr(s, ':');
    if (!colon)
        return false;
    int kind = -1;
    for (int k = 0; k < SYS_KINDS; k++)
        if (strlen(kind_names[k]) == (size_t)(colon - s) &&
            memcmp(kind_names[k], s, (size_t)(colon - s)) == 0)
            kind = k;
    if (strncmp(s, "all:", 4) == 0)
        kind = SYS_KINDS;
    s = colon + 1;
    uint64_t first, n = 1;
    if (kind < 0 || !parse_u64(&s, &first) || first == 0 || *s++ != ':')
        return false;
    size_t len = strcspn(s, ":");
    int errnum = 0;
    for (int e = 1; e < 256 && !errnum; e++) {
        const char *name = strerrorname_np(e);
        if (name && strlen(name) == len && memcmp(name, s, len) == 0)
            errnum = e;
    }
    if (!errnum)
        return false;
    s += len;
    if (*s == ':') {
        s++;
        if (!parse_u64(&s, &n) || n == 0)
            return false;
    }
    if (*s)
        return false;
    plan.kind = kind;
    plan.first = first;
    plan.last = n - 1 > UINT64_MAX - first ? UINT64_MAX : first + n - 1;
    plan.errnum = errnum;
    plan.counting = true;
    return true;
}

static void refuse(const char *variable)
{
    fprintf(stderr, "%s: malformed value\n", variable);
    exit(2);
}

void sys_init(void)
{
    const char *fault = getenv("QUERN_FAULT"), *offset = getenv("QUERN_CLOCK_OFFSET_MS");
    plan.count_path = getenv("QUERN_FAULT_COUNT");
    plan.counting = false;
    plan.kind = -1;
    for (int k = 0; k < SYS_KINDS; k++)
        atomic_store(&calls[k], 0);
    if (fault && *fault && !parse_plan(fault))
        refuse("QUERN_FAULT");
    if (plan.count_path && *plan.count_path) {
        plan.counting = true;
        static bool registered;
        if (!registered)
            registered = atexit(write_counts) == 0;
    }
    wall_offset_ms = 0;
    if (offset && *offset) {
        bool negative = *offset == '-';
        uint64_t ms;
        offset += negative;
        if (!parse_u64(&offset, &ms) || *offset || ms > INT64_MAX / 4)
            refuse("QUERN_CLOCK_OFFSET_MS");
        wall_offset_ms = negative ? -(int64_t)ms : (int64_t)ms;
    }
}

int sys_openat(int dir, const char *path, int flags, unsigned mode)
{
    bool cut;
    if (sys__fails(SYS_OPEN, &cut))
        return -1;
    int fd;
    do
        fd = cut ? -1 : openat(dir, path, flags | O_CLOEXEC, mode);
    while (fd < 0 && sys__again(&cut));
    return fd;
}

int sys_open(const char *path, int flags, unsigned mode)
{
    return sys_openat(AT_FDCWD, path, flags, mode);
}

ssize_t sys_pread(int fd, void *p, size_t n, int64_t off)
{
    bool cut;
    if (sys__fails(SYS_READ, &cut))
        return -1;
    if (n > SSIZE_MAX) {
        errno = EINVAL;
        return -1;
    }
    size_t done = 0;
    while (done < n) {
        ssize_t r = cut ? -1 : pread(fd, (char *)p + done, n - done, off + (int64_t)done);
        if (r < 0 && sys__again(&cut))
            continue;
        if (r < 0)
            return -1;
        if (r == 0)
            break;
        done += (size_t)r;
    }
    return (ssize_t)done;
}

int sys_write_all(int fd, const void *p, size_t n)
{
    bool cut;
    if (sys__fails(SYS_WRITE, &cut))
        return -1;
    size_t done = 0;
    while (done < n) {
        ssize_t r = cut ? -1 : write(fd, (const char *)p + done, n - done);
        if (r < 0 && sys__again(&cut))
            continue;
        if (r <= 0) {
            if (r == 0)
                errno = EIO; /* a regular file never does this; looping on it would hang */
            return -1;
        }
        done += (size_t)r;
    }
    return 0;
}

int sys_writev_all(int fd, struct iovec *iov, int n)
{
    bool cut;
    if (sys__fails(SYS_WRITE, &cut))
        return -1;
    for (;;) {
        while (n > 0 && iov->iov_len == 0) {
            iov++;
            n--;
        }
        if (n <= 0)
            return 0;
        ssize_t r = cut ? -1 : writev(fd, iov, n < IOV_MAX ? n : IOV_MAX);
        if (r < 0 && sys__again(&cut))
            continue;
        if (r <= 0) {
            if (r == 0)
                errno = EIO;
            return -1;
        }
        for (size_t left = (size_t)r; left > 0;) {
            size_t take = left < iov->iov_len ? left : iov->iov_len;
            iov->iov_base = (char *)iov->iov_base + take;
            iov->iov_len -= take;
            left -= take;
            if (iov->iov_len == 0 && n > 0) {
                iov++;
                n--;
            }
        }
    }
}

int sys_fsync(int fd)
{
    bool cut;
    if (sys__fails(SYS_FSYNC, &cut))
        return -1;
    int r;
    do
        r = cut ? -1 : fsync(fd);
    while (r < 0 && sys__again(&cut));
    return r;
}

int sys_syncfs(int fd)
{
    bool cut;
    if (sys__fails(SYS_FSYNC, &cut))
        return -1;
    int r;
    do
        r = cut ? -1 : syncfs(fd);
    while (r < 0 && sys__again(&cut));
    return r;
}

void sys_write_behind(int fd, int64_t off, int64_t len)
{
    (void)sync_file_range(fd, off, len, SYNC_FILE_RANGE_WRITE);
}

int sys_ftruncate(int fd, int64_t size)
{
    bool cut;
    if (sys__fails(SYS_TRUNCATE, &cut))
        return -1;
    int r;
    do
        r = cut ? -1 : ftruncate(fd, size);
    while (r < 0 && sys__again(&cut));
    return r;
}

int sys_fallocate(int fd, int64_t size)
{
    bool cut;
    if (sys__fails(SYS_WRITE, &cut))
        return -1;
    int r;
    do {
        r = 0;
        if (!cut)
            errno = r = posix_fallocate(fd, 0, size); /* the error, not -1 */
    } while ((cut || r != 0) && sys__again(&cut));
    return r ? -1 : 0;
}

int sys_flock(int fd, int operation)
{
    bool cut;
    if (sys__fails(SYS_LOCK, &cut))
        return -1;
    int r;
    do
        r = cut ? -1 : flock(fd, operation);
    while (r < 0 && sys__again(&cut));
    return r;
}

int sys_renameat(int dir, const char *from, const char *to)
{
    bool cut;
    if (sys__fails(SYS_RENAME, &cut))
        return -1;
    int r;
    do
        r = cut ? -1 : renameat(dir, from, dir, to);
    while (r < 0 && sys__again(&cut));
    return r;
}

int sys_rename(const char *from, const char *to)
{
    return sys_renameat(AT_FDCWD, from, to);
}

int sys_linkat(int dir, const char *from, const char *to)
{
    bool cut;
    if (sys__fails(SYS_RENAME, &cut))
        return -1;
    int r;
    do
        r = cut ? -1 : linkat(dir, from, dir, to, 0);
    while (r < 0 && sys__again(&cut));
    return r;
}

int sys_unlinkat(int dir, const char *path, int flags)
{
    bool cut;
    if (sys__fails(SYS_UNLINK, &cut))
        return -1;
    int r;
    do
        r = cut ? -1 : unlinkat(dir, path, flags);
    while (r < 0 && sys__again(&cut));
    return r;
}

int sys_mkdir_p(const char *path, unsigned mode)
{
    bool cut;
    if (sys__fails(SYS_MKDIR, &cut))
        return -1;
    size_t len = strlen(path);
    if (len == 0 || len >= PATH_MAX) {
        errno = len == 0 ? ENOENT : ENAMETOOLONG;
        return -1;
    }
    char part[PATH_MAX];
    memcpy(part, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (part[i] != '/' && part[i] != 0)
            continue;
        char at = part[i];
        part[i] = 0;
        /* EEXIST is judged at the end only: a parent may be one that we may not look into. */
        int r;
        do
            r = cut ? -1 : mkdir(part, mode);
        while (r < 0 && sys__again(&cut));
        if (r < 0 && errno != EEXIST && !(at == '/' && (errno == EROFS || errno == EACCES)))
            return -1;
        part[i] = at;
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return -1;
    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return -1;
    }
    return 0;
}

void sys_close_cleanup(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
}

int sys_fsync_dir(const char *path)
{
    CLEANUP_FD int fd = sys_open(path, O_RDONLY | O_DIRECTORY, 0);
    return fd < 0 ? -1 : sys_fsync(fd);
}

static int64_t clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t sys_mono_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

int64_t sys_wall_ms(void)
{
    return clock_ns(CLOCK_REALTIME) / 1000000 + wall_offset_ms;
}

void sys_sleep_ms(unsigned ms)
{
    /* An absolute end, so that signals do not stretch it. */
    int64_t end = sys_mono_ns() + (int64_t)ms * 1000000;
    struct timespec ts = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
        ;
}

void sys_random(void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = getrandom((char *)p + done, n - done, 0);
        ASSERT(r > 0 || (r < 0 && errno == EINTR)); /* ids and keys without randomness would be guessable */
        if (r > 0)
            done += (size_t)r;
    }
}

#define SPAWN_FDS_MAX 64

/* Fills the actions; `high` holds copies of fds above every number that the child will use. */
static int spawn_actions(posix_spawn_file_actions_t *fa, const int *high, int nfds)
{
    int r = posix_spawn_file_actions_addopen(fa, 0, "/dev/null", O_RDONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_addopen(fa, 1, "/dev/null", O_WRONLY, 0);
    for (int i = 0; i < nfds && r == 0; i++)
        r = posix_spawn_file_actions_adddup2(fa, high[i], 3 + i);
    if (r == 0)
        r = posix_spawn_file_actions_addclosefrom_np(fa, 3 + nfds);
    return r;
}

static int spawn_attributes(posix_spawnattr_t *at)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int r = posix_spawnattr_setsigdefault(at, &all);
    if (r == 0)
        r = posix_spawnattr_setsigmask(at, &none);
    if (r == 0)
        r = posix_spawnattr_setflags(at, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    return r;
}

pid_t sys_spawn(const char *path, char *const argv[], char *const envp[], const int *fds, int nfds)
{
    if (sys_fault(SYS_SPAWN))
        return -1;
    if (nfds < 0 || nfds > SPAWN_FDS_MAX) {
        errno = EINVAL;
        return -1;
    }
    /* dup2 in order would overwrite a source that lies in 3..3+nfds-1 before its turn; copies above that
     * range cannot be overwritten, and dup2 from them clears close-on-exec. */
    int high[SPAWN_FDS_MAX], n = 0, r = 0;
    for (; n < nfds && r == 0; n++) {
        high[n] = fcntl(fds[n], F_DUPFD_CLOEXEC, 3 + nfds);
        if (high[n] < 0) {
            r = errno;
            break;
        }
    }
    pid_t pid = -1;
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t at;
    if (r == 0 && (r = posix_spawn_file_actions_init(&fa)) == 0) {
        if ((r = posix_spawnattr_init(&at)) == 0) {
            static char *const empty[] = {NULL};
            r = spawn_actions(&fa, high, nfds);
            if (r == 0)
                r = spawn_attributes(&at);
            if (r == 0)
                r = posix_spawn(&pid, path, &fa, &at, argv, envp ? envp : empty);
            posix_spawnattr_destroy(&at);
        }
        posix_spawn_file_actions_destroy(&fa);
    }
    while (n > 0)
        close(high[--n]);
    if (r != 0) {
        errno = r;
        return -1;
    }
    return pid;
}

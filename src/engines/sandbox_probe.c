/*
 * sandbox_probe: tries what the sandbox forbids, once each, with arguments that do no harm should it succeed.
 * Child only, after sandbox_enter.
 *
 * A denied call must say EPERM, EACCES or ENOSYS; any other outcome means that the kernel looked at the
 * arguments, and counts as allowed.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engines/sandbox_int.h"

struct call {
    const char *name;
    long number;
    long a, b, c, d, e, f;
};

#define CALL(name, ...)                                                                                      \
    {                                                                                                        \
#name, SYS_##name, __VA_ARGS__                                                                       \
    }
#define P(s) ((long)(s))

static bool denied(long r)
{
    if (r >= 0)
        return false;
    return errno == EPERM || errno == EACCES || errno == ENOSYS;
}

static int try_call(const struct call *c)
{
    errno = 0;
    long r = syscall(c->number, c->a, c->b, c->c, c->d, c->e, c->f);
    if (r == 0 && (c->number == SYS_clone || c->number == SYS_clone3
#ifdef SYS_fork
                   || c->number == SYS_fork || c->number == SYS_vfork
#endif
                   ))
        _exit(0); /* we are the child that should not exist */
    return denied(r) ? 0 : 1;
}

static int try_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0)
        return 0;
    (void)close(fd);
    return 1;
}

int sandbox_probe(struct buf *out)
{
    struct rlimit more = {RLIM_INFINITY, RLIM_INFINITY};
    const struct call calls[] = {
        CALL(socket, AF_INET, SOCK_STREAM, 0, 0, 0, 0),
        CALL(socket, AF_UNIX, SOCK_STREAM, 0, 0, 0, 0),
        CALL(socketpair, AF_UNIX, SOCK_STREAM, 0, 0, 0, 0),
        CALL(connect, -1, 0, 0, 0, 0, 0),
        CALL(bind, -1, 0, 0, 0, 0, 0),
        CALL(listen, -1, 0, 0, 0, 0, 0),
        CALL(accept, -1, 0, 0, 0, 0, 0),
        CALL(accept4, -1, 0, 0, 0, 0, 0),
        CALL(sendto, -1, 0, 0, 0, 0, 0),
        CALL(sendmsg, -1, 0, 0, 0, 0, 0),
        CALL(sendmmsg, -1, 0, 0, 0, 0, 0),
        CALL(ptrace, 16, 1, 0, 0, 0, 0),
        CALL(process_vm_readv, 1, 0, 0, 0, 0, 0),
        CALL(process_vm_writev, 1, 0, 0, 0, 0, 0),
        CALL(pidfd_open, getppid(), 0, 0, 0, 0, 0),
        CALL(kill, getppid(), 0, 0, 0, 0, 0),
        CALL(tkill, getppid(), 0, 0, 0, 0, 0),
        CALL(tgkill, getppid(), getppid(), 0, 0, 0, 0),
        CALL(execve, P("/nonexistent"), 0, 0, 0, 0, 0),
        CALL(execveat, -1, P("/nonexistent"), 0, 0, 0, 0),
        CALL(clone, SIGCHLD, 0, 0, 0, 0, 0),
        CALL(clone3, 0, 0, 0, 0, 0, 0),
#ifdef SYS_fork
        CALL(fork, 0, 0, 0, 0, 0, 0),
        CALL(pipe, 0, 0, 0, 0, 0, 0),
#endif
        CALL(memfd_create, P("x"), 0, 0, 0, 0, 0),
        CALL(shmget, 0, 4096, 01600, 0, 0, 0),
        CALL(semget, 0, 1, 01600, 0, 0, 0),
        CALL(msgget, 0, 01600, 0, 0, 0, 0),
        CALL(mq_open, P("/x"), O_CREAT | O_RDWR, 0600, 0, 0, 0),
        CALL(pipe2, 0, 0, 0, 0, 0, 0),
        CALL(mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
        CALL(mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0),
        CALL(userfaultfd, 0, 0, 0, 0, 0, 0),
        CALL(setrlimit, RLIMIT_NOFILE, P(&more), 0, 0, 0, 0),
        CALL(prlimit64, 0, RLIMIT_DATA, P(&more), 0, 0, 0),
        CALL(prlimit64, getppid(), RLIMIT_DATA, 0, 0, 0, 0),
        CALL(setuid, getuid(), 0, 0, 0, 0, 0),
        CALL(setpriority, PRIO_PROCESS, 0, 19, 0, 0, 0),
        CALL(personality, 0xffffffff, 0, 0, 0, 0, 0),
        CALL(prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0, 0),
        CALL(prctl, PR_SET_DUMPABLE, 1, 0, 0, 0, 0),
        CALL(seccomp, 0, 0, 0, 0, 0, 0),
        CALL(truncate, P("/nonexistent"), 0, 0, 0, 0, 0),
        CALL(fchmod, -1, 0, 0, 0, 0, 0),
        CALL(fchmodat, AT_FDCWD, P("/nonexistent"), 0, 0, 0, 0),
        CALL(fchown, -1, 0, 0, 0, 0, 0),
        CALL(fchownat, AT_FDCWD, P("/nonexistent"), 0, 0, 0, 0),
        CALL(utimensat, AT_FDCWD, P("/nonexistent"), 0, 0, 0, 0),
        CALL(setxattr, P("/nonexistent"), 0, 0, 0, 0, 0),
        CALL(linkat, AT_FDCWD, P("/nonexistent"), AT_FDCWD, P("/nonexistent"), 0, 0),
        CALL(symlinkat, P("/etc"), AT_FDCWD, P("/nonexistent/x"), 0, 0, 0),
        CALL(mknodat, AT_FDCWD, P("/nonexistent/x"), S_IFIFO, 0, 0, 0),
        CALL(mount, 0, 0, 0, 0, 0, 0),
        CALL(umount2, P("/nonexistent"), 0, 0, 0, 0, 0),
        CALL(unshare, 0, 0, 0, 0, 0, 0),
        CALL(setns, -1, 0, 0, 0, 0, 0),
        CALL(chroot, P("/nonexistent"), 0, 0, 0, 0, 0),
        CALL(open_by_handle_at, -1, 0, 0, 0, 0, 0),
        CALL(io_uring_setup, 1, 0, 0, 0, 0, 0),
        CALL(bpf, 0, 0, 0, 0, 0, 0),
        CALL(perf_event_open, 0, 0, 0, 0, 0, 0),
        CALL(keyctl, 0, 0, 0, 0, 0, 0),
        CALL(add_key, 0, 0, 0, 0, 0, 0),
        CALL(syslog, 10, 0, 0, 0, 0, 0),
        CALL(fcntl, WIRE_FD, F_SETOWN, getpid(), 0, 0, 0),
        CALL(fcntl, WIRE_FD, 10, 0, 0, 0, 0),
        CALL(inotify_init1, 0, 0, 0, 0, 0, 0),
    };
    int open_doors = 0;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (!try_call(&calls[i]))
            continue;
        (void)buf_printf(out, "%s%s", open_doors++ ? ", " : "", calls[i].name);
    }
    static const struct {
        const char *path;
        int flags;
    } paths[] = {
        {"/etc/passwd", O_RDONLY},
        {"/proc/self/environ", O_RDONLY},
        {"/proc/1/cmdline", O_RDONLY},
        {"/", O_RDONLY | O_DIRECTORY},
        {"/tmp/quern-probe", O_WRONLY | O_CREAT},
        {"/dev/shm/quern-probe", O_WRONLY | O_CREAT},
        {"/dev/zero", O_RDWR},
        {"/proc/self/mem", O_RDWR},
        {"/proc/self/oom_score_adj", O_WRONLY},
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (!try_path(paths[i].path, paths[i].flags))
            continue;
        (void)buf_printf(out, "%s%s", open_doors++ ? ", " : "", paths[i].path);
    }
    struct rlimit wall;
    if (!SANDBOX_SANITIZED && getrlimit(RLIMIT_DATA, &wall) == 0 && wall.rlim_cur != RLIM_INFINITY) {
        void *p = mmap(NULL, wall.rlim_cur + 4096, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p != MAP_FAILED)
            (void)buf_printf(out, "%smemory wall", open_doors++ ? ", " : "");
    }
    return open_doors;
}

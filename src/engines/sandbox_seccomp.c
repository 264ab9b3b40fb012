/*
 * sandbox_seccomp: the system calls that the engine process may not make. Child only, one thread, once.
 *
 * A deny list, not an allow list: the engine library and libc choose their calls freely, and what matters is
 * what the rest of the design leans on: no network, no other process, no new program, no memory that
 * RLIMIT_DATA does not count (shared memory, growing stacks, pipes), no way to loosen a limit, no signal to
 * anybody else (also not by SIGIO), nothing that Landlock does not govern on old kernels (truncate, mode,
 * owner, times). Denied calls answer EPERM, so that the library makes SQL errors of them; clone3 answers
 * ENOSYS, so that libc falls back to clone, whose flags a filter can see; calls newer than the list answer
 * ENOSYS. A wrong architecture or an x32 number kills.
 *
 * `connect` is denied outright. When remote sources come, it becomes a notification that the daemon answers
 * (docs/engine.md).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engines/sandbox_int.h"

#define FIRST_UNKNOWN 449 /* system calls from here on are newer than Debian 12's libc needs */
#define LAST_UNKNOWN  511

/* Denied whatever the arguments. */
static const int denied[] = {
    /* network and descriptor passing */
    SCMP_SYS(socket),
    SCMP_SYS(socketpair),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(listen),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getpeername),
    /* other processes */
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(process_madvise),
    SCMP_SYS(process_mrelease),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(kcmp),
    SCMP_SYS(kill),
    SCMP_SYS(tkill),
    SCMP_SYS(rt_sigqueueinfo),
    SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(migrate_pages),
    SCMP_SYS(move_pages),
    SCMP_SYS(setpgid),
    SCMP_SYS(setsid),
    SCMP_SYS(get_robust_list),
    /* new programs and processes */
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(uselib),
    /* memory that no limit counts */
    SCMP_SYS(memfd_create),
    SCMP_SYS(memfd_secret),
    SCMP_SYS(shmget),
    SCMP_SYS(shmat),
    SCMP_SYS(shmctl),
    SCMP_SYS(shmdt),
    SCMP_SYS(semget),
    SCMP_SYS(semop),
    SCMP_SYS(semtimedop),
    SCMP_SYS(semctl),
    SCMP_SYS(msgget),
    SCMP_SYS(msgsnd),
    SCMP_SYS(msgrcv),
    SCMP_SYS(msgctl),
    SCMP_SYS(mq_open),
    SCMP_SYS(mq_unlink),
    SCMP_SYS(pipe),
    SCMP_SYS(pipe2),
    SCMP_SYS(vmsplice),
    SCMP_SYS(splice),
    SCMP_SYS(tee),
    SCMP_SYS(remap_file_pages),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(mlock),
    SCMP_SYS(mlock2),
    SCMP_SYS(mlockall),
    SCMP_SYS(inotify_init),
    SCMP_SYS(inotify_init1),
    SCMP_SYS(fanotify_init),
    SCMP_SYS(fanotify_mark),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(keyctl),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    /* limits, identity, scheduling */
    SCMP_SYS(setrlimit),
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(setreuid),
    SCMP_SYS(setregid),
    SCMP_SYS(setresuid),
    SCMP_SYS(setresgid),
    SCMP_SYS(setfsuid),
    SCMP_SYS(setfsgid),
    SCMP_SYS(setgroups),
    SCMP_SYS(capset),
    SCMP_SYS(setpriority),
    SCMP_SYS(ioprio_set),
    SCMP_SYS(sched_setattr),
    SCMP_SYS(sched_setscheduler),
    SCMP_SYS(sched_setparam),
    SCMP_SYS(personality),
    SCMP_SYS(seccomp),
    SCMP_SYS(landlock_create_ruleset),
    SCMP_SYS(landlock_add_rule),
    SCMP_SYS(landlock_restrict_self),
    /* files beyond Landlock's reach */
    SCMP_SYS(truncate),
    SCMP_SYS(chmod),
    SCMP_SYS(fchmod),
    SCMP_SYS(fchmodat),
    SCMP_SYS(chown),
    SCMP_SYS(fchown),
    SCMP_SYS(lchown),
    SCMP_SYS(fchownat),
    SCMP_SYS(utime),
    SCMP_SYS(utimes),
    SCMP_SYS(futimesat),
    SCMP_SYS(utimensat),
    SCMP_SYS(setxattr),
    SCMP_SYS(lsetxattr),
    SCMP_SYS(fsetxattr),
    SCMP_SYS(removexattr),
    SCMP_SYS(lremovexattr),
    SCMP_SYS(fremovexattr),
    SCMP_SYS(link),
    SCMP_SYS(linkat),
    SCMP_SYS(symlink),
    SCMP_SYS(symlinkat),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
    SCMP_SYS(name_to_handle_at),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(chroot),
    SCMP_SYS(pivot_root),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsconfig),
    SCMP_SYS(fsmount),
    SCMP_SYS(fspick),
    SCMP_SYS(mount_setattr),
    SCMP_SYS(quotactl),
    SCMP_SYS(quotactl_fd),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(umask),
    SCMP_SYS(flock),
    /* the kernel itself */
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(io_setup),
    SCMP_SYS(io_submit),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(syslog),
    SCMP_SYS(acct),
    SCMP_SYS(reboot),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(create_module),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(modify_ldt),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(clock_adjtime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(vhangup),
    SCMP_SYS(lookup_dcookie),
    SCMP_SYS(nfsservctl),
};

/* One condition on one argument makes the call denied. */
struct rule {
    int call;
    unsigned arg;
    enum scmp_compare op;
    uint64_t a, b;
};

#define EQ(call, arg, v)                                                                                     \
    {                                                                                                        \
        SCMP_SYS(call), (arg), SCMP_CMP_EQ, (uint64_t)(v), 0                                                 \
    }
#define HAS(call, arg, bits)                                                                                 \
    {                                                                                                        \
        SCMP_SYS(call), (arg), SCMP_CMP_MASKED_EQ, (uint64_t)(bits), (uint64_t)(bits)                        \
    }

static const struct rule conditional[] = {
    HAS(mmap, 3, MAP_SHARED | MAP_ANONYMOUS), /* RLIMIT_DATA counts private memory only */
    HAS(mmap, 3, MAP_GROWSDOWN),              /* nor does it count stacks */
    {SCMP_SYS(clone), 0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0},
    {SCMP_SYS(prlimit64), 0, SCMP_CMP_NE, 0, 0}, /* somebody else's */
    {SCMP_SYS(prlimit64), 2, SCMP_CMP_NE, 0, 0}, /* a new limit */
    {SCMP_SYS(prctl), 0, SCMP_CMP_LT, 15, 0},    /* PR_SET_NAME (15) and PR_GET_NAME (16) are all it needs */
    {SCMP_SYS(prctl), 0, SCMP_CMP_GT, 16, 0},
    /* SIGIO and friends are signals to anybody with our uid */
    EQ(fcntl, 1, F_SETOWN),
    EQ(fcntl, 1, 15 /* F_SETOWN_EX */),
    EQ(fcntl, 1, 10 /* F_SETSIG */),
    EQ(fcntl, 1, 1024 /* F_SETLEASE */),
    EQ(fcntl, 1, 1026 /* F_NOTIFY */),
    EQ(fcntl, 1, 1031 /* F_SETPIPE_SZ */),
    EQ(fcntl, 1, 1033 /* F_ADD_SEALS */),
    EQ(ioctl, 1, FIOASYNC),
    EQ(ioctl, 1, 0x8901 /* FIOSETOWN */),
    EQ(ioctl, 1, 0x8902 /* SIOCSPGRP */),
    EQ(ioctl, 1, 0x5412 /* TIOCSTI */),
    EQ(ioctl, 1, 0x541C /* TIOCLINUX */),
};

static int deny(scmp_filter_ctx ctx, uint32_t action, int call)
{
    int r = seccomp_rule_add(ctx, action, call, 0);
    return r == -EDOM || r == -EEXIST ? 0 : r; /* not on this architecture; twice */
}

static int fill(scmp_filter_ctx ctx)
{
    const uint32_t eperm = SCMP_ACT_ERRNO(EPERM), enosys = SCMP_ACT_ERRNO(ENOSYS);
    int r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r < 0)
        return r;
    (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++) {
        if ((r = deny(ctx, eperm, denied[i])) < 0)
            return r;
    }
    for (size_t i = 0; i < sizeof conditional / sizeof *conditional; i++) {
        const struct rule *c = &conditional[i];
        struct scmp_arg_cmp cmp = {c->arg, c->op, c->a, c->b};
        r = seccomp_rule_add_array(ctx, eperm, c->call, 1, &cmp);
        if (r < 0)
            return r;
    }
    struct scmp_arg_cmp other = {0, SCMP_CMP_NE, (uint64_t)getpid(), 0};
    if ((r = seccomp_rule_add_array(ctx, eperm, SCMP_SYS(tgkill), 1, &other)) < 0)
        return r;
    if ((r = deny(ctx, enosys, SCMP_SYS(clone3))) < 0)
        return r;
    for (int call = FIRST_UNKNOWN; call <= LAST_UNKNOWN; call++) {
        if ((r = deny(ctx, enosys, call)) < 0)
            return r;
    }
    return 0;
}

int sandbox__seccomp(struct err *e)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    if (!ctx)
        return err_set(e, ERR_NOMEM, "53200", "sandbox step seccomp failed");
    int r = fill(ctx);
    if (r == 0)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    return r < 0 ? err_set(e, ERR_INTERNAL, "XX000", "sandbox step seccomp failed (errno %d)", -r) : 0;
}

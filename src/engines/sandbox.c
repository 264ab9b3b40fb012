/*
 * sandbox: turns a freshly spawned process into one that can do nothing but run SQL. See sandbox.h and
 * docs/engine.md.
 *
 * Order, and why: privileges go first, so that every later step is one an ordinary user may take; descriptors
 * and limits next, because opening /dev/null and raising oom_score_adj need paths that Landlock then takes
 * away; Landlock before seccomp, because the filter denies its calls. Each step that fails ends the process:
 * there is no half-confined engine. The exception is Landlock on a kernel without it: the level says 0 and
 * the daemon decides.
 *
 * Threads: the process has exactly one when this runs. Landlock binds the calling thread and those it creates
 * later, so the engine library may be opened only afterwards.
 */
#include "engines/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engines/links.h"
#include "engines/sandbox_int.h"

#define OPEN_FILES 256
#define NICENESS   5
#define FILE_SLACK (64ull << 20)

static int step(struct err *e, const char *name)
{
    return err_set(e, ERR_INTERNAL, "XX000", "sandbox step %s failed (errno %d)", name, errno);
}

static int drop_capabilities(struct err *e)
{
    for (int c = 0; c < 64; c++) {
        if (prctl(PR_CAPBSET_READ, c, 0, 0, 0) < 0)
            break;
        if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0 && errno != EPERM)
            return step(e, "bounding set");
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
        return step(e, "ambient set");
    cap_t none = cap_init();
    if (!none)
        return step(e, "capabilities");
    int r = cap_set_proc(none);
    cap_free(none);
    return r < 0 ? step(e, "capabilities") : 0;
}

static int limit(int what, uint64_t value, const char *name, struct err *e)
{
    struct rlimit now;
    if (getrlimit((__rlimit_resource_t)what, &now) < 0)
        return step(e, name);
    rlim_t v = value > now.rlim_max ? now.rlim_max : (rlim_t)value;
    struct rlimit to = {v, v};
    return setrlimit((__rlimit_resource_t)what, &to) < 0 ? step(e, name) : 0;
}

static int set_limits(const struct wire_setup *s, struct err *e)
{
    uint64_t file = s->spill_max > s->batch_max ? s->spill_max : s->batch_max;
    int r = limit(RLIMIT_CORE, 0, "core limit", e);
    if (!r)
        r = limit(RLIMIT_NOFILE, OPEN_FILES, "descriptor limit", e);
    if (!r)
        r = limit(RLIMIT_MEMLOCK, 0, "locked memory limit", e);
    if (!r)
        r = limit(RLIMIT_MSGQUEUE, 0, "message queue limit", e);
    /* A writer's catalog may grow as large as the disk allows; the daemon watches its quota. */
    if (!r && !s->catalog_write)
        r = limit(RLIMIT_FSIZE, s->render ? s->spill_max : file + FILE_SLACK, "file size limit", e);
    /* A sanitizer's shadow memory is private and writable: the wall would stop it at once. */
    if (!r && !SANDBOX_SANITIZED && s->memory_wall)
        r = limit(RLIMIT_DATA, s->memory_wall, "memory wall", e);
    return r;
}

/* 0, 1, 2 become /dev/null (2 stays when the daemon's debugging switch is set), WIRE_FD stays, everything
 * else is closed. */
static int close_descriptors(struct err *e)
{
    if (syscall(SYS_close_range, WIRE_FD + 1, ~0u, 0u) < 0) {
        for (int fd = WIRE_FD + 1; fd < 4096; fd++)
            (void)close(fd);
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return step(e, "/dev/null");
    bool keep_stderr = getenv("QUERN_ENGINE_STDERR") != NULL || SANDBOX_SANITIZED;
    for (int fd = 0; fd <= 2; fd++) {
        if (fd == 2 && keep_stderr && fcntl(2, F_GETFD) >= 0)
            continue;
        if (null != fd && dup2(null, fd) < 0)
            return step(e, "standard descriptors");
    }
    if (null > 2)
        (void)close(null);
    (void)fcntl(WIRE_FD, F_SETFD, FD_CLOEXEC);
    return 0;
}

static void be_first_victim(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, "900", 3) < 0) { /* best effort: a container may forbid it */
    }
    (void)close(fd);
}

int sandbox_enter(const struct wire_setup *setup, struct sandbox_level *ret, struct err *e)
{
    pid_t parent = getppid();
    int r = drop_capabilities(e);
    if (r < 0)
        return r;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return step(e, "no_new_privs");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return step(e, "parent death signal");
    if (getppid() != parent)
        return err_set(e, ERR_INTERNAL, "XX000", "the daemon is gone");
    (void)setsid(); /* fails only when we lead a group already */
    umask(077);
    if (setup->private_dir[0] != '/')
        return err_set(e, ERR_INTERNAL, "XX000", "sandbox step private folder failed");
    if (chdir(setup->private_dir) < 0)
        return step(e, "private folder");
    r = links_make(setup, e);
    if (r < 0)
        return r;
    r = close_descriptors(e);
    if (r < 0)
        return r;
    be_first_victim();
    if (getpriority(PRIO_PROCESS, 0) < NICENESS && setpriority(PRIO_PROCESS, 0, NICENESS) < 0)
        return step(e, "nice");
    r = set_limits(setup, e);
    if (r < 0)
        return r;
    clearenv();
    struct sandbox_level level = {0, false};
    r = sandbox__landlock(setup, &level.landlock_abi, e);
    if (r < 0)
        return r;
    r = sandbox__seccomp(e);
    if (r < 0)
        return r;
    level.seccomp = true;
    *ret = level;
    return 0;
}

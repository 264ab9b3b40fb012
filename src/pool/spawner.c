/*
 * spawner: the thread that starts every process and reaps every one. It must be one thread that lives as long as the pool: a
 * child dies by PR_SET_PDEATHSIG when the *thread* that spawned it ends. It waits for nothing but the kernel:
 * spawn requests, deaths (by pidfd, so that children of other parts of the daemon are never taken) and kill
 * deadlines (a cancel's grace must end in SIGKILL even while the engine's owner is busy writing to a disk).
 * It also keeps one blank spare: a process that has started, linked the engine library and waits for SETUP,
 * so that the first query of a workspace waits less. A spare that dies is made again with growing pauses.
 *
 * A request is answered through pool.changed. After close has killed everything the spawner ends when its
 * last child is reaped.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/pool_int.h"
#include "base/sys_wait.h"

/* Set by <linux/wait.h>; older C libraries lack it. */
#define QUERN_P_PIDFD ((idtype_t)3)

struct watch {
    struct pollfd *fds;
    struct engine **engines;
    size_t n, cap;
};

/* The whole start of one process; no lock held. 0 or an errno. */
static int start_process(struct pool *p, struct engine *x)
{
    int pair[2];
    if (rundir__make(p->run_fd, x->folder) < 0)
        return errno;
    x->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (x->wake < 0)
        return errno;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return errno;
    char name[] = "quern-engine";
    char *argv[] = {name, NULL};
    pid_t pid = sys_spawn(p->engine_path, argv, NULL, &pair[1], 1);
    int failed = pid < 0 ? errno : 0;
    close(pair[1]);
    if (failed) {
        close(pair[0]);
        return failed;
    }
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        failed = errno;
        kill(pid, SIGKILL);
        siginfo_t info;
        (void)sys_waitid(P_PID, (id_t)pid, &info, WEXITED);
        close(pair[0]);
        return failed;
    }
    x->sock = pair[0];
    x->pid = pid;
    x->pidfd = pidfd;
    metric_add(p->m_spawned, 1);
    return 0;
}

/* (mu) */
static void spawn_finish(struct pool *p, struct engine *x, int failed)
{
    x->spawn_errno = failed;
    x->spawn_done = true;
    if (failed) {
        x->dead = true;
        if (x->state != STATE_STARTING)
            pool__discard(x, REASON_START); /* others are discarded by who waits for them */
    } else if (p->closing) {
        pool__kill(x, REASON_CLOSED);
    }
    pthread_cond_broadcast(&p->changed);
}

static void blank_later(struct pool *p)
{
    int shift = p->blank_failures < 6 ? p->blank_failures : 6;
    p->blank_failures++;
    p->blank_at_ns = sys_mono_ns() + MS_NS(1000) * (1 << shift);
}

/* (mu, released while a process starts) Serves requests, then the spare. */
static void serve(struct pool *p)
{
    for (;;) {
        struct engine *x = p->spawn_head;
        if (x) {
            p->spawn_head = x->next_spawn;
            if (!p->spawn_head)
                p->spawn_tail = NULL;
        } else {
            if (!p->blank_wanted || p->closing || CONF(engine_idle_max) == 0 ||
                sys_mono_ns() < p->blank_at_ns)
                return;
            for (const struct engine *y = p->all; y; y = y->next)
                if (y->state == STATE_BLANK)
                    return;
            if (p->max_processes > 0 && pool__alive(p) >= p->max_processes) {
                blank_later(p);
                return;
            }
            x = pool__new(p, STATE_BLANK);
            if (!x) {
                blank_later(p);
                return;
            }
        }
        pthread_mutex_unlock(&p->mu);
        int failed = start_process(p, x);
        pthread_mutex_lock(&p->mu);
        bool blank = x->state == STATE_BLANK;
        spawn_finish(p, x, failed);
        if (blank && failed)
            blank_later(p);
    }
}

/* (mu) Kills what is past its deadline; returns the next thing to wake for, INT64_MAX for none. */
static int64_t deadlines(struct pool *p)
{
    int64_t now = sys_mono_ns(), next = INT64_MAX;
    bool spare = false;
    for (struct engine *x = p->all; x; x = x->next) {
        if (x->state == STATE_BLANK)
            spare = true;
        if (x->kill_at_ns == 0 || x->dead)
            continue;
        if (x->kill_at_ns <= now) {
            x->kill_at_ns = 0;
            x->killed = false; /* a QUIT was not obeyed: now for real */
            pool__kill(x, REASON_KILLED);
        } else if (x->kill_at_ns < next) {
            next = x->kill_at_ns;
        }
    }
    if (p->blank_wanted && !p->closing && !spare && CONF(engine_idle_max) > 0 && p->blank_at_ns < next)
        next = p->blank_at_ns;
    return next;
}

/* (mu) */
static void reap(struct pool *p, struct engine *x)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (sys_waitid(QUERN_P_PIDFD, (id_t)x->pidfd, &info, WEXITED | WNOHANG) < 0) {
        if (errno != ECHILD)
            return;
    } else if (info.si_pid == 0) {
        return;
    }
    x->exit_code = info.si_code;
    x->exit_status = info.si_status;
    x->dead = true;
    x->kill_at_ns = 0;
    if (x->holds_catalog) {
        struct pool_workspace *w = pool__workspace(p, x->key->workspace);
        ASSERT(w && w->catalog_open > 0);
        w->catalog_open--;
        x->holds_catalog = false;
    }
    if (x->state == STATE_BLANK && !p->closing)
        blank_later(p);
    if (x->state == STATE_BLANK || x->state == STATE_IDLE)
        pool__discard(x, REASON_CRASHED);
    if (x->state == STATE_DYING)
        pthread_cond_signal(&p->chores_wanted);
    pthread_cond_broadcast(&p->changed);
}

/* (mu) False when out of memory. */
static bool watch_fill(struct pool *p, struct watch *w)
{
    size_t need = (size_t)p->count + 1;
    if (need > w->cap) {
        size_t cap = need + 16;
        struct pollfd *fds = realloc(w->fds, cap * sizeof *fds);
        if (fds)
            w->fds = fds;
        struct engine **engines = fds ? realloc(w->engines, cap * sizeof(struct engine *)) : NULL;
        if (!engines)
            return false;
        w->engines = engines;
        w->cap = cap;
    }
    w->fds[0] = (struct pollfd){.fd = p->wake, .events = POLLIN};
    w->n = 1;
    for (struct engine *x = p->all; x; x = x->next) {
        if (!x->spawn_done || x->dead)
            continue;
        w->fds[w->n] = (struct pollfd){.fd = x->pidfd, .events = POLLIN};
        w->engines[w->n++] = x;
    }
    return true;
}

static void *spawner_main(void *arg)
{
    struct pool *p = arg;
    struct watch w = {0};
    pthread_mutex_lock(&p->mu);
    for (;;) {
        serve(p);
        int64_t next = deadlines(p);
        bool filled = watch_fill(p, &w);
        if (p->spawner_stop && w.n <= 1 && filled)
            break;
        size_t n = filled ? w.n : 0;
        pthread_mutex_unlock(&p->mu);
        int timeout = filled ? -1 : 10;
        if (next != INT64_MAX) {
            int64_t ms = (next - sys_mono_ns()) / 1000000 + 1;
            int until = ms < 0 ? 0 : ms > 60000 ? 60000 : (int)ms;
            if (timeout < 0 || until < timeout)
                timeout = until;
        }
        int got = sys_poll(w.fds, n, timeout);
        if (got > 0 && (w.fds[0].revents & POLLIN))
            sys_event_clear(p->wake);
        pthread_mutex_lock(&p->mu);
        for (size_t i = 1; got > 0 && i < n; i++)
            if (w.fds[i].revents)
                reap(p, w.engines[i]);
    }
    pthread_mutex_unlock(&p->mu);
    free(w.fds);
    free(w.engines);
    return NULL;
}

int spawner__spawn(struct engine *x, struct err *e)
{
    struct pool *p = x->pool;
    pthread_mutex_lock(&p->mu);
    x->next_spawn = NULL;
    if (p->spawn_tail)
        p->spawn_tail->next_spawn = x;
    else
        p->spawn_head = x;
    p->spawn_tail = x;
    pool__wake(p);
    while (!x->spawn_done)
        pthread_cond_wait(&p->changed, &p->mu);
    int failed = x->spawn_errno;
    if (failed)
        pool__discard(x, REASON_START); /* gone as soon as the lock is released */
    pthread_mutex_unlock(&p->mu);
    if (!failed)
        return 0;
    bool again = failed == EAGAIN || failed == ENOMEM || failed == EMFILE || failed == ENFILE;
    char text[128];
    const char *words = strerror_r(failed, text, sizeof text);
    return err_set(e, again ? ERR_BUSY : ERR_ENGINE, again ? "53000" : "XX000",
                   "cannot start an engine process: %s", words);
}

int spawner__start(struct pool *p, struct err *e)
{
    int rc = pthread_create(&p->spawner, NULL, spawner_main, p);
    if (rc)
        return err_errno(e, rc, "starting the spawner thread");
    (void)pthread_setname_np(p->spawner, "quern-spawner");
    return 0;
}

void spawner__stop(struct pool *p)
{
    pthread_mutex_lock(&p->mu);
    p->spawner_stop = true;
    pthread_mutex_unlock(&p->mu);
    pool__wake(p);
    pthread_join(p->spawner, NULL);
}

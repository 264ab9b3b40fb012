/*
 * accept: see accept.h. Everything here but start and stop runs on the acceptor's thread.
 */
#include "http/accept.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/sys_wait.h"

#define PAUSE_MS 50            /* between looks while nothing can be taken */
#define BURST    64            /* accepted from one listener before the next has its turn */
#define LOG_NS   60000000000ll /* one line a minute about the lack of descriptors */

struct acceptor {
    struct accept_options o;
    struct metric *paused;
    _Atomic bool stop;
    int event;
    int64_t logged_ns;
    pthread_t thread;
};

static void note(struct acceptor *a, int why)
{
    int64_t now = sys_mono_ns();
    metric_add(a->paused, 1);
    if (a->logged_ns && now - a->logged_ns < LOG_NS)
        return;
    a->logged_ns = now;
    struct err e;
    err_clear(&e);
    err_errno(&e, why, "accepting a connection");
    log_event(LOG_WARN, "http", "connections wait: the system gives no more descriptors or memory", "error",
              e.text, NULL);
}

/* False: the system has no descriptor or memory left. */
static bool accept_some(struct acceptor *a, uint32_t listener)
{
    for (int i = 0; i < BURST && a->o.room(a->o.arg); i++) {
        struct sockaddr_storage sa;
        socklen_t n = sizeof sa;
        int fd =
            sys_accept(a->o.listeners[listener], (struct sockaddr *)&sa, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            a->o.take(a->o.arg, listener, fd, (struct sockaddr *)&sa, n);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            note(a, errno);
            return false;
        }
        if (errno == EAGAIN)
            break; /* anything else was that connection's own end */
    }
    return true;
}

static void *run(void *arg)
{
    struct acceptor *a = arg;
    bool pause = false;
    while (!atomic_load(&a->stop)) {
        struct pollfd p[ACCEPT_LISTENERS + 1];
        bool wait = pause || !a->o.room(a->o.arg);
        for (uint32_t i = 0; i < a->o.n; i++)
            p[i] = (struct pollfd){wait ? -1 : a->o.listeners[i], POLLIN, 0};
        p[a->o.n] = (struct pollfd){a->event, POLLIN, 0};
        int n = sys_poll(p, a->o.n + 1, wait ? PAUSE_MS : -1);
        pause = false;
        if (n < 0)
            sys_sleep_ms(PAUSE_MS); /* no memory: not a reason to spin */
        for (uint32_t i = 0; n > 0 && i < a->o.n; i++)
            if (p[i].revents && !accept_some(a, i))
                pause = true;
    }
    return NULL;
}

static void destroy(struct acceptor *a)
{
    if (a->event >= 0)
        close(a->event);
    free(a);
}

int acceptor_start(const struct accept_options *o, struct acceptor **ret, struct err *e)
{
    struct acceptor *a = calloc(1, sizeof *a);
    if (!a)
        return err_set(e, ERR_NOMEM, NULL, "out of memory");
    a->o = *o;
    a->paused = metrics_get(METRIC_COUNTER, "quern_http_accept_paused_total", "",
                            "times that accepting paused for lack of descriptors or memory");
    a->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = a->event < 0 ? errno : 0;
    if (!rc) {
        sigset_t all, old;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        rc = pthread_create(&a->thread, NULL, run, a);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    if (rc) {
        destroy(a);
        return err_errno(e, rc, "starting the accepting thread");
    }
    *ret = a;
    return 0;
}

void acceptor_stop(struct acceptor *a)
{
    if (!a)
        return;
    atomic_store(&a->stop, true);
    sys_event_set(a->event);
    pthread_join(a->thread, NULL);
    destroy(a);
}

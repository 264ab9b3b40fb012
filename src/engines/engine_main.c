/*
 * engine_main: the engine process. Started by the daemon with one socket (descriptor 3), runs one job at a
 * time, ends with it.
 *
 * Life: SETUP is read while the process is empty; the sandbox closes; only then the engine is opened and
 * threads exist; READY; jobs. Job thread: reads frames while it has no job, runs statements (duckdb_run.c).
 * Main thread: sleeps until a job has lasted WATCH_NS; from then to the job's end it reads the frames, sends
 * heartbeats (every 250 ms, whatever the job thread does) and interrupts. So a job that is over at once
 * costs one wake. The daemon's end of the socket closing, a frame out of turn or one that does not decode
 * ends the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engines/duck.h"
#include "engines/render.h"
#include "engines/sandbox.h"
#include "engines/selftest.h"

#define ARENA_CEILING  (1024ull << 20)
#define CANCEL_TICK_MS 20
#define WATCH_NS       2000000

/* Leaks are the daemon's business of killing us; the leak checker would need ptrace, which the sandbox
 * denies. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0:abort_on_error=1";
}

struct worker {
    struct duck *duck;
    struct port port;
    int statm;
    pthread_mutex_t mu;
    pthread_cond_t cv;
    /* locked by mu */
    bool running; /* between JOB and the job's last frame */
    bool watched; /* the main thread reads the socket */
    int64_t began_ms;
};

static struct worker worker;

_Noreturn static void leave(int code)
{
    _exit(code);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t resident(const struct worker *w)
{
    char text[128];
    ssize_t n = w->statm >= 0 ? pread(w->statm, text, sizeof text - 1, 0) : -1;
    if (n <= 0)
        return 0;
    text[n] = 0;
    char *space = strchr(text, ' ');
    return space ? strtoull(space, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static void send_beat(struct worker *w)
{
    struct wire_beat b = {.job = w->port.job, .memory = resident(w)};
    duck_progress(w->duck, &b.rows_scanned, &b.rows_total, &b.permille);
    CLEANUP_BUF struct buf out = BUF_INIT(256);
    if (wire_put_beat(&out, &b) < 0)
        leave(3);
    port_send_beat(&w->port, &out);
}

/* ---- frames ---- */

static void run_job(struct worker *w, const uint8_t *p, uint32_t n)
{
    struct arena *a = arena_new(ARENA_CEILING);
    struct wire_job job;
    if (!a || wire_get_job(p, n, a, &job) < 0)
        leave(2);
    port_begin(&w->port, job.job);
    pthread_mutex_lock(&w->mu);
    w->running = true;
    w->began_ms = now_ms();
    pthread_mutex_unlock(&w->mu);
    port_timer(&w->port, WATCH_NS);
    duck_run(w->duck, &job, a, &w->port);
    pthread_mutex_lock(&w->mu);
    w->running = false;
    port_timer(&w->port, w->watched ? 1 : 0);
    while (w->watched)
        pthread_cond_wait(&w->cv, &w->mu);
    pthread_mutex_unlock(&w->mu);
    arena_free(a);
    duck_between(w->duck);
}

/* What may come at any time. */
static void take(struct worker *w, enum wire_type type, const uint8_t *p, uint32_t n)
{
    uint64_t job = 0;
    uint32_t slot = 0;
    switch (type) {
    case WIRE_MEMFD:
        if (wire_get_memfd(p, n, &job, &slot) < 0 || port_memfd(&w->port, slot) < 0)
            leave(2);
        return;
    case WIRE_CANCEL:
        if (wire_get_cancel(p, n, &job) < 0)
            leave(2);
        port_cancel(&w->port, job);
        return;
    case WIRE_QUIT:
        leave(0);
    default:
        leave(2);
    }
}

static void *job_thread(void *arg)
{
    struct worker *w = arg;
    for (;;) {
        enum wire_type type;
        const uint8_t *p;
        uint32_t n;
        int r = port_read(&w->port, -1, false, &type, &p, &n);
        if (r < 0)
            leave(r == ERR_END ? 0 : 2);
        if (type == WIRE_JOB)
            run_job(w, p, n);
        else
            take(w, type, p, n);
    }
    return NULL;
}

/* ---- watching a job that lasts ---- */

/* Reads for at most one wait. */
static void watch_once(struct worker *w, int64_t *beat_at)
{
    bool cancel = port_canceled(&w->port);
    if (cancel)
        duck_interrupt(w->duck);
    enum wire_type type;
    const uint8_t *p;
    uint32_t n;
    int64_t left = *beat_at - now_ms();
    int wait = cancel ? CANCEL_TICK_MS : left > 0 ? (int)left : 0;
    int r = port_read(&w->port, wait, true, &type, &p, &n);
    if (r == 0 && type == WIRE_JOB) { /* this one's last frame is out: the next is for the job thread */
        port_unread(&w->port);
        port_timer_wait(&w->port);
    } else if (r == 0)
        take(w, type, p, n);
    else if (r != ERR_WOULDBLOCK)
        leave(r == ERR_END ? 0 : 2);
    if (now_ms() >= *beat_at) {
        send_beat(w);
        *beat_at = now_ms() + WIRE_BEAT_MS;
    }
}

static void watch(struct worker *w)
{
    pthread_mutex_lock(&w->mu);
    w->watched = w->running;
    int64_t beat_at = w->began_ms + WIRE_BEAT_MS;
    while (w->running) {
        pthread_mutex_unlock(&w->mu);
        port_flush(&w->port);
        watch_once(w, &beat_at);
        pthread_mutex_lock(&w->mu);
    }
    w->watched = false;
    pthread_cond_broadcast(&w->cv);
    pthread_mutex_unlock(&w->mu);
}

static void serve(struct worker *w)
{
    for (;;) {
        port_timer_wait(&w->port);
        watch(w);
    }
}

static void send_fatal(struct port *port, const struct err *e)
{
    struct wire_failed m = {.job = 0, .error = *e, .kind = WIRE_FAIL_FATAL, .reusable = false};
    CLEANUP_BUF struct buf b = BUF_INIT(64 * 1024);
    if (wire_put_failed(&b, &m) == 0)
        port_send(port, &b);
}

static void send_ready(struct port *port, const struct sandbox_level *level)
{
    struct wire_ready m = {WIRE_VERSION, level->landlock_abi, level->seccomp, duck_library()};
    CLEANUP_BUF struct buf b = BUF_INIT(8192);
    if (wire_put_ready(&b, &m) < 0)
        leave(3);
    port_send(port, &b);
}

int main(void)
{
    struct worker *w = &worker;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    enum wire_type type;
    const uint8_t *p;
    uint32_t n;
    struct arena *a = arena_new(16u << 20);
    struct wire_setup setup;
    if (!a || port_init(&w->port, WIRE_FD) < 0 || port_read(&w->port, -1, false, &type, &p, &n) < 0)
        leave(0);
    if (type != WIRE_SETUP || wire_get_setup(p, n, a, &setup) < 0 || setup.version != WIRE_VERSION)
        leave(2);
    struct sandbox_level level;
    struct err e;
    err_clear(&e);
    if (sandbox_enter(&setup, &level, &e) < 0 || (!setup.render && duck_open(&setup, &w->duck, &e) < 0)) {
        send_fatal(&w->port, &e);
        leave(1);
    }
    w->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (port_timer_open(&w->port) < 0)
        leave(1);
    send_ready(&w->port, &level);
    if (setup.render)
        leave(render_serve(&setup, &w->port, w->statm));
    if (setup.selftest)
        leave(selftest(w->duck, &setup, &w->port));
    pthread_mutex_init(&w->mu, NULL);
    pthread_cond_init(&w->cv, NULL);
    pthread_t t;
    if (pthread_create(&t, NULL, job_thread, w) != 0)
        leave(1);
    serve(w);
}

/*
 * admin_server: DIR/admin.sock of a running daemon: one thread that listens, one for each command under way
 * (CLIENTS_MAX), so that a long one (drain, backup) does not keep others out.
 *
 * Invariants: only the daemon's own user and root are listened to (the socket is 0600, and the peer's uid is
 * looked up); a client has ten seconds to say what it wants and ten more to take the answer; DIR/lock is
 * held, so that a socket file that is there already is a dead one. The socket is bound through a descriptor
 * of DIR: a socket's own path may have 107 bytes only.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/json_read.h"
#include "base/json_write.h"
#include "base/log.h"
#include "base/sys_wait.h"
#include "core/admin_int.h"

#define CLIENT_SECONDS 10
#define ARGS_MAX       64u
#define CLIENTS_MAX    8

struct admin_server {
    struct admin_context context;
    int dir, listener, stop; /* stop: eventfd */
    pthread_t thread;
    atomic_bool stopping;
    pthread_mutex_t lock;
    pthread_cond_t fewer;
    int clients; /* guarded by lock */
};

struct client {
    struct admin_server *server;
    int fd;
};

static bool may_speak(int fd)
{
    struct ucred who;
    socklen_t n = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0)
        return false;
    return who.uid == geteuid() || who.uid == 0;
}

/* One line, or what came before the client ended. */
static bool receive(int fd, struct buf *in)
{
    int64_t until = sys_mono_ns() + CLIENT_SECONDS * 1000000000LL;
    while (sys_mono_ns() < until && buf_reserve(in, 4096) == 0) {
        ssize_t n = sys_recv(fd, in->p + in->len, 4096, 0);
        if (n < 0)
            return false;
        if (n == 0)
            return true;
        in->len += (size_t)n;
        if (memchr(in->p + in->len - n, '\n', (size_t)n))
            return true;
    }
    return false;
}

static void send_all(int fd, const char *p, size_t n)
{
    int64_t until = sys_mono_ns() + CLIENT_SECONDS * 1000000000LL;
    while (n > 0 && sys_mono_ns() < until) {
        ssize_t k = sys_send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            return;
        p += k;
        n -= (size_t)k;
    }
}

static int run(struct admin_server *s, const struct buf *in, struct buf *out, struct err *e)
{
    CLEANUP_JSON struct json_doc *d = NULL;
    int rc = json_parse(in->p, in->len, &d, e);
    if (rc)
        return rc;
    json_value list = json_get(json_root(d), "argv");
    char *argv[ARGS_MAX];
    size_t argc = json_size(list);
    if (json_kind(list) != JSON_ARRAY || argc > ARGS_MAX)
        return err_set(e, ERR_INVALID, ADMIN_USAGE, "the request has no argv of at most %u texts", ARGS_MAX);
    size_t n = 0;
    for (; n < argc; n++) {
        size_t len;
        const char *text = json_string(json_at(list, n), &len);
        argv[n] = text ? strndup(text, len) : NULL;
        if (!argv[n])
            break;
    }
    rc = n == argc ? admin_run(&s->context, (int)argc, argv, out, e)
                   : err_set(e, ERR_INVALID, ADMIN_USAGE, "an argument is no text");
    while (n > 0)
        free(argv[--n]);
    return rc;
}

static void answer(struct buf *b, int rc, struct buf *out, const struct err *e)
{
    struct json_write j = JSON_WRITE_INIT(b);
    json_object_begin(&j);
    json_kbool(&j, "ok", rc == 0);
    json_kstr(&j, "out", rc ? "" : buf_str(out));
    json_kstr(&j, "error", rc ? e->text : "");
    json_ki64(&j, "exit", rc == 0 ? 0 : strcmp(e->sqlstate, ADMIN_USAGE) == 0 ? 2 : 1);
    json_object_end(&j);
    buf_char(b, '\n');
}

static void serve_one(struct admin_server *s, int fd)
{
    struct timeval patience = {CLIENT_SECONDS, 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (!may_speak(fd)) {
        log_event(LOG_WARN, "core", "a stranger spoke to the admin socket", NULL);
        return;
    }
    CLEANUP_BUF struct buf in = BUF_INIT(ADMIN_REQUEST_MAX);
    CLEANUP_BUF struct buf out = BUF_INIT(ADMIN_ANSWER_MAX);
    CLEANUP_BUF struct buf reply = BUF_INIT(7 * (size_t)ADMIN_ANSWER_MAX);
    struct err e;
    err_clear(&e);
    if (!receive(fd, &in))
        return;
    int rc = run(s, &in, &out, &e);
    if (rc == ERR_INTERNAL || rc == ERR_IO || rc == ERR_CORRUPT || rc == ERR_UNAVAILABLE)
        log_event(LOG_ERROR, "core", "an admin command failed", "error", e.text, NULL);
    answer(&reply, rc, &out, &e);
    if (!buf_failed(&reply))
        send_all(fd, reply.p, reply.len);
}

static void *client_main(void *arg)
{
    struct client *c = arg;
    struct admin_server *s = c->server;
    pthread_setname_np(pthread_self(), "q-admin-cmd");
    serve_one(s, c->fd);
    close(c->fd);
    free(c);
    pthread_mutex_lock(&s->lock);
    s->clients--;
    pthread_cond_signal(&s->fewer);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Waits while CLIENTS_MAX commands are under way: more stay in the listener's backlog. */
static void hand_over(struct admin_server *s, int fd)
{
    pthread_t thread;
    struct client *c = malloc(sizeof *c);
    pthread_mutex_lock(&s->lock);
    while (s->clients >= CLIENTS_MAX)
        pthread_cond_wait(&s->fewer, &s->lock);
    s->clients++;
    pthread_mutex_unlock(&s->lock);
    if (c)
        *c = (struct client){s, fd};
    if (c && pthread_create(&thread, NULL, client_main, c) == 0) {
        pthread_detach(thread);
        return;
    }
    free(c);
    close(fd);
    pthread_mutex_lock(&s->lock);
    s->clients--;
    pthread_mutex_unlock(&s->lock);
}

static void *server_main(void *arg)
{
    struct admin_server *s = arg;
    pthread_setname_np(pthread_self(), "q-admin");
    for (;;) {
        struct pollfd p[2] = {{s->stop, POLLIN, 0}, {s->listener, POLLIN, 0}};
        if (sys_poll(p, 2, -1) < 0) {
            sys_sleep_ms(100); /* no memory: not the end of all administration */
            continue;
        }
        if (p[0].revents)
            break;
        if (!(p[1].revents & POLLIN))
            continue;
        int fd = sys_accept(s->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            hand_over(s, fd);
        } else if (errno != ECONNABORTED && errno != EAGAIN) {
            sys_sleep_ms(100); /* out of descriptors: not a reason to spin */
        }
    }
    return NULL;
}

static int listen_at(struct admin_server *s, const char *data_dir, struct err *e)
{
    s->dir = sys_open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (s->dir < 0)
        return err_errno(e, errno, "the data folder");
    if (sys_unlinkat(s->dir, ADMIN_SOCKET, 0) < 0 && errno != ENOENT)
        return err_errno(e, errno, "removing an old admin socket");
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "/proc/self/fd/%d/%s", s->dir, ADMIN_SOCKET);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listener < 0 || bind(s->listener, (const struct sockaddr *)&at, sizeof at) < 0)
        return err_errno(e, errno, "the admin socket");
    /* Nobody can connect before listen. */
    if (fchmodat(s->dir, ADMIN_SOCKET, 0600, 0) < 0 || listen(s->listener, 16) < 0)
        return err_errno(e, errno, "the admin socket");
    return 0;
}

static void server_free(struct admin_server *s)
{
    if (s->listener >= 0)
        close(s->listener);
    if (s->dir >= 0)
        close(s->dir);
    if (s->stop >= 0)
        close(s->stop);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->fewer);
    free(s);
}

int admin_server_start(struct admin_context *c, const char *data_dir, struct admin_server **ret,
                       struct err *e)
{
    struct admin_server *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    s->context = *c;
    s->context.stopping = &s->stopping;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->fewer, NULL);
    s->dir = s->listener = -1;
    s->stop = eventfd(0, EFD_CLOEXEC);
    int rc = s->stop < 0 ? err_errno(e, errno, "the admin thread") : listen_at(s, data_dir, e);
    if (!rc && pthread_create(&s->thread, NULL, server_main, s) != 0) {
        (void)sys_unlinkat(s->dir, ADMIN_SOCKET, 0);
        rc = err_set(e, ERR_NOMEM, "53000", "cannot start the admin thread");
    }
    if (rc) {
        server_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void admin_server_stopping(struct admin_server *s)
{
    if (s)
        atomic_store(&s->stopping, true);
}

void admin_server_stop(struct admin_server *s)
{
    if (!s)
        return;
    admin_server_stopping(s);
    sys_event_set(s->stop);
    pthread_join(s->thread, NULL);
    pthread_mutex_lock(&s->lock);
    while (s->clients > 0)
        pthread_cond_wait(&s->fewer, &s->lock);
    pthread_mutex_unlock(&s->lock);
    (void)sys_unlinkat(s->dir, ADMIN_SOCKET, 0);
    server_free(s);
}

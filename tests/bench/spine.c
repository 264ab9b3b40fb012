/*
 * spine: many clients at once, and what they are compared with. See tests/bench/spine.
 *
 *   bench-spine crowd PORT CLIENTS SECONDS <requests   CLIENTS keep-alive connections on one thread, each sends its next request when it has the answer;
 *                                                      requests on stdin, separated by a NUL byte, are sent in turn; prints answers per second
 *   bench-spine group-commit DIR THREADS SECONDS       THREADS that each append 512 bytes to one file and wait until they are on the disk; whoever comes
 *                                                      first writes and syncs for all that wait; prints commits per second
 *
 * Output is one line of JSON. An answer other than 2xx ends it with exit code 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define CLIENTS_MAX  1024
#define REQUESTS_MAX 256
#define ANSWER_MAX   (256 * 1024)

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench-spine: %s (%m)\n", what);
    exit(1);
}

/* ---- crowd ---- */

struct client {
    int fd;
    char *p;
    size_t n;
};

static struct {
    const char *p;
    size_t n;
} requests[REQUESTS_MAX];
static size_t nrequests, next_request;

static void ask(struct client *c)
{
    const char *p = requests[next_request % nrequests].p;
    size_t n = requests[next_request++ % nrequests].n;
    c->n = 0;
    while (n > 0) {
        ssize_t w = write(c->fd, p, n);
        if (w <= 0)
            die("cannot send");
        p += w;
        n -= (size_t)w;
    }
}

/* Is the answer whole? Answers with Content-Length only, and empty ones. */
static bool whole(struct client *c)
{
    c->p[c->n] = 0;
    char *body = strstr(c->p, "\r\n\r\n");
    if (!body)
        return false;
    if (strncmp(c->p, "HTTP/1.1 2", 10) != 0) {
        fprintf(stderr, "bench-spine: %.400s\n", c->p);
        exit(1);
    }
    char *length = strcasestr(c->p, "\r\ncontent-length:");
    size_t want = length && length < body ? strtoull(length + 17, NULL, 10) : 0;
    return c->n >= (size_t)(body + 4 - c->p) + want;
}

static int crowd(const char *port, long n, double seconds)
{
    static struct client clients[CLIENTS_MAX];
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                            .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int ep = epoll_create1(EPOLL_CLOEXEC), one = 1;
    if (ep < 0 || n < 1 || n > CLIENTS_MAX)
        die("no epoll, or too many clients");
    for (long i = 0; i < n; i++) {
        struct client *c = &clients[i];
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        c->p = malloc(ANSWER_MAX + 1);
        if (!c->p || c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a))
            die("cannot connect");
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e))
            die("epoll");
        ask(c);
    }
    int64_t start = bench_now(), warm = start + (int64_t)(seconds * 1e8),
            end = warm + (int64_t)(seconds * 1e9), now = start;
    long answers = 0;
    bool counting = false;
    while (now < end) {
        struct epoll_event events[64];
        int k = epoll_wait(ep, events, 64, 1000);
        now = bench_now();
        if (!counting && now >= warm) {
            counting = true;
            answers = 0;
            warm = now;
        }
        for (int i = 0; i < k; i++) {
            struct client *c = events[i].data.ptr;
            ssize_t r = read(c->fd, c->p + c->n, ANSWER_MAX - c->n);
            if (r <= 0)
                die("the connection ended early");
            c->n += (size_t)r;
            if (!whole(c))
                continue;
            answers++;
            ask(c);
        }
    }
    printf("{\"rate\":%.1f,\"answers\":%ld}\n", (double)answers * 1e9 / (double)(now - warm), answers);
    return 0;
}

/* ---- group commit ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t done;
    int fd;
    long waiting, generation; /* generation: of the batch that is being filled */
    long durable;             /* batches up to this one are on the disk */
    bool syncing;
    bool stop;
    long commits;
} group = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER, .generation = 1};

static void *committer(void *arg)
{
    static char block[512 * CLIENTS_MAX];
    (void)arg;
    pthread_mutex_lock(&group.lock);
    while (!group.stop) {
        long mine = group.generation;
        group.waiting++;
        while (group.durable < mine) {
            if (group.syncing) {
                pthread_cond_wait(&group.done, &group.lock);
                continue;
            }
            group.syncing = true;
            long batch = group.generation++, n = group.waiting;
            group.waiting = 0;
            pthread_mutex_unlock(&group.lock);
            if (write(group.fd, block, (size_t)n * 512) != (ssize_t)(n * 512) || fdatasync(group.fd))
                die("cannot write");
            pthread_mutex_lock(&group.lock);
            group.durable = batch;
            group.commits += n;
            group.syncing = false;
            pthread_cond_broadcast(&group.done);
        }
    }
    pthread_mutex_unlock(&group.lock);
    return NULL;
}

static int group_commit(const char *dir, long n, double seconds)
{
    char path[4096];
    pthread_t threads[CLIENTS_MAX];
    if (n < 1 || n > CLIENTS_MAX)
        die("too many threads");
    (void)snprintf(path, sizeof path, "%s/bench-group-%ld", dir, (long)getpid());
    group.fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (group.fd < 0)
        die("cannot make the file");
    for (long i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, committer, NULL))
            die("cannot start a thread");
    int64_t start = bench_now();
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
    pthread_mutex_lock(&group.lock);
    double rate = (double)group.commits * 1e9 / (double)(bench_now() - start);
    group.stop = true;
    pthread_mutex_unlock(&group.lock);
    for (long i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    printf("{\"rate\":%.1f,\"batch\":%.1f}\n", rate,
           (double)group.commits / (double)(group.durable > 0 ? group.durable : 1));
    close(group.fd);
    unlink(path);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && !strcmp(argv[1], "group-commit"))
        return group_commit(argv[2], atol(argv[3]), atof(argv[4]));
    if (argc != 5 || strcmp(argv[1], "crowd") != 0) {
        fprintf(
            stderr,
            "usage: bench-spine crowd PORT CLIENTS SECONDS <requests | group-commit DIR THREADS SECONDS\n");
        return 2;
    }
    static char text[1 << 20];
    size_t len = fread(text, 1, sizeof text - 1, stdin);
    for (size_t at = 0; at < len && nrequests < REQUESTS_MAX; nrequests++) {
        requests[nrequests].p = text + at;
        requests[nrequests].n = strnlen(text + at, len - at);
        at += requests[nrequests].n + 1;
    }
    if (!nrequests)
        die("no request on stdin");
    return crowd(argv[2], atol(argv[3]), atof(argv[4]));
}

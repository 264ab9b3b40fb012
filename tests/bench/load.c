/*
 * load: a keep-alive HTTP/1.1 client of little weight that measures. Used for both sides of every comparison.
 *
 *   load latency PORT N [WARM] <request    sends the request on stdin (head and body as they are) N times over one connection; prints latencies
 *   load get PORT FILE <request            sends it once, writes the body to FILE ("-": drops it); prints seconds to first and last byte, and bytes
 *   load submit PORT FILE [FORMAT] [wait] <request  the request is a submit of Data 360; then polls the status, then downloads
 *                                          /quern/v1/query/{id}/download?format=FORMAT (csv) into FILE; prints seconds from submit to last byte.
 *                                          With `wait` it does not poll but asks for the file at once, with the parameter wait=600
 *
 * Understands Content-Length and chunked answers. A status other than 2xx ends it with exit code 1 and the
 * answer on stderr.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

static char buffer[BENCH_READ];
static size_t have, at;
static int sock = -1;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "load: %s (%m)\n", what);
    exit(1);
}

static void connect_to(const char *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                            .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int one = 1;
    sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0 || connect(sock, (struct sockaddr *)&a, sizeof a))
        die("cannot connect");
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void send_all(const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(sock, p, n);
        if (w <= 0)
            die("cannot send");
        p += w;
        n -= (size_t)w;
    }
}

static void more(void)
{
    ssize_t r = read(sock, buffer, sizeof buffer);
    if (r <= 0)
        die("the connection ended early");
    at = 0;
    have = (size_t)r;
}

static char next_char(void)
{
    if (at == have)
        more();
    return buffer[at++];
}

/* One line without its CR LF. */
static void read_line(char *line, size_t n)
{
    size_t len = 0;
    for (char c; (c = next_char()) != '\n';)
        if (c != '\r' && len + 1 < n)
            line[len++] = c;
    line[len] = 0;
}

struct answer {
    int status;
    uint64_t bytes;
    char id[64];
    bool first;
    int64_t first_ns;
};

typedef void (*sink_fn)(void *arg, const char *p, size_t n);

static void take(uint64_t n, struct answer *a, sink_fn sink, void *arg)
{
    while (n > 0) {
        if (at == have)
            more();
        size_t part = have - at < n ? have - at : (size_t)n;
        if (sink)
            sink(arg, buffer + at, part);
        at += part;
        n -= part;
        a->bytes += part;
    }
}

/* Reads one answer; the body goes to the sink, for statuses of failure to stderr. */
static struct answer receive(sink_fn sink, void *arg)
{
    static char line[16384];
    struct answer a = {0};
    int64_t length = -1;
    bool chunked = false;
    read_line(line, sizeof line);
    a.first_ns = bench_now();
    a.status = (int)strtol(line + 9, NULL, 10);
    for (;;) {
        read_line(line, sizeof line);
        if (!*line)
            break;
        if (strncasecmp(line, "content-length:", 15) == 0)
            length = atoll(line + 15);
        if (strncasecmp(line, "transfer-encoding:", 18) == 0)
            chunked = strstr(line, "chunked") != NULL;
        const char *id =
            strncasecmp(line, "x-hyperdb-status:", 17) == 0 ? strstr(line, "\"queryId\":\"") : NULL;
        if (id) {
            id += 11;
            (void)snprintf(a.id, sizeof a.id, "%.*s", (int)strcspn(id, "\""), id);
        }
    }
    if (a.status / 100 != 2) {
        fprintf(stderr, "load: status %d: ", a.status);
        if (length > 0) {
            if (at == have)
                more();
            fwrite(buffer + at, 1, have - at, stderr);
        }
        exit(1);
    }
    if (a.status == 204)
        return a;
    if (chunked) {
        for (;;) {
            read_line(line, sizeof line);
            uint64_t n = strtoull(line, NULL, 16);
            take(n, &a, sink, arg);
            read_line(line, sizeof line);
            if (n == 0)
                break;
        }
    } else {
        if (length < 0)
            die("an answer without length");
        take((uint64_t)length, &a, sink, arg);
    }
    return a;
}

static void to_file(void *arg, const char *p, size_t n)
{
    int fd = *(int *)arg;
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w <= 0)
            die("cannot write the file");
        p += w;
        n -= (size_t)w;
    }
}

static int open_file(const char *path)
{
    if (!strcmp(path, "-"))
        return -1;
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        die("cannot make the file");
    return fd;
}

static int latency(const char *request, size_t len, long n, long warm)
{
    struct samples s = samples_new(n);
    for (long i = 0; i < warm + n; i++) {
        int64_t t = bench_now();
        send_all(request, len);
        receive(NULL, NULL);
        if (i >= warm)
            samples_add(&s, bench_now() - t);
    }
    samples_print(&s);
    return 0;
}

static int get(const char *request, size_t len, const char *path)
{
    int fd = open_file(path);
    int64_t t = bench_now();
    send_all(request, len);
    struct answer a = receive(fd >= 0 ? to_file : NULL, &fd);
    printf("{\"seconds\":%.6f,\"first\":%.6f,\"bytes\":%llu}\n", (double)(bench_now() - t) / 1e9,
           (double)(a.first_ns - t) / 1e9, (unsigned long long)a.bytes);
    return 0;
}

struct text {
    char p[4096];
    size_t n;
};

static void to_text(void *arg, const char *p, size_t n)
{
    struct text *t = arg;
    if (n > sizeof t->p - 1 - t->n)
        n = sizeof t->p - 1 - t->n;
    memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = 0;
}

/* The Authorization line of the submit goes into the requests that follow. */
static int submit(const char *request, size_t len, const char *path, const char *format, bool wait)
{
    static char next[4096];
    int fd = open_file(path);
    const char *authorization = strcasestr(request, "authorization:");
    if (!authorization)
        die("the request has no Authorization line");
    int n = (int)strcspn(authorization, "\r\n");
    int64_t t = bench_now();
    send_all(request, len);
    struct answer a = receive(NULL, NULL);
    if (!a.id[0])
        die("the submit's answer has no query id");
    while (!wait) {
        struct text status = {.n = 0};
        int m = snprintf(next, sizeof next,
                         "GET /api/v3/query/%s?waitTimeMs=10000 HTTP/1.1\r\nHost: q\r\n%.*s\r\n\r\n", a.id, n,
                         authorization);
        send_all(next, (size_t)m);
        receive(to_text, &status);
        if (strstr(status.p, "\"FINISHED\"") || strstr(status.p, "\"RESULTS_PRODUCED\""))
            break;
    }
    double done = (double)(bench_now() - t) / 1e9;
    int m = snprintf(next, sizeof next,
                     "GET /quern/v1/query/%s/download?format=%.16s%s HTTP/1.1\r\nHost: q\r\n%.*s\r\n\r\n",
                     a.id, format, wait ? "&wait=600" : "", n, authorization);
    send_all(next, (size_t)m);
    struct answer body = receive(fd >= 0 ? to_file : NULL, &fd);
    printf("{\"seconds\":%.6f,\"finished\":%.6f,\"bytes\":%llu,\"id\":\"%s\"}\n",
           (double)(bench_now() - t) / 1e9, done, (unsigned long long)body.bytes, a.id);
    return 0;
}

int main(int argc, char **argv)
{
    static char request[1 << 20];
    size_t len = argc > 3 ? fread(request, 1, sizeof request - 1, stdin) : 0;
    if (len == 0) {
        fprintf(
            stderr,
            "usage: load latency PORT N [WARM] | get PORT FILE | submit PORT FILE [FORMAT] [wait], with a "
            "request on stdin\n");
        return 2;
    }
    connect_to(argv[2]);
    if (!strcmp(argv[1], "latency"))
        return latency(request, len, atol(argv[3]), argc > 4 ? atol(argv[4]) : 100);
    if (!strcmp(argv[1], "get"))
        return get(request, len, argv[3]);
    if (!strcmp(argv[1], "submit"))
        return submit(request, len, argv[3], argc > 4 ? argv[4] : "csv",
                      argc > 5 && !strcmp(argv[5], "wait"));
    return 2;
}

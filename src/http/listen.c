/*
 * listen: see listen.h.
 */
#include "http/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "http/peers.h"

/* The address; its host as text. The caller frees *ret. */
static int find(const char *key, const char *listen_at, bool plain, char host[256], bool *ret_brackets,
                struct addrinfo **ret, struct err *e)
{
    const char *colon = strrchr(listen_at, ':');
    size_t hn = colon ? (size_t)(colon - listen_at) : 0;
    if (!colon || hn == 0 || hn >= 256)
        return err_set(e, ERR_INVALID, NULL, "%s: \"%s\" is not HOST:PORT", key, listen_at);
    bool brackets = listen_at[0] == '[' && listen_at[hn - 1] == ']';
    memcpy(host, listen_at + brackets, hn - 2 * (size_t)brackets);
    host[hn - 2 * (size_t)brackets] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *found = NULL;
    /* the resolver would take 65616 for 80 */
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits > 5 || (digits == 5 && strcmp(colon + 1, "65535") > 0) ||
        getaddrinfo(host, colon + 1, &hints, &found) != 0 || !found)
        return err_set(e, ERR_INVALID, NULL, "%s: \"%s\" is no address with a port number", key, listen_at);
    unsigned char bytes[16];
    if (plain && !config.http_plain_non_loopback && !peers_address(found->ai_addr, bytes, NULL, 0)) {
        freeaddrinfo(found);
        return err_set(e, ERR_INVALID, NULL,
                       "http.listen: plain HTTP on an address that is not loopback needs "
                       "http.plain_non_loopback = yes, or TLS "
                       "(http.tls_certificate, http.tls_key)");
    }
    *ret_brackets = brackets;
    *ret = found;
    return 0;
}

int listen_check(const char *key, const char *listen_at, bool plain, struct err *e)
{
    char host[256];
    bool brackets;
    struct addrinfo *found;
    int rc = find(key, listen_at, plain, host, &brackets, &found, e);
    if (!rc)
        freeaddrinfo(found);
    return rc;
}

int listen_open(const char *key, const char *listen_at, bool plain, int *ret_fd, char *ret_address, size_t n,
                struct err *e)
{
    char host[256];
    bool brackets;
    struct addrinfo *found;
    int one = 1, rc = find(key, listen_at, plain, host, &brackets, &found, e);
    if (rc)
        return rc;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) ||
        bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, 4096))
        rc = err_errno(e, errno, "listening");
    freeaddrinfo(found);
    struct sockaddr_storage at;
    socklen_t at_len = sizeof at;
    if (!rc && getsockname(fd, (struct sockaddr *)&at, &at_len))
        rc = err_errno(e, errno, "listening");
    if (rc) {
        if (fd >= 0)
            close(fd);
        return rc;
    }
    unsigned port = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                                   : ((struct sockaddr_in *)&at)->sin_port);
    snprintf(ret_address, n, brackets ? "[%s]:%u" : "%s:%u", host, port);
    *ret_fd = fd;
    return 0;
}

/* Connections leave descriptors to engines, the spool and the registry: a quarter of the limit, 64 to 1024. */
int64_t listen_connections(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur > (rlim_t)1 << 30)
        return config.http_max_connections;
    int64_t all = (int64_t)l.rlim_cur, spare = all / 4 < 64 ? 64 : all / 4 > 1024 ? 1024 : all / 4;
    int64_t most = all > spare + 16 ? all - spare : 16;
    return most < config.http_max_connections ? most : config.http_max_connections;
}

void listen_raise_descriptors(void)
{
    struct rlimit l;
    rlim_t want = (rlim_t)config.http_max_connections + 1024;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < want) {
        l.rlim_cur = l.rlim_max < want ? l.rlim_max : want;
        if (setrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur < want)
            log_event(LOG_WARN, "http", "the limit of open files is below http.max_connections", NULL);
    }
}

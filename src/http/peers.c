/*
 * peers: see peers.h. A chained table under one mutex. An entry exists while its count is not zero, so the
 * table is bounded by the connections.
 */
#include "http/peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024u

struct peer {
    struct peer *next;
    unsigned char address[16];
    int64_t count;
};
struct peers {
    pthread_mutex_t lock;
    struct peer *buckets[BUCKETS];
};

struct peers *peers_new(void)
{
    struct peers *p = calloc(1, sizeof *p);
    if (p)
        pthread_mutex_init(&p->lock, NULL);
    return p;
}

void peers_free(struct peers *p)
{
    if (!p)
        return;
    for (uint32_t i = 0; i < BUCKETS; i++)
        while (p->buckets[i]) {
            struct peer *next = p->buckets[i]->next;
            free(p->buckets[i]);
            p->buckets[i] = next;
        }
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static struct peer **find(struct peers *p, const unsigned char a[16])
{
    uint32_t h = 2166136261u;
    for (int i = 0; i < 16; i++)
        h = (h ^ a[i]) * 16777619u;
    struct peer **at = &p->buckets[h % BUCKETS];
    while (*at && memcmp((*at)->address, a, 16) != 0)
        at = &(*at)->next;
    return at;
}

bool peers_full(struct peers *p, const unsigned char address[16], int64_t most)
{
    pthread_mutex_lock(&p->lock);
    struct peer *e = *find(p, address);
    bool full = e && e->count >= most;
    pthread_mutex_unlock(&p->lock);
    return full;
}

bool peers_add(struct peers *p, const unsigned char address[16], int64_t most)
{
    pthread_mutex_lock(&p->lock);
    struct peer **at = find(p, address);
    if (!*at && (*at = calloc(1, sizeof **at)))
        memcpy((*at)->address, address, 16);
    bool room = *at && (!most || (*at)->count < most);
    if (room)
        (*at)->count++;
    pthread_mutex_unlock(&p->lock);
    return room;
}

void peers_remove(struct peers *p, const unsigned char address[16])
{
    pthread_mutex_lock(&p->lock);
    struct peer **at = find(p, address), *e = *at;
    if (e && --e->count <= 0) {
        *at = e->next;
        free(e);
    }
    pthread_mutex_unlock(&p->lock);
}

bool peers_address(const struct sockaddr *sa, unsigned char address[16], char *text, size_t n)
{
    memset(address, 0, 16);
    if (text && n)
        text[0] = '\0';
    if (sa && sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        address[10] = address[11] = 0xff;
        memcpy(address + 12, &in.sin_addr, 4);
        if (text)
            inet_ntop(AF_INET, &in.sin_addr, text, (socklen_t)n);
        return address[12] == 127;
    }
    if (sa && sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        memcpy(address, &in6.sin6_addr, 16);
        if (text)
            inet_ntop(AF_INET6, &in6.sin6_addr, text, (socklen_t)n);
        return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr) && address[12] == 127);
    }
    return false;
}

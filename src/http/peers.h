/* peers: open connections per address (behind trusted proxies: requests), for http.per_peer. Any thread. */
#ifndef QUERN_HTTP_PEERS_H
#define QUERN_HTTP_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct peers;

struct peers *peers_new(void);
void peers_free(struct peers *p);
bool peers_full(struct peers *p, const unsigned char address[16], int64_t most);
/* False: there are `most` already (0: no limit), or out of memory; not counted. */
bool peers_add(struct peers *p, const unsigned char address[16], int64_t most);
void peers_remove(struct peers *p, const unsigned char address[16]);
/* The address as 16 bytes (IPv4 as mapped); text into out when not NULL; true for loopback. Other families:
 * zeros, not loopback. */
bool peers_address(const struct sockaddr *sa, unsigned char address[16], char *text, size_t n);

#endif

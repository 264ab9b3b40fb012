/* proxy: which peers may speak for others (http.trusted_proxies), and for whom they do. Pure, read only after
 * proxies_parse; any thread. */
#ifndef QUERN_HTTP_PROXY_H
#define QUERN_HTTP_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct proxies;

/* Addresses and networks (ADDRESS/BITS), divided by commas or blanks. "" gives NULL, which has nobody. */
int proxies_parse(const char *text, struct proxies **ret, struct err *e) MUST_USE;
void proxies_free(struct proxies *p);
bool proxies_has(const struct proxies *p, const unsigned char address[16]);

enum forward_kind { FORWARD_X /* X-Forwarded-For: addresses */, FORWARD_RFC7239 /* Forwarded: for=...; */ };
/* The client that a trusted peer names: the last address in the header lines (in the order in which they
 * came) that is not a trusted proxy itself, or the first of all when every one is. False: none, or something
 * that is no address stands in the way. */
bool forwarded_client(const struct proxies *p, enum forward_kind kind, const char *const *lines, uint32_t n,
                      unsigned char ret[16]);
/* An address as text: IPv4, IPv6, each with or without a port ("1.2.3.4:5", "[::1]:5"), as 16 bytes. */
bool address_parse(const char *s, size_t n, unsigned char ret[16]);
void address_text(const unsigned char address[16], char *out, size_t n);

#endif

/*
 * guard: what the HTTP library accepts and we do not. Pure functions; any thread. docs/http.md, "Framing".
 *
 * One `struct guard` is fed all header lines of one request in the order in which they came. It refuses what
 * two parsers could read differently (request smuggling), and remembers the few facts about framing that the
 * rest of the room needs. Once refused it stays refused.
 */
#ifndef QUERN_HTTP_GUARD_H
#define QUERN_HTTP_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUARD_HEADERS_MAX    100
#define GUARD_REQUEST_ID_MAX 64

struct guard {
    const char *why; /* NULL: fine; else what is wrong, constant text */
    uint32_t headers;
    uint32_t seen; /* bits of headers that may come once */
    bool has_length, chunked, expect_continue, encoded, forwarded, ranged;
    uint64_t length; /* of the body, when has_length */
    const char *gap; /* where the line before ended; NULL unknown */
};

/* `line_end` is the end of the request line's text in the receive buffer (NULL: do not check how lines end). */
void guard_begin(struct guard *g, const char *line_end);
/* The ends of the request line's target and the beginning of its version, in the receive buffer: between them is one
 * blank. */
void guard_line(struct guard *g, const char *target_end, const char *version);
/* One header line. False when the request must be refused (g->why). name[name_len] and value[value_len] are
 * NUL. */
bool guard_header(struct guard *g, const char *name, size_t name_len, const char *value, size_t value_len);
/* After the last line. */
bool guard_end(struct guard *g, bool http_1_1);
/* Control characters, blanks or bytes above 0x7e in a request target. */
bool guard_target_ok(const char *target);
bool guard_request_id_ok(const char *id);

enum range_verdict { RANGE_NONE /* ignore it: the whole */, RANGE_ONE, RANGE_UNSATISFIABLE };
/* A Range header against a body of `total` bytes: one byte range only. */
enum range_verdict guard_range(const char *value, uint64_t total, uint64_t *ret_off, uint64_t *ret_len);
/* Does an If-None-Match or If-Match list name this (quoted) tag? Weak comparison when weak. */
bool guard_etag_listed(const char *list, const char *etag, bool weak);

/* Percent-decodes n bytes of s into out (n + 1 bytes). Returns the length, or -1 for a bad escape or a NUL.
 * plus: '+' is a blank. */
int64_t guard_unescape(const char *s, size_t n, bool plus, char *out);

#endif

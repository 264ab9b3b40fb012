/* cors: which web pages of other origins may read our answers (http.cors_origins). Pure, read only after
 * cors_parse; any thread. docs/http.md, "Origins". */
#ifndef QUERN_HTTP_CORS_H
#define QUERN_HTTP_CORS_H

#include <stdbool.h>

#include "base/err.h"

#define CORS_EXPOSED                                                                                         \
    "x-hyperdb-status, status, Retry-After, X-Request-Id, Content-Disposition, Content-Range, ETag, "        \
    "Location"
#define CORS_MAX_AGE "600"

struct cors;

/* Exact origins (SCHEME://HOST[:PORT], "null") divided by commas or blanks, or "*" alone. "" gives NULL:
 * nobody. */
int cors_parse(const char *text, struct cors **ret, struct err *e) MUST_USE;
void cors_free(struct cors *c);
bool cors_any(const struct cors *c); /* "*" */
bool cors_allows(const struct cors *c, const char *origin);
/* The text may stand in Access-Control-Allow-Headers: header names, commas and blanks, at most 1024 bytes. */
bool cors_headers_ok(const char *text);

#endif

/*
 * Header lines as the library hands them over (parsed in place), request targets, ranges, tags, credentials:
 * nothing may crash, and what the guard lets pass must keep its promises.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http/auth.h"
#include "http/guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(x) ((x) ? (void)0 : abort())

static void credentials(const char *text)
{
    static struct auth_parts parts;
    struct auth_headers h = {text, NULL, NULL}, k = {NULL, text, text};
    for (int kind = CREDENTIAL_KAKAO; kind <= CREDENTIAL_ANY; kind++) {
        if (auth_parse((enum credential)kind, &h, &parts) == AUTH_PARSED)
            MUST(parts.key_len > 0 && parts.key_len + parts.secret_len <= AUTH_MAX &&
                 parts.text[parts.key_len + parts.secret_len] == 0);
        (void)auth_parse((enum credential)kind, &k, &parts);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 8192)
        return 0;
    /* "HTTP/1.1" CR LF, then the input, then room as the receive pool has. */
    char *room = malloc(size + 32), *at = room + 8, *end = room + 10 + size;
    MUST(room);
    memset(room, 0, size + 32);
    memcpy(room, "HTTP/1.1", 8);
    memcpy(room + 10, data, size);
    credentials(room + 10);
    struct guard g;
    uint32_t lengths = 0, encodings = 0;
    guard_begin(&g, at);
    for (at += 2; at < end;) {
        char *lf = memchr(at, '\n', (size_t)(end - at));
        if (!lf)
            break;
        char *stop = lf > at && lf[-1] == '\r' ? lf - 1 : lf;
        memset(stop, 0, (size_t)(lf + 1 - stop));
        if (stop == at)
            break;
        char *colon = strchr(at, ':');
        if (!colon)
            break;
        char *value = colon + 1;
        *colon = 0;
        while (*value == ' ' || *value == '\t')
            value++;
        if (guard_header(&g, at, strlen(at), value, strlen(value))) {
            lengths += strcasecmp(at, "Content-Length") == 0;
            encodings += strcasecmp(at, "Transfer-Encoding") == 0;
            uint64_t off = 0, len = 0;
            if (guard_range(value, 1000, &off, &len) == RANGE_ONE)
                MUST(len > 0 && off + len <= 1000);
            (void)guard_etag_listed(value, "\"a\"", true);
            if (guard_request_id_ok(value))
                MUST(strlen(value) <= GUARD_REQUEST_ID_MAX);
            credentials(value);
        }
        at = lf + 1;
    }
    if (guard_end(&g, true))
        MUST(lengths + encodings <= 1 && !(g.chunked && g.has_length));
    char *out = malloc(size + 1);
    MUST(out);
    int64_t n = guard_unescape((const char *)data, size, size & 1, out);
    MUST(n < 0 || ((size_t)n <= size && strlen(out) == (size_t)n));
    free(out);
    free(room);
    return 0;
}

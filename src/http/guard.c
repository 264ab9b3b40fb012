/*
 * guard: see guard.h. Framing rules, byte ranges, escapes: pure functions on bytes from outside. Fuzzed
 * (tests/fuzz/http_guard.c).
 *
 * How line ends are checked without seeing the raw bytes: the library parses in place. It ends a name or
 * value by a NUL where ':' or CR LF stood, so the next line begins exactly two bytes after the end of the
 * last value. A bare LF leaves one byte, a NUL inside a value or a folded line leaves more or moves the text
 * elsewhere. Anything but two is refused.
 */
#include "http/guard.h"

#include <string.h>
#include <strings.h>

#include "base/hex.h"

enum {
    ONCE_LENGTH = 1,
    ONCE_ENCODING = 2,
    ONCE_HOST = 4,
    ONCE_AUTH = 8,
    ONCE_KAKAO_ID = 16,
    ONCE_KAKAO_SECRET = 32,
    ONCE_TYPE = 64,
    ONCE_EXPECT = 128,
    ONCE_IDEMPOTENCY = 256
};

static bool refuse(struct guard *g, const char *why)
{
    if (!g->why)
        g->why = why;
    return false;
}

void guard_begin(struct guard *g, const char *line_end)
{
    memset(g, 0, sizeof *g);
    g->gap = line_end;
}

void guard_line(struct guard *g, const char *target_end, const char *version)
{
    if (target_end && version != target_end + 1)
        refuse(g, "the request line holds a NUL or more than one blank");
}

static bool token_char(unsigned char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return true;
    return c && strchr("!#$%&'*+-.^_`|~", c);
}

static bool is(const char *name, size_t n, const char *want)
{
    return n == strlen(want) && strncasecmp(name, want, n) == 0;
}

static bool once(struct guard *g, uint32_t bit, const char *why)
{
    if (g->seen & bit)
        return refuse(g, why);
    g->seen |= bit;
    return true;
}

static bool content_length(struct guard *g, const char *v, size_t n)
{
    if (!once(g, ONCE_LENGTH, "Content-Length is given more than once"))
        return false;
    if (n == 0 || n > 18)
        return refuse(g, "Content-Length is not a number");
    uint64_t length = 0;
    for (size_t i = 0; i < n; i++) {
        if (v[i] < '0' || v[i] > '9')
            return refuse(g, "Content-Length is not a number");
        length = length * 10 + (uint64_t)(v[i] - '0');
    }
    g->has_length = true;
    g->length = length;
    return true;
}

bool guard_header(struct guard *g, const char *name, size_t nn, const char *value, size_t vn)
{
    if (g->why)
        return false;
    if (++g->headers > GUARD_HEADERS_MAX)
        return refuse(g, "more than 100 headers");
    if (g->gap) {
        if (name != g->gap + 2)
            return refuse(g, "a header line is folded, holds a NUL or is not ended by CR LF");
        g->gap = value + vn;
    }
    if (nn == 0)
        return refuse(g, "a header has no name");
    for (size_t i = 0; i < nn; i++)
        if (!token_char((unsigned char)name[i]))
            return refuse(
                g, "a header name holds a blank, a control or another character that names may not have");
    for (size_t i = 0; i < vn; i++) {
        unsigned char c = (unsigned char)value[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return refuse(g, "a header value holds a control character");
    }
    size_t as_sent = vn;
    while (vn && (value[vn - 1] == ' ' || value[vn - 1] == '\t'))
        vn--;
    switch (name[0] | 0x20) {
    case 'a':
        if (is(name, nn, "Authorization"))
            return once(g, ONCE_AUTH, "Authorization is given more than once");
        break;
    case 'c':
        if (is(name, nn, "Content-Length"))
            return content_length(g, value, vn);
        if (is(name, nn, "Content-Type"))
            return once(g, ONCE_TYPE, "Content-Type is given more than once");
        if (is(name, nn, "Content-Encoding") && vn && !is(value, vn, "identity"))
            g->encoded = true;
        if (is(name, nn, "Credential-ID"))
            return once(g, ONCE_KAKAO_ID, "Credential-ID is given more than once");
        if (is(name, nn, "Credential-Secret"))
            return once(g, ONCE_KAKAO_SECRET, "Credential-Secret is given more than once");
        break;
    case 'e':
        if (is(name, nn, "Expect")) {
            if (!once(g, ONCE_EXPECT, "Expect is given more than once"))
                return false;
            g->expect_continue = is(value, vn, "100-continue");
        }
        break;
    case 'f':
        if (is(name, nn, "Forwarded"))
            g->forwarded = true;
        break;
    case 'h':
        if (is(name, nn, "Host"))
            return once(g, ONCE_HOST, "Host is given more than once");
        break;
    case 'i':
        if (is(name, nn, "Idempotency-Key"))
            return once(g, ONCE_IDEMPOTENCY, "Idempotency-Key is given more than once");
        break;
    case 'r':
        if (is(name, nn, "Range"))
            g->ranged = true;
        break;
    case 't':
        if (is(name, nn, "Transfer-Encoding")) {
            if (!once(g, ONCE_ENCODING, "Transfer-Encoding is given more than once"))
                return false;
            if (!is(value, as_sent, "chunked")) /* with a blank behind it the library reads to the end */
                return refuse(g, "Transfer-Encoding is not \"chunked\"");
            g->chunked = true;
        }
        break;
    case 'x':
        if ((nn > 12 && strncasecmp(name, "X-Forwarded-", 12) == 0) || is(name, nn, "X-Real-IP"))
            g->forwarded = true;
        break;
    default:
        break;
    }
    return true;
}

bool guard_end(struct guard *g, bool http_1_1)
{
    if (g->why)
        return false;
    if (g->gap && g->headers && (g->gap[0] || g->gap[1] || g->gap[2] || g->gap[3]))
        return refuse(g, "the header block is not ended by CR LF");
    if (g->chunked && g->has_length)
        return refuse(g, "Content-Length and Transfer-Encoding together");
    if (g->chunked && !http_1_1)
        return refuse(g, "Transfer-Encoding in HTTP/1.0");
    return true;
}

bool guard_target_ok(const char *target)
{
    for (const unsigned char *p = (const unsigned char *)target; *p; p++)
        if (*p <= 0x20 || *p >= 0x7f)
            return false;
    return true;
}

bool guard_request_id_ok(const char *id)
{
    size_t n = strlen(id);
    if (n == 0 || n > GUARD_REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = id[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
              c == '_' || c == '-'))
            return false;
    }
    return true;
}

/* Digits of at most 18 places; false when there is none or too many. */
static bool number(const char **p, uint64_t *ret)
{
    const char *s = *p;
    uint64_t v = 0;
    while (*s >= '0' && *s <= '9' && s - *p < 18)
        v = v * 10 + (uint64_t)(*s++ - '0');
    if (s == *p || (*s >= '0' && *s <= '9'))
        return false;
    *p = s;
    *ret = v;
    return true;
}

enum range_verdict guard_range(const char *value, uint64_t total, uint64_t *ret_off, uint64_t *ret_len)
{
    uint64_t first, last;
    if (strncasecmp(value, "bytes=", 6) != 0)
        return RANGE_NONE;
    const char *p = value + 6;
    while (*p == ' ')
        p++;
    if (*p == '-') { /* the last n bytes */
        p++;
        if (!number(&p, &last))
            return RANGE_NONE;
        if (last > total)
            last = total;
        first = total - last;
        if (last == 0) {
            while (*p == ' ')
                p++;
            return *p ? RANGE_NONE : RANGE_UNSATISFIABLE;
        }
        last = total - 1;
    } else {
        if (!number(&p, &first) || *p != '-')
            return RANGE_NONE;
        p++;
        if (*p >= '0' && *p <= '9') {
            if (!number(&p, &last) || last < first)
                return RANGE_NONE;
        } else {
            last = UINT64_MAX;
        }
    }
    while (*p == ' ')
        p++;
    if (*p) /* several ranges, or junk: the whole is a right answer */
        return RANGE_NONE;
    if (first >= total)
        return RANGE_UNSATISFIABLE;
    if (last >= total)
        last = total - 1;
    *ret_off = first;
    *ret_len = last - first + 1;
    return RANGE_ONE;
}

bool guard_etag_listed(const char *list, const char *etag, bool weak)
{
    size_t n = strlen(etag);
    const char *p = list;
    for (;;) {
        while (*p == ' ' || *p == '\t' || *p == ',')
            p++;
        if (!*p)
            return false;
        if (*p == '*')
            return true;
        bool is_weak = p[0] == 'W' && p[1] == '/';
        if (is_weak)
            p += 2;
        if (*p != '"')
            return false;
        const char *end = strchr(p + 1, '"');
        if (!end)
            return false;
        if ((size_t)(end + 1 - p) == n && memcmp(p, etag, n) == 0 && (weak || !is_weak))
            return true;
        p = end + 1;
    }
}

int64_t guard_unescape(const char *s, size_t n, bool plus, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (c == '%') {
            if (n - i < 3)
                return -1;
            int high = hex_digit(s[i + 1]), low = hex_digit(s[i + 2]);
            if (high < 0 || low < 0)
                return -1;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (!c)
            return -1;
        out[len++] = c;
    }
    out[len] = '\0';
    return (int64_t)len;
}

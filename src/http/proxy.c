/*
 * proxy: see proxy.h.
 *
 * Lists are read from their end: what is nearest to us was written by whom we trust, what is further left by
 * whoever they trusted. Quotes in `Forwarded` do not hide commas here, so that an open quote sent by a client
 * swallows nothing of what a proxy added.
 */
#include "http/proxy.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PROXIES_MAX 256u
#define HOPS_MAX    32

struct network {
    unsigned char address[16];
    unsigned bits;
};
struct proxies {
    uint32_t n;
    struct network all[PROXIES_MAX];
};

static bool plain_address(const char *s, size_t n, unsigned char ret[16])
{
    char text[64];
    if (n == 0 || n >= sizeof text)
        return false;
    memcpy(text, s, n);
    text[n] = '\0';
    if (inet_pton(AF_INET6, text, ret) == 1)
        return true;
    unsigned char four[4];
    if (inet_pton(AF_INET, text, four) != 1)
        return false;
    memset(ret, 0, 10);
    ret[10] = ret[11] = 0xff;
    memcpy(ret + 12, four, 4);
    return true;
}

static bool port_ok(const char *s, size_t n)
{
    if (n < 2 || n > 6 || *s != ':')
        return false;
    for (size_t i = 1; i < n; i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    return true;
}

bool address_parse(const char *s, size_t n, unsigned char ret[16])
{
    if (n && *s == '[') {
        const char *end = memchr(s, ']', n);
        if (!end)
            return false;
        size_t rest = n - (size_t)(end + 1 - s);
        return (rest == 0 || port_ok(end + 1, rest)) && memchr(s, ':', n) &&
               plain_address(s + 1, (size_t)(end - s) - 1, ret);
    }
    const char *colon = n ? memchr(s, ':', n) : NULL;
    if (colon && !memchr(colon + 1, ':', n - (size_t)(colon + 1 - s))) { /* one colon: IPv4 with a port */
        if (!port_ok(colon, n - (size_t)(colon - s)))
            return false;
        n = (size_t)(colon - s);
    }
    return plain_address(s, n, ret);
}

void address_text(const unsigned char a[16], char *out, size_t n)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    bool four = memcmp(a, mapped, sizeof mapped) == 0;
    if (!inet_ntop(four ? AF_INET : AF_INET6, four ? a + 12 : a, out, (socklen_t)n) && n)
        out[0] = '\0';
}

static int parse_one(const char *s, size_t n, struct network *ret, struct err *e)
{
    const char *slash = memchr(s, '/', n);
    size_t len = slash ? (size_t)(slash - s) : n;
    bool four = !memchr(s, ':', len);
    unsigned most = four ? 32 : 128, bits = most;
    bool good = plain_address(s, len, ret->address);
    if (good && slash) {
        size_t digits = n - len - 1;
        bits = 0;
        good = digits > 0 && digits <= 3;
        for (size_t i = 0; good && i < digits; i++) {
            good = slash[1 + i] >= '0' && slash[1 + i] <= '9';
            bits = bits * 10 + (unsigned)(slash[1 + i] - '0');
        }
        good = good && bits <= most;
    }
    if (!good)
        return err_set(e, ERR_INVALID, NULL,
                       "http.trusted_proxies: \"%.*s\" is no address and no ADDRESS/BITS", (int)n, s);
    ret->bits = bits + (four ? 96 : 0);
    return 0;
}

int proxies_parse(const char *text, struct proxies **ret, struct err *e)
{
    struct proxies *p = NULL;
    for (const char *s = text; *(s += strspn(s, ", \t"));) {
        size_t n = strcspn(s, ", \t");
        if (!p && !(p = calloc(1, sizeof *p)))
            return err_set(e, ERR_NOMEM, NULL, "out of memory");
        int rc = p->n < PROXIES_MAX
                     ? parse_one(s, n, &p->all[p->n], e)
                     : err_set(e, ERR_INVALID, NULL, "http.trusted_proxies: more than %u", PROXIES_MAX);
        if (rc) {
            free(p);
            return rc;
        }
        p->n++;
        s += n;
    }
    *ret = p;
    return 0;
}

void proxies_free(struct proxies *p)
{
    free(p);
}

bool proxies_has(const struct proxies *p, const unsigned char a[16])
{
    for (uint32_t i = 0; p && i < p->n; i++) {
        const struct network *w = &p->all[i];
        unsigned bytes = w->bits / 8, rest = w->bits % 8;
        if (memcmp(a, w->address, bytes) == 0 &&
            (!rest || ((a[bytes] ^ w->address[bytes]) >> (8 - rest)) == 0))
            return true;
    }
    return false;
}

static void trim(const char **s, size_t *n)
{
    while (*n && (**s == ' ' || **s == '\t' || **s == '"'))
        ++*s, --*n;
    while (*n && ((*s)[*n - 1] == ' ' || (*s)[*n - 1] == '\t' || (*s)[*n - 1] == '"'))
        --*n;
}

/* The value of for= in one element of `Forwarded`. */
static bool for_of(const char **s, size_t *n)
{
    const char *p = *s, *end = p + *n;
    while (p < end) {
        const char *semi = memchr(p, ';', (size_t)(end - p)), *stop = semi ? semi : end;
        while (p < stop && (*p == ' ' || *p == '\t'))
            p++;
        if (stop - p > 4 && strncasecmp(p, "for=", 4) == 0) {
            *s = p + 4;
            *n = (size_t)(stop - p) - 4;
            return true;
        }
        p = semi ? semi + 1 : end;
    }
    return false;
}

bool forwarded_client(const struct proxies *p, enum forward_kind kind, const char *const *lines, uint32_t n,
                      unsigned char ret[16])
{
    bool found = false;
    int hops = 0;
    while (n) {
        const char *line = lines[--n];
        size_t len = strlen(line);
        for (;;) {
            size_t from = len;
            while (from && line[from - 1] != ',')
                from--;
            const char *s = line + from;
            size_t sn = len - from;
            unsigned char a[16];
            trim(&s, &sn);
            if (kind == FORWARD_RFC7239 && for_of(&s, &sn))
                trim(&s, &sn);
            else if (kind == FORWARD_RFC7239)
                sn = 0;
            if (!address_parse(s, sn, a) || ++hops > HOPS_MAX)
                return false;
            memcpy(ret, a, sizeof a);
            found = true;
            if (!proxies_has(p, a))
                return true;
            if (!from)
                break;
            len = from - 1;
        }
    }
    return found;
}

/*
 * batch_check: the trust border between an engine process, which may have been taken over, and the daemon.
 *
 * Reads every byte of a body that later code relies on, once, in place. The caller guarantees that [body,
 * body + ix->body_len) is readable and cannot change any more (a sealed memfd), and that ix came from
 * batch_index_read with the same schema. After it passed:
 *   - offsets start at 0, never fall, and end at the length of their data or child;
 *   - text is valid UTF-8, value by value;
 *   - non-NULL dates are whole days or infinite, times lie within a day, decimals within their precision;
 *   - NULL counts are true, padding is zero.
 * What lies under a NULL is not looked at, and nobody prints it. Pure; any thread.
 */
#include <string.h>

#include "base/utf8.h"
#include "encoders/batch.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define DAY_MS INT64_C(86400000)
#define DAY_US INT64_C(86400000000)

__extension__ typedef __int128 i128;

struct check {
    const struct batch_index *ix;
    const uint8_t *body;
    struct err *e;
};

static int lie(const struct check *k, const char *what, const struct column *c)
{
    return err_set(k->e, ERR_CORRUPT, "XX001", "bad batch: %s, column %s", what, c->name ? c->name : "");
}

/* Length of the ASCII-only front; most text columns are ASCII to the end. */
static size_t ascii_prefix(const char *s, size_t n)
{
    size_t i = 0;
#ifdef __SSE2__
    for (; n - i >= 64; i += 64) {
        const __m128i *p = (const __m128i *)(const void *)(s + i);
        __m128i a = _mm_or_si128(_mm_loadu_si128(p), _mm_loadu_si128(p + 1));
        __m128i b = _mm_or_si128(_mm_loadu_si128(p + 2), _mm_loadu_si128(p + 3));
        if (_mm_movemask_epi8(_mm_or_si128(a, b)))
            break;
    }
#endif
    while (i < n && !((uint8_t)s[i] & 0x80))
        i++;
    return i;
}

static uint64_t ones(const uint8_t *bits, uint64_t n)
{
    uint64_t sum = 0, i = 0, w;
    for (; n - i >= 64; i += 64) {
        memcpy(&w, bits + i / 8, 8);
        sum += (uint64_t)__builtin_popcountll(w);
    }
    for (; i < n; i++)
        sum += (unsigned)(bits[i / 8] >> (i & 7)) & 1u;
    return sum;
}

static bool is_null(const uint8_t *validity, uint64_t i)
{
    return validity && !((validity[i >> 3] >> (i & 7)) & 1);
}

/* n + 1 offsets. */
static bool monotonic(const uint8_t *p, uint64_t n)
{
    uint64_t i = 0;
#ifdef __SSE2__
    __m128i bad = _mm_setzero_si128();
    for (; n - i >= 4; i += 4) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(p + 4 * i));
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p + 4 * i + 4));
        bad = _mm_or_si128(bad, _mm_cmpgt_epi32(a, b));
    }
    if (_mm_movemask_epi8(bad))
        return false;
#endif
    for (; i < n; i++) {
        int32_t a, b;
        memcpy(&a, p + 4 * i, 4);
        memcpy(&b, p + 4 * i + 4, 4);
        if (a > b)
            return false;
    }
    return true;
}

/* target: what the last offset must be. */
static int check_offsets(const struct check *k, const struct column *c, uint64_t target)
{
    const uint8_t *p = k->body + k->ix->buffers[c->first_buffer + 1].offset;
    uint64_t n = k->ix->nodes[c->node].length;
    int32_t first, last;
    memcpy(&first, p, 4);
    memcpy(&last, p + 4 * n, 4);
    if (first != 0 || last < 0 || (uint64_t)last != target || !monotonic(p, n))
        return lie(k, "offsets", c);
    return 0;
}

static int check_text(const struct check *k, const struct column *c)
{
    const struct batch_buffer *b = &k->ix->buffers[c->first_buffer];
    const char *data = (const char *)k->body + b[2].offset;
    size_t n = (size_t)b[2].length;
    size_t ascii = ascii_prefix(data, n);
    if (ascii == n)
        return 0;
    if (!utf8_valid(data + ascii, n - ascii))
        return lie(k, "text that is not UTF-8", c);
    /* The whole is valid, so each value is when it begins between two characters. */
    const uint8_t *p = k->body + b[1].offset;
    for (uint64_t i = 1, rows = k->ix->nodes[c->node].length; i < rows; i++) {
        int32_t o;
        memcpy(&o, p + 4 * i, 4);
        if ((size_t)o < n && ((uint8_t)data[o] & 0xc0) == 0x80)
            return lie(k, "text cut inside a character", c);
    }
    return 0;
}

static int check_values(const struct check *k, const struct column *c)
{
    const struct batch_buffer *b = &k->ix->buffers[c->first_buffer];
    const uint8_t *p = k->body + b[1].offset, *validity = b[0].length ? k->body + b[0].offset : NULL;
    uint64_t n = k->ix->nodes[c->node].length;
    int64_t v;
    switch (c->phys) {
    case PHYS_DATE:
        for (uint64_t i = 0; i < n; i++) {
            memcpy(&v, p + 8 * i, 8);
            if (v % DAY_MS && !is_null(validity, i))
                return lie(k, "a date that is no whole day", c);
        }
        return 0;
    case PHYS_TIME:
        for (uint64_t i = 0; i < n; i++) {
            memcpy(&v, p + 8 * i, 8);
            if ((v < 0 || v > DAY_US) && !is_null(validity, i))
                return lie(k, "a time outside the day", c);
        }
        return 0;
    case PHYS_DECIMAL: {
        i128 limit = 1, d;
        for (int i = 0; i < c->precision; i++)
            limit *= 10;
        for (uint64_t i = 0; i < n; i++) {
            memcpy(&d, p + 16 * i, 16);
            if ((d >= limit || d <= -limit) && !is_null(validity, i))
                return lie(k, "a decimal beyond its precision", c);
        }
        return 0;
    }
    default:
        return 0; /* every bit pattern has a text */
    }
}

static int check_column(const struct check *k, const struct column *c)
{
    const struct batch_node *n = &k->ix->nodes[c->node];
    const struct batch_buffer *b = &k->ix->buffers[c->first_buffer];
    if (b[0].length && n->length - ones(k->body + b[0].offset, n->length) != n->null_count)
        return lie(k, "the number of NULLs", c);
    int rc = 0;
    switch (c->phys) {
    case PHYS_UTF8:
    case PHYS_BINARY:
        rc = check_offsets(k, c, b[2].length);
        if (!rc && c->phys == PHYS_UTF8)
            rc = check_text(k, c);
        break;
    case PHYS_LIST:
    case PHYS_MAP:
        rc = check_offsets(k, c, k->ix->nodes[c->children[0].node].length);
        break;
    default:
        rc = check_values(k, c);
    }
    for (uint32_t i = 0; !rc && i < c->nchildren; i++)
        rc = check_column(k, &c->children[i]);
    return rc;
}

int batch_check(const struct schema *s, const struct batch_index *ix, const uint8_t *body, struct err *e)
{
    struct check k = {ix, body, e};
    for (uint32_t i = 0; i < ix->nbuffers; i++) {
        uint64_t end = ix->buffers[i].offset + ix->buffers[i].length;
        for (uint64_t j = end; j < end + (-end & 7); j++)
            if (body[j])
                return err_set(e, ERR_CORRUPT, "XX001", "bad batch: padding is not zero");
    }
    for (uint32_t i = 0; i < s->ncolumns; i++) {
        int rc = check_column(&k, &s->columns[i]);
        if (rc)
            return rc;
    }
    return 0;
}

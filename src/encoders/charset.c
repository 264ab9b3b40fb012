/*
 * charset: see charset.h. The loop reads at `src` and writes at `dst` <= `src`; until the first character that
 * is not ASCII nothing is written at all.
 */
#include "encoders/charset.h"

#include <string.h>

#include "encoders/gbk_table.h" /* static const uint16_t gbk_table[65536]: both bytes as they lie in memory; 0: none */

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Moves ASCII from src to dst <= src until something else comes; returns how many. Whole vectors only where all
 * 16 bytes are taken: what is stored never reaches beyond what was read. */
static inline size_t move_ascii(char *dst, const char *src, const char *end)
{
    const char *p = src;
#ifdef __SSE2__
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        if (_mm_movemask_epi8(v))
            break;
        if (dst != p)
            _mm_storeu_si128((__m128i *)(void *)dst, v);
        p += 16;
        dst += 16;
    }
#endif
    while (p < end && !(*p & 0x80))
        *dst++ = *p++;
    return (size_t)(p - src);
}

/* A character of two or four bytes, or one that is not whole (the caller's mistake, not a read beyond the end). */
static uint16_t rare(const char **src, const char *end)
{
    const unsigned char *s = (const unsigned char *)*src;
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if ((size_t)(end - *src) < len) {
        *src = end;
        return 0;
    }
    *src += len;
    return len == 2 ? gbk_table[(s[0] & 0x1fu) << 6 | (s[1] & 0x3fu)] : 0;
}

/* The next character, which is not ASCII, as GBK; 0: it has none. */
static inline uint16_t next_gbk(const char **src, const char *end)
{
    const unsigned char *s = (const unsigned char *)*src;
    if (__builtin_expect((s[0] & 0xf0) != 0xe0 || end - *src < 3, 0))
        return rare(src, end);
    *src += 3;
    return gbk_table[(s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu)];
}

bool gbk_has_question_mark(const char *p, size_t n)
{
    for (const char *end = p + n; p < end;) {
        if (*p & 0x80 ? !next_gbk(&p, end) : *p++ == '?')
            return true;
    }
    return false;
}

size_t gbk_in_place(char *p, size_t n, uint64_t *unmapped)
{
    const char *src = p, *end = p + n;
    char *dst = p;
    uint64_t lacking = 0;
    while (src < end) {
        size_t run = move_ascii(dst, src, end);
        src += run;
        dst += run;
        while (src < end && (*src & 0x80)) {
            uint16_t g = next_gbk(&src, end);
            if (__builtin_expect(g != 0, 1)) {
                memcpy(dst, &g, 2);
                dst += 2;
            } else {
                *dst++ = '?';
                lacking++;
            }
        }
    }
    *unmapped += lacking;
    return (size_t)(dst - p);
}

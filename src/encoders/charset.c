/*
 * charset: see charset.h. The loop reads at `src` and writes at `dst` <= `src`; until the first character that
 * is not ASCII nothing is written at all.
 */
#include "encoders/charset.h"

#include <string.h>

#include "encoders/gbk_table.h" /* static const uint16_t gbk_table[65536]: both bytes, the first in the upper half; 0: none */

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Length of the run of ASCII at s. */
static inline size_t ascii_run(const char *s, const char *end)
{
    const char *p = s;
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        unsigned high = (unsigned)_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)p));
        if (high)
            return (size_t)(p - s) + (unsigned)__builtin_ctz(high);
    }
#endif
    while (p < end && !(*p & 0x80))
        p++;
    return (size_t)(p - s);
}

size_t gbk_in_place(char *p, size_t n, uint64_t *unmapped)
{
    const char *src = p, *end = p + n;
    char *dst = p;
    uint64_t lacking = 0;
    while (src < end) {
        uint8_t a = (uint8_t)*src;
        if (a < 0x80) {
            size_t run = ascii_run(src, end);
            if (dst != src)
                memmove(dst, src, run);
            dst += run;
            src += run;
            continue;
        }
        uint32_t c = 0;
        size_t len = a >= 0xf0 ? 4 : a >= 0xe0 ? 3 : 2;
        if ((size_t)(end - src) < len) { /* not whole: the caller's mistake, not a read beyond the end */
            *dst++ = '?';
            lacking++;
            break;
        }
        if (len == 3)
            c = (uint32_t)(a & 0x0f) << 12 | (uint32_t)(src[1] & 0x3f) << 6 | (uint32_t)(src[2] & 0x3f);
        else if (len == 2)
            c = (uint32_t)(a & 0x1f) << 6 | (uint32_t)(src[1] & 0x3f);
        uint16_t g = gbk_table[c];
        src += len;
        if (g) {
            *dst++ = (char)(g >> 8);
            *dst++ = (char)g;
        } else {
            *dst++ = '?';
            lacking++;
        }
    }
    *unmapped += lacking;
    return (size_t)(dst - p);
}

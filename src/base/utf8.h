/* utf8: decoding and cutting of UTF-8 text (RFC 3629: no overlong forms, no surrogates, up to U+10FFFF).
 * Pure; any thread. */
#ifndef QUERN_BASE_UTF8_H
#define QUERN_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UTF8_REPLACEMENT "\xEF\xBF\xBD"

/* Decodes the sequence at p (n > 0 bytes are there). Returns its length, 1 to 4, and sets *ret_cp; or minus
 * the number of bytes that one U+FFFD should stand for (the longest ill-formed prefix, as browsers do). */
static inline int utf8_next(const void *p, size_t n, uint32_t *ret_cp)
{
    const uint8_t *s = p;
    uint32_t c = s[0];
    if (c < 0x80) {
        *ret_cp = c;
        return 1;
    }
    int need;
    uint8_t low = 0x80, high = 0xBF; /* legal range of the second byte */
    if (c >= 0xC2 && c <= 0xDF) {
        need = 1;
        c &= 0x1F;
    } else if (c >= 0xE0 && c <= 0xEF) {
        need = 2;
        if (c == 0xE0)
            low = 0xA0;
        else if (c == 0xED)
            high = 0x9F;
        c &= 0x0F;
    } else if (c >= 0xF0 && c <= 0xF4) {
        need = 3;
        if (c == 0xF0)
            low = 0x90;
        else if (c == 0xF4)
            high = 0x8F;
        c &= 0x07;
    } else {
        return -1;
    }
    for (int i = 1; i <= need; i++) {
        if ((size_t)i >= n || s[i] < low || s[i] > high)
            return -i;
        c = c << 6 | (s[i] & 0x3Fu);
        low = 0x80;
        high = 0xBF;
    }
    *ret_cp = c;
    return need + 1;
}

/* Characters that would break a line of a log, hide in it or turn its direction around on a terminal. */
static inline bool utf8_hidden(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7F && cp <= 0x9F) || cp == 0x61C || (cp >= 0x200B && cp <= 0x200F) ||
           (cp >= 0x2028 && cp <= 0x202E) || (cp >= 0x2060 && cp <= 0x206F) || cp == 0xFEFF ||
           (cp >= 0xE0000 && cp <= 0xE007F);
}

bool utf8_valid(const char *s, size_t n);
/* Number of code points; an ill-formed prefix counts as one. */
size_t utf8_length(const char *s, size_t n);
/* The largest length <= max that does not end inside a sequence of s (n bytes). */
size_t utf8_cut(const char *s, size_t n, size_t max);

#endif

/*
 * utf8: see utf8.h. Pure functions, any thread.
 *
 * Everything but the ASCII skip goes through utf8_next, so that there is one opinion in the program about
 * what valid is.
 */
#include "base/utf8.h"

#include <string.h>

/* Length of the pure ASCII run at s, in whole words; the caller handles the rest bytewise. */
static size_t ascii_run(const char *s, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t w;
        memcpy(&w, s + i, 8);
        if (w & 0x8080808080808080u)
            break;
    }
    return i;
}

bool utf8_valid(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        i += ascii_run(s + i, n - i);
        if (i == n)
            break;
        uint32_t cp;
        int k = utf8_next(s + i, n - i, &cp);
        if (k < 0)
            return false;
        i += (size_t)k;
    }
    return true;
}

size_t utf8_length(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; count++) {
        uint32_t cp;
        int k = utf8_next(s + i, n - i, &cp);
        i += (size_t)(k < 0 ? -k : k);
    }
    return count;
}

size_t utf8_cut(const char *s, size_t n, size_t max)
{
    if (n <= max)
        return n;
    /* At most three continuation bytes can lie between max and the first byte of the sequence it would cut. */
    size_t i = max;
    for (int back = 0; back < 3 && i > 0 && ((uint8_t)s[i] & 0xC0) == 0x80; back++)
        i--;
    return ((uint8_t)s[i] & 0xC0) == 0x80 ? max : i;
}

/*
 * digits: decimal digits straight into memory; the innermost step of every text encoder, so it is inline.
 * The caller has made room. Pure; any thread. Doubles and 128-bit numbers are base/number.h.
 */
#ifndef QUERN_ENCODERS_DIGITS_H
#define QUERN_ENCODERS_DIGITS_H

#include <stdint.h>
#include <string.h>

static const char digits_pairs[201] =
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/* Two digits; v < 100. */
static inline char *digits_2(char *p, unsigned v)
{
    memcpy(p, digits_pairs + 2 * v, 2);
    return p + 2;
}

/* Exactly n digits with leading zeros; v < 10^n. */
static inline char *digits_n(char *p, uint64_t v, int n)
{
    for (int i = n - 1; i >= 0; i--, v /= 10)
        p[i] = (char)('0' + v % 10);
    return p + n;
}

/* At most 20 bytes. */
static inline char *digits_u64(char *p, uint64_t v)
{
    if (v < 100) {
        if (v >= 10)
            return digits_2(p, (unsigned)v);
        *p = (char)('0' + v);
        return p + 1;
    }
    if (v < 10000) {
        unsigned high = (unsigned)v / 100, low = (unsigned)v % 100;
        if (high >= 10)
            p = digits_2(p, high);
        else
            *p++ = (char)('0' + high);
        return digits_2(p, low);
    }
    char raw[20], *end = raw + sizeof raw, *q = end;
    while (v >= 100) {
        q -= 2;
        memcpy(q, digits_pairs + 2 * (v % 100), 2);
        v /= 100;
    }
    if (v >= 10) {
        q -= 2;
        memcpy(q, digits_pairs + 2 * v, 2);
    } else {
        *--q = (char)('0' + v);
    }
    size_t n = (size_t)(end - q);
    memcpy(p, q, n);
    return p + n;
}

static inline char *digits_i64(char *p, int64_t v)
{
    uint64_t u = (uint64_t)v;
    if (v < 0) {
        *p++ = '-';
        u = 0 - u;
    }
    return digits_u64(p, u);
}

#endif

/*
 * number: see number.h. Pure functions, any thread; the only C++ file of the base.
 *
 * Why C++: std::to_chars is the one shortest-round-trip printer in the system libraries; printf("%.17g")
 * prints noise digits and follows the locale. No exceptions, no allocation, nothing of C++ leaves this file.
 */
#include "base/number.h"

#include <charconv>
#include <cmath>
#include <cstring>

namespace
{

const char digit_pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                           "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                           "8081828384858687888990919293949596979899";

/* Writes the digits of v so that they end before `end`; returns where they begin. */
char *digits_before(char *end, uint64_t v)
{
    while (v >= 100) {
        unsigned pair = static_cast<unsigned>(v % 100);
        v /= 100;
        end -= 2;
        memcpy(end, digit_pairs + pair * 2, 2);
    }
    if (v >= 10) {
        end -= 2;
        memcpy(end, digit_pairs + v * 2, 2);
    } else {
        *--end = static_cast<char>('0' + v);
    }
    return end;
}

size_t literal(char *out, const char *text)
{
    size_t n = strlen(text);
    memcpy(out, text, n + 1);
    return n;
}

template <typename T> size_t shortest(T v, char *out)
{
    if (std::isnan(v))
        return literal(out, "nan");
    auto r = std::to_chars(out, out + NUMBER_DOUBLE_MAX - 1, v);
    *r.ptr = 0;
    return static_cast<size_t>(r.ptr - out);
}

template <typename T> size_t json(T v, char *out)
{
    if (!std::isfinite(v)) {
        *out = 0;
        return 0;
    }
    return shortest(v, out);
}

/* The digits of a finite positive v without point ("15", exponent 3 for 1.5e3). */
struct decimal {
    char digits[24];
    int n;
    int exponent; /* of the first digit */
};

template <typename T> bool split(T v, int precision, decimal *ret)
{
    char text[NUMBER_DOUBLE_MAX];
    auto r = precision < 0
                 ? std::to_chars(text, text + sizeof text, v, std::chars_format::scientific)
                 : std::to_chars(text, text + sizeof text, v, std::chars_format::scientific, precision);
    ret->n = 0;
    const char *p = text;
    for (; p < r.ptr && *p != 'e'; p++)
        if (*p != '.')
            ret->digits[ret->n++] = *p;
    if (p < r.ptr)
        p++;
    if (p < r.ptr && *p == '+')
        p++;
    std::from_chars(p, r.ptr, ret->exponent);
    T back{};
    std::from_chars(text, r.ptr, back);
    return back == v;
}

template <typename T> size_t java(T v, char *out)
{
    if (std::isnan(v))
        return literal(out, "NaN");
    char *o = out;
    if (std::signbit(v)) {
        *o++ = '-';
        v = -v;
    }
    if (std::isinf(v))
        return static_cast<size_t>(o - out) + literal(o, "Infinity");
    if (v == 0)
        return static_cast<size_t>(o - out) + literal(o, "0.0");

    decimal d;
    split(v, -1, &d);
    /* Java prints at least two digits and takes the two that are closest: 4.9E-324, not 5.0E-324. Where the
     * closest two do not read back (at a power of two) the shortest stands. */
    decimal two;
    if (d.n == 1 && split(v, 1, &two))
        d = two;
    while (d.n > 1 && d.digits[d.n - 1] == '0')
        d.n--;

    if (d.exponent >= -3 && d.exponent < 7) {
        if (d.exponent < 0) {
            *o++ = '0';
            *o++ = '.';
            for (int i = -1; i > d.exponent; i--)
                *o++ = '0';
            memcpy(o, d.digits, static_cast<size_t>(d.n));
            o += d.n;
        } else {
            for (int i = 0; i <= d.exponent; i++)
                *o++ = i < d.n ? d.digits[i] : '0';
            *o++ = '.';
            if (d.n <= d.exponent + 1)
                *o++ = '0';
            for (int i = d.exponent + 1; i < d.n; i++)
                *o++ = d.digits[i];
        }
    } else {
        *o++ = d.digits[0];
        *o++ = '.';
        if (d.n == 1)
            *o++ = '0';
        for (int i = 1; i < d.n; i++)
            *o++ = d.digits[i];
        *o++ = 'E';
        o = std::to_chars(o, out + NUMBER_DOUBLE_MAX - 1, d.exponent).ptr;
    }
    *o = 0;
    return static_cast<size_t>(o - out);
}

__extension__ typedef unsigned __int128 u128;

size_t decimal_text(u128 v, bool negative, int scale, char *out)
{
    if (scale < 0 || scale > 38) {
        *out = 0;
        return 0;
    }
    const uint64_t chunk = 1000000000000000000u; /* 10^18 */
    char raw[64];
    char *end = raw + sizeof raw, *p = end;
    if (v <= UINT64_MAX) {
        p = digits_before(end, static_cast<uint64_t>(v));
    } else {
        char *stop = end;
        while (v > 0) {
            p = digits_before(stop, static_cast<uint64_t>(v % chunk));
            v /= chunk;
            if (v > 0)
                while (p > stop - 18)
                    *--p = '0';
            stop = p;
        }
    }
    while (end - p <= scale)
        *--p = '0';
    char *o = out;
    if (negative)
        *o++ = '-';
    size_t whole = static_cast<size_t>(end - p - scale);
    memcpy(o, p, whole);
    o += whole;
    if (scale > 0) {
        *o++ = '.';
        memcpy(o, p + whole, static_cast<size_t>(scale));
        o += scale;
    }
    *o = 0;
    return static_cast<size_t>(o - out);
}

u128 load_le(const uint8_t le[16])
{
    u128 v = 0;
    for (int i = 15; i >= 0; i--)
        v = v << 8 | le[i];
    return v;
}

} // namespace

extern "C" {

size_t number_double(double v, char out[NUMBER_DOUBLE_MAX])
{
    return shortest(v, out);
}
size_t number_float(float v, char out[NUMBER_DOUBLE_MAX])
{
    return shortest(v, out);
}
size_t number_double_java(double v, char out[NUMBER_DOUBLE_MAX])
{
    return java(v, out);
}
size_t number_float_java(float v, char out[NUMBER_DOUBLE_MAX])
{
    return java(v, out);
}
size_t number_double_json(double v, char out[NUMBER_DOUBLE_MAX])
{
    return json(v, out);
}
size_t number_float_json(float v, char out[NUMBER_DOUBLE_MAX])
{
    return json(v, out);
}

size_t number_u64(uint64_t v, char out[NUMBER_INT_MAX])
{
    char raw[NUMBER_INT_MAX];
    char *end = raw + sizeof raw, *p = digits_before(end, v);
    size_t n = static_cast<size_t>(end - p);
    memcpy(out, p, n);
    out[n] = 0;
    return n;
}

size_t number_i64(int64_t v, char out[NUMBER_INT_MAX])
{
    if (v >= 0)
        return number_u64(static_cast<uint64_t>(v), out);
    out[0] = '-';
    return 1 + number_u64(0 - static_cast<uint64_t>(v), out + 1);
}

size_t number_i128(const uint8_t le[16], int scale, char out[NUMBER_I128_MAX])
{
    u128 v = load_le(le);
    bool negative = le[15] & 0x80;
    return decimal_text(negative ? 0 - v : v, negative, scale, out);
}

size_t number_u128(const uint8_t le[16], int scale, char out[NUMBER_I128_MAX])
{
    return decimal_text(load_le(le), false, scale, out);
}

} // extern "C"

/*
 * duckdb_text: values that travel as text because no physical type holds them exactly: the same text that the
 * engine's cast to VARCHAR gives. Pure; job thread.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/number.h"
#include "engines/duckdb_int.h"

#define NS_PER_DAY INT64_C(86400000000000)

bool duck__is_short_text(duckdb_type id)
{
    return id == DUCKDB_TYPE_UUID || id == DUCKDB_TYPE_TIME_TZ || id == DUCKDB_TYPE_TIMESTAMP_NS ||
           id == DUCKDB_TYPE_TIME_NS || id == DUCKDB_TYPE_UHUGEINT;
}

/* ".5", ".123456", "" : a fraction without trailing zeros, at least the digits the engine shows (none, else
 * up to six, else nine). */
static size_t fraction(char *out, size_t cap, uint64_t value, int digits)
{
    if (value == 0)
        return 0;
    int n = snprintf(out, cap, ".%0*" PRIu64, digits, value);
    while (n > 1 && out[n - 1] == '0')
        n--;
    out[n] = 0;
    return (size_t)n;
}

static size_t time_text(char *out, size_t cap, int64_t units, int64_t per_second, int digits)
{
    int64_t seconds = units / per_second;
    int n = snprintf(out, cap, "%02d:%02d:%02d", (int)(seconds / 3600), (int)(seconds / 60 % 60),
                     (int)(seconds % 60));
    return (size_t)n + fraction(out + n, cap - (size_t)n, (uint64_t)(units % per_second), digits);
}

static size_t timetz_text(uint64_t bits, char *out)
{
    int64_t micros = (int64_t)(bits >> 24);
    int32_t offset = 16 * 60 * 60 - 1 - (int32_t)(bits & 0xFFFFFF);
    size_t n = time_text(out, DUCK_TEXT_MAX, micros, 1000000, 6);
    int32_t a = offset < 0 ? -offset : offset;
    n += (size_t)snprintf(out + n, DUCK_TEXT_MAX - n, "%c%02d", offset < 0 ? '-' : '+', a / 3600);
    if (a % 3600)
        n += (size_t)snprintf(out + n, DUCK_TEXT_MAX - n, ":%02d", a / 60 % 60);
    if (a % 60)
        n += (size_t)snprintf(out + n, DUCK_TEXT_MAX - n, ":%02d", a % 60);
    return n;
}

static size_t timestamp_ns_text(int64_t ns, char *out)
{
    if (ns == INT64_MAX)
        return (size_t)snprintf(out, DUCK_TEXT_MAX, "infinity");
    if (ns == -INT64_MAX)
        return (size_t)snprintf(out, DUCK_TEXT_MAX, "-infinity");
    int64_t day = ns / NS_PER_DAY, rest = ns % NS_PER_DAY;
    if (rest < 0) {
        rest += NS_PER_DAY;
        day--;
    }
    int64_t year;
    int month, mday;
    clock_civil_from_days(day, &year, &month, &mday);
    int n = snprintf(out, DUCK_TEXT_MAX, "%04d-%02d-%02d ", (int)year, month, mday);
    return (size_t)n + time_text(out + n, DUCK_TEXT_MAX - (size_t)n, rest, 1000000000, 9);
}

static size_t uuid_text(duckdb_hugeint v, char *out)
{
    uint64_t hi = (uint64_t)v.upper ^ (UINT64_C(1) << 63), lo = v.lower;
    return (size_t)snprintf(out, DUCK_TEXT_MAX, "%08x-%04x-%04x-%04x-%012" PRIx64, (unsigned)(hi >> 32),
                            (unsigned)(hi >> 16 & 0xFFFF), (unsigned)(hi & 0xFFFF), (unsigned)(lo >> 48),
                            lo & UINT64_C(0xFFFFFFFFFFFF));
}

size_t duck__text(duckdb_type id, const void *data, idx_t row, char out[DUCK_TEXT_MAX])
{
    switch (id) {
    case DUCKDB_TYPE_UUID:
        return uuid_text(((const duckdb_hugeint *)data)[row], out);
    case DUCKDB_TYPE_TIME_TZ:
        return timetz_text(((const duckdb_time_tz *)data)[row].bits, out);
    case DUCKDB_TYPE_TIMESTAMP_NS:
        return timestamp_ns_text(((const int64_t *)data)[row], out);
    case DUCKDB_TYPE_TIME_NS:
        return time_text(out, DUCK_TEXT_MAX, ((const int64_t *)data)[row], 1000000000, 9);
    case DUCKDB_TYPE_UHUGEINT:
        return number_u128((const uint8_t *)data + 16 * row, 0, out);
    default:
        out[0] = 0;
        return 0;
    }
}

/* BIT: first byte = unused bits at the front of the second. */
size_t duck__bit_length(const duckdb_string_t *s)
{
    duckdb_string_t copy = *s;
    uint32_t n = duckdb_string_t_length(copy);
    const uint8_t *p = (const uint8_t *)duckdb_string_t_data(&copy);
    return n < 2 || p[0] > 7 ? 0 : (size_t)(n - 1) * 8 - p[0];
}

void duck__bit_text(const duckdb_string_t *s, char *out)
{
    duckdb_string_t copy = *s;
    const uint8_t *p = (const uint8_t *)duckdb_string_t_data(&copy);
    size_t n = duck__bit_length(s);
    for (size_t i = 0; i < n; i++) {
        size_t bit = i + p[0];
        out[i] = p[1 + bit / 8] >> (7 - bit % 8) & 1 ? '1' : '0';
    }
}

/* BIGNUM: three header bytes (sign and length), then the magnitude, most significant byte first; all bytes
 * inverted when negative. */
char *duck__bignum_text(const duckdb_string_t *s, size_t *ret_len)
{
    duckdb_string_t copy = *s;
    uint32_t n = duckdb_string_t_length(copy);
    const uint8_t *p = (const uint8_t *)duckdb_string_t_data(&copy);
    if (n < 4) {
        *ret_len = 1;
        return strdup("0");
    }
    bool negative = !(p[0] & 0x80);
    size_t words = (n - 3 + 3) / 4, digits = (size_t)(n - 3) * 241 / 100 + 12;
    uint32_t *w = calloc(words, sizeof *w); /* most significant first */
    char *out = malloc(digits + 12);
    if (!w || !out) {
        free(w);
        free(out);
        return NULL;
    }
    for (uint32_t i = 3; i < n; i++) {
        uint32_t byte = negative ? (uint8_t)~p[i] : p[i];
        size_t from_end = n - 1 - i;
        w[words - 1 - from_end / 4] |= byte << (from_end % 4 * 8);
    }
    size_t at = digits + 11, first = 0;
    out[at] = 0;
    while (first < words) { /* nine digits at a time, from the end */
        uint64_t rest = 0;
        for (size_t i = first; i < words; i++) {
            uint64_t v = rest << 32 | w[i];
            w[i] = (uint32_t)(v / 1000000000);
            rest = v % 1000000000;
        }
        while (first < words && w[first] == 0)
            first++;
        for (int k = 0; k < 9 && (rest || first < words); k++) {
            out[--at] = (char)('0' + rest % 10);
            rest /= 10;
        }
    }
    if (!out[at])
        out[--at] = '0';
    if (negative && out[at] != '0')
        out[--at] = '-';
    *ret_len = digits + 11 - at;
    memmove(out, out + at, *ret_len + 1);
    free(w);
    return out;
}

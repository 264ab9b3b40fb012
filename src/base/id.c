/*
 * id: see id.h for the format. Pure but for id_new's randomness; any thread.
 *
 * Invariant: every struct qid that id_new or id_parse returns has both spellings, and each parses back to the
 * same bytes. That is why seconds past the year 9999 (KST) do not exist here: Kakao's spelling has four
 * digits of year.
 */
#include "base/id.h"

#include <string.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/sys.h"

#define RANDOM_BITS 59
#define RANDOM_MASK ((UINT64_C(1) << RANDOM_BITS) - 1)
#define KST_SECONDS (9 * 3600)
#define SECOND_MAX  (INT64_C(253402300799) - KST_SECONDS) /* 9999-12-31 23:59:59 KST */
#define PREFIX      "data-query-"

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xBF58476D1CE4E5B9);
    x ^= x >> 27;
    x *= UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* Stored ids carry these bits: this function is part of the format and never changes. */
static uint32_t check_bits(int64_t second, uint64_t random)
{
    return (uint32_t)(mix(mix((uint64_t)second + UINT64_C(0x9E3779B97F4A7C15)) ^ random) >> 44);
}

static struct qid make(int64_t second, uint64_t random)
{
    struct qid id;
    uint32_t check = check_bits(second, random);
    for (int i = 0; i < 5; i++)
        id.b[i] = (uint8_t)(second >> (32 - 8 * i));
    id.b[5] = (uint8_t)(check >> 12);
    id.b[6] = (uint8_t)(0x40 | (check >> 8 & 0x0F));
    id.b[7] = (uint8_t)check;
    uint64_t tail = UINT64_C(0x8000000000000000) | random;
    for (int i = 0; i < 8; i++)
        id.b[8 + i] = (uint8_t)(tail >> (56 - 8 * i));
    return id;
}

static uint64_t load_be(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

struct qid id_new(int64_t unix_ms)
{
    int64_t second = unix_ms < 0 ? 0 : unix_ms / 1000;
    if (second > SECOND_MAX)
        second = SECOND_MAX;
    uint64_t random;
    sys_random(&random, sizeof random);
    return make(second, random & RANDOM_MASK);
}

void id_first(int64_t unix_ms, struct qid *ret)
{
    int64_t second = unix_ms < 0 ? 0 : unix_ms / 1000;
    memset(ret, 0, sizeof *ret);
    for (int i = 0; i < 5; i++)
        ret->b[i] = (uint8_t)(second >> (32 - 8 * i));
}

int64_t id_second(const struct qid *id)
{
    return (int64_t)(load_be(id->b) >> 24);
}

uint64_t id_hash(const struct qid *id)
{
    return mix(load_be(id->b) ^ mix(load_be(id->b + 8)));
}

static bool parse_uuid(const char *s, struct qid *ret)
{
    struct qid id;
    int nibble = 0;
    memset(&id, 0, sizeof id);
    for (int i = 0; i < ID_UUID_LEN; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (s[i] != '-')
                return false;
            continue;
        }
        int d = hex_digit(s[i]);
        if (d < 0)
            return false;
        id.b[nibble / 2] = (uint8_t)(id.b[nibble / 2] << 4 | d);
        nibble++;
    }
    int64_t second = id_second(&id);
    if (second > SECOND_MAX)
        return false;
    struct qid canonical = make(second, load_be(id.b + 8) & RANDOM_MASK);
    if (!id_equal(&id, &canonical))
        return false;
    *ret = id;
    return true;
}

/* n decimal digits, -1 when one is none. */
static int decimal(const char *s, int n)
{
    int v = 0;
    for (int i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return -1;
        v = v * 10 + (s[i] - '0');
    }
    return v;
}

static int base62_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 36;
    return -1;
}

static bool parse_kakao(const char *s, struct qid *ret)
{
    int year = decimal(s, 4), month = decimal(s + 4, 2), day = decimal(s + 6, 2);
    int hour = decimal(s + 9, 2), minute = decimal(s + 11, 2), sec = decimal(s + 13, 2);
    if (s[8] != '-' || s[15] != '-' || year < 0 || month < 1 || month > 12 || day < 1 || day > 31 ||
        hour < 0 || hour > 23 || minute < 0 || minute > 59 || sec < 0 || sec > 59)
        return false;
    int64_t days = clock_days_from_civil(year, month, day), y;
    int m, d;
    clock_civil_from_days(days, &y, &m, &d); /* the 31st of a month that has none */
    if (y != year || m != month || d != day)
        return false;
    int64_t second = days * 86400 + hour * 3600 + minute * 60 + sec - KST_SECONDS;
    if (second < 0 || second > SECOND_MAX)
        return false;
    uint64_t random = 0;
    for (int i = 16; i < ID_KAKAO_LEN; i++) {
        int digit = base62_digit(s[i]);
        if (digit < 0)
            return false;
        random = random * 62 + (uint64_t)digit; /* 62^10 < 2^60: no overflow */
    }
    if (random > RANDOM_MASK)
        return false;
    *ret = make(second, random);
    return true;
}

bool id_parse(const char *text, size_t len, struct qid *ret)
{
    const size_t prefix = sizeof PREFIX - 1;
    if (len == ID_UUID_LEN)
        return parse_uuid(text, ret);
    if (len == ID_KAKAO_LEN + prefix && memcmp(text, PREFIX, prefix) == 0) {
        text += prefix;
        len -= prefix;
    }
    return len == ID_KAKAO_LEN && parse_kakao(text, ret);
}

char *id_uuid(const struct qid *id, char *out)
{
    static const char hex[] = "0123456789abcdef";
    char *o = out;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *o++ = '-';
        *o++ = hex[id->b[i] >> 4];
        *o++ = hex[id->b[i] & 15];
    }
    *o = 0;
    return out;
}

static char *put_digits(char *o, int v, int n)
{
    for (int i = n - 1; i >= 0; i--, v /= 10)
        o[i] = (char)('0' + v % 10);
    return o + n;
}

char *id_kakao(const struct qid *id, char *out)
{
    struct civil c;
    clock_civil(id_second(id) + KST_SECONDS, &c);
    char *o = put_digits(out, (int)c.year, 4);
    o = put_digits(put_digits(o, c.month, 2), c.day, 2);
    *o++ = '-';
    o = put_digits(put_digits(put_digits(o, c.hour, 2), c.minute, 2), c.second, 2);
    *o++ = '-';
    uint64_t random = load_be(id->b + 8) & RANDOM_MASK;
    for (int i = 9; i >= 0; i--, random /= 62)
        o[i] = base62[random % 62];
    o[10] = 0;
    return out;
}

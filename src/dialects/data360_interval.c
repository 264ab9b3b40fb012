/*
 * data360_interval: durations of ISO 8601, as this dialect shows intervals (specs 2.2: "P1D"), turned into
 * the words that the engine's cast reads, so that what was read can be sent back as a parameter.
 *
 * "P1Y2M3W4DT5H6M7.8S"; each number may have a sign, and one before the P holds for all; only seconds have a
 * fraction, of at most six digits. Pure; any thread; hostile bytes allowed, fuzzed with the body.
 */
#include "dialects/data360_int.h"

#include <string.h>

#define DIGITS_MAX   18 /* of a number before its point: more does not fit what the engine holds */
#define FRACTION_MAX 6  /* microseconds */

struct unit {
    char letter;
    const char *word;
};

static const struct unit date_units[] = {{'Y', "years"}, {'M', "months"}, {'W', "weeks"}, {'D', "days"}};
static const struct unit time_units[] = {{'H', "hours"}, {'M', "minutes"}, {'S', "seconds"}};

static size_t digits(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && s[i] >= '0' && s[i] <= '9')
        i++;
    return i;
}

/* One number and its unit, units in their order. *at moves behind it, *unit behind what was used. */
static bool part(const char *s, size_t n, size_t *at, const struct unit *units, size_t nunits, size_t *unit,
                 bool negative, struct buf *out)
{
    size_t i = *at;
    bool sign = i < n && (s[i] == '-' || s[i] == '+');
    bool minus = (sign && s[i] == '-') != negative;
    i += sign;
    size_t from = i, whole = digits(s + i, n - i), fraction = 0;
    i += whole;
    if (i < n && (s[i] == '.' || s[i] == ',')) {
        fraction = digits(s + i + 1, n - i - 1);
        i += 1 + fraction;
        if (!fraction || fraction > FRACTION_MAX)
            return false;
    }
    if (!whole || whole > DIGITS_MAX || i == n)
        return false;
    size_t k = *unit;
    while (k < nunits && units[k].letter != s[i])
        k++;
    if (k == nunits || (fraction && units[k].letter != 'S'))
        return false;
    if (buf_printf(out, "%s%s%.*s", out->len ? " " : "", minus ? "-" : "", (int)whole, s + from) ||
        (fraction && buf_printf(out, ".%.*s", (int)fraction, s + from + whole + 1)) ||
        buf_printf(out, " %s", units[k].word))
        return false;
    *unit = k + 1;
    *at = i + 1;
    return true;
}

bool data360__is_duration(const char *s, size_t n)
{
    size_t i = n && (s[0] == '-' || s[0] == '+');
    return i < n && s[i] == 'P';
}

const char *data360__duration_words(struct arena *a, const char *s, size_t n)
{
    CLEANUP_BUF struct buf out = BUF_INIT(512);
    bool negative = n && s[0] == '-';
    size_t i = n && (s[0] == '-' || s[0] == '+'), unit = 0;
    if (i == n || s[i++] != 'P')
        return NULL;
    while (i < n && s[i] != 'T')
        if (!part(s, n, &i, date_units, sizeof date_units / sizeof *date_units, &unit, negative, &out))
            return NULL;
    if (i < n) { /* 'T', and at least one part behind it */
        i++;
        unit = 0;
        do {
            if (!part(s, n, &i, time_units, sizeof time_units / sizeof *time_units, &unit, negative, &out))
                return NULL;
        } while (i < n);
    }
    return out.len ? arena_strndup(a, out.p, out.len) : NULL;
}

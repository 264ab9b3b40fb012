/*
 * value_fixed: texts of fixed-width types: booleans, numbers, dates, times, intervals.
 *
 * One small writer function a type, chosen once for a column, called once for each non-NULL row; it writes
 * into room that the caller has made (value_writer.room) and reads values by memcpy (they may lie unaligned).
 * Every bit pattern has a text: what batch_check lets through cannot overflow anything here. Pure but for the
 * writer's own memory of the last date; any thread.
 */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/number.h"
#include "encoders/digits.h"
#include "encoders/value_int.h"

#define DAY_US INT64_C(86400000000)
#define DAY_MS INT64_C(86400000)
#define DAY_NS INT64_C(86400000000000)

__extension__ typedef __int128 i128;
__extension__ typedef unsigned __int128 u128;

#define LOAD(type, w, row)                                                                                   \
    __extension__({                                                                                          \
        type v_;                                                                                             \
        memcpy(&v_, (w)->c->values + (row) * sizeof(type), sizeof(type));                                    \
        v_;                                                                                                  \
    })

static char *text(char *p, const char *s)
{
    size_t n = strlen(s);
    memcpy(p, s, n);
    return p + n;
}

/* ---- booleans and numbers ---- */

static char *write_bool(struct value_writer *w, uint64_t row, char *p)
{
    uint64_t bit = row + w->c->values_shift;
    return text(p, (w->c->values[bit >> 3] >> (bit & 7)) & 1 ? "true" : "false");
}

static char *write_i16(struct value_writer *w, uint64_t row, char *p)
{
    return digits_i64(p, LOAD(int16_t, w, row));
}
static char *write_i32(struct value_writer *w, uint64_t row, char *p)
{
    return digits_i64(p, LOAD(int32_t, w, row));
}
static char *write_i64(struct value_writer *w, uint64_t row, char *p)
{
    return digits_i64(p, LOAD(int64_t, w, row));
}

static char *write_decimal(struct value_writer *w, uint64_t row, char *p)
{
    const uint8_t *v = w->c->values + row * 16;
    int scale = w->c->column->scale;
    i128 d;
    memcpy(&d, v, 16);
    u128 u = d < 0 ? 0 - (u128)d : (u128)d;
    if (u > UINT64_MAX || scale > 18)
        return p + number_i128(v, scale, p);
    if (d < 0)
        *p++ = '-';
    if (!scale)
        return digits_u64(p, (uint64_t)u);
    uint64_t one = 1;
    for (int i = 0; i < scale; i++)
        one *= 10;
    p = digits_u64(p, (uint64_t)u / one);
    *p++ = '.';
    return digits_n(p, (uint64_t)u % one, scale);
}

/* Rewrites the shortest text t of a finite number ("1e+05", "-1.5e-07", "12", "0.5") as plain digits when its
 * exponent is in [low, high). */
static char *plain(char *p, const char *t, size_t n, int low, int high)
{
    const char *mark = memchr(t, 'e', n);
    int exponent = 0, k = 0;
    char digit[NUMBER_DOUBLE_MAX];
    if (mark) {
        for (const char *q = mark + 2; q < t + n; q++)
            exponent = exponent * 10 + (*q - '0');
        if (mark[1] == '-')
            exponent = -exponent;
    }
    if (!mark || exponent < low || exponent >= high) {
        memcpy(p, t, n);
        return p + n;
    }
    for (const char *q = t; q < mark; q++) {
        if (*q == '-')
            *p++ = '-';
        else if (*q != '.')
            digit[k++] = *q;
    }
    if (exponent < 0) {
        p = text(p, "0.");
        memset(p, '0', (size_t)(-exponent - 1));
        p += -exponent - 1;
        memcpy(p, digit, (size_t)k);
        return p + k;
    }
    for (int i = 0; i <= exponent; i++)
        *p++ = i < k ? digit[i] : '0';
    if (k > exponent + 1) {
        *p++ = '.';
        memcpy(p, digit + exponent + 1, (size_t)(k - exponent - 1));
        p += k - exponent - 1;
    }
    return p;
}

static char *real_point(char *p, const char *t, size_t n)
{
    char *q = plain(p, t, n, -4, 16);
    for (const char *r = p; r < q; r++)
        if (*r == '.' || *r == 'e')
            return q;
    return text(q, ".0");
}

static char *not_finite(const struct value_writer *w, double v, char *p)
{
    if (w->json)
        *p++ = '"';
    p = text(p, isnan(v) ? "NaN" : v < 0 ? "-Infinity" : "Infinity");
    if (w->json)
        *p++ = '"';
    return p;
}

/* Not every whole number from here on is a value of its own, and a shortest text without exponent may hold
 * digits beyond the shortest: take Java's digits. */
#define EXACT_F64 9007199254740992.0
#define EXACT_F32 16777216.0f

static size_t shorten_java(char *t, size_t n)
{
    char *mark = memchr(t, 'E', n);
    if (!mark)
        return n;
    size_t head = (size_t)(mark - t), tail = n - head - 1;
    if (head > 2 && !memcmp(mark - 2, ".0", 2))
        head -= 2;
    memmove(t + head + 2, mark + 1, tail);
    memcpy(t + head, "e+", 2);
    return head + 2 + tail;
}

static char *write_f64(struct value_writer *w, uint64_t row, char *p)
{
    double v = LOAD(double, w, row);
    char t[NUMBER_DOUBLE_MAX];
    if (!isfinite(v))
        return not_finite(w, v, p);
    if (w->rule->real == REAL_JAVA)
        return p + number_double_java(v, p);
    size_t n = fabs(v) >= EXACT_F64 ? shorten_java(t, number_double_java(v, t)) : number_double(v, t);
    return w->rule->real == REAL_DIGITS ? plain(p, t, n, -400, 400) : real_point(p, t, n);
}

static char *write_f32(struct value_writer *w, uint64_t row, char *p)
{
    float v = LOAD(float, w, row);
    char t[NUMBER_DOUBLE_MAX];
    if (!isfinite(v))
        return not_finite(w, (double)v, p);
    if (w->rule->real == REAL_JAVA)
        return p + number_float_java(v, p);
    size_t n = fabsf(v) >= EXACT_F32 ? shorten_java(t, number_float_java(v, t)) : number_float(v, t);
    return w->rule->real == REAL_DIGITS ? plain(p, t, n, -400, 400) : real_point(p, t, n);
}

/* ---- dates and times ---- */

static char *put_fraction(char *p, enum fraction rule, unsigned us)
{
    unsigned ms = us / 1000;
    switch (rule) {
    case FRACTION_0_3_OR_6:
        if (!us)
            return p;
        /* fall through */
    case FRACTION_3_OR_6:
        *p++ = '.';
        return us % 1000 ? digits_n(p, us, 6) : digits_n(p, ms, 3);
    case FRACTION_3_CUT:
        *p++ = '.';
        return digits_n(p, ms, 3);
    case FRACTION_3_TRIMMED:
        us = ms * 1000;
        break;
    case FRACTION_6_TRIMMED:
        break;
    }
    if (!us)
        return p;
    *p++ = '.';
    p = digits_n(p, us, 6);
    while (p[-1] == '0')
        p--;
    return p;
}

/* us within one day, or the day's very end: 24:00:00. */
static char *put_time(char *p, int64_t us, enum fraction rule)
{
    unsigned s = (unsigned)(us / 1000000), m = s / 60;
    p = digits_2(p, m / 60);
    *p++ = ':';
    p = digits_2(p, m % 60);
    *p++ = ':';
    p = digits_2(p, s % 60);
    return put_fraction(p, rule, (unsigned)(us % 1000000));
}

static void remember_day(struct value_writer *w, int64_t days)
{
    int64_t year;
    int month, day;
    char *p = w->day_text;
    clock_civil_from_days(days, &year, &month, &day);
    w->before_christ = w->rule->years == YEARS_BC && year <= 0;
    if (w->before_christ)
        year = 1 - year;
    if (w->rule->years == YEARS_SIGNED && (year < 0 || year > 9999))
        *p++ = year < 0 ? '-' : '+';
    uint64_t y = year < 0 ? (uint64_t)-year : (uint64_t)year;
    p = y < 10000 ? digits_n(p, y, 4) : digits_u64(p, y);
    *p++ = '-';
    p = digits_2(p, (unsigned)month);
    *p++ = '-';
    p = digits_2(p, (unsigned)day);
    w->day_len = (uint8_t)(p - w->day_text);
    w->day = days;
    w->has_day = true;
}

static inline char *put_day(struct value_writer *w, int64_t days, char *p)
{
    if (days != w->day || !w->has_day)
        remember_day(w, days);
    memcpy(p, w->day_text, sizeof w->day_text);
    return p + w->day_len;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static char *write_date(struct value_writer *w, uint64_t row, char *p)
{
    int64_t ms = LOAD(int64_t, w, row);
    if (ms == SCHEMA_DATE_INFINITY)
        return text(p, "infinity");
    if (ms == -SCHEMA_DATE_INFINITY)
        return text(p, "-infinity");
    p = put_day(w, floor_div(ms, DAY_MS), p);
    return w->before_christ ? text(p, " BC") : p;
}

static char *write_time(struct value_writer *w, uint64_t row, char *p)
{
    int64_t us = LOAD(int64_t, w, row);
    if (us < 0 || us > DAY_US)
        us = 0; /* only under a NULL, which nobody prints */
    return put_time(p, us, w->rule->time);
}

/* Local seconds of a UTC instant; *ret_offset: seconds east. */
static int64_t to_local(struct value_writer *w, int64_t us, int32_t *ret_offset)
{
    int64_t s = floor_div(us, 1000000);
    if (s < w->span.from || s >= w->span.to)
        zone_at(w->rule->place, s, &w->span);
    *ret_offset = w->span.offset;
    int64_t local;
    /* at the very ends of time the clock of UTC is shown */
    if (__builtin_add_overflow(us, (int64_t)w->span.offset * 1000000, &local) || local == INT64_MAX)
        *ret_offset = 0, local = us;
    return local;
}

/* " Asia/Seoul", "+09:00", "+0900" or nothing, as the rule writes UTC; seconds only where the zone has them. */
static char *put_zone(const struct text_rule *rule, int32_t offset, char *p)
{
    if (!rule->zone[0])
        return p;
    if (rule->zone[0] == ' ') {
        *p++ = ' ';
        return text(p, zone_name(rule->place));
    }
    bool colon = rule->zone[3] == ':' || rule->zone[0] == 'Z';
    *p++ = offset < 0 ? '-' : '+';
    unsigned s = (unsigned)(offset < 0 ? -offset : offset);
    p = digits_2(p, s / 3600);
    if (colon)
        *p++ = ':';
    p = digits_2(p, s / 60 % 60);
    if (s % 60 == 0)
        return p;
    if (colon)
        *p++ = ':';
    return digits_2(p, s % 60);
}

static char *write_stamp(struct value_writer *w, uint64_t row, char *p)
{
    int64_t us = LOAD(int64_t, w, row);
    if (us == INT64_MAX)
        return text(p, "infinity");
    if (us == -INT64_MAX)
        return text(p, "-infinity");
    bool zoned = w->c->column->phys == PHYS_TIMESTAMPTZ, local = zoned && w->rule->place;
    int32_t offset = 0;
    if (local)
        us = to_local(w, us, &offset);
    int64_t days = floor_div(us, DAY_US);
    uint64_t rest = (uint64_t)us - (uint64_t)days * (uint64_t)DAY_US;
    p = put_day(w, days, p);
    *p++ = w->rule->date_time_gap;
    p = put_time(p, (int64_t)rest, w->rule->stamp);
    if (local)
        p = put_zone(w->rule, offset, p);
    else if (zoned || w->rule->zone_always)
        p = text(p, w->rule->zone);
    return w->before_christ ? text(p, " BC") : p;
}

/* ---- intervals ---- */

/* 0 00:00:00.000 (Trino, day to second), 0-0 (year to month), both when it has both. */
static char *interval_trino(char *p, int32_t months, int32_t days, int64_t ns)
{
    i128 total = (i128)days * DAY_NS + ns;
    if (months) {
        int64_t m = months;
        if (m < 0) {
            *p++ = '-';
            m = -m;
        }
        p = digits_u64(p, (uint64_t)m / 12);
        *p++ = '-';
        p = digits_u64(p, (uint64_t)m % 12);
        if (!total)
            return p;
        *p++ = ' ';
    }
    if (total < 0) {
        *p++ = '-';
        total = -total;
    }
    p = digits_u64(p, (uint64_t)(total / DAY_NS));
    *p++ = ' ';
    uint64_t rest = (uint64_t)(total % DAY_NS);
    p = put_time(p, (int64_t)(rest / 1000), FRACTION_3_OR_6);
    if (!(rest % 1000))
        return p;
    if (!(rest / 1000 % 1000))
        p = text(p, "000"); /* put_time stopped after three digits */
    return digits_n(p, rest % 1000, 3);
}

static char *iso_part(char *p, int64_t v, char unit)
{
    if (!v)
        return p;
    p = digits_i64(p, v);
    *p++ = unit;
    return p;
}

/* P1Y2M3DT4H5M6.5S; each part has its own sign, as in PostgreSQL. */
static char *interval_iso(char *p, int32_t months, int32_t days, int64_t ns)
{
    if (!months && !days && !ns)
        return text(p, "PT0S");
    *p++ = 'P';
    p = iso_part(p, months / 12, 'Y');
    p = iso_part(p, months % 12, 'M');
    p = iso_part(p, days, 'D');
    if (!ns)
        return p;
    *p++ = 'T';
    int64_t s = ns / 1000000000, fraction = ns % 1000000000;
    p = iso_part(p, s / 3600, 'H');
    p = iso_part(p, s / 60 % 60, 'M');
    s %= 60;
    if (!s && !fraction)
        return p;
    if (s < 0 || fraction < 0)
        *p++ = '-';
    p = digits_u64(p, (uint64_t)(s < 0 ? -s : s));
    if (fraction) {
        *p++ = '.';
        p = digits_n(p, (uint64_t)(fraction < 0 ? -fraction : fraction), 9);
        while (p[-1] == '0')
            p--;
    }
    *p++ = 'S';
    return p;
}

static char *write_interval(struct value_writer *w, uint64_t row, char *p)
{
    const uint8_t *v = w->c->values + row * 16;
    int32_t months, days;
    int64_t ns;
    memcpy(&months, v, 4);
    memcpy(&days, v + 4, 4);
    memcpy(&ns, v + 8, 8);
    return w->rule->interval_iso ? interval_iso(p, months, days, ns) : interval_trino(p, months, days, ns);
}

bool value__fixed(const struct text_rule *rule, bool json, const struct window_column *c,
                  struct value_writer *ret)
{
    static const struct {
        char *(*write)(struct value_writer *, uint64_t, char *);
        uint16_t room;
        bool quoted;
    } by_type[PHYS_END] = {
        [PHYS_BOOL] = {write_bool, 8, false},          [PHYS_INT16] = {write_i16, 8, false},
        [PHYS_INT32] = {write_i32, 12, false},         [PHYS_INT64] = {write_i64, 24, false},
        [PHYS_FLOAT32] = {write_f32, 40, false},       [PHYS_FLOAT64] = {write_f64, 40, false},
        [PHYS_DECIMAL] = {write_decimal, 48, false},   [PHYS_DATE] = {write_date, 40, true},
        [PHYS_TIME] = {write_time, 24, true},          [PHYS_TIMESTAMP] = {write_stamp, 72, true},
        [PHYS_TIMESTAMPTZ] = {write_stamp, 128, true}, [PHYS_INTERVAL] = {write_interval, 128, true},
    };
    if (!by_type[c->column->phys].write)
        return false;
    *ret = (struct value_writer){.write = by_type[c->column->phys].write,
                                 .c = c,
                                 .rule = rule,
                                 .room = by_type[c->column->phys].room,
                                 .quoted = by_type[c->column->phys].quoted,
                                 .json = json,
                                 .span = {1, 0, 0}};
    if (rule->real == REAL_DIGITS && ret->room == 40)
        ret->room = VALUE_FIXED_MAX;
    if (c->column->phys == PHYS_DECIMAL && rule->decimal_string)
        ret->quoted = true;
    return true;
}

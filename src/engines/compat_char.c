/*
 * compat_char: PostgreSQL's to_char of dates, times and intervals (functions-formatting), which get here as the text that
 * the engine's CAST makes of them: in the session's zone, and one function for all types. What reads a template is here
 * for compat_char_read.c too. Pure; any thread.
 */
#include "engines/compat_char.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"

const char *const char_months[12] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};
const char *const char_weekdays[7] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                      "Friday", "Saturday", "Sunday"};
const char *const char_romans[12] = {"I",   "II",   "III", "IV", "V",  "VI",
                                     "VII", "VIII", "IX",  "X",  "XI", "XII"};

/* ---- templates ---- */

/* A name that begins another one stands behind it. */
static const struct name {
    const char *name;
    enum char_key key;
    uint8_t n;
} names[] = {
    {"A.D.", CK_AD, 4},      {"B.C.", CK_AD, 4},      {"AD", CK_AD, 2},     {"BC", CK_AD, 2},
    {"A.M.", CK_AM_DOTS, 4}, {"P.M.", CK_AM_DOTS, 4}, {"AM", CK_AM, 2},     {"PM", CK_AM, 2},
    {"CC", CK_CC, 2},        {"DAY", CK_DAY, 3},      {"DDD", CK_DDD, 3},   {"DD", CK_DD, 2},
    {"DY", CK_DY, 2},        {"D", CK_D, 1},          {"FF1", CK_FF, 3},    {"FF2", CK_FF, 3},
    {"FF3", CK_FF, 3},       {"FF4", CK_FF, 3},       {"FF5", CK_FF, 3},    {"FF6", CK_FF, 3},
    {"HH24", CK_HH24, 4},    {"HH12", CK_HH12, 4},    {"HH", CK_HH12, 2},   {"IDDD", CK_IDDD, 4},
    {"ID", CK_ID, 2},        {"IW", CK_IW, 2},        {"IYYY", CK_IYYY, 4}, {"IYY", CK_IYY, 3},
    {"IY", CK_IY, 2},        {"I", CK_I, 1},          {"J", CK_J, 1},       {"MI", CK_MI, 2},
    {"MM", CK_MM, 2},        {"MONTH", CK_MONTH, 5},  {"MON", CK_MON, 3},   {"MS", CK_MS, 2},
    {"OF", CK_OF, 2},        {"Q", CK_Q, 1},          {"RM", CK_RM, 2},     {"SSSSS", CK_SSSS, 5},
    {"SSSS", CK_SSSS, 4},    {"SS", CK_SS, 2},        {"TZH", CK_TZH, 3},   {"TZM", CK_TZM, 3},
    {"TZ", CK_TZ, 2},        {"US", CK_US, 2},        {"WW", CK_WW, 2},     {"W", CK_W, 1},
    {"Y,YYY", CK_Y_YYY, 5},  {"YYYY", CK_YYYY, 4},    {"YYY", CK_YYY, 3},   {"YY", CK_YY, 2},
    {"Y", CK_Y, 1},
};

static const struct name *name_at(const char *p, const char *end)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if ((size_t)(end - p) >= names[i].n && strncasecmp(p, names[i].name, names[i].n) == 0)
            return &names[i];
    }
    return NULL;
}

static bool two(const char *p, const char *end, const char *what)
{
    return end - p >= 2 && strncasecmp(p, what, 2) == 0;
}

static void text_piece(const char **p, const char *end, struct char_piece *t)
{
    t->key = CK_TEXT;
    t->text = *p;
    t->n = 1;
    if (**p != '"') {
        (*p)++;
        return;
    }
    t->quoted = true;
    t->text = *p + 1;
    const char *close = memchr(t->text, '"', (size_t)(end - t->text));
    t->n = (size_t)((close ? close : end) - t->text);
    *p = close ? close + 1 : end;
}

bool char_next(const char **p, const char *end, struct char_piece *ret)
{
    *ret = (struct char_piece){.style = 'U'};
    while (two(*p, end, "FM") || two(*p, end, "FX")) {
        ret->fm |= two(*p, end, "FM");
        *p += 2;
    }
    if (*p >= end)
        return false;
    const struct name *name = name_at(*p, end);
    if (!name) {
        text_piece(p, end, ret);
        return true;
    }
    const char *at = *p;
    bool first = at[0] >= 'a', second = name->n > 1 && at[1] >= 'a';
    ret->key = name->key;
    ret->style = first ? 'L' : second ? 'C' : 'U';
    if (name->key == CK_FF)
        ret->n = (size_t)(at[2] - '0');
    *p += name->n;
    if (two(*p, end, "TH")) {
        ret->ordinal = **p == 't' ? 'L' : 'U';
        *p += 2;
    } else if (two(*p, end, "SP")) {
        *p += 2;
    }
    return true;
}

/* ---- days ---- */

int char_weekday(int64_t days)
{
    return (int)(((days + 3) % 7 + 7) % 7) + 1;
}

int64_t char_iso_start(int64_t year)
{
    int64_t fourth = clock_days_from_civil(year, 1, 4);
    return fourth - (char_weekday(fourth) - 1);
}

void char_iso_week(int64_t days, int64_t *ret_year, int *ret_week)
{
    int64_t year;
    int month, day;
    clock_civil_from_days(days, &year, &month, &day);
    if (char_iso_start(year + 1) <= days)
        year++;
    else if (char_iso_start(year) > days)
        year--;
    *ret_year = year;
    *ret_week = (int)((days - char_iso_start(year)) / 7) + 1;
}

/* ---- values ---- */

struct moment {
    int64_t year, month, day, hour, minute, second, micro;
    bool date, zone;
    int offset; /* minutes */
};

static bool number(const char **p, const char *end, int64_t *ret)
{
    const char *from = *p;
    int64_t v = 0;
    for (; *p < end && **p >= '0' && **p <= '9' && *p - from < 12; (*p)++)
        v = v * 10 + (**p - '0');
    *ret = v;
    return *p > from;
}

static bool take(const char **p, const char *end, char c)
{
    bool there = *p < end && **p == c;
    *p += there;
    return there;
}

/* h:m:s.f, with a sign in front of all of it */
static bool clock_of(const char **p, const char *end, struct moment *m)
{
    int64_t sign = take(p, end, '-') ? -1 : 1, fraction = 0, scale = 100000;
    if (!number(p, end, &m->hour) || !take(p, end, ':') || !number(p, end, &m->minute))
        return false;
    if (take(p, end, ':') && !number(p, end, &m->second))
        return false;
    if (take(p, end, '.')) {
        for (; *p < end && **p >= '0' && **p <= '9'; (*p)++, scale /= 10)
            fraction += (**p - '0') * scale;
    }
    m->hour *= sign;
    m->minute *= sign;
    m->second *= sign;
    m->micro = fraction * sign;
    return true;
}

static bool zone_of(const char **p, const char *end, struct moment *m)
{
    int64_t hours = 0, minutes = 0;
    bool minus = *p < end && **p == '-';
    if (!minus && !(*p < end && **p == '+'))
        return true;
    (*p)++;
    m->zone = true;
    if (!number(p, end, &hours) || (take(p, end, ':') && !number(p, end, &minutes)) || hours > 99)
        return false;
    m->offset = (int)(hours * 60 + minutes % 60) * (minus ? -1 : 1);
    return true;
}

/* 2024-03-05[ 14:07:09.5[+09]] */
static bool date_of(const char *p, const char *end, struct moment *m)
{
    m->date = true;
    if (!number(&p, end, &m->year) || !take(&p, end, '-') || !number(&p, end, &m->month) ||
        !take(&p, end, '-') || !number(&p, end, &m->day) || m->month < 1 || m->month > 12 || m->day < 1 ||
        m->day > 31)
        return false;
    if (take(&p, end, ' ') && !(clock_of(&p, end, m) && zone_of(&p, end, m)))
        return false;
    return p == end;
}

/* 1 year 2 months -3 days 04:05:06 */
static bool interval_of(const char *p, const char *end, struct moment *m)
{
    while (p < end) {
        const char *word = p;
        int64_t v;
        bool minus = take(&word, end, '-');
        if (!number(&word, end, &v))
            return false;
        if (word < end && *word == ':')
            return clock_of(&p, end, m) && (p == end || zone_of(&p, end, m)) && p == end;
        if (!take(&word, end, ' ') || word == end)
            return false;
        int64_t *part = *word == 'y' ? &m->year : *word == 'm' ? &m->month : *word == 'd' ? &m->day : NULL;
        if (!part)
            return false;
        *part = minus ? -v : v;
        while (word < end && *word != ' ')
            word++;
        p = word + (word < end);
    }
    return true;
}

/* ---- writing ---- */

static void ordinal(struct buf *out, int64_t v, char style)
{
    int64_t last = v % 10, tens = v / 10 % 10;
    const char *th = tens == 1 ? "th" : last == 1 ? "st" : last == 2 ? "nd" : last == 3 ? "rd" : "th";
    for (; *th; th++)
        (void)buf_char(out, style == 'U' ? (char)(*th & ~0x20) : *th);
}

static void put(struct buf *out, const struct char_piece *t, int64_t v, int width)
{
    (void)buf_printf(out, "%0*lld", t->fm ? 0 : width + (v < 0), (long long)v);
    if (t->ordinal)
        ordinal(out, v < 0 ? -v : v, t->ordinal);
}

static void put_name(struct buf *out, const struct char_piece *t, const char *name, size_t n, size_t width)
{
    for (size_t i = 0; i < n; i++) {
        char c = name[i], upper = c >= 'a' && c <= 'z' ? (char)(c & ~0x20) : c;
        char lower = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
        (void)buf_char(out, t->style == 'U' || (t->style == 'C' && i == 0) ? upper : lower);
    }
    for (size_t i = n; i < width && !t->fm; i++)
        (void)buf_char(out, ' ');
}

static void put_zone(struct buf *out, const struct char_piece *t, const struct moment *m)
{
    int minutes = m->offset < 0 ? -m->offset : m->offset, hours = minutes / 60;
    char sign = m->offset < 0 ? '-' : '+';
    if (!m->zone)
        return;
    if (t->key == CK_TZM)
        (void)buf_printf(out, "%02d", minutes % 60);
    else if (t->key == CK_TZ && !m->offset)
        (void)buf_str_add(out, t->style == 'L' ? "utc" : "UTC");
    else
        (void)buf_printf(out, "%c%02d", sign, hours);
    if (minutes % 60 && (t->key == CK_OF || t->key == CK_TZ))
        (void)buf_printf(out, ":%02d", minutes % 60);
}

static void put_calendar(struct buf *out, const struct char_piece *t, const struct moment *m)
{
    int64_t days = clock_days_from_civil(m->year, (int)(m->month ? m->month : 1), (int)(m->day ? m->day : 1)),
            iso, of_year;
    int week, weekday = char_weekday(days);
    if (!m->date && t->key != CK_DDD)
        return; /* an interval has none */
    char_iso_week(days, &iso, &week);
    of_year = m->date ? days - clock_days_from_civil(m->year, 1, 1) + 1 : m->day;
    switch (t->key) {
    case CK_D:
        put(out, t, weekday % 7 + 1, 1);
        break;
    case CK_ID:
        put(out, t, weekday, 1);
        break;
    case CK_DAY:
        put_name(out, t, char_weekdays[weekday - 1], strlen(char_weekdays[weekday - 1]), 9);
        break;
    case CK_DY:
        put_name(out, t, char_weekdays[weekday - 1], 3, 3);
        break;
    case CK_DDD:
        put(out, t, of_year, 3);
        break;
    case CK_IDDD:
        put(out, t, days - char_iso_start(iso) + 1, 3);
        break;
    case CK_IW:
        put(out, t, week, 2);
        break;
    case CK_IYYY:
        put(out, t, iso, 4);
        break;
    case CK_IYY:
        put(out, t, iso % 1000, 3);
        break;
    case CK_IY:
        put(out, t, iso % 100, 2);
        break;
    case CK_I:
        put(out, t, iso % 10, 1);
        break;
    case CK_J:
        put(out, t, days + 2440588, 1);
        break;
    case CK_Q:
        put(out, t, (m->month - 1) / 3 + 1, 1);
        break;
    case CK_WW:
        put(out, t, (of_year - 1) / 7 + 1, 2);
        break;
    default:
        put(out, t, (m->day - 1) / 7 + 1, 1);
        break; /* W */
    }
}

static void put_month(struct buf *out, const struct char_piece *t, const struct moment *m)
{
    if (m->month < 1 || m->month > 12)
        return;
    const char *name = t->key == CK_RM ? char_romans[m->month - 1] : char_months[m->month - 1];
    if (t->key == CK_MON)
        put_name(out, t, name, 3, 3);
    else
        put_name(out, t, name, strlen(name), t->key == CK_RM ? 4 : 9);
}

static void put_piece(struct buf *out, const struct char_piece *t, const struct moment *m)
{
    int64_t scale = 1000000, half = m->hour % 12;
    bool pm = m->hour % 24 >= 12;
    switch (t->key) {
    case CK_TEXT:
        (void)buf_add(out, t->text, t->n);
        break;
    case CK_AD:
        put_name(out, t, "AD", 2, 2);
        break;
    case CK_AM:
        put_name(out, t, pm ? "PM" : "AM", 2, 2);
        break;
    case CK_AM_DOTS:
        put_name(out, t, pm ? "P.M." : "A.M.", 4, 4);
        break;
    case CK_CC:
        put(out, t, (m->year + 99) / 100, 2);
        break;
    case CK_DD:
        put(out, t, m->day, 2);
        break;
    case CK_HH12:
        put(out, t, half ? half : m->date || m->hour ? 12 : 0, 2);
        break;
    case CK_HH24:
        put(out, t, m->hour, 2);
        break;
    case CK_MI:
        put(out, t, m->minute, 2);
        break;
    case CK_MM:
        put(out, t, m->month, 2);
        break;
    case CK_MON:
    case CK_MONTH:
    case CK_RM:
        put_month(out, t, m);
        break;
    case CK_MS:
        put(out, t, m->micro / 1000, 3);
        break;
    case CK_US:
        put(out, t, m->micro, 6);
        break;
    case CK_FF:
        for (size_t i = 0; i < t->n; i++)
            scale /= 10;
        (void)buf_printf(out, "%0*lld", (int)t->n, (long long)(m->micro / scale));
        break;
    case CK_SS:
        put(out, t, m->second, 2);
        break;
    case CK_SSSS:
        put(out, t, m->hour * 3600 + m->minute * 60 + m->second, 1);
        break;
    case CK_OF:
    case CK_TZ:
    case CK_TZH:
    case CK_TZM:
        put_zone(out, t, m);
        break;
    case CK_Y_YYY:
        (void)buf_printf(out, "%lld,%03lld", (long long)(m->year / 1000), (long long)(m->year % 1000));
        break;
    case CK_YYYY:
        put(out, t, m->year, 4);
        break;
    case CK_YYY:
        put(out, t, m->year % 1000, 3);
        break;
    case CK_YY:
        put(out, t, m->year % 100, 2);
        break;
    case CK_Y:
        put(out, t, m->year % 10, 1);
        break;
    default:
        put_calendar(out, t, m);
        break;
    }
}

/* 12, -1.5, 1e+20, NaN: no more than digits, a sign, a point and an exponent, and no date. */
static bool is_number(const char *p, size_t n)
{
    size_t at = n && (*p == '-' || *p == '+');
    if (at < n && (p[at] == 'N' || p[at] == 'I' || p[at] == 'n' || p[at] == 'i'))
        return true;
    for (; at < n; at++) {
        bool exponent = at && (p[at] == '-' || p[at] == '+') && (p[at - 1] | 0x20) == 'e';
        if (!(p[at] >= '0' && p[at] <= '9') && p[at] != '.' && (p[at] | 0x20) != 'e' && !exponent)
            return false;
    }
    return n > 0;
}

bool char_of(const char *value, size_t n, const char *template, size_t template_n, struct buf *out)
{
    struct moment m = {0};
    const char *end = value + n, *t = template, *stop = template + template_n;
    const char *second = n > 4 ? memchr(value + 1, '-', n - 1) : NULL;
    if (is_number(value, n))
        return char_of_number(value, n, template, template_n, out);
    if (!(second && date_of(value, end, &m))) {
        m = (struct moment){0};
        if (!n || !interval_of(value, end, &m))
            return false;
    }
    struct char_piece piece;
    while (char_next(&t, stop, &piece))
        put_piece(out, &piece, &m);
    return !out->failed;
}

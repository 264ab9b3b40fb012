/*
 * compat_char_read: PostgreSQL's to_date and to_timestamp: a text read by a template. As there, blanks and separators of
 * the template stand for any, a number that is followed by something other than a number may have more digits than its
 * pattern, and what the text has behind the template is not looked at. Pure; any thread.
 */
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "engines/compat_char.h"
#include "engines/compat_rows.h"

#define DAY      86400000000ll
#define LAST_DAY 106751980 /* from 1970: in the year 294247; microseconds of a later one do not fit */

struct reading {
    const char *p, *end;
    int64_t year, month, day, of_year, hour, minute, second, micro, iso_year, iso_week, iso_day, julian,
        of_day;
    bool has_year, half, pm, iso, minus_zone;
    int64_t zone_hour, zone_minute;
};

/* Digits that a pattern has; 0: it is none of a number. */
static unsigned width_of(const struct char_piece *t)
{
    switch (t->key) {
    case CK_I:
    case CK_ID:
    case CK_D:
    case CK_Q:
    case CK_W:
    case CK_Y:
        return 1;
    case CK_DD:
    case CK_HH12:
    case CK_HH24:
    case CK_IW:
    case CK_IY:
    case CK_MI:
    case CK_MM:
    case CK_SS:
    case CK_TZH:
    case CK_TZM:
    case CK_WW:
    case CK_YY:
    case CK_CC:
        return 2;
    case CK_DDD:
    case CK_IDDD:
    case CK_IYY:
    case CK_MS:
    case CK_YYY:
        return 3;
    case CK_IYYY:
    case CK_YYYY:
        return 4;
    case CK_SSSS:
        return 5;
    case CK_US:
        return 6;
    case CK_J:
        return 7;
    case CK_FF:
        return (unsigned)t->n;
    default:
        return 0;
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool separates(char c)
{
    bool word = is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (unsigned char)c >= 0x80;
    return !word;
}

static void blanks(struct reading *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n'))
        r->p++;
}

/* A number with up to that many digits. False: there is none. */
static bool number(struct reading *r, unsigned most, int64_t *ret, unsigned *ret_digits)
{
    int64_t v = 0;
    unsigned n = 0;
    for (; r->p < r->end && n < most && is_digit(*r->p); r->p++, n++)
        v = v * 10 + (*r->p - '0');
    *ret = v;
    *ret_digits = n;
    return n > 0;
}

static void skip_text(struct reading *r, const struct char_piece *t)
{
    if (!t->quoted && separates(*t->text)) {
        bool had = r->p < r->end && *r->p == ' ';
        blanks(r);
        if (*t->text != ' ' && r->p < r->end && separates(*r->p) && *r->p != '-' && *r->p != '+')
            r->p++;
        else if (*t->text != ' ' && r->p < r->end && *r->p == *t->text)
            r->p++;
        else if (!had && r->p < r->end && separates(*r->p) && *r->p != '-' && *r->p != '+')
            r->p++;
        blanks(r);
        return;
    }
    for (size_t i = 0; i < t->n && r->p < r->end; i++)
        r->p++;
}

/* A name of a month or a day, whole or its first three letters. -1: none. */
static int one_of(struct reading *r, const char *const *names, int n, bool whole)
{
    for (int i = 0; i < n; i++) {
        size_t len = whole ? strlen(names[i]) : 3;
        if ((size_t)(r->end - r->p) >= len && strncasecmp(r->p, names[i], len) == 0) {
            r->p += len;
            return i;
        }
    }
    return -1;
}

static const char *wrong(struct reading *r, const char *after)
{
    return row_say("invalid value \"", r->p, (size_t)(r->end - r->p), after);
}

static int64_t fraction(int64_t v, unsigned digits, unsigned of)
{
    for (; digits < of; digits++)
        v *= 10;
    for (; digits > of; digits--)
        v /= 10;
    return v;
}

/* The year that two or three digits are meant for: the one next to 2020. */
static int64_t near(int64_t v, unsigned digits)
{
    if (digits >= 4)
        return v;
    return digits == 3 ? v + (v < 520 ? 2000 : 1000) : v + (v < 70 ? 2000 : 1900);
}

static void set_number(struct reading *r, const struct char_piece *t, int64_t v, unsigned digits)
{
    switch (t->key) {
    case CK_YYYY:
        r->year = v;
        break;
    case CK_YYY:
    case CK_YY:
    case CK_Y:
        r->year = near(v, digits);
        break;
    case CK_IYYY:
        r->iso_year = v;
        break;
    case CK_IYY:
    case CK_IY:
    case CK_I:
        r->iso_year = near(v, digits);
        break;
    case CK_IW:
        r->iso_week = v;
        break;
    case CK_ID:
        r->iso_day = v;
        break;
    case CK_MM:
        r->month = v;
        break;
    case CK_DD:
        r->day = v;
        break;
    case CK_DDD:
        r->of_year = v;
        break;
    case CK_J:
        r->julian = v;
        break;
    case CK_HH12:
        r->half = true; /* fall through */
    case CK_HH24:
        r->hour = v;
        break;
    case CK_MI:
        r->minute = v;
        break;
    case CK_SS:
        r->second = v;
        break;
    case CK_SSSS:
        r->of_day = v;
        break;
    case CK_MS:
        r->micro += fraction(v, digits, 3) * 1000;
        break;
    case CK_US:
    case CK_FF:
        r->micro += fraction(v, digits, 6);
        break;
    case CK_TZH:
        r->zone_hour = v;
        break;
    case CK_TZM:
        r->zone_minute = v;
        break;
    default:
        break; /* D, Q, W, WW, CC say nothing of a date that the rest does not */
    }
    r->iso |= t->key == CK_IYYY || t->key == CK_IYY || t->key == CK_IY || t->key == CK_IW;
    r->has_year |= t->key == CK_YYYY || t->key == CK_YYY || t->key == CK_YY || t->key == CK_Y;
}

static const char *read_name(struct reading *r, const struct char_piece *t)
{
    int k = 0;
    switch (t->key) {
    case CK_MON:
    case CK_MONTH:
        k = one_of(r, char_months, 12, true);
        if (k < 0)
            k = one_of(r, char_months, 12, false);
        r->month = k + 1;
        return k < 0 ? wrong(r, "\" for \"Month\"") : NULL;
    case CK_DAY:
    case CK_DY:
        k = one_of(r, char_weekdays, 7, true);
        if (k < 0)
            k = one_of(r, char_weekdays, 7, false);
        return k < 0 ? wrong(r, "\" for \"Day\"") : NULL;
    case CK_AM:
    case CK_AM_DOTS:
        if (r->p < r->end && strchr("aApP", *r->p))
            r->pm = (*r->p | 0x20) == 'p';
        else
            return wrong(r, "\" for \"AM\"");
        r->half = true;
        while (r->p < r->end && strchr("aApPmM.", *r->p))
            r->p++;
        return NULL;
    case CK_TZ:
    case CK_OF:
    case CK_AD:
        while (r->p < r->end && *r->p != ' ')
            r->p++;
        return NULL;
    default:
        return NULL;
    }
}

static const char *read_piece(struct reading *r, const struct char_piece *t, bool number_follows)
{
    unsigned width = width_of(t), digits;
    int64_t v;
    if (t->key == CK_TEXT) {
        skip_text(r, t);
        return NULL;
    }
    blanks(r);
    if (r->p == r->end)
        return NULL;
    if (!width)
        return read_name(r, t);
    if (t->key == CK_TZH && r->p < r->end && (*r->p == '-' || *r->p == '+'))
        r->minus_zone = *r->p++ == '-';
    bool fixed = number_follows || t->key == CK_TZH || t->key == CK_TZM;
    if (!number(r, fixed ? width : 9, &v, &digits))
        return wrong(r, "\" where a number belongs");
    set_number(r, t, v, digits);
    if (t->ordinal)
        r->p += r->end - r->p >= 2 ? 2 : r->end - r->p;
    return NULL;
}

/* The day's number. False: there is no such day. */
static bool day_of(const struct reading *r, int64_t *ret)
{
    int64_t year = r->has_year ? r->year : 1;
    if (r->julian) {
        *ret = r->julian - 2440588;
    } else if (r->iso) {
        if (r->iso_week > 53 || r->iso_day > 7 || r->iso_year > 9999)
            return false;
        *ret = char_iso_start(r->iso_year) + (r->iso_week ? r->iso_week - 1 : 0) * 7 +
               (r->iso_day ? r->iso_day - 1 : 0);
    } else if (r->of_year) {
        *ret = clock_days_from_civil(year, 1, 1) + r->of_year - 1;
        if (r->of_year > 366 || year > 294246)
            return false;
    } else {
        int64_t back;
        int month, day;
        int64_t m = r->month ? r->month : 1, d = r->day ? r->day : 1;
        if (m > 12 || d > 31 || year > 294246)
            return false;
        *ret = clock_days_from_civil(year, (int)m, (int)d);
        clock_civil_from_days(*ret, &back, &month, &day);
        return back == year && month == m && day == d;
    }
    return true;
}

static bool time_of(struct reading *r, int64_t *ret)
{
    if (r->half) {
        if (r->hour < 1 || r->hour > 12)
            return r->hour == 0 && !r->pm ? (*ret = 0, true) : false;
        r->hour = r->hour % 12 + (r->pm ? 12 : 0);
    }
    if (r->hour > 23 || r->minute > 59 || r->second > 60 || r->of_day > 86400)
        return r->hour == 24 && !r->minute && !r->second ? (*ret = DAY, true) : false;
    *ret = (r->of_day ? r->of_day : r->hour * 3600 + r->minute * 60 + r->second) * 1000000 + r->micro;
    return true;
}

const char *char_read(const char *text, size_t n, const char *template, size_t template_n, int64_t *ret)
{
    struct reading r = {.p = text, .end = text + n};
    const char *t = template, *stop = template + template_n;
    struct char_piece piece, next;
    int64_t day, clock;
    bool more = char_next(&t, stop, &piece);
    while (more) {
        more = char_next(&t, stop, &next);
        const char *message = read_piece(&r, &piece, more && width_of(&next) > 0);
        if (message)
            return message;
        piece = next;
    }
    if (!day_of(&r, &day) || !time_of(&r, &clock) || day > LAST_DAY || day < -LAST_DAY)
        return row_say("date/time field value out of range: \"", text, n, "\"");
    int64_t zone = (r.zone_hour * 60 + r.zone_minute) * 60000000 * (r.minus_zone ? -1 : 1);
    *ret = day * DAY + clock - zone;
    return NULL;
}

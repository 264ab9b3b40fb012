/*
 * clock: see clock.h. Pure functions, any thread.
 *
 * The civil date arithmetic counts days from 0000-03-01, so that the leap day is the last of its year and a
 * 400-year era has exactly 146,097 days; floor division makes it right for negative years as well.
 */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define ERA_DAYS    146097
#define EPOCH_SHIFT 719468 /* days from 0000-03-01 to 1970-01-01 */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

void clock_civil_from_days(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day)
{
    int64_t era = floor_div(days, ERA_DAYS);
    int64_t rest = days - era * ERA_DAYS + EPOCH_SHIFT; /* split so that no int64 overflows */
    era += rest / ERA_DAYS;
    rest %= ERA_DAYS;
    int64_t year_of_era = (rest - rest / 1460 + rest / 36524 - rest / 146096) / 365;
    int64_t day_of_year = rest - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153; /* 0 is March */
    *ret_day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    *ret_month = (int)(month < 10 ? month + 3 : month - 9);
    *ret_year = year_of_era + era * 400 + (month >= 10);
}

int64_t clock_days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * ERA_DAYS + day_of_era - EPOCH_SHIFT;
}

void clock_civil(int64_t unix_seconds, struct civil *ret)
{
    int64_t days = floor_div(unix_seconds, 86400);
    int second = (int)(unix_seconds - days * 86400);
    clock_civil_from_days(days, &ret->year, &ret->month, &ret->day);
    ret->hour = second / 3600;
    ret->minute = second / 60 % 60;
    ret->second = second % 60;
}

char *clock_iso_ms(int64_t unix_ms, char *buf, size_t n)
{
    int64_t seconds = floor_div(unix_ms, 1000);
    struct civil c;
    clock_civil(seconds, &c);
    if (c.year >= 0 && c.year <= 9999 && n > 24) { /* the usual case, on the path of every status */
        const int parts[] = {(int)c.year / 100, (int)c.year % 100, c.month, c.day, c.hour,
                             c.minute,          c.second};
        int ms = (int)((unix_ms % 1000 + 1000) % 1000);
        memcpy(buf, "0000-00-00T00:00:00.000Z", 25);
        for (int i = 0, at = 0; i < 7; at += i++ ? 3 : 2) {
            buf[at] = (char)('0' + parts[i] / 10);
            buf[at + 1] = (char)('0' + parts[i] % 10);
        }
        buf[20] = (char)('0' + ms / 100);
        buf[21] = (char)('0' + ms / 10 % 10);
        buf[22] = (char)('0' + ms % 10);
        return buf;
    }
    /* ISO 8601 wants a sign on years outside 0000..9999. */
    snprintf(
        buf, n,
        c.year > 9999 ? "+%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ" : "%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ",
        (long long)c.year, c.month, c.day, c.hour, c.minute, c.second, (int)((unix_ms % 1000 + 1000) % 1000));
    return buf;
}

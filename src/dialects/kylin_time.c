/*
 * kylin_time: the instant in older_than (design.md section 7): strictly yyyy-MM-dd HH:mm:ss of a day and time
 * that exist, in the zone of the configuration. Kylin itself rolls month 13 over and takes what stands behind
 * the seconds, and so deletes what nobody meant. Pure; any thread; hostile bytes allowed, fuzzed.
 */
#include "base/config.h"
#include "base/zone.h"
#include "dialects/kylin_int.h"

static bool digits(const char **p, int n, int *ret)
{
    int v = 0;
    for (int i = 0; i < n; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return false;
        v = v * 10 + (**p - '0');
    }
    *ret = v;
    return true;
}

static bool skip(const char **p, char c)
{
    return *(*p)++ == c;
}

/* Days since 1970-01-01 of a day of the Gregorian calendar. */
static int64_t days_of(int y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int yoe = (int)(y - era * 400), doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static int month_days(int y, int m)
{
    static const int n[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return m == 2 && leap ? 29 : n[m - 1];
}

/* "+08:00" */
static bool fixed_offset(const char *s, int32_t *ret)
{
    int h, m;
    const char *p = s + 1;
    if ((*s != '+' && *s != '-') || !digits(&p, 2, &h) || !skip(&p, ':') || !digits(&p, 2, &m) || *p ||
        h > 14 || m > 59)
        return false;
    *ret = (*s == '-' ? -1 : 1) * (h * 3600 + m * 60);
    return true;
}

static int32_t offset_at(const struct zone *z, int64_t unix_s)
{
    struct zone_span span;
    zone_at(z, unix_s, &span);
    return span.offset;
}

bool kylin__utc(const char *zone, int64_t local_s, int64_t *ret_s)
{
    int32_t offset;
    if (fixed_offset(zone, &offset)) {
        *ret_s = local_s - offset;
        return true;
    }
    const struct zone *z = zone_find(zone);
    if (!z)
        return false;
    /* A time that the clock shows twice, or leaps over, is the earlier of the two: less is deleted. */
    int64_t a = local_s - offset_at(z, local_s - 86400), b = local_s - offset_at(z, local_s + 86400);
    int64_t early = a < b ? a : b, late = a < b ? b : a;
    bool early_fits = early + offset_at(z, early) == local_s,
         late_fits = late + offset_at(z, late) == local_s;
    *ret_s = early_fits || !late_fits ? early : late;
    return true;
}

int kylin__check(struct err *e)
{
    int64_t s;
    return kylin__utc(config.kylin_time_zone, 0, &s)
               ? 0
               : err_set(e, ERR_INVALID, NULL,
                         "kylin.time_zone: \"%.100s\" is no zone that this machine knows and no offset such "
                         "as +08:00",
                         config.kylin_time_zone);
}

bool kylin__time(const char *s, int64_t *ret_s)
{
    int y, mo, d, h, mi, sec;
    const char *p = s;
    if (!digits(&p, 4, &y) || !skip(&p, '-') || !digits(&p, 2, &mo) || !skip(&p, '-') || !digits(&p, 2, &d) ||
        !skip(&p, ' ') || !digits(&p, 2, &h) || !skip(&p, ':') || !digits(&p, 2, &mi) || !skip(&p, ':') ||
        !digits(&p, 2, &sec) || *p)
        return false;
    if (mo < 1 || mo > 12 || d < 1 || d > month_days(y, mo) || h > 23 || mi > 59 || sec > 59)
        return false;
    *ret_s = days_of(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec;
    return true;
}

/* clock: time texts. Pure functions; any thread. The clock itself is base/sys.h. */
#ifndef QUERN_BASE_CLOCK_H
#define QUERN_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

struct civil {
    int64_t year;
    int month, day, hour, minute, second;
}; /* proleptic Gregorian, month and day from 1 */

/* Days since 1970-01-01 <-> civil date; exact for all int32 days. */
void clock_civil_from_days(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day);
int64_t clock_days_from_civil(int64_t year, int month, int day);
void clock_civil(int64_t unix_seconds, struct civil *ret);
/* "2025-09-26T10:45:07.438Z"; buf of at least 40 bytes. Returns buf. */
char *clock_iso_ms(int64_t unix_ms, char *buf, size_t n);

#endif

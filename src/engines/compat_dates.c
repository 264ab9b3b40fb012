/*
 * compat_dates: arithmetic of dates in profile TRINO, where a date and an interval make a date and two dates an
 * interval (compat_operators.c sends such operators here; the engine has timestamps and numbers of days):
 *
 *   quern_date_plus(date, interval), quern_plus_date(interval, date), quern_date_minus(date, interval)
 *   quern_date_apart(date, date)
 *
 * Thread as compat_arith.c.
 */
#include <stdlib.h>

#include "engines/compat_arith.h"
#include "engines/compat_number.h"
#include "engines/compat_returns.h"

#define DAY_US    86400000000
#define DAY_FIRST (-2147483646) /* what lies beyond is an infinity */
#define DAY_LAST  2147483646

/* NULL: *ret is the date; else what is wrong. */
static const char *shift(int32_t day, const duckdb_interval *by, int sign, int32_t *ret)
{
    *ret = day;
    if (by->micros % DAY_US)
        return "Cannot add hour, minutes or seconds to a date";
    if (day < DAY_FIRST || day > DAY_LAST)
        return NULL;
    int64_t days = day;
    if (by->months) {
        static const int8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        duckdb_date_struct d = duckdb_from_date((duckdb_date){day});
        int64_t months = (int64_t)d.year * 12 + d.month - 1 + (int64_t)by->months * sign;
        int64_t year = months >= 0 ? months / 12 : (months - 11) / 12, month = months - year * 12;
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        int8_t length = month == 1 && leap ? 29 : lengths[month];
        if (year < -5877640 || year > 5881579)
            return "Overflow in a date: the value is out of range";
        d = (duckdb_date_struct){(int32_t)year, (int8_t)(month + 1), d.day < length ? d.day : length};
        days = duckdb_to_date(d).days;
    }
    days += sign * ((int64_t)by->days + by->micros / DAY_US);
    if (days < DAY_FIRST || days > DAY_LAST)
        return "Overflow in a date: the value is out of range";
    *ret = (int32_t)days;
    return NULL;
}

static void end(duckdb_function_info info, const struct operands *o, duckdb_vector out, const char *message)
{
    if (message)
        duckdb_scalar_function_set_error(info, message);
    else
        operands_nulls(o, out);
}

static void shifted(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out, bool date_last,
                    int sign)
{
    struct operands o = operands_of(in, out);
    const int32_t *dates = date_last ? o.b : o.a;
    const duckdb_interval *by = date_last ? o.a : o.b;
    const char *message = NULL;
    for (idx_t i = 0; i < o.n && !message; i++) {
        if (operands_valid(&o, i))
            message = shift(dates[i], &by[i], sign, (int32_t *)o.out + i);
    }
    end(info, &o, out, message);
}

static void plus(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    shifted(info, in, out, false, 1);
}

static void plus_date(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    shifted(info, in, out, true, 1);
}

static void minus(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    shifted(info, in, out, false, -1);
}

static void apart(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    struct operands o = operands_of(in, out);
    const char *message = NULL;
    for (idx_t i = 0; i < o.n && !message; i++) {
        int64_t days = (int64_t)((const int32_t *)o.a)[i] - ((const int32_t *)o.b)[i];
        if (operands_valid(&o, i) && days != (int32_t)days)
            message = "Overflow in an interval: the value is out of range";
        ((duckdb_interval *)o.out)[i] = (duckdb_interval){0, (int32_t)days, 0};
    }
    end(info, &o, out, message);
}

bool compat_dates_install(duckdb_connection c)
{
    static const struct {
        const char *name;
        duckdb_type a, b, result;
        duckdb_scalar_function_t run;
    } functions[] = {
        {"quern_date_plus", DUCKDB_TYPE_DATE, DUCKDB_TYPE_INTERVAL, DUCKDB_TYPE_DATE, plus},
        {"quern_plus_date", DUCKDB_TYPE_INTERVAL, DUCKDB_TYPE_DATE, DUCKDB_TYPE_DATE, plus_date},
        {"quern_date_minus", DUCKDB_TYPE_DATE, DUCKDB_TYPE_INTERVAL, DUCKDB_TYPE_DATE, minus},
        {"quern_date_apart", DUCKDB_TYPE_DATE, DUCKDB_TYPE_DATE, DUCKDB_TYPE_INTERVAL, apart},
    };
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof functions / sizeof *functions; i++)
        ok = compat_register(c, &(struct compat_function){.name = functions[i].name,
                                                          .a = functions[i].a,
                                                          .b = functions[i].b,
                                                          .result = functions[i].result,
                                                          .run = functions[i].run});
    return ok;
}

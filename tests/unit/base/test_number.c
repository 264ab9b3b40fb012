/* number and clock: texts that other programs compare byte for byte; civil dates over the whole int32 range. */
#include "unit.h"

#include <float.h>
#include <math.h>

#include "base/clock.h"
#include "base/number.h"

static void doubles(void **state)
{
    (void)state;
    struct {
        double v;
        const char *shortest, *java;
    } rows[] = {
        {0.0, "0", "0.0"},
        {-0.0, "-0", "-0.0"},
        {100, "100", "100.0"},
        {0.1, "0.1", "0.1"},
        {1.0 / 3, "0.3333333333333333", "0.3333333333333333"},
        {-2.5, "-2.5", "-2.5"},
        {9999999, "9999999", "9999999.0"},
        {1e7, "1e+07", "1.0E7"},
        {12345678, "12345678", "1.2345678E7"},
        {1e-3, "0.001", "0.001"},
        {1e-4, "1e-04", "1.0E-4"},
        {1e-5, "1e-05", "1.0E-5"},
        {0.00123, "0.00123", "0.00123"},
        {1e16, "1e+16", "1.0E16"},
        {1e23, "1e+23", "1.0E23"},
        {2e23, "2e+23", "2.0E23"},
        {123456789012345680.0, "123456789012345680", "1.2345678901234568E17"},
        {DBL_MAX, "1.7976931348623157e+308", "1.7976931348623157E308"},
        {DBL_MIN, "2.2250738585072014e-308", "2.2250738585072014E-308"},
        {4.9406564584124654e-324, "5e-324", "4.9E-324"},
        {123.456, "123.456", "123.456"},
        {INFINITY, "inf", "Infinity"},
        {-INFINITY, "-inf", "-Infinity"},
        {NAN, "nan", "NaN"},
        {-NAN, "nan", "NaN"},
    };
    char out[NUMBER_DOUBLE_MAX];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(number_double(rows[i].v, out), strlen(rows[i].shortest));
        assert_string_equal(out, rows[i].shortest);
        assert_int_equal(number_double_java(rows[i].v, out), strlen(rows[i].java));
        assert_string_equal(out, rows[i].java);
        size_t n = number_double_json(rows[i].v, out);
        assert_string_equal(out, isfinite(rows[i].v) ? rows[i].shortest : "");
        assert_int_equal(n, strlen(out));
    }
    number_float(0.1f, out);
    assert_string_equal(out, "0.1");
    number_float_java(FLT_MAX, out);
    assert_string_equal(out, "3.4028235E38");
    number_float_java(1.40129846e-45f, out);
    assert_string_equal(out, "1.4E-45");
    number_float_java(16777216.0f, out);
    assert_string_equal(out, "1.6777216E7");
    number_float_json(-FLT_MIN, out);
    assert_string_equal(out, "-1.1754944e-38");
}

static void doubles_round_trip(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < 200000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        double v;
        memcpy(&v, &x, 8);
        if (!isfinite(v))
            continue;
        char out[NUMBER_DOUBLE_MAX];
        assert_true(number_double(v, out) < NUMBER_DOUBLE_MAX);
        assert_true(strtod(out, NULL) == v);
        assert_true(number_double_java(v, out) < NUMBER_DOUBLE_MAX);
        assert_true(strtod(out, NULL) == v);
    }
}

static void integers(void **state)
{
    (void)state;
    char out[NUMBER_INT_MAX], want[NUMBER_INT_MAX];
    for (uint64_t p = 1;; p *= 10) {
        for (uint64_t v = p - 1; v <= p + 1; v++) {
            size_t n = (size_t)snprintf(want, sizeof want, "%llu", (unsigned long long)v);
            assert_int_equal(number_u64(v, out), n);
            assert_string_equal(out, want);
            snprintf(want, sizeof want, "%lld", (long long)(0 - v));
            number_i64((int64_t)(0 - v), out);
            assert_string_equal(out, want);
        }
        if (p > UINT64_MAX / 10)
            break;
    }
    number_i64(INT64_MIN, out);
    assert_string_equal(out, "-9223372036854775808");
    number_u64(UINT64_MAX, out);
    assert_string_equal(out, "18446744073709551615");
}

__extension__ typedef __int128 i128;

static const char *i128_text(i128 v, int scale)
{
    static char out[NUMBER_I128_MAX];
    uint8_t le[16];
    memcpy(le, &v, 16);
    size_t n = number_i128(le, scale, out);
    assert_int_equal(n, strlen(out));
    return out;
}

static void wide_integers(void **state)
{
    (void)state;
    i128 max = (i128)(~(unsigned __int128)0 >> 1), min = -max - 1, e18 = 1000000000000000000;
    assert_string_equal(i128_text(0, 0), "0");
    assert_string_equal(i128_text(0, 2), "0.00");
    assert_string_equal(i128_text(-5, 2), "-0.05");
    assert_string_equal(i128_text(1200, 2), "12.00");
    assert_string_equal(i128_text(-1, 38), "-0.00000000000000000000000000000000000001");
    assert_string_equal(i128_text(max, 0), "170141183460469231731687303715884105727");
    assert_string_equal(i128_text(min, 0), "-170141183460469231731687303715884105728");
    assert_string_equal(i128_text(min, 38), "-1.70141183460469231731687303715884105728");
    assert_string_equal(i128_text(e18, 0), "1000000000000000000");
    assert_string_equal(i128_text(e18 * 100, 0), "100000000000000000000");
    assert_string_equal(i128_text(e18 * e18, 0), "1000000000000000000000000000000000000");
    assert_string_equal(i128_text(e18 * e18 + 7, 18), "1000000000000000000.000000000000000007");
    assert_string_equal(i128_text((i128)UINT64_MAX + 1, 0), "18446744073709551616");
    assert_string_equal(i128_text(1, 39), "");
    assert_string_equal(i128_text(1, -1), "");
    uint8_t all[16];
    char out[NUMBER_I128_MAX];
    memset(all, 0xFF, 16);
    number_u128(all, 0, out);
    assert_string_equal(out, "340282366920938463463374607431768211455");
}

static void civil_dates(void **state)
{
    (void)state;
    int64_t y;
    int m, d;
    struct {
        int64_t days, y;
        int m, d;
    } rows[] = {
        {0, 1970, 1, 1},
        {-1, 1969, 12, 31},
        {11016, 2000, 2, 29},
        {-719468, 0, 3, 1},
        {-719469, 0, 2, 29},
        {2932896, 9999, 12, 31},
        {INT32_MAX, 5881580, 7, 11},
        {INT32_MIN, -5877641, 6, 23},
        {47540, 2100, 2, 28},
        {47541, 2100, 3, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        clock_civil_from_days(rows[i].days, &y, &m, &d);
        assert_int_equal(y, rows[i].y);
        assert_int_equal(m, rows[i].m);
        assert_int_equal(d, rows[i].d);
        assert_int_equal(clock_days_from_civil(y, m, d), rows[i].days);
    }
    /* Day after day over some eras and at both ends: each is the day after the one before. */
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t starts[] = {-800000, INT32_MIN, INT32_MAX - (int64_t)300000};
    for (size_t s = 0; s < 3; s++) {
        int64_t py;
        int pm, pd;
        clock_civil_from_days(starts[s], &py, &pm, &pd);
        for (int64_t day = starts[s] + 1; day <= starts[s] + 300000; day++) {
            int64_t leap = (py % 4 == 0 && py % 100 != 0) || py % 400 == 0;
            if (++pd > lengths[pm - 1] + (pm == 2 ? (int)leap : 0)) {
                pd = 1;
                if (++pm > 12) {
                    pm = 1;
                    py++;
                }
            }
            clock_civil_from_days(day, &y, &m, &d);
            assert_true(y == py && m == pm && d == pd);
            assert_true(clock_days_from_civil(y, m, d) == day);
        }
    }
    char out[40];
    assert_string_equal(clock_iso_ms(1758883507438, out, sizeof out), "2025-09-26T10:45:07.438Z");
    assert_string_equal(clock_iso_ms(-1, out, sizeof out), "1969-12-31T23:59:59.999Z");
    assert_string_equal(clock_iso_ms(253402300800000, out, sizeof out), "+10000-01-01T00:00:00.000Z");
    clock_iso_ms(INT64_MAX, out, sizeof out);
    clock_iso_ms(INT64_MIN, out, sizeof out);
    assert_int_equal(out[0], '-');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles),       cmocka_unit_test(doubles_round_trip), cmocka_unit_test(integers),
        cmocka_unit_test(wide_integers), cmocka_unit_test(civil_dates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_zone: offsets of the machine's zones against libc's own, far dates, and files that are damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "base/zone.h"

static int setup(void **state)
{
    (void)state;
    sys_init();
    return zones_load() > 300 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    zones_free();
    return 0;
}

static int32_t offset(const char *zone, int64_t t)
{
    struct zone_span s;
    const struct zone *z = zone_find(zone);
    assert_non_null(z);
    zone_at(z, t, &s);
    assert_true(s.from <= t && t < s.to);
    return s.offset;
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(zone_name(zone_find("asia/seoul")), "Asia/Seoul");
    assert_string_equal(zone_name(zone_find("utc")), "UTC");
    assert_non_null(zone_find("America/Argentina/Buenos_Aires"));
    static const char *const none[] = {"",      "Mars/Olympus", "../etc/passwd", "posix/UTC",
                                       "Asia/", "Asia",         "zone.tab"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_null(zone_find(none[i]));
    assert_null(zone_find(NULL));
    struct zone_span s;
    zone_at(NULL, 0, &s);
    assert_int_equal(s.offset, 0);
}

/* libc reads the same files by its own code. */
static void as_libc(void **state)
{
    (void)state;
    static const char *const some[] = {
        "Asia/Seoul",        "Europe/Berlin",     "America/New_York", "Australia/Lord_Howe",
        "America/St_Johns",  "Africa/Casablanca", "Asia/Tehran",      "Pacific/Apia",
        "Antarctica/Troll",  "Etc/GMT+5",         "Asia/Kathmandu",   "Europe/Dublin",
        "America/Sao_Paulo", "Asia/Gaza",         "America/Nuuk",     "Pacific/Chatham"};
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        setenv("TZ", some[i], 1);
        tzset();
        for (int k = 0; k < 4000; k++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            /* years 1850 to 2400, where libc's own rules go on too */
            time_t t = (time_t)(x % (550ull * 31556952)) - 120ll * 31556952;
            struct tm tm;
            localtime_r(&t, &tm);
            if (offset(some[i], t) != tm.tm_gmtoff)
                fail_msg("%s at %lld: %d, libc %ld", some[i], (long long)t, offset(some[i], t), tm.tm_gmtoff);
        }
    }
    unsetenv("TZ");
}

/* The span that an instant lies in has one offset at all its ends. */
static void spans(void **state)
{
    (void)state;
    static const char *const some[] = {"Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Seoul"};
    for (size_t i = 0; i < 4; i++) {
        const struct zone *z = zone_find(some[i]);
        int turns = 0;
        for (int64_t t = clock_days_from_civil(1800, 1, 1) * 86400;
             t < clock_days_from_civil(2500, 1, 1) * 86400;) {
            struct zone_span a, b;
            zone_at(z, t, &a);
            assert_true(a.from <= t && t < a.to);
            if (a.to == INT64_MAX)
                break;
            zone_at(z, a.to - 1, &b);
            assert_true(b.offset == a.offset && b.to == a.to && b.from == a.from);
            t = a.to;
            turns++;
        }
        assert_true(turns > (i == 3 ? 10 : 800));
    }
    assert_int_equal(offset("Europe/Berlin", INT64_MAX / 2), 3600);
    assert_int_equal(offset("Europe/Berlin", INT64_MIN / 2), 3208);
}

static void damaged(void **state)
{
    (void)state;
    static uint8_t bytes[65536], bad[65536];
    int fd = sys_open("/usr/share/zoneinfo/Europe/Berlin", O_RDONLY | O_CLOEXEC, 0);
    ssize_t n = sys_pread(fd, bytes, sizeof bytes, 0);
    close(fd);
    assert_true(n > 500);
    struct zone *z = NULL;
    assert_int_equal(zone_read("x", bytes, (size_t)n, &z), 0);
    zone_free_one(z);
    for (size_t cut = 0; cut < (size_t)n; cut++) { /* nothing past the end is looked at: the copy is exact */
        uint8_t *exact = malloc(cut + 1);
        memcpy(exact, bytes, cut);
        assert_int_equal(zone_read("x", exact, cut, &z), ERR_INVALID);
        free(exact);
    }
    for (size_t at = 0; at < (size_t)n; at++) {
        memcpy(bad, bytes, (size_t)n);
        bad[at] ^= 0xff;
        z = NULL;
        if (zone_read("x", bad, (size_t)n, &z) == 0) {
            struct zone_span s;
            zone_at(z, 1718000000, &s);
            zone_at(z, 99999999999, &s);
        }
        zone_free_one(z);
    }
}

/* A file that could not be read now is no zone, but not forgotten. */
static void unread(void **state)
{
    (void)state;
    zones_free();
    int all = zones_load();
    assert_int_equal(zones_unread(), 0);
    static const char *const faults[] = {"open:9:EMFILE", "read:9:EIO"};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        zones_free();
        setenv("QUERN_FAULT", faults[i], 1);
        sys_init();
        assert_true(zones_load() < all);
        assert_int_equal(zones_unread(), 1);
        unsetenv("QUERN_FAULT");
        sys_init();
    }
    zones_free();
    assert_int_equal(zones_load(), all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),   cmocka_unit_test(as_libc), cmocka_unit_test(spans),
        cmocka_unit_test(damaged), cmocka_unit_test(unread),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

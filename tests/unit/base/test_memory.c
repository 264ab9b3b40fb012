/* err, utf8, buf, arena: ceilings, failures that stay, cuts at character boundaries, cleanup order. */
#include "unit.h"

#include <errno.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/utf8.h"

static void err_fills_and_cuts(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(err_set(&e, ERR_INVALID, "22023", "bad %d", 7), ERR_INVALID);
    assert_string_equal(e.text, "bad 7");
    assert_string_equal(e.sqlstate, "22023");
    assert_int_equal(e.position, -1);
    err_set(&e, ERR_LIMIT, NULL, "again: %s", e.text);
    assert_string_equal(e.text, "again: bad 7");
    assert_string_equal(e.sqlstate, "");
    assert_int_equal(err_set(NULL, ERR_BUSY, NULL, "x"), ERR_BUSY);
    err_clear(NULL);

    char longest[ERR_TEXT_MAX * 2];
    for (size_t shift = 0; shift < 3; shift++) {
        memset(longest, 'a', sizeof longest);
        for (size_t i = shift; i + 3 < sizeof longest; i += 3)
            memcpy(longest + i, "\xEA\xB0\x80", 3);
        longest[sizeof longest - 1] = 0;
        err_set(&e, ERR_INVALID, NULL, "%s", longest);
        assert_true(strlen(e.text) >= ERR_TEXT_MAX - 3 && strlen(e.text) < ERR_TEXT_MAX);
        assert_true(utf8_valid(e.text, strlen(e.text)));
    }
    assert_int_equal(err_errno(&e, ENOSPC, "write"), ERR_UNAVAILABLE);
    assert_string_equal(e.sqlstate, "53100");
    assert_string_equal(e.text, "write: No space left on device");
    assert_int_equal(err_errno(&e, EIO, "read"), ERR_IO);
    assert_string_equal(err_name(ERR_NOTFOUND), "not_found");
    assert_string_equal(err_name(ERR_END), "end");
    assert_string_equal(err_name(-99), "unknown");
    assert_string_equal(err_name(1), "unknown");
}

static void utf8_judges(void **state)
{
    (void)state;
    const char *good[] = {"",
                          "a",
                          "\xC2\x80",
                          "\xE0\xA0\x80",
                          "\xED\x9F\xBF",
                          "\xEF\xBF\xBF",
                          "\xF0\x90\x80\x80",
                          "\xF4\x8F\xBF\xBF",
                          "0123456789\xEA\xB0\x80"};
    const char *bad[] = {"\x80",
                         "\xC0\x80",
                         "\xC1\xBF",
                         "\xE0\x9F\xBF",
                         "\xED\xA0\x80",
                         "\xF0\x8F\xBF\xBF",
                         "\xF4\x90\x80\x80",
                         "\xF5\x80\x80\x80",
                         "\xFF",
                         "\xC2",
                         "\xE0\xA0",
                         "01234567\xF0\x90\x80"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(utf8_valid(bad[i], strlen(bad[i])));
    uint32_t cp;
    assert_int_equal(utf8_next("\xF4\x8F\xBF\xBF", 4, &cp), 4);
    assert_int_equal(cp, 0x10FFFF);
    assert_int_equal(utf8_next("\xF0\x90\x80", 3, &cp), -3);
    assert_int_equal(utf8_next("\xE0\x80\x80", 3, &cp), -1);
    assert_int_equal(utf8_length("a\xEA\xB0\x80\xFF\xF0\x90\x80\x80", 9), 4);
    assert_int_equal(utf8_cut("ab\xEA\xB0\x80", 5, 5), 5);
    assert_int_equal(utf8_cut("ab\xEA\xB0\x80", 5, 4), 2);
    assert_int_equal(utf8_cut("ab\xEA\xB0\x80", 5, 3), 2);
    assert_int_equal(utf8_cut("ab\xEA\xB0\x80", 5, 2), 2);
    assert_int_equal(utf8_cut("ab", 2, 0), 0);
}

static void buf_stops_at_ceiling(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf b = BUF_INIT(10);
    assert_string_equal(buf_str(&b), "");
    assert_int_equal(buf_add(&b, "0123456789", 10), 0);
    assert_string_equal(buf_str(&b), "0123456789");
    assert_int_equal(buf_char(&b, 'x'), ERR_LIMIT);
    assert_true(buf_failed(&b));
    assert_null(buf_str(&b));
    assert_int_equal(b.len, 10);
    buf_reset(&b);
    assert_int_equal(buf_printf(&b, "%s", "0123456789"), 0);
    assert_string_equal(buf_str(&b), "0123456789");
    buf_reset(&b);
    assert_int_equal(buf_add(&b, "12345678", 8), 0);
    assert_int_equal(buf_printf(&b, "%d", 123), ERR_LIMIT);
    assert_int_equal(b.len, 8);
    assert_int_equal(buf_char(&b, 'x'), ERR_LIMIT); /* it would fit, but the text already has a hole */
    assert_int_equal(buf_reserve(&b, 0), ERR_LIMIT);
    assert_int_equal(buf_printf(&b, "x"), ERR_LIMIT);
    buf_reset(&b);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), ERR_LIMIT);
    buf_reset(&b);
    assert_int_equal(buf_fail(&b, ERR_IO), ERR_IO);
    assert_int_equal(buf_fail(&b, ERR_NOMEM), ERR_IO);

    CLEANUP_BUF struct buf none = BUF_INIT(0);
    assert_int_equal(buf_add(&none, "", 0), 0);
    assert_int_equal(buf_printf(&none, "%s", ""), 0);
    assert_string_equal(buf_str(&none), "");
    assert_int_equal(buf_char(&none, 'x'), ERR_LIMIT);

    CLEANUP_BUF struct buf huge = BUF_INIT(SIZE_MAX);
    assert_int_equal(buf_str_add(&huge, "ok"), 0);
    assert_int_equal(buf_reserve(&huge, SIZE_MAX / 2), ERR_NOMEM);
    assert_int_equal(buf_char(&huge, 'x'), ERR_NOMEM);
}

static void buf_numbers_and_drop(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf b = BUF_INIT(1 << 20);
    buf_u64(&b, 0);
    buf_char(&b, ' ');
    buf_u64(&b, UINT64_MAX);
    buf_char(&b, ' ');
    buf_i64(&b, INT64_MIN);
    assert_string_equal(buf_str(&b), "0 18446744073709551615 -9223372036854775808");
    buf_drop(&b, 2);
    buf_drop(&b, 0);
    assert_string_equal(buf_str(&b), "18446744073709551615 -9223372036854775808");
    buf_drop(&b, 1000);
    assert_int_equal(b.len, 0);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(buf_printf(&b, "%d,", i % 10), 0);
    assert_int_equal(b.len, 20000);
    for (size_t i = 0; i < 10000; i++)
        assert_int_equal(b.p[2 * i], '0' + (int)(i % 10));
}

static char order[8];
static void note(void *arg)
{
    size_t n = strlen(order);
    order[n] = *(char *)arg;
}

static void arena_counts_and_cleans(void **state)
{
    (void)state;
    struct arena *a = arena_new(1000000);
    for (size_t n = 0; n < 300; n++) {
        unsigned char *p = arena_alloc(a, n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xAA, n);
    }
    unsigned char *large = arena_alloc(a, 500000);
    assert_non_null(large);
    memset(large, 0xBB, 500000);
    assert_string_equal(arena_strdup(a, "hello"), "hello");
    assert_string_equal(arena_strndup(a, "hello", 2), "he");
    assert_string_equal(arena_strndup(a, "hi", 100), "hi");
    assert_string_equal(arena_printf(a, "%d-%s", 5, "x"), "5-x");
    char one = '1', two = '2';
    assert_int_equal(arena_on_free(a, note, &one), 0);
    assert_int_equal(arena_on_free(a, note, &two), 0);
    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_alloc(a, SIZE_MAX - 40));
    assert_null(arena_alloc(a, 600000));
    arena_free(a);
    assert_string_equal(order, "21");
    arena_free(NULL);

    a = arena_new(40);
    assert_non_null(arena_alloc(a, 32));
    assert_null(arena_alloc(a, 9));
    assert_non_null(arena_alloc(a, 8));
    assert_int_equal(arena_used(a), 40);
    assert_null(arena_alloc(a, 1));
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_fills_and_cuts),      cmocka_unit_test(utf8_judges),
        cmocka_unit_test(buf_stops_at_ceiling),    cmocka_unit_test(buf_numbers_and_drop),
        cmocka_unit_test(arena_counts_and_cleans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The sanitizers' allocators must answer NULL, as the C library does, to a size they will not give. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* Tests of names in files: repeated ones, in any case, made ones against real ones, characters that readers refuse, and
 * thousands that are equal (whose search would not end if each began at the first suffix again). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "encoders/unique_names.h"

#define MOST 20000

static void names(const struct name_rule *rule, const char *const *in, const char *const *want)
{
    struct column c[16];
    struct schema s = {.columns = c};
    struct arena *a = arena_new(1u << 20);
    memset(c, 0, sizeof c);
    for (; in[s.ncolumns]; s.ncolumns++)
        c[s.ncolumns].name = in[s.ncolumns];
    const char **got = unique_names(&s, rule, a);
    assert_non_null(got);
    for (uint32_t i = 0; i < s.ncolumns; i++)
        assert_string_equal(got[i], want[i]);
    arena_free(a);
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void repeated(void **state)
{
    (void)state;
    struct name_rule exact = {.empty = ""}, loose = {.any_case = true, .empty = "_"};
    names(&exact, NAMES("a", "b", "a", "A", "a"), NAMES("a", "b", "a_1", "A", "a_2"));
    names(&exact, NAMES("a", "a", "a_1", "a", "a_2"), NAMES("a", "a_3", "a_1", "a_4", "a_2"));
    names(&exact, NAMES("", "", "_1"), NAMES("", "_2", "_1"));
    names(&loose, NAMES("a", "A", "a", "A_1"), NAMES("a", "A_2", "a_3", "A_1"));
    names(&loose, NAMES("", "", "_"), NAMES("_", "__1", "__2"));
}

static void underscores(void **state)
{
    (void)state;
    struct name_rule rule = {.any_case = true, .underscores = true, .empty = "_"};
    names(&rule, NAMES("a b", ",;{}()=", "x\\ny\\tz\\", "x\ny\tz", "a_b", "\xe6\x97\xa5"),
          NAMES("a_b", "_______", "x_y_z\\", "x_y_z", "a_b_1", "\xe6\x97\xa5"));
}

static void thousands(void **state)
{
    (void)state;
    static struct column c[MOST];
    struct schema s = {.ncolumns = MOST, .columns = c};
    for (size_t i = 0; i < MOST; i++)
        c[i].name = "x";
    struct arena *a = arena_new(64u << 20);
    const char **got = unique_names(&s, &(struct name_rule){.any_case = true, .empty = "_"}, a);
    assert_non_null(got);
    assert_string_equal(got[0], "x");
    assert_string_equal(got[MOST - 1], "x_19999");
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(repeated), cmocka_unit_test(underscores),
                                       cmocka_unit_test(thousands)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

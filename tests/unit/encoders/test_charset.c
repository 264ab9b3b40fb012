/* Tests of GBK where it lies: borders of ASCII runs and of vectors, characters that GBK lacks, ends in the middle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "encoders/charset.h"

static void turns(const char *utf8, const char *want, uint64_t lacking)
{
    size_t n = strlen(utf8);
    char *p = malloc(n ? n : 1); /* exact: a sanitizer sees every byte beyond */
    uint64_t unmapped = 0;
    assert_non_null(p);
    memcpy(p, utf8, n);
    size_t len = gbk_in_place(p, n, &unmapped);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(p, want, len);
    assert_int_equal(unmapped, lacking);
    free(p);
}

static void known(void **state)
{
    (void)state;
    turns("", "", 0);
    turns("plain", "plain", 0);
    turns("\xe4\xb8\xad", "\xd6\xd0", 0); /* U+4E2D */
    turns("\xc2\xb7", "\xa1\xa4", 0);     /* U+00B7: two bytes stay two */
    turns("\xe2\x82\xac", "?", 1);        /* the euro sign is not in GBK */
    turns("\xf0\x9f\x98\x80!", "?!", 1);  /* one for a character of four bytes */
    turns("a\xe4\xb8\xad"
          "b\xc3\xbf",
          "a\xd6\xd0"
          "b?",
          1);
}

static void question_marks(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool want;
    } cases[] = {{"", false},
                 {"a|b", false},
                 {"a?b", true},
                 {"\xe4\xb8\xad", false},
                 {"\xc2\xb7", false},
                 {"\xe4\xb8\xad|\xe2\x82\xac", true},
                 {"\xf0\x9f\x98\x80", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(gbk_has_question_mark(cases[i].text, strlen(cases[i].text)), cases[i].want);
}

/* Runs of every length up to three vectors, on both sides of a character that moves what follows. */
static void runs(void **state)
{
    (void)state;
    for (size_t before = 0; before < 50; before++)
        for (size_t after = 0; after < 50; after++) {
            char in[128], want[128];
            size_t n = 0, m = 0;
            for (size_t i = 0; i < before; i++)
                in[n++] = want[m++] = (char)('a' + i % 26);
            memcpy(in + n, "\xe4\xb8\xad\xe4\xb8\xad", 6);
            memcpy(want + m, "\xd6\xd0\xd6\xd0", 4);
            n += 6;
            m += 4;
            for (size_t i = 0; i < after; i++)
                in[n++] = want[m++] = (char)('A' + i % 26);
            in[n] = want[m] = 0;
            turns(in, want, 0);
        }
}

static void cut(void **state)
{
    (void)state;
    turns("ab\xe4\xb8", "ab?", 1);
    turns("\xf0", "?", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known), cmocka_unit_test(question_marks),
                                       cmocka_unit_test(runs), cmocka_unit_test(cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

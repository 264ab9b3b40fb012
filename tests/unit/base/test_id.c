/* id: both spellings name the same bytes; everything that is no id is refused. */
#include "unit.h"

#include "base/id.h"

static bool parse(const char *s, struct qid *ret)
{
    /* An exact copy without NUL, so that a read past the end is seen. */
    size_t n = strlen(s);
    char *copy = malloc(n + 1);
    memcpy(copy, s, n);
    bool ok = id_parse(copy, n, ret);
    free(copy);
    return ok;
}

static void round_trips(void **state)
{
    (void)state;
    static const int64_t times[] = {0,         999, 1000, 1758883507438, 1709164800000, 253402268399999,
                                    INT64_MAX, -5};
    for (int i = 0; i < 20000; i++) {
        int64_t ms = times[i % 8];
        struct qid id = id_new(ms), back;
        char uuid[ID_TEXT_MAX], kakao[ID_TEXT_MAX], prefixed[64], upper[ID_TEXT_MAX];
        id_uuid(&id, uuid);
        id_kakao(&id, kakao);
        assert_int_equal(strlen(uuid), ID_UUID_LEN);
        assert_int_equal(strlen(kakao), ID_KAKAO_LEN);
        assert_int_equal(uuid[14], '4');
        assert_int_equal(uuid[19], '8');
        assert_true(parse(uuid, &back) && id_equal(&id, &back));
        assert_true(parse(kakao, &back) && id_equal(&id, &back));
        snprintf(prefixed, sizeof prefixed, "data-query-%s", kakao);
        assert_true(parse(prefixed, &back) && id_equal(&id, &back));
        for (int k = 0; k <= ID_UUID_LEN; k++)
            upper[k] = uuid[k] >= 'a' && uuid[k] <= 'f' ? (char)(uuid[k] - 32) : uuid[k];
        assert_true(parse(upper, &back) && id_equal(&id, &back));
        assert_true(id_hash(&id) == id_hash(&back));
        if (ms >= 0 && ms < INT64_MAX)
            assert_int_equal(id_second(&id), ms / 1000);
        struct qid first;
        id_first(id_second(&id) * 1000, &first);
        assert_true(memcmp(first.b, id.b, sizeof id.b) < 0);
        id_first(id_second(&id) * 1000 + 1000, &first);
        assert_true(memcmp(first.b, id.b, sizeof id.b) > 0);
    }
    struct qid early = id_new(1000000), late = id_new(2000000);
    assert_true(memcmp(early.b, late.b, 16) < 0);
}

static void known_text(void **state)
{
    (void)state;
    struct qid id;
    char out[ID_TEXT_MAX];
    assert_true(parse("20250926-194507-0000000001", &id));
    assert_int_equal(id_second(&id), 1758883507);
    assert_string_equal(id_kakao(&id, out), "20250926-194507-0000000001");
    /* Stored ids must stay readable: this text may never change. */
    assert_string_equal(id_uuid(&id, out), "0068d66e-b30c-4dbe-8000-000000000001");
}

static void refuses(void **state)
{
    (void)state;
    struct qid id = id_new(1758883507438), back;
    char good[ID_TEXT_MAX], bad[ID_TEXT_MAX];
    id_uuid(&id, good);
    /* Any one changed character is another id or none: the check bits let one in a million pass. */
    int passed = 0;
    for (int i = 0; i < ID_UUID_LEN; i++) {
        memcpy(bad, good, sizeof bad);
        bad[i] = bad[i] == '-' ? '_' : bad[i] == '0' ? '1' : '0';
        passed += parse(bad, &back);
    }
    assert_true(passed <= 1);
    const char *none[] = {
        "",
        "-",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "f47ac10b58cc4372a5670e02b2c3d479",
        "20250926-194507-000000000",
        "20250926-194507-00000000000",
        "20250926-194507-zzzzzzzzzz", /* over 59 bits */
        "20250926-194507-00000000_1",
        "20250926_194507-0000000001",
        "20250926-194507_0000000001",
        "20250229-194507-0000000001",
        "20250931-194507-0000000001",
        "20251301-194507-0000000001",
        "20250900-194507-0000000001",
        "20250926-244507-0000000001",
        "20250926-196007-0000000001",
        "20250926-194560-0000000001",
        "19700101-085959-0000000001",
        "00000101-085959-0000000001",
        " 0250926-194507-0000000001",
        "+0250926-194507-0000000001",
        "data-query-",
        "data-query_20250926-194507-0000000001",
        "DATA-QUERY-20250926-194507-0000000001",
        "data-query-data-query-20250926-194507-0000000001",
    };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_false(parse(none[i], &back));
    assert_true(parse("19700101-090000-0000000000", &back));
    assert_true(parse("20240229-235959-0000000001", &back));
    assert_true(parse("99991231-235959-0000000001", &back));
    char prefixed[64];
    snprintf(prefixed, sizeof prefixed, "data-query-%s", good);
    assert_false(parse(prefixed, &back));
    assert_false(id_parse("20250926-194507-000000000\0", 26, &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(known_text),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

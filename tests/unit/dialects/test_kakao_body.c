/* kakao_body: what is accepted and what is refused, with the field named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/config.h"
#include "dialects/kakao_int.h"

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    config_defaults();
    arena = arena_new(64u << 20);
    return arena ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void run_accepted(void **state)
{
    (void)state;
    struct err e;
    struct kakao_run r;
    const char *body =
        "{\"query\":\"select "
        "1\",\"resultConfig\":{\"bucketName\":\"b\",\"path\":\"/a/b//\"},\"bucketName\":\"x\",\"path\":\"y\","
        "\"reuseConfig\":{\"reuse\":true,\"maxReuseAge\":1440},\"unknown\":[1]}";
    assert_int_equal(kakao__read_run(arena, body, strlen(body), &r, &e), 0);
    assert_string_equal(r.sql, "select 1");
    assert_string_equal(r.bucket, "b");
    assert_string_equal(r.path, "a/b");
    assert_true(r.reuse);
    assert_int_equal(r.max_reuse_age_min, 1440);
    body =
        "{\"query\":\"select "
        "1\",\"bucketName\":\"x\",\"path\":\"\",\"reuseConfig\":{\"reuse\":false,\"maxReuseAge\":\"junk\"}}";
    assert_int_equal(kakao__read_run(arena, body, strlen(body), &r, &e), 0);
    assert_string_equal(r.bucket, "x");
    assert_string_equal(r.path, "");
    assert_false(r.reuse);
}

#define FLAT "\"bucketName\":\"b\",\"path\":\"p\""

static void run_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *says;
    } rows[] = {
        {"", "JSON"},
        {"[]", "object"},
        {"{" FLAT "}", "query"},
        {"{\"query\":\" \\n\"," FLAT "}", "query"},
        {"{\"query\":1," FLAT "}", "query"},
        {"{\"query\":\"q\",\"path\":\"p\"}", "bucketName"},
        {"{\"query\":\"q\",\"bucketName\":\" \",\"path\":\"p\"}", "bucketName"},
        {"{\"query\":\"q\",\"bucketName\":\"b\"}", "path"},
        {"{\"query\":\"q\",\"bucketName\":\"b\",\"path\":null}", "path"},
        {"{\"query\":\"q\",\"bucketName\":\"b\",\"path\":\"a/../b\"}", "path"},
        {"{\"query\":\"q\",\"bucketName\":\"b\",\"path\":\"./b\"}", "path"},
        {"{\"query\":\"q\",\"bucketName\":\"b\",\"path\":\"a\\tb\"}", "path"},
        {"{\"query\":\"q\",\"resultConfig\":[]}", "resultConfig"},
        {"{\"query\":\"q\",\"resultConfig\":{}," FLAT "}", "bucketName"},
        {"{\"query\":\"q\"," FLAT ",\"reuseConfig\":1}", "reuseConfig"},
        {"{\"query\":\"q\"," FLAT ",\"reuseConfig\":{\"reuse\":\"true\"}}", "reuse"},
        {"{\"query\":\"q\"," FLAT ",\"reuseConfig\":{\"reuse\":true}}", "maxReuseAge"},
        {"{\"query\":\"q\"," FLAT ",\"reuseConfig\":{\"reuse\":true,\"maxReuseAge\":0}}", "maxReuseAge"},
        {"{\"query\":\"q\"," FLAT ",\"reuseConfig\":{\"reuse\":true,\"maxReuseAge\":1441}}", "maxReuseAge"},
        {"{\"query\":\"q\"," FLAT ",\"reuseConfig\":{\"reuse\":true,\"maxReuseAge\":1.5}}", "maxReuseAge"},
        {"{\"query\":\"q\"," FLAT ",\"reuseConfig\":{\"reuse\":true,\"maxReuseAge\":\"5\"}}", "maxReuseAge"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e;
        struct kakao_run r;
        err_clear(&e);
        int rc = kakao__read_run(arena, rows[i].body, strlen(rows[i].body), &r, &e);
        if (rc != ERR_INVALID || !strstr(e.text, rows[i].says))
            fail_msg("%s -> %d %s", rows[i].body, rc, e.text);
    }
}

static void lengths(void **state)
{
    (void)state;
    struct err e;
    struct kakao_run r;
    struct buf b = BUF_INIT(8u << 20);
    for (int over = 0; over < 2;
         over++) { /* the longest object key is 432 bytes: path + date + id + .metadata */
        buf_reset(&b);
        buf_str_add(&b, "{\"query\":\"q\",\"bucketName\":\"b\",\"path\":\"");
        for (int i = 0; i < 432 - 47 + over; i++)
            buf_char(&b, i == 100 || i == 356 ? '/' : 'x'); /* a folder has at most 255 bytes */
        buf_str_add(&b, "\"}");
        assert_int_equal(kakao__read_run(arena, b.p, b.len, &r, &e), over ? ERR_INVALID : 0);
        buf_reset(&b);
        buf_str_add(&b, "{" FLAT ",\"query\":\"");
        for (int i = 0; i < 1000000 + over; i++)
            buf_str_add(&b, "\xC3\xA9"); /* characters count, not bytes */
        buf_str_add(&b, "\"}");
        assert_int_equal(kakao__read_run(arena, b.p, b.len, &r, &e), over ? ERR_INVALID : 0);
    }
    buf_free(&b);
}

static void sources(void **state)
{
    (void)state;
    struct err e;
    struct source_new s;
    const char *body = "{\"type\":\"MYSQL\",\"name\":\"test_mysql\",\"scope\":\"PRIVATE\",\"description\":"
                       "\"d\",\"instanceId\":\"i\","
                       "\"username\":\"admin\",\"password\":\"YWRtaW4K\"}";
    assert_int_equal(kakao__read_source(arena, body, strlen(body), &s, &e), 0);
    assert_string_equal(s.name, "test_mysql");
    assert_int_equal(s.secret_len, 5); /* without the newline of the page's sample */
    assert_memory_equal(s.secret, "admin", 5);
    body = "{\"type\":\"POSTGRESQL\",\"name\":\"pg\",\"scope\":\"PUBLIC\",\"instanceId\":\"i\",\"username\":"
           "\"u\",\"password\":\"YQ\"}";
    assert_int_equal(kakao__read_source(arena, body, strlen(body), &s, &e), ERR_INVALID); /* name too short */
    assert_non_null(strstr(e.text, "name"));
    body = "{\"type\":\"POSTGRESQL\",\"name\":\"pg1\",\"scope\":\"PUBLIC\",\"instanceId\":\"i\",\"username\":"
           "\"u\",\"password\":\"YQ\"}";
    assert_int_equal(kakao__read_source(arena, body, strlen(body), &s, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "databaseName"));
    body = "{\"type\":\"DATA_CATALOG\",\"name\":\"pg1\"}";
    assert_int_equal(kakao__read_source(arena, body, strlen(body), &s, &e), ERR_INVALID);
    body = "{\"type\":\"MYSQL\",\"name\":\"my1\",\"scope\":\"NONE\"}";
    assert_int_equal(kakao__read_source(arena, body, strlen(body), &s, &e), ERR_INVALID);
    body = "{\"type\":\"MYSQL\",\"name\":\"my1\",\"scope\":\"PUBLIC\",\"instanceId\":\"i\",\"username\":"
           "\"u\",\"password\":\"*s3cret*\"}";
    assert_int_equal(kakao__read_source(arena, body, strlen(body), &s, &e), ERR_INVALID);
    assert_null(strstr(e.text, "s3cret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_accepted),
        cmocka_unit_test(run_refused),
        cmocka_unit_test(lengths),
        cmocka_unit_test(sources),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

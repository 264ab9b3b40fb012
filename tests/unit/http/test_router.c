/* Routes and credentials. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/crypto.h"
#include "http/auth.h"
#include "http/router.h"

static const struct route a_routes[] = {{"GET", "/api/v1/x", "a.get", NULL, 1},
                                        {"POST", "/api/v1/x", "a.post", NULL, 1},
                                        {"GET", "/api/v1/x/{id}", "a.one", NULL, 1},
                                        {"GET", "/api/v1/x/all", "a.all", NULL, 1},
                                        {"GET", "/api/v1/x/{id}/y/{n}", "a.two", NULL, 1},
                                        {"DELETE", "/api/v1/x/all/z", "a.z", NULL, 1},
                                        {"HEAD", "/api/v1/head", "a.head", NULL, 1},
                                        {NULL, NULL, NULL, NULL, 0}};
static const struct route b_routes[] = {{"GET", "/api/v2/q", "b.q", NULL, 1}, {NULL, NULL, NULL, NULL, 0}};
static const struct dialect a = {.name = "a", .routes = a_routes}, b = {.name = "b", .routes = b_routes};
static const struct dialect *const table[] = {&a, &b, NULL};

static void matching(void **state)
{
    (void)state;
    struct router *r;
    struct route_match m;
    assert_int_equal(router_new(table, &r, NULL), 0);
    assert_int_equal(router_routes(r), 8);
    assert_int_equal(router_match(r, "GET", "/api/v1/x", &m), ROUTE_FOUND);
    assert_string_equal(m.route->name, "a.get");
    assert_ptr_equal(m.dialect, &a);
    assert_int_equal(router_match(r, "HEAD", "/api/v1/x", &m), ROUTE_FOUND);
    assert_string_equal(m.route->name, "a.get");
    assert_int_equal(router_match(r, "GET", "/api/v1/x/all", &m), ROUTE_FOUND);
    assert_string_equal(m.route->name, "a.all");
    assert_int_equal(router_match(r, "GET", "/api/v1/x/7", &m), ROUTE_FOUND);
    assert_string_equal(m.route->name, "a.one");
    assert_int_equal(m.nparams, 1);
    assert_int_equal(m.params[0].n, 1);
    /* the literal "all" leads nowhere for this path: back to the parameter */
    assert_int_equal(router_match(r, "GET", "/api/v1/x/all/y/9", &m), ROUTE_FOUND);
    assert_string_equal(m.route->name, "a.two");
    assert_int_equal(m.nparams, 2);
    assert_memory_equal(m.params[0].p, "all", 3);
    assert_memory_equal(m.params[1].p, "9", 1);
    router_free(r);
}

static void refusing(void **state)
{
    (void)state;
    struct router *r;
    struct route_match m;
    assert_int_equal(router_new(table, &r, NULL), 0);
    assert_int_equal(router_match(r, "PUT", "/api/v1/x", &m), ROUTE_METHOD);
    assert_string_equal(m.allow, "GET, POST, HEAD");
    assert_ptr_equal(m.dialect, &a);
    assert_int_equal(router_match(r, "GET", "/api/v1/head", &m), ROUTE_METHOD);
    assert_string_equal(m.allow, "HEAD");
    assert_int_equal(router_match(r, "GET", "/api/v1/nothing", &m), ROUTE_NONE);
    assert_ptr_equal(m.dialect, &a);
    assert_int_equal(router_match(r, "GET", "/api/v2/nothing/at/all", &m), ROUTE_NONE);
    assert_ptr_equal(m.dialect, &b);
    static const char *const nobody[] = {"/",          "/api", "/api/", "/api/v3",
                                         "//api/v1/x", "*",    "",      "/ap%69/v1/x"};
    for (size_t i = 0; i < sizeof nobody / sizeof nobody[0]; i++) {
        assert_int_equal(router_match(r, "GET", nobody[i], &m), ROUTE_NONE);
        assert_null(m.dialect);
    }
    assert_int_equal(router_match(r, "GET", "/api/v1/x/", &m), ROUTE_NONE);
    assert_int_equal(router_match(r, "GET", "/api/v1/x//y/1", &m), ROUTE_NONE);
    router_free(r);
}

static void bad_tables(void **state)
{
    (void)state;
    static const struct route twice[] = {
        {"GET", "/a/{x}", "1", NULL, 1}, {"GET", "/a/{y}", "2", NULL, 1}, {NULL, NULL, NULL, NULL, 0}};
    static const struct route slash[] = {{"GET", "/a/", "1", NULL, 1}, {NULL, NULL, NULL, NULL, 0}};
    static const struct route part[] = {{"GET", "/a/b{x}", "1", NULL, 1}, {NULL, NULL, NULL, NULL, 0}};
    static const struct route many[] = {{"GET", "/{a}/{b}/{c}/{d}/{e}", "1", NULL, 1},
                                        {NULL, NULL, NULL, NULL, 0}};
    static const struct route *const all[] = {twice, slash, part, many};
    for (size_t i = 0; i < 4; i++) {
        struct dialect d = {.name = "d", .routes = all[i]};
        const struct dialect *const t[] = {&d, NULL};
        struct router *r;
        assert_int_equal(router_new(t, &r, NULL), ERR_INVALID);
    }
}

static enum auth_verdict parse(enum credential kind, const char *authorization, const char *id,
                               const char *secret, struct auth_parts *p)
{
    struct auth_headers h = {authorization, id, secret};
    return auth_parse(kind, &h, p);
}

static void pair_is(const struct auth_parts *p, const char *key, const char *secret)
{
    assert_true(p->has_secret);
    assert_int_equal(p->key_len, strlen(key));
    assert_memory_equal(p->text, key, p->key_len);
    assert_string_equal(p->text + p->key_len, secret);
    assert_int_equal(p->secret_len, strlen(secret));
}

static void credentials(void **state)
{
    (void)state;
    struct auth_parts p;
    assert_int_equal(crypto_init(), 0);
    assert_int_equal(parse(CREDENTIAL_KAKAO, NULL, "key", "sec", &p), AUTH_PARSED);
    pair_is(&p, "key", "sec");
    assert_int_equal(parse(CREDENTIAL_KAKAO, "Bearer x", NULL, NULL, &p), AUTH_ABSENT);
    assert_int_equal(parse(CREDENTIAL_KAKAO, NULL, "key", NULL, &p), AUTH_MALFORMED);
    assert_int_equal(parse(CREDENTIAL_KAKAO, NULL, "key", "", &p), AUTH_MALFORMED);
    /* key@api:sec:ret */
    assert_int_equal(parse(CREDENTIAL_JACKDB, "Basic a2V5QGFwaTpzZWM6cmV0", NULL, NULL, &p), AUTH_PARSED);
    pair_is(&p, "key", "sec:ret");
    assert_int_equal(parse(CREDENTIAL_ANY, "basic  a2V5QGFwaTpzZWM6cmV0", NULL, NULL, &p), AUTH_PARSED);
    pair_is(&p, "key", "sec:ret");
    assert_int_equal(parse(CREDENTIAL_KYLIN, "Basic a2V5OnNlYw==", NULL, NULL, &p), AUTH_PARSED);
    pair_is(&p, "key", "sec");
    assert_int_equal(parse(CREDENTIAL_JACKDB, "Basic a2V5OnNlYw==", NULL, NULL, &p), AUTH_MALFORMED);
    assert_int_equal(parse(CREDENTIAL_ANY, "Basic a2V5OnNlYw==", NULL, NULL, &p), AUTH_PARSED);
    pair_is(&p, "key", "sec");
    assert_int_equal(parse(CREDENTIAL_KYLIN, "Basic !!!", NULL, NULL, &p), AUTH_MALFORMED);
    assert_int_equal(parse(CREDENTIAL_KYLIN, "Basic", NULL, NULL, &p), AUTH_MALFORMED);
    assert_int_equal(parse(CREDENTIAL_KYLIN, "Basic a2V5", NULL, NULL, &p), AUTH_MALFORMED);
    assert_int_equal(parse(CREDENTIAL_CANNER, "token abc", NULL, NULL, &p), AUTH_PARSED);
    assert_false(p.has_secret);
    assert_string_equal(p.text, "abc");
    assert_int_equal(parse(CREDENTIAL_CANNER, "Bearer abc", NULL, NULL, &p), AUTH_PARSED);
    assert_int_equal(parse(CREDENTIAL_DATA360, "Bearer abc ", NULL, NULL, &p), AUTH_PARSED);
    assert_string_equal(p.text, "abc");
    assert_int_equal(parse(CREDENTIAL_DATA360, "Bearer a b", NULL, NULL, &p), AUTH_MALFORMED);
    assert_int_equal(parse(CREDENTIAL_DATA360, NULL, "key", "sec", &p), AUTH_ABSENT);
    assert_int_equal(parse(CREDENTIAL_ANY, "Bearer abc", NULL, NULL, &p), AUTH_PARSED);
    assert_int_equal(parse(CREDENTIAL_ANY, NULL, "key", "sec", &p), AUTH_PARSED);
    static char longest[9000] = "Bearer ";
    memset(longest + 7, 'a', sizeof longest - 8);
    assert_int_equal(parse(CREDENTIAL_DATA360, longest, NULL, NULL, &p), AUTH_MALFORMED);
    memcpy(longest, "Basic aaaa", 10);
    assert_int_equal(parse(CREDENTIAL_KYLIN, longest, NULL, NULL, &p), AUTH_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(matching), cmocka_unit_test(refusing),
                                       cmocka_unit_test(bad_tables), cmocka_unit_test(credentials)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

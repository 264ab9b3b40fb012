/* test_identity: keys in all five credential shapes, wrong ones, the limit, revoking and expiry, the keyring. */
#include "base/json_read.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/identity.h"
#include "core/keyring.h"
#include "core/limiter.h"
#include "core_test.h"

struct fixture {
    struct place p;
    struct identities *ids;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err e;
    place_make(&f->p);
    *state = f;
    if (place_open(&f->p, &e))
        return -1;
    return identities_open(f->p.r, f->p.dir, &f->ids, &e);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    identities_close(f->ids);
    if (f->p.r)
        place_close(&f->p);
    place_remove(&f->p);
    free(f);
    return 0;
}

static void reopen(struct fixture *f, int want)
{
    struct err e;
    identities_close(f->ids);
    f->ids = NULL;
    place_close(&f->p);
    assert_int_equal(place_open(&f->p, &e), 0);
    err_clear(&e);
    assert_int_equal(identities_open(f->p.r, f->p.dir, &f->ids, &e), want);
    if (want)
        assert_true(e.text[0] != 0);
}

struct key {
    char id[64], secret[64], token[128], kakao_id[64], kakao_secret[64], basic[2][200], token_header[2][200];
};

static void copy(char *out, size_t cap, json_value v, const char *key)
{
    const char *s = json_string(json_get(v, key), NULL);
    assert_non_null(s);
    assert_true(strlen(s) < cap);
    memcpy(out, s, strlen(s) + 1);
}

static struct key make(struct fixture *f, const char *workspace, const char *user, enum role role)
{
    CLEANUP_BUF struct buf out = BUF_INIT(65536);
    CLEANUP_JSON struct json_doc *d = NULL;
    struct err e;
    struct key k;
    err_clear(&e);
    assert_int_equal(identity_key_create(f->ids, workspace, user, role, 0, &out, &e), 0);
    assert_int_equal(json_parse(out.p, out.len, &d, &e), 0);
    json_value v = json_root(d), h = json_get(v, "headers");
    assert_string_equal(json_string(json_get(v, "workspace"), NULL), workspace);
    assert_string_equal(json_string(json_get(v, "user"), NULL), user);
    assert_string_equal(json_string(json_get(v, "role"), NULL), role_name(role));
    assert_int_equal(strlen(json_string(json_get(v, "workspaceId"), NULL)), 36);
    copy(k.id, sizeof k.id, v, "keyId");
    copy(k.secret, sizeof k.secret, v, "secret");
    copy(k.token, sizeof k.token, v, "token");
    copy(k.kakao_id, sizeof k.kakao_id, json_get(h, "kakao"), "Credential-ID");
    copy(k.kakao_secret, sizeof k.kakao_secret, json_get(h, "kakao"), "Credential-Secret");
    copy(k.basic[0], 200, json_get(h, "jackdb"), "Authorization");
    copy(k.basic[1], 200, json_get(h, "kylin"), "Authorization");
    copy(k.token_header[0], 200, json_get(h, "canner"), "Authorization");
    copy(k.token_header[1], 200, json_get(h, "data360"), "Authorization");
    return k;
}

static int check(struct fixture *f, const char *id, const char *secret, const char *peer,
                 struct identity *who)
{
    struct err e;
    err_clear(&e);
    int rc = identity_check(f->ids, id, strlen(id), secret, secret ? strlen(secret) : 0, peer, who, &e);
    assert_int_equal(e.code, rc);
    return rc;
}

static void test_shapes(void **state)
{
    struct fixture *f = *state;
    struct identity who;
    struct key k = make(f, "Team \xed\x95\x9c", "ann@example.com", ROLE_MEMBER);
    assert_true(strlen(k.secret) >= 32 &&
                strspn(k.secret, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") ==
                    strlen(k.secret));
    assert_string_equal(k.kakao_id, k.id);
    assert_string_equal(k.kakao_secret, k.secret);
    assert_int_equal(check(f, k.id, k.secret, "p", &who), 0);
    assert_string_equal(who.workspace_name, "Team \xed\x95\x9c");
    assert_string_equal(who.user_name, "ann@example.com");
    assert_string_equal(who.key_id, k.id);
    assert_int_equal(strlen(who.workspace_uuid), 36);
    assert_int_equal(who.role, ROLE_MEMBER);
    char want[200];
    for (int i = 0; i < 2; i++) {
        uint8_t plain[200];
        size_t n;
        assert_memory_equal(k.basic[i], "Basic ", 6);
        assert_true(
            crypto_base64_decode(k.basic[i] + 6, strlen(k.basic[i] + 6), plain, sizeof plain - 1, &n));
        plain[n] = 0;
        snprintf(want, sizeof want, "%s%s:%s", k.id, i == 0 ? "@api" : "", k.secret);
        assert_string_equal((char *)plain, want);
        snprintf(want, sizeof want, "%s %s", i == 0 ? "Token" : "Bearer", k.token);
        assert_string_equal(k.token_header[i], want);
    }
    assert_int_equal(check(f, k.token, NULL, "p", &who), 0);
    assert_string_equal(who.key_id, k.id);
    struct key other = make(f, "Team \xed\x95\x9c", "bob", ROLE_ADMIN);
    struct identity second;
    assert_int_equal(check(f, other.token, NULL, "p", &second), 0);
    assert_int_equal(second.workspace, who.workspace);
    assert_int_not_equal(second.user, who.user);
    assert_int_equal(second.role, ROLE_ADMIN);
    reopen(f, 0);
    assert_int_equal(check(f, k.token, NULL, "p", &second), 0);
    assert_memory_equal(&second.workspace, &who.workspace, sizeof who.workspace);
}

static void test_wrong(void **state)
{
    struct fixture *f = *state;
    struct identity who = {.key = 77};
    struct key a = make(f, "W", "U", ROLE_READER), b = make(f, "W", "U", ROLE_READER);
    char text[600];
    assert_int_equal(check(f, a.id, b.secret, "p", &who), ERR_UNAUTH);
    assert_int_equal(check(f, "nobody", a.secret, "p", &who), ERR_UNAUTH);
    assert_int_equal(check(f, "", "", "p", &who), ERR_UNAUTH);
    assert_int_equal(check(f, a.id, "", "p", &who), ERR_UNAUTH);
    assert_int_equal(check(f, "", NULL, NULL, &who), ERR_UNAUTH);
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    assert_int_equal(check(f, text, a.secret, "p", &who), ERR_UNAUTH);
    assert_int_equal(check(f, a.id, text, "p", &who), ERR_UNAUTH);
    assert_int_equal(check(f, text, NULL, "p", &who), ERR_UNAUTH);
    /* A token with any one character changed, cut or made longer. */
    size_t n = strlen(a.token);
    for (size_t i = 0; i < n; i++) {
        memcpy(text, a.token, n + 1);
        text[i] = text[i] == 'A' ? 'B' : 'A';
        assert_int_not_equal(check(f, text, NULL, "many", &who), 0);
    }
    assert_int_equal(identity_check(f->ids, a.token, n - 1, NULL, 0, "p", &who, NULL), ERR_UNAUTH);
    memcpy(text, a.token, n);
    text[n] = 'A';
    text[n + 1] = 0;
    assert_int_equal(check(f, text, NULL, "p", &who), ERR_UNAUTH);
    /* The hash binds the key id: ':' cannot move between the two. */
    snprintf(text, sizeof text, "%.11s", a.id);
    assert_int_equal(check(f, text, a.secret, "p", &who), ERR_UNAUTH);
    assert_int_equal(who.key, 77); /* untouched by failures */
}

static void test_limit(void **state)
{
    struct fixture *f = *state;
    struct identity who;
    struct key k = make(f, "W", "U", ROLE_READER);
    for (int i = 0; i < 100; i++)
        assert_int_equal(check(f, k.id, "wrong", "10.0.0.1", &who), ERR_UNAUTH);
    struct err e;
    err_clear(&e);
    assert_int_equal(identity_check(f->ids, k.id, strlen(k.id), "wrong", 5, "10.0.0.1", &who, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "auth.max_failures"));
    assert_int_equal(check(f, k.id, k.secret, "10.0.0.1", &who), 0);
    assert_int_equal(check(f, k.token, NULL, "10.0.0.1", &who), 0);
    assert_int_equal(check(f, k.id, "wrong", "10.0.0.1", &who), ERR_LIMIT);
    assert_int_equal(check(f, k.id, "wrong", "10.0.0.2", &who), ERR_UNAUTH);
    assert_int_equal(check(f, "other", "wrong", "10.0.0.1", &who), ERR_UNAUTH);
}

static void test_limiter(void **state)
{
    (void)state;
    struct limiter *l = limiter_new();
    const int64_t second = 1000000000;
    for (int i = 0; i < 3; i++)
        assert_int_equal(limiter_failure(l, "a", 1, "p", 3, 0), 0);
    assert_true(limiter_failure(l, "a", 1, "p", 3, 10 * second) > 49000);
    assert_true(limiter_failure(l, "a", 1, "p", 3, 60 * second - 1) > 0);
    assert_int_equal(limiter_failure(l, "a", 1, "p", 3, 60 * second), 0); /* a new minute */
    assert_int_equal(limiter_failure(l, "ap", 2, "", 3, 60 * second), 0);
    /* A flood of other names does not make it forget who is at the limit. */
    for (int i = 0; i < 5; i++)
        (void)limiter_failure(l, "a", 1, "p", 3, 60 * second);
    for (int i = 0; i < 100000; i++) {
        char name[20];
        snprintf(name, sizeof name, "n%d", i);
        (void)limiter_failure(l, name, strlen(name), "p", 3, 61 * second);
    }
    assert_true(limiter_failure(l, "a", 1, "p", 3, 62 * second) > 0);
    limiter_free(l);
}

static void test_revoke(void **state)
{
    struct fixture *f = *state;
    struct identity who;
    struct err e;
    CLEANUP_BUF struct buf out = BUF_INIT(65536);
    struct key k = make(f, "W", "U", ROLE_READER), stays = make(f, "W", "U", ROLE_READER);
    assert_int_equal(identity_key_revoke(f->ids, k.id, &out, &e), 0);
    assert_int_equal(check(f, k.token, NULL, "p", &who), ERR_UNAUTH);
    assert_int_equal(check(f, k.id, k.secret, "p", &who), ERR_UNAUTH);
    assert_int_equal(check(f, stays.token, NULL, "p", &who), 0);
    assert_int_equal(identity_key_revoke(f->ids, k.id, &out, &e), ERR_NOTFOUND);
    assert_int_equal(identity_key_revoke(f->ids, "nobody", &out, &e), ERR_NOTFOUND);
    buf_reset(&out);
    (void)make(f, "V", "U", ROLE_ADMIN);
    assert_int_equal(identity_key_list(f->ids, NULL, &out, &e), 0);
    CLEANUP_JSON struct json_doc *d = NULL, *w = NULL;
    assert_int_equal(json_parse(out.p, out.len, &d, &e), 0);
    assert_int_equal(json_size(json_root(d)), 3);
    assert_string_equal(json_string(json_get(json_at(json_root(d), 0), "state"), NULL), "revoked");
    assert_string_equal(json_string(json_get(json_at(json_root(d), 1), "state"), NULL), "active");
    assert_null(memmem(out.p, out.len, k.secret, strlen(k.secret)));
    buf_reset(&out);
    assert_int_equal(identity_key_list(f->ids, "V", &out, &e), 0);
    assert_int_equal(json_parse(out.p, out.len, &w, &e), 0);
    assert_int_equal(json_size(json_root(w)), 1);
    reopen(f, 0);
    assert_int_equal(check(f, k.token, NULL, "p", &who), ERR_UNAUTH);
    assert_int_equal(check(f, stays.token, NULL, "p", &who), 0);
}

/* An expired key: made in the registry by hand, with the hash of a good one. */
struct expire {
    struct registry_write w;
    struct key_row row;
};

static int expire_apply(struct registry *r, struct registry_write *w, struct err *e)
{
    struct expire *x = (struct expire *)(void *)w;
    return registry_put_key(r, &x->row, &x->row.id, e);
}

static void test_expiry_takes_the_key(void **state)
{
    struct fixture *f = *state;
    struct identity who;
    struct err e;
    struct expire x = {.w = {.apply = expire_apply},
                       .row = {.key_id = "abcdefghijkl",
                               .workspace = f->p.workspace,
                               .user = f->p.user,
                               .role = ROLE_READER,
                               .created_ms = 1,
                               .expires_ms = sys_wall_ms() + 300}};
    char line[100] = {0}, text[] = "abcdefghijkl:secret";
    uint8_t key[CRYPTO_KEY_LEN];
    size_t n;
    char path[200];
    snprintf(path, sizeof path, "%s/keyring", f->p.dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, line, sizeof line - 1) > 16);
    close(fd);
    line[strcspn(line, "\n")] = 0;
    assert_true(crypto_base64_decode(line + 16, strlen(line + 16), key, sizeof key, &n));
    crypto_hash(key, text, strlen(text), x.row.hash);
    assert_int_equal(registry_do(f->p.r, &x.w, &e), 0);
    reopen(f, 0);
    int rc = check(f, "abcdefghijkl", "secret", "p", &who);
    assert_true(rc == 0 || sys_wall_ms() >= x.row.expires_ms);
    sys_sleep_ms(350);
    assert_int_equal(check(f, "abcdefghijkl", "secret", "p", &who), ERR_UNAUTH);
}

static bool file_has(const char *dir, const char *name, const char *what)
{
    char path[200], *p = calloc(1, 1 << 20);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, p, 1 << 20);
    if (fd >= 0)
        close(fd);
    bool has = n > 0 && memmem(p, (size_t)n, what, strlen(what));
    free(p);
    return has;
}

static void test_keyring(void **state)
{
    struct fixture *f = *state;
    struct identity who;
    struct key k = make(f, "W", "U", ROLE_READER);
    struct stat st;
    char path[200], away[220];
    snprintf(path, sizeof path, "%s/keyring", f->p.dir);
    snprintf(away, sizeof away, "%s.away", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(file_has(f->p.dir, "registry.db-wal", k.id) || file_has(f->p.dir, "registry.db", k.id));
    assert_false(file_has(f->p.dir, "registry.db", k.secret));
    assert_false(file_has(f->p.dir, "registry.db-wal", k.secret));
    assert_int_equal(chmod(path, 0644), 0);
    reopen(f, ERR_DENIED);
    assert_int_equal(chmod(path, 0600), 0);
    reopen(f, 0);
    assert_int_equal(check(f, k.token, NULL, "p", &who), 0);
    assert_int_equal(rename(path, away), 0);
    reopen(f, ERR_CORRUPT); /* never silently another one */
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "quern-keyring 1 abcd\n", 21), 21);
    close(fd);
    reopen(f, ERR_CORRUPT);
    assert_int_equal(rename(away, path), 0);
    reopen(f, 0);
    assert_int_equal(check(f, k.token, NULL, "p", &who), 0);
}

static void test_names(void **state)
{
    struct fixture *f = *state;
    struct err e;
    CLEANUP_BUF struct buf out = BUF_INIT(65536);
    char longest[258];
    memset(longest, 'n', sizeof longest);
    longest[256] = 0;
    static const char *const bad[] = {"",     ".",        "..",   "a/b",          "a\nb",
                                      "\x7f", "\xc2\x85", "\xff", "a\xed\xa0\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(identity_key_create(f->ids, bad[i], "U", ROLE_READER, 0, &out, &e), ERR_INVALID);
        assert_int_equal(identity_key_create(f->ids, "W", bad[i], ROLE_READER, 0, &out, &e), ERR_INVALID);
    }
    assert_int_equal(identity_key_create(f->ids, longest, "U", ROLE_READER, 0, &out, &e), ERR_INVALID);
    longest[255] = 0;
    (void)make(f, longest, longest, ROLE_READER);
    (void)make(f, " a \xc2\xa0 ' \" \\ ", "\xf0\x9f\x98\x80", ROLE_READER);
    enum role r;
    assert_false(role_parse("Admin", &r));
    assert_true(role_parse("admin", &r) && r == ROLE_ADMIN);
    assert_int_equal(out.len, 0);
}

/* Checks go on, and stay right, while keys come and go. */
struct busy {
    struct fixture *f;
    const struct key *k;
    atomic_bool stop;
};

static void *busy_main(void *arg)
{
    struct busy *b = arg;
    struct identity who;
    while (!atomic_load(&b->stop)) {
        assert_int_equal(
            identity_check(b->f->ids, b->k->token, strlen(b->k->token), NULL, 0, "p", &who, NULL), 0);
        assert_string_equal(who.key_id, b->k->id);
        assert_int_not_equal(identity_check(b->f->ids, "x", 1, "y", 1, "p", &who, NULL), 0);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct fixture *f = *state;
    struct key k = make(f, "W", "U", ROLE_READER);
    struct busy b = {.f = f, .k = &k};
    pthread_t t[4];
    struct err e;
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, busy_main, &b);
    for (int i = 0; i < 80; i++) {
        CLEANUP_BUF struct buf out = BUF_INIT(65536);
        struct key fresh = make(f, "W", "U", ROLE_MEMBER);
        struct identity who;
        assert_int_equal(check(f, fresh.token, NULL, "q", &who), 0);
        assert_int_equal(identity_key_revoke(f->ids, fresh.id, &out, &e), 0);
        assert_int_equal(check(f, fresh.token, NULL, "q", &who), ERR_UNAUTH);
    }
    atomic_store(&b.stop, true);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
}

/* A keyring that a power cut can take back is the end of every key: its bytes and its name come before the answer. */
static void test_keyring_is_durable(void **state)
{
    struct fixture *f = *state;
    static const char *const faults[] = {"fsync:1:EIO", "fsync:2:EIO", "rename:1:EIO", "fsync:3:EIO"};
    char path[600];
    uint8_t key[CRYPTO_KEY_LEN];
    snprintf(path, sizeof path, "%s/keyring", f->p.dir);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct err e;
        err_clear(&e);
        (void)unlink(path);
        setenv("QUERN_FAULT", faults[i], 1);
        sys_init(); /* counts from here */
        int rc = keyring_open(f->p.dir, true, key, &e);
        unsetenv("QUERN_FAULT");
        sys_init();
        if ((rc == 0) != (i == 3))
            fail_msg("%s: %d", faults[i], rc);
    }
}

int main(void)
{
    log_init(LOG_WARN, false);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_shapes),  T(test_wrong),
                                       T(test_limit),   cmocka_unit_test(test_limiter),
                                       T(test_revoke),  T(test_expiry_takes_the_key),
                                       T(test_keyring), T(test_keyring_is_durable),
                                       T(test_names),   T(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

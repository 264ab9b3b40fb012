/* test_audit: the chain and what breaks it, torn tails, rotation, a full queue, a disk that refuses. */
#include "core_test.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/metrics.h"
#include "core/audit.h"
#include "core/keyring.h"

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    uint8_t key[CRYPTO_KEY_LEN];
    place_make(p);
    *state = p;
    config.audit_flush = 20;
    log_init(LOG_ERROR + 1, false);
    return keyring_open(p->dir, true, key, NULL);
}

static int teardown(void **state)
{
    struct place *p = *state;
    audit_close();
    place_remove(p);
    free(p);
    return 0;
}

static void begin(struct place *p)
{
    struct err e;
    err_clear(&e);
    assert_int_equal(audit_open(p->dir, &e), 0);
}

static void events(int n)
{
    char text[32];
    for (int i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%d", i);
        audit_event("query_submit", "query", text, "workspace", "w", NULL);
        if (i % 500 == 499)
            assert_true(audit_flush()); /* never more than the queue holds */
    }
}

static char *file(const struct place *p, const char *name, char path[512])
{
    snprintf(path, 512, "%s/audit/%s", p->dir, name);
    return path;
}

/* The file's bytes with a NUL behind. */
static char *slurp(const struct place *p, const char *name, size_t *ret_n)
{
    char path[512];
    FILE *f = fopen(file(p, name, path), "r");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *text = calloc(1, (size_t)n + 1);
    assert_int_equal(fread(text, 1, (size_t)n, f), n);
    fclose(f);
    *ret_n = (size_t)n;
    return text;
}

static void spill(const struct place *p, const char *name, const char *text, size_t n)
{
    char path[512];
    FILE *f = fopen(file(p, name, path), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

/* 0 and the answer, or the error's text. */
static int verify(const struct place *p, char text[1024])
{
    CLEANUP_BUF struct buf out = BUF_INIT(4096);
    struct err e;
    err_clear(&e);
    int rc = audit_verify(p->dir, &out, &e);
    snprintf(text, 1024, "%.1000s", rc ? e.text : buf_str(&out));
    return rc;
}

static void good(const struct place *p, const char *has)
{
    char text[1024];
    int rc = verify(p, text);
    if (rc || !strstr(text, has))
        fail_msg("%d %s (wanted %s)", rc, text, has);
}

static void broken(const struct place *p, const char *has)
{
    char text[1024];
    int rc = verify(p, text);
    if (rc != ERR_CORRUPT || !strstr(text, has))
        fail_msg("%d %s (wanted %s)", rc, text, has);
}

static void test_chain(void **state)
{
    struct place *p = *state;
    audit_event("lost", NULL); /* no trail is open */
    begin(p);
    assert_string_equal(audit_previous(), "none");
    audit_event("sys_startup", NULL);
    audit_event("odd", "text", "a\"\\\n\x01\xff", "nothing", (const char *)NULL, "more", "\xe2\x80\xae",
                NULL);
    events(50);
    assert_true(audit_flush());
    good(p, "\"records\":52,\"first\":1,\"last\":52");
    size_t n;
    char *text = slurp(p, "audit.log", &n), *line = text,
         before[65] = "0000000000000000000000000000000000000000000000000000000000000000";
    for (int i = 1; i <= 52; i++) { /* said again, in other words */
        char *end = strchr(line, '\n'), want[128];
        snprintf(want, sizeof want, ",\"prev\":\"%s\"}", before);
        assert_memory_equal(end - strlen(want), want, strlen(want));
        uint8_t h[CRYPTO_HASH_LEN];
        crypto_digest(line, (size_t)(end - line), h);
        for (size_t k = 0; k < sizeof h; k++)
            snprintf(before + 2 * k, 3, "%02x", h[k]);
        line = end + 1;
    }
    assert_true(line == text + n);
    assert_null(strstr(text, "nothing"));
    assert_non_null(strstr(text, "a\\\"\\\\\\n\\u0001"));
    free(text);
    audit_event("sys_shutdown", NULL);
    audit_close();
    begin(p);
    assert_string_equal(audit_previous(), "clean");
    audit_event("sys_startup", NULL);
    audit_close();
    begin(p);
    assert_string_equal(audit_previous(), "unclean");
    assert_true(audit_flush());
    good(p, "\"records\":54");
}

static void test_tampering(void **state)
{
    struct place *p = *state;
    begin(p);
    events(30);
    audit_close();
    good(p, "\"records\":30");
    size_t n;
    char *text = slurp(p, "audit.log", &n), *copy = calloc(1, n + 1);

    memcpy(copy, text, n);
    char *at = memmem(copy, n, "\"seq\":20,", 9);
    *(char *)memmem(at, n - (size_t)(at - copy), "query_submit", 12) = 'x';
    spill(p, "audit.log", copy, n);
    broken(p, "line 21");

    char *cut = memmem(text, n, "{\"seq\":7,", 9), *to = memmem(text, n, "{\"seq\":8,", 9);
    memcpy(copy, text, (size_t)(cut - text));
    memcpy(copy + (cut - text), to, n - (size_t)(to - text));
    spill(p, "audit.log", copy, n - (size_t)(to - cut));
    broken(p, "missing or out of order");

    char *last = memmem(text, n, "{\"seq\":30,", 10);
    spill(p, "audit.log", text, (size_t)(last - text));
    broken(p, "its end is missing");

    memcpy(copy, text, n);
    copy[n - 10] = copy[n - 10] == '0' ? '1' : '0'; /* in the last record's prev */
    spill(p, "audit.log", copy, n);
    broken(p, "line 30");

    memcpy(copy, text, n);
    *strstr(copy + (last - text), "query_submit") =
        'x'; /* the last record has none behind it: the head tells */
    spill(p, "audit.log", copy, n);
    broken(p, "not the record that was written");

    spill(p, "audit.log", text, n);
    good(p, "\"records\":30");
    spill(p, "audit.log", text,
          (size_t)(last - text)); /* a start over a trail that lost its end says so for ever */
    begin(p);
    audit_close();
    broken(p, "records before it were gone");
    free(text);
    free(copy);
}

static void test_torn_tail(void **state)
{
    struct place *p = *state;
    begin(p);
    events(5);
    audit_close();
    size_t n, m;
    char *text = slurp(p, "audit.log", &n);
    char *longer = malloc(n + 200);
    memcpy(longer, text, n);
    memcpy(longer + n, text, 100); /* the front of a record */
    spill(p, "audit.log", longer, n + 100);
    good(p, "\"records\":5,\"first\":1,\"last\":5");
    good(p, "\"tornBytes\":100");
    begin(p);
    events(3);
    audit_close();
    good(p, "\"records\":9"); /* 5, the mending, 3 */
    good(p, "\"tornBytes\":0");
    char *now = slurp(p, "audit.log", &m);
    assert_memory_equal(now, text, n);
    assert_non_null(strstr(now + n, "\"event\":\"audit_mended\",\"torn_bytes\":\"100\""));
    free(now);
    spill(p, "audit.log", "{\"se",
          4); /* torn before its first record was whole: everything was lost, and the head knows */
    begin(p);
    audit_close();
    broken(p, "gone when the daemon started");
    free(text);
    free(longer);
}

static void test_damaged_end(void **state)
{
    struct place *p = *state;
    begin(p);
    events(5);
    audit_close();
    size_t n;
    char *text = slurp(p, "audit.log", &n);
    memset(text + n - 30, 'z', 29);
    spill(p, "audit.log", text, n);
    free(text);
    begin(p);
    events(2);
    audit_close();
    char path[512];
    DIR *d = opendir(file(p, "", path));
    int damaged = 0;
    for (struct dirent *x; (x = readdir(d));)
        damaged += strncmp(x->d_name, "damaged-", 8) == 0;
    closedir(d);
    assert_int_equal(damaged, 1);
    broken(p, "gone when the daemon started");
}

static int full_files(const struct place *p)
{
    char path[512];
    DIR *d = opendir(file(p, "", path));
    int n = 0;
    for (struct dirent *x; (x = readdir(d));)
        n += strncmp(x->d_name, "audit-", 6) == 0;
    closedir(d);
    return n;
}

static void test_rotation(void **state)
{
    struct place *p = *state;
    config.audit_max_file = 65536;
    config.audit_keep = 0;
    begin(p);
    events(3000);
    assert_true(audit_flush());
    good(p, "\"records\":3000,\"first\":1,\"last\":3000");
    assert_true(full_files(p) >= 5);
    audit_close();
    begin(p); /* goes on behind a full file too */
    config.audit_keep = 2;
    events(1000);
    assert_true(audit_flush());
    assert_int_equal(full_files(p), 2);
    char text[1024];
    assert_int_equal(verify(p, text), 0);
    assert_null(strstr(text, "\"first\":1,"));
    audit_close();
    char path[512], oldest[256] = "";
    DIR *d = opendir(file(p, "", path));
    for (struct dirent *x; (x = readdir(d));)
        if (strncmp(x->d_name, "audit-", 6) == 0 && (!oldest[0] || strcmp(x->d_name, oldest) > 0))
            snprintf(oldest, sizeof oldest, "%.200s", x->d_name);
    closedir(d);
    assert_int_equal(remove(file(p, oldest, path)), 0); /* the newer one: a hole */
    broken(p, "missing or out of order");
}

static void *hammer(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5000; i++)
        audit_event("noise", "n", "1", NULL);
    return NULL;
}

static void test_full_queue(void **state)
{
    struct place *p = *state;
    struct err e;
    config.audit_queue = 64;
    config.audit_required = 1;
    begin(p);
    assert_int_equal(audit_admit(&e), 0);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, NULL), 0);
    struct metric *dropped = metrics_get(METRIC_COUNTER, "quern_audit_dropped_total", "", "");
    int64_t before = metric_value(dropped);
    int refused = 0;
    for (int i = 0; i < 2000000 && !(refused && metric_value(dropped) > before); i++) {
        audit_event("noise", "n", "2", NULL);
        struct err now;
        err_clear(&now);
        if (audit_admit(&now) == ERR_UNAVAILABLE) {
            refused = 1;
            e = now;
        }
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_true(refused);
    assert_non_null(strstr(e.text, "audit.required"));
    assert_true(audit_flush());
    audit_close();
    size_t n;
    char *text = slurp(p, "audit.log", &n);
    assert_non_null(strstr(text, "\"event\":\"audit_dropped\",\"count\":"));
    free(text);
    char answer[1024];
    assert_int_equal(verify(p, answer), 0);
}

static void test_refusals(void **state)
{
    struct place *p = *state;
    begin(p);
    int64_t begun = sys_mono_ns();
    for (int i = 0; i < 3000; i++)
        audit_refusal("authn_login_fail", "peer", "192.0.2.1", NULL);
    size_t seconds = (size_t)((sys_mono_ns() - begun) / 1000000000) + 2; /* that they may have touched */
    sys_sleep_ms(2500);
    audit_close();
    size_t n;
    char *text = slurp(p, "audit.log", &n);
    assert_non_null(strstr(text, "refusals_left_out"));
    free(text);
    char answer[1024];
    assert_int_equal(verify(p, answer), 0);
    assert_true(n < seconds * 100 * 250);
}

static void test_disk_refuses(void **state)
{
    struct place *p = *state;
    struct rlimit old, tight;
    struct err e;
    config.audit_required = 1;
    signal(SIGXFSZ, SIG_IGN);
    begin(p);
    events(3);
    assert_true(audit_flush());
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tight = old;
    size_t n;
    free(slurp(p, "audit.log", &n));
    tight.rlim_cur = n + 60; /* in the middle of a record */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    events(10);
    assert_false(audit_flush());
    err_clear(&e);
    assert_int_equal(audit_admit(&e), ERR_UNAVAILABLE);
    assert_non_null(strstr(e.text, "audit.required"));
    good(p, "\"records\":3");
    good(p, "\"tornBytes\":0"); /* the half record was cut off again */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    for (int i = 0; i < 600 && !audit_flush(); i++)
        sys_sleep_ms(100);
    assert_true(audit_flush());
    assert_int_equal(audit_admit(&e), 0);
    good(p, "\"records\":13"); /* nothing was lost */
}

static void test_statements(void **state)
{
    struct place *p = *state;
    char a[AUDIT_HASH_TEXT], b[AUDIT_HASH_TEXT], c[AUDIT_HASH_TEXT];
    uint8_t plain[CRYPTO_HASH_LEN];
    begin(p);
    audit_statement("SELECT 1", 8, a);
    audit_statement("SELECT 2", 8, b);
    audit_close();
    begin(p);
    audit_statement("SELECT 1", 8, c);
    assert_string_equal(a, c);
    assert_string_not_equal(a, b);
    crypto_digest("SELECT 1", 8, plain);
    char text[2 * CRYPTO_HASH_LEN + 1];
    for (size_t i = 0; i < CRYPTO_HASH_LEN; i++)
        snprintf(text + 2 * i, 3, "%02x", plain[i]);
    assert_string_not_equal(text, a); /* keyed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_chain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tampering, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_statements, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

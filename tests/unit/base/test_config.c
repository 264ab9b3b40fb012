/* config: bounds, units, file and environment, all or nothing on reload. */
#include "unit.h"

#include <unistd.h>

#include "base/config.h"

static char path[] = "/tmp/quern-config-XXXXXX";

static int load_text(const char *text, bool reload, struct err *e)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    return config_load(path, reload, e);
}

static void defaults(void **state)
{
    (void)state;
    assert_int_equal(config.http_max_body, 16 << 20); /* before any call */
    assert_int_equal(config.log_level, 1);
    assert_string_equal(config.http_listen, "127.0.0.1:8080");
    assert_int_equal(config.engine_run_timeout, 1800000);
    assert_string_equal(config_word("log.level", config.log_level), "info");
    assert_string_equal(config_word("log.level", 9), "");
    assert_string_equal(config_word("log.level", -1), "");
    assert_string_equal(config_word("no.such", 0), "");
    for (int k = 0; k < config_nkeys; k++) { /* the order is what the manual is printed in */
        assert_true(*config_keys[k].text != 0);
        for (int other = 0; other < k; other++)
            assert_false(strcmp(config_keys[k].section, config_keys[other].section) == 0 &&
                         strcmp(config_keys[k].name, config_keys[other].name) == 0);
    }
    assert_int_equal(config_load(NULL, false, NULL), 0);
}

static void units_and_bounds(void **state)
{
    (void)state;
    struct {
        const char *key, *value;
        _Atomic int64_t *at;
        int64_t want;
    } good[] = {
        {"http.max_body", "2 MiB", &config.http_max_body, 2 << 20},
        {"http.max_body", "1KiB", &config.http_max_body, 1024},
        {"http.max_body", "1024", &config.http_max_body, 1024},
        {"http.max_body", "1GiB", &config.http_max_body, 1 << 30},
        {"engine.spill", "1TiB", &config.engine_spill, INT64_C(1) << 40},
        {"engine.run_timeout", "10", &config.engine_run_timeout, 10},
        {"engine.run_timeout", "2h", &config.engine_run_timeout, 7200000},
        {"engine.run_timeout", "10d", &config.engine_run_timeout, 864000000},
        {"engine.run_timeout", "1500 ms", &config.engine_run_timeout, 1500},
        {"engine.grace", "0", &config.engine_grace, 0},
        {"queue.total", "1", &config.queue_total, 1},
        {"log.level", "error", &config.log_level, 3},
        {"engine.unsafe_no_sandbox", "on", &config.engine_unsafe_no_sandbox, 1},
        {"engine.unsafe_no_sandbox", "0", &config.engine_unsafe_no_sandbox, 0},
        {"engine.unsafe_no_sandbox", "true", &config.engine_unsafe_no_sandbox, 1},
        {"engine.unsafe_no_sandbox", "no", &config.engine_unsafe_no_sandbox, 0},
    };
    struct err e;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(config_set(good[i].key, good[i].value, &e), 0);
        assert_int_equal(*good[i].at, good[i].want);
    }
    struct {
        const char *key, *value;
    } bad[] = {
        {"http.max_body", "1023"},
        {"http.max_body", "1025 MiB"},
        {"http.max_body", "1 MB"},
        {"http.max_body", ""},
        {"http.max_body", "-1"},
        {"http.max_body", "1.5MiB"},
        {"http.max_body", "9999999999999999999"},
        {"http.max_body", "9223372036854775807 KiB"},
        {"http.max_body", " 1024"},
        {"http.max_body", "1s"},
        {"engine.run_timeout", "9"},
        {"engine.run_timeout", "11d"},
        {"engine.run_timeout", "1KiB"},
        {"engine.run_timeout", "s"},
        {"queue.total", "0"},
        {"queue.total", "1 KiB"},
        {"queue.total", "0x10"},
        {"log.level", "warning"},
        {"log.level", ""},
        {"log.level", "debug|info"},
        {"engine.unsafe_no_sandbox", "maybe"},
        {"nothing.here", "1"},
        {"http", "1"},
        {"", ""},
        {"http.", "1"},
        {".max_body", "1"},
        {"http.max_bod", "1"},
    };
    struct config before = config;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(config_set(bad[i].key, bad[i].value, &e), ERR_INVALID);
        assert_non_null(strstr(e.text, bad[i].key));
        assert_memory_equal(&before, &config, sizeof config);
    }
    config_set("http.max_body", "1025 MiB", &e) < 0 ? (void)0 : fail();
    assert_string_equal(e.text, "http.max_body: 1025 MiB is not within 1 KiB and 1 GiB");
    config_defaults();
}

static void file(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(load_text("\xEF\xBB\xBF# comment\n\n[http]\r\nmax_body = 1 MiB ; "
                               "why\nlisten=0.0.0.0:1\n[log]\nlevel=warn\n",
                               false, &e),
                     0);
    assert_int_equal(config.http_max_body, 1 << 20);
    assert_string_equal(config.http_listen, "0.0.0.0:1");
    assert_int_equal(config.log_level, 2);

    struct {
        const char *text, *says;
    } bad[] = {
        {"[http]\nmax_body = 1\n", "line 2: http.max_body"},
        {"[http]\n\nmax_bodi = 1\n", "line 3: [http] max_bodi: no such key"},
        {"[htp]\nmax_body = 1\n", "line 2: [htp]"},
        {"max_body = 1\n", "line 1: "},
        {"[http]\nmax_body = 1MiB\nmax_body = 2MiB\n", "line 3: http.max_body was set in line 2 already"},
        {"[http\n", "line 1: "},
        {"[http]\njunk\n", "line 2: neither"},
        {"[log]\nlevel = info\n more\n", "line 3: "},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct config before = config;
        assert_int_equal(load_text(bad[i].text, i % 2, &e), ERR_INVALID);
        if (strncmp(e.text, bad[i].says, strlen(bad[i].says)) != 0)
            fail_msg("%s", e.text);
        assert_memory_equal(&before, &config, sizeof config);
    }
    char text[600];
    memset(text, 'x', sizeof text);
    memcpy(text, "[http]\nlisten=", 14);
    text[sizeof text - 1] = 0;
    assert_int_equal(load_text(text, false, &e), ERR_INVALID);
    assert_memory_equal(e.text, "line 2: longer", 14);
    assert_int_equal(config_load("/no/such/file", false, &e), ERR_IO);
    assert_null(strstr(e.text, "/no"));
    config_defaults();
}

static void environment(void **state)
{
    (void)state;
    struct err e;
    setenv("QUERN_HTTP_MAX_BODY", "3MiB", 1);
    setenv("QUERN_HTTP_LISTEN", "h:2", 1);
    assert_int_equal(load_text("[http]\nmax_body = 1 MiB\nlisten = h:1\n", false, &e), 0);
    assert_int_equal(config.http_max_body, 3 << 20);
    assert_string_equal(config.http_listen, "h:2");
    setenv("QUERN_HTTP_MAX_BODY", "3 apples", 1);
    assert_int_equal(config_load(NULL, false, &e), ERR_INVALID);
    assert_memory_equal(e.text, "environment QUERN_HTTP_MAX_BODY: http.max_body", 46);
    assert_int_equal(config.http_max_body, 3 << 20);
    unsetenv("QUERN_HTTP_MAX_BODY");
    unsetenv("QUERN_HTTP_LISTEN");
    config_defaults();
}

static void reload(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(load_text("[http]\nmax_body=1MiB\nlisten=h:1\nworkers=3\n[queue]\ntotal=7\n", false, &e),
                     0);
    assert_int_equal(config_set("queue.per_workspace", "5", &e), 0);
    /* Reloadable keys follow the file, keys that left it go back to the default, the rest stays, options
     * stay. */
    assert_int_equal(
        load_text("[http]\nmax_body=2MiB\nlisten=h:2\nworkers=4\n[queue]\nper_workspace=6\n", true, &e), 0);
    assert_int_equal(config.http_max_body, 2 << 20);
    assert_int_equal(config.queue_total, 50000);
    assert_int_equal(config.queue_per_workspace, 5);
    assert_int_equal(config.http_workers, 3);
    assert_string_equal(config.http_listen, "h:1");
    /* The first line is right, the last is wrong: nothing changes, not even by a wrong value of a fixed key. */
    assert_int_equal(load_text("[http]\nmax_body=3MiB\nworkers=0\n", true, &e), ERR_INVALID);
    assert_int_equal(config.http_max_body, 2 << 20);
    config_defaults();
}

static void manual(void **state)
{
    (void)state;
    CLEANUP_BUF struct buf b = BUF_INIT(1 << 20);
    assert_int_equal(config_markdown(&b), 0);
    const char *text = buf_str(&b);
    assert_non_null(strstr(
        text,
        "| `max_body` | 16 MiB | 1 KiB .. 1 GiB | yes | `QUERN_HTTP_MAX_BODY` | largest request body |"));
    assert_non_null(strstr(text, "| `level` | info | debug, info, warn, error | yes |"));
    buf_reset(&b);
    assert_int_equal(config_help(&b), 0);
    assert_non_null(strstr(buf_str(&b), "  engine.slots (4; 1 .. 256; needs a restart)\n"));
    CLEANUP_BUF struct buf small = BUF_INIT(100);
    assert_int_equal(config_help(&small), ERR_LIMIT);
}

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),    cmocka_unit_test(units_and_bounds), cmocka_unit_test(file),
        cmocka_unit_test(environment), cmocka_unit_test(reload),           cmocka_unit_test(manual),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}

/* The lock of a workspace's catalog (core/catalog.h): order, readers beside a waiting writer, limits,
 * forgetting, many threads; and what a statement's words say. */
#include <pthread.h>
#include <stdatomic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/sys.h"
#include "core/catalog.h"

/* The catalog's thread reads the table meanwhile. */
#define SET(field, v) atomic_store_explicit(&config.field, (v), memory_order_relaxed)

struct who {
    struct catalog_claim claim;
    const char *name;
    bool expired, closed;
    bool granted;
};

static struct catalog *cat;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static char order[256];

static void answer(struct catalog_claim *c, enum catalog_answer a)
{
    struct who *w = (struct who *)(void *)c;
    pthread_mutex_lock(&mu);
    if (a == CATALOG_GRANTED) {
        w->granted = true;
        size_t n = strlen(order);
        snprintf(order + n, sizeof order - n, "%s", w->name);
    }
    w->expired = a == CATALOG_EXPIRED;
    w->closed = a == CATALOG_CLOSED;
    pthread_mutex_unlock(&mu);
}

static bool granted(struct who *w)
{
    pthread_mutex_lock(&mu);
    bool g = w->granted;
    pthread_mutex_unlock(&mu);
    return g;
}

static bool take(struct who *w, const char *name, bool write)
{
    *w = (struct who){.claim = {.answer = answer}, .name = name};
    bool got = catalog_take(cat, &w->claim, 1, write);
    if (got)
        w->granted = true;
    return got;
}

static int open_it(void **state)
{
    (void)state;
    SET(catalog_wait, 60000);
    SET(catalog_max_writer_wait, 60000);
    order[0] = 0;
    return catalog_open(&cat, NULL);
}

static int close_it(void **state)
{
    (void)state;
    catalog_close(cat);
    return 0;
}

static void readers_share(void **state)
{
    (void)state;
    struct who a, b, w, other;
    assert_true(take(&a, "a", false));
    assert_true(take(&b, "b", false));
    assert_false(take(&w, "w", true));
    assert_int_equal(catalog_waiting(cat), 1);
    other = (struct who){.claim = {.answer = answer}, .name = "o"};
    assert_true(catalog_take(cat, &other.claim, 2, true)); /* another workspace's lock is another one */
    catalog_release(cat, &a.claim);
    assert_false(granted(&w));
    catalog_release(cat, &b.claim);
    assert_true(granted(&w));
    assert_false(take(&a, "a", false));
    catalog_release(cat, &w.claim);
    assert_true(granted(&a));
    catalog_release(cat, &a.claim);
    catalog_release(cat, &other.claim);
    assert_int_equal(catalog_waiting(cat), 0);
}

static void first_come_first_served(void **state)
{
    (void)state;
    struct who r, w1, r1, w2, r2, r3;
    assert_true(take(&r, "r", false));
    assert_false(take(&w1, "1", true));
    assert_false(take(&r1, "a", false)); /* behind a writer that waits */
    assert_false(take(&w2, "2", true));
    assert_false(take(&r2, "b", false));
    assert_false(take(&r3, "c", false));
    catalog_release(cat, &r.claim);
    assert_string_equal(order, "1");
    catalog_release(cat, &w1.claim);
    assert_string_equal(order, "1a");
    catalog_release(cat, &r1.claim);
    assert_string_equal(order, "1a2");
    catalog_release(cat, &w2.claim);
    assert_string_equal(order, "1a2bc");
    catalog_release(cat, &r2.claim);
    catalog_release(cat, &r3.claim);
}

/* Who was announced first is served first, whoever asks first; who declines holds nobody back. */
static void announced(void **state)
{
    (void)state;
    struct who w1 = {.claim = {.answer = answer}, .name = "1"}, none = {.claim = {.answer = answer}},
               w2 = {.claim = {.answer = answer}, .name = "2"},
               r = {.claim = {.answer = answer}, .name = "r"};
    catalog_announce(cat, &w1.claim, 1);
    catalog_announce(cat, &none.claim, 1);
    catalog_announce(cat, &w2.claim, 1);
    catalog_announce(cat, &r.claim, 1);
    assert_false(catalog_take(cat, &r.claim, 1, false));
    assert_false(catalog_take(cat, &w2.claim, 1, true));
    assert_int_equal(catalog_waiting(cat), 2);
    assert_true(catalog_take(cat, &w1.claim, 1, true));
    catalog_release(cat, &w1.claim);
    assert_string_equal(order, ""); /* `none` may still want to write */
    assert_false(catalog_forget(cat, &none.claim));
    catalog_decline(cat, &none.claim);
    catalog_decline(cat, &none.claim); /* once is enough */
    assert_string_equal(order, "2");
    catalog_release(cat, &w2.claim);
    assert_string_equal(order, "2r");
    catalog_release(cat, &r.claim);
    assert_int_equal(catalog_waiting(cat), 0);
}

static void wait_for(bool *flag)
{
    for (int i = 0; i < 30000; i++) {
        pthread_mutex_lock(&mu);
        bool is = *flag;
        pthread_mutex_unlock(&mu);
        if (is)
            return;
        sys_sleep_ms(2);
    }
    fail_msg("waited too long");
}

/* A writer that waits holds readers back for catalog.max_writer_wait, no longer, and still gets its turn. */
static void readers_pass_in_time(void **state)
{
    (void)state;
    SET(catalog_max_writer_wait, 3000);
    struct who r, w, late, later;
    int64_t begun = sys_mono_ns();
    assert_true(take(&r, "r", false));
    assert_false(take(&w, "w", true));
    assert_false(take(&late, "l", false));
    wait_for(&late.granted);
    assert_true(sys_mono_ns() - begun >= 3000 * 1000000LL);
    assert_false(granted(&w));
    assert_true(take(&later, "m", false)); /* the writer has had its time: at once */
    catalog_release(cat, &r.claim);
    catalog_release(cat, &later.claim);
    assert_false(granted(&w));
    catalog_release(cat, &late.claim);
    assert_true(granted(&w));
    catalog_release(cat, &w.claim);
    SET(catalog_max_writer_wait, 0);
    assert_true(take(&r, "r", false));
    assert_false(take(&w, "w", true));
    assert_true(take(&late, "l", false));
    catalog_release(cat, &r.claim);
    catalog_release(cat, &late.claim);
    assert_true(granted(&w));
    catalog_release(cat, &w.claim);
}

static void limit(void **state)
{
    (void)state;
    SET(catalog_wait, 1000);
    struct who r, w, late;
    assert_true(take(&r, "r", false));
    assert_false(take(&w, "w", true));
    assert_false(take(&late, "l", false));
    wait_for(&w.expired);
    pthread_mutex_lock(&mu);
    bool freed = late.granted ||
                 late.expired; /* with the writer gone the reader is in, unless its own limit was as short */
    pthread_mutex_unlock(&mu);
    if (!freed)
        wait_for(&late.granted);
    assert_false(granted(&w));
    assert_false(catalog_forget(cat, &w.claim));
    if (late.granted)
        catalog_release(cat, &late.claim);
    catalog_release(cat, &r.claim);
    assert_int_equal(catalog_waiting(cat), 0);
}

static void forgetting(void **state)
{
    (void)state;
    struct who r, w, w2, late;
    assert_true(take(&r, "r", false));
    assert_false(catalog_forget(cat, &r.claim)); /* a holder does not wait */
    assert_false(take(&w, "w", true));
    assert_false(take(&w2, "2", true));
    assert_false(take(&late, "l", false));
    assert_true(catalog_forget(cat, &w.claim));
    assert_false(catalog_forget(cat, &w.claim));
    assert_false(granted(&late));
    assert_true(catalog_forget(cat, &w2.claim));
    assert_true(granted(&late)); /* nobody is in front of it any more */
    catalog_release(cat, &late.claim);
    struct who t = {.claim = {.answer = answer}};
    assert_false(catalog_try(cat, &t.claim, 1, true));
    assert_true(catalog_try(cat, &t.claim, 1, false));
    catalog_release(cat, &t.claim);
    catalog_release(cat, &r.claim);
    assert_true(catalog_try(cat, &t.claim, 1, true));
    catalog_set_views(&t.claim, 7);
    assert_int_equal(catalog_views(&t.claim), 7);
    catalog_release(cat, &t.claim);
    struct who never = {0};
    assert_false(catalog_forget(cat, &never.claim));
}

static void closing(void **state)
{
    (void)state;
    struct who r, w;
    assert_true(take(&r, "r", true));
    assert_false(take(&w, "w", false));
    catalog_close(cat);
    assert_true(w.closed);
    assert_int_equal(catalog_open(&cat, NULL), 0);
}

/* ---- many threads: never a writer beside anybody; everybody gets through or is forgotten ---- */

static _Atomic int inside_readers, inside_writers, wrong, through, forgotten;

struct waiter {
    struct catalog_claim claim;
    pthread_mutex_t mu;
    pthread_cond_t cv;
    bool got;
};

static void wake(struct catalog_claim *c, enum catalog_answer a)
{
    struct waiter *w = (struct waiter *)(void *)c;
    if (a != CATALOG_GRANTED)
        wrong++;
    pthread_mutex_lock(&w->mu);
    w->got = true;
    pthread_cond_signal(&w->cv);
    pthread_mutex_unlock(&w->mu);
}

static void *hammer(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    struct waiter w = {.claim = {.answer = wake}};
    pthread_mutex_init(&w.mu, NULL);
    pthread_cond_init(&w.cv, NULL);
    for (int i = 0; i < 400; i++) {
        bool write = rand_r(&seed) % 4 == 0;
        w.got = false;
        if (!catalog_take(cat, &w.claim, 1, write)) {
            if (rand_r(&seed) % 8 == 0 && catalog_forget(cat, &w.claim)) {
                forgotten++;
                continue;
            }
            pthread_mutex_lock(&w.mu);
            while (!w.got)
                pthread_cond_wait(&w.cv, &w.mu);
            pthread_mutex_unlock(&w.mu);
        }
        int before = write ? inside_writers++ : inside_readers++;
        if (write ? before > 0 || inside_readers > 0 : inside_writers > 0)
            wrong++;
        if (rand_r(&seed) % 16 == 0)
            sys_sleep_ms(1);
        if (write)
            inside_writers--;
        else
            inside_readers--;
        catalog_release(cat, &w.claim);
        through++;
    }
    pthread_cond_destroy(&w.cv);
    pthread_mutex_destroy(&w.mu);
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    SET(catalog_max_writer_wait, 3);
    pthread_t t[8];
    for (uintptr_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&t[i], NULL, hammer, (void *)(i + 1)), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(wrong, 0);
    assert_int_equal(through + forgotten, 8 * 400);
    assert_int_equal(catalog_waiting(cat), 0);
}

/* ---- words ---- */

static enum catalog_need need(const char *sql)
{
    static const char *const datasets[] = {"flights", "Planes"};
    struct catalog_text t = {sql, strlen(sql), "data_catalog", "main", 2, datasets, false};
    return catalog_need(&t);
}

static void words(void **state)
{
    (void)state;
    static const char *const none[] = {
        "SELECT 1",
        "  ( select 1 ) ;",
        "VALUES (1), (2)",
        "SELECT * FROM range(3) r",
        "SELECT * FROM range(1, 9) a JOIN flights ON true",
        "SELECT count(*) FROM flights",
        "select * from FLIGHTS AS f",
        "SELECT * FROM flights f JOIN planes p ON f.a = p.a WHERE f.b IN (1, 2)",
        "SELECT a, b FROM data_catalog.main.flights GROUP BY a, b ORDER BY a DESC, b",
        "SELECT * FROM (SELECT * FROM \"flights\") x",
        "SELECT (SELECT max(a) FROM main.planes), 2",
        "EXPLAIN SELECT * FROM flights",
        "SELECT 'FROM t', \"from\" FROM flights -- from t\n",
        "SELECT * FROM flights JOIN planes USING (a, b)"};
    static const char *const read[] = {"SELECT * FROM t",
                                       "SELECT * FROM flights, t",
                                       "SELECT * FROM flights f, t",
                                       "SELECT * FROM flights JOIN t ON true",
                                       "SELECT * FROM flights JOIN planes ON true, t",
                                       "SELECT * FROM other.flights",
                                       "SELECT * FROM x.main.flights",
                                       "SELECT * FROM a.b.c.flights",
                                       "FROM t",
                                       "FROM flights",
                                       "SHOW TABLES",
                                       "DESCRIBE flights",
                                       "TABLE t",
                                       "SELECT (TABLE t)",
                                       "SELECT * FROM information_schema.tables",
                                       "SELECT * FROM duckdb_tables()",
                                       "SELECT * FROM flights WHERE a IN (FROM t)",
                                       "SELECT * FROM (flights JOIN t ON true)",
                                       "WITH x AS (SELECT 1) SELECT * FROM x",
                                       "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
                                       "EXPLAIN ANALYZE INSERT INTO t VALUES (1)",
                                       "SELECT /* /* */ 1 */ 2",
                                       "SELECT $a$ x $a$ FROM flights",
                                       "PIVOT t ON a USING sum(b)",
                                       "SELECT 'open",
                                       "SELECT * FROM 'file.csv'",
                                       "SELECT (1",
                                       "SELECT * FROM LATERAL t",
                                       "SELECT * FROM flights POSITIONAL JOIN t",
                                       "",
                                       ";",
                                       "SUMMARIZE flights",
                                       "SELECT * FROM main.range(3)",
                                       "SELECT * FROM query_table('t')",
                                       "SELECT * FROM range((SELECT max(a) FROM t))",
                                       "SELECT * FROM range(3), t"};
    static const char *const write[] = {"INSERT INTO t VALUES (1)",
                                        " /* x */ create table t(a int)",
                                        "(DELETE FROM t)",
                                        "UPDATE t SET a = 1",
                                        "drop view v",
                                        "ALTER TABLE t ADD COLUMN b INT",
                                        "TRUNCATE t",
                                        "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE",
                                        "--\nInsert into t select 1"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        if (need(none[i]) != CATALOG_NONE)
            fail_msg("%s", none[i]);
    for (size_t i = 0; i < sizeof read / sizeof read[0]; i++)
        if (need(read[i]) != CATALOG_READ)
            fail_msg("%s", read[i]);
    for (size_t i = 0; i < sizeof write / sizeof write[0]; i++)
        if (need(write[i]) != CATALOG_WRITE)
            fail_msg("%s", write[i]);
    static const struct {
        const char *sql;
        enum catalog_need need;
    } scripts[] = {{"SELECT 1", CATALOG_NONE},
                   {"SELECT 1;", CATALOG_NONE},
                   {"SELECT 'x; insert'; -- update", CATALOG_NONE},
                   {"SELECT 1; SELECT 2", CATALOG_READ},
                   {"SELECT 1; INSERT INTO t VALUES (1)", CATALOG_WRITE},
                   {"SELECT 1; WITH x AS (SELECT 1) INSERT INTO t FROM x", CATALOG_WRITE},
                   {"SELECT 1; EXPLAIN ANALYZE DELETE FROM t", CATALOG_WRITE},
                   {"SELECT 1; SELECT 'insert', \"update\" FROM t", CATALOG_READ},
                   {"SELECT 1; SELECT $$a$$; DROP TABLE t", CATALOG_WRITE},
                   {"SELECT $$a;b$$", CATALOG_READ},
                   {"SELECT 1; /* /* */ */ update t set a = 1", CATALOG_WRITE}};
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        struct catalog_text x = {
            scripts[i].sql, strlen(scripts[i].sql), "data_catalog", "main", 0, NULL, true};
        if (catalog_need(&x) != scripts[i].need)
            fail_msg("%s", scripts[i].sql);
    }
    static const char *const datasets[] = {"flights"};
    struct catalog_text t = {"SELECT * FROM flights", 21, "data_catalog", "other", 1, datasets, false};
    assert_int_equal(catalog_need(&t), CATALOG_READ);
    t.default_source = "else";
    t.default_database = "main";
    assert_int_equal(catalog_need(&t), CATALOG_READ);
    t.default_source = t.default_database = NULL;
    assert_int_equal(catalog_need(&t), CATALOG_NONE);
    assert_true(catalog_mentions_dataset(&t));
    t.sql = "SELECT 1, 'flights'";
    t.sql_len = strlen(t.sql);
    assert_false(catalog_mentions_dataset(&t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(readers_share, open_it, close_it),
        cmocka_unit_test_setup_teardown(first_come_first_served, open_it, close_it),
        cmocka_unit_test_setup_teardown(announced, open_it, close_it),
        cmocka_unit_test_setup_teardown(readers_pass_in_time, open_it, close_it),
        cmocka_unit_test_setup_teardown(limit, open_it, close_it),
        cmocka_unit_test_setup_teardown(forgetting, open_it, close_it),
        cmocka_unit_test_setup_teardown(closing, open_it, close_it),
        cmocka_unit_test_setup_teardown(many_threads, open_it, close_it),
        cmocka_unit_test(words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

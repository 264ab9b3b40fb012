/* test_engine: the real quern-engine over the wire: rows, types, errors, parameters, limits, cancel, catalog
 * writer, self-test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "driver.h"
#include "engines/sandbox_int.h"

static struct driver d;
static char flights[4096];

static void start(const struct driver_options *o)
{
    driver_start(&d, o);
}

static void start_with_flights(const char *catalog, bool write)
{
    snprintf(flights, sizeof flights, "%s/data/flights-3m.parquet",
             getenv("QUERN_CACHE") ? getenv("QUERN_CACHE") : "");
    static struct wire_dataset ds = {"flights", flights, "parquet", false};
    start(&(struct driver_options){.ndatasets = 1, .datasets = &ds, .catalog = catalog, .write = write});
}

static void expect_text(const char *sql, const char *want)
{
    driver_sql(&d, sql);
    if (!d.ok)
        print_message("%s: %s %s\n", sql, d.failed.error.sqlstate, d.failed.error.text);
    assert_true(d.ok);
    assert_string_equal(driver_text(&d, 0, 0), want);
}

static void expect_error(const char *sql, const char *state, int64_t position)
{
    driver_sql(&d, sql);
    assert_false(d.ok);
    assert_false(d.dead);
    if (strcmp(d.failed.error.sqlstate, state) != 0 || d.failed.error.position != position)
        print_message("%s: %s at %ld: %s\n", sql, d.failed.error.sqlstate, (long)d.failed.error.position,
                      d.failed.error.text);
    assert_string_equal(d.failed.error.sqlstate, state);
    assert_int_equal(d.failed.error.position, position);
}

static void streams_three_million_rows(void **state)
{
    (void)state;
    start_with_flights(NULL, false);
    if (access(flights, R_OK) != 0) {
        driver_stop(&d);
        skip();
    }
    expect_text("SELECT sum(delay) FROM flights", "20003603");
    d.keep = false;
    driver_sql(&d, "SELECT delay, * FROM flights");
    assert_true(d.ok);
    assert_int_equal(d.done.rows, 3000000);
    assert_int_equal(d.sum, 20003603);
    assert_true(d.done.scanned && d.done.reusable);
    driver_stop(&d);
}

/* Every type at its edges, as it must arrive. */
static const char *const values[][2] = {
    {"NULL", "NULL"},
    {"true", "true"},
    {"(-128)::TINYINT", "-128"},
    {"(-32768)::SMALLINT", "-32768"},
    {"(-2147483648)::INTEGER", "-2147483648"},
    {"(-9223372036854775808)::BIGINT", "-9223372036854775808"},
    {"255::UTINYINT", "255"},
    {"65535::USMALLINT", "65535"},
    {"4294967295::UINTEGER", "4294967295"},
    {"18446744073709551615::UBIGINT", "18446744073709551615"},
    {"99999999999999999999999999999999999999::HUGEINT", "99999999999999999999999999999999999999"},
    {"(-99999999999999999999999999999999999999)::HUGEINT", "-99999999999999999999999999999999999999"},
    {"340282366920938463463374607431768211455::UHUGEINT", "340282366920938463463374607431768211455"},
    {"1.5::FLOAT", "1.5"},
    {"0.1::DOUBLE", "0.10000000000000001"},
    {"12.34::DECIMAL(4,2)", "1234"},
    {"-1.2345::DECIMAL(9,4)", "-12345"},
    {"123456789012.34::DECIMAL(18,2)", "12345678901234"},
    {"9999999999999999999999999999.9999999999::DECIMAL(38,10)", "99999999999999999999999999999999999999"},
    {"''", ""},
    {"'é€😀 long enough not to be inlined'", "é€😀 long enough not to be inlined"},
    {"'\\xFF'::BLOB", "\xff"},
    {"'1970-01-02'::DATE", "86400000"},
    {"'infinity'::DATE", "185542587100800000"},
    {"'-infinity'::DATE", "-185542587100800000"},
    {"'24:00:00'::TIME", "86400000000"},
    {"'12:34:56.7+05:30'::TIMETZ", "12:34:56.7+05:30"},
    {"'1970-01-01 00:00:01'::TIMESTAMP_S", "1000000"},
    {"'1970-01-01 00:00:01.001'::TIMESTAMP_MS", "1001000"},
    {"'1970-01-01 00:00:00.000001'::TIMESTAMP", "1"},
    {"'infinity'::TIMESTAMP", "9223372036854775807"},
    {"'-infinity'::TIMESTAMP_S", "-9223372036854775807"},
    {"'1677-09-22 00:00:00.123456789'::TIMESTAMP_NS", "1677-09-22 00:00:00.123456789"},
    {"'1970-01-01 01:00:00+01'::TIMESTAMPTZ", "0"},
    {"INTERVAL '14 months 3 days 5 seconds'", "14/3/5000000000"},
    {"'2024-01-01'::DATE - '2023-12-31'::DATE", "1"},
    {"'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::UUID", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
    {"'{\"a\":1}'::JSON", "{\"a\":1}"},
    {"'b'::ENUM('a','b')", "b"},
    {"'0101011'::BIT", "0101011"},
    {"(-123456789012345678901234567890)::BIGNUM", "-123456789012345678901234567890"},
    {"0::BIGNUM", "0"},
    {"union_value(a := 5)", "5"},
    {"[union_value(a := 5)]", "[5]"},
    {"[1, NULL, 3]", "[1,NULL,3]"},
    {"[[1],[],NULL]", "[[1],[],NULL]"},
    {"[1,2]::INTEGER[2]", "[1,2]"},
    {"{'a': 1, 'b': [NULL, 'x']}", "{1,[NULL,x]}"},
    {"MAP {'k': [1, 2]}", "[{k,[1,2]}]"},
    {"[]", "[]"},
};

static void carries_every_type(void **state)
{
    (void)state;
    start(NULL);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char sql[512];
        snprintf(sql, sizeof sql, "SELECT %s AS v", values[i][0]);
        expect_text(sql, values[i][1]);
        snprintf(sql, sizeof sql,
                 "SELECT v FROM range(5000) t(r) LEFT JOIN (SELECT 1 AS k, %s AS v) ON r %% 3 = k ORDER BY r",
                 values[i][0]);
        driver_sql(&d, sql); /* among NULLs, over more than one chunk; batch_check sees it */
        if (!d.ok)
            print_message("%s: %s\n", sql, d.failed.error.text);
        assert_true(d.ok && d.done.rows == 5000);
        assert_string_equal(driver_text(&d, 0, 4999 - 4999 % 3 - 2), values[i][1]);
        assert_string_equal(driver_text(&d, 0, 4998), "NULL");
    }
    expect_error("SELECT 170141183460469231731687303715884105727::HUGEINT", "22003", -1);
    expect_error("SELECT to_seconds(10000000000)", "22008", -1);
    driver_stop(&d);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    start_with_flights(NULL, false);
    expect_error("SELECT 'é' FROM WHERE", "42601", 16);
    expect_error("SELECT * FROM nosuch", "42P01", 14);
    expect_error("SELECT 'é', nope FROM flights", "42703", 12);
    expect_error("SELECT nope(1)", "42883", 7);
    expect_error("SELECT 'x'::INTEGER", "22P02", 10);
    expect_error("SELECT 300::TINYINT", "22003", 10);
    expect_error("SELECT 'x'::DATE", "22007", 10);
    expect_error("SELECT 1; SELECT 2", "42601", -1);
    expect_error("-- nothing", "42601", -1);
    expect_error("SELECT * FROM nocat.main.t", "3D000", -1);
    expect_error("SELECT * FROM read_text('/etc/passwd')", "42501", 14);
    assert_null(strstr(d.failed.error.text, "/etc"));
    assert_int_equal(d.failed.kind, WIRE_FAIL_REFUSED);
    driver_sql(&d, "SELECT\n  *\nFROM nosuch");
    assert_int_equal(d.failed.error.line, 3);
    assert_int_equal(d.failed.error.column, 6);
    struct wire_job job = driver_job("SELECT * FROM flights");
    job.default_catalog = job.default_schema = "";
    driver_run(&d, &job);
    assert_string_equal(d.failed.error.sqlstate, "42P01");
    expect_text("SELECT count(*) > 0 FROM information_schema.tables", "true");
    driver_stop(&d);
}

static void binds_parameters(void **state)
{
    (void)state;
    start(NULL);
    struct wire_param p[3] = {{"", "INTEGER", false, "41", 2},
                              {"", "DATE", false, "1970-01-02", 10},
                              {"", "DECIMAL(10,2)", false, "1.25", 4}};
    struct wire_job job = driver_job("SELECT $1 + 1, $2, $3, typeof($3)");
    job.params = p;
    job.nparams = 3;
    driver_run(&d, &job);
    assert_true(d.ok);
    assert_string_equal(driver_text(&d, 0, 0), "42");
    assert_string_equal(driver_text(&d, 1, 0), "86400000");
    assert_string_equal(driver_text(&d, 2, 0), "125");
    assert_string_equal(driver_text(&d, 3, 0), "DECIMAL(10,2)");
    p[0].value = "4x";
    driver_run(&d, &job);
    assert_string_equal(d.failed.error.sqlstate, "22P02");
    p[0].is_null = true;
    p[0].value_len = 0;
    driver_run(&d, &job);
    assert_string_equal(driver_text(&d, 0, 0), "NULL");
    job.nparams = 1;
    driver_run(&d, &job);
    assert_string_equal(d.failed.error.sqlstate, "42P02");
    struct wire_param named = {"who", "VARCHAR", false, "x'y", 3};
    job = driver_job("SELECT $who || '!'");
    job.params = &named;
    job.nparams = 1;
    job.plan_only = true;
    driver_run(&d, &job);
    assert_true(d.ok && d.done.rows == 0 && d.planned.nparams == 1);
    assert_int_equal(d.planned.schema->columns[0].sql, SQLT_VARCHAR);
    job.plan_only = false;
    driver_run(&d, &job);
    assert_string_equal(driver_text(&d, 0, 0), "x'y!");
    driver_stop(&d);
}

static void keeps_limits(void **state)
{
    (void)state;
    start(NULL);
    struct wire_job job = driver_job("SELECT * FROM range(100000)");
    job.row_limit = 70000;
    driver_run(&d, &job);
    assert_true(d.ok && d.done.cut && d.done.rows == 70000);
    job.row_limit = 100000;
    driver_run(&d, &job);
    assert_true(d.ok && !d.done.cut && d.done.rows == 100000);
    job.row_limit = 0;
    driver_run(&d, &job);
    assert_true(d.ok && d.done.rows == 0 && d.planned.schema->ncolumns == 1);
    job.row_limit = -1;
    job.max_rows = 99999;
    driver_run(&d, &job);
    assert_string_equal(d.failed.error.sqlstate, "54000");
    job.max_rows = 0;
    job.max_bytes = 1000;
    driver_run(&d, &job);
    assert_string_equal(d.failed.error.sqlstate, "54000");
    expect_error("SELECT repeat('x', 20000000)", "54000", -1);
    driver_sql(&d, "SELECT repeat('x', 3000000) FROM range(20)");
    assert_true(d.ok && d.done.rows == 20 && d.nbatches > 1);
    driver_sql(&d, "EXPLAIN SELECT 1");
    assert_true(d.ok && d.planned.kind == WIRE_KIND_TEXT && d.done.rows > 3);
    assert_string_equal(d.planned.schema->columns[0].name, "Query Plan");
    driver_stop(&d);
}

static void survives_a_lack_of_memory(void **state)
{
    (void)state;
    if (SANDBOX_SANITIZED)
        skip(); /* no memory wall there */
    start(&(struct driver_options){.memory_wall = 1024ull << 20});
    expect_error("SELECT list_sort(range(200000000))", "53200", -1);
    assert_int_equal(d.failed.kind, WIRE_FAIL_MEMORY);
    assert_false(d.failed.reusable);
    driver_stop(&d);
    start(&(struct driver_options){.memory_wall = 512ull << 20, .spill_max = 20u << 20});
    driver_sql(&d, "SELECT count(*) FROM (SELECT r, hash(r) h FROM range(60000000) t(r) ORDER BY h, r)");
    assert_false(d.ok);
    assert_int_equal(strncmp(d.failed.error.sqlstate, "53", 2), 0);
    driver_stop(&d);
}

static void obeys_cancel(void **state)
{
    (void)state;
    start(NULL);
    struct wire_job job = driver_job(
        "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a.range, b.range) = 1");
    driver_send_job(&d, &job);
    while (d.nbeats < 2 && driver_step(&d, 2000)) {
    }
    assert_true(d.nbeats >= 2);
    driver_cancel(&d);
    while (driver_step(&d, 2000)) { /* the statement itself would take hours */
    }
    assert_string_equal(d.failed.error.sqlstate, "57014");
    assert_true(d.failed.reusable);
    expect_text("SELECT 7", "7");
    /* One scalar call is deaf: heartbeats go on, only SIGKILL ends it. */
    job = driver_job("SELECT levenshtein(repeat('ab', 60000), repeat('ba', 60001))");
    driver_send_job(&d, &job);
    while (d.nbeats < 2 && driver_step(&d, 2000)) {
    }
    driver_cancel(&d);
    unsigned beats = d.nbeats;
    while (d.nbeats < beats + 2 && driver_step(&d, 2000)) {
    }
    assert_true(d.nbeats >= beats + 2);
    kill(d.pid, SIGKILL);
    driver_stop(&d);
}

static void writes_the_catalog_only(void **state)
{
    (void)state;
    char dir[] = "/tmp/quern-test-XXXXXX", file[64];
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/catalog.duckdb", dir);
    static const struct {
        const char *sql;
        const char *state;
        int kind;
        int64_t count;
    } steps[] = {
        {"CREATE TABLE t AS SELECT * FROM range(10) r(i)", "", WIRE_KIND_DDL, 10},
        {"INSERT INTO t VALUES (11), (12)", "", WIRE_KIND_UPDATE, 2},
        {"DROP VIEW flights", "42501", 0, 0},
        {"CREATE OR REPLACE VIEW flights AS SELECT 1", "42501", 0, 0},
        {"ALTER VIEW flights RENAME TO f2", "42501", 0, 0},
        {"CREATE TABLE memory.main.x(a INTEGER)", "42501", 0, 0},
        {"CREATE SCHEMA memory.x", "42501", 0, 0},
        {"CREATE MACRO m(a) AS a", "42501", 0, 0},
        {"CREATE TEMP TABLE x(a INTEGER)", "42501", 0, 0},
        {"CREATE SECRET s (TYPE s3)", "42501", 0, 0},
        {"COPY t TO '/tmp/x.csv'", "42501", 0, 0},
        {"DELETE FROM t WHERE i > 5", "", WIRE_KIND_UPDATE, 6},
        {"CREATE SCHEMA s2", "", WIRE_KIND_DDL, -1},
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        start_with_flights(file, true);
        struct wire_job job = driver_job(steps[i].sql);
        job.allow_write = true;
        driver_run(&d, &job);
        if (d.ok != !steps[i].state[0])
            print_message("%s: %s\n", steps[i].sql, d.failed.error.text);
        assert_int_equal(d.ok, !steps[i].state[0]);
        if (d.ok) {
            assert_int_equal(d.planned.kind, steps[i].kind);
            assert_int_equal(d.done.update_count, steps[i].count);
            assert_false(d.done.reusable);
        } else {
            assert_string_equal(d.failed.error.sqlstate, steps[i].state);
        }
        driver_stop(&d);
    }
    start_with_flights(file, false);
    expect_text("SELECT count(*) FROM t", "6");
    expect_error("INSERT INTO t VALUES (1)", "0A000", -1);
    assert_int_equal(d.failed.kind, WIRE_FAIL_REFUSED);
    /* Allowed to write, but no writer: it says so and runs nothing. */
    static const char *const writes[] = {"INSERT INTO t VALUES (1)",
                                         "WITH y AS (SELECT 1) INSERT INTO t SELECT * FROM y RETURNING i",
                                         "CREATE OR REPLACE VIEW flights AS SELECT 1",
                                         "DROP TABLE t",
                                         "EXPLAIN ANALYZE DELETE FROM t",
                                         "CREATE SCHEMA s3"};
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
        struct wire_job job = driver_job(writes[i]);
        job.allow_write = true;
        driver_run(&d, &job);
        if (!d.ok)
            print_message("%s: %s\n", writes[i], d.failed.error.text);
        assert_true(d.ok && d.planned.writes && d.done.rows == 0 && d.done.reusable);
    }
    expect_text("SELECT count(*) FROM t", "6");
    assert_false(d.planned.writes);
    driver_stop(&d);
    unlink(file);
    rmdir(dir);
}

/* Asks what the text holds; "a|b" are its statements, "" is none, NULL an error. One statement: it runs. */
static void expect_split(const char *sql, const char *want)
{
    char got[256] = "";
    struct wire_job job = driver_job(sql);
    job.step = WIRE_STEP_SCRIPT;
    driver_run(&d, &job);
    for (uint32_t i = 0; d.script.npieces != 1 && i < d.script.npieces; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%.*s", i ? "|" : "",
                 (int)d.script.pieces[i].n, sql + d.script.pieces[i].at);
    if (!want) {
        assert_true(d.script.npieces == 1 && !d.ok);
        assert_string_equal(d.failed.error.sqlstate, "42601");
    } else if (d.script.npieces == 1) {
        assert_true(d.ok);
        assert_string_equal(want, sql);
    } else {
        assert_string_equal(got, want);
    }
}

static void tells_statements_apart(void **state)
{
    (void)state;
    start(NULL);
    expect_split("SELECT 1", "SELECT 1");
    expect_split(" SELECT ';'; ", " SELECT ';'; ");
    expect_split("SELECT 1; SELECT 2", "SELECT 1|SELECT 2");
    expect_split(";;SELECT ';' ;\n-- a; b\n SELECT \"c;\" FROM (SELECT 1 AS \"c;\");/* ; */",
                 "SELECT ';'|SELECT \"c;\" FROM (SELECT 1 AS \"c;\")");
    expect_split("SELECT $a$;$a$; SELECT $$;$$", "SELECT $a$;$a$|SELECT $$;$$");
    expect_split("SELECT E'\\';'; SELECT 2", "SELECT E'\\';'|SELECT 2");
    expect_split("PIVOT (SELECT 'a' AS k, 1 AS v) ON k USING sum(v); SELECT 2",
                 "PIVOT (SELECT 'a' AS k, 1 AS v) ON k USING sum(v)|SELECT 2");
    expect_split("", "");
    expect_split(" ; /* nothing */ -- at all", "");
    expect_split("SELECT 1; SELEC 2", NULL);
    expect_split("SELECT 1; SELECT (2", NULL);
    expect_split("SELECT 1; SELECT 'a", NULL);
    expect_split("SELECT 1; /* /* nested; */ ; */ SELECT 2", "SELECT 1|SELECT 2");
    expect_split("SELECT 1 AS a$$; SELECT e'a''\\';', 'x;y'", "SELECT 1 AS a$$|SELECT e'a''\\';', 'x;y'");
    expect_split("SELECT 1; SELECT 2 /* open", NULL);
    expect_split("SELECT 1) ; SELECT 2", NULL);
    struct wire_job job = driver_job("SELECT 1; SELECT 2");
    driver_run(&d, &job); /* whoever did not ask has one statement */
    assert_false(d.ok);
    driver_stop(&d);
}

static bool step_job(const char *sql, uint8_t step, bool atomic)
{
    struct wire_job job = driver_job(sql);
    job.step = step;
    job.allow_write = true;
    job.one_transaction = atomic;
    driver_run(&d, &job);
    return d.ok;
}

static void runs_scripts_in_one_session(void **state)
{
    (void)state;
    char dir[] = "/tmp/quern-test-XXXXXX", file[64];
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/catalog.duckdb", dir);
    start(&(struct driver_options){.catalog = file, .write = true});
    assert_true(step_job("CREATE TABLE t(a INTEGER)", WIRE_STEP_ONLY, false));
    driver_stop(&d);
    for (
        int i = 0; i < 3;
        i++) { /* each statement by itself; the same, with ROLLBACK at the end; in one transaction that is undone */
        start(&(struct driver_options){.catalog = file, .write = true});
        (void)step_job("INSERT INTO t VALUES (1); SELECT 2", WIRE_STEP_SCRIPT, i == 2);
        assert_int_equal(d.script.npieces, 2);
        assert_true(step_job("INSERT INTO t VALUES (1)", WIRE_STEP_NEXT, i == 2) && d.done.reusable &&
                    d.done.update_count == 1);
        assert_true(!step_job("SELECT nope", WIRE_STEP_NEXT, i == 2) && d.failed.reusable);
        assert_false(
            step_job("CREATE TABLE memory.main.x(a INTEGER)", WIRE_STEP_NEXT, i == 2)); /* the same walls */
        assert_true(step_job("", i == 0 ? WIRE_STEP_COMMIT : WIRE_STEP_ROLLBACK, false));
        assert_false(d.done.reusable); /* the catalog is closed */
        driver_stop(&d);
        start(&(struct driver_options){.catalog = file});
        expect_text("SELECT count(*) FROM t", i == 0 ? "1" : "2");
        driver_stop(&d);
    }
    start(&(struct driver_options){.catalog = file, .write = true});
    assert_true(step_job("INSERT INTO t VALUES (3)", WIRE_STEP_NEXT, true) &&
                step_job("INSERT INTO t VALUES (4)", WIRE_STEP_NEXT, true));
    assert_true(step_job("", WIRE_STEP_COMMIT, false));
    driver_stop(&d);
    start(&(struct driver_options){.catalog = file});
    expect_text("SELECT count(*) FROM t", "4");
    /* A script that was left: the next job begins anew. */
    assert_true(step_job("SELECT 1", WIRE_STEP_NEXT, true));
    expect_text("SELECT count(*) FROM t", "4");
    driver_stop(&d);
    unlink(file);
    rmdir(dir);
}

static void passes_its_self_test(void **state)
{
    (void)state;
    for (int abi = 2; abi < 100; abi += 97) {
        start(&(struct driver_options){.selftest = true, .landlock_abi_max = abi});
        assert_true(d.ready.seccomp && d.ready.landlock_abi >= 1);
        while (driver_step(&d, 20000)) {
        }
        if (!d.ok)
            print_message("%s\n", d.failed.error.text);
        assert_true(d.ok);
        driver_stop(&d);
    }
}

static void refuses_the_hostile(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "SET threads=1",
        "PRAGMA version",
        "PRAGMA enable_profiling",
        "ATTACH ':memory:' AS m",
        "USE memory",
        "CHECKPOINT",
        "BEGIN",
        "CALL pragma_version()",
        "SELECT * FROM query('SELECT 1')",
        "FROM \"query\"('SELECT 1')",
        "SELECT * FROM checkpoint()",
        "SELECT * FROM enable_logging()",
        "EXPLAIN ANALYZE CREATE TABLE x(a INTEGER)",
        "EXPLAIN ANALYZE DELETE FROM x",
        "COPY (SELECT 1) TO '/tmp/x'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CREATE TABLE x(a INTEGER)",
        "DROP SCHEMA memory.main",
        "EXPORT DATABASE 'x'",
    };
    start(NULL);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        driver_sql(&d, refused[i]);
        if (d.ok)
            print_message("allowed: %s\n", refused[i]);
        assert_false(d.ok);
        assert_false(d.dead);
    }
    expect_text("SELECT query FROM (SELECT 'fine' AS query)", "fine");
    expect_text("SELECT 'query(' || 1", "query(1");
    expect_text("WITH checkpoint(a) AS (SELECT 3) SELECT a FROM checkpoint", "3");
    driver_stop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_three_million_rows),
        cmocka_unit_test(carries_every_type),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(binds_parameters),
        cmocka_unit_test(keeps_limits),
        cmocka_unit_test(survives_a_lack_of_memory),
        cmocka_unit_test(obeys_cancel),
        cmocka_unit_test(writes_the_catalog_only),
        cmocka_unit_test(tells_statements_apart),
        cmocka_unit_test(runs_scripts_in_one_session),
        cmocka_unit_test(passes_its_self_test),
        cmocka_unit_test(refuses_the_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

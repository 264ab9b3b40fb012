/*
 * selftest: shows once, at the daemon's start, that the walls stand (pool_selftest).
 *
 * Each statement of the list is tried twice: through policy and engine as a reader's job (in both kinds of
 * text), and directly on a connection without any policy, so that the engine's settings and the sandbox are
 * shown by themselves where they are the wall (`raw` false: the engine alone allows it, and it is harmless
 * inside the sandbox). Then the system calls (sandbox_probe). Main thread of the child, before any job
 * thread.
 */
#include "engines/selftest.h"

#include <string.h>

#include "engines/sandbox.h"

struct hostile {
    const char *sql;
    bool raw; /* must fail without the policy as well */
};

static const struct hostile list[] = {
    {"SELECT * FROM read_text('/etc/passwd')", true},
    {"SELECT * FROM read_csv('/etc/passwd')", true},
    {"SELECT * FROM read_blob('/etc/shadow')", true},
    {"SELECT * FROM read_json('/etc/os-release')", true},
    {"SELECT * FROM read_parquet('/etc/passwd')", true},
    {"SELECT * FROM '/etc/passwd'", true},
    {"SELECT * FROM sniff_csv('/etc/passwd')", true},
    {"SELECT * FROM read_text('/proc/self/environ')", true},
    {"SELECT * FROM read_text('/proc/1/cmdline')", true},
    {"SELECT * FROM read_text('../../../../../../etc/passwd')", true},
    {"SELECT * FROM read_parquet('https://example.com/a.parquet')", true},
    {"SELECT * FROM read_csv('s3://bucket/key.csv')", true},
    {"COPY (SELECT 1) TO '/tmp/quern-selftest.csv'", true},
    {"COPY (SELECT 1) TO '/dev/shm/quern-selftest.csv'", true},
    {"CREATE TABLE data_catalog.main.quern_x AS SELECT * FROM read_text('/etc/passwd')", true},
    {"EXPORT DATABASE '/tmp/quern-selftest'", true},
    {"IMPORT DATABASE '/tmp/quern-selftest'", true},
    {"ATTACH '/tmp/quern-selftest.db' AS other", true},
    {"ATTACH '/etc/passwd' AS other (READ_ONLY)", true},
    {"INSTALL httpfs", true},
    {"LOAD httpfs", true},
    {"LOAD '/tmp/evil.duckdb_extension'", true},
    {"FORCE INSTALL postgres_scanner", true},
    {"SET memory_limit='1TB'", true},
    {"SET threads=64", true},
    {"SET enable_external_access=true", true},
    {"SET lock_configuration=false", true},
    {"SET temp_directory='/tmp'", true},
    {"RESET memory_limit", true},
    {"PRAGMA memory_limit='1TB'", true},
    {"SET allowed_directories=['/']", true},
    {"CREATE PERSISTENT SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')", true},
    {"PRAGMA enable_profiling", false},
    {"PRAGMA database_list", false},
    {"ATTACH ':memory:' AS m", false},
    {"USE memory", false},
    {"SET search_path='memory.main'", false},
    {"SET VARIABLE x = 1", false},
    {"CHECKPOINT", false},
    {"VACUUM", false},
    {"BEGIN", false},
    {"COMMIT", false},
    {"CALL pragma_version()", false},
    {"PREPARE p AS SELECT 1", false},
    {"CREATE TABLE memory.main.quern_x(a INTEGER)", false},
    {"CREATE TEMP TABLE quern_x(a INTEGER)", false},
    {"CREATE MACRO memory.main.quern_m(a) AS a", false},
    {"CREATE TYPE memory.main.quern_t AS ENUM ('a')", false},
    {"CREATE SEQUENCE memory.main.quern_s", false},
    {"CREATE SECRET quern_secret (TYPE s3)", false},
    {"DROP SCHEMA memory.quern_nowhere", false},
    {"SELECT * FROM checkpoint('memory')", false},
    {"SELECT * FROM force_checkpoint('memory')", false},
    {"SELECT * FROM enable_logging()", false},
    {"SELECT * FROM \"enable_logging\"()", false},
    {"SELECT * FROM system.main.disable_logging()", false},
    {"SELECT * FROM query('SELECT * FROM enable' || '_logging()')", false},
    {"FROM /* x */ query ('SELECT 1')", false},
    {"SELECT write_log('x')", false},
    {"SELECT * FROM duckdb_secrets()", false},
    {"SELECT * FROM arrow_scan(1, 2, 3)", true},
    {"EXPLAIN ANALYZE CREATE TABLE memory.main.quern_x AS SELECT 1", false},
    {"SELECT 1; SELECT 2", false},
    {"/* /* */ SELECT 1; */ PRAGMA version", false},
    {"COMMENT ON SCHEMA memory.main IS 'x'", false},
    {"UPDATE EXTENSIONS", false},
    {"COPY FROM DATABASE memory TO data_catalog", false},
};

static void report(struct buf *out, const char *how, const char *what)
{
    if (out->len)
        (void)buf_str_add(out, "; ");
    (void)buf_printf(out, "%s: %s", how, what);
}

int selftest(struct duck *d, const struct wire_setup *setup, struct port *port)
{
    CLEANUP_BUF struct buf bad = BUF_INIT(64 * 1024);
    (void)setup;
    if (duck_try(d, "SELECT 42", WIRE_PROFILE_PLAIN, false, NULL) < 0 || duck_raw(d, "SELECT 42", NULL) < 0)
        report(&bad, "nothing runs", "SELECT 42");
    if (!duck_copy_works())
        report(&bad, "the library's vectors", "duckdb_copy.c");
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        if (duck_try(d, list[i].sql, WIRE_PROFILE_PLAIN, false, NULL) == 0)
            report(&bad, "policy", list[i].sql);
        if (duck_try(d, list[i].sql, WIRE_PROFILE_TRINO, false, NULL) == 0)
            report(&bad, "policy of the Trino profile", list[i].sql);
        if (list[i].raw && duck_raw(d, list[i].sql, NULL) == 0)
            report(&bad, "engine", list[i].sql);
    }
    CLEANUP_BUF struct buf calls = BUF_INIT(16 * 1024);
    if (sandbox_probe(&calls) > 0) {
        const char *text = buf_str(&calls);
        report(&bad, "system call", text ? text : "some");
    }
    CLEANUP_BUF struct buf frame = BUF_INIT(64 * 1024);
    int r;
    if (bad.len) {
        struct wire_failed m = {.job = 0, .kind = WIRE_FAIL_FATAL, .reusable = false};
        const char *text = buf_str(&bad);
        err_clear(&m.error);
        err_set(&m.error, ERR_DENIED, "42501", "%s", text ? text : "many");
        r = wire_put_failed(&frame, &m);
    } else {
        struct wire_done m = {.job = 0, .update_count = -1};
        r = wire_put_done(&frame, &m);
    }
    if (r == 0)
        port_send(port, &frame);
    return 0;
}

/* test_wire: every frame survives a round trip; no truncated or extended payload is accepted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engines/wire.h"

static struct arena *arena;
static struct buf frame;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(64u << 20);
    buf_init(&frame, 16u << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_free(&frame);
    arena_free(arena);
    return 0;
}

static const uint8_t *payload(enum wire_type want, uint32_t *n)
{
    enum wire_type t;
    assert_int_equal(wire_header((const uint8_t *)frame.p, &t, n), 0);
    assert_int_equal(t, want);
    assert_int_equal(frame.len, *n + 8u);
    return (const uint8_t *)frame.p + 8;
}

static void job_round_trip(void **state)
{
    (void)state;
    struct wire_param params[2] = {{"a", "INTEGER", false, "1\0002", 3}, {"", "DATE", true, "", 0}};
    struct wire_job in = {.job = 7,
                          .plan_only = true,
                          .profile = WIRE_PROFILE_PG,
                          .sql = "SELECT\0 1",
                          .sql_len = 9,
                          .default_catalog = "c",
                          .default_schema = "",
                          .nparams = 2,
                          .params = params,
                          .row_limit = -1,
                          .max_rows = 5,
                          .max_bytes = UINT64_MAX,
                          .inline_max = 100,
                          .timezone = "UTC",
                          .allow_write = true};
    struct wire_job out;
    uint32_t n;
    assert_int_equal(wire_put_job(&frame, &in), 0);
    const uint8_t *p = payload(WIRE_JOB, &n);
    assert_int_equal(wire_get_job(p, n, arena, &out), 0);
    assert_int_equal(out.sql_len, 9);
    assert_memory_equal(out.sql, "SELECT\0 1", 9);
    assert_int_equal(out.params[0].value_len, 3);
    assert_memory_equal(out.params[0].value, "1\0002", 3);
    assert_true(out.params[1].is_null);
    assert_int_equal(out.row_limit, -1);
    assert_true(out.max_bytes == UINT64_MAX && out.allow_write && out.plan_only);
    for (uint32_t cut = 0; cut < n; cut++)
        assert_int_equal(wire_get_job(p, cut, arena, &out), ERR_CORRUPT);
    (void)buf_char(&frame, 0);
    assert_int_equal(wire_get_job((const uint8_t *)frame.p + 8, n + 1, arena, &out), ERR_CORRUPT);
}

static void setup_round_trip(void **state)
{
    (void)state;
    struct wire_dataset ds[1] = {{"n", "/p", "csv", true}};
    struct wire_setup in = {.version = 1,
                            .private_dir = "/d",
                            .catalog_path = "",
                            .ndatasets = 1,
                            .datasets = ds,
                            .memory_wall = 1,
                            .landlock_abi_max = 2,
                            .selftest = true},
                      out;
    uint32_t n;
    assert_int_equal(wire_put_setup(&frame, &in), 0);
    const uint8_t *p = payload(WIRE_SETUP, &n);
    assert_int_equal(wire_get_setup(p, n, arena, &out), 0);
    assert_string_equal(out.datasets[0].format, "csv");
    assert_true(out.datasets[0].folder && out.selftest && out.landlock_abi_max == 2);
    for (uint32_t cut = 0; cut < n; cut++)
        assert_int_equal(wire_get_setup(p, cut, arena, &out), ERR_CORRUPT);
}

static void script_round_trip(void **state)
{
    (void)state;
    struct wire_piece two[] = {{1, 2}, {3, 4}};
    struct wire_script in = {.job = 4, .npieces = 2, .pieces = two}, out;
    uint32_t n;
    assert_int_equal(wire_put_script(&frame, &in), 0);
    const uint8_t *p = payload(WIRE_SCRIPT, &n);
    assert_int_equal(wire_get_script(p, n, arena, &out), 0);
    assert_true(out.job == 4 && out.npieces == 2 && out.pieces[1].at == 3 && out.pieces[1].n == 4);
    for (uint32_t cut = 0; cut < n; cut++)
        assert_int_equal(wire_get_script(p, cut, arena, &out), ERR_CORRUPT);
    static const struct wire_piece lies[][2] = {
        {{1, 2}, {2, 1}}, {{1, 0}, {3, 1}}, {{5, 1}, {1, 1}}, {{0, 1}, {4294967295u, 2}}};
    for (size_t i = 0; i < sizeof lies / sizeof *lies;
         i++) { /* overlapping, empty, out of order, beyond all */
        in.pieces = lies[i];
        buf_reset(&frame);
        assert_int_equal(wire_put_script(&frame, &in), 0);
        p = payload(WIRE_SCRIPT, &n);
        assert_int_equal(wire_get_script(p, n, arena, &out), ERR_CORRUPT);
    }
    in.pieces = two;
    for (in.npieces = 0; in.npieces < 2; in.npieces++) { /* none is a script, one is not */
        buf_reset(&frame);
        assert_int_equal(wire_put_script(&frame, &in), 0);
        p = payload(WIRE_SCRIPT, &n);
        assert_int_equal(wire_get_script(p, n, arena, &out), in.npieces ? ERR_CORRUPT : 0);
    }
}

static void render_round_trip(void **state)
{
    (void)state;
    struct wire_render in = {.job = 7,
                             .format = WIRE_RENDER_PARQUET,
                             .plain = true,
                             .underscores = true,
                             .version = 2,
                             .codec = "zstd",
                             .sheet = "s",
                             .zone = "Asia/Seoul",
                             .from = 3,
                             .limit = UINT64_MAX,
                             .rows = 9,
                             .id = {{1, 2, 3}},
                             .ordinal = 4,
                             .facts = {1, 2, 3, 4, 5},
                             .schema_len = 1,
                             .index_len = 2,
                             .body_len = 3,
                             .schema = (const uint8_t *)"s",
                             .index = (const uint8_t *)"ab",
                             .body = (const uint8_t *)"xyz"},
                       out;
    uint32_t n;
    buf_reset(&frame);
    assert_int_equal(wire_put_render(&frame, &in), 0);
    const uint8_t *p = payload(WIRE_RENDER, &n);
    assert_int_equal(wire_get_render(p, n, arena, &out), 0);
    assert_string_equal(out.codec, "zstd");
    assert_string_equal(out.zone, "Asia/Seoul");
    assert_true(out.plain && out.underscores && !out.header && out.version == 2 && out.limit == UINT64_MAX &&
                out.rows == 9);
    assert_memory_equal(&out.facts, &in.facts, sizeof in.facts);
    assert_memory_equal(out.body, "xyz", 3);
    for (uint32_t cut = 0; cut < n; cut++)
        assert_int_equal(wire_get_render(p, cut, arena, &out), ERR_CORRUPT);
    buf_reset(&frame);
    in.format = WIRE_RENDER_NONE; /* no such file */
    assert_int_equal(wire_put_render(&frame, &in), 0);
    p = payload(WIRE_RENDER, &n);
    assert_int_equal(wire_get_render(p, n, arena, &out), ERR_CORRUPT);
}

static void more_round_trip(void **state)
{
    (void)state;
    struct wire_more in = {.job = 7,
                           .record_len = 3,
                           .blocks_len = 4,
                           .record = (const uint8_t *)"abc",
                           .blocks = (const uint8_t *)"wxyz"},
                     out;
    uint32_t n;
    uint64_t job, batches;
    buf_reset(&frame);
    assert_int_equal(wire_put_more(&frame, &in), 0);
    const uint8_t *p = payload(WIRE_MORE, &n);
    assert_int_equal(wire_get_more(p, n, &out), 0);
    assert_true(out.job == 7 && !out.last && out.record_len == 3 && out.blocks_len == 4);
    assert_memory_equal(out.blocks, "wxyz", 4);
    for (uint32_t cut = 0; cut < n; cut++)
        assert_int_equal(wire_get_more(p, cut, &out), ERR_CORRUPT);
    in.last = true; /* and a batch: one or the other */
    buf_reset(&frame);
    assert_int_equal(wire_put_more(&frame, &in), 0);
    p = payload(WIRE_MORE, &n);
    assert_int_equal(wire_get_more(p, n, &out), ERR_CORRUPT);
    buf_reset(&frame);
    assert_int_equal(wire_put_want(&frame, 7, 99), 0);
    p = payload(WIRE_WANT, &n);
    assert_int_equal(wire_get_want(p, n, &job, &batches), 0);
    assert_true(job == 7 && batches == 99);
    assert_int_equal(wire_get_want(p, n - 1, &job, &batches), ERR_CORRUPT);
}

static void ends_round_trip(void **state)
{
    (void)state;
    struct wire_done in = {.job = 3,
                           .rows = 9,
                           .update_count = -1,
                           .cut = true,
                           .index_len = 2,
                           .body_len = 3,
                           .index = (const uint8_t *)"ab",
                           .body = (const uint8_t *)"xyz"},
                     out;
    uint32_t n;
    assert_int_equal(wire_put_done(&frame, &in), 0);
    const uint8_t *p = payload(WIRE_DONE, &n);
    assert_int_equal(wire_get_done(p, n, &out), 0);
    assert_memory_equal(out.body, "xyz", 3);
    for (uint32_t cut = 0; cut < n; cut++)
        assert_int_equal(wire_get_done(p, cut, &out), ERR_CORRUPT);
    buf_reset(&frame);
    struct wire_failed f = {.job = 1, .kind = WIRE_FAIL_LIMIT}, g;
    err_set(&f.error, ERR_LIMIT, "54000", "too much");
    assert_int_equal(wire_put_failed(&frame, &f), 0);
    p = payload(WIRE_FAILED, &n);
    assert_int_equal(wire_get_failed(p, n, &g), 0);
    assert_string_equal(g.error.text, "too much");
    assert_int_equal(g.error.position, f.error.position);
    for (uint32_t cut = 0; cut < n; cut++)
        assert_int_equal(wire_get_failed(p, cut, &g), ERR_CORRUPT);
}

static void headers(void **state)
{
    (void)state;
    enum wire_type t;
    uint32_t n;
    assert_int_equal(wire_header((const uint8_t[8]){0, 0, 0, 0, WIRE_QUIT, 0, 0, 0}, &t, &n), 0);
    assert_int_equal(wire_header((const uint8_t[8]){1, 0, 0, 0, WIRE_QUIT, 0, 0, 0}, &t, &n), ERR_CORRUPT);
    assert_int_equal(wire_header((const uint8_t[8]){0, 0, 0, 0, 9, 0, 0, 0}, &t, &n), ERR_CORRUPT);
    assert_int_equal(wire_header((const uint8_t[8]){0, 0, 0, 0, WIRE_JOB, 0, 1, 0}, &t, &n), ERR_CORRUPT);
    assert_int_equal(wire_header((const uint8_t[8]){0xff, 0xff, 0xff, 0xff, WIRE_JOB, 0, 0, 0}, &t, &n),
                     ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(job_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(setup_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(script_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(render_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(more_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(ends_round_trip, setup, teardown),
        cmocka_unit_test(headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

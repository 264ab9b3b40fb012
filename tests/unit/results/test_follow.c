/*
 * Followers: another process's reader of a file that grows sees the rows it was told of, notices what is wrong
 * with what it is told or with the bytes, and keeps nothing of what it has read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <cmocka.h>

#include "base/crypto.h"
#include "rows.h"

#define BATCHES 60u

static char folder[64];
static int dir = -1;
static uint64_t seed = 88172645463325252u;

/* A writer, its view, and one who follows. */
struct pair {
    struct qid id;
    struct arena *arena;
    struct schema *schema;
    struct segment_writer *writer;
    struct segment *view, *follower;
    struct buf record, blocks;
    uint64_t block, told;
};

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/quern-follow-XXXXXX");
    if (crypto_init() < 0 || !mkdtemp(folder))
        return -1;
    dir = open(folder, O_RDONLY | O_DIRECTORY);
    return dir < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlinkat(dir, "a", 0);
    close(dir);
    return rmdir(folder);
}

static void begin(struct pair *p, const char *kind)
{
    struct err e;
    int fd;
    struct buf schema = BUF_INIT(1 << 24);
    *p = (struct pair){.id = id_new(1750000000000), .arena = arena_new(1 << 24)};
    buf_init(&p->record, 1 << 24);
    buf_init(&p->blocks, 1 << 24);
    p->schema = rows_schema(p->arena, kind);
    assert_int_equal(segment_create(dir, "a", &p->id, 2, p->schema, &p->writer, &e), 0);
    assert_int_equal(segment_view(p->writer, &p->view, &e), 0);
    assert_int_equal(segment_reopen(p->view, &fd, &e), 0);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_int_equal(schema_write(p->schema, &schema), 0);
    assert_int_equal(segment_follow(fd, &p->id, 2, schema.p, schema.len, &p->follower, &e), 0);
    assert_int_equal(segment_rows(p->follower), 0);
    buf_free(&schema);
}

static void end(struct pair *p)
{
    segment_unref(p->follower);
    segment_unref(p->view);
    segment_writer_free(p->writer);
    buf_free(&p->record);
    buf_free(&p->blocks);
    arena_free(p->arena);
    (void)unlinkat(dir, "a", 0);
}

static void append(struct pair *p, uint64_t rows, unsigned text_max)
{
    struct rows r;
    struct err e;
    rows_make(p->schema, rows, text_max, segment_rows(p->view), &seed, &r);
    assert_int_equal(segment_append(p->writer, &r.ix, (const uint8_t *)r.body.p, &e), 0);
    rows_free(&r);
}

static void tell(struct pair *p)
{
    struct err e;
    buf_reset(&p->record);
    buf_reset(&p->blocks);
    assert_int_equal(segment_tell(p->view, p->told++, &p->block, &p->record, &p->blocks, &e), 0);
}

static int learn(struct pair *p, struct err *e)
{
    err_clear(e);
    return segment_learn(p->follower, p->record.p, p->record.len, p->blocks.p, p->blocks.len, e);
}

/* Rows [at, end) read the same in both. */
static void expect_rows(struct pair *p, uint64_t at, uint64_t end)
{
    struct segment_scratch *x = segment_scratch_new(), *y = segment_scratch_new();
    struct buf want = BUF_INIT(1 << 26), got = BUF_INIT(1 << 26);
    struct window v, w;
    struct err e;
    for (; at < end; at += v.rows) {
        assert_int_equal(segment_window(p->view, at, 100, 1 << 18, x, &v, &e), 0);
        assert_int_equal(segment_window(p->follower, at, v.rows, 1 << 20, y, &w, &e), 0);
        assert_int_equal(v.rows, w.rows);
        buf_reset(&want);
        buf_reset(&got);
        for (uint64_t i = 0; i < v.rows; i++) {
            rows_text(&v, i, &want);
            rows_text(&w, i, &got);
        }
        assert_int_equal(want.len, got.len);
        assert_memory_equal(want.p, got.p, want.len);
    }
    buf_free(&want);
    buf_free(&got);
    segment_scratch_free(x);
    segment_scratch_free(y);
}

static void sees_what_it_is_told(void **state)
{
    (void)state;
    struct pair p;
    struct segment_facts facts;
    struct err e;
    begin(&p, "all");
    for (unsigned b = 0; b < BATCHES; b++) {
        append(&p, 1 + rows_random(&seed, 400), 40);
        if (b % 3)
            continue; /* what was written and not told is not there */
        uint64_t from = segment_rows(p.follower);
        while (p.told <= b) {
            tell(&p);
            assert_int_equal(learn(&p, &e), 0);
        }
        assert_int_equal(segment_rows(p.follower), segment_rows(p.view));
        assert_int_equal(segment_stream_len(p.follower), segment_stream_len(p.view));
        expect_rows(&p, from, segment_rows(p.follower));
        segment_forget(p.follower, b);
    }
    assert_int_equal(segment_seal(p.writer, &facts, &e), 0); /* the last ones are told of a sealed file */
    uint64_t from = segment_rows(p.follower);
    for (; p.told < BATCHES; assert_int_equal(learn(&p, &e), 0))
        tell(&p);
    assert_int_equal(segment_rows(p.follower), facts.rows);
    expect_rows(&p, from, facts.rows);
    end(&p);
}

static void forgets_what_it_has_read(void **state)
{
    (void)state;
    struct pair p;
    struct err e;
    begin(&p, "all");
    uint64_t first = 0;
    for (unsigned b = 0; b < 2000; b++) {
        append(&p, 3, 10);
        tell(&p);
        assert_int_equal(learn(&p, &e), 0);
        segment_forget(p.follower, b);
        first = b == 99 ? segment_memory(p.follower) : first;
    }
    assert_true(segment_memory(p.follower) < first + 2000 * 40 + 65536);
    end(&p);
}

/* Each byte of a record, and what does not follow. */
static void lies_are_noticed(void **state)
{
    (void)state;
    struct pair p;
    struct err e;
    begin(&p, "flat");
    append(&p, 2000, 60); /* more than one block */
    tell(&p);
    assert_true(p.blocks.len > 0);
    for (size_t i = 0; i < 48; i++) { /* the head: rows, places, lengths */
        p.record.p[i] ^= 0x40;
        if (i != 16 &&
            (i < 17 || i > 31)) /* a place that is told alone cannot be wrong yet: the first batch's */
            assert_int_equal(learn(&p, &e), ERR_CORRUPT);
        p.record.p[i] ^= 0x40;
        if (segment_nbatches(p.follower))
            fail_msg("byte %zu was taken", i);
    }
    p.blocks.len -= 4;
    assert_int_equal(learn(&p, &e), ERR_CORRUPT);
    p.blocks.len += 4;
    p.record.len--;
    assert_int_equal(learn(&p, &e), ERR_CORRUPT);
    p.record.len++;
    assert_int_equal(learn(&p, &e), 0);
    assert_int_equal(learn(&p, &e), ERR_CORRUPT); /* twice */
    expect_rows(&p, 0, 2000);
    end(&p);
}

static void bad_blocks_are_noticed(void **state)
{
    (void)state;
    struct pair p;
    struct window w;
    struct err e;
    begin(&p, "flat");
    append(&p, 3000, 60);
    tell(&p);
    assert_int_equal(learn(&p, &e), 0);
    int fd = openat(dir, "a", O_WRONLY);
    assert_int_equal(pwrite(fd, "\x5a\xa5\x5a\xa5", 4, 30000), 4);
    close(fd);
    struct segment_scratch *x = segment_scratch_new();
    int rc = segment_window(p.follower, 0, UINT64_MAX, SIZE_MAX, x, &w, &e);
    assert_int_equal(rc, ERR_CORRUPT);
    segment_scratch_free(x);
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sees_what_it_is_told),
        cmocka_unit_test(forgets_what_it_has_read),
        cmocka_unit_test(lies_are_noticed),
        cmocka_unit_test(bad_blocks_are_noticed),
    };
    return cmocka_run_group_tests_name("follow", tests, set_up, tear_down);
}

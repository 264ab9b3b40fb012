/*
 * Damaged and lying segment files (fault catalogue 18, 22): every flipped byte, every truncation, a file of
 * another query, index and offsets that lie under right checksums. Wanted: ERR_CORRUPT, counted; never a
 * wrong cell, never a crash.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/crypto.h"
#include "base/metrics.h"
#include "rows.h"

static char folder[64];
static int dir = -1;
static uint64_t seed = 4101842887655102017u;

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/quern-damage-XXXXXX");
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

static void put_file(const uint8_t *p, size_t n)
{
    int fd = openat(dir, "a", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, p, n), (ssize_t)n);
    close(fd);
}

static uint8_t *get_file(size_t n)
{
    uint8_t *p = malloc(n + 1);
    int fd = openat(dir, "a", O_RDONLY);
    assert_int_equal(read(fd, p, n + 1), (ssize_t)n);
    close(fd);
    return p;
}

static struct segment_facts write_segment(const struct qid *id, uint32_t ordinal, const struct schema *s,
                                          uint64_t rows, int nbatches)
{
    struct segment_writer *w;
    struct segment_facts facts;
    struct err e;
    assert_int_equal(segment_create(dir, "a", id, ordinal, s, &w, &e), 0);
    for (int i = 0; i < nbatches; i++) {
        struct rows r;
        rows_make(s, rows, 12, (uint64_t)i * rows, &seed, &r);
        assert_int_equal(segment_append(w, &r.ix, (const uint8_t *)r.body.p, &e), 0);
        rows_free(&r);
    }
    assert_int_equal(segment_seal(w, &facts, &e), 0);
    segment_writer_free(w);
    return facts;
}

/* Opens and reads every row, then every byte. 0, or the first error. */
static int read_all(const struct qid *id, uint32_t ordinal, const struct segment_facts *facts)
{
    struct segment *s;
    struct window w;
    struct err e;
    int rc = segment_open(dir, "a", id, ordinal, facts, &s, &e);
    if (rc < 0)
        return rc;
    struct segment_scratch *x = segment_scratch_new();
    struct buf text = BUF_INIT(1 << 26);
    uint64_t at = 0;
    while ((rc = segment_window(s, at, 7, 4000, x, &w, &e)) == 0) {
        for (uint64_t i = 0; i < w.rows; i++)
            rows_text(&w, i, &text);
        at += w.rows;
    }
    if (rc == ERR_END) {
        size_t n = segment_stream_len(s);
        char *p = malloc(n);
        rc = segment_read(s, 0, p, n, &e);
        free(p);
    }
    buf_free(&text);
    segment_scratch_free(x);
    segment_unref(s);
    return rc;
}

static void every_flipped_byte_is_found(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 24);
    static const char *const kinds[] = {"all", "flat"};
    for (int k = 0; k < 2; k++) {
        struct schema *s = rows_schema(a, kinds[k]);
        struct qid id = id_new(1750000000000);
        struct segment_facts facts = write_segment(&id, 1, s, 20, 3);
        assert_int_equal(read_all(&id, 1, &facts), 0);
        uint8_t *p = get_file(facts.file_size);
        const struct metric *m = metrics_get(METRIC_COUNTER, "quern_result_corrupt_total", "", "");
        int fd = openat(dir, "a", O_WRONLY);
        for (size_t i = 0; i < facts.file_size; i++) {
            int64_t before = metric_value(m);
            uint8_t bad = p[i] ^ (uint8_t)(1u << (i % 8));
            assert_int_equal(pwrite(fd, &bad, 1, (off_t)i), 1);
            assert_int_equal(read_all(&id, 1, &facts), ERR_CORRUPT);
            assert_true(metric_value(m) > before);
            assert_int_equal(pwrite(fd, &p[i], 1, (off_t)i), 1);
        }
        close(fd);
        assert_int_equal(read_all(&id, 1, &facts), 0);
        free(p);
        unlinkat(dir, "a", 0);
    }
    arena_free(a);
}

static void every_truncation_is_found(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 24);
    struct schema *s = rows_schema(a, "flat");
    struct qid id = id_new(1750000000000);
    struct segment_facts facts = write_segment(&id, 1, s, 20, 3);
    uint8_t *p = get_file(facts.file_size);
    for (size_t n = 0; n < facts.file_size; n++) {
        put_file(p, n);
        assert_int_equal(read_all(&id, 1, &facts), ERR_CORRUPT);
        /* also when somebody believes the new size */
        struct segment_facts other = facts;
        other.file_size = n;
        assert_int_equal(read_all(&id, 1, &other), ERR_CORRUPT);
    }
    uint8_t *longer = calloc(1, facts.file_size + 100);
    memcpy(longer, p, facts.file_size);
    put_file(longer, facts.file_size + 100);
    assert_int_equal(read_all(&id, 1, &facts), ERR_CORRUPT);
    free(longer);
    free(p);
    unlinkat(dir, "a", 0);
    arena_free(a);
}

static void truncation_while_open_is_found(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 24);
    struct schema *s = rows_schema(a, "flat");
    struct qid id = id_new(1750000000000);
    struct segment_facts facts = write_segment(&id, 1, s, 20000, 2);
    struct segment *seg;
    struct segment_scratch *x = segment_scratch_new();
    struct window w;
    struct err e;
    assert_int_equal(segment_open(dir, "a", &id, 1, &facts, &seg, &e), 0);
    assert_int_equal(segment_window(seg, 39000, 100, 1 << 20, x, &w, &e), 0);
    int fd = openat(dir, "a", O_WRONLY);
    assert_int_equal(ftruncate(fd, 5000), 0);
    close(fd);
    assert_int_equal(segment_window(seg, 39000, 100, 1 << 20, x, &w, &e), ERR_CORRUPT);
    assert_int_equal(segment_window(seg, 100, 100, 1 << 20, x, &w, &e), ERR_CORRUPT);
    segment_scratch_free(x);
    segment_unref(seg);
    unlinkat(dir, "a", 0);
    arena_free(a);
}

static void another_querys_file_is_found(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 24);
    struct schema *s = rows_schema(a, "flat");
    struct qid id = id_new(1750000000000), other = id_new(1750000000000);
    struct segment_facts facts = write_segment(&id, 1, s, 20, 3);
    assert_int_equal(read_all(&other, 1, &facts), ERR_CORRUPT);
    assert_int_equal(read_all(&id, 2, &facts), ERR_CORRUPT);
    unlinkat(dir, "a", 0);
    struct segment_facts again = write_segment(&id, 1, s, 20, 3); /* same query, another run: other rows */
    assert_int_equal(read_all(&id, 1, &again), 0);
    again.footer_crc = facts.footer_crc;
    assert_int_equal(read_all(&id, 1, &again), ERR_CORRUPT);
    unlinkat(dir, "a", 0);
    assert_int_equal(symlinkat("b", dir, "a"), 0);
    assert_int_equal(read_all(&id, 1, &facts), ERR_CORRUPT);
    unlinkat(dir, "a", 0);
    assert_int_equal(mkdirat(dir, "a", 0700), 0);
    assert_int_equal(read_all(&id, 1, &facts), ERR_CORRUPT);
    unlinkat(dir, "a", AT_REMOVEDIR);
    arena_free(a);
}

/* Batches that batch_check would refuse, stored with right checksums: windows must find wild offsets before
 * an encoder follows them. */
static void offsets_that_lie_are_found(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 24);
    struct schema *s = rows_schema(a, "all");
    struct qid id = id_new(1750000000000);
    int found = 0;
    for (int i = 0; i < 400; i++) {
        struct rows r;
        struct segment_writer *w;
        struct segment_facts facts;
        struct err e;
        rows_make(s, 40, 12, 0, &seed, &r);
        for (int k = 0; k < 40; k++)
            r.body.p[rows_random(&seed, r.body.len)] ^= (char)(1 + rows_random(&seed, 255));
        assert_int_equal(segment_create(dir, "a", &id, 0, s, &w, &e), 0);
        assert_int_equal(segment_append(w, &r.ix, (const uint8_t *)r.body.p, &e), 0);
        assert_int_equal(segment_seal(w, &facts, &e), 0);
        segment_writer_free(w);
        int rc = read_all(&id, 0, &facts); /* under the sanitizers */
        assert_true(rc == 0 || rc == ERR_CORRUPT);
        found += rc == ERR_CORRUPT;
        unlinkat(dir, "a", 0);
        rows_free(&r);
    }
    assert_true(found > 100);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_byte_is_found),    cmocka_unit_test(every_truncation_is_found),
        cmocka_unit_test(truncation_while_open_is_found), cmocka_unit_test(another_querys_file_is_found),
        cmocka_unit_test(offsets_that_lie_are_found),
    };
    return cmocka_run_group_tests_name("damage", tests, set_up, tear_down);
}

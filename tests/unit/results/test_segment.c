/*
 * Segments: what was written comes back, in any window, through each of the three origins; rows that nobody
 * asked for cost nothing.
 */
#include <pthread.h>
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

static char folder[64];
static int dir = -1;
static struct qid id;
static uint64_t seed = 88172645463325252u;

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/quern-segment-XXXXXX");
    if (crypto_init() < 0 || !mkdtemp(folder))
        return -1;
    dir = open(folder, O_RDONLY | O_DIRECTORY);
    id = id_new(1750000000000);
    return dir < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlinkat(dir, "a", 0);
    (void)unlinkat(dir, "b", 0);
    close(dir);
    return rmdir(folder);
}

static void expect_window(struct segment *s, const struct rows *batches, size_t nbatches,
                          const struct window *w)
{
    struct buf want = BUF_INIT(1 << 26), got = BUF_INIT(1 << 26);
    size_t b = 0;
    while (b + 1 < nbatches && batches[b + 1].window.first_row <= w->first_row)
        b++;
    assert_true(w->first_row + w->rows <= batches[b].window.first_row + batches[b].window.rows);
    for (uint64_t i = 0; i < w->rows; i++) {
        rows_text(&batches[b].window, w->first_row - batches[b].window.first_row + i, &want);
        rows_text(w, i, &got);
    }
    assert_true(w->schema == segment_schema(s));
    assert_int_equal(want.len, got.len);
    if (want.len)
        assert_memory_equal(want.p, got.p, want.len);
    buf_free(&want);
    buf_free(&got);
}

/* Walks the whole result in windows, then random ones; and the stream equals the batches' bodies. */
static void expect_all(struct segment *s, const struct rows *batches, size_t nbatches, uint64_t rows)
{
    struct segment_scratch *x = segment_scratch_new();
    struct window w;
    struct err e;
    assert_int_equal(segment_rows(s), rows);
    assert_int_equal(segment_nbatches(s), nbatches);
    for (uint64_t at = 0; at < rows; at += w.rows) {
        assert_int_equal(segment_window(s, at, UINT64_MAX, 1 << 20, x, &w, &e), 0);
        assert_int_equal(w.first_row, at);
        assert_true(w.rows > 0);
        expect_window(s, batches, nbatches, &w);
    }
    for (int i = 0; i < 200 && rows; i++) {
        uint64_t at = rows_random(&seed, rows), n = 1 + rows_random(&seed, 40);
        assert_int_equal(segment_window(s, at, n, rows_random(&seed, 6000), x, &w, &e), 0);
        assert_true(w.rows > 0 && w.rows <= n);
        expect_window(s, batches, nbatches, &w);
        if (i % 50 == 0)
            segment_scratch_trim(x);
    }
    assert_int_equal(segment_window(s, rows, 1, 100, x, &w, &e), ERR_END);
    assert_int_equal(segment_window(s, UINT64_MAX, 1, 100, x, &w, &e), ERR_END);
    for (size_t b = 0; b < nbatches; b++) {
        uint64_t off, len, body = batches[b].ix.body_len;
        segment_batch_range(s, b, &off, &len);
        uint8_t *p = malloc(len + 1);
        assert_int_equal(segment_read(s, off, p, len, &e), 0);
        assert_true(len > body);
        if (body)
            assert_memory_equal(p + len - body, batches[b].body.p, body);
        assert_memory_equal(p, "\xff\xff\xff\xff", 4);
        free(p);
    }
    segment_scratch_free(x);
}

static void round_trip(const char *kind, size_t nbatches, uint64_t most, unsigned text_max)
{
    struct arena *a = arena_new(1 << 24);
    struct schema *s = rows_schema(a, kind);
    struct rows *batches = calloc(nbatches + 1, sizeof *batches);
    struct segment_writer *w;
    struct segment *view, *sealed;
    struct segment_facts facts;
    struct err e;
    assert_int_equal(segment_create(dir, "a", &id, 3, s, &w, &e), 0);
    assert_int_equal(segment_view(w, &view, &e), 0);
    uint64_t rows = 0;
    for (size_t b = 0; b < nbatches; b++) {
        rows_make(s, rows_random(&seed, most + 1), text_max, rows, &seed, &batches[b]);
        assert_int_equal(segment_append(w, &batches[b].ix, (const uint8_t *)batches[b].body.p, &e), 0);
        rows += batches[b].ix.rows;
        if (nbatches < 100 ? b % 5 == 0 : b % (nbatches / 3) == 0)
            expect_all(view, batches, b + 1, rows);
    }
    expect_all(view, batches, nbatches, rows);
    assert_int_equal(segment_seal(w, &facts, &e), 0);
    assert_int_equal(segment_written_bytes(w), facts.file_size);
    assert_int_equal(segment_append(w, &batches[0].ix, (const uint8_t *)batches[0].body.p, &e), ERR_IO);
    segment_writer_free(w);
    expect_all(view, batches, nbatches, rows);
    assert_int_equal(segment_open(dir, "a", &id, 3, &facts, &sealed, &e), 0);
    assert_true(schema_equal(segment_schema(sealed), s));
    expect_all(sealed, batches, nbatches, rows);
    assert_int_equal(segment_stream_len(sealed), segment_stream_len(view));
    assert_int_equal(segment_schema_len(sealed), segment_schema_len(view));
    int fd = -1;
    assert_int_equal(segment_sendfile(sealed, 0, segment_stream_len(sealed), &fd, &e), 0);
    assert_true(fd >= 0);
    segment_unref(view);
    segment_unref(sealed);
    assert_int_equal(segment_open(dir, "gone", &id, 3, &facts, &sealed, &e), ERR_GONE);
    for (size_t b = 0; b < nbatches; b++)
        rows_free(&batches[b]);
    free(batches);
    assert_int_equal(unlinkat(dir, "a", 0), 0);
    arena_free(a);
}

static void every_type_comes_back(void **state)
{
    (void)state;
    round_trip("all", 12, 300, 20);
    round_trip("all", 3, 4000, 30);
}
static void flat_rows_come_back(void **state)
{
    (void)state;
    round_trip("flat", 10, 5000, 40);
    round_trip("flat", 3, 60000, 10);
}
static void empty_results_come_back(void **state)
{
    (void)state;
    round_trip("flat", 1, 0, 1);
    round_trip("none", 3, 0, 1); /* without columns there are no rows: encoders/batch.c */
}
static void index_goes_to_the_side_file(void **state)
{
    (void)state;
    round_trip("flat", 8000, 2, 3);
}

static void inline_results_come_back(void **state)
{
    (void)state;
    static const char *const kinds[] = {"flat", "all", "none"};
    for (int i = 0; i < 3; i++) {
        struct arena *a = arena_new(1 << 24);
        struct schema *s = rows_schema(a, kinds[i]);
        struct rows r;
        struct buf index = BUF_INIT(1 << 20);
        struct segment *seg;
        struct err e;
        int fd = 0;
        rows_make(s, s->ncolumns ? 30 : 0, 10, 0, &seed, &r);
        assert_int_equal(batch_index_write(&r.ix, &index), 0);
        assert_int_equal(segment_inline(&id, 0, s, index.p, index.len, r.body.p, r.body.len, &seg, &e), 0);
        expect_all(seg, &r, 1, s->ncolumns ? 30 : 0);
        assert_int_equal(segment_sendfile(seg, 0, 8, &fd, &e), 0);
        assert_int_equal(fd, -1);
        segment_unref(seg);
        assert_int_equal(segment_inline(&id, 0, s, NULL, 0, NULL, 0, &seg, &e), 0);
        expect_all(seg, &r, 0, 0);
        assert_int_equal(segment_stream_len(seg), segment_schema_len(seg) + 8);
        segment_unref(seg);
        assert_int_equal(segment_inline(&id, 0, s, index.p, index.len - 1, r.body.p, r.body.len, &seg, &e),
                         ERR_CORRUPT);
        buf_free(&index);
        rows_free(&r);
        arena_free(a);
    }
}

static void a_window_keeps_to_its_bytes(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 24);
    struct schema *s = rows_schema(a, "all");
    struct rows r;
    struct segment_writer *w;
    struct segment *view;
    struct window win;
    struct err e;
    rows_make(s, 3000, 2000, 0, &seed, &r);
    assert_int_equal(segment_create(dir, "a", &id, 0, s, &w, &e), 0);
    assert_int_equal(segment_view(w, &view, &e), 0);
    assert_int_equal(segment_append(w, &r.ix, (const uint8_t *)r.body.p, &e), 0);
    struct segment_scratch *x = segment_scratch_new();
    double row = (double)r.ix.body_len / 3000;
    for (size_t most = 1; most < 2000000; most = most * 3 + 1) {
        uint64_t at = rows_random(&seed, 1000);
        assert_int_equal(segment_window(view, at, 100000, most, x, &win, &e), 0);
        expect_window(view, &r, 1, &win);
        double bytes = (double)win.rows * row;
        assert_true(win.rows == 1 || bytes < (double)most * 1.5);
        if (row * 20 < (double)most)
            assert_true(bytes > (double)most * 0.5);
    }
    segment_scratch_free(x);
    segment_unref(view);
    segment_writer_free(w);
    rows_free(&r);
    unlinkat(dir, "a", 0);
    arena_free(a);
}

/* ---- early rows beside the writer ---- */

struct reader {
    struct segment *view;
    const struct rows *pattern;
    _Atomic bool stop;
    uint64_t seen;
};

static void *read_along(void *arg)
{
    struct reader *r = arg;
    struct segment_scratch *x = segment_scratch_new();
    uint64_t state = 12345;
    bool last = false;
    for (;;) {
        bool stop = r->stop;
        uint64_t rows = segment_rows(r->view);
        struct window w;
        struct err e;
        if (rows > 0) {
            /* every batch is the pattern again, so each row is known by its number */
            uint64_t at = last ? rows - 1 : rows_random(&state, rows);
            if (segment_window(r->view, at, 1, 4096, x, &w, &e) < 0)
                abort();
            struct buf want = BUF_INIT(1 << 20), got = BUF_INIT(1 << 20);
            rows_text(&r->pattern->window, at % r->pattern->ix.rows, &want);
            rows_text(&w, 0, &got);
            if (want.len != got.len || memcmp(want.p, got.p, want.len) != 0)
                abort();
            buf_free(&want);
            buf_free(&got);
            char p[64];
            if (segment_read(r->view, segment_stream_len(r->view) - 64, p, 64, &e) < 0)
                abort();
            r->seen++;
        }
        if (stop)
            break;
        last = !last;
    }
    segment_scratch_free(x);
    return NULL;
}

static void readers_run_beside_the_writer(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 24);
    struct schema *s = rows_schema(a, "all");
    struct rows r;
    struct segment_writer *w;
    struct segment_facts facts;
    struct err e;
    rows_make(s, 50, 20, 0, &seed, &r);
    assert_int_equal(segment_create(dir, "a", &id, 0, s, &w, &e), 0);
    pthread_t threads[3];
    struct reader readers[3];
    for (int i = 0; i < 3; i++) {
        readers[i] = (struct reader){.pattern = &r};
        assert_int_equal(segment_view(w, &readers[i].view, &e), 0);
        pthread_create(&threads[i], NULL, read_along, &readers[i]);
    }
    for (int b = 0; b < 3000; b++)
        assert_int_equal(segment_append(w, &r.ix, (const uint8_t *)r.body.p, &e), 0);
    assert_int_equal(segment_seal(w, &facts, &e), 0);
    segment_writer_free(w);
    for (int i = 0; i < 3; i++) {
        readers[i].stop = true;
        pthread_join(threads[i], NULL);
        assert_true(readers[i].seen > 0);
        segment_unref(readers[i].view);
    }
    rows_free(&r);
    unlinkat(dir, "a", 0);
    arena_free(a);
}

static void many_batches_stay_small(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 24);
    struct schema *s = rows_schema(a, "flat");
    struct rows r;
    struct segment_writer *w;
    struct segment *seg;
    struct segment_facts facts;
    struct err e;
    rows_make(s, 1, 3, 0, &seed, &r);
    assert_int_equal(segment_create(dir, "a", &id, 0, s, &w, &e), 0);
    for (int b = 0; b < 100000; b++)
        assert_int_equal(segment_append(w, &r.ix, (const uint8_t *)r.body.p, &e), 0);
    assert_int_equal(segment_seal(w, &facts, &e), 0);
    segment_writer_free(w);
    assert_int_equal(segment_open(dir, "a", &id, 0, &facts, &seg, &e), 0);
    assert_true(segment_memory(seg) < 3u << 20);
    struct segment_scratch *x = segment_scratch_new();
    struct window win;
    for (uint64_t at = 0; at < 100000; at += 997) {
        assert_int_equal(segment_window(seg, at, 10, 10000, x, &win, &e), 0);
        assert_int_equal(win.rows, 1);
    }
    segment_scratch_free(x);
    segment_unref(seg);
    rows_free(&r);
    unlinkat(dir, "a", 0);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_back),         cmocka_unit_test(flat_rows_come_back),
        cmocka_unit_test(empty_results_come_back),       cmocka_unit_test(index_goes_to_the_side_file),
        cmocka_unit_test(inline_results_come_back),      cmocka_unit_test(a_window_keeps_to_its_bytes),
        cmocka_unit_test(readers_run_beside_the_writer), cmocka_unit_test(many_batches_stay_small),
    };
    return cmocka_run_group_tests_name("segment", tests, set_up, tear_down);
}

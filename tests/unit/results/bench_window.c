/*
 * What a page and a scan of a large result cost: bench-window [MILLION_ROWS [FOLDER]]. Prints one line each.
 * Leaves FOLDER/bench.seg when FOLDER is given (its stream part is an Arrow file for other readers).
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/sys.h"
#include "results/segment.h"

#define BATCH 65536u

static void check(int rc, const struct err *e)
{
    if (rc == 0)
        return;
    (void)fprintf(stderr, "bench-window: %s\n", e->text);
    exit(1);
}

/* id int64, delay int32, date, name utf8 (8 bytes), distance float64: 36 bytes a row and the offsets. */
static void fill(uint8_t *body, struct batch_index *ix, uint64_t first)
{
    static const uint64_t width[] = {8, 4, 8, 0, 8};
    uint64_t at = 0;
    uint32_t b = 0;
    for (uint32_t c = 0; c < 5; c++) {
        ix->nodes[c] = (struct batch_node){BATCH, 0};
        ix->buffers[b++] = (struct batch_buffer){at, 0};
        if (c == 3) {
            ix->buffers[b++] = (struct batch_buffer){at, (BATCH + 1) * 4};
            for (uint32_t i = 0; i <= BATCH; i++)
                memcpy(body + at + i * 4, &(uint32_t){i * 8}, 4);
            at += (BATCH + 1) * 4;
            memset(body + at, 0, 4);
            at += 4;
            ix->buffers[b++] = (struct batch_buffer){at, BATCH * 8};
            for (uint32_t i = 0; i < BATCH * 8; i++)
                body[at + i] = (uint8_t)('a' + (first + i) % 26);
            at += BATCH * 8;
            continue;
        }
        ix->buffers[b++] = (struct batch_buffer){at, BATCH * width[c]};
        for (uint32_t i = 0; i < BATCH; i++)
            memcpy(body + at + i * width[c], &(uint64_t){first + i}, width[c]);
        at += BATCH * width[c];
    }
    ix->rows = BATCH;
    ix->body_len = at;
}

static void report(const char *what, int64_t ns, uint64_t n, const char *unit)
{
    (void)printf("%-44s %10.2f us per %s\n", what, (double)ns / 1000.0 / (double)n, unit);
}

static void pages(struct segment *s, struct segment_scratch *x, uint64_t first, uint64_t step, uint64_t n,
                  const char *what)
{
    struct err e;
    struct window w;
    int64_t start = sys_mono_ns();
    for (uint64_t i = 0; i < n; i++)
        check(segment_window(s, first + i * step, 100, 1 << 20, x, &w, &e), &e);
    report(what, sys_mono_ns() - start, n, "page");
}

static void scan(struct segment *s, struct segment_scratch *x, size_t bytes, const char *what)
{
    struct err e;
    struct window w;
    uint64_t at = 0, windows = 0;
    int64_t start = sys_mono_ns();
    for (int rc; (rc = segment_window(s, at, UINT64_MAX, bytes, x, &w, &e)) != ERR_END;
         at += w.rows, windows++)
        check(rc, &e);
    double seconds = (double)(sys_mono_ns() - start) / 1e9;
    (void)printf("%-44s %10.2f ns per row, %.2f GB/s, %llu windows\n", what, seconds * 1e9 / (double)at,
                 (double)segment_stream_len(s) / seconds / 1e9, (unsigned long long)windows);
}

int main(int argc, char **argv)
{
    uint64_t rows = (argc > 1 ? strtoull(argv[1], NULL, 10) : 10) * 1000000;
    char tmp[] = "/tmp/quern-bench-XXXXXX";
    const char *folder = argc > 2 ? argv[2] : mkdtemp(tmp);
    if (crypto_init() < 0 || !folder)
        return 1;
    int dir = open(folder, O_RDONLY | O_DIRECTORY);
    struct column columns[5] = {{.name = "id", .detail = "", .phys = PHYS_INT64, .sql = SQLT_BIGINT},
                                {.name = "delay", .detail = "", .phys = PHYS_INT32, .sql = SQLT_INTEGER},
                                {.name = "date", .detail = "", .phys = PHYS_TIMESTAMP, .sql = SQLT_TIMESTAMP},
                                {.name = "name", .detail = "", .phys = PHYS_UTF8, .sql = SQLT_VARCHAR},
                                {.name = "distance", .detail = "", .phys = PHYS_FLOAT64, .sql = SQLT_DOUBLE}};
    struct schema schema = {.ncolumns = 5, .columns = columns};
    struct batch_node nodes[5];
    struct batch_buffer buffers[11];
    struct batch_index ix = {.nnodes = 5, .nbuffers = 11, .nodes = nodes, .buffers = buffers};
    uint8_t *body = malloc(4u << 20);
    struct qid id = id_new(1750000000000);
    struct segment_writer *w;
    struct segment_facts facts;
    struct segment *s;
    struct err e;
    check(schema_number(&schema, &e), &e);
    if (dir < 0 || !body)
        return 1;
    check(segment_create(dir, "bench.seg", &id, 0, &schema, &w, &e), &e);
    int64_t spent = 0, start;
    uint64_t written = 0;
    for (; written < rows; written += BATCH) {
        fill(body, &ix, written);
        start = sys_mono_ns();
        check(segment_append(w, &ix, body, &e), &e);
        spent += sys_mono_ns() - start;
    }
    (void)printf("%-44s %10.2f GB/s\n", "append (checksum and write)",
                 (double)segment_written_bytes(w) / (double)spent);
    start = sys_mono_ns();
    check(segment_seal(w, &facts, &e), &e);
    report("seal with fsync", sys_mono_ns() - start, 1, "result");
    segment_writer_free(w);
    start = sys_mono_ns();
    check(segment_open(dir, "bench.seg", &id, 0, &facts, &s, &e), &e);
    report("open", sys_mono_ns() - start, 1, "result");
    (void)printf("%llu rows, %llu batches, %.0f MB, %llu bytes of memory\n", (unsigned long long)facts.rows,
                 (unsigned long long)facts.nbatches, (double)facts.file_size / 1e6,
                 (unsigned long long)segment_memory(s));
    struct segment_scratch *x = segment_scratch_new();
    if (!x)
        return 1;
    pages(s, x, 0, 0, 1, "first touch, 100 rows at row 0");
    pages(s, x, rows - 100, 0, 1, "first touch, 100 rows at the end");
    pages(s, x, 0, 0, 20000, "100 rows at row 0");
    pages(s, x, rows - 100, 0, 20000, "100 rows at the end");
    scan(s, x, 256 << 10, "scan with verification, 256 KiB windows");
    scan(s, x, 256 << 10, "scan, 256 KiB windows");
    scan(s, x, 64 << 10, "scan, 64 KiB windows");
    scan(s, x, 4 << 20, "scan, whole batches");
    pages(s, x, 12345, 49999, rows / 50000, "100 rows anywhere");
    segment_scratch_free(x);
    segment_unref(s);
    if (argc <= 2 && unlinkat(dir, "bench.seg", 0) == 0)
        (void)rmdir(folder);
    free(body);
    close(dir);
    return 0;
}

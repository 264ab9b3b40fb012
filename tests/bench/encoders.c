/*
 * Micro-benchmark of the encoders: nanoseconds of CPU a row for CSV, JSON, NDJSON and Arrow slices, and for
 * the batch check, on a batch that looks like the flights data (timestamp, two integers, two short texts).
 *   build/bench-encoders [ROUNDS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "encoders/encoder.h"

#define ROWS 65536u

static double cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The same numbers in every run. */
static unsigned dice(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33);
}

static void *need(void *p)
{
    if (p)
        return p;
    fprintf(stderr, "out of memory\n");
    exit(1);
}

static struct column columns[] = {
    {.name = "date", .detail = "", .phys = PHYS_TIMESTAMP, .sql = SQLT_TIMESTAMP, .nullable = true},
    {.name = "delay", .detail = "", .phys = PHYS_INT64, .sql = SQLT_BIGINT, .nullable = true},
    {.name = "distance", .detail = "", .phys = PHYS_INT64, .sql = SQLT_BIGINT, .nullable = true},
    {.name = "origin", .detail = "", .phys = PHYS_UTF8, .sql = SQLT_VARCHAR, .nullable = true},
    {.name = "destination", .detail = "", .phys = PHYS_UTF8, .sql = SQLT_VARCHAR, .nullable = true},
};
static struct schema schema = {.ncolumns = 5, .columns = columns};

static void add(struct batch_index *ix, uint32_t k, uint8_t *body, const void *p, uint64_t n)
{
    ix->buffers[k] = (struct batch_buffer){ix->body_len, n};
    if (n)
        memcpy(body + ix->body_len, p, n);
    ix->body_len += (n + 7) & ~UINT64_C(7);
}

static uint8_t *make(struct batch_index *ix)
{
    static const char airports[][4] = {"LAS", "PHL", "ATL", "SAV", "MCI", "MDW", "ANC", "LAX", "RIC", "ORF"};
    uint8_t *body = need(aligned_alloc(64, 4 << 20));
    int64_t *v = need(malloc(8 * ROWS));
    int32_t *o = need(malloc(4 * (ROWS + 1)));
    char *t = need(malloc(3 * ROWS));
    memset(body, 0, 4 << 20);
    for (uint32_t i = 0; i < 5; i++)
        ix->nodes[i] = (struct batch_node){ROWS, 0};
    for (uint32_t i = 0; i < ROWS; i++)
        v[i] = INT64_C(978307260000000) + INT64_C(10500000) * i / 1000000 * 1000000 * 6;
    add(ix, 0, body, NULL, 0);
    add(ix, 1, body, v, 8 * ROWS);
    for (uint32_t i = 0; i < ROWS; i++)
        v[i] = (int64_t)(dice() % 120) - 20;
    add(ix, 2, body, NULL, 0);
    add(ix, 3, body, v, 8 * ROWS);
    for (uint32_t i = 0; i < ROWS; i++)
        v[i] = dice() % 2500;
    add(ix, 4, body, NULL, 0);
    add(ix, 5, body, v, 8 * ROWS);
    for (uint32_t c = 0; c < 2; c++) {
        for (uint32_t i = 0; i < ROWS; i++) {
            o[i] = (int32_t)(3 * i);
            memcpy(t + 3 * i, airports[dice() % 10], 3);
        }
        o[ROWS] = 3 * ROWS;
        add(ix, 6 + 3 * c, body, NULL, 0);
        add(ix, 7 + 3 * c, body, o, 4 * (ROWS + 1));
        add(ix, 8 + 3 * c, body, t, 3 * ROWS);
    }
    free(v);
    free(o);
    free(t);
    return body;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 46; /* about 3 million rows */
    static const struct {
        const char *format;
        enum text_profile profile;
        bool quote_all;
    } runs[] = {
        {"csv", TEXT_NEUTRAL, false},    {"csv", TEXT_KAKAO, true},      {"json", TEXT_NEUTRAL, false},
        {"ndjson", TEXT_NEUTRAL, false}, {"rows", TEXT_KAKAO, false},    {"rows", TEXT_CANNER, false},
        {"strings", TEXT_KYLIN, false},  {"arrow", TEXT_NEUTRAL, false},
    };
    struct batch_node nodes[5];
    struct batch_buffer buffers[12];
    struct err e;
    struct arena *a = need(arena_new(1 << 20));
    if (schema_number(&schema, &e))
        return 1;
    struct batch_index ix = {.rows = ROWS,
                             .nnodes = schema.nnodes,
                             .nbuffers = schema.nbuffers,
                             .nodes = nodes,
                             .buffers = buffers};
    uint8_t *body = make(&ix);
    struct window w;
    if (window_of_batch(&schema, &ix, body, 0, a, &w))
        return 1;

    double start = cpu();
    for (unsigned i = 0; i < rounds; i++) {
        if (batch_check(&schema, &ix, body, &e)) {
            fprintf(stderr, "%s\n", e.text);
            return 1;
        }
    }
    printf("%-8s %-8s %6.1f ns a row\n", "check", "", (cpu() - start) / rounds / ROWS);
    for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
        const struct encoder *k = encoder_find(runs[r].format);
        struct encode_options o = {
            .profile = runs[r].profile, .header = true, .quote_all = runs[r].quote_all};
        struct buf out = BUF_INIT(16 << 20);
        uint64_t bytes = 0;
        start = cpu();
        for (unsigned i = 0; i < rounds; i++) {
            struct encode_state st = {0};
            for (uint64_t row = 0; row < ROWS;) {
                buf_reset(&out);
                if (k->put_rows(&o, &st, &w, row, ROWS, 256 << 10, &out, &row, &e)) {
                    fprintf(stderr, "%s\n", e.text);
                    return 1;
                }
                bytes += out.len;
            }
        }
        double ns = cpu() - start;
        printf("%-8s profile %d %6.1f ns a row, %5.0f MB/s, 3 million rows %.3f s\n", runs[r].format,
               (int)runs[r].profile, ns / rounds / ROWS, (double)bytes / ns * 1e3, ns / rounds / ROWS * 3e-3);
        buf_free(&out);
    }
    free(body);
    arena_free(a);
    return 0;
}

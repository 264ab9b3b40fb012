/* bench: the clock and the percentiles of the benchmark's programs. */
#ifndef QUERN_TESTS_BENCH_H
#define QUERN_TESTS_BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BENCH_READ (256 * 1024) /* how much a reader takes at once; the same on both sides of a comparison */

static inline int64_t bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct samples {
    int64_t *ns;
    long n, cap;
};

static inline struct samples samples_new(long cap)
{
    struct samples s = {calloc((size_t)(cap > 0 ? cap : 1), sizeof(int64_t)), 0, cap};
    if (!s.ns)
        abort();
    return s;
}

static inline void samples_add(struct samples *s, int64_t ns)
{
    if (s->n < s->cap)
        s->ns[s->n++] = ns;
}

static inline int samples_compare(const void *a, const void *b)
{
    int64_t x, y;
    x = *(const int64_t *)a;
    y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static inline double samples_at(const struct samples *s, double part)
{
    return s->n ? (double)s->ns[(long)(part * (double)(s->n - 1))] / 1000.0 : 0;
}

/* One line of JSON, microseconds. Frees the samples. */
static inline void samples_print(struct samples *s)
{
    qsort(s->ns, (size_t)s->n, sizeof *s->ns, samples_compare);
    printf("{\"n\":%ld,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"best\":%.2f}\n", s->n, samples_at(s, 0.5),
           samples_at(s, 0.9), samples_at(s, 0.99), samples_at(s, 0));
    free(s->ns);
}

#endif

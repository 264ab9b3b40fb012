/*
 * metrics: see metrics.h. Registration and rendering under one mutex; updates are relaxed atomics from any
 * thread.
 *
 * Invariants: a series is never freed or moved, so its pointer may be kept for ever; a family (all series of
 * one name) is rendered together, as the exposition format demands. The number of series is bounded: a label
 * that comes from outside cannot eat the memory.
 */
#include "base/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define SERIES_MAX    4096
#define SLOTS         8192 /* a power of two, twice the series: probing stays short */
#define OVERFLOW_NAME "quern_metrics_overflow_total"

static const int64_t bounds_ns[] = {
    500000,      1000000,     2500000,      5000000,      10000000,     25000000,   50000000,
    100000000,   250000000,   500000000,    1000000000,   2500000000,   5000000000, 10000000000,
    30000000000, 60000000000, 120000000000, 300000000000, 600000000000,
};
static const char *const bound_texts[] = {
    "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5",
    "1",      "2.5",   "5",      "10",    "30",   "60",    "120",  "300", "600",
};
#define BOUNDS (sizeof bounds_ns / sizeof *bounds_ns)
_Static_assert(BOUNDS == sizeof bound_texts / sizeof *bound_texts, "one text for each bound");

struct histogram {
    atomic_int_fast64_t buckets[BOUNDS + 1]; /* not cumulative; the last is +Inf */
    atomic_int_fast64_t sum_ns;
};

struct family {
    struct family *next;
    struct metric *first, *last;
    char *name, *help;
    enum metric_kind kind;
};

struct metric {
    struct metric *next; /* in its family */
    struct family *family;
    char *labels;
    atomic_int_fast64_t value;
    struct histogram *histogram; /* of histograms only */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct family *first_family, *last_family;
static struct metric *slots[SLOTS];
static int nseries;

/* Where updates go that found no room: one counter that says how many there were. */
static char overflow_name[] = OVERFLOW_NAME, no_labels[] = "";
static char overflow_help[] = "Updates of series that were over the limit of series.";
static struct family overflow_family = {NULL, NULL, NULL, overflow_name, overflow_help, METRIC_COUNTER};
static struct metric overflow = {NULL, &overflow_family, no_labels, 0, NULL};

static size_t slot_of(const char *name, const char *labels)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * UINT64_C(1099511628211);
    for (h = (h ^ 1) * UINT64_C(1099511628211); *labels; labels++)
        h = (h ^ (uint8_t)*labels) * UINT64_C(1099511628211);
    return (size_t)(h >> 32) & (SLOTS - 1);
}

static struct family *family_of(const char *name)
{
    for (struct family *f = first_family; f; f = f->next)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

static struct family *family_new(enum metric_kind kind, const char *name, const char *help)
{
    struct family *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->kind = kind;
    f->name = strdup(name);
    f->help = strdup(help ? help : "");
    if (!f->name || !f->help) {
        free(f->name);
        free(f->help);
        free(f);
        return NULL;
    }
    if (last_family)
        last_family->next = f;
    else
        first_family = f;
    last_family = f;
    return f;
}

static struct metric *series_new(struct family *f, const char *labels)
{
    struct metric *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->labels = strdup(labels);
    if (f->kind == METRIC_HISTOGRAM)
        m->histogram = calloc(1, sizeof *m->histogram);
    if (!m->labels || (f->kind == METRIC_HISTOGRAM && !m->histogram)) {
        free(m->labels);
        free(m->histogram);
        free(m);
        return NULL;
    }
    m->family = f;
    if (f->last)
        f->last->next = m;
    else
        f->first = m;
    f->last = m;
    return m;
}

struct metric *metrics_get(enum metric_kind kind, const char *name, const char *labels, const char *help)
{
    if (!labels)
        labels = "";
    struct metric *m = NULL;
    pthread_mutex_lock(&lock);
    size_t i = slot_of(name, labels);
    while (slots[i] && (strcmp(slots[i]->family->name, name) != 0 || strcmp(slots[i]->labels, labels) != 0))
        i = (i + 1) & (SLOTS - 1);
    m = slots[i];
    if (!m && nseries < SERIES_MAX) {
        struct family *f = family_of(name);
        if (!f)
            f = family_new(kind, name, help);
        m = f && f->kind == kind ? series_new(f, labels) : NULL;
        ASSERT(!f || f->kind == kind); /* one name, one kind */
        if (m) {
            slots[i] = m;
            nseries++;
        }
    }
    pthread_mutex_unlock(&lock);
    return m ? m : &overflow;
}

void metric_add(struct metric *m, int64_t n)
{
    atomic_fetch_add_explicit(&m->value, m == &overflow ? 1 : n, memory_order_relaxed);
}

void metric_set(struct metric *m, int64_t v)
{
    if (m == &overflow)
        metric_add(m, 1);
    else
        atomic_store_explicit(&m->value, v, memory_order_relaxed);
}

void metric_observe_ns(struct metric *m, int64_t ns)
{
    metric_add(m, 1);
    if (!m->histogram)
        return;
    size_t i = 0;
    while (i < BOUNDS && ns > bounds_ns[i])
        i++;
    atomic_fetch_add_explicit(&m->histogram->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->histogram->sum_ns, ns, memory_order_relaxed);
}

int64_t metric_value(const struct metric *m)
{
    return (int64_t)atomic_load_explicit(&m->value, memory_order_relaxed);
}

static void render_series(struct buf *out, const struct metric *m, const char *suffix, const char *extra,
                          int64_t v)
{
    buf_str_add(out, m->family->name);
    buf_str_add(out, suffix);
    if (*m->labels || *extra) {
        buf_char(out, '{');
        buf_str_add(out, m->labels);
        if (*m->labels && *extra)
            buf_char(out, ',');
        buf_str_add(out, extra);
        buf_char(out, '}');
    }
    buf_char(out, ' ');
    buf_i64(out, v);
    buf_char(out, '\n');
}

static void render_histogram(struct buf *out, const struct metric *m)
{
    /* The count is the sum of what was read, not the counter: both must agree within one exposition. */
    int64_t sum = 0;
    for (size_t i = 0; i <= BOUNDS; i++) {
        char extra[32] = "le=\"+Inf\"";
        if (i < BOUNDS)
            snprintf(extra, sizeof extra, "le=\"%s\"", bound_texts[i]);
        sum += (int64_t)atomic_load_explicit(&m->histogram->buckets[i], memory_order_relaxed);
        render_series(out, m, "_bucket", extra, sum);
    }
    int64_t ns = (int64_t)atomic_load_explicit(&m->histogram->sum_ns, memory_order_relaxed);
    const char *open = *m->labels ? "{" : "", *close = *m->labels ? "}" : "";
    buf_printf(out, "%s_sum%s%s%s %lld.%09lld\n", m->family->name, open, m->labels, close,
               (long long)(ns / 1000000000), (long long)(ns % 1000000000));
    render_series(out, m, "_count", "", sum);
}

static void render_family(struct buf *out, const struct family *f, const struct metric *first)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    buf_printf(out, "# HELP %s ", f->name);
    for (const char *s = f->help; *s; s++) {
        if (*s == '\\')
            buf_add(out, "\\\\", 2);
        else if (*s == '\n')
            buf_add(out, "\\n", 2);
        else
            buf_char(out, *s);
    }
    buf_printf(out, "\n# TYPE %s %s\n", f->name, kinds[f->kind]);
    for (const struct metric *m = first; m; m = m->next) {
        if (f->kind == METRIC_HISTOGRAM)
            render_histogram(out, m);
        else
            render_series(out, m, "", "", metric_value(m));
    }
}

int metrics_render(struct buf *out)
{
    pthread_mutex_lock(&lock);
    for (const struct family *f = first_family; f; f = f->next)
        render_family(out, f, f->first);
    pthread_mutex_unlock(&lock);
    render_family(out, &overflow_family, &overflow);
    return out->why;
}

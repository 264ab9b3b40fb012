/*
 * metrics: counters, gauges and histograms, as Prometheus text. Registered once (static tables), updated with
 * relaxed atomics from any thread. Label sets are fixed at registration or bounded by the caller (a route, a
 * workspace within a ceiling).
 */
#ifndef QUERN_BASE_METRICS_H
#define QUERN_BASE_METRICS_H

#include <stdint.h>

#include "base/buf.h"

struct metric;

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* Finds or makes the series `name` + `labels` ("state=\"FINISHED\"" or ""); help is used the first time. Keep
 * the pointer: it lives for ever. Over 4,096 series (or without memory) one shared counter of lost updates is
 * returned. Histograms: seconds, fixed buckets 0.0005 .. 600. */
struct metric *metrics_get(enum metric_kind kind, const char *name, const char *labels, const char *help);
void metric_add(struct metric *m, int64_t n);
void metric_set(struct metric *m, int64_t v);
void metric_observe_ns(struct metric *m, int64_t ns);
int64_t metric_value(const struct metric *m);
/* Appends the whole exposition. */
int metrics_render(struct buf *out);

#endif

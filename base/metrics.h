/* Counters, gauges and histograms, Prometheus names with units. A metric is made once and then updated
 * without locks. */
#pragma once

#include "base/slice.h"
#include <stdatomic.h>
#include <stdint.h>

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
struct metric; /* owned by the registry in metrics.c, lives until the process ends */

/* Finds or makes the metric `name` with up to 3 labels, given as a flat list "k1","v1",...,NULL. `help` is
 * one sentence.
 * @threads any (one lock inside; call once and keep the pointer). */
struct metric *metric_get(enum metric_type type, const char *name, const char *help,
                          const char *const *labels);
void metric_add(struct metric *m, double v); /* counter, gauge */
void metric_set(struct metric *m, double v); /* gauge */
void metric_observe(struct metric *m,
                    double v); /* histogram: fixed exponential buckets 0.0005 .. 300 (seconds) */
double metric_value(const struct metric *m); /* histogram: how many observations */
void metrics_print(struct buf *out);         /* Prometheus text format 0.0.4 */

/* Crosses threads. The lists of families and series only grow, and only under `lock`; printing walks them
 * under it as well. Updates take no lock: a double is kept as its bits in an atomic integer.
 *
 * Text format: Prometheus exposition format 0.0.4. */
#include "base/metrics.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>

static const double bounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                0.5,    1,     2.5,    5,     10,   30,    60,   120, 300};
enum { BOUNDS = sizeof bounds / sizeof *bounds, LABELS_MAX = 3 };

struct metric {
    struct metric *next;
    enum metric_type type;
    char *labels;                         /* k="v",k="v" as printed; "" = none */
    _Atomic uint64_t bits;                /* the double: value, or a histogram's sum */
    _Atomic uint64_t buckets[BOUNDS + 1]; /* not cumulated; the last is +Inf */
};

struct family {
    struct family *next; /* sorted by name, so that the output does not depend on who came first */
    enum metric_type type;
    char *name, *help;
    struct metric *series, **series_end;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct family *families;

/* ---- making ---- */

static bool is_name(const char *name) {
    if (!*name || isdigit((unsigned char)*name))
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '_' && *name != ':')
            return false;
    return true;
}

static void put_escaped(struct buf *out, const char *text, bool quotes) {
    for (; *text; text++) {
        if (*text == '\n') {
            buf_puts(out, "\\n");
            continue;
        }
        if (*text == '\\' || (quotes && *text == '"'))
            buf_putc(out, '\\');
        buf_putc(out, *text);
    }
}

static void put_labels(struct buf *out, const char *const *labels) {
    for (size_t i = 0; labels && labels[i]; i += 2) {
        assert(i < 2 * LABELS_MAX && is_name(labels[i]) && labels[i + 1]);
        buf_printf(out, "%s%s=\"", i ? "," : "", labels[i]);
        put_escaped(out, labels[i + 1], true);
        buf_putc(out, '"');
    }
}

static struct family *family_get(enum metric_type type, const char *name, const char *help) {
    struct family **at = &families;
    while (*at && strcmp((*at)->name, name) < 0)
        at = &(*at)->next;
    if (*at && !strcmp((*at)->name, name)) {
        assert((*at)->type == type);
        return *at;
    }
    struct family *family = xcalloc(1, sizeof *family);
    *family =
        (struct family){.next = *at, .type = type, .name = xstrdup(name), .help = xstrdup(help ? help : "")};
    family->series_end = &family->series;
    *at = family;
    return family;
}

static struct metric *series_get(struct family *family, const char *labels) {
    for (struct metric *m = family->series; m; m = m->next)
        if (!strcmp(m->labels, labels))
            return m;
    struct metric *m = xcalloc(1, sizeof *m);
    m->type = family->type;
    m->labels = xstrdup(labels);
    *family->series_end = m;
    family->series_end = &m->next;
    return m;
}

struct metric *metric_get(enum metric_type type, const char *name, const char *help,
                          const char *const *labels) {
    assert(is_name(name));
    CLEANUP_BUF text = {0};
    put_labels(&text, labels);
    pthread_mutex_lock(&lock);
    struct metric *m = series_get(family_get(type, name, help), buf_cstr(&text));
    pthread_mutex_unlock(&lock);
    return m;
}

/* ---- updating ---- */

static double from_bits(uint64_t bits) {
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint64_t to_bits(double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static void add(struct metric *m, double v) {
    uint64_t old = atomic_load_explicit(&m->bits, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&m->bits, &old, to_bits(from_bits(old) + v),
                                                  memory_order_relaxed, memory_order_relaxed)) {}
}

void metric_add(struct metric *m, double v) {
    assert(m->type == METRIC_GAUGE || (m->type == METRIC_COUNTER && v >= 0));
    add(m, v);
}

void metric_set(struct metric *m, double v) {
    assert(m->type == METRIC_GAUGE);
    atomic_store_explicit(&m->bits, to_bits(v), memory_order_relaxed);
}

void metric_observe(struct metric *m, double v) {
    assert(m->type == METRIC_HISTOGRAM);
    if (isnan(v))
        return; /* it would make the sum useless for ever */
    size_t i = 0;
    while (i < BOUNDS && v > bounds[i])
        i++;
    atomic_fetch_add_explicit(&m->buckets[i], 1, memory_order_relaxed);
    add(m, v);
}

double metric_value(const struct metric *m) {
    if (m->type != METRIC_HISTOGRAM)
        return from_bits(atomic_load_explicit(&m->bits, memory_order_relaxed));
    uint64_t count = 0;
    for (size_t i = 0; i <= BOUNDS; i++)
        count += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
    return (double)count;
}

/* ---- printing ---- */

static const char *type_name(enum metric_type type) {
    switch (type) {
    case METRIC_COUNTER:
        return "counter";
    case METRIC_GAUGE:
        return "gauge";
    case METRIC_HISTOGRAM:
        return "histogram";
    }
    return "untyped";
}

/* The shortest text that reads back as the same number. */
static void put_number(struct buf *out, double v) {
    if (isnan(v) || isinf(v)) {
        buf_puts(out, isnan(v) ? "NaN" : v < 0 ? "-Inf" : "+Inf");
        return;
    }
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    buf_puts(out, text);
}

/* name_suffix{labels,le="0.5"} -- `le` is 0 for none, INFINITY for the last bucket */
static void put_series(struct buf *out, const struct family *f, const char *suffix, const struct metric *m,
                       double le) {
    buf_printf(out, "%s%s", f->name, suffix);
    if (*m->labels || le > 0)
        buf_putc(out, '{');
    buf_puts(out, m->labels);
    if (le > 0) {
        buf_puts(out, *m->labels ? ",le=\"" : "le=\"");
        put_number(out, le);
        buf_putc(out, '"');
    }
    if (*m->labels || le > 0)
        buf_putc(out, '}');
    buf_putc(out, ' ');
}

static void put_histogram(struct buf *out, const struct family *f, const struct metric *m) {
    uint64_t count = 0; /* summed once, so that _count is the +Inf bucket even while others observe */
    for (size_t i = 0; i <= BOUNDS; i++) {
        count += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
        put_series(out, f, "_bucket", m, i < BOUNDS ? bounds[i] : INFINITY);
        buf_printf(out, "%llu\n", (unsigned long long)count);
    }
    put_series(out, f, "_sum", m, 0);
    put_number(out, from_bits(atomic_load_explicit(&m->bits, memory_order_relaxed)));
    buf_putc(out, '\n');
    put_series(out, f, "_count", m, 0);
    buf_printf(out, "%llu\n", (unsigned long long)count);
}

static void put_family(struct buf *out, const struct family *f) {
    buf_printf(out, "# HELP %s ", f->name);
    put_escaped(out, f->help, false);
    buf_printf(out, "\n# TYPE %s %s\n", f->name, type_name(f->type));
    for (const struct metric *m = f->series; m; m = m->next) {
        if (m->type == METRIC_HISTOGRAM) {
            put_histogram(out, f, m);
            continue;
        }
        put_series(out, f, "", m, 0);
        put_number(out, metric_value(m));
        buf_putc(out, '\n');
    }
}

void metrics_print(struct buf *out) {
    pthread_mutex_lock(&lock);
    for (const struct family *f = families; f; f = f->next)
        put_family(out, f);
    pthread_mutex_unlock(&lock);
}

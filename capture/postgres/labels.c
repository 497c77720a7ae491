#include "capture/postgres/labels.h"

#include <string.h>

static bool has_label(const char *const *labels, const char *label) {
    for (; labels && *labels; labels++)
        if (strcmp(*labels, label) == 0)
            return true;
    return false;
}

bool labels_lost(const char *const *old, const char *const *now) {
    for (; old && *old; old++)
        if (!has_label(now, *old))
            return true;
    return false;
}

bool labels_same(const char *const *a, const char *const *b) {
    while (a && b && *a && *b && strcmp(*a, *b) == 0)
        a++, b++;
    return a && b && !*a && !*b;
}

static size_t count_labels(const char *const *labels) {
    size_t n = 0;
    while (labels && labels[n])
        n++;
    return n;
}

const char *const *labels_join(const char *const *today, const char *const *old, const char *label,
                               struct arena *arena) {
    size_t n = count_labels(today);
    const char **labels = arena_zalloc(arena, sizeof *labels * (n + count_labels(old) + 2));
    if (n)
        memcpy(labels, today, sizeof *labels * n);
    for (; old && *old; old++)
        if (!has_label(labels, *old))
            labels[n++] = *old;
    if (!has_label(labels, label))
        labels[n++] = label;
    return labels;
}

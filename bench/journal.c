/* The embedded journal alone: changes of 200 bytes appended in transactions, each with its fsync, and read
 * back.
 *
 *   bench_journal DIRECTORY CHANGES BATCH both|append|read|single
 *
 * Prints one line of JSON. `both`: a reader follows the writer in a thread of its own and the time ends with
 * its last change. `single`: one change in a transaction, how long a commit takes, and how long until a
 * waiting reader has it. */
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/config.h"
#include "base/log.h"
#include "journal/journal_table.h"

#define CHANGE_BYTES 200
#define WARM         200 /* changes, before which a reader may still look for the file */
#define PARTITIONS   4
#define TOPIC        "bench.public.t"

static const struct journal_ops *const ops = &embedded_journal;
static struct stop stop;
static const struct journal_env env = {&clock_system, &stop};

struct bench {
    struct journal *journal;
    int64_t changes, batch;
    int64_t *latencies_us, *sent_us; /* single: of commits; when each change was appended */
    int64_t *seen_us;
    int64_t read;
};

static void must(enum code code, const struct err *err) {
    if (code == OK)
        return;
    fprintf(stderr, "bench_journal: %s\n", err->text);
    exit(1);
}

static struct journal *journal_of(const char *directory, struct arena *arena) {
    struct err err = {0};
    struct config_node *map;
    struct journal *journal;
    CLEANUP_BUF yaml = {0};
    void *options = arena_zalloc(arena, ops->options->size);
    buf_printf(&yaml, "path: \"%s/bench.journal\"\ntopic_prefix: bench\npartitions: %d\n", directory,
               PARTITIONS);
    must(config_read_text(buf_slice(&yaml), "bench", arena, &map, &err), &err);
    must(option_fill(ops->options, map, options, arena, &err), &err);
    must(ops->open(options, NULL, &journal, &err), &err);
    return journal;
}

/* ---- writing ---- */

static void commit(struct bench *b, struct journal_writer *w, int64_t position) {
    struct err err = {0};
    struct commit_record record = {.position = {1, (uint64_t)position, 0}, .boundary = true, .state = "{}"};
    enum code code;
    (void)b;
    while ((code = ops->commit(w, &record, 100, &err)) == AGAIN)
        ;
    must(code, &err);
}

static void append_all(struct bench *b) {
    struct err err = {0};
    struct arena arena = {0};
    struct journal_writer *w;
    struct commit_record *last;
    char value[CHANGE_BYTES - 8], key[9];
    int topic, partitions;
    memset(value, 'v', sizeof value);
    must(ops->writer_open(b->journal, &env, "bench", 20000, &w, &arena, &last, &err), &err);
    must(ops->topic(w, &(struct topic_spec){TOPIC, true, true}, &topic, &partitions, &err), &err);
    for (int64_t i = 0; i < b->changes; i++) {
        enum code code;
        snprintf(key, sizeof key, "%08" PRId64, i % 100000000);
        struct journal_header header = {"millrace", slice_of("0123456789abcdef")};
        struct journal_append a = {
            topic, (int)(i % partitions), slice_make(key, 8), slice_make(value, sizeof value), &header, 1};
        int64_t begun = clock_mono(&clock_system);
        if (b->sent_us)
            b->sent_us[i] = begun;
        while ((code = ops->append(w, &a, &err)) == AGAIN)
            must(ops->writer_poll(w, 100, &err), &err);
        must(code, &err);
        if ((i + 1) % b->batch == 0 || i + 1 == b->changes)
            commit(b, w, i + 1);
        if (b->latencies_us) {
            b->latencies_us[i] = clock_mono(&clock_system) - begun;
            stop_poll(NULL, NULL, 0, clock_mono(&clock_system), begun + 2000);
        }
    }
    ops->writer_close(w);
    arena_free(&arena);
}

/* ---- reading ---- */

static void read_window(struct bench *b, struct journal_reader *r, int *streams,
                        const struct commit_record *record) {
    struct err err = {0};
    for (int i = 0; i < record->n_ends; i++) {
        const struct partition_end *end = &record->ends[i];
        struct journal_record got;
        enum code code = OK;
        if (streams[end->partition] < 0)
            must(ops->stream_open(r, TOPIC, end->partition, 0, &streams[end->partition], &err), &err);
        while ((code = ops->stream_next(r, streams[end->partition], end->offset, &got, &err)) == OK &&
               got.offset <= end->offset) {
            assert(got.value.len == CHANGE_BYTES - 8);
            if (b->seen_us)
                b->seen_us[b->read] = clock_mono(&clock_system);
            b->read++;
        }
        must(code, &err);
    }
}

static void *read_all(void *arg) {
    struct bench *b = arg;
    struct err err = {0};
    struct arena arena = {0};
    struct journal_reader *r;
    int streams[PARTITIONS] = {-1, -1, -1, -1};
    must(ops->reader_open(b->journal, &env, 20000, &r, &err), &err);
    while (b->read < b->changes) {
        struct commit_record *record;
        int64_t offset;
        arena_reset(&arena);
        enum code code = ops->commits_next(r, &arena, &record, &offset, &err);
        if (code == AGAIN)
            must(ops->reader_wait(r, 500, &err), &err);
        else
            must(code, &err);
        if (code == OK)
            read_window(b, r, streams, record);
    }
    ops->reader_close(r);
    arena_free(&arena);
    return NULL;
}

/* ---- figures ---- */

static int by_size(const void *a, const void *b) {
    const int64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static double at_ms(int64_t *us, int64_t n, double part) {
    if (n > 2 * WARM) {
        us += WARM;
        n -= WARM;
    }
    qsort(us, (size_t)n, sizeof *us, by_size);
    return (double)us[(int64_t)((double)(n - 1) * part)] / 1e3;
}

/* getrusage would tell of the process that started this one, too. */
static double rss_mb(void) {
    char line[128];
    double kb = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (strncmp(line, "VmHWM:", 6) == 0)
            kb = strtod(line + 6, NULL);
    if (status)
        fclose(status);
    return kb / 1024;
}

static void print(const struct bench *b, const char *what, int64_t begun) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double seconds = (double)(clock_mono(&clock_system) - begun) / 1e6;
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    printf("{\"what\":\"%s\",\"changes\":%" PRId64 ",\"batch\":%" PRId64
           ",\"seconds\":%.3f,\"changes_per_s\":%.0f,\"cpu_s\":%.3f,\"rss_mb\":%.1f",
           what, b->changes, b->batch, seconds, (double)b->changes / seconds, cpu, rss_mb());
    if (b->latencies_us) {
        for (int64_t i = 0; i < b->changes; i++)
            b->seen_us[i] -= b->sent_us[i];
        printf(",\"commit_p50_ms\":%.2f,\"commit_p99_ms\":%.2f", at_ms(b->latencies_us, b->changes, .5),
               at_ms(b->latencies_us, b->changes, .99));
        printf(",\"seen_p50_ms\":%.2f,\"seen_p99_ms\":%.2f", at_ms(b->seen_us, b->changes, .5),
               at_ms(b->seen_us, b->changes, .99));
    }
    printf("}\n");
}

int main(int argc, char **argv) {
    struct arena arena = {0};
    pthread_t reader;
    if (argc != 5) {
        fprintf(stderr, "usage: bench_journal DIRECTORY CHANGES BATCH both|append|read|single\n");
        return 2;
    }
    stop_init(&stop);
    log_setup(LOG_WARN, false);
    struct bench b = {journal_of(argv[1], &arena), strtoll(argv[2], NULL, 10), strtoll(argv[3], NULL, 10)};
    bool single = strcmp(argv[4], "single") == 0, both = single || strcmp(argv[4], "both") == 0;
    if (single) {
        b.batch = 1;
        b.latencies_us = xcalloc((size_t)b.changes, sizeof *b.latencies_us);
        b.sent_us = xcalloc((size_t)b.changes, sizeof *b.sent_us);
        b.seen_us = xcalloc((size_t)b.changes, sizeof *b.seen_us);
    }
    int64_t begun = clock_mono(&clock_system);
    if (both && pthread_create(&reader, NULL, read_all, &b) != 0)
        return 1;
    if (strcmp(argv[4], "read") == 0)
        read_all(&b);
    else
        append_all(&b);
    if (both)
        pthread_join(reader, NULL);
    print(&b, argv[4], begun);
    free(b.latencies_us);
    free(b.sent_us);
    free(b.seen_us);
    ops->close(b.journal);
    arena_free(&arena);
    stop_free(&stop);
    return 0;
}

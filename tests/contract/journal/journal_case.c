#include "journal_case.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/config.h"
#include "base/log.h"
#include "journal/journal_table.h"

struct stop stop;
const struct journal_env env = {&clock_system, &stop};
const struct journal_ops *ops;
const struct fixture *fixture;

static const struct fixture *const fixtures[] = {&kafka_fixture, &embedded_fixture};

/* ---- one case's world ---- */

struct journal *open_journal(struct world *w, struct buf *yaml) {
    struct config_node *map;
    struct journal *journal;
    void *options = arena_zalloc(&w->arena, ops->options->size);
    assert_int_equal(config_read_text(buf_slice(yaml), "test", &w->arena, &map, &w->err), OK);
    if (option_fill(ops->options, map, options, &w->arena, &w->err) != OK)
        fail_msg("%s", w->err.text);
    if (ops->open(options, NULL, &journal, &w->err) != OK)
        fail_msg("%s", w->err.text);
    return journal;
}

struct journal *journal_with(struct world *w, const char *extra) {
    CLEANUP_BUF yaml = {0};
    fixture->options(&yaml, w->prefix, extra);
    return open_journal(w, &yaml);
}

int world_open(void **state) {
    struct world *w = xcalloc(1, sizeof *w);
    uint64_t random;
    assert_int_equal(getrandom(&random, sizeof random, 0), sizeof random);
    snprintf(w->prefix, sizeof w->prefix, "contract-%016" PRIx64, random);
    w->journal = journal_with(w, "");
    *state = w;
    return 0;
}

int world_close(void **state) {
    struct world *w = *state;
    ops->close(w->journal);
    arena_free(&w->arena);
    free(w);
    return 0;
}

/* ---- writing ---- */

struct journal_writer *writer_of(struct world *w, struct journal *journal) {
    struct journal_writer *writer = NULL;
    MUST(w, ops->writer_open(journal, &env, "shop", WAIT_MS, &writer, &w->arena, &w->last, &w->err));
    return writer;
}

struct journal_writer *writer(struct world *w) {
    return writer_of(w, w->journal);
}

const char *name_of(struct world *w, const char *table) {
    return arena_printf(&w->arena, "%s.%s", w->prefix, table);
}

int topic(struct world *w, struct journal_writer *writer, const char *table, bool keyed, bool compacted) {
    struct topic_spec spec = {name_of(w, table), keyed, compacted};
    int number, partitions;
    MUST(w, ops->topic(writer, &spec, &number, &partitions, &w->err));
    return number;
}

enum code append_text(struct world *w, struct journal_writer *writer, int topic, int partition,
                      const char *key, const char *value) {
    struct journal_append a = {topic, partition, slice_of(key), slice_of(value), NULL, 0};
    enum code code;
    for (int i = 0; (code = ops->append(writer, &a, &w->err)) == AGAIN && i < 100; i++)
        if ((code = ops->writer_poll(writer, 100, &w->err)) != OK)
            break;
    return code;
}

void append(struct world *w, struct journal_writer *writer, int topic, int partition, const char *value) {
    MUST(w, append_text(w, writer, topic, partition, "key", value));
}

enum code try_commit(struct world *w, struct journal_writer *writer, struct commit_record *record) {
    enum code code;
    *record =
        (struct commit_record){.position = {1, ++w->commit, 0}, .boundary = true, .ts_us = 1, .state = "{}"};
    for (int i = 0; (code = ops->commit(writer, record, 100, &w->err)) == AGAIN && i < 600; i++)
        ;
    return code;
}

struct commit_record commit(struct world *w, struct journal_writer *writer) {
    struct commit_record record;
    MUST(w, try_commit(w, writer, &record));
    return record;
}

int64_t end_of(const struct commit_record *r, const char *topic, int partition) {
    for (int i = 0; i < r->n_ends; i++)
        if (strcmp(r->topics[r->ends[i].topic].name, topic) == 0 && r->ends[i].partition == partition)
            return r->ends[i].offset;
    return -1;
}

/* ---- reading ---- */

struct journal_reader *reader(struct world *w) {
    struct journal_reader *r = NULL;
    MUST(w, ops->reader_open(w->journal, &env, WAIT_MS, &r, &w->err));
    return r;
}

struct commit_record *next_commit(struct world *w, struct journal_reader *r) {
    struct commit_record *record = NULL;
    int64_t offset;
    enum code code;
    for (int i = 0; (code = ops->commits_next(r, &w->arena, &record, &offset, &w->err)) == AGAIN && i < 200;
         i++)
        MUST(w, ops->reader_wait(r, 100, &w->err));
    MUST(w, code);
    return record;
}

struct journal_record next(struct world *w, struct journal_reader *r, int stream, int64_t last) {
    struct journal_record record;
    enum code code;
    for (int i = 0; (code = ops->stream_next(r, stream, last, &record, &w->err)) == AGAIN && i < 200; i++)
        MUST(w, ops->reader_wait(r, 100, &w->err));
    MUST(w, code);
    return record;
}

int stream(struct world *w, struct journal_reader *r, const char *table, int partition, int64_t offset) {
    int s = -1;
    MUST(w, ops->stream_open(r, name_of(w, table), partition, offset, &s, &w->err));
    return s;
}

void assert_text(struct slice got, const char *want) {
    if (!slice_is(got, want))
        fail_msg("got '%.*s', want '%s'", (int)got.len, got.data, want);
}

/* ---- walking the table ---- */

bool choose_journal(const char *kind) {
    ops = NULL;
    fixture = NULL;
    for (int i = 0; journal_table[i]; i++)
        if (strcmp(journal_table[i]->options->name, kind) == 0)
            ops = journal_table[i];
    for (size_t i = 0; i < sizeof fixtures / sizeof *fixtures; i++)
        if (strcmp(fixtures[i]->kind, kind) == 0)
            fixture = fixtures[i];
    return ops && fixture;
}

int walk_journals(int argc, char **argv, const struct CMUnitTest *tests, size_t n) {
    int failed = 0;
    stop_init(&stop);
    log_setup(getenv("MILLRACE_TEST_DEBUG") ? LOG_DEBUG : LOG_ERROR, false);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    for (int i = 0; journal_table[i]; i++) {
        const char *kind = journal_table[i]->options->name;
        if (!choose_journal(kind)) {
            fprintf(stderr, "there is no fixture for journal '%s'\n", kind);
            failed++;
        } else if (!getenv(fixture->variable)) {
            fprintf(stderr, "%s is not set: where is the %s journal for the tests?\n", fixture->variable,
                    kind);
            failed++;
        } else {
            failed += _cmocka_run_group_tests(kind, tests, n, NULL, NULL);
        }
    }
    stop_free(&stop);
    return failed;
}

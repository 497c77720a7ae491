/* The crank between a source and a journal that are both written down here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "capture/capture.h"

static struct value row[] = {{VALUE_INT, {.i = 1}}};
static struct column columns[] = {
    {.name = "id", .type = "bigint", .kind = KIND_INT64, .length = -1, .key = 1}};
static int key[] = {0};
static struct user_type no_types[1];
static struct table table = {.schema = "public",
                             .name = "t",
                             .columns = columns,
                             .n_columns = 1,
                             .key = key,
                             .n_key = 1,
                             .types = no_types,
                             .digest = 7};

/* What the source tells, and what the journal was told. */
static const struct source_item *script;
static int n_script, at, n_records;
static size_t n_bytes;
static struct commit_record records[16];
static struct commit_record found;

static const char *database(const void *options) {
    (void)options;
    return "db";
}
static enum code source_open(const void *o, const struct source_env *e, const struct source_resume *r,
                             struct source **ret, struct err *err) {
    static struct source source;
    (void)o, (void)e, (void)r, (void)err;
    *ret = &source;
    return OK;
}
static enum code source_vacant(const void *o, const struct source_env *e, struct err *err) {
    (void)o, (void)e, (void)err;
    return OK;
}
static enum code source_next(struct source *s, struct source_item *ret, struct err *err) {
    (void)s, (void)err;
    if (at == n_script)
        return AGAIN;
    *ret = script[at++];
    ret->change.position = ret->position;
    return OK;
}
static enum code source_service(struct source *s, struct err *err) {
    (void)s, (void)err;
    return OK;
}
static uint64_t source_mark(struct source *s, struct buf *state) {
    (void)s;
    buf_puts(state, "{}");
    return 1;
}
static enum code source_confirm(struct source *s, uint64_t m, struct err *err) {
    (void)s, (void)m, (void)err;
    return OK;
}
static void source_close(struct source *s) {
    (void)s;
}
static uint64_t lag(struct source *s) {
    (void)s;
    return 0;
}
static const struct source_ops source = {.connector = "postgresql",
                                         .database = database,
                                         .vacant = source_vacant,
                                         .open = source_open,
                                         .next = source_next,
                                         .service = source_service,
                                         .mark = source_mark,
                                         .confirm = source_confirm,
                                         .close = source_close,
                                         .lag_bytes = lag,
                                         .held_bytes = lag};

static const char *prefix(const struct journal *j) {
    (void)j;
    return "shop";
}
static enum code writer_open(struct journal *j, const struct journal_env *e, const char *s, int64_t w,
                             struct journal_writer **ret, struct arena *a, struct commit_record **last,
                             struct err *err) {
    (void)j, (void)e, (void)s, (void)w, (void)a, (void)err;
    *ret = (struct journal_writer *)&found;
    *last = found.seq ? &found : NULL;
    return OK;
}
static enum code topic(struct journal_writer *w, const struct topic_spec *s, int *ret, int *partitions,
                       struct err *err) {
    (void)w, (void)s, (void)err;
    *ret = 0;
    *partitions = 1;
    return OK;
}
static enum code append(struct journal_writer *w, const struct journal_append *r, struct err *err) {
    (void)w, (void)err;
    n_bytes += r->key.len + r->value.len;
    return OK;
}
static int n_commits, commits_refused;
static enum code commit(struct journal_writer *w, struct commit_record *r, int64_t wait, struct err *err) {
    (void)w, (void)wait, (void)err;
    if (n_commits++ < commits_refused)
        return AGAIN;
    records[n_records++ % 16] = *r;
    return OK;
}
static enum code poll_(struct journal_writer *w, int64_t wait, struct err *err) {
    (void)w, (void)wait, (void)err;
    return OK;
}
static void writer_close(struct journal_writer *w) {
    (void)w;
}
static const struct journal_ops journal_ops = {.prefix = prefix,
                                               .writer_open = writer_open,
                                               .topic = topic,
                                               .append = append,
                                               .commit = commit,
                                               .writer_poll = poll_,
                                               .writer_close = writer_close};
static struct journal journal = {&journal_ops};

static enum code put(struct schema_store *s, const char *subject, struct slice json, uint32_t *id,
                     struct err *err) {
    (void)s, (void)subject, (void)json, (void)err;
    *id = 1;
    return OK;
}
static void store_free(struct schema_store *s) {
    (void)s;
}
static enum code schemas(void *arg, struct journal_writer *w, struct schema_store **ret, struct err *err) {
    static struct schema_store store = {.put = put, .free = store_free};
    (void)arg, (void)w, (void)err;
    *ret = &store;
    return OK;
}

static int64_t now_us;
static int64_t now(void *arg) {
    (void)arg;
    return now_us;
}

/* Takes all of the script, `us` after another, until the source has nothing more and nothing is due. */
static void run(const struct source_item *items, int n, int64_t batch_bytes, int64_t us) {
    struct clock clock = {.mono_us = now, .wall_us = now};
    struct capture_config config = {batch_bytes, 200};
    struct capture_env env = {.clock = &clock,
                              .source = &source,
                              .source_name = "shop",
                              .journal = &journal,
                              .schemas = schemas,
                              .config = &config};
    struct capture *c;
    struct err err = {0};
    script = items;
    n_script = n;
    at = n_records = 0;
    n_bytes = 0;
    assert_int_equal(capture_open(&env, &c, &err), OK);
    for (int i = 0; i < 100; i++) {
        enum code code = capture_step(c, &err);
        assert_true(code == OK || code == AGAIN);
        now_us += us;
    }
    capture_close(c);
}

#define CHANGE(lsn, n)                                            \
    {                                                             \
        .type = ITEM_CHANGE, .position = {1, lsn, n}, .change = { \
            .op = lsn ? OP_CREATE : OP_READ,                      \
            .table = &table,                                      \
            .after = row                                          \
        }                                                         \
    }
#define COMMIT(lsn, n)                                 \
    {                                                  \
        .type = ITEM_COMMIT, .position = { 1, lsn, n } \
    }
#define N(items) (int)(sizeof items / sizeof *items)

static void a_batch_that_is_full_takes_the_commit_that_follows(void **state) {
    static const struct source_item items[] = {CHANGE(10, 1), COMMIT(10, 1)};
    (void)state;
    run(items, N(items), 1 << 20, 1000);
    int64_t bytes = (int64_t)n_bytes;
    run(items, N(items), bytes, 1000);
    assert_int_equal(n_records, 1);
    assert_true(records[0].boundary);
    run(items, N(items), bytes / 2, 1000); /* far above the limit: cut at once, and the boundary by itself */
    assert_int_equal(n_records, 2);
    assert_true(!records[0].boundary && records[1].boundary);
}

static void a_boundary_after_a_cut_is_told_at_once(void **state) {
    static const struct source_item items[] = {CHANGE(10, 1), CHANGE(10, 2), COMMIT(10, 2)};
    (void)state;
    run(items, N(items), 1,
        1000); /* every change is a batch of its own, and nothing is left for the last commit */
    assert_int_equal(n_records, 3);
    assert_false(records[1].boundary);
    assert_true(records[2].boundary && records[2].position.commit == 10 && records[2].position.ordinal == 2);
}

static void a_boundary_that_a_crash_left_untold_is_told_at_the_next_start(void **state) {
    static const struct source_item items[] = {COMMIT(10, 2)};
    (void)state;
    found = (struct commit_record){.seq = 5, .position = {1, 10, 2}, .state = "{}"};
    run(items, N(items), 1000, 1000);
    found.seq = 0;
    assert_int_equal(n_records, 1);
    assert_true(records[0].boundary && records[0].position.ordinal == 2);
}

static void a_snapshot_is_recorded_before_the_stream_begins(void **state) {
    static const struct source_item items[] = {CHANGE(0, 1), COMMIT(0, 1), CHANGE(10, 1), COMMIT(10, 1)};
    (void)state;
    run(items, N(items), 1 << 20, 1000);
    assert_int_equal(n_records, 2);
    assert_true(records[0].boundary && records[0].position.commit == 0);
}

static void a_transaction_ends_in_time_however_slow_the_changes_come(void **state) {
    static struct table tables[40];
    static struct source_item items[40];
    (void)state;
    for (int i = 0; i < 40; i++) {
        tables[i] = table;
        items[i] = (struct source_item)CHANGE(10, (uint64_t)i + 1);
        items[i].change.table = &tables[i]; /* each needs a topic, which takes a second */
    }
    run(items, N(items), 1 << 20, 1000000);
    assert_true(n_records >= 3);
}

static void the_end_waits_for_a_journal_that_does_not_without_spinning(void **state) {
    static const struct source_item items[] = {CHANGE(10, 1), COMMIT(10, 1)};
    struct capture_config config = {1 << 20, 200};
    struct capture_env env = {.clock = &clock_system,
                              .source = &source,
                              .source_name = "shop",
                              .journal = &journal,
                              .schemas = schemas,
                              .config = &config};
    struct capture *c;
    struct err err = {0};
    (void)state;
    script = items;
    n_script = N(items);
    at = n_commits = 0;
    commits_refused = 1 << 30;
    assert_int_equal(capture_open(&env, &c, &err), OK);
    for (int i = 0; i < 3; i++) {
        enum code code = capture_step(c, &err);
        assert_true(code == OK || code == AGAIN);
    }
    n_commits = 0;
    assert_int_equal(capture_finish(c, 100, &err), RETRY);
    assert_in_range(n_commits, 2, 30);
    commits_refused = 0;
    assert_int_equal(capture_finish(c, 100, &err), OK);
    capture_close(c);
}

static void what_the_source_wants_told_at_once_is_told_in_the_middle_of_a_transaction(void **state) {
    static const struct source_item items[] = {
        CHANGE(10, 1), {.type = ITEM_IDLE, .urgent = true}, CHANGE(10, 2), COMMIT(10, 2)};
    (void)state;
    run(items, N(items), 1 << 20, 1000);
    assert_int_equal(n_records, 2);
    assert_true(!records[0].boundary && records[0].position.ordinal == 1);
}

int main(void) {
    log_setup(LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_that_is_full_takes_the_commit_that_follows),
        cmocka_unit_test(a_boundary_after_a_cut_is_told_at_once),
        cmocka_unit_test(a_boundary_that_a_crash_left_untold_is_told_at_the_next_start),
        cmocka_unit_test(a_snapshot_is_recorded_before_the_stream_begins),
        cmocka_unit_test(a_transaction_ends_in_time_however_slow_the_changes_come),
        cmocka_unit_test(the_end_waits_for_a_journal_that_does_not_without_spinning),
        cmocka_unit_test(what_the_source_wants_told_at_once_is_told_in_the_middle_of_a_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What is kept, and what goes: compaction, retention, the budget; with readers in the middle of it. */
#include <stdio.h>
#include <sys/stat.h>

#include "base/log.h"
#include "embedded_help.h"

#define HOUR_MS 3600000

/* One pass, as the upkeep of the newest writer would make it at `now_us`. */
static void pass_at(struct world *w, int64_t now_us, int64_t full_at, bool hurry) {
    struct store store;
    MUST(w, store_open(&store, embedded_of(w->journal), &world_env, STORE_UPKEEP, INT64_MAX, &w->err));
    struct upkeep_pass pass = {
        .store = &store,
        .epoch = world_number(w, "SELECT epoch FROM pipeline"),
        .now_us = now_us,
        .full_at = full_at,
        .hurry = hurry,
        .deadline_us = INT64_MAX,
    };
    MUST(w, upkeep_retain(&pass, &w->err));
    MUST(w, upkeep_compact(&pass, &w->err));
    store_close(&store);
}

static int64_t now(void) {
    return clock_wall(&clock_system);
}

static struct journal_writer *writer_with(struct world *w, int64_t lag_ms, int64_t deletes_ms) {
    w->options.compaction_lag_ms = lag_ms;
    w->options.delete_retention_ms = deletes_ms;
    world_configure(w);
    return world_writer(w);
}

static void the_newest_record_of_each_key_remains_where_it_was(void **state) {
    struct world *w = *state;
    struct journal_writer *writer = writer_with(w, HOUR_MS, HOUR_MS);
    int t = world_topic(w, writer, "a", true), h = world_topic(w, writer, "h", false);
    for (int i = 0; i < 3; i++) {
        world_append(w, writer, t, 0, "x", i == 0 ? "0" : i == 1 ? "1" : "2");
        world_append(w, writer, t, 0, i == 1 ? "y" : "z", "v");
        world_append(w, writer, h, 0, "x", "kept");
        world_commit(w, writer);
    }
    const char *before = world_dump(w, "a", 0, 0);
    pass_at(w, now() + (HOUR_MS - 60000) * INT64_C(1000), 0, false); /* too young */
    assert_string_equal(world_dump(w, "a", 0, 0), before);
    pass_at(w, now() + (HOUR_MS + 60000) * INT64_C(1000), 0, false);
    assert_string_equal(world_dump(w, "a", 0, 0), "3:y=v 4:x=2 5:z=v ");
    assert_string_equal(world_dump(w, "a", 0, 4), "4:x=2 5:z=v ");
    assert_string_equal(world_dump(w, "h", 0, 0), "0:x=kept 1:x=kept 2:x=kept ");
    world_append(w, writer, t, 0, "y", "w"); /* and so on */
    world_commit(w, writer);
    pass_at(w, now() + 3 * HOUR_MS * INT64_C(1000), 0, true);
    assert_string_equal(world_dump(w, "a", 0, 0), "4:x=2 5:z=v 6:y=w ");
    embedded_writer_close(writer);
}

/* A delete stays for delete_retention after the rows before it went, however old it was by then. */
static void deletes_are_remembered_for_long_enough(void **state) {
    struct world *w = *state;
    struct journal_writer *writer = writer_with(w, HOUR_MS, 2 * HOUR_MS);
    int t = world_topic(w, writer, "a", true);
    int64_t hour_us = HOUR_MS * INT64_C(1000), begun = now();
    world_append(w, writer, t, 0, "x", "1");
    world_append(w, writer, t, 0, "y", "1");
    MUST(w, world_try_append(w, writer, t, 0, "x", (struct slice){0}));
    world_commit(w, writer);
    pass_at(w, begun + 50 * hour_us, 0, true);
    assert_string_equal(world_dump(w, "a", 0, 0), "1:y=1 2:x! ");
    world_append(w, writer, t, 0, "z", "1");
    world_commit(w, writer);
    pass_at(w, begun + 51 * hour_us, 0, true);
    assert_string_equal(world_dump(w, "a", 0, 0), "1:y=1 2:x! 3:z=1 ");
    world_append(w, writer, t, 0, "z", "2");
    world_commit(w, writer);
    pass_at(w, begun + 53 * hour_us, 0, true);
    assert_string_equal(world_dump(w, "a", 0, 0), "1:y=1 4:z=2 ");
    embedded_writer_close(writer);
}

/* More keys than fit into the memory of one run, in chunks of all sizes, while a reader is in the middle. */
static void many_keys_are_compacted_in_several_runs(void **state) {
    enum { KEYS = 300000, ROUNDS = 2 };
    struct world *w = *state;
    struct journal_writer *writer = writer_with(w, HOUR_MS, HOUR_MS);
    struct journal_reader *r;
    struct journal_record record;
    int t = world_topic(w, writer, "a", true), s, seen = 0;
    char key[32];
    enum code code;
    for (int i = 0; i < KEYS * ROUNDS; i++) {
        snprintf(key, sizeof key, "key-of-some-length-%d", i % KEYS);
        world_append(w, writer, t, 0, key, i < KEYS ? "old" : "new");
        if (i % 50000 == 0)
            world_commit(w, writer);
    }
    world_commit(w, writer);
    r = world_reader(w);
    MUST(w, embedded_stream_open(r, "t.a", 0, 0, &s, &w->err));
    for (int i = 0; i < 1000; i++)
        MUST(w, embedded_stream_next(r, s, INT64_MAX, &record, &w->err));
    pass_at(w, now() + 2 * HOUR_MS * INT64_C(1000), 0, true);
    assert_true(world_number(w, "SELECT count(*) FROM cleanings") > 1);
    for (int64_t before = record.offset;
         (code = embedded_stream_next(r, s, INT64_MAX, &record, &w->err)) == OK; seen++) {
        assert_true(record.offset > before);
        before = record.offset;
        if (before >= KEYS) {
            snprintf(key, sizeof key, "key-of-some-length-%d", (int)(before % KEYS));
            assert_true(slice_is(record.key, key) && slice_is(record.value, "new"));
        }
    }
    assert_int_equal(code, AGAIN);
    assert_true(seen >= KEYS && seen < KEYS + KEYS / 16 + 10000); /* the rest is not worth a run */
    assert_int_equal(world_number(w, "SELECT count(*) FROM chunks WHERE bytes < 10000 AND part = 2") > 20, 0);
    embedded_reader_close(r);
    embedded_writer_close(writer);
}

static void old_history_goes_and_who_needs_it_is_told(void **state) {
    struct world *w = *state;
    w->options.retention_ms = HOUR_MS;
    struct journal_writer *writer = writer_with(w, HOUR_MS, HOUR_MS);
    struct journal_reader *r;
    struct journal_record record;
    int h = world_topic(w, writer, "h", false), s, behind;
    for (int i = 0; i < 200; i++) {
        world_append(w, writer, h, 0, "k", "v");
        world_commit(w, writer);
    }
    r = world_reader(w);
    MUST(w, embedded_stream_open(r, "t.h", 0, 0, &behind, &w->err));
    MUST(w, embedded_stream_next(r, behind, INT64_MAX, &record, &w->err));
    world_sql(w, "UPDATE chunks SET ts_us = 1 WHERE last < 150"); /* long ago; their checksum knows, nobody
                                                                     reads them */
    pass_at(w, now(), 0, false);
    assert_int_equal(world_number(w, "SELECT low FROM partitions WHERE id = 2"), 150);
    REFUSED(w, embedded_stream_next(r, behind, INT64_MAX, &record, &w->err), FATAL, JOURNAL_GAP);
    REFUSED(w, embedded_stream_open(r, "t.h", 0, 149, &s, &w->err), FATAL, JOURNAL_GAP);
    MUST(w, embedded_stream_open(r, "t.h", 0, 150, &s, &w->err));
    MUST(w, embedded_stream_next(r, s, INT64_MAX, &record, &w->err));
    assert_int_equal(record.offset, 150);
    embedded_reader_close(r);
    embedded_writer_close(writer);
    writer = world_writer(w); /* the ends are as they were */
    struct commit_record c = world_commit(w, writer);
    assert_int_equal(world_end(&c, "t.h", 0), 199);
    embedded_writer_close(writer);
}

static void too_much_history_goes_from_its_beginning(void **state) {
    struct world *w = *state;
    w->options.retention_bytes = 1 << 20;
    struct journal_writer *writer = writer_with(w, HOUR_MS, HOUR_MS);
    int a = world_topic(w, writer, "a", false), b = world_topic(w, writer, "b", false),
        k = world_topic(w, writer, "k", true);
    CLEANUP_BUF value = {0};
    for (int i = 0; i < 2000; i++)
        buf_puts(&value, "0123456789");
    for (int i = 0; i < 60; i++) {
        MUST(w, world_try_append(w, writer, a, 0, "k", buf_slice(&value)));
        MUST(w, world_try_append(w, writer, b, 0, "k", buf_slice(&value)));
        MUST(w, world_try_append(w, writer, k, 0, "k", buf_slice(&value)));
        world_commit(w, writer);
    }
    pass_at(w, now(), 0, false);
    int64_t left = world_number(w, "SELECT sum(bytes) FROM chunks WHERE part IN (2, 4)");
    assert_true(left <= 1 << 20 && left > (1 << 20) - 50000);
    int64_t low_a = world_number(w, "SELECT low FROM partitions WHERE id = 2"),
            low_b = world_number(w, "SELECT low FROM partitions WHERE id = 4");
    assert_true(low_a > 20 && low_b > 20 && low_a - low_b <= 16 && low_b - low_a <= 16);
    assert_int_equal(world_number(w, "SELECT count(*) FROM chunks WHERE part = 6"), 60);
    embedded_writer_close(writer);
}

static void old_commit_records_go_but_for_those_that_are_needed(void **state) {
    struct world *w = *state;
    struct journal_writer *writer = writer_with(w, HOUR_MS, HOUR_MS);
    struct journal_reader *r;
    struct commit_record *record;
    int t = world_topic(w, writer, "a", true);
    int64_t offset, full = -1;
    uint64_t full_seq = 0;
    for (int i = 0; i < 50; i++) {
        world_append(w, writer, t, i % 2, "k", "v");
        struct commit_record c = world_commit(w, writer);
        if (c.full) {
            full = i;
            full_seq = c.seq;
        }
    }
    pass_at(w, now() + 2 * HOUR_MS * INT64_C(1000), full, false);
    r = world_reader(w);
    MUST(w, embedded_commits_next(r, &w->arena, &record, &offset, &w->err));
    assert_int_equal(record->seq, full_seq);
    MUST(w, embedded_commits_seek(r, 3, &w->err)); /* no gap: it goes on at the full one */
    MUST(w, embedded_commits_next(r, &w->arena, &record, &offset, &w->err));
    assert_int_equal(record->seq, full_seq);
    embedded_reader_close(r);
    embedded_writer_close(writer);
    writer = world_writer(w);
    assert_int_equal(w->last->seq, 50);
    struct commit_record c = world_commit(w, writer);
    assert_int_equal(world_end(&c, "t.a", 0), 24);
    assert_int_equal(world_end(&c, "t.a", 1), 24);
    embedded_writer_close(writer);
}

static void fill(struct world *w, struct journal_writer *writer, int t, struct slice value, enum code *ret,
                 int *n) {
    struct commit_record record;
    char key[16];
    *ret = OK;
    while (*ret == OK) {
        snprintf(key, sizeof key, "%d", *n % 4);
        if ((*ret = world_try_append(w, writer, t, 0, key, value)) == OK)
            *ret = world_try_commit(w, writer, &record);
        *n += *ret == OK;
    }
}

static void at_the_budget_capture_waits_and_goes_on_when_there_is_room(void **state) {
    struct world *w = *state;
    w->options.budget_bytes = 1 << 20;
    w->options.record_bytes = 65536;
    struct journal_writer *writer = writer_with(w, HOUR_MS, HOUR_MS);
    struct commit_record record;
    CLEANUP_BUF value = {0};
    enum code code;
    int t = world_topic(w, writer, "a", true), n = 0;
    for (int i = 0; i < 1000; i++)
        buf_puts(&value, "0123456789");
    fill(w, writer, t, buf_slice(&value), &code, &n);
    REFUSED(w, code, RETRY, JOURNAL_FULL);
    SAYS(w, "journal.embedded.budget");
    assert_true(n > 60);
    embedded_writer_close(writer);
    assert_true(world_number(w, "SELECT page_count * 4096 FROM pragma_page_count") <= (1 << 20) + 65536);

    code = world_try_writer(w, &writer); /* a little is left, or it says so at once */
    if (code == OK) {
        MUST(w, world_try_commit(w, writer, &record)); /* an idle pipeline goes on */
        embedded_writer_close(writer);
    }
    writer = writer_with(w, 0, 0); /* less is kept: room is made, and capture goes on */
    assert_true(w->last->seq >= (uint64_t)n);
    t = world_topic(w, writer, "a", true);
    int before = n;
    for (int i = 0; i < 100; i++) { /* the upkeep's thread makes room when it is needed */
        fill(w, writer, t, buf_slice(&value), &code, &n);
        if (n > before + 100)
            break;
        REFUSED(w, code, RETRY, JOURNAL_FULL);
        embedded_writer_close(writer);
        for (int tries = 0; (code = world_try_writer(w, &writer)) != OK && tries < 20; tries++)
            REFUSED(w, code, RETRY, JOURNAL_FULL);
        MUST(w, code);
        t = world_topic(w, writer, "a", true);
    }
    assert_true(n > before + 100);
    embedded_writer_close(writer);
    struct journal_record got;
    struct journal_reader *r = world_reader(w);
    int s;
    int64_t last = -1;
    MUST(w, embedded_stream_open(r, "t.a", 0, 0, &s, &w->err));
    while (embedded_stream_next(r, s, INT64_MAX, &got, &w->err) == OK)
        last = got.offset;
    assert_int_equal(last, n - 1); /* nothing that was durable is missing */
    embedded_reader_close(r);
}

static void the_log_stays_small_under_load(void **state) {
    struct world *w = *state;
    struct journal_writer *writer = world_writer(w);
    struct journal_reader *r = world_reader(w);
    struct commit_record *record;
    struct stat st;
    CLEANUP_BUF value = {0};
    int64_t offset;
    int t = world_topic(w, writer, "a", true);
    for (int i = 0; i < 10000; i++)
        buf_puts(&value, "0123456789");
    for (int i = 0; i < 300; i++) { /* 300 MB, with a reader beside */
        for (int k = 0; k < 10; k++)
            MUST(w, world_try_append(w, writer, t, k % 2, "k", buf_slice(&value)));
        world_commit(w, writer);
        MUST(w, embedded_commits_next(r, &w->arena, &record, &offset, &w->err));
    }
    assert_int_equal(stat(arena_printf(&w->arena, "%s-wal", w->options.path), &st), 0);
    if (st.st_size > 64 << 20)
        fail_msg("the log has %lld MB", (long long)st.st_size >> 20);
    embedded_reader_close(r);
    embedded_writer_close(writer);
}

/* Damage in what is compacted is never copied as if it were whole, nor dropped. */
static void damage_is_found_and_left_as_it_is(void **state) {
    struct world *w = *state;
    struct journal_writer *writer = writer_with(w, HOUR_MS, HOUR_MS);
    struct store store;
    int t = world_topic(w, writer, "a", true);
    for (int i = 0; i < 10; i++) {
        world_append(w, writer, t, 0, "k", "v");
        world_commit(w, writer);
    }
    world_sql(w, "UPDATE chunks SET records = zeroblob(bytes) WHERE part = 2 AND last = 5");
    int64_t sum = world_number(w, "SELECT count(*) FROM chunks WHERE part = 2");
    MUST(w, store_open(&store, embedded_of(w->journal), &world_env, STORE_UPKEEP, INT64_MAX, &w->err));
    struct upkeep_pass pass = {
        .store = &store,
        .epoch = world_number(w, "SELECT epoch FROM pipeline"),
        .now_us = now() + 2 * HOUR_MS * INT64_C(1000),
        .deadline_us = INT64_MAX,
    };
    REFUSED(w, upkeep_compact(&pass, &w->err), FATAL, JOURNAL_CORRUPT);
    SAYS(w, "topic 't.a', partition 0 is damaged at offset 5");
    assert_int_equal(world_number(w, "SELECT count(*) FROM chunks WHERE part = 2"), sum);
    store_close(&store);
    embedded_writer_close(writer);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(the_newest_record_of_each_key_remains_where_it_was),
        CASE(deletes_are_remembered_for_long_enough),
        CASE(many_keys_are_compacted_in_several_runs),
        CASE(old_history_goes_and_who_needs_it_is_told),
        CASE(too_much_history_goes_from_its_beginning),
        CASE(old_commit_records_go_but_for_those_that_are_needed),
        CASE(at_the_budget_capture_waits_and_goes_on_when_there_is_room),
        CASE(the_log_stays_small_under_load),
        CASE(damage_is_found_and_left_as_it_is),
    };
    log_setup(LOG_ERROR, false);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

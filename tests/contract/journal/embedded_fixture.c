/* The fixture of embedded journals: what is done to one behind its back is done with SQL, as somebody with a
 * shell would. The files are in $MILLRACE_TEST_EMBEDDED, one for each prefix. */
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "journal/embedded/chunk.h"
#include "journal/embedded/store.h"
#include "journal_case.h"

#define RECORD_BYTES "1048576"

static const char *directory(void) {
    return getenv("MILLRACE_TEST_EMBEDDED");
}

static void fixture_options(struct buf *yaml, const char *prefix, const char *extra) {
    buf_printf(yaml, "path: \"%s/%s.journal\"\ntopic_prefix: %s\nrecord_bytes: " RECORD_BYTES "\n%s%s",
               directory(), prefix, prefix, strstr(extra, "partitions:") ? "" : "partitions: 4\n", extra);
}

/* The journal whose prefix the topic has; no file: NULL. */
static sqlite3 *file_of(const char *topic) {
    sqlite3 *db;
    CLEANUP_FREE char *path =
        xasprintf("%s/%.*s.journal", directory(), (int)(strchr(topic, '.') - topic), topic);
    if (access(path, F_OK) < 0)
        return NULL;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 20000);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return db;
}

static void run(sqlite3 *db, const char *sql, ...) {
    va_list arguments;
    char *why = NULL;
    va_start(arguments, sql);
    char *text = sqlite3_vmprintf(sql, arguments);
    va_end(arguments);
    if (sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", text, why);
    sqlite3_free(text);
}

static bool ask(sqlite3 *db, char *ret, size_t size, const char *sql, ...) {
    va_list arguments;
    sqlite3_stmt *row;
    va_start(arguments, sql);
    char *text = sqlite3_vmprintf(sql, arguments);
    va_end(arguments);
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &row, NULL), SQLITE_OK);
    bool found = sqlite3_step(row) == SQLITE_ROW;
    snprintf(ret, size, "%s", found ? (const char *)sqlite3_column_text(row, 0) : "");
    sqlite3_finalize(row);
    sqlite3_free(text);
    return found;
}

#define PARTS \
    "(SELECT p.id FROM partitions p JOIN topics t ON t.id = p.topic WHERE t.name = %Q AND p.partition = %d)"
#define TOPIC_PARTS "(SELECT p.id FROM partitions p JOIN topics t ON t.id = p.topic WHERE t.name = %Q)"

static void fixture_setting(const char *topic, const char *name, char *ret, size_t size) {
    static const struct {
        const char *name, *sql;
    } settings[] = {
        {"partitions", "SELECT partitions FROM topics WHERE name = %Q"},
        {"cleanup.policy", "SELECT iif(compacted, 'compact', 'delete') FROM topics WHERE name = %Q"},
        {"min.compaction.lag.ms", "SELECT compaction_lag_ms FROM pipeline"},
        {"delete.retention.ms", "SELECT delete_retention_ms FROM pipeline"},
        {"retention.ms", "SELECT retention_ms FROM pipeline"},
        {"retention.bytes", "SELECT iif(retention_bytes = 0, -1, retention_bytes) FROM pipeline"},
        {"record_bytes", "SELECT " RECORD_BYTES},
    };
    sqlite3 *db = file_of(topic);
    *ret = 0;
    for (size_t i = 0; db && i < sizeof settings / sizeof *settings; i++)
        if (strcmp(settings[i].name, name) == 0)
            (void)ask(db, ret, size, settings[i].sql, topic);
    sqlite3_close(db);
}

static sqlite3 *file_made(const char *prefix) {
    static struct embedded_options options = {.compaction_lag_ms = 604800000,
                                              .delete_retention_ms = 604800000,
                                              .retention_ms = -1,
                                              .budget_bytes = 1 << 30,
                                              .record_bytes = 1 << 20,
                                              .partitions = 4};
    struct journal *journal;
    struct err err = {0};
    CLEANUP_FREE char *path = xasprintf("%s/%s.journal", directory(), prefix);
    CLEANUP_FREE char *topic = xasprintf("%s.", prefix);
    options.path = path;
    options.topic_prefix = prefix;
    if (embedded_open(&options, NULL, &journal, &err) != OK || store_create(embedded_of(journal), &err) != OK)
        fail_msg("%s", err.text);
    embedded_close(journal);
    return file_of(topic);
}

static void fixture_options_away(struct buf *yaml) {
    static sqlite3 *holder;
    if (!holder) {
        holder = file_made("away");
        run(holder, "PRAGMA locking_mode = EXCLUSIVE; UPDATE pipeline SET epoch = epoch + 1");
    }
    fixture_options(yaml, "away", "");
}

static void fixture_make_topic(const char *topic, int partitions, const char *settings) {
    CLEANUP_FREE char *prefix = xstrndup(topic, (size_t)(strchr(topic, '.') - topic));
    sqlite3 *db = file_made(prefix);
    run(db, "BEGIN; INSERT INTO topics (name, partitions, compacted) VALUES (%Q, %d, %d)", topic, partitions,
        strstr(settings, "cleanup.policy=compact") != NULL);
    for (int p = 0; p < partitions; p++)
        run(db, "INSERT INTO partitions (topic, partition) SELECT id, %d FROM topics WHERE name = %Q", p,
            topic);
    run(db, "COMMIT");
    sqlite3_close(db);
}

static void fixture_delete_before(const char *topic, int partition, int64_t offset) {
    sqlite3 *db = file_of(topic);
    run(db, "BEGIN; DELETE FROM chunks WHERE part = " PARTS " AND last < %lld", topic, partition,
        (long long)offset);
    run(db, "UPDATE partitions SET low = %lld WHERE id = " PARTS "; COMMIT", (long long)offset, topic,
        partition);
    sqlite3_close(db);
}

static void fixture_delete_topic(const char *topic) {
    sqlite3 *db = file_of(topic);
    run(db, "BEGIN; DELETE FROM chunks WHERE part IN " TOPIC_PARTS, topic);
    run(db, "DELETE FROM partitions WHERE id IN " TOPIC_PARTS, topic);
    run(db, "DELETE FROM topics WHERE name = %Q; COMMIT", topic);
    sqlite3_close(db);
}

static void fixture_write(const char *topic, int partition, const char *value) {
    char text[32];
    sqlite3_stmt *insert;
    sqlite3 *db = file_of(topic);
    struct chunk chunk = {0};
    run(db, "BEGIN IMMEDIATE");
    assert_true(
        ask(db, text, sizeof text, "SELECT next FROM partitions WHERE id = " PARTS, topic, partition));
    int64_t next = strtoll(text, NULL, 10);
    assert_true(ask(db, text, sizeof text, "SELECT " PARTS, topic, partition));
    struct chunk_record record = {
        .offset = next, .ts_us = 1, .key = slice_of("key"), .value = slice_of(value)};
    struct chunk_head head = {strtoll(text, NULL, 10), next, next, 1};
    chunk_put(&chunk, &record);
    assert_int_equal(
        sqlite3_prepare_v2(db,
                           "INSERT INTO chunks (part, first, last, ts_us, bytes, crc, records) VALUES "
                           "(?1, ?2, ?2, 1, length(?3), ?4, ?3)",
                           -1, &insert, NULL),
        SQLITE_OK);
    sqlite3_bind_int64(insert, 1, head.part);
    sqlite3_bind_int64(insert, 2, next);
    sqlite3_bind_blob(insert, 3, chunk.bytes.data, (int)chunk.bytes.len, SQLITE_STATIC);
    sqlite3_bind_int64(insert, 4, chunk_crc(&head, buf_slice(&chunk.bytes)));
    assert_int_equal(sqlite3_step(insert), SQLITE_DONE);
    sqlite3_finalize(insert);
    run(db, "UPDATE partitions SET next = %lld WHERE id = %lld; COMMIT", (long long)next + 1,
        (long long)head.part);
    chunk_free(&chunk);
    sqlite3_close(db);
}

const struct fixture embedded_fixture = {
    .kind = "embedded",
    .variable = "MILLRACE_TEST_EMBEDDED",
    .options = fixture_options,
    .options_away = fixture_options_away,
    .setting = fixture_setting,
    .make_topic = fixture_make_topic,
    .delete_before = fixture_delete_before,
    .delete_topic = fixture_delete_topic,
    .write = fixture_write,
    .limit = "record_bytes",
    .loose = "",
    .service = false,
};

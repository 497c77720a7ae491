#include "embedded_help.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/journal_table.h"

static struct stop stop = {.fd = -1};
const struct journal_env world_env = {&clock_system, &stop};

void world_configure(struct world *w) {
    if (w->journal)
        embedded_close(w->journal);
    w->journal = NULL;
    MUST(w, embedded_open(&w->options, NULL, &w->journal, &w->err));
}

int world_open(void **state) {
    struct world *w = xcalloc(1, sizeof *w);
    const char *top = getenv("TMPDIR");
    if (stop.fd < 0)
        stop_init(&stop);
    w->directory = xasprintf("%s/millrace-embedded-XXXXXX", top ? top : "/tmp");
    assert_non_null(mkdtemp(w->directory));
    w->options = (struct embedded_options){
        .path = arena_printf(&w->arena, "%s/j", w->directory),
        .topic_prefix = "t",
        .partitions = 2,
        .compaction_lag_ms = 604800000,
        .delete_retention_ms = 604800000,
        .retention_ms = -1,
        .budget_bytes = INT64_C(1) << 30,
        .record_bytes = 16 << 20,
    };
    world_configure(w);
    *state = w;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)type, (void)at;
    return remove(path);
}

int world_close(void **state) {
    struct world *w = *state;
    embedded_close(w->journal);
    chmod(w->directory, 0700);
    int rc = nftw(w->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    arena_free(&w->arena);
    free(w->directory);
    free(w);
    return rc;
}

enum code world_try_writer(struct world *w, struct journal_writer **ret) {
    return embedded_writer_open(w->journal, &world_env, "shop", WAIT_MS, ret, &w->arena, &w->last, &w->err);
}

struct journal_writer *world_writer(struct world *w) {
    struct journal_writer *writer;
    MUST(w, world_try_writer(w, &writer));
    w->commits = w->last ? w->last->position.commit : 0;
    return writer;
}

struct journal_reader *world_reader(struct world *w) {
    struct journal_reader *r;
    MUST(w, embedded_reader_open(w->journal, &world_env, WAIT_MS, &r, &w->err));
    return r;
}

char *world_name(struct world *w, const char *table) {
    return arena_printf(&w->arena, "t.%s", table);
}

int world_topic(struct world *w, struct journal_writer *writer, const char *table, bool compacted) {
    struct topic_spec spec = {world_name(w, table), true, compacted};
    int topic, partitions;
    MUST(w, embedded_topic(writer, &spec, &topic, &partitions, &w->err));
    return topic;
}

enum code world_try_append(struct world *w, struct journal_writer *writer, int topic, int partition,
                           const char *key, struct slice value) {
    struct journal_append a = {topic, partition, slice_of(key), value, NULL, 0};
    enum code code;
    while ((code = embedded_append(writer, &a, &w->err)) == AGAIN)
        if ((code = embedded_writer_poll(writer, 100, &w->err)) != OK)
            return code;
    return code;
}

void world_append(struct world *w, struct journal_writer *writer, int topic, int partition, const char *key,
                  const char *value) {
    MUST(w, world_try_append(w, writer, topic, partition, key, slice_of(value)));
}

enum code world_try_commit(struct world *w, struct journal_writer *writer, struct commit_record *ret) {
    enum code code;
    *ret = (struct commit_record){.position = {1, w->commits + 1, 0}, .boundary = true, .state = "{}"};
    for (int i = 0; (code = embedded_commit(writer, ret, 100, &w->err)) == AGAIN && i < 100; i++)
        ;
    w->commits += code == OK;
    return code;
}

struct commit_record world_commit(struct world *w, struct journal_writer *writer) {
    struct commit_record record;
    MUST(w, world_try_commit(w, writer, &record));
    return record;
}

int64_t world_end(const struct commit_record *r, const char *topic, int partition) {
    for (int i = 0; i < r->n_ends; i++)
        if (strcmp(r->topics[r->ends[i].topic].name, topic) == 0 && r->ends[i].partition == partition)
            return r->ends[i].offset;
    return -1;
}

const char *world_dump(struct world *w, const char *table, int partition, int64_t from) {
    struct journal_reader *r = world_reader(w);
    struct journal_record record;
    CLEANUP_BUF out = {0};
    enum code code;
    int s;
    MUST(w, embedded_stream_open(r, world_name(w, table), partition, from, &s, &w->err));
    while ((code = embedded_stream_next(r, s, INT64_MAX, &record, &w->err)) == OK)
        buf_printf(&out, "%lld:%.*s%s%.*s ", (long long)record.offset, (int)record.key.len, record.key.data,
                   record.value.data ? "=" : "!", (int)record.value.len,
                   record.value.data ? record.value.data : "");
    assert_int_equal(code, AGAIN);
    embedded_reader_close(r);
    return arena_strdup(&w->arena, buf_cstr(&out));
}

/* ---- by hand ---- */

static sqlite3 *file(struct world *w) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open_v2(w->options.path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, WAIT_MS);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return db;
}

void world_sql(struct world *w, const char *sql) {
    char *why = NULL;
    sqlite3 *db = file(w);
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", sql, why);
    sqlite3_close(db);
}

int64_t world_number(struct world *w, const char *sql) {
    sqlite3 *db = file(w);
    sqlite3_stmt *row;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &row, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    sqlite3_close(db);
    return number;
}

void world_read_file(struct world *w, struct buf *ret) {
    struct stat st;
    world_sql(w, "PRAGMA wal_checkpoint(TRUNCATE)");
    int fd = open(w->options.path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(fd, &st), 0);
    buf_clear(ret);
    assert_int_equal(read(fd, buf_room(ret, (size_t)st.st_size), (size_t)st.st_size), st.st_size);
    ret->len = (size_t)st.st_size;
    close(fd);
}

void world_write_file(struct world *w, struct slice bytes) {
    int fd = open(w->options.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, bytes.data, bytes.len), bytes.len);
    close(fd);
}

/* Where SQLite replicas stand: a file in a directory of this program's own. */
#include <stdio.h>
#include <unistd.h>

#include "glass.h"
#include "place_sqlite.h"
#include "target_case.h"

sqlite3 *glass;
static char directory[64], path[96];

static void put_away(void) {
    static const char *const ends[] = {"", "-wal", "-shm"};
    sqlite3_close(glass);
    glass = NULL;
    for (size_t i = 0; i < 3; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
}

void glass_open(void) {
    if (sqlite3_open(path, &glass) != SQLITE_OK)
        die(sqlite3_errmsg(glass));
    sqlite3_busy_timeout(glass, 10000);
}

static void open_directory(void) {
    snprintf(directory, sizeof directory, "%s/millrace-test-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(directory))
        die("no directory could be made");
    snprintf(path, sizeof path, "%s/replica.db", directory);
    url = path;
}

static void drop_directory(void) {
    put_away();
    rmdir(directory);
}

static void empty(void) {
    put_away();
    glass_open();
}

static void run_sql(const char *text) {
    glass_sql(glass, text);
}

static void see_rows(const char *text, char *ret, size_t size) {
    glass_see(glass, text, ret, size);
}

static bool has_relation(const char *table) {
    return glass_has(glass, table);
}

const struct place sqlite_place = {
    .kind = "sqlite",
    .option = "path",
    .open = open_directory,
    .close = drop_directory,
    .empty = empty,
    .sql = run_sql,
    .see = see_rows,
    .has_table = has_relation,
    .key = glass_key_of,
    .unseen = "UPDATE millrace.sink_worker SET seen_us = 1",
    .has = CONSTRAINTS,
    .flat = true,
};

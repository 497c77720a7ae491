/* Seeds for the fuzz targets from a real source: captures until a row arrives in table public.the_end, and
 * writes what the server sent, and what became of it, as tapes of fuzz_pgoutput, fuzz_avro and fuzz_schema.
 *
 *   record URL NAME FOLDER     FOLDER/pgoutput/NAME, FOLDER/avro/NAME-0 (a table each), FOLDER/schema/NAME-0
 *
 * tests/fuzz/record.py runs it. */
#include <errno.h>
#include <sys/stat.h>

#include "capture/postgres/catalog.h"
#include "capture/postgres/decode.h"
#include "capture/postgres/stream.h"
#include "capture/source_table.h"
#include "fuzz.h"

enum { ANSWER_ROWS_MAX = 8, TABLES_MAX = 64, RECORDS_MAX = 12, TAPE_BYTES_MAX = 24 << 10 };

static struct buf source_tape; /* of fuzz_pgoutput */
static struct buf *answers;    /* where answers of the catalog go now; NULL: not of interest */

static void put_number(struct buf *to, uint64_t number, int bytes) {
    for (int i = 0; i < bytes; i++)
        buf_putc(to, (char)(number >> (8 * i)));
}

/* ---- what the server sends ---- */

typedef enum code query_f(PGconn *conn, const struct source_env *env, int64_t wait_ms, const char *doing,
                          const char *sql, PGresult **ret, struct err *err);
query_f __real_pgsource_query, __wrap_pgsource_query;

static void put_answer(struct buf *to, const PGresult *result) {
    int rows = PQntuples(result) < ANSWER_ROWS_MAX ? PQntuples(result) : ANSWER_ROWS_MAX;
    buf_putc(to, 'a');
    buf_putc(to, (char)rows);
    buf_putc(to, (char)PQnfields(result));
    for (int row = 0; row < rows; row++) {
        for (int column = 0; column < PQnfields(result); column++) {
            if (PQgetisnull(result, row, column))
                put_number(to, 0xFFFF, 2);
            else
                tape_put(to, slice_of(PQgetvalue(result, row, column)));
        }
    }
}

enum code __wrap_pgsource_query(PGconn *conn, const struct source_env *env, int64_t wait_ms,
                                const char *doing, const char *sql, PGresult **ret, struct err *err) {
    enum code code = __real_pgsource_query(conn, env, wait_ms, doing, sql, ret, err);
    if (code == OK && answers && *ret)
        put_answer(answers, *ret);
    return code;
}

/* A target sees everything. */
enum code __real_visible_wait(PGconn *conn, const struct source_env *env, uint32_t xid, struct err *err);
enum code __wrap_visible_wait(PGconn *conn, const struct source_env *env, uint32_t xid, struct err *err);

enum code __wrap_visible_wait(PGconn *conn, const struct source_env *env, uint32_t xid, struct err *err) {
    struct buf *before = answers;
    answers = NULL;
    enum code code = __real_visible_wait(conn, env, xid, err);
    answers = before;
    return code;
}

typedef enum code stream_read_f(struct wal_stream *stream, struct slice *ret, uint64_t *ret_lsn,
                                struct err *err);
stream_read_f __real_stream_read, __wrap_stream_read;

enum code __wrap_stream_read(struct wal_stream *stream, struct slice *ret, uint64_t *ret_lsn,
                             struct err *err) {
    enum code code = __real_stream_read(stream, ret, ret_lsn, err);
    answers = NULL;
    if (code != OK)
        return code;
    buf_putc(&source_tape, 'w');
    put_number(&source_tape, *ret_lsn, 8);
    tape_put(&source_tape, *ret);
    answers = &source_tape;
    return OK;
}

/* The snapshot looks at a table: the answers to this and to the taking of it follow. */
typedef enum code shape_f(struct catalog *catalog, uint32_t relid, const char *published, struct arena *arena,
                          struct pgoutput_relation *ret, bool *ret_found, struct err *err);
shape_f __real_catalog_shape, __wrap_catalog_shape;

enum code __wrap_catalog_shape(struct catalog *catalog, uint32_t relid, const char *published,
                               struct arena *arena, struct pgoutput_relation *ret, bool *ret_found,
                               struct err *err) {
    buf_putc(&source_tape, 's');
    put_number(&source_tape, relid, 4);
    answers = &source_tape;
    enum code code = __real_catalog_shape(catalog, relid, published, arena, ret, ret_found, err);
    answers = NULL;
    return code;
}

typedef enum code take_f(struct catalog *catalog, const struct pgoutput_relation *shape,
                         struct relation **ret, struct err *err);
take_f __real_catalog_take, __wrap_catalog_take;

enum code __wrap_catalog_take(struct catalog *catalog, const struct pgoutput_relation *shape,
                              struct relation **ret, struct err *err) {
    answers = &source_tape;
    enum code code = __real_catalog_take(catalog, shape, ret, err);
    answers = NULL;
    return code;
}

typedef const char *line_f(const struct relation *relation, char *line, size_t len, struct pgoutput_row *ret);
line_f __real_decode_copy_line, __wrap_decode_copy_line;

const char *__wrap_decode_copy_line(const struct relation *relation, char *line, size_t len,
                                    struct pgoutput_row *ret) {
    buf_putc(&source_tape, 'l');
    put_number(&source_tape, relation->relid, 4);
    tape_put(&source_tape, slice_make(line, len));
    return __real_decode_copy_line(relation, line, len, ret);
}

/* ---- what becomes of it ---- */

struct table_tape {
    const struct table *table;
    struct encoder *encoder;
    struct schema_store *store; /* of this table alone: the envelope has id 0, the key id 1 */
    struct buf tape;
    int records;
};
static struct table_tape tables[TABLES_MAX];

static struct table_tape *tape_of(const struct table *table) {
    static const struct encoder_identity identity = {
        .connector = "postgresql", .name = "shop", .database = "db"};
    struct table_tape *t = tables;
    struct slice json;
    struct err err;
    while (t->table && t->table != table)
        t++;
    HOLDS(t < tables + TABLES_MAX - 1, "too many tables");
    if (t->table)
        return t;
    t->table = table;
    t->store = fuzz_store_new();
    HOLDS(encoder_new(table, "shop.public.t", &identity, t->store, &t->encoder, &err) == OK, "%s", err.text);
    for (uint32_t id = 0; id < 2; id++)
        tape_put(&t->tape, schema_get(t->store, id, &json, &err) == OK ? json : (struct slice){"", 0});
    return t;
}

static void keep(const struct change *change) {
    struct table_tape *t = tape_of(change->table);
    struct buf key = {0}, value = {0}, other = {0};
    char header[HEADER_BYTES_MAX], grave[HEADER_BYTES_MAX];
    struct err err;
    int column;
    if (t->records++ >= RECORDS_MAX || t->tape.len > TAPE_BYTES_MAX)
        return;
    enum code code = encoder_change(t->encoder, change, 1700000000000000, &key, &value, &column, &err);
    if (code == OK && change->other)
        code = encoder_key(t->encoder, change->other, &other, &column, &err);
    HOLDS(code == OK, "%s", err.text);
    tape_put(&t->tape, slice_make(header, header_write(change, header)));
    tape_put(&t->tape, buf_slice(&key));
    tape_put(&t->tape, buf_slice(&other));
    tape_put(&t->tape, buf_slice(&value));
    if (change->op == OP_DELETE && change->table->n_key) {
        tape_put(&t->tape, slice_make(grave, header_write_tombstone(change, buf_slice(&value), grave)));
        tape_put(&t->tape, buf_slice(&key));
        put_number(&t->tape, 0, 4);
    }
    buf_free(&key);
    buf_free(&value);
    buf_free(&other);
}

static void write_file(const char *folder, const char *target, const char *name, const char *more,
                       const struct buf *bytes) {
    CLEANUP_FREE char *path = xasprintf("%s/%s/%s%s%s", folder, target, name, *more ? "-" : "", more);
    FILE *file = fopen(path, "wb");
    HOLDS(file && fwrite(bytes->data, 1, bytes->len, file) == bytes->len, "%s: %s", path, strerror(errno));
    fclose(file);
}

static void write_tapes(const char *folder, const char *name) {
    struct buf whole = {0};
    buf_putc(&whole, 1); /* flags: tables may be partial, as above */
    buf_put_slice(&whole, buf_slice(&source_tape));
    write_file(folder, "pgoutput", name, "", &whole);
    buf_free(&whole);
    for (struct table_tape *t = tables; t->table; t++) {
        CLEANUP_FREE char *number = xasprintf("%d", (int)(t - tables));
        write_file(folder, "avro", name, number, &t->tape);
        write_file(folder, "schema", name, number, &t->tape);
        encoder_free(t->encoder);
        schema_store_free(t->store);
        buf_free(&t->tape);
    }
}

/* ---- capturing ---- */

static enum code capture(const struct pg_options *options, const struct source_env *env, const char *folder,
                         struct err *err) {
    const struct source_resume resume = {.position = {1, 0, 0}};
    struct source *source;
    struct source_item item;
    enum code code = postgres_source.open(options, env, &resume, &source, err);
    if (code != OK)
        return code;
    puts("streaming");
    fflush(stdout);
    for (bool over = false; !over && (code == OK || code == AGAIN);) {
        code = postgres_source.next(source, &item, err);
        if (code == OK && item.type == ITEM_CHANGE) {
            keep(&item.change);
            over = item.change.op == OP_CREATE && strcmp(item.change.table->name, "the_end") == 0;
        } else if (code == AGAIN) {
            struct pollfd fds[24];
            int64_t deadline_us = clock_mono(env->clock) + 100000;
            int n = postgres_source.fds(source, fds, 24, &deadline_us);
            stop_poll(env->stop, fds, n, clock_mono(env->clock), deadline_us);
            if (postgres_source.service(source, err) != OK)
                code = RETRY;
        }
    }
    if (code == OK)
        write_tapes(folder, env->name); /* while the tables live */
    postgres_source.close(source);
    return code;
}

int main(int argc, char **argv) {
    const char *every[] = {"public.*"};
    struct stop stop;
    struct err err;
    if (argc != 4)
        return 2;
    stop_init(&stop);
    struct pg_options options = {.url = argv[1],
                                 .tables = {every, 1},
                                 .snapshot_workers = 1,
                                 .create = true,
                                 .partial_rows = PG_PARTIAL_HISTORY};
    const struct source_env env = {.clock = &clock_system, .stop = &stop, .name = argv[2]};
    if (capture(&options, &env, argv[3], &err) != OK) {
        fprintf(stderr, "record: %s\n", err.text);
        return 1;
    }
    buf_free(&source_tape);
    stop_free(&stop);
    return 0;
}

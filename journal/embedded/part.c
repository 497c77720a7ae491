#include "journal/embedded/part.h"

#include <inttypes.h>

#define KEPT_BYTES_MAX (1u << 20) /* after a chunk that was larger its memory goes */

enum code part_find(struct store *s, const char *topic, int partition, struct part *ret, struct err *err) {
    sqlite3_stmt *row;
    enum code code = store_row(s, SQL_PARTITION, &row, err, "si", topic, (int64_t)partition);
    if (code != OK)
        return code;
    *ret = (struct part){sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 1),
                         sqlite3_column_int64(row, 2)};
    store_end(row);
    return OK;
}

/* Columns: low, next, first, last, ts_us, crc, records, id; those of the chunk are NULL if there is none. */
static enum code take(struct store *s, sqlite3_stmt *row, int64_t part, struct part *held,
                      struct part_chunk *chunk, enum part_read *ret, struct err *err) {
    if (held)
        *held = (struct part){part, sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 1)};
    *ret = PART_END;
    if (sqlite3_column_type(row, 2) != SQLITE_NULL) {
        const void *bytes = sqlite3_column_blob(row, 6);
        int n = sqlite3_column_bytes(row, 6), rc = sqlite3_errcode(s->db);
        if (n && !bytes) {
            store_end(row);
            return store_error(s, rc, "read it", err);
        }
        *ret = PART_CHUNK;
        chunk->head = (struct chunk_head){part, sqlite3_column_int64(row, 2), sqlite3_column_int64(row, 3),
                                          sqlite3_column_int64(row, 4)};
        chunk->crc = (uint32_t)sqlite3_column_int64(row, 5);
        chunk->id = sqlite3_column_int64(row, 7);
        if (chunk->bytes.cap > KEPT_BYTES_MAX)
            buf_free(&chunk->bytes);
        buf_clear(&chunk->bytes);
        buf_put(&chunk->bytes, bytes, (size_t)n);
    }
    store_end(row);
    return OK;
}

static enum code none(enum code code, enum part_read what, enum part_read *ret) {
    *ret = what;
    return code == AGAIN ? OK : code;
}

enum code part_read_at(struct store *s, int64_t part, int64_t offset, struct part *ret_part,
                       struct part_chunk *chunk, enum part_read *ret, struct err *err) {
    sqlite3_stmt *row;
    enum code code = store_row(s, SQL_CHUNK_AT, &row, err, "ii", part, offset);
    return code == OK ? take(s, row, part, ret_part, chunk, ret, err) : none(code, PART_GONE, ret);
}

enum code part_read_before(struct store *s, int64_t part, int64_t offset, struct part_chunk *chunk,
                           enum part_read *ret, struct err *err) {
    sqlite3_stmt *row;
    enum code code = store_row(s, SQL_CHUNK_BEFORE, &row, err, "ii", part, offset);
    return code == OK ? take(s, row, part, NULL, chunk, ret, err) : none(code, PART_END, ret);
}

enum code part_read_between(struct store *s, int64_t part, int64_t from, int64_t to, struct part_chunk *chunk,
                            enum part_read *ret, struct err *err) {
    sqlite3_stmt *row;
    enum code code = store_row(s, SQL_CHUNK_BETWEEN, &row, err, "iii", part, from, to);
    return code == OK ? take(s, row, part, NULL, chunk, ret, err) : none(code, PART_END, ret);
}

enum code part_damaged(const struct store *s, const char *topic, int partition, int64_t offset,
                       struct err *err) {
    return err_set(err, FATAL, ERR_JOURNAL_CORRUPT,
                   "journal file '%s': topic '%s', partition %d is damaged at offset %" PRId64
                   ": its checksum is wrong. Check the disk; restore the file from a backup together with "
                   "its -wal file, or "
                   "take a new snapshot, which begins such topics anew, into a new file "
                   "(journal.embedded.path), and then: "
                   "millrace replay --sink NAME",
                   s->journal->path, topic, partition, offset);
}

enum code part_chunk_open(const struct part_chunk *chunk, const struct store *s, const char *topic,
                          int partition, struct chunk_cursor *ret, struct err *err) {
    if (chunk_open(ret, &chunk->head, chunk->crc, buf_slice(&chunk->bytes)))
        return OK;
    return part_damaged(s, topic, partition, chunk->head.first, err);
}

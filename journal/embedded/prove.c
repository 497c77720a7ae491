/* Is all that the file holds whole? Every page, every chunk with its checksum and its place, offsets without
 * holes where there may be none, and the ends against the commit records. All of it in one transaction, so
 * that a running writer changes nothing under it. */
#include <inttypes.h>
#include <stdio.h>

#include "base/finding.h"
#include "journal/embedded/check.h"
#include "journal/embedded/part.h"
#include "journal/embedded/upkeep.h"
#include "journal/embedded/writer.h"

#define PROBLEMS_MAX 20
#define MEND                                                                           \
    "Restore the file with its -wal file, or begin a new one and take a new snapshot " \
    "(docs/embedded-journal.md)"

struct proof {
    struct store *s;
    struct buf *list;
    const struct upkeep_part *part;
    struct part_chunk chunk;
    int64_t expect; /* the next offset where there may be no hole, */
    bool dense;     /* or there may be some: compaction made them */
    int64_t records, chunks, bytes;
    int problems;
};

static void PRINTF_LIKE(2, 3) problem(struct proof *p, const char *fmt, ...) {
    char text[512];
    va_list arguments;
    if (p->problems++ >= PROBLEMS_MAX)
        return;
    int n = p->part ? snprintf(text, sizeof text, "topic '%s', partition %d: ", p->part->topic,
                               p->part->partition)
                    : 0;
    va_start(arguments, fmt);
    vsnprintf(text + n, sizeof text - (size_t)n, fmt, arguments);
    va_end(arguments);
    finding_put(p->list, "error", "embedded.damage", text, MEND);
}

/* ---- pages ---- */

static void prove_pages(struct proof *p) {
    sqlite3_stmt *row = NULL;
    bool whole = false;
    int rc = sqlite3_prepare_v2(p->s->db, "PRAGMA integrity_check(10)", -1, &row, NULL);
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(row);
        const char *said = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(row, 0) : NULL;
        whole = whole || (said && strcmp(said, "ok") == 0);
        if (said && strcmp(said, "ok") != 0)
            problem(p, "%s", said);
    }
    if (rc != SQLITE_DONE)
        problem(p, "pages cannot be read: %s", sqlite3_errmsg(p->s->db));
    else if (whole)
        finding_put(p->list, "ok", "embedded.pages", "every page of the file is whole", "");
    sqlite3_finalize(row);
}

/* ---- chunks ---- */

static void prove_record(struct proof *p, int64_t offset) {
    if (offset < p->part->low)
        problem(p, "offset %" PRId64 " lies before the first that is held, %" PRId64, offset, p->part->low);
    if (p->dense && p->expect >= 0 && offset != p->expect)
        problem(p, "offsets %" PRId64 " to %" PRId64 " are missing, or come again", p->expect, offset - 1);
    p->expect = offset + 1;
    p->records++;
}

static void prove_chunk(struct proof *p) {
    struct chunk_cursor cursor;
    struct chunk_record record;
    struct err err = {0};
    const struct chunk_head *head = &p->chunk.head;
    enum code code = part_chunk_open(&p->chunk, p->s, p->part->topic, p->part->partition, &cursor, &err);
    p->chunks++;
    p->bytes += (int64_t)p->chunk.bytes.len;
    if (code == OK && p->expect >= 0 && head->first < p->expect)
        problem(p, "offset %" PRId64 " stands in two chunks", head->first);
    while (code == OK && (code = chunk_next(&cursor, &record)) == OK)
        prove_record(p, record.offset);
    if (code != AGAIN)
        problem(p, "offsets %" PRId64 " to %" PRId64 " are damaged: the checksum is wrong", head->first,
                head->last);
    p->expect = head->last + 1;
}

static enum code prove_part(struct proof *p, struct err *err) {
    enum part_read what = PART_CHUNK;
    enum code code = OK;
    int64_t at = 0;
    p->dense = !p->part->compacted || !embedded_of_table(p->s->journal, p->part->topic);
    p->expect =
        !p->part->compacted && p->dense ? p->part->low : -1; /* commit records go from the beginning, too */
    while (code == OK && what == PART_CHUNK) {
        code = part_read_between(p->s, p->part->id, at, p->part->next, &p->chunk, &what, err);
        if (code == OK && what == PART_CHUNK) {
            prove_chunk(p);
            at = p->chunk.head.last + 1;
        }
    }
    if (code == OK && p->dense && p->part->next > p->part->low && p->expect != p->part->next)
        problem(p, "ends at offset %" PRId64 " and records are there to before %" PRId64, p->part->next,
                p->expect < 0 ? 0 : p->expect);
    return code;
}

static enum code prove_parts(struct proof *p, struct err *err) {
    struct upkeep_part part = {0};
    enum code code;
    p->part = &part;
    while ((code = upkeep_part_next(p->s, part.id, &part, err)) == OK && !stop_asked(p->s->env->stop)) {
        code = prove_part(p, err);
        if (code == FATAL) { /* SQLite cannot read it */
            problem(p, "%s", err->text);
            code = OK;
        }
        if (code != OK)
            break;
    }
    p->part = NULL;
    return code == AGAIN ? OK : code;
}

/* ---- commit records ---- */

static enum code prove_end(struct proof *p, const struct ends_topic *t, int partition, struct err *err) {
    struct part part;
    enum code code = part_find(p->s, t->name, partition, &part, err);
    if (code == OK && part.next != t->ends[partition] + 1)
        problem(p, "topic '%s', partition %d ends at offset %" PRId64 " and the commit records say %" PRId64,
                t->name, partition, part.next, t->ends[partition] + 1);
    return code == AGAIN ? OK : code;
}

static enum code prove_ends(struct proof *p, struct err *err) {
    CLEANUP_BUF source = {0};
    struct arena arena = {0};
    struct ends ends = {0};
    struct commit_record *last;
    int64_t full;
    enum code code = known_recall(p->s, &ends, &arena, &last, &source, &full, err);
    if (code == OK)
        code = last ? known_check(p->s, &ends, false, err) : known_empty(p->s, err);
    for (int i = 0; i < ends.n && code == OK; i++)
        for (int k = 0; k < ends.topics[i].partitions && code == OK; k++)
            if (ends.topics[i].ends[k] >= 0)
                code = prove_end(p, &ends.topics[i], k, err);
    if (code == FATAL) {
        problem(p, "%s", err->text);
        code = OK;
    }
    ends_free(&ends);
    arena_free(&arena);
    return code;
}

static void sum_up(struct proof *p) {
    char text[256];
    if (p->problems > PROBLEMS_MAX)
        snprintf(text, sizeof text, "%d problems, the first %d of them above", p->problems, PROBLEMS_MAX);
    else
        snprintf(text, sizeof text, "%" PRId64 " records in %" PRId64 " chunks (%" PRId64 " MB) were read",
                 p->records, p->chunks, p->bytes >> 20);
    finding_put(p->list, p->problems > PROBLEMS_MAX ? "error" : "ok", "embedded.read", text, "");
}

enum code embedded_prove(struct journal *journal, const struct journal_env *env, struct buf *list,
                         struct err *err) {
    const struct embedded_journal *j = embedded_of(journal);
    struct store s = {0};
    struct proof p = {.s = &s, .list = list};
    enum code code = store_open(&s, j, env, STORE_READER, embedded_deadline(env, EMBEDDED_LOCK_MS), err);
    if (code == AGAIN)
        return err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE,
                       "journal file '%s' is not there: it is made when capture begins", j->path);
    if (code != OK)
        return code;
    int rc = sqlite3_exec(s.db, "BEGIN", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        code = store_error(&s, rc, "read it", err);
    if (code == OK) {
        prove_pages(&p);
        code = prove_parts(&p, err);
    }
    if (code == OK)
        code = prove_ends(&p, err);
    if (code == OK)
        sum_up(&p);
    part_chunk_free(&p.chunk);
    store_close(&s);
    return code;
}

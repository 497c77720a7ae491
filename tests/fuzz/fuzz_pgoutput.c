/* What a source's server sends: frames of the stream, lines of a snapshot's COPY, answers of its catalog;
 * from there on to the journal's bytes and back.
 *
 *   tape   = flags item*
 *   item   = 'w' lsn (8 bytes) chunk          a frame of pgoutput
 *          | 'a' rows columns field*          the answer to the next question: field = chunk, length 65535 =
 * NULL | 's' relid (4 bytes)              a snapshot looks at a table (answers follow) | 'l' relid (4 bytes)
 * chunk        a line of its COPY
 *
 * Questions to the catalog (pgsource_query) are answered from the tape; a question without an answer is a
 * lost server. */
#include "capture/postgres/source.h"
#include "fuzz.h"
#include "sink/values/values.h"

enum { ANSWER_ROWS_MAX = 8, ANSWER_COLUMNS_MAX = 13, NULL_LENGTH = 0xFFFF };

static struct tape tape;
static struct round_trip trip;

enum code __wrap_pgsource_query(PGconn *conn, const struct source_env *env, int64_t wait_ms,
                                const char *doing, const char *sql, PGresult **ret, struct err *err);

enum code __wrap_visible_wait(PGconn *conn, const struct source_env *env, uint32_t xid, struct err *err);

enum code __wrap_visible_wait(PGconn *conn, const struct source_env *env, uint32_t xid, struct err *err) {
    (void)conn, (void)env, (void)xid, (void)err;
    return OK;
}

static void answer_field(PGresult *result, int row, int column) {
    const uint8_t *at = tape.p;
    if (tape_number(&tape, 2) == NULL_LENGTH)
        return;
    tape.p = at;
    const char *text = tape_text(&tape);
    PQsetvalue(result, row, column, (char *)text, (int)strlen(text));
}

/* Always as many columns as any question asks for: what the tape does not tell is NULL. */
static PGresult *answer(void) {
    static PGresAttDesc columns[ANSWER_COLUMNS_MAX];
    for (int i = 0; i < ANSWER_COLUMNS_MAX; i++)
        columns[i].name = (char *)"c";
    int rows = (int)(tape_number(&tape, 1) % (ANSWER_ROWS_MAX + 1));
    int n = (int)(tape_number(&tape, 1) % (ANSWER_COLUMNS_MAX + 1));
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PQsetResultAttrs(result, ANSWER_COLUMNS_MAX, columns);
    for (int row = 0; row < rows; row++) {
        for (int column = 0; column < ANSWER_COLUMNS_MAX; column++)
            PQsetvalue(result, row, column, NULL, -1);
        for (int column = 0; column < n; column++)
            answer_field(result, row, column);
    }
    return result;
}

enum code __wrap_pgsource_query(PGconn *conn, const struct source_env *env, int64_t wait_ms,
                                const char *doing, const char *sql, PGresult **ret, struct err *err) {
    (void)conn, (void)env, (void)wait_ms, (void)sql;
    *ret = NULL;
    if (tape.p == tape.end || *tape.p != 'a')
        return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE, "%s: no answer", doing);
    tape.p++;
    *ret = answer();
    return OK;
}

/* ---- one change ---- */

static void print_row(const struct table *table, const struct value *row) {
    struct buf text = {0};
    for (int i = 0; row && i < table->n_columns; i++) {
        const struct column *column = &table->columns[i];
        value_check(column, &row[i]);
        buf_clear(&text);
        (void)!pg_copy_field(pg_printer(column, column->type), column, &row[i], &text);
        HOLDS(!text.len || (!memchr(text.data, '\t', text.len) && !memchr(text.data, '\n', text.len)),
              "a field of COPY that ends early");
    }
    buf_free(&text);
}

static void take_change(const struct change *change, struct position *last) {
    const struct table *table = change->table;
    HOLDS(position_cmp(change->position, *last) > 0, "positions go up");
    *last = change->position;
    HOLDS(table->n_key <= table->n_columns, "a key of %d columns", table->n_key);
    for (int i = 0; change->after && i < table->n_key; i++)
        HOLDS(change->after[table->key[i]].tag != VALUE_ABSENT, "a key is absent");
    print_row(table, change->before);
    print_row(table, change->after);
    round_trip(&trip, change);
}

/* ---- the source ---- */

static void take_frame(struct pg_source *s, struct position *last, bool *over) {
    uint64_t lsn = tape_number(&tape, 8);
    struct slice bytes = tape_chunk(&tape);
    struct source_item item = {0};
    struct err err;
    arena_reset(&s->decoder.scratch);
    if (pgoutput_parse(bytes, s->frame)) {
        *over = true;
        return;
    }
    enum code code = source_frame(s, lsn, &item, &err);
    for (;;) {
        if (code == OK && item.type == ITEM_CHANGE)
            take_change(&item.change, last);
        if (code == AGAIN && s->pending == PENDING_NONE)
            return;
        if (code != OK && code != AGAIN) {
            *over = true;
            return;
        }
        code = source_pending(s, &item, &err);
    }
}

static void take_shape(struct pg_source *s, bool *over) {
    static struct pgoutput_relation shape;
    struct arena arena = {0};
    struct relation *relation;
    struct err err;
    bool found = false;
    enum code code =
        catalog_shape(s->catalog, (uint32_t)tape_number(&tape, 4), NULL, &arena, &shape, &found, &err);
    if (code == OK && found)
        code = catalog_take(s->catalog, &shape, &relation, &err);
    *over = code != OK;
    arena_free(&arena);
}

static void take_line(struct pg_source *s, struct position *last) {
    struct relation *relation = catalog_find(s->catalog, (uint32_t)tape_number(&tape, 4));
    struct slice line = tape_chunk(&tape);
    struct err err;
    arena_reset(&s->decoder.scratch);
    if (!relation || !relation->table ||
        decode_copy_line(relation, (char *)line.data, line.len, &s->frame->new) ||
        decode_row(&s->decoder, relation, &s->frame->new, 0, s->decoder.after, &err) != OK)
        return;
    struct change change = {.op = OP_READ,
                            .table = relation->table,
                            .position = {s->generation, last->commit, last->ordinal + 1},
                            .after = s->decoder.after,
                            .snapshot = true};
    take_change(&change, last);
}

static void run(struct pg_source *s) {
    struct position last = {s->generation, 0, 0};
    bool over = false;
    while (!over && !tape_over(&tape)) {
        switch (tape_number(&tape, 1)) {
        case 'w':
            take_frame(s, &last, &over);
            break;
        case 's':
            take_shape(s, &over);
            break;
        case 'l':
            take_line(s, &last);
            break;
        case 'a':
            PQclear(answer()); /* to a question that was not asked */
            break;
        default:
            over = true;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *patterns[] = {"*.*", "!*.secret*"}, *tables[] = {"public.narrow"},
                      *lists[] = {"!memo"};
    static struct pgoutput frame;
    tape_init(&tape, data, size);
    unsigned flags = (unsigned)tape_number(&tape, 1);
    struct pg_options options = {
        .tables = {patterns, 2},
        .columns = {tables, lists, flags >> 2 & 1},
        .partial_rows = flags & 1 ? PG_PARTIAL_HISTORY : PG_PARTIAL_REFUSE,
        .numeric = flags & 2 ? PG_NUMERIC_STRING : PG_NUMERIC_PRECISE,
    };
    struct pg_source s = {.options = &options, .env = {.name = "shop"}, .generation = 1, .frame = &frame};
    s.catalog = catalog_open(NULL, &options, &s.env);
    pgdecoder_init(&s.decoder, s.catalog);
    round_trip_open(&trip);
    run(&s);
    round_trip_close(&trip);
    pgdecoder_free(&s.decoder);
    catalog_close(s.catalog);
    tape_free(&tape);
    return 0;
}

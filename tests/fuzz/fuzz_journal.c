/* JSON in the journal: commit records, the source's state in them, the ends they tell, and schemas kept in a
 * topic.
 *
 *   tape = 'c' chunk*   commit records, in the order of their offsets
 *        | 's' chunk*   records of <prefix>.schemas
 *        | 't' chunk    a timeline's history file */
#include "capture/postgres/identity.h"
#include "fuzz.h"
#include "journal/ends.h"
#include "journal/schema_texts.h"

static bool texts_same(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void commit_same(const struct commit_record *a, const struct commit_record *b) {
    HOLDS(a->seq == b->seq && position_cmp(a->position, b->position) == 0 && a->ts_us == b->ts_us, "numbers");
    HOLDS(a->boundary == b->boundary && a->full == b->full, "flags");
    HOLDS(texts_same(a->writer, b->writer) && texts_same(a->state, b->state), "texts");
    HOLDS(a->n_topics == b->n_topics && a->n_ends == b->n_ends, "counts");
    for (int i = 0; i < a->n_topics; i++)
        HOLDS(texts_same(a->topics[i].name, b->topics[i].name) &&
                  a->topics[i].partitions == b->topics[i].partitions &&
                  a->topics[i].compacted == b->topics[i].compacted,
              "topic %d", i);
    for (int i = 0; i < a->n_ends; i++)
        HOLDS(a->ends[i].topic == b->ends[i].topic && a->ends[i].partition == b->ends[i].partition &&
                  a->ends[i].offset == b->ends[i].offset,
              "end %d", i);
}

/* Written as it was read, and read as it was written. */
static void commit_again(const struct commit_record *record, struct arena *arena) {
    struct buf json = {0};
    struct commit_record again;
    struct err err;
    commit_record_write(record, &json);
    HOLDS(commit_record_read(buf_slice(&json), arena, &again, &err) == OK, "%s", err.text);
    commit_same(record, &again);
    buf_free(&json);
}

static void take_state(const char *text) {
    struct pg_state state, again;
    struct buf json = {0};
    struct err err;
    if (state_read(text, &state, &err) != OK || !state.found)
        return;
    struct pg_server server = {.timeline = state.timeline, .publication = state.publication};
    snprintf(server.database, sizeof server.database, "%s", state.database);
    state_put(&json, &server, state.slot, "stream", state.flushed, state.stale);
    if (state_read(buf_cstr(&json), &again, &err) == OK) /* a name that was cut may end inside a character */
        HOLDS(again.flushed == state.flushed && again.timeline == state.timeline &&
                  strcmp(again.slot, state.slot) == 0,
              "state");
    buf_free(&json);
}

static void take_commits(struct tape *tape) {
    struct ends ends = {0};
    struct arena arena = {0};
    while (!tape_over(tape)) {
        struct commit_record record, all = {.seq = 1};
        struct err err;
        arena_reset(&arena);
        if (commit_record_read(tape_chunk(tape), &arena, &record, &err) != OK)
            continue;
        commit_again(&record, &arena);
        take_state(record.state);
        if (ends_apply(&ends, &record, &err) != OK)
            continue;
        ends_fill(&ends, true, false, &all);
        commit_again(&all, &arena);
    }
    ends_free(&ends);
    arena_free(&arena);
}

static void take_schemas(struct tape *tape) {
    struct schema_texts known = {.topic = "shop.schemas"};
    for (int64_t offset = 0; !tape_over(tape); offset++) {
        struct err err;
        if (schema_texts_learn(&known, tape_chunk(tape), offset, &err) != OK)
            HOLDS(err.id == ERR_REGISTRY_REFUSED, "%s", err.text);
    }
    for (uint32_t id = 0; id < known.n; id++)
        if (schema_texts_known(&known, id))
            HOLDS(schema_texts_id(&known, known.texts[id]) != 0, "schema %u is not found by its text", id);
    schema_texts_free(&known);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tape tape;
    struct err err;
    tape_init(&tape, data, size);
    switch (tape_number(&tape, 1)) {
    case 'c':
        take_commits(&tape);
        break;
    case 's':
        take_schemas(&tape);
        break;
    case 't':
        (void)!timeline_check(tape_text(&tape), 3, 2, 0x16B3748, &err);
        break;
    default:
        break;
    }
    tape_free(&tape);
    return 0;
}

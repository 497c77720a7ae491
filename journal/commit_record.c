/* The commit record as JSON. Written by hand (a busy pipeline writes a hundred in a second), read by jansson,
 * which sees bytes from outside: every length and count is checked before it is believed. */
#include "journal/commit_record.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>

#define TOPICS_MAX      100000
#define PARTITIONS_MAX  100000
#define TOPIC_BYTES_MAX 249 /* what Kafka allows */

static void put_text(struct buf *out, const char *text) {
    buf_putc(out, '"');
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\') {
            buf_putc(out, '\\');
            buf_putc(out, *p);
        } else if (c < 0x20) {
            buf_printf(out, "\\u%04x", c);
        } else {
            buf_putc(out, *p);
        }
    }
    buf_putc(out, '"');
}

static void put_number(struct buf *out, uint64_t number) {
    char digits[20];
    int n = 0;
    do {
        digits[n++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    while (n)
        buf_putc(out, digits[--n]);
}

static const char *const moves[] = {
    [MOVE_NONE] = "none", [MOVE_SEALED] = "sealed", [MOVE_COPYING] = "copying", [MOVE_MOVED] = "moved", NULL};

static void put_move(struct buf *out, const struct commit_record *r) {
    if (r->move == MOVE_NONE)
        return;
    buf_printf(out, ",\"move\":\"%s\",\"move_seq\":%" PRIu64, moves[r->move], r->move_seq);
    if (r->move_of) {
        buf_puts(out, ",\"move_of\":");
        put_text(out, r->move_of);
    }
}

static void put_ends(struct buf *out, const struct commit_record *r) {
    int e = 0;
    buf_puts(out, ",\"ends\":{");
    for (int t = 0; t < r->n_topics; t++) {
        const struct commit_topic *topic = &r->topics[t];
        if (t)
            buf_putc(out, ',');
        put_text(out, topic->name);
        buf_puts(out, ":{\"n\":");
        put_number(out, (uint64_t)topic->partitions);
        buf_puts(out, topic->compacted ? ",\"k\":\"k\"" : ",\"k\":\"h\"");
        if (topic->born > 1) {
            buf_puts(out, ",\"b\":");
            put_number(out, topic->born);
        }
        buf_puts(out, ",\"p\":{");
        for (bool first = true; e < r->n_ends && r->ends[e].topic == t; e++, first = false) {
            assert(r->ends[e].offset >= 0 && r->ends[e].partition >= 0);
            buf_puts(out, first ? "\"" : ",\"");
            put_number(out, (uint64_t)r->ends[e].partition);
            buf_puts(out, "\":");
            put_number(out, (uint64_t)r->ends[e].offset);
        }
        buf_puts(out, "}}");
    }
    assert(e == r->n_ends); /* in ascending order of topic */
    buf_putc(out, '}');
}

void commit_record_write(const struct commit_record *r, struct buf *out) {
    const struct position *p = &r->position;
    assert(r->seq > 0 && r->seq <= INT64_MAX);
    assert(p->generation <= INT64_MAX && p->commit <= INT64_MAX && p->ordinal <= INT64_MAX);
    buf_printf(out, "{\"v\":1,\"seq\":%" PRIu64 ",\"position\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", r->seq,
               p->generation, p->commit, p->ordinal);
    buf_printf(out, ",\"boundary\":%s,\"full\":%s,\"ts_us\":%" PRId64, r->boundary ? "true" : "false",
               r->full ? "true" : "false", r->ts_us);
    if (r->writer) {
        buf_puts(out, ",\"writer\":");
        put_text(out, r->writer);
    }
    if (r->pipeline) {
        buf_puts(out, ",\"pipeline\":");
        put_text(out, r->pipeline);
    }
    if (r->state) {
        buf_puts(out, ",\"state\":");
        put_text(out, r->state);
    }
    put_move(out, r);
    put_ends(out, r);
    buf_putc(out, '}');
}

/* ---- reading ---- */

static enum code corrupt(struct err *err, const char *what) {
    return err_set(err, REJECT, ERR_JOURNAL_CORRUPT, "commit record: %s", what);
}

static bool number_of(const json_t *value, int64_t min, int64_t max, int64_t *ret) {
    if (!json_is_integer(value))
        return false;
    *ret = json_integer_value(value);
    return *ret >= min && *ret <= max;
}

static bool flag_of(const json_t *root, const char *name, bool *ret) {
    const json_t *value = json_object_get(root, name);
    *ret = json_is_true(value);
    return json_is_boolean(value);
}

/* A text may be absent. Texts with NUL inside are refused by jansson. */
static bool text_of(const json_t *root, const char *name, struct arena *arena, const char **ret) {
    const json_t *value = json_object_get(root, name);
    *ret = NULL;
    if (!value)
        return true;
    if (!json_is_string(value))
        return false;
    *ret = arena_strdup(arena, json_string_value(value));
    return true;
}

static bool move_of(const json_t *root, struct arena *arena, struct commit_record *r) {
    const json_t *word = json_object_get(root, "move"), *seq = json_object_get(root, "move_seq");
    int64_t number = 0;
    int move = MOVE_NONE;
    if (!word)
        return true;
    while (json_is_string(word) && moves[move] && strcmp(moves[move], json_string_value(word)) != 0)
        move++;
    if (!json_is_string(word) || !moves[move] || !number_of(seq, 0, INT64_MAX, &number) ||
        !text_of(root, "move_of", arena, &r->move_of))
        return false;
    r->move = (enum commit_move)move;
    r->move_seq = (uint64_t)number;
    return r->move < MOVE_COPYING || r->move_of;
}

static bool position_of(const json_t *value, struct position *ret) {
    int64_t part[3];
    if (!json_is_array(value) || json_array_size(value) != 3)
        return false;
    for (size_t i = 0; i < 3; i++)
        if (!number_of(json_array_get(value, i), 0, INT64_MAX, &part[i]))
            return false;
    *ret = (struct position){(uint64_t)part[0], (uint64_t)part[1], (uint64_t)part[2]};
    return true;
}

/* "0", "17": the one way of writing a number below `n`; -1 if it is not. */
static int partition_of(const char *key, int n) {
    int64_t number = 0;
    if (!*key || (key[0] == '0' && key[1]))
        return -1;
    for (const char *p = key; *p; p++) {
        if (*p < '0' || *p > '9')
            return -1;
        number = number * 10 + (*p - '0');
        if (number >= n)
            return -1;
    }
    return (int)number;
}

static enum code read_topic(const char *name, json_t *value, int index, struct arena *arena,
                            struct commit_record *r, struct err *err) {
    int64_t partitions, born = 0;
    const char *kind = json_string_value(json_object_get(value, "k"));
    json_t *ends = json_object_get(value, "p");
    if (!*name || strlen(name) > TOPIC_BYTES_MAX)
        return corrupt(err, "a topic's name is empty or too long");
    if (!number_of(json_object_get(value, "n"), 1, PARTITIONS_MAX, &partitions))
        return corrupt(err, "a topic's partition count is missing or out of range");
    if (!kind || (strcmp(kind, "k") != 0 && strcmp(kind, "h") != 0))
        return corrupt(err, "a topic's kind is unknown");
    if (!json_is_object(ends))
        return corrupt(err, "a topic has no ends");
    if (json_object_get(value, "b") && !number_of(json_object_get(value, "b"), 0, INT64_MAX, &born))
        return corrupt(err, "a topic's generation is out of range");
    r->topics[index] =
        (struct commit_topic){arena_strdup(arena, name), (int)partitions, *kind == 'k', (uint64_t)born};

    const char *key;
    json_t *offset;
    json_object_foreach(ends, key, offset) {
        struct partition_end *end = &r->ends[r->n_ends];
        *end = (struct partition_end){.topic = index, .partition = partition_of(key, (int)partitions)};
        if (end->partition < 0)
            return corrupt(err, "a partition's number is out of range");
        if (!number_of(offset, 0, INT64_MAX, &end->offset))
            return corrupt(err, "an offset is out of range");
        r->n_ends++;
    }
    return OK;
}

static enum code read_ends(json_t *ends, struct arena *arena, struct commit_record *r, struct err *err) {
    const char *name;
    json_t *value;
    size_t n = 0;
    if (!json_is_object(ends))
        return corrupt(err, "\"ends\" is missing");
    if (json_object_size(ends) > TOPICS_MAX)
        return corrupt(err, "too many topics");
    json_int_t partitions = 0;
    json_object_foreach(ends, name, value) {
        json_int_t of_topic = json_integer_value(json_object_get(value, "n"));
        n += json_object_size(json_object_get(value, "p"));
        partitions += of_topic > 0 && of_topic <= PARTITIONS_MAX ? of_topic : 0;
    }
    if (n > COMMIT_PARTITIONS_MAX || partitions > COMMIT_PARTITIONS_MAX)
        return corrupt(err, "too many partitions");
    r->topics = arena_alloc(arena, (json_object_size(ends) + 1) * sizeof *r->topics);
    r->ends = arena_alloc(arena, (n + 1) * sizeof *r->ends);
    json_object_foreach(ends, name, value) {
        enum code code = read_topic(name, value, r->n_topics, arena, r, err);
        if (code != OK)
            return code;
        r->n_topics++;
    }
    return OK;
}

static enum code read_root(json_t *root, struct arena *arena, struct commit_record *r, struct err *err) {
    int64_t version, seq;
    if (!number_of(json_object_get(root, "v"), 1, INT64_MAX, &version))
        return corrupt(err, "no version");
    if (version != 1)
        return corrupt(err, "written by a newer Millrace: update this one");
    if (!number_of(json_object_get(root, "seq"), 1, INT64_MAX, &seq))
        return corrupt(err, "\"seq\" is missing");
    r->seq = (uint64_t)seq;
    if (!position_of(json_object_get(root, "position"), &r->position))
        return corrupt(err, "\"position\" is wrong");
    if (!flag_of(root, "boundary", &r->boundary))
        return corrupt(err, "\"boundary\" is missing");
    if (!flag_of(root, "full", &r->full))
        return corrupt(err, "\"full\" is missing");
    if (!number_of(json_object_get(root, "ts_us"), INT64_MIN, INT64_MAX, &r->ts_us))
        return corrupt(err, "\"ts_us\" is missing");
    if (!text_of(root, "writer", arena, &r->writer))
        return corrupt(err, "\"writer\" is not a text");
    if (!text_of(root, "pipeline", arena, &r->pipeline))
        return corrupt(err, "\"pipeline\" is not a text");
    if (!text_of(root, "state", arena, &r->state))
        return corrupt(err, "\"state\" is not a text");
    if (!move_of(root, arena, r))
        return corrupt(err, "\"move\" is wrong");
    return read_ends(json_object_get(root, "ends"), arena, r, err);
}

enum code commit_record_read(struct slice json, struct arena *arena, struct commit_record *ret,
                             struct err *err) {
    json_error_t why;
    *ret = (struct commit_record){0};
    if (json.len > COMMIT_RECORD_BYTES_MAX)
        return corrupt(err, "larger than 8 MB");
    json_t *root = json.len ? json_loadb(json.data, json.len, JSON_REJECT_DUPLICATES, &why) : NULL;
    if (!root)
        return corrupt(err, "not JSON");
    enum code code =
        json_is_object(root) ? read_root(root, arena, ret, err) : corrupt(err, "not a JSON object");
    json_decref(root);
    return code;
}

enum code move_check(const struct commit_record *last, struct err *err) {
    if (last && last->move == MOVE_SEALED)
        return err_set(
            err, FATAL, ERR_JOURNAL_MOVED,
            "this journal was sealed when the pipeline moved to another one: start with the configuration of "
            "the new journal (if the move was not finished: millrace migrate-journal, again)");
    if (last && last->move == MOVE_COPYING)
        return err_set(
            err, FATAL, ERR_JOURNAL_MOVED,
            "the pipeline is on its way into this journal and has not arrived: run millrace migrate-journal, "
            "again if it was interrupted, and start when it is done");
    return OK;
}

/* One partition, from some offset on. */
#include <inttypes.h>

#include "journal/embedded/reader.h"

#define GAP_MEND                                                                                        \
    "Let more be kept (journal.embedded.retention, retention_bytes) and take a new snapshot: millrace " \
    "capture "                                                                                          \
    "--config FILE --resnapshot (or run), and start the sink again"

enum code embedded_stream_new(struct embedded_reader *r, const char *topic, int partition, int64_t offset,
                              struct embedded_stream **ret, struct part *ret_part, struct err *err) {
    r->store.deadline_us = embedded_deadline(r->env, EMBEDDED_LOCK_MS);
    enum code code = part_find(&r->store, topic, partition, ret_part, err);
    if (code != OK)
        return code;
    struct embedded_stream *s = xcalloc(1, sizeof *s);
    s->topic = xstrdup(topic);
    s->partition = partition;
    s->part = ret_part->id;
    s->at = offset;
    s->end = ret_part->next;
    *ret = s;
    return OK;
}

void embedded_stream_free(struct embedded_stream *s) {
    if (!s)
        return;
    part_chunk_free(&s->chunk);
    free(s->topic);
    free(s);
}

static enum code gone(const struct embedded_stream *s, struct err *err) {
    return err_set(err, FATAL, ERR_JOURNAL_GAP,
                   "topic '%s', partition %d no longer holds offset %" PRId64
                   " (or was made anew): records this sink still needs were deleted. " GAP_MEND,
                   s->topic, s->partition, s->at);
}

/* The chunk that holds what is at `at`, or the next one there is. */
static enum code fetch(struct embedded_reader *r, struct embedded_stream *s, struct err *err) {
    struct part held;
    enum part_read what;
    s->opened = false;
    r->store.deadline_us = embedded_deadline(r->env, EMBEDDED_LOCK_MS);
    enum code code = part_read_at(&r->store, s->part, s->at, &held, &s->chunk, &what, err);
    if (code != OK)
        return code;
    if (what == PART_GONE || s->at < held.low)
        return gone(s, err);
    s->end = held.next;
    if (what == PART_END)
        return AGAIN;
    code = part_chunk_open(&s->chunk, &r->store, s->topic, s->partition, &s->cursor, err);
    s->opened = code == OK;
    return code;
}

enum code embedded_stream_peek(struct embedded_reader *r, struct embedded_stream *s, struct err *err) {
    while (!s->peeked) {
        enum code code = s->opened ? OK : fetch(r, s, err);
        if (code != OK)
            return code;
        code = chunk_next(&s->cursor, &s->head);
        if (code == REJECT)
            return part_damaged(&r->store, s->topic, s->partition, s->at, err);
        s->peeked = code == OK && s->head.offset >= s->at;
        if (code == AGAIN) { /* the chunk is over */
            s->at = s->at > s->chunk.head.last ? s->at : s->chunk.head.last + 1;
            s->opened = false;
        }
    }
    return OK;
}

void embedded_stream_take(struct embedded_stream *s) {
    s->at = s->head.offset + 1;
    s->peeked = false;
}

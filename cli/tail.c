/* tail: changes from the journal in commit order, as lines or JSON objects. Reads like a sink, writes to a
 * terminal. */
#include <fnmatch.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>

#include "base/log.h"
#include "cli/change_json.h"
#include "cli/command.h"
#include "schemas/decode.h"
#include "sink/window.h"

enum { WAIT_MS = 10000 };

struct tail_topic {
    char *name;
    struct stream *streams;
    int n;
};

struct tail {
    const struct arguments *args;
    struct pipeline *pipeline;
    struct stop stop;
    struct journal_reader *reader;
    struct schema_store *store;
    struct decoder *decoder;
    struct window window;
    struct arena arena, record_arena;
    struct tail_topic *topics;
    int n_topics;
    int64_t printed;
    bool skip; /* this record's changes are older than what was asked for */
};

static struct stop *stop_of_signal;
static void on_signal(int signal_number) {
    (void)signal_number;
    stop_request(stop_of_signal); /* NOLINT(bugprone-signal-handler,cert-sig30-c): it writes to an eventfd */
}

static void print_change(const struct tail *t, const struct change *change) {
    const struct table *table = change->table;
    if (t->args->json) {
        json_t *o = change_json(change);
        json_dumpf(o, stdout, JSON_COMPACT);
        json_decref(o);
    } else {
        CLEANUP_FREE char *lsn = xasprintf(LSN_FMT, LSN_ARGS(change->position.commit));
        json_t *row = row_json(table, change->after ? change->after : change->before);
        char *text = json_dumps(row, JSON_COMPACT | JSON_ENCODE_ANY);
        printf("%" PRIu64 " %s#%" PRIu64 " %-8s %s.%s %s", change->position.generation, lsn,
               change->position.ordinal, change_word(change->op), table->schema, table->name,
               change->op == OP_TRUNCATE ? "" : text);
        free(text);
        json_decref(row);
    }
    putchar('\n');
}

static struct tail_topic *find_topic(struct tail *t, const char *name, int partitions) {
    for (int i = 0; i < t->n_topics; i++)
        if (strcmp(t->topics[i].name, name) == 0)
            return &t->topics[i];
    t->topics = xrealloc(t->topics, (size_t)(t->n_topics + 1) * sizeof *t->topics);
    struct tail_topic *topic = &t->topics[t->n_topics++];
    *topic =
        (struct tail_topic){xstrdup(name), xcalloc((size_t)partitions, sizeof(struct stream)), partitions};
    for (int p = 0; p < partitions; p++)
        topic->streams[p] = (struct stream){.partition = p, .id = -1};
    return topic;
}

static enum code show(struct tail *t, struct stream *stream, struct err *err) {
    struct encoded bytes = {stream->head.key, stream->head.value, stream->head.header,
                            stream->head.other_key};
    struct change change;
    arena_reset(&t->arena);
    enum code code = decoder_change(t->decoder, &bytes, &t->arena, &change, err);
    if (code != OK)
        return code == AGAIN ? OK : code;
    CLEANUP_FREE char *name = xasprintf("%s.%s", change.table->schema, change.table->name);
    if (t->args->table && fnmatch(t->args->table, name, 0) != 0)
        return OK;
    print_change(t, &change);
    t->printed++;
    return OK;
}

static bool finished(const struct tail *t) {
    return stop_asked(&t->stop) || (t->args->count && t->printed >= t->args->count);
}

static enum code follow_window(struct tail *t, struct err *err) {
    while (!finished(t)) {
        struct stream *stream;
        enum code code = window_next(&t->window, &stream, err);
        if (code == AGAIN)
            code = t->pipeline->journal_ops->reader_wait(t->reader, 500, err);
        else if (code == OK && !stream)
            return OK;
        else if (code == OK)
            code = show(t, stream, err);
        if (code != OK && code != AGAIN)
            return code;
    }
    return OK;
}

/* Opens the record's window, or, when its changes are older than what was asked for, steps over it. */
static enum code enter(struct tail *t, const struct commit_record *record, struct err *err) {
    for (int i = 0; i < record->n_ends; i++) {
        const struct partition_end *end = &record->ends[i];
        const struct commit_topic *ct = &record->topics[end->topic];
        struct tail_topic *topic = find_topic(t, ct->name, ct->partitions);
        if (end->partition >= topic->n)
            return err_set(err, FATAL, ERR_JOURNAL_TOPIC, "topic %s has more partitions than before",
                           ct->name);
        struct stream *stream = &topic->streams[end->partition];
        if (t->skip) {
            stream->next = end->offset + 1;
            continue;
        }
        enum code code = window_add(&t->window, ct->name, stream, end->offset, err);
        if (code != OK)
            return code;
    }
    return OK;
}

static enum code follow(struct tail *t, uint64_t from_seq, struct err *err) {
    enum code code = OK;
    while (!finished(t) && (code == OK || code == AGAIN)) {
        struct commit_record *record;
        int64_t offset;
        fflush(stdout);
        arena_reset(&t->record_arena);
        code = t->pipeline->journal_ops->commits_next(t->reader, &t->record_arena, &record, &offset, err);
        if (code == AGAIN)
            code = t->pipeline->journal_ops->reader_wait(t->reader, 500, err);
        else if (code == OK) {
            t->skip = record->seq <= from_seq;
            code = enter(t, record, err);
            if (code == OK)
                code = follow_window(t, err);
        }
    }
    return code == AGAIN ? OK : code;
}

static enum code open_all(struct tail *t, struct pipeline_schemas *schemas, uint64_t *ret_from,
                          struct err *err) {
    struct pipeline *p = t->pipeline;
    struct commit_record *last = NULL;
    int64_t offset;
    *ret_from = 0;
    enum code code = p->journal_ops->reader_open(p->journal, &schemas->env, WAIT_MS, &t->reader, err);
    if (code == OK)
        code = pipeline_schemas(schemas, NULL, &t->store, err);
    if (code != OK)
        return code;
    t->decoder = decoder_new(t->store);
    window_init(&t->window, p->journal_ops, t->reader);
    if (!t->args->from_start) {
        code = p->journal_ops->commits_last(t->reader, WAIT_MS, &t->arena, &last, &offset, err);
        if (code != OK && code != AGAIN)
            return code;
        if (last)
            *ret_from = last->seq;
    }
    return p->journal_ops->commits_seek(t->reader, 0, err);
}

static void close_all(struct tail *t) {
    window_free(&t->window);
    for (int i = 0; i < t->n_topics; i++) {
        free(t->topics[i].name);
        free(t->topics[i].streams);
    }
    free(t->topics);
    decoder_free(t->decoder);
    schema_store_free(t->store);
    if (t->reader)
        t->pipeline->journal_ops->reader_close(t->reader);
    arena_free(&t->arena);
    arena_free(&t->record_arena);
    stop_free(&t->stop);
    pipeline_free(t->pipeline);
}

int command_tail(const struct arguments *args) {
    int exit_code;
    struct tail t = {.args = args, .pipeline = command_pipeline(args, &exit_code)};
    if (!t.pipeline)
        return exit_code;
    log_setup(LOG_WARN, t.pipeline->log.format == 1);
    stop_init(&t.stop);
    stop_of_signal = &t.stop;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    struct err err = {0};
    struct pipeline_schemas schemas = {t.pipeline, {&clock_system, &t.stop}};
    uint64_t from;
    enum code code = open_all(&t, &schemas, &from, &err);
    if (code == OK)
        code = follow(&t, from, &err);
    fflush(stdout);
    close_all(&t);
    return code == OK || code == AGAIN ? 0 : command_fail(&err);
}

/* journal: what it holds (info), its records (dump), tidying it (compact) and proving it (check). Which kind
 * it is knows the kind alone. */
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>

#include "base/log.h"
#include "cli/change_json.h"
#include "cli/command.h"
#include "schemas/decode.h"

enum { WAIT_MS = 10000, QUIET_MS = 1000 }; /* a dump ends when nothing came for so long */

struct look {
    const struct arguments *args;
    struct pipeline *p;
    struct stop stop;
    struct journal_env env;
};

static struct stop *stop_of_signal;
static void on_signal(int signal_number) {
    (void)signal_number;
    stop_request(stop_of_signal); /* NOLINT(bugprone-signal-handler,cert-sig30-c): it writes to an eventfd */
}

/* ---- info ---- */

static void add_commit(json_t *page, const struct commit_record *last) {
    if (!last)
        return;
    CLEANUP_FREE char *lsn = xasprintf(LSN_FMT, LSN_ARGS(last->position.commit));
    json_object_set_new(page, "last_commit",
                        json_pack("{s:I, s:I, s:s, s:I, s:b, s:I}", "seq", (json_int_t)last->seq,
                                  "generation", (json_int_t)last->position.generation, "commit", lsn,
                                  "ordinal", (json_int_t)last->position.ordinal, "boundary", last->boundary,
                                  "ts_us", (json_int_t)last->ts_us));
}

static void print_value(json_t *value) {
    CLEANUP_FREE char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    printf(" %s\n", json_is_string(value) ? json_string_value(value) : text ? text : "?");
}

static void print_info(json_t *page) {
    const char *key;
    json_t *value, *topic;
    size_t i;
    json_object_foreach(page, key, value) {
        if (json_is_array(value))
            continue;
        printf("%-20s", key);
        print_value(value);
    }
    json_array_foreach(json_object_get(page, "topics"), i, topic) {
        int64_t oldest_us = json_integer_value(json_object_get(topic, "oldest_us"));
        printf("%s[%" JSON_INTEGER_FORMAT "]  offsets %" JSON_INTEGER_FORMAT
               " to before %" JSON_INTEGER_FORMAT "  %" JSON_INTEGER_FORMAT " bytes",
               json_string_value(json_object_get(topic, "topic")),
               json_integer_value(json_object_get(topic, "partition")),
               json_integer_value(json_object_get(topic, "low")),
               json_integer_value(json_object_get(topic, "next")),
               json_integer_value(json_object_get(topic, "bytes")));
        if (oldest_us)
            printf("  oldest %.0f s", clock_age_s(&clock_system, oldest_us));
        printf("%s\n", json_is_true(json_object_get(topic, "compacted")) ? "  compacted" : "");
    }
}

static int info(struct look *l) {
    struct err err = {0};
    CLEANUP_BUF text = {0};
    struct arena arena = {0};
    struct commit_record *last = NULL;
    enum code code = l->p->journal_ops->info(l->p->journal, &l->env, WAIT_MS, &text, &err);
    if (code == OK)
        code = pipeline_last_commit(l->p, &l->stop, WAIT_MS, &arena, &last, &err);
    json_t *page = code == OK ? json_loadb(text.data, text.len, 0, NULL) : NULL;
    if (page) {
        add_commit(page, last);
        if (l->args->json)
            json_dumpf(page, stdout, JSON_INDENT(1)), putchar('\n');
        else
            print_info(page);
        json_decref(page);
    } else if (code == OK) {
        code = err_set(&err, FATAL, ERR_JOURNAL_CORRUPT, "what the journal says of itself cannot be read");
    }
    arena_free(&arena);
    return code == OK ? 0 : command_fail(&err);
}

/* ---- dump ---- */

struct dump {
    struct look *look;
    char *topic;
    bool of_table;
    struct journal_reader *reader;
    struct schema_store *store;
    struct decoder *decoder;
    struct arena arena;
    int64_t printed;
};

/* Commit records and schemas are JSON themselves. */
static json_t *content(struct dump *d, const struct journal_record *record, enum code *ret, struct err *err) {
    struct encoded bytes = {record->key, record->value, record->header, record->other_key};
    struct change change;
    *ret = OK;
    if (!d->of_table)
        return record->value.data ? json_loadb(record->value.data, record->value.len, 0, NULL) : json_null();
    arena_reset(&d->arena);
    *ret = decoder_change(d->decoder, &bytes, &d->arena, &change, err);
    return *ret == OK ? change_json(&change) : json_null();
}

static enum code print_record(struct dump *d, const struct journal_record *record, struct err *err) {
    enum code code;
    json_t *value = content(d, record, &code, err);
    if (code != OK && code != AGAIN) {
        json_decref(value);
        err_prefix(err, "topic '%s', partition %" PRId64 ", offset %" PRId64 ": ", d->topic,
                   d->look->args->partition, record->offset);
        return code;
    }
    json_t *line =
        json_pack("{s:s, s:I, s:I, s:I, s:o}", "topic", d->topic, "partition",
                  (json_int_t)d->look->args->partition, "offset", (json_int_t)record->offset, "ts_us",
                  (json_int_t)record->ts_us, d->of_table ? "change" : "value", value ? value : json_null());
    json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(line);
    d->printed++;
    return OK;
}

static enum code print_all(struct dump *d, struct err *err) {
    const struct journal_ops *ops = d->look->p->journal_ops;
    const struct arguments *args = d->look->args;
    struct journal_record record;
    bool quiet = false;
    int stream;
    enum code code = ops->stream_open(d->reader, d->topic, (int)args->partition, args->offset, &stream, err);
    if (code != OK)
        return code;
    while (!stop_asked(&d->look->stop) && !(args->count && d->printed >= args->count)) {
        code = ops->stream_next(d->reader, stream, INT64_MAX - 1, &record, err);
        if (code == AGAIN && quiet)
            break;
        quiet = code == AGAIN;
        if (code == AGAIN)
            code = ops->reader_wait(d->reader, QUIET_MS, err);
        else if (code == OK)
            code = print_record(d, &record, err);
        if (code != OK && code != AGAIN)
            break;
    }
    ops->stream_close(d->reader, stream);
    return code == AGAIN ? OK : code;
}

static char *full_name(const struct pipeline *p, const char *topic) {
    const char *prefix = p->journal_ops->prefix(p->journal);
    size_t n = strlen(prefix);
    return strncmp(topic, prefix, n) == 0 && topic[n] == '.' ? xstrdup(topic)
                                                             : xasprintf("%s.%s", prefix, topic);
}

static int dump(struct look *l) {
    struct err err = {0};
    if (!l->args->topic)
        return command_fail(&(struct err){.id = ERR_USAGE,
                                          .text = "journal dump needs --topic NAME, for example --topic "
                                                  "public.item; millrace journal info lists them"});
    if (l->args->partition > INT16_MAX)
        return command_fail(&(struct err){.id = ERR_USAGE, .text = "there is no such partition"});
    struct dump d = {.look = l, .topic = full_name(l->p, l->args->topic)};
    const char *own = d.topic + strlen(l->p->journal_ops->prefix(l->p->journal)) + 1;
    d.of_table = strcmp(own, "commits") != 0 && strcmp(own, "schemas") != 0;
    struct pipeline_schemas schemas = {l->p, l->env};
    enum code code = l->p->journal_ops->reader_open(l->p->journal, &l->env, WAIT_MS, &d.reader, &err);
    if (code == OK)
        code = pipeline_schemas(&schemas, NULL, &d.store, &err);
    if (code == OK) {
        d.decoder = decoder_new(d.store);
        code = print_all(&d, &err);
    }
    fflush(stdout);
    decoder_free(d.decoder);
    schema_store_free(d.store);
    if (d.reader)
        l->p->journal_ops->reader_close(d.reader);
    arena_free(&d.arena);
    free(d.topic);
    return code == OK ? 0 : command_fail(&err);
}

/* ---- compact, check ---- */

static int compact(struct look *l) {
    struct err err = {0};
    int64_t before = 0, after = 0;
    if (l->p->journal_ops->tidy(l->p->journal, &l->env, &before, &after, &err) != OK)
        return command_fail(&err);
    if (l->args->json)
        printf("{\"bytes_before\":%" PRId64 ",\"bytes_after\":%" PRId64 "}\n", before, after);
    else
        printf("the journal held %" PRId64 " bytes and holds %" PRId64
               "; freed room is used again, the file keeps its size\n",
               before, after);
    return 0;
}

static int check(struct look *l) {
    struct err err = {0};
    CLEANUP_BUF findings = {0};
    enum code code = l->p->journal_ops->prove(l->p->journal, &l->env, &findings, &err);
    if (code != OK && findings.len == 0)
        return command_fail(&err);
    return doctor_print(l->args, "journal", l->p->journal_ops->options->name, code, &err, &findings);
}

static const struct {
    const char *name;
    int (*run)(struct look *);
} verbs[] = {{"info", info}, {"dump", dump}, {"compact", compact}, {"check", check}};

int command_journal(const struct arguments *args) {
    const char *verb = args->n_rest == 1 ? args->rest[0] : "";
    size_t i = 0, n = sizeof verbs / sizeof *verbs;
    while (i < n && strcmp(verbs[i].name, verb) != 0)
        i++;
    if (i == n)
        return command_fail(&(struct err){
            .id = ERR_USAGE,
            .text = "write `millrace journal info`, `journal dump`, `journal compact` or `journal check`"});
    int exit_code;
    struct look l = {.args = args, .p = command_pipeline(args, &exit_code)};
    if (!l.p)
        return exit_code;
    log_setup(LOG_ERROR, l.p->log.format == 1);
    stop_init(&l.stop);
    l.env = (struct journal_env){.clock = &clock_system, .stop = &l.stop};
    stop_of_signal = &l.stop;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    exit_code = verbs[i].run(&l);
    stop_free(&l.stop);
    pipeline_free(l.p);
    return exit_code;
}

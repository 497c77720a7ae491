/* status: source, journal and replicas as they are now, asked from outside; no running process is needed. */
#include <jansson.h>
#include <stdio.h>

#include "base/log.h"
#include "cli/command.h"

enum { WAIT_MS = 5000 };

static json_t *error_json(const struct err *err) {
    return json_pack("{s:s, s:{s:s, s:s}}", "state", err_name(err->id), "error", "name", err_name(err->id),
                     "text", err->text);
}

static json_t *part_json(enum code code, struct buf *text, const struct err *err) {
    json_t *o = code == OK ? json_loadb(text->data, text->len, 0, NULL) : NULL;
    return o ? o : error_json(err);
}

static json_t *source_json(struct pipeline *p, const struct stop *stop, const struct commit_record *last) {
    struct source_env env = {&clock_system, stop, p->source_name};
    struct source_resume resume;
    struct err err = {0};
    CLEANUP_BUF text = {0};
    pipeline_resume(last, &resume);
    enum code code = p->source->status(p->source_options, &env, &resume, WAIT_MS, &text, &err);
    json_t *o = part_json(code, &text, &err);
    json_object_set_new(o, "name", json_string(p->source_name));
    return o;
}

static json_t *position_json(struct position position) {
    CLEANUP_FREE char *lsn = xasprintf(LSN_FMT, LSN_ARGS(position.commit));
    return json_pack("{s:I, s:s, s:I}", "generation", (json_int_t)position.generation, "commit", lsn,
                     "ordinal", (json_int_t)position.ordinal);
}

static json_t *journal_json(const struct commit_record *last, const struct err *err) {
    if (err->id)
        return error_json(err);
    if (!last)
        return json_pack("{s:s}", "state", "empty");
    return json_pack("{s:s, s:I, s:o, s:b, s:I}", "state", "ok", "seq", (json_int_t)last->seq, "position",
                     position_json(last->position), "boundary", last->boundary, "ts_us",
                     (json_int_t)last->ts_us);
}

/* Lag of the slowest worker, against the newest commit record. */
static void add_lag(json_t *sink, const struct commit_record *last) {
    json_t *workers = json_object_get(sink, "workers"), *w;
    if (!json_is_array(workers) || !last)
        return;
    size_t i;
    int64_t slowest = INT64_MAX, commit_us = 0;
    json_array_foreach(workers, i, w) {
        int64_t seq = json_integer_value(json_object_get(w, "commit_seq"));
        if (seq >= slowest)
            continue;
        slowest = seq;
        commit_us = json_integer_value(json_object_get(w, "commit_us"));
    }
    if (slowest == INT64_MAX)
        slowest = 0;
    int64_t behind = (int64_t)last->seq - slowest;
    double lag = behind > 0 && commit_us > 0 ? clock_age_s(&clock_system, commit_us) : 0;
    json_object_set_new(sink, "lag_commit_records", json_integer(behind));
    bool building =
        slowest == 0 && behind > 0; /* nothing applied yet: how far it is behind cannot be told in seconds */
    json_object_set_new(sink, "lag_seconds", building ? json_null() : json_real(lag));
    if (json_object_get(sink, "state"))
        return;
    bool parked = json_array_size(json_object_get(sink, "parked")) > 0;
    json_object_set_new(sink, "state",
                        json_string(parked       ? "tables-parked"
                                    : building   ? "building"
                                    : behind > 0 ? "behind"
                                                 : "current"));
}

static json_t *sink_json(const struct pipeline_sink *sink, const struct stop *stop,
                         const struct commit_record *last) {
    struct target_env env = {&clock_system, stop, sink->name, "status"};
    struct err err = {0};
    CLEANUP_BUF text = {0};
    enum code code = sink->target->status(sink->target_options, &env, WAIT_MS, &text, &err);
    json_t *o = part_json(code, &text, &err);
    json_object_set_new(o, "name", json_string(sink->name));
    json_object_set_new(o, "consistency",
                        json_string(sink->config.consistency == CONSISTENCY_KEY ? "key" : "transaction"));
    add_lag(o, last);
    return o;
}

static const char *text_of(json_t *o, const char *key) {
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "?";
}

static void print_error(json_t *o) {
    json_t *error = json_object_get(o, "error");
    if (error)
        printf("           %s\n", text_of(error, "text"));
}

static void print_scalars(json_t *o) {
    const char *key;
    json_t *value;
    json_object_foreach(o, key, value) {
        if (json_is_integer(value))
            printf("  %s=%lld", key, (long long)json_integer_value(value));
        if (json_is_real(value))
            printf("  %s=%.3f", key, json_real_value(value));
        if (json_is_string(value) && strcmp(key, "name") != 0 && strcmp(key, "state") != 0)
            printf("  %s=%s", key, json_string_value(value));
    }
    putchar('\n');
}

static void print_part(const char *kind, json_t *o) {
    printf("%-8s %-16s %-16s", kind, json_object_get(o, "name") ? text_of(o, "name") : "",
           text_of(o, "state"));
    print_scalars(o);
    print_error(o);
    size_t i;
    json_t *parked;
    json_array_foreach(json_object_get(o, "parked"), i, parked)
        printf("           parked %s.%s: %s\n", text_of(parked, "schema"), text_of(parked, "table"),
               text_of(parked, "reason"));
}

static void print_for_people(json_t *page) {
    size_t i;
    json_t *sink;
    if (json_object_get(page, "source"))
        print_part("source", json_object_get(page, "source"));
    print_part("journal", json_object_get(page, "journal"));
    json_array_foreach(json_object_get(page, "sinks"), i, sink) print_part("sink", sink);
}

int command_status(const struct arguments *args) {
    int exit_code;
    struct pipeline *p = command_pipeline(args, &exit_code);
    if (!p)
        return exit_code;
    log_setup(LOG_ERROR, p->log.format == 1);
    struct stop stop;
    struct arena arena = {0};
    struct commit_record *last = NULL;
    struct err err = {0};
    stop_init(&stop);
    if (pipeline_last_commit(p, &stop, WAIT_MS, &arena, &last, &err) != OK)
        last = NULL;
    json_t *page = json_object(), *sinks = json_array();
    if (p->source)
        json_object_set_new(page, "source", source_json(p, &stop, last));
    json_object_set_new(page, "journal", journal_json(last, &err));
    for (int i = 0; i < p->n_sinks; i++)
        json_array_append_new(sinks, sink_json(&p->sinks[i], &stop, last));
    json_object_set_new(page, "sinks", sinks);
    if (args->json) {
        json_dumpf(page, stdout, JSON_INDENT(1));
        putchar('\n');
    } else {
        print_for_people(page);
    }
    bool lost =
        strcmp(text_of(json_object_get(page, "source"), "state"), err_name(ERR_NEEDS_RESNAPSHOT)) == 0;
    json_decref(page);
    arena_free(&arena);
    stop_free(&stop);
    pipeline_free(p);
    return lost ? err_exit(ERR_NEEDS_RESNAPSHOT) : 0;
}

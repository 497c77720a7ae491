/* doctor: everything that can be known before starting. Each room appends findings as JSON objects
 *   {"level":"error|warn|ok","id":"...","what":"...","mend":"..."}
 * and this file prints them for people or scripts. */
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/command.h"

enum { WAIT_MS = 10000 };

struct report {
    json_t *parts; /* [{"part":"source shop","findings":[...]}] */
    int errors, warnings;
};

static json_t *finding(const char *level, const char *id, const char *what, const char *mend) {
    return json_pack("{s:s, s:s, s:s, s:s}", "level", level, "id", id, "what", what, "mend", mend);
}

static void count(struct report *r, json_t *findings) {
    size_t i;
    json_t *f;
    json_array_foreach(findings, i, f) {
        const char *level = json_string_value(json_object_get(f, "level"));
        r->errors += level && strcmp(level, "error") == 0;
        r->warnings += level && strcmp(level, "warn") == 0;
    }
}

/* Takes a room's findings, or the error that kept it from looking. */
static void add_part(struct report *r, const char *kind, const char *name, enum code code,
                     const struct err *err, struct buf *findings) {
    CLEANUP_BUF text = {0};
    buf_putc(&text, '[');
    while (findings->len &&
           (findings->data[findings->len - 1] == ',' || findings->data[findings->len - 1] == '\n'))
        findings->len--;
    size_t skip = findings->len && findings->data[0] == ',' ? 1 : 0;
    buf_put(&text, findings->data + skip, findings->len - skip);
    buf_putc(&text, ']');
    json_t *list = json_loadb(text.data, text.len, 0, NULL);
    if (!list)
        list = json_pack(
            "[o]", finding("error", "bug", "the findings of this part could not be read", "report this"));
    if (code != OK)
        json_array_append_new(list, finding("error", err_name(err->id), err->text, ""));
    count(r, list);
    CLEANUP_FREE char *part = xasprintf("%s%s%s", kind, *name ? " " : "", name);
    json_array_append_new(r->parts, json_pack("{s:s, s:o}", "part", part, "findings", list));
}

static void check_source(struct report *r, struct pipeline *p, const struct stop *stop,
                         const struct commit_record *last) {
    if (!p->source)
        return;
    struct source_env env = {&clock_system, stop, p->source_name};
    struct source_resume resume;
    struct err err = {0};
    CLEANUP_BUF findings = {0};
    pipeline_resume(last, &resume);
    enum code code = p->source->check(p->source_options, &env, &resume, WAIT_MS, &findings, &err);
    add_part(r, "source", p->source_name, code, &err, &findings);
}

static void check_registry(struct report *r, struct pipeline *p) {
    if (!p->has_registry)
        return;
    struct err err = {0};
    CLEANUP_BUF findings = {0};
    enum code code = registry_check(&p->registry, &err);
    if (code == OK)
        buf_puts(
            &findings,
            "{\"level\":\"ok\",\"id\":\"registry\",\"what\":\"the schema registry answers\",\"mend\":\"\"}");
    add_part(r, "schemas", "registry", code, &err, &findings);
}

static void check_sinks(struct report *r, struct pipeline *p, const struct stop *stop) {
    for (int i = 0; i < p->n_sinks; i++) {
        const struct pipeline_sink *sink = &p->sinks[i];
        struct target_env env = {&clock_system, stop, sink->name, "doctor"};
        struct err err = {0};
        CLEANUP_BUF findings = {0};
        enum code code = sink->target->check(sink->target_options, &env, WAIT_MS, &findings, &err);
        add_part(r, "sink", sink->name, code, &err, &findings);
    }
}

static void print_for_people(const struct report *r) {
    bool colour = isatty(STDOUT_FILENO);
    size_t i, k;
    json_t *part, *f;
    json_array_foreach(r->parts, i, part) {
        printf("%s\n", json_string_value(json_object_get(part, "part")));
        json_array_foreach(json_object_get(part, "findings"), k, f) {
            const char *level = json_string_value(json_object_get(f, "level")),
                       *mend = json_string_value(json_object_get(f, "mend"));
            const char *paint = !colour || !level ? ""
                                : *level == 'e'   ? "\033[31m"
                                : *level == 'w'   ? "\033[33m"
                                                  : "\033[32m";
            printf("  %s%-5s%s %s\n", paint, level ? level : "?", *paint ? "\033[0m" : "",
                   json_string_value(json_object_get(f, "what")));
            if (mend && *mend)
                printf("        mend: %s\n", mend);
        }
    }
    printf("%d error%s, %d warning%s\n", r->errors, r->errors == 1 ? "" : "s", r->warnings,
           r->warnings == 1 ? "" : "s");
}

/* @param all journal, registry and replicas, too */
/* The exit code; takes the report. */
static int print_report(const struct arguments *args, struct report *r) {
    if (args->json) {
        json_t *page =
            json_pack("{s:i, s:i, s:O}", "errors", r->errors, "warnings", r->warnings, "parts", r->parts);
        json_dumpf(page, stdout, JSON_INDENT(1));
        putchar('\n');
        json_decref(page);
    } else {
        print_for_people(r);
    }
    json_decref(r->parts);
    return r->errors ? 1 : 0;
}

int doctor_print(const struct arguments *args, const char *kind, const char *name, enum code code,
                 const struct err *err, struct buf *findings) {
    struct report r = {.parts = json_array()};
    add_part(&r, kind, name, code, err, findings);
    return print_report(args, &r);
}

static int examine(const struct arguments *args, bool all) {
    int exit_code;
    struct pipeline *p = command_pipeline(args, &exit_code);
    if (!p)
        return exit_code;
    log_setup(LOG_ERROR, p->log.format == 1);
    struct report r = {.parts = json_array()};
    struct stop stop;
    struct arena arena = {0};
    struct commit_record *last = NULL;
    struct err err = {0};
    CLEANUP_BUF findings = {0};
    stop_init(&stop);
    enum code code = p->journal_ops->check(p->journal, WAIT_MS, &findings, &err);
    if (code == OK)
        code = pipeline_last_commit(p, &stop, WAIT_MS, &arena, &last, &err);
    if (code != OK)
        last = NULL;
    if (all)
        add_part(&r, "journal", p->journal_ops->options->name, code, &err, &findings);
    check_source(&r, p, &stop, last);
    if (all) {
        check_registry(&r, p);
        check_sinks(&r, p, &stop);
    }
    exit_code = print_report(args, &r);
    arena_free(&arena);
    stop_free(&stop);
    pipeline_free(p);
    return exit_code;
}

int command_doctor(const struct arguments *args) {
    return examine(args, true);
}

int doctor_source(const struct arguments *args) {
    return examine(args, false);
}

/* millrace: ships a database's changes to its replicas. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "cli/command.h"

#ifndef MILLRACE_VERSION
#define MILLRACE_VERSION "0.1.0"
#endif

/* What jemalloc, in builds without sanitizers, reads at the start (jemalloc(3), "TUNING"): one arena, for
 * most memory is taken by one thread and given back by another; what is free goes back to the system within a
 * second instead of ten. */
extern const char *malloc_conf;
const char *malloc_conf = "narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0";

static int command_version(const struct arguments *args) {
    if (args->json)
        printf("{\"version\":\"%s\"}\n", MILLRACE_VERSION);
    else
        printf("millrace %s\n", MILLRACE_VERSION);
    return 0;
}

const struct command commands[] = {
    {"quickstart", "quickstart SOURCE_URL REPLICA_URL: look at two databases and write a configuration",
     ARG_OUTPUT | ARG_FORCE, command_quickstart,
     "URLs: postgresql://user@host/database, sqlite:/path/to/file (as a replica). Passwords stay out of the "
     "file. Writes nothing but the file; then\nruns doctor, and says what to type next. Exit code 0: nothing "
     "to mend or warnings only; 1: the file is written, and the doctor found errors."},
    {"run", "capture and all sinks of the file in one process", ARG_CONFIG | ARG_RESNAPSHOT, command_run,
     "SIGTERM stops within 5 s. SIGHUP reads the file again: sinks that are new start, sinks that are gone "
     "stop,\nchanged ones start anew, parked tables are tried again."},
    {"capture", "ship the source's changes to the journal", ARG_CONFIG | ARG_RESNAPSHOT, command_capture,
     "--resnapshot begins a new generation: a snapshot of every table, then the stream from exactly there."},
    {"sink", "apply the journal to the replicas (one with --sink, else all)", ARG_CONFIG | ARG_SINK,
     command_sink,
     "Two processes of one sink may run: the second takes over when the first has not been seen for "
     "`lease`."},
    {"doctor", "check source, journal, registry and replicas; say how to mend each finding",
     ARG_CONFIG | ARG_JSON, command_doctor,
     "Changes nothing. Exit code 0: nothing to mend or warnings only; 1: at least one error."},
    {"status", "where everything stands: positions, lag, parked tables", ARG_CONFIG | ARG_JSON,
     command_status, "Asks source, journal and replicas; needs no running process."},
    {"tail", "print changes from the journal as lines or JSON",
     ARG_CONFIG | ARG_JSON | ARG_TABLE | ARG_COUNT | ARG_FROM_START, command_tail,
     "Prints row values: mind who reads the terminal."},
    {"replay", "empty a sink and build it again from the journal alone", ARG_CONFIG | ARG_SINK,
     command_replay,
     "The running sink notices within seconds; readers of the replica see the old state until the new one is "
     "complete."},
    {"migrate-journal", "move the pipeline to the journal of another configuration, without a new snapshot",
     ARG_CONFIG | ARG_TO, command_migrate,
     "--config names the configuration that runs, --to the one to go on with: the same source and sinks, "
     "another journal. Most is copied while\n"
     "the pipeline runs; then capture is fenced and the rest is copied. Run it again if it was interrupted."},
    {"source",
     "source install | check | uninstall: what a source that is fed by triggers needs in its database",
     ARG_CONFIG | ARG_JSON | ARG_PRINT, command_source,
     "install and uninstall may be run again at any time; --print changes nothing and prints the SQL for "
     "whoever\nmay run it. check is what doctor says of the source; exit code 0: nothing to mend or warnings "
     "only; 1: an error."},
    {"journal", "look after the journal: info, dump, compact, check",
     ARG_CONFIG | ARG_JSON | ARG_TOPIC | ARG_COUNT, command_journal,
     "journal info: what it holds, by topic and partition, its budget, its writer and the newest commit "
     "record.\n"
     "journal dump --topic NAME: records as JSON lines, those of tables decoded; they have ROW VALUES: mind "
     "who reads them. It ends at the end.\n"
     "journal compact: retention and compaction now, by what the running capture is configured to; harms no "
     "running pipeline.\n"
     "journal check: reads everything that is held and proves it: pages, checksums, offsets, ends against "
     "the commit records.\n"
     "Exit code of check 0: whole, 1: damage, which is named. A journal in Kafka has tools of its own, which "
     "are named; dump works with both."},
    {"config", "config check: read the file, connect nowhere; config reference: print every key", ARG_CONFIG,
     command_config, NULL},
    {"version", "print the version", ARG_JSON, command_version, NULL},
    {0},
};

static void print_usage(FILE *out) {
    fprintf(out,
            "millrace %s ships a database's changes to its replicas, exactly once.\n\nusage: millrace "
            "COMMAND [--config FILE] [options]\n\n",
            MILLRACE_VERSION);
    for (const struct command *c = commands; c->name; c++)
        fprintf(out, "  %-15s %s\n", c->name, c->summary);
    fputs("\nmillrace COMMAND --help tells its options. Exit codes: 0 done, 1 findings, 2 usage, 3 "
          "configuration,\n"
          "4 needs-resnapshot, 5 stopped by a named error, 6 a peer is out of reach, 7 the operating system "
          "refused.\n",
          out);
}

/* One row per option: parses it and explains it. */
static const struct flag {
    const char *name, *value; /* value: its name in the help, NULL = a switch */
    unsigned arg;
    enum { SET_TEXT, SET_NUMBER, SET_PLACE, SET_SWITCH } type; /* PLACE: a number from 0 on */
    size_t offset;
    const char *help;
} flags[] = {
    {"--config", "FILE", ARG_CONFIG, SET_TEXT, offsetof(struct arguments, config),
     "configuration, - for standard input (default: $MILLRACE_CONFIG, then millrace.yaml)"},
    {"--to", "FILE", ARG_TO, SET_TEXT, offsetof(struct arguments, to), "configuration with the new journal"},
    {"--output", "FILE", ARG_OUTPUT, SET_TEXT, offsetof(struct arguments, output),
     "the configuration to write (default: millrace.yaml)"},
    {"--force", NULL, ARG_FORCE, SET_SWITCH, offsetof(struct arguments, force),
     "replace a file that is there"},
    {"--sink", "NAME", ARG_SINK, SET_TEXT, offsetof(struct arguments, sink), "the sink to work on"},
    {"--table", "PATTERN", ARG_TABLE, SET_TEXT, offsetof(struct arguments, table),
     "only tables \"schema.table\" that match ('*', '?')"},
    {"--topic", "NAME", ARG_TOPIC, SET_TEXT, offsetof(struct arguments, topic),
     "the topic to dump, with or without its prefix"},
    {"--partition", "N", ARG_TOPIC, SET_PLACE, offsetof(struct arguments, partition),
     "and its partition (0)"},
    {"--offset", "N", ARG_TOPIC, SET_PLACE, offsetof(struct arguments, offset), "from this offset on (0)"},
    {"--count", "N", ARG_COUNT, SET_NUMBER, offsetof(struct arguments, count), "stop after N changes"},
    {"--from-start", NULL, ARG_FROM_START, SET_SWITCH, offsetof(struct arguments, from_start),
     "from the oldest change in the journal instead of the newest"},
    {"--resnapshot", NULL, ARG_RESNAPSHOT, SET_SWITCH, offsetof(struct arguments, resnapshot),
     "take a new snapshot, in a new generation"},
    {"--print", NULL, ARG_PRINT, SET_SWITCH, offsetof(struct arguments, print),
     "print the SQL instead of running it"},
    {"--json", NULL, ARG_JSON, SET_SWITCH, offsetof(struct arguments, json), "for scripts"},
};
enum { N_FLAGS = sizeof flags / sizeof *flags };

static int print_help(const struct command *c) {
    printf("millrace %s: %s\n\n", c->name, c->summary);
    for (int i = 0; i < N_FLAGS; i++)
        if (c->takes & flags[i].arg)
            printf("  %-13s %-8s %s\n", flags[i].name, flags[i].value ? flags[i].value : "", flags[i].help);
    if (c->more)
        printf("\n%s\n", c->more);
    return 0;
}

int command_fail(const struct err *err) {
    fprintf(stderr, "millrace: %s: %s\n", err_name(err->id), err->text);
    return err_exit(err->id);
}

struct pipeline *command_pipeline(const struct arguments *args, int *ret_exit) {
    struct err err = {0};
    struct pipeline *p;
    if (pipeline_read(args->config, &p, &err) != OK) {
        *ret_exit = command_fail(&err);
        return NULL;
    }
    log_setup((enum log_level)p->log.level, p->log.format == 1);
    return p;
}

static int usage(const char *what, const char *word) {
    fprintf(stderr, "millrace: usage: %s%s; see millrace --help\n", what, word);
    return 2;
}

static const struct flag *find_flag(const char *word, const struct command *command, const char **ret_value) {
    size_t n = strcspn(word, "=");
    *ret_value = word[n] ? word + n + 1 : NULL;
    for (int i = 0; i < N_FLAGS; i++)
        if ((command->takes & flags[i].arg) && strlen(flags[i].name) == n &&
            memcmp(flags[i].name, word, n) == 0)
            return &flags[i];
    return NULL;
}

static bool set_flag(const struct flag *flag, const char *value, struct arguments *args) {
    void *into = (char *)args + flag->offset;
    switch (flag->type) {
    case SET_TEXT:
        *(const char **)into = value;
        return true;
    case SET_NUMBER:
        return (*(int64_t *)into = value ? strtoll(value, NULL, 10) : 0) > 0;
    case SET_PLACE:
        return value && value[strspn(value, "0123456789")] == 0 &&
               (*(int64_t *)into = strtoll(value, NULL, 10)) >= 0;
    case SET_SWITCH:
        return *(bool *)into = true;
    }
    return false;
}

/* Returns -1 to go on, or the exit code. */
static int parse(int argc, char **argv, const struct command *command, struct arguments *args) {
    args->rest = xcalloc((size_t)argc + 1, sizeof *args->rest);
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return print_help(command);
        if (argv[i][0] != '-' || !argv[i][1]) {
            args->rest[args->n_rest++] = argv[i];
            continue;
        }
        const char *value;
        const struct flag *flag = find_flag(argv[i], command, &value);
        if (!flag)
            return usage("this command has no option ", argv[i]);
        if (flag->value && !value && ++i < argc)
            value = argv[i];
        if (flag->value ? !value : value != NULL)
            return usage(flag->value ? "a value is missing after " : "no value belongs to ", flag->name);
        if (!set_flag(flag, value, args))
            return usage(flag->type == SET_PLACE ? "a number from 0 on belongs to "
                                                 : "a number above 0 belongs to ",
                         flag->name);
    }
    return -1;
}

int main(int argc, char **argv) {
    if (argc < 2)
        return print_usage(stderr), 2;
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
        return print_usage(stdout), 0;
    if (strcmp(argv[1], "--version") == 0)
        return command_version(&(struct arguments){0});
    const struct command *command = commands;
    while (command->name && strcmp(command->name, argv[1]) != 0)
        command++;
    if (!command->name)
        return usage("there is no command ", argv[1]);
    const char *config = getenv("MILLRACE_CONFIG");
    struct arguments args = {.config = config ? config : "millrace.yaml"};
    int code = parse(argc - 2, argv + 2, command, &args);
    if (code >= 0)
        return free(args.rest), code;
    if (args.n_rest > 0 && command->run != command_quickstart && command->run != command_config &&
        command->run != command_source && command->run != command_journal)
        return usage("unexpected word ", args.rest[0]);
    log_setup(LOG_INFO, false);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    code = command->run(&args);
    free(args.rest);
    curl_global_cleanup();
    return code;
}

/* migrate-journal: the pipeline of one configuration goes on in the journal of another. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "base/log.h"
#include "cli/command.h"
#include "journal/move.h"

static struct stop *stop_of_signal;
static void on_signal(int signal_number) {
    (void)signal_number;
    stop_request(stop_of_signal); /* NOLINT(bugprone-signal-handler,cert-sig30-c): it writes to an eventfd */
}

struct watch {
    int64_t begun_us;
    bool told_sealed;
};

static void report(void *arg, const struct move_progress *p) {
    struct watch *w = arg;
    double seconds = (double)(clock_mono(&clock_system) - w->begun_us) / 1e6;
    double rate = seconds > 0 ? (double)p->records / seconds : 0;
    if (p->sealed && !w->told_sealed)
        fprintf(stderr, "the old journal is sealed; copying the rest\n");
    w->told_sealed = p->sealed;
    fprintf(stderr, "%" PRIu64 " records, %.1f MB copied, %.0f records/s, at most %" PRIu64 " left",
            p->records, (double)p->bytes / 1e6, rate, p->records_left);
    if (rate > 0)
        fprintf(stderr, ", about %.0f s", (double)p->records_left / rate);
    fputc('\n', stderr);
}

/* What must be the same, or the new configuration would not go on with what the old one did. */
static enum code check_same(const struct pipeline *from, const struct pipeline *to, struct err *err) {
    if (!from->source_name || !to->source_name || strcmp(from->source_name, to->source_name) != 0 ||
        from->source != to->source)
        return err_set(err, FATAL, ERR_CONFIG, "%s and %s must name the same source: only the journal moves",
                       from->path, to->path);
    return OK;
}

static enum code move(struct pipeline *from, struct pipeline *to, struct move_progress *ret,
                      struct err *err) {
    struct stop stop;
    stop_init(&stop);
    stop_of_signal = &stop;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    struct pipeline_schemas of_from = {from, {.clock = &clock_system, .stop = &stop}},
                            of_to = {to, {.clock = &clock_system, .stop = &stop}};
    struct watch watch = {.begun_us = clock_mono(&clock_system)};
    struct move_env env = {
        .clock = &clock_system,
        .stop = &stop,
        .source = from->source_name,
        .from = {from->journal, pipeline_schemas, &of_from},
        .to = {to->journal, pipeline_schemas, &of_to},
        .report = report,
        .report_arg = &watch,
    };
    enum code code = check_same(from, to, err);
    if (code == OK)
        code = journal_move(&env, ret, err);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    stop_free(&stop);
    return code;
}

int command_migrate(const struct arguments *args) {
    int exit_code;
    if (!args->to)
        return command_fail(
            &(struct err){.id = ERR_USAGE,
                          .text = "migrate-journal needs --to FILE: the configuration with the new journal"});
    struct pipeline *from = command_pipeline(args, &exit_code);
    if (!from)
        return exit_code;
    struct arguments of_to = *args;
    of_to.config = args->to;
    struct pipeline *to = command_pipeline(&of_to, &exit_code);
    if (!to)
        return pipeline_free(from), exit_code;
    log_setup(LOG_WARN, from->log.format == 1);
    struct err err = {0};
    struct move_progress progress;
    enum code code = move(from, to, &progress, &err);
    pipeline_free(to);
    pipeline_free(from);
    if (code == RETRY)
        fputs("not done: run the same command again, it goes on from here\n", stderr);
    if (code != OK)
        return err.id == ERR_STOPPED ? 1 : command_fail(&err);
    printf("moved: %" PRIu64 " records copied by this run. From here on use %s:\n"
           "  1. What runs with %s ends by itself with journal-moved when it has applied everything; stop a "
           "capture that has nothing to do\n"
           "  2. millrace run --config %s\n"
           "The old journal is sealed, and no longer needed once the sinks run in the new one.\n",
           progress.records, args->to, args->config, args->to);
    return 0;
}

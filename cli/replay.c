/* replay: a sink forgets what it applied, in the replica itself; whoever runs it is fenced and builds it
 * anew. */
#include <stdio.h>

#include "base/log.h"
#include "cli/command.h"

static enum code reset(const struct pipeline_sink *sink, struct err *err) {
    struct stop stop;
    stop_init(&stop);
    struct target_env env = {&clock_system, &stop, sink->name, "replay"};
    struct target *target;
    enum code code = sink->target->open(sink->target_options, &env, &target, err);
    if (code == OK) {
        code = sink->target->reset(target, err);
        sink->target->close(target);
    }
    stop_free(&stop);
    return code;
}

int command_replay(const struct arguments *args) {
    int exit_code;
    if (!args->sink)
        return command_fail(&(struct err){
            .id = ERR_USAGE,
            .text = "replay needs --sink NAME: it empties that sink's tables and builds them again"});
    struct pipeline *p = command_pipeline(args, &exit_code);
    if (!p)
        return exit_code;
    struct err err = {0};
    const struct pipeline_sink *sink = pipeline_find_sink(p, args->sink);
    enum code code =
        sink ? reset(sink, &err)
             : err_set(&err, FATAL, ERR_CONFIG, "%s: there is no sink named %s", args->config, args->sink);
    pipeline_free(p);
    if (code != OK)
        return command_fail(&err);
    printf("sink %s will be built again from the journal; a running `millrace run` or `millrace sink` begins "
           "within seconds, "
           "otherwise start one. Readers see the old rows until the new state is complete. Watch: millrace "
           "status\n",
           args->sink);
    return 0;
}

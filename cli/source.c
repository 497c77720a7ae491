/* source: what a kind of source that is fed by triggers keeps in its database is made, checked, removed. */
#include <stdio.h>

#include "base/log.h"
#include "cli/command.h"

static enum code set_up(const struct pipeline *p, enum source_setup what, bool print, struct err *err) {
    if (!p->source)
        return err_set(err, FATAL, ERR_CONFIG, "%s: there is no source", p->path);
    if (!p->source->setup)
        return err_set(err, FATAL, ERR_USAGE,
                       "a source of the kind %s needs nothing to be installed; millrace doctor looks at it",
                       p->source->options->name);
    struct stop stop;
    stop_init(&stop);
    CLEANUP_BUF out = {0};
    struct source_env env = {&clock_system, &stop, p->source_name};
    enum code code = p->source->setup(p->source_options, &env, what, print, &out, err);
    if (code == OK && out.len)
        fwrite(out.data, 1, out.len, stdout);
    if (code == OK && !print)
        printf("source %s: %s\n", p->source_name,
               what == SETUP_INSTALL ? "installed"
                                     : "removed; a capture that is to go on later needs a new snapshot");
    stop_free(&stop);
    return code;
}

int command_source(const struct arguments *args) {
    const char *verb = args->n_rest == 1 ? args->rest[0] : "";
    if (strcmp(verb, "check") == 0)
        return doctor_source(args);
    bool install = strcmp(verb, "install") == 0;
    if (!install && strcmp(verb, "uninstall") != 0)
        return command_fail(&(struct err){
            .id = ERR_USAGE,
            .text =
                "write `millrace source install`, `millrace source check` or `millrace source uninstall`"});
    int exit_code;
    struct pipeline *p = command_pipeline(args, &exit_code);
    if (!p)
        return exit_code;
    struct err err = {0};
    enum code code = set_up(p, install ? SETUP_INSTALL : SETUP_UNINSTALL, args->print, &err);
    pipeline_free(p);
    return code == OK ? 0 : command_fail(&err);
}

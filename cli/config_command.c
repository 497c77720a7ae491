/* config check: parse and stop. config reference: every key, from the tables that parse them. */
#include <stdio.h>

#include "capture/source_table.h"
#include "cli/command.h"
#include "journal/journal_table.h"
#include "sink/target_table.h"

static void heading(struct buf *out, const char *path) {
    buf_printf(out, "\n## `%s`\n\n", path);
}

static void reference(struct buf *out) {
    buf_puts(
        out,
        "# Configuration reference\n\nMade by `millrace config reference` from the tables that parse the "
        "file. "
        "`${NAME}` in a value is replaced from the environment, `${file:/path}` by the content of a file. "
        "Sizes: `64kB`, `16MB`; durations: `5ms`, `10s`, `7d`.\n");
    heading(out, "source");
    buf_puts(out, "`name` (required): names the pipeline's source; letters, digits, `_`, `-`. Beside it "
                  "exactly one of:\n");
    for (int i = 0; source_table[i]; i++) {
        CLEANUP_FREE char *path = xasprintf("source.%s", source_table[i]->options->name);
        heading(out, path);
        option_print_markdown(source_table[i]->options, out);
    }
    heading(out, "journal");
    buf_printf(
        out,
        "Where changes wait for the sinks: one of the kinds below; without it `%s`, with its defaults.\n",
        journal_table[0]->options->name);
    for (int i = 0; journal_table[i]; i++) {
        CLEANUP_FREE char *path = xasprintf("journal.%s", journal_table[i]->options->name);
        heading(out, path);
        option_print_markdown(journal_table[i]->options, out);
    }
    heading(out, "schemas");
    option_print_markdown(&registry_options, out);
    heading(out, "capture");
    option_print_markdown(&capture_options, out);
    heading(out, "sinks[]");
    buf_puts(out, "`name` (required): letters, digits, `_`, `-`.\n\n");
    option_print_markdown(&sink_options, out);
    for (int i = 0; target_table[i]; i++) {
        CLEANUP_FREE char *path = xasprintf("sinks[].%s", target_table[i]->options->name);
        heading(out, path);
        option_print_markdown(target_table[i]->options, out);
    }
    heading(out, "http");
    option_print_markdown(&http_options, out);
    heading(out, "log");
    option_print_markdown(&log_options, out);
}

int command_config(const struct arguments *args) {
    const char *verb = args->n_rest == 1 ? args->rest[0] : "";
    if (strcmp(verb, "reference") == 0) {
        CLEANUP_BUF out = {0};
        reference(&out);
        fwrite(out.data, 1, out.len, stdout);
        return 0;
    }
    if (strcmp(verb, "check") != 0)
        return command_fail(&(struct err){
            .id = ERR_USAGE, .text = "write `millrace config check` or `millrace config reference`"});
    int exit_code;
    struct pipeline *p = command_pipeline(args, &exit_code);
    if (!p)
        return exit_code;
    printf("%s: ok: source %s, %d sink%s\n", args->config, p->source_name ? p->source_name : "none",
           p->n_sinks, p->n_sinks == 1 ? "" : "s");
    pipeline_free(p);
    return 0;
}

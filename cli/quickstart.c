/* quickstart: looks at two databases and writes a configuration from what it saw. Each kind of source and
 * target suggests its own part (base/suggest.h); the secrets of the URLs stay out of the file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "capture/source_table.h"
#include "cli/command.h"
#include "sink/target_table.h"

enum { WAIT_MS = 10000, NAME_MAX_BYTES = 40 };

struct side {
    const char *what;   /* "SOURCE" */
    struct buf written; /* the URL for the file */
    const char *url;    /* with all secrets */
    struct buf exports; /* what to type so that the references are there */
    const char *kind;   /* key of the configuration */
    struct suggestion suggestion;
    struct buf why_not; /* why kinds before it were not taken */
};

struct quickstart {
    struct arena arena;
    struct stop stop;
    struct side source, replica;
    char name[NAME_MAX_BYTES + 1];
};

/* ---- URLs ---- */

/* Every secret that stands in the URL becomes a reference to the environment, where it is put for the rest of
 * this process. */
static void hide_secrets(struct side *side, const char *given) {
    const char *from = given;
    struct slice secret;
    for (int i = 0; suggest_secret(given, i, &secret); i++) {
        CLEANUP_FREE char *name =
            i ? xasprintf("%s_PASSWORD_%d", side->what, i + 1) : xasprintf("%s_PASSWORD", side->what);
        CLEANUP_FREE char *value = xstrndup(secret.data, secret.len);
        setenv(name, value, 1);
        buf_put(&side->written, from, (size_t)(secret.data - from));
        buf_printf(&side->written, "${%s}", name);
        buf_printf(&side->exports, "export %s=...   # the password as it stood in the URL, percent-encoded\n",
                   name);
        from = secret.data + secret.len;
    }
    buf_puts(&side->written, from);
    buf_cstr(&side->written);
}

/* The URL as the configuration's reader will see it. */
static enum code read_url(struct quickstart *q, struct side *side, const char *given, struct err *err) {
    struct config_node *root;
    CLEANUP_BUF yaml = {0};
    hide_secrets(side, given);
    buf_puts(&yaml, "url: ");
    suggest_put_text(&yaml, buf_cstr(&side->written), true);
    buf_putc(&yaml, '\n');
    enum code code = config_read_text(buf_slice(&yaml), "the command line", &q->arena, &root, err);
    if (code == OK)
        side->url = config_get(root, "url")->text;
    return code;
}

/* ---- looking ---- */

/* Whether to go on to the next kind. The first that knows the URL is kept where none is without an
 * obstacle. */
static bool go_on(struct side *side, const char *kind, enum code code, struct suggestion *s,
                  const struct err *err) {
    if (code == AGAIN)
        return true;
    if (code == REJECT)
        buf_printf(&side->why_not, "%s: %s\n", kind, err->text);
    if (!side->kind || code == OK) {
        suggestion_free(&side->suggestion);
        side->kind = kind;
        side->suggestion = *s;
        *s = (struct suggestion){0};
    }
    return code == REJECT;
}

static enum code unknown(const struct side *side, struct err *err) {
    return err_set(err, FATAL, ERR_USAGE,
                   "which database is the %s? write a URL such as postgresql://user@host/database, or "
                   "sqlite:/path/to/file",
                   strcmp(side->what, "SOURCE") == 0 ? "source" : "replica");
}

static enum code look_at_source(struct quickstart *q, struct err *err) {
    struct side *side = &q->source;
    struct suggest_ask ask = {.url = side->url, .written = buf_cstr(&side->written)};
    struct source_env env = {&clock_system, &q->stop, "quickstart"};
    enum code code = AGAIN;
    bool more = true;
    for (int i = 0; source_table[i] && more; i++) {
        struct suggestion s = {0};
        code = source_table[i]->suggest ? source_table[i]->suggest(&ask, &env, WAIT_MS, &s, err) : AGAIN;
        more = go_on(side, source_table[i]->options->name, code, &s, err);
        suggestion_free(&s);
    }
    if (!side->kind)
        return unknown(side, err);
    return more || code == OK ? OK : code;
}

static enum code look_at_replica(struct quickstart *q, struct err *err) {
    struct side *side = &q->replica;
    struct suggest_ask ask = {side->url, buf_cstr(&side->written), q->source.suggestion.tables,
                              q->source.suggestion.n_tables};
    struct target_env env = {&clock_system, &q->stop, "replica", "quickstart"};
    enum code code = AGAIN;
    bool more = true;
    for (int i = 0; target_table[i] && more; i++) {
        struct suggestion s = {0};
        code = target_table[i]->suggest ? target_table[i]->suggest(&ask, &env, WAIT_MS, &s, err) : AGAIN;
        more = go_on(side, target_table[i]->options->name, code, &s, err);
        suggestion_free(&s);
    }
    if (!side->kind)
        return unknown(side, err);
    const char *a = q->source.suggestion.identity, *b = side->suggestion.identity;
    if (a && b && strcmp(a, b) == 0)
        return err_set(err, FATAL, ERR_USAGE, "source and replica are the same database");
    return more || code == OK ? OK : code;
}

/* The database's name as a pipeline may be called. */
static void name_pipeline(struct quickstart *q) {
    const char *from = q->source.suggestion.name ? q->source.suggestion.name : "";
    int n = 0;
    for (; *from && n < NAME_MAX_BYTES; from++) {
        bool plain = (*from >= 'a' && *from <= 'z') || (*from >= 'A' && *from <= 'Z') ||
                     (*from >= '0' && *from <= '9') || *from == '-';
        q->name[n++] = plain ? *from : '_';
    }
    q->name[n] = 0;
    if (!n)
        snprintf(q->name, sizeof q->name, "source");
}

/* ---- the file ---- */

static void put_side(struct buf *out, struct side *side, int indent) {
    buf_printf(out, "%*s%s:\n", indent, "", side->kind);
    if (side->exports.len)
        buf_printf(out, "%*s# ${NAME} is read from the environment; ${file:/path} reads a file instead.\n",
                   indent + 2, "");
    suggest_put_indented(out, buf_slice(&side->suggestion.yaml), indent + 2);
}

static void put_file(struct quickstart *q, struct buf *out) {
    buf_puts(out,
             "# Written by `millrace quickstart` from what it saw at source and replica; yours to change.\n"
             "# `millrace doctor` checks it, `millrace config reference` has every key.\n\nsource:\n");
    buf_printf(out, "  name: \"%s\"\n", q->name);
    put_side(out, &q->source, 2);
    buf_puts(out, "\n# Changes wait for the sinks in a file on this host. For another place of it, or "
                  "another journal, add `journal:`.\n"
                  "\nsinks:\n  - name: replica\n");
    put_side(out, &q->replica, 4);
    buf_puts(out,
             "\n# /metrics, /healthz, /readyz and /v1/status:\n# http: { listen: \"127.0.0.1:9187\" }\n");
}

static bool is_the_same(const char *path, const struct buf *text) {
    FILE *in = fopen(path, "re");
    if (!in)
        return false;
    CLEANUP_FREE char *have = xmalloc(text->len + 1);
    size_t n = fread(have, 1, text->len + 1, in);
    fclose(in);
    return n == text->len && memcmp(have, text->data, n) == 0;
}

static enum code write_file(const char *path, const struct buf *text, bool force, struct err *err) {
    CLEANUP_FREE char *next = xasprintf("%s.%ld.new", path, (long)getpid());
    if (is_the_same(path, text))
        return OK;
    FILE *out = fopen(next, "wxe");
    bool done = out && fwrite(text->data, 1, text->len, out) == text->len && fflush(out) == 0 &&
                fsync(fileno(out)) == 0;
    if (out && fclose(out) != 0)
        done = false;
    /* link() refuses a name that is taken, rename() replaces it */
    if (done && (force ? rename(next, path) : link(next, path)) == 0) {
        unlink(next);
        return OK;
    }
    int why = errno;
    unlink(next);
    if (done && why == EEXIST)
        return err_set(err, FATAL, ERR_CONFIG,
                       "%s is there already; --force replaces it, --output writes another file", path);
    return err_set(err, FATAL, ERR_SYSTEM, "%s could not be written: %s", path, strerror(why));
}

/* ---- telling ---- */

static void print_lines(const char *before, struct buf *lines, const char *file) {
    for (const char *p = buf_cstr(lines); *p;) {
        const char *stop = strchr(p, '\n'), *at = strstr(p, "@FILE");
        if (at && at < stop)
            printf("%s%.*s%s%.*s\n", before, (int)(at - p), p, file, (int)(stop - at - 5), at + 5);
        else
            printf("%s%.*s\n", before, (int)(stop - p), p);
        p = stop + 1;
    }
}

static void print_seen(struct quickstart *q, const char *path) {
    printf("%s: source %s (%s, %d table%s), sink replica (%s)\n", path, q->name, q->source.kind,
           q->source.suggestion.n_tables, q->source.suggestion.n_tables == 1 ? "" : "s", q->replica.kind);
    print_lines("  source: not by ", &q->source.why_not, path);
    print_lines("  source: ", &q->source.suggestion.notes, path);
    print_lines("  replica: ", &q->replica.suggestion.notes, path);
}

static void print_next(struct quickstart *q, const char *path, bool mend) {
    printf("\nNext:\n");
    print_lines("  ", &q->source.exports, path);
    print_lines("  ", &q->replica.exports, path);
    print_lines("  ", &q->source.suggestion.before, path);
    if (mend)
        printf("  mend what is marked `error` above, then: millrace doctor --config %s\n", path);
    printf("  millrace run --config %s\n  millrace status --config %s\n", path, path);
}

static enum code prepare(struct quickstart *q, const struct arguments *args, struct err *err) {
    if (args->n_rest != 2)
        return err_set(err, FATAL, ERR_USAGE, "write millrace quickstart SOURCE_URL REPLICA_URL");
    enum code code = read_url(q, &q->source, args->rest[0], err);
    if (code == OK)
        code = read_url(q, &q->replica, args->rest[1], err);
    if (code == OK)
        code = look_at_source(q, err);
    if (code == OK)
        code = look_at_replica(q, err);
    return code;
}

static void side_free(struct side *side) {
    buf_free(&side->written);
    buf_free(&side->exports);
    buf_free(&side->why_not);
    suggestion_free(&side->suggestion);
}

int command_quickstart(const struct arguments *args) {
    struct quickstart q = {.source = {.what = "SOURCE"}, .replica = {.what = "REPLICA"}};
    const char *path = args->output ? args->output : "millrace.yaml";
    struct err err = {0};
    CLEANUP_BUF text = {0};
    stop_init(&q.stop);
    log_setup(LOG_ERROR, false);
    enum code code = prepare(&q, args, &err);
    if (code == OK) {
        name_pipeline(&q);
        put_file(&q, &text);
        code = write_file(path, &text, args->force, &err);
    }
    int exit_code = code == OK ? 0 : command_fail(&err);
    if (code == OK) {
        print_seen(&q, path);
        putchar('\n');
        exit_code = command_doctor(&(struct arguments){.config = path});
        print_next(&q, path, exit_code != 0);
    }
    side_free(&q.source);
    side_free(&q.replica);
    arena_free(&q.arena);
    stop_free(&q.stop);
    return exit_code;
}

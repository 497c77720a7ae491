/* The row of target_table for JSON files: options, ownership, position. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/finding.h"
#include "base/log.h"
#include "sink/json/json.h"
#include "sink/target_table.h"

#define AT(field) .offset = offsetof(struct json_options, field)
static const char *const on_missing_choices[] = {"insert", "stop", NULL};
static const struct option rows[] = {
    {.name = "path", .type = OPT_TEXT, AT(path), .required = true, .help = "The replica's file."},
    {.name = "on_missing",
     .type = OPT_ENUM,
     AT(on_missing),
     .fallback = "insert",
     .choices = on_missing_choices,
     .help = "When a row to change is not in the replica: insert writes the full row and counts it; stop "
             "names it."},
    {0},
};
static const struct option_table json_options = {"json", "A JSON file.", rows, sizeof(struct json_options)};

/* ---- transactions ---- */

enum code json_begin(struct json_target *t, struct err *err) {
    enum code code = t->open ? OK : file_read(&t->file, err);
    t->open = code == OK;
    return code;
}

enum code json_undo(struct json_target *t, enum code code) {
    file_forget(&t->file);
    t->open = false;
    return code;
}

static enum code save(struct json_target *t, struct err *err) {
    enum code code = file_write(&t->file, err);
    if (code != OK)
        return json_undo(t, code);
    t->open = false;
    return OK;
}

static void rollback(struct target *target) {
    (void)json_undo(json_of(target), AGAIN);
}

/* ---- what the file says of this sink ---- */

json_t *json_member(json_t *object, const char *name) {
    json_t *member = json_object_get(object, name);
    if (member)
        return member;
    json_object_set_new(object, name, json_object());
    return json_object_get(object, name);
}

static json_t *sink_of(struct json_target *t) {
    return json_member(json_member(t->file.root, "sinks"), t->env.sink);
}

static int64_t number(json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

static void set(json_t *object, const char *name, int64_t value) {
    json_object_set_new(object, name, json_integer(value));
}

static void set_text(json_t *object, const char *name, const char *text) {
    json_object_set_new(object, name, text ? json_string(text) : json_null());
}

static json_t *position_json(const struct position *p) {
    return json_pack("[I, I, I]", (json_int_t)p->generation, (json_int_t)p->commit, (json_int_t)p->ordinal);
}

static struct position position_of(json_t *list) {
    uint64_t n[3];
    for (size_t i = 0; i < 3; i++)
        n[i] = (uint64_t)json_integer_value(json_array_get(list, i));
    return (struct position){n[0], n[1], n[2]};
}

static enum code not_owner(struct json_target *t, struct err *err) {
    return json_undo(
        t, err_set(err, RETRY, ERR_TARGET_OWNERSHIP, "another process has taken over sink %s", t->env.sink));
}

static bool is_owner(struct json_target *t) {
    return t->epoch > 0 && (uint64_t)number(sink_of(t), "epoch") == t->epoch;
}

/* ---- claim, renew ---- */

static enum code look(struct json_target *t, int64_t lease_ms, struct err *err) {
    const char *owner = json_string_value(json_object_get(sink_of(t), "owner"));
    int64_t ago_us = clock_wall(t->env.clock) - number(sink_of(t), "seen_us");
    if (owner && strcmp(owner, t->env.owner) != 0 && llabs(ago_us) <= lease_ms * 1000)
        return err_set(err, AGAIN, ERR_TARGET_OWNERSHIP, "sink %s is owned by %s", t->env.sink, owner);
    return OK;
}

static void tell(struct json_target *t, struct arena *arena, struct sink_progress *ret) {
    json_t *s = sink_of(t), *topic, *offset;
    const char *name, *partition, *pipeline = json_string_value(json_object_get(s, "pipeline"));
    *ret = (struct sink_progress){
        .epoch = (uint64_t)number(s, "epoch"),
        .commit_seq = (uint64_t)number(s, "commit_seq"),
        .commits_next = number(s, "commits_next"),
        .position = position_of(json_object_get(s, "position")),
        .commit_us = number(s, "commit_us"),
        .rebuild = json_is_true(json_object_get(s, "rebuild")),
        .pipeline = pipeline ? arena_strdup(arena, pipeline) : NULL,
    };
    size_t n = 0;
    json_object_foreach(json_member(s, "offsets"), name, topic) n += json_object_size(topic);
    ret->offsets = arena_zalloc(arena, (n + 1) * sizeof *ret->offsets);
    json_object_foreach(json_member(s, "offsets"), name, topic) {
        json_object_foreach(topic, partition, offset) {
            ret->offsets[ret->n_offsets++] =
                (struct sink_offset){.topic = arena_strdup(arena, name),
                                     .partition = atoi(partition),
                                     .next = number(offset, "next"),
                                     .position = position_of(json_object_get(offset, "position"))};
        }
    }
}

static enum code claim(struct target *target, int worker, int workers, int64_t lease_ms, struct arena *arena,
                       struct sink_progress *ret, struct err *err) {
    struct json_target *t = json_of(target);
    assert(!t->open && worker >= 0 && worker < workers);
    *ret = (struct sink_progress){0};
    t->epoch = 0;
    if (workers != 1)
        return err_set(err, FATAL, ERR_CONFIG, "a JSON file has one writer: set workers: 1 for sink %s",
                       t->env.sink);
    enum code code = json_begin(t, err);
    if (code == OK)
        code = look(t, lease_ms, err);
    if (code != OK)
        return json_undo(t, code);
    set(sink_of(t), "epoch", number(sink_of(t), "epoch") + 1);
    set(sink_of(t), "seen_us", clock_wall(t->env.clock));
    set_text(sink_of(t), "owner", t->env.owner);
    tell(t, arena, ret);
    code = save(t, err);
    if (code != OK)
        return code;
    t->epoch = ret->epoch;
    t->rebuild = ret->rebuild;
    return OK;
}

/* Beside the open transaction, which goes on from the version that is written here. */
static enum code touch(struct json_target *t, const char *owner, struct err *err) {
    struct json_target beside = *t;
    beside.file.root = NULL;
    beside.open = false;
    enum code code = json_begin(&beside, err);
    if (code != OK)
        return code;
    bool newest = t->file.root && t->file.version == beside.file.version;
    if (!is_owner(&beside))
        return not_owner(&beside, err);
    set(sink_of(&beside), "seen_us", clock_wall(t->env.clock));
    set_text(sink_of(&beside), "owner", owner);
    code = save(&beside, err);
    file_forget(&beside.file);
    if (code == OK && newest)
        t->file.version = beside.file.version;
    return code;
}

static enum code renew(struct target *target, struct err *err) {
    return touch(json_of(target), json_of(target)->env.owner, err);
}

/* ---- commit, park, reset ---- */

static enum code commit(struct target *target, const struct sink_progress *p, struct err *err) {
    struct json_target *t = json_of(target);
    enum code code = json_begin(t, err);
    if (code != OK)
        return json_undo(t, code);
    if (!is_owner(t))
        return not_owner(t, err);
    json_t *s = sink_of(t);
    set(s, "seen_us", clock_wall(t->env.clock));
    set_text(s, "owner", t->env.owner);
    set(s, "commit_seq", (int64_t)p->commit_seq);
    set(s, "commits_next", p->commits_next);
    set(s, "commit_us", p->commit_us);
    json_object_set_new(s, "position", position_json(&p->position));
    json_object_set_new(s, "rebuild", json_boolean(p->rebuild));
    if (p->pipeline)
        set_text(s, "pipeline", p->pipeline);
    for (int i = 0; i < p->n_offsets; i++) {
        const struct sink_offset *o = &p->offsets[i];
        CLEANUP_FREE char *partition = xasprintf("%d", o->partition);
        json_object_set_new(
            json_member(json_member(s, "offsets"), o->topic), partition,
            json_pack("{s:I, s:o}", "next", (json_int_t)o->next, "position", position_json(&o->position)));
    }
    if (t->rebuild && !p->rebuild)
        json_clear_stale(t);
    code = save(t, err);
    if (code == OK)
        t->rebuild = p->rebuild;
    return code;
}

static enum code park(struct target *target, const char *schema, const char *table, const char *reason,
                      struct err *err) {
    struct json_target *t = json_of(target);
    bool was_open = t->open;
    enum code code = json_begin(t, err);
    if (code != OK)
        return json_undo(t, code);
    if (!is_owner(t))
        return not_owner(t, err);
    CLEANUP_FREE char *name = xasprintf("%s.%s", schema, table);
    json_t *parked = json_member(sink_of(t), "parked");
    json_object_del(parked, name);
    if (reason)
        json_object_set_new(parked, name,
                            json_pack("{s:s, s:s, s:s}", "schema", schema, "table", table, "reason", reason));
    return was_open ? OK : save(t, err);
}

/* The tables that were written become stale: the next prepare empties them. */
static enum code reset(struct target *target, struct err *err) {
    struct json_target *t = json_of(target);
    assert(!t->open);
    enum code code = json_begin(t, err);
    if (code != OK)
        return json_undo(t, code);
    int64_t epoch = number(sink_of(t), "epoch");
    json_object_clear(sink_of(t));
    set(sink_of(t), "epoch", epoch + 1);
    json_object_set_new(sink_of(t), "rebuild", json_true());
    const char *name;
    json_t *table;
    json_object_foreach(json_member(t->file.root, "tables"), name, table) {
        const char *sink = json_string_value(json_object_get(table, "sink"));
        if (sink && strcmp(sink, t->env.sink) == 0)
            json_object_set_new(table, "stale", json_true());
    }
    t->epoch = 0;
    return save(t, err);
}

/* ---- seen from outside ---- */

static struct json_target visitor(const void *options, const struct target_env *env) {
    const struct json_options *o = options;
    return (struct json_target){
        .env = *env, .options = o, .file = {.path = o->path, .clock = env->clock, .stop = env->stop}};
}

static enum code status(const void *options, const struct target_env *env, int64_t wait_ms, struct buf *json,
                        struct err *err) {
    (void)wait_ms;
    struct json_target t = visitor(options, env);
    enum code code = json_begin(&t, err);
    if (code != OK)
        return code;
    json_t *page = json_pack("{s:[], s:[]}", "workers", "parked"), *s = sink_of(&t), *table;
    const char *name;
    if (json_object_get(s, "epoch"))
        json_array_append_new(
            json_object_get(page, "workers"),
            json_pack("{s:i, s:O?, s:f, s:O, s:I}", "worker", 0, "owner", json_object_get(s, "owner"),
                      "seen_s", clock_age_s(env->clock, number(s, "seen_us")), "epoch",
                      json_object_get(s, "epoch"), "commit_us", (json_int_t)number(s, "commit_us")));
    struct position at = position_of(json_object_get(s, "position"));
    json_object_set_new(json_array_get(json_object_get(page, "workers"), 0), "position", position_json(&at));
    json_object_foreach(json_member(s, "parked"), name, table)
        json_array_append(json_object_get(page, "parked"), table);
    char *text = json_dumps(page, JSON_COMPACT);
    buf_puts(json, text);
    free(text);
    json_decref(page);
    file_forget(&t.file);
    return OK;
}

static enum code check(const void *options, const struct target_env *env, int64_t wait_ms,
                       struct buf *findings, struct err *err) {
    (void)wait_ms, (void)err;
    struct json_target t = visitor(options, env);
    struct err why = {0};
    CLEANUP_FREE char *directory = xstrdup(t.options->path);
    char *slash = strrchr(directory, '/');
    if (slash)
        slash[slash == directory] = 0;
    if (json_begin(&t, &why) != OK)
        finding_put(findings, "error", err_name(why.id), why.text, "");
    else
        finding_put(findings, "ok", "replica-file",
                    t.file.version ? "the file is Millrace's" : "the file will be created", "");
    if (access(slash ? directory : ".", W_OK | X_OK) != 0)
        finding_put(findings, "error", "replica-directory", strerror(errno),
                    "give the directory to the user that runs millrace");
    file_forget(&t.file);
    return OK;
}

/* ---- open, close ---- */

static enum code open_target(const void *options, const struct target_env *env, struct target **ret,
                             struct err *err) {
    struct json_target *t = xcalloc(1, sizeof *t);
    const char *const labels[] = {"sink", env->sink, NULL};
    *t = visitor(options, env);
    t->base.ops = &json_target;
    t->missing = metric_get(METRIC_COUNTER, "millrace_sink_missing_rows_total",
                            "Rows to change or delete that were not in the replica.", labels);
    enum code code = file_read(&t->file, err);
    if (code != OK) {
        free(t);
        t = NULL;
    }
    *ret = t ? &t->base : NULL;
    return code;
}

/* Lets go of the sink, so that a successor need not wait for the lease. */
static void close_target(struct target *target) {
    struct err ignored;
    if (!target)
        return;
    struct json_target *t = json_of(target);
    (void)json_undo(t, AGAIN);
    if (t->epoch > 0 && touch(t, NULL, &ignored) != OK)
        log_debug("sink/json", "ownership was not given up", F_STR("why", ignored.text));
    file_forget(&t->file);
    free(t);
}

const struct target_ops json_target = {
    .options = &json_options,
    .open = open_target,
    .claim = claim,
    .renew = renew,
    .prepare = json_prepare,
    .apply = json_apply,
    .clear = json_clear,
    .commit = commit,
    .rollback = rollback,
    .park = park,
    .reset = reset,
    .close = close_target,
    .status = status,
    .check = check,
};

#include "source_case.h"

#include <stdio.h>

#include "base/config.h"
#include "base/log.h"
#include "capture/source_table.h"

const struct source_ops *ops;
const struct place *place;
static void *app; /* the session of sql() and see() */

/* ---- the database, as an application sees it ---- */

_Noreturn void die(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

void put_seen(struct buf *rows, int row, int column, const char *value) {
    buf_printf(rows, "%s%s", column ? "|" : row ? ";" : "", value ? value : "~");
}

/* Valid until the next one. */
__attribute__((format(printf, 2, 0))) static const char *run(void *session, const char *fmt, va_list args) {
    static struct buf rows;
    CLEANUP_BUF why = {0};
    char text[8192];
    vsnprintf(text, sizeof text, fmt, args);
    buf_clear(&rows);
    if (!place->run(session, text, &rows, &why))
        fail_msg("%s: %s", text, buf_cstr(&why));
    return buf_cstr(&rows);
}

void sql(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    run(app, fmt, args);
    va_end(args);
}

void sql_in(void *session, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    run(session, fmt, args);
    va_end(args);
}

const char *see(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    const char *rows = run(app, fmt, args);
    va_end(args);
    return rows;
}

void await(const char *query, const char *answer) {
    int64_t deadline = clock_mono(&clock_system) + DEADLINE_S * 1000000;
    while (strcmp(see("%s", query), answer) != 0) {
        if (clock_mono(&clock_system) > deadline)
            fail_msg("%s is not %s after %d s", query, answer, DEADLINE_S);
        poll(NULL, 0, 10);
    }
}

void make_table(const char *name, const char *columns) {
    sql("CREATE TABLE %s (%s)", name, columns);
    if (place->whole) {
        const char *at = strstr(place->whole, "%s");
        sql("%.*s%s%s", (int)(at - place->whole), place->whole, name, at + 2);
    }
}

/* ---- options ---- */

void option(struct fixture *f, const char *key, const char *fmt, ...) {
    size_t i = 0, n = sizeof f->set / sizeof *f->set;
    while (i < n && f->set[i][0] && strcmp(f->set[i][0], key) != 0)
        i++;
    assert_true(i < n);
    free(f->set[i][1]);
    if (!f->set[i][0])
        f->set[i][0] = strdup(key);
    va_list args;
    va_start(args, fmt);
    assert_true(vasprintf(&f->set[i][1], fmt, args) >= 0);
    va_end(args);
}

bool option_line(struct fixture *f, const char *line) {
    if (!line)
        return false;
    char key[64];
    const char *colon = strstr(line, ": ");
    snprintf(key, sizeof key, "%.*s", (int)(colon - line), line);
    option(f, key, "%s", colon + 2);
    return true;
}

static bool is_set(const struct fixture *f, const char *line, size_t len) {
    for (size_t i = 0; i < sizeof f->set / sizeof *f->set && f->set[i][0]; i++)
        if (strlen(f->set[i][0]) < len && strncmp(line, f->set[i][0], strlen(f->set[i][0])) == 0 &&
            line[strlen(f->set[i][0])] == ':')
            return true;
    return false;
}

void *options_of(struct fixture *f) {
    CLEANUP_BUF base = {0};
    CLEANUP_BUF yaml = {0};
    struct config_node *tree;
    place->options(&base);
    for (const char *line = buf_cstr(&base); *line;) {
        size_t len = strcspn(line, "\n");
        if (!is_set(f, line, len))
            buf_printf(&yaml, "%.*s\n", (int)len, line);
        line += len + (line[len] == '\n');
    }
    for (size_t i = 0; i < sizeof f->set / sizeof *f->set && f->set[i][0]; i++)
        buf_printf(&yaml, "%s: %s\n", f->set[i][0], f->set[i][1]);
    void *into = arena_zalloc(&f->arena, ops->options->size);
    if (config_read_text(buf_slice(&yaml), "test", &f->arena, &tree, &f->err) != OK ||
        option_fill(ops->options, tree, into, &f->arena, &f->err) != OK)
        fail_msg("%s\n%s", f->err.text, buf_cstr(&yaml));
    return into;
}

/* ---- a capture of it ---- */

int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    place->empty();
    app = place->session();
    stop_init(&f->stop);
    f->env = (struct source_env){.clock = &clock_system, .stop = &f->stop, .name = "contract"};
    *state = f;
    return 0;
}

int tear_down(void **state) {
    struct fixture *f = *state;
    close_source(f);
    place->end(app);
    stop_free(&f->stop);
    buf_free(&f->state);
    arena_free(&f->arena);
    for (size_t i = 0; i < sizeof f->set / sizeof *f->set; i++) {
        free(f->set[i][0]);
        free(f->set[i][1]);
    }
    free(f);
    return 0;
}

void close_source(struct fixture *f) {
    if (f->source)
        ops->close(f->source);
    f->source = NULL;
}

void forget(struct fixture *f) {
    buf_clear(&f->state);
    f->position = (struct position){0};
}

struct source_resume resume_of(const struct fixture *f) {
    struct source_resume resume = {.position = f->position, .boundary = f->boundary};
    if (f->state.len) {
        resume.found = true;
        resume.state = buf_cstr((struct buf *)&f->state);
    }
    return resume;
}

enum code install(struct fixture *f) {
    CLEANUP_BUF told = {0};
    return ops->setup(options_of(f), &f->env, SETUP_INSTALL, false, &told, &f->err);
}

enum code try_open(struct fixture *f, bool resnapshot) {
    struct source_resume resume = resume_of(f);
    resume.resnapshot = resnapshot;
    f->options = options_of(f);
    if (ops->setup && (!resume.found || resnapshot)) {
        enum code made = install(f);
        if (made != OK)
            return made;
    }
    int64_t deadline = clock_mono(f->env.clock) + DEADLINE_S * 1000000;
    enum code code = ops->open(f->options, &f->env, &resume, &f->source, &f->err);
    while (code == RETRY && f->err.id == ERR_SLOT_ACTIVE && clock_mono(f->env.clock) < deadline) {
        poll(NULL, 0, 10); /* our last session is still ending */
        code = ops->open(f->options, &f->env, &resume, &f->source, &f->err);
    }
    return code;
}

void open_source(struct fixture *f) {
    if (try_open(f, false) != OK)
        fail_msg("open: %s", f->err.text);
}

enum code step(struct fixture *f, int64_t deadline) {
    for (;;) {
        enum code code = ops->next(f->source, &f->item, &f->err);
        int64_t now = clock_mono(f->env.clock), until = deadline;
        if (code != AGAIN || now >= deadline)
            return code;
        struct pollfd fds[32];
        int n = ops->fds(f->source, fds, 32, &until);
        stop_poll(&f->stop, fds, n, now, until);
    }
}

bool next_within(struct fixture *f, int64_t ms) {
    enum code code = step(f, clock_mono(f->env.clock) + ms * 1000);
    if (code == AGAIN)
        return false;
    if (code != OK)
        fail_msg("next: %s %s: %s", code_name(code), err_name(f->err.id), f->err.text);
    f->position = f->item.position;
    f->boundary = f->item.type != ITEM_CHANGE;
    return true;
}

void next(struct fixture *f) {
    if (!next_within(f, DEADLINE_S * 1000))
        fail_msg("nothing came within %d s", DEADLINE_S);
}

void expect_refusal(struct fixture *f, enum code code, enum err_id id) {
    int64_t deadline = clock_mono(f->env.clock) + DEADLINE_S * 1000000;
    enum code got;
    do
        got = step(f, deadline);
    while (got == OK);
    if (got != code || f->err.id != id)
        fail_msg("%s/%s, expected %s/%s: %s", code_name(got), err_name(f->err.id), code_name(code),
                 err_name(id), f->err.text);
}

void expect_needs_resnapshot(struct fixture *f, const char *words) {
    assert_int_equal(try_open(f, false), FATAL);
    if (f->err.id != ERR_NEEDS_RESNAPSHOT || !strstr(f->err.text, words) ||
        !strstr(f->err.text, "--resnapshot"))
        fail_msg("%s: %s", err_name(f->err.id), f->err.text);
}

void pass_snapshot(struct fixture *f) {
    do
        next(f);
    while (f->item.type != ITEM_COMMIT);
    mark(f);
    confirm(f);
}

void wait_for(struct fixture *f, const char *question, const char *answer) {
    int64_t deadline = clock_mono(f->env.clock) + DEADLINE_S * 1000000;
    while (strcmp(see("%s", question), answer) != 0) {
        if (clock_mono(f->env.clock) > deadline)
            fail_msg("%s never became %s", question, answer);
        next_within(f, 10);
    }
}

void mark(struct fixture *f) {
    buf_clear(&f->state);
    f->ticket = ops->mark(f->source, &f->state);
}

void confirm(struct fixture *f) {
    assert_int_equal(ops->confirm(f->source, f->ticket, &f->err), OK);
}

void stream_a_little(struct fixture *f) {
    make_table("a", "id int PRIMARY KEY");
    sql("INSERT INTO a VALUES (1)");
    open_source(f);
    pass_snapshot(f);
    sql("INSERT INTO a VALUES (2)");
    expect(f, "c a after{id=2}", "COMMIT");
    mark(f);
    confirm(f);
    next_within(f, 50);
    close_source(f);
    int64_t deadline = clock_mono(f->env.clock) + DEADLINE_S * 1000000;
    while (ops->vacant(f->options, &f->env, &f->err) != OK) {
        if (clock_mono(f->env.clock) > deadline)
            fail_msg("%s", f->err.text);
        poll(NULL, 0, 10);
    }
}

void mend_and_go_on(struct fixture *f) {
    sql("DELETE FROM a WHERE id = 1");
    if (try_open(f, true) != OK)
        fail_msg("%s", f->err.text);
    f->position = (struct position){0};
    expect(f, "t a");
    assert_true(f->position.generation == 2 && f->position.ordinal == 1);
    pass_snapshot(f);
    sql("INSERT INTO a VALUES (4)");
    expect(f, "c a after{id=4}", "COMMIT");
    assert_true(f->position.generation == 2);
}

/* ---- items as lines ---- */

static void put_value(struct buf *b, const struct value *v) {
    switch (v->tag) {
    case VALUE_ABSENT:
        buf_puts(b, "~");
        break;
    case VALUE_NULL:
        buf_puts(b, "null");
        break;
    case VALUE_INT:
        buf_printf(b, "%lld", (long long)v->i);
        break;
    case VALUE_FLOAT:
        buf_printf(b, "%.17g", v->d);
        break;
    case VALUE_POINT:
        buf_printf(b, "(%g,%g)", v->xy[0], v->xy[1]);
        break;
    case VALUE_TEXT:
    case VALUE_BYTES:
        if (v->s.len > 40)
            buf_printf(b, "<%zu>", v->s.len);
        else
            buf_put_slice(b, v->s);
    }
}

static void put_row(struct buf *b, const char *name, const struct table *t, const struct value *row) {
    if (!row)
        return;
    buf_printf(b, " %s{", name);
    for (int i = 0; i < t->n_columns; i++) {
        buf_printf(b, "%s%s=", i ? "," : "", t->columns[i].name);
        put_value(b, &row[i]);
    }
    buf_puts(b, "}");
}

const char *item_line(const struct source_item *item) {
    static struct buf b;
    buf_clear(&b);
    if (item->type != ITEM_CHANGE)
        return item->type == ITEM_COMMIT ? "COMMIT" : "IDLE";
    const struct change *c = &item->change;
    bool ours = strcmp(c->table->schema, place->schema) == 0;
    buf_printf(&b, "%c %s%s%s", c->op, ours ? "" : c->table->schema, ours ? "" : ".", c->table->name);
    put_row(&b, "before", c->table, c->before);
    put_row(&b, "after", c->table, c->after);
    if (c->other)
        buf_puts(&b, c->moved_partial ? " moved partial" : " moved");
    if (c->restart_identity)
        buf_puts(&b, " restart");
    return buf_cstr(&b);
}

void expect_lines(struct fixture *f, const char *const *lines) {
    for (; *lines; lines++) {
        struct position before = f->position;
        do
            next(f);
        while (f->item.type == ITEM_IDLE);
        assert_string_equal(item_line(&f->item), *lines);
        assert_true(position_cmp(f->item.position, before) > 0 || f->item.type != ITEM_CHANGE);
    }
}

/* ---- the walk ---- */

static const struct place *place_of(const char *kind) {
    static const struct place *const places[] = {&postgres_place, &postgres_triggers_place,
                                                 &mariadb_triggers_place, &sqlite_place};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (strcmp(places[i]->kind, kind) == 0)
            return places[i];
    fprintf(stderr, "%s: ", kind);
    die("there is no place for this kind of source yet: write one, beside place_postgres.c");
}

/* The cases of every kind and of this one. */
static size_t cases_of(const char *kind, const struct CMUnitTest *tests, size_t n, struct CMUnitTest *ret) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        if (!tests[i].initial_state || strcmp(tests[i].initial_state, kind) == 0)
            ret[found++] = tests[i];
    return found;
}

int walk_sources(int argc, char **argv, const struct CMUnitTest *tests, size_t n) {
    const char *only = getenv("MILLRACE_TEST_KIND");
    int failed = 0;
    log_setup(LOG_ERROR, false);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    for (size_t i = 0; source_table[i]; i++) {
        ops = source_table[i];
        place = place_of(ops->options->name);
        struct CMUnitTest *mine = xcalloc(n, sizeof *mine);
        size_t n_mine = cases_of(place->kind, tests, n, mine);
        if (n_mine > 0 && (!only || strcmp(only, place->kind) == 0)) {
            place->open();
            failed += _cmocka_run_group_tests(place->kind, mine, n_mine, NULL, NULL);
            place->close();
        }
        free(mine);
    }
    return failed;
}

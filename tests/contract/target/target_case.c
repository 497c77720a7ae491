#include "target_case.h"

#include <stdio.h>

#include "base/config.h"
#include "base/log.h"
#include "sink/target_table.h"

const struct target_ops *ops;
const struct place *place;
const char *url;
struct arena memory;
struct batch current;
const size_t batch_sizes[3] = {3, 40, 2000};

/* ---- the replica, as somebody else sees it ---- */

_Noreturn void die(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

void put_seen(char *ret, size_t size, int row, int column, const char *value) {
    size_t at = strlen(ret);
    snprintf(ret + at, size - at, "%s%s", column ? "|" : row ? ";" : "", value ? value : "~");
}

void PRINTF_LIKE(1, 2) sql(const char *fmt, ...) {
    char text[8192];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    place->sql(text);
}

const char *PRINTF_LIKE(1, 2) see(const char *fmt, ...) {
    static char out[65536];
    char text[8192];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    out[0] = 0;
    place->see(text, out, sizeof out);
    return out;
}

bool has_table(const char *table) {
    return place->has_table(table);
}

const char *named(const char *table) {
    static char name[128];
    snprintf(name, sizeof name, "%s", table);
    char *dot = strchr(name, '.');
    if (place->flat && dot)
        *dot = '_';
    return name;
}

bool has(const char *what) {
    size_t n = strlen(what);
    for (const char *at = place->has; at && (at = strstr(at, what)); at += n)
        if ((at == place->has || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
            return true;
    return false;
}

const char *key_of(const char *table) {
    return place->key(table);
}

void forget_owners(void) {
    sql("%s", place->unseen);
}

/* ---- a process of a sink ---- */

/* Options as key, value, ..., NULL. */
static void *options_of(struct arena *arena, const char *const *pairs) {
    static char *keys[16];
    static struct config_node nodes[16], *items[16];
    struct config_node map = {.type = NODE_MAP, .file = "test", .keys = (const char **)keys, .items = items};
    int lines[16] = {0};
    map.key_lines = lines;
    for (size_t i = 0; pairs[i]; i += 2) {
        keys[map.n] = (char *)(uintptr_t)pairs[i];
        nodes[map.n] = (struct config_node){.type = NODE_SCALAR, .file = "test", .text = pairs[i + 1]};
        items[map.n] = &nodes[map.n];
        map.n++;
    }
    void *into = arena_zalloc(arena, ops->options->size);
    struct err err = {0};
    if (option_fill(ops->options, &map, into, arena, &err) != OK)
        fail_msg("%s", err.text);
    return into;
}

enum code try_open(struct process *p, const char *owner, const char *const *pairs) {
    *p = (struct process){0};
    stop_init(&p->stop);
    p->env = (struct target_env){.clock = &clock_system, .stop = &p->stop, .sink = "report", .owner = owner};
    p->options = options_of(&p->arena, pairs);
    return ops->open(p->options, &p->env, &p->target, &p->err);
}

void process_open(struct process *p, const char *owner, const char *const *pairs) {
    if (try_open(p, owner, pairs) != OK)
        fail_msg("open: %s", p->err.text);
}

void process_end(struct process *p) {
    ops->close(p->target);
    stop_free(&p->stop);
    arena_free(&p->arena);
    *p = (struct process){0};
}

enum code claim(struct process *p) {
    return ops->claim(p->target, 0, 1, LEASE_MS, &p->arena, &p->progress, &p->err);
}

void process_begin(struct process *p, const char *owner, const char *const *pairs) {
    process_open(p, owner, pairs);
    assert_ok(p, claim(p));
}

enum code commit(struct process *p) {
    p->progress.commit_seq++;
    p->progress.rebuild = false;
    p->progress.n_offsets = 0;
    return ops->commit(p->target, &p->progress, &p->err);
}

/* ---- tables and rows ---- */

struct table *table_with(const char *name, const struct column *columns, int n, struct user_type *types,
                         int n_types) {
    struct table *t = arena_zalloc(&memory, sizeof *t);
    t->schema = "shop";
    t->name = name;
    t->columns = arena_zalloc(&memory, ((size_t)n + 1) * sizeof *t->columns);
    if (n)
        memcpy(t->columns, columns, (size_t)n * sizeof *columns);
    t->n_columns = n;
    t->key = arena_zalloc(&memory, ((size_t)n + 1) * sizeof *t->key);
    for (int at = 1; at <= n; at++)
        for (int i = 0; i < n; i++)
            if (columns[i].key == at)
                t->key[t->n_key++] = i;
    t->types = types;
    t->n_types = n_types;
    t->digest = table_digest(t);
    return t;
}

const struct table *items(void) {
    return TABLE("items", INT_KEY("id"), INT_COLUMN("qty"), TEXT_COLUMN("note"));
}

const struct table *notes(void) {
    return TABLE("notes", INT_COLUMN("n"), COLUMN("doc", "json", KIND_JSON), TEXT_COLUMN("note"));
}

void add(struct batch *b, enum op op, const struct value *before, const struct value *after) {
    struct change change = {.op = op, .table = b->table, .before = before, .after = after};
    if (!batch_add(b, &change))
        fail_msg("batch_add took nothing");
}

struct batch *begin(const struct table *table) {
    batch_free(&current);
    batch_init(&current, table);
    return &current;
}

enum code apply(struct process *p) {
    return ops->apply(p->target, &current, &p->err);
}

enum code prepare_as(struct process *p, const struct table *table, bool fresh, bool may_clear) {
    struct mapped mapped = {.source = table, .table = (struct table *)(uintptr_t)table};
    return ops->prepare(p->target, &mapped, fresh, may_clear, &p->err);
}

enum code prepare(struct process *p, const struct table *table) {
    return prepare_as(p, table, false, false);
}

void apply_commit(struct process *p) {
    assert_ok(p, apply(p));
    assert_ok(p, commit(p));
}

void fill_items(int n) {
    sql("WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < %d)"
        " INSERT INTO shop.items (id, qty, note) SELECT i, i, 'n' FROM s",
        n);
}

int set_up(void **state) {
    (void)state;
    place->empty();
    return 0;
}

int tear_down(void **state) {
    (void)state;
    batch_free(&current);
    arena_free(&memory);
    return 0;
}

/* ---- the walk ---- */

static const struct place *place_of(const char *kind) {
    for (const struct place *const *p = place_table; *p; p++)
        if (strcmp((*p)->kind, kind) == 0)
            return *p;
    fprintf(stderr, "%s: ", kind);
    die("there is no place for this kind of target yet: docs/adding-a-target.md says what one is");
}

/* The cases of every kind, of this one, and of what its place has. */
static size_t cases_of(const char *kind, const struct CMUnitTest *tests, size_t n, struct CMUnitTest *ret) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        const char *only = tests[i].initial_state;
        if (!only || strcmp(only, kind) == 0 || has(only))
            ret[found++] = tests[i];
    }
    return found;
}

int walk_targets(const struct CMUnitTest *tests, size_t n) {
    const char *only = getenv("MILLRACE_TEST_KIND");
    int failed = 0;
    log_setup(LOG_ERROR, false);
    for (size_t i = 0; target_table[i]; i++) {
        ops = target_table[i];
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

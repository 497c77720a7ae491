/* Fifty clients with long transactions, savepoints and rollbacks: what is captured is what was committed,
 * each key's changes in their order, whole transactions between boundaries. A reader that takes the change
 * table by `id > last` loses rows of the same load. */
#include "source_case.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { CLIENTS = 50, KEYS = 600, TRANSACTIONS_MAX = 4000 };
#define LOAD_US INT64_C(3000000)

struct client {
    pthread_t thread;
    int number;
    atomic_bool *stop;
    int commits, failed;
};

static bool do_sql(void *session, const char *text) {
    CLEANUP_BUF rows = {0};
    CLEANUP_BUF why = {0};
    return place->run(session, text, &rows, &why);
}

/* One step on one key; with `undone`, inside a savepoint that is rolled back. */
static bool step_on_key(void *session, int key, int tx, bool undone) {
    char text[256];
    snprintf(text, sizeof text, "%sUPDATE k SET n = n + 1, tx = %d WHERE id = %d%s",
             undone ? "SAVEPOINT s; " : "", tx, key, undone ? "; ROLLBACK TO SAVEPOINT s" : "");
    return do_sql(session, text);
}

/* False: the database gave it up. */
static bool run_transaction(void *session, unsigned *seed, int tx, bool *ret_committed) {
    char text[256];
    int steps = 0, key = rand_r(seed) % KEYS, n = 1 + rand_r(seed) % 5;
    bool slow = rand_r(seed) % 8 == 0;
    *ret_committed = rand_r(seed) % 5 != 0;
    if (!do_sql(session, "BEGIN"))
        return false;
    for (int i = 0; i < n; i++, key = (key + 1 + rand_r(seed) % 20) % KEYS) {
        bool undone = rand_r(seed) % 5 == 0;
        if (!step_on_key(session, key, tx, undone))
            return false;
        steps += !undone;
        poll(NULL, 0, slow ? 20 + rand_r(seed) % 80 : rand_r(seed) % 4);
    }
    snprintf(text, sizeof text, "INSERT INTO log (tx, steps) VALUES (%d, %d); %s", tx, steps,
             *ret_committed ? "COMMIT" : "ROLLBACK");
    return do_sql(session, text);
}

static void *client_main(void *arg) {
    struct client *c = arg;
    void *session = place->session();
    unsigned seed = (unsigned)c->number;
    for (int i = 0; i < TRANSACTIONS_MAX && !*c->stop; i++) {
        bool committed;
        bool fine = run_transaction(session, &seed, c->number * TRANSACTIONS_MAX + i, &committed);
        c->commits += fine && committed;
        c->failed += !fine;
    }
    place->end(session);
    return NULL;
}

static int clients_end(struct client *clients, atomic_bool *stop) {
    int commits = 0, failed = 0;
    *stop = true;
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        commits += clients[i].commits;
        failed += clients[i].failed;
    }
    print_message("          %d commits, %d transactions given up by the database\n", commits, failed);
    return commits;
}

/* ---- the control ---- */

struct naive {
    pthread_t thread;
    atomic_bool stop;
    unsigned long long last;
    long seen;
};

/* How many ids above `after` there are, up to *last, which is moved to the greatest one if it is 0. */
static long count_ids(void *session, unsigned long long after, unsigned long long *last) {
    CLEANUP_BUF rows = {0};
    CLEANUP_BUF why = {0};
    CLEANUP_BUF text = {0};
    unsigned long long id = 0, limit = *last ? *last : UINT64_MAX;
    long n = 0;
    buf_printf(&text, "%s %llu ORDER BY id", place->naive, after);
    if (!place->run(session, buf_cstr(&text), &rows, &why))
        return 0;
    for (const char *p = buf_cstr(&rows); *p && id <= limit; p += *p == ';') {
        id = strtoull(p, (char **)&p, 10);
        n += id <= limit;
    }
    *last = *last ? *last : id;
    return n;
}

static void *naive_main(void *arg) {
    struct naive *n = arg;
    void *session = place->session();
    while (!n->stop) {
        unsigned long long last = 0;
        n->seen += count_ids(session, n->last, &last);
        n->last = last ? last : n->last;
    }
    place->end(session);
    return NULL;
}

/* While nothing was deleted yet. */
static void naive_end(struct naive *n) {
    n->stop = true;
    pthread_join(n->thread, NULL);
    void *session = place->session();
    long all = count_ids(session, 0, &n->last);
    place->end(session);
    print_message("          the naive reader saw %ld of %ld\n", n->seen, all);
    assert_true(n->seen < all);
}

/* ---- the capture ---- */

struct transaction {
    int seen, steps; /* steps: as its row of log says; -1: not seen yet */
};
struct captured {
    int64_t n[KEYS];
    struct transaction *transactions;
    int *open, n_open; /* since the last boundary */
    int logged, boundaries, restarts;
    bool end;
};

static void touch(struct captured *m, int64_t tx) {
    assert_true(tx >= 0 && tx < (CLIENTS + 1) * TRANSACTIONS_MAX);
    struct transaction *t = &m->transactions[tx];
    if (t->seen == 0 && t->steps < 0)
        m->open[m->n_open++] = (int)tx;
}

static void take_key(struct captured *m, const struct change *c) {
    int64_t id = c->after[0].i, n = c->after[1].i, tx = c->after[2].i;
    if (c->op != OP_UPDATE || n != m->n[id] + 1 ||
        (c->before && c->before[1].tag == VALUE_INT && c->before[1].i != n - 1))
        fail_msg("%c of key %d to %d after %d", c->op, (int)id, (int)n, (int)m->n[id]);
    m->n[id] = n;
    touch(m, tx);
    m->transactions[tx].seen++;
}

static void take_log(struct captured *m, const struct change *c) {
    int64_t tx = c->after[0].i;
    if (tx < 0) {
        m->end = true;
        return;
    }
    touch(m, tx);
    assert_true(c->op == OP_CREATE && m->transactions[tx].steps == -1);
    m->transactions[tx].steps = (int)c->after[1].i;
    m->logged++;
}

/* At a boundary every transaction that was begun is complete. */
static void take_boundary(struct captured *m) {
    for (int i = 0; i < m->n_open; i++) {
        const struct transaction *t = &m->transactions[m->open[i]];
        if (t->seen != t->steps)
            fail_msg("at a boundary, transaction %d has %d steps of %d", m->open[i], t->seen, t->steps);
    }
    m->n_open = 0;
}

static void take_item(struct captured *m, const struct source_item *item) {
    if (item->type == ITEM_COMMIT)
        take_boundary(m);
    else if (item->type == ITEM_CHANGE && strcmp(item->change.table->name, "k") == 0)
        take_key(m, &item->change);
    else if (item->type == ITEM_CHANGE)
        take_log(m, &item->change);
}

static void assert_captured_is_committed(const struct captured *m) {
    CLEANUP_BUF ours = {0};
    char committed[32];
    for (int id = 0; id < KEYS; id++) {
        char n[24];
        snprintf(n, sizeof n, "%lld", (long long)m->n[id]);
        put_seen(&ours, id, 0, n);
    }
    assert_string_equal(see("SELECT n FROM k ORDER BY id"), buf_cstr(&ours));
    snprintf(committed, sizeof committed, "%d", m->logged);
    assert_string_equal(see("SELECT count(*) FROM log WHERE tx >= 0"), committed);
}

static void restart_at(struct fixture *f, struct position last, bool boundary) {
    mark(f);
    close_source(f);
    f->position = last;
    f->boundary = boundary;
    open_source(f);
}

static void make_tables(void) {
    make_table("k", "id int PRIMARY KEY, n int NOT NULL, tx int NOT NULL");
    make_table("log", "tx int PRIMARY KEY, steps int NOT NULL");
    sql("INSERT INTO k WITH RECURSIVE s (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < %d) SELECT "
        "i, 0, 0 FROM s",
        KEYS - 1);
}

static struct captured *captured_new(void) {
    struct captured *m = xcalloc(1, sizeof *m);
    size_t transactions = (CLIENTS + 1) * TRANSACTIONS_MAX;
    m->transactions = xcalloc(transactions, sizeof *m->transactions);
    m->open = xcalloc(transactions, sizeof *m->open);
    for (size_t i = 0; i < transactions; i++)
        m->transactions[i].steps = -1;
    return m;
}

static void captured_free(struct captured *m) {
    free(m->transactions);
    free(m->open);
    free(m);
}

/* Takes items until `until`, or to the end of all (0). Restarts at random. */
static void take_until(struct fixture *f, struct captured *m, int64_t until, unsigned *seed,
                       struct position *last) {
    while (until ? clock_mono(f->env.clock) < until : !m->end || m->n_open) {
        if (!next_within(f, 100))
            continue;
        bool again = f->item.type == ITEM_CHANGE && position_cmp(f->position, *last) <= 0;
        if (!again) {
            *last = f->position;
            m->boundaries += f->item.type == ITEM_COMMIT;
            take_item(m, &f->item);
        }
        if (seed && rand_r(seed) % 60 == 0) {
            restart_at(f, *last, !again && f->item.type == ITEM_COMMIT);
            m->restarts++;
        }
    }
}

static void what_is_captured_is_what_fifty_clients_committed(void **state) {
    struct fixture *f = *state;
    atomic_bool stop = false;
    struct client clients[CLIENTS];
    struct naive naive = {0};
    struct captured *m = captured_new();
    unsigned seed = 1;
    make_tables();
    open_source(f);
    pass_snapshot(f);
    struct position last = f->position;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.number = i + 1, .stop = &stop};
        pthread_create(&clients[i].thread, NULL, client_main, &clients[i]);
    }
    if (place->naive)
        pthread_create(&naive.thread, NULL, naive_main, &naive);
    int64_t begin = clock_mono(f->env.clock);
    take_until(f, m, begin + LOAD_US / 2, NULL, &last);
    if (place->naive)
        naive_end(&naive);
    take_until(f, m, begin + LOAD_US, &seed, &last);
    int commits = clients_end(clients, &stop);
    sql("INSERT INTO log VALUES (-1, 0)");
    take_until(f, m, 0, &seed, &last);
    assert_captured_is_committed(m);
    print_message("          %d boundaries, %d restarts\n", m->boundaries, m->restarts);
    assert_true(commits > 50 && m->logged == commits && m->restarts > 0);
    captured_free(m);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(what_is_captured_is_what_fifty_clients_committed),
    };
    return walk_sources(argc, argv, tests, sizeof tests / sizeof *tests);
}

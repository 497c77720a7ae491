/* Snapshot and stream are exact while others write: whatever they do, a replica that takes each change
 * strictly, as an insert, update or delete that must find what it says, ends equal. */
#include "source_case.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>

enum { ROWS = 400, WRITERS = 4, RESTARTS = 20, RESTARTS_AFTER = 10 };
struct writer {
    pthread_t thread;
    int number;
    atomic_bool *stop;
    sem_t *under_way; /* posted after the first commit */
    int commits;
};

static void *write_along(void *arg) {
    struct writer *w = arg;
    void *session = place->session();
    unsigned seed = (unsigned)w->number;
    CLEANUP_BUF rows = {0};
    CLEANUP_BUF why = {0};
    while (!*w->stop) {
        char text[512];
        int a = rand_r(&seed) % ROWS, b = rand_r(&seed) % ROWS, n = rand_r(&seed), c = (a + b) % ROWS;
        snprintf(text, sizeof text,
                 "BEGIN; INSERT INTO w (id, n) VALUES (%d, %d) %s; DELETE FROM w WHERE id = %d; SAVEPOINT s; "
                 "UPDATE w SET n = -1 WHERE id = %d; ROLLBACK TO s; INSERT INTO w (id, n) VALUES (%d, 1) %s; "
                 "UPDATE w SET id = %d WHERE id = %d AND NOT EXISTS (SELECT 1 FROM (SELECT id FROM w) o "
                 "WHERE o.id = %d); COMMIT",
                 a, n, place->upsert, b, b, c, place->upsert, b, a, b);
        if (place->run(session, text, &rows, &why) && w->commits++ == 0)
            sem_post(w->under_way);
    }
    place->end(session);
    return NULL;
}

struct model {
    bool there[ROWS + 1];
    int64_t n[ROWS + 1];
};

static void model_apply(struct model *m, const struct change *c) {
    if (c->op == OP_TRUNCATE) {
        memset(m, 0, sizeof *m);
        return;
    }
    const struct value *row = c->after ? c->after : c->before;
    int64_t id = row[0].i;
    assert_true(id >= 0 && id <= ROWS);
    if (m->there[id] != (c->op == OP_UPDATE || c->op == OP_DELETE))
        fail_msg("%c of row %d, which is %s", c->op, (int)id, m->there[id] ? "there" : "not there");
    m->there[id] = c->op != OP_DELETE;
    if (c->after)
        m->n[id] = row[1].i;
}

static void assert_model_is_source(const struct model *m) {
    CLEANUP_BUF ours = {0};
    for (int id = 0, row = 0; id < ROWS; id++) {
        char line[64];
        if (!m->there[id])
            continue;
        snprintf(line, sizeof line, "%d|%lld", id, (long long)m->n[id]);
        put_seen(&ours, row++, 0, line);
    }
    assert_string_equal(see("SELECT id, n FROM w WHERE id < %d ORDER BY id", ROWS), buf_cstr(&ours));
}

static void writers_start(struct writer *writers, atomic_bool *stop, sem_t *under_way) {
    struct timespec deadline;
    sem_init(under_way, 0, 0);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.number = i + 1, .stop = stop, .under_way = under_way};
        pthread_create(&writers[i].thread, NULL, write_along, &writers[i]);
    }
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 30;
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(sem_timedwait(under_way, &deadline), 0);
}

static int writers_end(struct writer *writers, atomic_bool *stop) {
    int commits = 0;
    *stop = true;
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, NULL);
        commits += writers[i].commits;
    }
    return commits;
}

/* Stops anywhere, also inside a transaction, and goes on from there. */
static void restart(struct fixture *f, bool confirmed) {
    mark(f);
    if (confirmed)
        confirm(f);
    close_source(f);
    open_source(f);
}

static void snapshot_and_stream_are_exact_while_writers_write_and_the_source_restarts(void **state) {
    struct fixture *f = *state;
    make_table("w", "id int PRIMARY KEY, n bigint");
    sql("INSERT INTO w WITH RECURSIVE s (i) AS (SELECT 0 UNION ALL SELECT i + 2 FROM s WHERE i < 398) SELECT "
        "i, 0 FROM s");
    atomic_bool stop = false;
    sem_t under_way;
    struct writer writers[WRITERS];
    struct model *m = calloc(1, sizeof *m);
    struct position last = {0};
    unsigned seed = 1;
    int restarts = 0, commits = 0;
    writers_start(writers, &stop, &under_way);
    open_source(f);
    for (bool end = false; !end;) {
        if (!stop && restarts >= RESTARTS) {
            commits = writers_end(writers, &stop);
            sql("INSERT INTO w VALUES (%d, 0)", ROWS);
        }
        next(f);
        if (position_cmp(f->position, last) > 0) {
            last = f->position;
            if (f->item.type == ITEM_CHANGE) {
                model_apply(m, &f->item.change);
                end = f->item.change.after && f->item.change.after[0].i == ROWS;
            }
        }
        if (!end && f->position.commit && restarts < RESTARTS + RESTARTS_AFTER && rand_r(&seed) % 200 == 0) {
            f->position = last;
            restart(f, rand_r(&seed) % 2);
            restarts++;
        }
    }
    assert_model_is_source(m);
    print_message("          %d commits, %d restarts\n", commits, restarts);
    assert_true(commits > 100);
    sem_destroy(&under_way);
    free(m);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(snapshot_and_stream_are_exact_while_writers_write_and_the_source_restarts),
    };
    return walk_sources(argc, argv, tests, sizeof tests / sizeof *tests);
}

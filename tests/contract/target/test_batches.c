/* The rows of a batch end in their last state, whichever way they are written. */
#include "target_case.h"

/* The type of one of the replica's columns: all have a binary form, or this one has none for an int. */
static const char *const forms[] = {"int", "numeric", NULL};
#define EACH_SIZE_AND_FORM(n, form) \
    EACH_SIZE(n)                    \
    for (const char *const *form_ = forms, *form; (form = *form_); form_++)

static void every_kind_of_row_ends_in_its_last_state(void **state) {
    (void)state;
    EACH_SIZE_AND_FORM(n, form) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty %s, note text)", form);
        fill_items((int)n * 2);
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++) {
            UPDATE(b, INT(i), INT(-i), TEXT("upd\tated\\N"));
            DELETE(b, INT(i + (int)n), ABSENT, ABSENT);
            INSERT(b, INT(i + 2 * (int)n), INT(i), SQL_NULL);
        }
        apply_commit(&a);
        char expected[64];
        snprintf(expected, sizeof expected, "%zu|%zu|%zu", 2 * n, n, n);
        assert_string_equal(
            see("SELECT count(*), count(*) FILTER (WHERE qty = -id AND note = 'upd\tated\\N'),"
                " count(*) FILTER (WHERE note IS NULL AND id > %zu) FROM shop.items",
                2 * n),
            expected);
        process_end(&a);
    }
}

static void absent_columns_are_kept(void **state) {
    (void)state;
    EACH_SIZE_AND_FORM(n, form) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty %s, note text)", form);
        fill_items((int)n);
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++) {
            if (i % 3 == 0)
                UPDATE(b, INT(i), INT(-i), ABSENT);
            if (i % 3 == 1)
                UPDATE(b, INT(i), ABSENT, TEXT("new"));
            if (i % 3 == 2)
                UPDATE(b, INT(i), INT(-i), TEXT("new"));
        }
        apply_commit(&a);
        assert_string_equal(see("SELECT count(*) FROM shop.items WHERE (qty = -id) <> (id %% 3 <> 1)"
                                " OR (note = 'new') <> (id %% 3 <> 0)"),
                            "0");
        process_end(&a);
    }
}

static void a_column_that_no_row_carries_is_not_touched(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text)");
        fill_items((int)n);
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            UPDATE(b, INT(i), ABSENT, ABSENT);
        apply_commit(&a);
        assert_string_equal(see("SELECT count(*) FROM shop.items WHERE qty <> id OR note <> 'n'"), "0");
        process_end(&a);
    }
}

static void unique_values_may_change_places(void **state) {
    (void)state;
    EACH_SIZE_AND_FORM(n, form) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty %s UNIQUE, note text, own text DEFAULT 'own',"
            " twice int GENERATED ALWAYS AS (qty * 2) STORED)",
            form);
        fill_items((int)n);
        sql("UPDATE shop.items SET own = 'kept ' || id");
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            UPDATE(b, INT(i), INT(i % (int)n + 1), ABSENT);
        INSERT(b, INT(5000), INT(5000), TEXT("new"));
        apply_commit(&a);
        char expected[64];
        snprintf(expected, sizeof expected, "%zu|%zu", n, n + 1);
        assert_string_equal(
            see("SELECT count(*) FILTER (WHERE qty = id %% %zu + 1 AND note = 'n' AND own = 'kept ' || id"
                " AND twice = qty * 2), count(*) FROM shop.items",
                n),
            expected);
        assert_string_equal(see("SELECT own FROM shop.items WHERE id = 5000"), "own");
        process_end(&a);
    }
}

static void inserted_rows_replace_what_is_there(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text, own text)");
        sql("INSERT INTO shop.items VALUES (1, 0, 'old', 'kept')");
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, INT(i), INT(i), TEXT("new"));
        apply_commit(&a);
        char expected[64];
        snprintf(expected, sizeof expected, "%zu|1", n);
        assert_string_equal(
            see("SELECT count(*) FILTER (WHERE qty = id AND note = 'new'), count(own) FROM shop.items"),
            expected);
        process_end(&a);
    }
}

static void a_missing_row_is_written_whole_or_stops(void **state) {
    (void)state;
    EACH_SIZE(n) {
        for (int how = 0; how < 3; how++) { /* insert, stop, insert but partial */
            set_up(NULL);
            sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text)");
            fill_items((int)n);
            sql("DELETE FROM shop.items WHERE id = 2");
            struct process a;
            process_begin(&a, "a", OPTIONS("on_missing", how == 1 ? "stop" : "insert"));
            struct batch *b = begin(items());
            for (int i = 1; i <= (int)n; i++) {
                if (how < 2)
                    UPDATE(b, INT(i), INT(-i), TEXT("new"));
                else
                    UPDATE(b, INT(i), INT(-i), ABSENT);
            }
            if (how == 0) {
                apply_commit(&a);
                assert_string_equal(see("SELECT count(*) FROM shop.items WHERE qty <> -id"), "0");
                assert_string_equal(see("SELECT note FROM shop.items WHERE id = 2"), "new");
            } else {
                assert_code(&a, apply(&a), REJECT, ERR_TARGET_DIVERGED);
                assert_non_null(strstr(a.err.text, named("shop.items")));
                assert_non_null(strstr(a.err.text, "(2)"));
                assert_string_equal(see("SELECT count(*) FROM shop.items WHERE qty < 0"), "0");
            }
            process_end(&a);
        }
    }
}

static void a_missing_row_to_delete_is_fine_unless_asked(void **state) {
    (void)state;
    EACH_SIZE(n) {
        for (int stops = 0; stops < 2; stops++) {
            set_up(NULL);
            sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text)");
            fill_items((int)n);
            sql("DELETE FROM shop.items WHERE id = 2");
            struct process a;
            process_begin(&a, "a", OPTIONS("on_missing", stops ? "stop" : "insert"));
            struct batch *b = begin(items());
            for (int i = 1; i <= (int)n; i++)
                DELETE(b, INT(i), ABSENT, ABSENT);
            INSERT(b, INT(9000), SQL_NULL, SQL_NULL); /* and one that came and went */
            DELETE(b, INT(9000), ABSENT, ABSENT);
            if (stops) {
                assert_code(&a, apply(&a), REJECT, ERR_TARGET_DIVERGED);
                assert_non_null(strstr(a.err.text, "(2)"));
            } else {
                apply_commit(&a);
                assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");
            }
            process_end(&a);
        }
    }
}

static void behind_a_filter_missing_rows_are_no_divergence(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text)");
        struct process a;
        process_begin(&a, "a", OPTIONS("on_missing", "stop"));
        struct batch *b = begin(items());
        b->filtered = true;
        for (int i = 1; i <= (int)n; i++) {
            UPDATE(b, INT(i), INT(-i), TEXT("new"));
            DELETE(b, INT(i + 5000), ABSENT, ABSENT);
        }
        apply_commit(&a);
        char expected[32];
        snprintf(expected, sizeof expected, "%zu", n);
        assert_string_equal(see("SELECT count(*) FROM shop.items WHERE qty = -id"), expected);
        process_end(&a);
    }
}

static void a_partial_row_can_change_its_key(void **state) {
    (void)state;
    sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text)");
    fill_items(2);
    struct process a;
    process_begin(&a, "a", OPTIONS());
    struct batch_row row = {.op = ROW_UPDATE,
                            .was_there = true,
                            .values = ROW(INT(7), INT(70), ABSENT),
                            .before = ROW(INT(2), ABSENT, ABSENT)};
    struct batch one = {.table = items(), .rows = &row, .n = 1, .n_op = {[ROW_UPDATE] = 1}, .partial = true};
    assert_ok(&a, ops->apply(a.target, &one, &a.err));
    assert_ok(&a, commit(&a));
    assert_string_equal(see("SELECT * FROM shop.items ORDER BY 1"), "1|1|n;7|70|n");
    assert_code(&a, ops->apply(a.target, &one, &a.err), REJECT, ERR_TARGET_DIVERGED);
    process_end(&a);
}

static void a_table_of_nothing_but_its_key(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        struct process a;
        const struct table *table = TABLE("tags", INT_KEY("id"));
        process_begin(&a, "a", OPTIONS());
        assert_ok(&a, prepare(&a, table));
        struct batch *b = begin(table);
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, INT(i));
        assert_ok(&a, apply(&a));
        b = begin(table);
        for (int i = 1; i <= (int)n + 1; i++)
            UPDATE(b, INT(i)); /* one of them is not there */
        apply_commit(&a);
        char expected[32];
        snprintf(expected, sizeof expected, "%zu", n + 1);
        assert_string_equal(see("SELECT count(*) FROM shop.tags"), expected);
        process_end(&a);
    }
}

static void keys_are_equal_as_their_type_says(void **state) {
    (void)state;
    sql("CREATE EXTENSION IF NOT EXISTS citext SCHEMA public");
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.users (name public.citext, kind varchar(5), qty int, PRIMARY KEY (name, "
            "kind))");
        sql("INSERT INTO shop.users SELECT 'User' || i, 'a', i FROM generate_series(1, %zu) i", n);
        const struct table *table = TABLE(
            "users", {.name = "name", .type = "public.citext", .kind = KIND_TEXT, .key = 1},
            {.name = "kind", .type = "character varying(5)", .kind = KIND_TEXT, .key = 2}, INT_COLUMN("qty"));
        struct process a;
        process_begin(&a, "a", OPTIONS("on_missing", "stop"));
        struct batch *b = begin(table);
        char(*names)[16] = arena_alloc(&memory, (n + 1) * 16);
        for (size_t i = 1; i <= n; i++) {
            struct value name = {.tag = VALUE_TEXT,
                                 .s = {names[i], (size_t)snprintf(names[i], 16, "uSER%zu", i)}};
            add(b, OP_UPDATE, NULL, ROW(name, TEXT("a"), INT(-1)));
        }
        apply_commit(&a);
        assert_string_equal(see("SELECT count(*) FROM shop.users WHERE qty <> -1"), "0");
        process_end(&a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(every_kind_of_row_ends_in_its_last_state),
        CASE(absent_columns_are_kept),
        CASE(a_column_that_no_row_carries_is_not_touched),
        CASE_WITH(CONSTRAINTS, unique_values_may_change_places),
        CASE(inserted_rows_replace_what_is_there),
        CASE(a_missing_row_is_written_whole_or_stops),
        CASE(a_missing_row_to_delete_is_fine_unless_asked),
        CASE(behind_a_filter_missing_rows_are_no_divergence),
        CASE(a_partial_row_can_change_its_key),
        CASE(a_table_of_nothing_but_its_key),
        CASE_OF(POSTGRES, keys_are_equal_as_their_type_says),
    };
    return walk_targets(tests, sizeof tests / sizeof *tests);
}

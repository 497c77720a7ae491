/* The replica's own constraints and triggers: which of them act, and what is told of a row they refuse. */
#include "target_case.h"

static void foreign_keys_and_triggers_do_not_act_unless_asked(void **state) {
    (void)state;
    for (int fire = 0; fire < 2; fire++) {
        set_up(NULL);
        sql("CREATE TABLE shop.orders (id int PRIMARY KEY);"
            "CREATE TABLE shop.items (id int PRIMARY KEY, qty int REFERENCES shop.orders, note text);"
            "CREATE TABLE shop.log (what text);"
            "CREATE FUNCTION shop.fire() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN INSERT INTO shop.log VALUES (TG_OP); RETURN NEW; END$$;"
            "CREATE TRIGGER t AFTER INSERT ON shop.items FOR EACH ROW EXECUTE FUNCTION shop.fire()");
        struct process a;
        process_begin(&a, "a", OPTIONS("triggers", fire ? "fire" : "off"));
        const struct table *orders = TABLE("orders", INT_KEY("id"));
        if (fire) {
            INSERT(begin(orders), INT(1));
            assert_ok(&a, apply(&a));
        }
        INSERT(begin(items()), INT(1), INT(1), SQL_NULL); /* the child before its parent */
        assert_ok(&a, apply(&a));
        if (!fire) {
            INSERT(begin(orders), INT(1));
            assert_ok(&a, apply(&a));
        }
        assert_ok(&a, commit(&a));
        assert_string_equal(see("SELECT count(*) FROM shop.log"), fire ? "1" : "0");
        INSERT(begin(items()), INT(2), INT(99), SQL_NULL);
        if (fire) {
            assert_code(&a, apply(&a), REJECT, ERR_TARGET_CONSTRAINT);
            assert_non_null(strstr(a.err.text, "items_qty_fkey"));
        } else
            apply_commit(&a);
        process_end(&a);
    }
}

static void rows_that_cascades_would_take_along_are_not_rewritten(void **state) {
    (void)state;
    sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int UNIQUE, note text);"
        "CREATE TABLE shop.parts (item int REFERENCES shop.items ON DELETE CASCADE)");
    fill_items(2);
    sql("INSERT INTO shop.parts VALUES (1)");
    struct process a;
    process_begin(&a, "a", OPTIONS("triggers", "fire"));
    struct batch *b = begin(items());
    UPDATE(b, INT(1), INT(2), SQL_NULL);
    UPDATE(b, INT(2), INT(1), SQL_NULL);
    assert_code(&a, apply(&a), REJECT, ERR_TARGET_CONSTRAINT);
    process_end(&a);
    assert_string_equal(see("SELECT count(*) FROM shop.parts"), "1");
}

static void without_the_right_to_silence_triggers_only_tables_without_them(void **state) {
    (void)state;
    sql("DROP ROLE IF EXISTS millrace_plain");
    sql("CREATE ROLE millrace_plain LOGIN; GRANT CREATE ON DATABASE %s TO millrace_plain;"
        "GRANT USAGE, CREATE ON SCHEMA shop TO millrace_plain;"
        "CREATE TABLE shop.parent (id int PRIMARY KEY); CREATE TABLE shop.child (id int PRIMARY KEY "
        "REFERENCES shop.parent);"
        "GRANT ALL ON ALL TABLES IN SCHEMA shop TO millrace_plain",
        PQdb(eye));
    char plain[1200];
    snprintf(plain, sizeof plain, "%s user=millrace_plain", url);
    struct process a;
    process_begin(&a, "a", (const char *const[]){"url", plain, NULL});
    assert_ok(&a, prepare(&a, items()));
    INSERT(begin(items()), INT(1), SQL_NULL, SQL_NULL);
    apply_commit(&a);
    assert_code(&a, prepare(&a, TABLE("child", INT_KEY("id"))), FATAL, ERR_TARGET_REFUSED);
    assert_non_null(strstr(a.err.text, "session_replication_role"));
    process_end(&a);
    sql("DROP OWNED BY millrace_plain; DROP ROLE millrace_plain");
}

static void a_violated_constraint_is_named_without_the_row(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int CONSTRAINT few CHECK (qty < 5000), note "
            "text NOT NULL)");
        struct process a;
        process_begin(&a, "a", OPTIONS("schema_change", "ignore"));
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, INT(i), INT(i + 4998), TEXT("secret"));
        assert_code(&a, apply(&a), REJECT, ERR_TARGET_CONSTRAINT);
        assert_non_null(strstr(a.err.text, "few"));
        assert_non_null(strstr(a.err.text, named("shop.items")));
        assert_null(strstr(a.err.text, "secret"));
        b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, INT(i), INT(1), SQL_NULL);
        assert_code(&a, apply(&a), REJECT, ERR_TARGET_CONSTRAINT);
        assert_non_null(strstr(a.err.text, "note"));
        assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");
        process_end(&a);
    }
}

static void a_second_row_with_a_unique_value_is_a_violation(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int CONSTRAINT only_one UNIQUE, note text)");
        sql("INSERT INTO shop.items VALUES (9999, 1, 'in the way')");
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, INT(i), INT(i), SQL_NULL);
        assert_code(&a, apply(&a), REJECT, ERR_TARGET_CONSTRAINT);
        assert_true(strstr(a.err.text, "only_one") ||
                    strstr(a.err.text, "qty")); /* its name, or its columns */
        process_end(&a);
    }
}

static void a_value_that_the_replica_refuses_is_not_quoted(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TYPE shop.mood AS ENUM ('sad'); CREATE TABLE shop.faces (id int PRIMARY KEY, mood "
            "shop.mood)");
        const struct table *table = TABLE("faces", INT_KEY("id"), COLUMN("mood", "shop.mood", KIND_ENUM));
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(table);
        static const char *const values[] = {"hunter2", "a\" hunter2 \"b", "a, line 1, column hunter2"};
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            for (int i = 1; i <= (int)n; i++)
                INSERT(b, INT(i), TEXT(values[v]));
            assert_code(&a, apply(&a), REJECT, ERR_TARGET_VALUE);
            assert_null(strstr(a.err.text, "hunter2"));
            assert_non_null(strstr(a.err.text, "shop.faces"));
            b = begin(table);
        }
        process_end(&a);
    }
}

static void what_a_trigger_says_of_a_row_is_not_quoted(void **state) {
    (void)state;
    static const char *const codes[] = {"P0001", "22000", "23514", "58030"};
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text)");
        for (size_t c = 0; c < sizeof codes / sizeof *codes; c++) {
            sql("CREATE OR REPLACE FUNCTION shop.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE "
                "EXCEPTION 'not %%', NEW.note USING ERRCODE = '%s'; END $$;"
                "CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON shop.items FOR EACH ROW EXECUTE FUNCTION "
                "shop.refuse()",
                codes[c]);
            struct process a;
            process_begin(&a, "a", OPTIONS("triggers", "fire"));
            struct batch *b = begin(items());
            for (int i = 1; i <= (int)n; i++)
                INSERT(b, INT(i), INT(i), TEXT("hunter2"));
            enum code code = apply(&a);
            assert_int_not_equal(code, OK);
            assert_null(strstr(a.err.text, "hunter2"));
            assert_non_null(strstr(a.err.text, codes[c]));
            process_end(&a);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE_OF(POSTGRES, foreign_keys_and_triggers_do_not_act_unless_asked),
        CASE_WITH(CONSTRAINTS, rows_that_cascades_would_take_along_are_not_rewritten),
        CASE_OF(POSTGRES, without_the_right_to_silence_triggers_only_tables_without_them),
        CASE_WITH(CONSTRAINTS, a_violated_constraint_is_named_without_the_row),
        CASE_WITH(CONSTRAINTS, a_second_row_with_a_unique_value_is_a_violation),
        CASE_OF(POSTGRES, a_value_that_the_replica_refuses_is_not_quoted),
        CASE_OF(POSTGRES, what_a_trigger_says_of_a_row_is_not_quoted),
    };
    return walk_targets(tests, sizeof tests / sizeof *tests);
}

/* A journal that means harm: names and types from it never become SQL. */
#include "target_case.h"

static void hostile_names_are_names(void **state) {
    (void)state;
    static const char evil[] = "x\"; DROP TABLE shop.victim; --";
    sql("CREATE TABLE shop.victim (id int)");
    EACH_SIZE(n) {
        sql("DROP SCHEMA IF EXISTS \"s'\"\" $1\" CASCADE");
        struct table *table =
            TABLE(evil, {.name = "a\"b.c\\", .type = "integer", .kind = KIND_INT32, .key = 1},
                  INT_COLUMN("op"), TEXT_COLUMN("'); DELETE FROM shop.victim; --"), TEXT_COLUMN("%s %n {}"));
        table->schema = "s'\" $1";
        table->digest = table_digest(table);
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(table);
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, INT(i), INT(i), TEXT("x"), TEXT("y"));
        assert_ok(&a, prepare_as(&a, table, true, true));
        assert_ok(&a, apply(&a));
        b = begin(table);
        for (int i = 1; i <= (int)n; i++)
            UPDATE(b, INT(i), INT(0), ABSENT, TEXT("z"));
        apply_commit(&a);
        assert_ok(&a, ops->park(a.target, table->schema, evil, "'; DROP", &a.err));
        char expected[32];
        snprintf(expected, sizeof expected, "%zu", n);
        assert_string_equal(
            see("SELECT count(*) FROM \"s'\"\" $1\".\"x\"\"; DROP TABLE shop.victim; --\" WHERE op = 0"),
            expected);
        process_end(&a);
    }
    assert_string_equal(see("SELECT count(*) FROM shop.victim"), "0");
    sql("DROP SCHEMA IF EXISTS \"s'\"\" $1\" CASCADE");
}

static void names_that_cannot_be_are_refused(void **state) {
    (void)state;
    static const char *const names[] = {"", "\xff\xfe",
                                        "0123456789012345678901234567890123456789012345678901234567890123"};
    size_t n = place->name_bytes_max == 63 ? 3 : 2; /* the last one has 64 bytes */
    struct process a;
    process_begin(&a, "a", OPTIONS());
    for (size_t i = 0; i < n; i++) {
        assert_code(&a, prepare(&a, TABLE(names[i], INT_KEY("id"))), REJECT, ERR_TARGET_TABLE);
        assert_code(&a, prepare(&a, TABLE("t", INT_KEY("id"), INT_COLUMN(names[i]))), REJECT,
                    ERR_TARGET_TABLE);
    }
    process_end(&a);
}

static void hostile_types_never_become_sql(void **state) {
    (void)state;
    static const char *const types[] = {
        "integer); DROP TABLE shop.victim; --",
        "integer DEFAULT (SELECT 1)",
        "integer[][]; x",
        "int4, x int",
        "",
        "serial",
        "integer CHECK (true)",
        "\"a\"\"; --",
        "numeric(1,(SELECT 1))",
        "shop.victim; DROP",
        "text COLLATE \"C\"",
        "nosuchtype",
        "shop.nosuch",
        "character varying(20",
        "integer -- x",
        "pg_catalog.\"trigger\"",
        "record",
    };
    sql("CREATE TABLE shop.victim (id int)");
    struct process a;
    process_begin(&a, "a", OPTIONS());
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        assert_code(&a, prepare(&a, TABLE("t", INT_KEY("id"), COLUMN("c", types[i], KIND_TEXT))), REJECT,
                    ERR_TARGET_TABLE);
        assert_string_equal(see("SELECT to_regclass('shop.t')"), "~");
    }
    sql("CREATE TABLE shop.t (id int PRIMARY KEY, c point)");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        assert_code(&a, prepare(&a, TABLE("t", INT_KEY("id"), COLUMN("c", types[i], KIND_TEXT))), REJECT,
                    ERR_TARGET_TABLE);
    process_end(&a);
    assert_string_equal(see("SELECT count(*) FROM shop.victim"), "0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE_OF(POSTGRES, hostile_names_are_names),
        CASE(names_that_cannot_be_are_refused),
        CASE_OF(POSTGRES, hostile_types_never_become_sql),
    };
    return walk_targets(tests, sizeof tests / sizeof *tests);
}

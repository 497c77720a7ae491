/* A table of the replica fits its source's: created, grown, or refused with the SQL that mends it. */
#include "target_case.h"

static const char *shape_of(const char *table) {
    return see("SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull FROM pg_attribute a"
               " WHERE attrelid = '%s'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
               table);
}

static void tables_are_created_with_the_sources_types(void **state) {
    (void)state;
    static const char *const moods[] = {"sad", "ok", "it's \"happy\"", NULL},
                             *const parts[] = {"x", "how", NULL},
                             *const part_types[] = {"integer", "shop.mood[]", NULL};
    struct user_type types[] = {
        {.kind = USER_TYPE_ENUM, .schema = "shop", .name = "mood", .labels = moods},
        {.kind = USER_TYPE_COMPOSITE,
         .schema = "shop",
         .name = "pair",
         .labels = parts,
         .label_types = part_types},
        {.kind = USER_TYPE_EXTENSION, .name = "hstore"},
    };
    const struct column columns[] = {
        {.name = "a", .type = "bigint", .kind = KIND_INT64, .key = 2},
        {.name = "b", .type = "character varying(20)", .kind = KIND_TEXT, .key = 1},
        {.name = "c", .type = "numeric(12,2)", .kind = KIND_DECIMAL, .precision = 12, .scale = 2},
        COLUMN("d", "timestamp(3) with time zone", KIND_ZONED_TIMESTAMP),
        COLUMN("e", "shop.mood", KIND_ENUM),
        COLUMN("f", "shop.pair[]", KIND_TEXT),
        COLUMN("g", "ext.hstore", KIND_TEXT),
        COLUMN("h", "integer[]", KIND_TEXT),
        COLUMN("i", "interval day to second(3)", KIND_INTERVAL),
    };
    const struct table *table = table_with("all", columns, 9, types, 3);
    sql("DROP SCHEMA IF EXISTS ext CASCADE; DROP SCHEMA shop CASCADE"); /* schemas are created as well */
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, table));
    add(begin(table), OP_CREATE, NULL,
        ROW(INT(1), TEXT("k"), TEXT("1.50"), TEXT("2024-01-02T03:04:05.123Z"), TEXT("it's \"happy\""),
            SQL_NULL, TEXT("\"a\"=>\"1\""), TEXT("{1,NULL,3}"), TEXT("P1DT2H")));
    apply_commit(&a);
    assert_string_equal(shape_of("shop.all"),
                        "a|bigint|t;b|character varying(20)|t;c|numeric(12,2)|t;d|timestamp(3) with time "
                        "zone|f;e|shop.mood|f;"
                        "f|shop.pair[]|f;g|ext.hstore|f;h|integer[]|f;i|interval day to second(3)|f");
    assert_string_equal(
        see("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'shop.all'::regclass"),
        "PRIMARY KEY (b, a)");
    assert_string_equal(see("SELECT c, e, h FROM shop.all"), "1.50|it's \"happy\"|{1,NULL,3}");

    static const char *const more[] = {"sad", "meh", "ok", "it's \"happy\"", NULL};
    types[0].labels = more;
    const struct table *next = table_with("all", columns, 9, types, 3);
    assert_ok(&a, prepare(&a, next)); /* the new label is used in the same transaction */
    add(begin(next), OP_UPDATE, NULL,
        ROW(INT(1), TEXT("k"), ABSENT, ABSENT, TEXT("meh"), ABSENT, ABSENT, ABSENT, ABSENT));
    apply_commit(&a);
    assert_string_equal(see("SELECT e, e < 'ok' FROM shop.all"), "meh|t");
    process_end(&a);
    sql("DROP SCHEMA ext CASCADE");
}

static void a_missing_table_is_not_created_unless_allowed(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS("create_tables", "false"));
    assert_code(&a, prepare(&a, items()), REJECT, ERR_TARGET_TABLE);
    assert_non_null(strstr(a.err.text, "CREATE TABLE \"shop\".\"items\" (\"id\" integer NOT NULL"));
    process_end(&a);
}

static const struct table *items_grown(void) {
    return TABLE("items", {.name = "id", .type = "bigint", .kind = KIND_INT64, .key = 1, .length = -1},
                 COLUMN("qty", "numeric(12,2)", KIND_DECIMAL), COLUMN("note", "text", KIND_TEXT),
                 COLUMN("extra", "integer", KIND_INT32));
}

static void the_replica_grows_with_its_source(void **state) {
    (void)state;
    sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note varchar(10), old text NOT NULL)");
    sql("INSERT INTO shop.items VALUES (1, 1, 'n', 'old')");
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items_grown()));
    INSERT(begin(items_grown()), INT(INT64_C(5000000000)), TEXT("1.25"), TEXT("longer than ten"), INT(7));
    assert_ok(&a, apply(&a));
    ops->rollback(a.target); /* the alteration goes back as well, and is done again */
    assert_string_equal(shape_of("shop.items"),
                        "id|integer|t;qty|integer|f;note|character varying(10)|f;old|text|t");
    assert_ok(&a, prepare(&a, items_grown()));
    apply_commit(&a);
    assert_string_equal(shape_of("shop.items"),
                        "id|bigint|t;qty|numeric(12,2)|f;note|text|f;old|text|f;extra|integer|f");
    assert_string_equal(see("SELECT * FROM shop.items ORDER BY id"),
                        "1|1.00|n|old|~;5000000000|1.25|longer than ten|~|7");
    const struct table *older =
        TABLE("items", INT_KEY("id"), INT_COLUMN("qty"), COLUMN("note", "character varying(10)", KIND_TEXT));
    UPDATE(begin(older), INT(1), INT(2), TEXT("older")); /* rows of the older version still fit */
    apply_commit(&a);
    assert_string_equal(see("SELECT qty, note FROM shop.items WHERE id = 1"), "2.00|older");
    process_end(&a);
}

static void a_change_of_shape_stops_with_the_sql_if_asked(void **state) {
    (void)state;
    sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note varchar(10))");
    struct process a;
    process_begin(&a, "a", OPTIONS("schema_change", "stop"));
    assert_code(&a, prepare(&a, items_grown()), REJECT, ERR_TARGET_TABLE);
    assert_non_null(strstr(a.err.text, "ALTER TABLE \"shop\".\"items\""));
    assert_non_null(strstr(a.err.text, "ALTER COLUMN \"id\" TYPE bigint"));
    assert_non_null(strstr(a.err.text, "ADD COLUMN \"extra\" integer"));
    process_end(&a);
}

static void columns_that_the_replica_lacks_are_left_out_if_asked(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (note text, id int PRIMARY KEY)");
        struct process a;
        process_begin(&a, "a", OPTIONS("schema_change", "ignore"));
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, INT(i), INT(i), TEXT("n"));
        assert_ok(&a, apply(&a));
        b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            UPDATE(b, INT(i), INT(i), TEXT("m"));
        apply_commit(&a);
        assert_string_equal(see("SELECT count(*) FROM shop.items WHERE note <> 'm'"), "0");
        assert_string_equal(shape_of("shop.items"), "note|text|f;id|integer|t");
        process_end(&a);
    }
}

static void a_type_that_loses_values_is_never_taken(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"numeric(12,2)", "numeric(12,1)"},
        {"integer", "text[]"},
        {"timestamp without time zone", "timestamp(3) without time zone"},
        {"text", "integer"},
        {"double precision", "real"},
        {"character(5)", "character(3)"},
        {"date", "timestamp without time zone"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        set_up(NULL);
        sql("CREATE TABLE shop.narrow (id int PRIMARY KEY, v %s)", pairs[i][1]);
        sql("INSERT INTO shop.narrow VALUES (1, NULL)");
        struct process a;
        process_begin(&a, "a", OPTIONS("schema_change", i % 2 ? "ignore" : "stop"));
        assert_code(&a, prepare(&a, TABLE("narrow", INT_KEY("id"), COLUMN("v", pairs[i][0], KIND_TEXT))),
                    REJECT, ERR_TARGET_TABLE);
        assert_non_null(strstr(a.err.text, pairs[i][0]));
        process_end(&a);
    }
}

static void a_key_that_the_replica_generates_is_refused(void **state) {
    (void)state;
    sql("CREATE TABLE shop.items (id int GENERATED ALWAYS AS (qty + 1) STORED PRIMARY KEY, qty int, note "
        "text)");
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_code(&a, prepare(&a, items()), REJECT, ERR_TARGET_TABLE);
    assert_non_null(strstr(a.err.text, "ALTER COLUMN \"id\" DROP EXPRESSION"));
    process_end(&a);
}

static void a_table_without_the_sources_key_is_refused(void **state) {
    (void)state;
    sql("CREATE TABLE shop.items (id int, qty int PRIMARY KEY, note text)");
    struct process a;
    process_begin(&a, "a", OPTIONS("schema_change", "stop"));
    assert_code(&a, prepare(&a, items()), REJECT, ERR_TARGET_TABLE);
    assert_non_null(strstr(a.err.text, "CREATE UNIQUE INDEX "));
    assert_non_null(strstr(a.err.text, " (\"id\")"));
    process_end(&a);
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
    apply_commit(&a);
    process_end(&a);
}

static void generated_and_identity_columns_and_domains(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE DOMAIN shop.word AS text NOT NULL;"
            "CREATE TABLE shop.items (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, qty int GENERATED "
            "ALWAYS AS (id * 10) STORED, note shop.word)");
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, INT(i), INT(1), TEXT("w"));
        assert_ok(&a, apply(&a));
        b = begin(items());
        for (int i = 1; i <= (int)n; i++) {
            if (i % 2)
                UPDATE(b, INT(i), INT(2), TEXT("v"));
            else
                UPDATE(b, INT(i), INT(2), ABSENT);
        }
        apply_commit(&a);
        assert_string_equal(
            see("SELECT count(*) FROM shop.items WHERE qty <> id * 10 OR (note = 'v') <> (id %% 2 = 1)"),
            "0");
        process_end(&a);
    }
}

static void partitioned_replicas(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text) PARTITION BY HASH (id);"
            "CREATE TABLE shop.p0 PARTITION OF shop.items FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
            "CREATE TABLE shop.p1 PARTITION OF shop.items FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
            "CREATE TABLE shop.notes (n int, doc json, note text) PARTITION BY LIST (n);"
            "CREATE TABLE shop.n0 PARTITION OF shop.notes FOR VALUES IN (0);"
            "CREATE TABLE shop.n1 PARTITION OF shop.notes DEFAULT");
        fill_items((int)n);
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++) {
            UPDATE(b, INT(i), INT(-i), ABSENT);
            INSERT(b, INT(i + (int)n), INT(1), SQL_NULL);
        }
        assert_ok(&a, apply(&a));
        b = begin(notes());
        for (int i = 0; i < 6; i++)
            INSERT(b, INT(i % 3), SQL_NULL, SQL_NULL);
        add(b, OP_DELETE, ROW(INT(0), SQL_NULL, SQL_NULL), NULL);
        add(b, OP_UPDATE, ROW(INT(0), SQL_NULL, SQL_NULL), ROW(INT(9), SQL_NULL, SQL_NULL));
        apply_commit(&a);
        assert_string_equal(see("SELECT n FROM shop.notes ORDER BY 1"), "1;1;2;2;9");
        process_end(&a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE_OF(POSTGRES, tables_are_created_with_the_sources_types),
        CASE_OF(POSTGRES, a_missing_table_is_not_created_unless_allowed),
        CASE_OF(POSTGRES, the_replica_grows_with_its_source),
        CASE_OF(POSTGRES, a_change_of_shape_stops_with_the_sql_if_asked),
        CASE_OF(POSTGRES, columns_that_the_replica_lacks_are_left_out_if_asked),
        CASE_OF(POSTGRES, a_type_that_loses_values_is_never_taken),
        CASE_OF(POSTGRES, a_key_that_the_replica_generates_is_refused),
        CASE_WITH(CONSTRAINTS, a_table_without_the_sources_key_is_refused),
        CASE_OF(POSTGRES, generated_and_identity_columns_and_domains),
        CASE_OF(POSTGRES, partitioned_replicas),
    };
    return walk_targets(tests, sizeof tests / sizeof *tests);
}

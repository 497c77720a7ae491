/* A table of an SQLite replica fits its source's: created, grown, or refused with what mends it. */
#include "place_sqlite.h"
#include "target_case.h"

static struct process a;

static const char *columns_of(const char *table) {
    return see("SELECT name, type, pk FROM pragma_table_info('%s') ORDER BY cid", table);
}

static void tables_are_created_so_that_nothing_is_converted(void **state) {
    (void)state;
    const struct table *t = TABLE(
        "all", {.name = "a", .type = "bigint", .kind = KIND_INT64, .key = 2},
        {.name = "b", .type = "character varying(20)", .kind = KIND_TEXT, .key = 1},
        COLUMN("c", "numeric(12,2)", KIND_DECIMAL), COLUMN("d", "double precision", KIND_FLOAT64),
        COLUMN("e", "bytea", KIND_BYTES), COLUMN("f", "timestamp with time zone", KIND_ZONED_TIMESTAMP));
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, t));
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    process_end(&a);
    assert_string_equal(columns_of("shop_all"), "a|INTEGER|2;b|TEXT|1;c|TEXT|0;d||0;e|BLOB|0;f|TEXT|0");
    assert_string_equal(
        see("SELECT wr FROM pragma_table_list WHERE name IN ('shop_all', 'shop_items') ORDER BY name"),
        "1;0");
    assert_string_equal(
        see("SELECT type FROM millrace_sink_column WHERE replica = 'shop_all' AND name = 'c'"),
        "numeric(12,2)");
}

static void a_missing_table_is_not_created_unless_allowed(void **state) {
    (void)state;
    process_begin(&a, "a", OPTIONS("create_tables", "false"));
    assert_code(&a, prepare(&a, items()), REJECT, ERR_TARGET_TABLE);
    assert_non_null(strstr(a.err.text, "CREATE TABLE \"shop_items\" (\"id\" INTEGER NOT NULL"));
    process_end(&a);
}

static const struct table *grown(void) {
    return TABLE("items", {.name = "id", .type = "bigint", .kind = KIND_INT64, .key = 1, .length = -1},
                 {.name = "qty", .type = "numeric(12,2)", .kind = KIND_DECIMAL, .nullable = true, .scale = 2},
                 TEXT_COLUMN("note"),
                 {.name = "extra", .type = "integer", .kind = KIND_INT32, .nullable = true, .missing = "7"});
}

static const struct table *before_that(void) {
    return TABLE("items", INT_KEY("id"), INT_COLUMN("qty"),
                 COLUMN("note", "character varying(10)", KIND_TEXT));
}

static void the_replica_grows_with_its_source(void **state) {
    (void)state;
    process_begin(&a, "a", OPTIONS());
    INSERT(begin(before_that()), INT(1), INT(1), TEXT("n"));
    apply_commit(&a);
    INSERT(begin(grown()), INT(INT64_C(5000000000)), TEXT("1.25"), TEXT("longer than ten"), INT(8));
    assert_ok(&a, apply(&a));
    ops->rollback(a.target); /* the alteration goes back as well, and is done again */
    assert_string_equal(columns_of("shop_items"), "id|INTEGER|1;qty|INTEGER|0;note|TEXT|0");
    apply_commit(&a);
    assert_string_equal(columns_of("shop_items"), "id|INTEGER|1;note|TEXT|0;qty|TEXT|0;extra|INTEGER|0");
    UPDATE(begin(before_that()), INT(1), INT(2), TEXT("older")); /* rows of the older version still fit */
    INSERT(&current, INT(2), INT(3), TEXT("older"));
    apply_commit(&a);
    assert_string_equal(see("SELECT id, qty, note, extra FROM shop.items ORDER BY id"),
                        "1|2.00|older|7;2|3.00|older|7;5000000000|1.25|longer than ten|8");
    process_end(&a);
}

/* from, to; a value of the first, and how it stands before and after */
static void values_are_widened_as_the_source_does(void **state) {
    (void)state;
    static const struct {
        struct column from, to;
        struct value value;
        const char *stands;
    } cases[] = {
        {COLUMN("v", "smallint", KIND_INT16), COLUMN("v", "bigint", KIND_INT64), INT(-5), "-5"},
        {COLUMN("v", "integer", KIND_INT32), COLUMN("v", "numeric", KIND_TEXT), INT(-5), "'-5'"},
        {{.name = "v", .type = "numeric(6,2)", .kind = KIND_DECIMAL, .scale = 2, .nullable = true},
         {.name = "v", .type = "numeric(9,4)", .kind = KIND_DECIMAL, .scale = 4, .nullable = true},
         TEXT("-1.10"),
         "'-1.1000'"},
        {{.name = "v", .type = "numeric(6,0)", .kind = KIND_DECIMAL, .nullable = true},
         {.name = "v", .type = "numeric(9,1)", .kind = KIND_DECIMAL, .scale = 1, .nullable = true},
         TEXT("12"),
         "'12.0'"},
        {COLUMN("v", "real", KIND_FLOAT32), COLUMN("v", "double precision", KIND_FLOAT64), FLOAT(0.5), "0.5"},
        {COLUMN("v", "character(3)", KIND_TEXT), COLUMN("v", "character(5)", KIND_TEXT), TEXT("\xc3\xbc  "),
         "'\xc3\xbc    '"},
        {COLUMN("v", "character varying(3)", KIND_TEXT), COLUMN("v", "text", KIND_TEXT), TEXT("abc"),
         "'abc'"},
        {COLUMN("v", "timestamp(3) without time zone", KIND_TIMESTAMP_MS),
         COLUMN("v", "timestamp without time zone", KIND_TIMESTAMP), INT(1000), "'1970-01-01 00:00:00.001'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_up(NULL);
        const struct table *old = TABLE("w", INT_KEY("id"), cases[i].from),
                           *new = TABLE("w", INT_KEY("id"), cases[i].to);
        process_begin(&a, "a", OPTIONS());
        INSERT(begin(old), INT(1), cases[i].value);
        INSERT(&current, INT(2), SQL_NULL);
        apply_commit(&a);
        assert_ok(&a, prepare(&a, new));
        INSERT(begin(old), INT(3), cases[i].value);
        apply_commit(&a);
        char expected[128];
        snprintf(expected, sizeof expected, "%s;NULL;%s", cases[i].stands, cases[i].stands);
        assert_string_equal(see("SELECT quote(v) FROM shop.w ORDER BY id"), expected);
        process_end(&a);
    }
}

static void a_text_column_holds_what_any_type_prints(void **state) {
    (void)state;
    static const struct {
        struct column from;
        struct value value;
        const char *stands;
    } cases[] = {
        {COLUMN("v", "integer", KIND_INT32), INT(5), "'5'"},
        {COLUMN("v", "boolean", KIND_BOOL), INT(1), "'true'"},
        {COLUMN("v", "real", KIND_FLOAT32), FLOAT((double)0.1F), "'0.1'"},
        {COLUMN("v", "bytea", KIND_BYTES), BYTES("\x01"), "'\\x01'"},
        {COLUMN("v", "character(3)", KIND_TEXT), TEXT("a  "), "'a'"},
        {COLUMN("v", "timestamp with time zone", KIND_ZONED_TIMESTAMP), TEXT("2024-01-02T03:04:05Z"),
         "'2024-01-02 03:04:05+00'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_up(NULL);
        const struct table *text = TABLE("w", INT_KEY("id"), TEXT_COLUMN("v")),
                           *other = TABLE("w", INT_KEY("id"), cases[i].from);
        process_begin(&a, "a", OPTIONS());
        assert_ok(&a, prepare(&a, text));
        INSERT(begin(other), INT(1), cases[i].value);
        apply_commit(&a);
        assert_string_equal(see("SELECT quote(v) FROM shop.w"), cases[i].stands);
        process_end(&a);
    }
}

static void a_type_that_loses_values_is_never_taken(void **state) {
    (void)state;
    static const struct {
        struct column from, to;
    } cases[] = {
        {COLUMN("v", "integer", KIND_INT32), COLUMN("v", "text", KIND_TEXT)}, /* only if it is text before */
        {COLUMN("v", "text", KIND_TEXT), COLUMN("v", "integer", KIND_INT32)},
        {COLUMN("v", "numeric(9,4)", KIND_DECIMAL), COLUMN("v", "bytea", KIND_BYTES)},
        {COLUMN("v", "double precision", KIND_FLOAT64), COLUMN("v", "numeric", KIND_TEXT)},
        {COLUMN("v", "date", KIND_DATE), COLUMN("v", "timestamp without time zone", KIND_TIMESTAMP)},
        {COLUMN("v", "numeric(10,2)[]", KIND_TEXT), COLUMN("v", "numeric(12,4)[]", KIND_TEXT)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_up(NULL);
        process_begin(&a, "a", OPTIONS());
        assert_ok(&a, prepare(&a, TABLE("w", INT_KEY("id"), cases[i].from)));
        assert_ok(&a, commit(&a));
        enum code code = prepare(&a, TABLE("w", INT_KEY("id"), cases[i].to));
        bool text_holds = i == 1; /* a text column stays one */
        if (code != (text_holds ? OK : REJECT))
            fail_msg("%s to %s: %s %s", cases[i].from.type, cases[i].to.type, code_name(code), a.err.text);
        process_end(&a);
    }
}

static void policies_decide_about_columns(void **state) {
    (void)state;
    for (int ignore = 0; ignore < 2; ignore++) {
        set_up(NULL);
        sql("CREATE TABLE shop_items (note TEXT, id INTEGER PRIMARY KEY)");
        process_begin(&a, "a", OPTIONS("schema_change", ignore ? "ignore" : "stop"));
        if (!ignore) {
            assert_code(&a, prepare(&a, items()), REJECT, ERR_TARGET_TABLE);
            assert_non_null(strstr(a.err.text, "ALTER TABLE \"shop_items\" ADD COLUMN \"qty\" INTEGER"));
        } else {
            INSERT(begin(items()), INT(1), INT(5), TEXT("n"));
            assert_ok(&a, apply(&a));
            UPDATE(begin(items()), INT(1), INT(6), TEXT("m"));
            apply_commit(&a);
            assert_string_equal(see("SELECT * FROM shop.items"), "m|1");
        }
        process_end(&a);
    }
}

static void columns_come_with_what_older_rows_have(void **state) {
    (void)state;
    static const struct {
        const char *type;
        enum kind kind;
        const char *missing, *stands;
    } cases[] = {
        {"integer", KIND_INT32, "-5", "-5"},
        {"boolean", KIND_BOOL, "t", "1"},
        {"double precision", KIND_FLOAT64, "0.1", "0.1"},
        {"double precision", KIND_FLOAT64, "NaN", "'NaN'"},
        {"double precision", KIND_FLOAT64, "-Infinity", "-Inf"},
        {"numeric(9,2)", KIND_DECIMAL, "1.10", "'1.10'"},
        {"text", KIND_TEXT, "it's", "'it''s'"},
        {"bytea", KIND_BYTES, "\\x00ff", "X'00FF'"},
        {"timestamp with time zone", KIND_ZONED_TIMESTAMP, "2024-01-02 03:04:05.5+00",
         "'2024-01-02T03:04:05.5Z'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_up(NULL);
        process_begin(&a, "a", OPTIONS());
        INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
        apply_commit(&a);
        assert_ok(&a, prepare(&a, TABLE("items", INT_KEY("id"), INT_COLUMN("qty"), TEXT_COLUMN("note"),
                                        {.name = "v",
                                         .type = cases[i].type,
                                         .kind = cases[i].kind,
                                         .nullable = true,
                                         .missing = cases[i].missing})));
        assert_ok(&a, commit(&a));
        assert_string_equal(see("SELECT quote(v) FROM shop.items"), cases[i].stands);
        process_end(&a);
    }
}

static void a_table_made_by_hand_must_keep_values(void **state) {
    (void)state;
    static const struct {
        const char *columns, *word;
    } cases[] = {
        {"id INTEGER PRIMARY KEY, price NUMERIC, size", "TEXT"},
        {"id INTEGER PRIMARY KEY, price DECIMAL(12,2), size", "TEXT"},
        {"id INTEGER PRIMARY KEY, price TEXT, size REAL", "without a type"},
        {"id INTEGER PRIMARY KEY, price TEXT, size, more TEXT NOT NULL", "more"},
        {"id TEXT PRIMARY KEY, price TEXT, size", "INTEGER"},
        {"id INTEGER PRIMARY KEY, price TEXT, size", NULL},
        {"id INTEGER PRIMARY KEY, price TEXT, size, more TEXT NOT NULL DEFAULT 'own'", NULL},
    };
    const struct table *t = TABLE(
        "made", INT_KEY("id"), {.name = "price", .type = "numeric(12,2)", .kind = KIND_DECIMAL, .scale = 2},
        COLUMN("size", "double precision", KIND_FLOAT64));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_up(NULL);
        sql("CREATE TABLE shop_made (%s)", cases[i].columns);
        process_begin(&a, "a", OPTIONS());
        if (cases[i].word) {
            assert_code(&a, prepare(&a, t), REJECT, ERR_TARGET_TABLE);
            assert_non_null(strstr(a.err.text, cases[i].word));
        } else {
            INSERT(begin(t), INT(1), TEXT("1.10"), FLOAT(-0.0));
            apply_commit(&a);
            assert_string_equal(see("SELECT price, typeof(size) FROM shop.made"), "1.10|real");
        }
        process_end(&a);
    }
}

static void a_key_is_compared_byte_by_byte(void **state) {
    (void)state;
    const struct table *t =
        TABLE("named", {.name = "k", .type = "text", .kind = KIND_TEXT, .key = 1}, INT_COLUMN("v"));
    sql("CREATE TABLE shop_named (k TEXT COLLATE NOCASE PRIMARY KEY, v INTEGER)");
    process_begin(&a, "a", OPTIONS());
    assert_code(&a, prepare(&a, t), REJECT, ERR_TARGET_TABLE);
    assert_non_null(strstr(a.err.text, "NOCASE"));
    process_end(&a);
    sql("DROP TABLE shop_named; CREATE VIEW shop_named AS SELECT 1 AS k, 2 AS v");
    process_begin(&a, "a", OPTIONS());
    assert_code(&a, prepare(&a, t), REJECT, ERR_TARGET_TABLE);
    process_end(&a);
}

static void constraints_that_would_drop_rows_silently_are_violated(void **state) {
    (void)state;
    static const char *const ways[] = {"IGNORE", "REPLACE"};
    for (size_t i = 0; i < 2; i++) {
        set_up(NULL);
        sql("CREATE TABLE shop_items (id INTEGER PRIMARY KEY, qty INTEGER UNIQUE ON CONFLICT %s, note TEXT "
            "NOT NULL ON CONFLICT %s)",
            ways[i], ways[i]);
        process_begin(&a, "a", OPTIONS());
        INSERT(begin(items()), INT(1), INT(1), TEXT("first"));
        apply_commit(&a);
        INSERT(begin(items()), INT(2), INT(1), TEXT("second"));
        assert_code(&a, apply(&a), REJECT, ERR_TARGET_CONSTRAINT);
        INSERT(begin(items()), INT(2), INT(2), SQL_NULL);
        assert_code(&a, apply(&a), REJECT, ERR_TARGET_CONSTRAINT);
        UPDATE(begin(items()), INT(1), INT(2), SQL_NULL);
        assert_code(&a, apply(&a), REJECT, ERR_TARGET_CONSTRAINT);
        assert_string_equal(see("SELECT * FROM shop.items"), "1|1|first");
        process_end(&a);
    }
}

static void a_table_made_again_otherwise_is_looked_at_again(void **state) {
    (void)state;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, grown()));
    assert_ok(&a, commit(&a));
    process_end(&a);
    sql("DROP TABLE shop_items; CREATE TABLE shop_items (id INTEGER PRIMARY KEY, qty NUMERIC, note TEXT, "
        "extra INTEGER)");
    process_begin(&a, "a", OPTIONS());
    assert_code(&a, prepare(&a, grown()), REJECT, ERR_TARGET_TABLE);
    assert_non_null(strstr(a.err.text, "qty"));
    process_end(&a);
}

static struct table *incarnation(const char *name, uint64_t number) {
    struct table *t = TABLE(name, INT_KEY("id"), INT_COLUMN("qty"), TEXT_COLUMN("note"));
    t->incarnation = number;
    t->digest = table_digest(t);
    return t;
}

static enum code prepare_from(const struct table *t) {
    struct mapped mapped = {.source = t, .table = (struct table *)(uintptr_t)t};
    return ops->prepare(a.target, &mapped, false, false, &a.err);
}

static void a_table_that_the_source_renames_or_makes_anew_is_followed(void **state) {
    (void)state;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare_from(incarnation("items", 7)));
    INSERT(begin(incarnation("items", 7)), INT(1), INT(1), SQL_NULL);
    apply_commit(&a);
    assert_ok(&a, prepare_from(incarnation("goods", 7)));
    assert_ok(&a, commit(&a));
    assert_false(has_table("shop.items"));
    assert_string_equal(see("SELECT id FROM shop.goods"), "1");
    assert_string_equal(see("SELECT count(*) FROM millrace_sink_column WHERE replica = 'shop_goods'"), "3");
    assert_ok(&a, prepare_from(incarnation("goods", 8))); /* dropped and made anew */
    assert_ok(&a, commit(&a));
    assert_string_equal(see("SELECT count(*) FROM shop.goods"), "0");
    sql("CREATE TABLE shop_taken (x)");
    assert_code(&a, prepare_from(incarnation("taken", 8)), REJECT, ERR_TARGET_TABLE);
    assert_non_null(strstr(a.err.text, "millrace replay"));
    process_end(&a);
}

static void a_column_that_an_index_uses_is_not_replaced(void **state) {
    (void)state;
    process_begin(&a, "a", OPTIONS());
    INSERT(begin(before_that()), INT(1), INT(1), TEXT("n"));
    apply_commit(&a);
    sql("CREATE INDEX by_qty ON shop_items (qty)");
    assert_code(&a, prepare(&a, grown()), REJECT, ERR_TARGET_TABLE);
    assert_non_null(strstr(a.err.text, "drop them first"));
    assert_string_equal(see("SELECT qty FROM shop.items"), "1");
    sql("DROP INDEX by_qty");
    assert_ok(&a, prepare(&a, grown()));
    process_end(&a);
}

static void triggers_and_foreign_keys_do_not_act_unless_asked(void **state) {
    (void)state;
    for (int fire = 0; fire < 2; fire++) {
        set_up(NULL);
        sql("CREATE TABLE shop_orders (id INTEGER PRIMARY KEY); CREATE TABLE shop_log (what TEXT);"
            "CREATE TABLE shop_items (id INTEGER PRIMARY KEY, qty INTEGER REFERENCES shop_orders, note TEXT);"
            "CREATE TRIGGER t AFTER INSERT ON shop_items BEGIN INSERT INTO shop_log VALUES ('i');"
            " SELECT RAISE(ABORT, 'hunter2') WHERE new.note = 'bad'; END");
        process_begin(&a, "a", OPTIONS("triggers", fire ? "fire" : "off"));
        INSERT(begin(items()), INT(1), INT(99), TEXT("bad"));
        if (fire) {
            assert_code(&a, apply(&a), REJECT, ERR_TARGET_CONSTRAINT);
            assert_null(strstr(a.err.text, "hunter2"));
            INSERT(begin(items()), INT(1), INT(99), TEXT("good"));
            assert_code(&a, apply(&a), REJECT, ERR_TARGET_CONSTRAINT);
        } else
            apply_commit(&a);
        assert_string_equal(see("SELECT count(*) FROM shop.log"), "0");
        process_end(&a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE_OF(SQLITE, tables_are_created_so_that_nothing_is_converted),
        CASE_OF(SQLITE, a_missing_table_is_not_created_unless_allowed),
        CASE_OF(SQLITE, the_replica_grows_with_its_source),
        CASE_OF(SQLITE, values_are_widened_as_the_source_does),
        CASE_OF(SQLITE, a_text_column_holds_what_any_type_prints),
        CASE_OF(SQLITE, a_type_that_loses_values_is_never_taken),
        CASE_OF(SQLITE, policies_decide_about_columns),
        CASE_OF(SQLITE, columns_come_with_what_older_rows_have),
        CASE_OF(SQLITE, a_table_made_by_hand_must_keep_values),
        CASE_OF(SQLITE, a_key_is_compared_byte_by_byte),
        CASE_OF(SQLITE, constraints_that_would_drop_rows_silently_are_violated),
        CASE_OF(SQLITE, a_table_made_again_otherwise_is_looked_at_again),
        CASE_OF(SQLITE, a_table_that_the_source_renames_or_makes_anew_is_followed),
        CASE_OF(SQLITE, a_column_that_an_index_uses_is_not_replaced),
        CASE_OF(SQLITE, triggers_and_foreign_keys_do_not_act_unless_asked),
    };
    return walk_targets(tests, sizeof tests / sizeof *tests);
}

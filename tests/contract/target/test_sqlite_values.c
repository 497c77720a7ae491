/* Values and names of the source in an SQLite file: exact, or refused by name. */
#include <math.h>

#include "place_sqlite.h"
#include "target_case.h"

static struct process a;

/* ---- values ---- */

struct sample {
    const char *type;
    enum kind kind;
    int scale;
    struct value value;
    const char *stands; /* as quote() prints it: a text in quotes, a number, bytes as X'..' */
};

static const struct sample samples[] = {
    {"boolean", KIND_BOOL, 0, INT(1), "1"},
    {"bigint", KIND_INT64, 0, INT(INT64_MIN), "-9223372036854775808"},
    {"double precision", KIND_FLOAT64, 0, FLOAT(0.1), "0.1"},
    {"double precision", KIND_FLOAT64, 0, FLOAT(3.0), "3.0"},
    {"double precision", KIND_FLOAT64, 0, FLOAT(INFINITY), "Inf"},
    {"double precision", KIND_FLOAT64, 0, FLOAT(-INFINITY), "-Inf"},
    {"double precision", KIND_FLOAT64, 0, FLOAT(NAN), "'NaN'"},
    {"real", KIND_FLOAT32, 0, FLOAT(NAN), "'NaN'"},
    {"numeric(12,2)", KIND_DECIMAL, 2, TEXT("1.10"), "'1.10'"},
    {"numeric(5,0)", KIND_DECIMAL, 0, TEXT("7"), "'7'"},
    {"numeric", KIND_TEXT, 0, TEXT("1e-1000"), "'1e-1000'"},
    {"text", KIND_TEXT, 0, TEXT(""), "''"},
    {"text", KIND_TEXT, 0, TEXT("1.10"), "'1.10'"},
    {"text", KIND_TEXT, 0, TEXT("it's \xc3\xbc"), "'it''s \xc3\xbc'"},
    {"character(5)", KIND_TEXT, 0, TEXT("ab   "), "'ab   '"},
    {"bytea", KIND_BYTES, 0, BYTES(""), "X''"},
    {"bytea", KIND_BYTES, 0, BYTES("\x00\xff'"), "X'00FF27'"},
    {"json", KIND_JSON, 0, TEXT(" 1.10"), "' 1.10'"},
    {"uuid", KIND_UUID, 0, TEXT("00000000-0000-0000-0000-000000000000"),
     "'00000000-0000-0000-0000-000000000000'"},
    {"bit(10)", KIND_BITS, 0, TEXT("0000000001"), "'0000000001'"},
    {"date", KIND_DATE, 0, INT(0), "'1970-01-01'"},
    {"date", KIND_DATE, 0, INT(-735160), "'0044-03-15 BC'"},
    {"date", KIND_DATE, 0, INT(DATE_INFINITY), "'infinity'"},
    {"time(3) without time zone", KIND_TIME_MS, 0, INT(86400000000), "'24:00:00'"},
    {"time without time zone", KIND_TIME, 0, INT(1), "'00:00:00.000001'"},
    {"timestamp without time zone", KIND_TIMESTAMP, 0, INT(-1), "'1969-12-31 23:59:59.999999'"},
    {"timestamp(3) without time zone", KIND_TIMESTAMP_MS, 0, INT(TIMESTAMP_MINUS_INFINITY), "'-infinity'"},
    {"timestamp with time zone", KIND_ZONED_TIMESTAMP, 0, TEXT("2024-01-02T03:04:05.5Z"),
     "'2024-01-02T03:04:05.5Z'"},
    {"time with time zone", KIND_ZONED_TIME, 0, TEXT("03:04:05.5+05:30"), "'03:04:05.5+05:30'"},
    {"interval", KIND_INTERVAL, 0, TEXT("P1DT2H"), "'P1DT2H'"},
    {"point", KIND_POINT, 0, POINT(-0.0, 0.1), "'(-0,0.1)'"},
    {"integer[]", KIND_TEXT, 0, TEXT("{1,NULL}"), "'{1,NULL}'"},
    {"shop.mood", KIND_ENUM, 0, TEXT("ok"), "'ok'"},
    {"text", KIND_TEXT, 0, SQL_NULL, "NULL"},
};

static struct column column_of(const struct sample *s, int key) {
    return (struct column){.name = key ? "k" : "v",
                           .type = s->type,
                           .kind = s->kind,
                           .scale = s->scale,
                           .length = -1,
                           .nullable = !key,
                           .key = key};
}

/* As a column, as a key, and without a key; each row is changed and found again by what it holds. */
static void every_value_stands_exactly_and_is_found_again(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        const struct sample *s = &samples[i];
        bool null = s->value.tag == VALUE_NULL;
        set_up(NULL);
        const struct column plain[] = {column_of(s, 0), INT_COLUMN("n")},
                            keyed[] = {column_of(s, 1), INT_COLUMN("n")};
        const struct table *bag = table_with("bag", plain, 2, NULL, 0),
                           *map = table_with("map", keyed, 2, NULL, 0);
        process_begin(&a, "a", OPTIONS("on_missing", "stop"));
        INSERT(begin(bag), s->value, INT(1));
        assert_ok(&a, apply(&a));
        add(begin(bag), OP_UPDATE, ROW(s->value, INT(1)), ROW(s->value, INT(2)));
        apply_commit(&a);
        assert_string_equal(see("SELECT n FROM shop_bag"), "2");
        const char *stands = see("SELECT quote(v) FROM shop_bag");
        if (strcmp(stands, s->stands) != 0)
            fail_msg("%s: %s, expected %s", s->type, stands, s->stands);
        if (!null) {
            INSERT(begin(map), s->value, INT(1));
            assert_ok(&a, apply(&a));
            UPDATE(begin(map), s->value, INT(2));
            apply_commit(&a);
            stands = see("SELECT quote(k) FROM shop_map WHERE n = 2");
            if (strcmp(stands, s->stands) != 0)
                fail_msg("%s as a key: %s, expected %s", s->type, stands, s->stands);
            DELETE(begin(map), s->value, ABSENT);
            apply_commit(&a);
            assert_string_equal(see("SELECT count(*) FROM shop_map"), "0");
        }
        process_end(&a);
    }
}

/* "+-": of the numbers of a query, in order; SQLite's own texts show no sign of a zero. */
static const char *signs_of(const char *text) {
    static char signs[16];
    size_t n = 0;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(glass, text, -1, &stmt, NULL), SQLITE_OK);
    while (n < sizeof signs - 1 && sqlite3_step(stmt) == SQLITE_ROW) {
        assert_int_equal(sqlite3_column_type(stmt, 0), SQLITE_FLOAT);
        signs[n++] = signbit(sqlite3_column_double(stmt, 0)) ? '-' : '+';
    }
    sqlite3_finalize(stmt);
    signs[n] = 0;
    return signs;
}

static void a_zero_keeps_its_sign(void **state) {
    (void)state;
    const struct table *t = TABLE("f", INT_KEY("id"), COLUMN("v", "double precision", KIND_FLOAT64));
    process_begin(&a, "a", OPTIONS());
    struct batch *b = begin(t);
    INSERT(b, INT(1), FLOAT(-0.0));
    INSERT(b, INT(2), FLOAT(0.0));
    apply_commit(&a);
    process_end(&a);
    assert_string_equal(signs_of("SELECT v FROM shop_f ORDER BY id"), "-+");
}

static void equal_rows_without_a_key_are_told_apart_to_the_bit(void **state) {
    (void)state;
    const struct table *t = TABLE("f", COLUMN("v", "double precision", KIND_FLOAT64), INT_COLUMN("n"));
    for (int partial = 0; partial < 2; partial++) { /* in one look, and one by one */
        set_up(NULL);
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(t);
        INSERT(b, FLOAT(0.0), INT(1));
        INSERT(b, FLOAT(-0.0), INT(1));
        INSERT(b, SQL_NULL, INT(1));
        assert_ok(&a, apply(&a));
        b = begin(t);
        if (partial)
            add(b, OP_UPDATE, ROW(FLOAT(-0.0), INT(1)), ROW(ABSENT, INT(2)));
        else
            add(b, OP_UPDATE, ROW(FLOAT(-0.0), INT(1)), ROW(FLOAT(-0.0), INT(2)));
        add(b, OP_DELETE, ROW(SQL_NULL, INT(1)), NULL);
        apply_commit(&a);
        assert_string_equal(see("SELECT n FROM shop.f ORDER BY n"), "1;2");
        assert_string_equal(signs_of("SELECT v FROM shop_f ORDER BY n"), "+-");
        process_end(&a);
    }
}

static void a_key_is_never_null_and_never_made_up(void **state) {
    (void)state;
    process_begin(&a, "a", OPTIONS());
    INSERT(begin(items()), SQL_NULL, INT(1), SQL_NULL);
    assert_code(&a, apply(&a), REJECT, ERR_TARGET_VALUE);
    process_end(&a);
    assert_false(has_table("shop.items"));
}

/* ---- names ---- */

static struct table *table_of(const char *schema, const char *name) {
    struct table *t = TABLE(name, INT_KEY("id"));
    t->schema = schema;
    t->digest = table_digest(t);
    return t;
}

static void schemas_become_part_of_the_name(void **state) {
    (void)state;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, table_of("public", "plain")));
    assert_ok(&a, prepare(&a, table_of("main", "other")));
    assert_ok(&a, prepare(&a, table_of("shop", "items")));
    assert_ok(&a, commit(&a));
    process_end(&a);
    assert_string_equal(
        see("SELECT group_concat(name) FROM sqlite_schema WHERE name NOT LIKE 'millrace%%' ORDER BY name"),
        "plain,other,shop_items");
}

static void two_tables_never_become_one(void **state) {
    (void)state;
    static const char *const pairs[][4] = {
        {"public", "a", "main", "a"}, {"public", "shop_a", "shop", "a"}, {"public", "a", "public", "A"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        set_up(NULL);
        process_begin(&a, "a", OPTIONS());
        assert_ok(&a, prepare(&a, table_of(pairs[i][0], pairs[i][1])));
        assert_ok(&a, commit(&a));
        assert_code(&a, prepare(&a, table_of(pairs[i][2], pairs[i][3])), FATAL, ERR_CONFIG);
        assert_non_null(strstr(a.err.text, "rename"));
        /* a replay under another configuration takes the name over, and its rows are not emptied by the old
         * one */
        assert_ok(&a, ops->reset(a.target, &a.err));
        assert_ok(&a, claim(&a));
        const struct table *next = table_of(pairs[i][2], pairs[i][3]);
        assert_ok(&a, prepare_as(&a, next, true, true));
        INSERT(begin(next), INT(1));
        apply_commit(&a);
        process_end(&a);
        assert_string_equal(see("SELECT count(*) FROM \"%s\"", i == 1 ? "shop_a" : "a"), "1");
    }
}

static void names_that_are_taken_or_alike_are_refused(void **state) {
    (void)state;
    process_begin(&a, "a", OPTIONS());
    assert_code(&a, prepare(&a, table_of("public", "sqlite_x")), REJECT, ERR_TARGET_TABLE);
    assert_code(&a, prepare(&a, table_of("millrace", "sink_worker")), REJECT, ERR_TARGET_TABLE);
    assert_code(&a, prepare(&a, TABLE("t", INT_KEY("id"), INT_COLUMN("Qty"), INT_COLUMN("qTY"))), REJECT,
                ERR_TARGET_TABLE);
    assert_non_null(strstr(a.err.text, "qTY"));
    assert_code(&a, prepare(&a, TABLE("t", INT_COLUMN("rowid"), INT_COLUMN("oid"), INT_COLUMN("_rowid_"))),
                REJECT, ERR_TARGET_TABLE);
    assert_code(&a, prepare(&a, table_with("none", NULL, 0, NULL, 0)), REJECT, ERR_TARGET_TABLE);
    process_end(&a);
}

static void hostile_names_are_names(void **state) {
    (void)state;
    static const char evil[] = "x\"; DROP TABLE victim; --";
    sql("CREATE TABLE victim (id int)");
    struct table *t =
        TABLE(evil, {.name = "a\"b.c\\", .type = "integer", .kind = KIND_INT32, .key = 1}, INT_COLUMN("op"),
              TEXT_COLUMN("'); DELETE FROM victim; --"), TEXT_COLUMN("%s %n ?1"));
    t->schema = "s'\" $1";
    t->digest = table_digest(t);
    process_begin(&a, "a", OPTIONS());
    INSERT(begin(t), INT(1), INT(1), TEXT("x"), TEXT("y"));
    assert_ok(&a, apply(&a));
    UPDATE(begin(t), INT(1), INT(0), ABSENT, TEXT("z"));
    apply_commit(&a);
    assert_ok(&a, ops->park(a.target, t->schema, evil, "'; DROP", &a.err));
    process_end(&a);
    assert_string_equal(see("SELECT count(*) FROM victim"), "0");
    assert_string_equal(see("SELECT op, \"%%s %%n ?1\" FROM \"s'\"\" $1_x\"\"; DROP TABLE victim; --\""),
                        "0|z");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE_OF(SQLITE, every_value_stands_exactly_and_is_found_again),
        CASE_OF(SQLITE, a_zero_keeps_its_sign),
        CASE_OF(SQLITE, equal_rows_without_a_key_are_told_apart_to_the_bit),
        CASE_OF(SQLITE, a_key_is_never_null_and_never_made_up),
        CASE_OF(SQLITE, schemas_become_part_of_the_name),
        CASE_OF(SQLITE, two_tables_never_become_one),
        CASE_OF(SQLITE, names_that_are_taken_or_alike_are_refused),
        CASE_OF(SQLITE, hostile_names_are_names),
    };
    return walk_targets(tests, sizeof tests / sizeof *tests);
}

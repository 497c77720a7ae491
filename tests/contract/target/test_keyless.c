/* Rows without a key, and tables at the ends of what a table can be: of no column, and of 1600. */
#include "target_case.h"

static void begin_notes(struct process *a, const char *more) {
    set_up(NULL);
    process_begin(a, "a", OPTIONS());
    assert_ok(a, prepare(a, notes()));
    assert_ok(a, commit(a));
    process_end(a);
    if (more)
        sql("ALTER TABLE shop.notes ADD COLUMN %s", more);
    process_begin(a, "a", OPTIONS());
}

static void delete_some_of_equal_rows(struct process *a) {
    struct batch *b = begin(notes());
    for (int i = 0; i < 3; i++)
        INSERT(b, INT(1), TEXT("{\"a\": 1}"), SQL_NULL);
    INSERT(b, INT(1), TEXT("{\"a\":1}"), SQL_NULL);
    INSERT(b, INT(1), TEXT("{\"a\": 1}"), TEXT(""));
    apply_commit(a);
    b = begin(notes());
    add(b, OP_DELETE, ROW(INT(1), TEXT("{\"a\": 1}"), SQL_NULL), NULL);
    add(b, OP_UPDATE, ROW(INT(1), TEXT("{\"a\": 1}"), SQL_NULL), ROW(INT(2), TEXT("{\"a\": 1}"), SQL_NULL));
    INSERT(b, INT(3), SQL_NULL, SQL_NULL);
    add(b, OP_DELETE, ROW(INT(3), SQL_NULL, SQL_NULL), NULL);
    apply_commit(a);
    assert_string_equal(see("SELECT n, doc, note FROM shop.notes ORDER BY n, length(CAST(doc AS text)) DESC, "
                            "note NULLS LAST"),
                        "1|{\"a\": 1}|;1|{\"a\": 1}|~;1|{\"a\":1}|~;2|{\"a\": 1}|~");
}

static void of_equal_rows_exactly_one_is_deleted(void **state) {
    (void)state;
    struct process a;
    begin_notes(&a, NULL);
    delete_some_of_equal_rows(&a);
    add(begin(notes()), OP_DELETE, ROW(INT(77), SQL_NULL, TEXT("secret")), NULL);
    assert_code(&a, apply(&a), REJECT, ERR_TARGET_DIVERGED);
    assert_null(strstr(a.err.text, "secret"));
    process_end(&a);
}

/* With a column of the replica's own rows are taken one by one. */
static void of_equal_rows_with_a_column_more_exactly_one_is_deleted(void **state) {
    (void)state;
    struct process a;
    begin_notes(&a, "own text DEFAULT 'own'");
    delete_some_of_equal_rows(&a);
    assert_string_equal(see("SELECT count(*) FROM shop.notes WHERE own = 'own'"), "4");
    struct batch *b = begin(notes());
    add(b, OP_DELETE, ROW(INT(77), SQL_NULL, TEXT("secret")), NULL);
    INSERT(b, INT(1), SQL_NULL, SQL_NULL);
    add(b, OP_UPDATE, ROW(INT(1), SQL_NULL, SQL_NULL), ROW(INT(5), SQL_NULL, SQL_NULL));
    assert_code(&a, apply(&a), REJECT, ERR_TARGET_DIVERGED);
    assert_null(strstr(a.err.text, "secret"));
    process_end(&a);
}

static void many_rows_without_a_key(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, notes()));
    assert_ok(&a, commit(&a));
    sql("WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 20000)"
        " INSERT INTO shop.notes SELECT i %% 500, '{}', 'x' FROM s");
    struct batch *b = begin(notes());
    for (int i = 0; i < 3000; i++)
        add(b, OP_UPDATE, ROW(INT(i % 500), TEXT("{}"), TEXT("x")), ROW(INT(i % 500), TEXT("{}"), TEXT("y")));
    for (int i = 0; i < 500; i++)
        add(b, OP_DELETE, ROW(INT(i), TEXT("{}"), TEXT("x")), NULL);
    apply_commit(&a);
    assert_string_equal(see("SELECT note, count(*), count(DISTINCT n) FROM shop.notes GROUP BY 1 ORDER BY 1"),
                        "x|16500|500;y|3000|500");
    process_end(&a);
}

static void absent_columns_of_a_row_without_a_key_are_kept(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    struct batch *b = begin(notes());
    INSERT(b, INT(1), TEXT("{}"), TEXT("long"));
    add(b, OP_UPDATE, ROW(INT(1), TEXT("{}"), TEXT("long")), ROW(INT(2), TEXT("{}"), ABSENT));
    apply_commit(&a);
    assert_string_equal(see("SELECT * FROM shop.notes"), "2|{}|long");
    process_end(&a);
}

static void a_table_without_columns(void **state) {
    (void)state;
    struct process a;
    const struct table *empty = table_with("empty", NULL, 0, NULL, 0);
    process_begin(&a, "a", OPTIONS());
    struct batch *b = begin(empty);
    const struct value none[1] = {SQL_NULL};
    for (int i = 0; i < 3; i++)
        add(b, OP_CREATE, NULL, none);
    apply_commit(&a);
    add(begin(empty), OP_DELETE, none, NULL);
    apply_commit(&a);
    assert_string_equal(see("SELECT count(*) FROM shop.empty"), "2");
    process_end(&a);
}

static void a_table_of_as_many_columns_as_there_can_be(void **state) {
    (void)state;
    enum { N = 1600 };
    static char names[N][16];
    struct column *columns = arena_zalloc(&memory, N * sizeof *columns);
    struct value *row = arena_zalloc(&memory, N * sizeof *row);
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "c%d", i);
        columns[i] = (struct column){
            .name = names[i], .type = "integer", .kind = KIND_INT32, .nullable = i > 0, .key = i == 0};
        row[i] = (struct value)INT(i);
    }
    const struct table *wide = table_with("wide", columns, N, NULL, 0);
    struct process a;
    process_begin(&a, "a", OPTIONS());
    struct batch *b = begin(wide);
    for (int i = 0; i < 20; i++) {
        row[0].i = i;
        add(b, i < 18 ? OP_CREATE : OP_UPDATE, NULL, row);
    }
    apply_commit(&a);
    assert_string_equal(see("SELECT count(*), sum(c1599) FROM shop.wide"), "20|31980");
    process_end(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(of_equal_rows_exactly_one_is_deleted),
        CASE_WITH(CONSTRAINTS, of_equal_rows_with_a_column_more_exactly_one_is_deleted),
        CASE(many_rows_without_a_key),
        CASE(absent_columns_of_a_row_without_a_key_are_kept),
        CASE_OF(POSTGRES, a_table_without_columns),
        CASE(a_table_of_as_many_columns_as_there_can_be),
    };
    return walk_targets(tests, sizeof tests / sizeof *tests);
}

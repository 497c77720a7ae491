#include "capture/trigger/postgres/install.h"

#include <stdio.h>

bool install_takes(const struct pg_rel *rel) {
    return rel->object && rel->selected == SELECTION_TAKEN && rel->persistence == 'p';
}

/* ---- a small template language ---- */

/* @S the quoted schema, @L its name as a literal, @R the reading role as a
 * literal, @T the quoted table, @O its OID, @N its name as a literal, @M its schema's */

struct words {
    const char *schema, *role;
    const struct pg_rel *rel;
    uint32_t oid;
};

static void put_name(struct buf *sql, const struct pg_rel *rel) {
    CLEANUP_BUF name = {0};
    put_table(&name, rel->schema, rel->name);
    put_literal(sql, buf_cstr(&name));
}

static void put(struct buf *sql, const char *template, struct words w) {
    for (const char *p = template; *p; p++) {
        if (*p != '@') {
            buf_putc(sql, *p);
            continue;
        }
        switch (*++p) {
        case 'S':
            put_identifier(sql, w.schema);
            break;
        case 'T':
            put_table(sql, w.rel->schema, w.rel->name);
            break;
        case 'O':
            buf_printf(sql, "%u", w.oid);
            break;
        case 'N':
            put_name(sql, w.rel);
            break;
        case 'M': {
            CLEANUP_BUF name = {0};
            put_identifier(&name, w.rel->schema);
            put_literal(sql, buf_cstr(&name));
            break;
        }
        case 'F':
            buf_puts(sql, w.rel->kind == 'p' ? "" : "ONLY ");
            break;
        case 'L':
            put_literal(sql, w.schema);
            break;
        case 'R':
            put_literal(sql, w.role);
            break;
        case 'Q': { /* the change table's sequence, as a literal */
            CLEANUP_BUF name = {0};
            put_table(&name, w.schema, "change_id");
            put_literal(sql, buf_cstr(&name));
            break;
        }
        }
    }
}

#define BODY "$millrace_body$"
#define FIXED                                                                                            \
    "SET search_path = pg_catalog, pg_temp SET DateStyle = 'ISO' SET IntervalStyle = 'iso_8601'\n"       \
    "  SET TimeZone = 'UTC' SET extra_float_digits = 3 SET bytea_output = 'hex' SET lc_monetary = 'C'\n" \
    "  SET row_security = on"
#define SAFE "SET search_path = pg_catalog, pg_temp"

#define MADE "made by millrace source install"

/* Whoever owns something in the schema, or may make something there, could have the installation run code of
 * his in its name; whoever may name its functions could write changes that never were. */
static const char schema_sql[] =
    "-- The schema is ours alone: nothing in it belongs to, or can be used by, anybody but us and the "
    "reader.\n"
    "DO " BODY "\n"
    "DECLARE bad text;\n"
    "BEGIN\n"
    "  IF to_regnamespace('@S') IS NULL THEN\n"
    "    CREATE SCHEMA @S;\n"
    "    COMMENT ON SCHEMA @S IS '" MADE "';\n"
    "  END IF;\n"
    "  SELECT string_agg(DISTINCT w, ', ') INTO bad FROM (\n"
    "    SELECT format('the schema itself, of %s', nspowner::regrole), nspowner FROM pg_namespace WHERE "
    "nspname = @L\n"
    "    UNION ALL SELECT format('%I, of %s', relname, relowner::regrole), relowner FROM pg_class\n"
    "      WHERE relnamespace = to_regnamespace('@S')\n"
    "    UNION ALL SELECT format('%I(), of %s', proname, proowner::regrole), proowner FROM pg_proc\n"
    "      WHERE pronamespace = to_regnamespace('@S')) o(w, owner)\n"
    "    WHERE owner <> (SELECT oid FROM pg_roles WHERE rolname = current_user);\n"
    "  IF bad IS NOT NULL THEN\n"
    "    RAISE EXCEPTION 'schema % holds what belongs to another role than %, which installs: %', @L, "
    "current_user, bad\n"
    "      USING ERRCODE = 'insufficient_privilege', HINT = 'Install as that role, or drop it.';\n"
    "  END IF;\n"
    "  SELECT string_agg(DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, ', ') "
    "INTO bad\n"
    "    FROM pg_namespace, aclexplode(nspacl)\n"
    "    WHERE nspname = @L AND grantee <> nspowner AND pg_get_userbyid(grantee) <> @R;\n"
    "  IF bad IS NOT NULL THEN\n"
    "    RAISE EXCEPTION 'schema % can be used by %: they could write changes that never were', @L, bad\n"
    "      USING ERRCODE = 'insufficient_privilege', HINT = 'REVOKE ALL ON SCHEMA ' || '@S' || ' FROM ' || "
    "bad;\n"
    "  END IF;\n"
    "  SELECT string_agg(w, ', ') INTO bad FROM (\n"
    "    SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass('@S.changes') AND tgtype & 4 <> 0 AND NOT "
    "tgisinternal\n"
    "    UNION ALL SELECT rulename FROM pg_rewrite WHERE ev_class = to_regclass('@S.changes')) t(w);\n"
    "  IF bad IS NOT NULL THEN\n"
    "    RAISE EXCEPTION 'triggers or rules stand on the change table of schema %: %', @L, bad USING HINT = "
    "'Drop them.';\n"
    "  END IF;\n"
    "END " BODY ";\n"
    "\n";

static const char tables_sql[] =
    "-- One row per changed row; for each key in the order of the ids. Rows are deleted as they are "
    "shipped.\n"
    "CREATE SEQUENCE IF NOT EXISTS @S.change_id AS bigint CACHE 1 NO CYCLE;\n"
    "CREATE TABLE IF NOT EXISTS @S.changes (\n"
    "  id bigint PRIMARY KEY DEFAULT nextval(@Q),\n"
    "  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),\n"
    "  relid oid NOT NULL,\n"
    "  shape text NOT NULL, -- a number of shapes, or the list of columns itself\n"
    "  op \"char\" NOT NULL, -- c u d t\n"
    "  old text, new text,\n"
    "  at timestamptz NOT NULL DEFAULT transaction_timestamp()\n"
    ") WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,\n"
    "  autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0,\n"
    "  autovacuum_analyze_threshold = 1000000, toast.autovacuum_vacuum_scale_factor = 0,\n"
    "  toast.autovacuum_vacuum_threshold = 20000);\n"
    "CREATE TABLE IF NOT EXISTS @S.installation (\n"
    "  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),\n"
    "  format int NOT NULL, identity uuid NOT NULL, since timestamptz NOT NULL,\n"
    "  place text NOT NULL); -- OIDs of the database and the change table: others after a restore from a "
    "dump\n"
    "CREATE TABLE IF NOT EXISTS @S.tables (\n"
    "  relid oid PRIMARY KEY, name text NOT NULL,\n"
    "  mark text NOT NULL); -- what its triggers looked like\n"
    "CREATE TABLE IF NOT EXISTS @S.shapes (\n"
    "  number int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, relid oid NOT NULL, layout text NOT NULL);\n"
    "CREATE UNIQUE INDEX IF NOT EXISTS shapes_layout ON @S.shapes (relid, md5(layout));\n"
    "REVOKE ALL ON @S.changes, @S.installation, @S.tables, @S.shapes FROM PUBLIC;\n"
    "CREATE OR REPLACE FUNCTION @S.keep_changes() RETURNS trigger LANGUAGE plpgsql " SAFE "\n"
    "AS " BODY " BEGIN\n"
    "  RAISE EXCEPTION 'the change table holds changes that were not shipped: TRUNCATE would lose them'\n"
    "    USING HINT = 'millrace source uninstall removes it.';\n"
    "END " BODY ";\n"
    "DO " BODY " BEGIN -- only where it lacks: it would wait for writers\n"
    "  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = '@S.changes'::regclass AND tgname = "
    "'keep_changes') THEN\n"
    "    CREATE TRIGGER keep_changes BEFORE TRUNCATE ON @S.changes EXECUTE FUNCTION @S.keep_changes();\n"
    "    ALTER TABLE @S.changes ENABLE ALWAYS TRIGGER keep_changes;\n"
    "  END IF;\n"
    "END " BODY ";\n"
    "\n";

static const char functions_sql[] =
    "-- The columns of a table as its rows' text has them. A snapshot that is older than the table's "
    "definition\n"
    "-- would show the columns of before: such a transaction is ended as one that cannot be serialized.\n"
    "CREATE OR REPLACE FUNCTION @S.layout_now(relid oid) RETURNS text LANGUAGE plpgsql STABLE " SAFE "\n"
    "AS " BODY "\n"
    "DECLARE\n"
    "  next bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;\n"
    "  x bigint;\n"
    "BEGIN\n"
    "  FOR x IN\n"
    "    SELECT (next >> 32 << 32) + v.x FROM (\n"
    "      SELECT c.xmax::text::bigint FROM pg_class c WHERE c.oid = layout_now.relid\n"
    "      UNION ALL SELECT a.xmax::text::bigint FROM pg_attribute a\n"
    "        WHERE a.attrelid = layout_now.relid AND a.attnum > 0) v(x)\n"
    "    WHERE v.x <> 0\n"
    "  LOOP\n"
    "    x := CASE WHEN x > next + (1::bigint << 31) THEN x - (1::bigint << 32)\n"
    "              WHEN x < next - (1::bigint << 31) THEN x + (1::bigint << 32) ELSE x END;\n"
    "    IF x >= next AND pg_xact_status(x::text::xid8) = 'committed' OR x > 2 AND x < next AND\n"
    "       NOT pg_visible_in_snapshot(x::text::xid8, pg_current_snapshot()) AND\n"
    "       pg_xact_status(x::text::xid8) = 'committed' THEN\n"
    "      RAISE EXCEPTION 'could not serialize access: table % was altered after this transaction began',\n"
    "        relid::regclass USING ERRCODE = 'serialization_failure';\n"
    "    END IF;\n"
    "  END LOOP;\n"
    "  RETURN (SELECT coalesce(json_agg(json_build_array(a.attname, a.atttypid::bigint, a.atttypmod,\n"
    "    a.attgenerated <> '') ORDER BY a.attnum)::text, '[]') FROM pg_attribute a\n"
    "    WHERE a.attrelid = layout_now.relid AND a.attnum > 0 AND NOT a.attisdropped);\n"
    "END " BODY ";\n"
    "\n"
    "-- The number of that list among the shapes, or the list itself. IMMUTABLE: worked out once per plan, "
    "and the\n"
    "-- plan lasts until the table is altered.\n"
    "CREATE OR REPLACE FUNCTION @S.shape_at(relid oid) RETURNS text LANGUAGE plpgsql IMMUTABLE " SAFE "\n"
    "AS " BODY "\n"
    "DECLARE now text := @S.layout_now(relid);\n"
    "BEGIN\n"
    "  RETURN coalesce((SELECT s.number::text FROM @S.shapes s WHERE s.relid = shape_at.relid AND s.layout = "
    "now),\n"
    "    now);\n"
    "END " BODY ";\n"
    "\n"
    "-- What the triggers of a table look like: any ALTER, DROP or CREATE of them or of what they run shows "
    "here,\n"
    "-- and a partition's that does not fire.\n"
    "CREATE OR REPLACE FUNCTION @S.mark(relid oid) RETURNS text LANGUAGE sql STABLE " SAFE "\n"
    "AS " BODY "\n"
    "  SELECT md5(concat(\n"
    "    (SELECT string_agg(concat_ws(':', t.tgname, t.oid, t.xmin, t.tgenabled, t.tgfoid), ',' ORDER BY "
    "t.tgname)\n"
    "       FROM pg_trigger t WHERE t.tgrelid = mark.relid AND t.tgname IN (" PGTRIGGER_NAMES ")),\n"
    "    (SELECT string_agg(concat_ws(':', p.oid, p.xmin), ',' ORDER BY p.oid) FROM pg_proc p\n"
    "       JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_class c ON c.relnamespace = n.oid\n"
    "       WHERE c.oid = @Q::regclass AND p.proname IN ('capture_' || mark.relid, 'shape_at', "
    "'layout_now')),\n"
    "    (SELECT string_agg(concat_ws(':', t.tgrelid, t.tgname, t.tgenabled), ',' ORDER BY t.tgrelid, "
    "t.tgname)\n"
    "       FROM pg_trigger t JOIN pg_trigger r ON r.tgrelid = mark.relid AND r.tgname = t.tgname\n"
    "       WHERE (t.tgenabled <> r.tgenabled OR t.tgrelid <> mark.relid AND NOT EXISTS (SELECT FROM "
    "pg_depend d\n"
    "           WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.oid AND d.xmin = t.xmin))\n"
    "         AND t.tgname IN (" PGTRIGGER_NAMES ")\n"
    "         AND t.tgrelid IN (WITH RECURSIVE tree(relid) AS (SELECT mark.relid UNION ALL\n"
    "           SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.relid) SELECT relid "
    "FROM tree))))\n"
    "" BODY ";\n"
    "\n"
    "-- The triggers' own function: their conditions have done the work and are never true.\n"
    "CREATE OR REPLACE FUNCTION @S.unused() RETURNS trigger LANGUAGE plpgsql " SAFE "\n"
    "AS " BODY " BEGIN RETURN NULL; END " BODY ";\n"
    "GRANT EXECUTE ON FUNCTION @S.unused() TO PUBLIC; -- who makes a partition makes its triggers\n"
    "\n";

static const char here_sql[] =
    "CREATE OR REPLACE FUNCTION @S.here() RETURNS text LANGUAGE sql STABLE " SAFE "\n"
    "AS " BODY " SELECT concat_ws('/', oid, '@S.changes'::regclass::oid) FROM pg_database\n"
    "  WHERE datname = current_database() " BODY ";\n"
    "\n";
static const char identity_sql[] =
    "-- Another identity if changes may have been missed since the last installation, or if this is a copy "
    "of it.\n"
    "IF EXISTS (SELECT FROM @S.installation WHERE place <> @S.here()) THEN\n"
    "  DELETE FROM @S.changes;\n"
    "  DELETE FROM @S.tables;\n"
    "  DELETE FROM @S.shapes;\n"
    "  DELETE FROM @S.installation;\n"
    "END IF;\n"
    "UPDATE @S.installation SET identity = gen_random_uuid(), format = 1\n"
    "  WHERE EXISTS (SELECT FROM @S.tables t JOIN pg_class c ON c.oid = t.relid WHERE t.mark <> "
    "@S.mark(t.relid));\n"
    "\n";

/* The output function of the row, whatever casts its owner has made; a row of NULLs is a row. */
#define OLD_TEXT "CASE WHEN op IN ('u', 'd') THEN format('%s', old) END"
#define NEW_TEXT "CASE WHEN op IN ('u', 'c') THEN format('%s', new) END"

static const char capture_sql[] =
    "CREATE OR REPLACE FUNCTION @S.capture_@O(op \"char\", old record, new record) RETURNS boolean\n"
    "  LANGUAGE plpgsql SECURITY DEFINER\n"
    "  " FIXED "\n"
    "AS " BODY "\n"
    "BEGIN\n"
    "  IF (CASE WHEN has_schema_privilege(to_regnamespace(@M)::oid, 'USAGE') AND "
    "has_table_privilege(@O::oid, 'SELECT')\n"
    "      AND NOT row_security_active(@O::oid) THEN to_regclass(@N) = @O ELSE false END) THEN\n"
    "    INSERT INTO @S.changes (relid, shape, op, old, new)\n"
    "      SELECT @O, @S.shape_at(@O), op, " OLD_TEXT ", " NEW_TEXT "\n"
    "        WHERE NOT EXISTS (SELECT FROM ONLY @T WHERE false);\n"
    "  ELSE -- renamed or given away since the installation, or restored from a dump\n"
    "    INSERT INTO @S.changes (relid, shape, op, old, new)\n"
    "      VALUES (@O, @S.layout_now(@O), op, " OLD_TEXT ", " NEW_TEXT ");\n"
    "  END IF;\n"
    "  RETURN false;\n"
    "END " BODY ";\n"
    "-- Whoever writes the table runs it; nobody else can name it, without USAGE on the schema.\n"
    "GRANT EXECUTE ON FUNCTION @S.capture_@O(\"char\", record, record) TO PUBLIC;\n"
    "\n";

#define UPDATE_SQL(moved)                                                    \
    "CREATE OR REPLACE TRIGGER millrace_u AFTER UPDATE ON @T FOR EACH ROW\n" \
    "  WHEN (" moved "@S.capture_@O('u', OLD, NEW)) EXECUTE FUNCTION @S.unused();\n"
static const char update_sql[] = UPDATE_SQL("");
/* A row that is moved to another partition is told as d and c; where a foreign key leads to it, the trigger
 * of the root itself is asked, too (PostgreSQL 15 and newer), with rows that are of no partition. */
static const char update_root_sql[] =
    UPDATE_SQL("OLD.tableoid = NEW.tableoid AND NEW.tableoid <> 0 AND NEW.tableoid <> @O AND ");
static const char *const triggers_sql[] = {
    "CREATE OR REPLACE TRIGGER millrace_c AFTER INSERT ON @T FOR EACH ROW\n"
    "  WHEN (@S.capture_@O('c', NULL, NEW)) EXECUTE FUNCTION @S.unused();\n",
    "CREATE OR REPLACE TRIGGER millrace_d AFTER DELETE ON @T FOR EACH ROW\n"
    "  WHEN (@S.capture_@O('d', OLD, NULL)) EXECUTE FUNCTION @S.unused();\n",
    "CREATE OR REPLACE TRIGGER millrace_t AFTER TRUNCATE ON @T FOR EACH STATEMENT\n"
    "  WHEN (@S.capture_@O('t', NULL, NULL)) EXECUTE FUNCTION @S.unused();\n",
};

static const char always_sql[] =
    "ALTER TABLE @T ENABLE ALWAYS TRIGGER millrace_c, ENABLE ALWAYS TRIGGER millrace_u,\n"
    "  ENABLE ALWAYS TRIGGER millrace_d, ENABLE ALWAYS TRIGGER millrace_t;\n";

static const char joins_sql[] =
    "-- Rows of a table that joins an installation: as if they were written now.\n"
    "INSERT INTO @S.changes (relid, shape, op) SELECT @O, @S.shape_at(@O), 't'\n"
    "  WHERE EXISTS (SELECT FROM @S.installation) AND NOT EXISTS (SELECT FROM @S.tables WHERE relid = @O);\n"
    "INSERT INTO @S.changes (relid, shape, op, new) SELECT @O, @S.shape_at(@O), 'c', format('%s', t.*)\n"
    "  FROM @F@T t\n"
    "  WHERE EXISTS (SELECT FROM @S.installation) AND NOT EXISTS (SELECT FROM @S.tables WHERE relid = @O);\n"
    "INSERT INTO @S.tables (relid, name, mark) VALUES (@O, @N, '')\n"
    "  ON CONFLICT (relid) DO UPDATE SET name = excluded.name;\n"
    "\n";

static void put_table_sql(struct buf *sql, struct words w) {
    put(sql, "INSERT INTO @S.shapes (relid, layout) SELECT @O, @S.layout_now(@O) ON CONFLICT DO NOTHING;\n",
        w);
    put(sql, capture_sql, w);
    for (size_t i = 0; i < sizeof triggers_sql / sizeof *triggers_sql; i++)
        put(sql, triggers_sql[i], w);
    put(sql, w.rel->kind == 'p' ? update_root_sql : update_sql, w);
    if (w.rel->owned)
        put(sql, always_sql, w);
    put(sql, joins_sql, w);
}

/* One name after the other, so that two of these never lock each other out. */
static void put_names(struct buf *sql, const struct pg_rels *rels,
                      bool (*wanted)(const struct pg_rel *, const void *), const void *which) {
    size_t begun = sql->len;
    for (int i = 0; i < rels->n; i++) {
        if (!wanted(&rels->items[i], which))
            continue;
        buf_puts(sql, sql->len > begun ? ", " : "");
        put_table(sql, rels->items[i].schema, rels->items[i].name);
    }
}

static bool wanted_here(const struct pg_rel *rel, const void *unused) {
    (void)unused;
    return install_takes(rel) && rel->owned;
}

struct oids {
    const uint32_t *items;
    int n;
};
static bool wanted_gone(const struct pg_rel *rel, const void *gone_) {
    const struct oids *gone = gone_;
    for (int i = 0; i < gone->n; i++)
        if (gone->items[i] == rel->oid)
            return rel->owned;
    return false;
}

/* All or none, again and again: an application that has one table and wants another goes on, and none of its
 * transactions waits as long as the server takes to look for a deadlock (1 s). */
static void put_locks(struct buf *sql, const struct pg_rels *rels, bool installs, struct oids gone) {
    CLEANUP_BUF writes = {0}, all = {0};
    if (installs)
        put_names(&writes, rels, wanted_here, NULL);
    put_names(&all, rels, wanted_gone, &gone);
    if (!writes.len && !all.len)
        return;
    buf_puts(sql, "-- All tables at once or none: nobody who writes them is locked out for good.\n"
                  "DO " BODY "\nBEGIN\n  FOR attempt IN 1..40 LOOP\n    BEGIN\n");
    if (writes.len)
        buf_printf(sql, "      LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE;\n", buf_cstr(&writes));
    if (all.len)
        buf_printf(sql, "      LOCK TABLE %s IN ACCESS EXCLUSIVE MODE;\n", buf_cstr(&all));
    buf_puts(sql, "      RETURN;\n"
                  "    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN\n"
                  "      PERFORM pg_sleep(0.1 + 0.2 * random());\n"
                  "    END;\n  END LOOP;\n"
                  "  RAISE EXCEPTION 'the tables are in use by transactions that do not end'\n"
                  "    USING ERRCODE = 'lock_not_available', HINT = 'Nothing was changed. Try again when "
                  "they have ended "
                  "(pg_stat_activity).';\n"
                  "END " BODY ";\n\n");
}

static void put_grants(struct buf *sql, const char *schema, const char *role, const struct pg_rels *rels) {
    static const char *const grants[] = {"GRANT USAGE ON SCHEMA @S TO ",
                                         "GRANT SELECT ON ALL TABLES IN SCHEMA @S TO ",
                                         "GRANT DELETE ON @S.changes TO ",
                                         "GRANT SELECT ON SEQUENCE @S.change_id TO ",
                                         "GRANT EXECUTE ON FUNCTION @S.mark(oid), @S.here() TO ",
                                         NULL};
    buf_puts(sql, "-- What the reader needs; and SELECT on the tables themselves, for the snapshot.\n");
    for (int i = 0; grants[i]; i++) {
        put(sql, grants[i], (struct words){.schema = schema});
        put_identifier(sql, role);
        buf_puts(sql, ";\n");
    }
    for (int i = 0; i < rels->n; i++) {
        if (!install_takes(&rels->items[i]) || !rels->items[i].owned)
            continue;
        put(sql, "GRANT SELECT ON @T TO ", (struct words){.rel = &rels->items[i]});
        put_identifier(sql, role);
        buf_puts(sql, ";\n");
    }
}

static void put_forget(struct buf *sql, const char *schema, uint32_t oid) {
    struct words w = {.schema = schema, .oid = oid};
    put(sql,
        "DROP FUNCTION IF EXISTS @S.capture_@O(\"char\", record, record) CASCADE; -- with its triggers\n", w);
}

static const char session_sql[] =
    "SET LOCAL lock_timeout = '300ms'; -- of each try\n"
    "SET LOCAL client_min_messages = warning;\n"
    "SET LOCAL search_path = pg_catalog, pg_temp;\n"
    "SET LOCAL DateStyle = 'ISO';\nSET LOCAL IntervalStyle = 'iso_8601';\nSET LOCAL TimeZone = 'UTC';\n"
    "SET LOCAL extra_float_digits = 3;\nSET LOCAL bytea_output = 'hex';\nSET LOCAL lc_monetary = 'C';\n\n";

void install_put(const struct pgtrigger_options *o, const struct pg_rels *rels, const uint32_t *dropped,
                 int n_dropped, struct buf *sql) {
    struct words w = {.schema = o->schema, .role = o->reader ? o->reader : rels->role};
    buf_puts(
        sql,
        "-- Millrace: change table and triggers. Run as the role that owns the tables; safe to run again.\n"
        "-- Writers of the tables wait until it is through. From then on lastval() after a write of theirs "
        "tells of\n"
        "-- the change table's ids: applications that use it are to take INSERT ... RETURNING or "
        "currval().\nBEGIN;\n");
    buf_puts(sql, session_sql);
    put(sql, schema_sql, w);
    put(sql, tables_sql, w);
    put_locks(sql, rels, true, (struct oids){dropped, n_dropped});
    put(sql, here_sql, w);
    put(sql, "DO " BODY " BEGIN IF to_regprocedure('@S.mark(oid)') IS NOT NULL THEN\n", w);
    put(sql, identity_sql, w);
    put(sql, "END IF; END " BODY ";\n\n", w);
    put(sql, functions_sql, w);
    for (int i = 0; i < n_dropped; i++) {
        w.oid = dropped[i];
        put_forget(sql, o->schema, w.oid);
        put(sql, "DELETE FROM @S.tables WHERE relid = @O;\nDELETE FROM @S.shapes WHERE relid = @O;\n\n", w);
    }
    for (int i = 0; i < rels->n; i++) {
        if (!install_takes(&rels->items[i]))
            continue;
        w.rel = &rels->items[i];
        w.oid = w.rel->oid;
        put_table_sql(sql, w);
    }
    put(sql,
        "INSERT INTO @S.installation (format, identity, since, place) VALUES (1, gen_random_uuid(), "
        "transaction_timestamp(), @S.here())\n"
        "  ON CONFLICT DO NOTHING;\n"
        "UPDATE @S.tables SET mark = @S.mark(relid);\n\n",
        w);
    put_grants(sql, o->schema, w.role, rels);
    buf_puts(sql, "COMMIT;\n");
}

void uninstall_put(const struct pgtrigger_options *o, const struct pg_rels *rels, const uint32_t *registered,
                   int n_registered, struct buf *sql) {
    struct words w = {.schema = o->schema};
    buf_puts(sql, "-- Millrace: removes triggers and change table, and with it the changes that were not "
                  "shipped.\nBEGIN;\n"
                  "SET LOCAL lock_timeout = '300ms';\nSET LOCAL client_min_messages = warning;\n");
    put_locks(sql, rels, false, (struct oids){registered, n_registered});
    for (int i = 0; i < n_registered; i++)
        put_forget(sql, o->schema, registered[i]);
    put(sql,
        "DROP FUNCTION IF EXISTS @S.unused() CASCADE;\n"
        "DROP FUNCTION IF EXISTS @S.mark(oid), @S.here(), @S.shape_at(oid), @S.layout_now(oid);\n"
        "DROP TABLE IF EXISTS @S.changes, @S.tables, @S.shapes, @S.installation;\n"
        "DROP FUNCTION IF EXISTS @S.keep_changes();\n"
        "DROP SEQUENCE IF EXISTS @S.change_id;\n"
        "DO " BODY " BEGIN -- the schema, if it was made for this and nothing else is in it\n"
        "  IF obj_description(to_regnamespace('@S'), 'pg_namespace') = '" MADE
        "' THEN DROP SCHEMA @S; END IF;\n"
        "EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END " BODY ";\n"
        "COMMIT;\n",
        w);
}

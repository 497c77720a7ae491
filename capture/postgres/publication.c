/* (PostgreSQL manual, "CREATE PUBLICATION", "ALTER PUBLICATION".) Rights: CREATE on the database and
 * ownership of the tables, or an administrator runs the statements that the errors show. */
#include "capture/postgres/publication.h"

#include "base/log.h"

enum code publication_read(PGconn *conn, const struct source_env *env, const char *name,
                           struct pg_publication *ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "SELECT puballtables, pubviaroot, pubinsert AND pubupdate AND pubdelete AND pubtruncate, "
                   "pg_has_role(pubowner, 'USAGE'), oid FROM pg_publication WHERE pubname = ");
    put_literal(&sql, name);
    CLEANUP_RESULT *res = NULL;
    enum code code =
        pgsource_query(conn, env, 10000, "looking at the publication", buf_cstr(&sql), &res, err);
    if (code)
        return code;
    *ret = (struct pg_publication){.found = PQntuples(res) == 1};
    memcpy(ret->name, name, strnlen(name, PG_NAME_MAX - 1));
    if (ret->found) {
        ret->all_tables = pgsource_text(res, 0, 0)[0] == 't';
        ret->via_root = pgsource_text(res, 0, 1)[0] == 't';
        ret->complete = pgsource_text(res, 0, 2)[0] == 't';
        ret->owned = pgsource_text(res, 0, 3)[0] == 't';
        ret->oid = (uint32_t)strtoul(pgsource_text(res, 0, 4), NULL, 10);
    }
    return OK;
}

enum code publication_check(const struct pg_publication *publication, uint32_t known, uint64_t flushed,
                            struct err *err) {
    if (publication->found && (known == 0 || publication->oid == known))
        return OK;
    return err_set(
        err, FATAL, ERR_NEEDS_RESNAPSHOT,
        "publication %s was dropped%s, and the changes after our position " LSN_FMT
        " cannot be read through it; take a new snapshot: millrace capture --config FILE --resnapshot",
        publication->name, publication->found ? " and made anew" : "", LSN_ARGS(flushed));
}

/* A partitioned table is covered by itself or by all of its partitions. */
static bool covered(const struct pg_options *options, const struct pg_rels *rels,
                    const struct pg_rel *object) {
    if (object->kind == 'r' || options->publish_via_root)
        return object->published;
    if (object->member)
        return true;
    bool some = false;
    for (int i = 0; i < rels->n; i++) {
        if (!rel_stores(object, &rels->items[i]))
            continue;
        if (!rels->items[i].published)
            return false;
        some = true;
    }
    return some;
}

static bool lacking(const struct pg_options *options, const struct pg_rels *rels, const struct pg_rel *rel) {
    if (!rel->object || rel->persistence != 'p')
        return false;
    return !covered(options, rels, rel);
}

void publication_lacks(const struct pg_options *options, const struct pg_rels *rels, const char *name,
                       struct table_trouble *ret) {
    for (int i = 0; i < rels->n; i++) {
        const struct pg_rel *rel = &rels->items[i];
        if (!lacking(options, rels, rel))
            continue;
        if (ret->n++ == 0) {
            buf_puts(&ret->sql, "ALTER PUBLICATION ");
            put_identifier(&ret->sql, name);
            buf_puts(&ret->sql, " ADD TABLE ");
        }
        if (ret->n <= 20)
            buf_printf(&ret->names, "%s%s.%s", ret->n > 1 ? ", " : "", rel->schema, rel->name);
        buf_puts(&ret->sql, ret->n > 1 ? ", ONLY " : "ONLY ");
        put_table(&ret->sql, rel->schema, rel->name);
    }
}

void publication_put_create(struct buf *sql, const struct pg_options *options, const struct pg_rels *rels,
                            const char *name) {
    buf_puts(sql, "CREATE PUBLICATION ");
    put_identifier(sql, name);
    const char *between = " FOR TABLE ";
    for (int i = 0; i < rels->n; i++) {
        const struct pg_rel *rel = &rels->items[i];
        if (!rel->object || rel->persistence != 'p')
            continue;
        buf_puts(sql, between);
        buf_puts(sql, "ONLY ");
        put_table(sql, rel->schema, rel->name);
        between = ", ";
    }
    buf_printf(sql, " WITH (publish_via_partition_root = %s)", options->publish_via_root ? "true" : "false");
}

static enum code run(PGconn *conn, const struct source_env *env, const char *doing, struct buf *sql,
                     struct err *err) {
    CLEANUP_RESULT *res = NULL;
    enum code code = pgsource_query(conn, env, 20000, doing, buf_cstr(sql), &res, err);
    if (code == FATAL && err && err->id == ERR_SOURCE_REFUSED) {
        CLEANUP_FREE char *why = xstrdup(err->text);
        return err_set(err, FATAL, ERR_SOURCE_REFUSED, "%s; as the tables' owner or an administrator: %s",
                       why, buf_cstr(sql));
    }
    return code;
}

static enum code create(PGconn *conn, const struct pg_options *options, const struct source_env *env,
                        const char *name, const struct pg_rels *rels, struct err *err) {
    CLEANUP_BUF sql = {0};
    publication_put_create(&sql, options, rels, name);
    if (!options->create)
        return err_set(err, FATAL, ERR_SOURCE_TABLE,
                       "publication %s does not exist; as the tables' owner: %s", name, buf_cstr(&sql));
    enum code code = run(conn, env, "creating the publication", &sql, err);
    if (code == OK)
        log_info("capture", "publication created", F_STR("publication", name));
    return code;
}

static enum code check_adopted(const struct pg_publication *p, const struct pg_options *options,
                               const struct pg_rels *rels, struct err *err) {
    if (!p->complete)
        return err_set(
            err, FATAL, ERR_SOURCE_TABLE,
            "publication %s leaves out some kinds of changes; mend with: ALTER PUBLICATION \"%s\" SET "
            "(publish = 'insert, update, delete, truncate')",
            p->name, p->name);
    bool partitioned = false;
    for (int i = 0; i < rels->n; i++)
        partitioned |= rels->items[i].selected == SELECTION_TAKEN && rels->items[i].kind == 'p';
    if (partitioned && p->via_root != options->publish_via_root)
        return err_set(
            err, FATAL, ERR_SOURCE_TABLE,
            "publication %s has publish_via_partition_root = %s, the configuration says publish_via_root: "
            "%s; "
            "change one of them (ALTER PUBLICATION \"%s\" SET (publish_via_partition_root = %s)) and take a "
            "new snapshot",
            p->name, p->via_root ? "true" : "false", options->publish_via_root ? "true" : "false", p->name,
            options->publish_via_root ? "true" : "false");
    return OK;
}

enum code publication_ensure(PGconn *conn, const struct pg_options *options, const struct source_env *env,
                             const char *name, const struct pg_rels *rels, bool *ret_added, struct err *err) {
    struct pg_publication p;
    *ret_added = false;
    enum code code = publication_read(conn, env, name, &p, err);
    if (code)
        return code;
    if (!p.found)
        return create(conn, options, env, name, rels, err);
    code = check_adopted(&p, options, rels, err);
    if (code)
        return code;
    CLEANUP_TROUBLE lacks = {0};
    publication_lacks(options, rels, name, &lacks);
    if (!lacks.n)
        return OK;
    if (!p.owned || !options->create)
        return err_set(err, FATAL, ERR_SOURCE_TABLE,
                       "publication %s lacks %d selected tables (%s); exclude them in `tables`, or as the "
                       "publication's owner: %s",
                       name, lacks.n, buf_cstr(&lacks.names), buf_cstr(&lacks.sql));
    code = run(conn, env, "adding tables to the publication", &lacks.sql, err);
    if (code)
        return code;
    *ret_added = true;
    log_warn("capture", "tables added to the publication", F_STR("publication", name),
             F_STR("tables", buf_cstr(&lacks.names)));
    return OK;
}

/* Tables: as the server has them now, and as the registry of an installation knows them.
 *
 * The registry (made by install.c) gives each table, at each install that finds another shape, a new number;
 * change rows carry it, so that a row is read with the columns it was written with. Of the numbers of one
 * table the greatest is in force; its triggers are named after the table's slot, the number it had first. */
#pragma once

#include "capture/trigger/mariadb/connect.h"
#include "capture/trigger/mariadb/values.h"

enum { REGISTRY_FORMAT = 1 };

struct maria_table {
    const char *schema, *name;
    struct maria_column *columns;
    int n_columns;
    /* as the server has it */
    const char *engine, *type; /* "InnoDB", "BASE TABLE" */
    const char *cascade;       /* a foreign key by which the server changes rows without triggers, or NULL */
    /* as the registry has it, or as a script would write it */
    uint32_t number, slot;
    bool live;               /* the number in force of its table */
    const char *made;        /* when its triggers were made, as the server told after the install */
    const char *incarnation; /* InnoDB's ids of the table: another one after TRUNCATE and after a rebuild */
    const char *made_now, *incarnation_now; /* by maria_catalog_marks; "" where there is nothing */
    struct table table;  /* what a change refers to; .n_columns is 0 where a type is refused */
    bool selected;       /* by the options */
    const char *refused; /* why a column cannot be captured, or NULL */
};

struct maria_catalog {
    struct arena arena;
    struct maria_table *tables;
    int n, cap;
};
void maria_catalog_free(struct maria_catalog *catalog);

/* The server's tables that the options select. */
MUST_CHECK enum code maria_catalog_server(MYSQL *db, const struct maria_options *options,
                                          struct maria_catalog *ret, struct err *err);
/* All numbers of the registry. */
MUST_CHECK enum code maria_catalog_registry(MYSQL *db, const struct maria_options *options,
                                            struct maria_catalog *ret, struct err *err);

/* Asks the server for the marks of all tables in force. Needs PROCESS, and TRIGGER on the tables. */
MUST_CHECK enum code maria_catalog_marks(MYSQL *db, const struct maria_options *options,
                                         struct maria_catalog *catalog, struct err *err);
/* Why a table of the server's cannot be captured, with the mend; ERR_NONE if it can. */
enum err_id maria_refused(const struct maria_table *table, struct buf *why);

/* The one in force under this name, or NULL. */
const struct maria_table *maria_catalog_find(const struct maria_catalog *catalog, const char *schema,
                                             const char *name);
const struct maria_table *maria_catalog_number(const struct maria_catalog *catalog, uint64_t number);
/* Same columns, types and key. */
bool maria_same_shape(const struct maria_table *a, const struct maria_table *b);

/* SQL expressions for what tells whether triggers and table are still those of the install, as the server
 * prints it. */
void maria_put_made(struct buf *sql, const struct maria_options *options, const struct maria_table *table);
void maria_put_incarnation(struct buf *sql, const char *schema, const char *name);
/* Name of the trigger of one event 'i', 'u' or 'd'; `ret` holds MARIA_NAME_MAX bytes. */
void maria_trigger_name(const struct maria_options *options, const struct maria_table *table, char event,
                        char *ret);
/* The statement of that trigger, as information_schema tells it. */
void maria_put_trigger_body(struct buf *sql, const struct maria_options *options,
                            const struct maria_table *table, char event);

/* The options of a MariaDB source that is fed by triggers, and the tables they select. */
#pragma once

#include "base/option.h"
#include "base/slice.h"

enum maria_tls { MARIA_TLS_VERIFY, MARIA_TLS_REQUIRE, MARIA_TLS_OFF };
enum maria_dates { MARIA_DATES_TYPED, MARIA_DATES_STRING };
enum { MARIA_NAME_MAX = 65 * 4 }; /* identifiers are at most 64 characters */
enum { MARIA_HOME_MAX = 48 };     /* bytes of `database`: triggers have its name with a number behind it */

struct maria_options {
    const char *url;
    struct text_list tables;       /* patterns database.table with * and ?; a leading '!' excludes */
    const char *database;          /* where change table and registry live */
    int64_t change_table_bytes;    /* above it the change table is a finding */
    int dates;                     /* enum maria_dates */
    int tls;                       /* enum maria_tls */
    const char *tls_ca;            /* NULL = the system's */
    char captured[MARIA_NAME_MAX]; /* not an option: filled by the first call of maria_database */
};

extern const struct option_table maria_options;

/* The parts of mysql://user:password@host:port/database?socket=PATH, in the arena; NULL or 0 where not
 * given. */
struct maria_url {
    const char *user, *password, *host, *database, *socket;
    unsigned port;
};
/* False: it is no such URL. */
bool maria_url_parse(const char *url, struct arena *arena, struct maria_url *ret);

/* Database named by the URL, "" if none. Lives as long as the options. */
const char *maria_database(const void *options);

/* Whether some pattern takes the table and none excludes it. Without patterns: all tables of the URL's
 * database. */
bool maria_selects(const struct maria_options *options, const char *schema, const char *name);

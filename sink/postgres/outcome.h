/* What a failure of the server means for the caller: one table from SQLSTATE to (code, error). */
#pragma once

#include <libpq-fe.h>

#include "base/err.h"

struct outcome {
    enum code code;
    enum err_id id;
};

/* The row of the longest matching prefix of a SQLSTATE; an unknown one is RETRY/TARGET_UNREACHABLE.
 * Source: PostgreSQL manual, appendix A. */
struct outcome outcome_of(const char *sqlstate);

/* Sets the error from a failed result: primary message, constraint, column and table names; never DETAIL or
 * CONTEXT, which quote row values. In messages of class 22 (data exceptions) everything between double quotes
 * is replaced, because there the primary message quotes the value. `about` names the table for people, or is
 * NULL. */
enum code outcome_set(const PGresult *result, const char *about, struct err *err);

/* The same for a connection that failed or could not be made: `text` is PQerrorMessage() of a connection
 * whose verbosity is PQERRORS_VERBOSE; the SQLSTATE is found in it if the server sent one. */
enum code outcome_of_connection(const char *text, struct err *err);

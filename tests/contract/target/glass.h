/* An SQLite database through which a place is seen: the file itself, or one in memory that shows the tables
 * of a kind that knows no SQL. Tables shop.x and millrace.x are named shop_x and millrace_x there. A
 * statement that fails fails the test. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

/* Any number of statements. */
void glass_sql(sqlite3 *db, const char *text);
/* All rows of a query, as see() tells them. */
void glass_see(sqlite3 *db, const char *text, char *ret, size_t size);
bool glass_has(sqlite3 *db, const char *table);
/* The columns of the key of a table that see() shows; of struct place: .key */
const char *glass_key_of(const char *table);

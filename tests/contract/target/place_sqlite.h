/* The SQLite replica as its own cases see it. */
#pragma once

#include <sqlite3.h>

extern sqlite3 *glass; /* the connection of sql() and see() */
/* Opens it anew, after a case has put something else where the file was. */
void glass_open(void);

/* What only the suites of MariaDB need of their place. */
#pragma once

extern char maria_home[80]; /* the database of the change table */

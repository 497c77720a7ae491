/* What `millrace quickstart` writes: each kind of source, target and journal looks at what is there and
 * suggests its part of the configuration. The command knows no kind, and the kinds know nothing of each
 * other. */
#pragma once

#include "base/arena.h"

struct table_name {
    const char *schema, *name;
};

struct suggest_ask {
    const char *url;     /* of the database, with what its references stand for; may hold a password */
    const char *written; /* the same for the file: every secret is a reference, ${NAME} */
    const struct table_name *tables; /* asked of targets: what will be shipped */
    int n_tables;
};

/* Zero-initialised is empty; texts live in its arena. */
struct suggestion {
    const char *name;                /* of the database: becomes the name of the pipeline; NULL: none */
    const char *identity;            /* two databases with the same text are the same one; NULL: not known */
    const struct table_name *tables; /* told by sources: what would be shipped now */
    int n_tables;
    struct buf yaml;  /* lines of the kind's mapping, comments among them, each ended by '\n', not indented */
    struct buf notes; /* a line for each thing that a person should know */
    struct buf
        before; /* commands to run once before the start, one a line; "@FILE" stands for the configuration */
    struct arena arena;
};
void suggestion_free(struct suggestion *suggestion); /* it is empty afterwards */

/* `text` as a quoted YAML scalar. `references`: ${...} in it shall be replaced when it is read; otherwise it
 * stands for itself. */
void suggest_put_text(struct buf *yaml, const char *text, bool references);
/* `text` as comment lines of at most some 100 columns, its line breaks and control characters as blanks. */
void suggest_put_comment(struct buf *yaml, const char *text);
/* Copies `lines`, each with `indent` blanks before it (none before an empty line). */
void suggest_put_indented(struct buf *yaml, struct slice lines, int indent);
/* The part of a URL that is a secret, the `i`-th of them: scheme://user:SECRET@host, and in the query
 * password=SECRET or sslpassword=SECRET. False: there are no more, or what stands there is a reference
 * already. */
bool suggest_secret(const char *url, int i, struct slice *ret);

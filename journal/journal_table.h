/* The kinds of journal there are. A new one is one folder and one line in journal_table.c. The first is the
 * one of a configuration that names none. */
#pragma once
#include "journal/journal.h"
extern const struct journal_ops *const journal_table[]; /* NULL-terminated */
extern const struct journal_ops kafka_journal;          /* journal/kafka */
extern const struct journal_ops embedded_journal;       /* journal/embedded */

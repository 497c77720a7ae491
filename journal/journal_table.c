#include "journal/journal_table.h"

const struct journal_ops *const journal_table[] = {
    &embedded_journal,
    &kafka_journal,
    NULL,
};

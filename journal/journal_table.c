#include "journal/journal_table.h"

const struct journal_ops *const journal_table[] = {
    &kafka_journal,
    NULL,
};

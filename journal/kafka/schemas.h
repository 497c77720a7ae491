/* Schemas kept in the journal itself, see journal/schema_texts.h. */
#pragma once

#include "journal/kafka/kafka.h"

/* A store with a writer lives no longer than the writer: after opening the writer anew, make a new store,
 * since ids that an aborted transaction gave away are gone. */
journal_schemas_f kafka_schemas;

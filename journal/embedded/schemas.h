/* Schemas kept in the journal itself, see journal/schema_texts.h. */
#pragma once

#include "journal/embedded/embedded.h"

journal_schemas_f embedded_schemas;

/* The Confluent schema registry API over libcurl (also spoken by Apicurio at /apis/ccompat/v7 and by
 * Karapace). POST /subjects/{s}/versions, GET /schemas/ids/{id}. TLS verified by default; redirects and
 * proxies off; basic auth. */
#pragma once

#include "base/option.h"
#include "schemas/store.h"

struct registry_config { /* filled by registry_options */
    const char *url;     /* registry: base URL */
    const char *user, *password;
    const char *ca_file, *cert_file, *key_file;
    int64_t timeout_ms;
};
extern const struct option_table registry_options; /* keys of the `schemas:` mapping: registry, user,
                                                      password, ca_file, cert_file, key_file, timeout */

/* Does not connect. Retries inside one call with back-off within timeout_ms. After a PUT it reads the id back
 * once and compares the text's Avro meaning (same canonical form), so that a registry that lies is found
 * (FATAL/REGISTRY_REFUSED). The config is borrowed. */
MUST_CHECK enum code registry_open(const struct registry_config *config, struct schema_store **ret,
                                   struct err *err);
/* One GET /subjects; for doctor. */
MUST_CHECK enum code registry_check(const struct registry_config *config, struct err *err);

/* The admin port's pages: /metrics, /healthz, /readyz, /v1/status. */
#pragma once

#include "base/http.h"
#include "cli/role.h"

struct roles {
    pthread_mutex_t lock; /* items and n: the HTTP thread reads, the main thread writes */
    struct role **items;
    int n;
};

MUST_CHECK enum code server_start(struct roles *roles, const char *listen, struct http_server **ret,
                                  struct err *err);
const char *server_version(void);

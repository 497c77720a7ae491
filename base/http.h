/* The admin port (libmicrohttpd): GET only, loopback by default, small bodies, no arguments from outside used
 * as paths. */
#pragma once

#include "base/err.h"
#include "base/slice.h"

/* Fills `out` and returns the HTTP status. Called on the server's thread. */
typedef int http_handler_f(void *arg, struct buf *out, const char **ret_content_type);
struct http_route {
    const char *path;
    http_handler_f *handler;
    void *arg;
};
struct http_server;

/* Listens on "host:port" (port 0 = any free one; see http_port). Routes are borrowed until http_stop.
 * FATAL/ERR_CONFIG (bad address), FATAL/ERR_SYSTEM (address in use). */
MUST_CHECK enum code http_start(const char *listen, const struct http_route *routes, size_t n,
                                struct http_server **ret, struct err *err);
int http_port(const struct http_server *server);
void http_stop(struct http_server *server); /* NULL is fine */

/* One thread of libmicrohttpd answers everything; handlers run on it, one at a time. The routes are read-only
 * while the server runs. Requests are answered from their first line and headers alone: bodies are never
 * read. */
#include "base/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

enum { CONNECTIONS_MAX = 32, TIMEOUT_S = 10, MEMORY_BYTES_MAX = 32 << 10, BACKLOG = 16 };

struct http_server {
    struct MHD_Daemon *daemon;
    const struct http_route *routes;
    size_t n;
    int port;
};

/* ---- answering ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, int status, struct buf *body,
                              const char *content_type) {
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body->len, body->data, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result queued = MHD_queue_response(connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, int status, const char *text) {
    CLEANUP_BUF body = {0};
    buf_puts(&body, text);
    return answer(connection, status, &body, "text/plain; charset=utf-8");
}

static const struct http_route *find_route(const struct http_server *server, const char *path) {
    for (size_t i = 0; i < server->n; i++)
        if (!strcmp(server->routes[i].path, path))
            return &server->routes[i];
    return NULL;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_len, void **state) {
    (void)version, (void)upload, (void)upload_len, (void)state;
    const struct http_route *route = find_route(arg, path);
    if (!route)
        return answer_text(connection, MHD_HTTP_NOT_FOUND, "not found\n");
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    CLEANUP_BUF body = {0};
    const char *content_type = "text/plain; charset=utf-8";
    int status = route->handler(route->arg, &body, &content_type);
    return answer(connection, status, &body, content_type);
}

/* What clients do wrong is no concern of an operator. */
static PRINTF_LIKE(2, 0) void on_trouble(void *arg, const char *fmt, va_list args) {
    (void)arg;
    if (!log_on(LOG_DEBUG))
        return;
    char text[512];
    vsnprintf(text, sizeof text, fmt, args);
    text[strcspn(text, "\n")] = '\0';
    log_debug("http", "connection failed", F_STR("error", text));
}

/* ---- listening ---- */

/* "host:port", "[::1]:port", ":port" or "port"; without a host it is the loopback. */
static bool split_address(const char *listen_on, char *host, size_t host_size, const char **ret_port) {
    const char *colon = strrchr(listen_on, ':'), *begin = listen_on, *end = colon ? colon : listen_on;
    *ret_port = colon ? colon + 1 : listen_on;
    if (*begin == '[') {
        if (end == begin || end[-1] != ']')
            return false;
        begin++;
        end--;
    } else if (memchr(begin, ':', (size_t)(end - begin))) {
        return false; /* an IPv6 address without brackets: its last group would be taken for the port */
    }
    if (begin == end) {
        begin = "127.0.0.1";
        end = begin + strlen(begin);
    }
    if ((size_t)(end - begin) >= host_size)
        return false;
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    size_t digits = strspn(*ret_port, "0123456789");
    return digits > 0 && digits <= 5 && !(*ret_port)[digits] && strtol(*ret_port, NULL, 10) <= 65535;
}

static enum code resolve(const char *listen_on, struct addrinfo **ret, struct err *err) {
    char host[256];
    const char *port;
    if (!split_address(listen_on, host, sizeof host, &port))
        return err_set(err, FATAL, ERR_CONFIG, "'%.256s' is not an address to listen on; write host:port",
                       listen_on);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int failed = getaddrinfo(host, port, &hints, ret);
    if (failed)
        return err_set(err, FATAL, ERR_CONFIG, "cannot find the host of '%.256s': %s", listen_on,
                       gai_strerror(failed));
    return OK;
}

static int open_socket(const struct addrinfo *address) {
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int on = 1;
    bool ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
    if (ok && address->ai_family == AF_INET6)
        ok = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0;
    if (ok)
        ok = bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
    if (ok)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* "localhost" is often both ::1 and 127.0.0.1; who asks for it means the latter. */
static const struct addrinfo *pick(const struct addrinfo *all) {
    for (const struct addrinfo *a = all; a; a = a->ai_next)
        if (a->ai_family == AF_INET)
            return a;
    return all;
}

static int port_of(int fd) {
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    char port[8];
    if (getsockname(fd, (struct sockaddr *)&name, &len))
        return 0;
    if (getnameinfo((struct sockaddr *)&name, len, NULL, 0, port, sizeof port, NI_NUMERICSERV))
        return 0;
    return (int)strtol(port, NULL, 10);
}

static struct MHD_Daemon *start_daemon(struct http_server *server, int fd, int family) {
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO | MHD_USE_ERROR_LOG;
    if (family == AF_INET6)
        flags |= MHD_USE_IPv6;
    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, server, MHD_OPTION_EXTERNAL_LOGGER, on_trouble,
                            NULL, /* first: it reports on the others */
                            MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                            (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_BYTES_MAX, MHD_OPTION_END);
}

enum code http_start(const char *listen_on, const struct http_route *routes, size_t n,
                     struct http_server **ret, struct err *err) {
    *ret = NULL;
    struct addrinfo *addresses = NULL;
    enum code code = resolve(listen_on, &addresses, err);
    if (code != OK)
        return code;
    int family = pick(addresses)->ai_family, fd = open_socket(pick(addresses)), failed = errno;
    freeaddrinfo(addresses);
    if (fd < 0)
        return err_set(err, FATAL, ERR_SYSTEM, "cannot listen on '%.256s': %s", listen_on, strerror(failed));

    struct http_server *server = xcalloc(1, sizeof *server);
    *server = (struct http_server){.routes = routes, .n = n, .port = port_of(fd)};
    server->daemon = start_daemon(server, fd, family);
    if (server->daemon) {
        *ret = server;
        return OK;
    }
    /* Whose the socket is after a failure the manual does not say: better leaked once than closed twice. */
    free(server);
    return err_set(err, FATAL, ERR_SYSTEM, "cannot start the server on '%.256s'", listen_on);
}

int http_port(const struct http_server *server) {
    return server->port;
}

void http_stop(struct http_server *server) {
    if (!server)
        return;
    MHD_stop_daemon(server->daemon); /* closes the socket and joins the thread */
    free(server);
}

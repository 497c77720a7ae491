/* Requests to the admin port: the real server with the real pages, one connection each. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/server.h"
#include "fuzz.h"

static struct roles roles;
static struct role capture, sink;
static struct pipeline pipeline = {.source_name = "shop"};
static struct pipeline_sink report = {.name = "report"};
static struct http_server *server;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    static struct role *items[2] = {&capture, &sink};
    struct err err;
    (void)argc, (void)argv;
    pthread_mutex_init(&roles.lock, NULL);
    pthread_mutex_init(&capture.lock, NULL);
    pthread_mutex_init(&sink.lock, NULL);
    capture.pipeline = sink.pipeline = &pipeline;
    sink.sink = &report;
    sink.view.state = ROLE_FAILED;
    (void)!err_set(&sink.view.err, FATAL, ERR_TARGET_TABLE, "table \"a\" is missing");
    roles.items = items;
    roles.n = 2;
    HOLDS(server_start(&roles, "127.0.0.1:0", &server, &err) == OK, "%s", err.text);
    return 0;
}

static int reach(void) {
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)http_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    /* A port that has said its last word waits for a minute; each address of the loopback has ports of its
     * own. */
    static uint32_t connections;
    const struct sockaddr_in from = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + connections++ / 4096 % 4096),
    };
    const struct linger at_once = {1, 0}; /* the server need not wait for what we have not read */
    const int late = 1;                   /* the port is chosen when it is known whom it connects to */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof late);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    HOLDS(bind(fd, (const struct sockaddr *)&from, sizeof from) == 0 &&
              connect(fd, (struct sockaddr *)&to, sizeof to) == 0,
          "cannot connect: %s", strerror(errno));
    return fd;
}

/* What comes until the server closes, or is silent: for the rest of a request that is not whole it waits
 * longer than we. */
static void read_answer(int fd, int wait_ms, struct buf *answer) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    while (poll(&wait, 1, wait_ms) > 0) {
        ssize_t n = read(fd, buf_room(answer, 65536), 65536);
        if (n <= 0)
            return;
        answer->len += (size_t)n;
        wait_ms = 1;
    }
}

static void ask(const void *request, size_t size, int wait_ms, struct buf *answer) {
    int fd = reach();
    if (send(fd, request, size, MSG_NOSIGNAL) == (ssize_t)size && shutdown(fd, SHUT_WR) == 0)
        read_answer(fd, wait_ms, answer);
    close(fd);
}

/* Whatever came before, an ordinary request is answered. */
static void still_answers(void) {
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    struct buf answer = {0};
    ask(request, sizeof request - 1, 10000, &answer);
    HOLDS(answer.len > 15 && memcmp(answer.data, "HTTP/1.1 200 OK", 15) == 0, "the server is gone: %s",
          buf_cstr(&answer));
    buf_free(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static unsigned runs;
    struct buf answer = {0};
    ask(data, size, 5, &answer);
    HOLDS(answer.len < 12 || memcmp(answer.data, "HTTP/1.", 7) == 0, "%s", buf_cstr(&answer));
    buf_free(&answer);
    if (runs++ % 64 == 0)
        still_answers();
    return 0;
}

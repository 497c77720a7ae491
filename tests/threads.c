/* Linked into programs with ThreadSanitizer: C11's threads, which librdkafka uses and the sanitizer does not
 * know, as POSIX threads, which it does. (A thread that it did not see begin ends the program at its first
 * malloc.) */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

struct start {
    thrd_start_t run;
    void *arg;
};

static void *run(void *arg) {
    struct start start = *(struct start *)arg;
    free(arg);
    return (void *)(intptr_t)start.run(start.arg);
}

int thrd_create(thrd_t *ret, thrd_start_t function, void *arg) {
    struct start *start = malloc(sizeof *start);
    if (!start)
        return thrd_nomem;
    *start = (struct start){function, arg};
    int error = pthread_create(ret, NULL, run, start);
    if (error)
        free(start);
    return !error ? thrd_success : error == ENOMEM ? thrd_nomem : thrd_error;
}

int thrd_join(thrd_t thread, int *ret) {
    void *result;
    if (pthread_join(thread, &result))
        return thrd_error;
    if (ret)
        *ret = (int)(intptr_t)result;
    return thrd_success;
}

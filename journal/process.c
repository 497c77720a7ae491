/* Threads: what stands here is shared by all handles of the process, under a lock. */
#include "journal/process.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/random.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char name[RANDOM_NAME_BYTES];
static struct pipeline {
    struct pipeline *next;
    uint64_t seq;
    char name[];
} * pipelines;

void random_name(char *ret) {
    unsigned char bytes[(RANDOM_NAME_BYTES - 1) / 2];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        abort();
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

const char *process_name(void) {
    pthread_mutex_lock(&lock);
    if (!name[0])
        random_name(name);
    pthread_mutex_unlock(&lock);
    return name;
}

static struct pipeline *find(const char *pipeline) {
    struct pipeline *p = pipelines;
    while (p && strcmp(p->name, pipeline) != 0)
        p = p->next;
    return p;
}

static uint64_t seq_of(const char *pipeline) {
    pthread_mutex_lock(&lock);
    const struct pipeline *p = find(pipeline);
    uint64_t seq = p ? p->seq : 0;
    pthread_mutex_unlock(&lock);
    return seq;
}

void process_note(const char *pipeline, uint64_t seq) {
    pthread_mutex_lock(&lock);
    struct pipeline *p = find(pipeline);
    if (!p) {
        p = xcalloc(1, sizeof *p + strlen(pipeline) + 1);
        memcpy(p->name, pipeline, strlen(pipeline) + 1);
        p->next = pipelines;
        pipelines = p;
    }
    p->seq = seq;
    pthread_mutex_unlock(&lock);
}

enum code process_overtaken(const char *pipeline, const struct commit_record *last, struct err *err) {
    uint64_t seq = last->pipeline ? seq_of(last->pipeline) : 0;
    if (last->move == MOVE_SEALED)
        return move_check(last, err);
    if (seq && last->seq > seq && last->writer && strcmp(last->writer, process_name()) != 0)
        return err_set(err, FATAL, ERR_JOURNAL_FENCED,
                       "a newer capture agent has taken over pipeline '%s': it committed record %" PRIu64
                       ", our last was %" PRIu64 ". Stop one of the two",
                       pipeline, last->seq, seq);
    return OK;
}

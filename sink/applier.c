/* Crosses threads: everything in struct applier is read and written under `lock`. */
#include "sink/applier.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/slice.h"

struct applier {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool started, quit, busy;
    applier_work_f *work;
    void *arg;
    enum code code; /* of the work that is done and was not waited for */
    struct err err;
};

/* @threads the applier's */
static void *main_loop(void *applier_arg) {
    struct applier *a = applier_arg;
    pthread_mutex_lock(&a->lock);
    for (;;) {
        while (!a->busy && !a->quit)
            pthread_cond_wait(&a->changed, &a->lock);
        if (!a->busy)
            break;
        pthread_mutex_unlock(&a->lock);
        struct err err = {0};
        enum code code = a->work(a->arg, &err);
        pthread_mutex_lock(&a->lock);
        a->code = code;
        a->err = err;
        a->busy = false;
        pthread_cond_broadcast(&a->changed);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

struct applier *applier_new(void) {
    struct applier *a = xcalloc(1, sizeof *a);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    return a;
}

void applier_hand(struct applier *a, applier_work_f *work, void *arg) {
    pthread_mutex_lock(&a->lock);
    assert(!a->busy && a->code == OK);
    a->work = work;
    a->arg = arg;
    a->busy = true;
    if (!a->started && pthread_create(&a->thread, NULL, main_loop, a) != 0)
        abort();
    a->started = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

bool applier_busy(struct applier *a) {
    pthread_mutex_lock(&a->lock);
    bool busy = a->busy;
    pthread_mutex_unlock(&a->lock);
    return busy;
}

enum code applier_wait(struct applier *a, struct err *err) {
    pthread_mutex_lock(&a->lock);
    while (a->busy)
        pthread_cond_wait(&a->changed, &a->lock);
    enum code code = a->code;
    if (code != OK && err)
        *err = a->err;
    a->code = OK;
    pthread_mutex_unlock(&a->lock);
    return code;
}

void applier_free(struct applier *a) {
    if (!a)
        return;
    if (a->started) {
        pthread_mutex_lock(&a->lock);
        a->quit = true;
        pthread_cond_broadcast(&a->changed);
        pthread_mutex_unlock(&a->lock);
        pthread_join(a->thread, NULL); /* after the work under way */
    }
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* The replica's file: a line "millrace-json 1 VERSION", then one JSON document. It is replaced as a whole, so
 * that rows and position change together, and only by who has read its newest version (compare and set):
 *
 *   read version 7 ---- change it in memory ----> write 8, if 7 is still there; otherwise RETRY */
#pragma once

#include <jansson.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/stop.h"

struct file {
    const char *path;
    const struct clock *clock;
    const struct stop *stop;
    json_t *root;    /* NULL: nothing is read */
    int64_t version; /* of what is in `root`; 0: there was no file */
};

/* Makes `root` the newest document: {} where there is no file. Reads no more than a line if it is that
 * already. FATAL/TARGET_CORRUPT, RETRY/TARGET_UNREACHABLE. */
MUST_CHECK enum code file_read(struct file *f, struct err *err);
/* Replaces the file by `root`, durably. RETRY/TARGET_UNREACHABLE: it is not the one that was read;
 * RETRY/TARGET_FULL. */
MUST_CHECK enum code file_write(struct file *f, struct err *err);
void file_forget(struct file *f); /* what was read, and changed */

/* What a process knows of itself as a writer: its random name, and how far it got in each pipeline. By these
 * a writer that was taken for dead learns that another process has gone on in its place. */
#pragma once

#include "journal/commit_record.h"

#define RANDOM_NAME_BYTES 33 /* with its NUL */

/* Writes a random name of RANDOM_NAME_BYTES. */
void random_name(char *ret);
/* The random name of this process, as it stands in its commit records. @threads any */
const char *process_name(void);
/* This process has committed record `seq` of the journal with this random name (commit_record.pipeline).
 * @threads any */
void process_note(const char *journal, uint64_t seq);
/* `last` is the newest record of a journal, that of `pipeline` as people know it: FATAL/JOURNAL_FENCED if
 * this process committed to it and another one has since, FATAL/JOURNAL_MOVED if that one sealed it (move.h).
 * @threads any */
MUST_CHECK enum code process_overtaken(const char *pipeline, const struct commit_record *last,
                                       struct err *err);

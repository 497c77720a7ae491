/* The row of journal_table.c. */
#include "journal/embedded/check.h"
#include "journal/embedded/reader.h"
#include "journal/embedded/schemas.h"
#include "journal/embedded/writer.h"
#include "journal/journal_table.h"

static const char *prefix(const struct journal *journal) {
    return ((const struct embedded_journal *)journal)->prefix;
}

static size_t record_bytes_max(const struct journal *journal) {
    return (size_t)((const struct embedded_journal *)journal)->options->record_bytes;
}

static struct journal_kept kept(const struct journal *journal) {
    const struct embedded_journal *j = (const struct embedded_journal *)journal;
    return (struct journal_kept){atomic_load(&j->changes_us), atomic_load(&j->deletes_us)};
}

const struct journal_ops embedded_journal = {
    .options = &embedded_option_table,
    .open = embedded_open,
    .close = embedded_close,
    .prefix = prefix,
    .record_bytes_max = record_bytes_max,
    .kept = kept,
    .writer_open = embedded_writer_open,
    .overtaken = embedded_overtaken,
    .topic = embedded_topic,
    .append = embedded_append,
    .commit = embedded_commit,
    .writer_poll = embedded_writer_poll,
    .writer_close = embedded_writer_close,
    .reader_open = embedded_reader_open,
    .commits_seek = embedded_commits_seek,
    .commits_next = embedded_commits_next,
    .commits_last = embedded_commits_last,
    .stream_open = embedded_stream_open,
    .stream_next = embedded_stream_next,
    .stream_close = embedded_stream_close,
    .reader_wait = embedded_reader_wait,
    .reader_close = embedded_reader_close,
    .schemas = embedded_schemas,
    .check = embedded_check,
    .info = embedded_info,
    .prove = embedded_prove,
    .tidy = embedded_tidy,
};

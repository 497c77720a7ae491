/* Configuration files, whole: YAML, substitution, every room's table of options, and what the rooms check. */
#include <sys/mman.h>
#include <unistd.h>

#include "base/config.h"
#include "cli/pipeline.h"
#include "fuzz.h"

static void check_numbers(const char *text) {
    int64_t number;
    if (option_parse_bytes(text, &number))
        HOLDS(number >= 0, "%s", text);
    if (option_parse_duration(text, &number))
        HOLDS(number >= 0, "%s", text);
}

/* What a file that was accepted must have. */
static void check_pipeline(const struct pipeline *p) {
    HOLDS(p->journal, "no journal");
    HOLDS(!p->source || (p->source_name && p->source_options), "a source without a name");
    for (int i = 0; i < p->n_sinks; i++) {
        HOLDS(p->sinks[i].name && p->sinks[i].target && p->sinks[i].config.workers > 0, "sink %d", i);
        HOLDS(pipeline_find_sink(p, p->sinks[i].name) == &p->sinks[i], "sink %d is found under another name",
              i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int file = -1;
    static char path[64];
    if (file < 0) {
        file = memfd_create("millrace.yaml", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    struct pipeline *p = NULL;
    struct err err = {0};
    if (ftruncate(file, 0) || pwrite(file, data, size, 0) != (ssize_t)size)
        abort();
    if (pipeline_read(path, &p, &err) == OK) {
        check_pipeline(p);
        pipeline_free(p);
    } else {
        HOLDS(err.code == FATAL && err.text[0], "refused without a word");
    }
    char *text = xstrndup((const char *)data, strnlen((const char *)data, size));
    check_numbers(text);
    free(text);
    return 0;
}

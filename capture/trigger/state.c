#include "capture/trigger/state.h"

#include <jansson.h>
#include <stdio.h>

static const char *text_of(const json_t *root, const char *name) {
    const char *text = json_string_value(json_object_get(root, name));
    return text ? text : "";
}

enum code trigger_state_read(const char *text, struct trigger_state *ret, struct err *err) {
    *ret = (struct trigger_state){0};
    if (!text || !*text)
        return OK;
    json_t *root = json_loads(text, 0, NULL);
    const char *identity = text_of(root, "installation"), *phase = text_of(root, "phase");
    bool ours = *identity && strlen(identity) < sizeof ret->identity && *phase;
    if (ours) {
        ret->found = true;
        ret->streaming = strcmp(phase, "stream") == 0;
        snprintf(ret->identity, sizeof ret->identity, "%s", identity);
        ret->after = strtoull(text_of(root, "after"), NULL, 10);
        ret->start = xstrdup(text_of(root, "start"));
        ret->stale = xstrdup(text_of(root, "stale"));
    }
    json_decref(root);
    return ours ? OK
                : err_set(
                      err, FATAL, ERR_JOURNAL_CORRUPT,
                      "the state stored in the journal is not one of a source that is fed by triggers: the "
                      "journal belongs to another kind of source; name another journal, or take a new "
                      "snapshot: millrace capture --config FILE --resnapshot");
}

void trigger_state_put(const struct trigger_state *state, struct buf *ret) {
    char after[24];
    snprintf(after, sizeof after, "%llu", (unsigned long long)state->after);
    json_t *root = json_pack("{s:s, s:s, s:s, s:s}", "installation", state->identity, "phase",
                             state->streaming ? "stream" : "snapshot", "after", after, "start",
                             state->start ? state->start : "");
    if (state->stale && *state->stale)
        json_object_set_new(root, "stale", json_string(state->stale));
    char *text = json_dumps(root, JSON_COMPACT);
    if (text)
        buf_puts(ret, text);
    free(text);
    json_decref(root);
}

void trigger_state_free(struct trigger_state *state) {
    free(state->start);
    free(state->stale);
    state->start = state->stale = NULL;
}

#include "memory_store.h"

#include "base/err.h"

static enum code memory_put(struct schema_store *store, const char *subject, struct slice json,
                            uint32_t *ret_id, struct err *err) {
    struct memory_store *m = (struct memory_store *)store;
    (void)subject;
    for (uint32_t i = 0; i < m->n; i++)
        if (slice_eq(buf_slice(&m->texts[i]), json))
            return *ret_id = i, OK;
    if (m->n == MEMORY_SCHEMAS_MAX)
        return err_set(err, FATAL, ERR_SYSTEM, "the test has too many schemas");
    buf_put_slice(&m->texts[m->n], json);
    *ret_id = m->n++;
    return OK;
}

static enum code memory_get(struct schema_store *store, uint32_t id, struct slice *ret_json,
                            struct err *err) {
    struct memory_store *m = (struct memory_store *)store;
    m->gets++;
    if (id >= m->n)
        return err_set(err, REJECT, ERR_SCHEMA_UNKNOWN, "nobody knows schema %u", id);
    *ret_json = buf_slice(&m->texts[id]);
    return OK;
}

static void memory_free(struct schema_store *store) {
    struct memory_store *m = (struct memory_store *)store;
    for (uint32_t i = 0; i < m->n; i++)
        buf_free(&m->texts[i]);
    m->n = 0;
}

void memory_init(struct memory_store *m) {
    *m = (struct memory_store){.store = {.put = memory_put, .get = memory_get, .free = memory_free}};
}

uint32_t memory_add(struct memory_store *m, const char *json) {
    uint32_t id = 0;
    return memory_put(&m->store, "", slice_of(json), &id, NULL) == OK ? id : UINT32_MAX;
}

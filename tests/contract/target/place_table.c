#include "place.h"

const struct place *const place_table[] = {
    &postgres_place,
    &sqlite_place,
    NULL,
};

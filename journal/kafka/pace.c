#include "journal/kafka/pace.h"

#define PAUSE_US_FIRST 3000
#define PAUSE_US_MAX   15000
#define REFUSED_US     20000 /* librdkafka's wait before it asks again */
#define LONGER_US      900
#define SHORTER_US     1
#define TIGHT_US       2000 /* begun much later, it would not have been refused anyway */

void pace_init(struct pace *p, int64_t least_us) {
    *p = (struct pace){.least_us = least_us};
    p->pause_us = least_us > PAUSE_US_FIRST ? least_us : PAUSE_US_FIRST;
}

void pace_begun(struct pace *p, int64_t now_us) {
    p->telling = p->ready_us && now_us - p->ready_us < TIGHT_US;
    atomic_store(&p->added_us, 0);
    atomic_store(&p->refused, false);
}

void pace_adds(struct pace *p, int64_t now_us) {
    int64_t first_us = 0;
    if (!atomic_compare_exchange_strong(&p->added_us, &first_us, now_us) && first_us > 0 &&
        now_us - first_us >= REFUSED_US)
        atomic_store(&p->refused, true);
}

void pace_produces(struct pace *p) {
    atomic_store(&p->added_us, -1);
}

static int64_t within(int64_t us, int64_t least_us, int64_t most_us) {
    return us < least_us ? least_us : us > most_us ? most_us : us;
}

void pace_ended(struct pace *p, int64_t now_us) {
    int64_t most_us = p->least_us > PAUSE_US_MAX ? p->least_us : PAUSE_US_MAX;
    if (p->telling)
        p->pause_us =
            within(p->pause_us + (atomic_load(&p->refused) ? LONGER_US : -SHORTER_US), p->least_us, most_us);
    p->ready_us = now_us + p->pause_us;
}

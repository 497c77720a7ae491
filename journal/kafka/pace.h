/* When the next transaction may begin.
 *
 *   EndTxn answered --- the brokers write the markers --- settled
 *                   |<------------- pause ------------->|  begin, append ...
 *
 * A partition added to a transaction while the last one is not settled is refused (CONCURRENT_TRANSACTIONS),
 * and librdkafka asks again only 20 ms later: waiting a little costs less than asking too early. Nobody tells
 * how long settling takes, and it is not always the same. So the pause goes to where about one transaction in
 * 900 is refused: each refusal makes it much longer, each transaction that was not refused a little
 * shorter. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pace {
    int64_t least_us, pause_us;
    int64_t ready_us; /* the next transaction may begin then */
    bool telling; /* the one under way began as soon as it might: its fate says something about the pause */
    /* Of the transaction under way; the library's threads tell of its requests. */
    _Atomic int64_t added_us; /* partitions were added first, 0 = not yet, -1 = and a record has gone out */
    atomic_bool refused;
};

void pace_init(struct pace *p, int64_t least_us);
/* A transaction begins. */
void pace_begun(struct pace *p, int64_t now_us);
/* Partitions are added to it, by the library. @threads any */
void pace_adds(struct pace *p, int64_t now_us);
/* A record goes out: what it needed was not refused. @threads any */
void pace_produces(struct pace *p);
/* The transaction has ended. */
void pace_ended(struct pace *p, int64_t now_us);

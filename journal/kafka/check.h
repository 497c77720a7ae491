/* For the doctor: see journal_ops.check. */
#pragma once

#include "journal/kafka/kafka.h"

enum code kafka_check(struct journal *journal, int64_t wait_ms, struct buf *findings_json, struct err *err);

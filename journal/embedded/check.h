/* For the doctor and for those who look after the file: see journal_ops. */
#pragma once

#include "journal/embedded/embedded.h"

enum code embedded_check(struct journal *journal, int64_t wait_ms, struct buf *findings_json,
                         struct err *err);
journal_info_f embedded_info;
journal_prove_f embedded_prove; /* prove.c */
journal_tidy_f embedded_tidy;

/*
 * recovery: what a start does with a query that an earlier run left (design.md decision 1). The rule alone:
 * recovery.c does it, the simulator in tests/unit/core/ checks it.
 */
#ifndef QUERN_CORE_RECOVERY_H
#define QUERN_CORE_RECOVERY_H

#include <stdint.h>

#include "core/registry.h"

enum recovery_verdict {
    RECOVERY_NOTHING, /* it has ended */
    RECOVERY_QUEUE,   /* it waits again, from the beginning */
    RECOVERY_DELIVER, /* its results are sealed; the delivery resumes */
    RECOVERY_FAIL     /* "interrupted by restart" */
};

/*
 *   QUEUED                          queued again; FAILED with `writes` (only in a backup: registry_backup_since)
 *   RUNNING, delivering             delivery resumes (results are sealed)
 *   RUNNING, nothing handed out,    queued again; the engine only had read access, so that no effect can be doubled: `writes` is committed before
 *     no `writes`, fewer than         an engine gets a statement that it may write for
 *     recovery.max_runs
 *   RUNNING otherwise               FAILED "interrupted by restart" (a script keeps the results of the statements that had ended); the engine's own log makes a write whole or undone when the catalog is next opened
 */
enum recovery_verdict recovery_verdict(const struct query_record *r, uint32_t max_runs);

#endif

/*
 * firsts: what a key did for the first time since the start, so that the audit trail has it once and not at
 * every request: came from an address, read a query of somebody else (specs/reliability.md 7.7). Fixed memory:
 * in a flood the oldest leave, and would be first again. Threads: any; no lock.
 */
#ifndef QUERN_CORE_FIRSTS_H
#define QUERN_CORE_FIRSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct firsts;

struct firsts *firsts_new(void) MUST_USE; /* NULL: out of memory */
void firsts_free(struct firsts *f);
/* True the first time for this key and these bytes (up to 128 count), as long as it is remembered; two threads
 * at one instant may both be first. */
bool firsts_is(struct firsts *f, int64_t key, const void *what, size_t n);

#endif

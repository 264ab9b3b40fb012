/*
 * usage: bytes of stored results per workspace, a running total in memory. Built from the registry at the
 * start; files that are being written count from their first byte. Any thread; a leaf: its lock is held while
 * calling nobody.
 *
 * A result that was reused has a file name of its own and counts again, although the disk holds its bytes
 * once: whoever deletes the original later must not find the quota of the workspace overrun.
 */
#ifndef QUERN_CORE_USAGE_H
#define QUERN_CORE_USAGE_H

#include <stdbool.h>
#include <stdint.h>

struct usage;

struct usage *usage_new(void); /* NULL: out of memory */
void usage_free(struct usage *u);
/* Adds bytes unless the total would pass `most` (0 = no limit): then false and nothing is added. */
bool usage_take(struct usage *u, int64_t workspace, uint64_t bytes, int64_t most);
/* Adds (negative: gives back), whatever the limit. Never below zero. */
void usage_add(struct usage *u, int64_t workspace, int64_t bytes);
uint64_t usage_of(struct usage *u, int64_t workspace);
uint64_t usage_total(struct usage *u);

#endif

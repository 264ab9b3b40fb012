/*
 * limiter: counts wrong credentials by (key id, peer) in a table of fixed size. Any thread; touched on
 * failures only.
 *
 * A window of one minute begins with the first failure. When the table is full the entry with the fewest
 * failures in its set of four leaves: who is at the limit stays known. Slots are picked by a keyed hash, so
 * that nobody can aim at another's.
 */
#ifndef QUERN_CORE_LIMITER_H
#define QUERN_CORE_LIMITER_H

#include <stddef.h>
#include <stdint.h>

struct limiter;

struct limiter *limiter_new(void); /* NULL: out of memory */
void limiter_free(struct limiter *l);
/* Counts one failure. 0 while it is within `most` a minute, else milliseconds until the window ends. */
int64_t limiter_failure(struct limiter *l, const char *key_id, size_t key_id_len, const char *peer,
                        int64_t most, int64_t now_ns);

#endif

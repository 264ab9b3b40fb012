/*
 * loader: how a model in memory is read from the registry's rows: texts go into its arena, arrays double; what fails is
 * remembered and asked once, at the end. The model's own loader begins with this struct. The caller's thread.
 */
#ifndef QUERN_CORE_LOADER_H
#define QUERN_CORE_LOADER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

struct loader {
    struct arena *arena;
    bool failed; /* out of memory */
};

/* A copy in the arena; NULL for NULL. */
const char *loader_keep(struct loader *l, const char *s);
/* Room for one more of `size` bytes behind `n` in a malloc'ed array that doubles at powers of two; NULL when it failed,
 * now or before: then p stays. */
void *loader_room(struct loader *l, void *p, size_t n, size_t size);

#endif

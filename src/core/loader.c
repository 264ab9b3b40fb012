/* loader: see loader.h. */
#include "core/loader.h"

#include <stdlib.h>

const char *loader_keep(struct loader *l, const char *s)
{
    const char *p = s ? arena_strdup(l->arena, s) : NULL;
    if (s && !p)
        l->failed = true;
    return p;
}

void *loader_room(struct loader *l, void *p, size_t n, size_t size)
{
    if (l->failed)
        return NULL;
    if (n & (n - 1) || (n > 0 && n < 16))
        return p;
    void *q = realloc(p, (n ? n * 2 : 16) * size);
    if (!q)
        l->failed = true;
    return q;
}

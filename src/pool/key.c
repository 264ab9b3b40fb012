/*
 * key: what tells engines apart, and the workspaces that the pool has seen. Any thread; workspaces under mu.
 */
#include <stdlib.h>
#include <string.h>

#include "pool/pool_int.h"

#define KEY_ARENA (16u * 1024u * 1024u)

int pool__key_copy(const struct engine_key *k, struct arena **ret_arena, struct engine_key **ret_key)
{
    struct arena *a = arena_new(KEY_ARENA);
    if (!a)
        return ERR_NOMEM;
    struct engine_key *c = arena_alloc(a, sizeof *c);
    struct wire_dataset *d = arena_alloc(a, k->ndatasets * sizeof *d);
    bool ok = c && d;
    if (ok) {
        *c = *k;
        c->catalog_path = arena_strdup(a, k->catalog_path ? k->catalog_path : "");
        c->datasets = d;
        ok = c->catalog_path != NULL;
    }
    for (uint32_t i = 0; ok && i < k->ndatasets; i++) {
        d[i].name = arena_strdup(a, k->datasets[i].name);
        d[i].path = arena_strdup(a, k->datasets[i].path);
        d[i].format = arena_strdup(a, k->datasets[i].format);
        d[i].folder = k->datasets[i].folder;
        ok = d[i].name && d[i].path && d[i].format;
    }
    if (!ok) {
        arena_free(a);
        return ERR_NOMEM;
    }
    *ret_arena = a;
    *ret_key = c;
    return 0;
}

bool pool__key_equal(const struct engine_key *a, const struct engine_key *b)
{
    if (a->workspace != b->workspace || a->epoch != b->epoch || a->write != b->write ||
        a->render != b->render || a->ndatasets != b->ndatasets)
        return false;
    if (strcmp(a->catalog_path ? a->catalog_path : "", b->catalog_path ? b->catalog_path : ""))
        return false;
    for (uint32_t i = 0; i < a->ndatasets; i++) {
        const struct wire_dataset *x = &a->datasets[i], *y = &b->datasets[i];
        if (x->folder != y->folder || strcmp(x->name, y->name) || strcmp(x->path, y->path) ||
            strcmp(x->format, y->format))
            return false;
    }
    return true;
}

struct pool_workspace *pool__workspace(struct pool *p, int64_t id)
{
    size_t lo = 0, hi = p->nworkspaces;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (p->workspaces[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < p->nworkspaces && p->workspaces[lo].id == id)
        return &p->workspaces[lo];
    if (p->nworkspaces == p->workspaces_cap) {
        size_t cap = p->workspaces_cap ? p->workspaces_cap * 2 : 16;
        struct pool_workspace *w = realloc(p->workspaces, cap * sizeof *w);
        if (!w)
            return NULL;
        p->workspaces = w;
        p->workspaces_cap = cap;
    }
    memmove(&p->workspaces[lo + 1], &p->workspaces[lo], (p->nworkspaces - lo) * sizeof *p->workspaces);
    p->nworkspaces++;
    p->workspaces[lo] = (struct pool_workspace){.id = id};
    return &p->workspaces[lo];
}

/*
 * usage: see usage.h. A table sorted by workspace; workspaces are few and never go.
 */
#include "core/usage.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct usage_row {
    int64_t workspace;
    uint64_t bytes;
};

struct usage {
    pthread_mutex_t lock;
    struct usage_row *rows;
    size_t n, cap;
    uint64_t total;
};

struct usage *usage_new(void)
{
    struct usage *u = calloc(1, sizeof *u);
    if (u)
        pthread_mutex_init(&u->lock, NULL);
    return u;
}

void usage_free(struct usage *u)
{
    if (!u)
        return;
    pthread_mutex_destroy(&u->lock);
    free(u->rows);
    free(u);
}

/* Where the workspace is or belongs. Lock held. */
static size_t place(const struct usage *u, int64_t workspace)
{
    size_t lo = 0, hi = u->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (u->rows[mid].workspace < workspace)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Lock held; NULL when out of memory (then this workspace is not counted, which costs a quota and not a
 * result). */
static struct usage_row *row(struct usage *u, int64_t workspace)
{
    size_t i = place(u, workspace);
    if (i < u->n && u->rows[i].workspace == workspace)
        return &u->rows[i];
    if (u->n == u->cap) {
        size_t cap = u->cap ? u->cap * 2 : 64;
        struct usage_row *p = realloc(u->rows, cap * sizeof *p);
        if (!p)
            return NULL;
        u->rows = p;
        u->cap = cap;
    }
    memmove(&u->rows[i + 1], &u->rows[i], (u->n - i) * sizeof *u->rows);
    u->rows[i] = (struct usage_row){workspace, 0};
    u->n++;
    return &u->rows[i];
}

bool usage_take(struct usage *u, int64_t workspace, uint64_t bytes, int64_t most)
{
    pthread_mutex_lock(&u->lock);
    struct usage_row *r = row(u, workspace);
    uint64_t now = r ? r->bytes : 0;
    bool ok = most <= 0 || (now <= (uint64_t)most && bytes <= (uint64_t)most - now);
    if (ok && r) {
        r->bytes += bytes;
        u->total += bytes;
    }
    pthread_mutex_unlock(&u->lock);
    return ok;
}

void usage_add(struct usage *u, int64_t workspace, int64_t bytes)
{
    pthread_mutex_lock(&u->lock);
    struct usage_row *r = row(u, workspace);
    if (r && bytes >= 0) {
        r->bytes += (uint64_t)bytes;
        u->total += (uint64_t)bytes;
    } else if (r) {
        uint64_t less = 0 - (uint64_t)bytes;
        if (less > r->bytes)
            less = r->bytes;
        r->bytes -= less;
        u->total -= less;
    }
    pthread_mutex_unlock(&u->lock);
}

uint64_t usage_of(struct usage *u, int64_t workspace)
{
    pthread_mutex_lock(&u->lock);
    size_t i = place(u, workspace);
    uint64_t bytes = i < u->n && u->rows[i].workspace == workspace ? u->rows[i].bytes : 0;
    pthread_mutex_unlock(&u->lock);
    return bytes;
}

uint64_t usage_total(struct usage *u)
{
    pthread_mutex_lock(&u->lock);
    uint64_t bytes = u->total;
    pthread_mutex_unlock(&u->lock);
    return bytes;
}

/*
 * arena: see arena.h. One thread at a time.
 *
 * A chain of blocks, the newest first; small requests are cut from the newest, large ones get a block of
 * their own behind it. Blocks come zeroed (calloc); nothing is given back before arena_free or arena_reset,
 * which clears what it keeps. Invariant: used <= ceiling; it counts rounded requests, not block slack and not
 * the arena's own records.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define FIRST_BLOCK   1024 /* what a parked request needs: ten thousand of them wait at once */
#define LARGEST_BLOCK (256 * 1024)
#define ALIGN         16

struct block {
    struct block *next;
    size_t used, size; /* of data */
    _Alignas(ALIGN) unsigned char data[];
};

struct cleanup {
    struct cleanup *next;
    void (*fn)(void *);
    void *arg;
};

struct arena {
    struct block *blocks;
    struct cleanup *cleanups; /* newest first: that is the order in which they run */
    size_t ceiling, used, next_size;
};

struct arena *arena_new(size_t ceiling)
{
    struct arena *a = calloc(1, sizeof *a);
    if (a) {
        a->ceiling = ceiling;
        a->next_size = FIRST_BLOCK;
    }
    return a;
}

static void run_cleanups(struct arena *a)
{
    /* A cleanup may register another one; take them off one by one. */
    while (a->cleanups) {
        struct cleanup *c = a->cleanups;
        a->cleanups = c->next;
        c->fn(c->arg);
    }
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    run_cleanups(a);
    while (a->blocks) {
        struct block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    free(a);
}

void arena_reset(struct arena *a)
{
    run_cleanups(a);
    struct block *keep = NULL;
    while (a->blocks) {
        struct block *b = a->blocks;
        a->blocks = b->next;
        if (!keep && b->size == FIRST_BLOCK) { /* requests of just that size may have one too: any will do */
            memset(b->data, 0, b->used);
            b->used = 0;
            b->next = NULL;
            keep = b;
        } else {
            free(b);
        }
    }
    a->blocks = keep;
    a->used = 0;
    a->next_size = keep ? FIRST_BLOCK * 2 : FIRST_BLOCK;
}

static struct block *block_new(size_t size)
{
    struct block *b = calloc(1, sizeof *b + size);
    if (b)
        b->size = size;
    return b;
}

/* n is a multiple of ALIGN. Does not look at the ceiling. */
static void *take(struct arena *a, size_t n)
{
    struct block *b = a->blocks;
    if (!b || b->size - b->used < n) {
        if (n > a->next_size / 4) {
            /* Its own block, behind the newest one: the room left there stays in use. */
            struct block *own = block_new(n);
            if (!own)
                return NULL;
            own->used = n;
            own->next = b ? b->next : NULL;
            if (b)
                b->next = own;
            else
                a->blocks = own;
            return own->data;
        }
        struct block *fresh = block_new(a->next_size);
        if (!fresh)
            return NULL;
        fresh->next = b;
        a->blocks = b = fresh;
        if (a->next_size < LARGEST_BLOCK)
            a->next_size *= 2;
    }
    void *p = b->data + b->used;
    b->used += n;
    return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX - sizeof(struct block) - 2 * ALIGN)
        return NULL;
    size_t rounded = n == 0 ? ALIGN : (n + ALIGN - 1) / ALIGN * ALIGN;
    /* The last allocation may end exactly at a ceiling that is no multiple of the alignment. */
    if (n > a->ceiling - a->used)
        return NULL;
    void *p = take(a, rounded);
    if (p)
        a->used = rounded > a->ceiling - a->used ? a->ceiling : a->used + rounded;
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *p = len < SIZE_MAX ? arena_alloc(a, len + 1) : NULL;
    if (p)
        memcpy(p, s, len);
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

int arena_on_free(struct arena *a, void (*fn)(void *), void *arg)
{
    struct cleanup *c = take(a, (sizeof *c + ALIGN - 1) / ALIGN * ALIGN);
    if (!c)
        return ERR_NOMEM;
    *c = (struct cleanup){a->cleanups, fn, arg};
    a->cleanups = c;
    return 0;
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}

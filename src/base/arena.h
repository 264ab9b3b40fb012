/*
 * arena: memory that is freed all at once. One per HTTP request, one per running query. One thread at a time.
 * Allocation never fails silently: NULL at the ceiling or out of memory.
 */
#ifndef QUERN_BASE_ARENA_H
#define QUERN_BASE_ARENA_H

#include <stddef.h>

struct arena;

/* ceiling: most bytes it hands out in all. NULL when out of memory. */
struct arena *arena_new(size_t ceiling);
/* Runs the cleanups in reverse order, frees everything. NULL is allowed. */
void arena_free(struct arena *a);
/* As arena_free, but the arena stays, empty, with its first block. */
void arena_reset(struct arena *a);
/* 16-byte aligned, zeroed. n may be 0. */
void *arena_alloc(struct arena *a, size_t n);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* fn(arg) runs when the arena is freed. Returns 0 or ERR_NOMEM. */
int arena_on_free(struct arena *a, void (*fn)(void *), void *arg);
size_t arena_used(const struct arena *a);

#endif

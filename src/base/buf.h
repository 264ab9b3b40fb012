/*
 * buf: a growable byte buffer with a ceiling. One owner, one thread at a time.
 *
 * Once an append fails (ceiling or memory) the buffer is marked `failed`, later appends do nothing and return
 * the same error: a writer may check once at the end with buf_failed().
 */
#ifndef QUERN_BASE_BUF_H
#define QUERN_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct buf {
    char *p; /* NULL while cap == 0; not NUL-terminated unless buf_str() was called */
    size_t len;
    size_t cap;
    size_t ceiling; /* most bytes it may hold */
    bool failed;
    int why; /* the error code while failed */
};

#define BUF_INIT(max) ((struct buf){NULL, 0, 0, (max), false, 0})

void buf_init(struct buf *b, size_t ceiling);
/* Frees the memory; the buffer may be used again (same ceiling). */
void buf_free(struct buf *b);
/* Forgets content and failure, keeps memory. */
void buf_reset(struct buf *b);
/* Makes room for n more bytes (b->p + b->len). ERR_LIMIT at the ceiling, ERR_NOMEM. */
int buf_reserve(struct buf *b, size_t n);
/* Marks it failed with `code` (the first one stays) and returns the code it failed with. */
int buf_fail(struct buf *b, int code);
int buf_add(struct buf *b, const void *p, size_t n);
int buf_str_add(struct buf *b, const char *s);
int buf_char(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Decimal digits, fast. */
int buf_u64(struct buf *b, uint64_t v);
int buf_i64(struct buf *b, int64_t v);
/* Makes it NUL-terminated (the NUL is not counted) and returns the text, or NULL when failed. */
const char *buf_str(struct buf *b);
/* Removes n bytes from the front. */
void buf_drop(struct buf *b, size_t n);
static inline bool buf_failed(const struct buf *b)
{
    return b->failed;
}

/* use as: CLEANUP_BUF struct buf b = BUF_INIT(4096); */
void buf_cleanup(struct buf *b);
#define CLEANUP_BUF __attribute__((cleanup(buf_cleanup)))

#endif

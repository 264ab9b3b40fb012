/*
 * buf: see buf.h. One owner; one thread at a time.
 *
 * Invariants: len <= ceiling, len <= cap; cap may be one byte over the ceiling so that buf_str has room for
 * its NUL. After a failure len and content stay as they were before the append that failed.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/number.h"

void buf_init(struct buf *b, size_t ceiling)
{
    *b = BUF_INIT(ceiling);
}

void buf_free(struct buf *b)
{
    free(b->p);
    *b = BUF_INIT(b->ceiling);
}

void buf_cleanup(struct buf *b)
{
    buf_free(b);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    b->why = 0;
}

int buf_fail(struct buf *b, int code)
{
    if (!b->failed) {
        b->failed = true;
        b->why = code;
    }
    return b->why;
}

static int grow(struct buf *b, size_t want)
{
    /* Doubling, from one small size, never much over the ceiling. */
    size_t most = b->ceiling < SIZE_MAX ? b->ceiling + 1 : SIZE_MAX;
    size_t cap = b->cap < 64 ? 64 : b->cap;
    while (cap < want)
        cap = cap > most / 2 ? most : cap * 2;
    if (cap > most)
        cap = most;
    char *p = realloc(b->p, cap);
    if (!p)
        return buf_fail(b, ERR_NOMEM);
    b->p = p;
    b->cap = cap;
    return 0;
}

int buf_reserve(struct buf *b, size_t n)
{
    if (b->failed)
        return b->why;
    if (n <= b->cap - b->len && n <= b->ceiling - b->len)
        return 0;
    if (n > b->ceiling - b->len)
        return buf_fail(b, ERR_LIMIT);
    return grow(b, b->len + n);
}

int buf_add(struct buf *b, const void *p, size_t n)
{
    int r = buf_reserve(b, n);
    if (r < 0)
        return r;
    if (n > 0) {
        memcpy(b->p + b->len, p, n);
        b->len += n;
    }
    return 0;
}

int buf_str_add(struct buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}

int buf_char(struct buf *b, char c)
{
    if (b->failed || b->len == b->cap || b->len == b->ceiling) {
        int r = buf_reserve(b, 1);
        if (r < 0)
            return r;
    }
    b->p[b->len++] = c;
    return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    if (b->failed)
        return b->why;
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    size_t room = b->cap - b->len;
    int n = vsnprintf(room > 0 ? b->p + b->len : NULL, room, fmt, ap);
    va_end(ap);
    int r = 0;
    if (n < 0) {
        r = buf_fail(b, ERR_INTERNAL);
    } else if ((size_t)n > b->ceiling - b->len) {
        r = buf_fail(b, ERR_LIMIT);
    } else if ((size_t)n >= room) {
        /* vsnprintf insists on a NUL, for which there is one byte over the ceiling. */
        r = grow(b, b->len + (size_t)n + 1);
        if (r == 0)
            vsnprintf(b->p + b->len, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    if (r == 0)
        b->len += (size_t)n;
    return r;
}

int buf_u64(struct buf *b, uint64_t v)
{
    char text[NUMBER_INT_MAX];
    return buf_add(b, text, number_u64(v, text));
}

int buf_i64(struct buf *b, int64_t v)
{
    char text[NUMBER_INT_MAX];
    return buf_add(b, text, number_i64(v, text));
}

const char *buf_str(struct buf *b)
{
    if (b->failed)
        return NULL;
    if (b->len == b->cap && grow(b, b->len + 1) < 0)
        return NULL;
    b->p[b->len] = 0;
    return b->p;
}

void buf_drop(struct buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    if (n > 0) {
        memmove(b->p, b->p + n, b->len - n);
        b->len -= n;
    }
}

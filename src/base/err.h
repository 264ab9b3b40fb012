/*
 * err: how a function says that it failed.
 *
 * Functions that can fail return 0 or a negative `enum err_code`. Details go into a caller-owned `struct err`
 * (the pointer may be NULL). A `struct err` is a plain value: no allocation, copy it freely. Any thread.
 * Errors are logged once, at the top (http, core); rooms below only fill the struct.
 */
#ifndef QUERN_BASE_ERR_H
#define QUERN_BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

#define MUST_USE          __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

enum err_code {
    ERR_NONE = 0,
    ERR_INVALID = -1,  /* the caller's input is wrong */
    ERR_DENIED = -2,   /* role or owner does not allow it */
    ERR_NOTFOUND = -3, /* no such thing, or another workspace's */
    ERR_BUSY = -4,     /* try again later (queue full, already running) */
    ERR_LIMIT = -5,    /* a limit was hit; the text names its config key */
    ERR_CANCELED = -6,
    ERR_TIMEOUT = -7,
    ERR_UNAVAILABLE = -8, /* cannot serve now: draining, disk full, store down */
    ERR_IO = -9,
    ERR_ENGINE = -10, /* the engine process failed (crash, hang, lie) */
    ERR_INTERNAL = -11,
    ERR_NOMEM = -12,
    ERR_CORRUPT = -13,    /* stored bytes do not match their checksum or index */
    ERR_CONFLICT = -14,   /* in a state that forbids it, or exists already */
    ERR_GONE = -15,       /* existed; its result was deleted or expired */
    ERR_WOULDBLOCK = -16, /* the answer needs a thread that may block; ask again from one */
    ERR_UNAUTH = -17,     /* no credential or a wrong one */
    ERR_END = -18,        /* end of stream */
};

#define ERR_TEXT_MAX 2048

struct err {
    int code;                /* enum err_code */
    char sqlstate[6];        /* five characters or "" */
    char text[ERR_TEXT_MAX]; /* one readable sentence, UTF-8, never a secret, a path or a host */
    char hint[256];          /* or "" */
    int64_t position;        /* 0-based code point offset in the SQL text, -1 unknown */
    int64_t position_end;    /* exclusive end, -1 unknown */
    int32_t line, column;    /* 1-based, 0 unknown */
};

/* Clears *e to "no error" (position -1). e may be NULL. */
void err_clear(struct err *e);

/* Fills e (may be NULL) and returns `code`, so that callers write: return err_set(e, ERR_INVALID, "22023",
 * "..."). sqlstate may be NULL. The text is cut at a UTF-8 boundary when longer than ERR_TEXT_MAX-1. */
int err_set(struct err *e, int code, const char *sqlstate, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* As err_set with ERR_NOMEM, 53200 and "out of memory". */
int err_no_memory(struct err *e);

/* As err_set with ERR_IO (ERR_UNAVAILABLE for ENOSPC and EDQUOT; sqlstate 58030 or 53100) and the text "WHAT:
 * <errno words>". `what` must not contain a path. */
int err_errno(struct err *e, int errnum, const char *what);

/* Short constant name of a code, "invalid", "not_found" ... for logs and metrics. */
const char *err_name(int code);

/* Always-on check of a programming error: logs file:line and aborts. Never used on data, peers or disks. */
#define ASSERT(x) ((x) ? (void)0 : err_assert_failed(#x, __FILE__, __LINE__))
_Noreturn void err_assert_failed(const char *what, const char *file, int line);

#endif

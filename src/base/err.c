/*
 * err: see err.h. Plain values; any thread.
 *
 * Invariants: text and hint are always NUL-terminated and never end inside a UTF-8 sequence. The arguments of
 * err_set may point into the very struct that is filled ("%s" of e->text), so the text is made aside first.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

void err_clear(struct err *e)
{
    if (!e)
        return;
    e->code = ERR_NONE;
    e->sqlstate[0] = 0;
    e->text[0] = 0;
    e->hint[0] = 0;
    e->position = -1;
    e->position_end = -1;
    e->line = 0;
    e->column = 0;
}

static void fill(struct err *e, int code, const char *sqlstate, const char *text, size_t len)
{
    char state[6] = "";
    if (sqlstate && strlen(sqlstate) == 5)
        memcpy(state, sqlstate, 6);
    err_clear(e);
    e->code = code;
    memcpy(e->sqlstate, state, 6);
    size_t n = utf8_cut(text, len, ERR_TEXT_MAX - 1);
    memcpy(e->text, text, n);
    e->text[n] = 0;
}

int err_set(struct err *e, int code, const char *sqlstate, const char *fmt, ...)
{
    if (!e)
        return code;
    /* A few bytes more than fit, so that the cut sees the bytes after it. */
    char text[ERR_TEXT_MAX + 4];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    fill(e, code, sqlstate, text, len);
    return code;
}

int err_no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "53200", "out of memory");
}

int err_errno(struct err *e, int errnum, const char *what)
{
    bool full = errnum == ENOSPC || errnum == EDQUOT;
    const char *words = strerrordesc_np(errnum);
    return err_set(e, full ? ERR_UNAVAILABLE : ERR_IO, full ? "53100" : "58030", "%s: %s", what,
                   words ? words : "unknown error");
}

const char *err_name(int code)
{
    static const char *const names[] = {
        "none",     "invalid",     "denied",      "not_found",       "busy",     "limit", "canceled",
        "timeout",  "unavailable", "io",          "engine",          "internal", "nomem", "corrupt",
        "conflict", "gone",        "would_block", "unauthenticated", "end",
    };
    if (code > 0 || code < -(int)(sizeof names / sizeof *names - 1))
        return "unknown";
    return names[-code];
}

_Noreturn void err_assert_failed(const char *what, const char *file, int line)
{
    /* Not through log: it may be the one that failed, or hold its lock. */
    fprintf(stderr, "level=error module=base msg=\"assertion failed\" what=\"%s\" at=%s:%d\n", what, file,
            line);
    abort();
}

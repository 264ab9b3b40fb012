/*
 * compat_format: format: Java's (Trino manual, Conversion functions, format) and PostgreSQL's (manual 9.4.1, format).
 * Pure; any thread.
 */
#ifndef QUERN_ENGINES_COMPAT_FORMAT_H
#define QUERN_ENGINES_COMPAT_FORMAT_H

#include "base/buf.h"

/* An argument as text; p NULL: a null. The caller's. */
struct format_arg {
    const char *p;
    size_t n;
};

/* Appends format p with its arguments to out, whose ceiling bounds the text. NULL, or what is wrong (static text, or of
 * row_say: good until the thread's next one); out then holds a part. */
const char *format_text(const char *p, size_t n, const struct format_arg *args, size_t nargs, bool java,
                        struct buf *out) MUST_USE;

#endif

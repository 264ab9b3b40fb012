/* compat_patterns: the patterns of date_format (MySQL) and of format_datetime (Joda) as an expression that
 * gives the engine's pattern. */
#ifndef QUERN_ENGINES_COMPAT_PATTERNS_H
#define QUERN_ENGINES_COMPAT_PATTERNS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Appends the engine's pattern for one of Joda-Time's. False: a letter that has no such pattern. Pure. */
bool compat_joda(const char *p, size_t n, struct buf *out) MUST_USE;

/* clang-format off */
#define COMPAT_MYSQL_PATTERN(f) \
    "replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(" f \
    ",'%M','%B'),'%i','%M'),'%s','%S'),'%W','%A'),'%c','%-m'),'%e','%-d'),'%h','%I'),'%k','%-H'),'%l','%-I'),'%r','%I:%M:%S %p'),'%T','%H:%M:%S'),'%v','%V'),'%x','%G')"
#define COMPAT_JODA_PATTERN(f) "quern_joda(" f ")"
/* clang-format on */

#endif

/* compat_patterns: the patterns of date_format (MySQL) and of format_datetime (Joda) as an expression that
 * gives the engine's pattern. */
#ifndef QUERN_ENGINES_COMPAT_PATTERNS_H
#define QUERN_ENGINES_COMPAT_PATTERNS_H

/* clang-format off */
#define COMPAT_MYSQL_PATTERN(f) \
    "replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(" f \
    ",'%M','%B'),'%i','%M'),'%s','%S'),'%W','%A'),'%c','%-m'),'%e','%-d'),'%h','%I'),'%k','%-H'),'%l','%-I'),'%r','%I:%M:%S %p'),'%T','%H:%M:%S'),'%v','%V'),'%x','%G')"
#define COMPAT_JODA_PATTERN(f) \
    "replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(" f \
    ",'''',''),'a',chr(1)),'EEEE','%A'),'EEE','%a'),'MMMM','%B'),'MMM','%b'),'MM','%m'),'mm','%M'),'dd','%d'),'yyyy','%Y'),'yy','%y'),'HH','%H'),'hh','%I'),'SSS','%g'),'ss','%S'),chr(1),'%p')"
/* clang-format on */

#endif

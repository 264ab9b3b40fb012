/*
 * xlsx_stdio: see xlsx_stdio.h. These functions stand before the C library's of the same name for the whole process: they do
 * what those do, and look at what is asked of them.
 */
#include "engines/xlsx_stdio.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/number.h"

/* ---- files that could not be written ---- */

/* Of the first file whose bytes could not all be written: ERR_LIMIT (RLIMIT_FSIZE) or ERR_UNAVAILABLE (the disk). Any
 * thread closes files; the sheet's are closed by one. */
static _Atomic int unwritten;

static int why_unwritten(FILE *f)
{
    struct rlimit most;
    struct stat st;
    bool large = getrlimit(RLIMIT_FSIZE, &most) == 0 && most.rlim_cur != RLIM_INFINITY &&
                 fstat(fileno(f), &st) == 0 && (uint64_t)st.st_size + 4096 >= most.rlim_cur;
    return large ? ERR_LIMIT : ERR_UNAVAILABLE;
}

static void look_at(FILE *f)
{
    int none = 0;
    if (fflush(f) != 0 || ferror(f))
        (void)atomic_compare_exchange_strong(&unwritten, &none, why_unwritten(f));
}

static void *the_library_s(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    ASSERT(found);
    return found;
}

int fclose(FILE *f)
{
    int (*next)(FILE *);
    void *found = the_library_s("fclose");
    memcpy(&next, &found, sizeof next);
    look_at(f);
    return next(f);
}

/* Forgets errors, and comes before the file is put into the ZIP. */
void rewind(FILE *f)
{
    void (*next)(FILE *);
    void *found = the_library_s("rewind");
    memcpy(&next, &found, sizeof next);
    look_at(f);
    next(f);
}

int xlsx_unwritten(void)
{
    return unwritten;
}

/* ---- numbers with all their digits ---- */

/* How the library prints a number, with 16 digits; its build for Debian calls this function for it. */
#define NUMBER        "<c r=\"%s\"><v>%.16G</v></c>"
#define STYLED_NUMBER "<c r=\"%s\" s=\"%d\"><v>%.16G</v></c>"

static int print_number(FILE *f, const char *format, va_list ap)
{
    char text[NUMBER_DOUBLE_MAX];
    const char *cell = va_arg(ap, const char *);
    bool styled = strcmp(format, STYLED_NUMBER) == 0;
    int style = styled ? va_arg(ap, int) : 0;
    number_double(va_arg(ap, double), text);
    return styled ? fprintf(f, "<c r=\"%s\" s=\"%d\"><v>%s</v></c>", cell, style, text)
                  : fprintf(f, "<c r=\"%s\"><v>%s</v></c>", cell, text);
}

__attribute__((format(printf, 3, 4))) int __fprintf_chk(FILE *restrict f, int flag,
                                                        const char *restrict format, ...)
{
    va_list ap;
    va_start(ap, format);
    bool number = strcmp(format, NUMBER) == 0 || strcmp(format, STYLED_NUMBER) == 0;
    (void)flag; /* whether %n may be used: nobody does */
    int n = number ? print_number(f, format, ap) : vfprintf(f, format, ap);
    va_end(ap);
    return n;
}

/*
 * xlsx_stdio: what libxlsxwriter leaves undone with the C library's files. Child only.
 *
 * It does not look at what its temporary files say: a disk that gets full would end in a sheet without its last rows, and
 * no error. So every file that is rewound or closed in this process is asked. And it prints numbers with 16 digits, one too
 * few: they are printed here, shortest text that reads back as the same number.
 */
#ifndef QUERN_ENGINES_XLSX_STDIO_H
#define QUERN_ENGINES_XLSX_STDIO_H

#include <stdio.h>

/* Of the first file whose bytes could not all be written: ERR_LIMIT (RLIMIT_FSIZE), ERR_UNAVAILABLE (the disk); 0: none. */
int xlsx_unwritten(void);

/* The library's way to print; not for others. */
int __fprintf_chk(FILE *restrict f, int flag, const char *restrict format, ...);

#endif

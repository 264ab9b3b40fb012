/*
 * sql_blank: what separates the words of SQL for the embedded engine: ASCII blanks, and the blanks of Unicode that
 * it takes for them outside quotes (text pasted from pages and chats has U+00A0 in it). Whoever looks for a word
 * in a statement must cut where the engine cuts. Pure; any thread.
 */
#ifndef QUERN_BASE_SQL_BLANK_H
#define QUERN_BASE_SQL_BLANK_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the blank that p[0, left) begins with; 0: it begins with none. */
static inline size_t sql_blank(const char *p, size_t left)
{
    if (left == 0)
        return 0;
    const unsigned char *u = (const unsigned char *)p;
    if (u[0] < 0x80)
        return u[0] == ' ' || (u[0] >= '\t' && u[0] <= '\r') ? 1 : 0;
    if (u[0] == 0xc2)
        return left >= 2 && u[1] == 0xa0 ? 2 : 0; /* U+00A0 */
    if (left < 3)
        return 0;
    bool blank = (u[0] == 0xe2 && u[1] == 0x80 &&
                  ((u[2] >= 0x80 && u[2] <= 0x8d) || u[2] == 0xaf)) || /* U+2000 to U+200D, U+202F */
                 (u[0] == 0xe2 && u[1] == 0x81 && (u[2] == 0x9f || u[2] == 0xa0)) || /* U+205F, U+2060 */
                 (u[0] == 0xe3 && u[1] == 0x80 && u[2] == 0x80) ||                   /* U+3000 */
                 (u[0] == 0xef && u[1] == 0xbb && u[2] == 0xbf);                     /* U+FEFF */
    return blank ? 3 : 0;
}

#endif

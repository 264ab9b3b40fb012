/*
 * charset: text of the encoders in another charset than UTF-8. Pure; any thread.
 *
 * The table is made at build time from Python's codec "gbk" (tools/gbk-table), so that no converter of the
 * machine takes part and the bytes are the same everywhere.
 */
#ifndef QUERN_ENCODERS_CHARSET_H
#define QUERN_ENCODERS_CHARSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Turns n bytes of valid UTF-8 at p (whole characters) into GBK where they lie: it is never longer. Returns
 * the new length. A character that GBK lacks becomes one '?' and is added to *unmapped. Runs of ASCII are
 * skipped 16 bytes at a time. */
size_t gbk_in_place(char *p, size_t n, uint64_t *unmapped);
/* Does a '?' stand in the text once it is GBK? */
bool gbk_has_question_mark(const char *p, size_t n);

#endif

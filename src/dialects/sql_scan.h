/*
 * sql_scan: SQL text as tokens, just enough to find placeholders and leading words without being fooled by
 * strings, quoted identifiers, comments, casts (::), named arguments (:=), slices ([a:b]) and dollar-quoted
 * text.
 *
 * Never fails: what is not closed reaches to the end of the text, and the engine says what is wrong with it.
 * It decides nothing about what may run. Pure; any thread; linear; no allocation; hostile bytes allowed.
 */
#ifndef QUERN_DIALECTS_SQL_SCAN_H
#define QUERN_DIALECTS_SQL_SCAN_H

#include <stdbool.h>
#include <stddef.h>

enum sql_token {
    SQL_END,
    SQL_WORD,   /* identifier or keyword, not quoted */
    SQL_QUOTED, /* "..." */
    SQL_STRING, /* '...', E'...', $tag$...$tag$ */
    SQL_NUMBER,
    SQL_QMARK,    /* ? */
    SQL_NAMED,    /* :name */
    SQL_NUMBERED, /* $1 */
    SQL_DOLLAR,   /* $name */
    SQL_SEMICOLON,
    SQL_OTHER /* one operator character; "::" and ":=" are one token */
};

#define SQL_SCAN_DEPTH 64 /* brackets deeper than this are not told apart */

struct sql_scan {
    const char *p;
    size_t n, at;          /* at: where the next token is looked for */
    enum sql_token before; /* the token before, to tell slices from placeholders */
    char before_char;      /* its last character; 0 at the start */
    size_t before_end;     /* where it ended */
    unsigned depth;
    bool subscript[SQL_SCAN_DEPTH];
};

struct sql_piece {
    enum sql_token token;
    size_t at, n;
};

void sql_scan_init(struct sql_scan *s, const char *p, size_t n);
/* Next token; comments and white space are skipped. SQL_END at the end, again and again. */
struct sql_piece sql_scan_next(struct sql_scan *s);
/* The piece is this word (ASCII case ignored). */
bool sql_piece_is(const struct sql_scan *s, struct sql_piece t, const char *word);

#endif

/*
 * compat: the compatibility room: SQL of the Trino family (profile TRINO) as text that the embedded engine
 * understands; and of the PostgreSQL family (profile PG) what the engine has in other words.
 *
 *   compat_lex.c      text -> tokens, brackets matched
 *   compat_walk.c     the pass over the tokens, and where each byte came from
 *   compat_rewrite.c  forms of expressions and statements
 *   compat_calls.c    table of calls that need other words (what a macro cannot do); compat_pg.c: those of PG, and its forms
 *   compat_lambda.c   calls with a lambda of two or three parameters
 *   compat_names.c    names of unnamed output columns (_col0, ...)
 *   compat_show.c     SHOW, DESCRIBE, EXPLAIN
 *   compat_macros.c   functions: macros of memory.quern_trino and memory.quern_pg
 *   compat_arith.c    what is behind "/", "%", sum and avg; compat_decimal.c, compat_returns.c
 *   compat_operators.c  operators that types decide: compat_exact.c, compat_dates.c
 *   compat.c          the whole: one job's text, and the way back for positions of errors
 *
 * The first five are pure (no engine, no state, any thread, hostile bytes allowed, never fail but for memory:
 * what is not understood stays as it is and the engine says what is wrong with it). Nothing here decides what
 * may run: duckdb_policy.c judges the text that comes out.
 */
#ifndef QUERN_ENGINES_COMPAT_H
#define QUERN_ENGINES_COMPAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#define COMPAT_TOKENS_MAX (1u << 20) /* longer texts are left alone */
#define COMPAT_DEPTH      64         /* rewritten calls inside rewritten calls */

#define COMPAT_PARTS 32 /* parameters of rewritten lambdas inside of each other */

enum compat_kind { CT_END, CT_WORD, CT_QUOTED, CT_STRING, CT_NUMBER, CT_OP };

struct ctoken {
    enum compat_kind kind;
    char op;        /* CT_OP: its character */
    char prefix;    /* CT_STRING: 'x', 'e', 'u', '$' or 0 */
    uint32_t at, n; /* bytes of the text */
    uint32_t match; /* of a bracket: the token of its partner; else 0 */
};

struct clex {
    const char *p;
    size_t n;
    struct ctoken *t;
    uint32_t count; /* without the CT_END at t[count] */
};

/* False: something is unclear (a NUL, unclosed or nested comment, unclosed string, brackets that do not
 * match, too long) and nothing must be rewritten. */
bool compat_lex(struct arena *a, const char *p, size_t n, struct clex *ret);
/* Word, ASCII case ignored. Any index may be asked for. */
bool compat_is(const struct clex *l, uint32_t i, const char *word);
bool compat_is_any(const struct clex *l, uint32_t i, const char *const *words);
/* Whether any token is that word. */
bool compat_mentions(const struct clex *l, const char *word);
bool compat_op(const struct clex *l, uint32_t i, char op);

/* What stands where: out[out_at, out_at + n) came from in_at on; `same` says byte by byte, else all of it
 * stands for in_at. */
struct cspan {
    uint32_t out_at, n, in_at;
    bool same;
};

/* The parameter whose name is token `word`, and what stands for it. */
struct cpart {
    uint32_t word;
    char text[56];
};

struct crewrite {
    const struct clex *l;
    /* Other words for the tokens at i: how many it took, 0 for none. */
    uint32_t (*rule)(struct crewrite *w, uint32_t i);
    struct buf out;
    struct cspan *spans;
    uint32_t nspans, cap;
    unsigned depth;
    struct cpart parts[COMPAT_PARTS]; /* of lambdas around, compat_lambda.c */
    uint32_t nparts;
    bool pg; /* profile PG */
    bool failed;
};

/* ---- compat_walk.c ---- */
/* Rewrites tokens [from, to) with w->rule. */
void compat_range(struct crewrite *w, uint32_t from, uint32_t to);
void compat_copy(struct crewrite *w, uint32_t from_byte, uint32_t to_byte);
void compat_put(struct crewrite *w, const char *text, uint32_t in_at);
void compat_end(struct crewrite *w);
/* Byte behind token i. */
uint32_t compat_after(const struct clex *l, uint32_t i);
/* Byte of the original that byte `at` of the rewritten text came from. */
size_t compat_origin(const struct cspan *spans, uint32_t n, size_t at);

/* ---- compat_calls.c, compat_names.c, compat_rewrite.c ---- */
/* Arguments of a call whose "(" is token `open`: up to max pairs [from, to); returns how many there are,
 * UINT32_MAX when more. */
uint32_t compat_args(const struct clex *l, uint32_t open, uint32_t (*args)[2], uint32_t max);
/* A call that needs other words: name at i, "(" at i + 1. Returns the tokens used, 0 for none. */
uint32_t compat_call(struct crewrite *w, uint32_t i);
/* A call's other words: see compat_walk.c. */
struct compat_template {
    const char *name;
    uint32_t min, max; /* arguments */
    const char *template;
};
void compat_expand(struct crewrite *w, const char *template, uint32_t (*args)[2], uint32_t nargs, uint32_t i,
                   uint32_t close);
uint32_t compat_table(struct crewrite *w, uint32_t i, const struct compat_template *calls, size_t n);
/* ---- compat_json.c ---- */
uint32_t compat_json(struct crewrite *w, uint32_t i);
uint32_t compat_json_path(struct crewrite *w, uint32_t i);
/* ---- compat_pg.c ---- */
uint32_t compat_pg_form(struct crewrite *w, uint32_t i);
uint32_t compat_pg_from(struct crewrite *w, uint32_t i);
uint32_t compat_pg_call(struct crewrite *w, uint32_t i);
/* ---- compat_names.c, compat_lambda.c, compat_rewrite.c ---- */
/* Output columns without a name: tokens [first, after) and their place. Returns how many; *ret is the arena's. */
struct cname {
    uint32_t first, after, number;
};
uint32_t compat_unnamed(struct arena *a, const struct clex *l, struct cname **ret);
/* A call whose lambda has two parameters; a word that is one of them. */
uint32_t compat_lambda(struct crewrite *w, uint32_t i);
uint32_t compat_part(struct crewrite *w, uint32_t i);
/* All rules, for `rule`. */
uint32_t compat_rule(struct crewrite *w, uint32_t i);
/* Whole text, without SHOW and EXPLAIN. Pure. False: leave it alone. With pg only what profile PG needs. */
bool compat_rewrite(struct arena *a, const char *p, size_t n, bool pg, struct crewrite *ret);

#endif

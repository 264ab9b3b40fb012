/* compat_int: the part of the compatibility room that talks to the engine. Job thread. See compat.h. */
#ifndef QUERN_ENGINES_COMPAT_INT_H
#define QUERN_ENGINES_COMPAT_INT_H

#include "engines/compat.h"
#include "engines/duckdb_int.h"

/* Places inside macros are in [OFFSET, OFFSET + SPAN): an error there has no place in the user's text. */
#define COMPAT_MACRO_OFFSET (128u << 10)
#define COMPAT_MACRO_SPAN   (64u << 10)

/* One job's text. */
struct compat {
    struct wire_job job; /* the job with the text to run */
    const char *user;    /* the text as it came; NULL: nothing was changed */
    uint32_t user_len;
    const struct cspan *spans;
    uint32_t nspans;
    bool has_kind; /* `kind` instead of what the statement's type says */
    uint8_t kind;
    const char *text_column; /* name of the only column of WIRE_KIND_TEXT, NULL: the usual one */
};

/* Fills *ret for the job (always usable as ret->job on success). Errors already have their place in the
 * user's text. */
int compat_job(struct duck *d, duckdb_connection c, const struct wire_job *job, struct arena *a,
               struct compat *ret, struct err *e, uint32_t *kind) MUST_USE;
/* An error of running ret->job: its place in the user's text. */
void compat_place(const struct compat *x, struct err *e);

/* ---- compat_macros.c ---- */
/* Macros and functions of a profile, at its first session. */
int compat_install(duckdb_connection c, uint8_t profile, struct err *e) MUST_USE;
/* Those that are made when they are asked for: of a text, all that are left (*ret_any: some were). Not inside of a
 * transaction. */
int compat_macros_named(duckdb_connection c, uint8_t profile, const char *p, size_t n,
                        struct err *e) MUST_USE;
int compat_macros_rest(duckdb_connection c, uint8_t profile, bool *ret_any, struct err *e) MUST_USE;
/* Schema of a profile in the search path, NULL for none. */
const char *compat_schema(uint8_t profile);

/* ---- compat_show.c ---- */
enum compat_form { FORM_NONE, FORM_DONE, FORM_EXPLAIN };
/* SHOW, DESCRIBE: writes the SELECT instead. FORM_NONE: not one of them. < 0: error. */
int compat_show(struct duck *d, duckdb_connection c, const struct clex *l, struct compat *x, struct buf *out,
                struct err *e, uint32_t *kind) MUST_USE;
/* EXPLAIN (options): writes the engine's EXPLAIN and its options; *ret_inner is the first token of the
 * statement. FORM_NONE: not one with options. */
int compat_explain(const struct clex *l, struct buf *out, uint32_t *ret_inner, bool *ret_validate,
                   struct err *e) MUST_USE;

#endif

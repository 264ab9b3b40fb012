/* compat_rows: functions of texts that are computed row by row (compat_text.c, compat_char*.c, compat_format.c). Job thread
 * (the main thread before it starts one), and the engine's own. */
#ifndef QUERN_ENGINES_COMPAT_ROWS_H
#define QUERN_ENGINES_COMPAT_ROWS_H

#include "engines/compat_arith.h"
#include "engines/compat_returns.h"

/* One row, no side of which is NULL: its value goes to row i of out. NULL, or what is wrong (static text, or of `say`). */
typedef const char *row_fn(const struct operands *o, idx_t i, duckdb_vector out);

struct row_function {
    row_fn *row;
    const char *name;
    duckdb_type a, b, result; /* b INVALID: one argument */
};

bool rows_install(duckdb_connection c, const struct row_function *functions, size_t n) MUST_USE;
/* The text or the bytes of row i of a side. */
const char *row_bytes(const void *data, idx_t i, size_t *ret_n);
void row_null(duckdb_vector out, idx_t i);
/* before, a piece of the user's text (cut), after; good until the thread's next one. */
const char *row_say(const char *before, const char *text, size_t n, const char *after);

#endif

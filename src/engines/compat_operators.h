/* compat_operators: operators that a profile has otherwise than the engine, for some types of their sides. See
 * compat_operators.c. Job thread. */
#ifndef QUERN_ENGINES_COMPAT_OPERATORS_H
#define QUERN_ENGINES_COMPAT_OPERATORS_H

#include "engines/compat_number.h"

/* Which profile the statements that are bound from here on have: enum wire_profile. */
void compat_operators_profile(uint8_t profile);
/* False: this engine library does not ask here, so that operators would be the engine's own. */
bool compat_operators_work(duckdb_connection c) MUST_USE;

/* ---- compat_exact.c ---- */
/* Whether a op b is quern_plus, _minus or _times: decimals (one an integer perhaps) of at most 18 digits whose
 * result has more. */
bool compat_exact_wanted(char op, const struct numeric *a, const struct numeric *b);
/* The type of it, but for `store`. */
struct numeric compat_exact_type(char op, const struct numeric *a, const struct numeric *b);

#endif

/* compat_arith: the functions behind "/", "%", sum and avg of the profiles. See compat_arith.c. Job thread. */
#ifndef QUERN_ENGINES_COMPAT_ARITH_H
#define QUERN_ENGINES_COMPAT_ARITH_H

#include "engines/duckdb_int.h"

/* quern_divide(a, b), quern_modulo(a, b), quern_mean(sum, count), each also as ..._pg; quern_sum(sum). */
bool compat_arith_install(duckdb_connection c) MUST_USE;

#endif

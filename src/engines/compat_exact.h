/* compat_exact: "+", "-" and "*" of decimals with all their digits. Job thread (the main thread before it starts one). */
#ifndef QUERN_ENGINES_COMPAT_EXACT_H
#define QUERN_ENGINES_COMPAT_EXACT_H

#include "engines/duckdb_int.h"

/* quern_plus, quern_minus, quern_times. */
bool compat_exact_install(duckdb_connection c) MUST_USE;

#endif

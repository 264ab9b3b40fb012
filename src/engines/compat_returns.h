/* compat_returns: functions whose result type follows from their arguments' types. See compat_returns.c. */
#ifndef QUERN_ENGINES_COMPAT_RETURNS_H
#define QUERN_ENGINES_COMPAT_RETURNS_H

#include "engines/duckdb_int.h"

/* Type of an argument that is being bound, which the caller destroys; NULL: not this engine library. */
duckdb_logical_type compat_argument_type(duckdb_bind_info info, idx_t i);
/* The type to register such a function with. The same for all, never destroyed. */
duckdb_logical_type compat_any_result(void);
/* The end of a bind callback of a function that was registered with it: from here on the result has the type; *type then
 * holds another one, to be destroyed. The function runs with `data` (malloc, NULL: none), which is taken over. An error is
 * set when this engine library is not the one that the way was made for. */
void compat_bound(duckdb_bind_info info, duckdb_logical_type type, void *data, duckdb_copy_callback_t copy);

#endif

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

/* A function of one or two arguments of fixed types; ANY with a bind that ends in compat_bound(). */
struct compat_function {
    const char *name;
    duckdb_type a, b;   /* b INVALID: one argument */
    duckdb_type result; /* INVALID: bind says it */
    const void *extra;  /* of static storage; what duckdb_scalar_function_get_extra_info gives */
    duckdb_scalar_function_bind_t bind; /* NULL: none */
    duckdb_scalar_function_t run;
};
/* Job thread, which makes the session. */
bool compat_register(duckdb_connection c, const struct compat_function *what) MUST_USE;

#endif

/*
 * compat_returns: functions whose result type follows from their arguments' types.
 *
 * Division of decimals needs that (its scale is that of the sides), and the engine does it so for its own
 * functions: the bind callback writes the result type into the function. The C interface has the callback and
 * no call to set the type. So it is done here by its own means: the interface's bind info begins with a
 * reference to the client context and one to the function; the function holds a copy of the type that it was
 * registered with, and that copy is found by what no other bytes can be equal to, the shared pointers of our
 * placeholder type. Then the two types change places, each with what it owns.
 *
 * The types of the arguments are asked of the arguments themselves: the interface's own call copies the
 * argument first, and the library cannot copy a subquery (it throws, through us).
 *
 * Invariant: nothing is written unless the placeholder is found, and the library is pinned by its hash;
 * another one gives an error at the first division and never a wrong type. tests/engines/sql_*.tsv show that
 * it is found. Job thread (the main thread before it starts one).
 */
#include "engines/compat_returns.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FUNCTION_BYTES 360 /* of the library's scalar function; what is looked for lies well before its end */

/* The library's type: a byte for its kind, one for its form, then a shared pointer. */
struct library_type {
    uint8_t kind, form, unused[6];
    void *shared[2];
};

/* The library's bind info, as far as it is read, and its list of the arguments: owning pointers, which is what
 * the interface's expressions are too. */
struct library_list {
    void **begin, **end;
};
struct library_bind {
    void *context;
    unsigned char *function;
    struct library_list *arguments;
};

duckdb_logical_type compat_argument_type(duckdb_bind_info info, idx_t i)
{
    struct library_bind bind;
    memcpy(&bind, (const void *)info, sizeof bind);
    idx_t n = duckdb_scalar_function_bind_get_argument_count(info);
    if (i >= n || (idx_t)(bind.arguments->end - bind.arguments->begin) != n)
        return NULL;
    return duckdb_expression_return_type((duckdb_expression)(void *)&bind.arguments->begin[i]);
}

duckdb_logical_type compat_any_result(void)
{
    static duckdb_logical_type placeholder;
    if (!placeholder)
        placeholder = duckdb_create_decimal_type(38, 37);
    return placeholder;
}

/* False: nothing was changed. */
static bool returns(duckdb_bind_info info, duckdb_logical_type type)
{
    struct library_type want, have, now;
    struct library_bind bind;
    memcpy(&want, (const void *)compat_any_result(), sizeof want);
    memcpy(&now, (const void *)type, sizeof now);
    memcpy(&bind, (const void *)info, sizeof bind);
    for (size_t at = 0; at + sizeof have <= FUNCTION_BYTES; at += sizeof(void *)) {
        memcpy(&have, bind.function + at, sizeof have);
        if (!want.shared[0] || have.kind != want.kind || have.form != want.form ||
            memcmp(have.shared, want.shared, sizeof want.shared) != 0)
            continue;
        memcpy(bind.function + at, &now, sizeof now);
        memcpy((void *)type, &have, sizeof have); /* destroyed by the caller */
        return true;
    }
    return false;
}

void compat_bound(duckdb_bind_info info, duckdb_logical_type type, void *data, duckdb_copy_callback_t copy)
{
    if (!returns(info, type)) {
        free(data);
        duckdb_scalar_function_bind_set_error(info, "the engine's library has no such result type");
    } else if (data) {
        duckdb_scalar_function_set_bind_data(info, data, free);
        duckdb_scalar_function_set_bind_data_copy(info, copy);
    }
}

bool compat_register(duckdb_connection c, const struct compat_function *what)
{
    duckdb_scalar_function f = duckdb_create_scalar_function();
    duckdb_logical_type a = duckdb_create_logical_type(what->a), b = duckdb_create_logical_type(what->b),
                        result = duckdb_create_logical_type(what->result);
    duckdb_scalar_function_set_name(f, what->name);
    duckdb_scalar_function_add_parameter(f, a);
    if (what->b != DUCKDB_TYPE_INVALID)
        duckdb_scalar_function_add_parameter(f, b);
    duckdb_scalar_function_set_return_type(f, what->result == DUCKDB_TYPE_INVALID ? compat_any_result()
                                                                                  : result);
    duckdb_scalar_function_set_extra_info(f, (void *)(uintptr_t)what->extra, NULL);
    if (what->bind)
        duckdb_scalar_function_set_bind(f, what->bind);
    duckdb_scalar_function_set_function(f, what->run);
    bool ok = duckdb_register_scalar_function(c, f) == DuckDBSuccess;
    duckdb_destroy_logical_type(&a);
    duckdb_destroy_logical_type(&b);
    duckdb_destroy_logical_type(&result);
    duckdb_destroy_scalar_function(&f);
    return ok;
}

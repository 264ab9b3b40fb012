/*
 * compat_scalar: functions that no macro can be: quern_cardinality, quern_typeof (Trino's names of types), and
 * functions of doubles with IEEE 754's answers where the engine has errors (sqrt(-1), ln(0)). Job thread (the
 * main thread before it starts one), and the engine's own.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "encoders/trino_type.h"
#include "engines/compat_arith.h"
#include "engines/compat_returns.h"

/* quern_cardinality(x): elements of a list or a map. */
static void cardinality(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    duckdb_vector v = duckdb_data_chunk_get_vector(in, 0);
    duckdb_logical_type type = duckdb_vector_get_column_type(v);
    duckdb_type id = duckdb_get_type_id(type);
    idx_t fixed = id == DUCKDB_TYPE_ARRAY ? duckdb_array_type_array_size(type) : 0;
    duckdb_destroy_logical_type(&type);
    if (id != DUCKDB_TYPE_LIST && id != DUCKDB_TYPE_MAP && id != DUCKDB_TYPE_ARRAY) {
        duckdb_scalar_function_set_error(info, "cardinality is for arrays and maps");
        return;
    }
    const duckdb_list_entry *e = duckdb_vector_get_data(v);
    uint64_t *valid = duckdb_vector_get_validity(v);
    int64_t *r = duckdb_vector_get_data(out);
    if (valid)
        duckdb_vector_ensure_validity_writable(out);
    uint64_t *nulls = duckdb_vector_get_validity(out);
    for (idx_t i = 0; i < duckdb_data_chunk_get_size(in); i++) {
        bool null = valid && !duckdb_validity_row_is_valid(valid, i);
        r[i] = null ? 0 : id == DUCKDB_TYPE_ARRAY ? (int64_t)fixed : (int64_t)e[i].length;
        if (null)
            duckdb_validity_set_row_invalid(nulls, i);
    }
}

/* ---- typeof ---- */

/* In the arena; NULL: it has none. */
static char *name_of(struct arena *a, duckdb_logical_type type)
{
    struct column column;
    struct node node = {0};
    bool cast = false;
    CLEANUP_BUF struct buf b = BUF_INIT(1u << 20);
    if (duckdb_get_type_id(type) == DUCKDB_TYPE_SQLNULL)
        return arena_strdup(a, "unknown");
    if (duck__column(a, type, "", 0, &column, &node, &cast, NULL) < 0 || trino_type_name(&column, &b) < 0)
        return NULL;
    return arena_strndup(a, b.p, b.len);
}

static void *copy_name(void *p)
{
    return strdup(p);
}

static void bind_typeof(duckdb_bind_info info)
{
    duckdb_logical_type type = compat_argument_type(info, 0);
    struct arena *a = arena_new(16u << 20);
    char *name = a && type ? name_of(a, type) : NULL;
    char *kept = name ? strdup(name) : NULL;
    if (kept) {
        duckdb_scalar_function_set_bind_data(info, kept, free);
        duckdb_scalar_function_set_bind_data_copy(info, copy_name);
    } else {
        duckdb_scalar_function_bind_set_error(info, "typeof: the type has no name");
    }
    if (type)
        duckdb_destroy_logical_type(&type);
    arena_free(a);
}

static void run_typeof(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    const char *name = duckdb_scalar_function_get_bind_data(info);
    for (idx_t i = 0; i < duckdb_data_chunk_get_size(in); i++)
        duckdb_vector_assign_string_element(out, i, name);
}

/* ---- functions of doubles ---- */

static void run_real(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    double (*const *f)(double) = duckdb_scalar_function_get_extra_info(info);
    duckdb_vector v = duckdb_data_chunk_get_vector(in, 0);
    const double *x = duckdb_vector_get_data(v);
    double *r = duckdb_vector_get_data(out);
    uint64_t *valid = duckdb_vector_get_validity(v);
    if (valid)
        duckdb_vector_ensure_validity_writable(out);
    uint64_t *nulls = duckdb_vector_get_validity(out);
    for (idx_t i = 0; i < duckdb_data_chunk_get_size(in); i++) {
        bool null = valid && !duckdb_validity_row_is_valid(valid, i);
        r[i] = null ? 0 : (*f)(x[i]);
        if (null)
            duckdb_validity_set_row_invalid(nulls, i);
    }
}

/* The library's own is off by a digit at 27. */
static double cube_root(double x)
{
    return (double)cbrtl((long double)x);
}

/* Never called: compat_operators.c puts something else in its place. */
static void run_nothing(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    (void)in;
    (void)out;
    duckdb_scalar_function_set_error(info, "the engine's library does not ask which function is meant");
}

static const struct real {
    const char *name;
    double (*f)(double);
} reals[] = {{"quern_sqrt", sqrt},
             {"quern_cbrt", cube_root},
             {"quern_ln", log},
             {"quern_log2", log2},
             {"quern_log10", log10}};

static bool add(duckdb_connection c, const char *name, duckdb_type parameter, duckdb_type result,
                duckdb_scalar_function_t run, const void *extra)
{
    duckdb_scalar_function f = duckdb_create_scalar_function();
    duckdb_logical_type from = duckdb_create_logical_type(parameter), to = duckdb_create_logical_type(result);
    duckdb_scalar_function_set_name(f, name);
    duckdb_scalar_function_add_parameter(f, from);
    duckdb_scalar_function_set_return_type(f, to);
    duckdb_scalar_function_set_function(f, run);
    if (run == run_typeof) {
        duckdb_scalar_function_set_bind(f, bind_typeof);
        duckdb_scalar_function_set_special_handling(f); /* NULL has a type too */
    }
    if (extra)
        duckdb_scalar_function_set_extra_info(f, (void *)(uintptr_t)extra, NULL);
    bool ok = duckdb_register_scalar_function(c, f) == DuckDBSuccess;
    duckdb_destroy_logical_type(&from);
    duckdb_destroy_logical_type(&to);
    duckdb_destroy_scalar_function(&f);
    return ok;
}

bool compat_scalar_install(duckdb_connection c)
{
    bool ok = add(c, "quern_cardinality", DUCKDB_TYPE_ANY, DUCKDB_TYPE_BIGINT, cardinality, NULL) &&
              add(c, "quern_typeof", DUCKDB_TYPE_ANY, DUCKDB_TYPE_VARCHAR, run_typeof, NULL) &&
              add(c, "quern_text", DUCKDB_TYPE_ANY, DUCKDB_TYPE_VARCHAR, run_nothing, NULL) &&
              add(c, "quern_whole", DUCKDB_TYPE_ANY, DUCKDB_TYPE_BIGINT, run_nothing, NULL) &&
              add(c, "quern_entries", DUCKDB_TYPE_ANY, DUCKDB_TYPE_BIGINT, run_nothing, NULL);
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        ok = ok && add(c, reals[i].name, DUCKDB_TYPE_DOUBLE, DUCKDB_TYPE_DOUBLE, run_real, &reals[i].f);
    return ok;
}

/*
 * compat_macros: functions of the other family, as macros of a schema that stands in the search path of a
 * profile's sessions (after the user's, before the engine's own): memory.quern_trino, memory.quern_pg. An
 * operator is looked for in the path too, so "/" and "%" are macros.
 *
 * Each parameter is used once where a call is likely to be nested: a macro is text for the engine, used twice
 * it doubles with every level. No overloads by type, for the same reason: the engine binds the arguments once
 * more for each. Division and zero are functions of our own; they are pure, so that TRY sees their errors.
 * The script begins with blanks (MACRO_OFFSET), so that a place inside a macro is no place of the user's
 * text. Job thread (the main thread before it starts one).
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engines/compat_int.h"
#include "engines/compat_patterns.h"

/* ---- checked division ---- */

#define TYPES(X)                                                                                             \
    X(TINYINT, int8_t, 1)                                                                                    \
    X(SMALLINT, int16_t, 1) X(INTEGER, int32_t, 1) X(BIGINT, int64_t, 1) X(HUGEINT, __int128, 1)             \
        X(UTINYINT, uint8_t, 0) X(USMALLINT, uint16_t, 0) X(UINTEGER, uint32_t, 0) X(UBIGINT, uint64_t, 0)   \
            X(UHUGEINT, unsigned __int128, 0)

#define DIVISION_BY_ZERO "Division by zero"

struct operands {
    const void *a, *b;
    void *out;
    uint64_t *va, *vb;
    duckdb_vector ov;
    idx_t n;
};

static struct operands operands(duckdb_data_chunk in, duckdb_vector out)
{
    duckdb_vector a = duckdb_data_chunk_get_vector(in, 0);
    duckdb_vector b = duckdb_data_chunk_get_column_count(in) > 1 ? duckdb_data_chunk_get_vector(in, 1) : NULL;
    return (struct operands){
        duckdb_vector_get_data(a),     b ? duckdb_vector_get_data(b) : NULL,     duckdb_vector_get_data(out),
        duckdb_vector_get_validity(a), b ? duckdb_vector_get_validity(b) : NULL, out,
        duckdb_data_chunk_get_size(in)};
}

static bool both(const struct operands *o, idx_t i)
{
    return (!o->va || duckdb_validity_row_is_valid(o->va, i)) &&
           (!o->vb || duckdb_validity_row_is_valid(o->vb, i));
}

static bool same_bytes(const void *a, const void *b, size_t n)
{
    return memcmp(a, b, n) == 0;
}

/* -min / -1 has no value in the type. */
#define DIVIDE(NAME, T, SIGNED)                                                                              \
    static void divide_##NAME(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)            \
    {                                                                                                        \
        struct operands o = operands(in, out);                                                               \
        const T *a = o.a, *b = o.b;                                                                          \
        T *r = o.out;                                                                                        \
        T least = (T)((unsigned __int128)1 << (sizeof(T) * 8 - 1)), minus = (T)-1;                           \
        for (idx_t i = 0; i < o.n; i++) {                                                                    \
            r[i] = 0;                                                                                        \
            if (!both(&o, i))                                                                                \
                continue;                                                                                    \
            if (b[i] == 0) {                                                                                 \
                duckdb_scalar_function_set_error(info, DIVISION_BY_ZERO);                                    \
                return;                                                                                      \
            }                                                                                                \
            if (SIGNED && same_bytes(&a[i], &least, sizeof(T)) && same_bytes(&b[i], &minus, sizeof(T))) {    \
                duckdb_scalar_function_set_error(info, "Overflow in division");                              \
                return;                                                                                      \
            }                                                                                                \
            r[i] = (T)(a[i] / b[i]);                                                                         \
        }                                                                                                    \
    }
TYPES(DIVIDE)

#define REAL(NAME, T, CHECK)                                                                                 \
    static void NAME(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)                     \
    {                                                                                                        \
        struct operands o = operands(in, out);                                                               \
        const T *a = o.a, *b = o.b;                                                                          \
        T *r = o.out;                                                                                        \
        for (idx_t i = 0; i < o.n; i++) {                                                                    \
            bool zero = !(b[i] < 0) && !(b[i] > 0) && !isnan(b[i]);                                          \
            if ((CHECK) && zero && both(&o, i)) {                                                            \
                duckdb_scalar_function_set_error(info, DIVISION_BY_ZERO);                                    \
                return;                                                                                      \
            }                                                                                                \
            r[i] = zero && !both(&o, i) ? 0 : real_##T(a[i], b[i]);                                          \
        }                                                                                                    \
    }
__attribute__((no_sanitize("undefined"))) static double real_double(double a, double b)
{
    return a / b;
}
__attribute__((no_sanitize("undefined"))) static float real_float(float a, float b)
{
    return a / b;
}
REAL(divide_double, double, false)
REAL(divide_float, float, false)
REAL(divide_double_pg, double, true)
REAL(divide_float_pg, float, true)

/* A number of any type as a double; the divisor's zero is an error where one of the two is a decimal or
 * `check` says so. */
static bool as_double(duckdb_logical_type type, const void *data, idx_t i, double *ret, bool *ret_real)
{
    duckdb_type id = duckdb_get_type_id(type),
                internal = id == DUCKDB_TYPE_DECIMAL ? duckdb_decimal_internal_type(type) : id;
    *ret_real = id == DUCKDB_TYPE_FLOAT || id == DUCKDB_TYPE_DOUBLE;
    switch (internal) {
#define READ(NAME, T, SIGNED)                                                                                \
    case DUCKDB_TYPE_##NAME:                                                                                 \
        *ret = (double)((const T *)data)[i];                                                                 \
        break;
        TYPES(READ)
    case DUCKDB_TYPE_FLOAT:
        *ret = (double)((const float *)data)[i];
        break;
    case DUCKDB_TYPE_DOUBLE:
        *ret = ((const double *)data)[i];
        break;
    default:
        return false;
    }
    if (id == DUCKDB_TYPE_DECIMAL && duckdb_decimal_scale(type))
        *ret /= pow(10, duckdb_decimal_scale(type));
    return true;
}

static void divide_mixed(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out, bool check)
{
    struct operands o = operands(in, out);
    duckdb_logical_type ta = duckdb_vector_get_column_type(duckdb_data_chunk_get_vector(in, 0)),
                        tb = duckdb_vector_get_column_type(duckdb_data_chunk_get_vector(in, 1));
    const char *message = NULL;
    for (idx_t i = 0; i < o.n && !message; i++) {
        double a = 0, b = 0;
        bool ra = false, rb = false;
        ((double *)o.out)[i] = 0;
        if (!both(&o, i))
            continue;
        if (!as_double(ta, o.a, i, &a, &ra) || !as_double(tb, o.b, i, &b, &rb))
            message = "Cannot apply operator /: both sides must be numbers";
        else if ((check || (!ra && !rb)) && !(b < 0) && !(b > 0) && !isnan(b))
            message = DIVISION_BY_ZERO;
        else
            ((double *)o.out)[i] = real_double(a, b);
    }
    if (message)
        duckdb_scalar_function_set_error(info, message);
    duckdb_destroy_logical_type(&ta);
    duckdb_destroy_logical_type(&tb);
}

/* Two integers of different types; the result's type holds both. */
static bool as_integer(duckdb_type id, const void *data, idx_t i, __int128 *ret)
{
    switch (id) {
#define WHOLE(NAME, T, SIGNED)                                                                               \
    case DUCKDB_TYPE_##NAME:                                                                                 \
        *ret = (__int128)((const T *)data)[i];                                                               \
        return true;
        TYPES(WHOLE)
    default:
        return false;
    }
}

static void put_integer(duckdb_type id, void *data, idx_t i, __int128 v)
{
    switch (id) {
#define PUT(NAME, T, SIGNED)                                                                                 \
    case DUCKDB_TYPE_##NAME:                                                                                 \
        ((T *)data)[i] = (T)v;                                                                               \
        break;
        TYPES(PUT)
    default:
        break;
    }
}

static duckdb_type type_of(duckdb_vector v)
{
    duckdb_logical_type t = duckdb_vector_get_column_type(v);
    duckdb_type id = duckdb_get_type_id(t);
    duckdb_destroy_logical_type(&t);
    return id;
}

static void divide_integers(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    struct operands o = operands(in, out);
    duckdb_type ta = type_of(duckdb_data_chunk_get_vector(in, 0)),
                tb = type_of(duckdb_data_chunk_get_vector(in, 1)), to = type_of(out);
    for (idx_t i = 0; i < o.n; i++) {
        __int128 a = 0, b = 1;
        bool valid = both(&o, i) && as_integer(ta, o.a, i, &a) && as_integer(tb, o.b, i, &b);
        if (valid && ((ta == DUCKDB_TYPE_UHUGEINT && a < 0) ||
                      (tb == DUCKDB_TYPE_UHUGEINT && b < 0))) { /* beyond what is reckoned with here */
            duckdb_scalar_function_set_error(info, "Overflow in division");
            return;
        }
        if (valid && b == 0) {
            duckdb_scalar_function_set_error(info, DIVISION_BY_ZERO);
            return;
        }
        /* -min / -1 fits only in the next type */
        __int128 r = !valid ? 0 : b == -1 ? (__int128)-(unsigned __int128)a : a / b;
        __int128 back;
        put_integer(to, o.out, i, r);
        if (as_integer(to, o.out, i, &back) && (back != r || (valid && b == -1 && a < 0 && r < 0))) {
            duckdb_scalar_function_set_error(info, "Overflow in division");
            return;
        }
    }
}

struct integer {
    duckdb_type id;
    unsigned bits;
    bool is_signed;
};
static const struct integer integers[] = {
#define INTEGER(NAME, T, SIGNED) {DUCKDB_TYPE_##NAME, sizeof(T) * 8, SIGNED},
    TYPES(INTEGER)};

/* The smallest type that holds both; UHUGEINT and a signed one have none. */
static duckdb_type common_type(const struct integer *a, const struct integer *b)
{
    unsigned bits = a->bits > b->bits ? a->bits : b->bits;
    bool is_signed = a->is_signed || b->is_signed;
    if (is_signed && ((!a->is_signed && a->bits == bits) || (!b->is_signed && b->bits == bits)))
        bits *= 2;
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        if (integers[i].bits == bits && integers[i].is_signed == is_signed)
            return integers[i].id;
    }
    return DUCKDB_TYPE_INVALID;
}

static void divide_any(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    divide_mixed(info, in, out, false);
}
static void divide_any_pg(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    divide_mixed(info, in, out, true);
}

/* Whether the value is an exact number that is zero. */
static bool is_zero(duckdb_type internal, const void *data, idx_t i)
{
    switch (internal) {
#define ZERO(NAME, T, SIGNED)                                                                                \
    case DUCKDB_TYPE_##NAME:                                                                                 \
        return ((const T *)data)[i] == 0;
        TYPES(ZERO)
    default:
        return false;
    }
}

/* quern_divisor(x): x is an exact number that is zero -> error, else false. */
static void divisor(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    struct operands o = operands(in, out);
    duckdb_logical_type type = duckdb_vector_get_column_type(duckdb_data_chunk_get_vector(in, 0));
    duckdb_type id = duckdb_get_type_id(type),
                internal = id == DUCKDB_TYPE_DECIMAL ? duckdb_decimal_internal_type(type) : id;
    duckdb_destroy_logical_type(&type);
    for (idx_t i = 0; i < o.n; i++) {
        ((bool *)o.out)[i] = false;
        if (both(&o, i) && is_zero(internal, o.a, i)) {
            duckdb_scalar_function_set_error(info, DIVISION_BY_ZERO);
            return;
        }
    }
}

/* quern_cardinality(x): elements of a list or a map. */
static void cardinality(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    struct operands o = operands(in, out);
    duckdb_logical_type type = duckdb_vector_get_column_type(duckdb_data_chunk_get_vector(in, 0));
    duckdb_type id = duckdb_get_type_id(type);
    idx_t fixed = id == DUCKDB_TYPE_ARRAY ? duckdb_array_type_array_size(type) : 0;
    duckdb_destroy_logical_type(&type);
    if (id != DUCKDB_TYPE_LIST && id != DUCKDB_TYPE_MAP && id != DUCKDB_TYPE_ARRAY) {
        duckdb_scalar_function_set_error(info, "cardinality is for arrays and maps");
        return;
    }
    const duckdb_list_entry *e = o.a;
    for (idx_t i = 0; i < o.n; i++)
        ((int64_t *)o.out)[i] = !both(&o, i)              ? 0
                                : id == DUCKDB_TYPE_ARRAY ? (int64_t)fixed
                                                          : (int64_t)e[i].length;
}

/* b INVALID: one parameter. */
static bool register_one(duckdb_connection c, const char *name, duckdb_type a, duckdb_type b, duckdb_type out,
                         duckdb_scalar_function_t fn, duckdb_scalar_function_set set)
{
    duckdb_scalar_function f = duckdb_create_scalar_function();
    duckdb_logical_type ta = duckdb_create_logical_type(a), tb = duckdb_create_logical_type(b),
                        to = duckdb_create_logical_type(out);
    duckdb_scalar_function_set_name(f, name);
    duckdb_scalar_function_add_parameter(f, ta);
    if (b != DUCKDB_TYPE_INVALID)
        duckdb_scalar_function_add_parameter(f, tb);
    duckdb_scalar_function_set_return_type(f, to);
    duckdb_scalar_function_set_function(f, fn);
    bool ok = (set ? duckdb_add_scalar_function_to_set(set, f) : duckdb_register_scalar_function(c, f)) ==
              DuckDBSuccess;
    duckdb_destroy_logical_type(&ta);
    duckdb_destroy_logical_type(&tb);
    duckdb_destroy_logical_type(&to);
    duckdb_destroy_scalar_function(&f);
    return ok;
}

static bool register_division(duckdb_connection c, const char *name, bool pg)
{
    duckdb_scalar_function_set set = duckdb_create_scalar_function_set(name);
    bool ok = set != NULL;
#define ADD(NAME, T, SIGNED)                                                                                 \
    ok = ok && register_one(c, name, DUCKDB_TYPE_##NAME, DUCKDB_TYPE_##NAME, DUCKDB_TYPE_##NAME,             \
                            divide_##NAME, set);
    TYPES(ADD)
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        for (size_t k = 0; k < sizeof integers / sizeof *integers; k++) {
            duckdb_type both_in = i == k ? DUCKDB_TYPE_INVALID : common_type(&integers[i], &integers[k]);
            if (both_in != DUCKDB_TYPE_INVALID)
                ok = ok &&
                     register_one(c, name, integers[i].id, integers[k].id, both_in, divide_integers, set);
        }
    }
    ok = ok && register_one(c, name, DUCKDB_TYPE_FLOAT, DUCKDB_TYPE_FLOAT, DUCKDB_TYPE_FLOAT,
                            pg ? divide_float_pg : divide_float, set);
    ok = ok && register_one(c, name, DUCKDB_TYPE_DOUBLE, DUCKDB_TYPE_DOUBLE, DUCKDB_TYPE_DOUBLE,
                            pg ? divide_double_pg : divide_double, set);
    ok = ok && register_one(c, name, DUCKDB_TYPE_ANY, DUCKDB_TYPE_ANY, DUCKDB_TYPE_DOUBLE,
                            pg ? divide_any_pg : divide_any, set);
    ok = ok && duckdb_register_scalar_function_set(c, set) == DuckDBSuccess;
    duckdb_destroy_scalar_function_set(&set);
    return ok;
}

/* ---- macros ---- */

static const char *const trino[][2] = {
/* X(name and parameters, body) */
#define M(head, body) {head, body},
#include "engines/compat_macros.def"
#undef M
};

static const char *const pg[][2] = {
    {"\"/\"(a, b)", "quern_divide_pg(a, b)"},
    {"\"//\"(a, b)", "quern_divide_pg(a, b)"},
    {"\"%\"(a, b)", "system.main.\"%\"(a, CASE WHEN quern_divisor(b) THEN NULL ELSE b END)"},
    {"mod(a, b)", "system.main.\"%\"(a, CASE WHEN quern_divisor(b) THEN NULL ELSE b END)"},
};

static void script(struct buf *b, const char *schema, const char *const (*macros)[2], size_t n)
{
    (void)buf_printf(b, "CREATE SCHEMA memory.%s;", schema);
    for (size_t i = 0; i < n; i++)
        (void)buf_printf(b, "CREATE MACRO memory.%s.%s AS %s;\n", schema, macros[i][0], macros[i][1]);
}

static int install_functions(duckdb_connection c, struct err *e)
{
    bool ok = register_division(c, "quern_divide", false) && register_division(c, "quern_divide_pg", true) &&
              register_one(c, "quern_divisor", DUCKDB_TYPE_ANY, DUCKDB_TYPE_INVALID, DUCKDB_TYPE_BOOLEAN,
                           divisor, NULL) &&
              register_one(c, "quern_cardinality", DUCKDB_TYPE_ANY, DUCKDB_TYPE_INVALID, DUCKDB_TYPE_BIGINT,
                           cardinality, NULL);
    return ok ? 0 : err_set(e, ERR_ENGINE, "XX000", "the engine refuses a function");
}

int compat_install(duckdb_connection c, uint8_t profile, struct err *e)
{
    static bool functions, schema[2]; /* one instance a process, one thread */
    const char *name = compat_schema(profile);
    bool first = profile == WIRE_PROFILE_TRINO;
    if (!name || schema[first])
        return 0;
    int r = functions ? 0 : install_functions(c, e);
    if (r < 0)
        return r;
    functions = true;
    CLEANUP_BUF struct buf b = BUF_INIT(COMPAT_MACRO_OFFSET + COMPAT_MACRO_SPAN);
    if (buf_reserve(&b, COMPAT_MACRO_OFFSET) < 0)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    memset(b.p, ' ', COMPAT_MACRO_OFFSET);
    b.len = COMPAT_MACRO_OFFSET;
    if (first)
        script(&b, name, trino, sizeof trino / sizeof *trino);
    else
        script(&b, name, pg, sizeof pg / sizeof *pg);
    r = duck__exec(c, buf_str(&b), e);
    schema[first] = r == 0;
    return r;
}

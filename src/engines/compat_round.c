/*
 * compat_round: round, floor, ceil, truncate and sign of profile TRINO (compat_macros.def): the result has the
 * type of the argument, as there, where the engine makes a double of an integer, another scale of a decimal,
 * and a tinyint of every sign.
 *
 *   integers  themselves; round(x, -n) to tens, hundreds, ...
 *   decimals  (p, s): round, floor, ceil have p - s + min(s, 1) digits and scale 0, truncate max(1, p - s);
 *             with a number of digits round has (min(38, p + 1), s), truncate (p, s); sign is decimal(1, 0)
 *   doubles   half away from zero; quern_round_pg, PostgreSQL's, half to the even one
 *
 * Thread and NULLs as compat_arith.c.
 */
#include <math.h>
#include <stdlib.h>

#include "engines/compat_arith.h"
#include "engines/compat_decimal.h"
#include "engines/compat_number.h"
#include "engines/compat_returns.h"

#define OUT_OF_RANGE "Overflow in round: the value is out of range"

enum op { OP_ROUND, OP_FLOOR, OP_CEIL, OP_TRUNCATE, OP_SIGN };

struct flavour {
    const char *name;
    enum op op;
    bool digits; /* a second argument */
    bool pg;
};

struct rounding {
    enum op op;
    bool digits, pg;
    struct numeric in, out;
};

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static void decide(struct rounding *x)
{
    x->out = x->in;
    if (x->in.id != DUCKDB_TYPE_DECIMAL)
        return;
    unsigned whole = (unsigned)(x->in.width - x->in.scale);
    if (x->op == OP_SIGN) {
        x->out.width = 1;
        x->out.scale = 0;
    } else if (x->digits) {
        x->out.width = (uint8_t)(x->op == OP_ROUND ? smaller(DECIMAL_DIGITS, x->in.width + 1u) : x->in.width);
    } else {
        x->out.scale = 0;
        x->out.width =
            (uint8_t)(x->op == OP_TRUNCATE ? (whole ? whole : 1) : whole + smaller(x->in.scale, 1));
    }
}

/* v to a multiple of 10^drop, given in units of 10^down. False: more than 38 digits. */
static bool round_exact(enum op op, __int128 v, int64_t drop, int64_t down, __int128 *ret)
{
    if (op == OP_SIGN) {
        *ret = (v > 0) - (v < 0);
        return true;
    }
    __int128 q = 0;
    if (drop <= 0) {
        q = v;
        drop = 0;
    } else if (drop <= DECIMAL_DIGITS) {
        __int128 unit = (__int128)decimal_power((unsigned)drop), rest = v % unit,
                 part = rest < 0 ? -rest : rest;
        q = v / unit;
        if (op == OP_FLOOR)
            q -= rest < 0;
        else if (op == OP_CEIL)
            q += rest > 0;
        else if (op == OP_ROUND && part >= unit - part)
            q += v < 0 ? -1 : 1;
    }
    if (q == 0) {
        *ret = 0;
        return true;
    }
    return decimal_divide(q, 1, (int)(drop - down), ret);
}

/* As Trino's: the nearest whole number of the scaled value. */
static double round_double(enum op op, double v, bool digits, int64_t n)
{
    double factor = 1;
    switch (op) {
    case OP_FLOOR:
        return floor(v);
    case OP_CEIL:
        return ceil(v);
    case OP_TRUNCATE:
        return trunc(v);
    case OP_SIGN:
        return v > 0 ? 1 : v < 0 ? -1 : v;
    default:
        break;
    }
    if (digits) {
        if (n > 308 || !isfinite(v))
            return v;
        factor = pow(10, (double)(n < -400 ? -400 : n));
    }
    double scaled = fabs(v) * factor;
    if (!isfinite(scaled) || scaled > 4503599627370496.0) /* 2^52: no digit after the point */
        return v;
    double r = factor > 0 ? floor(scaled + 0.5) / factor : 0;
    return v < 0 ? -r : r;
}

static const char *one(const struct rounding *x, const struct operands *o, idx_t i)
{
    bool valid = operands_valid(o, i);
    int64_t n = valid && x->digits ? ((const int64_t *)o->b)[i] : 0;
    if (number_is_real(&x->in)) {
        double in = valid ? number_as_double(&x->in, o->a, i) : 0;
        double r = x->pg ? rint(in) : round_double(x->op, in, x->digits, n);
        if (x->out.id == DUCKDB_TYPE_FLOAT)
            ((float *)o->out)[i] = (float)r;
        else
            ((double *)o->out)[i] = r;
        return NULL;
    }
    __int128 v = 0, r = 0;
    n = n < -100 ? -100 : n > 100 ? 100 : n;
    int64_t drop = x->digits ? x->in.scale - n : x->in.scale, down = x->in.scale - x->out.scale;
    bool fits = !valid || (number_load(&x->in, o->a, i, &v) && round_exact(x->op, v, drop, down, &r));
    return fits && number_store(&x->out, o->out, i, r) ? NULL : OUT_OF_RANGE;
}

static void run(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    const struct rounding *x = duckdb_scalar_function_get_bind_data(info);
    if (!x) { /* a parameter without a type: bound again before there are values */
        duckdb_scalar_function_set_error(info, "a parameter has no type");
        return;
    }
    struct operands o = operands_of(in, out);
    const char *message = NULL;
    for (idx_t i = 0; i < o.n && !message; i++)
        message = one(x, &o, i);
    if (message)
        duckdb_scalar_function_set_error(info, message);
    else
        operands_nulls(&o, out);
}

static void *copy(void *p)
{
    struct rounding *x = malloc(sizeof *x);
    if (x)
        *x = *(const struct rounding *)p;
    return x;
}

static void bind(duckdb_bind_info info)
{
    const struct flavour *f = duckdb_scalar_function_bind_get_extra_info(info);
    duckdb_logical_type type = compat_argument_type(info, 0), result = NULL;
    struct rounding x = {.op = f->op, .digits = f->digits, .pg = f->pg, .in = number_of(type)};
    struct rounding *data = NULL;
    if (type &&
        x.in.id == DUCKDB_TYPE_INVALID) { /* its type comes with its value, and so does the result's */
        result = type;
        type = NULL;
    } else if (number_is_one(&x.in)) {
        decide(&x);
        result = number_type(&x.out);
        data = copy(&x);
    }
    if (!result)
        duckdb_scalar_function_bind_set_error(info, "the argument must have the type of a number");
    else
        compat_bound(info, result, data, copy);
    if (result)
        duckdb_destroy_logical_type(&result);
    if (type)
        duckdb_destroy_logical_type(&type);
}

bool compat_round_install(duckdb_connection c)
{
    static const struct flavour flavours[] = {
        {"quern_round", OP_ROUND, false, false},    {"quern_round_to", OP_ROUND, true, false},
        {"quern_floor", OP_FLOOR, false, false},    {"quern_ceil", OP_CEIL, false, false},
        {"quern_trunc", OP_TRUNCATE, false, false}, {"quern_trunc_to", OP_TRUNCATE, true, false},
        {"quern_sign", OP_SIGN, false, false},      {"quern_round_pg", OP_ROUND, false, true},
    };
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof flavours / sizeof *flavours; i++)
        ok = compat_register(
            c, &(struct compat_function){.name = flavours[i].name,
                                         .a = DUCKDB_TYPE_ANY,
                                         .b = flavours[i].digits ? DUCKDB_TYPE_BIGINT : DUCKDB_TYPE_INVALID,
                                         .extra = &flavours[i],
                                         .bind = bind,
                                         .run = run});
    return ok;
}

/*
 * compat_arith: the functions behind "/", "%", sum and avg of the profiles TRINO and PG (compat_macros.def).
 *
 *   quern_divide, ..._pg   integers: whole quotient in the wider type; decimals: exact, half away from zero;
 *                          doubles: IEEE (PG: zero is an error); interval by number
 *   quern_modulo, ..._pg   the remainder, with the sign of the dividend
 *   quern_mean, ..._pg     of a count and a sum: avg
 *   quern_sum              of the engine's sum of integers a bigint, of real a real, anything else as it is
 *
 * Types of decimals. TRINO: its documentation's table (functions/decimal). PG: PostgreSQL gives each quotient
 * its own number of digits, at least 16; a column has one scale, so it is numeric(38, s), s being 16, or the
 * larger scale of the two sides as far as that leaves the digits before the point that there can be, or 20.
 * A quotient of more than 38 digits is an error.
 *
 * avg and sum have the type of their argument, or one that follows from it, and the engine's sum does not show it
 * any more. Binding goes from the inside to the outside, so that the sum that was bound last (compat_operators.c
 * tells its argument's type) is the last argument of the quern_mean or quern_sum that is bound next. Where it is
 * not (the engine knew the inside already) avg of decimals has 38 digits and sum of real is a double.
 *
 * Bind decides once what is to be done (struct arith); the functions are pure, so that TRY sees their errors.
 * Slots of NULL rows are zero. Job thread (the main thread before it starts one), and the engine's own.
 */
#include "engines/compat_arith.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engines/compat_decimal.h"
#include "engines/compat_number.h"
#include "engines/compat_returns.h"

#define BY_ZERO   "Division by zero"
#define OVERFLOWS "Overflow in division: the value is out of range"
#define PG_SCALE  16
#define PG_WHOLE  20
#define DAY_US    86400000000.0

enum op { OP_DIVIDE, OP_MODULO, OP_MEAN, OP_SUM };
enum how {
    HOW_INTEGER,
    HOW_SAME,
    HOW_FLOAT,
    HOW_DOUBLE,
    HOW_DECIMAL,
    HOW_INTERVAL,
    HOW_COPY,
    HOW_NARROW,
    HOW_SINGLE
};

struct flavour {
    const char *name;
    enum op op;
    bool pg;
};

struct arith {
    enum op op;
    enum how how;
    bool pg;
    struct numeric a, b, out;
    int shift;           /* of a quotient */
    unsigned up_a, up_b; /* of a remainder */
};

/* ---- types ---- */

static unsigned larger(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Argument of the sum that was bound last; id INVALID: none. */
static struct numeric summed;

void compat_arith_summed(const struct numeric *x)
{
    summed = *x;
}

void compat_arith_forget(void)
{
    summed.id = DUCKDB_TYPE_INVALID;
}

static void decimal_quotient(struct arith *x)
{
    unsigned scale = larger(x->a.scale, x->b.scale);
    unsigned whole = (unsigned)(x->a.width - x->a.scale) + x->b.scale; /* digits before the point */
    unsigned width = smaller(DECIMAL_DIGITS, whole + scale);
    if (x->op == OP_MEAN && !x->pg) {
        bool known = summed.id == DUCKDB_TYPE_DECIMAL && summed.scale == x->a.scale;
        width = known ? summed.width : DECIMAL_DIGITS;
        scale = x->a.scale;
    } else if (x->pg) {
        width = DECIMAL_DIGITS;
        scale = larger(PG_SCALE, smaller(scale, DECIMAL_DIGITS - smaller(whole, PG_WHOLE)));
    }
    x->out.width = (uint8_t)width;
    x->out.scale = (uint8_t)scale;
    x->shift = (int)scale - x->a.scale + x->b.scale;
}

static void decimal_rest(struct arith *x)
{
    unsigned scale = larger(x->a.scale, x->b.scale);
    x->out.scale = (uint8_t)scale;
    x->out.width =
        (uint8_t)(smaller((unsigned)(x->a.width - x->a.scale), (unsigned)(x->b.width - x->b.scale)) + scale);
    if (!x->out.width)
        x->out.width = 1;
    x->up_a = scale - x->a.scale;
    x->up_b = scale - x->b.scale;
}

/* False: not two numbers. */
static bool decide(struct arith *x)
{
    const struct numeric *a = &x->a, *b = &x->b;
    if (a->id == DUCKDB_TYPE_INTERVAL && x->op == OP_DIVIDE && number_is_one(b)) {
        x->how = HOW_INTERVAL;
        x->out.id = DUCKDB_TYPE_INTERVAL;
        return true;
    }
    if (!number_is_one(a) || !number_is_one(b))
        return false;
    bool whole = number_integer(a->id) && number_integer(b->id);
    if (number_is_real(a) || number_is_real(b) || (whole && x->op == OP_MEAN && !x->pg)) {
        bool twice = a->id == DUCKDB_TYPE_DOUBLE || b->id == DUCKDB_TYPE_DOUBLE || (x->pg && a->id != b->id);
        if (x->op == OP_MEAN)
            twice = x->pg || summed.id != DUCKDB_TYPE_FLOAT;
        x->how = twice ? HOW_DOUBLE : HOW_FLOAT;
        x->out.id = twice ? DUCKDB_TYPE_DOUBLE : DUCKDB_TYPE_FLOAT;
    } else if (whole && x->op != OP_MEAN) {
        x->how = a->id == b->id ? HOW_SAME : HOW_INTEGER;
        x->out.id = a->id == b->id ? a->id : number_common(number_integer(a->id), number_integer(b->id));
    } else {
        x->how = HOW_DECIMAL;
        x->out.id = DUCKDB_TYPE_DECIMAL;
        if (x->op == OP_MODULO)
            decimal_rest(x);
        else
            decimal_quotient(x);
    }
    return true;
}

/* ---- integers ---- */

static bool same_bytes(const void *a, const void *b, size_t n)
{
    return memcmp(a, b, n) == 0;
}

/* Both sides have the type. -min / -1 has no value in it. */
#define SAME(NAME, T, SIGNED)                                                                                \
    static const char *same_##NAME(const struct arith *x, const struct operands *o)                          \
    {                                                                                                        \
        const T *a = o->a, *b = o->b;                                                                        \
        T *r = o->out;                                                                                       \
        T least = (T)((unsigned __int128)1 << (sizeof(T) * 8 - 1)), minus = (T)-1;                           \
        bool modulo = x->op == OP_MODULO;                                                                    \
        for (idx_t i = 0; i < o->n; i++) {                                                                   \
            r[i] = 0;                                                                                        \
            if (!operands_valid(o, i))                                                                       \
                continue;                                                                                    \
            if (b[i] == 0)                                                                                   \
                return BY_ZERO;                                                                              \
            bool edge =                                                                                      \
                SIGNED && same_bytes(&a[i], &least, sizeof(T)) && same_bytes(&b[i], &minus, sizeof(T));      \
            if (edge && !modulo)                                                                             \
                return OVERFLOWS;                                                                            \
            if (!edge)                                                                                       \
                r[i] = (T)(modulo ? a[i] % b[i] : a[i] / b[i]);                                              \
        }                                                                                                    \
        return NULL;                                                                                         \
    }
TYPES(SAME)

static const char *same(const struct arith *x, const struct operands *o)
{
    switch (x->out.id) {
#define CALL(NAME, T, SIGNED)                                                                                \
    case DUCKDB_TYPE_##NAME:                                                                                 \
        return same_##NAME(x, o);
        TYPES(CALL)
    default:
        return OVERFLOWS;
    }
}

static const char *mixed(const struct arith *x, const struct operands *o)
{
    for (idx_t i = 0; i < o->n; i++) {
        __int128 a, b, r = 0;
        if (operands_valid(o, i)) {
            if (!number_load(&x->a, o->a, i, &a) || !number_load(&x->b, o->b, i, &b))
                return OVERFLOWS;
            if (b == 0)
                return BY_ZERO;
            if (x->op == OP_MODULO)
                r = b == -1 ? 0 : a % b;
            else if (b != -1)
                r = a / b;
            else if (__builtin_sub_overflow((__int128)0, a, &r))
                return OVERFLOWS;
        }
        if (!number_store(&x->out, o->out, i, r))
            return OVERFLOWS;
    }
    return NULL;
}

/* ---- decimals ---- */

static const char *decimals(const struct arith *x, const struct operands *o)
{
    for (idx_t i = 0; i < o->n; i++) {
        __int128 a, b, r = 0;
        if (x->op == OP_SUM) {
            if (operands_valid(o, i) && !number_load(&x->a, o->a, i, &r))
                return OVERFLOWS;
        } else if (operands_valid(o, i)) {
            if (!number_load(&x->a, o->a, i, &a) || !number_load(&x->b, o->b, i, &b))
                return OVERFLOWS;
            if (b == 0)
                return BY_ZERO;
            bool fits = x->op == OP_MODULO ? decimal_remainder(a, x->up_a, b, x->up_b, &r)
                                           : decimal_divide(a, b, x->shift, &r);
            if (!fits)
                return OVERFLOWS;
        }
        unsigned __int128 digits = r < 0 ? -(unsigned __int128)r : (unsigned __int128)r;
        if (digits >= decimal_power(x->out.width) || !number_store(&x->out, o->out, i, r))
            return OVERFLOWS;
    }
    return NULL;
}

/* ---- doubles ---- */

__attribute__((no_sanitize("undefined"))) static double quotient(double a, double b)
{
    return a / b;
}

__attribute__((no_sanitize("undefined"))) static float single_quotient(float a, float b)
{
    return a / b;
}

static const char *reals(const struct arith *x, const struct operands *o)
{
    for (idx_t i = 0; i < o->n; i++) {
        double a = 0, b = 1;
        if (operands_valid(o, i)) {
            a = number_as_double(&x->a, o->a, i);
            b = number_as_double(&x->b, o->b, i);
            if (x->pg && !(b < 0) && !(b > 0) && !isnan(b))
                return BY_ZERO;
        }
        double r = x->op == OP_MODULO    ? fmod(a, b)
                   : x->how == HOW_FLOAT ? (double)single_quotient((float)a, (float)b)
                                         : quotient(a, b);
        if (x->how == HOW_FLOAT)
            ((float *)o->out)[i] = (float)r;
        else
            ((double *)o->out)[i] = r;
    }
    return NULL;
}

/* ---- intervals ---- */

/* Whole months stay months; in PG what is left of a month becomes days of 30, in TRINO an interval of months
 * has no days. */
static bool divide_interval(const duckdb_interval *v, double by, bool pg, duckdb_interval *ret)
{
    double months = v->months / by, whole = trunc(months);
    double us = ((double)v->days * DAY_US + (double)v->micros) / by;
    if (pg)
        us += (months - whole) * 30 * DAY_US;
    double days = trunc(us / DAY_US);
    if (!(fabs(whole) <= INT32_MAX) || !(fabs(days) <= INT32_MAX))
        return false;
    *ret = (duckdb_interval){(int32_t)whole, (int32_t)days, (int64_t)round(us - days * DAY_US)};
    return true;
}

static const char *intervals(const struct arith *x, const struct operands *o)
{
    for (idx_t i = 0; i < o->n; i++) {
        duckdb_interval *r = (duckdb_interval *)o->out + i;
        *r = (duckdb_interval){0, 0, 0};
        if (!operands_valid(o, i))
            continue;
        double by = number_as_double(&x->b, o->b, i);
        if (!(by < 0) && !(by > 0))
            return isnan(by) ? OVERFLOWS : BY_ZERO;
        if (!divide_interval((const duckdb_interval *)o->a + i, by, x->pg, r))
            return OVERFLOWS;
    }
    return NULL;
}

/* ---- the functions ---- */

static const char *narrow(const struct operands *o)
{
    for (idx_t i = 0; i < o->n; i++) {
        __int128 v = operands_valid(o, i) ? ((const hugeint *)o->a)[i] : 0;
        if (v != (int64_t)v)
            return "Overflow in sum: the value is out of range for bigint";
        ((int64_t *)o->out)[i] = (int64_t)v;
    }
    return NULL;
}

static const char *single(const struct operands *o)
{
    for (idx_t i = 0; i < o->n; i++)
        ((float *)o->out)[i] = (float)((const double *)o->a)[i];
    return NULL;
}

static void run(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    const struct arith *x = duckdb_scalar_function_get_bind_data(info);
    const char *message = NULL;
    if (x->how == HOW_COPY) {
        duckdb_vector_reference_vector(out, duckdb_data_chunk_get_vector(in, 0));
        return;
    }
    struct operands o = operands_of(in, out);
    if (x->op == OP_MEAN) /* the count comes first */
        o = (struct operands){o.b, o.a, o.out, o.vb, o.va, o.n};
    switch (x->how) {
    case HOW_INTEGER:
        message = mixed(x, &o);
        break;
    case HOW_SAME:
        message = same(x, &o);
        break;
    case HOW_DECIMAL:
        message = decimals(x, &o);
        break;
    case HOW_INTERVAL:
        message = intervals(x, &o);
        break;
    case HOW_NARROW:
        message = narrow(&o);
        break;
    case HOW_SINGLE:
        message = single(&o);
        break;
    default:
        message = reals(x, &o);
    }
    if (message)
        duckdb_scalar_function_set_error(info, message);
    else
        operands_nulls(&o, out);
}

static void *copy(void *p)
{
    struct arith *x = malloc(sizeof *x);
    if (x)
        *x = *(const struct arith *)p;
    return x;
}

/* The result's type, of its own or taken from *first, which is then NULL. */
static duckdb_logical_type result_type(struct arith *x, duckdb_logical_type *first)
{
    duckdb_logical_type type = NULL;
    if (x->how == HOW_COPY) {
        type = *first;
        *first = NULL;
    } else {
        type = number_type(&x->out);
    }
    return type;
}

/* In PG a sum of bigint is a numeric, so that what divides it leaves its fraction. */
static void decide_sum(struct arith *x)
{
    bool real = x->a.id == DUCKDB_TYPE_DOUBLE && summed.id == DUCKDB_TYPE_FLOAT,
         whole = x->a.id == DUCKDB_TYPE_HUGEINT;
    bool wide = x->pg && summed.id != DUCKDB_TYPE_INTEGER && summed.id != DUCKDB_TYPE_SMALLINT &&
                summed.id != DUCKDB_TYPE_TINYINT;
    x->how = real ? HOW_SINGLE : !whole ? HOW_COPY : wide ? HOW_DECIMAL : HOW_NARROW;
    x->out.id = real ? DUCKDB_TYPE_FLOAT : wide ? DUCKDB_TYPE_DECIMAL : DUCKDB_TYPE_BIGINT;
    x->out.width = DECIMAL_DIGITS;
}

static void bind(duckdb_bind_info info)
{
    const struct flavour *f = duckdb_scalar_function_bind_get_extra_info(info);
    struct arith x = {.op = f->op, .pg = f->pg};
    bool one = f->op == OP_SUM, mean = f->op == OP_MEAN;
    duckdb_logical_type first = compat_argument_type(info, mean ? 1 : 0),
                        second = one ? NULL : compat_argument_type(info, mean ? 0 : 1), type;
    x.a = number_of(first);
    x.b = second ? number_of(second) : x.a;
    bool known = first && (second || one);
    if (!known) {
    } else if (x.a.id == DUCKDB_TYPE_INVALID || x.b.id == DUCKDB_TYPE_INVALID) {
        /* a parameter whose type comes with its value: so does the result's, and this is bound again */
        x.how = HOW_COPY;
        if (x.a.id != DUCKDB_TYPE_INVALID) {
            duckdb_logical_type other = first;
            first = second;
            second = other;
        }
    } else if (one) {
        decide_sum(&x);
    } else {
        known = decide(&x);
    }
    if (one || mean)
        summed.id = DUCKDB_TYPE_INVALID;
    struct arith *data = known ? copy(&x) : NULL;
    if (!known) {
        duckdb_scalar_function_bind_set_error(
            info, f->op == OP_MODULO ? "Cannot apply operator %: both sides must have the type of a number"
                                     : "Cannot apply operator /: both sides must have the type of a number");
    } else if (!data) {
        duckdb_scalar_function_bind_set_error(info, "out of memory");
    } else {
        type = result_type(data, &first);
        compat_bound(info, type, data, copy);
        duckdb_destroy_logical_type(&type);
    }
    if (first)
        duckdb_destroy_logical_type(&first);
    if (second)
        duckdb_destroy_logical_type(&second);
}

bool compat_arith_install(duckdb_connection c)
{
    static const struct flavour flavours[] = {
        {"quern_divide", OP_DIVIDE, false}, {"quern_divide_pg", OP_DIVIDE, true},
        {"quern_modulo", OP_MODULO, false}, {"quern_modulo_pg", OP_MODULO, true},
        {"quern_mean", OP_MEAN, false},     {"quern_mean_pg", OP_MEAN, true},
        {"quern_sum", OP_SUM, false},       {"quern_sum_pg", OP_SUM, true},
    };
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof flavours / sizeof *flavours; i++)
        ok = compat_register(
            c, &(struct compat_function){.name = flavours[i].name,
                                         .a = DUCKDB_TYPE_ANY,
                                         .b = flavours[i].op < OP_SUM ? DUCKDB_TYPE_ANY : DUCKDB_TYPE_INVALID,
                                         .extra = &flavours[i],
                                         .bind = bind,
                                         .run = run});
    return ok;
}

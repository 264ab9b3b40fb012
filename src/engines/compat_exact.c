/*
 * compat_exact: quern_plus, quern_minus, quern_times: exact for two sides of at most 18 digits whose result has
 * more, where the engine stops at 18 and then fails (compat_operators.c sends such operators here; what has more
 * digits is the engine's, which is exact there). Of (p1, s1) and (p2, s2), an integer with all its digits:
 *
 *   + -   scale max(s1, s2), digits max(p1 - s1, p2 - s2) + max(s1, s2) + 1
 *   *     scale s1 + s2, digits p1 + p2
 *
 * Both are Trino's types, and as much as a column needs for PostgreSQL's values. Nothing can overflow: sides have
 * 64 bits, results 128. Rows that are NULL are computed with whatever lies in their slots, so that the loops have
 * no branches.
 *
 * Thread as compat_arith.c.
 */
#include "engines/compat_exact.h"

#include <stdlib.h>

#include "engines/compat_decimal.h"
#include "engines/compat_number.h"
#include "engines/compat_operators.h"
#include "engines/compat_returns.h"

#define ENGINE_DIGITS 18
#define CHUNK         2048

enum op { OP_PLUS, OP_MINUS, OP_TIMES };

struct exact {
    enum op op;
    struct numeric a, b, out;
    int64_t up_a, up_b; /* of a sum: to the common scale */
};

static unsigned larger(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

struct numeric compat_exact_type(char op, const struct numeric *a, const struct numeric *b)
{
    struct numeric out = {.id = DUCKDB_TYPE_DECIMAL};
    if (op == '*') {
        out.width = (uint8_t)(a->width + b->width);
        out.scale = (uint8_t)(a->scale + b->scale);
    } else {
        out.scale = (uint8_t)larger(a->scale, b->scale);
        out.width = (uint8_t)(larger((unsigned)(a->width - a->scale), (unsigned)(b->width - b->scale)) +
                              out.scale + 1u);
    }
    return out;
}

bool compat_exact_wanted(char op, const struct numeric *a, const struct numeric *b)
{
    bool numbers = a->width && b->width && (a->id == DUCKDB_TYPE_DECIMAL || b->id == DUCKDB_TYPE_DECIMAL);
    return numbers && a->width <= ENGINE_DIGITS && b->width <= ENGINE_DIGITS &&
           compat_exact_type(op, a, b).width > ENGINE_DIGITS;
}

/* A side as 64 bits, copied only when it has less. */
static const int64_t *side(const struct numeric *x, const void *data, idx_t n, int64_t *room)
{
    switch (x->store) {
#define WIDEN(NAME, T)                                                                                       \
    case DUCKDB_TYPE_##NAME:                                                                                 \
        for (idx_t i = 0; i < n; i++)                                                                        \
            room[i] = ((const T *)data)[i];                                                                  \
        return room;
        WIDEN(TINYINT, int8_t)
        WIDEN(SMALLINT, int16_t)
        WIDEN(INTEGER, int32_t)
        WIDEN(UTINYINT, uint8_t)
        WIDEN(USMALLINT, uint16_t)
        WIDEN(UINTEGER, uint32_t)
#undef WIDEN
    default:
        return data;
    }
}

static void run(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    const struct exact *x = duckdb_scalar_function_get_bind_data(info);
    int64_t room_a[CHUNK], room_b[CHUNK];
    struct operands o = operands_of(in, out);
    if (!x || o.n > CHUNK) {
        duckdb_scalar_function_set_error(info, "a chunk is too large");
        return;
    }
    const int64_t *a = side(&x->a, o.a, o.n, room_a), *b = side(&x->b, o.b, o.n, room_b);
    hugeint *r = o.out;
    if (x->op == OP_TIMES) {
        for (idx_t i = 0; i < o.n; i++)
            r[i] = (__int128)a[i] * b[i];
    } else {
        for (idx_t i = 0; i < o.n; i++)
            r[i] = (__int128)a[i] * x->up_a + (__int128)b[i] * x->up_b;
    }
    operands_nulls(&o, out);
}

static void *copy(void *p)
{
    struct exact *x = malloc(sizeof *x);
    if (x)
        *x = *(const struct exact *)p;
    return x;
}

static void bind(duckdb_bind_info info)
{
    const char *op = duckdb_scalar_function_bind_get_extra_info(info);
    duckdb_logical_type first = compat_argument_type(info, 0), second = compat_argument_type(info, 1);
    struct exact x = {.op = *op == '*' ? OP_TIMES : *op == '-' ? OP_MINUS : OP_PLUS};
    x.a = number_of(first);
    x.b = number_of(second);
    struct exact *data = NULL;
    if (compat_exact_wanted(*op, &x.a, &x.b)) {
        x.out = compat_exact_type(*op, &x.a, &x.b);
        if (x.op != OP_TIMES) {
            x.up_a = (int64_t)decimal_power(x.out.scale - x.a.scale);
            x.up_b = (int64_t)decimal_power(x.out.scale - x.b.scale) * (x.op == OP_MINUS ? -1 : 1);
        }
        data = copy(&x);
    }
    if (data) {
        duckdb_logical_type type = number_type(&data->out);
        compat_bound(info, type, data, copy);
        duckdb_destroy_logical_type(&type);
    } else {
        duckdb_scalar_function_bind_set_error(info, "the arguments must be decimals of up to 18 digits");
    }
    if (first)
        duckdb_destroy_logical_type(&first);
    if (second)
        duckdb_destroy_logical_type(&second);
}

bool compat_exact_install(duckdb_connection c)
{
    static const char *const names[][2] = {{"quern_plus", "+"}, {"quern_minus", "-"}, {"quern_times", "*"}};
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof names / sizeof *names; i++)
        ok = compat_register(c, &(struct compat_function){.name = names[i][0],
                                                          .a = DUCKDB_TYPE_ANY,
                                                          .b = DUCKDB_TYPE_ANY,
                                                          .extra = names[i][1],
                                                          .bind = bind,
                                                          .run = run});
    return ok;
}

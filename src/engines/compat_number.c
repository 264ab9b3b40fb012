/* compat_number: see compat_number.h. */
#include "engines/compat_number.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engines/compat_decimal.h"

/* ---- types ---- */

static const struct integer integers[] = {
    {DUCKDB_TYPE_TINYINT, 8, true, 3},     {DUCKDB_TYPE_SMALLINT, 16, true, 5},
    {DUCKDB_TYPE_INTEGER, 32, true, 10},   {DUCKDB_TYPE_BIGINT, 64, true, 19},
    {DUCKDB_TYPE_HUGEINT, 128, true, 38},  {DUCKDB_TYPE_UTINYINT, 8, false, 3},
    {DUCKDB_TYPE_USMALLINT, 16, false, 5}, {DUCKDB_TYPE_UINTEGER, 32, false, 10},
    {DUCKDB_TYPE_UBIGINT, 64, false, 20},  {DUCKDB_TYPE_UHUGEINT, 128, false, 38},
};

const struct integer *number_integer(duckdb_type id)
{
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        if (integers[i].id == id)
            return &integers[i];
    }
    return NULL;
}

duckdb_type number_common(const struct integer *a, const struct integer *b)
{
    unsigned bits = a->bits > b->bits ? a->bits : b->bits;
    bool is_signed = a->is_signed || b->is_signed;
    if (is_signed && ((!a->is_signed && a->bits == bits) || (!b->is_signed && b->bits == bits)))
        bits *= 2;
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        if (integers[i].bits == bits && integers[i].is_signed == is_signed)
            return integers[i].id;
    }
    return DUCKDB_TYPE_HUGEINT;
}

struct numeric number_of(duckdb_logical_type type)
{
    duckdb_type id = type ? duckdb_get_type_id(type) : DUCKDB_TYPE_INVALID;
    if (id == DUCKDB_TYPE_DECIMAL)
        return (struct numeric){id, duckdb_decimal_internal_type(type), duckdb_decimal_width(type),
                                duckdb_decimal_scale(type)};
    return (struct numeric){id, id, number_integer(id) ? number_integer(id)->digits : 0, 0};
}

duckdb_logical_type number_type(struct numeric *x)
{
    bool decimal = x->id == DUCKDB_TYPE_DECIMAL;
    duckdb_logical_type type =
        decimal ? duckdb_create_decimal_type(x->width, x->scale) : duckdb_create_logical_type(x->id);
    x->store = decimal ? duckdb_decimal_internal_type(type) : x->id;
    return type;
}

bool number_is_real(const struct numeric *x)
{
    return x->id == DUCKDB_TYPE_FLOAT || x->id == DUCKDB_TYPE_DOUBLE;
}

bool number_is_one(const struct numeric *x)
{
    return number_is_real(x) || x->id == DUCKDB_TYPE_DECIMAL || number_integer(x->id);
}

/* ---- values ---- */

bool number_load(const struct numeric *x, const void *data, idx_t i, __int128 *ret)
{
    switch (x->store) {
#define LOAD(NAME, T, SIGNED)                                                                                \
    case DUCKDB_TYPE_##NAME:                                                                                 \
        *ret = (__int128)((const T *)data)[i];                                                               \
        break;
        TYPES(LOAD)
    default:
        return false;
    }
    return x->store != DUCKDB_TYPE_UHUGEINT || *ret >= 0;
}

bool number_store(const struct numeric *x, void *data, idx_t i, __int128 v)
{
    switch (x->store) {
#define STORE(NAME, T, SIGNED)                                                                               \
    case DUCKDB_TYPE_##NAME:                                                                                 \
        ((T *)data)[i] = (T)v;                                                                               \
        return (SIGNED || v >= 0) && (__int128)(T)v == v;
        TYPES(STORE)
    default:
        return false;
    }
}

static double decimal_as_double(__int128 v, unsigned scale)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    unsigned __int128 u = v < 0 ? -(unsigned __int128)v : (unsigned __int128)v;
    if (!scale)
        return (double)v;
    if (!(u >> 53) && scale < sizeof powers / sizeof *powers)
        return (double)v / powers[scale]; /* both exact, so rounded once */
    char text[64];
    uint64_t ten19 = (uint64_t)decimal_power(19);
    snprintf(text, sizeof text, "%s%" PRIu64 "%019" PRIu64 "e-%u", v < 0 ? "-" : "", (uint64_t)(u / ten19),
             (uint64_t)(u % ten19), scale);
    return strtod(text, NULL);
}

double number_as_double(const struct numeric *x, const void *data, idx_t i)
{
    __int128 v = 0;
    if (x->id == DUCKDB_TYPE_DOUBLE)
        return ((const double *)data)[i];
    if (x->id == DUCKDB_TYPE_FLOAT)
        return (double)((const float *)data)[i];
    if (x->id == DUCKDB_TYPE_UHUGEINT)
        return (double)((const uhugeint *)data)[i];
    return number_load(x, data, i, &v) ? decimal_as_double(v, x->scale) : NAN;
}

/* ---- arguments ---- */

struct operands operands_of(duckdb_data_chunk in, duckdb_vector out)
{
    duckdb_vector a = duckdb_data_chunk_get_vector(in, 0);
    duckdb_vector b = duckdb_data_chunk_get_column_count(in) > 1 ? duckdb_data_chunk_get_vector(in, 1) : NULL;
    return (struct operands){duckdb_vector_get_data(a),
                             b ? duckdb_vector_get_data(b) : NULL,
                             duckdb_vector_get_data(out),
                             duckdb_vector_get_validity(a),
                             b ? duckdb_vector_get_validity(b) : NULL,
                             duckdb_data_chunk_get_size(in)};
}

void operands_nulls(const struct operands *o, duckdb_vector out)
{
    if (!o->va && !o->vb)
        return;
    duckdb_vector_ensure_validity_writable(out);
    uint64_t *valid = duckdb_vector_get_validity(out);
    for (idx_t i = 0; i < o->n; i++) {
        if (!operands_valid(o, i))
            duckdb_validity_set_row_invalid(valid, i);
    }
}

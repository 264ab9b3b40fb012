/*
 * compat_number: arguments of our functions that are numbers of any type: their types, their values in the
 * engine's vectors. Job thread, and the engine's own.
 */
#ifndef QUERN_ENGINES_COMPAT_NUMBER_H
#define QUERN_ENGINES_COMPAT_NUMBER_H

#include "engines/duckdb_int.h"

/* As they lie in the engine's vectors. */
typedef __int128 hugeint __attribute__((aligned(8)));
typedef unsigned __int128 uhugeint __attribute__((aligned(8)));

#define TYPES(X)                                                                                             \
    X(TINYINT, int8_t, 1)                                                                                    \
    X(SMALLINT, int16_t, 1)                                                                                  \
    X(INTEGER, int32_t, 1)                                                                                   \
    X(BIGINT, int64_t, 1)                                                                                    \
    X(HUGEINT, hugeint, 1)                                                                                   \
    X(UTINYINT, uint8_t, 0)                                                                                  \
    X(USMALLINT, uint16_t, 0) X(UINTEGER, uint32_t, 0) X(UBIGINT, uint64_t, 0) X(UHUGEINT, uhugeint, 0)

/* Of an integer, width is the digits that it may have as a decimal. */
struct numeric {
    duckdb_type id, store;
    uint8_t width, scale;
};

struct integer {
    duckdb_type id;
    unsigned bits;
    bool is_signed;
    uint8_t digits;
};
/* NULL: no integer. */
const struct integer *number_integer(duckdb_type id);
/* The smallest type that holds both; HUGEINT, with a check of each value, where there is none. */
duckdb_type number_common(const struct integer *a, const struct integer *b);
struct numeric number_of(duckdb_logical_type type);
/* A new type; x->store is set. */
duckdb_logical_type number_type(struct numeric *x);
bool number_is_real(const struct numeric *x);
bool number_is_one(const struct numeric *x);

/* An exact number's integer; false: more than 127 bits. */
bool number_load(const struct numeric *x, const void *data, idx_t i, __int128 *ret) MUST_USE;
/* False: it does not fit. */
bool number_store(const struct numeric *x, void *data, idx_t i, __int128 v) MUST_USE;
double number_as_double(const struct numeric *x, const void *data, idx_t i);

/* A call's one or two arguments. */
struct operands {
    const void *a, *b;
    void *out;
    uint64_t *va, *vb;
    idx_t n;
};
struct operands operands_of(duckdb_data_chunk in, duckdb_vector out);
/* Neither side is NULL. */
static inline bool operands_valid(const struct operands *o, idx_t i)
{
    return (!o->va || duckdb_validity_row_is_valid(o->va, i)) &&
           (!o->vb || duckdb_validity_row_is_valid(o->vb, i));
}
/* What the C interface leaves to the function: NULL where a side is. */
void operands_nulls(const struct operands *o, duckdb_vector out);

#endif

/*
 * number: text of numbers, independent of the locale; shortest text that reads back as the same value.
 *
 * Every function writes a NUL-terminated text and returns its length. Pure; any thread. C++17 inside
 * (std::to_chars).
 */
#ifndef QUERN_BASE_NUMBER_H
#define QUERN_BASE_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NUMBER_DOUBLE_MAX 32 /* bytes for any text of a double or float, NUL included */
#define NUMBER_INT_MAX    24 /* ... of a 64-bit integer */
#define NUMBER_I128_MAX   48 /* ... of a 128-bit integer or decimal */

/* Shortest of the fixed and the exponent form: "100", "0.1", "1e+16", "-0", "nan", "inf", "-inf". */
size_t number_double(double v, char out[NUMBER_DOUBLE_MAX]);
size_t number_float(float v, char out[NUMBER_DOUBLE_MAX]);

/* As Double.toString of Java 19 and later: "100.0", "1.0E7", "1.0E-5", "NaN", "-Infinity", "4.9E-324". */
size_t number_double_java(double v, char out[NUMBER_DOUBLE_MAX]);
size_t number_float_java(float v, char out[NUMBER_DOUBLE_MAX]);

/* As number_double, a valid JSON number; returns 0 and "" for NaN and infinities, which JSON does not have. */
size_t number_double_json(double v, char out[NUMBER_DOUBLE_MAX]);
size_t number_float_json(float v, char out[NUMBER_DOUBLE_MAX]);

size_t number_u64(uint64_t v, char out[NUMBER_INT_MAX]);
size_t number_i64(int64_t v, char out[NUMBER_INT_MAX]);

/* Exact text of a two's complement 128-bit little-endian integer divided by 10^scale: all `scale` fraction
 * digits are written ("-0.05", "12.00"). Returns 0 and "" when scale is outside 0..38. */
size_t number_i128(const uint8_t le[16], int scale, char out[NUMBER_I128_MAX]);
/* The same for an unsigned one. */
size_t number_u128(const uint8_t le[16], int scale, char out[NUMBER_I128_MAX]);

#ifdef __cplusplus
}
#endif

#endif

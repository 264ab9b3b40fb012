/*
 * compat_decimal: quotient and remainder of decimals of up to 38 digits, exact (the steps between need up to
 * 256 bits). Pure; any thread.
 *
 * A decimal is its unscaled integer; the caller knows the scales.
 */
#ifndef QUERN_ENGINES_COMPAT_DECIMAL_H
#define QUERN_ENGINES_COMPAT_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define DECIMAL_DIGITS 38

/* 10^n, n <= 38. */
unsigned __int128 decimal_power(unsigned n);
/* a * 10^shift / b, half away from zero. b is not 0; -76 <= shift <= 76. False: more than 38 digits. */
bool decimal_divide(__int128 a, __int128 b, int shift, __int128 *ret) MUST_USE;
/* What is left of (a * 10^up_a) by (b * 10^up_b), with the sign of a. b is not 0; up_a, up_b <= 38. False:
 * more than 38 digits, which a remainder has only when both sides have more. */
bool decimal_remainder(__int128 a, unsigned up_a, __int128 b, unsigned up_b, __int128 *ret) MUST_USE;

#endif

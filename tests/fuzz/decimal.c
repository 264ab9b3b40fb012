/* Quotients and remainders of decimals: the same whichever way the sides are written, so the short way (128 bits) and the long one agree; and
 * right where 128 bits are enough to see it. */
#include <stdlib.h>
#include <string.h>

#include "engines/compat_decimal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static __int128 most(void)
{
    return (__int128)decimal_power(DECIMAL_DIGITS) - 1;
}

static __int128 magnitude(__int128 v)
{
    return v < 0 ? -v : v;
}

static void quotient(__int128 a, __int128 b, int shift)
{
    __int128 q = 0, again = 0;
    bool fits = decimal_divide(a, b, shift, &q);
    if (fits && (magnitude(q) > most() || (q > 0 && (a < 0) != (b < 0)) || (q < 0 && (a < 0) == (b < 0))))
        abort();
    if (shift < 76 && magnitude(b) <= most() / 10 &&
        (decimal_divide(a, b * 10, shift + 1, &again) != fits || (fits && again != q)))
        abort();
    if (shift > -76 && magnitude(a) <= most() / 10 &&
        (decimal_divide(a * 10, b, shift - 1, &again) != fits || (fits && again != q)))
        abort();
    if (shift == 0 && fits && magnitude(q) < INT64_MAX && magnitude(b) < INT64_MAX) {
        __int128 off = magnitude(a - q * b); /* at most half of b, and rounded away from zero at the half */
        if (off * 2 > magnitude(b) || (off * 2 == magnitude(b) && magnitude(q * b) < magnitude(a)))
            abort();
    }
}

static void rest(__int128 a, __int128 b, unsigned up_a, unsigned up_b)
{
    __int128 r = 0, again = 0;
    if (decimal_remainder(a, 0, b, 0, &r) && r != a % b)
        abort();
    bool fits = decimal_remainder(a, up_a, b, up_b, &r);
    if (fits && ((r > 0 && a < 0) || (r < 0 && a > 0)))
        abort();
    if (up_a < DECIMAL_DIGITS && magnitude(a) <= most() / 10) {
        fits = decimal_remainder(a, up_a + 1, b, up_b, &r);
        if (decimal_remainder(a * 10, up_a, b, up_b, &again) != fits || (fits && r != again))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    __int128 v[2] = {0, 0};
    int8_t shift = 0;
    if (size < sizeof v + 2)
        return 0;
    memcpy(v, data, sizeof v);
    memcpy(&shift, data + sizeof v, 1);
    unsigned cut = data[sizeof v + 1]; /* fewer digits, so that all lengths come */
    __int128 a = v[0] % (most() + 1), b = v[1] % (most() + 1);
    a /= (__int128)decimal_power(cut % 38);
    b /= (__int128)decimal_power(cut / 7 % 38);
    if (b == 0)
        b = 1;
    quotient(a, b, shift % 77);
    rest(a, b, (unsigned)(shift & 63) % 39, (unsigned)(shift & 31));
    return 0;
}

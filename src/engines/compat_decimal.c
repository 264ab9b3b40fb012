/*
 * compat_decimal: see compat_decimal.h. Most pairs of values stay inside of 128 bits; what does not goes
 * through limbs of 32 bits (Knuth's algorithm D), of which eight are enough: a dividend of more than 256 bits
 * has a quotient of more than 38 digits.
 */
#include "engines/compat_decimal.h"

#include <string.h>

typedef unsigned __int128 u128;

#define LIMBS 8
#define BASE9 1000000000u

/* The lowest limb first; n without leading zeros. One limb more for the shift that dividing begins with. */
struct wide {
    uint32_t v[LIMBS + 1];
    unsigned n;
};

unsigned __int128 decimal_power(unsigned n)
{
    static const uint64_t powers[] = {1,
                                      10,
                                      100,
                                      1000,
                                      10000,
                                      100000,
                                      1000000,
                                      10000000,
                                      100000000,
                                      1000000000,
                                      10000000000,
                                      100000000000,
                                      1000000000000,
                                      10000000000000,
                                      100000000000000,
                                      1000000000000000,
                                      10000000000000000,
                                      100000000000000000,
                                      1000000000000000000,
                                      10000000000000000000u};
    return n < 20 ? powers[n] : (u128)powers[19] * powers[n - 19];
}

static u128 magnitude(__int128 v)
{
    return v < 0 ? -(u128)v : (u128)v;
}

static struct wide widen(u128 v)
{
    struct wide w = {{0}, 0};
    for (; v; v >>= 32)
        w.v[w.n++] = (uint32_t)v;
    return w;
}

static u128 low(const struct wide *w)
{
    u128 v = 0;
    for (unsigned i = w->n < 4 ? w->n : 4; i-- > 0;)
        v = v << 32 | w->v[i];
    return v;
}

/* w *= 10^n; false: more than LIMBS. */
static bool scale_up(struct wide *w, unsigned n)
{
    while (n) {
        uint64_t by = n >= 9 ? BASE9 : (uint64_t)decimal_power(n), carry = 0;
        n -= n >= 9 ? 9 : n;
        for (unsigned i = 0; i < w->n; i++) {
            carry += (uint64_t)w->v[i] * by;
            w->v[i] = (uint32_t)carry;
            carry >>= 32;
        }
        if (carry && w->n == LIMBS)
            return false;
        if (carry)
            w->v[w->n++] = (uint32_t)carry;
    }
    return true;
}

static void trim(struct wide *w)
{
    while (w->n && !w->v[w->n - 1])
        w->n--;
}

static int compare(const struct wide *a, const struct wide *b)
{
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    for (unsigned i = a->n; i-- > 0;) {
        if (a->v[i] != b->v[i])
            return a->v[i] < b->v[i] ? -1 : 1;
    }
    return 0;
}

/* All limbs, also the one beyond n, by bits < 32. */
static void shift_left(struct wide *w, unsigned bits)
{
    uint64_t carry = 0;
    for (unsigned i = 0; i <= w->n && i <= LIMBS; i++) {
        carry |= (uint64_t)w->v[i] << bits;
        w->v[i] = (uint32_t)carry;
        carry >>= 32;
    }
}

static void shift_right(struct wide *w, unsigned bits)
{
    for (unsigned i = 0; i < w->n; i++) {
        uint64_t both = (uint64_t)(i < LIMBS ? w->v[i + 1] : 0) << 32 | w->v[i];
        w->v[i] = (uint32_t)(both >> bits);
    }
    trim(w);
}

/* a -= b * q at limb k; true: it went below zero. */
static bool subtract(struct wide *a, const struct wide *b, uint64_t q, unsigned k)
{
    uint64_t carry = 0;
    int64_t borrow = 0;
    for (unsigned i = 0; i <= b->n; i++) {
        carry += (i < b->n ? b->v[i] : 0) * q;
        int64_t t = (int64_t)a->v[i + k] - (int64_t)(uint32_t)carry + borrow;
        a->v[i + k] = (uint32_t)t;
        borrow = t >> 32;
        carry >>= 32;
    }
    return borrow != 0;
}

static void add_back(struct wide *a, const struct wide *b, unsigned k)
{
    uint64_t carry = 0;
    for (unsigned i = 0; i <= b->n; i++) {
        carry += (uint64_t)a->v[i + k] + (i < b->n ? b->v[i] : 0);
        a->v[i + k] = (uint32_t)carry;
        carry >>= 32;
    }
}

/* Knuth, The Art of Computer Programming 4.3.1, algorithm D. *a becomes the remainder. b is not 0. */
static struct wide divide(struct wide *a, struct wide b)
{
    struct wide q = {{0}, 0};
    if (compare(a, &b) < 0)
        return q;
    unsigned bits = (unsigned)__builtin_clz(b.v[b.n - 1]), n = b.n, m = a->n - n;
    shift_left(a, bits);
    shift_left(&b, bits);
    for (unsigned k = m + 1; k-- > 0;) {
        uint64_t top = (uint64_t)a->v[k + n] << 32 | a->v[k + n - 1], guess = top / b.v[n - 1],
                 rest = top % b.v[n - 1];
        while (guess >> 32 || (n > 1 && guess * b.v[n - 2] > (rest << 32 | a->v[k + n - 2]))) {
            guess--;
            rest += b.v[n - 1];
            if (rest >> 32)
                break;
        }
        if (subtract(a, &b, guess, k)) {
            guess--;
            add_back(a, &b, k);
        }
        q.v[k] = (uint32_t)guess;
    }
    q.n = m + 1;
    trim(&q);
    trim(a);
    shift_right(a, bits);
    return q;
}

/* The integer part is q, and at least half of one is left when `up`. */
static bool rounded(u128 q, bool up, bool minus, __int128 *ret)
{
    q += up;
    if (q >= decimal_power(DECIMAL_DIGITS))
        return false;
    *ret = minus ? -(__int128)q : (__int128)q;
    return true;
}

static bool divide_wide(u128 a, u128 b, int shift, bool minus, __int128 *ret)
{
    struct wide n = widen(a), d = widen(b);
    if (!scale_up(shift > 0 ? &n : &d, (unsigned)(shift > 0 ? shift : -shift)))
        return shift < 0 ? rounded(0, false, minus, ret) : false; /* a divisor that long has nothing left */
    struct wide q = divide(&n, d), half = d;
    if (q.n > 4)
        return false;
    shift_right(&half, 1); /* d / 2, downwards: rest >= d / 2 */
    bool odd = d.v[0] & 1;
    int c = compare(&n, &half);
    return rounded(low(&q), odd ? c > 0 : c >= 0, minus, ret);
}

bool decimal_divide(__int128 a, __int128 b, int shift, __int128 *ret)
{
    bool minus = (a < 0) != (b < 0);
    u128 x = magnitude(a), y = magnitude(b), up;
    if (shift < 0 || shift > DECIMAL_DIGITS || __builtin_mul_overflow(x, decimal_power((unsigned)shift), &up))
        return divide_wide(x, y, shift, minus, ret);
    if (!(up >> 64) && !(y >> 64)) {
        uint64_t n = (uint64_t)up, d = (uint64_t)y, rest = n % d;
        return rounded(n / d, rest >= d - rest, minus, ret);
    }
    u128 rest = up % y;
    return rounded(up / y, rest >= y - rest, minus, ret);
}

bool decimal_remainder(__int128 a, unsigned up_a, __int128 b, unsigned up_b, __int128 *ret)
{
    u128 x = magnitude(a), y = magnitude(b), n, d;
    if (!__builtin_mul_overflow(x, decimal_power(up_a), &n) &&
        !__builtin_mul_overflow(y, decimal_power(up_b), &d)) {
        n = !(n >> 64) && !(d >> 64) ? (uint64_t)n % (uint64_t)d : n % d;
        return rounded(n, false, a < 0, ret);
    }
    struct wide w = widen(x), v = widen(y);
    if (!scale_up(&w, up_a) || !scale_up(&v, up_b))
        return false;
    (void)divide(&w, v);
    return w.n <= 4 && rounded(low(&w), false, a < 0, ret);
}

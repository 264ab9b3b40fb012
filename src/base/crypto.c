/*
 * crypto: see crypto.h. Any thread after crypto_init. The only file that includes sodium.h.
 *
 * Nothing here is invented: keyed BLAKE2b, XChaCha20-Poly1305 (random 24-byte nonces do not collide) and
 * constant-time comparison are libsodium's. crc32c guards stored blocks against rot, not against people.
 */
#include <sodium.h>

#include "base/crypto.h"

#include <string.h>

#include "base/err.h"
#include "base/sys.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

#define NONCE_LEN crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_LEN   crypto_aead_xchacha20poly1305_ietf_ABYTES
_Static_assert(NONCE_LEN + TAG_LEN == 40, "the header promises n + 40 bytes");
_Static_assert(CRYPTO_KEY_LEN == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key length");

int crypto_init(void)
{
    return sodium_init() < 0 ? ERR_INTERNAL : 0;
}

void crypto_digest(const void *p, size_t n, uint8_t out[CRYPTO_HASH_LEN])
{
    (void)crypto_generichash(out, CRYPTO_HASH_LEN, p, n, NULL, 0);
}

void crypto_hash(const uint8_t key[CRYPTO_KEY_LEN], const void *p, size_t n, uint8_t out[CRYPTO_HASH_LEN])
{
    int r = crypto_generichash(out, CRYPTO_HASH_LEN, p, n, key, CRYPTO_KEY_LEN);
    ASSERT(r == 0);
}

void crypto_mark(const uint8_t key[CRYPTO_MARK_KEY_LEN], const void *p, size_t n,
                 uint8_t out[CRYPTO_MARK_LEN])
{
    (void)crypto_shorthash_siphashx24(out, p, n, key);
}

void crypto_sha512(const void *p, size_t n, uint8_t out[CRYPTO_SHA512_LEN])
{
    crypto_hash_sha512(out, p, n);
}

void crypto_hmac_sha256(const void *key, size_t k, const void *p, size_t n, uint8_t out[CRYPTO_SHA256_LEN])
{
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key, k);
    crypto_auth_hmacsha256_update(&state, p, n);
    crypto_auth_hmacsha256_final(&state, out);
}

void crypto_hmac_sha512(const void *key, size_t k, const void *p, size_t n, uint8_t out[CRYPTO_SHA512_LEN])
{
    crypto_auth_hmacsha512_state state;
    crypto_auth_hmacsha512_init(&state, key, k);
    crypto_auth_hmacsha512_update(&state, p, n);
    crypto_auth_hmacsha512_final(&state, out);
}

bool crypto_equal(const void *a, const void *b, size_t n)
{
    return sodium_memcmp(a, b, n) == 0;
}

void crypto_wipe(void *p, size_t n)
{
    sodium_memzero(p, n);
}

void crypto_random_text(char *out, size_t n)
{
    static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint8_t pool[64];
    size_t left = 0;
    for (size_t i = 0; i < n;) {
        if (left == 0) {
            sys_random(pool, sizeof pool);
            left = sizeof pool;
        }
        uint8_t r = pool[--left];
        if (r < 62 * 4) /* 256 is no multiple of 62: the rest would favour some characters */
            out[i++] = base62[r % 62];
    }
    out[n] = 0;
    crypto_wipe(pool, sizeof pool);
}

void crypto_seal(const uint8_t key[CRYPTO_KEY_LEN], const void *p, size_t n, const void *ad, size_t adn,
                 uint8_t *out)
{
    sys_random(out, NONCE_LEN);
    int r = crypto_aead_xchacha20poly1305_ietf_encrypt(out + NONCE_LEN, NULL, p, n, ad, adn, NULL, out, key);
    ASSERT(r == 0);
}

bool crypto_open(const uint8_t key[CRYPTO_KEY_LEN], const uint8_t *sealed, size_t n, const void *ad,
                 size_t adn, uint8_t *out)
{
    return n >= NONCE_LEN + TAG_LEN &&
           crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed + NONCE_LEN, n - NONCE_LEN, ad,
                                                      adn, sealed, key) == 0;
}

bool crypto_base64_decode(const char *s, size_t n, uint8_t *out, size_t cap, size_t *ret_len)
{
    /* Padding is right or absent; in between there is nothing. */
    if (n > 0 && n % 4 == 0 && s[n - 1] == '=')
        n -= s[n - 2] == '=' ? 2 : 1;
    size_t len;
    if (sodium_base642bin(out, cap, s, n, NULL, &len, NULL, sodium_base64_VARIANT_ORIGINAL_NO_PADDING) != 0)
        return false;
    *ret_len = len;
    return true;
}

void crypto_base64_encode(const void *p, size_t n, char *out)
{
    sodium_bin2base64(out, sodium_base64_ENCODED_LEN(n, sodium_base64_VARIANT_ORIGINAL), p, n,
                      sodium_base64_VARIANT_ORIGINAL);
}

/* --- crc32c --- */

#define POLYNOMIAL 0x82F63B78u /* Castagnoli, reflected */

static uint32_t crc_table[8][256];

/* The instruction takes three cycles and can begin in each: three pieces of this length go side by side. */
#define CRC_LANE 1024u

static uint32_t crc_lane[4][256]; /* by byte of a state: what it is CRC_LANE zero bytes later */

static uint32_t crc_times(const uint32_t m[32], uint32_t c)
{
    uint32_t sum = 0;
    for (int i = 0; c; c >>= 1, i++)
        sum ^= c & 1 ? m[i] : 0;
    return sum;
}

static void crc_lane_make(void)
{
    uint32_t m[32],
        twice[32]; /* what becomes of each bit of the state by one zero byte, by two, by four ... */
    for (int i = 0; i < 32; i++)
        m[i] = (1u << i) >> 8 ^ crc_table[0][(1u << i) & 0xFF];
    for (unsigned n = 1; n < CRC_LANE; n *= 2) {
        for (int i = 0; i < 32; i++)
            twice[i] = crc_times(m, m[i]);
        memcpy(m, twice, sizeof m);
    }
    for (int k = 0; k < 4; k++)
        for (uint32_t b = 0; b < 256; b++)
            crc_lane[k][b] = crc_times(m, b << 8 * k);
}

/* Before main, so that no reader ever sees it half made. */
__attribute__((constructor)) static void crc_table_make(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
        crc_table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++)
            crc_table[t][i] = crc_table[t - 1][i] >> 8 ^ crc_table[0][crc_table[t - 1][i] & 0xFF];
    crc_lane_make();
}

uint32_t crypto_crc32c_portable(uint32_t crc, const void *p, size_t n)
{
    const uint8_t *s = p;
    uint32_t c = ~crc;
    for (; n >= 8; n -= 8, s += 8) {
        uint32_t low =
            c ^ ((uint32_t)s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16 | (uint32_t)s[3] << 24);
        c = crc_table[7][low & 0xFF] ^ crc_table[6][low >> 8 & 0xFF] ^ crc_table[5][low >> 16 & 0xFF] ^
            crc_table[4][low >> 24] ^ crc_table[3][s[4]] ^ crc_table[2][s[5]] ^ crc_table[1][s[6]] ^
            crc_table[0][s[7]];
    }
    for (; n > 0; n--)
        c = c >> 8 ^ crc_table[0][(c ^ *s++) & 0xFF];
    return ~c;
}

#if defined(__x86_64__)
static uint32_t crc_skip_lane(uint64_t c)
{
    return crc_lane[0][c & 0xFF] ^ crc_lane[1][c >> 8 & 0xFF] ^ crc_lane[2][c >> 16 & 0xFF] ^
           crc_lane[3][c >> 24 & 0xFF];
}

__attribute__((target("sse4.2"))) static uint32_t crc_hardware(uint32_t crc, const uint8_t *s, size_t n)
{
    uint64_t c = ~crc;
    for (; n >= 3 * CRC_LANE; n -= 3 * CRC_LANE, s += 3 * CRC_LANE) {
        uint64_t c1 = 0, c2 = 0, w, w1, w2;
        for (size_t i = 0; i < CRC_LANE; i += 8) {
            memcpy(&w, s + i, 8);
            memcpy(&w1, s + CRC_LANE + i, 8);
            memcpy(&w2, s + 2 * CRC_LANE + i, 8);
            c = _mm_crc32_u64(c, w);
            c1 = _mm_crc32_u64(c1, w1);
            c2 = _mm_crc32_u64(c2, w2);
        }
        c = crc_skip_lane(crc_skip_lane(c) ^ c1) ^ c2;
    }
    for (; n >= 8; n -= 8, s += 8) {
        uint64_t w;
        memcpy(&w, s, 8);
        c = _mm_crc32_u64(c, w);
    }
    uint32_t c32 = (uint32_t)c;
    for (; n > 0; n--)
        c32 = _mm_crc32_u8(c32, *s++);
    return ~c32;
}
#endif

uint32_t crypto_crc32c(uint32_t crc, const void *p, size_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return crc_hardware(crc, p, n);
#endif
    return crypto_crc32c_portable(crc, p, n);
}

/*
 * crypto: libsodium and crc32c behind one door. Any thread.
 */
#ifndef QUERN_BASE_CRYPTO_H
#define QUERN_BASE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* libsodium exports this name too: ours must not take its place at link time. */
#define crypto_hash quern_crypto_hash

#define CRYPTO_HASH_LEN 32
#define CRYPTO_KEY_LEN  32

int crypto_init(void); /* once, before threads; 0 or ERR_INTERNAL */
/* Keyed BLAKE2b-256: what is stored of a secret. */
/* SipHash-2-4 with 128 bits: a mark of a short text that only this process can make. */
#define CRYPTO_MARK_LEN     16
#define CRYPTO_MARK_KEY_LEN 16
void crypto_mark(const uint8_t key[CRYPTO_MARK_KEY_LEN], const void *p, size_t n,
                 uint8_t out[CRYPTO_MARK_LEN]);
void crypto_hash(const uint8_t key[CRYPTO_KEY_LEN], const void *p, size_t n, uint8_t out[CRYPTO_HASH_LEN]);
/* Plain BLAKE2b-256, as `b2sum -l 256`. */
void crypto_digest(const void *p, size_t n, uint8_t out[CRYPTO_HASH_LEN]);
#define CRYPTO_SHA256_LEN 32
#define CRYPTO_SHA512_LEN 64
void crypto_sha512(const void *p, size_t n, uint8_t out[CRYPTO_SHA512_LEN]);
/* HMAC of a text with a key of any length. */
void crypto_hmac_sha256(const void *key, size_t k, const void *p, size_t n, uint8_t out[CRYPTO_SHA256_LEN]);
void crypto_hmac_sha512(const void *key, size_t k, const void *p, size_t n, uint8_t out[CRYPTO_SHA512_LEN]);
bool crypto_equal(const void *a, const void *b, size_t n); /* constant time */
void crypto_wipe(void *p, size_t n);
/* n base62 characters of fresh randomness + NUL. */
void crypto_random_text(char *out, size_t n);
/* XChaCha20-Poly1305; out holds n + 40 bytes (nonce, ciphertext, tag). ad binds the record it belongs to. */
void crypto_seal(const uint8_t key[CRYPTO_KEY_LEN], const void *p, size_t n, const void *ad, size_t adn,
                 uint8_t *out);
bool crypto_open(const uint8_t key[CRYPTO_KEY_LEN], const uint8_t *sealed, size_t n, const void *ad,
                 size_t adn, uint8_t *out);
bool crypto_base64_decode(const char *s, size_t n, uint8_t *out, size_t cap,
                          size_t *ret_len);                    /* padding optional */
void crypto_base64_encode(const void *p, size_t n, char *out); /* out: 4*((n+2)/3)+1 */

/* CRC-32C (Castagnoli), SSE4.2 when the processor has it. Start with 0; chain by passing the last value. */
uint32_t crypto_crc32c(uint32_t crc, const void *p, size_t n);
/* The same without processor support; in the header for its test. */
uint32_t crypto_crc32c_portable(uint32_t crc, const void *p, size_t n);

#endif

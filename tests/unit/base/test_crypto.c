/* crypto: known vectors, both crc32c ways, sealing that notices every changed bit. */
#include "unit.h"

#include "base/crypto.h"

static void crc_vectors(void **state)
{
    (void)state;
    uint8_t block[32];
    uint32_t (*const ways[])(uint32_t, const void *, size_t) = {crypto_crc32c, crypto_crc32c_portable};
    for (size_t w = 0; w < 2; w++) {
        assert_int_equal(ways[w](0, "", 0), 0);
        assert_int_equal(ways[w](0, "123456789", 9), 0xE3069283);
        memset(block, 0, 32); /* RFC 3720 B.4 */
        assert_int_equal(ways[w](0, block, 32), 0x8A9136AA);
        memset(block, 0xFF, 32);
        assert_int_equal(ways[w](0, block, 32), 0x62A8AB43);
        for (int i = 0; i < 32; i++)
            block[i] = (uint8_t)i;
        assert_int_equal(ways[w](0, block, 32), 0x46DD794E);
        for (int i = 0; i < 32; i++)
            block[i] = (uint8_t)(31 - i);
        assert_int_equal(ways[w](0, block, 32), 0x113FDB5C);
        for (size_t cut = 0; cut <= 32; cut++)
            assert_int_equal(ways[w](ways[w](0, block, cut), block + cut, 32 - cut), 0x113FDB5C);
    }
    static uint8_t data[10000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * i >> 3);
    for (size_t at = 0; at < 16; at++)
        for (size_t n = 0; n < 200; n++)
            assert_int_equal(crypto_crc32c(7, data + at, n), crypto_crc32c_portable(7, data + at, n));
    for (size_t n = 3000; n < sizeof data; n += 31) /* long ones go in three pieces at once */
        assert_int_equal(crypto_crc32c(7, data, n), crypto_crc32c_portable(7, data, n));
}

static void sealing(void **state)
{
    (void)state;
    uint8_t key[CRYPTO_KEY_LEN] = {1, 2, 3}, other[CRYPTO_KEY_LEN] = {1, 2, 4}, sealed[64 + 40],
            again[64 + 40], plain[64];
    char text[64] = "a secret";
    crypto_seal(key, text, sizeof text, "rec", 3, sealed);
    crypto_seal(key, text, sizeof text, "rec", 3, again);
    assert_memory_not_equal(sealed, again, sizeof sealed);
    assert_true(crypto_open(key, sealed, sizeof sealed, "rec", 3, plain));
    assert_memory_equal(plain, text, sizeof text);
    assert_false(crypto_open(other, sealed, sizeof sealed, "rec", 3, plain));
    assert_false(crypto_open(key, sealed, sizeof sealed, "rex", 3, plain));
    assert_false(crypto_open(key, sealed, 39, "rec", 3, plain));
    assert_false(crypto_open(key, sealed, sizeof sealed - 1, "rec", 3, plain));
    for (size_t i = 0; i < sizeof sealed; i++) {
        sealed[i] ^= 0x10;
        assert_false(crypto_open(key, sealed, sizeof sealed, "rec", 3, plain));
        sealed[i] ^= 0x10;
    }
    crypto_seal(key, "", 0, NULL, 0, sealed);
    assert_true(crypto_open(key, sealed, 40, NULL, 0, plain));
}

static void hashes_and_texts(void **state)
{
    (void)state;
    uint8_t key[CRYPTO_KEY_LEN] = {9}, a[CRYPTO_HASH_LEN], b[CRYPTO_HASH_LEN];
    crypto_hash(key, "x", 1, a);
    crypto_hash(key, "x", 1, b);
    assert_true(crypto_equal(a, b, sizeof a));
    key[0] = 8;
    crypto_hash(key, "x", 1, b);
    assert_false(crypto_equal(a, b, sizeof a));
    crypto_wipe(a, sizeof a);
    for (size_t i = 0; i < sizeof a; i++)
        assert_int_equal(a[i], 0);

    int seen[128] = {0};
    for (int i = 0; i < 500; i++) {
        char text[41];
        crypto_random_text(text, 40);
        assert_int_equal(strlen(text), 40);
        for (int k = 0; k < 40; k++)
            seen[(int)text[k]]++;
    }
    int kinds = 0;
    for (int c = 0; c < 128; c++) {
        kinds += seen[c] > 0;
        assert_true(seen[c] < 500); /* about 322 each */
    }
    assert_int_equal(kinds, 62);
}

static void base64(void **state)
{
    (void)state;
    struct {
        const char *plain, *text;
    } rows[] = {{"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
                {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"user:p\xC3\xA4ss", "dXNlcjpww6Rzcw=="}};
    char out[64];
    uint8_t bytes[64];
    size_t n;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = strlen(rows[i].plain);
        crypto_base64_encode(rows[i].plain, len, out);
        assert_string_equal(out, rows[i].text);
        assert_true(crypto_base64_decode(out, strlen(out), bytes, sizeof bytes, &n));
        assert_int_equal(n, len);
        assert_memory_equal(bytes, rows[i].plain, len);
        size_t bare = strcspn(out, "=");
        assert_true(crypto_base64_decode(out, bare, bytes, len, &n));
        assert_int_equal(n, len);
        if (len > 0)
            assert_false(crypto_base64_decode(out, strlen(out), bytes, len - 1, &n));
    }
    const char *bad[] = {"Z",    "Zg=", "Zh==", "Zg==Zg==", "Z g=",    "Zm9v\n",
                         "====", "=",   "Zm9-", "Zg===",    "Zm9v===="};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(crypto_base64_decode(bad[i], strlen(bad[i]), bytes, sizeof bytes, &n));
}

static int start(void **state)
{
    (void)state;
    return crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_vectors),
        cmocka_unit_test(sealing),
        cmocka_unit_test(hashes_and_texts),
        cmocka_unit_test(base64),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}

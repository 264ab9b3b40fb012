/*
 * id: the name of a query. One id, two spellings, a pure two-way mapping (design.md section 7, Ids).
 *
 * Value: creation second (Unix, 40 bits) + 59 random bits. Stored form, 16 bytes, time first so that inserts
 * stay in order; it is also a valid UUID (version nibble 4, RFC variant):
 *   bytes 0-4   second, big endian
 *   byte  5, low nibble of 6, byte 7: 20 check bits, a fixed mix of second and random (so that a random UUID is "not found")
 *   byte  6     high nibble 4
 *   bytes 8-15  binary 10, three zero bits, then 59 random bits
 * UUID spelling: lower case, 8-4-4-4-12 (accepted in any case). For JackDB, Canner, Kylin, Data 360. Kakao
 * spelling: YYYYMMDD-HHMMSS-cccccccccc, the second in KST (UTC+9), then the 59 bits in base 62, ten
 * characters of 0-9A-Za-z, most significant first. An optional prefix "data-query-" is accepted.
 */
#ifndef QUERN_BASE_ID_H
#define QUERN_BASE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ID_UUID_LEN  36
#define ID_KAKAO_LEN 26
#define ID_TEXT_MAX  40

struct qid {
    uint8_t b[16];
};

/* A fresh id for something created at `unix_ms`. */
struct qid id_new(int64_t unix_ms);
/* No id of something created in this second or later sorts before it. */
void id_first(int64_t unix_ms, struct qid *ret);
/* Creation second inside the id. */
int64_t id_second(const struct qid *id);
/* Both spellings; anything else returns false. text need not be NUL-terminated. */
bool id_parse(const char *text, size_t len, struct qid *ret);
/* Writes the NUL-terminated text into out (ID_TEXT_MAX bytes) and returns it. */
char *id_uuid(const struct qid *id, char *out);
char *id_kakao(const struct qid *id, char *out);
static inline bool id_equal(const struct qid *a, const struct qid *b)
{
    return __builtin_memcmp(a->b, b->b, 16) == 0;
}
uint64_t id_hash(const struct qid *id);

#endif

/*
 * compat_text: functions of texts and bytes that the engine lacks: quern_crc32, quern_sha512, quern_hmac_sha256 and
 * ..._sha512 (of text and key), quern_from_base(text, radix), and what a CAST to varchar makes in TRINO of doubles
 * (quern_double_text, quern_real_text: 1.5E0) and of JSON (quern_json_text: the text of a string, NULL of null).
 *
 * Thread as compat_scalar.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/crypto.h"
#include "base/json_read.h"
#include "engines/compat_rows.h"

/* ---- rows ---- */

const char *row_bytes(const void *data, idx_t i, size_t *ret_n)
{
    duckdb_string_t *s = (duckdb_string_t *)(uintptr_t)data + i;
    *ret_n = duckdb_string_t_length(*s);
    return duckdb_string_t_data(s);
}

void row_null(duckdb_vector out, idx_t i)
{
    duckdb_vector_ensure_validity_writable(out);
    duckdb_validity_set_row_invalid(duckdb_vector_get_validity(out), i);
}

const char *row_say(const char *before, const char *text, size_t n, const char *after)
{
    static _Thread_local char said[256];
    snprintf(said, sizeof said, "%s%.*s%s", before, n > 40 ? 40 : (int)n, text, after);
    return said;
}

static void run(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    row_fn *const *row = duckdb_scalar_function_get_extra_info(info);
    struct operands o = operands_of(in, out);
    const char *message = NULL;
    operands_nulls(&o, out);
    for (idx_t i = 0; i < o.n && !message; i++) {
        if (operands_valid(&o, i))
            message = (*row)(&o, i, out);
    }
    if (message)
        duckdb_scalar_function_set_error(info, message);
}

bool rows_install(duckdb_connection c, const struct row_function *functions, size_t n)
{
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++)
        ok = compat_register(c, &(struct compat_function){.name = functions[i].name,
                                                          .a = functions[i].a,
                                                          .b = functions[i].b,
                                                          .result = functions[i].result,
                                                          .extra = &functions[i].row,
                                                          .run = run});
    return ok;
}

/* ---- digests ---- */

static const char *crc(const struct operands *o, idx_t i, duckdb_vector out)
{
    size_t n;
    const char *p = row_bytes(o->a, i, &n);
    (void)out;
    ((int64_t *)o->out)[i] = (int64_t)crc32_z(0, (const unsigned char *)p, n);
    return NULL;
}

static const char *sha512(const struct operands *o, idx_t i, duckdb_vector out)
{
    uint8_t hash[CRYPTO_SHA512_LEN];
    size_t n;
    const char *p = row_bytes(o->a, i, &n);
    crypto_sha512(p, n, hash);
    duckdb_vector_assign_string_element_len(out, i, (const char *)hash, sizeof hash);
    return NULL;
}

static const char *hmac(const struct operands *o, idx_t i, duckdb_vector out,
                        void (*digest)(const void *, size_t, const void *, size_t, uint8_t *), idx_t len)
{
    uint8_t hash[CRYPTO_SHA512_LEN];
    size_t n, k;
    const char *p = row_bytes(o->a, i, &n), *key = row_bytes(o->b, i, &k);
    digest(key, k, p, n, hash);
    duckdb_vector_assign_string_element_len(out, i, (const char *)hash, len);
    return NULL;
}

static const char *hmac_sha256(const struct operands *o, idx_t i, duckdb_vector out)
{
    return hmac(o, i, out, crypto_hmac_sha256, CRYPTO_SHA256_LEN);
}

static const char *hmac_sha512(const struct operands *o, idx_t i, duckdb_vector out)
{
    return hmac(o, i, out, crypto_hmac_sha512, CRYPTO_SHA512_LEN);
}

/* ---- numbers ---- */

static const char *from_base(const struct operands *o, idx_t i, duckdb_vector out)
{
    size_t n;
    const char *p = row_bytes(o->a, i, &n);
    int64_t radix = ((const int64_t *)o->b)[i];
    char text[80], *end = text;
    (void)out;
    if (radix < 2 || radix > 36)
        return "Radix must be between 2 and 36";
    errno = 0;
    if (n && n < sizeof text && (*p == '-' || *p == '+' || ((unsigned char)*p > ' '))) {
        memcpy(text, p, n);
        text[n] = 0;
        ((int64_t *)o->out)[i] = strtoll(text, &end, (int)radix);
    }
    bool prefix = radix == 16 && n > 1 && n < sizeof text && memchr(p, 'x', n);
    return end == text || end != text + n || errno || prefix ? "Not a valid number of that base" : NULL;
}

/* The fewest digits that read as the same number, one before the point. */
static void double_text(double v, bool real, duckdb_vector out, idx_t i)
{
    char text[48];
    if (!isfinite(v) || !(v < 0 || v > 0)) {
        const char *name = isnan(v)    ? "NaN"
                           : !isinf(v) ? (signbit(v) ? "-0E0" : "0E0")
                           : v < 0     ? "-Infinity"
                                       : "Infinity";
        duckdb_vector_assign_string_element(out, i, name);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*e", digits, v);
        if (real ? !(strtof(text, NULL) < (float)v || strtof(text, NULL) > (float)v)
                 : !(strtod(text, NULL) < v || strtod(text, NULL) > v))
            break;
    }
    char *e = strchr(text, 'e'), shown[64];
    snprintf(shown, sizeof shown, "%.*sE%ld", (int)(e - text), text, strtol(e + 1, NULL, 10));
    duckdb_vector_assign_string_element(out, i, shown);
}

static const char *of_double(const struct operands *o, idx_t i, duckdb_vector out)
{
    double_text(((const double *)o->a)[i], false, out, i);
    return NULL;
}

static const char *of_real(const struct operands *o, idx_t i, duckdb_vector out)
{
    double_text((double)((const float *)o->a)[i], true, out, i);
    return NULL;
}

/* ---- JSON ---- */

static const char *of_json(const struct operands *o, idx_t i, duckdb_vector out)
{
    size_t n;
    const char *p = row_bytes(o->a, i, &n);
    while (n && strchr(" \t\r\n", *p)) {
        p++;
        n--;
    }
    if (n && (*p == '[' || *p == '{'))
        return "Cannot cast JSON to varchar: it is an array or an object";
    if (n >= 4 && memcmp(p, "null", 4) == 0) {
        row_null(out, i);
    } else if (n && *p == '"') {
        CLEANUP_JSON struct json_doc *doc = NULL;
        struct err e = {0};
        size_t len;
        const char *text = json_parse(p, n, &doc, &e) == 0 ? json_string(json_root(doc), &len) : NULL;
        if (!text)
            return "Cannot cast JSON to varchar: it is no text";
        duckdb_vector_assign_string_element_len(out, i, text, len);
    } else {
        duckdb_vector_assign_string_element_len(out, i, p, n);
    }
    return NULL;
}

/* ---- the functions ---- */

bool compat_text_install(duckdb_connection c)
{
    static const struct row_function functions[] = {
        {crc, "quern_crc32", DUCKDB_TYPE_BLOB, DUCKDB_TYPE_INVALID, DUCKDB_TYPE_BIGINT},
        {sha512, "quern_sha512", DUCKDB_TYPE_BLOB, DUCKDB_TYPE_INVALID, DUCKDB_TYPE_BLOB},
        {hmac_sha256, "quern_hmac_sha256", DUCKDB_TYPE_BLOB, DUCKDB_TYPE_BLOB, DUCKDB_TYPE_BLOB},
        {hmac_sha512, "quern_hmac_sha512", DUCKDB_TYPE_BLOB, DUCKDB_TYPE_BLOB, DUCKDB_TYPE_BLOB},
        {from_base, "quern_from_base", DUCKDB_TYPE_VARCHAR, DUCKDB_TYPE_BIGINT, DUCKDB_TYPE_BIGINT},
        {of_double, "quern_double_text", DUCKDB_TYPE_DOUBLE, DUCKDB_TYPE_INVALID, DUCKDB_TYPE_VARCHAR},
        {of_real, "quern_real_text", DUCKDB_TYPE_FLOAT, DUCKDB_TYPE_INVALID, DUCKDB_TYPE_VARCHAR},
        {of_json, "quern_json_text", DUCKDB_TYPE_VARCHAR, DUCKDB_TYPE_INVALID, DUCKDB_TYPE_VARCHAR},
    };
    return rows_install(c, functions, sizeof functions / sizeof *functions);
}

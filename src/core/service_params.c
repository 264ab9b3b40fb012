/*
 * service_params: typed parameters as bytes in the query's record.
 *
 * Format (little endian): u32 count, then per parameter u8 is_null, u32 + bytes name, u32 + bytes type, u32 +
 * bytes value. Pure functions.
 */
#include <string.h>

#include "core/service_int.h"

static void put_text(struct buf *b, const char *p, size_t n)
{
    uint32_t len = (uint32_t)n;
    buf_add(b, &len, 4);
    buf_add(b, p, n);
}

int params_encode(const struct wire_param *p, uint32_t n, struct arena *a, const uint8_t **ret,
                  uint32_t *ret_len, struct err *e)
{
    *ret = NULL;
    *ret_len = 0;
    if (n == 0)
        return 0;
    CLEANUP_BUF struct buf b = BUF_INIT(64u << 20);
    buf_add(&b, &n, 4);
    for (uint32_t i = 0; i < n; i++) {
        buf_char(&b, p[i].is_null ? 1 : 0);
        put_text(&b, p[i].name ? p[i].name : "", p[i].name ? strlen(p[i].name) : 0);
        put_text(&b, p[i].type ? p[i].type : "", p[i].type ? strlen(p[i].type) : 0);
        put_text(&b, p[i].value ? p[i].value : "", p[i].value ? p[i].value_len : 0);
    }
    void *copy = buf_failed(&b) ? NULL : arena_alloc(a, b.len);
    if (!copy)
        return err_set(e, ERR_LIMIT, "54000", "the parameters are too large");
    memcpy(copy, b.p, b.len);
    *ret = copy;
    *ret_len = (uint32_t)b.len;
    return 0;
}

struct reader {
    const uint8_t *p, *end;
    bool bad;
};

static uint32_t get_u32(struct reader *r)
{
    uint32_t v = 0;
    if (r->end - r->p < 4)
        r->bad = true;
    else
        memcpy(&v, r->p, 4), r->p += 4;
    return v;
}

static char *get_text(struct reader *r, struct arena *a, uint32_t *ret_n)
{
    uint32_t n = get_u32(r);
    if (r->bad || (size_t)(r->end - r->p) < n) {
        r->bad = true;
        return NULL;
    }
    char *s = arena_strndup(a, (const char *)r->p, n);
    r->p += n;
    if (ret_n)
        *ret_n = n;
    r->bad |= !s;
    return s;
}

int params_decode(const uint8_t *p, uint32_t len, struct arena *a, struct wire_param **ret, uint32_t *ret_n)
{
    *ret = NULL;
    *ret_n = 0;
    if (!p || len == 0)
        return 0;
    struct reader r = {p, p + len, false};
    uint32_t n = get_u32(&r);
    if (r.bad || n > len)
        return ERR_CORRUPT;
    struct wire_param *out = arena_alloc(a, n * sizeof *out);
    if (!out)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < n && !r.bad; i++) {
        if (r.p == r.end)
            return ERR_CORRUPT;
        out[i].is_null = *r.p++ != 0;
        out[i].name = get_text(&r, a, NULL);
        out[i].type = get_text(&r, a, NULL);
        out[i].value = get_text(&r, a, &out[i].value_len);
    }
    if (r.bad || r.p != r.end)
        return ERR_CORRUPT;
    *ret = out;
    *ret_n = n;
    return 0;
}

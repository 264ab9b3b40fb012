/* SQL texts through tokenizer and rewriter: every byte of the result has a place in the text, brackets still
 * match, and a second pass ends too. */
#include "engines/compat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void once(const char *p, size_t n, bool pg, bool again)
{
    struct arena *a = arena_new(256u << 20);
    struct crewrite w;
    if (!a)
        return;
    if (compat_rewrite(a, p, n, pg, &w)) {
        ASSERT(w.out.len <= n * 4 + 65536);
        uint32_t at = 0;
        for (uint32_t i = 0; i < w.nspans; i++) {
            ASSERT(w.spans[i].out_at == at && w.spans[i].n);
            at += w.spans[i].n;
            ASSERT(w.spans[i].in_at <= n && (!w.spans[i].same || w.spans[i].in_at + w.spans[i].n <= n));
            if (w.spans[i].same)
                ASSERT(!memcmp(w.out.p + w.spans[i].out_at, p + w.spans[i].in_at, w.spans[i].n));
        }
        ASSERT(at == w.out.len);
        for (size_t k = 0; k <= w.out.len; k += 1 + w.out.len / 64)
            ASSERT(compat_origin(w.spans, w.nspans, k) <= n);
        struct clex l;
        ASSERT(!w.out.len || compat_lex(a, w.out.p, w.out.len, &l));
        if (again && w.out.len)
            once(w.out.p, w.out.len, pg, false);
        compat_end(&w);
    }
    arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= 65536)
        for (int pg = 0; pg < 2; pg++)
            once((const char *)data, size, pg, true);
    return 0;
}

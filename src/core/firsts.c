/* firsts: see firsts.h. What is remembered are 64 bits of a hash that nobody outside can steer (a keyed one). */
#include "core/firsts.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/sys.h"

#define SETS     4096u
#define WAYS     8u
#define WHAT_MAX 128u

struct set {
    atomic_uint_fast64_t seen[WAYS];
    atomic_uint next;
};

struct firsts {
    uint8_t key[CRYPTO_MARK_KEY_LEN]; /* of this process only */
    struct set sets[SETS];
};

struct firsts *firsts_new(void)
{
    struct firsts *f = calloc(1, sizeof *f);
    if (f)
        sys_random(f->key, sizeof f->key);
    return f;
}

void firsts_free(struct firsts *f)
{
    free(f);
}

bool firsts_is(struct firsts *f, int64_t key, const void *what, size_t n)
{
    uint8_t text[sizeof key + WHAT_MAX], mark[CRYPTO_MARK_LEN];
    n = n < WHAT_MAX ? n : WHAT_MAX;
    memcpy(text, &key, sizeof key);
    memcpy(text + sizeof key, what, n);
    crypto_mark(f->key, text, sizeof key + n, mark);
    uint64_t pair;
    memcpy(&pair, mark, sizeof pair);
    pair |= 1; /* 0 is nothing */
    struct set *s = &f->sets[(pair >> 1) % SETS];
    for (unsigned i = 0; i < WAYS; i++)
        if (atomic_load_explicit(&s->seen[i], memory_order_relaxed) == pair)
            return false;
    unsigned at = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed) % WAYS;
    atomic_store_explicit(&s->seen[at], pair, memory_order_relaxed);
    return true;
}

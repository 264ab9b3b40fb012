/* limiter: see limiter.h. */
#include "core/limiter.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/sys.h"

#define SETS       2048u
#define WAYS       4u
#define WINDOW_NS  60000000000
#define KEY_ID_MAX 64u
#define PEER_MAX   128u

struct slot {
    uint64_t who;
    int64_t since_ns;
    int64_t failures;
}; /* failures 0: free */

struct limiter {
    pthread_mutex_t lock;
    uint8_t key[CRYPTO_KEY_LEN]; /* of this process only */
    struct slot slots[SETS][WAYS];
};

struct limiter *limiter_new(void)
{
    struct limiter *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    pthread_mutex_init(&l->lock, NULL);
    sys_random(l->key, sizeof l->key);
    return l;
}

void limiter_free(struct limiter *l)
{
    if (!l)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static uint64_t who_is(const struct limiter *l, const char *key_id, size_t len, const char *peer)
{
    char text[KEY_ID_MAX + 1 + PEER_MAX];
    uint8_t hash[CRYPTO_HASH_LEN];
    size_t n = len < KEY_ID_MAX ? len : KEY_ID_MAX;
    size_t m = peer ? strnlen(peer, PEER_MAX) : 0;
    if (n > 0)
        memcpy(text, key_id, n);
    text[n++] = 0;
    if (m > 0)
        memcpy(text + n, peer, m);
    crypto_hash(l->key, text, n + m, hash);
    uint64_t v;
    memcpy(&v, hash, sizeof v);
    return v;
}

static bool over(const struct slot *s, int64_t now_ns)
{
    return s->failures == 0 || now_ns - s->since_ns >= WINDOW_NS;
}

/* The entry of `who`, or the one that has to leave for it. Lock held. */
static struct slot *find(struct limiter *l, uint64_t who, int64_t now_ns)
{
    struct slot *set = l->slots[who % SETS], *least = &set[0];
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].failures && set[i].who == who)
            return &set[i];
        bool gone = over(&set[i], now_ns), least_gone = over(least, now_ns);
        if (gone != least_gone ? gone : set[i].failures < least->failures)
            least = &set[i];
    }
    return least;
}

int64_t limiter_failure(struct limiter *l, const char *key_id, size_t key_id_len, const char *peer,
                        int64_t most, int64_t now_ns)
{
    uint64_t who = who_is(l, key_id, key_id_len, peer);
    int64_t wait = 0;
    pthread_mutex_lock(&l->lock);
    struct slot *s = find(l, who, now_ns);
    if (s->who != who || over(s, now_ns))
        *s = (struct slot){who, now_ns, 0};
    s->failures++;
    if (s->failures > most)
        wait = (s->since_ns + WINDOW_NS - now_ns) / 1000000 + 1;
    pthread_mutex_unlock(&l->lock);
    return wait;
}

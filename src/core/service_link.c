/*
 * service_link: marks of links that need no credential. Any thread.
 */
#include "base/sys.h"
#include "core/keyring.h"
#include "core/service_int.h"

/* The installation's key under a label of its own, so that no mark of a link is one of anything else. Without a
 * keyring (only the room's own tests) marks are this process's. */
void service__link_key(struct service *s, const char *data_dir)
{
    static const char label[] = "quern: links to results";
    uint8_t key[CRYPTO_KEY_LEN];
    if (keyring_open(data_dir, false, key, NULL))
        sys_random(key, sizeof key);
    crypto_hash(key, label, sizeof label, s->link_key);
    crypto_wipe(key, sizeof key);
}

void service_link(struct service *s, const char *text, size_t n, char ret_mark[LINK_MARK_LEN + 1])
{
    uint8_t hash[CRYPTO_HASH_LEN];
    char out[4 * ((CRYPTO_HASH_LEN + 2) / 3) + 1];
    crypto_hash(s->link_key, text, n, hash);
    crypto_base64_encode(hash, sizeof hash, out);
    for (size_t i = 0; i < LINK_MARK_LEN; i++)
        ret_mark[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    ret_mark[LINK_MARK_LEN] = 0;
}

bool service_linked(struct service *s, const char *text, size_t n, const char *mark, size_t mark_len)
{
    char right[LINK_MARK_LEN + 1];
    service_link(s, text, n, right);
    return mark_len == LINK_MARK_LEN && crypto_equal(right, mark, LINK_MARK_LEN);
}

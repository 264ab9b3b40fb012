/*
 * service_bucket: may results of this workspace be delivered to this bucket? Asked before a query is accepted.
 *
 * A good answer is remembered for FRESH_NS, so that a busy client costs one look at the bucket, and no worker,
 * every so often; a bucket that fails within that time fails the delivery, with the same words. Bad answers
 * are not remembered. Any thread; `lock` guards the memory.
 */
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "core/service_int.h"
#include "results/bucket.h"

#define FRESH_NS INT64_C(1000000000)
#define SLOTS    64u

struct looked {
    int64_t workspace, at_ns;
    char name[NAME_MAX_LEN + 1];
};

struct bucket_memory {
    pthread_mutex_t lock;
    struct looked slots[SLOTS]; /* direct-mapped, the newer replaces the older */
};

static struct looked *slot_of(struct bucket_memory *m, int64_t workspace, const char *name)
{
    uint32_t h = (uint32_t)workspace * 2654435761u;
    for (const char *p = name; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    return &m->slots[h % SLOTS];
}

bool service_bucket_fresh(struct service *s, const struct identity *who, const char *name)
{
    struct bucket_memory *m = s->buckets;
    if (!name)
        return false;
    pthread_mutex_lock(&m->lock);
    const struct looked *l = slot_of(m, who->workspace, name);
    bool yes =
        l->workspace == who->workspace && strcmp(l->name, name) == 0 && sys_mono_ns() - l->at_ns < FRESH_NS;
    pthread_mutex_unlock(&m->lock);
    return yes;
}

static void remember(struct bucket_memory *m, int64_t workspace, const char *name, int64_t at_ns)
{
    size_t n = strlen(name);
    if (n > NAME_MAX_LEN)
        return;
    pthread_mutex_lock(&m->lock);
    struct looked *l = slot_of(m, workspace, name);
    l->workspace = workspace;
    l->at_ns = at_ns;
    memcpy(l->name, name, n + 1);
    pthread_mutex_unlock(&m->lock);
}

enum bucket_state service_bucket_state(struct service *s, const struct identity *who, const char *name)
{
    if (service_bucket_fresh(s, who, name))
        return BUCKET_OK;
    int64_t now = sys_mono_ns();
    struct arena *a = arena_new(1u << 16);
    const char *url;
    enum bucket_state st = BUCKET_OK;
    int rc = a ? workspace_bucket_url(s->workspaces, who->workspace, name, a, &url, NULL) : ERR_NOMEM;
    if (rc == ERR_NOTFOUND)
        st = BUCKET_UNKNOWN;
    else if (rc || (rc = bucket_writable(url, NULL)))
        st = rc == ERR_DENIED ? BUCKET_NOT_WRITABLE : BUCKET_UNREACHABLE;
    else if (name)
        remember(s->buckets, who->workspace, name, now);
    arena_free(a);
    return st;
}

int service__buckets_open(struct service *s, struct err *e)
{
    s->buckets = calloc(1, sizeof *s->buckets);
    if (!s->buckets)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    pthread_mutex_init(&s->buckets->lock, NULL);
    return 0;
}

void service__buckets_close(struct service *s)
{
    if (s->buckets)
        pthread_mutex_destroy(&s->buckets->lock);
    free(s->buckets);
    s->buckets = NULL;
}

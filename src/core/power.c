/*
 * power: when a workspace's engine was last used, and last woken. Kept in memory; 0 after a restart.
 *
 * Invariant: entries are sorted by workspace, one each. Threads: any; guarded by p->lock, which is taken alone.
 */
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "core/service_int.h"

struct entry {
    int64_t workspace, used_ms, woken_ms;
};

struct power {
    pthread_mutex_t lock;
    struct entry *entries;
    size_t n, cap;
};

int power_open(struct power **ret, struct err *e)
{
    struct power *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    pthread_mutex_init(&p->lock, NULL);
    *ret = p;
    return 0;
}

void power_close(struct power *p)
{
    if (!p)
        return;
    pthread_mutex_destroy(&p->lock);
    free(p->entries);
    free(p);
}

/* Lock held. Made when it is not there; NULL: out of memory. */
static struct entry *entry_of(struct power *p, int64_t workspace)
{
    size_t low = 0, high = p->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (p->entries[mid].workspace < workspace)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < p->n && p->entries[low].workspace == workspace)
        return &p->entries[low];
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 16;
        struct entry *more = realloc(p->entries, cap * sizeof *more);
        if (!more)
            return NULL;
        p->entries = more;
        p->cap = cap;
    }
    memmove(&p->entries[low + 1], &p->entries[low], (p->n - low) * sizeof *p->entries);
    p->n++;
    p->entries[low] = (struct entry){.workspace = workspace};
    return &p->entries[low];
}

static void later(int64_t *ms, int64_t at)
{
    if (at > *ms)
        *ms = at;
}

void power_note(struct power *p, int64_t workspace, int64_t used_ms, int64_t woken_ms)
{
    pthread_mutex_lock(&p->lock);
    struct entry *x = entry_of(p, workspace); /* without memory it is only a time that is too old */
    if (x) {
        later(&x->used_ms, used_ms);
        later(&x->woken_ms, woken_ms);
    }
    pthread_mutex_unlock(&p->lock);
}

void power_look(struct power *p, int64_t workspace, int64_t *ret_used_ms, int64_t *ret_woken_ms)
{
    pthread_mutex_lock(&p->lock);
    const struct entry *known = entry_of(p, workspace);
    *ret_used_ms = known ? known->used_ms : 0;
    *ret_woken_ms = known ? known->woken_ms : 0;
    pthread_mutex_unlock(&p->lock);
}

void power_used(struct power *p, int64_t workspace)
{
    power_note(p, workspace, sys_wall_ms(), 0);
}

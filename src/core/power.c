/*
 * power: whether a workspace's engine is on, and when it was last used (service.h: service_engine).
 *
 * Off is an order that the registry keeps (workspace.stopped): the scheduler gives such a workspace no slot, so
 * its queries stay QUEUED. At rest follows from time alone: engine.idle after its last use a workspace has no
 * engine process left (pool_tick), and the next query starts one. When it was used is kept in memory; after a
 * restart it is the instant of the newest query. Invariant: entries are sorted by workspace, one each. Threads:
 * any; guarded by p->lock, which is taken alone.
 */
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/sys.h"
#include "core/audit.h"
#include "core/observe.h"
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

static void note(struct power *p, int64_t workspace, int64_t used_ms, int64_t woken_ms)
{
    pthread_mutex_lock(&p->lock);
    struct entry *x = entry_of(p, workspace); /* without memory it is only a time that is too old */
    if (x) {
        later(&x->used_ms, used_ms);
        later(&x->woken_ms, woken_ms);
    }
    pthread_mutex_unlock(&p->lock);
}

void power_used(struct power *p, int64_t workspace)
{
    note(p, workspace, sys_wall_ms(), 0);
}

int service_engine(struct service *s, const struct identity *who, struct engine_use *ret, struct err *e)
{
    struct power *p = s->power;
    struct entry x = {0};
    pthread_mutex_lock(&p->lock);
    struct entry *known = entry_of(p, who->workspace);
    if (known)
        x = *known;
    pthread_mutex_unlock(&p->lock);
    if (!x.used_ms) { /* not since the start */
        int rc = registry_newest(s->registry, who->workspace, &x.used_ms, e);
        if (rc)
            return rc;
        if (!x.used_ms)
            x.used_ms = workspace_created_ms(s->workspaces, who->workspace);
        note(p, who->workspace, x.used_ms, 0);
    }
    int64_t now = sys_wall_ms(), idle = config.engine_idle;
    int64_t from = x.used_ms > x.woken_ms ? x.used_ms : x.woken_ms;
    ret->on = !workspace_stopped(s->workspaces, who->workspace);
    ret->awake = ret->on && (now - from < idle || scheduler_busy(s->scheduler, who->workspace));
    ret->last_used_ms = x.used_ms;
    ret->idle_ms = idle;
    return 0;
}

/* A process that is ready before the first query asks for it. */
static void wake(struct service *s, int64_t workspace)
{
    struct arena *a = arena_new(1u << 20);
    struct engine_key key;
    if (a && workspace_engine_key(s->workspaces, workspace, false, a, &key, NULL) == 0) {
        key.catalog_path = ""; /* the catalog's file only under its lock (catalog.h) */
        pool_prewarm(s->pool, &key);
    }
    arena_free(a);
    note(s->power, workspace, 0, sys_wall_ms());
}

int service_engine_switch(struct service *s, const struct identity *who, bool on, struct err *e)
{
    if (who->role < ROLE_MEMBER) {
        observe_denied(who, "switch", NULL);
        return err_set(e, ERR_DENIED, "42501", "the key's role is reader: it may not switch the engine");
    }
    bool was = !workspace_stopped(s->workspaces, who->workspace);
    int rc = workspace_stop(s->workspaces, who->workspace, !on, e);
    if (rc)
        return rc;
    if (was != on)
        audit_event("engine_switched", "workspace", who->workspace_name, "user", who->user_name, "key",
                    who->key_id, "state", on ? "on" : "off", NULL);
    if (on)
        wake(s, who->workspace);
    else
        pool_drop_idle(s->pool, who->workspace);
    scheduler_refresh(s->scheduler);
    return 0;
}

/*
 * service_engine: whether a workspace's engine is on, and when it was last used (service.h: service_engine).
 *
 * Off is an order that the registry keeps (workspace.stopped): the scheduler gives such a workspace no slot, so
 * its queries stay QUEUED. At rest follows from time alone: engine.idle after its last use a workspace has no
 * engine process left (pool_tick), and the next query starts one. When it was used is kept in memory (power.c); after a
 * restart it is the instant of the newest query. Any thread that may block.
 */
#include "base/config.h"
#include "base/sys.h"
#include "core/audit.h"
#include "core/observe.h"
#include "core/service_int.h"

int service_engine(struct service *s, const struct identity *who, struct engine_use *ret, struct err *e)
{
    struct power *p = s->power;
    int64_t used, woken;
    power_look(p, who->workspace, &used, &woken);
    if (!used) { /* not since the start */
        int rc = registry_newest(s->registry, who->workspace, &used, e);
        if (rc)
            return rc;
        if (!used)
            used = workspace_created_ms(s->workspaces, who->workspace);
        power_note(p, who->workspace, used, 0);
    }
    int64_t now = sys_wall_ms(), idle = config.engine_idle;
    int64_t from = used > woken ? used : woken;
    ret->on = !workspace_stopped(s->workspaces, who->workspace);
    ret->awake = ret->on && (now - from < idle || scheduler_busy(s->scheduler, who->workspace));
    ret->last_used_ms = used;
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
    power_note(s->power, workspace, 0, sys_wall_ms());
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

/*
 * admin_remove: "workspace remove W". It is out of use in one commit; then what it leaves is erased, by the janitor
 * of a running daemon, else here. Whoever is killed in between leaves that to the next start. Threads: the admin
 * server's, which may block.
 */
#include <string.h>

#include "base/json_write.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/admin_int.h"
#include "core/audit.h"
#include "core/erase.h"
#include "core/service_int.h"

/* How many queries of it wait or run. */
static int count_live(struct admin_context *c, int64_t workspace, uint64_t *ret, struct err *e)
{
    struct registry_list_filter f = {.workspace = workspace,
                                     .states = 1u << QUERY_QUEUED | 1u << QUERY_RUNNING,
                                     .limit = 1,
                                     .by_created = true};
    struct arena *a = arena_new(1u << 20);
    struct qid *ids;
    size_t n;
    registry_sync(c->registry);
    int rc = a ? registry_list(c->registry, &f, a, &ids, &n, ret, e)
               : err_set(e, ERR_NOMEM, "53200", "out of memory");
    arena_free(a);
    return rc;
}

/* False: the daemon stops before it is done. */
static bool wait_erased(const struct admin_context *c)
{
    struct service *s = c->service;
    unsigned mine = atomic_fetch_add(&s->erase_wanted, 1) + 1;
    for (;;) {
        if ((int)(atomic_load(&s->erase_done) - mine) >= 0)
            return true;
        if (c->stopping && atomic_load(c->stopping))
            return false;
        sys_sleep_ms(20);
    }
}

int admin__workspace_remove(struct admin_context *c, const struct admin_args *a, struct buf *json,
                            struct err *e)
{
    int64_t id = 0;
    char uuid[40];
    uint64_t live = 0;
    bool erased = true;
    int rc = workspace_named(c->workspaces, a->name, &id, uuid, e);
    if (!rc)
        rc = count_live(c, id, &live, e);
    if (!rc && live && !a->value[FLAG_FORCE])
        rc = err_set(e, ERR_CONFLICT, "55006",
                     "%llu of its queries wait or run: end them first, or say --force, which cancels them",
                     (unsigned long long)live);
    if (!rc)
        rc = workspace_remove(c->workspaces, id, e);
    if (rc)
        return rc;
    audit_event("workspace_removed", "workspace", a->name, "workspaceId", uuid, "by", "admin", NULL);
    log_event(LOG_INFO, "core", "workspace removed", "workspace", a->name, "workspaceId", uuid, NULL);
    rc = identities_reload(c->identities, e);
    if (!rc)
        rc = source_admin_reload(c->sources, e);
    if (!rc && !c->service)
        rc = erase_here(c->registry, c->data_dir, e);
    if (rc)
        return rc;
    if (c->service) {
        reuse_written(c->service, id);
        erased = wait_erased(c);
    }
    struct json_write j = JSON_WRITE_INIT(json);
    json_object_begin(&j);
    json_kstr(&j, "workspace", a->name);
    json_kstr(&j, "workspaceId", uuid);
    json_kbool(&j, "removed", true);
    json_kbool(&j, "erased", erased);
    json_object_end(&j);
    return buf_failed(json) ? err_set(e, json->why, "54000", "the answer does not fit") : 0;
}

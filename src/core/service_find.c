/*
 * service_find: who sees which query, and how one is found: in the table, else in the registry. See service.h for the
 * threads.
 */
#include "base/config.h"
#include "core/firsts.h"
#include "core/observe.h"
#include "core/service_int.h"

bool service__owns(const struct identity *who, const struct query *q)
{
    return who->role == ROLE_ADMIN || who->user == q->rec.user;
}

static bool visible(const struct identity *who, const struct query *q)
{
    if (q->rec.workspace != who->workspace)
        return false;
    return config.access_queries == 0 || service__owns(who, q);
}

static int not_found(struct err *e)
{
    return err_set(e, ERR_NOTFOUND, "02000", "query not found");
}

int service__load(struct service *s, const struct qid *id, struct query **ret, struct err *e)
{
    struct query *q = query_new(s);
    if (!q)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    int rc = registry_get_query(s->registry, id, q->arena, &q->rec, e);
    if (rc) {
        query_unref(q);
        return rc;
    }
    q->shown = q->rec.state;
    struct result *shown = query_shown_result(q);
    bool bad = q->shown == QUERY_FAILED || q->shown == QUERY_CANCELED;
    q->schema = shown && !bad ? shown->schema : NULL;
    q->exposing = q->rec.exposed;
    q->flags = QF_ACCEPTED;
    if (query_state_ended(q->shown))
        q->flags = QF_ACCEPTED | QF_PLANNED | QF_ROWS | QF_ENDED;
    *ret = q;
    return 0;
}

/* Loads an ended query into the table, unless another thread did meanwhile. */
int service__find_stored(struct service *s, const struct qid *id, struct query **ret, struct err *e)
{
    struct query *q;
    int rc = service__load(s, id, &q, e);
    if (rc)
        return rc == ERR_NOTFOUND ? not_found(e) : rc;
    if (!query_state_ended(
            q->shown)) { /* it ended and left the table between lookup and load, or is being accepted: the table knows */
        query_unref(q);
        q = service__lookup(s, id);
        if (!q)
            return not_found(e);
        *ret = q;
        return 0;
    }
    q = service__table_enter(s, q);
    *ret = q;
    return 0;
}

int service_find_linked(struct service *s, const char *text, size_t len, bool may_block, struct query **ret,
                        struct err *e)
{
    struct qid id;
    if (!id_parse(text, len, &id))
        return not_found(e);
    struct query *q = service__lookup(s, &id);
    if (q) {
        *ret = q;
        return 0;
    }
    return may_block ? service__find_stored(s, &id, ret, e) : ERR_WOULDBLOCK;
}

int service_find(struct service *s, const struct identity *who, const char *text, size_t len, bool may_block,
                 struct query **ret, struct err *e)
{
    struct query *q;
    int rc = service_find_linked(s, text, len, may_block, &q, e);
    if (rc)
        return rc;
    if (!visible(who, q)) {
        observe_denied(who, "see", &q->rec);
        query_unref(q);
        return not_found(e);
    }
    if (who->role == ROLE_ADMIN && who->user != q->rec.user &&
        firsts_is(s->admin_reads, who->key, &q->rec.id, sizeof q->rec.id))
        observe_admin(who, &q->rec);
    *ret = q;
    return 0;
}

/*
 * janitor_forget: a batch of queries loses its results, or leaves the history with them. The janitor's thread.
 */
#include "core/janitor_int.h"
#include "core/observe.h"

struct ids_write {
    struct registry_write w;
    const struct qid *ids;
    size_t n;
    int64_t at_ms;
};

static int apply_expire(struct registry *r, struct registry_write *w, struct err *e)
{
    struct ids_write *iw = (struct ids_write *)(void *)w;
    int rc = 0;
    for (size_t i = 0; i < iw->n && !rc; i++)
        rc = registry_put_gone(r, &iw->ids[i], iw->at_ms, e);
    return rc;
}

static int apply_forget(struct registry *r, struct registry_write *w, struct err *e)
{
    struct ids_write *iw = (struct ids_write *)(void *)w;
    int rc = 0;
    for (size_t i = 0; i < iw->n && !rc; i++)
        rc = registry_delete_query(r, &iw->ids[i], e);
    return rc;
}

/* One transaction for all; when that fails, one for each, so that one record that cannot be changed holds
 * back no other. */
static bool write_ids(struct service *s,
                      int (*apply)(struct registry *, struct registry_write *, struct err *),
                      const struct qid *ids, size_t n, int64_t now)
{
    struct ids_write w = {.w = {.apply = apply}, .ids = ids, .n = n, .at_ms = now};
    if (registry_do(s->registry, &w.w, NULL) == 0)
        return true;
    bool all = true;
    for (size_t i = 0; i < n && n > 1; i++)
        all = write_ids(s, apply, &ids[i], 1, now) && all;
    return all && n > 1;
}

/* The records say gone before a file goes: a reader that comes between finds "expired", never a missing file. */
bool janitor__expire(struct service *s, const struct qid *ids, size_t n, int64_t now)
{
    struct query *list[JANITOR_BATCH];
    bool first[JANITOR_BATCH];
    ASSERT(n <= JANITOR_BATCH);
    for (size_t i = 0; i < n; i++) {
        list[i] = service__lookup(s, &ids[i]);
        if (!list[i] && service__load(s, &ids[i], &list[i], NULL))
            list[i] = NULL;
        if (!list[i])
            continue;
        pthread_mutex_lock(&list[i]->lock);
        first[i] = list[i]->rec.gone_ms == 0;
        if (first[i])
            list[i]->rec.gone_ms = now;
        pthread_mutex_unlock(&list[i]->lock);
    }
    bool ok = write_ids(s, apply_expire, ids, n, now);
    for (size_t i = 0; i < n; i++) {
        if (list[i] && ok)
            service__drop_result(s, list[i]);
        if (list[i] && ok && first[i])
            observe_retention(&ids[i], list[i]->rec.workspace_name, "result");
        query_unref(list[i]);
    }
    return ok;
}

bool janitor__forget(struct service *s, const struct qid *ids, size_t n, int64_t now)
{
    if (!janitor__expire(s, ids, n, now) || !write_ids(s, apply_forget, ids, n, now))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct query *q = service__lookup(s, &ids[i]); /* who has it goes on with it, nobody else finds it */
        if (q)
            service__table_remove(s, q);
        query_unref(q);
        observe_retention(&ids[i], NULL, "history");
    }
    return true;
}

/*
 * saved: see saved.h. Who may do what with saved SQL, its limits, and its rows through the registry. Worker
 * threads.
 */
#include "core/saved.h"

#include <string.h>

#include "base/config.h"
#include "base/sys.h"
#include "core/observe.h"
#include "core/service_int.h"

struct saved_write {
    struct registry_write w;
    struct saved_row row;
    struct qid id, query;
};

static int apply_put(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_put_saved(r, &((struct saved_write *)(void *)w)->row, config.saved_per_workspace, e);
}

static int apply_ran(struct registry *r, struct registry_write *w, struct err *e)
{
    const struct saved_write *x = (const struct saved_write *)(void *)w;
    return registry_put_saved_ran(r, &x->id, &x->query, e);
}

int saved_put(struct service *s, const struct identity *who, struct saved_sql *in, struct err *e)
{
    if (who->role < ROLE_MEMBER) {
        observe_denied(who, "save", NULL);
        return err_set(e, ERR_DENIED, "42501", "the key's role is reader: it may not save SQL");
    }
    if (in->sql_len == 0 || memchr(in->sql, 0, in->sql_len))
        return err_set(e, ERR_INVALID, "42601", "the SQL text is empty or contains a NUL character");
    if (in->sql_len > (size_t)config.saved_max_sql)
        return err_set(e, ERR_INVALID, "54000", "sql is longer than %lld bytes (saved.max_sql)",
                       (long long)config.saved_max_sql);
    if (!disk_ok(s->disk, e))
        return ERR_UNAVAILABLE;
    in->created_ms = sys_wall_ms();
    in->id = id_new(in->created_ms);
    in->user_name = who->user_name;
    struct saved_write w = {.w = {.apply = apply_put},
                            .row = {.id = in->id,
                                    .workspace = who->workspace,
                                    .user = who->user,
                                    .title = in->title,
                                    .description = in->description,
                                    .sql = in->sql,
                                    .sql_len = in->sql_len,
                                    .created_ms = in->created_ms}};
    return registry_do(s->registry, &w.w, e);
}

static struct saved_sql shown(const struct saved_row *row)
{
    return (struct saved_sql){.id = row->id,
                              .user_name = row->user_name,
                              .title = row->title,
                              .description = row->description,
                              .sql = row->sql,
                              .sql_len = row->sql_len,
                              .created_ms = row->created_ms,
                              .ran = row->ran,
                              .last = row->last};
}

int saved_find(struct service *s, const struct identity *who, const char *text, size_t len, struct arena *a,
               struct saved_sql *ret, struct err *e)
{
    struct qid id;
    struct saved_row row;
    int rc = id_parse(text, len, &id) ? registry_get_saved(s->registry, &id, a, &row, e) : ERR_NOTFOUND;
    if (!rc && row.workspace != who->workspace) {
        observe_denied(who, "see", NULL);
        rc = ERR_NOTFOUND;
    }
    if (rc == ERR_NOTFOUND)
        return err_set(e, ERR_NOTFOUND, "02000", "saved SQL not found");
    if (!rc)
        *ret = shown(&row);
    return rc;
}

int saved_ran(struct service *s, const struct qid *id, struct query *q, struct err *e)
{
    struct saved_write w = {.w = {.apply = apply_ran}, .id = *id, .query = *query_id(q)};
    return registry_do(s->registry, &w.w, e);
}

struct each {
    bool (*fn)(void *arg, const struct saved_sql *x);
    void *arg;
};

static bool one(void *arg, const struct saved_row *row)
{
    const struct each *each = arg;
    struct saved_sql x = shown(row);
    return each->fn(each->arg, &x);
}

int saved_each(struct service *s, const struct identity *who, const struct saved_sql *after, uint64_t offset,
               bool (*fn)(void *arg, const struct saved_sql *x), void *arg, bool *ret_end, struct err *e)
{
    struct saved_row from = {0};
    if (after) {
        from.id = after->id;
        from.created_ms = after->created_ms;
    }
    return registry_each_saved(s->registry, who->workspace, after ? &from : NULL, offset, one,
                               &(struct each){fn, arg}, ret_end, e);
}

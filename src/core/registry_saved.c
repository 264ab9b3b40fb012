/*
 * registry_saved: the rows of saved SQL, as they are. What they mean is saved.c's.
 *
 * Invariants: saved_count says how many a workspace has (kept by a trigger); last_query names a query that was
 * recorded when it was set, and may have left the history since. Threads: registry_put_* on the writer thread,
 * the rest on any thread that may block.
 */
#include "core/registry.h"

#include <sqlite3.h>
#include <string.h>

#include "core/registry_int.h"

/* ---- writing ---- */

int registry_put_saved(struct registry *r, const struct saved_row *s, int64_t most, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_SAVED_COUNT, e);
    if (!st)
        return registry__failed(e);
    sqlite3_bind_int64(st, 1, s->workspace);
    int rc = registry__row(&r->writer, st, e);
    if (rc < 0)
        return rc;
    int64_t n = rc ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    if (n >= most)
        return err_set(e, ERR_LIMIT, "53400",
                       "the workspace has %lld saved SQL statements already (saved.per_workspace)",
                       (long long)n);
    st = registry__stmt(&r->writer, REG_SAVED_PUT, e);
    if (!st)
        return registry__failed(e);
    registry__bind_id(st, 1, &s->id);
    sqlite3_bind_int64(st, 2, s->workspace);
    sqlite3_bind_int64(st, 3, s->user);
    registry__bind_text(st, 4, s->title);
    registry__bind_text(st, 5, s->description);
    sqlite3_bind_text64(st, 6, s->sql, s->sql_len, SQLITE_STATIC, SQLITE_UTF8);
    sqlite3_bind_int64(st, 7, s->created_ms);
    return registry__run(&r->writer, st, NULL, e);
}

int registry_put_saved_ran(struct registry *r, const struct qid *id, const struct qid *query, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_SAVED_RAN, e);
    if (!st)
        return registry__failed(e);
    registry__bind_id(st, 1, id);
    registry__bind_id(st, 2, query);
    return registry__run(&r->writer, st, NULL, e);
}

/* ---- reading ---- */

/* Texts are borrowed from the statement. */
static int take(struct sqlite3_stmt *st, struct saved_row *s, struct err *e)
{
    const void *id = sqlite3_column_blob(st, 0);
    if (!id || sqlite3_column_bytes(st, 0) != (int)sizeof s->id.b)
        return err_set(e, ERR_CORRUPT, "XX001", "the record of a saved SQL statement is damaged");
    memset(s, 0, sizeof *s);
    memcpy(s->id.b, id, sizeof s->id.b);
    s->workspace = sqlite3_column_int64(st, 1);
    s->user = sqlite3_column_int64(st, 2);
    s->user_name = (const char *)sqlite3_column_text(st, 3);
    s->title = (const char *)sqlite3_column_text(st, 4);
    s->description = (const char *)sqlite3_column_text(st, 5);
    s->sql = (const char *)sqlite3_column_text(st, 6);
    s->sql_len = (size_t)sqlite3_column_bytes(st, 6);
    s->created_ms = sqlite3_column_int64(st, 7);
    const void *last = sqlite3_column_blob(st, 8);
    s->ran = last && sqlite3_column_bytes(st, 8) == (int)sizeof s->last.b;
    if (s->ran)
        memcpy(s->last.b, last, sizeof s->last.b);
    return s->user_name && s->title && s->sql
               ? 0
               : err_set(e, ERR_NOMEM, "53200", "out of memory in the registry");
}

static int keep(struct arena *a, struct saved_row *s, struct err *e)
{
    s->user_name = arena_strdup(a, s->user_name);
    s->title = arena_strdup(a, s->title);
    bool described = s->description != NULL;
    s->description = described ? arena_strdup(a, s->description) : NULL;
    s->sql = arena_strndup(a, s->sql, s->sql_len);
    return s->user_name && s->title && s->sql && (!described || s->description)
               ? 0
               : err_set(e, ERR_NOMEM, "53200", "out of memory in the registry");
}

int registry_get_saved(struct registry *r, const struct qid *id, struct arena *a, struct saved_row *ret,
                       struct err *e)
{
    struct reg_conn *c;
    struct saved_row s;
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = registry__stmt(c, REG_SAVED_GET, e);
    rc = st ? 0 : registry__failed(e);
    if (!rc) {
        registry__bind_id(st, 1, id);
        rc = registry__row(c, st, e);
        rc = rc < 0    ? rc
             : rc == 0 ? err_set(e, ERR_NOTFOUND, "02000", "saved SQL not found")
                       : take(st, &s, e);
    }
    if (!rc)
        rc = keep(a, &s, e);
    if (st)
        sqlite3_reset(st);
    registry__reader_back(r, c);
    if (!rc)
        *ret = s;
    return rc;
}

int registry_each_saved(struct registry *r, int64_t workspace, const struct saved_row *after, uint64_t offset,
                        bool (*fn)(void *arg, const struct saved_row *s), void *arg, bool *ret_end,
                        struct err *e)
{
    static const struct qid first; /* below INT64_MAX everything is */
    struct reg_conn *c;
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = registry__stmt(c, REG_SAVED_EACH, e);
    rc = st ? 0 : registry__failed(e);
    bool end = false;
    if (!rc) {
        sqlite3_bind_int64(st, 1, workspace);
        sqlite3_bind_int64(st, 2, after ? after->created_ms : INT64_MAX);
        registry__bind_id(st, 3, after ? &after->id : &first);
        sqlite3_bind_int64(st, 4, -1);
        sqlite3_bind_int64(st, 5, offset > INT64_MAX ? INT64_MAX : (int64_t)offset);
    }
    for (bool go = true; !rc && go && !end;) {
        struct saved_row s;
        rc = registry__row(c, st, e);
        end = rc == 0;
        if (rc <= 0)
            break;
        rc = take(st, &s, e);
        if (!rc)
            go = fn(arg, &s);
    }
    if (st)
        sqlite3_reset(st);
    registry__reader_back(r, c);
    if (!rc)
        *ret_end = end;
    return rc;
}

int registry_newest(struct registry *r, int64_t workspace, int64_t *ret_ms, struct err *e)
{
    struct reg_conn *c;
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = registry__stmt(c, REG_NEWEST, e);
    rc = st ? 0 : registry__failed(e);
    if (!rc) {
        sqlite3_bind_int64(st, 1, workspace);
        rc = registry__row(c, st, e);
        if (rc >= 0)
            *ret_ms = rc ? sqlite3_column_int64(st, 0) : 0;
        rc = rc < 0 ? rc : 0;
    }
    if (st)
        sqlite3_reset(st);
    registry__reader_back(r, c);
    return rc;
}

/*
 * registry_remove: a workspace goes. Its row stays, so that its number never means another one; see
 * registry_schema.c. Threads: registry_remove_workspace and registry_put_erased on the writer thread, the others on
 * any that may block.
 */
#include <sqlite3.h>
#include <string.h>

#include "core/registry_int.h"

static int run(struct registry *r, enum reg_stmt id, int64_t workspace, int *ret_changes, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, id, e);
    if (!st)
        return registry__failed(e);
    sqlite3_bind_int64(st, 1, workspace);
    return registry__run(&r->writer, st, ret_changes, e);
}

int registry_remove_workspace(struct registry *r, int64_t workspace, struct err *e)
{
    int changes = 0, rc = run(r, REG_REMOVE_NAME, workspace, &changes, e);
    if (!rc && changes == 0)
        rc = err_set(e, ERR_NOTFOUND, "02000", "there is no such workspace");
    for (enum reg_stmt id = REG_REMOVE_KEYS; id <= REG_REMOVE_IDEMPOTENCY && !rc; id++)
        rc = run(r, id, workspace, NULL, e);
    return rc;
}

int registry_put_erased(struct registry *r, int64_t workspace, struct err *e)
{
    int rc = run(r, REG_ERASED_COUNTS, workspace, NULL, e);
    return rc ? rc : run(r, REG_ERASED, workspace, NULL, e);
}

int registry_erasable(struct registry *r, int64_t *ret_workspace, char ret_uuid[ID_TEXT_MAX], struct err *e)
{
    struct reg_conn *c;
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = registry__stmt(c, REG_ERASABLE, e);
    rc = st ? registry__row(c, st, e) : registry__failed(e);
    if (rc > 0) {
        const char *uuid = (const char *)sqlite3_column_text(st, 1);
        *ret_workspace = sqlite3_column_int64(st, 0);
        ret_uuid[0] = 0;
        if (uuid)
            strncat(ret_uuid, uuid, ID_TEXT_MAX - 1);
    }
    if (st)
        sqlite3_reset(st);
    registry__reader_back(r, c);
    return rc > 0 ? 0 : rc < 0 ? rc : err_set(e, ERR_NOTFOUND, "02000", "nothing is to be erased");
}

int registry_erasable_queries(struct registry *r, int64_t workspace, uint32_t n, struct arena *a,
                              struct qid **ret_ids, size_t *ret_n, struct err *e)
{
    struct reg_conn *c;
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = registry__stmt(c, REG_ERASABLE_QUERIES, e);
    if (st) {
        sqlite3_bind_int64(st, 1, workspace);
        sqlite3_bind_int64(st, 2, n);
    }
    rc = st ? registry__collect(c, st, a, ret_ids, ret_n, e) : registry__failed(e);
    registry__reader_back(r, c);
    return rc;
}

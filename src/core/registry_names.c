/*
 * registry_names: the rows of workspaces, users, keys, buckets and datasets, as they are. What they mean is
 * identity.c's and workspace.c's.
 *
 * Invariants: a workspace's epoch moves in the same transaction as every change of what its engines may see
 * or deliver to; at most one bucket of a workspace is its default; a key row holds a hash, never a secret.
 * Threads: registry_put_* and registry_delete_* on the writer thread, registry_each_* on any thread that may
 * block.
 */
#include "core/registry.h"

#include <sqlite3.h>
#include <string.h>

#include "base/sys.h"
#include "core/registry_int.h"

/* ---- writing ---- */

/* *ret_id is the row with that name, 0 when there is none. */
static int find_name(struct registry *r, enum reg_stmt find, const char *name, int64_t *ret_id, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, find, e);
    if (!st)
        return registry__failed(e);
    registry__bind_text(st, 1, name);
    int rc = registry__row(&r->writer, st, e);
    if (rc < 0)
        return rc;
    *ret_id = rc ? sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    return 0;
}

int registry_put_workspace(struct registry *r, const char *name, int64_t *ret_id, struct err *e)
{
    int64_t id = 0;
    int rc = find_name(r, REG_WORKSPACE_FIND, name, &id, e);
    if (!rc && id == 0) {
        struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_WORKSPACE_PUT, e);
        if (!st)
            return registry__failed(e);
        int64_t now = sys_wall_ms();
        struct qid uuid = id_new(now);
        char text[ID_TEXT_MAX];
        registry__bind_text(st, 1, name);
        registry__bind_text(st, 2, id_uuid(&uuid, text));
        sqlite3_bind_int64(st, 3, now);
        rc = registry__run(&r->writer, st, NULL, e);
        id = sqlite3_last_insert_rowid(r->writer.db);
    }
    if (!rc)
        *ret_id = id;
    return rc;
}

int registry_put_stopped(struct registry *r, int64_t workspace, bool stopped, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_WORKSPACE_STOP, e);
    if (!st)
        return registry__failed(e);
    sqlite3_bind_int64(st, 1, workspace);
    sqlite3_bind_int(st, 2, stopped);
    return registry__run(&r->writer, st, NULL, e);
}

int registry_put_user(struct registry *r, const char *name, int64_t *ret_id, struct err *e)
{
    int64_t id = 0;
    int rc = find_name(r, REG_USER_FIND, name, &id, e);
    if (!rc && id == 0) {
        struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_USER_PUT, e);
        if (!st)
            return registry__failed(e);
        registry__bind_text(st, 1, name);
        sqlite3_bind_int64(st, 2, sys_wall_ms());
        rc = registry__run(&r->writer, st, NULL, e);
        id = sqlite3_last_insert_rowid(r->writer.db);
    }
    if (!rc)
        *ret_id = id;
    return rc;
}

int registry_put_key(struct registry *r, const struct key_row *k, int64_t *ret_id, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_KEY_PUT, e);
    if (!st)
        return registry__failed(e);
    registry__bind_text(st, 1, k->key_id);
    sqlite3_bind_int64(st, 2, k->workspace);
    sqlite3_bind_int64(st, 3, k->user);
    sqlite3_bind_int64(st, 4, k->role);
    sqlite3_bind_blob(st, 5, k->hash, sizeof k->hash, SQLITE_STATIC);
    sqlite3_bind_int64(st, 6, k->created_ms);
    sqlite3_bind_int64(st, 7, k->expires_ms);
    int rc = registry__run(&r->writer, st, NULL, e);
    if (rc)
        return rc;
    *ret_id = sqlite3_last_insert_rowid(r->writer.db);
    return 0;
}

int registry_put_key_revoked(struct registry *r, const char *key_id, int64_t now_ms, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_KEY_REVOKE, e);
    if (!st)
        return registry__failed(e);
    registry__bind_text(st, 1, key_id);
    sqlite3_bind_int64(st, 2, now_ms);
    int changes = 0;
    int rc = registry__run(&r->writer, st, &changes, e);
    if (!rc && changes == 0)
        rc = err_set(e, ERR_NOTFOUND, "02000", "there is no active key of that id");
    return rc;
}

int registry_put_key_expires(struct registry *r, const char *key_id, int64_t expires_ms, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_KEY_EXPIRES, e);
    if (!st)
        return registry__failed(e);
    registry__bind_text(st, 1, key_id);
    sqlite3_bind_int64(st, 2, expires_ms);
    int changes = 0;
    int rc = registry__run(&r->writer, st, &changes, e);
    if (!rc && changes == 0)
        rc = err_set(e, ERR_NOTFOUND, "02000", "there is no active key of that id");
    return rc;
}

static int move_epoch(struct registry *r, int64_t workspace, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_WORKSPACE_EPOCH, e);
    if (!st)
        return registry__failed(e);
    sqlite3_bind_int64(st, 1, workspace);
    int changes = 0;
    int rc = registry__run(&r->writer, st, &changes, e);
    if (!rc && changes == 0)
        rc = err_set(e, ERR_NOTFOUND, "02000", "there is no such workspace");
    return rc;
}

int registry_put_bucket(struct registry *r, const struct bucket_row *b, struct err *e)
{
    struct sqlite3_stmt *st;
    int rc = move_epoch(r, b->workspace, e);
    if (!rc && b->is_default) {
        st = registry__stmt(&r->writer, REG_BUCKET_UNDEFAULT, e);
        if (!st)
            return registry__failed(e);
        sqlite3_bind_int64(st, 1, b->workspace);
        rc = registry__run(&r->writer, st, NULL, e);
    }
    if (rc)
        return rc;
    st = registry__stmt(&r->writer, REG_BUCKET_PUT, e);
    if (!st)
        return registry__failed(e);
    sqlite3_bind_int64(st, 1, b->workspace);
    registry__bind_text(st, 2, b->name);
    registry__bind_text(st, 3, b->url);
    sqlite3_bind_int(st, 4, b->read_only);
    sqlite3_bind_int(st, 5, b->is_default);
    sqlite3_bind_int64(st, 6, b->created_ms);
    rc = registry__run(&r->writer, st, NULL, e);
    if (rc == ERR_CONFLICT)
        return err_set(e, ERR_CONFLICT, "42710", "the bucket \"%.255s\" exists already", b->name);
    return rc;
}

int registry_put_dataset(struct registry *r, const struct dataset_row *d, struct err *e)
{
    int rc = move_epoch(r, d->workspace, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_DATASET_PUT, e);
    if (!st)
        return registry__failed(e);
    sqlite3_bind_int64(st, 1, d->workspace);
    registry__bind_text(st, 2, d->name);
    registry__bind_text(st, 3, d->path);
    registry__bind_text(st, 4, d->format);
    sqlite3_bind_int(st, 5, d->folder);
    sqlite3_bind_int64(st, 6, d->created_ms);
    rc = registry__run(&r->writer, st, NULL, e);
    if (rc == ERR_CONFLICT)
        return err_set(e, ERR_CONFLICT, "42P07", "the dataset \"%.255s\" exists already", d->name);
    return rc;
}

int registry_delete_dataset(struct registry *r, int64_t workspace, const char *name, struct err *e)
{
    int rc = move_epoch(r, workspace, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_DATASET_DELETE, e);
    if (!st)
        return registry__failed(e);
    sqlite3_bind_int64(st, 1, workspace);
    registry__bind_text(st, 2, name);
    int changes = 0;
    rc = registry__run(&r->writer, st, &changes, e);
    if (!rc && changes == 0)
        rc = err_set(e, ERR_NOTFOUND, "42P01", "there is no dataset \"%.255s\"", name);
    return rc;
}

int registry_put_limit(struct registry *r, int64_t workspace, const char *key, int64_t value, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, value ? REG_LIMIT_PUT : REG_LIMIT_DELETE, e);
    if (!st)
        return registry__failed(e);
    sqlite3_bind_int64(st, 1, workspace);
    registry__bind_text(st, 2, key);
    if (value)
        sqlite3_bind_int64(st, 3, value);
    return registry__run(&r->writer, st, NULL, e);
}

/* ---- reading ---- */

static const char *text(struct sqlite3_stmt *st, int at)
{
    const char *s = (const char *)sqlite3_column_text(st, at);
    return s ? s : "";
}

int registry__each(struct registry *r, enum reg_stmt id,
                   int (*row)(struct sqlite3_stmt *st, void *box, struct err *e), void *box, struct err *e)
{
    struct reg_conn *c;
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    struct sqlite3_stmt *st = registry__stmt(c, id, e);
    rc = st ? 0 : registry__failed(e);
    while (!rc && (rc = registry__row(c, st, e)) > 0)
        rc = row(st, box, e);
    if (st)
        sqlite3_reset(st);
    registry__reader_back(r, c);
    return rc;
}

struct workspace_box {
    void (*fn)(void *arg, const struct workspace_row *w);
    void *arg;
};

static int workspace_one(struct sqlite3_stmt *st, void *box, struct err *e)
{
    (void)e;
    struct workspace_box *b = box;
    struct workspace_row w = {.id = sqlite3_column_int64(st, 0),
                              .name = text(st, 1),
                              .uuid = text(st, 2),
                              .created_ms = sqlite3_column_int64(st, 3),
                              .epoch = (uint64_t)sqlite3_column_int64(st, 4),
                              .stopped = sqlite3_column_int(st, 5) != 0};
    b->fn(b->arg, &w);
    return 0;
}

int registry_each_workspace(struct registry *r, void (*fn)(void *arg, const struct workspace_row *w),
                            void *arg, struct err *e)
{
    return registry__each(r, REG_WORKSPACE_EACH, workspace_one, &(struct workspace_box){fn, arg}, e);
}

struct key_box {
    void (*fn)(void *arg, const struct key_row *k);
    void *arg;
};

static int key_one(struct sqlite3_stmt *st, void *box, struct err *e)
{
    struct key_box *b = box;
    struct key_row k = {.id = sqlite3_column_int64(st, 0),
                        .key_id = text(st, 1),
                        .workspace = sqlite3_column_int64(st, 2),
                        .user = sqlite3_column_int64(st, 3),
                        .workspace_name = text(st, 4),
                        .workspace_uuid = text(st, 5),
                        .user_name = text(st, 6),
                        .role = (uint8_t)sqlite3_column_int(st, 7),
                        .created_ms = sqlite3_column_int64(st, 9),
                        .revoked_ms = sqlite3_column_int64(st, 10),
                        .expires_ms = sqlite3_column_int64(st, 11)};
    const void *hash = sqlite3_column_blob(st, 8);
    if (!hash || sqlite3_column_bytes(st, 8) != (int)sizeof k.hash)
        return err_set(e, ERR_CORRUPT, "XX001", "a key record is damaged");
    memcpy(k.hash, hash, sizeof k.hash);
    b->fn(b->arg, &k);
    return 0;
}

int registry_each_key(struct registry *r, void (*fn)(void *arg, const struct key_row *k), void *arg,
                      struct err *e)
{
    return registry__each(r, REG_KEY_EACH, key_one, &(struct key_box){fn, arg}, e);
}

struct bucket_box {
    void (*fn)(void *arg, const struct bucket_row *b);
    void *arg;
};

static int bucket_one(struct sqlite3_stmt *st, void *box, struct err *e)
{
    (void)e;
    struct bucket_box *b = box;
    struct bucket_row x = {.id = sqlite3_column_int64(st, 0),
                           .workspace = sqlite3_column_int64(st, 1),
                           .name = text(st, 2),
                           .url = text(st, 3),
                           .read_only = sqlite3_column_int(st, 4) != 0,
                           .is_default = sqlite3_column_int(st, 5) != 0,
                           .created_ms = sqlite3_column_int64(st, 6)};
    b->fn(b->arg, &x);
    return 0;
}

int registry_each_bucket(struct registry *r, void (*fn)(void *arg, const struct bucket_row *b), void *arg,
                         struct err *e)
{
    return registry__each(r, REG_BUCKET_EACH, bucket_one, &(struct bucket_box){fn, arg}, e);
}

struct dataset_box {
    void (*fn)(void *arg, const struct dataset_row *d);
    void *arg;
};

static int dataset_one(struct sqlite3_stmt *st, void *box, struct err *e)
{
    (void)e;
    struct dataset_box *b = box;
    struct dataset_row d = {.id = sqlite3_column_int64(st, 0),
                            .workspace = sqlite3_column_int64(st, 1),
                            .name = text(st, 2),
                            .path = text(st, 3),
                            .format = text(st, 4),
                            .folder = sqlite3_column_int(st, 5) != 0,
                            .created_ms = sqlite3_column_int64(st, 6)};
    b->fn(b->arg, &d);
    return 0;
}

int registry_each_dataset(struct registry *r, void (*fn)(void *arg, const struct dataset_row *d), void *arg,
                          struct err *e)
{
    return registry__each(r, REG_DATASET_EACH, dataset_one, &(struct dataset_box){fn, arg}, e);
}

struct limit_box {
    void (*fn)(void *arg, int64_t workspace, const char *key, int64_t value);
    void *arg;
};

static int limit_one(struct sqlite3_stmt *st, void *box, struct err *e)
{
    (void)e;
    struct limit_box *b = box;
    b->fn(b->arg, sqlite3_column_int64(st, 0), text(st, 1), sqlite3_column_int64(st, 2));
    return 0;
}

int registry_each_limit(struct registry *r,
                        void (*fn)(void *arg, int64_t workspace, const char *key, int64_t value), void *arg,
                        struct err *e)
{
    return registry__each(r, REG_LIMIT_EACH, limit_one, &(struct limit_box){fn, arg}, e);
}

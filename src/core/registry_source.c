/*
 * registry_source: the rows of instances (database servers) and data sources, as they are. What they mean is
 * instance.c's and source.c's.
 *
 * Invariant: a source row holds its secret sealed or not at all. Threads: registry_put_* and
 * registry_delete_* on the writer thread, registry_each_* on any thread that may block.
 */
#include "core/registry.h"

#include <sqlite3.h>

#include "core/registry_int.h"

static const char *text(struct sqlite3_stmt *st, int at)
{
    return (const char *)sqlite3_column_text(st, at);
}

/* ---- instances ---- */

int registry_put_instance(struct registry *r, const struct instance_row *i, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_INSTANCE_PUT, e);
    if (!st)
        return registry__failed(e);
    registry__bind_text(st, 1, i->name);
    sqlite3_bind_int(st, 2, i->kind);
    registry__bind_text(st, 3, i->host);
    sqlite3_bind_int(st, 4, i->port);
    registry__bind_text(st, 5, i->tls);
    sqlite3_bind_int64(st, 6, i->created_ms);
    int rc = registry__run(&r->writer, st, NULL, e);
    if (rc == ERR_CONFLICT)
        return err_set(e, ERR_CONFLICT, "42710", "the instance \"%.255s\" exists already", i->name);
    return rc;
}

int registry_delete_instance(struct registry *r, const char *name, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_INSTANCE_DELETE, e);
    if (!st)
        return registry__failed(e);
    registry__bind_text(st, 1, name);
    int changes = 0, rc = registry__run(&r->writer, st, &changes, e);
    if (!rc && changes == 0)
        rc = err_set(e, ERR_NOTFOUND, "42704", "there is no instance \"%.255s\"", name);
    return rc;
}

struct instance_box {
    void (*fn)(void *arg, const struct instance_row *i);
    void *arg;
};

static int instance_one(struct sqlite3_stmt *st, void *box, struct err *e)
{
    (void)e;
    struct instance_box *b = box;
    struct instance_row i = {.name = text(st, 0),
                             .kind = (uint8_t)sqlite3_column_int(st, 1),
                             .host = text(st, 2),
                             .port = (uint16_t)sqlite3_column_int(st, 3),
                             .tls = text(st, 4),
                             .created_ms = sqlite3_column_int64(st, 5)};
    b->fn(b->arg, &i);
    return 0;
}

int registry_each_instance(struct registry *r, void (*fn)(void *arg, const struct instance_row *i), void *arg,
                           struct err *e)
{
    return registry__each(r, REG_INSTANCE_EACH, instance_one, &(struct instance_box){fn, arg}, e);
}

/* ---- sources ---- */

int registry_put_source(struct registry *r, const struct source_row *s, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_SOURCE_PUT, e);
    if (!st)
        return registry__failed(e);
    registry__bind_text(st, 1, s->uid);
    sqlite3_bind_int64(st, 2, s->workspace);
    sqlite3_bind_int64(st, 3, s->user);
    registry__bind_text(st, 4, s->name);
    registry__bind_text(st, 5, s->label);
    sqlite3_bind_int(st, 6, s->kind);
    sqlite3_bind_int(st, 7, s->scope);
    registry__bind_text(st, 8, s->description);
    registry__bind_text(st, 9, s->instance);
    registry__bind_text(st, 10, s->address);
    registry__bind_text(st, 11, s->username);
    registry__bind_text(st, 12, s->database);
    sqlite3_bind_blob(st, 13, s->secret, (int)s->secret_len, SQLITE_STATIC);
    sqlite3_bind_int64(st, 14, s->created_ms);
    int rc = registry__run(&r->writer, st, NULL, e);
    if (rc == ERR_CONFLICT)
        return err_set(e, ERR_CONFLICT, "42710", "a data source with the name \"%.100s\" exists already",
                       s->name);
    return rc;
}

int registry_delete_source(struct registry *r, int64_t id, struct err *e)
{
    struct sqlite3_stmt *st = registry__stmt(&r->writer, REG_SOURCE_DELETE, e);
    if (!st)
        return registry__failed(e);
    sqlite3_bind_int64(st, 1, id);
    int changes = 0, rc = registry__run(&r->writer, st, &changes, e);
    if (!rc && changes == 0)
        rc = err_set(e, ERR_NOTFOUND, "42704", "data source not found");
    return rc;
}

struct source_box {
    void (*fn)(void *arg, const struct source_row *s);
    void *arg;
};

static int source_one(struct sqlite3_stmt *st, void *box, struct err *e)
{
    (void)e;
    struct source_box *b = box;
    struct source_row s = {.id = sqlite3_column_int64(st, 0),
                           .uid = text(st, 1),
                           .workspace = sqlite3_column_int64(st, 2),
                           .user = sqlite3_column_int64(st, 3),
                           .user_name = text(st, 4),
                           .name = text(st, 5),
                           .label = text(st, 6),
                           .kind = (uint8_t)sqlite3_column_int(st, 7),
                           .scope = (uint8_t)sqlite3_column_int(st, 8),
                           .description = text(st, 9),
                           .instance = text(st, 10),
                           .address = text(st, 11),
                           .username = text(st, 12),
                           .database = text(st, 13),
                           .secret = sqlite3_column_blob(st, 14),
                           .secret_len = (uint32_t)sqlite3_column_bytes(st, 14),
                           .created_ms = sqlite3_column_int64(st, 15)};
    b->fn(b->arg, &s);
    return 0;
}

int registry_each_source(struct registry *r, void (*fn)(void *arg, const struct source_row *s), void *arg,
                         struct err *e)
{
    return registry__each(r, REG_SOURCE_EACH, source_one, &(struct source_box){fn, arg}, e);
}

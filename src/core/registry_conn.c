/*
 * registry_conn: a connection of the registry: its statements, prepared once; the pool of readers. See registry.h for the
 * promises. The reader list is guarded by r->lock; `writer` belongs to whoever writes (registry_write.c).
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "core/registry_int.h"

#define READERS_KEPT 8

int registry__error(struct sqlite3 *db, int rc, struct err *e)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return err_set(e, ERR_UNAVAILABLE, "53100", "the disk is full: the query cannot be recorded now");
    case SQLITE_NOMEM:
        return err_set(e, ERR_NOMEM, "53200", "out of memory in the registry");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return err_set(e, ERR_CORRUPT, "XX001", "the registry file is damaged (%s)",
                       db ? sqlite3_errmsg(db) : "open");
    case SQLITE_CONSTRAINT:
        return err_set(e, ERR_CONFLICT, "23505", "exists already");
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_IOERR:
        return err_set(e, ERR_UNAVAILABLE, "58030", "the registry cannot be written or read now (%s)",
                       sqlite3_errstr(rc));
    default:
        return err_set(e, ERR_INTERNAL, "XX000", "registry: %s",
                       db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
    }
}

int registry__conn_exec(struct sqlite3 *db, const char *sql, struct err *e)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : registry__error(db, rc, e);
}

void registry__conn_close(struct reg_conn *c)
{
    for (int i = 0; i < REG_STMTS; i++)
        sqlite3_finalize(c->stmts[i]);
    sqlite3_close(c->db);
    memset(c, 0, sizeof *c);
}

int registry__conn_open(struct registry *r, struct reg_conn *c, bool writer, struct err *e)
{
    int flags =
        (writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX;
    int rc = sys_fault(SYS_OPEN) ? SQLITE_CANTOPEN : sqlite3_open_v2(r->path, &c->db, flags, registry__vfs());
    if (rc != SQLITE_OK) {
        int code = registry__error(c->db, rc, e);
        registry__conn_close(c);
        return code;
    }
    sqlite3_extended_result_codes(c->db, 1);
    sqlite3_busy_timeout(c->db, 10000);
    rc = registry__conn_exec(
        c->db,
        writer ? "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
                 "PRAGMA trusted_schema=OFF;"
                 "PRAGMA cell_size_check=ON; PRAGMA wal_autocheckpoint=0; PRAGMA "
                 "temp_store=MEMORY; PRAGMA cache_size=-8192"
               : "PRAGMA trusted_schema=OFF; PRAGMA query_only=ON; PRAGMA temp_store=MEMORY; "
                 "PRAGMA cache_size=-2048",
        e);
    if (rc)
        registry__conn_close(c);
    return rc;
}

struct sqlite3_stmt *registry__stmt(struct reg_conn *c, enum reg_stmt id, struct err *e)
{
    struct sqlite3_stmt *st = c->stmts[id];
    if (!st) {
        int rc = sqlite3_prepare_v3(c->db, registry__sql[id], -1, SQLITE_PREPARE_PERSISTENT, &st, NULL);
        if (rc != SQLITE_OK) {
            registry__error(c->db, rc, e);
            return NULL;
        }
        c->stmts[id] = st;
    } else {
        sqlite3_reset(st);
        sqlite3_clear_bindings(st);
    }
    return st;
}

int registry__row(struct reg_conn *c, struct sqlite3_stmt *st, struct err *e)
{
    int rc = sys_fault(SYS_SQLITE) ? SQLITE_IOERR : sqlite3_step(st);
    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE) {
        sqlite3_reset(st);
        return 0;
    }
    rc = registry__error(c->db, rc, e);
    sqlite3_reset(st);
    return rc;
}

int registry__run(struct reg_conn *c, struct sqlite3_stmt *st, int *ret_changes, struct err *e)
{
    if (!st)
        return e && e->code ? e->code : ERR_INTERNAL;
    int rc = registry__row(c, st, e);
    if (rc > 0) {
        sqlite3_reset(st);
        rc = 0;
    }
    if (rc == 0 && ret_changes)
        *ret_changes = sqlite3_changes(c->db);
    return rc;
}

const char *registry__text(struct sqlite3_stmt *st, int col, struct arena *a)
{
    const char *p = (const char *)sqlite3_column_text(st, col);
    return p ? arena_strndup(a, p, (size_t)sqlite3_column_bytes(st, col)) : NULL;
}

int registry__reader(struct registry *r, struct reg_conn **ret, struct err *e)
{
    pthread_mutex_lock(&r->lock);
    struct reg_conn *c = r->readers;
    if (c) {
        r->readers = c->next;
        r->nreaders--;
    }
    pthread_mutex_unlock(&r->lock);
    if (!c) {
        c = calloc(1, sizeof *c);
        if (!c)
            return registry__no_memory(e);
        int rc = registry__conn_open(r, c, false, e);
        if (rc) {
            free(c);
            return rc;
        }
    }
    c->next = NULL;
    *ret = c;
    return 0;
}

void registry__reader_back(struct registry *r, struct reg_conn *c)
{
    pthread_mutex_lock(&r->lock);
    bool keep = r->nreaders < READERS_KEPT;
    if (keep) {
        c->next = r->readers;
        r->readers = c;
        r->nreaders++;
    }
    pthread_mutex_unlock(&r->lock);
    if (!keep) {
        registry__conn_close(c);
        free(c);
    }
}

/* ---- small helpers ---- */

int registry__failed(const struct err *e)
{
    return e && e->code ? e->code : ERR_INTERNAL;
}

int registry__no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "53200", "out of memory in the registry");
}

void registry__bind_text(struct sqlite3_stmt *st, int at, const char *s)
{
    sqlite3_bind_text(st, at, s, -1, SQLITE_STATIC);
}

void registry__bind_id(struct sqlite3_stmt *st, int at, const struct qid *id)
{
    sqlite3_bind_blob(st, at, id->b, sizeof id->b, SQLITE_STATIC);
}

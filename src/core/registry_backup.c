/*
 * registry_backup: a consistent copy of the registry while it is written, what such a copy says about files,
 * and what it must learn when other parts of a backup are copied later than itself.
 *
 * The copy is made in one step, so that it is one snapshot; the writer goes on meanwhile. Threads: any that
 * may block.
 */
#include "core/registry.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "core/registry_int.h"

static int copy(struct sqlite3 *from, struct sqlite3 *to, struct err *e)
{
    struct sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
    if (!b)
        return registry__error(to, sqlite3_errcode(to), e);
    int rc = SQLITE_OK;
    for (int tries = 0; tries < 100; tries++) {
        rc = sys_fault(SYS_SQLITE) ? SQLITE_IOERR : sqlite3_backup_step(b, -1);
        if (rc != SQLITE_BUSY && rc != SQLITE_LOCKED)
            break;
        sys_sleep_ms(50);
    }
    int end = sqlite3_backup_finish(b);
    if (rc == SQLITE_DONE)
        rc = end;
    return rc == SQLITE_OK ? 0 : registry__error(NULL, rc, e);
}

int registry_backup(struct registry *r, const char *to, struct err *e)
{
    struct reg_conn *c;
    struct sqlite3 *out = NULL;
    if (access(to, F_OK) == 0)
        return err_set(e, ERR_CONFLICT, "58030", "the copy of the registry exists already");
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    int opened = sys_fault(SYS_OPEN)
                     ? SQLITE_CANTOPEN
                     : sqlite3_open_v2(
                           to, &out, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (opened != SQLITE_OK)
        rc = registry__error(NULL, opened, e);
    if (!rc)
        rc = copy(c->db, out, e);
    sqlite3_close(out);
    registry__reader_back(r, c);
    return rc;
}

static int each_file(struct sqlite3 *db, void (*fn)(void *arg, const struct qid *id, uint32_t ordinal),
                     void *arg, struct err *e)
{
    struct sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, registry__sql[REG_EACH_SEALED], -1, &st, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct qid id;
        const void *p = sqlite3_column_blob(st, 0);
        rc = p && sqlite3_column_bytes(st, 0) == (int)sizeof id.b ? SQLITE_OK : SQLITE_CORRUPT;
        if (rc != SQLITE_OK)
            break;
        memcpy(id.b, p, sizeof id.b);
        fn(arg, &id, (uint32_t)sqlite3_column_int64(st, 1));
    }
    sqlite3_finalize(st);
    return rc == SQLITE_DONE ? 0 : registry__error(db, rc, e);
}

int registry_backup_each(const char *file, void (*fn)(void *arg, const struct qid *id, uint32_t ordinal),
                         void *arg, int64_t *ret_queries, struct err *e)
{
    struct sqlite3 *db = NULL;
    struct sqlite3_stmt *st = NULL;
    /* A copy is in WAL mode and has no WAL: immutable leaves no other files beside it. */
    char uri[4200];
    size_t n = 5;
    memcpy(uri, "file:", 5);
    for (const char *p = file; *p && n + 20 < sizeof uri; p++)
        n += (size_t)snprintf(uri + n, 4, strchr("?#%", *p) ? "%%%02X" : "%c", (unsigned char)*p);
    snprintf(uri + n, sizeof uri - n, "?immutable=1");
    int rc = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
    rc = rc == SQLITE_OK ? each_file(db, fn, arg, e) : registry__error(db, rc, e);
    if (!rc && sqlite3_prepare_v2(db, "SELECT count(*) FROM query", -1, &st, NULL) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW)
        *ret_queries = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return rc;
}

/* ---- what happened since ---- */

static const char *const since_sql[] = {
    "SELECT seq, id FROM query WHERE state IN (1, 2) AND writes = 0", /* of the copy, as the next two */
    "UPDATE query SET writes = 1 WHERE seq = ?1",
    ("UPDATE workspace SET written_seq = (SELECT coalesce(max(seq), 0) FROM query) WHERE id = ?1 AND "
     "written_seq < ?2"),
    "SELECT writes FROM query WHERE id = ?1", /* of the registry, as the next */
    "SELECT id, written_seq FROM workspace",
};
enum since { UNFINISHED, WRITES, UNREUSABLE, STARTED, WRITTEN, SINCE };

struct since_then {
    struct sqlite3 *copy;
    struct sqlite3_stmt *st[SINCE];
};

static int run_once(struct sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    sqlite3_reset(st);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* A query that is nowhere has ended: it left the history meanwhile. */
static int mark_query(struct since_then *t)
{
    int rc = sqlite3_bind_value(t->st[STARTED], 1, sqlite3_column_value(t->st[UNFINISHED], 1));
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(t->st[STARTED]);
    bool wrote = rc == SQLITE_DONE || (rc == SQLITE_ROW && sqlite3_column_int(t->st[STARTED], 0));
    sqlite3_reset(t->st[STARTED]);
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        return rc;
    if (!wrote)
        return SQLITE_OK;
    sqlite3_bind_int64(t->st[WRITES], 1, sqlite3_column_int64(t->st[UNFINISHED], 0));
    return run_once(t->st[WRITES]);
}

static int mark_workspace(struct since_then *t)
{
    sqlite3_bind_int64(t->st[UNREUSABLE], 1, sqlite3_column_int64(t->st[WRITTEN], 0));
    sqlite3_bind_int64(t->st[UNREUSABLE], 2, sqlite3_column_int64(t->st[WRITTEN], 1));
    return run_once(t->st[UNREUSABLE]);
}

static int each_row(struct since_then *t, enum since what, int (*fn)(struct since_then *))
{
    int rc;
    while ((rc = sqlite3_step(t->st[what])) == SQLITE_ROW)
        if ((rc = fn(t)) != SQLITE_OK)
            return rc;
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int registry_backup_since(struct registry *r, const char *file, struct err *e)
{
    struct reg_conn *c;
    struct since_then t = {0};
    registry_sync(r);
    int rc = registry__reader(r, &c, e);
    if (rc)
        return rc;
    rc = sqlite3_open_v2(file, &t.copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    for (int i = 0; i < SINCE && rc == SQLITE_OK; i++)
        rc = sqlite3_prepare_v2(i < STARTED ? t.copy : c->db, since_sql[i], -1, &t.st[i], NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(t.copy, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = each_row(&t, UNFINISHED, mark_query);
    if (rc == SQLITE_OK)
        rc = each_row(&t, WRITTEN, mark_workspace);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(t.copy, "COMMIT", NULL, NULL, NULL);
    for (int i = 0; i < SINCE; i++)
        sqlite3_finalize(t.st[i]);
    sqlite3_close(t.copy); /* checkpoints: no other file stays beside it */
    registry__reader_back(r, c);
    return rc == SQLITE_OK ? 0 : registry__error(NULL, rc, e);
}

/*
 * registry: connections, the pool of readers, opening and closing. See registry.h for the promises.
 *
 * Threads: the reader list is guarded by r->lock; `writer` belongs to whoever writes (registry_write.c).
 */
#include "core/registry.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metrics.h"
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

static int conn_exec(struct sqlite3 *db, const char *sql, struct err *e)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : registry__error(db, rc, e);
}

static void conn_close(struct reg_conn *c)
{
    for (int i = 0; i < REG_STMTS; i++)
        sqlite3_finalize(c->stmts[i]);
    sqlite3_close(c->db);
    memset(c, 0, sizeof *c);
}

static int conn_open(struct registry *r, struct reg_conn *c, bool writer, struct err *e)
{
    int flags =
        (writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX;
    int rc = sys_fault(SYS_OPEN) ? SQLITE_CANTOPEN : sqlite3_open_v2(r->path, &c->db, flags, registry__vfs());
    if (rc != SQLITE_OK) {
        int code = registry__error(c->db, rc, e);
        conn_close(c);
        return code;
    }
    sqlite3_extended_result_codes(c->db, 1);
    sqlite3_busy_timeout(c->db, 10000);
    rc = conn_exec(c->db,
                   writer ? "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
                            "PRAGMA trusted_schema=OFF;"
                            "PRAGMA cell_size_check=ON; PRAGMA wal_autocheckpoint=0; PRAGMA "
                            "temp_store=MEMORY; PRAGMA cache_size=-8192"
                          : "PRAGMA trusted_schema=OFF; PRAGMA query_only=ON; PRAGMA temp_store=MEMORY; "
                            "PRAGMA cache_size=-2048",
                   e);
    if (rc)
        conn_close(c);
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

/* ---- readers ---- */

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
            return err_set(e, ERR_NOMEM, "53200", "out of memory in the registry");
        int rc = conn_open(r, c, false, e);
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
        conn_close(c);
        free(c);
    }
}

/* ---- open and close ---- */

static int migrate(struct registry *r, struct err *e)
{
    struct sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(r->writer.db, "PRAGMA user_version", -1, &st, NULL);
    if (rc != SQLITE_OK)
        return registry__error(r->writer.db, rc, e);
    int version = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int(st, 0) : -1;
    sqlite3_finalize(st);
    if (version < 0)
        return err_set(e, ERR_CORRUPT, "XX001", "the registry file cannot be read");
    if (version > registry__nmigrations)
        return err_set(e, ERR_CONFLICT, "0A000",
                       "the registry has version %d, this program knows up to %d: use a newer quernd",
                       version, registry__nmigrations);
    for (; version < registry__nmigrations; version++) {
        char set[64];
        snprintf(set, sizeof set, "PRAGMA user_version = %d; COMMIT", version + 1);
        rc = conn_exec(r->writer.db, "BEGIN IMMEDIATE", e);
        if (!rc)
            rc = conn_exec(r->writer.db, registry__migrations[version], e);
        if (!rc)
            rc = conn_exec(r->writer.db, set, e);
        if (rc)
            return rc;
    }
    return 0;
}

/* ---- after an unclean stop ---- */

#define CHECK_MAX ((int64_t)256 << 20) /* a larger file is not read through at the start */

static int64_t size_of(const char *path, const char *suffix)
{
    char name[4096];
    struct stat st;
    return snprintf(name, sizeof name, "%s%s", path, suffix) < (int)sizeof name && stat(name, &st) == 0
               ? (int64_t)st.st_size
               : 0;
}

/* The write-ahead log carries checksums and is replayed by SQLite at the first read; then the file itself is
 * looked through. */
static int check(struct registry *r, int64_t wal, int64_t start_ns, struct err *e)
{
    int64_t size = size_of(r->path, "");
    if (size > CHECK_MAX) {
        log_line(LOG_WARN, "core",
                 "start after an unclean stop: %lld bytes of the registry's log replayed in %lld ms; its "
                 "file (%lld bytes) is too large to be looked through",
                 (long long)wal, (long long)((sys_mono_ns() - start_ns) / 1000000), (long long)size);
        return 0;
    }
    struct sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(r->writer.db, "PRAGMA quick_check(1)", -1, &st, NULL);
    if (rc != SQLITE_OK)
        return registry__error(r->writer.db, rc, e);
    rc = sqlite3_step(st);
    const char *text = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
    if (!text)
        rc = registry__error(r->writer.db, rc, e);
    else if (strcmp(text, "ok") != 0)
        rc =
            err_set(e, ERR_CORRUPT, "XX001", "the registry file is damaged (%.200s): restore a backup", text);
    else
        rc = 0;
    sqlite3_finalize(st);
    if (!rc)
        log_line(LOG_WARN, "core",
                 "start after an unclean stop: %lld bytes of the registry's log replayed, its file (%lld "
                 "bytes) looked through, in %lld ms",
                 (long long)wal, (long long)size, (long long)((sys_mono_ns() - start_ns) / 1000000));
    return rc;
}

bool registry_was_clean(const struct registry *r)
{
    return !r->unclean;
}

static void registry_free(struct registry *r)
{
    while (r->readers) {
        struct reg_conn *c = r->readers;
        r->readers = c->next;
        conn_close(c);
        free(c);
    }
    conn_close(&r->writer);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->wake);
    free(r->path);
    free(r);
}

int registry_open(const char *data_dir, struct registry **ret, struct err *e)
{
    struct registry *r = calloc(1, sizeof *r);
    if (!r || asprintf(&r->path, "%s/registry.db", data_dir) < 0) {
        free(r);
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    }
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &attr);
    pthread_condattr_destroy(&attr);
    r->tail = &r->head;
    int64_t wal = size_of(r->path, "-wal"), start_ns = sys_mono_ns();
    r->unclean = wal > 0; /* a clean stop leaves none */
    int rc = conn_open(r, &r->writer, true, e);
    if (!rc && r->unclean)
        rc = check(r, wal, start_ns, e);
    if (!rc)
        rc = migrate(r, e);
    if (!rc)
        rc = registry__writer_start(r, e);
    if (rc) {
        registry_free(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void registry_close(struct registry *r)
{
    if (!r)
        return;
    registry__writer_stop(r);
    sqlite3_wal_checkpoint_v2(r->writer.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    registry_free(r);
}

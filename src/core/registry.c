/*
 * registry: opening, migrating, checking and closing. See registry.h for the promises; registry_conn.c for what the other
 * files read and write with.
 */
#include "core/registry.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "core/registry_int.h"

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
        rc = registry__conn_exec(r->writer.db, "BEGIN IMMEDIATE", e);
        if (!rc)
            rc = registry__conn_exec(r->writer.db, registry__migrations[version], e);
        if (!rc)
            rc = registry__conn_exec(r->writer.db, set, e);
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
        registry__conn_close(c);
        free(c);
    }
    registry__conn_close(&r->writer);
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
    int rc = registry__conn_open(r, &r->writer, true, e);
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

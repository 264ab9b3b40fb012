/*
 * erase: see erase.h. A query's record goes before its files: a file that no record names is found at the next
 * start, a record without its file would be damage.
 */
#include "core/erase.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/audit.h"
#include "core/registry.h"
#include "results/spool.h"

#define BATCH        250
#define RECORD_BYTES ((size_t)256 << 20)

static int drop(const char *name, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)at;
    return sys_unlinkat(AT_FDCWD, name, kind == FTW_DP ? AT_REMOVEDIR : 0);
}

/* Its catalog and what was delivered below DIR; absent is fine. Durable when it returns. */
static int erase_folders(const char *data_dir, int64_t workspace, struct err *e)
{
    static const char *const parents[] = {"catalog", "buckets"};
    for (size_t i = 0; i < sizeof parents / sizeof *parents; i++) {
        char path[4096];
        if (snprintf(path, sizeof path, "%s/%s/%lld", data_dir, parents[i], (long long)workspace) >=
            (int)sizeof path)
            return err_set(e, ERR_INVALID, NULL, "the name of the data folder is too long");
        if (nftw(path, drop, 16, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
            return err_errno(e, errno, "removing the workspace's folders");
        snprintf(path, sizeof path, "%s/%s", data_dir, parents[i]);
        if (sys_fsync_dir(path) < 0 && errno != ENOENT)
            return err_errno(e, errno, "removing the workspace's folders");
    }
    return 0;
}

struct gone {
    struct registry_write w;
    const struct qid *id;
    int64_t workspace;
};

static int apply_gone(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_delete_query(r, ((struct gone *)(void *)w)->id, e);
}

static int apply_erased(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_put_erased(r, ((struct gone *)(void *)w)->workspace, e);
}

int erase_end(struct registry *r, const char *data_dir, int64_t workspace, const char *uuid, struct err *e)
{
    struct gone w = {.w = {.apply = apply_erased}, .workspace = workspace};
    int rc = erase_folders(data_dir, workspace, e);
    if (!rc)
        rc = registry_do(r, &w.w, e);
    if (rc)
        return rc;
    audit_event("workspace_erased", "workspaceId", uuid, NULL);
    log_event(LOG_INFO, "core", "a removed workspace is erased", "workspaceId", uuid, NULL);
    return 0;
}

static int erase_query(struct registry *r, struct spool *sp, const struct qid *id, struct err *e)
{
    struct arena *a = arena_new(RECORD_BYTES);
    struct query_record q;
    struct gone w = {.w = {.apply = apply_gone}, .id = id};
    int rc = a ? registry_get_query(r, id, a, &q, e) : err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (!rc)
        rc = registry_do(r, &w.w, e);
    for (uint32_t i = 0; !rc && i < q.nresults; i++)
        rc = spool_remove(sp, id, q.results[i].ordinal, NULL, e);
    arena_free(a);
    return rc;
}

static int erase_queries(struct registry *r, struct spool *sp, int64_t workspace, struct err *e)
{
    size_t n = BATCH;
    int rc = 0;
    while (n == BATCH && !rc) {
        struct arena *a = arena_new(1u << 20);
        struct qid *ids;
        rc = a ? registry_erasable_queries(r, workspace, BATCH, a, &ids, &n, e)
               : err_set(e, ERR_NOMEM, "53200", "out of memory");
        for (size_t i = 0; !rc && i < n; i++)
            rc = erase_query(r, sp, &ids[i], e);
        arena_free(a);
    }
    return rc;
}

int erase_here(struct registry *r, const char *data_dir, struct err *e)
{
    struct spool *sp = NULL;
    int rc = spool_open(data_dir, &sp, e);
    while (!rc) {
        int64_t workspace;
        char uuid[ID_TEXT_MAX];
        rc = registry_erasable(r, &workspace, uuid, e);
        if (rc == ERR_NOTFOUND) {
            err_clear(e);
            rc = 0;
            break;
        }
        if (!rc)
            rc = erase_queries(r, sp, workspace, e);
        if (!rc)
            rc = erase_end(r, data_dir, workspace, uuid, e);
    }
    spool_close(sp);
    return rc;
}

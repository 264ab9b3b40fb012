/*
 * workspace: the tenants and what belongs to them: buckets, datasets, and the grants version (epoch) that the
 * engine pool's key holds. All in memory behind one read-write lock, written through the registry. Any
 * thread.
 */
#ifndef QUERN_CORE_WORKSPACE_H
#define QUERN_CORE_WORKSPACE_H

#include "base/arena.h"
#include "base/buf.h"
#include "pool/pool.h"

struct registry;
struct workspaces;

int workspaces_open(struct registry *r, const char *data_dir, struct workspaces **ret,
                    struct err *e) MUST_USE;
void workspaces_close(struct workspaces *w);
/* After the admin room made a workspace through identity_key_create: reads it into memory. */
int workspaces_reload(struct workspaces *w, struct err *e) MUST_USE;

/* The key for engines of this workspace; texts in `a`. A writer has a catalog path also when the file is not
 * there yet, and the folder for it. ERR_NOTFOUND. */
int workspace_engine_key(struct workspaces *w, int64_t workspace, bool write, struct arena *a,
                         struct engine_key *ret, struct err *e) MUST_USE;
/* Grants version of the workspace; 0 when there is no such workspace. */
uint64_t workspace_epoch(struct workspaces *w, int64_t workspace);
/* Does an order to stop hold the workspace's queries back? Never blocks. */
bool workspace_stopped(struct workspaces *w, int64_t workspace);
/* Sets it; durable on return. (worker) */
int workspace_stop(struct workspaces *w, int64_t workspace, bool stopped, struct err *e) MUST_USE;
/* 0 when there is no such workspace. */
int64_t workspace_created_ms(struct workspaces *w, int64_t workspace);
/* URL of a bucket, in `a`; name NULL = the default bucket; "" = the folder below DIR (made here) that is the
 * default while the administrator has named none. ERR_NOTFOUND; ERR_DENIED when read-only. */
int workspace_bucket_url(struct workspaces *w, int64_t workspace, const char *name, struct arena *a,
                         const char **ret_url, struct err *e) MUST_USE;
/* Name of the default bucket, in `a`; "" while the administrator has named none. ERR_NOTFOUND: no such
 * workspace. */
int workspace_default_bucket(struct workspaces *w, int64_t workspace, struct arena *a, const char **ret,
                             struct err *e) MUST_USE;
/* Calls fn(name) for each dataset; fn may not call this room. */
void workspace_each_dataset(struct workspaces *w, int64_t workspace, void (*fn)(void *arg, const char *name),
                            void *arg);
/* Calls fn(id) for each workspace. */
void workspaces_each(struct workspaces *w, void (*fn)(void *arg, int64_t id), void *arg);

/* What an administrator set for one workspace ("workspace set W KEY=VALUE"); what is not set is limited by
 * the configuration alone. */
enum workspace_limit {
    LIMIT_QUEUE,
    LIMIT_SLOTS,
    LIMIT_SPOOL_BYTES,
    LIMIT_ROWS,
    LIMIT_RUN_TIMEOUT,
    WORKSPACE_LIMITS
};
/* 0 = not set (or no such workspace). run_timeout in ms. Never blocks. */
int64_t workspace_limit(struct workspaces *w, int64_t workspace, enum workspace_limit key);
/* As it is written: "queue", "slots", "spool_bytes", "rows", "run_timeout"; for messages. */
const char *workspace_limit_name(enum workspace_limit key);

/* ---- administration (blocking; durable on return; appends JSON) ---- */
int workspace_bucket_create(struct workspaces *w, const char *workspace, const char *name, const char *url,
                            bool read_only, bool is_default, struct buf *out, struct err *e) MUST_USE;
/* url file:///DIR-OR-FILE (absolute, must exist and be readable); format by suffix or by what the folder
 * holds. Name: [A-Za-z_][A-Za-z0-9_]{0,127}. */
int workspace_dataset_add(struct workspaces *w, const char *workspace, const char *name, const char *url,
                          struct buf *out, struct err *e) MUST_USE;
/* workspace NULL: of all. */
int workspace_bucket_list(struct workspaces *w, const char *workspace, struct buf *out,
                          struct err *e) MUST_USE;
int workspace_dataset_list(struct workspaces *w, const char *workspace, struct buf *out,
                           struct err *e) MUST_USE;
int workspace_dataset_remove(struct workspaces *w, const char *workspace, const char *name, struct buf *out,
                             struct err *e) MUST_USE;
/* Its number and id. ERR_NOTFOUND. */
int workspace_named(struct workspaces *w, const char *workspace, int64_t *ret, char ret_uuid[40],
                    struct err *e) MUST_USE;
/* Takes it out of use (registry_remove_workspace); what it leaves is for erase.h and the janitor. */
int workspace_remove(struct workspaces *w, int64_t workspace, struct err *e) MUST_USE;
int workspace_list(struct workspaces *w, struct buf *out, struct err *e) MUST_USE;
/* "KEY=VALUE": a number with an optional unit as in the configuration file (512 MiB, 30 min); "default" takes
 * it away. Answers with all limits of the workspace. */
int workspace_set(struct workspaces *w, const char *workspace, const char *setting, struct buf *out,
                  struct err *e) MUST_USE;

#endif

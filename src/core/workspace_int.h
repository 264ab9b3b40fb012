/* workspace_int: what workspace.c (the model, what others ask) and workspace_admin.c (administrators' commands) share. Not
 * for other files. */
#ifndef QUERN_CORE_WORKSPACE_INT_H
#define QUERN_CORE_WORKSPACE_INT_H

#include <pthread.h>

#include "base/config.h"
#include "core/registry.h"
#include "core/workspace.h"

#define PATH_BYTES 4096

struct workspace {
    struct workspace_row row;
    struct dataset_row *datasets;
    struct bucket_row *buckets;
    size_t ndatasets, nbuckets;
    int64_t limits[WORKSPACE_LIMITS];
};

struct model {
    struct arena *arena;
    struct workspace *all; /* by id, ascending */
    size_t n;
};

struct workspaces {
    struct registry *registry;
    char *data_dir; /* resolved */
    pthread_rwlock_t lock;
    struct model model; /* guarded by lock */
    pthread_mutex_t admin;
};

struct workspace_limit_row {
    const char *name;
    enum config_type type;
    int64_t most;
};
extern const struct workspace_limit_row workspace__limits[WORKSPACE_LIMITS];
/* WORKSPACE_LIMITS when there is none of that name. */
enum workspace_limit workspace__limit_find(const char *name, size_t n);
/* ERR_NOTFOUND; name NULL: not said. */
int workspace__none(struct err *e, const char *name);

#endif

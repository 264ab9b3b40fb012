/* core_test: a data folder for one test, an open registry in it, and one workspace with one user. */
#ifndef QUERN_TESTS_CORE_TEST_H
#define QUERN_TESTS_CORE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"
#include "base/crypto.h"
#include "base/sys.h"
#include "core/registry.h"

struct place {
    char dir[128];
    struct registry *r;
    int64_t workspace, user;
};

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st, (void)type, (void)f;
    return remove(path);
}

static inline void place_make(struct place *p)
{
    *p = (struct place){{0}, NULL, 0, 0};
    strncpy(p->dir, "/tmp/quern-core-XXXXXX", sizeof p->dir - 1);
    if (!mkdtemp(p->dir))
        abort();
    if (crypto_init())
        abort();
    config_defaults();
}

static inline void place_remove(struct place *p)
{
    (void)nftw(p->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct seed {
    struct registry_write w;
    struct place *p;
};

static inline int seed_apply(struct registry *r, struct registry_write *w, struct err *e)
{
    struct place *p = ((struct seed *)(void *)w)->p;
    int rc = registry_put_workspace(r, "W", &p->workspace, e);
    return rc ? rc : registry_put_user(r, "U", &p->user, e);
}

/* Opens the registry; the first time with workspace "W" and user "U". */
static inline int place_open(struct place *p, struct err *e)
{
    err_clear(e);
    int rc = registry_open(p->dir, &p->r, e);
    struct seed s = {.w = {.apply = seed_apply}, .p = p};
    return rc ? rc : registry_do(p->r, &s.w, e);
}

static inline void place_close(struct place *p)
{
    registry_close(p->r);
    p->r = NULL;
}

static inline int setup_place(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    struct err e;
    if (!p)
        return -1;
    place_make(p);
    *state = p;
    return place_open(p, &e);
}

static inline int teardown_place(void **state)
{
    struct place *p = *state;
    if (p->r)
        place_close(p);
    place_remove(p);
    free(p);
    return 0;
}

/* A queued query of that place. */
static inline struct query_record record_of(const struct place *p, int64_t created_ms)
{
    return (struct query_record){.id = id_new(created_ms),
                                 .workspace = p->workspace,
                                 .user = p->user,
                                 .dialect = DIALECT_KAKAO,
                                 .state = QUERY_QUEUED,
                                 .sql = "SELECT 1",
                                 .sql_len = 8,
                                 .row_limit = -1,
                                 .created_ms = created_ms};
}

enum what { PUT, RUN, EXPOSE, REQUEUE, RESULT, END, GONE, DELETE };
struct do_write {
    struct registry_write w;
    enum what what;
    const struct query_record *q;
    int64_t ms;
};

static inline int do_apply(struct registry *r, struct registry_write *w, struct err *e)
{
    struct do_write *d = (struct do_write *)(void *)w;
    switch (d->what) {
    case PUT:
        return registry_put_query(r, d->q, e);
    case RUN:
        return registry_put_running(r, &d->q->id, d->ms, d->q->runs, false, e);
    case EXPOSE:
        return registry_put_exposed(r, &d->q->id, e);
    case REQUEUE:
        return registry_put_requeued(r, &d->q->id, e);
    case RESULT: /* the last one that it has */
        return registry_put_result(r, &d->q->id, &d->q->results[d->q->nresults - 1], e);
    case END:
        return registry_put_end(r, d->q, e);
    case GONE:
        return registry_put_gone(r, &d->q->id, d->ms, e);
    default:
        return registry_delete_query(r, &d->q->id, e);
    }
}

static inline int do_it(struct place *p, enum what what, const struct query_record *q, int64_t ms,
                        struct err *e)
{
    struct do_write d = {.w = {.apply = do_apply}, .what = what, .q = q, .ms = ms};
    err_clear(e);
    return registry_do(p->r, &d.w, e);
}

#endif

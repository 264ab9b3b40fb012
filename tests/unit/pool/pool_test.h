/*
 * pool_test: what the tests of the pool share: a pool on a fresh folder with the fake engine, and a count of
 * what must come back to where it was (descriptors, children, folders). Main thread unless a test says
 * otherwise.
 */
#ifndef QUERN_POOL_TEST_H
#define QUERN_POOL_TEST_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/metrics.h"
#include "base/sys.h"
#include "encoders/batch.h"
#include "pool/pool.h"

#define MS 1000000LL

struct fixture {
    char dir[128];
    struct pool *pool;
    int fds, children;
};

static inline int64_t in_ms(int64_t ms)
{
    return sys_mono_ns() + ms * MS;
}

static inline int count_dir(const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        return -1;
    int n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static inline int count_fds(void)
{
    return count_dir("/proc/self/fd") - 1;
}

/* Children of this process, zombies too. */
static inline int count_children(void)
{
    DIR *d = opendir("/proc");
    const struct dirent *de;
    int n = 0;
    while (d && (de = readdir(d))) {
        if (de->d_name[0] < '0' || de->d_name[0] > '9')
            continue;
        char path[300], line[512];
        (void)snprintf(path, sizeof path, "/proc/%s/stat", de->d_name);
        FILE *f = fopen(path, "re");
        if (!f)
            continue;
        if (fgets(line, sizeof line, f)) {
            const char *after = strrchr(line, ')');
            if (after && strtol(after + 4, NULL, 10) == getpid())
                n++;
        }
        fclose(f);
    }
    if (d)
        closedir(d);
    return n;
}

static inline const char *fake_path(void)
{
    static char path[512];
    const char *given = getenv("QUERN_FAKE_ENGINE"), *build = getenv("QUERN_BUILD");
    if (given)
        return given;
    (void)snprintf(path, sizeof path, "%s/tests/unit/pool/fake-engine", build ? build : ".");
    return path;
}

static inline struct engine_key key_of(int64_t workspace, uint64_t epoch, const char *catalog)
{
    return (struct engine_key){.workspace = workspace, .epoch = epoch, .catalog_path = catalog};
}

static inline struct wire_job job_of(const char *sql)
{
    static uint64_t serial = 100;
    return (struct wire_job){.job = __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED),
                             .sql = sql,
                             .sql_len = (uint32_t)strlen(sql),
                             .default_catalog = "",
                             .default_schema = "",
                             .row_limit = -1,
                             .max_rows = 25000000,
                             .max_bytes = 1LL << 40,
                             .inline_max = 16384,
                             .timezone = ""};
}

static inline int pool_up_at(struct fixture *f, const char *engine)
{
    struct err e;
    err_clear(&e);
    struct pool_options o = {.data_dir = f->dir, .engine_path = engine};
    int rc = pool_open(&o, &f->pool, &e);
    if (rc)
        print_error("pool_open: %s\n", e.text);
    return rc;
}

static inline int pool_up(void **state)
{
    static int serial;
    struct fixture *f = calloc(1, sizeof *f);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/quern-pool-test-%d-%d", (int)getpid(), serial++);
    config_defaults();
    config.engine_silence = 60000; /* an honest one may be slow, to begin too */
    config.engine_grace = 300;
    config.engine_idle_max = 4;
    config.result_max_batch = 64 << 20;
    f->fds = count_fds();
    f->children = count_children();
    *state = f;
    return pool_up_at(f, fake_path());
}

/* Everything is back: no descriptor, no child, no folder. */
static inline int pool_down(void **state)
{
    struct fixture *f = *state;
    pool_close(f->pool);
    int fds = count_fds(), children = count_children();
    char run[160];
    (void)snprintf(run, sizeof run, "%s/run", f->dir);
    int folders = count_dir(run);
    if (fds != f->fds || children != f->children || folders != 0)
        print_error("left over: descriptors %d -> %d, children %d -> %d, folders %d\n", f->fds, fds,
                    f->children, children, folders);
    int bad = fds != f->fds || children != f->children || folders != 0;
    rmdir(run);
    rmdir(f->dir);
    free(f);
    return bad;
}

static inline struct engine *acquire(struct fixture *f, const struct engine_key *k)
{
    struct engine *x = NULL;
    struct err e;
    err_clear(&e);
    int rc = pool_acquire(f->pool, k, &x, &e);
    if (rc)
        print_error("pool_acquire: %s\n", e.text);
    assert_int_equal(rc, 0);
    return x;
}

static inline void start(struct engine *x, const char *sql)
{
    struct err e;
    err_clear(&e);
    struct wire_job j = job_of(sql);
    if (strstr(sql, " out")) /* "lie script out" */
        j.step = WIRE_STEP_SCRIPT;
    int rc = engine_start(x, &j, &e);
    if (rc)
        print_error("engine_start: %s\n", e.text);
    assert_int_equal(rc, 0);
}

/* Waits until fn(arg) is `want`, at most 5 s. */
static inline bool comes_to(int (*fn)(struct fixture *), struct fixture *f, int want)
{
    for (int i = 0; i < 6000; i++) {
        if (fn(f) == want)
            return true;
        sys_sleep_ms(10);
    }
    return false;
}

#endif

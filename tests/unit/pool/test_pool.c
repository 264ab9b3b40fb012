/*
 * test_pool: who gets which process. Warm pool, keys, epochs, LRU, retire, pre-warm, failed starts, the
 * self-test, close, many threads.
 */
#include <sys/stat.h>

#include "pool_test.h"

static void quick(struct engine *x, const char *sql)
{
    struct engine_event *ev = calloc(1, sizeof *ev);
    struct err e;
    start(x, sql);
    do
        assert_int_equal(engine_next(x, in_ms(60000), ev, &e), 0);
    while (ev->type != ENGINE_DONE && ev->type != ENGINE_FAILED && ev->type != ENGINE_CRASHED &&
           ev->type != ENGINE_LIED);
    assert_int_equal(ev->type, ENGINE_DONE);
    free(ev);
}

static pid_t use(struct fixture *f, const struct engine_key *k)
{
    struct engine *x = acquire(f, k);
    pid_t pid = engine_pid(x);
    quick(x, "small");
    engine_release(x);
    return pid;
}

static int idle_count(struct fixture *f)
{
    return pool_idle(f->pool);
}
static bool lives(pid_t pid)
{
    return kill(pid, 0) == 0;
}

static void test_warm(void **state)
{
    struct fixture *f = *state;
    struct engine_key a = key_of(1, 1, ""), b = key_of(2, 1, ""), c = key_of(1, 1, "/w1/catalog");
    pid_t first = use(f, &a);
    assert_int_equal(use(f, &a), first);
    assert_int_not_equal(use(f, &b), first);
    assert_int_not_equal(use(f, &c), first); /* attaches the catalog: another process */
    assert_int_equal(pool_idle(f->pool), 3);
    struct wire_dataset d[2] = {{"t", "/d/t.parquet", "parquet", false}, {"u", "/d/u", "csv", true}};
    struct engine_key with = a;
    with.ndatasets = 2;
    with.datasets = d;
    pid_t seen = use(f, &with);
    assert_int_not_equal(seen, first);
    assert_int_equal(use(f, &with), seen);
    d[1].folder = false;
    assert_int_not_equal(use(f, &with), seen);
    assert_int_equal(use(f, &b) > 0, 1);
}

static void test_lru_and_tick(void **state)
{
    struct fixture *f = *state;
    config.engine_idle_max = 2;
    struct engine_key k[3] = {key_of(1, 1, ""), key_of(2, 1, ""), key_of(3, 1, "")};
    pid_t pids[3];
    for (int i = 0; i < 3; i++)
        pids[i] = use(f, &k[i]);
    assert_int_equal(pool_idle(f->pool), 2);
    assert_int_equal(use(f, &k[1]), pids[1]);
    assert_int_equal(use(f, &k[2]), pids[2]);
    assert_int_not_equal(use(f, &k[0]), pids[0]); /* the oldest had left; now the next one did */
    assert_int_equal(use(f, &k[2]), pids[2]);
    config.engine_idle = 50;
    pool_tick(f->pool);
    sys_sleep_ms(80);
    pool_tick(f->pool);
    assert_int_equal(pool_idle(f->pool), 0);
    config.engine_idle_max = 0;
    use(f, &k[0]);
    assert_int_equal(pool_idle(f->pool), 0);
}

static void test_epoch(void **state)
{
    struct fixture *f = *state;
    struct engine_key old = key_of(1, 1, ""), new = key_of(1, 2, ""), other = key_of(2, 1, "");
    pid_t o = use(f, &other);
    struct engine *running = acquire(f, &old);
    use(f, &old);
    assert_int_equal(pool_idle(f->pool), 2);
    use(f, &new);
    assert_int_equal(pool_idle(f->pool), 2); /* new and other; old left */
    quick(running, "small");
    engine_release(running); /* of an older epoch: not kept */
    assert_int_equal(pool_idle(f->pool), 2);
    assert_int_equal(use(f, &other), o);
}

/* It has done all that it had to, and waits for a word. */
static bool comes_to_wait(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    for (int i = 0; i < 6000; i++) {
        char line[512] = "";
        FILE *f = fopen(path, "re");
        bool read = f && fgets(line, sizeof line, f);
        const char *after = read ? strrchr(line, ')') : NULL;
        if (f)
            fclose(f);
        if (after && after[2] == 'S')
            return true;
        sys_sleep_ms(10);
    }
    return false;
}

static void test_not_kept(void **state)
{
    struct fixture *f = *state;
    struct engine_key k = key_of(1, 1, "");
    struct engine *x = acquire(f, &k);
    quick(x, "once"); /* says it is not reusable */
    engine_release(x);
    assert_int_equal(pool_idle(f->pool), 0);
    x = acquire(f, &k);
    quick(x, "stray"); /* a byte after the end */
    assert_true(comes_to_wait(engine_pid(x)));
    engine_release(x);
    assert_int_equal(pool_idle(f->pool), 0);
    x = acquire(f, &k);
    start(x, "obey cancel"); /* released in the middle */
    engine_release(x);
    assert_int_equal(pool_idle(f->pool), 0);
    x = acquire(f, &k);
    engine_release(x); /* never used */
    assert_int_equal(pool_idle(f->pool), 1);
    pid_t pid = use(f, &k);
    kill(pid, SIGKILL); /* dies while idle: noticed */
    assert_true(comes_to(idle_count, f, 0));
    assert_int_not_equal(use(f, &k), pid);
}

static void test_writer(void **state)
{
    struct fixture *f = *state;
    struct engine_key k = key_of(1, 1, "/w1/catalog");
    k.write = true;
    struct engine *x = acquire(f, &k);
    quick(x, "update");
    pid_t pid = engine_pid(x);
    engine_release(x);
    assert_int_equal(pool_idle(f->pool), 0);
    struct err e;
    assert_int_equal(pool_retire(f->pool, 1, 2, in_ms(60000), &e), 0);
    assert_false(lives(pid));
}

static void test_retire(void **state)
{
    struct fixture *f = *state;
    struct engine_key with = key_of(1, 1, "/w1/catalog"), without = key_of(1, 1, ""),
                      other = key_of(2, 1, "/w2/catalog");
    struct err e;
    pid_t idle = use(f, &with), foreign = use(f, &other);
    struct engine *running = acquire(f, &with);
    assert_int_equal(engine_pid(running), idle);
    struct engine *bare = acquire(f, &without);
    int64_t begun = sys_mono_ns();
    assert_int_equal(pool_retire(f->pool, 1, 2, in_ms(200), &e), ERR_TIMEOUT);
    assert_true(sys_mono_ns() - begun >= 190 * MS);
    engine_release(running); /* of an old epoch */
    assert_int_equal(pool_retire(f->pool, 1, 2, in_ms(60000), &e), 0);
    assert_false(lives(idle));
    assert_true(lives(foreign));
    assert_int_equal(pool_retire(f->pool, 1, 2, in_ms(0), &e), 0); /* nothing open: at once */
    engine_release(bare);
    assert_int_equal(pool_retire(f->pool, 77, 1, in_ms(0), &e), 0);
    /* same epoch, idle, catalog open: leaves too, it would never let go */
    struct engine_key again = key_of(1, 2, "/w1/catalog");
    use(f, &again);
    assert_int_equal(pool_retire(f->pool, 1, 2, in_ms(60000), &e), 0);
}

struct retire_arg {
    struct fixture *f;
    int rc;
};

static void *retire_thread(void *arg)
{
    struct retire_arg *r = arg;
    struct err e;
    r->rc = pool_retire(r->f->pool, 1, 1, in_ms(60000), &e);
    return NULL;
}

/* An engine that is released while somebody waits for the catalog is not kept, though its epoch is the
 * newest. */
static void test_retire_waits(void **state)
{
    struct fixture *f = *state;
    struct engine_key k = key_of(1, 1, "/w1/catalog");
    struct engine *x = acquire(f, &k);
    quick(x, "small");
    struct retire_arg r = {f, -1};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, retire_thread, &r), 0);
    sys_sleep_ms(150);
    engine_release(x);
    pthread_join(t, NULL);
    assert_int_equal(r.rc, 0);
    assert_int_equal(pool_idle(f->pool), 0);
}

static void test_prewarm(void **state)
{
    struct fixture *f = *state;
    struct engine_key k = key_of(1, 1, "");
    for (int i = 0; i < 30; i++)
        pool_prewarm(f->pool, &k);
    assert_true(comes_to(idle_count, f, 1));
    pool_prewarm(f->pool, &k);
    sys_sleep_ms(100);
    assert_int_equal(pool_idle(f->pool), 1);
    use(f, &k);
    assert_int_equal(pool_idle(f->pool), 1);
}

static void test_bad_starts(void **state)
{
    struct fixture *f = *state;
    struct engine *x = NULL;
    struct err e;
    struct engine_key k = key_of(1, 1, "/x/exit-start");
    assert_int_equal(pool_acquire(f->pool, &k, &x, &e), ERR_ENGINE);
    assert_non_null(strstr(e.text, "exit code 3"));
    k = key_of(1, 1, "/x/lie-ready");
    assert_int_equal(pool_acquire(f->pool, &k, &x, &e), ERR_ENGINE);
    int64_t begun = sys_mono_ns(), usual = config.engine_silence;
    config.engine_silence = 5000;
    k = key_of(1, 1, "/x/never-ready");
    assert_int_equal(pool_acquire(f->pool, &k, &x, &e), ERR_ENGINE);
    config.engine_silence = usual;
    assert_non_null(strstr(e.text, "ready in time"));
    assert_true((sys_mono_ns() - begun) / MS >= 4900);
    assert_int_equal(pool_retire(f->pool, 1, 1, in_ms(60000), &e), 0); /* none of them counts any more */
    k = key_of(1, 1, "");
    use(f, &k);
}

/* A start that hangs delays nobody else. */
static void test_slow_start_alone(void **state)
{
    struct fixture *f = *state;
    struct engine_key bad = key_of(9, 1, "/x/never-ready"), good = key_of(1, 1, "");
    bool alone = false; /* it hangs for a minute; a slow machine may need some tries */
    for (int i = 0; i < 10 && !alone; i++) {
        pool_prewarm(f->pool, &bad);
        sys_sleep_ms(50);
        int64_t begun = sys_mono_ns();
        use(f, &good);
        alone = sys_mono_ns() - begun < 30000 * MS;
    }
    assert_true(alone);
}

static void test_no_program(void **state)
{
    struct fixture *f = *state;
    pool_close(f->pool);
    assert_int_equal(pool_up_at(f, "/nonexistent/quern-engine"), 0);
    struct engine_key k = key_of(1, 1, "/w1/catalog");
    struct engine *x = NULL;
    struct err e;
    for (int i = 0; i < 20; i++)
        assert_int_equal(pool_acquire(f->pool, &k, &x, &e), ERR_ENGINE);
    assert_null(strstr(e.text, "/nonexistent"));
    assert_int_equal(pool_retire(f->pool, 1, 1, in_ms(60000), &e), 0);
    pool_close(f->pool);
    assert_int_equal(pool_up_at(f, "/bin/true"), 0);
    assert_int_equal(pool_acquire(f->pool, &k, &x, &e), ERR_ENGINE);
}

static int children_more(struct fixture *f)
{
    return count_children() - f->children;
}

static void test_spare(void **state)
{
    struct fixture *f = *state;
    struct engine_key k = key_of(1, 1, "");
    int64_t t0 = sys_mono_ns();
    use(f, &k);
    int64_t cold = sys_mono_ns() - t0;
    assert_true(comes_to(children_more, f, 2)); /* the idle one and the spare */
    struct engine_key n = key_of(2, 1, "");
    t0 = sys_mono_ns();
    use(f, &n);
    int64_t spare = sys_mono_ns() - t0;
    t0 = sys_mono_ns();
    for (int i = 0; i < 50; i++)
        use(f, &n);
    print_message("acquire, small job, release: cold %lld us, from the spare %lld us, warm %lld us\n",
                  (long long)cold / 1000, (long long)spare / 1000, (long long)(sys_mono_ns() - t0) / 50000);
}

static void test_selftest(void **state)
{
    struct fixture *f = *state;
    struct engine_level level;
    struct err e;
    memset(&level, 0, sizeof level);
    assert_int_equal(pool_selftest(f->pool, &level, &e), 0);
    assert_int_equal(level.landlock_abi, 2);
    assert_true(level.seccomp);
    assert_string_equal(level.library, "fake 1");
    pool_close(f->pool);
    char run[160];
    (void)snprintf(run, sizeof run, "%s/run", f->dir);
    rmdir(run);
    rmdir(f->dir);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/quern-pool-hostile-%d", (int)getpid());
    assert_int_equal(pool_up_at(f, fake_path()), 0);
    memset(&level, 0, sizeof level);
    assert_int_equal(pool_selftest(f->pool, &level, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "COPY TO"));
    assert_int_equal(level.landlock_abi, 2);
}

/* What an earlier daemon left is wiped: deep, with links, without rights. */
static void test_left_over(void **state)
{
    struct fixture *f = *state;
    pool_close(f->pool);
    char path[400], at[200];
    (void)snprintf(at, sizeof at, "%s/outside", f->dir);
    mkdir(at, 0700);
    (void)snprintf(path, sizeof path, "%s/keep", at);
    fclose(fopen(path, "w"));
    char cwd[400];
    assert_non_null(getcwd(cwd, sizeof cwd));
    (void)snprintf(path, sizeof path, "%s/run", f->dir);
    assert_int_equal(chdir(path), 0);
    assert_int_equal(symlink("../outside", "link"), 0);
    mkdir("e1", 0700);
    assert_int_equal(chdir("e1"), 0);
    assert_int_equal(symlink("../../outside", "link"), 0);
    for (int i = 0; i < 2000; i++) {
        if (i % 100 == 0)
            fclose(fopen("file", "w"));
        assert_int_equal(mkdir("directory-with-a-name", 0700), 0);
        assert_int_equal(chdir("directory-with-a-name"), 0);
    }
    assert_int_equal(chdir(cwd), 0);
    assert_int_equal(pool_up_at(f, fake_path()), 0);
    assert_int_equal(count_dir(path), 0);
    (void)snprintf(path, sizeof path, "%s/keep", at);
    assert_int_equal(unlink(path), 0); /* not followed */
    rmdir(at);
}

struct worker {
    struct fixture *f;
    int n, ok, retired;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    struct engine_event *ev = calloc(1, sizeof *ev);
    int retired = 0;
    static const char *const sqls[] = {"small", "three", "exit 7", "lie total", "failed", "obey cancel"};
    for (int i = 0; i < 20; i++) {
        struct engine_key k = key_of(1 + (w->n + i) % 3, 1 + (uint64_t)i / 10, i % 4 ? "" : "/w/catalog");
        const char *sql = sqls[(w->n + i) % 6];
        struct engine *x = NULL;
        struct err e;
        struct wire_job j = job_of(sql);
        if (pool_acquire(w->f->pool, &k, &x, &e))
            continue;
        int rc = engine_start(x, &j, &e);
        if (rc == 0 && !strcmp(sql, "obey cancel"))
            engine_cancel(x, false);
        while (rc == 0) {
            rc = engine_next(x, in_ms(60000), ev, &e);
            if (rc == 0 && ev->type != ENGINE_BATCH && ev->type != ENGINE_PLANNED && ev->type != ENGINE_BEAT)
                break;
        }
        enum engine_event_type want = !strcmp(sql, "exit 7")                                  ? ENGINE_CRASHED
                                      : !strcmp(sql, "lie total")                             ? ENGINE_LIED
                                      : !strcmp(sql, "failed") || !strcmp(sql, "obey cancel") ? ENGINE_FAILED
                                                                                              : ENGINE_DONE;
        if (rc == 0 && ev->type == want)
            w->ok++;
        engine_release(x);
        if (i % 7 == 0)
            pool_prewarm(w->f->pool, &k);
        if (i % 9 == 0 && pool_retire(w->f->pool, k.workspace, k.epoch, in_ms(1), &e) == 0)
            retired++;
        if (i % 5 == 0)
            pool_tick(w->f->pool);
    }
    free(ev);
    w->retired = retired;
    return NULL;
}

static void test_threads(void **state)
{
    struct fixture *f = *state;
    struct worker w[6];
    pthread_t t[6];
    for (int i = 0; i < 6; i++) {
        w[i] = (struct worker){.f = f, .n = i};
        assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
    }
    int ok = 0;
    for (int i = 0; i < 6; i++) {
        pthread_join(t[i], NULL);
        ok += w[i].ok;
    }
    assert_int_equal(ok, 120);
}

static void *late_release(void *arg)
{
    struct engine *x = arg;
    struct engine_event *ev = calloc(1, sizeof *ev);
    struct err e;
    do
        if (engine_next(x, in_ms(60000), ev, &e))
            break;
    while (ev->type == ENGINE_BEAT || ev->type == ENGINE_PLANNED);
    int end = (int)ev->type;
    free(ev);
    engine_release(x);
    return (void *)(intptr_t)end;
}

/* Close while a job runs: its owner hears of it and gives the engine back. */
static void test_close_busy(void **state)
{
    struct fixture *f = *state;
    struct engine_key k = key_of(1, 1, "");
    struct engine *x = acquire(f, &k);
    start(x, "ignore cancel");
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, late_release, x), 0);
    sys_sleep_ms(100);
    pool_close(f->pool);
    f->pool = NULL;
    void *end;
    pthread_join(t, &end);
    assert_int_equal((int)(intptr_t)end, ENGINE_CRASHED);
}

static void test_metrics(void **state)
{
    struct fixture *f = *state;
    struct metric *spawned = metrics_get(METRIC_COUNTER, "quern_engine_spawned_total", "", "");
    struct metric *crashed =
        metrics_get(METRIC_COUNTER, "quern_engine_ended_total", "reason=\"crashed\"", "");
    struct metric *idle = metrics_get(METRIC_GAUGE, "quern_engine_idle", "", "");
    config.engine_idle_max = 0; /* no spare */
    int64_t s = metric_value(spawned), c = metric_value(crashed);
    struct engine_key k = key_of(1, 1, "");
    struct engine *x = acquire(f, &k);
    struct engine_event *ev = calloc(1, sizeof *ev);
    struct err e;
    start(x, "exit 7");
    do
        assert_int_equal(engine_next(x, in_ms(60000), ev, &e), 0);
    while (ev->type == ENGINE_PLANNED);
    free(ev);
    engine_release(x);
    for (int i = 0; i < 6000 && metric_value(crashed) == c; i++)
        sys_sleep_ms(10);
    assert_int_equal(metric_value(spawned) - s, 1);
    assert_int_equal(metric_value(crashed) - c, 1);
    assert_int_equal(metric_value(idle), 0);
}

struct handed {
    struct fixture *f;
    struct engine *x;
};

static void *acquire_thread(void *arg)
{
    struct handed *h = arg;
    struct engine_key k = key_of(1, 1, "");
    struct err e;
    if (pool_acquire(h->f->pool, &k, &h->x, &e))
        h->x = NULL;
    return NULL;
}

/* PDEATHSIG fires when the thread that spawned ends: that is never the one that acquired. */
static void test_acquirer_ends(void **state)
{
    struct handed h = {*state, NULL};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, acquire_thread, &h), 0);
    pthread_join(t, NULL);
    assert_non_null(h.x);
    sys_sleep_ms(100);
    quick(h.x, "three");
    engine_release(h.x);
    assert_int_equal(pool_idle(h.f->pool), 1);
}

/* The daemon is killed: its engines die with it, also one that is stopped. */
static void test_daemon_killed(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t daemon_pid = fork();
    assert_true(daemon_pid >= 0);
    if (daemon_pid == 0) {
        void *s = NULL;
        if (pool_up(&s))
            _exit(1);
        struct fixture *f = s;
        struct engine_key k = key_of(1, 1, "");
        struct {
            pid_t pid[2];
            char dir[128];
        } m;
        struct err e;
        for (int i = 0; i < 2; i++) {
            struct engine *x;
            if (pool_acquire(f->pool, &k, &x, &e))
                _exit(2);
            m.pid[i] = engine_pid(x);
        }
        kill(m.pid[1], SIGSTOP);
        memcpy(m.dir, f->dir, sizeof m.dir);
        if (write(fds[1], &m, sizeof m) != (ssize_t)sizeof m)
            _exit(3);
        for (;;)
            pause();
    }
    struct {
        pid_t pid[2];
        char dir[128];
    } m;
    assert_int_equal(read(fds[0], &m, sizeof m), sizeof m);
    close(fds[0]);
    close(fds[1]);
    assert_true(lives(m.pid[0]) && lives(m.pid[1]));
    kill(daemon_pid, SIGKILL);
    assert_int_equal(waitpid(daemon_pid, NULL, 0), daemon_pid);
    for (int i = 0; i < 2; i++) { /* gone, or a zombie that whoever adopted it has not reaped yet */
        bool dead = false;
        for (int n = 0; n < 6000 && !dead; n++) {
            char path[64], line[256] = "";
            (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)m.pid[i]);
            FILE *stat = fopen(path, "re");
            dead = !stat || !fgets(line, sizeof line, stat) || strstr(line, ") Z") || strstr(line, ") X");
            if (stat)
                fclose(stat);
            if (!dead)
                sys_sleep_ms(10);
        }
        assert_true(dead);
    }
    struct fixture f = {.pool = NULL};
    memcpy(f.dir, m.dir, sizeof f.dir);
    char run[160];
    (void)snprintf(run, sizeof run, "%s/run", f.dir);
    assert_true(count_dir(run) > 0);
    assert_int_equal(pool_up_at(&f, fake_path()), 0); /* the next start wipes what was left */
    assert_int_equal(count_dir(run), 0);
    pool_close(f.pool);
    rmdir(run);
    rmdir(f.dir);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, pool_up, pool_down)
    const struct CMUnitTest tests[] = {
        T(test_warm),
        T(test_lru_and_tick),
        T(test_epoch),
        T(test_not_kept),
        T(test_writer),
        T(test_retire),
        T(test_retire_waits),
        T(test_prewarm),
        T(test_bad_starts),
        T(test_slow_start_alone),
        T(test_no_program),
        T(test_spare),
        T(test_selftest),
        T(test_left_over),
        T(test_threads),
        T(test_close_busy),
        T(test_metrics),
        T(test_acquirer_ends),
        cmocka_unit_test(test_daemon_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

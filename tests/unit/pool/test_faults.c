/*
 * test_faults: the k-th spawn, memfd, mapping, mkdir, open or unlink of the daemon fails. The program runs
 * itself again for each k with QUERN_FAULT set; the scenario must come through: a job that was hit ends with
 * an error, the next one works, and a second pool on the same folder leaves it clean.
 */
#include "pool_test.h"

#define K_MAX 14

static int one_job(struct fixture *f, int64_t workspace)
{
    struct engine_key k = key_of(workspace, 1, "/w/catalog");
    struct engine *x = NULL;
    struct err e;
    err_clear(&e);
    int rc = pool_acquire(f->pool, &k, &x, &e);
    if (rc)
        return e.text[0] ? rc : -100; /* a reason is always given */
    struct wire_job j = job_of("three");
    struct engine_event *ev = calloc(1, sizeof *ev);
    rc = engine_start(x, &j, &e);
    while (rc == 0) {
        rc = engine_next(x, in_ms(60000), ev, &e);
        if (rc || (ev->type != ENGINE_BATCH && ev->type != ENGINE_PLANNED && ev->type != ENGINE_BEAT))
            break;
    }
    if (rc && !e.text[0])
        rc = -100;
    if (rc == 0 && ev->type != ENGINE_DONE)
        rc = -101;
    free(ev);
    engine_release(x);
    return rc;
}

/* Exit codes name the step. */
static int scenario(void)
{
    sys_init();
    void *s = NULL;
    int rc = pool_up(&s);
    struct fixture *f = s;
    if (rc) { /* the open itself was hit: once more */
        rc = pool_up_at(f, fake_path());
        if (rc)
            return 10;
    }
    int failed = 0;
    for (int i = 0; i < 6; i++) {
        rc = one_job(f, i / 2);
        if (rc <= -100)
            return 11;
        failed += rc != 0;
    }
    if (failed > 1)
        return 12; /* one fault, one job */
    struct err e;
    if (pool_retire(f->pool, 0, 9, in_ms(60000), &e))
        return 13;
    pool_tick(f->pool);
    pool_close(f->pool);
    if (count_fds() != f->fds)
        return 14;
    if (count_children() != f->children)
        return 15;
    if (pool_up_at(f, fake_path()) && pool_up_at(f, fake_path()))
        return 16;
    pool_close(f->pool);
    char run[160];
    (void)snprintf(run, sizeof run, "%s/run", f->dir);
    if (count_dir(run) != 0)
        return 17;
    rmdir(run);
    rmdir(f->dir);
    free(f);
    return 0;
}

static void fail_each(const char *kind, const char *errnum)
{
    for (int k = 1; k <= K_MAX; k++) {
        char plan[64];
        (void)snprintf(plan, sizeof plan, "%s:%d:%s", kind, k, errnum);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            setenv("QUERN_FAULT", plan, 1);
            char self[] = "/proc/self/exe", word[] = "scenario";
            char *argv[] = {self, word, NULL};
            execv(self, argv);
            _exit(99);
        }
        int status = -1;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (status)
            print_error("%s: status 0x%x\n", plan, (unsigned)status);
        assert_int_equal(status, 0);
    }
}

static void test_spawn(void **state)
{
    (void)state;
    fail_each("spawn", "EAGAIN");
}
static void test_memfd(void **state)
{
    (void)state;
    fail_each("memfd", "EMFILE");
}
static void test_mmap(void **state)
{
    (void)state;
    fail_each("mmap", "ENOMEM");
}
static void test_mkdir(void **state)
{
    (void)state;
    fail_each("mkdir", "ENOSPC");
}
static void test_open(void **state)
{
    (void)state;
    fail_each("open", "EMFILE");
}
static void test_unlink(void **state)
{
    (void)state;
    fail_each("unlink", "EIO");
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "scenario"))
        return scenario();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spawn), cmocka_unit_test(test_memfd), cmocka_unit_test(test_mmap),
        cmocka_unit_test(test_mkdir), cmocka_unit_test(test_open),  cmocka_unit_test(test_unlink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

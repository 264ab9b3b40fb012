/*
 * test_registry_faults: the k-th step of SQLite fails, for every k of a small life. What was acknowledged is
 * there after a restart, what was refused is not, and the registry goes on working. Each k runs in its own
 * process, because a plan of faults is a process's.
 */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "core_test.h"

#define QUERIES 3

/* What the child says it was told; one byte each: 'y' acknowledged, 'n' refused, 0 not reached. */
struct told {
    char put[QUERIES], end[QUERIES], opened;
    struct qid id[QUERIES];
};

static void live(struct place *p, struct told *t)
{
    struct err e;
    if (place_open(p, &e)) {
        if (!e.text[0])
            _exit(3);
        if (p->r)
            place_close(p);
        return;
    }
    t->opened = 'y';
    for (int i = 0; i < QUERIES; i++) {
        struct query_record q = record_of(p, 1000 + i), g;
        t->id[i] = q.id;
        t->put[i] = do_it(p, PUT, &q, 0, &e) ? 'n' : 'y';
        if (t->put[i] == 'n' && (e.code == 0 || !e.text[0]))
            _exit(4);
        struct result r = {.update_count = 7};
        q.state = QUERY_FINISHED;
        q.results = &r;
        q.nresults = 1;
        t->end[i] = do_it(p, END, &q, 0, &e) ? 'n' : 'y';
        struct arena *a = arena_new(1 << 16);
        int rc = registry_get_query(p->r, &q.id, a, &g, &e);
        if (rc == 0 && g.state == QUERY_FINISHED && g.nresults != 1)
            _exit(5);
        if (rc != 0 && !e.text[0])
            _exit(6);
        arena_free(a);
    }
    place_close(p);
}

static int with_fault(struct place *p, int k, const char *code, int pipe_fd)
{
    char plan[64];
    snprintf(plan, sizeof plan, "sqlite:%d:%s", k, code);
    setenv("QUERN_FAULT", plan, 1);
    sys_init();
    struct told t;
    memset(&t, 0, sizeof t);
    live(p, &t);
    return write(pipe_fd, &t, sizeof t) == (ssize_t)sizeof t ? 0 : 2;
}

static void check(struct place *p, const struct told *t, int k)
{
    struct err e;
    assert_int_equal(place_open(p, &e), 0);
    struct arena *a = arena_new(1 << 20);
    int refused = 0;
    char why[120] = "";
    for (int i = 0; i < QUERIES && t->opened; i++) {
        struct query_record g;
        int rc = registry_get_query(p->r, &t->id[i], a, &g, &e);
        if (rc != (t->put[i] == 'y' ? 0 : ERR_NOTFOUND))
            snprintf(why, sizeof why, "query %d was told %c, but is rc %d", i, t->put[i], rc);
        if (rc == 0 && (g.state == QUERY_FINISHED) != (t->end[i] == 'y'))
            snprintf(why, sizeof why, "end %d was told %c, but is state %d", i, t->end[i], g.state);
        refused += t->put[i] == 'n' || (t->put[i] == 'y' && t->end[i] == 'n');
    }
    if (refused > 1)
        snprintf(why, sizeof why, "one fault refused %d writes", refused);
    arena_free(a);
    place_close(p);
    if (why[0])
        fail_msg("fault %d: %s", k, why);
}

static void test_every_step(void **state)
{
    (void)state;
    int reached = 0;
    for (int k = 1; k < 90; k++) {
        struct place p;
        int fds[2], status;
        struct told t;
        place_make(&p);
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        if (pid == 0)
            _exit(with_fault(&p, k, k % 2 ? "EIO" : "ENOSPC", fds[1]));
        close(fds[1]);
        ssize_t n = read(fds[0], &t, sizeof t);
        close(fds[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (status != 0)
            fail_msg("fault %d: the process ended with status %x", k, (unsigned)status);
        assert_int_equal(n, sizeof t);
        reached += t.opened != 0;
        check(&p, &t, k);
        place_remove(&p);
    }
    assert_true(reached > 40);
}

/* ---- a disk that really is full, in the middle of a transaction of several writes, and has room again later
 * ---- */

#define WRITES 64

struct full {
    struct qid id[WRITES];
    char told[WRITES];
};
struct full_write {
    struct registry_write w;
    struct query_record q;
    char *told;
};

static int full_apply(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_put_query(r, &((struct full_write *)(void *)w)->q, e);
}

static void full_done(struct registry_write *w, int rc, const struct err *e)
{
    (void)e;
    *((struct full_write *)(void *)w)->told = rc == 0 ? 'y' : 'n';
}

static void fill(struct place *p, struct full *f)
{
    static char sql[30000];
    static struct full_write w[WRITES];
    struct rlimit limit = {400000, RLIM_INFINITY};
    memset(sql, 'x', sizeof sql);
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit))
        _exit(3);
    for (int i = 0; i < WRITES; i++) {
        w[i] = (struct full_write){
            .w = {.apply = full_apply, .done = full_done}, .q = record_of(p, 1000 + i), .told = &f->told[i]};
        w[i].q.sql = sql;
        w[i].q.sql_len = i % 3 ? sizeof sql : 10;
        f->id[i] = w[i].q.id;
        if (i == WRITES - 8) { /* room again */
            registry_sync(p->r);
            limit.rlim_cur = RLIM_INFINITY;
            if (setrlimit(RLIMIT_FSIZE, &limit))
                _exit(3);
        }
        w[i].w.hold_until_ns = sys_mono_ns() + 60000000000; /* five to a transaction */
        registry_queue(p->r, &w[i].w);
        if (i % 5 == 4)
            registry_sync(p->r);
    }
    place_close(p);
}

static void test_full_disk(void **state)
{
    (void)state;
    struct place p;
    struct err e;
    struct full f;
    int fds[2], status;
    place_make(&p);
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        memset(&f, 0, sizeof f);
        if (place_open(&p, &e))
            _exit(1);
        fill(&p, &f);
        _exit(write(fds[1], &f, sizeof f) == (ssize_t)sizeof f ? 0 : 2);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &f, sizeof f), sizeof f);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(place_open(&p, &e), 0);
    struct arena *a = arena_new(16 << 20);
    int yes = 0, no = 0, wrong = 0;
    for (int i = 0; i < WRITES; i++) {
        struct query_record g;
        int rc = registry_get_query(p.r, &f.id[i], a, &g, &e);
        wrong += rc != (f.told[i] == 'y' ? 0 : ERR_NOTFOUND);
        yes += f.told[i] == 'y';
        no += f.told[i] == 'n';
    }
    arena_free(a);
    place_close(&p);
    place_remove(&p);
    assert_int_equal(wrong, 0);
    assert_int_equal(yes + no, WRITES);
    assert_true(yes > 8 && no > 8);
    for (int i = WRITES - 8; i < WRITES; i++)
        assert_int_equal(f.told[i], 'y');
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_step), cmocka_unit_test(test_full_disk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

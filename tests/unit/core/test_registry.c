/* test_registry: the writer. Group commit, held writes, savepoints, order, versions of the file. */
#include <semaphore.h>

#include "core_test.h"

/* ---- many threads ---- */

#define THREADS 8
#define EACH    125

struct counted {
    struct registry_write w;
    struct query_record q;
    atomic_int *done, *bad;
};

static int counted_apply(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_put_query(r, &((struct counted *)(void *)w)->q, e);
}

static void counted_done(struct registry_write *w, int rc, const struct err *e)
{
    (void)e;
    struct counted *c = (struct counted *)(void *)w;
    if (rc)
        atomic_fetch_add(c->bad, 1);
    atomic_int *done = c->done;
    free(c);
    atomic_fetch_add(done, 1);
}

struct crowd {
    struct place *p;
    atomic_int done, bad;
};

static void *crowd_main(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < EACH; i++) {
        struct counted *w = calloc(1, sizeof *w);
        w->w.apply = counted_apply;
        w->w.done = counted_done;
        w->q = record_of(c->p, 1700000000000 + i);
        w->done = &c->done;
        w->bad = &c->bad;
        registry_queue(c->p->r, &w->w);
    }
    return NULL;
}

static void test_crowd(void **state)
{
    struct place *p = *state;
    struct crowd c = {.p = p};
    pthread_t t[THREADS];
    struct err e;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, crowd_main, &c);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    registry_sync(p->r);
    assert_int_equal(atomic_load(&c.done), THREADS * EACH);
    assert_int_equal(atomic_load(&c.bad), 0);
    assert_int_equal(registry_backlog(p->r), 0);
    place_close(p);
    assert_int_equal(place_open(p, &e), 0);
    struct arena *a = arena_new(1 << 20);
    struct qid *ids;
    size_t n;
    assert_int_equal(registry_unfinished(p->r, a, &ids, &n, &e), 0);
    assert_int_equal(n, THREADS * EACH);
    arena_free(a);
}

/* ---- one transaction for all that is queued ---- */

struct step {
    struct registry_write w;
    sem_t *gate;
    atomic_int *applied;
    int applied_at_done;
    atomic_int *done;
    int fail;
    const struct query_record *q;
};

static int step_apply(struct registry *r, struct registry_write *w, struct err *e)
{
    struct step *s = (struct step *)(void *)w;
    if (s->gate)
        sem_wait(s->gate);
    s->gate = NULL; /* another attempt does not wait again */
    atomic_fetch_add(s->applied, 1);
    int rc = s->q ? registry_put_query(r, s->q, e) : 0;
    return rc ? rc : s->fail ? err_set(e, s->fail, "XX000", "asked to fail") : 0;
}

static void step_done(struct registry_write *w, int rc, const struct err *e)
{
    struct step *s = (struct step *)(void *)w;
    assert_int_equal(rc, s->fail);
    if (rc)
        assert_string_equal(e->text, "asked to fail");
    s->applied_at_done = atomic_load(s->applied);
    atomic_fetch_add(s->done, 1);
}

static void test_group_commit(void **state)
{
    struct place *p = *state;
    enum { N = 600 };
    atomic_int applied = 0, done = 0;
    sem_t gate;
    sem_init(&gate, 0, 0);
    struct step *s = calloc(N, sizeof *s);
    for (int i = 0; i < N; i++) {
        s[i] = (struct step){.w = {.apply = step_apply, .done = step_done},
                             .gate = i ? NULL : &gate,
                             .applied = &applied,
                             .done = &done};
        registry_queue(p->r, &s[i].w);
    }
    sem_post(&gate);
    registry_sync(p->r);
    assert_int_equal(atomic_load(&done), N);
    /* All of a transaction are applied before the first of them is done, and there are few of them. */
    int transactions = 0;
    for (int i = 0; i < N; i++) {
        assert_true(s[i].applied_at_done > i);
        transactions += i == 0 || s[i].applied_at_done != s[i - 1].applied_at_done;
    }
    assert_true(transactions <= 4);
    free(s);
    sem_destroy(&gate);
}

static void test_savepoint(void **state)
{
    struct place *p = *state;
    atomic_int applied = 0, done = 0;
    sem_t gate;
    sem_init(&gate, 0, 0);
    struct query_record q[3] = {record_of(p, 1000), record_of(p, 2000), record_of(p, 3000)};
    struct step hold = {
        .w = {.apply = step_apply, .done = step_done}, .gate = &gate, .applied = &applied, .done = &done};
    struct step s[3];
    registry_queue(p->r, &hold.w);
    for (int i = 0; i < 3; i++) {
        s[i] = (struct step){.w = {.apply = step_apply, .done = step_done},
                             .applied = &applied,
                             .done = &done,
                             .q = &q[i],
                             .fail = i == 1 ? ERR_LIMIT : 0};
        registry_queue(p->r, &s[i].w);
    }
    sem_post(&gate);
    registry_sync(p->r);
    assert_int_equal(atomic_load(&done), 4);
    struct arena *a = arena_new(1 << 20);
    struct query_record got;
    struct err e;
    assert_int_equal(registry_get_query(p->r, &q[0].id, a, &got, &e), 0);
    assert_int_equal(registry_get_query(p->r, &q[1].id, a, &got, &e), ERR_NOTFOUND);
    assert_int_equal(registry_get_query(p->r, &q[2].id, a, &got, &e), 0);
    arena_free(a);
    sem_destroy(&gate);
}

/* ---- held writes ---- */

static void wait_for(atomic_int *done, int n)
{
    for (int i = 0; i < 60000 && atomic_load(done) < n; i++)
        sys_sleep_ms(1);
    assert_int_equal(atomic_load(done), n);
}

static struct step held(atomic_int *applied, atomic_int *done, int64_t ms)
{
    return (struct step){
        .w = {.apply = step_apply, .done = step_done, .hold_until_ns = sys_mono_ns() + ms * 1000000},
        .applied = applied,
        .done = done};
}

static void test_held(void **state)
{
    struct place *p = *state;
    atomic_int applied = 0, done = 0;
    /* Until its time. */
    int64_t start = sys_mono_ns();
    struct step a = held(&applied, &done, 60);
    registry_queue(p->r, &a.w);
    sys_sleep_ms(20);
    int early = atomic_load(&done);
    assert_true(early == 0 || sys_mono_ns() - start >= 60 * 1000000);
    wait_for(&done, 1);
    assert_true(sys_mono_ns() - start >= 60 * 1000000);
    /* Hurried. */
    struct step b = held(&applied, &done, 60000);
    registry_queue(p->r, &b.w);
    sys_sleep_ms(20);
    assert_int_equal(atomic_load(&done), 1);
    registry_hurry(p->r);
    wait_for(&done, 2);
    /* Taken along by another one. */
    struct step c = held(&applied, &done, 60000);
    registry_queue(p->r, &c.w);
    assert_int_equal(registry_backlog(p->r), 1);
    registry_sync(p->r);
    wait_for(&done, 3);
    /* A hurry without anything queued does not hurry the next one. */
    registry_hurry(p->r);
    struct step d = held(&applied, &done, 60000);
    registry_queue(p->r, &d.w);
    sys_sleep_ms(20);
    assert_int_equal(atomic_load(&done), 3);
    /* Closing applies it. */
    place_close(p);
    assert_int_equal(atomic_load(&done), 4);
}

/* ---- the file ---- */

static void edit(struct place *p, off_t at, const void *bytes, size_t n)
{
    char path[200];
    snprintf(path, sizeof path, "%s/registry.db", p->dir);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, at), (ssize_t)n);
    close(fd);
}

static void test_newer(void **state)
{
    struct place *p = *state;
    struct err e;
    place_close(p);
    edit(p, 60, "\0\0\x27\x0f", 4); /* user_version, big endian */
    assert_int_equal(place_open(p, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "9999"));
    assert_null(p->r);
}

static void test_no_registry(void **state)
{
    struct place *p = *state;
    struct err e;
    place_close(p);
    edit(p, 0, "this is not a database at all", 29);
    assert_int_equal(place_open(p, &e), ERR_CORRUPT);
    assert_null(p->r);
    struct place q = *p;
    strncpy(q.dir, "/nonexistent/quern", sizeof q.dir - 1);
    assert_int_not_equal(place_open(&q, &e), 0);
    assert_null(q.r);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_place, teardown_place)
    const struct CMUnitTest tests[] = {T(test_crowd), T(test_group_commit), T(test_savepoint),
                                       T(test_held),  T(test_newer),        T(test_no_registry)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

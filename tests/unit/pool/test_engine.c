/*
 * test_engine: one job against the fake engine, good and bad. Each bad behaviour must cost that job, with its
 * own kind of end, and nothing else: after each one the next acquire works, and at the end descriptors,
 * children and folders are what they were.
 */
#include <sys/resource.h>

#include "pool_test.h"

struct outcome {
    enum engine_event_type end;
    char text[ERR_TEXT_MAX];
    uint64_t batches, rows, beats;
    int64_t update_count;
    int64_t ns;
};

/* What core does with a batch: check it, and call a liar a liar. */
static bool batch_ok(const struct schema *s, const struct engine_batch *b, struct err *e)
{
    struct arena *a = arena_new(16 << 20);
    struct batch_index *ix;
    bool ok = batch_index_read(b->index, b->index_len, s, a, &ix, e) == 0;
    if (ok && (ix->rows != b->rows || ix->body_len != b->body_len)) {
        (void)err_set(e, ERR_CORRUPT, NULL, "index and frame differ");
        ok = false;
    }
    ok = ok && batch_check(s, ix, b->body, e) == 0;
    arena_free(a);
    return ok;
}

static struct outcome run_on(struct engine *x, const char *sql, int cancel_after_ms, bool kill_now)
{
    struct outcome o = {.update_count = -1};
    struct engine_event *ev = calloc(1, sizeof *ev);
    struct err e;
    err_clear(&e);
    int64_t begun = sys_mono_ns(), cancel_at = cancel_after_ms < 0 ? INT64_MAX : begun + cancel_after_ms * MS;
    const struct schema *schema = NULL;
    start(x, sql);
    for (bool over = false; !over;) {
        int rc = engine_next(x, in_ms(20), ev, &e);
        if (rc)
            print_error("engine_next: %s\n", e.text);
        assert_int_equal(rc, 0);
        if (sys_mono_ns() >= cancel_at) {
            engine_cancel(x, kill_now);
            cancel_at = INT64_MAX;
        }
        switch (ev->type) {
        case ENGINE_PLANNED:
            schema = ev->planned.schema;
            break;
        case ENGINE_BATCH:
            o.batches++;
            o.rows += ev->batch.rows;
            if (!batch_ok(schema, &ev->batch, &e))
                engine_liar(x, e.text);
            break;
        case ENGINE_WANT:
            break;
        case ENGINE_BEAT:
            o.beats++;
            break;
        case ENGINE_DONE:
            assert_true(ev->done.rows >= o.rows);
            o.rows = ev->done.rows;
            o.update_count = ev->done.update_count;
            if (ev->done.index_len) {
                struct engine_batch b = {ev->done.index, ev->done.index_len, ev->done.body, ev->done.body_len,
                                         3};
                assert_true(batch_ok(schema, &b, &e));
            }
            over = true;
            break;
        case ENGINE_FAILED:
        case ENGINE_CRASHED:
        case ENGINE_HUNG:
        case ENGINE_LIED:
        case ENGINE_KILLED:
            (void)snprintf(o.text, sizeof o.text, "%s", ev->failed.error.text);
            over = true;
            break;
        case ENGINE_SCRIPT: /* not asked for here */
        case ENGINE_TICK:
            break;
        }
    }
    o.end = ev->type;
    o.ns = sys_mono_ns() - begun;
    free(ev);
    return o;
}

static struct outcome run(struct fixture *f, const char *sql)
{
    struct engine_key k = key_of(1, 1, "");
    struct engine *x = acquire(f, &k);
    struct outcome o = run_on(x, sql, -1, false);
    engine_release(x);
    return o;
}

static void expect(struct fixture *f, const char *sql, enum engine_event_type end, const char *text)
{
    struct outcome o = run(f, sql);
    if (getenv("QUERN_TEST_TIMES"))
        print_message("%s: %lld us, \"%s\"\n", sql, (long long)o.ns / 1000, o.text);
    if (o.end != end || (text && !strstr(o.text, text)))
        print_error("%s: end %d, \"%s\"\n", sql, (int)o.end, o.text);
    assert_int_equal(o.end, end);
    if (text)
        assert_non_null(strstr(o.text, text));
    struct outcome next = run(f, "small");
    assert_int_equal(next.end, ENGINE_DONE);
    assert_int_equal(next.rows, 3);
}

static void test_good(void **state)
{
    struct fixture *f = *state;
    struct outcome o = run(f, "small");
    assert_int_equal(o.end, ENGINE_DONE);
    assert_int_equal(o.rows, 3);
    assert_int_equal(o.batches, 0);
    o = run(f, "three");
    assert_int_equal(o.end, ENGINE_DONE);
    assert_int_equal(o.rows, 3000);
    assert_int_equal(o.batches, 3);
    o = run(f, "both");
    assert_int_equal(o.rows, 13);
    o = run(f, "update");
    assert_int_equal(o.update_count, 7);
    o = run(f, "empty");
    assert_int_equal(o.end, ENGINE_DONE);
    o = run(f, "flood");
    assert_int_equal(o.end, ENGINE_DONE);
    assert_int_equal(o.beats, 5000);
    o = run(f, "descriptors");
    assert_int_equal(o.end, ENGINE_DONE);
    o = run(f, "failed");
    assert_int_equal(o.end, ENGINE_FAILED);
    assert_non_null(strstr(o.text, "nope"));
    assert_int_equal(pool_idle(f->pool), 1); /* one process did it all */
}

static void test_big(void **state)
{
    struct fixture *f = *state;
    struct outcome o = run(f, "big");
    assert_int_equal(o.end, ENGINE_DONE);
    assert_int_equal(o.rows, 20000000);
    print_message("100 batches of 200,000 rows checked in %lld ms\n", (long long)(o.ns / MS));
}

static void test_plan_only(void **state)
{
    struct fixture *f = *state;
    struct engine_key k = key_of(1, 1, "");
    struct engine *x = acquire(f, &k);
    struct wire_job j = job_of("three");
    j.plan_only = true;
    struct engine_event *ev = calloc(1, sizeof *ev);
    struct err e;
    assert_int_equal(engine_start(x, &j, &e), 0);
    assert_int_equal(engine_next(x, in_ms(60000), ev, &e), 0);
    assert_int_equal(ev->type, ENGINE_PLANNED);
    assert_int_equal(ev->planned.schema->ncolumns, 2);
    assert_int_equal(engine_next(x, in_ms(60000), ev, &e), 0);
    assert_int_equal(ev->type, ENGINE_DONE);
    assert_int_equal(engine_next(x, in_ms(10), ev, &e), ERR_INTERNAL);
    free(ev);
    assert_int_equal(run_on(x, "three", -1, false).rows, 3000); /* plan, then run, on one engine */
    engine_release(x);
    assert_int_equal(pool_idle(f->pool), 1);
}

static void test_lies(void **state)
{
    static const struct {
        const char *sql, *text;
    } lies[] = {
        {"lie plan", "planned twice"},
        {"lie no plan", "before the plan"},
        {"lie batch no plan", "before the plan"},
        {"lie no columns", "without columns"},
        {"lie total", "add up"},
        {"lie inline rows", "add up"},
        {"lie inline size", "too large"},
        {"lie max rows", "more rows"},
        {"lie type", "no frame"},
        {"lie our type", "no frame"},
        {"lie reserved", "no frame"},
        {"lie long", "no frame"},
        {"lie payload", "decode"},
        {"lie ready", "out of turn"},
        {"lie job", "another job"},
        {"lie job batch", "another job"},
        {"lie script", "none was asked for"},
        {"lie script late", "none was asked for"},
        {"lie script out", "outside of the text"},
        {"lie slot", NULL},
        {"lie index long", NULL},
        {"lie index short", NULL},
        {"lie body long", NULL},
        {"lie body past end", NULL},
        {"flaw counts", NULL},
        {"flaw magic", NULL},
        {"flaw null-count", NULL},
        {"flaw node-rows", NULL},
        {"flaw buffer-beyond", NULL},
        {"flaw offsets", NULL},
        {"flaw offset-beyond", NULL},
        {"flaw utf8", NULL},
        {"flaw frame-rows", NULL},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        expect(*state, lies[i].sql, ENGINE_LIED, lies[i].text);
}

/* More rows than the statement was allowed, though the child's own sums are right. */
static void test_limits(void **state)
{
    struct fixture *f = *state;
    struct engine_key k = key_of(1, 1, "");
    struct engine_event *ev = calloc(1, sizeof *ev);
    struct err e;
    for (int i = 0; i < 3; i++) {
        struct engine *x = acquire(f, &k);
        struct wire_job j = job_of(i < 2 ? "three" : "small");
        if (i == 0)
            j.row_limit = 2999;
        else if (i == 1)
            j.max_rows = 2999;
        else
            j.row_limit = 0;
        assert_int_equal(engine_start(x, &j, &e), 0);
        do
            assert_int_equal(engine_next(x, in_ms(60000), ev, &e), 0);
        while (ev->type == ENGINE_PLANNED || ev->type == ENGINE_BATCH || ev->type == ENGINE_BEAT);
        assert_int_equal(ev->type, ENGINE_LIED);
        assert_non_null(strstr(ev->failed.error.text, "more rows"));
        engine_release(x);
    }
    free(ev);
}

static void test_refused(void **state)
{
    expect(*state, "shrink", ENGINE_FAILED, "shrink refused");
}

/* The child writes to a batch while it is looked at: what is looked at stays as it was. */
static void test_scribble(void **state)
{
    struct fixture *f = *state;
    struct engine_key k = key_of(1, 1, "");
    struct engine *x = acquire(f, &k);
    struct engine_event *ev = calloc(1, sizeof *ev);
    struct err e;
    const struct schema *schema = NULL;
    start(x, "scribble");
    do {
        assert_int_equal(engine_next(x, in_ms(60000), ev, &e), 0);
        if (ev->type == ENGINE_PLANNED)
            schema = ev->planned.schema;
    } while (ev->type == ENGINE_PLANNED || ev->type == ENGINE_BEAT || ev->type == ENGINE_TICK);
    assert_int_equal(ev->type, ENGINE_BATCH);
    assert_true(batch_ok(schema, &ev->batch, &e));
    uint8_t *before = malloc(ev->batch.body_len);
    memcpy(before, ev->batch.body, ev->batch.body_len);
    for (int i = 0; i < 20000; i++)
        assert_int_equal(memcmp(before, ev->batch.body, ev->batch.body_len), 0);
    free(before);
    do
        assert_int_equal(engine_next(x, in_ms(60000), ev, &e), 0);
    while (ev->type == ENGINE_BEAT || ev->type == ENGINE_TICK);
    assert_int_equal(ev->type, ENGINE_DONE);
    engine_release(x);
    free(ev);
}

static void test_crashes(void **state)
{
    expect(*state, "exit 0", ENGINE_CRASHED, "exit code 0");
    expect(*state, "exit 0 mid", ENGINE_CRASHED, "exit code 0");
    expect(*state, "exit 7", ENGINE_CRASHED, "exit code 7");
    expect(*state, "close", ENGINE_CRASHED, "closed its connection");
    expect(*state, "segv", ENGINE_CRASHED, "killed by SIGSEGV");
    expect(*state, "abort", ENGINE_CRASHED, "killed by SIGABRT");
    expect(*state, "fatal", ENGINE_FAILED, "broken");
}

static void test_killed_from_outside(void **state)
{
    struct fixture *f = *state;
    struct engine_key k = key_of(1, 1, "");
    struct engine *x = acquire(f, &k);
    kill(engine_pid(x), SIGKILL);
    struct outcome o = run_on(x, "small", -1, false); /* it died before the job: told all the same */
    assert_int_equal(o.end, ENGINE_CRASHED);
    assert_non_null(strstr(o.text, "SIGKILL"));
    engine_release(x);
    expect(f, "small", ENGINE_DONE, NULL);
}

static void test_silence(void **state)
{
    static const char *const silent[] = {"hang", "hang at once", "stop", "trickle"};
    for (size_t i = 0; i < sizeof silent / sizeof *silent; i++) {
        int64_t usual = config.engine_silence;
        config.engine_silence = 1500;
        struct outcome o = run(*state, silent[i]);
        config.engine_silence = usual;
        assert_int_equal(o.end, ENGINE_HUNG);
        assert_string_equal(o.text, "engine stopped answering");
        assert_true(o.ns / MS >= 1300);
        assert_int_equal(run(*state, "small").end, ENGINE_DONE);
    }
}

static void test_deaf(void **state)
{
    struct fixture *f = *state;
    struct engine_key k = key_of(1, 1, "/nowhere/deaf");
    struct engine *x = acquire(f, &k);
    size_t n = 8 << 20;
    char *sql = malloc(n + 1);
    memset(sql, 'x', n);
    sql[n] = 0;
    struct wire_job j = job_of(sql);
    struct err e;
    int64_t begun = sys_mono_ns(), usual = config.engine_silence;
    config.engine_silence = 1500;
    assert_int_equal(engine_start(x, &j, &e), ERR_ENGINE);
    config.engine_silence = usual;
    assert_string_equal(e.text, "engine stopped answering");
    assert_true((sys_mono_ns() - begun) / MS >= 1000);
    engine_release(x);
    free(sql);
    expect(f, "small", ENGINE_DONE, NULL);
}

static void test_cancel(void **state)
{
    struct fixture *f = *state;
    struct engine_key k = key_of(1, 1, "");
    struct engine *x = acquire(f, &k);
    int64_t usual = config.engine_grace;
    config.engine_grace = 60000;
    struct outcome o = run_on(x, "obey cancel", 100, false);
    config.engine_grace = usual;
    assert_int_equal(o.end, ENGINE_FAILED);
    assert_string_equal(o.text, "interrupted");
    engine_release(x);
    assert_int_equal(pool_idle(f->pool), 1); /* it obeyed: kept */
    x = acquire(f, &k);
    o = run_on(x, "ignore cancel", 100, false);
    assert_int_equal(o.end, ENGINE_KILLED);
    assert_true(o.ns / MS >= 390);
    engine_release(x);
    assert_int_equal(pool_idle(f->pool), 0);
    x = acquire(f, &k);
    config.engine_grace = 60000;
    o = run_on(x, "ignore cancel", 100, true);
    config.engine_grace = usual;
    assert_int_equal(o.end, ENGINE_KILLED);
    assert_true(o.ns < 30000 * MS); /* without any grace */
    engine_release(x);
    /* before the start: the job never reaches the child, and the engine is as good as new */
    x = acquire(f, &k);
    engine_cancel(x, false);
    engine_cancel(x, false);
    struct wire_job j = job_of("small");
    struct err e;
    assert_int_equal(engine_start(x, &j, &e), ERR_CANCELED);
    engine_release(x);
    assert_int_equal(pool_idle(f->pool), 1);
    assert_int_equal(run(f, "small").end, ENGINE_DONE);
}

/* The owner is away (a slow disk); the grace ends in a kill all the same. */
static void test_cancel_owner_away(void **state)
{
    struct fixture *f = *state;
    struct engine_key k = key_of(1, 1, "");
    struct engine *x = acquire(f, &k);
    struct engine_event *ev = calloc(1, sizeof *ev);
    struct err e;
    start(x, "ignore cancel");
    assert_int_equal(engine_next(x, in_ms(60000), ev, &e), 0);
    engine_cancel(x, false);
    for (int i = 0; i < 6000 && kill(engine_pid(x), 0) == 0; i++)
        sys_sleep_ms(10);
    assert_true(kill(engine_pid(x), 0) < 0 && errno == ESRCH);
    do
        assert_int_equal(engine_next(x, in_ms(60000), ev, &e), 0);
    while (ev->type == ENGINE_BEAT || ev->type == ENGINE_PLANNED);
    assert_int_equal(ev->type, ENGINE_KILLED);
    free(ev);
    engine_release(x);
}

struct cancel_arg {
    struct engine *x;
    unsigned us;
    bool kill_now;
};

static void *cancel_thread(void *arg)
{
    struct cancel_arg *c = arg;
    struct timespec ts = {0, (long)c->us * 1000};
    nanosleep(&ts, NULL);
    engine_cancel(c->x, c->kill_now);
    engine_cancel(c->x, false);
    return NULL;
}

/* Cancel at every moment of a job that ends by itself. */
static void test_cancel_race(void **state)
{
    struct fixture *f = *state;
    struct engine_key k = key_of(1, 1, "");
    int ends[16] = {0};
    for (unsigned i = 0; i < 60; i++) {
        struct engine *x = acquire(f, &k);
        struct cancel_arg c = {x, i * 30, i % 3 == 0};
        pthread_t t;
        assert_int_equal(pthread_create(&t, NULL, cancel_thread, &c), 0);
        struct wire_job j = job_of("three");
        struct err e;
        struct engine_event *ev = calloc(1, sizeof *ev);
        int rc = engine_start(x, &j, &e);
        assert_true(rc == 0 || rc == ERR_CANCELED || rc == ERR_ENGINE);
        while (rc == 0) {
            assert_int_equal(engine_next(x, in_ms(60000), ev, &e), 0);
            if (ev->type != ENGINE_BATCH && ev->type != ENGINE_PLANNED && ev->type != ENGINE_BEAT)
                break;
        }
        if (rc == 0) {
            ends[ev->type]++;
            assert_true(ev->type == ENGINE_DONE || ev->type == ENGINE_KILLED);
        }
        pthread_join(t, NULL);
        free(ev);
        engine_release(x);
        assert_int_equal(run(f, "small").end, ENGINE_DONE);
    }
    print_message("done %d, killed %d, not started %d\n", ends[ENGINE_DONE], ends[ENGINE_KILLED],
                  60 - ends[ENGINE_DONE] - ends[ENGINE_KILLED]);
}

/* Nothing of the daemon reaches the child. */
static void test_given(void **state)
{
    int keep = open("/dev/null", O_RDONLY); /* without close-on-exec, on purpose */
    assert_true(keep > 3);
    expect(*state, "given", ENGINE_FAILED, NULL);
    struct outcome o = run(*state, "given");
    close(keep);
    if (!strstr(o.text, "env 0 fds 0 1 2 3"))
        print_error("%s\n", o.text);
    assert_string_equal(o.text, "env 0 fds 0 1 2 3");
}

static void test_own_faults(void **state)
{
    struct fixture *f = *state;
    struct engine_key k = key_of(1, 1, "");
    struct engine *x = acquire(f, &k);
    struct rlimit old, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct wire_job j = job_of("three");
    struct err e;
    err_clear(&e);
    int rc = engine_start(x, &j, &e);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(rc < 0);
    assert_non_null(strstr(e.text, "memory for a batch"));
    engine_release(x);
    assert_int_equal(run(f, "three").end, ENGINE_DONE);
    /* the same in the middle of a job */
    x = acquire(f, &k);
    start(x, "big");
    struct engine_event *ev = calloc(1, sizeof *ev);
    do
        assert_int_equal(engine_next(x, in_ms(60000), ev, &e), 0);
    while (ev->type != ENGINE_BATCH);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    rc = engine_next(x, in_ms(60000), ev, &e); /* its batches need no more of them */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(rc, 0);
    free(ev);
    engine_release(x);
    /* a start that cannot be made */
    struct engine_key other = key_of(2, 1, "");
    config.engine_idle_max = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    rc = pool_acquire(f->pool, &other, &x, &e);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    if (rc == 0)
        engine_release(x); /* from the spare, which was there already */
    else
        assert_int_equal(rc, ERR_BUSY);
    assert_int_equal(run(f, "three").end, ENGINE_DONE);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, pool_up, pool_down)
    const struct CMUnitTest tests[] = {
        T(test_good),
        T(test_big),
        T(test_plan_only),
        T(test_lies),
        T(test_limits),
        T(test_refused),
        T(test_crashes),
        T(test_killed_from_outside),
        T(test_scribble),
        T(test_limits),
        T(test_scribble),
        T(test_crashes),
        T(test_killed_from_outside),
        T(test_silence),
        T(test_deaf),
        T(test_cancel),
        T(test_cancel_owner_away),
        T(test_cancel_race),
        T(test_given),
        T(test_own_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

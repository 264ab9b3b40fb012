/*
 * The state machine of parked requests: who wakes, exactly once, and nothing outlives its owner. The last
 * test is a storm of all four causes from four threads at once; it is what ThreadSanitizer is for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sys.h"
#include "http/watch.h"
#include "stub.h"

static struct watch *watch;

struct owner {
    _Atomic int resumed;
};

static void resume(void *arg)
{
    struct owner *o = arg;
    atomic_fetch_add(&o->resumed, 1);
}

static bool resumed_within(struct owner *o, int ms)
{
    for (int i = 0; i < ms && !atomic_load(&o->resumed); i++)
        sys_sleep_ms(1);
    return atomic_load(&o->resumed) == 1;
}

static int begin(void **state)
{
    (void)state;
    stub_begin();
    return watch_start(&watch, NULL);
}

static int end(void **state)
{
    (void)state;
    watch_stop(watch);
    stub_end();
    return atomic_load(&stub_live_queries);
}

static void wakes_by_query(void **state)
{
    (void)state;
    struct owner o = {0};
    struct query *q = stub_query_new();
    struct park *p = park_new(watch, -1, q, QF_ENDED, 0, sys_mono_ns() + 60000000000, resume, &o);
    assert_true(park_register(p));
    assert_true(park_commit(p));
    stub_query_signal(q, QF_PLANNED);
    assert_int_equal(o.resumed, 0);
    stub_query_signal(q, QF_ENDED);
    assert_int_equal(o.resumed, 1);
    assert_int_equal(park_end(p), PARK_WAKE);
    query_unref(q);
}

static void not_when_it_would_wake(void **state)
{
    (void)state;
    struct owner o = {0};
    struct query *q = stub_query_new();
    stub_query_signal(q, QF_ENDED);
    struct park *p = park_new(watch, -1, q, QF_ENDED, 0, 0, resume, &o);
    assert_false(park_register(p));
    assert_int_equal(park_end(p), PARK_NONE);
    assert_int_equal(o.resumed, 0);
    query_unref(q);
}

static void woken_while_parking(void **state)
{
    (void)state;
    struct owner o = {0};
    struct query *q = stub_query_new();
    struct park *p = park_new(watch, -1, q, 0, q->version, 0, resume, &o);
    assert_true(park_register(p));
    stub_query_signal(q, QF_ROWS);
    assert_false(park_commit(p)); /* the owner has to go on by himself */
    assert_int_equal(o.resumed, 0);
    assert_int_equal(park_end(p), PARK_WAKE);
    query_unref(q);
}

static void wakes_at_deadline(void **state)
{
    (void)state;
    struct query *q = stub_query_new();
    struct owner late = {0}, soon = {0};
    struct park *a = park_new(watch, -1, q, QF_ENDED, 0, sys_mono_ns() + 3600000000000, resume, &late);
    assert_true(park_register(a) && park_commit(a));
    int64_t begun = sys_mono_ns();
    struct park *b = park_new(watch, -1, q, QF_ENDED, 0, begun + 30000000, resume, &soon);
    assert_true(park_register(b) && park_commit(b));
    assert_true(resumed_within(&soon, 60000));
    assert_true(sys_mono_ns() - begun >= 30000000);
    assert_int_equal(park_end(b), PARK_DEADLINE);
    assert_int_equal(late.resumed, 0);
    park_fire(a, PARK_STOP);
    assert_int_equal(late.resumed, 1);
    assert_int_equal(park_end(a), PARK_STOP);
    query_unref(q);
}

static void notices_the_client_leave(void **state)
{
    (void)state;
    struct owner o = {0};
    struct query *q = stub_query_new();
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct park *p = park_new(watch, pair[0], q, QF_ENDED, 0, 0, resume, &o);
    assert_true(park_register(p) && park_commit(p));
    assert_int_equal(write(pair[1], "more", 4), 4); /* input is no reason */
    sys_sleep_ms(20);
    assert_int_equal(o.resumed, 0);
    close(pair[1]);
    assert_true(resumed_within(&o, 60000));
    assert_int_equal(park_end(p), PARK_GONE);
    close(pair[0]);
    query_unref(q);
}

static void fire_all_reaches_everyone(void **state)
{
    (void)state;
    enum { N = 300 };
    static struct owner o[N];
    struct park *p[N];
    struct query *q = stub_query_new();
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    for (int i = 0; i < N; i++) {
        p[i] = park_new(watch, -1, q, QF_ENDED, 0, sys_mono_ns() + 3600000000000 - i * 1000, resume, &o[i]);
        assert_true(park_register(p[i]) && park_commit(p[i]));
    }
    watch_fire_all(watch, PARK_STOP);
    for (int i = 0; i < N; i++) {
        assert_int_equal(o[i].resumed, 1);
        assert_int_equal(park_end(p[i]), PARK_STOP);
    }
    close(pair[0]);
    close(pair[1]);
    query_unref(q);
}

static void sweep_shuts_down(void **state)
{
    (void)state;
    int pair[2];
    char c;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct watch_conn conn = {.fd = pair[0]};
    atomic_store(&conn.deadline_ns, sys_mono_ns() + 1000000);
    watch_conn_add(watch, &conn);
    assert_int_equal(read(pair[1], &c, 1), 0);
    watch_conn_remove(watch, &conn);
    close(pair[0]);
    close(pair[1]);
}

/* ---- the storm ---- */

static struct query *storm_query;
static _Atomic bool storm_over;
static _Atomic uint64_t reasons[5];

static void *waker(void *arg)
{
    (void)arg;
    while (!atomic_load(&storm_over)) {
        stub_query_signal(storm_query, 0); /* moves the version */
        sched_yield();
    }
    return NULL;
}

static void *stopper(void *arg)
{
    (void)arg;
    while (!atomic_load(&storm_over)) {
        watch_fire_all(watch, PARK_STOP);
        sys_sleep_ms(1);
    }
    return NULL;
}

static void *owner_thread(void *arg)
{
    uint64_t seed = (uintptr_t)arg;
    for (int i = 0; i < 3000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int pair[2] = {-1, -1};
        bool leave = (seed >> 40) % 4 == 0;
        if (leave && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
            abort();
        struct owner *o = calloc(1, sizeof *o); /* freed at the end: a late toucher shows */
        bool by_version = (seed >> 33) % 2;
        struct query_view v;
        query_view(storm_query, &v);
        struct park *p =
            park_new(watch, pair[0], storm_query, by_version ? 0 : QF_ENDED, by_version ? v.version : 0,
                     sys_mono_ns() + (int64_t)((seed >> 35) % 2000000), resume, o);
        bool registered = park_register(p), committed = registered && park_commit(p);
        if (leave)
            close(pair[1]);
        if (committed)
            while (!atomic_load(&o->resumed))
                sched_yield();
        enum park_reason why = park_end(p);
        if (committed ? why == PARK_NONE || atomic_load(&o->resumed) != 1 : atomic_load(&o->resumed) != 0)
            abort();
        atomic_fetch_add(&reasons[why], 1);
        free(o);
        if (leave)
            close(pair[0]);
    }
    return NULL;
}

static void storm(void **state)
{
    (void)state;
    storm_query = stub_query_new();
    pthread_t owners[3], others[2];
    pthread_create(&others[0], NULL, waker, NULL);
    pthread_create(&others[1], NULL, stopper, NULL);
    for (uintptr_t i = 0; i < 3; i++)
        pthread_create(&owners[i], NULL, owner_thread, (void *)(i + 1));
    for (int i = 0; i < 3; i++)
        pthread_join(owners[i], NULL);
    atomic_store(&storm_over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(others[i], NULL);
    print_message("woken by query %u, deadline %u, client %u, stop %u; not parked %u\n",
                  (unsigned)reasons[PARK_WAKE], (unsigned)reasons[PARK_DEADLINE],
                  (unsigned)reasons[PARK_GONE], (unsigned)reasons[PARK_STOP], (unsigned)reasons[PARK_NONE]);
    query_unref(storm_query);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wakes_by_query),           cmocka_unit_test(not_when_it_would_wake),
        cmocka_unit_test(woken_while_parking),      cmocka_unit_test(wakes_at_deadline),
        cmocka_unit_test(notices_the_client_leave), cmocka_unit_test(fire_all_reaches_everyone),
        cmocka_unit_test(sweep_shuts_down),         cmocka_unit_test(storm)};
    return cmocka_run_group_tests(tests, begin, end);
}

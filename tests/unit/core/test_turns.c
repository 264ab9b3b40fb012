/* Turns: order within a workspace, turns between workspaces, limits, cancel; and every step against a plain
 * model. Usage: running totals. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/turns.h"
#include "core/usage.h"

struct thing {
    struct turn_item item;
    int64_t workspace;
    int number;
};

static struct thing *thing_of(struct turn_item *i)
{
    return i ? (struct thing *)(void *)((char *)i - offsetof(struct thing, item)) : NULL;
}

static int take(struct turns *t)
{
    struct thing *x = thing_of(turns_take(t));
    return x ? x->number : -1;
}

static void test_order(void **state)
{
    (void)state;
    struct turns *t = turns_new();
    struct thing a[6] = {{.number = 0}, {.number = 1}, {.number = 2},
                         {.number = 3}, {.number = 4}, {.number = 5}};
    assert_int_equal(take(t), -1);
    for (int i = 0; i < 4; i++)
        assert_true(turns_push(t, 1, &a[i].item));
    assert_true(turns_push(t, 2, &a[4].item));
    assert_int_equal(turns_queued(t), 5);
    assert_int_equal(take(t), 0);
    assert_int_equal(take(t), 4); /* the other workspace's turn */
    assert_true(turns_push(t, 2, &a[5].item));
    assert_int_equal(take(t), 1);
    assert_int_equal(take(t), 5);
    assert_true(turns_cancel(t, &a[2].item));
    assert_false(turns_cancel(t, &a[2].item));
    assert_false(turns_cancel(t, &a[0].item)); /* taken */
    assert_int_equal(turns_queued(t), 1);
    assert_true(turns_push_front(t, 1, &a[0].item));
    assert_true(turns_push_front(t, 1, &a[1].item));
    assert_int_equal(take(t), 1);
    assert_int_equal(take(t), 0);
    assert_int_equal(take(t), 3);
    assert_true(turns_push_front(t, 1, &a[0].item)); /* into an empty lane */
    assert_true(turns_push(t, 1, &a[1].item));
    assert_int_equal(take(t), 0);
    assert_int_equal(take(t), 1);
    assert_false(turns_ready(t));
    assert_int_equal(turns_running_of(t, 1), 7);
    assert_int_equal(turns_running_of(t, 2), 2);
    turns_free(t);
}

static void test_limits(void **state)
{
    (void)state;
    struct turns *t = turns_new();
    struct thing a[8];
    for (int i = 0; i < 8; i++)
        a[i] = (struct thing){.number = i};
    assert_true(turns_limit(t, 1, 3, 1));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(turns_room(t, 1, 100), TURNS_ROOM);
        assert_true(turns_push(t, 1, &a[i].item));
    }
    assert_int_equal(turns_room(t, 1, 100), TURNS_FULL_WORKSPACE);
    assert_int_equal(turns_room(t, 2, 100), TURNS_ROOM);
    assert_int_equal(turns_room(t, 2, 3), TURNS_FULL);
    assert_true(turns_push(t, 2, &a[5].item));
    assert_int_equal(take(t), 0);
    assert_int_equal(take(t), 5);
    assert_int_equal(take(t), -1); /* workspace 1 is at its limit */
    assert_int_equal(turns_queued_of(t, 1), 2);
    assert_true(turns_limit(t, 1, 3, 2)); /* raised: at once */
    assert_int_equal(take(t), 1);
    assert_true(turns_limit(t, 1, 3, 1)); /* lowered: what runs goes on */
    turns_done(t, 1);
    assert_int_equal(take(t), -1);
    turns_done(t, 1);
    assert_int_equal(take(t), 2);
    turns_free(t);
}

/* Random steps beside the plainest model that can be written: arrays and linear search. */
#define SPACES 7
#define THINGS 400
static struct thing things[THINGS];
static struct {
    int wait[THINGS], n, running;
    int64_t slots, last;
} model[SPACES];

static void test_model(void **state)
{
    (void)state;
    const char *given = getenv("QUERN_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : 20240601u;
    printf("seed %u\n", seed);
    struct turns *t = turns_new();
    memset(model, 0, sizeof model);
    for (int i = 0; i < THINGS; i++)
        things[i] = (struct thing){.number = i, .workspace = -1};
    for (int w = 0; w < SPACES; w++)
        model[w].slots = -1;
    int64_t clock = 0, waiting = 0;
    for (int step = 0; step < 200000; step++) {
        int what = rand_r(&seed) % 100, w = rand_r(&seed) % SPACES, k = rand_r(&seed) % THINGS;
        if (what < 35) {
            if (things[k].workspace >= 0)
                continue;
            things[k].workspace = w;
            assert_true(turns_push(t, w, &things[k].item));
            model[w].wait[model[w].n++] = k;
            waiting++;
        } else if (what < 65) {
            int got = take(t);
            bool any = false;
            for (int i = 0; i < SPACES; i++)
                any |= model[i].n > 0 && (model[i].slots < 0 || model[i].running < model[i].slots);
            assert_int_equal(got >= 0, any);
            if (got < 0)
                continue;
            int64_t of = things[got].workspace;
            assert_int_equal(model[of].wait[0], got); /* first in, first out */
            assert_true(model[of].slots < 0 || model[of].running < model[of].slots);
            memmove(model[of].wait, model[of].wait + 1, (size_t)--model[of].n * sizeof(int));
            model[of].running++;
            model[of].last = ++clock;
            waiting--;
            things[got].workspace = -1;
        } else if (what < 85) {
            if (!model[w].running)
                continue;
            model[w].running--;
            turns_done(t, w);
        } else if (what < 95) {
            int64_t of = things[k].workspace;
            assert_int_equal(turns_cancel(t, &things[k].item), of >= 0);
            if (of < 0)
                continue;
            int at = 0;
            while (model[of].wait[at] != k)
                at++;
            memmove(model[of].wait + at, model[of].wait + at + 1, (size_t)(--model[of].n - at) * sizeof(int));
            things[k].workspace = -1;
            waiting--;
        } else {
            model[w].slots = rand_r(&seed) % 5 - 1;
            assert_true(turns_limit(t, w, -1, model[w].slots));
        }
        assert_int_equal(turns_queued(t), waiting);
        assert_int_equal(turns_queued_of(t, w), model[w].n);
        assert_int_equal(turns_running_of(t, w), model[w].running);
    }
    turns_free(t);
}

/* Thousands before it hold another one's next back by one start at most, whatever the number of workspaces. */
static void test_fair(void **state)
{
    (void)state;
    struct turns *t = turns_new();
    enum { LANES = 300 };
    static struct thing many[LANES][20];
    for (int i = 0; i < 20; i++)
        for (int w = 0; w < LANES; w++) {
            many[w][i] = (struct thing){.workspace = w, .number = i};
            assert_true(turns_push(t, w, &many[w][i].item));
        }
    for (int round = 0; round < 20; round++) {
        bool seen[LANES] = {false};
        for (int w = 0; w < LANES; w++) {
            struct thing *x = thing_of(turns_take(t));
            assert_non_null(x);
            assert_int_equal(x->number, round);
            assert_false(seen[x->workspace]);
            seen[x->workspace] = true;
        }
    }
    assert_null(turns_take(t));
    turns_free(t);
}

static void test_usage(void **state)
{
    (void)state;
    struct usage *u = usage_new();
    assert_int_equal(usage_of(u, 5), 0);
    assert_true(usage_take(u, 5, 60, 100));
    assert_false(usage_take(u, 5, 41, 100));
    assert_true(usage_take(u, 5, 40, 100));
    assert_false(usage_take(u, 5, 1, 100));
    assert_true(usage_take(u, 5, 1000, 0)); /* no limit */
    assert_false(usage_take(u, 5, 0, 100));
    assert_true(usage_take(u, 3, 7, -1));
    assert_int_equal(usage_total(u), 1107);
    usage_add(u, 5, -1050);
    assert_int_equal(usage_of(u, 5), 50);
    usage_add(u, 5, -1000); /* never below nothing */
    assert_int_equal(usage_of(u, 5), 0);
    assert_int_equal(usage_total(u), 7);
    usage_add(u, 9, INT64_MIN);
    assert_int_equal(usage_total(u), 7);
    usage_free(u);
}

static void *taker(void *arg)
{
    struct usage *u = arg;
    for (int i = 0; i < 20000; i++) {
        int64_t w = i % 13;
        if (usage_take(u, w, 10, 55))
            usage_add(u, w, -10);
        if (usage_of(u, w) > 55)
            abort();
    }
    return NULL;
}

static void test_usage_threads(void **state)
{
    (void)state;
    struct usage *u = usage_new();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, taker, u), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(usage_total(u), 0);
    usage_free(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order), cmocka_unit_test(test_limits), cmocka_unit_test(test_model),
        cmocka_unit_test(test_fair),  cmocka_unit_test(test_usage),  cmocka_unit_test(test_usage_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

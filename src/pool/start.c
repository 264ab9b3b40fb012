/*
 * start: bringing one engine process up (spawn or spare, SETUP, READY), and the self-test.
 *
 * READY must come within engine.silence, at least 5 s (a writer: engine.run_timeout); a process that does not
 * answer, dies or answers anything else is killed and costs one ERR_ENGINE. A spare that turns out dead is
 * replaced by a fresh process once. Threads: callers of pool_acquire, the chores thread.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "pool/pool_int.h"

#define READY_MIN_NS MS_NS(5000)
#define SELFTEST_NS  MS_NS(120000)
#define START_ARENA  (64u * 1024u)

/* A writer may have to replay the catalog's log first. */
static int64_t ready_deadline(const struct engine *x)
{
    int64_t ns = MS_NS(x->key->write ? CONF(engine_run_timeout) : CONF(engine_silence));
    return sys_mono_ns() + (ns < READY_MIN_NS ? READY_MIN_NS : ns);
}

/* Waits for the next frame. ERR_TIMEOUT, ERR_END, ERR_CORRUPT, ERR_CANCELED (the pool closes). */
static int wait_frame(struct engine *x, int64_t deadline, enum wire_type *t, const uint8_t **p, uint32_t *n)
{
    for (;;) {
        int rc = link__next(x, t, p, n);
        if (rc != ERR_WOULDBLOCK)
            return rc;
        if (sys_mono_ns() >= deadline)
            return ERR_TIMEOUT;
        link__wait(x, deadline);
    }
}

static int send_setup(struct engine *x, const struct engine_key *key, bool selftest, struct err *e)
{
    char *dir = NULL;
    if (asprintf(&dir, "%s/%s", x->pool->run_path, x->folder) < 0)
        return err_set(e, ERR_NOMEM, NULL, "out of memory");
    struct wire_setup m = {
        .version = WIRE_VERSION,
        .private_dir = dir,
        .catalog_path = key->catalog_path ? key->catalog_path : "",
        .catalog_write = key->write,
        .ndatasets = key->ndatasets,
        .datasets = key->datasets,
        .memory_wall = (uint64_t)(key->render ? config.render_memory : config.engine_memory),
        .spill_max = (uint64_t)(key->render ? config.render_max_file : config.engine_spill),
        .batch_max = slot__size(),
        .threads = (uint32_t)(key->render ? config.render_threads : config.engine_threads),
        .landlock_abi_max = (int32_t)config.engine_landlock_abi_max,
        .selftest = selftest,
        .render = key->render,
    };
    CLEANUP_BUF struct buf b = BUF_INIT(8u + wire_ceiling(WIRE_SETUP));
    int rc = wire_put_setup(&b, &m);
    free(dir);
    if (rc)
        return err_set(e, rc, NULL, "the workspace's data sets do not fit into one engine's setup");
    pthread_mutex_lock(&x->send_mu);
    rc = link__send(x, &b, -1);
    pthread_mutex_unlock(&x->send_mu);
    return rc;
}

/* The child says why it cannot serve; that is for the log only: it may speak of locks and files. */
static int setup_failed(const struct engine *x, const uint8_t *p, uint32_t n, struct err *e)
{
    struct wire_failed m;
    if (wire_get_failed(p, n, &m))
        return ERR_CORRUPT;
    log_event(LOG_ERROR, "pool", "an engine process could not open what it was given", "error", m.error.text,
              NULL);
    bool catalog = x->key->catalog_path && x->key->catalog_path[0];
    return err_set(e, ERR_ENGINE, "58030",
                   catalog ? "the engine could not open the workspace's catalog"
                           : "the engine could not start");
}

static int await_ready(struct engine *x, struct err *e)
{
    enum wire_type t;
    const uint8_t *p;
    uint32_t n;
    int rc = wait_frame(x, ready_deadline(x), &t, &p, &n);
    if (rc)
        return rc;
    if (t == WIRE_FAILED)
        return setup_failed(x, p, n, e);
    if (t != WIRE_READY)
        return ERR_CORRUPT;
    struct arena *a = arena_new(START_ARENA);
    if (!a)
        return err_set(e, ERR_NOMEM, NULL, "out of memory");
    struct wire_ready r;
    rc = wire_get_ready(p, n, a, &r);
    if (!rc && r.version != WIRE_VERSION)
        rc = ERR_CORRUPT;
    if (!rc) {
        (void)snprintf(x->library, sizeof x->library, "%s", r.library ? r.library : "");
        r.library = NULL;
        x->ready = r;
    }
    arena_free(a);
    return rc;
}

/* A spare, already running, or NULL. */
static struct engine *take_blank(struct pool *p)
{
    struct engine *x = p->all;
    while (x && !(x->state == STATE_BLANK && x->spawn_done && !x->dead && !x->killed))
        x = x->next;
    if (!x)
        return NULL;
    x->state = STATE_STARTING;
    p->blank_at_ns = sys_mono_ns() + MS_NS(BLANK_DELAY_MS);
    pool__wake(p);
    return x;
}

/* Makes or takes a process, gives it its key. */
static int obtain(struct pool *p, const struct engine_key *key, bool spare, struct engine **ret,
                  bool *ret_spare, struct err *e)
{
    struct arena *a;
    struct engine_key *copy;
    int rc = pool__key_copy(key, &a, &copy);
    if (rc)
        return err_set(e, rc, NULL, "out of memory");
    pthread_mutex_lock(&p->mu);
    struct engine *x = spare && !p->closing ? take_blank(p) : NULL;
    bool room = x || key->render || pool__room(p);
    struct pool_workspace *w = pool__workspace(p, key->workspace);
    int64_t most =
        config.engine_slots + config.engine_plan_slots + CONF(engine_idle_max) + config.render_slots + 32;
    if (p->closing) {
        rc = err_set(e, ERR_UNAVAILABLE, "57P01", "the engine pool is closing");
    } else if (!w) {
        rc = err_set(e, ERR_NOMEM, NULL, "out of memory");
    } else if (x) {
        *ret_spare = true;
    } else if (!room) {
        rc = err_set(e, ERR_BUSY, "53000", "the memory of engine processes is used up (engine.memory_share)");
    } else if (p->count >= most) {
        rc = err_set(e, ERR_BUSY, "53000",
                     "too many engine processes (engine.slots, engine.plan_slots, engine.idle_max)");
    } else if (!(x = pool__new(p, STATE_STARTING))) {
        rc = err_set(e, ERR_NOMEM, NULL, "out of memory");
    }
    if (rc) {
        if (x)
            pool__discard(x, REASON_START);
        pthread_mutex_unlock(&p->mu);
        arena_free(a);
        return rc;
    }
    x->key = copy;
    x->key_arena = a;
    if (copy->catalog_path[0] && !x->dead) {
        w->catalog_open++;
        x->holds_catalog = true;
    }
    bool spawned = x->spawn_done;
    pthread_mutex_unlock(&p->mu);
    if (!spawned) {
        rc = spawner__spawn(x, e);
        if (rc)
            return rc;
    }
    *ret = x;
    return 0;
}

static void fail(struct engine *x, int rc, struct err *e)
{
    const char *what = NULL;
    char death[160];
    switch (rc) {
    case ERR_TIMEOUT:
        what = "engine process did not become ready in time";
        break;
    case ERR_CORRUPT:
        what = "engine process answered its setup with something else";
        break;
    case ERR_END:
        if (!engine__await_death(x, sys_mono_ns() + MS_NS(1000)))
            engine__kill(x, REASON_START);
        engine__death_text(x, death, sizeof death);
        what = death;
        break;
    default:
        break;
    }
    if (what)
        (void)err_set(e, ERR_ENGINE, "XX000", "cannot start an engine: %s", what);
    engine__job_clear(x);
    pthread_mutex_lock(&x->pool->mu);
    pool__discard(x, REASON_START);
    pthread_mutex_unlock(&x->pool->mu);
}

int pool__bring_up(struct pool *p, const struct engine_key *key, bool selftest, struct engine **ret,
                   struct err *e)
{
    int64_t begun = sys_mono_ns();
    for (bool spare = !selftest;; spare = false) {
        struct engine *x = NULL;
        bool was_spare = false;
        int rc = obtain(p, key, spare, &x, &was_spare, e);
        if (rc)
            return rc;
        rc = send_setup(x, key, selftest, e);
        if (!rc)
            rc = await_ready(x, e);
        if (!rc) {
            pthread_mutex_lock(&p->mu);
            x->state = STATE_BUSY;
            x->reusable = true;
            if (!p->blank_wanted || p->blank_failures) {
                p->blank_wanted = true;
                p->blank_failures = 0;
                pool__wake(p);
            }
            pthread_mutex_unlock(&p->mu);
            metric_observe_ns(p->m_start, sys_mono_ns() - begun);
            *ret = x;
            return 0;
        }
        fail(x, rc, e);
        if (was_spare && rc == ERR_END)
            continue;
        return rc == ERR_TIMEOUT || rc == ERR_CORRUPT || rc == ERR_END ? ERR_ENGINE : rc;
    }
}

/* After READY a process with SETUP.selftest says DONE (nothing succeeded) or FAILED (the text names what
 * did), with beats in between. */
static int selftest_answer(struct engine *x, struct err *e)
{
    int64_t deadline = sys_mono_ns() + SELFTEST_NS;
    for (;;) {
        enum wire_type t;
        const uint8_t *p;
        uint32_t n;
        int rc = wait_frame(x, deadline, &t, &p, &n);
        if (rc == ERR_TIMEOUT)
            return err_set(e, ERR_ENGINE, "XX000", "the engine's self-test did not end in time");
        if (rc == ERR_END) {
            char death[160];
            (void)engine__await_death(x, sys_mono_ns() + MS_NS(1000));
            engine__death_text(x, death, sizeof death);
            return err_set(e, ERR_ENGINE, "XX000", "the engine's self-test gave no answer: %s", death);
        }
        struct wire_done done;
        struct wire_failed failed;
        if (!rc && t == WIRE_BEAT)
            continue;
        if (!rc && t == WIRE_DONE && wire_get_done(p, n, &done) == 0)
            return 0;
        if (!rc && t == WIRE_FAILED && wire_get_failed(p, n, &failed) == 0) {
            if (e)
                *e = failed.error;
            if (e)
                e->code = ERR_DENIED;
            return ERR_DENIED;
        }
        return err_set(e, ERR_ENGINE, "XX000", "the engine's self-test answered with something else");
    }
}

int pool_selftest(struct pool *p, struct engine_level *ret_level, struct err *e)
{
    const struct engine_key key = {.workspace = 0, .catalog_path = ""};
    struct engine *x = NULL;
    int rc = pool__bring_up(p, &key, true, &x, e);
    if (rc)
        return rc;
    ret_level->landlock_abi = x->ready.landlock_abi;
    ret_level->seccomp = x->ready.seccomp;
    (void)snprintf(ret_level->library, sizeof ret_level->library, "%s", x->library);
    rc = selftest_answer(x, e);
    x->reusable = false;
    pool__put(x, true);
    return rc;
}

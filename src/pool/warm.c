/*
 * warm: the idle processes: who is one, who is handed out, who makes room, who leaves. When a process stays idle: pool.c.
 * Any thread.
 */
#include <errno.h>
#include <sys/socket.h>
#include <time.h>

#include "pool/pool_int.h"
#include "base/sys_wait.h"

#define ROOM_WAIT_MS 1000

/* (mu) The longest idle one, or NULL. */
static struct engine *oldest_idle(struct pool *p)
{
    struct engine *old = NULL;
    for (struct engine *x = p->all; x; x = x->next)
        if (x->state == STATE_IDLE && (!old || x->idle_since_ns < old->idle_since_ns))
            old = x;
    return old;
}

int64_t pool__alive(const struct pool *p)
{
    int64_t n = 0;
    for (const struct engine *x = p->all; x; x = x->next)
        n += !x->dead && !(x->key && x->key->render);
    return n;
}

bool pool__room(struct pool *p)
{
    struct timespec ts;
    pool__until(sys_mono_ns() + MS_NS(ROOM_WAIT_MS), &ts);
    int rc = 0;
    while (p->max_processes > 0 && !p->closing && pool__alive(p) >= p->max_processes) {
        struct engine *x = oldest_idle(p);
        bool leaving = false;
        for (struct engine *y = p->all; y; y = y->next) {
            if (!x && y->state == STATE_BLANK && y->spawn_done)
                x = y;
            leaving |= y->state == STATE_DYING && !y->dead;
        }
        if (!leaving && !x)
            return false;
        if (!leaving)
            pool__discard(x, REASON_IDLE);
        if (rc == ETIMEDOUT)
            return false;
        rc = pthread_cond_timedwait(&p->changed, &p->mu, &ts);
    }
    return true;
}

/* (mu) */
void pool__trim_idle(struct pool *p)
{
    int64_t most = CONF(engine_idle_max);
    while (p->idle > most) {
        struct engine *x = oldest_idle(p);
        ASSERT(x);
        pool__discard(x, REASON_IDLE);
    }
}

/* (mu) Drops idle engines of a workspace that are of an older epoch; with `catalog`, also those that hold it
 * open. */
void pool__drop_older(struct pool *p, int64_t workspace, uint64_t epoch, bool catalog)
{
    for (struct engine *x = p->all; x; x = x->next)
        if (x->state == STATE_IDLE && x->key->workspace == workspace &&
            (x->key->epoch < epoch || (catalog && x->holds_catalog)))
            pool__discard(x, REASON_RETIRED);
}

/* (mu) The most recently used idle engine for the key that is still in order. */
struct engine *pool__take_idle(struct pool *p, const struct engine_key *key)
{
    for (;;) {
        struct engine *best = NULL;
        for (struct engine *x = p->all; x; x = x->next)
            if (x->state == STATE_IDLE && pool__key_equal(x->key, key) &&
                (!best || x->idle_since_ns > best->idle_since_ns))
                best = x;
        if (!best)
            return NULL;
        if (best->dead || !link__quiet(best)) {
            pool__discard(best, REASON_CRASHED);
            continue;
        }
        pool__idle_add(p, -1);
        best->state = STATE_BUSY;
        return best;
    }
}

/* A writer that ended cleanly may close its catalog by itself; the spawner kills it after the grace. */
static void ask_to_leave(struct engine *x)
{
    CLEANUP_BUF struct buf b = BUF_INIT(64);
    if (wire_put_quit(&b) == 0) {
        pthread_mutex_lock(&x->send_mu);
        (void)sys_send(x->sock, b.p, b.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        pthread_mutex_unlock(&x->send_mu);
    }
}

void pool__put(struct engine *x, bool clean)
{
    struct pool *p = x->pool;
    engine__job_clear(x);
    bool quiet = clean && link__quiet(x);
    bool reusable = clean && x->reusable && quiet;
    if (quiet && x->key->write)
        ask_to_leave(x);
    atomic_store(&x->cancel, 0);
    pthread_mutex_lock(&p->mu);
    ASSERT(x->state == STATE_BUSY);
    x->running = false;
    x->kill_at_ns = 0;
    const struct pool_workspace *w = pool__workspace(p, x->key->workspace);
    bool stale = !w || x->key->epoch < w->epoch || (w->retiring > 0 && x->holds_catalog);
    if (quiet && x->key->write && !x->killed && !x->dead && !p->closing) {
        x->state = STATE_DYING;
        x->reason = x->reason ? x->reason : REASON_USED;
        x->killed = true;
        x->kill_at_ns = sys_mono_ns() + MS_NS(CONF(engine_grace)) + 1;
        pool__wake(p);
        pthread_cond_broadcast(&p->changed);
    } else if (!reusable || x->killed || x->dead || stale || x->key->write || p->closing) {
        pool__discard(x, p->closing  ? REASON_CLOSED
                         : !clean    ? REASON_ABANDONED
                         : !reusable ? REASON_USED
                         : stale     ? REASON_RETIRED
                                     : REASON_USED);
    } else {
        x->state = STATE_IDLE;
        x->idle_since_ns = sys_mono_ns();
        pool__idle_add(p, 1);
        pool__trim_idle(p);
    }
    pthread_mutex_unlock(&p->mu);
}

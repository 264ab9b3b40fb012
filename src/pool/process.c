/*
 * process: one engine's entry in the pool: made, killed, waited for, freed. It starts nothing and knows no policy.
 * Threads and locks: pool_int.h.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pool/pool_int.h"
#include "base/sys_wait.h"

void pool__wake(struct pool *p)
{
    sys_event_set(p->wake);
}

struct engine *pool__new(struct pool *p, enum pool_state state)
{
    struct engine *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    if (pthread_mutex_init(&x->send_mu, NULL)) {
        free(x);
        return NULL;
    }
    x->magic = ENGINE_MAGIC;
    x->pool = p;
    x->pidfd = x->sock = x->wake = -1;
    x->batch_slot = -1;
    x->state = state;
    link__init(&x->link);
    for (int i = 0; i < WIRE_SLOTS; i++)
        slot__init(&x->slots[i]);
    (void)snprintf(x->folder, sizeof x->folder, "e%llu", (unsigned long long)++p->serial);
    x->next = p->all;
    if (p->all)
        p->all->prev = x;
    p->all = x;
    p->count++;
    return x;
}

void pool__free(struct engine *x)
{
    struct pool *p = x->pool;
    ASSERT(x->magic == ENGINE_MAGIC && x->dead && x->state == STATE_DYING);
    if (x->holds_catalog) { /* it never came to life */
        struct pool_workspace *w = pool__workspace(p, x->key->workspace);
        ASSERT(w && w->catalog_open > 0);
        w->catalog_open--;
    }
    if (x->prev)
        x->prev->next = x->next;
    else
        p->all = x->next;
    if (x->next)
        x->next->prev = x->prev;
    p->count--;
    pthread_mutex_destroy(&x->send_mu);
    arena_free(x->key_arena);
    for (int i = 0; i < WIRE_SLOTS; i++)
        slot__drop(&x->slots[i]);
    engine__job_clear(x);
    link__free(&x->link);
    x->magic = 0;
}

void pool__kill(struct engine *x, enum pool_reason why)
{
    if (x->reason == REASON_NONE)
        x->reason = why;
    if (x->killed || x->dead || !x->spawn_done)
        return;
    x->killed = true;
    (void)pidfd_send_signal(x->pidfd, SIGKILL, NULL, 0);
}

void pool__idle_add(struct pool *p, int change)
{
    p->idle += change;
    metric_add(p->m_idle, change);
}

void pool__discard(struct engine *x, enum pool_reason why)
{
    struct pool *p = x->pool;
    if (x->state == STATE_IDLE)
        pool__idle_add(p, -1);
    x->state = STATE_DYING;
    pool__kill(x, why);
    if (x->dead)
        pthread_cond_signal(&p->chores_wanted);
    pthread_cond_broadcast(&p->changed);
}

void engine__kill(struct engine *x, enum pool_reason why)
{
    pthread_mutex_lock(&x->pool->mu);
    pool__kill(x, why);
    pthread_mutex_unlock(&x->pool->mu);
}

void pool__until(int64_t ns, struct timespec *ts)
{
    ts->tv_sec = (time_t)(ns / 1000000000);
    ts->tv_nsec = (long)(ns % 1000000000);
}

bool engine__await_death(struct engine *x, int64_t deadline_ns)
{
    struct timespec ts;
    pool__until(deadline_ns, &ts);
    pthread_mutex_lock(&x->pool->mu);
    int rc = 0;
    while (!x->dead && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&x->pool->changed, &x->pool->mu, &ts);
    bool dead = x->dead;
    pthread_mutex_unlock(&x->pool->mu);
    return dead;
}

pid_t engine_pid(const struct engine *x)
{
    ASSERT(x->magic == ENGINE_MAGIC);
    return x->pid;
}

void engine__death_text(struct engine *x, char *out, size_t n)
{
    pthread_mutex_lock(&x->pool->mu);
    bool dead = x->dead;
    int code = x->exit_code, status = x->exit_status;
    pthread_mutex_unlock(&x->pool->mu);
    const char *name = code == CLD_KILLED || code == CLD_DUMPED ? sigabbrev_np(status) : NULL;
    if (!dead)
        (void)snprintf(out, n, "engine process closed its connection");
    else if (code == CLD_EXITED)
        (void)snprintf(out, n, "engine process ended early with exit code %d", status);
    else if (name)
        (void)snprintf(out, n, "engine process was killed by SIG%s", name);
    else if (code == CLD_KILLED || code == CLD_DUMPED)
        (void)snprintf(out, n, "engine process was killed by signal %d", status);
    else
        (void)snprintf(out, n, "engine process ended");
}

/* Memory that the child has in hand stays its credit for the next job: making and passing a memfd costs more
 * than a small query. */
void engine__job_clear(struct engine *x)
{
    for (int i = 0; i < WIRE_SLOTS; i++) {
        if (x->slots[i].given)
            slot__empty(&x->slots[i]);
        else
            slot__drop(&x->slots[i]);
    }
    slot__copy_free(&x->copy);
    x->batch_slot = -1;
    arena_free(x->arena);
    x->arena = NULL;
    if (x->link.used == x->link.rx.len)
        link__free(&x->link);
}

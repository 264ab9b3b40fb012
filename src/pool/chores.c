/*
 * chores: the thread that does what may take long: wipes the folders of the dead and frees them, and brings up pre-warmed
 * engines. It ends when its last folder is wiped.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/pool_int.h"

/* (mu, released meanwhile) Wipes one dead engine; false when there is none. */
static bool bury(struct pool *p)
{
    struct engine *x = p->all;
    while (x && !(x->state == STATE_DYING && x->dead && x->spawn_done))
        x = x->next;
    if (!x)
        return false;
    if (x->pid > 0)
        metric_add(p->m_ended[x->reason ? x->reason : REASON_CRASHED], 1);
    pool__free(x); /* out of the list; descriptors and folder are ours now */
    pthread_mutex_unlock(&p->mu);
    if (x->sock >= 0)
        close(x->sock);
    if (x->pidfd >= 0)
        close(x->pidfd);
    if (x->wake >= 0)
        close(x->wake);
    bool wiped = rundir__wipe(p->run_fd, x->folder) == 0;
    pthread_mutex_lock(&p->mu);
    if (!wiped && p->nunwiped < POOL_UNWIPED_MAX)
        memcpy(p->unwiped[p->nunwiped++], x->folder, sizeof x->folder);
    free(x);
    pthread_cond_broadcast(&p->changed);
    return true;
}

/* (mu, released meanwhile) Another try at what could not be wiped (no descriptors, say). The rest is wiped at
 * the next start. */
static void wipe_again(struct pool *p)
{
    p->wipe_again = false;
    for (int n = p->nunwiped; n > 0; n--) {
        char name[32];
        memcpy(name, p->unwiped[0], sizeof name);
        memmove(p->unwiped[0], p->unwiped[1], (size_t)(--p->nunwiped) * sizeof name);
        pthread_mutex_unlock(&p->mu);
        bool wiped = rundir__wipe(p->run_fd, name) == 0;
        pthread_mutex_lock(&p->mu);
        if (!wiped && p->nunwiped < POOL_UNWIPED_MAX)
            memcpy(p->unwiped[p->nunwiped++], name, sizeof name);
    }
}

/* (mu, released meanwhile) */
static bool prewarm_one(struct pool *p)
{
    if (p->nprewarm == 0)
        return false;
    struct prewarm w = p->prewarm[0];
    memmove(&p->prewarm[0], &p->prewarm[1], (size_t)(--p->nprewarm) * sizeof w);
    if (!p->closing) {
        p->prewarming = w.key;
        pthread_mutex_unlock(&p->mu);
        struct engine *x = NULL;
        if (pool__bring_up(p, w.key, false, &x, NULL) == 0)
            pool__put(x, true);
        pthread_mutex_lock(&p->mu);
        p->prewarming = NULL;
    }
    arena_free(w.arena);
    return true;
}

static void *chores_main(void *arg)
{
    struct pool *p = arg;
    pthread_mutex_lock(&p->mu);
    for (;;) {
        if (p->wipe_again)
            wipe_again(p);
        if (bury(p) || prewarm_one(p))
            continue;
        if (p->chores_stop) {
            wipe_again(p);
            break;
        }
        pthread_cond_wait(&p->chores_wanted, &p->mu);
    }
    pthread_mutex_unlock(&p->mu);
    return NULL;
}

int chores__start(struct pool *p, struct err *e)
{
    int rc = pthread_create(&p->chores, NULL, chores_main, p);
    if (rc)
        return err_errno(e, rc, "starting the chores thread");
    (void)pthread_setname_np(p->chores, "quern-chores");
    return 0;
}

void chores__stop(struct pool *p)
{
    pthread_mutex_lock(&p->mu);
    p->chores_stop = true;
    pthread_cond_signal(&p->chores_wanted);
    pthread_mutex_unlock(&p->mu);
    pthread_join(p->chores, NULL);
}

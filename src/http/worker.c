/*
 * worker: see worker.h. A mutex, a condition, two queues. Each thread owns one segment_scratch (window
 * memory), lent to the job it runs.
 */
#include "http/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct worker_lane {
    struct worker_job *head, **tail;
};

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t wakeup;
    struct worker_lane lanes[WORK_LANES]; /* guarded by lock */
    uint32_t turn, idle;                  /* guarded by lock */
    bool stop;                            /* guarded by lock */
    uint32_t n;
    pthread_t threads[];
};

static struct worker_job *take(struct workers *ws)
{
    enum work_lane first = ws->turn++ % 4 == 3 ? WORK_STREAMS : WORK_HANDLERS;
    for (int i = 0; i < WORK_LANES; i++) {
        struct worker_lane *l = &ws->lanes[((int)first + i) % WORK_LANES];
        struct worker_job *w = l->head;
        if (w) {
            l->head = w->next;
            if (!l->head)
                l->tail = &l->head;
            return w;
        }
    }
    return NULL;
}

static void *run(void *arg)
{
    struct workers *ws = arg;
    struct segment_scratch *scratch = segment_scratch_new();
    pthread_mutex_lock(&ws->lock);
    for (;;) {
        struct worker_job *w = take(ws);
        if (w) {
            pthread_mutex_unlock(&ws->lock);
            w->fn(w, scratch);
            pthread_mutex_lock(&ws->lock);
        } else if (ws->stop) {
            break;
        } else {
            ws->idle++;
            pthread_cond_wait(&ws->wakeup, &ws->lock);
            ws->idle--;
        }
    }
    pthread_mutex_unlock(&ws->lock);
    segment_scratch_free(scratch);
    return NULL;
}

int workers_start(uint32_t threads, struct workers **ret, struct err *e)
{
    struct workers *ws = calloc(1, sizeof *ws + threads * sizeof ws->threads[0]);
    if (!ws)
        return err_set(e, ERR_NOMEM, NULL, "out of memory");
    pthread_mutex_init(&ws->lock, NULL);
    pthread_cond_init(&ws->wakeup, NULL);
    for (int i = 0; i < WORK_LANES; i++)
        ws->lanes[i].tail = &ws->lanes[i].head;
    sigset_t all, old; /* signals are main's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = 0;
    while (ws->n < threads && (rc = pthread_create(&ws->threads[ws->n], NULL, run, ws)) == 0)
        ws->n++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) {
        workers_stop(ws);
        return err_errno(e, rc, "starting a worker thread");
    }
    *ret = ws;
    return 0;
}

void workers_push(struct workers *ws, struct worker_job *w, enum work_lane lane)
{
    w->next = NULL;
    pthread_mutex_lock(&ws->lock);
    *ws->lanes[lane].tail = w;
    ws->lanes[lane].tail = &w->next;
    bool wake = ws->idle > 0;
    pthread_mutex_unlock(&ws->lock);
    if (wake)
        pthread_cond_signal(&ws->wakeup);
}

void workers_stop(struct workers *ws)
{
    if (!ws)
        return;
    pthread_mutex_lock(&ws->lock);
    ws->stop = true;
    pthread_mutex_unlock(&ws->lock);
    pthread_cond_broadcast(&ws->wakeup);
    for (uint32_t i = 0; i < ws->n; i++)
        pthread_join(ws->threads[i], NULL);
    pthread_cond_destroy(&ws->wakeup);
    pthread_mutex_destroy(&ws->lock);
    free(ws);
}

/*
 * render_grow: the rows of a result that grows while a file is made of it: who asks for the next waits for it, and tells the
 * daemon how many more batches it may tell. Render thread.
 */
#include "engines/render.h"

#include <unistd.h>

#define AHEAD 16u /* batches told before they are read */

/* (mu) Batches before the one that holds `row` were read: more may be told. */
static void give_credit(struct render_job *j, uint64_t row)
{
    uint64_t first, rows, n = segment_nbatches(j->segment);
    while (j->read < n) {
        segment_batch_rows(j->segment, j->read, &first, &rows);
        if (row < first + rows)
            break;
        j->read++;
    }
    if (j->complete || j->read + AHEAD / 2 < j->credit)
        return;
    segment_forget(j->segment, j->read);
    j->credit = j->read + AHEAD;
    CLEANUP_BUF struct buf b = BUF_INIT(64);
    if (wire_put_want(&b, j->order.job, j->credit) < 0)
        _exit(3);
    port_send(j->port, &b);
}

bool render_has(struct render_job *j, uint64_t row)
{
    if (!j->order.grows)
        return row < j->end;
    pthread_mutex_lock(&j->mu);
    give_credit(j, row);
    while (row >= segment_rows(j->segment) && !j->complete)
        pthread_cond_wait(&j->told, &j->mu);
    pthread_mutex_unlock(&j->mu);
    return row < segment_rows(j->segment);
}

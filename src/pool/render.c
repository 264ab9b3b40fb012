/*
 * render: one file made by a process that runs no SQL.
 *
 * The daemon makes the file itself, inside the process's private folder, and keeps its descriptor; the process
 * opens it by name. It cannot put another file in its place (the daemon never looks at the name again), and
 * once it is reaped nobody else has the file open: engine_end, then it is complete or thrown away. The folder
 * is wiped as always, so that the file has no name and its space is free when the last descriptor closes, a
 * crash of the daemon included. Acquiring thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "pool/pool_int.h"

#define REAP_NS MS_NS(10000)

static int make_file(struct engine *x, int *ret, struct err *e)
{
    char path[64];
    (void)snprintf(path, sizeof path, "%s/" WIRE_RENDER_OUT, x->folder);
    int fd = sys_openat(x->pool->run_fd, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, errno, "making the file for a rendering");
    *ret = fd;
    return 0;
}

int engine_render(struct engine *x, struct wire_render *m, int segment_fd, int *ret_out, struct err *e)
{
    ASSERT(x->magic == ENGINE_MAGIC && x->key->render);
    int out = -1;
    m->job = 1;
    CLEANUP_BUF struct buf b = BUF_INIT(8u + (size_t)wire_ceiling(WIRE_RENDER));
    int rc = wire_put_render(&b, m);
    if (rc)
        return err_set(e, rc, NULL, "out of memory");
    rc = make_file(x, &out, e);
    if (!rc)
        rc = engine__begin(x, m->job, &b, segment_fd, e);
    if (rc) {
        if (out >= 0)
            close(out);
        return rc;
    }
    x->planned = true; /* nothing is planned: beats, then the end */
    x->rows = m->rows;
    x->max_rows = x->max_bytes = 0;
    x->row_limit = -1;
    x->inline_max = 0;
    x->follows = m->grows;
    x->wanted = 0;
    *ret_out = out;
    return 0;
}

int engine_more(struct engine *x, struct wire_more *m, uint64_t rows, struct err *e)
{
    ASSERT(x->magic == ENGINE_MAGIC && x->follows);
    CLEANUP_BUF struct buf b = BUF_INIT(8u + (size_t)wire_ceiling(WIRE_MORE));
    m->job = x->job;
    int rc = wire_put_more(&b, m);
    if (rc)
        return err_set(e, rc, NULL, "out of memory");
    if (m->last)
        x->rows = rows;
    pthread_mutex_lock(&x->send_mu);
    rc = link__send(x, &b, -1);
    pthread_mutex_unlock(&x->send_mu);
    return rc == ERR_END ? 0 : rc ? err_set(e, rc, "XX000", "the render process stopped answering") : 0;
}

int engine_end(struct engine *x, struct err *e)
{
    engine__kill(x, REASON_USED);
    if (engine__await_death(x, sys_mono_ns() + REAP_NS))
        return 0;
    return err_set(e, ERR_TIMEOUT, "XX000", "a render process did not end when it was killed");
}

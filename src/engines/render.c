/*
 * render: the life of a render process. See render.h.
 *
 * A cancel is the daemon's SIGKILL: nothing here has to be given back. A failed write means that a limit was
 * met: the file's (RLIMIT_FSIZE, EFBIG) or the disk's (ENOSPC); which one is found by asking.
 */
#include "engines/render.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define ARENA_CEILING (256u << 20)

struct server {
    struct port *port;
    struct render_job job;
    struct arena *arena;
    int statm;
    bool running; /* main thread */
    _Atomic bool over;
};

static struct server server;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the render thread ---- */

static int open_small(struct server *s, struct err *e)
{
    const struct wire_render *o = &s->job.order;
    struct schema *schema;
    uint8_t *index = arena_alloc(s->arena, o->index_len), *body = arena_alloc(s->arena, o->body_len);
    if (!index || !body)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (o->index_len)
        memcpy(index, o->index, o->index_len); /* aligned */
    if (o->body_len)
        memcpy(body, o->body, o->body_len);
    int rc = schema_read(o->schema, o->schema_len, s->arena, &schema, e);
    return rc ? rc
              : segment_inline(&o->id, o->ordinal, schema, index, o->index_len, body, o->body_len,
                               &s->job.segment, e);
}

/* ---- a result that grows ---- */

static int open_growing(struct server *s, struct err *e)
{
    const struct wire_render *o = &s->job.order;
    if (!s->port->nfds)
        return err_set(e, ERR_INTERNAL, "XX000", "no descriptor came with the order");
    s->job.end = UINT64_MAX;
    return segment_follow(s->port->fds[0], &o->id, o->ordinal, o->schema, o->schema_len, &s->job.segment, e);
}

/* Main thread. */
static int learn(struct server *s, const uint8_t *p, uint32_t n)
{
    struct render_job *j = &s->job;
    struct wire_more m;
    struct err e;
    err_clear(&e);
    if (wire_get_more(p, n, &m) < 0 || !s->running || m.job != j->order.job || !j->order.grows)
        return -1;
    pthread_mutex_lock(&j->mu);
    bool right = j->credit > 0 && !j->complete; /* then the segment is open */
    if (right && m.last) {
        j->complete = true;
        j->order.rows = segment_rows(j->segment);
    } else if (right) {
        right = segment_learn(j->segment, m.record, m.record_len, m.blocks, m.blocks_len, &e) == 0;
    }
    pthread_cond_broadcast(&j->told);
    pthread_mutex_unlock(&j->mu);
    return right ? 0 : -1;
}

/* ---- the order ---- */

static int carry_out(struct server *s, struct err *e)
{
    struct render_job *j = &s->job;
    const struct wire_render *o = &j->order;
    int rc = 0;
    if (o->zone[0] && (zones_load() == 0 || !(j->zone = zone_find(o->zone))))
        return err_set(e, ERR_INTERNAL, "XX000", "the time zone is not known to the render process");
    if (o->grows)
        rc = open_growing(s, e);
    else if (o->schema_len)
        rc = open_small(s, e);
    else
        rc = s->port->nfds ? segment_open_fd(s->port->fds[0], &o->id, o->ordinal, &o->facts, &j->segment, e)
                           : err_set(e, ERR_INTERNAL, "XX000", "no descriptor came with the order");
    if (rc)
        return rc;
    if (o->grows)
        return o->format == WIRE_RENDER_XLSX ? render_xlsx(j, e) : render_parquet(j, e);
    uint64_t rows = segment_rows(j->segment);
    j->first = o->from < rows ? o->from : rows;
    j->end = o->limit < rows - j->first ? j->first + o->limit : rows;
    if (j->end - j->first != o->rows)
        return err_set(e, ERR_CORRUPT, "XX001",
                       "the stored result is corrupt (its rows are not the recorded ones)");
    return o->format == WIRE_RENDER_XLSX ? render_xlsx(j, e) : render_parquet(j, e);
}

/* A limit that was met explains a failure better than the library that met it. */
static void explain(const struct render_job *j, struct err *e)
{
    struct rlimit most;
    struct statvfs disk;
    if (e->code == ERR_CORRUPT || e->code == ERR_NOMEM || e->code == ERR_INVALID ||
        e->code == ERR_UNAVAILABLE)
        return;
    bool disk_full = statvfs(".", &disk) == 0 && disk.f_bavail == 0;
    bool too_large = e->code == ERR_LIMIT || (e->code == ERR_IO && !disk_full);
    int fd = open(WIRE_RENDER_OUT, O_RDONLY | O_CLOEXEC);
    off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    if (getrlimit(RLIMIT_FSIZE, &most) == 0 && most.rlim_cur != RLIM_INFINITY && size >= 0)
        too_large |= (uint64_t)size + 4096 >= most.rlim_cur;
    if (fd >= 0)
        (void)close(fd);
    if (too_large)
        err_set(e, ERR_LIMIT, "54000",
                "the rendered file would be larger than render.max_file allows (%llu bytes)",
                (unsigned long long)j->setup->spill_max);
    else if (disk_full)
        err_set(e, ERR_UNAVAILABLE, "53100", "the disk is full");
}

static void *render_thread(void *arg)
{
    struct server *s = arg;
    struct err e;
    err_clear(&e);
    int rc = carry_out(s, &e);
    CLEANUP_BUF struct buf b = BUF_INIT(64u << 10);
    if (rc == 0) {
        struct wire_done m = {.job = s->job.order.job, .rows = s->job.order.rows, .update_count = -1};
        rc = wire_put_done(&b, &m);
    } else {
        if (!e.code)
            err_set(&e, rc, NULL, "the file could not be made");
        explain(&s->job, &e);
        struct wire_failed m = {.job = s->job.order.job,
                                .error = e,
                                .kind = e.code == ERR_NOMEM ? WIRE_FAIL_MEMORY : WIRE_FAIL_FATAL};
        rc = wire_put_failed(&b, &m);
    }
    if (rc < 0)
        _exit(3);
    s->over = true;
    port_send_last(s->port, &b);
    return NULL;
}

/* ---- the main thread ---- */

static void beat(struct server *s)
{
    char text[128];
    struct render_job *j = &s->job;
    struct wire_beat m = {.job = j->order.job, .rows_total = j->order.rows};
    ssize_t n = s->statm >= 0 ? pread(s->statm, text, sizeof text - 1, 0) : -1;
    if (n > 0) {
        text[n] = 0;
        char *space = strchr(text, ' ');
        m.memory = space ? strtoull(space, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
    }
    m.rows_scanned = j->rows_done;
    uint64_t permille = m.rows_total ? m.rows_scanned * j->weight / m.rows_total : 0;
    m.permille = permille > 999 ? 999 : (int32_t)permille;
    CLEANUP_BUF struct buf b = BUF_INIT(256);
    if (wire_put_beat(&b, &m) < 0)
        _exit(3);
    port_send_beat(s->port, &b);
}

static int take(struct server *s, enum wire_type type, const uint8_t *p, uint32_t n)
{
    pthread_t t;
    if (type == WIRE_QUIT || type == WIRE_CANCEL)
        return 1;
    if (type == WIRE_MORE)
        return learn(s, p, n);
    if (type != WIRE_RENDER || s->running)
        return -1;
    uint8_t *copy = arena_alloc(s->arena, n); /* the order lives longer than the frame */
    if (!copy)
        return -1;
    memcpy(copy, p, n);
    if (wire_get_render(copy, n, s->arena, &s->job.order) < 0)
        return -1;
    s->running = true;
    s->job.weight = 1000;
    port_begin(s->port, s->job.order.job);
    return pthread_create(&t, NULL, render_thread, s) ? -1 : 0;
}

int render_serve(const struct wire_setup *setup, struct port *port, int statm)
{
    struct server *s = &server;
    s->port = port;
    s->job.setup = setup;
    s->job.port = port;
    pthread_mutex_init(&s->job.mu, NULL);
    pthread_cond_init(&s->job.told, NULL);
    s->statm = statm;
    s->arena = arena_new(ARENA_CEILING);
    int64_t beat_at = 0;
    while (s->arena) {
        enum wire_type type;
        const uint8_t *p;
        uint32_t n;
        int64_t left = beat_at - now_ms();
        bool beats = s->running && !s->over;
        int r = port_read(port, !beats ? -1 : left > 0 ? (int)left : 0, false, &type, &p, &n);
        if (r == 0) {
            r = take(s, type, p, n);
            if (r)
                return r > 0 ? 0 : 2;
            beat_at = now_ms() + WIRE_BEAT_MS;
        } else if (r != ERR_WOULDBLOCK) {
            return r == ERR_END ? 0 : 2;
        }
        if (beats && now_ms() >= beat_at) {
            beat(s);
            beat_at = now_ms() + WIRE_BEAT_MS;
        }
    }
    return 3;
}

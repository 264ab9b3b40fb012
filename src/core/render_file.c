/*
 * render_file: one file made by a render process: order it, listen, end it, keep what it made. On a worker.
 *
 * The file has no name once the process's folder is wiped: it is its descriptor (src/pool/render.c). It is
 * READY only after the process was killed and reaped. Its tag is its length and checksum, so that the same
 * bytes made again (after a restart, or when the cache had no room) are the same to If-Range.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/render_int.h"

#define SCHEMA_MAX (64u << 20)
#define READ_STEP  (256u << 10)
#define TICK_NS    1000000000LL
#define RECORD_MAX (16u << 20)

static int timed_out(struct err *e)
{
    return err_set(e, ERR_TIMEOUT, "57014", "rendering took longer than render.timeout allows (%lld ms)",
                   (long long)config.render_timeout);
}

static int canceled(struct err *e)
{
    return err_set(e, ERR_CANCELED, "57014", "the rendering was canceled");
}

/* How a process that did not end well is told. */
static int bad_end(const struct rendering *r, const struct engine_event *ev, bool late, struct err *e)
{
    if (late)
        return timed_out(e);
    if (atomic_load(&r->canceled))
        return canceled(e);
    switch (ev->type) {
    case ENGINE_FAILED:
        if (ev->failed.error.code == ERR_NOMEM) /* the process's wall, not our memory */
            return err_set(e, ERR_LIMIT, "53200",
                           "rendering needs more memory than render.memory allows (%lld bytes)",
                           (long long)config.render_memory);
        *e = ev->failed.error;
        if (e->code == ERR_CORRUPT)
            segment_count_corrupt();
        return e->code;
    case ENGINE_HUNG:
        return err_set(e, ERR_ENGINE, "XX000", "the render process stopped answering");
    case ENGINE_LIED:
        return err_set(e, ERR_ENGINE, "XX000", "the render process broke the protocol");
    default:
        /* "engine process was killed by SIGKILL" */
        return err_set(e, ERR_ENGINE, "XX000", "the render %s",
                       strncmp(ev->failed.error.text, "engine ", 7) == 0 ? ev->failed.error.text + 7
                                                                         : "process ended early");
    }
}

/* How far the process was told what there is of a result that grows. */
struct follow {
    uint64_t told, block, credit; /* batches, blocks; batches that it takes */
    bool whole;                   /* it knows that no more come */
};

static int tell_batch(struct rendering *r, struct engine *x, struct follow *f, struct err *e)
{
    CLEANUP_BUF struct buf record = BUF_INIT(RECORD_MAX);
    CLEANUP_BUF struct buf blocks = BUF_INIT(RECORD_MAX);
    int rc = segment_tell(r->view, f->told, &f->block, &record, &blocks, e);
    if (rc)
        return rc;
    struct wire_more m = {.record = (const uint8_t *)record.p,
                          .record_len = (uint32_t)record.len,
                          .blocks = (const uint8_t *)blocks.p,
                          .blocks_len = (uint32_t)blocks.len};
    f->told++;
    return engine_more(x, &m, 0, e);
}

/* The file takes the room that its query's rows need. Looked at for each telling, for a disk fills within a second. */
static bool takes_room(struct rendering *r)
{
    struct disk *d = r->render->service->disk;
    (void)disk_tick(d);
    return disk_low(d);
}

/* Tells it what was written meanwhile. An error when there is nothing to hope for. */
static int tell(struct rendering *r, struct engine *x, struct follow *f, struct err *e)
{
    struct query *q = r->q;
    pthread_mutex_lock(&q->lock);
    bool lost = query_state_ended(q->rec.state) && q->rec.state != QUERY_FINISHED;
    bool whole = q->live_whole; /* before the batches are counted */
    pthread_mutex_unlock(&q->lock);
    if (lost || atomic_load(&r->gave_way) || takes_room(r))
        return canceled(e);
    uint64_t n = segment_nbatches(r->view);
    int rc = 0;
    while (!rc && f->told < n && f->told < f->credit)
        rc = tell_batch(r, x, f, e);
    if (rc || !whole || f->whole || f->told < n || !f->credit)
        return rc;
    f->whole = true;
    render__complete(r);
    struct wire_more m = {.last = true};
    return engine_more(x, &m, segment_rows(r->view), e);
}

/* Until the process says how it went. The time that it may take begins when all rows are there. */
static int listen(struct rendering *r, struct engine *x, struct follow *f, struct err *e)
{
    int64_t deadline = f ? INT64_MAX : sys_mono_ns() + config.render_timeout * 1000000;
    bool late = false;
    for (;;) {
        struct engine_event ev;
        int64_t until = sys_mono_ns() + TICK_NS;
        int rc = engine_next(x, until < deadline ? until : deadline, &ev, e);
        if (rc)
            return rc;
        switch (ev.type) {
        case ENGINE_DONE:
            return late ? timed_out(e) : 0;
        case ENGINE_BEAT:
            if (ev.beat.permille >= 0)
                atomic_store(&r->permille, ev.beat.permille);
            break;
        case ENGINE_WANT:
            if (f)
                f->credit = ev.want;
            break;
        case ENGINE_TICK:
            break;
        default:
            return bad_end(r, &ev, late, e);
        }
        if (f && !f->whole) {
            rc = tell(r, x, f, e);
            if (rc)
                return rc;
            deadline = f->whole ? sys_mono_ns() + config.render_timeout * 1000000 : deadline;
        }
        if (!late && sys_mono_ns() >= deadline) {
            late = true;
            engine_cancel(x, true);
        }
    }
}

static void describe_format(const struct rendering *r, struct wire_render *m)
{
    const struct render_spec *s = &r->spec;
    *m = (struct wire_render){.format = s->file,
                              .header = s->options.header,
                              .plain = s->plain,
                              .underscores = s->underscores,
                              .version = s->version,
                              .codec = s->codec,
                              .sheet = s->sheet,
                              .zone = s->options.zone ? zone_name(s->options.zone) : "",
                              .from = s->from,
                              .limit = s->limit,
                              .id = r->id,
                              .ordinal = r->ordinal};
}

static void describe_schema(const struct buf *schema, struct wire_render *m)
{
    m->schema = (const uint8_t *)schema->p;
    m->schema_len = (uint32_t)schema->len;
}

/* What grows: its result and number of rows may be set meanwhile, by whoever waits for it; neither is looked at. */
static void describe_growing(const struct rendering *r, const struct buf *schema, struct wire_render *m)
{
    describe_format(r, m);
    describe_schema(schema, m);
    m->grows = true;
}

static void describe_stored(const struct rendering *r, const struct buf *schema, struct wire_render *m)
{
    const struct result *res = r->result;
    describe_format(r, m);
    m->rows = r->rows;
    if (!res->is_inline) {
        m->id = res->origin;
        m->facts = res->facts;
        return;
    }
    describe_schema(schema, m);
    m->index = res->index;
    m->index_len = res->index_len;
    m->body = res->body;
    m->body_len = res->body_len;
}

/* Length and checksum, read once. */
static int examine(struct rendering *r, int fd, struct err *e)
{
    struct stat st;
    char *p = malloc(READ_STEP);
    uint32_t crc = 0;
    uint64_t done = 0;
    ssize_t n = 1;
    if (!p)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    while (n > 0) {
        n = sys_pread(fd, p, READ_STEP, (int64_t)done);
        crc = n > 0 ? crypto_crc32c(crc, p, (size_t)n) : crc;
        done += n > 0 ? (uint64_t)n : 0;
    }
    free(p);
    if (n < 0 || fstat(fd, &st) < 0)
        return err_errno(e, errno, "reading a rendered file");
    if (done == 0 || (uint64_t)st.st_size != done)
        return err_set(e, ERR_ENGINE, "XX000", "the render process made no file");
    r->size = done;
    (void)snprintf(r->tag, sizeof r->tag, "%llx%08x", (unsigned long long)done, crc);
    (void)snprintf(r->media_type, sizeof r->media_type, "%s",
                   r->spec.file == WIRE_RENDER_XLSX
                       ? "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
                       : "application/vnd.apache.parquet");
    return 0;
}

/* From the order to the file that nobody can write to any more. fd: the rows, -1 when they are in the order. */
static int make(struct rendering *r, struct engine *x, struct wire_render *m, int fd, struct follow *f,
                int *ret_fd, struct err *e)
{
    int rc = engine_render(x, m, fd, ret_fd, e);
    if (!rc)
        rc = listen(r, x, f, e);
    int end = engine_end(x, rc ? NULL : e);
    if (!rc)
        rc = end ? end : examine(r, *ret_fd, e);
    return rc;
}

static int make_stored(struct rendering *r, struct engine *x, int *ret_fd, struct err *e)
{
    const struct result *res = r->result;
    CLEANUP_BUF struct buf schema = BUF_INIT(SCHEMA_MAX);
    struct segment *segment = NULL;
    struct wire_render m;
    int rc = render__segment(r, &segment, e);
    if (!rc && res->is_inline && schema_write(res->schema, &schema))
        rc = err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (!rc) {
        describe_stored(r, &schema, &m);
        rc = make(r, x, &m, segment_fd(segment), NULL, ret_fd, e);
    }
    segment_unref(segment);
    return rc;
}

static int make_following(struct rendering *r, struct engine *x, int *ret_fd, struct err *e)
{
    CLEANUP_BUF struct buf schema = BUF_INIT(SCHEMA_MAX);
    struct follow f = {0};
    struct wire_render m;
    int rows = -1, rc = schema_write(segment_schema(r->view), &schema);
    if (rc)
        return err_set(e, rc, "53200", "out of memory");
    rc = segment_reopen(r->view, &rows, e);
    if (rc)
        return rc;
    describe_growing(r, &schema, &m);
    rc = make(r, x, &m, rows, &f, ret_fd, e);
    close(rows);
    return rc;
}

/* In a process of its own, which is gone afterwards. */
static int in_process(struct rendering *r,
                      int (*fn)(struct rendering *r, struct engine *x, int *ret_fd, struct err *e),
                      struct err *e)
{
    struct engine_key key = {.workspace = r->q->rec.workspace, .render = true, .catalog_path = ""};
    struct engine *x = NULL;
    int fd = -1;
    int rc = pool_acquire(r->render->service->pool, &key, &x, e);
    if (rc)
        return rc;
    rc = render__engine(r, x) ? fn(r, x, &fd, e) : canceled(e);
    (void)render__engine(r, NULL);
    engine_release(x);
    if (!rc)
        r->fd = fd;
    else if (fd >= 0)
        close(fd);
    return rc;
}

int render__follow(struct rendering *r, struct err *e)
{
    int rc = in_process(r, make_following, e);
    segment_unref(r->view);
    r->view = NULL;
    return rc;
}

int render__file(struct rendering *r, struct err *e)
{
    int rc = in_process(r, make_stored, e);
    if (!rc)
        return 0;
    char id[ID_TEXT_MAX];
    log_event(LOG_WARN, "core", "a result could not be rendered", "query", id_uuid(&r->id, id), "format",
              rendering_suffix(r) + 1, "code", err_name(e->code), "error", e->text, NULL);
    return rc;
}

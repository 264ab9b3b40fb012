/* driver: see driver.h. */
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"

static void push(struct driver *d, const struct buf *b, int fd)
{
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.space = {0}};
    struct iovec iov = {b->p, b->len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        m.msg_control = control.space;
        m.msg_controllen = sizeof control.space;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    size_t left = b->len;
    while (left) {
        ssize_t n = sendmsg(d->fd, &m, MSG_NOSIGNAL);
        if (n < 0)
            return;
        left -= (size_t)n;
        iov.iov_base = (char *)iov.iov_base + n;
        iov.iov_len -= (size_t)n;
        m.msg_control = NULL;
        m.msg_controllen = 0;
    }
}

struct held {
    uint32_t slot;
    int fd;
};
static struct held held[64];

static void give(struct driver *d)
{
    int fd = memfd_create("batch", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ASSERT(fd >= 0 && ftruncate(fd, DRIVER_BATCH_MAX + (1 << 20)) == 0);
    ASSERT(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    static uint8_t before[1 << 20]; /* what an earlier batch left must not matter */
    memset(before, 0xa5, sizeof before);
    ASSERT(pwrite(fd, before, sizeof before, 0) == sizeof before);
    uint32_t slot = ++d->slot;
    for (size_t i = 0; i < 64; i++) {
        if (held[i].fd > 0)
            continue;
        held[i] = (struct held){slot, fd};
        break;
    }
    struct buf b = BUF_INIT(1024);
    ASSERT(wire_put_memfd(&b, d->job, slot) == 0);
    push(d, &b, fd);
    buf_free(&b);
}

static int claim(uint32_t slot)
{
    for (size_t i = 0; i < 64; i++) {
        if (held[i].fd > 0 && held[i].slot == slot) {
            int fd = held[i].fd;
            held[i].fd = 0;
            return fd;
        }
    }
    return -1;
}

/* 1 a frame, 0 timeout, -1 end */
static int pull(struct driver *d, int timeout, enum wire_type *type, const uint8_t **p, uint32_t *n)
{
    if (d->used)
        buf_drop(&d->rx, d->used);
    d->used = 0;
    for (;;) {
        if (d->rx.len >= 8) {
            ASSERT(wire_header((const uint8_t *)d->rx.p, type, n) == 0);
            if (d->rx.len >= 8 + (size_t)*n) {
                *p = (const uint8_t *)d->rx.p + 8;
                d->used = 8 + (size_t)*n;
                return 1;
            }
        }
        struct pollfd pf = {d->fd, POLLIN, 0};
        int r = poll(&pf, 1, timeout);
        if (r == 0)
            return 0;
        ASSERT(buf_reserve(&d->rx, 65536) == 0);
        ssize_t got = read(d->fd, d->rx.p + d->rx.len, 65536);
        if (got <= 0)
            return -1;
        d->rx.len += (size_t)got;
    }
}

static void drop_held(void)
{
    for (size_t i = 0; i < 64; i++) {
        if (held[i].fd > 0)
            close(held[i].fd);
        held[i].fd = 0;
    }
}

static unsigned held_count(void)
{
    unsigned n = 0;
    for (size_t i = 0; i < 64; i++)
        n += held[i].fd > 0;
    return n;
}

static void forget(struct driver *d)
{
    for (unsigned i = 0; i < d->nbatches; i++) {
        free(d->batches[i].index);
        free(d->batches[i].body);
    }
    d->nbatches = d->nbeats = 0;
    d->sum = 0;
    d->ok = false;
    memset(&d->planned, 0, sizeof d->planned);
    memset(&d->done, 0, sizeof d->done);
    memset(&d->failed, 0, sizeof d->failed);
    arena_free(d->job_arena);
    d->job_arena = arena_new(512u << 20);
}

static void look_at(struct driver *d, const uint8_t *index, uint32_t index_len, const uint8_t *body,
                    uint64_t body_len, uint64_t rows)
{
    struct batch_index *ix;
    struct err e;
    err_clear(&e);
    if (batch_index_read(index, index_len, d->planned.schema, d->job_arena, &ix, &e) < 0)
        printf("index: %s\n", e.text), abort();
    ASSERT(ix->rows == rows && ix->body_len == body_len);
    if (!d->keep) {
        uint32_t first = d->planned.schema->columns[0].first_buffer + 1;
        for (uint64_t i = 0; i < rows && d->planned.schema->columns[0].phys == PHYS_INT64; i++) {
            int64_t v;
            memcpy(&v, body + ix->buffers[first].offset + 8 * i, 8);
            d->sum += (uint64_t)v;
        }
        return;
    }
    if (batch_check(d->planned.schema, ix, body, &e) < 0)
        printf("body: %s\n", e.text), abort();
    ASSERT(d->nbatches < 512);
    struct driver_batch *b = &d->batches[d->nbatches++];
    *b = (struct driver_batch){malloc(index_len), aligned_alloc(64, (body_len + 64) & ~63ull), index_len,
                               body_len, rows};
    memcpy(b->index, index, index_len);
    memcpy(b->body, body, body_len);
}

static void take_batch(struct driver *d, const struct wire_batch *b)
{
    int fd = claim(b->slot);
    ASSERT(fd >= 0);
    ASSERT(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    uint64_t at = (b->index_len + 63u) & ~63ull, len = at + b->body_len;
    uint8_t *map = mmap(NULL, len, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    ASSERT(map != MAP_FAILED);
    look_at(d, map, b->index_len, map + at, b->body_len, b->rows);
    munmap(map, len);
    close(fd);
    give(d);
}

bool driver_step(struct driver *d, int timeout)
{
    enum wire_type type;
    const uint8_t *p;
    uint32_t n;
    int r = pull(d, timeout, &type, &p, &n);
    if (r < 0)
        d->dead = true;
    if (r <= 0)
        return r == 0;
    struct wire_batch b;
    struct wire_beat beat;
    switch (type) {
    case WIRE_PLANNED:
        ASSERT(wire_get_planned(p, n, d->job_arena, &d->planned) == 0);
        return true;
    case WIRE_BATCH:
        ASSERT(wire_get_batch(p, n, &b) == 0);
        take_batch(d, &b);
        return true;
    case WIRE_BEAT:
        ASSERT(wire_get_beat(p, n, &beat) == 0);
        d->nbeats++;
        return true;
    case WIRE_DONE:
        ASSERT(wire_get_done(p, n, &d->done) == 0);
        d->ok = true;
        if (d->done.index_len)
            look_at(d, d->done.index, d->done.index_len, d->done.body, d->done.body_len, d->done.rows);
        return false;
    case WIRE_FAILED:
        ASSERT(wire_get_failed(p, n, &d->failed) == 0);
        return false;
    case WIRE_SCRIPT:
        ASSERT(wire_get_script(p, n, d->job_arena, &d->script) == 0 && d->script.job == d->job);
        return false;
    default:
        abort();
    }
}

struct wire_job driver_job(const char *sql)
{
    return (struct wire_job){.sql = sql,
                             .sql_len = (uint32_t)strlen(sql),
                             .default_catalog = "data_catalog",
                             .default_schema = "main",
                             .row_limit = -1,
                             .inline_max = 16384,
                             .timezone = ""};
}

void driver_send_job(struct driver *d, struct wire_job *job)
{
    forget(d);
    job->job = ++d->job;
    struct buf b = BUF_INIT(128u << 20);
    ASSERT(wire_put_job(&b, job) == 0);
    push(d, &b, -1);
    buf_free(&b);
    /* What the last job did not use is still the child's. */
    while (held_count() < WIRE_SLOTS)
        give(d);
    d->script.npieces = 1;
}

void driver_run(struct driver *d, struct wire_job *job)
{
    driver_send_job(d, job);
    while (driver_step(d, -1)) {
    }
}

void driver_sql(struct driver *d, const char *sql)
{
    struct wire_job job = driver_job(sql);
    driver_run(d, &job);
}

void driver_cancel(struct driver *d)
{
    struct buf b = BUF_INIT(64);
    ASSERT(wire_put_cancel(&b, d->job) == 0);
    push(d, &b, -1);
    buf_free(&b);
}

/* Plain text of one value for comparisons: numbers, text, "NULL"; nested values in brackets. */
static void render(const struct window_column *c, uint64_t row, struct buf *out)
{
    if (window_is_null(c, row)) {
        (void)buf_str_add(out, "NULL");
        return;
    }
    int64_t v = 0;
    uint32_t w = phys_width(c->column->phys);
    switch (c->column->phys) {
    case PHYS_BOOL:
        (void)buf_str_add(out, c->values[(row + c->values_shift) >> 3] >> ((row + c->values_shift) & 7) & 1
                                   ? "true"
                                   : "false");
        return;
    case PHYS_INT16: {
        int16_t x;
        memcpy(&x, c->values + 2 * row, 2);
        (void)buf_i64(out, x);
        return;
    }
    case PHYS_INT32: {
        int32_t x;
        memcpy(&x, c->values + 4 * row, 4);
        (void)buf_i64(out, x);
        return;
    }
    case PHYS_FLOAT32: {
        float x;
        memcpy(&x, c->values + 4 * row, 4);
        (void)buf_printf(out, "%.9g", (double)x);
        return;
    }
    case PHYS_FLOAT64: {
        double x;
        memcpy(&x, c->values + 8 * row, 8);
        (void)buf_printf(out, "%.17g", x);
        return;
    }
    case PHYS_UTF8:
    case PHYS_BINARY:
        (void)buf_add(out, c->data + (c->offsets[row] - c->offset_base),
                      (size_t)(c->offsets[row + 1] - c->offsets[row]));
        return;
    case PHYS_DECIMAL: {
        unsigned __int128 x;
        memcpy(&x, c->values + 16 * row, 16);
        bool minus = x >> 127;
        if (minus)
            x = -x;
        char digits[48], *p = digits + 47;
        *p = 0;
        do
            *--p = (char)('0' + (int)(x % 10)), x /= 10;
        while (x);
        (void)buf_printf(out, "%s%s", minus ? "-" : "", p);
        return;
    }
    case PHYS_INTERVAL: {
        int32_t m, days;
        memcpy(&m, c->values + 16 * row, 4);
        memcpy(&days, c->values + 16 * row + 4, 4);
        memcpy(&v, c->values + 16 * row + 8, 8);
        (void)buf_printf(out, "%d/%d/%lld", m, days, (long long)v);
        return;
    }
    case PHYS_LIST:
    case PHYS_MAP:
        (void)buf_char(out, '[');
        for (int32_t i = c->offsets[row]; i < c->offsets[row + 1]; i++) {
            if (i > c->offsets[row])
                (void)buf_char(out, ',');
            render(&c->children[0], (uint64_t)(i - c->offset_base), out);
        }
        (void)buf_char(out, ']');
        return;
    case PHYS_STRUCT:
        (void)buf_char(out, '{');
        for (uint32_t i = 0; i < c->column->nchildren; i++) {
            if (i)
                (void)buf_char(out, ',');
            render(&c->children[i], row, out);
        }
        (void)buf_char(out, '}');
        return;
    default:
        memcpy(&v, c->values + (size_t)w * row, 8);
        (void)buf_i64(out, v);
    }
}

const char *driver_text(struct driver *d, uint32_t column, uint64_t row)
{
    for (unsigned i = 0; i < d->nbatches; i++) {
        struct driver_batch *b = &d->batches[i];
        if (row >= b->rows) {
            row -= b->rows;
            continue;
        }
        struct batch_index *ix;
        struct window w;
        ASSERT(batch_index_read(b->index, b->index_len, d->planned.schema, d->job_arena, &ix, NULL) == 0);
        ASSERT(window_of_batch(d->planned.schema, ix, b->body, 0, d->job_arena, &w) == 0);
        struct buf out = BUF_INIT(1u << 20);
        render(&w.columns[column], row, &out);
        const char *s = arena_strndup(d->job_arena, out.len ? out.p : "", out.len);
        buf_free(&out);
        return s;
    }
    return "(no row)";
}

void driver_start(struct driver *d, const struct driver_options *o)
{
    memset(d, 0, sizeof *d);
    d->arena = arena_new(64u << 20);
    buf_init(&d->rx, 256u << 20);
    d->keep = true;
    snprintf(d->private_dir, sizeof d->private_dir, "/tmp/quern-test-XXXXXX");
    ASSERT(mkdtemp(d->private_dir));
    int pair[2];
    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    const char *path = getenv("QUERN_ENGINE");
    char built[4096];
    snprintf(built, sizeof built, "%s/quern-engine", getenv("QUERN_BUILD") ? getenv("QUERN_BUILD") : "build");
    if (path)
        snprintf(built, sizeof built, "%s", path);
    static char keep_stderr[] = "QUERN_ENGINE_STDERR=1";
    char *argv[] = {built, NULL}, *envp[] = {keep_stderr, NULL};
    d->pid = sys_spawn(argv[0], argv, envp, &pair[1], 1);
    ASSERT(d->pid > 0);
    close(pair[1]);
    d->fd = pair[0];
    struct wire_setup s = {.version = WIRE_VERSION,
                           .private_dir = d->private_dir,
                           .catalog_path = o && o->catalog ? o->catalog : "",
                           .threads = 2,
                           .memory_wall = o && o->memory_wall ? o->memory_wall : 2048ull << 20,
                           .spill_max = o && o->spill_max ? o->spill_max : 1024ull << 20,
                           .batch_max = o && o->batch_max ? o->batch_max : DRIVER_BATCH_MAX,
                           .landlock_abi_max = o && o->landlock_abi_max ? o->landlock_abi_max : 99,
                           .catalog_write = o && o->write,
                           .ndatasets = o ? o->ndatasets : 0,
                           .datasets = o ? o->datasets : NULL,
                           .selftest = o && o->selftest};
    struct buf b = BUF_INIT(1u << 20);
    ASSERT(wire_put_setup(&b, &s) == 0);
    push(d, &b, -1);
    buf_free(&b);
    enum wire_type type;
    const uint8_t *p;
    uint32_t n;
    if (pull(d, 20000, &type, &p, &n) <= 0)
        printf("the engine did not come up\n"), abort();
    if (type == WIRE_FAILED) {
        ASSERT(wire_get_failed(p, n, &d->failed) == 0);
        printf("engine failed to start: %s\n", d->failed.error.text);
        abort();
    }
    ASSERT(type == WIRE_READY && wire_get_ready(p, n, d->arena, &d->ready) == 0);
}

void driver_stop(struct driver *d)
{
    forget(d);
    drop_held();
    close(d->fd);
    int status;
    for (int i = 0; i < 200; i++) {
        if (waitpid(d->pid, &status, WNOHANG) == d->pid)
            break;
        sys_sleep_ms(10);
        if (i == 199) {
            kill(d->pid, SIGKILL);
            waitpid(d->pid, &status, 0);
        }
    }
    rmdir(d->private_dir);
    buf_free(&d->rx);
    arena_free(d->job_arena);
    arena_free(d->arena);
}

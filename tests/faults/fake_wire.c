/*
 * fake_wire: see fake_wire.h.
 */
#include "fake_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct wire_job job;
struct arena *job_arena;
int slot_fd[WIRE_SLOTS] = {-1, -1};
bool canceled;
bool asked_to_quit;

/* ---- the socket ---- */

void put(const void *p, size_t n)
{
    const char *c = p;
    while (n > 0) {
        ssize_t w = send(WIRE_FD, c, n, MSG_NOSIGNAL);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            _exit(0); /* the daemon has gone */
        c += w;
        n -= (size_t)w;
    }
}

void put_frame(struct buf *b, int rc)
{
    if (rc)
        _exit(90);
    put(b->p, b->len);
    buf_free(b);
}

static void get(void *p, size_t n, int *ret_fd)
{
    char *c = p;
    while (n > 0) {
        union {
            struct cmsghdr align;
            char room[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec iov = {c, n};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof control.room};
        ssize_t r = recvmsg(WIRE_FD, &msg, 0);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            _exit(0);
        const struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        if (h && h->cmsg_type == SCM_RIGHTS && ret_fd)
            memcpy(ret_fd, CMSG_DATA(h), sizeof *ret_fd);
        c += r;
        n -= (size_t)r;
    }
}

/* One frame; payload is malloc'ed. */
enum wire_type get_frame(uint8_t **ret_p, uint32_t *ret_len, int *ret_fd)
{
    uint8_t h[8];
    enum wire_type t;
    *ret_fd = -1;
    get(h, sizeof h, ret_fd);
    if (wire_header(h, &t, ret_len))
        _exit(91);
    *ret_p = malloc(*ret_len + 1u);
    if (!*ret_p)
        _exit(92);
    get(*ret_p, *ret_len, NULL);
    return t;
}

/* Handles one frame that comes during a job. */
static void job_frame(void)
{
    uint8_t *p;
    uint32_t n;
    int fd;
    enum wire_type t = get_frame(&p, &n, &fd);
    uint64_t of;
    uint32_t slot;
    if (t == WIRE_MEMFD) {
        if (wire_get_memfd(p, n, &of, &slot) || slot >= WIRE_SLOTS || fd < 0)
            _exit(93);
        if (slot_fd[slot] >= 0)
            close(slot_fd[slot]);
        slot_fd[slot] = fd;
    } else if (t == WIRE_CANCEL) {
        if (wire_get_cancel(p, n, &of))
            _exit(94);
        if (of == job.job)
            canceled = true;
    } else if (t == WIRE_QUIT) {
        asked_to_quit = true;
    }
    free(p);
}

void pump(int ms)
{
    struct pollfd p = {.fd = WIRE_FD, .events = POLLIN};
    if (poll(&p, 1, ms) > 0)
        job_frame();
}

/* ---- good messages ---- */

static struct schema *rows_schema(void)
{
    static struct column columns[2];
    static struct schema s;
    columns[0] = (struct column){
        .name = "n", .detail = "BIGINT", .phys = PHYS_INT64, .sql = SQLT_BIGINT, .nullable = true};
    columns[1] = (struct column){
        .name = "s", .detail = "VARCHAR", .phys = PHYS_UTF8, .sql = SQLT_VARCHAR, .nullable = true};
    s = (struct schema){.ncolumns = 2, .columns = columns};
    struct err e;
    if (schema_number(&s, &e))
        _exit(95);
    return &s;
}

void planned(uint8_t kind)
{
    static struct schema none;
    struct wire_planned m = {
        .job = job.job, .kind = kind, .schema = kind == WIRE_KIND_ROWS ? rows_schema() : &none};
    struct buf b = BUF_INIT(1 << 20);
    int rc = wire_put_planned(&b, &m);
    put_frame(&b, rc);
}

void beat(void)
{
    struct wire_beat m = {.job = job.job, .rows_scanned = 1, .rows_total = 2, .permille = 500};
    struct buf b = BUF_INIT(1 << 10);
    int rc = wire_put_beat(&b, &m);
    put_frame(&b, rc);
}

static void align8(struct buf *b)
{
    while (b->len % 8)
        (void)buf_char(b, 0);
}

/* rows x (n = first + i, s = "row <n>"). `flaw` names what is wrong with it, or NULL. */
struct made make_rows(uint64_t first, uint64_t rows, const char *flaw)
{
    struct made m = {BUF_INIT(1 << 20), BUF_INIT(256 << 20), rows};
    const char *f = flaw ? flaw : "";
    struct batch_node nodes[2] = {{rows, 0}, {rows, 0}};
    struct batch_buffer buffers[5] = {{0, 0}};
    for (uint64_t i = 0; i < rows; i++) {
        int64_t v = (int64_t)(first + i);
        if (buf_add(&m.body, &v, 8))
            _exit(96);
    }
    buffers[1] = (struct batch_buffer){0, rows * 8};
    struct buf text = BUF_INIT(256 << 20);
    buffers[2] = (struct batch_buffer){m.body.len, 0};
    buffers[3] = (struct batch_buffer){m.body.len, (rows + 1) * 4};
    int32_t at = 0;
    (void)buf_add(&m.body, &at, 4);
    for (uint64_t i = 0; i < rows; i++) {
        (void)buf_printf(&text, "row %llu", (unsigned long long)(first + i));
        at = (int32_t)text.len;
        if (!strcmp(f, "offsets") && i == 1)
            at = 2;
        if (!strcmp(f, "offset-beyond") && i + 1 == rows)
            at += 1000;
        (void)buf_add(&m.body, &at, 4);
    }
    if (!strcmp(f, "utf8"))
        text.p[1] = (char)0xff;
    align8(&m.body);
    buffers[4] = (struct batch_buffer){m.body.len, text.len};
    (void)buf_add(&m.body, text.p, text.len);
    buf_free(&text);
    align8(&m.body);
    if (!strcmp(f, "null-count"))
        nodes[0].null_count = 1;
    if (!strcmp(f, "node-rows"))
        nodes[1].length = rows + 1;
    if (!strcmp(f, "buffer-beyond"))
        buffers[4].length += 4096;
    struct batch_index ix = {
        .rows = rows, .body_len = m.body.len, .nnodes = 2, .nbuffers = 5, .nodes = nodes, .buffers = buffers};
    if (!strcmp(f, "counts"))
        ix.nbuffers = 4;
    if (buf_failed(&m.body) || batch_index_write(&ix, &m.index))
        _exit(97);
    if (!strcmp(f, "magic"))
        m.index.p[0] ^= 1;
    return m;
}

void send_batch(uint32_t slot, uint64_t rows, uint32_t index_len, uint64_t body_len)
{
    struct wire_batch m = {
        .job = job.job, .slot = slot, .rows = rows, .index_len = index_len, .body_len = body_len};
    struct buf b = BUF_INIT(1 << 10);
    int rc = wire_put_batch(&b, &m);
    put_frame(&b, rc);
}

/* Waits for credit, fills a memfd; the slot's number. */
uint32_t fill(const struct made *m)
{
    for (;;) {
        for (uint32_t i = 0; i < WIRE_SLOTS; i++) {
            if (slot_fd[i] < 0)
                continue;
            off_t at = (off_t)((m->index.len + 63) & ~(size_t)63);
            if (pwrite(slot_fd[i], m->index.p, m->index.len, 0) != (ssize_t)m->index.len)
                _exit(98);
            if (pwrite(slot_fd[i], m->body.p, m->body.len, at) != (ssize_t)m->body.len)
                _exit(99);
            return i;
        }
        pump(100);
        beat();
    }
}

void made_free(struct made *m)
{
    buf_free(&m->index);
    buf_free(&m->body);
}

void batch(uint64_t first, uint64_t rows, const char *flaw)
{
    struct made m = make_rows(first, rows, flaw);
    uint32_t slot = fill(&m);
    close(slot_fd[slot]);
    slot_fd[slot] = -1;
    send_batch(slot, flaw && !strcmp(flaw, "frame-rows") ? rows + 1 : rows, (uint32_t)m.index.len,
               m.body.len);
    made_free(&m);
}

void done_with(struct wire_done *m)
{
    m->job = job.job;
    struct buf b = BUF_INIT(4 << 20);
    int rc = wire_put_done(&b, m);
    put_frame(&b, rc);
}

void done(uint64_t rows)
{
    struct wire_done m = {.rows = rows, .update_count = -1, .reusable = true};
    done_with(&m);
}

void done_inline(uint64_t rows, uint64_t said, const char *flaw)
{
    struct made r = make_rows(0, rows, flaw);
    struct wire_done m = {.rows = said,
                          .update_count = -1,
                          .reusable = true,
                          .index_len = (uint32_t)r.index.len,
                          .body_len = (uint32_t)r.body.len,
                          .index = (const uint8_t *)r.index.p,
                          .body = (const uint8_t *)r.body.p};
    done_with(&m);
    made_free(&r);
}

void failed(uint32_t kind, const char *sqlstate, const char *text, bool reusable)
{
    struct wire_failed m = {.job = job.job, .kind = kind, .reusable = reusable};
    (void)err_set(&m.error, ERR_INVALID, sqlstate, "%s", text);
    struct buf b = BUF_INIT(64 << 10);
    int rc = wire_put_failed(&b, &m);
    put_frame(&b, rc);
}

void raw_header(uint32_t len, uint8_t type, uint8_t reserved)
{
    uint8_t h[8] = {(uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16), (uint8_t)(len >> 24), type, 0, 0,
                    reserved};
    put(h, sizeof h);
}

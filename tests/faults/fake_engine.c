/*
 * fake_engine: the fake lying engine. Speaks the wire of a real engine process, runs no SQL: the statement's
 * text chooses what it does, good or bad, and the catalog path of SETUP chooses how it starts. For tests of
 * the daemon's side (and by hand: quernd with this program as its engine).
 *
 * Invariant: whatever it does costs one job. One thread; it ends by _exit only.
 *
 * Starts (last part of catalog_path): never-ready, exit-start, lie-ready, deaf (READY, then reads nothing).
 * The self-test fails when the private folder's path contains "hostile". Statements: see the table at the
 * end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_wire.h"

extern char **environ;

/* ---- behaviours ---- */

static void do_small(void)
{
    planned(WIRE_KIND_ROWS);
    done_inline(3, 3, NULL);
}
static void do_update(void)
{
    planned(WIRE_KIND_UPDATE);
    struct wire_done m = {.update_count = 7, .reusable = true};
    done_with(&m);
}
static void do_three(void)
{
    planned(WIRE_KIND_ROWS);
    for (uint64_t i = 0; i < 3; i++)
        batch(i * BATCH_ROWS, BATCH_ROWS, NULL);
    done(3 * BATCH_ROWS);
}
static void do_both(void)
{
    planned(WIRE_KIND_ROWS);
    batch(0, 10, NULL);
    done_inline(3, 13, NULL);
}
static void do_big(void)
{
    planned(WIRE_KIND_ROWS);
    struct made m = make_rows(0, 200000, NULL);
    for (int i = 0; i < 100; i++) {
        uint32_t slot = fill(&m);
        close(slot_fd[slot]);
        slot_fd[slot] = -1;
        send_batch(slot, m.rows, (uint32_t)m.index.len, m.body.len);
    }
    done(100 * m.rows);
    made_free(&m);
}
static void do_failed(void)
{
    failed(WIRE_FAIL_SQL, "42P01", "Table with name nope does not exist!", true);
}
static void do_fatal(void)
{
    failed(WIRE_FAIL_FATAL, "XX000", "the library is broken", true);
}
static void do_once(void)
{
    planned(WIRE_KIND_ROWS);
    struct wire_done m = {.update_count = -1};
    done_with(&m);
}
static void do_flood(void)
{
    for (int i = 0; i < 5000; i++)
        beat();
    do_small();
}
static void do_stray(void)
{
    do_small();
    beat();
}
static void do_empty(void)
{
    planned(WIRE_KIND_ROWS);
    done(0);
}

/* What this process was given: the environment's size and its open descriptors. */
static void do_given(void)
{
    char text[256];
    int vars = 0, at = 0;
    while (environ && environ[vars])
        vars++;
    at = snprintf(text, sizeof text, "env %d fds", vars);
    for (int fd = 0; fd < 256; fd++)
        if (fcntl(fd, F_GETFD) >= 0 && fd != slot_fd[0] && fd != slot_fd[1])
            at += snprintf(text + at, sizeof text - (size_t)at, " %d", fd);
    failed(WIRE_FAIL_SQL, "00000", text, true);
}

static void do_hang(void)
{
    planned(WIRE_KIND_ROWS);
    for (;;)
        pause();
}
static void do_hang_at_once(void)
{
    for (;;)
        pause();
}
static void do_stop(void)
{
    planned(WIRE_KIND_ROWS);
    raise(SIGSTOP);
}
static void do_trickle(void)
{
    planned(WIRE_KIND_ROWS);
    raw_header(64, WIRE_BEAT, 0);
    for (;;) {
        put("x", 1);
        poll(NULL, 0, 100);
    }
}
static void do_ignore_cancel(void)
{
    planned(WIRE_KIND_ROWS);
    for (;;) {
        beat();
        poll(NULL, 0, 50);
    }
}
static void do_obey_cancel(void)
{
    planned(WIRE_KIND_ROWS);
    while (!canceled) {
        beat();
        pump(50);
    }
    failed(WIRE_FAIL_CANCELED, "57014", "interrupted", true);
}
static void do_exit0(void)
{
    _exit(0);
}
static void do_exit0_mid(void)
{
    planned(WIRE_KIND_ROWS);
    batch(0, 10, NULL);
    _exit(0);
}
static void do_exit7(void)
{
    planned(WIRE_KIND_ROWS);
    _exit(7);
}
static void die(int sig)
{
    signal(sig, SIG_DFL);
    raise(sig);
}
static void do_segv(void)
{
    planned(WIRE_KIND_ROWS);
    die(SIGSEGV);
}
static void do_abort(void)
{
    planned(WIRE_KIND_ROWS);
    batch(0, 10, NULL);
    die(SIGABRT);
}
static void do_close(void)
{
    planned(WIRE_KIND_ROWS);
    close(WIRE_FD);
    for (;;)
        pause();
}

static void lie_plan(void)
{
    planned(WIRE_KIND_ROWS);
    planned(WIRE_KIND_ROWS);
}
static void lie_no_plan(void)
{
    done(0);
}
static void lie_batch_no_plan(void)
{
    batch(0, 10, NULL);
}
static void lie_no_columns(void)
{
    planned(WIRE_KIND_UPDATE);
    batch(0, 10, NULL);
}
static void lie_total(void)
{
    planned(WIRE_KIND_ROWS);
    batch(0, 10, NULL);
    done(11);
}
static void lie_inline_rows(void)
{
    planned(WIRE_KIND_ROWS);
    done_inline(3, 4, NULL);
}
static void lie_inline_size(void)
{
    planned(WIRE_KIND_ROWS);
    done_inline(2000, 2000, NULL);
}
static void lie_max_rows(void)
{
    planned(WIRE_KIND_ROWS);
    struct made m = make_rows(0, 10, NULL);
    uint32_t slot = fill(&m);
    send_batch(slot, UINT64_MAX - 5, (uint32_t)m.index.len, m.body.len);
    made_free(&m);
}
static void lie_type(void)
{
    planned(WIRE_KIND_ROWS);
    raw_header(0, 99, 0);
}
static void lie_our_type(void)
{
    planned(WIRE_KIND_ROWS);
    raw_header(0, WIRE_QUIT, 0);
}
static void lie_reserved(void)
{
    planned(WIRE_KIND_ROWS);
    raw_header(0, WIRE_BEAT, 1);
}
static void lie_long(void)
{
    planned(WIRE_KIND_ROWS);
    raw_header(1u << 30, WIRE_BEAT, 0);
}
static void lie_payload(void)
{
    static const uint8_t junk[64] = {0xff, 0xff, 0xff};
    raw_header(sizeof junk, WIRE_PLANNED, 0);
    put(junk, sizeof junk);
}
static void lie_ready(void)
{
    struct wire_ready m = {.version = WIRE_VERSION, .library = "again"};
    struct buf b = BUF_INIT(4096);
    int rc = wire_put_ready(&b, &m);
    put_frame(&b, rc);
}
static void lie_job(void)
{
    planned(WIRE_KIND_ROWS);
    job.job += 1;
    done(0);
    job.job -= 1;
}
static void lie_job_batch(void)
{
    planned(WIRE_KIND_ROWS);
    struct made m = make_rows(0, 10, NULL);
    uint32_t slot = fill(&m);
    job.job += 1;
    send_batch(slot, m.rows, (uint32_t)m.index.len, m.body.len);
    job.job -= 1;
    made_free(&m);
}
static void script(uint32_t at, uint32_t n)
{
    struct wire_piece two[] = {{0, 1}, {at, n}};
    struct wire_script m = {.job = job.job, .npieces = 2, .pieces = two};
    struct buf b = BUF_INIT(1 << 10);
    int rc = wire_put_script(&b, &m);
    put_frame(&b, rc);
}
static void lie_script(void) /* nobody asked */
{
    script(2, 1);
}
static void lie_script_late(void)
{
    planned(WIRE_KIND_ROWS);
    script(2, 1);
}
static void lie_script_out(void) /* of the text */
{
    script(2, 1000);
}
static void lie_slot(void)
{
    planned(WIRE_KIND_ROWS);
    send_batch(7, 1, 64, 64);
}
static void with_lengths(uint32_t index_len, uint64_t body_len)
{
    planned(WIRE_KIND_ROWS);
    struct made m = make_rows(0, 10, NULL);
    uint32_t slot = fill(&m);
    send_batch(slot, m.rows, index_len, body_len);
    made_free(&m);
}
static void lie_index_long(void)
{
    with_lengths(0xfffffff0u, 64);
}
static void lie_index_short(void)
{
    with_lengths(8, 64);
}
static void lie_body_long(void)
{
    with_lengths(64, UINT64_MAX - 10);
}
static void lie_body_past_end(void)
{
    with_lengths(64, 1ull << 40);
}
/* Tries to make the memory smaller: refused, and said so. */
static void do_shrink(void)
{
    planned(WIRE_KIND_ROWS);
    struct made m = make_rows(0, 10, NULL);
    uint32_t slot = fill(&m);
    if (ftruncate(slot_fd[slot], 4096) == 0)
        send_batch(slot, m.rows, (uint32_t)m.index.len, m.body.len);
    else
        failed(WIRE_FAIL_SQL, "00000", "shrink refused", true);
    made_free(&m);
}
/* Keeps a mapping and goes on writing after BATCH, until the daemon has let go of it: the first value is 0 and 1 in
 * turns. */
static void do_scribble(void)
{
    planned(WIRE_KIND_ROWS);
    struct made m = make_rows(0, 10, NULL);
    uint32_t slot = fill(&m);
    volatile char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, slot_fd[slot], 0);
    if (p == MAP_FAILED)
        _exit(89);
    close(slot_fd[slot]);
    slot_fd[slot] = -1;
    send_batch(slot, m.rows, (uint32_t)m.index.len, m.body.len);
    while (slot_fd[slot] < 0) {
        for (int i = 0; i < 1000; i++)
            p[(m.index.len + 63) & ~(size_t)63] ^= 1;
        pump(1);
    }
    munmap((void *)(uintptr_t)p, 4096);
    done(m.rows);
    made_free(&m);
}
/* Descriptors that the child sends must not pile up in the daemon. */
static void do_descriptors(void)
{
    for (int i = 0; i < 100; i++) {
        struct wire_beat m = {.job = job.job};
        struct buf b = BUF_INIT(1 << 10);
        if (wire_put_beat(&b, &m))
            _exit(87);
        union {
            struct cmsghdr align;
            char room[CMSG_SPACE(sizeof(int))];
        } control = {.room = {0}};
        struct iovec iov = {b.p, b.len};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof control.room};
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        int fd = 0;
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
        if (sendmsg(WIRE_FD, &msg, MSG_NOSIGNAL) != (ssize_t)b.len)
            _exit(86);
        buf_free(&b);
    }
    do_small();
}

/* Batches that are well-formed frames with bad contents: "flaw NAME". */
static bool do_flaw(const char *sql)
{
    if (strncmp(sql, "flaw ", 5))
        return false;
    planned(WIRE_KIND_ROWS);
    batch(0, 10, sql + 5);
    done(10);
    return true;
}

static const struct {
    const char *sql;
    void (*run)(void);
} table[] = {
    {"small", do_small},
    {"three", do_three},
    {"both", do_both},
    {"big", do_big},
    {"update", do_update},
    {"empty", do_empty},
    {"failed", do_failed},
    {"fatal", do_fatal},
    {"once", do_once},
    {"flood", do_flood},
    {"stray", do_stray},
    {"given", do_given},
    {"hang", do_hang},
    {"hang at once", do_hang_at_once},
    {"stop", do_stop},
    {"trickle", do_trickle},
    {"ignore cancel", do_ignore_cancel},
    {"obey cancel", do_obey_cancel},
    {"exit 0", do_exit0},
    {"exit 0 mid", do_exit0_mid},
    {"exit 7", do_exit7},
    {"segv", do_segv},
    {"abort", do_abort},
    {"close", do_close},
    {"shrink", do_shrink},
    {"scribble", do_scribble},
    {"descriptors", do_descriptors},
    {"lie plan", lie_plan},
    {"lie no plan", lie_no_plan},
    {"lie batch no plan", lie_batch_no_plan},
    {"lie no columns", lie_no_columns},
    {"lie total", lie_total},
    {"lie inline rows", lie_inline_rows},
    {"lie inline size", lie_inline_size},
    {"lie max rows", lie_max_rows},
    {"lie type", lie_type},
    {"lie our type", lie_our_type},
    {"lie reserved", lie_reserved},
    {"lie long", lie_long},
    {"lie payload", lie_payload},
    {"lie ready", lie_ready},
    {"lie job", lie_job},
    {"lie job batch", lie_job_batch},
    {"lie script", lie_script},
    {"lie script late", lie_script_late},
    {"lie script out", lie_script_out},
    {"lie slot", lie_slot},
    {"lie index long", lie_index_long},
    {"lie index short", lie_index_short},
    {"lie body long", lie_body_long},
    {"lie body past end", lie_body_past_end},
};

static void run_job(void)
{
    canceled = false;
    if (job.plan_only) {
        planned(WIRE_KIND_ROWS);
        done(0);
        return;
    }
    if (do_flaw(job.sql))
        return;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].sql, job.sql))
            continue;
        table[i].run();
        return;
    }
    failed(WIRE_FAIL_SQL, "42601", "the fake engine does not know this statement", true);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void start_up(void)
{
    uint8_t *p;
    uint32_t n;
    int fd;
    if (get_frame(&p, &n, &fd) != WIRE_SETUP)
        _exit(80);
    struct arena *a = arena_new(8 << 20);
    struct wire_setup s;
    if (!a || wire_get_setup(p, n, a, &s) || s.version != WIRE_VERSION)
        _exit(81);
    free(p);
    char how[64];
    (void)snprintf(how, sizeof how, "%.63s", base_name(s.catalog_path));
    if (!strcmp(how, "exit-start"))
        _exit(3);
    while (!strcmp(how, "never-ready"))
        pause();
    if (!strcmp(how, "lie-ready"))
        beat();
    /* Something to wipe. */
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/spill", s.private_dir);
    int spill = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (spill >= 0)
        close(spill);
    struct wire_ready r = {.version = WIRE_VERSION, .landlock_abi = 2, .seccomp = true, .library = "fake 1"};
    struct buf b = BUF_INIT(4096);
    int rc = wire_put_ready(&b, &r);
    put_frame(&b, rc);
    while (!strcmp(how, "deaf"))
        pause();
    if (s.selftest) {
        if (strstr(s.private_dir, "hostile"))
            failed(WIRE_FAIL_REFUSED, "42501", "COPY TO; connect", false);
        else
            done(0);
        _exit(0);
    }
    arena_free(a);
}

int main(void)
{
    pid_t parent = getppid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    start_up();
    for (;;) {
        uint8_t *p;
        uint32_t n;
        int fd;
        enum wire_type t = get_frame(&p, &n, &fd);
        if (t == WIRE_QUIT)
            _exit(0);
        uint64_t of;
        uint32_t slot;
        if (t == WIRE_MEMFD && fd >= 0) { /* credit that came late stays for the next job */
            if (wire_get_memfd(p, n, &of, &slot) || slot >= WIRE_SLOTS)
                _exit(93);
            if (slot_fd[slot] >= 0)
                close(slot_fd[slot]);
            slot_fd[slot] = fd;
            free(p);
            continue;
        }
        if (t != WIRE_JOB) {
            free(p);
            continue;
        }
        job_arena = arena_new(64 << 20);
        if (!job_arena || wire_get_job(p, n, job_arena, &job))
            _exit(82);
        run_job();
        arena_free(job_arena);
        free(p);
        if (asked_to_quit)
            _exit(0);
    }
}

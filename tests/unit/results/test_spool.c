/*
 * The spool: names, sealing, sweeping; and every scenario again with the k-th call of each kind failing
 * (fault catalogue 16 to 19).
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/crypto.h"
#include "base/sys.h"
#include "results/spool.h"
#include "rows.h"

static char folder[64];
static uint64_t seed = 6364136223846793005u;

static int drop(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int make(void **state)
{
    (void)state;
    /* hundreds of spools in which one call fails: a disk would only make each wait */
    (void)snprintf(folder, sizeof folder, "%s/quern-spool-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    return crypto_init() == 0 && mkdtemp(folder) ? 0 : -1;
}

static int unmake(void **state)
{
    (void)state;
    return nftw(folder, drop, 16, FTW_DEPTH | FTW_PHYS);
}

static int files;
static int count_file(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)path;
    (void)st;
    (void)ftw;
    files += flag == FTW_F;
    return 0;
}

static int count_files(void)
{
    files = 0;
    return nftw(folder, count_file, 16, FTW_PHYS) == 0 ? files : -1;
}

/* Creates, appends, seals, opens and reads. 0, or the first error; on error everything was given up. */
static int scenario(struct spool *s, const struct schema *schema, const struct rows *r, const struct qid *id,
                    uint32_t ordinal, int appends, struct segment_facts *ret, struct err *e)
{
    struct segment_writer *w;
    int rc = spool_create(s, id, ordinal, schema, &w, e);
    if (rc < 0)
        return rc;
    for (int i = 0; rc == 0 && i < appends; i++)
        rc = segment_append(w, &r->ix, (const uint8_t *)r->body.p, e);
    if (rc == 0)
        rc = spool_seal(s, id, ordinal, w, ret, e);
    segment_writer_free(w);
    if (rc < 0)
        spool_abort(s, id, ordinal);
    return rc;
}

static int read_back(struct spool *s, const struct rows *r, const struct qid *id, uint32_t ordinal,
                     const struct segment_facts *facts, int appends, struct err *e)
{
    struct segment *seg;
    int rc = spool_open_result(s, id, ordinal, id, facts, &seg, e);
    if (rc < 0)
        return rc;
    struct segment_scratch *x = segment_scratch_new();
    struct buf want = BUF_INIT(1 << 24), got = BUF_INIT(1 << 24);
    for (int i = 0; i < appends; i++)
        for (uint64_t k = 0; k < r->ix.rows; k++)
            rows_text(&r->window, k, &want);
    uint64_t at = 0;
    struct window w;
    while ((rc = segment_window(seg, at, 1000, 100000, x, &w, e)) == 0) {
        for (uint64_t i = 0; i < w.rows; i++)
            rows_text(&w, i, &got);
        at += w.rows;
    }
    if (rc == ERR_END)
        rc = want.len == got.len && memcmp(want.p, got.p, want.len) == 0 ? 0 : ERR_INTERNAL;
    buf_free(&want);
    buf_free(&got);
    segment_scratch_free(x);
    segment_unref(seg);
    return rc;
}

static bool keep_none(void *arg, const struct qid *id, uint32_t ordinal)
{
    (void)arg;
    (void)id;
    (void)ordinal;
    return false;
}

static bool keep_one(void *arg, const struct qid *id, uint32_t ordinal)
{
    return id_equal(arg, id) && ordinal == 7;
}

static void results_live_and_go(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 24);
    struct schema *schema = rows_schema(a, "all");
    struct spool *s;
    struct segment_facts f7, f8;
    struct rows r;
    struct err e;
    struct qid id = id_new(1750000000000);
    rows_make(schema, 100, 10, 0, &seed, &r);
    assert_int_equal(spool_open(folder, &s, &e), 0);
    assert_true(spool_free_bytes(s) > 0);
    assert_int_equal(scenario(s, schema, &r, &id, 7, 3, &f7, &e), 0);
    assert_int_equal(scenario(s, schema, &r, &id, 8, 1, &f8, &e), 0);
    assert_int_equal(read_back(s, &r, &id, 7, &f7, 3, &e), 0);
    assert_int_equal(read_back(s, &r, &id, 8, &f7, 3, &e), ERR_CORRUPT);
    char path[256], text[ID_TEXT_MAX];
    (void)snprintf(path, sizeof path, "%s/spool/%02x/%s-7.seg", folder, id.b[15], id_uuid(&id, text));
    assert_int_equal(access(path, F_OK), 0);
    spool_close(s);

    assert_int_equal(spool_open(folder, &s, &e), 0);
    assert_int_equal(read_back(s, &r, &id, 7, &f7, 3, &e), 0);
    /* A foreign file, a leftover and a live writer: the sweep takes result 8 and the leftover. */
    (void)snprintf(path, sizeof path, "%s/spool/00/README", folder);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    (void)snprintf(path, sizeof path, "%s/spool/tmp/%s-1.tmp", folder, text);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    struct segment_writer *live, *twice;
    assert_int_equal(spool_create(s, &id, 2, schema, &live, &e), 0);
    assert_int_equal(spool_create(s, &id, 2, schema, &twice, &e), ERR_CONFLICT);
    assert_int_equal(spool_sweep(s, keep_one, &id), 2);
    assert_int_equal(read_back(s, &r, &id, 7, &f7, 3, &e), 0);
    assert_int_equal(read_back(s, &r, &id, 8, &f8, 1, &e), ERR_GONE);
    assert_int_equal(segment_append(live, &r.ix, (const uint8_t *)r.body.p, &e), 0);
    assert_int_equal(spool_seal(s, &id, 2, live, &f8, &e), 0);
    segment_writer_free(live);
    assert_int_equal(read_back(s, &r, &id, 2, &f8, 1, &e), 0);
    assert_int_equal(spool_remove(s, &id, 2, NULL, &e), 0);
    assert_int_equal(spool_remove(s, &id, 2, NULL, &e), 0);
    assert_int_equal(read_back(s, &r, &id, 2, &f8, 1, &e), ERR_GONE);

    /* What a run that died left behind does not stop the next one. */
    (void)snprintf(path, sizeof path, "%s/spool/tmp/%s-9.tmp", folder, text);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(scenario(s, schema, &r, &id, 9, 1, &f8, &e), 0);
    /* A folder that somebody removed is made again. */
    assert_int_equal(spool_remove(s, &id, 9, NULL, &e), 0);
    assert_int_equal(spool_remove(s, &id, 7, NULL, &e), 0);
    (void)snprintf(path, sizeof path, "%s/spool/%02x", folder, id.b[15]);
    if (id.b[15] != 0)
        assert_int_equal(rmdir(path), 0);
    assert_int_equal(scenario(s, schema, &r, &id, 7, 1, &f7, &e), 0);
    assert_int_equal(read_back(s, &r, &id, 7, &f7, 1, &e), 0);
    spool_close(s);
    rows_free(&r);
    arena_free(a);
}

/* One call fails; nothing half-made may be found, nothing may be lost silently, no path may be told. Runs in
 * a child. */
static int with_fault(const char *fault, int appends)
{
    setenv("QUERN_FAULT", fault, 1);
    struct arena *a = arena_new(1 << 24);
    struct schema *schema = rows_schema(a, "flat");
    struct rows r;
    struct spool *s = NULL;
    struct segment_facts facts;
    struct err e;
    struct qid id = id_new(1750000000000);
    rows_make(schema, 50, 10, 0, &seed, &r);
    sys_init();
    err_clear(&e);
    int rc = spool_open(folder, &s, &e);
    int sealed = rc < 0 ? rc : scenario(s, schema, &r, &id, 0, appends, &facts, &e);
    int read = sealed < 0 ? sealed : read_back(s, &r, &id, 0, &facts, appends, &e);
    int removed = sealed < 0 ? 0 : spool_remove(s, &id, 0, NULL, &e);
    bool swept_failed = s && spool_sweep(s, keep_none, NULL) < 0;
    bool hit = rc < 0 || sealed < 0 || read < 0 || removed < 0 || swept_failed;
    int bad = 0;
    if (sealed == 0 && read < 0 && read != ERR_CORRUPT && read != ERR_IO && read != ERR_UNAVAILABLE)
        bad = 2;
    if (sealed < 0 && e.code == 0)
        bad = 3;
    if (strstr(e.text, folder) || strstr(e.text, ".seg") || strstr(e.text, ".tmp"))
        bad = 4;
    unsetenv("QUERN_FAULT");
    sys_init();
    if (!bad && s) { /* the fault is over: everything works, and a sweep leaves nothing */
        if (scenario(s, schema, &r, &id, 1, appends, &facts, &e) < 0)
            bad = 5;
        else if (read_back(s, &r, &id, 1, &facts, appends, &e) < 0)
            bad = 6;
        else if (spool_sweep(s, keep_none, NULL) < 0 || count_files() != 0)
            bad = 7;
    }
    spool_close(s);
    rows_free(&r);
    arena_free(a);
    return bad ? bad : hit ? 1 : 0;
}

static void every_call_may_fail(void **state)
{
    (void)state;
    static const char *const kinds[] = {"open", "read", "write", "fsync", "rename", "unlink", "mkdir"};
    static const char *const errors[] = {"EIO", "ENOSPC", "EMFILE", "EROFS", "EDQUOT"};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (size_t n = 0; n < sizeof errors / sizeof errors[0]; n++) {
            int misses = 0;
            unsigned hits = 0;
            for (unsigned i = 1; misses < 12 && i < 60; i++) {
                char fault[64];
                (void)snprintf(fault, sizeof fault, "%s:%u:%s", kinds[k], i, errors[n]);
                pid_t pid = fork();
                assert_true(pid >= 0);
                if (pid == 0)
                    _exit(with_fault(fault, 3));
                int status;
                assert_int_equal(waitpid(pid, &status, 0), pid);
                if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
                    fail_msg("%s: status %x", fault, (unsigned)status);
                if (WEXITSTATUS(status) == 1)
                    hits++, misses = 0;
                else
                    misses++;
            }
            assert_true(hits > 0);
        }
    }
}

/* A sealed result is told to clients: its bytes and its name are on the disk first. Runs in a child; seal's answer. */
static int seal_with_fault(const char *fault)
{
    struct arena *a = arena_new(1 << 24);
    struct schema *schema = rows_schema(a, "flat");
    struct rows r;
    struct spool *s = NULL;
    struct segment_writer *w = NULL;
    struct segment_facts facts;
    struct err e;
    struct qid id = id_new(1750000000000);
    rows_make(schema, 50, 10, 0, &seed, &r);
    err_clear(&e);
    bool ready = spool_open(folder, &s, &e) == 0 && spool_create(s, &id, 0, schema, &w, &e) == 0 &&
                 segment_append(w, &r.ix, (const uint8_t *)r.body.p, &e) == 0;
    setenv("QUERN_FAULT", fault, 1);
    sys_init(); /* counts from here */
    return ready ? spool_seal(s, &id, 0, w, &facts, &e) : 1;
}

static void sealed_is_durable(void **state)
{
    (void)state;
    static const struct {
        const char *fault;
        bool seals;
    } cases[] = {
        {"fsync:1:EIO", false}, {"fsync:2:EIO", false}, {"rename:1:EIO", false}, {"fsync:3:EIO", true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            int rc = seal_with_fault(cases[i].fault);
            _exit(rc < 0 ? 2 : rc);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != (cases[i].seals ? 0 : 2))
            fail_msg("%s: status %x", cases[i].fault, (unsigned)status);
    }
}

/* The index's side file and a full disk in the middle of a large result. */
static void a_large_result_may_fail(void **state)
{
    (void)state;
    static const char *const faults[] = {"open:3:EMFILE", "write:6005:ENOSPC", "write:4500:EIO:100000",
                                         "read:1:EIO",    "read:20:EIO",       "unlink:2:EIO"};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(with_fault(faults[i], 6000));
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
            fail_msg("%s: status %x", faults[i], (unsigned)status);
    }
}

/* EIO of the disk while a page is read: that page fails as corrupt, the next one is served. */
static void a_bad_sector_costs_a_page(void **state)
{
    (void)state;
    struct arena *a = arena_new(1 << 24);
    struct schema *schema = rows_schema(a, "flat");
    struct rows r;
    struct spool *s;
    struct segment_facts facts;
    struct segment *seg;
    struct window w;
    struct err e;
    struct qid id = id_new(1750000000000);
    rows_make(schema, 50000, 10, 0, &seed, &r);
    assert_int_equal(spool_open(folder, &s, &e), 0);
    assert_int_equal(scenario(s, schema, &r, &id, 0, 2, &facts, &e), 0);
    assert_int_equal(spool_open_result(s, &id, 0, &id, &facts, &seg, &e), 0);
    struct segment_scratch *x = segment_scratch_new();
    setenv("QUERN_FAULT", "read:3:EIO", 1);
    sys_init();
    assert_int_equal(segment_window(seg, 1000, 100, 100000, x, &w, &e), ERR_CORRUPT);
    assert_string_equal(e.sqlstate, "XX001");
    assert_int_equal(segment_window(seg, 1000, 100, 100000, x, &w, &e), 0);
    assert_int_equal(w.rows, 100);
    unsetenv("QUERN_FAULT");
    sys_init();
    segment_scratch_free(x);
    segment_unref(seg);
    spool_close(s);
    rows_free(&r);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(results_live_and_go, make, unmake),
        cmocka_unit_test_setup_teardown(every_call_may_fail, make, unmake),
        cmocka_unit_test_setup_teardown(sealed_is_durable, make, unmake),
        cmocka_unit_test_setup_teardown(a_large_result_may_fail, make, unmake),
        cmocka_unit_test_setup_teardown(a_bad_sector_costs_a_page, make, unmake),
    };
    return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}

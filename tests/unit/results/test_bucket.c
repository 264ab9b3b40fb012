/*
 * Local buckets: nothing is visible before commit, nothing leaves the root, a second delivery of the same
 * object is refused or takes a dead one's leftover away, and each call may fail.
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/crypto.h"
#include "base/sys.h"
#include "results/bucket.h"

static char folder[64], root[80], url[96], outside[80];
static int files, folders;

static int drop(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int count_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)path;
    (void)st;
    (void)ftw;
    files += flag == FTW_F;
    folders += flag == FTW_D;
    return 0;
}

static void count(void)
{
    files = folders = 0;
    assert_int_equal(nftw(root, count_one, 16, FTW_PHYS), 0);
    folders--; /* the root */
}

static int make(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/quern-bucket-XXXXXX");
    if (crypto_init() < 0 || !mkdtemp(folder))
        return -1;
    (void)snprintf(root, sizeof root, "%s/b c", folder);
    (void)snprintf(url, sizeof url, "file://%s/b%%20c/", folder);
    (void)snprintf(outside, sizeof outside, "%s/outside", folder);
    return mkdir(outside, 0755) || bucket_prepare(url, NULL) < 0 ? -1 : 0;
}

static int unmake(void **state)
{
    (void)state;
    return nftw(folder, drop, 16, FTW_DEPTH | FTW_PHYS);
}

static char *in_root(const char *key)
{
    static char path[1400];
    (void)snprintf(path, sizeof path, "%s/%s", root, key);
    return path;
}

static int deliver(const char *key, const char *text, struct err *e)
{
    struct bucket_upload *u;
    int rc = bucket_begin(url, key, &u, e);
    if (rc < 0)
        return rc;
    rc = bucket_write(u, text, strlen(text), e);
    if (rc == 0)
        rc = bucket_write(u, text, strlen(text), e);
    if (rc == 0)
        return bucket_commit(u, e);
    bucket_abort(u);
    return rc;
}

static void expect_content(const char *key, const char *text)
{
    char got[100] = {0};
    int fd = open(in_root(key), O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, got, sizeof got - 1), 2 * (ssize_t)strlen(text));
    assert_memory_equal(got, text, strlen(text));
    close(fd);
}

static void objects_appear_whole(void **state)
{
    (void)state;
    struct err e;
    struct bucket_upload *u;
    struct stat st;
    mode_t old = umask(077);
    assert_int_equal(bucket_begin(url, "a/b/c.csv", &u, &e), 0);
    assert_int_equal(bucket_write(u, "x", 1, &e), 0);
    assert_int_equal(access(in_root("a/b/c.csv"), F_OK), -1);
    assert_int_equal(bucket_commit(u, &e), 0);
    umask(old);
    assert_int_equal(stat(in_root("a/b/c.csv"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(stat(in_root("a/b"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(deliver("a/b/c.csv", "hello", &e), 0); /* replaces */
    expect_content("a/b/c.csv", "hello");
    assert_int_equal(deliver("d.csv", "top", &e), 0);
    count();
    assert_int_equal(files, 2);
    assert_int_equal(bucket_begin(url, "a/b/c.csv", &u, &e), 0);
    assert_int_equal(bucket_write(u, "y", 1, &e), 0);
    bucket_abort(u);
    bucket_abort(NULL);
    expect_content("a/b/c.csv", "hello");
    assert_int_equal(bucket_begin(url, "made/for/nothing.csv", &u, &e), 0);
    bucket_abort(u);
    assert_int_equal(access(in_root("made"), F_OK), -1);
    assert_int_equal(bucket_remove(url, "a/b/c.csv", &e), 0);
    assert_int_equal(bucket_remove(url, "a/b/c.csv", &e), 0);
    count();
    assert_int_equal(files, 1);
    assert_int_equal(folders, 0);
    assert_int_equal(bucket_writable(url, &e), 0);
}

static void bad_names_are_refused(void **state)
{
    (void)state;
    struct err e;
    struct bucket_upload *u;
    static const char *const keys[] = {"",     "/a",     "a/",    "a//b",         ".",
                                       "..",   "a/../b", "a/./b", "../x",         "a/..",
                                       "a\nb", "a\\b",   "\xff",  ".quern-x.tmp", "a/.quern-1"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_int_equal(bucket_begin(url, keys[i], &u, &e), ERR_INVALID);
        assert_int_equal(bucket_remove(url, keys[i], &e), ERR_INVALID);
    }
    char longest[300];
    memset(longest, 'n', sizeof longest);
    longest[256] = 0;
    assert_int_equal(bucket_begin(url, longest, &u, &e), ERR_INVALID);
    longest[255] = 0;
    assert_int_equal(deliver(longest, "x", &e), 0);
    static const char *const urls[] = {"",
                                       "/tmp",
                                       "ftp://x",
                                       "file:/tmp/x",
                                       "file://",
                                       "file:///",
                                       "file://host/x",
                                       "file:///a/../b",
                                       "file:///a//b",
                                       "file:///a%2fb",
                                       "file:///a%00",
                                       "file:///a%zz",
                                       "file:///a%2",
                                       "file:///a?b",
                                       "file:///./a",
                                       "file:////"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
        assert_int_equal(bucket_check_url(urls[i], &e), ERR_INVALID);
    assert_int_equal(bucket_check_url("file:///nowhere/at/all", &e), 0);
    assert_int_equal(bucket_check_url("file:///dev/null", &e), ERR_INVALID);
    assert_int_equal(bucket_writable("file:///nowhere/at/all", &e), ERR_UNAVAILABLE);
    assert_null(strstr(e.text, "nowhere"));
    assert_int_equal(bucket_begin("file:///nowhere/at/all", "a", &u, &e), ERR_UNAVAILABLE);
}

static void links_lead_nowhere(void **state)
{
    (void)state;
    struct err e;
    struct bucket_upload *u;
    assert_int_equal(symlink(outside, in_root("link")), 0);
    assert_int_equal(bucket_begin(url, "link/x.csv", &u, &e), ERR_DENIED);
    assert_null(strstr(e.text, folder));
    assert_int_equal(bucket_begin(url, "link/deep/x.csv", &u, &e), ERR_DENIED);
    assert_int_equal(bucket_remove(url, "link/x.csv", &e), ERR_DENIED);
    char path[200];
    (void)snprintf(path, sizeof path, "%s/victim", outside);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(symlink(path, in_root("v.csv")), 0);
    assert_int_equal(deliver("v.csv", "new", &e), 0); /* the link is replaced, not followed */
    expect_content("v.csv", "new");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(deliver("v.csv/x", "new", &e), ERR_DENIED);
    assert_int_equal(mkdir(in_root("f.csv"), 0755), 0);
    assert_int_equal(deliver("f.csv", "new", &e), ERR_CONFLICT);
}

/* A process begins an object and dies in the middle. */
static void leave_half(void)
{
    struct err e;
    struct bucket_upload *u;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (bucket_begin(url, "q/x.csv", &u, &e) < 0 || bucket_write(u, "half", 4, &e) < 0)
            _exit(1);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    count();
    assert_int_equal(files, 1);
}

static void a_leftover_is_taken_away(void **state)
{
    (void)state;
    struct err e;
    struct bucket_upload *u, *v;
    leave_half();
    assert_int_equal(bucket_remove(url, "q/x.csv", &e), 0);
    count();
    assert_int_equal(files, 0);
    assert_int_equal(folders, 0);
    leave_half();
    assert_int_equal(bucket_begin(url, "q/x.csv", &u, &e), 0);
    assert_int_equal(bucket_begin(url, "q/x.csv", &v, &e), ERR_BUSY);
    assert_int_equal(bucket_remove(url, "q/x.csv", &e), 0); /* not what is being written */
    assert_int_equal(bucket_write(u, "whole", 5, &e), 0);
    assert_int_equal(bucket_commit(u, &e), 0);
    count();
    assert_int_equal(files, 1);
    assert_int_equal(deliver("q/x.csv", "again", &e), 0);
    expect_content("q/x.csv", "again");
}

/* An object is told to be delivered: its bytes and its name are on the disk first. */
static void delivered_is_durable(void **state)
{
    (void)state;
    static const struct {
        const char *fault;
        bool delivers;
    } cases[] = {
        {"fsync:1:EIO", false}, {"fsync:2:EIO", false}, {"rename:1:EIO", false}, {"fsync:3:EIO", true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bucket_upload *u;
        struct err e;
        err_clear(&e);
        assert_int_equal(bucket_begin(url, "a/b.csv", &u, &e), 0);
        assert_int_equal(bucket_write(u, "text", 4, &e), 0);
        setenv("QUERN_FAULT", cases[i].fault, 1);
        sys_init(); /* counts from here */
        int rc = bucket_commit(u, &e);
        unsetenv("QUERN_FAULT");
        sys_init();
        if ((rc == 0) != cases[i].delivers)
            fail_msg("%s: %d", cases[i].fault, rc);
    }
}

static int with_fault(const char *fault)
{
    struct err e;
    err_clear(&e);
    setenv("QUERN_FAULT", fault, 1);
    sys_init();
    int rc = deliver("a/b.csv", "text", &e);
    unsetenv("QUERN_FAULT");
    sys_init();
    if (rc < 0 && (e.code != rc || strstr(e.text, folder) || strstr(e.text, "b.csv")))
        return 2;
    struct stat st;
    bool there = stat(in_root("a/b.csv"), &st) == 0;
    if (rc == 0 && !there)
        return 3;
    if (there && st.st_size != 8)
        return 4; /* never a part of it */
    if (deliver("a/b.csv", "text", &e) < 0)
        return 5;
    files = folders = 0;
    if (nftw(root, count_one, 16, FTW_PHYS) != 0 || files != 1)
        return 6;
    if (bucket_remove(url, "a/b.csv", &e) < 0)
        return 7;
    return rc < 0;
}

static void every_call_may_fail(void **state)
{
    (void)state;
    static const char *const kinds[] = {"open", "write", "fsync", "rename", "mkdir"};
    static const char *const errors[] = {"EIO", "ENOSPC", "EMFILE", "EACCES", "EROFS"};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        unsigned hits = 0;
        for (size_t n = 0; n < sizeof errors / sizeof errors[0]; n++) {
            for (unsigned i = 1; i < 10; i++) {
                char fault[64];
                (void)snprintf(fault, sizeof fault, "%s:%u:%s", kinds[k], i, errors[n]);
                pid_t pid = fork();
                assert_true(pid >= 0);
                if (pid == 0)
                    _exit(with_fault(fault));
                int status;
                assert_int_equal(waitpid(pid, &status, 0), pid);
                if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
                    fail_msg("%s: status %x", fault, (unsigned)status);
                hits += WEXITSTATUS(status) == 1;
            }
        }
        assert_true(hits > 0);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, unmake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(objects_appear_whole),     TEST(bad_names_are_refused), TEST(links_lead_nowhere),
        TEST(a_leftover_is_taken_away), TEST(every_call_may_fail),   TEST(delivered_is_durable),
    };
    return cmocka_run_group_tests_name("bucket", tests, NULL, NULL);
}

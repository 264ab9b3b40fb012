/* sys: injected faults hit exactly the planned calls; a spawned process sees its descriptors and nothing
 * else. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"

static char dir[] = "/tmp/quern-sys-XXXXXX";

static void plan(const char *fault)
{
    if (fault)
        setenv("QUERN_FAULT", fault, 1);
    else
        unsetenv("QUERN_FAULT");
    sys_init();
}

static void faults(void **state)
{
    (void)state;
    plan("fsync:3:EIO:2");
    int fd = sys_open(dir, O_RDONLY, 0);
    assert_true(fd >= 0);
    for (int call = 1; call <= 6; call++) {
        errno = 0;
        int r = sys_fsync(fd);
        assert_int_equal(r, call == 3 || call == 4 ? -1 : 0);
        assert_int_equal(errno, r < 0 ? EIO : 0);
    }
    plan("write:1:ENOSPC");
    char path[64];
    snprintf(path, sizeof path, "%s/w", dir);
    int w = sys_open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(sys_write_all(w, "abc", 3), -1);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(lseek(w, 0, SEEK_END), 0);
    assert_int_equal(sys_write_all(w, "abc", 3), 0);
    plan("sqlite:1:ENOMEM");
    assert_true(sys_fault(SYS_SQLITE));
    assert_int_equal(errno, ENOMEM);
    assert_false(sys_fault(SYS_SQLITE));
    plan("spawn:1:EAGAIN");
    char *argv[] = {"true", NULL};
    assert_int_equal(sys_spawn("/bin/true", argv, NULL, NULL, 0), -1);
    assert_int_equal(errno, EAGAIN);
    plan(NULL);
    assert_false(sys_fault(SYS_SQLITE));
    close(w);
    close(fd);
}

/* In a child: a plan that cannot be read must not pass as "no fault". */
static void malformed_plans(void **state)
{
    (void)state;
    const char *bad[] = {"fsync",
                         "fsync:",
                         "fsync:0:EIO",
                         "fsync:x:EIO",
                         "fsink:1:EIO",
                         "fsync:1:EWHAT",
                         "fsync:1:EIO:0",
                         "fsync:1:EIO:2:3",
                         "fsync:1",
                         ":1:EIO",
                         "fsync:99999999999999999999:EIO"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            close(STDERR_FILENO);
            plan(bad[i]);
            _exit(0);
        }
        int status = 0;
        waitpid(pid, &status, 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 0);
    }
    plan(NULL);
}

static void files(void **state)
{
    (void)state;
    char path[128], to[128];
    snprintf(path, sizeof path, "%s/a/b/c", dir);
    assert_int_equal(sys_mkdir_p(path, 0700), 0);
    assert_int_equal(sys_mkdir_p(path, 0700), 0);
    assert_int_equal(sys_fsync_dir(path), 0);
    assert_int_equal(sys_mkdir_p("", 0700), -1);
    snprintf(path, sizeof path, "%s/f", dir);
    snprintf(to, sizeof to, "%s/g", dir);
    int fd = sys_open(path, O_RDWR | O_CREAT, 0600);
    struct iovec iov[2000];
    char bytes[2000];
    for (int i = 0; i < 2000; i++) {
        bytes[i] = (char)i;
        iov[i] = (struct iovec){bytes + i, i % 3 ? 1 : 0};
    }
    assert_int_equal(sys_writev_all(fd, iov, 2000), 0);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 1333);
    char back[2000];
    assert_int_equal(sys_pread(fd, back, sizeof back, 1000), 333);
    assert_int_equal(sys_pread(fd, back, 10, 1000), 10);
    assert_int_equal(back[0], (char)1501);
    assert_int_equal(sys_rename(path, to), 0);
    snprintf(path, sizeof path, "%s/g/x", dir);
    assert_int_equal(sys_mkdir_p(path, 0700), -1);
    assert_int_equal(sys_unlinkat(AT_FDCWD, to, 0), 0);
    assert_int_equal(sys_unlinkat(AT_FDCWD, to, 0), -1);
    assert_int_equal(errno, ENOENT);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

static void writes_to_pipe_whole(void **state)
{
    (void)state;
    int p[2];
    assert_int_equal(pipe(p), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        char buf[4096];
        size_t got = 0;
        close(p[1]);
        for (ssize_t r; (r = read(p[0], buf, sizeof buf)) > 0;)
            got += (size_t)r;
        _exit(got == 3000000 ? 0 : 1);
    }
    close(p[0]);
    char *data = calloc(1, 3000000);
    struct iovec iov[2] = {{data, 1000000}, {data + 1000000, 1000000}};
    assert_int_equal(sys_write_all(p[1], data, 1000000), 0);
    assert_int_equal(sys_writev_all(p[1], iov, 2), 0);
    close(p[1]);
    free(data);
    int status = 1;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
}

/* Runs a shell line with fds and returns what it wrote to descriptor 3 (which must be fds[0]'s other end
 * `from`). */
static void run(const char *script, const int *fds, int nfds, int from, char *out, size_t n)
{
    char *argv[] = {"sh", "-c", (char *)(uintptr_t)script, NULL};
    pid_t pid = sys_spawn("/bin/sh", argv, NULL, fds, nfds);
    assert_true(pid > 0);
    close(fds[0]);
    size_t got = 0;
    for (ssize_t r; got < n - 1 && (r = read(from, out + got, n - 1 - got)) > 0;)
        got += (size_t)r;
    out[got] = 0;
    int status = 1;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    close(from);
}

static void spawn_passes_descriptors(void **state)
{
    (void)state;
    char out[1024], path[64];
    /* Occupy low numbers, so that sources and targets overlap in both directions. */
    int p[2], q[2], extra = open("/dev/null", O_RDONLY);
    assert_int_equal(pipe(p), 0);
    assert_int_equal(pipe(q), 0);
    snprintf(path, sizeof path, "%s/five", dir);
    int file = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(write(file, "five", 4), 4);
    lseek(file, 0, SEEK_SET);
    int fds[3] = {p[1], q[1], file};
    run("cat <&5 >&3; echo four >&4; echo \" $(cd /proc/self/fd && echo *)\" >&3; env >&3", fds, 3, p[0], out,
        sizeof out);
    assert_memory_equal(out, "five 0 1 2 3 4 5", 16);
    assert_null(strstr(out, "HOME="));
    assert_int_equal(read(q[0], out, 5), 5);
    assert_memory_equal(out, "four\n", 5);
    close(q[0]);
    close(q[1]);
    close(file);
    close(extra);

    /* Swapped: fds[0] is number 4 and fds[1] number 3, if they can be had. */
    int r1[2], r2[2];
    assert_int_equal(pipe(r1), 0);
    assert_int_equal(pipe(r2), 0);
    int high1 = fcntl(r1[1], F_DUPFD, 100), high2 = fcntl(r2[1], F_DUPFD, 100),
        in1 = fcntl(r1[0], F_DUPFD, 200), in2 = fcntl(r2[0], F_DUPFD, 200);
    for (int i = 0; i < 2; i++) {
        close(r1[i]);
        close(r2[i]);
    }
    int saved3 = fcntl(3, F_DUPFD, 300), saved4 = fcntl(4, F_DUPFD, 300);
    assert_int_equal(dup2(high2, 3), 3);
    assert_int_equal(dup2(high1, 4), 4);
    close(high1);
    close(high2);
    int swapped[2] = {4, 3};
    run("echo one >&3; echo two >&4", swapped, 2, in1, out, sizeof out);
    assert_string_equal(out, "one\n");
    close(3);
    assert_int_equal(read(in2, out, 4), 4);
    assert_memory_equal(out, "two\n", 4);
    close(in2);
    if (saved3 >= 0) {
        dup2(saved3, 3);
        close(saved3);
    }
    if (saved4 >= 0) {
        dup2(saved4, 4);
        close(saved4);
    }
}

static void spawn_resets_signals(void **state)
{
    (void)state;
    sigset_t block, old;
    sigfillset(&block);
    sigprocmask(SIG_BLOCK, &block, &old);
    signal(SIGPIPE, SIG_IGN);
    int p[2];
    char out[1024];
    assert_int_equal(pipe(p), 0);
    int fds[1] = {p[1]};
    run("grep -E '^Sig(Blk|Ign):' /proc/self/status >&3", fds, 1, p[0], out, sizeof out);
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGPIPE, SIG_DFL);
    /* The C library ignores its own two signals, 32 and 33, in what it spawns. */
    assert_memory_equal(out, "SigBlk:\t0000000000000000\nSigIgn:\t", 32);
    assert_int_equal(strtoull(out + 32, NULL, 16) & ~UINT64_C(0x180000000), 0);
    char *argv[] = {"x", NULL};
    assert_int_equal(sys_spawn("/no/such/program", argv, NULL, NULL, 0), -1);
    assert_int_equal(errno, ENOENT);
    int bad[1] = {999};
    assert_int_equal(sys_spawn("/bin/true", argv, NULL, bad, 1), -1);
    assert_int_equal(errno, EBADF);
}

static void clocks(void **state)
{
    (void)state;
    int64_t wall = sys_wall_ms(), mono = sys_mono_ns();
    setenv("QUERN_CLOCK_OFFSET_MS", "-86400000", 1);
    plan(NULL);
    assert_true(sys_wall_ms() < wall - 86000000);
    assert_true(sys_mono_ns() >= mono);
    unsetenv("QUERN_CLOCK_OFFSET_MS");
    plan(NULL);
    mono = sys_mono_ns();
    sys_sleep_ms(20);
    assert_true(sys_mono_ns() - mono >= 20000000);
    uint8_t a[600] = {0}, b[600] = {0};
    sys_random(a, sizeof a);
    sys_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
}

static void counts_calls(void **state)
{
    (void)state;
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "%s/count", dir);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("QUERN_FAULT_COUNT", path, 1);
        sys_init();
        sys_fault(SYS_SQLITE);
        sys_fault(SYS_SQLITE);
        close(sys_open("/dev/null", O_RDONLY, 0));
        exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    assert_non_null(strstr(text, "open 1\n"));
    assert_non_null(strstr(text, "sqlite 2\n"));
    assert_non_null(strstr(text, "mmap 0\n"));
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    char *argv[] = {"rm", "-rf", dir, NULL};
    pid_t pid = sys_spawn("/bin/rm", argv, NULL, NULL, 0);
    int status = 1;
    waitpid(pid, &status, 0);
    return status;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults),
        cmocka_unit_test(malformed_plans),
        cmocka_unit_test(files),
        cmocka_unit_test(writes_to_pipe_whole),
        cmocka_unit_test(spawn_passes_descriptors),
        cmocka_unit_test(spawn_resets_signals),
        cmocka_unit_test(clocks),
        cmocka_unit_test(counts_calls),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

/* sys_wait: a call that a signal interrupts is made again, whoever planned the signal; a wait with an end has it
 * all the same. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys_wait.h"

static void plan(const char *fault)
{
    if (fault)
        setenv("QUERN_FAULT", fault, 1);
    else
        unsetenv("QUERN_FAULT");
    sys_init();
}

static void files(void)
{
    char path[] = "/tmp/quern-wait-XXXXXX", bytes[8] = "";
    int fd = mkstemp(path);
    struct iovec iov = {bytes, 4};
    struct stat st;
    assert_true(fd >= 0);
    int other = sys_open(path, O_RDWR, 0);
    assert_true(other >= 0);
    assert_int_equal(sys_write_all(fd, "abcd", 4), 0);
    assert_int_equal(sys_writev_all(fd, &iov, 1), 0);
    assert_int_equal(sys_pread(other, bytes, 4, 0), 4);
    assert_memory_equal(bytes, "abcd", 4);
    assert_int_equal(sys_fsync(fd), 0);
    assert_int_equal(sys_ftruncate(fd, 2), 0);
    assert_true(fstat(fd, &st) == 0 && st.st_size == 2);
    assert_int_equal(sys_fallocate(fd, 4096), 0);
    assert_true(fstat(fd, &st) == 0 && st.st_size == 4096);
    assert_int_equal(sys_flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(sys_flock(other, LOCK_EX | LOCK_NB), -1);
    assert_int_equal(errno, EWOULDBLOCK);
    char moved[sizeof path + 2], folder[sizeof path + 8];
    snprintf(moved, sizeof moved, "%s.2", path);
    assert_int_equal(sys_rename(path, moved), 0);
    assert_int_equal(sys_linkat(AT_FDCWD, moved, path), 0);
    assert_int_equal(sys_unlinkat(AT_FDCWD, moved, 0), 0);
    assert_int_equal(sys_unlinkat(AT_FDCWD, moved, 0), -1);
    assert_int_equal(errno, ENOENT);
    snprintf(folder, sizeof folder, "%s.d/e", path);
    assert_int_equal(sys_mkdir_p(folder, 0700), 0);
    assert_int_equal(rmdir(folder), 0);
    snprintf(folder, sizeof folder, "%s.d", path);
    assert_int_equal(rmdir(folder), 0);
    close(fd);
    close(other);
    unlink(path);
}

static void sockets(void)
{
    int pair[2];
    char c[2] = "";
    struct iovec iov = {c, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    struct pollfd p = {.fd = pair[1], .events = POLLIN};
    assert_int_equal(sys_poll(&p, 1, 0), 0);
    assert_int_equal(sys_send(pair[0], "a", 1, MSG_NOSIGNAL), 1);
    assert_int_equal(sys_send(pair[0], "b", 1, 0), 1);
    assert_int_equal(sys_poll(&p, 1, -1), 1);
    assert_int_equal(sys_recv(pair[1], c, 1, 0), 1);
    assert_int_equal(c[0], 'a');
    assert_int_equal(sys_recvmsg(pair[1], &m, 0), 1);
    assert_int_equal(c[0], 'b');
    assert_int_equal(sys_sendmsg(pair[1], &m, MSG_NOSIGNAL), 1);
    assert_int_equal(sys_recv(pair[0], c, 2, 0), 1);
    close(pair[1]);
    assert_int_equal(sys_send(pair[0], "c", 1, MSG_NOSIGNAL), -1);
    assert_int_equal(errno, EPIPE);
    close(pair[0]);

    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "quern-wait-%d", (int)getpid());
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(sys_connect(client, (struct sockaddr *)&at, sizeof at), 0);
    int taken = sys_accept(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(taken >= 0);
    close(taken);
    close(client);
    close(listener);
}

static void events(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN}, got;
    assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e), 0);
    assert_int_equal(sys_epoll_wait(epoll, &got, 1, 0), 0);
    sys_event_set(fd);
    assert_int_equal(sys_epoll_wait(epoll, &got, 1, -1), 1);
    sys_event_clear(fd);
    assert_int_equal(sys_epoll_wait(epoll, &got, 1, 1), 0);
    sys_event_clear(fd); /* nothing there: does not wait */
    close(fd);
    close(epoll);
}

static void children(void)
{
    char *argv[] = {"false", NULL};
    pid_t pid = sys_spawn("/bin/false", argv, NULL, NULL, 0);
    siginfo_t info;
    assert_true(pid > 0);
    assert_int_equal(sys_waitid(P_PID, (id_t)pid, &info, WEXITED), 0);
    assert_int_equal(info.si_status, 1);
    assert_int_equal(sys_waitid(P_PID, (id_t)pid, &info, WEXITED), -1);
    assert_int_equal(errno, ECHILD);
}

/* Every call of a kind is interrupted once: it does its work all the same, once, and its failures stay its own. */
static void planned_signals(void **state)
{
    (void)state;
    static const char *const kinds[] = {"open",   "read",     "write", "fsync", "rename", "unlink",
                                        "mkdir",  "truncate", "lock",  "poll",  "recv",   "send",
                                        "accept", "connect",  "wait",  "event"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char fault[64];
        snprintf(fault, sizeof fault, "%s:1:EINTR:1000000", kinds[i]);
        plan(fault);
        files();
        sockets();
        events();
        children();
    }
    plan("sqlite:1:EINTR"); /* nothing that a signal interrupts */
    assert_false(sys_fault(SYS_SQLITE));
    plan(NULL);
}

static void planned_failures(void **state)
{
    (void)state;
    struct pollfd p = {.fd = -1};
    plan("poll:1:ENOMEM");
    assert_int_equal(sys_poll(&p, 1, -1), -1);
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(sys_poll(&p, 1, 0), 0);
    plan("truncate:2:EIO");
    int fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(sys_ftruncate(fd, 0), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(sys_ftruncate(fd, 0), -1);
    assert_int_equal(errno, EIO);
    close(fd);
    plan(NULL);
}

static atomic_bool over;
static atomic_int heard;

static void hear(int number)
{
    (void)number;
    atomic_fetch_add(&heard, 1);
}

static void *nag(void *thread)
{
    while (!atomic_load(&over)) {
        pthread_kill(*(pthread_t *)thread, SIGUSR1);
        sys_sleep_ms(1);
    }
    return NULL;
}

static void *write_when_heard(void *fd)
{
    int before = atomic_load(&heard);
    while (atomic_load(&heard) < before + 20)
        sys_sleep_ms(1);
    assert_int_equal(write(*(int *)fd, "x", 1), 1);
    return NULL;
}

/* Real signals, one each millisecond: they end no call and move no deadline (one that is kept from the last signal
 * on would never come). */
static void real_signals(void **state)
{
    (void)state;
    struct sigaction sa = {.sa_handler = hear}; /* without SA_RESTART */
    assert_int_equal(sigaction(SIGUSR1, &sa, NULL), 0);
    pthread_t self = pthread_self(), nagging, writing;
    int ends[2], epoll = epoll_create1(EPOLL_CLOEXEC);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    struct pollfd p = {.fd = ends[0], .events = POLLIN};
    struct epoll_event got;
    atomic_store(&over, false);
    assert_int_equal(pthread_create(&nagging, NULL, nag, &self), 0);

    int64_t start = sys_mono_ns();
    assert_int_equal(sys_poll(&p, 1, 60), 0);
    assert_true(sys_mono_ns() - start >= 60000000);
    start = sys_mono_ns();
    assert_int_equal(sys_epoll_wait(epoll, &got, 1, 60), 0);
    assert_true(sys_mono_ns() - start >= 60000000);

    char c = 0;
    assert_int_equal(pthread_create(&writing, NULL, write_when_heard, &ends[1]), 0);
    assert_int_equal(sys_recv(ends[0], &c, 1, 0), 1);
    assert_int_equal(c, 'x');
    pthread_join(writing, NULL);
    assert_true(atomic_load(&heard) >= 20);

    atomic_store(&over, true);
    pthread_join(nagging, NULL);
    close(ends[0]);
    close(ends[1]);
    close(epoll);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(planned_signals),
        cmocka_unit_test(planned_failures),
        cmocka_unit_test(real_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

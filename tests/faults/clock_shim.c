/*
 * clock_shim: a wall clock that a test moves while the daemon runs. Built and preloaded by test_clock.py.
 *
 * The file named by QUERN_TEST_CLOCK holds two 64-bit numbers: milliseconds to add to the wall clock, and,
 * when not 0, the millisecond at which it stands still. The monotonic clocks are left alone: no jump of the
 * wall clock moves them.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *shared;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("QUERN_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *p = fd >= 0 ? mmap(NULL, 16, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (p == MAP_FAILED)
        _exit(99); /* a clock that cannot be moved would let every test pass */
    shared = p;
    close(fd);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    int rc = (int)syscall(SYS_clock_gettime, id, ts);
    if (rc || !shared || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
        return rc;
    int64_t stands = shared[1],
            ms = stands ? stands : (int64_t)ts->tv_sec * 1000 + ts->tv_nsec / 1000000 + shared[0];
    ts->tv_sec = ms / 1000;
    ts->tv_nsec = (stands ? ms % 1000 * 1000000 : ms % 1000 * 1000000 + ts->tv_nsec % 1000000);
    return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec ts;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &ts))
        return -1;
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *t)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (t)
        *t = ts.tv_sec;
    return ts.tv_sec;
}

/*
 * Files that this process wrote a moment ago: reading one back before it is sent would compare the kernel's copy of the bytes
 * with what they were when they were handed to it.
 *
 * A file is remembered when it is sealed, by its identity, size and time of change, the last few of the process. While
 * FRESH_NS have not passed and the file is still that one, segment_sendfile verifies nothing, and marks nothing as verified:
 * later readers do. Whoever writes to the file changes its time. Only for bytes that go out as they are: what is read into
 * memory, rendered or delivered to a bucket is verified always. Any thread.
 */
#include <pthread.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "results/segment_int.h"

#define FRESH_NS    INT64_C(2000000000)
#define FRESH_FILES 16u

static struct fresh {
    struct stat st;
    int64_t until_ns;
} files[FRESH_FILES];
static unsigned next_file;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

void segment__fresh_note(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return;
    pthread_mutex_lock(&mu);
    files[next_file++ % FRESH_FILES] = (struct fresh){st, sys_mono_ns() + FRESH_NS};
    pthread_mutex_unlock(&mu);
}

bool segment__fresh(const struct segment *s)
{
    struct stat st;
    bool found = false;
    if (s->fd < 0 || fstat(s->fd, &st) < 0)
        return false;
    pthread_mutex_lock(&mu);
    for (unsigned i = 0; i < FRESH_FILES && !found; i++)
        found = same(&files[i].st, &st) && sys_mono_ns() < files[i].until_ns;
    pthread_mutex_unlock(&mu);
    return found;
}

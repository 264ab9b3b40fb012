/*
 * machine: see machine.h. Control groups: version 2 (memory.max of our group and all above it) and version 1
 * (memory.limit_in_bytes).
 */
#include "base/machine.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"

/* What a file of the system says, as far as it fits; false when nothing. */
static bool text_of(const char *path, char *text, size_t size)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC); /* not a file of ours: outside the fault seam */
    size_t n = 0;
    for (ssize_t got = 1; fd >= 0 && got > 0 && n<size - 1; n += got> 0 ? (size_t)got : 0)
        got = read(fd, text + n, size - 1 - n);
    text[n] = 0;
    return n > 0;
}

/* The number in a small file; UINT64_MAX when there is none ("max", no file). */
static uint64_t number_in(const char *path)
{
    char text[64];
    if (!text_of(path, text, sizeof text) || text[0] < '0' || text[0] > '9')
        return UINT64_MAX;
    return strtoull(text, NULL, 10);
}

/* The least limit of the group at root/path and of those above it. */
static uint64_t least_above(const char *root, char *path, const char *file)
{
    uint64_t least = UINT64_MAX;
    for (;;) {
        char name[PATH_MAX * 2];
        snprintf(name, sizeof name, "%s%s/%s", root, path, file);
        uint64_t v = number_in(name);
        if (v < least)
            least = v;
        char *slash = strrchr(path, '/');
        if (!slash)
            return least;
        *slash = 0;
    }
}

/* The limit of the group that a line of /proc/self/cgroup names: "0::/a/b" or "4:memory:/a/b". */
static uint64_t limit_of(char *line)
{
    char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;
    if (!second)
        return UINT64_MAX;
    *second = 0;
    char *path = second + 1;
    if (strcmp(path, "/") == 0)
        *path = 0;
    if (first[1] == 0)
        return least_above("/sys/fs/cgroup", path, "memory.max");
    return strstr(first + 1, "memory") ? least_above("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes")
                                       : UINT64_MAX;
}

static uint64_t group_limit(void)
{
    char text[16384], *rest = text;
    uint64_t least = UINT64_MAX;
    for (char *line = text_of("/proc/self/cgroup", text, sizeof text) ? strsep(&rest, "\n") : NULL; line;
         line = strsep(&rest, "\n")) {
        uint64_t v = limit_of(line);
        if (v < least)
            least = v;
    }
    return least;
}

uint64_t machine_memory(const char **ret_from)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t physical = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : (uint64_t)1 << 30,
             group = group_limit();
    if (ret_from)
        *ret_from = group < physical ? "control group limit" : "physical memory";
    return group < physical ? group : physical;
}

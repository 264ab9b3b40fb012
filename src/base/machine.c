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

/* The number in a small file; UINT64_MAX when there is none ("max", no file). */
static uint64_t number_in(const char *path)
{
    char text[64];
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC); /* not a file of ours: outside the fault seam */
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0 || text[0] < '0' || text[0] > '9')
        return UINT64_MAX;
    text[n] = 0;
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

static uint64_t group_limit(void)
{
    char line[PATH_MAX];
    uint64_t least = UINT64_MAX;
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f)
        return least;
    while (fgets(line, sizeof line, f)) { /* "0::/a/b" or "4:memory:/a/b" */
        line[strcspn(line, "\n")] = 0;
        char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;
        if (!second)
            continue;
        *second = 0;
        char *path = second + 1;
        if (strcmp(path, "/") == 0)
            *path = 0;
        uint64_t v = UINT64_MAX;
        if (first[1] == 0)
            v = least_above("/sys/fs/cgroup", path, "memory.max");
        else if (strstr(first + 1, "memory"))
            v = least_above("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes");
        if (v < least)
            least = v;
    }
    fclose(f);
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

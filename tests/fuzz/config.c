/* config: any file; a refused one changes nothing, an accepted one leaves every number within its bounds. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("config", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        return 0;
    struct err e;
    struct config before = config;
    if (config_load(path, size % 2 == 1, &e) < 0) {
        if (e.text[0] == 0 || memcmp(&before, &config, sizeof config) != 0)
            abort();
        return 0;
    }
    if (config.http_max_body < 1024 || config.http_max_body > 1 << 30 || config.log_level < 0 ||
        config.log_level > 3)
        abort();
    return 0;
}

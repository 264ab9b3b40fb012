/* Patterns of dates: what comes out is a pattern of the engine in which every % begins something, and all of it fits. */
#include <stdlib.h>
#include <string.h>

#include "engines/compat_patterns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP_BUF struct buf b = BUF_INIT(1u << 20);
    char *text = malloc(size ? size : 1); /* its end is watched */
    if (!text)
        abort();
    if (size)
        memcpy(text, data, size);
    if (compat_joda(text, size, &b)) {
        for (size_t i = 0; i < b.len; i++) {
            if (b.p[i] == '%' && (++i == b.len || !strchr("%YyGmbBdjHIMSgaAuVpz-", b.p[i])))
                abort();
        }
    }
    free(text);
    return 0;
}

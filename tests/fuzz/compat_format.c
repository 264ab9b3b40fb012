/* format: arguments and, last, the format, parted by zero bytes; an argument that begins with "?" is a null. Both kinds. */
#include <stdlib.h>
#include <string.h>

#include "engines/compat_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *parts[9] = {0};
    struct format_arg args[9];
    size_t n = 0, at = 0;
    while (n < 9 && at <= size) {
        const uint8_t *zero = at < size && n < 8 ? memchr(data + at, 0, size - at) : NULL;
        size_t len = zero ? (size_t)(zero - data) - at : size - at;
        parts[n] = malloc(len ? len : 1); /* its end is watched */
        if (!parts[n])
            abort();
        if (len)
            memcpy(parts[n], data + at, len);
        args[n] = (struct format_arg){len && *parts[n] == '?' ? NULL : parts[n], len};
        n++;
        at += len + 1;
    }
    for (int java = 0; java < 2 && n; java++) {
        CLEANUP_BUF struct buf out = BUF_INIT(1u << 20);
        const char *message = format_text(parts[n - 1], args[n - 1].n, args, n - 1, java, &out);
        if (message && !*message)
            abort();
    }
    for (size_t i = 0; i < n; i++)
        free(parts[i]);
    return 0;
}

/* PostgreSQL's templates: a value and a template, parted by the first zero byte; a day that was read is written again. */
#include <stdlib.h>
#include <string.h>

#include "engines/compat_char.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t n = zero ? (size_t)(zero - data) : size, t = zero ? size - n - 1 : 0;
    char *text = malloc(n ? n : 1), *template = malloc(t ? t : 1); /* their ends are watched */
    CLEANUP_BUF struct buf out = BUF_INIT(1u << 20), number = BUF_INIT(1u << 20);
    int64_t at = 0;
    if (!text || !template)
        abort();
    if (n)
        memcpy(text, data, n);
    if (t)
        memcpy(template, zero + 1, t);
    (void)!char_of(text, n, template, t, &out);
    (void)char_read(text, n, template, t, &at);
    if (!char_read_number(text, n, template, t, &number) && number.len) {
        for (size_t i = 0; i < number.len; i++) {
            if (!strchr("-.0123456789", number.p[i]))
                abort();
        }
    }
    free(text);
    free(template);
    return 0;
}

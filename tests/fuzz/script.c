/* Texts of several statements: the pieces are in order, inside the text, and begin and end with a token. */
#include <stdlib.h>
#include <string.h>

#include "engines/duckdb_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new(64u << 20);
    struct wire_script s = {0};
    struct err e;
    char *copy = malloc(size + 1); /* its end is watched */
    if (!a || !copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    char *text = realloc(copy, size ? size : 1);
    if (!duck__cut(a, text, size, &s, &e)) {
        size_t from = 0;
        for (uint32_t i = 0; i < s.npieces; i++) {
            const struct wire_piece *p = &s.pieces[i];
            bool blank = text[p->at] && strchr("; \t\n\r", text[p->at]);
            if (p->at < from || !p->n || p->at + (size_t)p->n > size || blank)
                abort();
            from = p->at + (size_t)p->n;
        }
    }
    free(text);
    arena_free(a);
    return 0;
}

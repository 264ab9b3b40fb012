/* Request bodies of the JackDB dialect, form and JSON: execute, and the arguments of a new data source. Accepted
 * values must keep the promises of the checks. */
#include <string.h>

#include "base/config.h"
#include "base/utf8.h"
#include "dialects/jackdb_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void execute(struct arena *a, const char *type, const char *body, size_t n)
{
    struct jackdb_execute x;
    struct err e;
    err_clear(&e);
    if (jackdb__read_execute(a, type, body, n, &x, &e)) {
        ASSERT(e.code && e.text[0]);
        return;
    }
    ASSERT(x.command && x.command_len && x.command_len <= (size_t)config.jackdb_max_command);
    ASSERT(strlen(x.command) == x.command_len && utf8_valid(x.command, x.command_len));
    ASSERT(x.retention >= 0 && x.retention <= 2592000 && x.timeout >= 0 && x.timeout <= 86400);
    ASSERT(x.wait >= 0 && x.wait <= 60 && (x.max_rows == -1 || x.max_rows >= 1));
    for (uint32_t i = 0; i < x.nparams; i++)
        ASSERT(x.params[i].type && x.params[i].value && strlen(x.params[i].value) == x.params[i].value_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"name", NULL};
    if (!config.jackdb_max_command)
        config_defaults();
    if (!size)
        return 0;
    struct arena *a = arena_new(64u << 20);
    const char *body = (const char *)data + 1;
    execute(a, data[0] & 1 ? "application/json" : "application/x-www-form-urlencoded", body, size - 1);
    struct jackdb_args x;
    const char *text = NULL;
    size_t n = 0;
    if (!jackdb__read_args(a, NULL, body, size - 1, &x, NULL) && !jackdb__text(&x, names, &text, &n, NULL))
        ASSERT(!text || (n && strlen(text) == n));
    arena_free(a);
    return 0;
}

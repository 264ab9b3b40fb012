/* Request bodies of the Canner dialect: submit, saved SQL, service state, cancel, GraphQL, the words of a link. First byte chooses;
 * accepted values must keep the promises of the checks. */
#include <string.h>

#include "dialects/canner_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void graphql(struct arena *a, const char *body, size_t n)
{
    struct canner_graphql g;
    bool is_json = false;
    struct err e;
    if (canner__read_graphql(a, body, n, &g, &is_json, &e))
        return;
    ASSERT(is_json && g.name && g.limit >= -1);
    if (g.operation == CANNER_CREATE_QUERY)
        ASSERT(g.submit.sql && g.submit.sql_len &&
               (!g.submit.source || strlen(g.submit.source) <= CANNER_SOURCE_MAX));
    if (g.operation == CANNER_QUERY || g.operation == CANNER_RESULT || g.operation == CANNER_DELETE_STATEMENT)
        ASSERT(g.id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct arena *a = arena_new(64u << 20);
    const char *body = (const char *)data + 1, *workspace;
    struct err e;
    struct canner_submit submit;
    struct canner_save save;
    bool on = false, need = data[0] & 8;
    switch (data[0] % 6) {
    case 0:
        if (!canner__read_submit(a, body, size - 1, need, &submit, &e))
            ASSERT((!need || submit.sql_len) && submit.max_age_s >= 0);
        break;
    case 1:
        if (!canner__read_save(a, body, size - 1, &save, &e))
            ASSERT(save.sql_len && save.title && strlen(save.title) <= CANNER_TITLE_MAX &&
                   (!save.description || strlen(save.description) <= CANNER_DESCRIPTION_MAX));
        break;
    case 2:
        if (canner__read_state(a, body, size - 1, &on, &e))
            ASSERT(e.text[0]);
        break;
    case 3:
        if (canner__read_workspace(a, body, size - 1, &workspace, &e))
            ASSERT(e.text[0]);
        break;
    case 4: {
        char *text = arena_strndup(a, body, size - 1);
        uint32_t part;
        int64_t expiry;
        if (canner__read_part(body, size - 1, &part))
            ASSERT(!strcmp(arena_printf(a, "part-%u.parquet", part), text)); /* one spelling */
        if (canner__read_expiry(text, &expiry))
            ASSERT(!strcmp(arena_printf(a, "%lld", (long long)expiry), text));
        if (canner__host_ok(text))
            ASSERT(*text && !strpbrk(text, " /\\\"<>\r\n@?#"));
        break;
    }
    default:
        graphql(a, body, size - 1);
    }
    arena_free(a);
    return 0;
}

/* Request bodies of the Kakao dialect: run and create data source. First byte chooses; accepted values must
 * keep the promises of the checks. */
#include <string.h>

#include "base/config.h"
#include "dialects/kakao_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!config.kakao_max_query)
        config_defaults();
    if (!size)
        return 0;
    struct arena *a = arena_new(64u << 20);
    struct err e;
    if (data[0] & 1) {
        struct kakao_run r;
        if (!kakao__read_run(a, (const char *)data + 1, size - 1, &r, &e)) {
            ASSERT(r.sql && r.sql_len && r.bucket && *r.bucket && r.path);
            ASSERT(strlen(r.path) <= KAKAO_KEY_MAX && r.path[0] != '/');
            ASSERT(strcmp(r.path, "..") != 0 && !strstr(r.path, "/../"));
            ASSERT(!r.reuse || (r.max_reuse_age_min >= 1 && r.max_reuse_age_min <= 1440));
        }
    } else {
        struct source_new s;
        if (!kakao__read_source(a, (const char *)data + 1, size - 1, &s, &e))
            ASSERT(s.name && s.instance && s.username && s.secret_len &&
                   (s.scope == SCOPE_PRIVATE || s.scope == SCOPE_PUBLIC) &&
                   (s.database || s.kind == SOURCE_MYSQL));
    }
    arena_free(a);
    return 0;
}

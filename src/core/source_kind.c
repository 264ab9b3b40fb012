/*
 * source_kind: the words for kinds and scopes of data sources. Constant data; any thread.
 */
#include <strings.h>

#include "core/source.h"

static const char *const kinds[] = {[SOURCE_CATALOG] = "catalog",
                                    [SOURCE_MYSQL] = "mysql",
                                    [SOURCE_POSTGRESQL] = "postgresql",
                                    [SOURCE_TRINO] = "trino"};

static const char *const scopes[] = {
    [SCOPE_NONE] = "NONE", [SCOPE_PRIVATE] = "PRIVATE", [SCOPE_PUBLIC] = "PUBLIC"};

const char *source_kind_name(enum source_kind k)
{
    return k >= SOURCE_CATALOG && k <= SOURCE_TRINO ? kinds[k] : "unknown";
}

bool source_kind_parse(const char *text, enum source_kind *ret)
{
    for (enum source_kind k = SOURCE_CATALOG; k <= SOURCE_TRINO; k++) {
        if (strcasecmp(text, kinds[k]) != 0)
            continue;
        *ret = k;
        return true;
    }
    return false;
}

const char *source_scope_name(enum source_scope s)
{
    return s >= SCOPE_NONE && s <= SCOPE_PUBLIC ? scopes[s] : "unknown";
}

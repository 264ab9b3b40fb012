/*
 * kylin_types: Kylin's names of types (specs 2.11) and the numbers of java.sql.Types that its drivers read
 * (clients page). Two ways in: a result's column, and the text by which the engine's catalog names a type.
 * Pure; any thread.
 */
#include <stdlib.h>
#include <string.h>

#include "dialects/kylin_int.h"

/* java.sql.Types */
enum jdbc {
    JDBC_BINARY = -2,
    JDBC_BIGINT = -5,
    JDBC_TINYINT = -6,
    JDBC_DECIMAL = 3,
    JDBC_INTEGER = 4,
    JDBC_SMALLINT = 5,
    JDBC_FLOAT = 6,
    JDBC_DOUBLE = 8,
    JDBC_VARCHAR = 12,
    JDBC_BOOLEAN = 16,
    JDBC_DATE = 91,
    JDBC_TIME = 92,
    JDBC_TIMESTAMP = 93
};

static const struct kind {
    const char *name;
    int jdbc, size;
} kinds[] = {
    {"BOOLEAN", JDBC_BOOLEAN, 5},     {"TINYINT", JDBC_TINYINT, 3},  {"SMALLINT", JDBC_SMALLINT, 5},
    {"INTEGER", JDBC_INTEGER, 10},    {"BIGINT", JDBC_BIGINT, 19},   {"FLOAT", JDBC_FLOAT, 15},
    {"DOUBLE", JDBC_DOUBLE, 17},      {"DECIMAL", JDBC_DECIMAL, 38}, {"VARCHAR", JDBC_VARCHAR, 65535},
    {"BINARY", JDBC_BINARY, 65535},   {"DATE", JDBC_DATE, 10},       {"TIME", JDBC_TIME, 12},
    {"TIMESTAMP", JDBC_TIMESTAMP, 26}};
enum {
    BOOLEAN,
    TINYINT,
    SMALLINT,
    INTEGER,
    BIGINT,
    FLOAT,
    DOUBLE,
    DECIMAL,
    VARCHAR,
    BINARY,
    DATE,
    TIME,
    TIMESTAMP
};

/* What a client can do with the values as text decides: lists and rows travel as JSON text, unsigned types as
 * the next wider signed one. */
static int kind_of(const struct column *c)
{
    switch (c->sql) {
    case SQLT_BOOLEAN:
        return BOOLEAN;
    case SQLT_TINYINT:
        return TINYINT;
    case SQLT_SMALLINT:
    case SQLT_UTINYINT:
        return SMALLINT;
    case SQLT_INTEGER:
    case SQLT_USMALLINT:
        return INTEGER;
    case SQLT_BIGINT:
    case SQLT_UINTEGER:
        return BIGINT;
    case SQLT_FLOAT:
        return FLOAT;
    case SQLT_DOUBLE:
        return DOUBLE;
    case SQLT_DECIMAL:
    case SQLT_HUGEINT:
    case SQLT_UBIGINT:
        return c->phys == PHYS_DECIMAL ? DECIMAL : VARCHAR;
    case SQLT_BLOB:
        return BINARY;
    case SQLT_DATE:
        return DATE;
    case SQLT_TIME:
        return TIME;
    case SQLT_TIMESTAMP_S:
    case SQLT_TIMESTAMP_MS:
    case SQLT_TIMESTAMP:
    case SQLT_TIMESTAMP_NS:
    case SQLT_TIMESTAMPTZ:
        return TIMESTAMP;
    default:
        return VARCHAR;
    }
}

void kylin__type_name(const struct column *c, struct buf *out)
{
    int k = kind_of(c);
    buf_str_add(out, kinds[k].name);
    if (k == DECIMAL)
        buf_printf(out, "(%u,%u)", c->precision, c->scale);
}

void kylin__type_of_name(const char *engine_type, const char **ret_name, int *ret_jdbc, int *ret_size,
                         int *ret_digits)
{
    static const struct {
        const char *name;
        int kind;
    } others[] = {{"UTINYINT", SMALLINT},      {"USMALLINT", INTEGER},
                  {"UINTEGER", BIGINT},        {"BLOB", BINARY},
                  {"TIMESTAMP_S", TIMESTAMP},  {"TIMESTAMP_MS", TIMESTAMP},
                  {"TIMESTAMP_NS", TIMESTAMP}, {"TIMESTAMP WITH TIME ZONE", TIMESTAMP}};
    int k = VARCHAR;
    size_t n = strcspn(engine_type, "(");
    bool nested =
        strchr(engine_type, '[') || (strchr(engine_type, '(') && strncmp(engine_type, "DECIMAL(", 8) != 0);
    for (size_t i = 0; !nested && i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].name) == n && !strncmp(kinds[i].name, engine_type, n))
            k = (int)i;
    for (size_t i = 0; !nested && i < sizeof others / sizeof *others; i++)
        if (!strcmp(others[i].name, engine_type))
            k = others[i].kind;
    if (k == TIME || k == BINARY)
        k = VARCHAR; /* kylinpy has no word for them and gives up */
    *ret_size = kinds[k].size;
    *ret_digits = 0;
    if (!strcmp(engine_type, "HUGEINT") || !strcmp(engine_type, "UBIGINT")) {
        k = DECIMAL;
        *ret_size = engine_type[0] == 'H' ? 38 : 20;
    } else if (k == DECIMAL && engine_type[n] == '(') {
        char *end;
        *ret_size = (int)strtol(engine_type + n + 1, &end, 10);
        *ret_digits = *end == ',' ? (int)strtol(end + 1, NULL, 10) : 0;
    }
    *ret_name = kinds[k].name;
    *ret_jdbc = kinds[k].jdbc;
}

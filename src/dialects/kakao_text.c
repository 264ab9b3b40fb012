/*
 * kakao_text: sizes, durations, folders, states and type names as the Kakao Open API prints them (specs:
 * "Size and duration strings", "Names, scopes, SQL"; the samples are 25.6MB, 12.81KB, 0B, 439ms, 9.83m).
 * Pure; any thread.
 */
#include "dialects/kakao_int.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/number.h"
#include "dialects/sql_scan.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit sizes[] = {
    {"B", 1},           {"KB", 1ULL << 10}, {"MB", 1ULL << 20},
    {"GB", 1ULL << 30}, {"TB", 1ULL << 40}, {"PB", 1ULL << 50},
};
static const struct unit times[] = {
    {"ns", 1},          {"us", 1000},         {"ms", 1000000},       {"s", 1000000000},
    {"m", 60000000000}, {"h", 3600000000000}, {"d", 86400000000000},
};

/* Hundredths of a unit, rounded half up; both widths are exact, the narrow one is for what is not huge. */
static uint64_t hundredths_of(uint64_t v, uint64_t factor)
{
    if (v <= UINT64_MAX / 128)
        return (v * 100 + factor / 2) / factor;
    return (uint64_t)(((unsigned __int128)v * 100 + factor / 2) / factor);
}

/* Integer arithmetic only, and no printf: a status has six of these. */
static void in_units(uint64_t v, const struct unit *units, size_t n, char out[KAKAO_TEXT_MAX])
{
    size_t u = n - 1;
    while (u && v < units[u].factor)
        u--;
    uint64_t hundredths = hundredths_of(v, units[u].factor);
    /* rounding may reach the next unit: 1023.999KB is 1MB */
    while (u + 1 < n &&
           (unsigned __int128)hundredths * units[u].factor >= (unsigned __int128)units[u + 1].factor * 100)
        hundredths = hundredths_of(v, units[++u].factor);
    char whole[NUMBER_INT_MAX];
    size_t len = number_u64(hundredths / 100, whole);
    unsigned part = (unsigned)(hundredths % 100);
    memcpy(out, whole, len);
    if (part) {
        out[len++] = '.';
        out[len++] = (char)('0' + part / 10);
        if (part % 10)
            out[len++] = (char)('0' + part % 10);
    }
    memcpy(out + len, units[u].name, strlen(units[u].name) + 1);
}

const char *kakao__size(uint64_t bytes, char out[KAKAO_TEXT_MAX])
{
    in_units(bytes, sizes, sizeof sizes / sizeof *sizes, out);
    return out;
}

const char *kakao__duration(int64_t ns, char out[KAKAO_TEXT_MAX])
{
    if (ns <= 0)
        memcpy(out, "0ms", 4);
    else
        in_units((uint64_t)ns, times, sizeof times / sizeof *times, out);
    return out;
}

const char *kakao__folder(int64_t unix_ms, char out[KAKAO_TEXT_MAX])
{
    struct civil c;
    int64_t s = unix_ms / 1000 - (unix_ms % 1000 < 0);
    clock_civil(s + KAKAO_KST_S, &c);
    snprintf(out, KAKAO_TEXT_MAX, "%04lld/%02d/%02d", (long long)c.year, c.month, c.day);
    return out;
}

const char *kakao__state(enum query_state s)
{
    switch (s) {
    case QUERY_RUNNING:
        return "RUNNING";
    case QUERY_FINISHED:
        return "FINISHED";
    case QUERY_FAILED:
        return "FAILED";
    case QUERY_CANCELED:
        return "ABORTED";
    default:
        return "QUEUED";
    }
}

bool kakao__is_text(const struct query_view *v)
{
    if (v->kind == WIRE_KIND_TEXT && v->flags & QF_PLANNED)
        return true;
    struct sql_scan s;
    sql_scan_init(&s, v->sql, v->sql_len);
    struct sql_piece first = sql_scan_next(&s);
    if (sql_piece_is(&s, first, "explain"))
        return true;
    return sql_piece_is(&s, first, "show") && sql_piece_is(&s, sql_scan_next(&s), "create");
}

/* Names of types without parameters; "" for those that have some. Trino's words; what Trino lacks is the
 * nearest type that holds the values. */
static const char *const plain_names[SQLT_END] = {
    [SQLT_BOOLEAN] = "boolean",
    [SQLT_TINYINT] = "tinyint",
    [SQLT_SMALLINT] = "smallint",
    [SQLT_INTEGER] = "integer",
    [SQLT_BIGINT] = "bigint",
    [SQLT_HUGEINT] = "decimal(38,0)",
    [SQLT_UTINYINT] = "smallint",
    [SQLT_USMALLINT] = "integer",
    [SQLT_UINTEGER] = "bigint",
    [SQLT_UBIGINT] = "decimal(20,0)",
    [SQLT_UHUGEINT] = "varchar",
    [SQLT_FLOAT] = "real",
    [SQLT_DOUBLE] = "double",
    [SQLT_VARCHAR] = "varchar",
    [SQLT_BLOB] = "varbinary",
    [SQLT_DATE] = "date",
    [SQLT_TIME] = "time(6)",
    [SQLT_TIMETZ] = "time(6) with time zone",
    [SQLT_TIMESTAMP_S] = "timestamp(0)",
    [SQLT_TIMESTAMP_MS] = "timestamp(3)",
    [SQLT_TIMESTAMP] = "timestamp(6)",
    [SQLT_TIMESTAMP_NS] = "timestamp(9)",
    [SQLT_TIMESTAMPTZ] = "timestamp(6) with time zone",
    [SQLT_INTERVAL] = "interval day to second",
    [SQLT_UUID] = "uuid",
    [SQLT_JSON] = "json",
    [SQLT_ENUM] = "varchar",
    [SQLT_BIT] = "varchar",
    [SQLT_BIGNUM] = "varchar",
    [SQLT_GEOMETRY] = "varchar",
    [SQLT_UNION] = "varchar",
    [SQLT_NULL] = "unknown",
    [SQLT_OTHER] = "varchar",
};

static bool is_plain_name(const char *s)
{
    if (!((*s >= 'a' && *s <= 'z') || *s == '_'))
        return false;
    for (; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || *s == '_'))
            return false;
    return true;
}

static int field_name(const char *name, struct buf *out)
{
    if (is_plain_name(name))
        return buf_str_add(out, name);
    int r = buf_char(out, '"');
    for (; !r && *name; name++) {
        r = *name == '"' ? buf_char(out, '"') : 0;
        if (!r)
            r = buf_char(out, *name);
    }
    return r ? r : buf_char(out, '"');
}

static int type_name(const struct column *c, struct buf *out, int depth)
{
    if (depth > SCHEMA_DEPTH_MAX || (unsigned)c->sql >= SQLT_END)
        return buf_str_add(out, "varchar");
    int r = 0;
    switch (c->sql) {
    case SQLT_DECIMAL:
        return buf_printf(out, "decimal(%u,%u)", (unsigned)c->precision, (unsigned)c->scale);
    case SQLT_LIST:
    case SQLT_ARRAY:
        r = buf_str_add(out, "array(");
        if (!r && c->nchildren)
            r = type_name(&c->children[0], out, depth + 1);
        return r ? r : buf_char(out, ')');
    case SQLT_STRUCT:
        r = buf_str_add(out, "row(");
        for (uint32_t i = 0; !r && i < c->nchildren; i++) {
            if (i)
                r = buf_char(out, ',');
            if (!r)
                r = field_name(c->children[i].name, out);
            if (!r)
                r = buf_char(out, ' ');
            if (!r)
                r = type_name(&c->children[i], out, depth + 1);
        }
        return r ? r : buf_char(out, ')');
    case SQLT_MAP: {
        const struct column *entry = c->nchildren ? &c->children[0] : NULL;
        r = buf_str_add(out, "map(");
        if (!r && entry && entry->nchildren == 2) {
            r = type_name(&entry->children[0], out, depth + 2);
            if (!r)
                r = buf_char(out, ',');
            if (!r)
                r = type_name(&entry->children[1], out, depth + 2);
        }
        return r ? r : buf_char(out, ')');
    }
    default:
        return buf_str_add(out, plain_names[c->sql] ? plain_names[c->sql] : "varchar");
    }
}

int kakao__type_name(const struct column *c, struct buf *out)
{
    return type_name(c, out, 0);
}

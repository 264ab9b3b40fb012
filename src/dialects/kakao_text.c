/*
 * kakao_text: sizes, durations, folders and states as the Kakao Open API prints them (specs:
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

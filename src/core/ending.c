/*
 * ending: the two tables of a query's life: which moves between states there are, and the ways to end; and Trino's errors
 * for them. Constant data; any thread. See query.h and docs/life.md.
 */
#include <string.h>

#include "core/query.h"

/* Rows: from; columns: to. QUEUED -> FINISHED is a reuse hit; RUNNING -> QUEUED is a restart, or a statement
 * that turned out to need the catalog. */
static const bool moves[QUERY_STATES][QUERY_STATES] = {
    [QUERY_QUEUED] =
        {[QUERY_RUNNING] = true, [QUERY_FINISHED] = true, [QUERY_FAILED] = true, [QUERY_CANCELED] = true},
    [QUERY_RUNNING] =
        {[QUERY_QUEUED] = true, [QUERY_FINISHED] = true, [QUERY_FAILED] = true, [QUERY_CANCELED] = true},
};

static const char *const state_names[QUERY_STATES] = {"NONE",     "QUEUED", "RUNNING",
                                                      "FINISHED", "FAILED", "CANCELED"};

const char *query_state_name(enum query_state s)
{
    return (unsigned)s < QUERY_STATES ? state_names[s] : "NONE";
}

bool query_move_legal(enum query_state from, enum query_state to)
{
    return (unsigned)from < QUERY_STATES && (unsigned)to < QUERY_STATES && moves[from][to];
}

#define AT_ONCE "at once"

const struct ending_row endings[ENDINGS] = {
    [END_NONE] = {END_NONE, "none", 0, "", "", "", ""},
    [END_FINISHED] = {END_FINISHED, "finished", QUERY_FINISHED, "", "", "",
                      "when the engine sent its last row, before fsync and delivery"},
    [END_SQL_ERROR] = {END_SQL_ERROR, "sql_error", QUERY_FAILED, "", "", "", AT_ONCE},
    [END_REFUSED] = {END_REFUSED, "refused", QUERY_FAILED, "", "", "", AT_ONCE},
    [END_CANCELED_QUEUED] = {END_CANCELED_QUEUED, "canceled_queued", QUERY_CANCELED, "57014", "USER_CANCELED",
                             "canceled by user", "it held none"},
    [END_CANCELED_RUNNING] =
        {END_CANCELED_RUNNING, "canceled_running", QUERY_CANCELED, "57014", "USER_CANCELED",
         "canceled by user",
         "when the engine obeys the interrupt, at the latest engine.grace later (SIGKILL)"},
    [END_RUN_TIMEOUT] = {END_RUN_TIMEOUT, "run_timeout", QUERY_FAILED, "57014", "EXCEEDED_TIME_LIMIT",
                         "canceled by query timeout: the run time limit was reached (engine.run_timeout)",
                         "as canceled while running"},
    [END_PLAN_TIMEOUT] =
        {END_PLAN_TIMEOUT, "plan_timeout", QUERY_FAILED, "57014", "EXCEEDED_TIME_LIMIT",
         "canceled by query timeout: the planning time limit was reached (engine.plan_timeout)",
         "as canceled while running"},
    [END_MEMORY] = {END_MEMORY, "memory", QUERY_FAILED, "53200", "EXCEEDED_LOCAL_MEMORY_LIMIT", "",
                    AT_ONCE ", the process is not used again"},
    [END_RESULT_LIMIT] = {END_RESULT_LIMIT, "result_limit", QUERY_FAILED, "54000",
                          "GENERIC_INSUFFICIENT_RESOURCES", "", AT_ONCE},
    [END_ENGINE_CRASHED] = {END_ENGINE_CRASHED, "engine_crashed", QUERY_FAILED, "58000",
                            "GENERIC_INTERNAL_ERROR", "", AT_ONCE},
    [END_ENGINE_HUNG] = {END_ENGINE_HUNG, "engine_hung", QUERY_FAILED, "58000", "GENERIC_INTERNAL_ERROR",
                         "the engine stopped answering and was ended (engine.silence)",
                         "engine.silence after its last sign of life"},
    [END_ENGINE_LIED] = {END_ENGINE_LIED, "engine_lied", QUERY_FAILED, "58000", "GENERIC_INTERNAL_ERROR",
                         "the engine sent a malformed answer and was ended", AT_ONCE},
    [END_DISK_FULL] = {END_DISK_FULL, "disk_full", QUERY_FAILED, "53100", "GENERIC_INSUFFICIENT_RESOURCES",
                       "the result could not be stored: the disk is full or cannot be written", AT_ONCE},
    [END_RESTARTED] = {END_RESTARTED, "restarted", QUERY_FAILED, "57P01", "GENERIC_INTERNAL_ERROR",
                       "interrupted by restart", "it held none"},
    [END_DELIVERY] = {END_DELIVERY, "delivery", QUERY_FAILED, "58030", "GENERIC_EXTERNAL", "",
                      "it held none"},
    [END_INTERNAL] = {END_INTERNAL, "internal", QUERY_FAILED, "XX000", "GENERIC_INTERNAL_ERROR", "", AT_ONCE},
    [END_CATALOG_WAIT] = {END_CATALOG_WAIT, "catalog_wait", QUERY_FAILED, "55P03", "EXCEEDED_TIME_LIMIT",
                          "other statements used the workspace's catalog for longer than a statement waits "
                          "for it (catalog.wait)",
                          "it held none"},
};

/* Trino's StandardErrorCode for our SQLSTATEs (specs: Kakao page section 8, Error names). An ending's own
 * name wins; then the first row with the SQLSTATE. */
static const struct trino_error trino_errors[] = {
    {"42601", "SYNTAX_ERROR", 1, "USER_ERROR"},
    {"57014", "USER_CANCELED", 3, "USER_ERROR"},
    {"42501", "PERMISSION_DENIED", 4, "USER_ERROR"},
    {"42883", "FUNCTION_NOT_FOUND", 6, "USER_ERROR"},
    {"22023", "INVALID_FUNCTION_ARGUMENT", 7, "USER_ERROR"},
    {"22012", "DIVISION_BY_ZERO", 8, "USER_ERROR"},
    {"22P02", "INVALID_CAST_ARGUMENT", 9, "USER_ERROR"},
    {"22007", "INVALID_CAST_ARGUMENT", 9, "USER_ERROR"},
    {"0A000", "NOT_SUPPORTED", 13, "USER_ERROR"},
    {"22003", "NUMERIC_VALUE_OUT_OF_RANGE", 19, "USER_ERROR"},
    {"22008", "NUMERIC_VALUE_OUT_OF_RANGE", 19, "USER_ERROR"},
    {"3D000", "CATALOG_NOT_FOUND", 44, "USER_ERROR"},
    {"3F000", "SCHEMA_NOT_FOUND", 45, "USER_ERROR"},
    {"42P01", "TABLE_NOT_FOUND", 46, "USER_ERROR"},
    {"42703", "COLUMN_NOT_FOUND", 47, "USER_ERROR"},
    {"42P06", "SCHEMA_ALREADY_EXISTS", 49, "USER_ERROR"},
    {"42P07", "TABLE_ALREADY_EXISTS", 50, "USER_ERROR"},
    {"42701", "COLUMN_ALREADY_EXISTS", 51, "USER_ERROR"},
    {"3DM00", "MISSING_CATALOG_NAME", 56, "USER_ERROR"},
    {"3FM00", "MISSING_SCHEMA_NAME", 57, "USER_ERROR"},
    {"42804", "TYPE_MISMATCH", 58, "USER_ERROR"},
    {"42725", "TYPE_MISMATCH", 58, "USER_ERROR"}, /* 1 + 'a': no operator for these types */
    {"42702", "AMBIGUOUS_NAME", 62, "USER_ERROR"},
    {"", "GENERIC_USER_ERROR", 0, "USER_ERROR"},
    {"XX000", "GENERIC_INTERNAL_ERROR", 65536, "INTERNAL_ERROR"},
    {"53000", "GENERIC_INSUFFICIENT_RESOURCES", 131072, "INSUFFICIENT_RESOURCES"},
    {"", "EXCEEDED_TIME_LIMIT", 131075, "INSUFFICIENT_RESOURCES"},
    {"53100", "EXCEEDED_SPILL_LIMIT", 131078, "INSUFFICIENT_RESOURCES"},
    {"53200", "EXCEEDED_LOCAL_MEMORY_LIMIT", 131079, "INSUFFICIENT_RESOURCES"},
    {"58030", "GENERIC_EXTERNAL", 16777216, "EXTERNAL"},
};

#define NERRORS (sizeof trino_errors / sizeof trino_errors[0])

static const struct trino_error *trino_by_name(const char *name)
{
    for (size_t i = 0; i < NERRORS; i++)
        if (strcmp(trino_errors[i].name, name) == 0)
            return &trino_errors[i];
    return NULL;
}

const struct trino_error *trino_error_of(const char *sqlstate, enum ending ending)
{
    const struct trino_error *t =
        (unsigned)ending < ENDINGS ? trino_by_name(endings[ending].trino_name) : NULL;
    for (size_t i = 0; i < NERRORS && !t; i++)
        if (sqlstate[0] && strcmp(trino_errors[i].sqlstate, sqlstate) == 0)
            t = &trino_errors[i];
    bool user = ending == END_SQL_ERROR || ending == END_REFUSED;
    return t ? t : trino_by_name(user ? "GENERIC_USER_ERROR" : "GENERIC_INTERNAL_ERROR");
}

/*
 * compat_macros: functions of the other family, as macros of a schema that stands in the search path of a
 * profile's sessions (after the user's, before the engine's own): memory.quern_trino, memory.quern_pg. An
 * operator is looked for in the path too, so "/" and "%" are macros.
 *
 * Each parameter is used once where a call is likely to be nested: a macro is text for the engine, used twice
 * it doubles with every level. No overloads by type, for the same reason: the engine binds the arguments once
 * more for each. Arithmetic is functions of our own (compat_arith.c).
 * The script begins with blanks (MACRO_OFFSET), so that a place inside a macro is no place of the user's
 * text. Job thread (the main thread before it starts one).
 */
#include <string.h>

#include "engines/compat_arith.h"
#include "engines/compat_exact.h"
#include "engines/compat_int.h"
#include "engines/compat_operators.h"
#include "engines/compat_patterns.h"

/* ---- macros ---- */

static const char *const trino[][2] = {
/* X(name and parameters, body) */
#define M(head, body) {head, body},
#include "engines/compat_macros.def"
#undef M
};

static const char *const pg[][2] = {
#define M(head, body) {head, body},
#include "engines/compat_macros_pg.def"
#undef M
};

static void script(struct buf *b, const char *schema, const char *const (*macros)[2], size_t n)
{
    (void)buf_printf(b, "BEGIN;CREATE SCHEMA memory.%s;", schema);
    for (size_t i = 0; i < n; i++)
        (void)buf_printf(b, "CREATE MACRO memory.%s.%s AS %s;\n", schema, macros[i][0], macros[i][1]);
    (void)buf_str_add(b, "COMMIT");
}

static int install_functions(duckdb_connection c, struct err *e)
{
    return compat_arith_install(c) && compat_round_install(c) && compat_patterns_install(c) &&
                   compat_scalar_install(c) && compat_text_install(c) && compat_exact_install(c) &&
                   compat_dates_install(c) && compat_operators_work(c)
               ? 0
               : err_set(e, ERR_ENGINE, "XX000", "the engine refuses a function");
}

const char *compat_schema(uint8_t profile)
{
    return profile == WIRE_PROFILE_TRINO ? "quern_trino" : profile == WIRE_PROFILE_PG ? "quern_pg" : NULL;
}

int compat_install(duckdb_connection c, uint8_t profile, struct err *e)
{
    static bool functions, schema[2]; /* one instance a process, one thread */
    const char *name = compat_schema(profile);
    bool first = profile == WIRE_PROFILE_TRINO;
    if (!name || schema[first])
        return 0;
    int r = functions ? 0 : install_functions(c, e);
    if (r < 0)
        return r;
    functions = true;
    CLEANUP_BUF struct buf b = BUF_INIT(COMPAT_MACRO_OFFSET + COMPAT_MACRO_SPAN);
    if (buf_reserve(&b, COMPAT_MACRO_OFFSET) < 0)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    memset(b.p, ' ', COMPAT_MACRO_OFFSET);
    b.len = COMPAT_MACRO_OFFSET;
    if (first)
        script(&b, name, trino, sizeof trino / sizeof *trino);
    else
        script(&b, name, pg, sizeof pg / sizeof *pg);
    r = duck__exec(c, buf_str(&b), e);
    schema[first] = r == 0;
    return r;
}

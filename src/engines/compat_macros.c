/*
 * compat_macros: functions of the other family, as macros of a schema that stands in the search path of a
 * profile's sessions (after the user's, before the engine's own): memory.quern_trino, memory.quern_pg. An
 * operator is looked for in the path too, so "/" and "%" are macros.
 *
 * Each parameter is used once where a call is likely to be nested: a macro is text for the engine, used twice
 * it doubles with every level. No overloads by type, for the same reason: the engine binds the arguments once
 * more for each. Arithmetic is functions of our own (compat_arith.c).
 * Most are made when a text names one (R in the lists): only names that the engine lacks may wait, so that a name which
 * is reached in another way (a view's text) is unknown, all are made then and the statement is planned again
 * (duck__plan). Making one costs as much as a small query, and a session of a dashboard needs none.
 *
 * The script begins with blanks (MACRO_OFFSET), so that a place inside a macro is no place of the user's
 * text. Job thread (the main thread before it starts one).
 */
#include <string.h>
#include <strings.h>

#include "engines/compat_arith.h"
#include "engines/compat_exact.h"
#include "engines/compat_int.h"
#include "engines/compat_operators.h"
#include "engines/compat_patterns.h"

/* ---- macros ---- */

struct macro {
    const char *head, *body;
    bool waits; /* until it is asked for */
};

static const struct macro trino[] = {
/* M(name and parameters, body) */
#define M(head, body) {head, body, false},
#define R(head, body) {head, body, true},
#include "engines/compat_macros.def"
};

static const struct macro pg[] = {
#include "engines/compat_macros_pg.def"
#undef M
#undef R
};

#define MACROS 256
#define SLOTS  1024 /* a power of two */

/* One instance a process, one thread. */
static struct family {
    const char *schema;
    const struct macro *macros;
    size_t n;
    bool there; /* the schema */
    size_t waiting;
    bool made[MACROS];
    uint8_t slot[SLOTS]; /* number of a macro + 1, by the hash of its name; 0: none */
} families[] = {{.schema = "quern_trino", .macros = trino, .n = sizeof trino / sizeof *trino},
                {.schema = "quern_pg", .macros = pg, .n = sizeof pg / sizeof *pg}};

_Static_assert(sizeof trino / sizeof *trino < MACROS && sizeof pg / sizeof *pg < MACROS, "room for all");

static struct family *family_of(uint8_t profile)
{
    return profile == WIRE_PROFILE_TRINO ? &families[0] : profile == WIRE_PROFILE_PG ? &families[1] : NULL;
}

const char *compat_schema(uint8_t profile)
{
    const struct family *f = family_of(profile);
    return f ? f->schema : NULL;
}

/* ---- by name ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool in_name(char c)
{
    return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static uint32_t hash(const char *p, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)lower(p[i])) * 16777619u;
    return h;
}

static void index_names(struct family *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (!f->macros[i].waits)
            continue;
        uint32_t at = hash(f->macros[i].head, strcspn(f->macros[i].head, "("));
        while (f->slot[at % SLOTS])
            at++;
        f->slot[at % SLOTS] = (uint8_t)(i + 1);
        f->waiting++;
    }
}

/* The macro that waits and has this name; f->n: none. */
static size_t find(const struct family *f, const char *p, size_t n)
{
    for (uint32_t at = hash(p, n); f->slot[at % SLOTS]; at++) {
        size_t i = f->slot[at % SLOTS] - 1u;
        const char *head = f->macros[i].head;
        if (strncasecmp(head, p, n) == 0 && head[n] == '(')
            return i;
    }
    return f->n;
}

/* ---- making them ---- */

static bool waits(const struct family *f, const bool *which)
{
    for (size_t i = 0; i < f->n; i++) {
        if (which[i] && f->macros[i].waits)
            return true;
    }
    return false;
}

/* Those that `which` says, and marks them made. */
static int make(duckdb_connection c, struct family *f, const bool *which, struct err *e)
{
    static bool extra; /* functions of ours that only macros which wait are made of */
    CLEANUP_BUF struct buf b = BUF_INIT(COMPAT_MACRO_OFFSET + COMPAT_MACRO_SPAN);
    if (buf_reserve(&b, COMPAT_MACRO_OFFSET) < 0)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    memset(b.p, ' ', COMPAT_MACRO_OFFSET);
    b.len = COMPAT_MACRO_OFFSET;
    (void)buf_str_add(&b, "BEGIN;");
    if (!extra && waits(f, which)) {
        if (!compat_char_install(c) || !compat_format_install(c))
            return err_set(e, ERR_ENGINE, "XX000", "the engine refuses a function");
        extra = true;
    }
    if (!f->there)
        (void)buf_printf(&b, "CREATE SCHEMA memory.%s;", f->schema);
    for (size_t i = 0; i < f->n; i++) {
        if (which[i])
            (void)buf_printf(&b, "CREATE MACRO memory.%s.%s AS %s;\n", f->schema, f->macros[i].head,
                             f->macros[i].body);
    }
    (void)buf_str_add(&b, "COMMIT");
    int r = duck__exec(c, buf_str(&b), e);
    if (r < 0)
        return duck__exec(c, "ROLLBACK", NULL) < 0 ? ERR_ENGINE : r;
    f->there = true;
    for (size_t i = 0; i < f->n; i++) {
        f->made[i] |= which[i];
        f->waiting -= which[i] && f->macros[i].waits;
    }
    return 0;
}

static int install_functions(duckdb_connection c, struct err *e)
{
    return compat_arith_install(c) && compat_round_install(c) && compat_patterns_install(c) &&
                   compat_scalar_install(c) && compat_text_install(c) && compat_exact_install(c) &&
                   compat_dates_install(c) && compat_operators_work(c)
               ? 0
               : err_set(e, ERR_ENGINE, "XX000", "the engine refuses a function");
}

int compat_install(duckdb_connection c, uint8_t profile, struct err *e)
{
    static bool functions;
    struct family *f = family_of(profile);
    bool which[MACROS] = {false};
    if (!f || f->there)
        return 0;
    int r = functions ? 0 : install_functions(c, e);
    if (r < 0)
        return r;
    functions = true;
    if (!f->waiting)
        index_names(f);
    for (size_t i = 0; i < f->n; i++)
        which[i] = !f->macros[i].waits;
    return make(c, f, which, e);
}

int compat_macros_named(duckdb_connection c, uint8_t profile, const char *p, size_t n, struct err *e)
{
    struct family *f = family_of(profile);
    bool which[MACROS] = {false}, any = false;
    if (!f || !f->waiting)
        return 0;
    for (size_t i = 0; i < n;) {
        size_t from = i;
        while (i < n && in_name(p[i]))
            i++;
        size_t end = i;
        while (i < n && (p[i] == ' ' || p[i] == '\n' || p[i] == '\t' || p[i] == '\r'))
            i++;
        if (end == from) {
            i += i == from;
            continue;
        }
        size_t k = i < n && p[i] == '(' ? find(f, p + from, end - from) : f->n;
        if (k < f->n && !f->made[k])
            any = which[k] = true;
    }
    return any ? make(c, f, which, e) : 0;
}

int compat_macros_rest(duckdb_connection c, uint8_t profile, bool *ret_any, struct err *e)
{
    struct family *f = family_of(profile);
    bool which[MACROS] = {false};
    *ret_any = f && f->waiting;
    if (!*ret_any)
        return 0;
    for (size_t i = 0; i < f->n; i++)
        which[i] = !f->made[i];
    return make(c, f, which, e);
}

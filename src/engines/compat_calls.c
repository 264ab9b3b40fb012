/*
 * compat_calls: calls that need other words than a macro could give: aggregates under another name (a macro
 * cannot be used with FILTER, DISTINCT or OVER), lambdas (no macro takes one), any number of arguments, CAST
 * to types with another spelling. Pure; any thread.
 *
 * Templates are those of compat_walk.c.
 */
#include <string.h>
#include <strings.h>

#include "engines/compat.h"
#include "engines/compat_patterns.h"

static const struct compat_template calls[] = {
    {"all_match", 2, 2, "(list_aggregate(list_transform($1,$2),'bool_and') IS NOT FALSE)"},
    {"any_match", 2, 2, "(list_aggregate(list_transform($1,$2),'bool_or') IS TRUE)"},
    {"approx_distinct", 1, 2, "approx_count_distinct($1)"},
    {"approx_percentile", 2, 2, "approx_quantile($*)"},
    {"arbitrary", 1, 1, "any_value($*)"},
    {"bitwise_and_agg", 1, 1, "bit_and($*)"},
    {"bitwise_or_agg", 1, 1, "bit_or($*)"},
    {"bitwise_xor_agg", 1, 1, "bit_xor($*)"},
    {"concat", 2, UINT32_MAX, "($|)"},
    /* the engine wants a pattern that is a constant, and a macro's parameter is none */
    {"date_parse", 2, 2, "strptime($1," COMPAT_MYSQL_PATTERN("$2") ")"},
    {"every", 1, 1, "bool_and($*)"},
    {"filter", 2, 2, "list_filter($*)"},
    {"format", 2, UINT32_MAX, "quern_formatted($1,[$@])"},
    {"greatest", 2, UINT32_MAX, "list_sort([$*],'DESC','NULLS FIRST')[1]"},
    {"if", 2, 2, "(CASE WHEN $1 THEN $2 END)"},
    {"if", 3, 3, "(CASE WHEN $1 THEN $2 ELSE $3 END)"},
    {"json_array_length", 1, 1, "CAST(json_array_length($*) AS BIGINT)"},
    {"least", 2, UINT32_MAX, "list_sort([$*],'ASC','NULLS FIRST')[1]"},
    {"localtimestamp", 1, 1, "localtimestamp"},
    {"current_timestamp", 1, 1, "current_timestamp"},
    {"none_match", 2, 2, "(list_aggregate(list_transform($1,$2),'bool_or') IS NOT TRUE)"},
    {"parse_datetime", 2, 2, "timezone('UTC',strptime($1," COMPAT_JODA_PATTERN("$2") "))"},
    {"reduce", 4, 4, "list_transform([list_reduce($1,$3,$2)],$4)[1]"},
    {"set_agg", 1, 1, "list(DISTINCT $1)"},
    {"transform", 2, 2, "list_transform($*)"},
};

/* A name before "(" that is being declared, not called. */
static bool declares(const struct clex *l, uint32_t i)
{
    static const char *const words[] = {"table",  "into", "view", "exists",     "as",   "with",   "recursive",
                                        "update", "from", "join", "references", "only", "schema", NULL};
    return i > 0 && (compat_op(l, i - 1, '.') || compat_is_any(l, i - 1, words));
}

/* The token behind a call that ends before `end`, with its FILTER and OVER; false: OVER with neither brackets nor a name,
 * which is no SQL. */
static bool call_end(const struct clex *l, uint32_t end, uint32_t *ret)
{
    if (compat_is(l, end, "filter") && compat_op(l, end + 1, '('))
        end = l->t[end + 1].match + 1;
    if (compat_is(l, end, "over")) {
        bool named = end + 1 < l->count && (l->t[end + 1].kind == CT_WORD || l->t[end + 1].kind == CT_QUOTED);
        if (!named && !compat_op(l, end + 1, '('))
            return false;
        end = named ? end + 2 : l->t[end + 1].match + 1;
    }
    *ret = end;
    return true;
}

/* Aggregates that are one of the engine's inside of a function; FILTER and OVER belong to the one inside. */
static const struct wrapped {
    const char *name;
    uint32_t args;
    const char *inside, *outside;
    bool pg;
} wrapped[] = {
    {"histogram", 1, "quern_counts(histogram($*)", ")", false},
    {"json_agg", 1, "to_json(list($*)", ")", true},
    {"jsonb_agg", 1, "to_json(list($*)", ")", true},
    {"map_agg", 2, "map_from_entries(list(ROW($1,$2))", ")", false},
    {"map_union", 1, "quern_map_union(list($1)", ")", false},
    {"multimap_agg", 2, "multimap_from_entries(list(ROW($1,$2))", ")", false},
    {"reduce_agg", 4, "list_reduce(list_filter(list($1)", ",quern_e->quern_e IS NOT NULL),$3,$2)", false},
};

static uint32_t wrap(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    const struct wrapped *x = NULL;
    uint32_t args[4][2], close = l->t[i + 1].match, end;
    for (size_t k = 0; k < sizeof wrapped / sizeof *wrapped && !x; k++) {
        if (wrapped[k].pg == w->pg && compat_is(l, i, wrapped[k].name))
            x = &wrapped[k];
    }
    if (!x || compat_args(l, i + 1, args, 4) != x->args || !call_end(l, close + 1, &end))
        return 0;
    compat_expand(w, x->inside, args, x->args, i, close);
    compat_put(w, " ", l->t[close].at);
    compat_range(w, close + 1, end);
    compat_expand(w, x->outside, args, x->args, i, close);
    return end - i;
}

/* listagg(x [, separator]) WITHIN GROUP (ORDER BY ...) */
static uint32_t listagg(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    uint32_t args[2][2], close = l->t[i + 1].match, n = compat_args(l, i + 1, args, 2);
    uint32_t g = close + 1;
    bool group = compat_is(l, g, "within") && compat_is(l, g + 1, "group") && compat_op(l, g + 2, '(');
    if (n < 1 || n > 2)
        return 0;
    compat_put(w, "string_agg(", l->t[i].at);
    compat_range(w, args[0][0], args[0][1]);
    compat_put(w, ",", l->t[i].at);
    if (n == 2)
        compat_range(w, args[1][0], args[1][1]);
    else
        compat_put(w, "''", l->t[i].at);
    if (group) {
        compat_put(w, " ", l->t[g].at);
        compat_range(w, g + 3, l->t[g + 2].match);
    }
    compat_put(w, ")", l->t[close].at);
    return (group ? l->t[g + 2].match : close) + 1 - i;
}

/* Whether the arguments begin with DISTINCT or end with ORDER BY. */
static bool is_modified(const struct clex *l, uint32_t open)
{
    uint32_t close = l->t[open].match;
    if (compat_is(l, open + 1, "distinct") || compat_is(l, open + 1, "all"))
        return true;
    for (uint32_t k = open + 1; k<close; k = l->t[k].match> k ? l->t[k].match + 1 : k + 1) {
        if (compat_is(l, k, "order") && compat_is(l, k + 1, "by"))
            return true;
    }
    return false;
}

/* Aggregates whose value is made again by a function of our own. Plain calls are macros (compat_macros.def); with DISTINCT,
 * ORDER BY, FILTER or OVER, which no macro takes, the engine's own is written inside of that function here. PIVOT takes no macro
 * either; there they are the engine's alone. */
static const struct aggregate {
    const char *name, *engine, *wrapped, *wrapped_pg;
    bool second; /* the sum after it */
} aggregates[] = {
    {"avg", "system.main.avg", "quern_mean(count", "quern_mean_pg(count", true},
    {"count_if", "system.main.count_if", "quern_sum(system.main.count_if", NULL, false},
    {"sum", "system.main.sum", "quern_sum(system.main.sum", "quern_sum_pg(system.main.sum", false},
};

static uint32_t aggregate(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    const struct aggregate *g = NULL;
    for (size_t k = 0; k < sizeof aggregates / sizeof *aggregates && !g; k++) {
        if (compat_is(l, i, aggregates[k].name) && (!w->pg || aggregates[k].wrapped_pg))
            g = &aggregates[k];
    }
    if (!g || declares(l, i) || w->depth >= COMPAT_DEPTH)
        return 0;
    uint32_t at = l->t[i].at, plain = l->t[i + 1].match + 1, end;
    if (!call_end(l, plain, &end))
        return 0;
    if (end == plain && !is_modified(l, i + 1)) {
        if (!compat_mentions(l, "pivot"))
            return 0;
        compat_put(w, g->engine, at);
        compat_range(w, i + 1, end);
        return end - i;
    }
    compat_put(w, w->pg ? g->wrapped_pg : g->wrapped, at);
    compat_range(w, i + 1, end);
    if (g->second) {
        compat_put(w, ",system.main.sum", at);
        compat_range(w, i + 1, end);
    }
    compat_put(w, ")", at);
    return end - i;
}

/* lag(x) IGNORE NULLS OVER: the engine has the words inside of the brackets. */
static uint32_t nulls_of_window(struct crewrite *w, uint32_t i)
{
    static const char *const names[] = {"lag", "lead", "first_value", "last_value", "nth_value", NULL};
    const struct clex *l = w->l;
    uint32_t close = l->t[i + 1].match;
    bool ignore = compat_is(l, close + 1, "ignore");
    if (!compat_is_any(l, i, names) || (!ignore && !compat_is(l, close + 1, "respect")) ||
        !compat_is(l, close + 2, "nulls"))
        return 0;
    compat_copy(w, l->t[i].at, l->t[i + 1].at + 1);
    compat_range(w, i + 2, close);
    compat_put(w, ignore ? " IGNORE NULLS)" : " RESPECT NULLS)", l->t[close + 1].at);
    return close + 3 - i;
}

/* CAST(x AS type), TRY_CAST(x AS type): JSON, varchar(n) and decimal mean something else here; quern_text and
 * quern_whole are what compat_operators.c makes of them by the type of x, often nothing. */
static uint32_t cast(struct crewrite *w, uint32_t i)
{
    static const char *const whole[] = {"integer", "int", "bigint", "smallint", "tinyint", NULL};
    const struct clex *l = w->l;
    /* other profiles read a view too, in processes that know no function of ours */
    bool view = compat_is(l, 0, "create") && (compat_is(l, 1, "view") || compat_is(l, 3, "view"));
    uint32_t close = l->t[i + 1].match, as = 0;
    for (uint32_t k = i + 2; k < close; k++) {
        if (compat_is(l, k, "as"))
            as = k;
        if (l->t[k].match > k)
            k = l->t[k].match;
    }
    if (!as || as == i + 2 || as + 1 >= close)
        return 0;
    uint32_t at = l->t[i].at, type = as + 1;
    if (compat_is(l, type, "json") && type + 1 == close) {
        compat_put(w, "to_json(", at);
        compat_range(w, i + 2, as);
        compat_put(w, ")", l->t[close].at);
    } else if ((compat_is(l, type, "varchar") || compat_is(l, type, "char")) && compat_op(l, type + 1, '(') &&
               l->t[type + 1].match + 1 == close && l->t[type + 1].match == type + 3) {
        compat_put(w, "left(", at);
        compat_copy(w, at, l->t[i].at + l->t[i].n);
        compat_put(w, view ? "((" : "(quern_text(", l->t[i + 1].at);
        compat_range(w, i + 2, as);
        compat_put(w, ") AS VARCHAR),", l->t[type].at);
        compat_range(w, type + 2, type + 3);
        compat_put(w, ")", l->t[close].at);
    } else if ((compat_is(l, type, "decimal") || compat_is(l, type, "dec") ||
                compat_is(l, type, "numeric")) &&
               type + 1 == close) {
        compat_copy(w, at, l->t[i].at + l->t[i].n);
        compat_put(w, "(", l->t[i + 1].at);
        compat_range(w, i + 2, as);
        compat_put(w, " AS DECIMAL(38,0))", l->t[type].at);
    } else if ((compat_is(l, type, "varchar") || compat_is_any(l, type, whole)) && type + 1 == close &&
               !view) {
        compat_copy(w, at, compat_after(l, i + 1));
        compat_put(w, compat_is(l, type, "varchar") ? "quern_text(" : "quern_whole(", at);
        compat_range(w, i + 2, as);
        compat_put(w, ")", l->t[as].at);
        compat_put(w, " ", l->t[as].at);
        compat_range(w, as, close);
        compat_put(w, ")", l->t[close].at);
    } else {
        return 0;
    }
    return close + 1 - i;
}

/* EXTRACT(DOW FROM x): the week begins with Monday, 1. */
static uint32_t extract(struct crewrite *w, uint32_t i)
{
    static const char *const fields[][2] = {{"dow", "isodow"},           {"day_of_week", "isodow"},
                                            {"day_of_year", "doy"},      {"day_of_month", "day"},
                                            {"year_of_week", "isoyear"}, {"yow", "isoyear"}};
    const struct clex *l = w->l;
    if (!compat_is(l, i + 3, "from"))
        return 0;
    for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
        if (!compat_is(l, i + 2, fields[k][0]))
            continue;
        compat_copy(w, l->t[i].at, l->t[i + 2].at);
        compat_put(w, fields[k][1], l->t[i + 2].at);
        compat_put(w, " ", l->t[i + 3].at);
        compat_range(w, i + 3, l->t[i + 1].match + 1);
        return l->t[i + 1].match + 1 - i;
    }
    return 0;
}

uint32_t compat_call(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    uint32_t used = aggregate(w, i);
    if (!used && w->pg)
        used = compat_pg_from(w, i);
    if (used || declares(l, i) || w->depth >= COMPAT_DEPTH)
        return used;
    used = wrap(w, i);
    if (used || w->pg)
        return used ? used : compat_pg_call(w, i);
    if (compat_is(l, i, "cast") || compat_is(l, i, "try_cast"))
        return cast(w, i);
    if (compat_is(l, i, "extract"))
        return extract(w, i);
    if (compat_is(l, i, "listagg"))
        return listagg(w, i);
    used = compat_json(w, i);
    if (used)
        return used;
    used = compat_lambda(w, i);
    if (!used)
        used = nulls_of_window(w, i);
    if (used)
        return used;
    return compat_is(l, i + 2, "where") ? 0 : compat_table(w, i, calls, sizeof calls / sizeof *calls);
}

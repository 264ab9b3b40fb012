/*
 * compat_pg: forms and calls of PostgreSQL that the engine has in other words. Pure; any thread; what is not understood
 * stays as it is.
 *
 * Functions in FROM name their column as PostgreSQL does: "FROM generate_series(1, 3) AS n" has a column n.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "engines/compat.h"

static const struct compat_template calls[] = {
    {"array_to_string", 3, 3,
     "array_to_string(list_transform($1,quern_e->coalesce(CAST(quern_e AS VARCHAR),$3)),$2)"},
    {"clock_timestamp", 0, 0, "now()"},
    {"convert_from", 2, 2, "decode($1)"},
    {"convert_to", 2, 2, "encode($1)"},
    {"date_bin", 3, 3, "time_bucket(CAST($1 AS INTERVAL),$2,$3)"},
    {"date_trunc", 3, 3, "timezone($3,date_trunc($1,timezone($3,$2)))"},
    {"decode", 2, 2, "quern_decode($*)"},
    {"encode", 2, 2, "quern_encode($*)"},
    {"every", 1, 1, "bool_and($*)"},
    {"format", 1, UINT32_MAX, "quern_formatted_pg($1,[$@])"},
    {"json_array_length", 1, 1, "CAST(json_array_length($*) AS INTEGER)"},
    {"json_build_array", 1, UINT32_MAX, "json_array($*)"},
    {"json_build_object", 2, UINT32_MAX, "json_object($*)"},
    {"json_extract_path_text", 2, 2, "json_extract_string($1,'$$.\"'||$2||'\"')"},
    {"json_extract_path_text", 3, 3, "json_extract_string($1,'$$.\"'||$2||'\".\"'||$3||'\"')"},
    {"json_object_agg", 2, 2, "json_group_object($*)"},
    {"json_typeof", 1, 1, "quern_json_typeof($*)"},
    {"jsonb_array_length", 1, 1, "CAST(json_array_length($*) AS INTEGER)"},
    {"jsonb_build_array", 1, UINT32_MAX, "json_array($*)"},
    {"jsonb_build_object", 2, UINT32_MAX, "json_object($*)"},
    {"jsonb_extract_path_text", 2, 2, "json_extract_string($1,'$$.\"'||$2||'\"')"},
    {"jsonb_extract_path_text", 3, 3, "json_extract_string($1,'$$.\"'||$2||'\".\"'||$3||'\"')"},
    {"jsonb_object_agg", 2, 2, "json_group_object($*)"},
    {"jsonb_pretty", 1, 1, "json_pretty($*)"},
    {"jsonb_typeof", 1, 1, "quern_json_typeof($*)"},
    {"lpad", 2, 2, "lpad($1,CAST($2 AS INTEGER),' ')"},
    {"overlay", 3, 4, "quern_overlay($*)"},
    {"quote_ident", 1, 1, "quern_formatted_pg('%I',[CAST($1 AS VARCHAR)])"},
    {"quote_nullable", 1, 1, "quern_formatted_pg('%L',[CAST($1 AS VARCHAR)])"},
    {"regexp_count", 2, 2, "CAST(len(regexp_extract_all($*)) AS INTEGER)"},
    {"regexp_like", 2, 3, "regexp_matches($*)"},
    {"regexp_substr", 2, 2, "regexp_extract_all($*)[1]"},
    {"rpad", 2, 2, "rpad($1,CAST($2 AS INTEGER),' ')"},
    {"sha256", 1, 1, "unhex(sha256(CAST($1 AS BLOB)))"},
    {"sha512", 1, 1, "quern_sha512(CAST($1 AS BLOB))"},
    {"statement_timestamp", 0, 0, "now()"},
    {"string_to_array", 3, 3, "list_transform(string_split($1,$2),quern_e->nullif(quern_e,$3))"},
    {"to_jsonb", 1, 1, "to_json($*)"},
    {"to_timestamp", 2, 2, "quern_to_timestamp($*)"},
    {"transaction_timestamp", 0, 0, "now()"},
};

/* Functions that give rows; in a select list too. `column` is what PostgreSQL calls it. */
static const struct rows {
    const char *name, *template, *column;
    uint32_t min, max;
} rows[] = {
    {"generate_series", "generate_series($*)", NULL, 2, 3},
    {"json_array_elements", "unnest(json_extract($1,'$$[*]'))", "value", 1, 1},
    {"json_array_elements_text", "unnest(json_extract_string($1,'$$[*]'))", "value", 1, 1},
    {"json_object_keys", "unnest(json_keys($1))", NULL, 1, 1},
    {"jsonb_array_elements", "unnest(json_extract($1,'$$[*]'))", "value", 1, 1},
    {"jsonb_array_elements_text", "unnest(json_extract_string($1,'$$[*]'))", "value", 1, 1},
    {"jsonb_object_keys", "unnest(json_keys($1))", NULL, 1, 1},
    {"regexp_split_to_table", "unnest(string_split_regex($1,$2))", NULL, 2, 2},
    {"string_to_table", "unnest(string_split($1,$2))", NULL, 2, 2},
    {"unnest", "unnest($1)", NULL, 1, 1},
};

static bool is_string(const struct clex *l, uint32_t i)
{
    return i < l->count && l->t[i].kind == CT_STRING && !l->t[i].prefix;
}

/* ---- functions that give rows ---- */

/* Whether i stands in a FROM clause, as an item of its own. */
static bool in_from(const struct clex *l, uint32_t i)
{
    static const char *const yes[] = {"from", "join", "lateral", NULL};
    static const char *const no[] = {"select", "where", "on", "by",       "having", "when",
                                     "then",   "and",   "or", "distinct", NULL};
    if (i && compat_is_any(l, i - 1, yes))
        return true;
    if (!i || !compat_op(l, i - 1, ','))
        return false;
    for (uint32_t k = i - 1; k-- > 0;) {
        if (l->t[k].kind == CT_OP && l->t[k].match && l->t[k].match < k)
            k = l->t[k].match;
        else if (compat_op(l, k, '(') || compat_op(l, k, '[') || compat_is_any(l, k, no))
            return false;
        else if (compat_is_any(l, k, yes))
            return true;
    }
    return false;
}

/* Words that may follow an item of FROM and are no alias. */
static bool is_clause(const struct clex *l, uint32_t i)
{
    static const char *const words[] = {
        "where", "group",  "order", "limit",      "offset",    "on",     "join",      "left",
        "right", "inner",  "cross", "full",       "union",     "except", "intersect", "having",
        "with",  "window", "fetch", "using",      "natural",   "for",    "qualify",   "tablesample",
        "asof",  "semi",   "anti",  "positional", "returning", NULL};
    return compat_is_any(l, i, words);
}

/* The alias and, where the user names no columns, the column: "g" becomes "AS g(g)". Returns the token after it. */
static uint32_t put_alias(struct crewrite *w, const struct rows *r, uint32_t close, uint32_t name)
{
    const struct clex *l = w->l;
    uint32_t k = close + 1, at = l->t[close].at;
    if (compat_is(l, k, "with") && compat_is(l, k + 1, "ordinality"))
        return k;
    bool as = compat_is(l, k, "as");
    k += as;
    bool alias = k < l->count && (l->t[k].kind == CT_QUOTED || (l->t[k].kind == CT_WORD && !is_clause(l, k)));
    if (alias && compat_op(l, k + 1, '('))
        return close + 1;
    bool value = r->column && (!alias || compat_mentions(l, r->column));
    if (!alias && !value && compat_is(l, name, "generate_series"))
        return close + 1;
    compat_put(w, " AS ", at);
    uint32_t from = alias ? k : name;
    compat_copy(w, l->t[from].at, compat_after(l, from));
    compat_put(w, "(", at);
    if (value)
        compat_put(w, r->column, at);
    else
        compat_copy(w, l->t[from].at, compat_after(l, from));
    compat_put(w, ")", at);
    return alias ? k + 1 : close + 1;
}

/* generate_series(a, b, '1 hour'): the step is an interval. */
static void put_series(struct crewrite *w, uint32_t (*args)[2], uint32_t n, uint32_t i)
{
    const struct clex *l = w->l;
    bool step = n == 3 && args[2][1] == args[2][0] + 1 && is_string(l, args[2][0]);
    compat_put(w, "generate_series(", l->t[i].at);
    for (uint32_t k = 0; k < n; k++) {
        compat_put(w, k ? "," : "", l->t[i].at);
        compat_put(w, k == 2 && step ? "CAST(" : "", l->t[i].at);
        compat_range(w, args[k][0], args[k][1]);
        compat_put(w, k == 2 && step ? " AS INTERVAL)" : "", l->t[i].at);
    }
    compat_put(w, ")", l->t[i].at);
}

static uint32_t rows_call(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    const struct rows *r = NULL;
    for (size_t k = 0; k < sizeof rows / sizeof *rows && !r; k++) {
        if (compat_is(l, i, rows[k].name))
            r = &rows[k];
    }
    uint32_t args[3][2], n = r ? compat_args(l, i + 1, args, 3) : 0, close = l->t[i + 1].match;
    if (!r || n < r->min || n > r->max || w->depth >= COMPAT_DEPTH)
        return 0;
    bool from = in_from(l, i), series = compat_is(l, i, "generate_series");
    if (!from && compat_is(l, i, "unnest"))
        return 0;
    if (series) {
        compat_put(w, from ? "" : "unnest(", l->t[i].at);
        put_series(w, args, n, i);
        compat_put(w, from ? "" : ")", l->t[i].at);
    } else {
        compat_expand(w, r->template, args, n, i, close);
    }
    return (from ? put_alias(w, r, close, i) : close + 1) - i;
}

/* ---- forms ---- */

/* x #>> '{a,b}': the path in the engine's words. */
static uint32_t json_path(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    bool text = compat_op(l, i + 2, '>');
    uint32_t s = i + 2 + text, at = l->t[i].at;
    if (!compat_op(l, i + 1, '>') || !is_string(l, s) || l->t[s].n < 4)
        return 0;
    const char *p = l->p + l->t[s].at + 1, *end = p + l->t[s].n - 2;
    if (*p != '{' || end[-1] != '}' || memchr(p, '"', (size_t)(end - p)) ||
        memchr(p, '\'', (size_t)(end - p)))
        return 0;
    compat_put(w, text ? "->>'$" : "->'$", at);
    for (p++, end--; p < end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma ? comma : end;
        bool index = stop > p && strspn(p, "0123456789") >= (size_t)(stop - p);
        compat_put(w, index ? "[" : ".\"", at);
        compat_copy(w, (uint32_t)(p - l->p), (uint32_t)(stop - l->p));
        compat_put(w, index ? "]" : "\"", at);
        p = comma ? comma + 1 : end;
    }
    compat_put(w, "'", at);
    return s + 1 - i;
}

/* '{1,2}'::int[]: the engine's brackets. */
static uint32_t array_literal(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    uint32_t type = i + 3, at = l->t[i].at, end = compat_after(l, i);
    if (!compat_op(l, i + 1, ':') || !compat_op(l, i + 2, ':') || type >= l->count ||
        l->t[type].kind != CT_WORD || !compat_op(l, type + 1, '[') || l->t[i].n < 4 || l->p[at + 1] != '{' ||
        l->p[end - 2] != '}' || memchr(l->p + at + 2, '{', l->t[i].n - 4))
        return 0;
    compat_put(w, "'[", at);
    compat_copy(w, at + 2, end - 2);
    compat_put(w, "]'", at);
    return 1;
}

/* LIKE 'a\%b': the backslash escapes without being asked. */
static uint32_t escaped_like(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    if (!memchr(l->p + l->t[i].at, '\\', l->t[i].n) ||
        !(compat_is(l, i - 1, "like") || compat_is(l, i - 1, "ilike")) || compat_is(l, i + 1, "escape"))
        return 0;
    compat_copy(w, l->t[i].at, compat_after(l, i));
    compat_put(w, " ESCAPE '\\'", l->t[i].at);
    return 1;
}

/* SIMILAR TO 'a%': SQL's pattern as a regular expression. */
static uint32_t similar(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    uint32_t from = l->t[i].at + 1, end = compat_after(l, i) - 1;
    if (i < 2 || !compat_is(l, i - 1, "to") || !compat_is(l, i - 2, "similar") ||
        compat_is(l, i + 1, "escape"))
        return 0;
    compat_put(w, "'(?s)", l->t[i].at);
    bool set = false;
    for (uint32_t k = from; k < end; k++) {
        char c = l->p[k];
        set = c == '[' || (set && c != ']');
        if (c == '\\' && k + 1 < end) {
            compat_copy(w, k, k + 2);
            k++;
        } else if (!set && (c == '%' || c == '_')) {
            compat_put(w, c == '%' ? ".*" : ".", k);
        } else if (!set && (c == '.' || c == '^' || c == '$')) {
            compat_put(w, "\\", k);
            compat_copy(w, k, k + 1);
        } else {
            compat_copy(w, k, k + 1);
        }
    }
    compat_put(w, "'", l->t[i].at);
    return 1;
}

/* substring(x FROM 'pattern'), substring(x, 'pattern'): what the first bracket of it matches, or all. */
static uint32_t substring(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    uint32_t close = l->t[i + 1].match, s = close - 1;
    if (close < i + 5 || !is_string(l, s) || !(compat_is(l, s - 1, "from") || compat_op(l, s - 1, ',')))
        return 0;
    const char *p = l->p + l->t[s].at, *end = p + l->t[s].n;
    bool group = false;
    for (; p < end; p++) {
        if (*p == '\\')
            p++;
        else if (*p == '(' && p + 1 < end && p[1] != '?')
            group = true;
    }
    compat_put(w, "regexp_extract_all(", l->t[i].at);
    compat_range(w, i + 2, s - 1);
    compat_put(w, ",", l->t[s - 1].at);
    compat_copy(w, l->t[s].at, compat_after(l, s));
    compat_put(w, group ? ",1)[1]" : ")[1]", l->t[s].at);
    return close + 1 - i;
}

/* overlay(x PLACING y FROM a [FOR b]) */
static uint32_t overlay(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    uint32_t close = l->t[i + 1].match, from = i + 2;
    bool placing = false;
    for (uint32_t k = from; k<close; k = l->t[k].match> k ? l->t[k].match + 1 : k + 1)
        placing |= compat_is(l, k, "placing");
    if (!placing)
        return 0;
    compat_put(w, "quern_overlay(", l->t[i].at);
    for (uint32_t k = from; k <= close; k = l->t[k].match > k ? l->t[k].match + 1 : k + 1) {
        if (k < close && !compat_is(l, k, "placing") && !compat_is(l, k, "from") && !compat_is(l, k, "for"))
            continue;
        compat_range(w, from, k);
        compat_put(w, k < close ? "," : ")", l->t[k].at);
        from = k + 1;
    }
    return close + 1 - i;
}

/* extract(second FROM x) with its fraction. */
static uint32_t extract(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    uint32_t close = l->t[i + 1].match, at = l->t[i].at;
    bool second = compat_is(l, i + 2, "second") || compat_is(l, i + 2, "seconds");
    bool milli = compat_is(l, i + 2, "millisecond") || compat_is(l, i + 2, "milliseconds");
    if (!compat_is(l, i + 3, "from") || (!second && !milli))
        return 0;
    compat_put(w, "(CAST(extract(microseconds ", at);
    compat_range(w, i + 3, close);
    compat_put(w, ") AS DECIMAL(12,0))*", at);
    compat_put(w, second ? "0.000001)" : "0.001)", at);
    return close + 1 - i;
}

/* to_number(x, '999.99'): the digits behind the point are the template's. */
static uint32_t to_number(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    uint32_t args[2][2], scale = 0;
    char text[40];
    if (compat_args(l, i + 1, args, 2) != 2 || args[1][1] != args[1][0] + 1 || !is_string(l, args[1][0]))
        return 0;
    const char *p = l->p + l->t[args[1][0]].at, *end = p + l->t[args[1][0]].n;
    while (p < end && *p != '.' && *p != 'D' && *p != 'd')
        p++;
    for (; p < end; p++)
        scale += *p == '9' || *p == '0';
    snprintf(text, sizeof text, ") AS DECIMAL(38,%u))", scale > 30 ? 30 : scale);
    compat_put(w, "CAST(quern_number(", l->t[i].at);
    compat_range(w, i + 2, l->t[i + 1].match);
    compat_put(w, text, l->t[i].at);
    return l->t[i + 1].match + 1 - i;
}

/* regexp_match(x, 'a(b)(c)'): an array with one element for each bracket. */
static uint32_t regexp_match(struct crewrite *w, uint32_t i)
{
    static const char *const names[] = {"quern_match0(", "quern_match1(", "quern_match2(", "quern_match3(",
                                        "quern_match4("};
    const struct clex *l = w->l;
    uint32_t args[2][2], groups = 0;
    if (compat_args(l, i + 1, args, 2) != 2 || args[1][1] != args[1][0] + 1 || !is_string(l, args[1][0]))
        return 0;
    const char *p = l->p + l->t[args[1][0]].at, *end = p + l->t[args[1][0]].n;
    for (; p < end; p++) {
        if (*p == '\\')
            p++;
        else if (*p == '(' && p + 1 < end && p[1] != '?')
            groups++;
    }
    if (groups >= sizeof names / sizeof *names)
        return 0;
    compat_put(w, names[groups], l->t[i].at);
    compat_range(w, i + 2, l->t[i + 1].match + 1);
    return l->t[i + 1].match + 1 - i;
}

/* "numeric" alone, of a cast or a column: for the engine it has three digits behind the point. */
static bool is_bare_type(const struct clex *l, uint32_t i)
{
    bool ends = compat_op(l, i + 1, ')') || compat_op(l, i + 1, ',');
    if (!i || compat_op(l, i + 1, '('))
        return false;
    if (compat_op(l, i - 1, ':') && i > 1 && compat_op(l, i - 2, ':'))
        return true;
    if (compat_is(l, i - 1, "as") && compat_op(l, i + 1, ')'))
        return true;
    return compat_is(l, 0, "create") && ends &&
           (l->t[i - 1].kind == CT_WORD || l->t[i - 1].kind == CT_QUOTED);
}

uint32_t compat_pg_form(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    if (compat_op(l, i, '#'))
        return json_path(w, i);
    if (is_string(l, i) && i) {
        uint32_t used = l->p[l->t[i].at + 1] == '{' ? array_literal(w, i) : 0;
        if (!used)
            used = escaped_like(w, i);
        return used ? used : similar(w, i);
    }
    if ((compat_is(l, i, "numeric") || compat_is(l, i, "decimal")) && is_bare_type(l, i)) {
        compat_put(w, "DECIMAL(38,16)", l->t[i].at);
        return 1;
    }
    if (compat_is(l, i, "jsonb") && i &&
        (compat_op(l, i - 1, ':') || compat_is(l, i - 1, "as") || compat_is(l, 0, "create"))) {
        compat_put(w, "JSON", l->t[i].at);
        return 1;
    }
    return 0;
}

uint32_t compat_pg_from(struct crewrite *w, uint32_t i)
{
    return in_from(w->l, i) ? rows_call(w, i) : 0;
}

uint32_t compat_pg_call(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    uint32_t used = rows_call(w, i);
    if (used)
        return used;
    if (compat_is(l, i, "substring"))
        used = substring(w, i);
    else if (compat_is(l, i, "overlay"))
        used = overlay(w, i);
    else if (compat_is(l, i, "extract"))
        used = extract(w, i);
    else if (compat_is(l, i, "to_number"))
        used = to_number(w, i);
    else if (compat_is(l, i, "regexp_match"))
        used = regexp_match(w, i);
    return used ? used : compat_table(w, i, calls, sizeof calls / sizeof *calls);
}

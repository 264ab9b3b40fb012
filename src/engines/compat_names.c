/*
 * compat_names: output columns that have no name are _col0, _col1, ... by their place, as in Trino, and not
 * the engine's text of the expression.
 *
 * Only the select list that names the statement's columns is looked at: the first one, after WITH. An item
 * has a name when it is a column, or ends with one (with or without AS). After a star the places are not
 * known and nothing is named. When in doubt an item is left alone. Pure; any thread; linear.
 */
#include "engines/compat.h"

static uint32_t skip(const struct clex *l, uint32_t i)
{
    return l->t[i].match > i ? l->t[i].match + 1 : i + 1;
}

/* The first SELECT outside of brackets, when the text is a query; count when it is none. */
static uint32_t first_select(const struct clex *l)
{
    uint32_t i = 0;
    if (compat_is(l, 0, "with")) {
        static const char *const other[] = {"insert", "update", "delete", "merge",
                                            "values", "from",   "table",  NULL};
        while (i < l->count && !compat_is(l, i, "select")) {
            if (compat_is_any(l, i, other))
                return l->count;
            i = skip(l, i);
        }
    }
    return compat_is(l, i, "select") ? i : l->count;
}

static bool ends_list(const struct clex *l, uint32_t i)
{
    static const char *const words[] = {"from",    "where", "group", "having", "order",     "limit",
                                        "offset",  "fetch", "union", "except", "intersect", "window",
                                        "qualify", "into",  "using", NULL};
    return i >= l->count || compat_op(l, i, ';') || compat_op(l, i, ')') || compat_op(l, i, ']') ||
           compat_op(l, i, '}') || compat_is_any(l, i, words);
}

/* A word that ends an expression without being a name. */
static bool is_value_word(const struct clex *l, uint32_t i)
{
    static const char *const words[] = {"null",
                                        "true",
                                        "false",
                                        "end",
                                        "current_date",
                                        "current_time",
                                        "current_timestamp",
                                        "localtime",
                                        "localtimestamp",
                                        "current_user",
                                        "current_catalog",
                                        "current_schema",
                                        "session_user",
                                        "user",
                                        "unknown",
                                        NULL};
    return compat_is_any(l, i, words);
}

/* A word after which a name cannot be an alias. */
static bool is_operator_word(const struct clex *l, uint32_t i)
{
    static const char *const words[] = {"and",     "or",       "not",      "is",  "in",   "like", "ilike",
                                        "between", "escape",   "from",     "to",  "when", "then", "else",
                                        "case",    "similar",  "distinct", "all", "any",  "some", "collate",
                                        "zone",    "interval", "select",   NULL};
    return compat_is_any(l, i, words);
}

static bool is_unit(const struct clex *l, uint32_t i)
{
    static const char *const units[] = {"second", "minute", "hour", "day", "week", "month", "year", NULL};
    return compat_is_any(l, i, units);
}

static bool has_name(const struct clex *l, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i = skip(l, i)) {
        if (compat_is(l, i, "as"))
            return true;
    }
    uint32_t last = to - 1;
    enum compat_kind kind = l->t[last].kind;
    if (compat_op(l, last, '*') || compat_op(l, from, '*'))
        return true;
    if (kind != CT_WORD && kind != CT_QUOTED)
        return false;
    if (kind == CT_WORD && is_value_word(l, last))
        return false;
    if (last == from)
        return true;
    uint32_t before = last - 1;
    if (kind == CT_WORD && is_unit(l, last) && l->t[before].kind == CT_STRING)
        return false;                /* INTERVAL '1' day */
    if (compat_op(l, before, '.')) { /* a.b.c alone */
        uint32_t i = from;
        while (i < last && (l->t[i].kind == CT_WORD || l->t[i].kind == CT_QUOTED) && compat_op(l, i + 1, '.'))
            i += 2;
        return i == last;
    }
    if (l->t[before].kind == CT_OP)
        return compat_op(l, before, ')') || compat_op(l, before, ']') || compat_op(l, before, '}') ||
               compat_op(l, before, '?');
    return !is_operator_word(l, before);
}

uint32_t compat_unnamed(struct arena *a, const struct clex *l, struct cname **ret)
{
    uint32_t i = first_select(l), n = 0, number = 0;
    if (i >= l->count)
        return 0;
    i++;
    if (compat_is(l, i, "all"))
        i++;
    if (compat_is(l, i, "distinct")) {
        i++;
        if (compat_is(l, i, "on") && compat_op(l, i + 1, '('))
            i = l->t[i + 1].match + 1;
    }
    uint32_t items = 1;
    for (uint32_t k = i; !ends_list(l, k); k = skip(l, k))
        items += compat_op(l, k, ',');
    struct cname *names = arena_alloc(a, items * sizeof *names);
    if (!names)
        return 0;
    *ret = names;
    for (uint32_t from = i;; from = i + 1, number++) {
        for (i = from; !ends_list(l, i) && !compat_op(l, i, ',');) {
            bool distinct =
                compat_is(l, i, "distinct") && compat_is(l, i + 1, "from"); /* a IS DISTINCT FROM b */
            i = distinct ? i + 2 : skip(l, i);
        }
        if (i == from)
            break;
        if (compat_op(l, from, '*') || (compat_op(l, i - 1, '*') && i - 1 > from && compat_op(l, i - 2, '.')))
            break;
        if (!has_name(l, from, i))
            names[n++] = (struct cname){from, i, number};
        if (!compat_op(l, i, ','))
            break;
    }
    return n;
}

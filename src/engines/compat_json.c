/*
 * compat_json: Trino's JSON functions with clauses inside of their brackets, and its paths. Pure; any thread; what is not
 * understood stays as it is.
 *
 * ON EMPTY and ON ERROR: a value that is not there, or null, is NULL or what DEFAULT says; ERROR is read as NULL.
 */
#include <string.h>

#include "engines/compat.h"

/* json_object('a' : 1), json_object(KEY 'a' VALUE 1): a comma there; the result is a text. */
static uint32_t json_object(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    uint32_t args[64][2], n = compat_args(l, i + 1, args, 64), at = l->t[i].at, middle[64];
    for (uint32_t k = 0; k < n && n != UINT32_MAX; k++) {
        middle[k] = 0;
        for (uint32_t t = args[k][0]; t<args[k][1]; t = l->t[t].match> t ? l->t[t].match + 1 : t + 1) {
            bool colon = compat_op(l, t, ':') && !compat_op(l, t + 1, ':') && !compat_op(l, t - 1, ':');
            if (!middle[k] && t > args[k][0] && (colon || compat_is(l, t, "value")))
                middle[k] = t;
        }
        if (!middle[k] || middle[k] + 1 >= args[k][1])
            return 0;
    }
    if (!n || n == UINT32_MAX)
        return 0;
    compat_put(w, "CAST(json_object(", at);
    for (uint32_t k = 0; k < n; k++) {
        compat_put(w, k ? "," : "", at);
        compat_range(w, args[k][0] + compat_is(l, args[k][0], "key"), middle[k]);
        compat_put(w, ",", at);
        compat_range(w, middle[k] + 1, args[k][1]);
    }
    compat_put(w, ") AS VARCHAR)", at);
    return l->t[i + 1].match + 1 - i;
}

/* The first token of a clause in [from, to), which is not inside of brackets: to when there is none. */
static uint32_t clause_at(const struct clex *l, uint32_t from, uint32_t to)
{
    static const char *const words[] = {"returning", "default", "null",  "error",   "with",
                                        "without",   "true",    "false", "unknown", "absent",
                                        "empty",     "passing", NULL};
    for (uint32_t k = from + 1; k<to; k = l->t[k].match> k ? l->t[k].match + 1 : k + 1) {
        if (compat_is_any(l, k, words))
            return k;
    }
    return to;
}

/* The "ON" of the clause that begins at k. */
static uint32_t on_of(const struct clex *l, uint32_t k, uint32_t to)
{
    while (k < to &&
           !(compat_is(l, k, "on") && (compat_is(l, k + 1, "empty") || compat_is(l, k + 1, "error"))))
        k = l->t[k].match > k ? l->t[k].match + 1 : k + 1;
    return k;
}

/* json_value(x, path [RETURNING type] [NULL | ERROR | DEFAULT e ON EMPTY] [... ON ERROR]) */
static uint32_t json_value(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    uint32_t args[2][2], n = compat_args(l, i + 1, args, 2), at = l->t[i].at, type[2] = {0, 0},
                         other[2] = {0, 0};
    uint32_t end = n == 2 ? args[1][1] : 0, first = n == 2 ? clause_at(l, args[1][0], end) : 0, k = first;
    if (n != 2 || first == end)
        return 0;
    if (compat_is(l, k, "returning")) {
        type[0] = k + 1;
        type[1] = k = clause_at(l, k + 1, end);
    }
    while (k < end) {
        uint32_t on = on_of(l, k, end);
        if (on + 1 >= end ||
            !(compat_is(l, k, "null") || compat_is(l, k, "error") || compat_is(l, k, "default")))
            return 0;
        if (compat_is(l, k, "default") && compat_is(l, on + 1, "empty")) {
            other[0] = k + 1;
            other[1] = on;
        }
        k = on + 2;
    }
    compat_put(w, other[1] ? "coalesce(" : "", at);
    compat_put(w, type[1] ? "CAST(" : "", at);
    compat_copy(w, at, compat_after(l, i + 1));
    compat_range(w, i + 2, first);
    compat_put(w, type[1] ? ") AS " : ")", at);
    if (type[1]) {
        compat_range(w, type[0], type[1]);
        compat_put(w, ")", at);
    }
    if (other[1]) {
        compat_put(w, ",", at);
        compat_range(w, other[0], other[1]);
        compat_put(w, ")", at);
    }
    return l->t[i + 1].match + 1 - i;
}

/* json_exists(x, path FALSE ON ERROR), json_query(x, path WITHOUT ARRAY WRAPPER NULL ON EMPTY): the clauses say what
 * happens anyway. WITH WRAPPER: an array around what is found. */
static uint32_t json_query(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    uint32_t args[2][2], n = compat_args(l, i + 1, args, 2), end = n == 2 ? args[1][1] : 0;
    uint32_t first = n == 2 ? clause_at(l, args[1][0], end) : 0, at = l->t[i].at;
    if (n != 2 || first == end || compat_is(l, first, "returning") || compat_is(l, first, "passing"))
        return 0;
    if (compat_is(l, first, "with")) {
        compat_put(w, "quern_json_wrapped", at);
        compat_copy(w, l->t[i + 1].at, compat_after(l, i + 1));
    } else {
        compat_copy(w, at, compat_after(l, i + 1));
    }
    compat_range(w, i + 2, first);
    compat_put(w, ")", at);
    return l->t[i + 1].match + 1 - i;
}

uint32_t compat_json(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    if (compat_is(l, i, "json_object"))
        return json_object(w, i);
    if (compat_is(l, i, "json_value"))
        return json_value(w, i);
    if (compat_is(l, i, "json_query") || compat_is(l, i, "json_exists"))
        return json_query(w, i);
    return 0;
}

/* '$.a["b c"]' as the last argument of json_...(: the engine's is $.a."b c". */
uint32_t compat_json_path(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    uint32_t close = i + 1, from = l->t[i].at, end = compat_after(l, i), open;
    if (l->t[i].prefix || !compat_op(l, close, ')') || i < 4 || !compat_op(l, i - 1, ','))
        return 0;
    open = l->t[close].match;
    if (open < 1 || open >= i || l->t[open - 1].n < 5 || memcmp(l->p + l->t[open - 1].at, "json_", 5) != 0 ||
        !memchr(l->p + from, '$', end - from))
        return 0;
    bool any = false;
    uint32_t done = from;
    for (uint32_t k = from; k + 1 < end; k++) {
        const char *quote =
            l->p[k] == '[' && l->p[k + 1] == '"' ? memchr(l->p + k + 2, '"', end - k - 2) : NULL;
        uint32_t stop = quote ? (uint32_t)(quote - l->p) : 0;
        if (!stop || stop + 1 >= end || l->p[stop + 1] != ']')
            continue;
        compat_copy(w, done, k);
        compat_put(w, ".", k);
        compat_copy(w, k + 1, stop + 1);
        done = stop + 2;
        k = stop + 1;
        any = true;
    }
    if (any)
        compat_copy(w, done, end);
    return any;
}

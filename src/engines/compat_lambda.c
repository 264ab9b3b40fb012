/*
 * compat_lambda: calls with a lambda of two parameters: zip_with, map_filter, transform_keys, transform_values. The
 * engine's lambdas have one element, so that they get the pair, and what the user called its parts stands for them in
 * the body: (k, v) -> v > 1 becomes quern_p0 -> quern_p0['value'] > 1. Pure; any thread.
 */
#include <stdio.h>
#include <string.h>

#include "engines/compat.h"

static const struct lambda {
    const char *name;
    uint32_t before;            /* arguments in front of the lambda */
    const char *first, *second; /* parts of the pair */
    const char *open, *start,
        *finish; /* text before the arguments; before and behind the body; %s is the pair */
} lambdas[] = {
    {"map_filter", 1, "['key']", "['value']", "map_from_entries(list_filter(map_entries(", "", ""},
    {"transform_keys", 1, "['key']", "['value']", "map_from_entries(list_transform(map_entries(", "ROW(",
     ",%s['value'])"},
    {"transform_values", 1, "['key']", "['value']", "map_from_entries(list_transform(map_entries(",
     "ROW(%s['key'],", ")"},
    {"zip_with", 2, "[1]", "[2]", "list_transform(list_zip(", "", ""},
};

static void put(struct crewrite *w, const char *format, const char *pair, uint32_t at)
{
    char text[96];
    const char *slot = strstr(format, "%s");
    if (slot)
        snprintf(text, sizeof text, "%.*s%s%s", (int)(slot - format), format, pair, slot + 2);
    compat_put(w, slot ? text : format, at);
}

/* ( first , second ) - > body */
static bool is_lambda(const struct clex *l, uint32_t from, uint32_t to)
{
    return from + 7 < to && compat_op(l, from, '(') && l->t[from].match == from + 4 &&
           l->t[from + 1].kind == CT_WORD && compat_op(l, from + 2, ',') && l->t[from + 3].kind == CT_WORD &&
           compat_op(l, from + 5, '-') && compat_op(l, from + 6, '>');
}

uint32_t compat_lambda(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    const struct lambda *x = NULL;
    for (size_t k = 0; k < sizeof lambdas / sizeof *lambdas && !x; k++) {
        if (compat_is(l, i, lambdas[k].name))
            x = &lambdas[k];
    }
    uint32_t args[3][2], n = x ? compat_args(l, i + 1, args, 3) : 0, at = l->t[i].at;
    if (!x || n != x->before + 1 || w->nparts + 2 > COMPAT_PARTS ||
        !is_lambda(l, args[n - 1][0], args[n - 1][1]))
        return 0;
    uint32_t from = args[n - 1][0];
    char pair[24];
    snprintf(pair, sizeof pair, "quern_p%u", w->nparts / 2);
    compat_put(w, x->open, at);
    for (uint32_t k = 0; k < x->before; k++) {
        compat_put(w, k ? "," : "", at);
        compat_range(w, args[k][0], args[k][1]);
    }
    compat_put(w, "),", at);
    compat_put(w, pair, at);
    compat_put(w, "->", at);
    put(w, x->start, pair, at);
    compat_put(w, "(", at);
    struct cpart *p = &w->parts[w->nparts];
    p[0].word = from + 1;
    p[1].word = from + 3;
    snprintf(p[0].text, sizeof p[0].text, "%s%s", pair, x->first);
    snprintf(p[1].text, sizeof p[1].text, "%s%s", pair, x->second);
    w->nparts += 2;
    compat_range(w, from + 7, args[n - 1][1]);
    w->nparts -= 2;
    compat_put(w, ")", at);
    put(w, x->finish, pair, at);
    compat_put(w, x->before == 1 ? "))" : ")", at);
    return l->t[i + 1].match + 1 - i;
}

uint32_t compat_part(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    bool field = i > 0 && compat_op(l, i - 1, '.'), call = compat_op(l, i + 1, '(');
    for (uint32_t k = w->nparts; k-- > 0 && !field && !call;) {
        const struct ctoken *name = &l->t[w->parts[k].word];
        char word[64];
        if (name->n >= sizeof word)
            continue;
        memcpy(word, l->p + name->at, name->n);
        word[name->n] = 0;
        if (compat_is(l, i, word)) {
            compat_put(w, w->parts[k].text, l->t[i].at);
            return 1;
        }
    }
    return 0;
}

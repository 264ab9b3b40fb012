/*
 * compat_lambda: calls with a lambda of two or three parameters: zip_with, map_filter, transform_keys, transform_values,
 * map_zip_with, array_sort, reduce. The engine's lambdas have one element, so that they get the pair, and what the user
 * called its parts stands for them in the body: (k, v) -> v > 1 becomes quern_p0 -> quern_p0['value'] > 1. Pure; any thread.
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

/* ( a , b ) or ( a , b , c ), then -> : the parameters' tokens. Returns the body's first token, 0: it is no such lambda. */
static uint32_t parameters(const struct clex *l, uint32_t from, uint32_t to, uint32_t n, uint32_t *ret)
{
    uint32_t close = from + 2 * n, body = close + 3;
    if (body >= to || !compat_op(l, from, '(') || l->t[from].match != close ||
        !compat_op(l, close + 1, '-') || !compat_op(l, close + 2, '>'))
        return 0;
    for (uint32_t k = 0; k < n; k++) {
        ret[k] = from + 1 + 2 * k;
        if (l->t[ret[k]].kind != CT_WORD || (k && !compat_op(l, ret[k] - 1, ',')))
            return 0;
    }
    return body;
}

/* The body, in brackets, with other words for the parameters. */
static void put_body(struct crewrite *w, uint32_t body, uint32_t to, const uint32_t *names, uint32_t n,
                     const char *const *words)
{
    for (uint32_t k = 0; k < n; k++) {
        struct cpart *p = &w->parts[w->nparts++];
        p->word = names[k];
        snprintf(p->text, sizeof p->text, "%s", words[k]);
    }
    compat_put(w, "(", w->l->t[body].at);
    compat_range(w, body, to);
    compat_put(w, ")", w->l->t[body].at);
    w->nparts -= n;
}

static void put_names(struct crewrite *w, const char *format, unsigned number, uint32_t at)
{
    for (const char *p = format; *p;) { /* # is the number that makes the names of this call its own */
        char text[64];
        size_t n = strcspn(p, "#");
        snprintf(text, sizeof text, "%.*s", n < sizeof text ? (int)n : (int)sizeof text - 1, p);
        n = strlen(text);
        compat_put(w, text, at);
        p += n;
        if (*p == '#') {
            snprintf(text, sizeof text, "%u", number);
            compat_put(w, text, at);
            p++;
        }
    }
}

/* map_zip_with(m, n, (k, v, w) -> body): over the keys of both. */
static uint32_t map_zip_with(struct crewrite *w, uint32_t i, uint32_t (*args)[2])
{
    uint32_t names[3], at = w->l->t[i].at;
    uint32_t body = parameters(w->l, args[2][0], args[2][1], 3, names);
    unsigned k = w->nparts;
    char key[24], first[56], second[56];
    if (!body)
        return 0;
    snprintf(key, sizeof key, "quern_k%u", k);
    snprintf(first, sizeof first, "quern_m%u[1][quern_k%u]", k, k);
    snprintf(second, sizeof second, "quern_m%u[2][quern_k%u]", k, k);
    compat_put(w, "list_transform([ROW(", at);
    compat_range(w, args[0][0], args[0][1]);
    compat_put(w, ",", at);
    compat_range(w, args[1][0], args[1][1]);
    put_names(
        w,
        ")],quern_m#->map_from_entries(list_transform(list_concat(map_keys(quern_m#[1]),list_filter(map_keys("
        "quern_m#[2]),quern_k#->NOT list_contains(map_keys(quern_m#[1]),quern_k#))),quern_k#->ROW(quern_k#,",
        k, at);
    put_body(w, body, args[2][1], names, 3, (const char *const[]){key, first, second});
    compat_put(w, "))))[1]", at);
    return w->l->t[i + 1].match + 1 - i;
}

/* array_sort(x, (a, b) -> body): by the number of elements that each has in front of it. */
static uint32_t array_sort(struct crewrite *w, uint32_t i, uint32_t (*args)[2])
{
    uint32_t names[2], at = w->l->t[i].at;
    uint32_t body = parameters(w->l, args[1][0], args[1][1], 2, names);
    unsigned k = w->nparts;
    char first[24], second[56];
    if (!body)
        return 0;
    snprintf(first, sizeof first, "quern_a%u", k);
    snprintf(second, sizeof second, "quern_l%u[quern_b%u]", k, k);
    compat_put(w, "list_transform([", at);
    compat_range(w, args[0][0], args[0][1]);
    put_names(
        w,
        "],quern_l#->list_transform(list_sort(list_transform(range(1,len(quern_l#)+1),quern_b#->ROW(len("
        "list_filter(quern_l#,quern_a#->",
        k, at);
    put_body(w, body, args[1][1], names, 2, (const char *const[]){first, second});
    put_names(w, "<0)),quern_b#))),quern_b#->quern_l#[quern_b#[2]]))[1]", k, at);
    return w->l->t[i + 1].match + 1 - i;
}

/* reduce(x, start, (s, e) -> body, s -> end): the engine's has one type for state and elements, so that both travel
 * together. */
static uint32_t reduce(struct crewrite *w, uint32_t i, uint32_t (*args)[2])
{
    uint32_t names[2], at = w->l->t[i].at;
    uint32_t body = parameters(w->l, args[2][0], args[2][1], 2, names);
    unsigned k = w->nparts;
    char state[24], element[24];
    bool other = compat_is(w->l, args[1][0], "cast") || w->l->t[args[1][0]].kind == CT_STRING;
    if (!body || !other) /* else the state most likely has the elements' type */
        return 0;
    snprintf(state, sizeof state, "quern_s%u[1]", k);
    snprintf(element, sizeof element, "quern_e%u[2]", k);
    compat_put(w, "list_transform([list_reduce(list_transform(", at);
    compat_range(w, args[0][0], args[0][1]);
    put_names(w, ",quern_e#->ROW(", k, at);
    compat_range(w, args[1][0], args[1][1]);
    put_names(w, ",quern_e#)),(quern_s#,quern_e#)->ROW(", k, at);
    put_body(w, body, args[2][1], names, 2, (const char *const[]){state, element});
    put_names(w, ",quern_e#[2]),ROW(", k, at);
    compat_range(w, args[1][0], args[1][1]);
    compat_put(w, ",NULL))[1]],", at);
    compat_range(w, args[3][0], args[3][1]);
    compat_put(w, ")[1]", at);
    return w->l->t[i + 1].match + 1 - i;
}

uint32_t compat_lambda(struct crewrite *w, uint32_t i)
{
    static const struct {
        const char *name;
        uint32_t args;
        uint32_t (*rule)(struct crewrite *w, uint32_t i, uint32_t (*args)[2]);
    } own[] = {{"array_sort", 2, array_sort}, {"map_zip_with", 3, map_zip_with}, {"reduce", 4, reduce}};
    uint32_t own_args[4][2];
    for (size_t k = 0; k < sizeof own / sizeof *own; k++) {
        if (compat_is(w->l, i, own[k].name) && w->nparts + 3 <= COMPAT_PARTS &&
            compat_args(w->l, i + 1, own_args, 4) == own[k].args)
            return own[k].rule(w, i, own_args);
    }

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

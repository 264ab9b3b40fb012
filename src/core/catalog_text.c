/*
 * catalog_text: whether a statement touches the workspace's catalog, by its words (catalog.h).
 *
 * Only a hint, never a right: what a process may do is decided by what it was given (pool key, Landlock) and
 * by the engine's own parser. Called "none": a SELECT or VALUES in which whatever stands in a FROM clause is
 * a parenthesis, range(), generate_series() or unnest(), or the name of a dataset, alone or after main or
 * data_catalog.main; elsewhere tables cannot be named. Any word that names tables in another way, any comment
 * or quote that could be read in two ways, too deep a nesting: it reads. State: none. Any thread.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/sql_blank.h"
#include "core/catalog.h"

#define DEPTH_MAX 64

enum kind { END, WORD, QUOTED, PUNCT, TEXT, UNSURE };
struct token {
    enum kind kind;
    const char *p;
    uint64_t n;
};
struct scan {
    const char *p;
    uint64_t n, at;
};

static bool word_start(unsigned char c)
{
    return isalpha(c) || c == '_' || c >= 0x80;
}
static bool word_char(unsigned char c)
{
    return word_start(c) || isdigit(c) || c == '$';
}

/* False: a nested or open comment. */
static bool skip_blank(struct scan *s)
{
    for (;;) {
        const char *p = s->p + s->at;
        uint64_t left = s->n - s->at;
        if (left == 0)
            return true;
        size_t blank = sql_blank(p, left);
        if (blank) {
            s->at += blank;
        } else if (left >= 2 && p[0] == '-' && p[1] == '-') {
            while (s->at < s->n && s->p[s->at] != '\n' && s->p[s->at] != '\r')
                s->at++;
        } else if (left >= 2 && p[0] == '/' && p[1] == '*') {
            const char *end = memmem(p + 2, left - 2, "*/", 2);
            if (!end || memmem(p + 2, (size_t)(end - p) - 2, "/*", 2))
                return false;
            s->at += (uint64_t)(end - p) + 2;
        } else {
            return true;
        }
    }
}

static struct token quoted(struct scan *s, uint64_t from, enum kind kind, bool escapes)
{
    char quote = s->p[s->at++];
    for (; s->at < s->n; s->at++) {
        if (escapes && s->p[s->at] == '\\') {
            s->at++;
        } else if (s->p[s->at] == quote) {
            if (s->at + 1 >= s->n || s->p[s->at + 1] != quote) {
                s->at++;
                return (struct token){kind, s->p + from, s->at - from};
            }
            s->at++;
        }
    }
    return (struct token){UNSURE, s->p + from, 0};
}

static struct token next(struct scan *s)
{
    if (!skip_blank(s))
        return (struct token){UNSURE, s->p + s->at, 0};
    if (s->at >= s->n)
        return (struct token){END, s->p + s->n, 0};
    uint64_t from = s->at;
    unsigned char c = (unsigned char)s->p[from];
    if (c == '\'')
        return quoted(s, from, TEXT, false);
    if (c == '"')
        return quoted(s, from, QUOTED, false);
    if ((c == 'e' || c == 'E') && from + 1 < s->n && s->p[from + 1] == '\'') {
        s->at++;
        return quoted(s, from, TEXT, true);
    }
    if (c == '$' && from + 1 < s->n && !isdigit((unsigned char)s->p[from + 1]))
        return (struct token){UNSURE, s->p + from, 0}; /* $tag$ */
    if (word_start(c)) {
        while (s->at < s->n && word_char((unsigned char)s->p[s->at]) &&
               !sql_blank(s->p + s->at, s->n - s->at))
            s->at++;
        return (struct token){WORD, s->p + from, s->at - from};
    }
    s->at++;
    return (struct token){PUNCT, s->p + from, 1};
}

static bool is(struct token t, const char *word)
{
    return t.kind == WORD && t.n == strlen(word) && strncasecmp(t.p, word, t.n) == 0;
}
static bool is_char(struct token t, char c)
{
    return t.kind == PUNCT && *t.p == c;
}

static bool is_any(struct token t, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is(t, words[i]))
            return true;
    return false;
}
#define IS_ANY(t, ...)                                                                                       \
    is_any((t), (const char *const[]){__VA_ARGS__},                                                          \
           sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* A name, quoted or not. */
static bool names(struct token t, const char *name)
{
    if (t.kind == QUOTED && t.n >= 2)
        return t.n - 2 == strlen(name) && strncasecmp(t.p + 1, name, t.n - 2) == 0;
    return is(t, name);
}

static bool names_dataset(struct token t, const struct catalog_text *x)
{
    for (uint32_t i = 0; i < x->ndatasets; i++)
        if (names(t, x->datasets[i]))
            return true;
    return false;
}

/* After FROM or JOIN. *t is the token behind it on return. */
static bool plain_source(struct scan *s, const struct catalog_text *x, struct token *t, bool *ret_open)
{
    *ret_open = false;
    while (IS_ANY(*t, "lateral"))
        *t = next(s);
    if (is_char(*t, '(')) { /* looked at inside */
        *ret_open = true;
        return true;
    }
    struct token part[3];
    int n = 0;
    for (;;) {
        if (t->kind != WORD && t->kind != QUOTED)
            return false;
        part[n++] = *t;
        *t = next(s);
        if (!is_char(*t, '.'))
            break;
        if (n == 3)
            return false;
        *t = next(s);
    }
    if (is_char(*t, '('))
        return n == 1 &&
               IS_ANY(part[0], "range", "generate_series", "unnest"); /* others look into the catalog */
    if (!names_dataset(part[n - 1], x))
        return false;
    if (n >= 2 && !names(part[n - 2], "main"))
        return false;
    return n < 3 || names(part[0], "data_catalog");
}

static bool reads_datasets_only(struct scan *s, const struct catalog_text *x)
{
    bool in_from[DEPTH_MAX] = {false};
    int depth = 0;
    struct token t = next(s);
    for (;;) {
        if (t.kind == END)
            return depth == 0;
        if (t.kind == UNSURE)
            return false;
        if (is_char(t, '(')) {
            if (++depth == DEPTH_MAX)
                return false;
            in_from[depth] = false;
        } else if (is_char(t, ')')) {
            if (--depth < 0)
                return false;
        } else if (is_char(t, ',') && in_from[depth]) {
            return false;
        } else if (IS_ANY(t, "from", "join")) {
            bool open;
            in_from[depth] = true;
            t = next(s);
            if (!plain_source(s, x, &t, &open))
                return false;
            continue; /* t is the next token already; an opening parenthesis is counted above */
        } else if (IS_ANY(t, "where", "group", "order", "having", "limit", "offset", "window", "qualify",
                          "union", "intersect", "except", "select")) {
            in_from[depth] = false;
        } else if (IS_ANY(t, "table", "into", "pivot", "unpivot", "pivot_wider", "pivot_longer", "describe",
                          "desc", "show", "summarize", "using", "insert", "update", "delete", "merge",
                          "create", "drop", "alter", "truncate", "query", "query_table", "semantics")) {
            if (is(t, "desc") || is(t, "using")) { /* ORDER BY x DESC, JOIN ... USING (x) */
                t = next(s);
                continue;
            }
            return false;
        }
        t = next(s);
    }
}

#define WRITES "insert", "update", "delete", "merge", "create", "drop", "alter", "truncate"

/* Without tokens: anywhere in the text. */
static bool holds(const char *p, uint64_t n, const char *word)
{
    size_t len = strlen(word);
    for (uint64_t i = 0; i + len <= n; i++)
        if (strncasecmp(p + i, word, len) == 0)
            return true;
    return false;
}

/* Of a script: does it hold several statements, and a word that a statement which writes must have? */
static bool several(const struct catalog_text *x, bool *ret_writes)
{
    static const char *const words[] = {WRITES};
    struct scan s = {x->sql, x->sql_len, 0};
    bool many = false, ended = false;
    *ret_writes = false;
    for (struct token t = next(&s); t.kind != END; t = next(&s)) {
        if (t.kind == UNSURE) {
            for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
                *ret_writes |= holds(s.p + s.at, s.n - s.at, words[i]);
            return true;
        }
        many |= ended && !is_char(t, ';');
        ended |= is_char(t, ';');
        *ret_writes |= is_any(t, words, sizeof words / sizeof words[0]);
    }
    return many;
}

enum catalog_need catalog_need(const struct catalog_text *x)
{
    bool writes;
    if (x->script && several(x, &writes))
        return writes ? CATALOG_WRITE : CATALOG_READ;
    struct scan s = {x->sql, x->sql_len, 0};
    struct token t = next(&s);
    while (is_char(t, ';') || is_char(t, '('))
        t = next(&s);
    if (IS_ANY(t, WRITES))
        return CATALOG_WRITE;
    if (x->default_source && strcasecmp(x->default_source, "data_catalog") != 0)
        return CATALOG_READ;
    if (x->default_database && strcasecmp(x->default_database, "main") != 0)
        return CATALOG_READ;
    if (!IS_ANY(t, "select", "values", "with", "explain"))
        return CATALOG_READ;
    struct scan all = {x->sql, x->sql_len, 0};
    return reads_datasets_only(&all, x) ? CATALOG_NONE : CATALOG_READ;
}

bool catalog_mentions_dataset(const struct catalog_text *x)
{
    struct scan s = {x->sql, x->sql_len, 0};
    for (;;) {
        struct token t = next(&s);
        if (t.kind == END)
            return false;
        if (t.kind == UNSURE || names_dataset(t, x))
            return true;
    }
}

bool catalog_text_names(const char *sql, uint64_t n, const char *name)
{
    struct scan s = {sql, n, 0};
    bool dot = false; /* before the token */
    for (struct token t = next(&s); t.kind != END && t.kind != UNSURE;) {
        struct token then = next(&s);
        if (!dot && names(t, name) && is_char(then, '.'))
            return true;
        dot = is_char(t, '.');
        t = then;
    }
    return false;
}

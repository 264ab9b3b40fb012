/*
 * compat_lex: SQL text as tokens with their brackets matched. The engine's lexical rules (PostgreSQL's): ''
 * and "" double, E'' knows backslashes, $tag$ quotes, -- to the end of the line, block comments (a nested one
 * is unclear on purpose). Pure; any thread; linear.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/sql_blank.h"
#include "engines/compat.h"

static bool word_start(char c)
{
    return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}
static bool word_char(char c)
{
    return word_start(c) || isdigit((unsigned char)c) || c == '$';
}

/* Past blanks and comments; SIZE_MAX when a comment is unclear. */
static size_t skip_blank(const char *p, size_t n, size_t i)
{
    while (i < n) {
        size_t blank = sql_blank(p + i, n - i);
        if (blank) {
            i += blank;
        } else if (p[i] == '-' && i + 1 < n && p[i + 1] == '-') {
            while (i < n && p[i] != '\n' && p[i] != '\r')
                i++;
        } else if (p[i] == '/' && i + 1 < n && p[i + 1] == '*') {
            for (i += 2;; i++) {
                if (i + 1 >= n || (p[i] == '/' && p[i + 1] == '*'))
                    return SIZE_MAX;
                if (p[i] == '*' && p[i + 1] == '/')
                    break;
            }
            i += 2;
        } else {
            break;
        }
    }
    return i;
}

/* i is after the opening quote; the place after the closing one, SIZE_MAX when there is none. */
static size_t skip_quoted(const char *p, size_t n, size_t i, char quote, bool escapes)
{
    for (; i < n; i++) {
        if (escapes && p[i] == '\\') {
            i++;
        } else if (p[i] == quote) {
            if (i + 1 >= n || p[i + 1] != quote)
                return i + 1;
            i++;
        }
    }
    return SIZE_MAX;
}

/* i on '$': the end of a dollar quote, i when it is none, SIZE_MAX when it is not closed. */
static size_t skip_dollar(const char *p, size_t n, size_t i)
{
    size_t j = i + 1;
    if (j < n && isdigit((unsigned char)p[j]))
        return i;
    while (j < n && word_char(p[j]) && p[j] != '$')
        j++;
    if (j >= n || p[j] != '$')
        return i;
    size_t tag = j + 1 - i;
    const char *end = memmem(p + j + 1, n - j - 1, p + i, tag);
    return end ? (size_t)(end - p) + tag : SIZE_MAX;
}

static size_t number_end(const char *p, size_t n, size_t i)
{
    while (i < n && (isalnum((unsigned char)p[i]) || p[i] == '_' || p[i] == '.')) {
        if ((p[i] == 'e' || p[i] == 'E') && i + 1 < n && (p[i + 1] == '+' || p[i + 1] == '-'))
            i++;
        i++;
    }
    return i < n ? i : n;
}

static size_t one(const char *p, size_t n, size_t i, struct ctoken *t)
{
    char c = p[i];
    bool quote_next = i + 1 < n && p[i + 1] == '\'';
    t->kind = CT_STRING;
    if (c == '\'')
        return skip_quoted(p, n, i + 1, '\'', false);
    if (c == '"') {
        t->kind = CT_QUOTED;
        return skip_quoted(p, n, i + 1, '"', false);
    }
    if (quote_next && (c == 'e' || c == 'E' || c == 'x' || c == 'X')) {
        t->prefix = (char)tolower((unsigned char)c);
        return skip_quoted(p, n, i + 2, '\'', t->prefix == 'e');
    }
    if ((c == 'u' || c == 'U') && i + 2 < n && p[i + 1] == '&' && p[i + 2] == '\'') {
        t->prefix = 'u';
        return skip_quoted(p, n, i + 3, '\'', false);
    }
    if (c == '$') {
        size_t end = skip_dollar(p, n, i);
        t->prefix = '$';
        if (end != i)
            return end;
    }
    t->prefix = 0;
    if (word_start(c)) {
        t->kind = CT_WORD;
        while (i < n && word_char(p[i]) && !sql_blank(p + i, n - i))
            i++;
        return i;
    }
    if (isdigit((unsigned char)c) || (c == '.' && i + 1 < n && isdigit((unsigned char)p[i + 1]))) {
        t->kind = CT_NUMBER;
        return number_end(p, n, i);
    }
    t->kind = CT_OP;
    t->op = c;
    return i + 1;
}

static char partner(char c)
{
    return c == ')' ? '(' : c == ']' ? '[' : c == '}' ? '{' : 0;
}

bool compat_lex(struct arena *a, const char *p, size_t n, struct clex *ret)
{
    size_t cap = n / 2 + 64;
    if (n > UINT32_MAX / 2 || memchr(p, 0, n))
        return false;
    if (cap > COMPAT_TOKENS_MAX)
        cap = COMPAT_TOKENS_MAX;
    struct ctoken *t = arena_alloc(a, cap * sizeof *t);
    uint32_t *open = arena_alloc(a, cap * sizeof *open), depth = 0, k = 0;
    if (!t || !open)
        return false;
    for (size_t i = 0;;) {
        i = skip_blank(p, n, i);
        if (i == SIZE_MAX)
            return false;
        if (i >= n)
            break;
        if (k + 2 >= cap) { /* denser than expected */
            size_t more = cap * 2;
            if (more > COMPAT_TOKENS_MAX)
                return false;
            struct ctoken *bigger = arena_alloc(a, more * sizeof *t);
            uint32_t *bigger_open = arena_alloc(a, more * sizeof *open);
            if (!bigger || !bigger_open)
                return false;
            memcpy(bigger, t, k * sizeof *t);
            memcpy(bigger_open, open, depth * sizeof *open);
            t = bigger;
            open = bigger_open;
            cap = more;
        }
        t[k] = (struct ctoken){.at = (uint32_t)i};
        size_t end = one(p, n, i, &t[k]);
        if (end == SIZE_MAX || end > n)
            return false;
        t[k].n = (uint32_t)(end - i);
        char c = t[k].kind == CT_OP ? t[k].op : 0;
        if (c == '(' || c == '[' || c == '{')
            open[depth++] = k;
        if (partner(c)) {
            if (!depth || t[open[depth - 1]].op != partner(c))
                return false;
            t[k].match = open[--depth];
            t[t[k].match].match = k;
        }
        k++;
        i = end;
    }
    if (depth)
        return false;
    t[k] = (struct ctoken){.kind = CT_END, .at = (uint32_t)n};
    *ret = (struct clex){p, n, t, k};
    return true;
}

bool compat_is(const struct clex *l, uint32_t i, const char *word)
{
    if (i >= l->count || l->t[i].kind != CT_WORD)
        return false;
    size_t n = strlen(word);
    return l->t[i].n == n && strncasecmp(l->p + l->t[i].at, word, n) == 0;
}

bool compat_is_any(const struct clex *l, uint32_t i, const char *const *words)
{
    for (; *words; words++) {
        if (compat_is(l, i, *words))
            return true;
    }
    return false;
}

bool compat_mentions(const struct clex *l, const char *word)
{
    for (uint32_t i = 0; i < l->count; i++) {
        if (compat_is(l, i, word))
            return true;
    }
    return false;
}

bool compat_op(const struct clex *l, uint32_t i, char op)
{
    return i < l->count && l->t[i].kind == CT_OP && l->t[i].op == op;
}

uint32_t compat_args(const struct clex *l, uint32_t open, uint32_t (*args)[2], uint32_t max)
{
    uint32_t close = l->t[open].match, n = 0, from = open + 1;
    if (from == close)
        return 0;
    for (uint32_t i = from; i <= close; i++) {
        if (i == close || compat_op(l, i, ',')) {
            if (n == max || i == from)
                return UINT32_MAX;
            args[n][0] = from;
            args[n++][1] = i;
            from = i + 1;
        } else if (l->t[i].match > i) {
            i = l->t[i].match;
        }
    }
    return n;
}

/*
 * sql_scan: see sql_scan.h. The rules are those of PostgreSQL's scanner, which the engine inherits: block
 * comments nest, E'' knows backslashes, an identifier may hold $ after its first character, a dollar quote's
 * tag is empty or an identifier.
 *
 * When is ":x" a placeholder? When no operand stands directly before the colon ("a:b" and "'k':v" are not)
 * and it is not the first thing of a subscript ("a[:x]"; "ARRAY[:x]" is a list); "::" and ":=" never are.
 * Pure; any thread.
 */
#include "dialects/sql_scan.h"

#include <string.h>
#include <strings.h>

#include "base/sql_blank.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_word(char c)
{
    return is_word_start(c) || is_digit(c) || c == '$';
}

void sql_scan_init(struct sql_scan *s, const char *p, size_t n)
{
    memset(s, 0, sizeof *s);
    s->p = p;
    s->n = n;
}

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
            size_t nested = 1;
            i += 2;
            while (i < n && nested) {
                if (p[i] == '*' && i + 1 < n && p[i + 1] == '/') {
                    nested--;
                    i += 2;
                } else if (p[i] == '/' && i + 1 < n && p[i + 1] == '*') {
                    nested++;
                    i += 2;
                } else {
                    i++;
                }
            }
        } else {
            break;
        }
    }
    return i;
}

/* i stands on the opening quote; returns the place after the closing one. */
static size_t skip_quoted(const char *p, size_t n, size_t i, char quote, bool backslash)
{
    for (i++; i < n; i++) {
        if (backslash && p[i] == '\\') {
            i++;
        } else if (p[i] == quote) {
            if (i + 1 < n && p[i + 1] == quote)
                i++;
            else
                return i + 1;
        }
    }
    return n;
}

/* i stands on a '$'. Length of the opening "$tag$", 0 when this is none. */
static size_t dollar_tag(const char *p, size_t n, size_t i)
{
    size_t j = i + 1;
    if (j < n && is_word_start(p[j]))
        while (j < n && (is_word_start(p[j]) || is_digit(p[j])))
            j++;
    return j < n && p[j] == '$' ? j + 1 - i : 0;
}

static size_t skip_dollar_quote(const char *p, size_t n, size_t i, size_t tag)
{
    size_t body = i + tag;
    const char *end = body < n ? memmem(p + body, n - body, p + i, tag) : NULL;
    return end ? (size_t)(end - p) + tag : n;
}

static bool ends_operand(const struct sql_scan *s)
{
    switch (s->before) {
    case SQL_WORD:
    case SQL_QUOTED:
    case SQL_STRING:
    case SQL_NUMBER:
    case SQL_QMARK:
    case SQL_NAMED:
    case SQL_NUMBERED:
    case SQL_DOLLAR:
        return true;
    case SQL_OTHER:
        return s->before_char == ')' || s->before_char == ']' || s->before_char == '}';
    default:
        return false;
    }
}

static struct sql_piece finish(struct sql_scan *s, enum sql_token token, size_t at, size_t end)
{
    s->at = end;
    s->before = token;
    s->before_char = end > at ? s->p[end - 1] : '\0';
    s->before_end = end;
    return (struct sql_piece){token, at, end - at};
}

static struct sql_piece scan_number(struct sql_scan *s, size_t i)
{
    const char *p = s->p;
    size_t j = i, n = s->n;
    while (j < n && (is_word_start(p[j]) || is_digit(p[j]) || p[j] == '.')) {
        if ((p[j] == 'e' || p[j] == 'E') && j + 1 < n && (p[j + 1] == '+' || p[j + 1] == '-'))
            j++;
        j++;
    }
    return finish(s, SQL_NUMBER, i, j < n ? j : n);
}

static struct sql_piece scan_colon(struct sql_scan *s, size_t i, bool after_operand, bool slice_start)
{
    const char *p = s->p;
    size_t n = s->n, j = i + 1;
    if (j < n && (p[j] == ':' || p[j] == '='))
        return finish(s, SQL_OTHER, i, j + 1);
    if (j < n && is_word_start(p[j]) && !after_operand && !slice_start) {
        while (j < n && (is_word_start(p[j]) || is_digit(p[j])))
            j++;
        return finish(s, SQL_NAMED, i, j);
    }
    return finish(s, SQL_OTHER, i, i + 1);
}

static struct sql_piece scan_dollar(struct sql_scan *s, size_t i)
{
    const char *p = s->p;
    size_t n = s->n, j = i + 1, tag = dollar_tag(p, n, i);
    if (tag)
        return finish(s, SQL_STRING, i, skip_dollar_quote(p, n, i, tag));
    if (j < n && is_digit(p[j])) {
        while (j < n && is_digit(p[j]))
            j++;
        return finish(s, SQL_NUMBERED, i, j);
    }
    if (j < n && is_word_start(p[j])) {
        while (j < n && (is_word_start(p[j]) || is_digit(p[j])))
            j++;
        return finish(s, SQL_DOLLAR, i, j);
    }
    return finish(s, SQL_OTHER, i, i + 1);
}

/* Is what stands directly before the '[' at i a word that names nothing, so that a list begins there? */
static bool begins_list(const struct sql_scan *s, size_t i)
{
    static const char *const words[] = {"array", "select", "distinct", "all",   "in",   "and",
                                        "or",    "not",    "then",     "else",  "when", "case",
                                        "on",    "by",     "where",    "having"};
    size_t from = i;
    while (from && is_word(s->p[from - 1]))
        from--;
    for (size_t k = 0; s->before == SQL_WORD && k < sizeof words / sizeof *words; k++)
        if (strlen(words[k]) == i - from && strncasecmp(words[k], s->p + from, i - from) == 0)
            return true;
    return false;
}

struct sql_piece sql_scan_next(struct sql_scan *s)
{
    const char *p = s->p;
    size_t n = s->n, i = skip_blank(p, n, s->at);
    if (i >= n)
        return finish(s, SQL_END, n, n);
    char c = p[i];
    bool operand = ends_operand(s);
    bool touching = operand && s->before_end == i;
    if (c == '\'')
        return finish(s, SQL_STRING, i, skip_quoted(p, n, i, '\'', false));
    if (c == '"')
        return finish(s, SQL_QUOTED, i, skip_quoted(p, n, i, '"', false));
    if (is_word_start(c)) {
        if ((c == 'e' || c == 'E') && i + 1 < n && p[i + 1] == '\'')
            return finish(s, SQL_STRING, i, skip_quoted(p, n, i + 1, '\'', true));
        size_t j = i + 1;
        while (j < n && is_word(p[j]) && !sql_blank(p + j, n - j))
            j++;
        return finish(s, SQL_WORD, i, j);
    }
    if (is_digit(c) || (c == '.' && !touching && i + 1 < n && is_digit(p[i + 1])))
        return scan_number(s, i);
    switch (c) {
    case '?':
        return finish(s, SQL_QMARK, i, i + 1);
    case ';':
        return finish(s, SQL_SEMICOLON, i, i + 1);
    case '$':
        return scan_dollar(s, i);
    case ':': {
        bool in_subscript = s->depth && s->depth <= SQL_SCAN_DEPTH && s->subscript[s->depth - 1];
        return scan_colon(s, i, touching, in_subscript && (s->before_char == '[' || operand));
    }
    case '[':
        if (s->depth < SQL_SCAN_DEPTH)
            s->subscript[s->depth] = touching && !begins_list(s, i);
        s->depth++;
        return finish(s, SQL_OTHER, i, i + 1);
    case ']':
        if (s->depth)
            s->depth--;
        return finish(s, SQL_OTHER, i, i + 1);
    default:
        return finish(s, SQL_OTHER, i, i + 1);
    }
}

bool sql_piece_is(const struct sql_scan *s, struct sql_piece t, const char *word)
{
    return t.token == SQL_WORD && t.n == strlen(word) && strncasecmp(s->p + t.at, word, t.n) == 0;
}

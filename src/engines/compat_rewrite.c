/*
 * compat_rewrite: the rules: each looks at one place and either leaves it or gives other words for a few tokens. The
 * walk over the tokens is compat_walk.c's. Pure; any thread; linear but for calls inside calls (COMPAT_DEPTH).
 *
 * Rules: types (array(t), timestamp(p) with time zone, p of timestamp), literals (X'..', DECIMAL '..',
 * TIMESTAMP with a zone, INTERVAL forms), VALUES without brackets, TABLESAMPLE, UNNEST of several arrays or a
 * map, numbers that begin with a zero, properties of CREATE, calls (compat_calls.c).
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engines/compat.h"

/* ---- types ---- */

static uint32_t rule_array(struct crewrite *w, uint32_t i)
{
    static const char *const query[] = {"select", "with", "values", "from", "table", NULL};
    const struct clex *l = w->l;
    if (!compat_op(l, i + 1, '(') || compat_is_any(l, i + 2, query) || compat_op(l, i + 2, '(') ||
        w->depth >= COMPAT_DEPTH)
        return 0;
    uint32_t close = l->t[i + 1].match;
    if (close == i + 2 || l->t[i + 2].kind != CT_WORD)
        return 0;
    compat_range(w, i + 2, close);
    compat_put(w, "[]", l->t[i].at);
    return close + 1 - i;
}

static uint32_t rule_timestamp_type(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    if (!compat_op(l, i + 1, '(') || l->t[i + 2].kind != CT_NUMBER || l->t[i + 1].match != i + 3)
        return 0;
    bool zone = compat_is(l, i + 4, "with") && compat_is(l, i + 5, "time") && compat_is(l, i + 6, "zone");
    compat_copy(w, l->t[i].at, compat_after(l, i));
    if (!zone && compat_is(l, i, "timestamp")) { /* the next precision that there is */
        uint32_t p = 0;                          /* by length: the text has no end of its own */
        for (size_t k = 0; k < l->t[i + 2].n && p < 100; k++)
            p = p * 10 + (uint32_t)((l->p + l->t[i + 2].at)[k] - '0') % 10;
        compat_put(w, p == 0 ? "(0)" : p <= 3 ? "(3)" : p <= 6 ? "(6)" : "(9)", l->t[i + 1].at);
    }
    return 4;
}

/* ---- literals ---- */

static bool string_text(const struct clex *l, uint32_t i, char *out, size_t cap)
{
    if (i >= l->count || l->t[i].kind != CT_STRING || l->t[i].prefix || l->t[i].n - 2 >= cap)
        return false;
    memcpy(out, l->p + l->t[i].at + 1, l->t[i].n - 2);
    out[l->t[i].n - 2] = 0;
    return true;
}

static uint32_t rule_hex(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    compat_put(w, "unhex(", l->t[i].at);
    compat_copy(w, l->t[i].at + 1, compat_after(l, i));
    compat_put(w, ")", l->t[i].at);
    return 1;
}

static void put_utf8(struct buf *b, uint32_t cp)
{
    if (cp < 0x80) {
        (void)buf_char(b, (char)cp);
        return;
    }
    unsigned more = cp < 0x800 ? 1 : cp < 0x10000 ? 2 : 3;
    (void)buf_char(b, (char)((more == 1 ? 0xC0u : more == 2 ? 0xE0u : 0xF0u) | cp >> 6 * more));
    while (more--)
        (void)buf_char(b, (char)(0x80 | (cp >> 6 * more & 0x3F)));
}

/* U&'\AC00': code points in the text. Left alone when it has another escape character or is no such text. */
static uint32_t rule_unicode(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    const char *p = l->p + l->t[i].at + 3, *end = p + l->t[i].n - 4;
    if (compat_is(l, i + 1, "uescape"))
        return 0;
    CLEANUP_BUF struct buf b = BUF_INIT((size_t)l->t[i].n + 16);
    (void)buf_char(&b, '\'');
    while (p < end) {
        if (*p != '\\') {
            (void)buf_char(&b, *p++);
            continue;
        }
        if (p + 1 < end && p[1] == '\\') {
            (void)buf_char(&b, '\\');
            p += 2;
            continue;
        }
        size_t digits = p + 1 < end && p[1] == '+' ? 6 : 4, skip = digits == 6 ? 2 : 1;
        char hex[8] = "";
        if ((size_t)(end - p) < skip + digits)
            return 0;
        memcpy(hex, p + skip, digits);
        if (strspn(hex, "0123456789abcdefABCDEF") != digits)
            return 0;
        uint32_t cp = (uint32_t)strtoul(hex, NULL, 16);
        if (cp == 0 || cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF) || cp == '\'')
            return 0;
        put_utf8(&b, cp);
        p += skip + digits;
    }
    (void)buf_char(&b, '\'');
    const char *text = buf_str(&b);
    if (!text)
        return 0;
    compat_put(w, text, l->t[i].at);
    return 1;
}

static uint32_t rule_decimal_literal(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    char text[48], type[48];
    if (!string_text(l, i + 1, text, sizeof text))
        return 0;
    const char *p = text + (*text == '-' || *text == '+');
    size_t whole = strspn(p, "0123456789"), scale = p[whole] == '.' ? strspn(p + whole + 1, "0123456789") : 0;
    if (whole + scale == 0 || p[whole + (p[whole] == '.') + scale])
        return 0;
    whole -= strspn(p, "0") < whole ? strspn(p, "0") : whole;
    if (whole + scale == 0)
        whole = 1;
    if (whole + scale > 38)
        return 0;
    snprintf(type, sizeof type, " AS DECIMAL(%zu,%zu))", whole + scale, scale);
    compat_put(w, "CAST(", l->t[i].at);
    compat_copy(w, l->t[i + 1].at, compat_after(l, i + 1));
    compat_put(w, type, l->t[i].at);
    return 2;
}

/* TIMESTAMP '2020-01-01 10:00:00 Asia/Seoul': what follows the time is a zone. */
static uint32_t rule_timestamp_literal(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    char text[128];
    if (!string_text(l, i + 1, text, sizeof text))
        return 0;
    const char *colon = strchr(text, ':');
    const char *zone = colon ? colon + strspn(colon, "0123456789:. ") : NULL;
    if (!zone || !*zone)
        return 0;
    bool offset = *zone == '+' || *zone == '-';
    size_t clock = (size_t)(zone - text);
    while (clock && text[clock - 1] == ' ')
        clock--;
    bool seconds = strchr(colon + 1, ':') && strchr(colon + 1, ':') < zone;
    compat_put(w, "TIMESTAMPTZ '", l->t[i].at);
    compat_copy(w, l->t[i + 1].at + 1, l->t[i + 1].at + 1 + (uint32_t)clock);
    if (!seconds)
        compat_put(
            w, ":00",
            l->t[i].at); /* the engine wants seconds, a blank before a name and none before an offset */
    if (!offset)
        compat_put(w, " ", l->t[i].at);
    compat_copy(w, l->t[i + 1].at + 1 + (uint32_t)(zone - text), compat_after(l, i + 1));
    return 2;
}

static bool is_unit(const struct clex *l, uint32_t i)
{
    static const char *const units[] = {"second", "minute", "hour", "day", "week", "month", "year", NULL};
    return compat_is_any(l, i, units);
}

/* INTERVAL [+-] 'text' unit [TO unit] */
static uint32_t rule_interval(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    char text[96], made[192];
    bool sign = compat_op(l, i + 1, '-') || compat_op(l, i + 1, '+'), minus = compat_op(l, i + 1, '-');
    uint32_t s = i + 1 + sign;
    if (!string_text(l, s, text, sizeof text) || !is_unit(l, s + 1))
        return 0;
    bool to = compat_is(l, s + 2, "to") && is_unit(l, s + 3);
    if (!to && !sign)
        return 0;
    if (!to) {
        compat_put(w, minus ? "(- INTERVAL " : "(INTERVAL ", l->t[i].at);
        compat_copy(w, l->t[s].at, compat_after(l, s + 1));
        compat_put(w, ")", l->t[i].at);
        return s + 2 - i;
    }
    const char *p = text;
    if (*p == '-' || *p == '+')
        minus ^= *p++ == '-';
    if (compat_is(l, s + 1, "year")) {
        char *end;
        long years = strtol(p, &end, 10), months = *end == '-' ? strtol(end + 1, &end, 10) : 0;
        if (*end || !isdigit((unsigned char)*p) || years > 100000 || months > 11 || months < 0)
            return 0;
        snprintf(made, sizeof made, "to_months(%s%ld)", minus ? "-" : "", years * 12 + months);
    } else { /* the engine reads 'd days h:m:s' */
        bool day = compat_is(l, s + 1, "day");
        size_t days = strspn(p, "0123456789");
        const char *clock = day ? p + days + strspn(p + days, " ") : p;
        if (!days || clock[strspn(clock, "0123456789:.")] || strlen(clock) > 40 || days > 9)
            return 0;
        bool only_hour = !strchr(clock, ':'), minutes = compat_is(l, s + 1, "minute");
        snprintf(made, sizeof made, "(%sINTERVAL '%.*s days %s%s%s')", minus ? "- " : "", day ? (int)days : 1,
                 day ? p : "0", minutes ? "0:" : "", clock, only_hour ? ":00" : "");
    }
    compat_put(w, made, l->t[i].at);
    return s + 4 - i;
}

/* 0.5: zeros before the point are no digits of its type. 0xFF, 0o17, 0b11. */
static uint32_t rule_number(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    uint32_t at = l->t[i].at, end = compat_after(l, i), from = at;
    char made[24];
    char base = end - at > 2 && *(l->p + at) == '0' ? (char)tolower((unsigned char)l->p[at + 1]) : 0;
    if (base == 'x' || base == 'o' || base == 'b') {
        char digits[72], *stop;
        if (end - at - 2 >= sizeof digits || !isxdigit((unsigned char)l->p[at + 2]))
            return 0;
        memcpy(digits, l->p + at + 2, end - at - 2);
        digits[end - at - 2] = 0;
        errno = 0;
        long long v = strtoll(digits, &stop, base == 'x' ? 16 : base == 'o' ? 8 : 2);
        if (*stop || errno)
            return 0;
        snprintf(made, sizeof made, "%lld", v);
        compat_put(w, made, at);
        return 1;
    }
    while (from + 1 < end && l->p[from] == '0' &&
           (isdigit((unsigned char)l->p[from + 1]) || l->p[from + 1] == '.'))
        from++;
    uint32_t point = from;
    while (point < end && isdigit((unsigned char)l->p[point]))
        point++;
    if (from == at || point + 1 >= end || l->p[point] != '.' || !isdigit((unsigned char)l->p[point + 1]) ||
        (i > 0 && compat_after(l, i - 1) == at && l->t[i - 1].kind != CT_OP))
        return 0;
    compat_copy(w, from, end);
    return 1;
}

/* ---- clauses ---- */

static const char *const after_values[] = {"order",  "limit",     "offset", "fetch",     "union",
                                           "except", "intersect", "on",     "returning", NULL};

static bool closes(const struct clex *l, uint32_t i)
{
    return compat_op(l, i, ')') || compat_op(l, i, ']') || compat_op(l, i, '}');
}

/* The names of the columns of a statement that is VALUES, behind its rows; `row` is the first one. */
static void name_values(struct crewrite *w, uint32_t row, bool bare, uint32_t at)
{
    char text[32];
    uint32_t n = 1;
    for (uint32_t k = row + 1;
         !bare && k<w->l->t[row].match; k = w->l->t[k].match> k ? w->l->t[k].match + 1 : k + 1)
        n += compat_op(w->l, k, ',');
    for (uint32_t c = 0; c < n; c++) {
        snprintf(text, sizeof text, "%s\"_col%u\"", c ? ", " : ") AS \"_values\"(", c);
        compat_put(w, text, at);
    }
    compat_put(w, ")", at);
}

/* VALUES 1, 2 -> VALUES (1), (2); VALUES ROW(1, 2) -> VALUES (1, 2); as a statement with names for its columns */
static uint32_t rule_values(struct crewrite *w, uint32_t i)
{
    static const char *const before[] = {"as",        "union",   "all",     "distinct", "except",
                                         "intersect", "explain", "default", NULL};
    const struct clex *l = w->l;
    bool statement = i == 0 || compat_op(l, i - 1, '(') || compat_op(l, i - 1, ')') ||
                     compat_op(l, i - 1, ';') || compat_is_any(l, i - 1, before);
    bool insert = i > 1 && (l->t[i - 1].kind == CT_WORD || l->t[i - 1].kind == CT_QUOTED);
    if ((!statement && !insert) || w->depth >= COMPAT_DEPTH)
        return 0;
    uint32_t k = i + 1, at = l->t[i].at, first = 0;
    bool named = i == 0 && !w->pg, first_bare = false;
    if (k >= l->count || (l->t[k].kind == CT_OP && !compat_op(l, k, '(') && !compat_op(l, k, '-') &&
                          !compat_op(l, k, '[') && !compat_op(l, k, '?') && !compat_op(l, k, '$')))
        return 0;
    if (!statement && !compat_op(l, k, '(') && l->t[k].kind != CT_STRING && l->t[k].kind != CT_NUMBER)
        return 0;
    if (named)
        compat_put(w, "SELECT * FROM (", at);
    compat_copy(w, at, compat_after(l, i));
    while (k < l->count) {
        uint32_t from = k;
        while (k < l->count && !compat_op(l, k, ',') && !closes(l, k) && !compat_op(l, k, ';') &&
               !compat_is_any(l, k, after_values))
            k = l->t[k].match > k ? l->t[k].match + 1 : k + 1;
        if (k == from)
            break;
        bool row = compat_is(l, from, "row") && compat_op(l, from + 1, '(') && l->t[from + 1].match == k - 1;
        bool bare = !row && !(compat_op(l, from, '(') && l->t[from].match == k - 1);
        if (row)
            from++;
        if (!first) {
            first = from;
            first_bare = bare;
        }
        compat_put(w, bare ? " (" : " ", l->t[from].at);
        compat_range(w, from, k);
        if (bare)
            compat_put(w, ")", l->t[k - 1].at);
        if (!compat_op(l, k, ','))
            break;
        compat_copy(w, l->t[k].at, compat_after(l, k));
        k++;
    }
    if (named && first)
        name_values(w, first, first_bare, l->t[k - 1].at);
    else if (named)
        compat_put(w, ")", l->t[k - 1].at);
    if (k < l->count)
        compat_put(w, " ", l->t[k].at);
    return k - i;
}

static uint32_t rule_sample(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    if (!(compat_is(l, i + 1, "bernoulli") || compat_is(l, i + 1, "system")) || !compat_op(l, i + 2, '('))
        return 0;
    if (l->t[i + 3].kind != CT_NUMBER || l->t[i + 2].match != i + 4)
        return 0;
    compat_copy(w, l->t[i].at, compat_after(l, i + 3));
    compat_put(w, " PERCENT)", l->t[i + 4].at);
    return 5;
}

/* FROM ... UNNEST(a, b) AS t(x, y): a subquery that the engine joins laterally. One array that yields one
 * column is the engine's own; one that yields more is of rows, or a map (quern_entries: compat_operators.c). */
static uint32_t rule_unnest(struct crewrite *w, uint32_t i)
{
    static const char *const before[] = {"from", "join", "lateral", NULL};
    const struct clex *l = w->l;
    if (i == 0 || !(compat_is_any(l, i - 1, before) || compat_op(l, i - 1, ',')) ||
        !compat_op(l, i + 1, '(') || w->depth >= COMPAT_DEPTH)
        return 0;
    uint32_t args[16][2], n = compat_args(l, i + 1, args, 16), close = l->t[i + 1].match, k = close + 1,
                          columns = 0;
    bool ordinal = compat_is(l, k, "with") && compat_is(l, k + 1, "ordinality");
    if (n == 0 || n == UINT32_MAX || (compat_op(l, i - 1, ',') && !compat_is(l, k, "as")))
        return 0;
    uint32_t after = ordinal ? k + 2 : k, name = compat_is(l, after, "as") ? after + 1 : after;
    if (name < l->count && (l->t[name].kind == CT_WORD || l->t[name].kind == CT_QUOTED) &&
        compat_op(l, name + 1, '(')) {
        for (uint32_t c = name + 2; c < l->t[name + 1].match; c++)
            columns += !compat_op(l, c, ',');
    }
    bool rows = n == 1 && columns >= 2 + (uint32_t)ordinal; /* of a map or of rows */
    if (n == 1 && !rows)
        return 0;
    compat_put(w, "(SELECT ", l->t[i].at);
    for (uint32_t a = 0; a < n; a++) {
        compat_put(w, a ? ",unnest(" : rows ? "unnest(quern_entries(" : "unnest(", l->t[i].at);
        compat_range(w, args[a][0], args[a][1]);
        compat_put(w, rows ? "),max_depth:=2)" : ")", l->t[i].at);
    }
    if (ordinal) {
        compat_put(w, ",unnest(range(1,1+greatest(", l->t[i].at);
        for (uint32_t a = 0; a < n; a++) {
            compat_put(w, a ? ",quern_cardinality(" : "quern_cardinality(", l->t[i].at);
            compat_range(w, args[a][0], args[a][1]);
            compat_put(w, ")", l->t[i].at);
        }
        compat_put(w, ")))", l->t[i].at);
    }
    compat_put(w, ")", l->t[i].at);
    return (ordinal ? k + 2 : k) - i;
}

/* CREATE ... WITH (property = value, ...) and COMMENT 'text': storage is the engine's, comments are not kept. */
static uint32_t rule_properties(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    if (!compat_is(l, 0, "create") || i < 3)
        return 0;
    if (compat_is(l, i, "comment") && l->t[i + 1].kind == CT_STRING) {
        compat_put(w, " ", l->t[i].at);
        return 2;
    }
    if (!compat_is(l, i, "with") || !compat_op(l, i + 1, '(') || !compat_op(l, i + 3, '='))
        return 0;
    compat_put(w, " ", l->t[i].at);
    return l->t[i + 1].match + 1 - i;
}

/* a ~ b, a !~ b (PG): some part of a matches; the engine means all of it. ~a alone is another operator, as are ~*, ~~ and
 * what else an operator has beside it. */
static uint32_t rule_matches(struct crewrite *w, uint32_t i)
{
    static const char *const words[] = {"select", "where",  "and",   "or",      "not", "in",   "when",
                                        "then",   "else",   "case",  "on",      "by",  "like", "from",
                                        "limit",  "having", "ilike", "between", "is",  "as",   NULL};
    const struct clex *l = w->l;
    uint32_t at = l->t[i].at, left = i;
    if (i == 0)
        return 0;
    if (compat_op(l, i - 1, '!') && compat_after(l, i - 1) == at) /* "!" has been copied already */
        left = i - 1;
    if (left == 0 ||
        (l->t[i + 1].kind == CT_OP && l->t[i + 1].at == at + 1 && !strchr("([-+?$", l->t[i + 1].op)))
        return 0;
    const struct ctoken *before = &l->t[left - 1];
    bool bracket = before->kind == CT_OP && (before->op == ')' || before->op == ']');
    if (before->kind == CT_OP ? !bracket : compat_is_any(l, left - 1, words))
        return 0;
    compat_put(w, "~@ ", at);
    return 1;
}

static uint32_t pg_rule(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    uint32_t args[2][2], used = compat_pg_form(w, i);
    if (used || l->t[i].kind == CT_STRING)
        return used;
    if (l->t[i].kind == CT_OP)
        return compat_op(l, i, '~') ? rule_matches(w, i) : 0;
    if (l->t[i].kind != CT_WORD || !compat_op(l, i + 1, '('))
        return 0;
    if (compat_is(l, i, "unnest") && compat_args(l, i + 1, args, 2) > 1)
        return rule_unnest(w, i);
    return compat_call(w, i);
}

/* ---- all ---- */

uint32_t compat_rule(struct crewrite *w, uint32_t i)
{
    const struct clex *l = w->l;
    const struct ctoken *t = &l->t[i];
    if (w->pg)
        return pg_rule(w, i);
    if (t->kind == CT_OP)
        return 0;
    if (t->kind == CT_STRING)
        return t->prefix == 'x'   ? rule_hex(w, i)
               : t->prefix == 'u' ? rule_unicode(w, i)
                                  : compat_json_path(w, i);
    if (t->kind == CT_NUMBER)
        return rule_number(w, i);
    if (t->kind != CT_WORD)
        return 0;
    uint32_t used = w->nparts ? compat_part(w, i) : 0;
    if (used)
        return used;
    switch (tolower((unsigned char)l->p[t->at])) {
    case 'a':
        if (compat_is(l, i, "auto") && i > 1 && compat_is(l, i - 1, "by") && compat_is(l, i - 2, "group")) {
            compat_put(w, "ALL", t->at);
            return 1;
        }
        if (compat_is(l, i, "array"))
            return rule_array(w, i);
        break;
    case 'c':
        if (compat_is(l, i, "comment"))
            return rule_properties(w, i);
        break;
    case 'd':
        if (compat_is(l, i, "decimal") && l->t[i + 1].kind == CT_STRING)
            return rule_decimal_literal(w, i);
        if (compat_is(l, i, "data_catalog") && compat_op(l, i + 1, '.') &&
            compat_is(l, i + 2, "information_schema") && compat_op(l, i + 3, '.')) {
            compat_put(w, "system", t->at); /* one for all catalogs, where Trino has one in each */
            return 1;
        }
        break;
    case 'i':
        if (compat_is(l, i, "interval"))
            return rule_interval(w, i);
        break;
    case 't':
        if (compat_is(l, i, "timestamp"))
            used = l->t[i + 1].kind == CT_STRING ? rule_timestamp_literal(w, i) : rule_timestamp_type(w, i);
        if (compat_is(l, i, "time"))
            used = rule_timestamp_type(w, i);
        if (compat_is(l, i, "tablesample"))
            used = rule_sample(w, i);
        if (used)
            return used;
        break;
    case 'u':
        if (compat_is(l, i, "unnest"))
            return rule_unnest(w, i);
        break;
    case 'v':
        if (compat_is(l, i, "values"))
            return rule_values(w, i);
        break;
    case 'w':
        if (compat_is(l, i, "with"))
            return rule_properties(w, i);
        break;
    default:
        break;
    }
    return compat_op(l, i + 1, '(') ? compat_call(w, i) : 0;
}

/* Profile PG: a column whose text was changed keeps the name that the engine would have made of it. */
static void put_source_name(struct crewrite *w, uint32_t first, uint32_t after)
{
    const struct clex *l = w->l;
    CLEANUP_BUF struct buf b = BUF_INIT((size_t)l->n * 2 + 64);
    (void)buf_str_add(&b, " AS \"");
    for (uint32_t k = l->t[first].at; k < compat_after(l, after - 1); k++) {
        if (l->p[k] == '"')
            (void)buf_char(&b, '"');
        (void)buf_char(&b, l->p[k]);
    }
    (void)buf_char(&b, '"');
    const char *text = buf_str(&b);
    if (text)
        compat_put(w, text, l->t[after - 1].at);
    else
        w->failed = true;
}

bool compat_rewrite(struct arena *a, const char *p, size_t n, bool pg, struct crewrite *ret)
{
    struct clex *l = arena_alloc(a, sizeof *l);
    if (!l || !compat_lex(a, p, n, l) || !l->count)
        return false;
    *ret = (struct crewrite){.l = l, .out = BUF_INIT(n * 4 + 65536), .pg = pg, .rule = compat_rule};
    struct cname *names;
    uint32_t count = compat_unnamed(a, l, &names), from = 0;
    for (uint32_t k = 0; k < count; k++) {
        char text[32];
        uint32_t first = names[k].first, after = names[k].after;
        snprintf(text, sizeof text, " AS \"_col%u\"", names[k].number);
        if (from)
            compat_copy(ret, l->t[from - 1].at + l->t[from - 1].n, l->t[from].at);
        compat_range(ret, from, first);
        if (first > from)
            compat_copy(ret, compat_after(l, first - 1), l->t[first].at);
        size_t len = ret->out.len;
        compat_range(ret, first, after);
        size_t was = compat_after(l, after - 1) - l->t[first].at;
        if (!pg)
            compat_put(ret, text, l->t[after - 1].at);
        else if (!ret->failed &&
                 (ret->out.len - len != was || memcmp(ret->out.p + len, p + l->t[first].at, was) != 0))
            put_source_name(ret, first, after);
        from = after;
    }
    if (from && from < l->count)
        compat_copy(ret, l->t[from - 1].at + l->t[from - 1].n, l->t[from].at);
    compat_range(ret, from, l->count);
    if (ret->failed)
        compat_end(ret);
    return !ret->failed;
}

/*
 * compat_format: format: Java's in profile TRINO (java.util.Formatter: s d f e x X o b c h %), PostgreSQL's in profile PG
 * (s I L %, with places and widths). The arguments get here as texts in a list; what a conversion makes of one follows
 * from that text. Pure; any thread.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engines/compat_format.h"
#include "engines/compat_rows.h"

#define WIDTH_MAX 10000

/* One conversion of a format. */
struct conversion {
    uint32_t place; /* of its argument, from 1; 0: the next one */
    bool left, zero, comma, plus, space, brackets, star;
    int width, precision; /* -1: none */
    char type;
};

/* ---- the format ---- */

static uint32_t digits(const char **p, const char *end)
{
    uint32_t v = 0;
    for (; *p < end && **p >= '0' && **p <= '9'; (*p)++)
        v = v > 100000 ? v : v * 10 + (uint32_t)(**p - '0');
    return v;
}

/* Behind the "%". False: it does not end. */
static bool conversion_at(const char **p, const char *end, struct conversion *c)
{
    *c = (struct conversion){.width = -1, .precision = -1};
    const char *at = *p;
    uint32_t place = digits(&at, end);
    if (place && at < end && *at == '$') {
        c->place = place;
        *p = at + 1;
    }
    for (; *p < end && strchr("-0,+ (#", **p); (*p)++) {
        c->left |= **p == '-';
        c->zero |= **p == '0';
        c->comma |= **p == ',';
        c->plus |= **p == '+';
        c->space |= **p == ' ';
        c->brackets |= **p == '(';
    }
    if (*p < end && **p >= '1' && **p <= '9')
        c->width = (int)digits(p, end);
    if (*p < end && **p == '.') {
        (*p)++;
        c->precision = (int)digits(p, end);
    }
    if (*p >= end || c->width > WIDTH_MAX || c->precision > 1000)
        return false;
    c->type = *(*p)++;
    return true;
}

/* Characters, not bytes. */
static size_t length(const char *p, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)p[i] & 0xC0) != 0x80;
    return count;
}

static void pad(struct buf *out, const struct conversion *c, const char *p, size_t n)
{
    size_t len = length(p, n), width = c->width > 0 ? (size_t)c->width : 0;
    for (size_t i = len; i < width && !c->left; i++)
        (void)buf_char(out, ' ');
    (void)buf_add(out, p, n);
    for (size_t i = len; i < width && c->left; i++)
        (void)buf_char(out, ' ');
}

/* ---- numbers ---- */

/* The digits of a number with its sign, grouped and filled up as the conversion says. */
static void put_number(struct buf *out, const struct conversion *c, const char *p)
{
    bool minus = *p == '-';
    size_t whole, len, groups, width = c->width > 0 ? (size_t)c->width : 0;
    p += minus;
    whole = strspn(p, "0123456789");
    groups = c->comma && whole ? (whole - 1) / 3 : 0;
    bool sign = minus || c->plus || c->space;
    len = strlen(p) + groups + sign + (minus && c->brackets);
    for (size_t i = len; i < width && !c->left && !c->zero; i++)
        (void)buf_char(out, ' ');
    if (sign)
        (void)buf_char(out, minus ? (c->brackets ? '(' : '-') : c->plus ? '+' : ' ');
    for (size_t i = len; i < width && !c->left && c->zero; i++)
        (void)buf_char(out, '0');
    for (size_t i = 0; p[i]; i++) {
        if (c->comma && i && i < whole && (whole - i) % 3 == 0)
            (void)buf_char(out, ',');
        (void)buf_char(out, p[i]);
    }
    if (minus && c->brackets)
        (void)buf_char(out, ')');
    for (size_t i = len; i < width && c->left; i++)
        (void)buf_char(out, ' ');
}

/* Half away from zero, as Java rounds; the digits are those of the text. */
static bool fixed(const struct format_arg *x, int precision, char *to, size_t cap)
{
    char source[128];
    if (x->n >= sizeof source)
        return false;
    memcpy(source, x->p, x->n);
    source[x->n] = 0;
    char *end;
    double v = strtod(source, &end);
    if (*end || end == source)
        return false;
    if (strpbrk(source, "eEnNiI"))
        return (size_t)snprintf(to, cap, "%.*f", precision, v) < cap;
    char *point = strchr(source, '.'), *digit = source + (*source == '-');
    size_t behind = point ? strlen(point + 1) : 0, whole = point ? (size_t)(point - digit) : strlen(digit);
    if (whole + behind + (size_t)precision + 4 >= cap)
        return false;
    char *w = to;
    if (*source == '-')
        *w++ = '-';
    char *first = w;
    *w++ = '0'; /* for a carry */
    memcpy(w, digit, whole);
    w += whole;
    if (precision)
        *w++ = '.';
    for (size_t i = 0; i < (size_t)precision; i++)
        *w++ = i < behind ? point[1 + i] : '0';
    *w = 0;
    if (behind > (size_t)precision && point[1 + precision] >= '5') {
        char *k = w - 1;
        while (*k == '9' || *k == '.') {
            if (*k == '9')
                *k = '0';
            k--;
        }
        (*k)++;
    }
    size_t zeros = 0;
    while (first[zeros] == '0' && first[zeros + 1] >= '0' && first[zeros + 1] <= '9')
        zeros++;
    memmove(first, first + zeros, strlen(first + zeros) + 1);
    return true;
}

static const char *put_real(struct buf *out, struct conversion *c, const struct format_arg *x)
{
    char made[1400], source[128] = "";
    int precision = c->precision < 0 ? 6 : c->precision;
    if (c->type == 'f') {
        if (!fixed(x, precision, made, sizeof made))
            return row_say("Invalid format string: \"", x->p, x->n, "\" is no number for %f");
    } else {
        memcpy(source, x->p, x->n < sizeof source ? x->n : sizeof source - 1);
        char *end;
        double v = strtod(source, &end);
        if (*end || end == source)
            return row_say("Invalid format string: \"", x->p, x->n, "\" is no number for %e");
        if (c->type == 'E')
            snprintf(made, sizeof made, "%.*E", precision, v);
        else
            snprintf(made, sizeof made, "%.*e", precision, v);
    }
    if (strpbrk(made, "nN")) /* NaN, inf */
        c->zero = c->comma = false;
    put_number(out, c, made);
    return NULL;
}

static const char *put_integer(struct buf *out, struct conversion *c, const struct format_arg *x)
{
    char made[64] = "", *end;
    if (x->n < sizeof made)
        memcpy(made, x->p, x->n);
    if (x->n >= sizeof made || !x->n || made[strspn(made + (*made == '-'), "0123456789") + (*made == '-')])
        return row_say("Invalid format string: \"", x->p, x->n, "\" is no integer for %d");
    if (c->type != 'd') {
        errno = 0;
        long long v = strtoll(made, &end, 10);
        if (errno)
            return "Invalid format string: the number is too large";
        bool narrow = v < 0 && v >= INT32_MIN; /* Java's int */
        unsigned long long u = narrow ? (unsigned long long)(uint32_t)(int32_t)v : (unsigned long long)v;
        snprintf(made, sizeof made, c->type == 'o' ? "%llo" : c->type == 'X' ? "%llX" : "%llx", u);
    }
    put_number(out, c, made);
    return NULL;
}

static const char *put_java(struct buf *out, struct conversion *c, const struct format_arg *x)
{
    const char *p = x->p ? x->p : "null";
    size_t n = x->p ? x->n : 4;
    bool flag = x->p && !(n == 5 && memcmp(p, "false", 5) == 0);
    switch (c->type) {
    case 'd':
    case 'x':
    case 'X':
    case 'o':
        if (x->p)
            return put_integer(out, c, x);
        break;
    case 'f':
    case 'e':
    case 'E':
        if (x->p)
            return put_real(out, c, x);
        break;
    case 'b':
        p = flag ? "true" : "false";
        n = strlen(p);
        break;
    case 's':
    case 'c':
        break;
    case 'S': {
        CLEANUP_BUF struct buf upper = BUF_INIT(64u << 20);
        for (size_t i = 0; i < n; i++)
            (void)buf_char(&upper, p[i] >= 'a' && p[i] <= 'z' ? (char)(p[i] & ~0x20) : p[i]);
        pad(out, c, upper.p ? upper.p : "", upper.len);
        return upper.failed ? "the text is too long" : NULL;
    }
    default:
        return row_say("Invalid format string: the conversion '", &c->type, 1, "' is not supported here");
    }
    size_t cut = 0, left = c->precision < 0 ? n : (size_t)c->precision;
    while (cut < n && left) { /* characters */
        cut++;
        while (cut < n && ((unsigned char)p[cut] & 0xC0) == 0x80)
            cut++;
        left--;
    }
    pad(out, c, p, cut);
    return NULL;
}

/* ---- PostgreSQL ---- */

static void quote(struct buf *b, const struct format_arg *x, char mark)
{
    (void)buf_char(b, mark);
    for (size_t i = 0; i < x->n; i++) {
        if (x->p[i] == mark)
            (void)buf_char(b, mark);
        (void)buf_char(b, x->p[i]);
    }
    (void)buf_char(b, mark);
}

/* A name that needs no quotes. */
static bool is_plain(const struct format_arg *x)
{
    for (size_t i = 0; i < x->n; i++) {
        bool letter = (x->p[i] >= 'a' && x->p[i] <= 'z') || x->p[i] == '_';
        if (!letter && !(i && ((x->p[i] >= '0' && x->p[i] <= '9') || x->p[i] == '$')))
            return false;
    }
    return x->n > 0;
}

static const char *put_pg(struct buf *out, struct conversion *c, const struct format_arg *x)
{
    CLEANUP_BUF struct buf b = BUF_INIT(64u << 20);
    if (c->type == 's') {
        if (x->p)
            (void)buf_add(&b, x->p, x->n);
    } else if (c->type == 'L') {
        if (x->p)
            quote(&b, x, '\'');
        else
            (void)buf_str_add(&b, "NULL");
    } else if (c->type == 'I') {
        if (!x->p)
            return "null values cannot be formatted as an SQL identifier";
        if (is_plain(x))
            (void)buf_add(&b, x->p, x->n);
        else
            quote(&b, x, '"');
    } else {
        return row_say("unrecognized format() type specifier \"", &c->type, 1, "\"");
    }
    pad(out, c, b.p ? b.p : "", b.len);
    return b.failed ? "the text is too long" : NULL;
}

/* ---- a row ---- */

const char *format_text(const char *p, size_t n, const struct format_arg *args, size_t nargs, bool java,
                        struct buf *out)
{
    const char *end = p + n;
    size_t next = 0;
    while (p < end) {
        const char *percent = memchr(p, '%', (size_t)(end - p));
        struct conversion c;
        (void)buf_add(out, p, (size_t)((percent ? percent : end) - p));
        if (!percent)
            break;
        p = percent + 1;
        if (!conversion_at(&p, end, &c))
            return java ? "Invalid format string: a conversion does not end"
                        : "unterminated format() type specifier";
        if (c.type == '%' || (java && c.type == 'n')) {
            (void)buf_char(out, c.type == '%' ? '%' : '\n');
            continue;
        }
        size_t k = c.place ? c.place - 1 : next++;
        if (c.place && !java)
            next = c.place; /* PostgreSQL goes on from there */
        if (k >= nargs)
            return java ? "Invalid format string: too few arguments" : "too few arguments for format()";
        const char *message = java ? put_java(out, &c, &args[k]) : put_pg(out, &c, &args[k]);
        if (message)
            return message;
    }
    return out->failed ? "the text is too long" : NULL;
}

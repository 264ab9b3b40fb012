/*
 * data360_types: one typed value of a Data 360 submit, {"type","value"} with optional length, precision
 * and scale (specs 2.4), checked and turned into what the engine casts (arrays: data360_array.c). Type names are those of the product's
 * SQL with common aliases, case ignored; values are strings, numbers, booleans or null. Errors name the
 * parameter: 42704 type, 22P02 text, 22007 date and time, 22003 range, 22001 length. Pure; any thread;
 * hostile bytes allowed.
 */
#include "dialects/data360_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"

/* ---- types ---- */

enum family {
    F_BOOL,
    F_INT,
    F_NUMERIC,
    F_FLOAT,
    F_TEXT,
    F_DATE,
    F_TIME,
    F_TIMESTAMP,
    F_TIMESTAMPTZ,
    F_INTERVAL,
    F_JSON,
    F_BYTEA
};

struct param_type {
    const char *name, *engine;
    enum family family;
    const char *least, *most; /* digits of the largest magnitudes, integers only: negative, positive */
};

/* Names of 2.1 and the aliases of 2.4. */
static const struct param_type types[] = {
    {"bool", "BOOLEAN", F_BOOL, NULL, NULL},
    {"boolean", "BOOLEAN", F_BOOL, NULL, NULL},
    {"smallint", "SMALLINT", F_INT, "32768", "32767"},
    {"int2", "SMALLINT", F_INT, "32768", "32767"},
    {"integer", "INTEGER", F_INT, "2147483648", "2147483647"},
    {"int", "INTEGER", F_INT, "2147483648", "2147483647"},
    {"int4", "INTEGER", F_INT, "2147483648", "2147483647"},
    {"bigint", "BIGINT", F_INT, "9223372036854775808", "9223372036854775807"},
    {"int8", "BIGINT", F_INT, "9223372036854775808", "9223372036854775807"},
    {"long", "BIGINT", F_INT, "9223372036854775808", "9223372036854775807"},
    {"oid", "UINTEGER", F_INT, "0", "4294967295"},
    {"numeric", "DECIMAL", F_NUMERIC, NULL, NULL},
    {"decimal", "DECIMAL", F_NUMERIC, NULL, NULL},
    {"number", "DECIMAL", F_NUMERIC, NULL, NULL},
    {"float4", "FLOAT", F_FLOAT, NULL, NULL},
    {"real", "FLOAT", F_FLOAT, NULL, NULL},
    {"float", "FLOAT", F_FLOAT, NULL, NULL},
    {"float8", "DOUBLE", F_FLOAT, NULL, NULL},
    {"double", "DOUBLE", F_FLOAT, NULL, NULL},
    {"double precision", "DOUBLE", F_FLOAT, NULL, NULL},
    {"varchar", "VARCHAR", F_TEXT, NULL, NULL},
    {"character varying", "VARCHAR", F_TEXT, NULL, NULL},
    {"char", "VARCHAR", F_TEXT, NULL, NULL},
    {"character", "VARCHAR", F_TEXT, NULL, NULL},
    {"string", "VARCHAR", F_TEXT, NULL, NULL},
    {"text", "VARCHAR", F_TEXT, NULL, NULL},
    {"date", "DATE", F_DATE, NULL, NULL},
    {"time", "TIME", F_TIME, NULL, NULL},
    {"time without time zone", "TIME", F_TIME, NULL, NULL},
    {"timestamp", "TIMESTAMP", F_TIMESTAMP, NULL, NULL},
    {"timestamp without time zone", "TIMESTAMP", F_TIMESTAMP, NULL, NULL},
    {"timestamptz", "TIMESTAMP WITH TIME ZONE", F_TIMESTAMPTZ, NULL, NULL},
    {"timestamp with time zone", "TIMESTAMP WITH TIME ZONE", F_TIMESTAMPTZ, NULL, NULL},
    {"timestamp_tz", "TIMESTAMP WITH TIME ZONE", F_TIMESTAMPTZ, NULL, NULL},
    {"interval", "INTERVAL", F_INTERVAL, NULL, NULL},
    {"json", "JSON", F_JSON, NULL, NULL},
    {"bytea", "BLOB", F_BYTEA, NULL, NULL},
    {"bytes", "BLOB", F_BYTEA, NULL, NULL},
};

struct reading { /* one parameter being read */
    struct arena *a;
    const char *label; /* "parameter 2", "parameter :x" */
    const struct param_type *type;
    int64_t args[2]; /* (n), (p,s), -1 absent */
    const char *text;
    size_t n;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int bad_text(const struct reading *p, const char *state, struct err *e)
{
    int shown = p->n > 64 ? (int)utf8_cut(p->text, p->n, 64) : (int)p->n;
    return err_set(e, ERR_INVALID, state, "%s: invalid value for type %s: \"%.*s\"", p->label, p->type->name,
                   shown, p->text);
}

static int out_of_range(const struct reading *p, struct err *e)
{
    return err_set(e, ERR_INVALID, "22003", "%s: value out of range for type %s", p->label, p->type->name);
}

static size_t digits(const char *s, size_t n, size_t i)
{
    while (i < n && is_digit(s[i]))
        i++;
    return i;
}

static int check_int(struct reading *p, struct err *e)
{
    size_t i = p->n && (p->text[0] == '-' || p->text[0] == '+');
    bool negative = i && p->text[0] == '-';
    if (i == p->n || digits(p->text, p->n, i) != p->n)
        return bad_text(p, "22P02", e);
    while (i + 1 < p->n && p->text[i] == '0')
        i++;
    const char *most = negative ? p->type->least : p->type->most;
    size_t len = p->n - i, limit = strlen(most);
    if (len > limit || (len == limit && memcmp(p->text + i, most, len) > 0))
        return out_of_range(p, e);
    return 0;
}

struct parsed_number {
    size_t whole, fraction;
    bool exponent;
}; /* significant digits before and after the point */

static bool read_number(const char *s, size_t n, struct parsed_number *ret)
{
    size_t i = n && (s[0] == '-' || s[0] == '+'), start = i;
    i = digits(s, n, i);
    size_t whole = i - start, fraction = 0, zeros = 0;
    while (zeros < whole && s[start + zeros] == '0')
        zeros++;
    if (i < n && s[i] == '.') {
        size_t from = ++i;
        i = digits(s, n, i);
        fraction = i - from;
    }
    if (!whole && !fraction)
        return false;
    ret->whole = whole - zeros;
    ret->fraction = fraction;
    ret->exponent = i < n && (s[i] == 'e' || s[i] == 'E');
    if (ret->exponent) {
        i++;
        i += i < n && (s[i] == '-' || s[i] == '+');
        size_t from = i;
        i = digits(s, n, i);
        if (i == from)
            return false;
    }
    return i == n;
}

static bool is_word(const char *s, size_t n, const char *word)
{
    return strlen(word) == n && strncasecmp(s, word, n) == 0;
}

/* The engine's cast makes an infinity of what is too large, and 0 of what is too small. */
static bool fits_float(const struct reading *p)
{
    size_t i = 0;
    bool zero = true;
    for (; i < p->n && (p->text[i] | 0x20) != 'e'; i++)
        zero = zero && (p->text[i] < '1' || p->text[i] > '9');
    char *end; /* texts of JSON end with a NUL byte */
    double v = strcmp(p->type->engine, "FLOAT") == 0 ? (double)strtof(p->text, &end) : strtod(p->text, &end);
    return isfinite(v) && (v != 0 || zero);
}

static int check_float(struct reading *p, struct err *e)
{
    struct parsed_number num;
    const char *s = p->text;
    size_t n = p->n;
    if (read_number(s, n, &num))
        return fits_float(p) ? 0 : out_of_range(p, e);
    if (n && (*s == '-' || *s == '+'))
        s++, n--;
    return is_word(s, n, "nan") || is_word(s, n, "infinity") || is_word(s, n, "inf")
               ? 0
               : bad_text(p, "22P02", e);
}

#define NUMERIC_EXPONENT_MAX 100

/* "-1.5e3" as "-1500": a decimal stays one. Nothing changes when it would have far too many digits. */
static int write_out(struct reading *p, struct err *e)
{
    const char *mark = memchr(p->text, 'e', p->n);
    mark = mark ? mark : memchr(p->text, 'E', p->n);
    char word[16] = "";
    size_t length = p->n - (size_t)(mark + 1 - p->text), digits = 0, whole = 0;
    if (length >= sizeof word)
        return out_of_range(p, e);
    memcpy(word, mark + 1, length);
    long exponent = strtol(word, NULL, 10);
    if (exponent > NUMERIC_EXPONENT_MAX || exponent < -NUMERIC_EXPONENT_MAX)
        return out_of_range(p, e);
    size_t size = p->n + 2 * NUMERIC_EXPONENT_MAX + 8, room = NUMERIC_EXPONENT_MAX + 2;
    char *out = arena_alloc(p->a, size), *start = out ? out + room : NULL;
    if (!out)
        return err_no_memory(e);
    memset(out, '0', size);
    bool point = false;
    for (const char *c = p->text; c < mark; c++) {
        point |= *c == '.';
        if (is_digit(*c)) {
            start[digits++] = *c;
            whole += !point;
        }
    }
    long at = (long)whole + exponent; /* of the point, counted from start */
    char *from = at < 1 ? start + at - 1 : start;
    char *end = start + ((long)digits > at ? (long)digits : at);
    if (p->text[0] == '-')
        *--from = '-';
    if (end > start + at) {
        memmove(start + at + 1, start + at, (size_t)(end - (start + at)));
        start[at] = '.';
        end++;
    }
    p->text = from;
    p->n = (size_t)(end - from);
    return 0;
}

/* Does rounding to `scale` digits carry into a digit before all others ("99.96" with one digit)? */
static bool rounds_over(const char *s, size_t n, int64_t scale)
{
    const char *point = memchr(s, '.', n);
    size_t i = (*s == '-' || *s == '+'), end = point ? (size_t)(point - s) + 1 + (size_t)scale : n;
    if (!point || end >= n || s[end] < '5')
        return false;
    while (i < end && s[i] == '0')
        i++;
    for (; i < end; i++)
        if (s[i] != '9' && s[i] != '.')
            return false;
    return true;
}

/* Precision and scale follow the value unless the request gives them, so that no digit is lost. */
static int check_numeric(struct reading *p, const char **engine, bool is_null, struct err *e)
{
    struct parsed_number num = {0, 0, false};
    if (!is_null && !read_number(p->text, p->n, &num))
        return bad_text(p, "22P02", e);
    if (num.exponent) {
        int r = write_out(p, e);
        if (r)
            return r;
        (void)read_number(p->text, p->n, &num);
    }
    int64_t precision = p->args[0], scale = p->args[1] < 0 ? 0 : p->args[1];
    if (precision >= 0) {
        if (precision < 1 || precision > 38 || scale > precision)
            return err_set(e, ERR_INVALID, "22023",
                           "%s: precision must be 1 to 38 and scale 0 to the precision", p->label);
        if ((int64_t)num.whole > precision - scale ||
            (!is_null && (int64_t)num.whole == precision - scale && rounds_over(p->text, p->n, scale)))
            return out_of_range(p, e);
    } else {
        if (num.whole + num.fraction > 38)
            return out_of_range(p, e);
        scale = is_null ? 0 : (int64_t)num.fraction;
        precision = is_null ? 38 : (int64_t)(num.whole + num.fraction);
        if (precision < 1)
            precision = 1;
    }
    *engine = arena_printf(p->a, "DECIMAL(%d,%d)", (int)precision, (int)scale);
    return *engine ? 0 : err_no_memory(e);
}

/* Reads 1 to `most` digits as a number. */
static bool take(const char *s, size_t n, size_t *at, size_t most, int *ret)
{
    size_t end = digits(s, n, *at);
    if (end == *at || end - *at > most)
        return false;
    int v = 0;
    for (size_t i = *at; i < end; i++)
        v = v * 10 + (s[i] - '0');
    *at = end;
    *ret = v;
    return true;
}

static bool take_date(const char *s, size_t n, size_t *at)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int y, m, d;
    if (!take(s, n, at, 6, &y) || *at >= n || s[*at] != '-' || (++*at, !take(s, n, at, 2, &m)) || *at >= n ||
        s[*at] != '-' || (++*at, !take(s, n, at, 2, &d)))
        return false;
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return m >= 1 && m <= 12 && d >= 1 && d <= days[m - 1] && !(m == 2 && d == 29 && !leap);
}

static bool take_time(const char *s, size_t n, size_t *at)
{
    int h, m, sec = 0;
    if (!take(s, n, at, 2, &h) || *at >= n || s[*at] != ':' || (++*at, !take(s, n, at, 2, &m)))
        return false;
    if (*at < n && s[*at] == ':') {
        ++*at;
        if (!take(s, n, at, 2, &sec))
            return false;
        if (*at < n && s[*at] == '.') {
            size_t from = ++*at;
            *at = digits(s, n, from);
            if (*at == from || *at - from > 9)
                return false;
        }
    }
    return h <= 24 && m <= 59 && sec <= 60 && !(h == 24 && (m || sec));
}

/* Z, +hh, +hhmm, +hh:mm, a zone's name. Judged by the engine; here only its letters. */
static bool take_zone(const char *s, size_t n, size_t *at)
{
    while (*at < n && s[*at] == ' ')
        ++*at;
    for (size_t i = *at; i < n; i++) {
        char c = s[i];
        if (!(is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' || c == '-' ||
              c == ':' || c == '/' || c == '_'))
            return false;
    }
    *at = n;
    return true;
}

/* What ISO 8601 allows and the engine's cast does not know: "t" and "z", and a zone behind hours and minutes
 * (`short_time`: the place behind them, 0 none). */
static int spelled_out(struct reading *p, size_t short_time)
{
    char *t = memchr(p->text, 't', p->n);
    size_t at = t && is_digit(t[-1]) ? (size_t)(t - p->text) : 0;
    bool z = p->text[p->n - 1] == 'z' && is_digit(p->text[p->n - 2]);
    if (!at && !z && !short_time)
        return 0;
    char *text = arena_printf(p->a, "%.*s%s%.*s", (int)(short_time ? short_time : p->n), p->text,
                              short_time ? ":00" : "", (int)(short_time ? p->n - short_time : 0),
                              p->text + short_time);
    if (!text)
        return ERR_NOMEM;
    p->n = strlen(text);
    if (at)
        text[at] = 'T';
    if (z)
        text[p->n - 1] = 'Z';
    p->text = text;
    return 0;
}

static int check_moment(struct reading *p, struct err *e)
{
    const char *s = p->text;
    size_t at = 0, n = p->n, short_time = 0;
    bool date = p->type->family != F_TIME, zone = p->type->family == F_TIMESTAMPTZ;
    if (date && (is_word(s, n, "infinity") || is_word(s, n, "-infinity") || is_word(s, n, "epoch")))
        return 0;
    bool ok = date ? take_date(s, n, &at) : take_time(s, n, &at);
    if (ok && at < n && (p->type->family == F_TIMESTAMP || zone)) {
        ok = s[at] == 'T' || s[at] == 't' || s[at] == ' ';
        size_t from = ++at;
        ok = ok && take_time(s, n, &at);
        if (ok && at < n && memchr(s + from, ':', at - from) == memrchr(s + from, ':', at - from))
            short_time = at;
        if (ok && at < n) /* a timestamp may carry a zone too; it is dropped, as the engine's cast does */
            ok = take_zone(s, n, &at);
    }
    if (!ok || at != n)
        return bad_text(p, "22007", e);
    return spelled_out(p, short_time) ? err_no_memory(e) : 0;
}

static int check_bytea(struct reading *p, struct err *e)
{
    if (p->n < 2 || p->text[0] != '\\' || (p->text[1] | 0x20) != 'x' || p->n % 2)
        return bad_text(p, "22P02", e);
    for (size_t i = 2; i < p->n; i++)
        if (!is_digit(p->text[i]) && ((p->text[i] | 0x20) < 'a' || (p->text[i] | 0x20) > 'f'))
            return bad_text(p, "22P02", e);
    p->text += 2; /* the engine takes bare hexadecimal */
    p->n -= 2;
    return 0;
}

/* A duration as this dialect shows it, or the engine's own words, which it judges itself. */
static int check_interval(struct reading *p, struct err *e)
{
    if (!data360__is_duration(p->text, p->n))
        return p->n ? 0 : bad_text(p, "22007", e);
    const char *words = data360__duration_words(p->a, p->text, p->n);
    if (!words)
        return bad_text(p, "22007", e);
    p->text = words;
    p->n = strlen(words);
    return 0;
}

static int check_text(struct reading *p, const char **engine, bool is_null, struct err *e)
{
    *engine = p->type->engine;
    if (p->type->family == F_NUMERIC)
        return check_numeric(p, engine, is_null, e);
    if (is_null)
        return 0;
    switch (p->type->family) {
    case F_BOOL: {
        static const char *const words[] = {"true", "false", "t",  "f",   "yes", "no",
                                            "y",    "n",     "on", "off", "1",   "0"};
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (is_word(p->text, p->n, words[i])) {
                p->text = i % 2 ? "false" : "true";
                p->n = strlen(p->text);
                return 0;
            }
        return bad_text(p, "22P02", e);
    }
    case F_INT:
        return check_int(p, e);
    case F_FLOAT:
        return check_float(p, e);
    case F_TEXT:
        if (p->args[0] >= 0 && utf8_length(p->text, p->n) > (size_t)p->args[0])
            return err_set(e, ERR_INVALID, "22001", "%s: value too long for type %s(%lld)", p->label,
                           p->type->name, (long long)p->args[0]);
        return 0;
    case F_DATE:
    case F_TIME:
    case F_TIMESTAMP:
    case F_TIMESTAMPTZ:
        return check_moment(p, e);
    case F_BYTEA:
        return check_bytea(p, e);
    case F_JSON: {
        struct json_doc *doc = NULL;
        if (json_parse(p->text, p->n, &doc, NULL))
            return bad_text(p, "22P02", e);
        json_doc_free(doc);
        return 0;
    }
    default:
        return check_interval(p, e);
    }
}

/* "varchar", "numeric(10, 2)". */
static int read_type(struct reading *p, const char *text, size_t n, struct err *e)
{
    size_t len = 0;
    while (len < n && text[len] != '(')
        len++;
    size_t name = len;
    while (name && text[name - 1] == ' ')
        name--;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (is_word(text, name, types[i].name))
            p->type = &types[i];
    bool ok = p->type != NULL;
    if (ok && len < n) {
        size_t at = len + 1;
        for (int k = 0; ok && k < 2; k++) {
            int v;
            while (at < n && text[at] == ' ')
                at++;
            ok = take(text, n, &at, 8, &v);
            p->args[k] = ok ? v : -1;
            while (at < n && text[at] == ' ')
                at++;
            if (at < n && text[at] == ',' && k == 0)
                at++;
            else
                break;
        }
        ok = ok && at + 1 == n && text[at] == ')';
    }
    if (ok)
        return 0;
    return err_set(e, ERR_INVALID, "42704", "%s: unknown type \"%.*s\"", p->label,
                   n > 64 ? (int)utf8_cut(text, n, 64) : (int)n, text);
}

static int read_value(struct reading *p, json_value v, bool *ret_null, struct err *e)
{
    enum json_kind k = json_kind(v);
    *ret_null = k == JSON_NULL;
    bool truth;
    switch (k) {
    case JSON_NULL:
        p->text = "";
        p->n = 0;
        return 0;
    case JSON_STRING:
        p->text = json_string(v, &p->n);
        return 0;
    case JSON_BOOL:
        json_boolean(v, &truth);
        p->text = truth ? "true" : "false";
        p->n = strlen(p->text);
        return 0;
    case JSON_INT:
    case JSON_REAL: {
        char *text = arena_alloc(p->a, 512);
        if (!text)
            return err_no_memory(e);
        int len = json_number_text(v, text, 512);
        if (len < 0)
            return err_set(e, ERR_INVALID, "22003", "%s: the number is too long", p->label);
        p->text = text;
        p->n = (size_t)len;
        double whole;
        if (k == JSON_REAL && p->type->family == F_INT && json_real(v, &whole) && whole == trunc(whole) &&
            fabs(whole) < 9e15) /* 5.0 and 1e3 are integers to those who write all numbers so */
            p->n = (size_t)snprintf(text, 512, "%.0f", whole);
        return 0;
    }
    case JSON_ABSENT:
        return err_set(e, ERR_INVALID, "22023", "%s: value is missing", p->label);
    default:
        return err_set(e, ERR_INVALID, "22023", "%s: value must be a string, a number, a boolean or null",
                       p->label);
    }
}

int data360__scalar(struct arena *a, json_value item, const char *type, size_t n, json_value value,
                    const char *label, struct wire_param *ret, struct err *e)
{
    struct reading p = {.a = a, .label = label, .args = {-1, -1}};
    int r = read_type(&p, type, n, e);
    if (r)
        return r;
    static const char *const keys[2][2] = {{"length", "precision"}, {NULL, "scale"}};
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++) {
            json_value arg = keys[i][k] ? json_get(item, keys[i][k]) : NULL;
            int64_t v;
            if (json_kind(arg) == JSON_ABSENT || json_kind(arg) == JSON_NULL)
                continue;
            if (!json_int(arg, &v) || v < 0 || v > INT32_MAX)
                return err_set(e, ERR_INVALID, "22023", "%s: %s must be an integer from 0", label,
                               keys[i][k]);
            if ((p.type->family == F_NUMERIC) == (k == 1))
                p.args[i] = v;
        }
    bool is_null = false;
    const char *engine = "";
    r = read_value(&p, value, &is_null, e);
    if (!r)
        r = check_text(&p, &engine, is_null, e);
    if (r)
        return r;
    *ret = (struct wire_param){
        .name = "", .type = engine, .is_null = is_null, .value = p.text, .value_len = (uint32_t)p.n};
    return 0;
}

/*
 * jackdb_body: arguments of JackDB requests (specs/jackdb.md sections 2 and 5): a form, as its own pages send
 * it, or one JSON object with the same names.
 *
 * Unknown arguments are ignored; an argument that is empty or null counts as absent; one that is given twice,
 * also under two of its names, is refused by name. No message repeats a value. Pure; any thread; hostile bytes
 * allowed, fuzzed.
 */
#include "dialects/jackdb_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/config.h"
#include "base/hex.h"
#include "base/utf8.h"
#include "dialects/sql_scan.h"

#define FIELDS_MAX 1000
#define PARAMS_MAX 1000

/* ---- forms ---- */

char *jackdb__decode(struct arena *a, const char *p, size_t n, size_t *ret_len)
{
    char *out = arena_alloc(a, n + 1);
    size_t len = 0;
    for (size_t i = 0; out && i < n; i++) {
        char c = p[i] == '+' ? ' ' : p[i];
        if (c == '%') {
            int high = i + 2 < n ? hex_digit(p[i + 1]) : -1, low = i + 2 < n ? hex_digit(p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return NULL;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (!c)
            return NULL;
        out[len++] = c;
    }
    if (!out || !utf8_valid(out, len))
        return NULL;
    out[len] = 0;
    *ret_len = len;
    return out;
}

static int read_form(struct arena *a, const char *body, size_t n, struct jackdb_args *x, struct err *e)
{
    uint32_t most = 1;
    for (size_t i = 0; i < n; i++)
        most += body[i] == '&';
    if (most > FIELDS_MAX)
        return err_set(e, ERR_INVALID, "22023", "the form has more than %d arguments", FIELDS_MAX);
    x->fields = arena_alloc(a, most * sizeof *x->fields);
    if (!x->fields)
        return err_no_memory(e);
    for (size_t from = 0; from < n;) {
        const char *p = body + from, *end = memchr(p, '&', n - from);
        size_t len = end ? (size_t)(end - p) : n - from, skip;
        from += len + 1;
        if (!len)
            continue;
        const char *eq = memchr(p, '=', len);
        size_t name = eq ? (size_t)(eq - p) : len;
        struct jackdb_field *f = &x->fields[x->nfields];
        f->name = jackdb__decode(a, p, name, &skip);
        f->value = jackdb__decode(a, eq ? eq + 1 : "", eq ? len - name - 1 : 0, &f->value_len);
        if (!f->name || !f->value)
            return err_set(e, ERR_INVALID, "22023",
                           "argument %u of the form is not percent-encoded UTF-8 text without NUL",
                           x->nfields + 1);
        x->nfields++;
    }
    return 0;
}

int jackdb__read_args(struct arena *a, const char *content_type, const char *body, size_t n,
                      struct jackdb_args *ret, struct err *e)
{
    struct jackdb_args x = {0};
    size_t at = 0;
    while (at < n && strchr(" \t\r\n", body[at]) && body[at])
        at++;
    bool json = (content_type && strncasecmp(content_type, "application/json", 16) == 0) ||
                (at < n && body[at] == '{');
    if (!json && content_type && strncasecmp(content_type, "multipart/", 10) == 0)
        return err_set(
            e, ERR_INVALID, "22023",
            "the body must be a form (application/x-www-form-urlencoded) or a JSON object, not multipart");
    int r = json ? body_object(a, body, n, NULL, &x.object, e) : read_form(a, body, n, &x, e);
    if (!r)
        *ret = x;
    return r;
}

/* ---- one argument ---- */

struct arg {
    const char *name;
    json_value value; /* JSON */
    const char *text; /* a form, or a JSON string; NULL when absent */
    size_t len;
};

static int find(const struct jackdb_args *x, const char *const *names, struct arg *ret, struct err *e)
{
    struct arg found = {.name = names[0]};
    unsigned times = 0;
    for (; *names; names++) {
        json_value v = x->object ? json_get(x->object, *names) : NULL;
        enum json_kind k = json_kind(v);
        if (k != JSON_ABSENT && k != JSON_NULL && times++ == 0) {
            found.name = *names;
            found.value = v;
            found.text = json_string(v, &found.len);
        }
        for (uint32_t i = 0; i < x->nfields; i++)
            if (strcmp(x->fields[i].name, *names) == 0 && x->fields[i].value_len && times++ == 0) {
                found.name = *names;
                found.text = x->fields[i].value;
                found.len = x->fields[i].value_len;
            }
    }
    if (times > 1)
        return err_set(e, ERR_INVALID, "22023", "%s is given more than once", found.name);
    if (found.text && !found.len) { /* as if it were not there */
        found.text = NULL;
        found.value = NULL;
    }
    *ret = found;
    return 0;
}

int jackdb__text(const struct jackdb_args *x, const char *const *names, const char **ret, size_t *ret_len,
                 struct err *e)
{
    struct arg a;
    int r = find(x, names, &a, e);
    if (!r && a.value && !a.text)
        r = err_set(e, ERR_INVALID, "22023", "%s must be a string, not %s", a.name,
                    json_kind_name(json_kind(a.value)));
    if (r)
        return r;
    *ret = a.text;
    if (ret_len)
        *ret_len = a.len;
    return 0;
}

static int read_integer(const struct jackdb_args *x, const char *const *names, int64_t least, int64_t most,
                        int64_t *inout, struct err *e)
{
    struct arg a;
    int r = find(x, names, &a, e);
    if (r || (!a.text && !a.value))
        return r;
    int64_t v = 0;
    bool ok = false;
    if (a.text) {
        errno = 0;
        ok = strspn(a.text, "0123456789") == a.len;
        v = ok ? strtoll(a.text, NULL, 10) : 0;
        ok = ok && !errno;
    } else {
        ok = json_int(a.value, &v);
    }
    if (ok && v >= least && v <= most) {
        *inout = v;
        return 0;
    }
    if (most == INT64_MAX)
        return err_set(e, ERR_INVALID, "22023", "%s must be an integer of at least %lld", a.name,
                       (long long)least);
    return err_set(e, ERR_INVALID, "22023", "%s must be an integer from %lld to %lld", a.name,
                   (long long)least, (long long)most);
}

static int read_boolean(const struct jackdb_args *x, const char *name, bool *inout, struct err *e)
{
    struct arg a;
    int r = find(x, (const char *const[]){name, NULL}, &a, e);
    if (r || (!a.text && !a.value))
        return r;
    if (!a.text && json_boolean(a.value, inout))
        return 0;
    if (a.text && (strcasecmp(a.text, "true") == 0 || strcmp(a.text, "1") == 0))
        *inout = true;
    else if (a.text && (strcasecmp(a.text, "false") == 0 || strcmp(a.text, "0") == 0))
        *inout = false;
    else
        return err_set(e, ERR_INVALID, "22023", "%s must be true or false", name);
    return 0;
}

/* ---- parameters ---- */

/* Type that holds the number's digits exactly where one does. */
static const char *number_type(struct arena *a, json_value v, const char *text)
{
    int64_t whole;
    if (json_int(v, &whole))
        return "BIGINT";
    const char *digits = text[0] == '-' ? text + 1 : text, *point = strchr(digits, '.');
    size_t n = strlen(digits), scale = point ? n - (size_t)(point - digits) - 1 : 0,
           all = n - (point ? 1 : 0);
    if (strpbrk(digits, "eE") || all > 38)
        return "DOUBLE";
    if (!point)
        return "HUGEINT";
    return arena_printf(a, "DECIMAL(%zu,%zu)", all, scale);
}

static int read_param(struct arena *a, json_value v, uint32_t number, struct wire_param *p, struct err *e)
{
    char text[512];
    size_t n = 0;
    const char *s = json_string(v, &n);
    bool yes;
    *p = (struct wire_param){.name = "", .type = "VARCHAR", .value = ""};
    switch (json_kind(v)) {
    case JSON_NULL:
        p->is_null = true;
        return 0;
    case JSON_STRING:
        p->value = s;
        p->value_len = (uint32_t)n;
        return 0;
    case JSON_BOOL:
        p->type = "BOOLEAN";
        p->value = json_boolean(v, &yes) && yes ? "true" : "false";
        break;
    case JSON_INT:
    case JSON_REAL:
        if (json_number_text(v, text, sizeof text) < 0)
            return err_set(e, ERR_INVALID, "22003", "parameters: number %u has too many digits", number);
        p->type = number_type(a, v, text);
        p->value = arena_strdup(a, text);
        break;
    case JSON_ABSENT:
    case JSON_ARRAY:
    case JSON_OBJECT:
        return err_set(e, ERR_INVALID, "22023",
                       "parameters: value %u must be a string, a number, a boolean or null, not %s", number,
                       json_kind_name(json_kind(v)));
    }
    if (!p->type || !p->value)
        return err_no_memory(e);
    p->value_len = (uint32_t)strlen(p->value);
    return 0;
}

/* More than one statement: something other than blanks, comments and semicolons behind a semicolon. */
static bool several(const char *sql, size_t n)
{
    struct sql_scan s;
    bool ended = false;
    sql_scan_init(&s, sql, n);
    for (struct sql_piece t = sql_scan_next(&s); t.token != SQL_END; t = sql_scan_next(&s)) {
        if (ended && t.token != SQL_SEMICOLON)
            return true;
        ended |= t.token == SQL_SEMICOLON;
    }
    return false;
}

static int read_params(struct arena *a, const struct jackdb_args *x, struct jackdb_execute *in, struct err *e)
{
    struct arg found;
    int r = find(x, (const char *const[]){"parameters", NULL}, &found, e);
    if (r || (!found.text && !found.value))
        return r;
    if (!x->object)
        return err_set(e, ERR_INVALID, "22023", "parameters can be sent in a JSON body only");
    if (json_kind(found.value) != JSON_ARRAY)
        return err_set(e, ERR_INVALID, "22023", "parameters must be an array, not %s",
                       json_kind_name(json_kind(found.value)));
    size_t n = json_size(found.value);
    if (n > PARAMS_MAX)
        return err_set(e, ERR_INVALID, "54000", "parameters must have at most %d values", PARAMS_MAX);
    if (n && several(in->command, in->command_len))
        return err_set(e, ERR_INVALID, "42601", "parameters are possible with a single statement only");
    in->params = arena_alloc(a, (n + 1) * sizeof *in->params);
    if (!in->params)
        return err_no_memory(e);
    for (size_t i = 0; i < n && !r; i++)
        r = read_param(a, json_at(found.value, i), (uint32_t)i + 1, &in->params[i], e);
    in->nparams = (uint32_t)n;
    return r;
}

/* ---- execute ---- */

static bool is_blank(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ' && (s[i] < '\t' || s[i] > '\r'))
            return false;
    return true;
}

static int read_command(const struct jackdb_args *x, struct jackdb_execute *in, struct err *e)
{
    static const char *const names[] = {"command", "sql", "query", "statement", NULL};
    int r = jackdb__text(x, names, &in->command, &in->command_len, e);
    if (r)
        return r;
    if (!in->command)
        return err_set(e, ERR_INVALID, "22023", "command is required");
    if (is_blank(in->command, in->command_len))
        return err_set(e, ERR_INVALID, "22023", "command must not be blank");
    if (in->command_len > (size_t)config.jackdb_max_command)
        return err_set(e, ERR_INVALID, "54000", "command is longer than %lld bytes (jackdb.max_command)",
                       (long long)config.jackdb_max_command);
    return 0;
}

int jackdb__read_execute(struct arena *a, const char *content_type, const char *body, size_t n,
                         struct jackdb_execute *ret, struct err *e)
{
    static const char *const retention[] = {"retention", "retentionPeriod", NULL};
    struct jackdb_execute in = {
        .retention = 86400, .timeout = 1800, .max_rows = -1, .autocommit = true, .stop_on_error = true};
    struct jackdb_args x;
    int r = jackdb__read_args(a, content_type, body ? body : "", n, &x, e);
    if (!r)
        r = read_command(&x, &in, e);
    if (!r)
        r = read_integer(&x, retention, 0, 2592000, &in.retention, e);
    if (!r)
        r = read_integer(&x, (const char *const[]){"timeout", NULL}, 0, 86400, &in.timeout, e);
    if (!r)
        r = read_integer(&x, (const char *const[]){"wait", NULL}, 0, JACKDB_WAIT, &in.wait, e);
    if (!r)
        r = read_integer(&x, (const char *const[]){"maxRows", NULL}, 1, INT64_MAX, &in.max_rows, e);
    if (!r)
        r = read_boolean(&x, "autocommit", &in.autocommit, e);
    if (!r)
        r = read_boolean(&x, "stopOnError", &in.stop_on_error, e);
    if (!r)
        r = read_params(a, &x, &in, e);
    if (!r)
        *ret = in;
    return r;
}

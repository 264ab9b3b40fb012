/*
 * data360_array: typed parameters of a Data 360 submit, arrays among them.
 *
 * The source page has no arrays among its parameters. An array is asked for as its column is described in
 * metadata, {"type":"array","innerElement":{"type":"integer"}}, or in SQL's words, "integer[]". Its value is a
 * JSON array of what a single value of that type may be; or a string with such an array, or with PostgreSQL's
 * text of one, {1,NULL,"a b"}. One dimension. On the wire to the engine the type is "INTEGER[]" and the value
 * a JSON array of strings and nulls. Pure; any thread; hostile bytes allowed, fuzzed.
 */
#include "dialects/data360_int.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json_write.h"

#define ARRAY_TEXT_MAX ((size_t)128 << 20) /* a request's body at most, with every byte escaped */

struct array {
    struct arena *a;
    const char *label;
    json_value holder; /* of length, precision and scale */
    const char *type;  /* of an element */
    size_t type_n;
    struct buf text;     /* the value on the wire */
    const char *engine;  /* the type of an element */
    int whole, fraction; /* of numeric elements whose precision is not given: digits of the longest */
    uint64_t count;
};

/* The elements of a numeric array have one type: wide enough for each. */
static int widen(struct array *x, const char *engine, struct err *e)
{
    int precision, scale;
    if (sscanf(engine, "DECIMAL(%d,%d)", &precision, &scale) != 2) {
        x->engine = engine;
        return 0;
    }
    x->whole = precision - scale > x->whole ? precision - scale : x->whole;
    x->fraction = scale > x->fraction ? scale : x->fraction;
    if (x->whole + x->fraction > 38)
        return err_set(e, ERR_INVALID, "22003", "%s: its elements together have more than 38 digits",
                       x->label);
    x->engine = arena_printf(x->a, "DECIMAL(%d,%d)", x->whole + x->fraction, x->fraction);
    return x->engine ? 0 : err_no_memory(e);
}

static int element(struct array *x, json_value v, struct err *e)
{
    struct wire_param one;
    char label[160];
    snprintf(label, sizeof label, "%.100s, element %llu", x->label, (unsigned long long)++x->count);
    int r = data360__scalar(x->a, x->holder, x->type, x->type_n, v, label, &one, e);
    if (r)
        return r;
    r = one.is_null ? 0 : widen(x, one.type, e);
    if (r)
        return r;
    if (x->count > 1)
        (void)buf_char(&x->text, ',');
    if (one.is_null)
        return buf_str_add(&x->text, "null") ? err_no_memory(e) : 0;
    if (buf_char(&x->text, '"') || json_escape(&x->text, one.value, one.value_len) || buf_char(&x->text, '"'))
        return err_no_memory(e);
    return 0;
}

static int json_elements(struct array *x, json_value v, struct err *e)
{
    int r = 0;
    size_t n = json_size(v);
    for (size_t i = 0; !r && i < n; i++)
        r = element(x, json_at(v, i), e);
    return r;
}

/* PostgreSQL's text of an array as JSON; false when it is none, or has several dimensions. */
static bool braces_to_json(const char *s, size_t n, struct buf *out)
{
    size_t i = 1;
    bool ok = n >= 2 && s[n - 1] == '}' && !buf_char(out, '[');
    n--;
    while (i < n && s[i] == ' ')
        i++;
    for (bool first = true; ok && (i < n || !first); first = false) {
        if (!first)
            ok = !buf_char(out, ',');
        while (i < n && s[i] == ' ')
            i++;
        bool quoted = i < n && s[i] == '"';
        CLEANUP_BUF struct buf word = BUF_INIT(n + 16);
        i += quoted;
        for (; ok && i < n && (quoted ? s[i] != '"' : s[i] != ','); i++) {
            if (!quoted && (s[i] == '{' || s[i] == '}' || s[i] == '"'))
                return false;
            if (s[i] == '\\' && ++i == n)
                return false;
            ok = !buf_char(&word, s[i]);
        }
        if (quoted && (i >= n || s[i++] != '"'))
            return false;
        while (quoted && i < n && s[i] == ' ')
            i++;
        while (!quoted && word.len && word.p[word.len - 1] == ' ')
            word.len--;
        if (!quoted && !word.len)
            return false;
        bool null = !quoted && word.len == 4 && strncasecmp(word.p, "null", 4) == 0;
        ok = ok && (null ? !buf_str_add(out, "null")
                         : !buf_char(out, '"') && !json_escape(out, word.p ? word.p : "", word.len) &&
                               !buf_char(out, '"'));
        if (i >= n)
            break;
        if (s[i++] != ',')
            return false;
    }
    return ok && !buf_char(out, ']');
}

static int text_elements(struct array *x, const char *s, size_t n, struct err *e)
{
    CLEANUP_BUF struct buf made = BUF_INIT(n * 6 + 64);
    if (n && s[0] == '{') {
        if (!braces_to_json(s, n, &made))
            return err_set(e, ERR_INVALID, "22P02", "%s: malformed array", x->label);
        s = made.p;
        n = made.len;
    }
    CLEANUP_JSON struct json_doc *doc = NULL;
    if (!n || s[0] != '[' || json_parse(s, n, &doc, NULL) || json_kind(json_root(doc)) != JSON_ARRAY)
        return err_set(e, ERR_INVALID, "22P02", "%s: malformed array", x->label);
    return json_elements(x, json_root(doc), e);
}

/* The type of an element when no element tells it; an unknown one is an error also then. */
static int element_type(struct array *x, struct err *e)
{
    struct wire_param one;
    CLEANUP_JSON struct json_doc *doc = NULL;
    if (json_parse("[null]", 6, &doc, NULL))
        return err_no_memory(e);
    int r =
        data360__scalar(x->a, x->holder, x->type, x->type_n, json_at(json_root(doc), 0), x->label, &one, e);
    if (!r && !x->engine)
        x->engine = one.type;
    return r;
}

static int typed_array(struct array *x, json_value value, struct wire_param *ret, struct err *e)
{
    enum json_kind k = json_kind(value);
    size_t n = 0;
    if (k == JSON_ABSENT)
        return err_set(e, ERR_INVALID, "22023", "%s: value is missing", x->label);
    if (k != JSON_NULL && k != JSON_ARRAY && k != JSON_STRING)
        return err_set(e, ERR_INVALID, "22023", "%s: value must be an array, a string or null, not %s",
                       x->label, json_kind_name(k));
    int r = buf_char(&x->text, '[') ? err_no_memory(e) : 0;
    if (!r && k == JSON_ARRAY)
        r = json_elements(x, value, e);
    if (!r && k == JSON_STRING) {
        const char *s = json_string(value, &n);
        r = text_elements(x, s, n, e);
    }
    if (!r)
        r = element_type(x, e);
    if (r)
        return r;
    const char *engine = arena_printf(x->a, "%s[]", x->engine);
    const char *text = buf_char(&x->text, ']') ? NULL : arena_strndup(x->a, x->text.p, x->text.len);
    if (!engine || !text)
        return err_no_memory(e);
    bool null = k == JSON_NULL;
    *ret = (struct wire_param){.name = "",
                               .type = engine,
                               .is_null = null,
                               .value = null ? "" : text,
                               .value_len = null ? 0 : (uint32_t)x->text.len};
    return 0;
}

int data360__typed(struct arena *a, json_value item, const char *label, struct wire_param *ret, struct err *e)
{
    size_t n = 0;
    const char *type = json_string(json_get(item, "type"), &n);
    if (!type || !n)
        return err_set(e, ERR_INVALID, "22023", "%s: type is missing", label);
    json_value value = json_get(item, "value"), holder = item;
    bool brackets = n > 2 && memcmp(type + n - 2, "[]", 2) == 0;
    if (brackets) {
        n -= 2;
    } else if (n == 5 && strncasecmp(type, "array", 5) == 0) {
        holder = json_get(item, "innerElement");
        type = json_string(json_get(holder, "type"), &n);
        if (!type || !n)
            return err_set(e, ERR_INVALID, "22023",
                           "%s: innerElement with the type of its elements is missing", label);
    } else {
        return data360__scalar(a, item, type, n, value, label, ret, e);
    }
    struct array x = {.a = a,
                      .label = label,
                      .holder = holder,
                      .type = type,
                      .type_n = n,
                      .text = BUF_INIT(ARRAY_TEXT_MAX)};
    int r = typed_array(&x, value, ret, e);
    buf_free(&x.text);
    return r;
}

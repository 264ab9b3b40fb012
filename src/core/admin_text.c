/*
 * admin_text: an administrator's answer, which is JSON, as text for a terminal. Pure; any thread.
 *
 * Names were checked when they were made, so that no control character can reach the terminal through them.
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/json_read.h"
#include "base/utf8.h"
#include "core/admin_int.h"

#define COLUMNS_MAX 16u

/* Text of a plain value in `tmp` or in the document. */
static const char *plain(json_value v, char tmp[64])
{
    bool b;
    size_t n;
    const char *s = json_string(v, &n);
    if (s)
        return s;
    if (json_boolean(v, &b))
        return b ? "yes" : "no";
    if (json_kind(v) == JSON_NULL)
        return "-";
    return json_number_text(v, tmp, 64) > 0 ? tmp : "";
}

static void pad(struct buf *out, size_t n)
{
    while (n-- > 0)
        buf_char(out, ' ');
}

static size_t width(const char *s)
{
    return utf8_length(s, strlen(s));
}

static void object(json_value v, size_t indent, struct buf *out)
{
    size_t widest = 0;
    char tmp[64];
    for (size_t i = 0; i < json_size(v); i++) {
        const char *key;
        json_member(v, i, &key);
        if (width(key) > widest)
            widest = width(key);
    }
    for (size_t i = 0; i < json_size(v); i++) {
        const char *key;
        json_value m = json_member(v, i, &key);
        pad(out, indent);
        buf_str_add(out, key);
        if (json_kind(m) == JSON_OBJECT) {
            buf_char(out, '\n');
            object(m, indent + 2, out);
            continue;
        }
        pad(out, widest - width(key) + 2);
        buf_str_add(out, plain(m, tmp));
        buf_char(out, '\n');
    }
}

static void row(json_value v, const size_t *widest, size_t n, bool head, struct buf *out)
{
    char tmp[64];
    for (size_t i = 0; i < n; i++) {
        const char *key, *text;
        json_value m = json_member(v, i, &key);
        text = head ? key : plain(m, tmp);
        buf_str_add(out, text);
        if (i + 1 < n)
            pad(out, widest[i] - width(text) + 2);
    }
    buf_char(out, '\n');
}

/* All objects of such a list have the same members. */
static void table(json_value v, struct buf *out)
{
    json_value first = json_at(v, 0);
    size_t n = json_size(first) < COLUMNS_MAX ? json_size(first) : COLUMNS_MAX;
    size_t widest[COLUMNS_MAX] = {0};
    char tmp[64];
    if (n == 0) {
        buf_str_add(out, "(none)\n");
        return;
    }
    for (size_t r = 0; r < json_size(v); r++) {
        for (size_t i = 0; i < n; i++) {
            const char *key;
            json_value m = json_member(json_at(v, r), i, &key);
            size_t w = width(plain(m, tmp));
            if (w > widest[i])
                widest[i] = w;
            if (width(key) > widest[i])
                widest[i] = width(key);
        }
    }
    row(first, widest, n, true, out);
    for (size_t r = 0; r < json_size(v); r++)
        row(json_at(v, r), widest, n, false, out);
}

int admin__text(const struct buf *json, struct buf *out, struct err *e)
{
    CLEANUP_JSON struct json_doc *d = NULL;
    int rc = json_parse(json->p, json->len, &d, e);
    if (rc)
        return rc;
    if (json_kind(json_root(d)) == JSON_ARRAY)
        table(json_root(d), out);
    else
        object(json_root(d), 0, out);
    return 0;
}

/*
 * json_read: see json_read.h. One thread per document. The only file that includes jansson.h.
 *
 * jansson parses; on top of it lies an index of nodes, children side by side, so that json_at and json_member
 * are array look-ups and numbers that int64 cannot hold keep their text: no digit of a decimal is lost. A scan
 * before the parse remembers where they stood; jansson keeps document order, so the k-th real of the tree is
 * the k-th of them. jansson refuses integers beyond int64, so they get a ".0" in a copy. The same scan counts
 * depth and values: both are refused before memory is spent.
 */

/* jansson's enum has constants of our names; its macros that use them are not used here. */
#define JSON_OBJECT JANSSON_OBJECT
#define JSON_ARRAY  JANSSON_ARRAY
#define JSON_STRING JANSSON_STRING
#define JSON_REAL   JANSSON_REAL
#define JSON_NULL   JANSSON_NULL
#include <jansson.h>
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_REAL
#undef JSON_NULL
#undef json_boolean

#include "base/json_read.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/number.h"
#include "base/utf8.h"

struct node {
    json_t *j;
    const char *key;        /* member name, NULL in arrays and at the root */
    const struct node *kid; /* first of json_size(j) children */
    const char *digits;     /* of a number that is no int64, NUL-terminated; else NULL */
};

/* A number of the text that jansson reads as a real. */
struct real {
    size_t begin; /* where it stands in the original text */
    size_t len;
    bool integer; /* beyond int64 */
};

struct json_doc {
    json_t *root;
    struct node *nodes;
    size_t used;
    struct real *reals;
    char *digits; /* texts of all reals, each with a NUL */
    size_t nreals, next_real, next_digit;
};

struct scan {
    size_t depth, values, digits;
    bool bigs;
    struct buf reals; /* struct real, side by side */
};

static bool is_number_char(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* Whether the JSON integer s is outside int64. Anything that is no well-formed integer is left for jansson to
 * judge. */
static bool beyond_int64(const char *s, size_t n)
{
    bool negative = n > 0 && s[0] == '-';
    size_t i = negative;
    if (i == n || (s[i] == '0' && i + 1 < n))
        return false;
    uint64_t v = 0;
    bool over = false;
    for (; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        over |= __builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(s[i] - '0'), &v);
    }
    return over || v > (uint64_t)INT64_MAX + negative;
}

static size_t scan_number(struct scan *sc, const char *text, size_t begin, size_t len)
{
    size_t i = begin;
    bool real = false;
    for (; i < len && is_number_char(text[i]); i++)
        real |= text[i] == '.' || text[i] == 'e' || text[i] == 'E';
    bool big = !real && beyond_int64(text + begin, i - begin);
    if (real || big) {
        struct real one = {begin, i - begin, big};
        sc->bigs |= big;
        sc->digits += i - begin + 1;
        buf_add(&sc->reals, &one, sizeof one);
    }
    return i;
}

static size_t skip_string(const char *text, size_t i, size_t len)
{
    for (i++; i < len && text[i] != '"'; i++)
        if (text[i] == '\\')
            i++;
    return i < len ? i + 1 : len;
}

/* Returns NULL, or what is wrong; *ret_at is where. */
static const char *scan_text(struct scan *sc, const char *text, size_t len, size_t *ret_at)
{
    for (size_t i = 0; i < len;) {
        char c = text[i];
        *ret_at = i;
        if (c == '"') {
            sc->values++;
            i = skip_string(text, i, len);
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            sc->values++;
            i = scan_number(sc, text, i, len);
        } else {
            if (c == '{' || c == '[') {
                sc->values++;
                if (++sc->depth > JSON_READ_DEPTH_MAX)
                    return "nested more than 64 levels deep";
            } else if (c == '}' || c == ']') {
                sc->depth -= sc->depth > 0;
            } else if (c == 't' || c == 'f' || c == 'n') {
                sc->values++;
                while (i + 1 < len && text[i + 1] >= 'a' && text[i + 1] <= 'z')
                    i++;
            }
            i++;
        }
        if (sc->values > 2 * (size_t)JSON_READ_VALUES_MAX) /* keys were counted as well */
            return "more than 1000000 values";
    }
    return NULL;
}

/* The copy in which every big integer is followed by ".0". */
static int rewrite(const struct scan *sc, const char *text, size_t len, struct buf *out)
{
    const struct real *real = (const void *)sc->reals.p;
    size_t n = sc->reals.len / sizeof *real, from = 0;
    for (size_t k = 0; k < n; k++) {
        if (!real[k].integer)
            continue;
        size_t to = real[k].begin + real[k].len;
        buf_add(out, text + from, to - from);
        buf_add(out, ".0", 2);
        from = to;
    }
    return buf_add(out, text + from, len - from);
}

static int refuse(struct err *e, const char *text, size_t len, size_t at, const char *what)
{
    int32_t line = 1, column = 1;
    if (at > len)
        at = len;
    for (size_t i = 0; i < at;) {
        uint32_t cp;
        int k = utf8_next(text + i, at - i, &cp);
        column++;
        if (text[i] == '\n') {
            line++;
            column = 1;
        }
        i += (size_t)(k < 0 ? -k : k);
    }
    int r = err_set(e, ERR_INVALID, "22032", "line %d, column %d: %s", line, column, what);
    if (e) {
        e->line = line;
        e->column = column;
    }
    return r;
}

/* Counts the values of the tree; stops counting above the limit. */
static size_t count(json_t *j)
{
    size_t n = 1;
    if (json_typeof(j) == JANSSON_ARRAY) {
        for (size_t i = 0; i < json_array_size(j) && n <= JSON_READ_VALUES_MAX; i++)
            n += count(json_array_get(j, i));
    } else if (json_typeof(j) == JANSSON_OBJECT) {
        for (void *it = json_object_iter(j); it && n <= JSON_READ_VALUES_MAX;
             it = json_object_iter_next(j, it))
            n += count(json_object_iter_value(it));
    }
    return n;
}

/* Fills *to for j. Children are taken in one block and filled in document order, which keeps the reals in
 * order. */
static void index_value(struct json_doc *d, struct node *to, json_t *j, const char *key)
{
    *to = (struct node){j, key, NULL, NULL};
    if (json_typeof(j) == JANSSON_REAL) {
        if (d->next_real < d->nreals) {
            to->digits = d->digits + d->next_digit;
            d->next_digit += d->reals[d->next_real++].len + 1;
        }
    } else if (json_typeof(j) == JANSSON_ARRAY) {
        size_t n = json_array_size(j);
        struct node *kids = d->nodes + d->used;
        d->used += n;
        to->kid = kids;
        for (size_t i = 0; i < n; i++)
            index_value(d, kids + i, json_array_get(j, i), NULL);
    } else if (json_typeof(j) == JANSSON_OBJECT) {
        struct node *kids = d->nodes + d->used;
        d->used += json_object_size(j);
        to->kid = kids;
        for (void *it = json_object_iter(j); it; it = json_object_iter_next(j, it))
            index_value(d, kids++, json_object_iter_value(it), json_object_iter_key(it));
    }
}

static int take_reals(struct json_doc *d, const struct scan *sc, const char *text)
{
    d->nreals = sc->reals.len / sizeof *d->reals;
    d->reals = calloc(d->nreals + 1, sizeof *d->reals);
    d->digits = calloc(sc->digits + 1, 1);
    if (!d->reals || !d->digits)
        return ERR_NOMEM;
    if (d->nreals > 0)
        memcpy(d->reals, sc->reals.p, sc->reals.len);
    char *to = d->digits;
    for (size_t k = 0; k < d->nreals; k++) {
        memcpy(to, text + d->reals[k].begin, d->reals[k].len);
        to += d->reals[k].len + 1;
    }
    return 0;
}

/* How many ".0" stand before `at` in the rewritten text. */
static size_t inserted_before(const struct json_doc *d, size_t at)
{
    size_t n = 0;
    for (size_t k = 0; k < d->nreals && at >= d->reals[k].begin + d->reals[k].len + 2 * n; k++)
        n += d->reals[k].integer && at >= d->reals[k].begin + d->reals[k].len + 2 * (n + 1);
    return n;
}

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "53200", "out of memory");
}

int json_parse(const char *text, size_t len, struct json_doc **ret_doc, struct err *e)
{
    CLEANUP_BUF struct buf copy = BUF_INIT(SIZE_MAX);
    struct scan sc = {.reals = BUF_INIT(SIZE_MAX)};
    struct json_doc *d = NULL;
    size_t at = 0;
    int r = 0;

    const char *nul = len > 0 ? memchr(text, 0, len) : NULL; /* jansson swallows a NUL after a number */
    const char *wrong = nul ? "NUL byte" : scan_text(&sc, text, len, &at);
    if (nul)
        at = (size_t)(nul - text);
    if (wrong) {
        r = refuse(e, text, len, at, wrong);
        goto out;
    }
    if (buf_failed(&sc.reals) || (sc.bigs && rewrite(&sc, text, len, &copy) < 0)) {
        r = no_memory(e);
        goto out;
    }
    d = calloc(1, sizeof *d);
    if (!d || take_reals(d, &sc, text) < 0) {
        r = no_memory(e);
        goto out;
    }
    json_error_t je;
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    d->root = sc.bigs ? json_loadb(copy.p, copy.len, flags, &je) : json_loadb(text, len, flags, &je);
    if (!d->root) {
        if (json_error_code(&je) == json_error_out_of_memory) {
            r = no_memory(e);
            goto out;
        }
        at = je.position > 0 ? (size_t)je.position : 0;
        at -= 2 * inserted_before(d, at);
        bool null_character = json_error_code(&je) == json_error_null_character;
        r = refuse(e, text, len, at,
                   len == 0         ? "empty document"
                   : null_character ? "\\u0000 is not allowed"
                                    : je.text);
        goto out;
    }
    size_t n = count(d->root);
    if (n > JSON_READ_VALUES_MAX) {
        r = refuse(e, text, len, 0, "more than 1000000 values");
        goto out;
    }
    d->nodes = calloc(n, sizeof *d->nodes);
    if (!d->nodes) {
        r = no_memory(e);
        goto out;
    }
    d->used = 1;
    index_value(d, d->nodes, d->root, NULL);
    *ret_doc = d;
    d = NULL;
out:
    buf_free(&sc.reals);
    json_doc_free(d);
    return r;
}

void json_doc_free(struct json_doc *d)
{
    if (!d)
        return;
    json_decref(d->root);
    free(d->reals);
    free(d->digits);
    free(d->nodes);
    free(d);
}

void json_doc_cleanup(struct json_doc **d)
{
    json_doc_free(*d);
}

json_value json_root(const struct json_doc *d)
{
    return d->nodes;
}

enum json_kind json_kind(json_value v)
{
    const struct node *node = v;
    if (!node)
        return JSON_ABSENT;
    switch (json_typeof(node->j)) {
    case JANSSON_OBJECT:
        return JSON_OBJECT;
    case JANSSON_ARRAY:
        return JSON_ARRAY;
    case JANSSON_STRING:
        return JSON_STRING;
    case JSON_INTEGER:
        return JSON_INT;
    case JANSSON_REAL:
        return JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_BOOL;
    case JANSSON_NULL:
        return JSON_NULL;
    }
    return JSON_ABSENT;
}

const char *json_kind_name(enum json_kind k)
{
    static const char *const names[] = {
        [JSON_ABSENT] = "nothing", [JSON_NULL] = "null",          [JSON_BOOL] = "a boolean",
        [JSON_INT] = "an integer", [JSON_REAL] = "a real number", [JSON_STRING] = "a string",
        [JSON_ARRAY] = "an array", [JSON_OBJECT] = "an object",
    };
    return names[k];
}

size_t json_size(json_value v)
{
    const struct node *node = v;
    switch (json_kind(v)) {
    case JSON_ARRAY:
        return json_array_size(node->j);
    case JSON_OBJECT:
        return json_object_size(node->j);
    default:
        return 0;
    }
}

json_value json_get(json_value object, const char *key)
{
    if (json_kind(object) != JSON_OBJECT)
        return NULL;
    const struct node *node = object;
    size_t n = json_object_size(node->j);
    for (size_t i = 0; i < n; i++)
        if (strcmp(node->kid[i].key, key) == 0)
            return node->kid + i;
    return NULL;
}

json_value json_at(json_value array, size_t i)
{
    const struct node *node = array;
    return json_kind(array) == JSON_ARRAY && i < json_array_size(node->j) ? node->kid + i : NULL;
}

json_value json_member(json_value object, size_t i, const char **ret_key)
{
    const struct node *node = object;
    if (json_kind(object) != JSON_OBJECT || i >= json_object_size(node->j))
        return NULL;
    if (ret_key)
        *ret_key = node->kid[i].key;
    return node->kid + i;
}

const char *json_string(json_value v, size_t *ret_len)
{
    const struct node *node = v;
    if (json_kind(v) != JSON_STRING)
        return NULL;
    if (ret_len)
        *ret_len = json_string_length(node->j);
    return json_string_value(node->j);
}

bool json_int(json_value v, int64_t *ret)
{
    const struct node *node = v;
    if (json_kind(v) != JSON_INT)
        return false;
    *ret = json_integer_value(node->j);
    return true;
}

bool json_real(json_value v, double *ret)
{
    const struct node *node = v;
    enum json_kind k = json_kind(v);
    if (k != JSON_INT && k != JSON_REAL)
        return false;
    *ret = json_number_value(node->j);
    return true;
}

bool json_boolean(json_value v, bool *ret)
{
    const struct node *node = v;
    if (json_kind(v) != JSON_BOOL)
        return false;
    *ret = json_typeof(node->j) == JSON_TRUE;
    return true;
}

int json_number_text(json_value v, char *out, size_t n)
{
    const struct node *node = v;
    char text[NUMBER_DOUBLE_MAX];
    const char *from = text;
    size_t len;
    switch (json_kind(v)) {
    case JSON_INT:
        len = number_i64(json_integer_value(node->j), text);
        break;
    case JSON_REAL:
        from = node->digits ? node->digits : "";
        len = strlen(from);
        break;
    default:
        return ERR_INVALID;
    }
    if (len >= n || len > INT32_MAX)
        return ERR_LIMIT;
    memcpy(out, from, len + 1);
    return (int)len;
}

/*
 * data360_params: placeholders of three styles to the engine's $1..$n and back, and which parameter belongs
 * to which (specs 2.4; design.md section 7).
 *
 * QUESTION_MARK "?", NAMED ":name", DOLLARED "$1". A placeholder of another style than the request's is an
 * error with its place. The rewritten text is what is stored and run; because positions in errors must fit
 * the text that was sent, data360__restore() can rebuild that from the rewritten one: a text holds
 * placeholders of one style only, so every $n in it stands for exactly one spelling. Where "$n" would grow
 * together with what stands before it ("select?"), a GAP goes between them, and also where a GAP stands there
 * already, so that taking one away is exact. Pure; any thread; hostile bytes allowed, fuzzed.
 */
#include "dialects/data360_int.h"

#include <string.h>

#include "base/sys.h"
#include "base/utf8.h"
#include "dialects/sql_scan.h"

static const char *style_word(enum d360_style s)
{
    return s == D360_QMARK ? "qmark" : s == D360_NAMED ? "named" : "dollar";
}

/* The place of a placeholder for an error that has been set to r. */
static int placed(const char *sql, struct sql_piece t, int r, struct err *e)
{
    if (e) {
        e->position = (int64_t)utf8_length(sql, t.at);
        e->position_end = e->position + (int64_t)utf8_length(sql + t.at, t.n);
    }
    return r;
}

static int conflict(const char *sql, struct sql_piece t, const char *found, enum d360_style style,
                    struct err *e)
{
    int len = t.n > 64 ? 64 : (int)t.n;
    /* the wording that the product's Python client looks for */
    int r = err_set(e, ERR_INVALID, "42601",
                    "conflicting parameter style '%s' of %.*s: paramStyle is set to '%s'", found, len,
                    sql + t.at, style_word(style));
    return placed(sql, t, r, e);
}

static int digit_behind(const char *sql, struct sql_piece t, struct err *e)
{
    int len = t.n > 64 ? 64 : (int)t.n;
    int r = err_set(e, ERR_INVALID, "42601", "a digit must not stand right behind the placeholder %.*s", len,
                    sql + t.at);
    return placed(sql, t, r, e);
}

/* Names in order of appearance, found through a table of NAME_SLOTS with a random basis: a statement may hold
 * millions of placeholders. */
#define NAME_SLOTS 32768u /* > 2 * D360_PARAMS_MAX, a power of two */
struct names {
    const char **names;
    uint32_t n, cap;
    uint32_t *slots;
    uint64_t basis;
};

static uint32_t *name_slot(struct names *ns, const char *p, size_t n)
{
    uint64_t h = ns->basis;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 0x100000001B3ULL;
    for (uint32_t at = (uint32_t)(h >> 40);; at++) {
        uint32_t *slot = &ns->slots[at & (NAME_SLOTS - 1)];
        if (!*slot)
            return slot;
        const char *have = ns->names[*slot - 1];
        if (strlen(have) == n && memcmp(have, p, n) == 0)
            return slot;
    }
}

/* Index of a name, added when new; UINT32_MAX when out of memory or over D360_PARAMS_MAX + 1 names. */
static uint32_t name_index(struct arena *a, struct names *ns, const char *p, size_t n)
{
    if (!ns->slots) {
        ns->slots = arena_alloc(a, NAME_SLOTS * sizeof *ns->slots);
        if (!ns->slots)
            return UINT32_MAX;
        sys_random(&ns->basis, sizeof ns->basis);
    }
    uint32_t *slot = name_slot(ns, p, n);
    if (*slot)
        return *slot - 1;
    if (ns->n > D360_PARAMS_MAX)
        return UINT32_MAX;
    if (ns->n == ns->cap) {
        uint32_t cap = ns->cap ? ns->cap * 2 : 16;
        const char **grown = arena_alloc(a, cap * sizeof *grown);
        if (!grown)
            return UINT32_MAX;
        if (ns->n)
            memcpy(grown, ns->names, ns->n * sizeof *grown);
        ns->names = grown;
        ns->cap = cap;
    }
    const char *copy = arena_strndup(a, p, n);
    if (!copy)
        return UINT32_MAX;
    ns->names[ns->n] = copy;
    *slot = ++ns->n;
    return ns->n - 1;
}

/* The number of a "$12"; 0 when it is out of range. */
static uint32_t dollar_number(const char *p, size_t n)
{
    uint32_t v = 0;
    for (size_t i = 1; i < n; i++) {
        v = v * 10 + (uint32_t)(p[i] - '0');
        if (v > D360_PARAMS_MAX)
            return 0;
    }
    return v;
}

static int one_placeholder(struct arena *a, enum d360_style style, const char *sql, struct sql_piece t,
                           struct names *names, uint32_t *count, uint32_t *ret, struct err *e)
{
    static const enum sql_token token_of[] = {
        [D360_QMARK] = SQL_QMARK, [D360_NAMED] = SQL_NAMED, [D360_DOLLAR] = SQL_NUMBERED};
    if (t.token != token_of[style]) {
        const char *found = t.token == SQL_QMARK ? "qmark" : t.token == SQL_NUMBERED ? "dollar" : "named";
        return conflict(sql, t, found, style, e);
    }
    uint32_t number;
    if (style == D360_DOLLAR) {
        number = dollar_number(sql + t.at, t.n);
        if (!number)
            return err_set(e, ERR_INVALID, "42P02", "there is no parameter %.*s", t.n > 32 ? 32 : (int)t.n,
                           sql + t.at);
        if (number > *count)
            *count = number;
    } else if (style == D360_NAMED) {
        uint32_t i = name_index(a, names, sql + t.at + 1, t.n - 1);
        if (i == UINT32_MAX)
            return err_no_memory(e);
        number = i + 1;
        *count = names->n;
    } else {
        number = ++*count;
    }
    if (*count > D360_PARAMS_MAX)
        return err_set(e, ERR_INVALID, "54000", "more than %d parameters", D360_PARAMS_MAX);
    *ret = number;
    return 0;
}

#define GAP     "/**/"
#define GAP_LEN 4

static bool ends_with_gap(const char *sql, size_t n)
{
    return n >= GAP_LEN && memcmp(sql + n - GAP_LEN, GAP, GAP_LEN) == 0;
}

static bool needs_gap(const char *sql, size_t n)
{
    char c = n ? sql[n - 1] : ' ';
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80 || ends_with_gap(sql, n);
}

int data360__placeholders(struct arena *a, enum d360_style style, const char *sql, size_t n,
                          struct d360_placeholders *ret, struct err *e)
{
    struct names names = {0};
    uint32_t count = 0;
    CLEANUP_BUF struct buf out = BUF_INIT(n + (n < 1u << 20 ? 1u << 20 : n * 4) + 64);
    struct sql_scan s;
    sql_scan_init(&s, sql, n);
    size_t copied = 0;
    for (;;) {
        struct sql_piece t = sql_scan_next(&s);
        if (t.token == SQL_END)
            break;
        if (t.token != SQL_QMARK && t.token != SQL_NAMED && t.token != SQL_NUMBERED && t.token != SQL_DOLLAR)
            continue;
        uint32_t number = 0;
        int r = one_placeholder(a, style, sql, t, &names, &count, &number, e);
        if (r)
            return r;
        if (style == D360_DOLLAR) /* stays as it is */
            continue;
        if (buf_add(&out, sql + copied, t.at - copied) || (needs_gap(sql, t.at) && buf_str_add(&out, GAP)) ||
            buf_printf(&out, "$%u", number))
            return err_set(e, ERR_LIMIT, "54000", "the statement has too many parameters");
        copied = t.at + t.n;
        if (copied < n && sql[copied] >= '0' && sql[copied] <= '9') /* "?5" would become "$15" */
            return digit_behind(sql, t, e);
    }
    if (buf_add(&out, sql + copied, n - copied))
        return err_no_memory(e);
    ret->sql = arena_strndup(a, out.p ? out.p : "", out.len);
    ret->sql_len = out.len;
    ret->count = count;
    ret->names = names.names;
    return ret->sql ? 0 : err_no_memory(e);
}

/* ---- and back ---- */

struct edit {
    int64_t *place;
    size_t byte;
    bool done;
}; /* a place in code points, found as a byte offset of the rewritten text */

static size_t byte_of(const char *sql, size_t n, int64_t position)
{
    size_t at = 0;
    for (int64_t i = 0; i < position && at < n; i++) {
        uint32_t cp = 0;
        int len = utf8_next(sql + at, n - at, &cp);
        at += (size_t)(len < 0 ? -len : len);
    }
    return at;
}

int data360__restore(struct arena *a, enum d360_style style, const char *const *names, uint32_t nnames,
                     const char *sql, size_t n, int64_t *pos, int64_t *end, const char **ret, size_t *ret_len)
{
    if (style == D360_DOLLAR) {
        *ret = sql;
        *ret_len = n;
        return 0;
    }
    struct edit places[2] = {{pos, 0, *pos < 0}, {end, 0, *end < 0}};
    for (int i = 0; i < 2; i++)
        if (!places[i].done)
            places[i].byte = byte_of(sql, n, *places[i].place);
    CLEANUP_BUF struct buf out = BUF_INIT((size_t)64 << 20);
    struct sql_scan s;
    sql_scan_init(&s, sql, n);
    size_t copied = 0;
    int64_t grown = 0; /* code points gained so far by the text before `copied` */
    for (bool more = true; more;) {
        struct sql_piece t = sql_scan_next(&s);
        more = t.token != SQL_END;
        if (more && t.token != SQL_NUMBERED)
            continue;
        size_t start = more && ends_with_gap(sql + copied, t.at - copied) ? t.at - GAP_LEN : t.at;
        for (int i = 0; i < 2; i++)
            if (!places[i].done && (!more || places[i].byte < t.at + t.n)) {
                /* inside a placeholder: where it starts */
                int64_t inside = places[i].byte > start ? (int64_t)(places[i].byte - start) : 0;
                *places[i].place += grown - (more ? inside : 0);
                places[i].done = true;
            }
        if (!more)
            break;
        uint32_t number = dollar_number(sql + t.at, t.n);
        int r = buf_add(&out, sql + copied, start - copied);
        size_t before = out.len;
        if (!r && style == D360_QMARK)
            r = buf_char(&out, '?');
        else if (!r && number && number <= nnames)
            r = buf_printf(&out, ":%s", names[number - 1]);
        else if (!r)
            r = buf_add(&out, sql + t.at, t.n);
        if (r)
            return r;
        grown += (int64_t)utf8_length(out.p + before, out.len - before) - (int64_t)(t.at + t.n - start);
        copied = t.at + t.n;
    }
    int r = buf_add(&out, sql + copied, n - copied);
    if (r)
        return r;
    *ret = arena_strndup(a, out.p ? out.p : "", out.len);
    *ret_len = out.len;
    return *ret ? 0 : ERR_NOMEM;
}

/* ---- which parameter belongs to which placeholder ---- */

static const char *param_name(json_value item, size_t *ret_n)
{
    const char *s = json_string(json_get(item, "name"), ret_n);
    if (s && *ret_n && s[0] == ':') {
        s++;
        --*ret_n;
    }
    return s && *ret_n ? s : NULL;
}

static int check_names(json_value parameters, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        json_value v = json_get(json_at(parameters, i), "name");
        enum json_kind k = json_kind(v);
        size_t len;
        if (k == JSON_ABSENT || k == JSON_NULL)
            continue;
        if (k != JSON_STRING)
            return err_set(e, ERR_INVALID, "22023", "parameter %zu: name must be a string, not %s", i + 1,
                           json_kind_name(k));
        if (!param_name(json_at(parameters, i), &len))
            return err_set(e, ERR_INVALID, "07001", "parameter %zu: name must not be empty", i + 1);
    }
    return 0;
}

/* NAMED: fills at[i] with the index in the array for name i. Names bind where given, else first appearance
 * does. */
static int bind_names(struct arena *a, const struct d360_placeholders *ph, json_value parameters, size_t n,
                      uint32_t *at, struct err *e)
{
    size_t named = 0, len = 0;
    int r = check_names(parameters, n, e);
    if (r)
        return r;
    for (size_t i = 0; i < n; i++)
        named += param_name(json_at(parameters, i), &len) != NULL;
    if (named && named < n) {
        for (size_t i = 0; i < n; i++)
            if (!param_name(json_at(parameters, i), &len))
                return err_set(e, ERR_INVALID, "07001", "parameter %zu has no name but others have", i + 1);
    }
    if (!named)
        return 0;
    struct names known = {0};
    for (uint32_t k = 0; k < ph->count; k++) {
        at[k] = UINT32_MAX;
        if (name_index(a, &known, ph->names[k], strlen(ph->names[k])) != k)
            return err_no_memory(e);
    }
    for (size_t i = 0; i < n; i++) {
        const char *name = param_name(json_at(parameters, i), &len);
        int shown = len > 64 ? (int)utf8_cut(name, len, 64) : (int)len;
        uint32_t k = known.slots ? *name_slot(&known, name, len) : 0;
        if (!k--)
            return err_set(e, ERR_INVALID, "07001", "parameter :%.*s is not used in the statement", shown,
                           name);
        if (at[k] != UINT32_MAX)
            return err_set(e, ERR_INVALID, "07001", "parameter :%.*s is given twice", shown, name);
        at[k] = (uint32_t)i;
    }
    for (uint32_t k = 0; k < ph->count; k++)
        if (at[k] == UINT32_MAX)
            return err_set(e, ERR_INVALID, "07001", "missing parameter :%.64s", ph->names[k]);
    return 0;
}

/* DOLLARED: every number up to the highest must be used. */
static int check_dollars(struct arena *a, const struct d360_placeholders *ph, struct err *e)
{
    bool *used = arena_alloc(a, ph->count + 1);
    if (!used)
        return err_no_memory(e);
    struct sql_scan s;
    sql_scan_init(&s, ph->sql, ph->sql_len);
    for (struct sql_piece t = sql_scan_next(&s); t.token != SQL_END; t = sql_scan_next(&s))
        if (t.token == SQL_NUMBERED)
            used[dollar_number(ph->sql + t.at, t.n)] = true;
    for (uint32_t i = 1; i <= ph->count; i++)
        if (!used[i])
            return err_set(e, ERR_INVALID, "07001", "parameter $%u is not used in the statement", i);
    return 0;
}

int data360__parameters(struct arena *a, enum d360_style style, const struct d360_placeholders *ph,
                        json_value parameters, struct wire_param **ret, struct err *e)
{
    enum json_kind k = json_kind(parameters);
    if (k != JSON_ABSENT && k != JSON_NULL && k != JSON_ARRAY)
        return err_set(e, ERR_INVALID, "22023", "parameters must be an array, not %s", json_kind_name(k));
    size_t n = json_size(parameters);
    if (n > D360_PARAMS_MAX)
        return err_set(e, ERR_INVALID, "54000", "more than %d parameters", D360_PARAMS_MAX);
    for (size_t i = 0; i < n; i++) {
        enum json_kind item = json_kind(json_at(parameters, i));
        if (item != JSON_OBJECT)
            return err_set(e, ERR_INVALID, "22023", "parameter %zu must be an object, not %s", i + 1,
                           json_kind_name(item));
    }
    uint32_t *at = arena_alloc(a, (ph->count + 1) * sizeof *at);
    struct wire_param *out = arena_alloc(a, (ph->count + 1) * sizeof *out);
    if (!at || !out)
        return err_no_memory(e);
    for (uint32_t i = 0; i < ph->count; i++)
        at[i] = i;
    int r = style == D360_NAMED ? bind_names(a, ph, parameters, n, at, e) : 0;
    if (!r && n != ph->count)
        r = err_set(e, ERR_INVALID, "07001", "the statement has %u parameters, the request gives %zu",
                    ph->count, n);
    if (!r && style == D360_DOLLAR)
        r = check_dollars(a, ph, e);
    for (uint32_t i = 0; !r && i < ph->count; i++) {
        const char *label = style == D360_NAMED ? arena_printf(a, "parameter :%.64s", ph->names[i])
                                                : arena_printf(a, "parameter %u", i + 1);
        r = label ? data360__typed(a, json_at(parameters, at[i]), label, &out[i], e) : err_no_memory(e);
    }
    if (r)
        return r;
    *ret = out;
    return 0;
}

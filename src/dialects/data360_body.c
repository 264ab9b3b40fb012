/*
 * data360_body: the body of POST /api/v3/query (source document, "Submit SQL Query"; specs 1.1), fields as
 * documented, null as absent, unknown fields ignored. Both spellings of what two revisions of the
 * documentation name differently are read. Pure; any thread; hostile bytes allowed, fuzzed.
 */
#include "dialects/data360_int.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "base/zone.h"

#define DURATION_MAX_MS (1000LL * 86400 * 365) /* longer says nothing else than this */

static bool given(json_value v)
{
    return json_kind(v) != JSON_ABSENT && json_kind(v) != JSON_NULL;
}

static int wrong(const char *key, const char *what, json_value v, struct err *e)
{
    return err_set(e, ERR_INVALID, "22023", "%s must be %s, not %s", key, what, json_kind_name(json_kind(v)));
}

bool data360__read_duration(const char *s, int64_t *ret_ms)
{
    int64_t v = 0;
    size_t i = 0;
    for (; s[i] >= '0' && s[i] <= '9'; i++) {
        v = v * 10 + (s[i] - '0');
        if (v > DURATION_MAX_MS)
            v = DURATION_MAX_MS;
    }
    if (!i)
        return false;
    while (s[i] == ' ')
        i++;
    if (!strcasecmp(s + i, "s"))
        v *= 1000;
    else if (s[i] && strcasecmp(s + i, "ms") != 0)
        return false;
    *ret_ms = v;
    return true;
}

static int read_word(json_value root, const char *key, const char *const *words, const int *values, int *ret,
                     const char *allowed, struct err *e)
{
    json_value v = json_get(root, key);
    if (!given(v))
        return 0;
    const char *s = json_string(v, NULL);
    if (!s)
        return wrong(key, "a string", v, e);
    for (size_t i = 0; words[i]; i++)
        if (strcmp(words[i], s) == 0) {
            *ret = values[i];
            return 0;
        }
    return err_set(e, ERR_INVALID, "22023", "%s must be %s", key, allowed);
}

static bool zone_form(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              strchr("+-_/:", c)))
            return false;
    }
    return n > 0 && n <= 64;
}

static size_t run_of(const char *s, size_t n, bool letters)
{
    size_t k = 0;
    while (k < n && (letters ? isalpha((unsigned char)s[k]) : isdigit((unsigned char)s[k])))
        k++;
    return k;
}

/* A locale's name: language, script, region ("de", "de_DE", "zh-Hant-TW", "es_419"), then, as in the POSIX
 * form, a code set and a modifier ("de_DE.UTF-8@euro"); or "C", "POSIX". */
static bool language_form(const char *s, size_t n)
{
    if ((n == 1 && *s == 'C') || (n == 5 && memcmp(s, "POSIX", 5) == 0))
        return true;
    size_t k = run_of(s, n, true);
    if (k < 2 || k > 3)
        return false;
    for (int part = 0; part < 2 && k < n && (s[k] == '_' || s[k] == '-'); part++) {
        size_t letters = run_of(s + k + 1, n - k - 1, true), digits = run_of(s + k + 1, n - k - 1, false);
        if (!(letters == 2 || digits == 3 || (letters == 4 && part == 0)))
            return false;
        k += 1 + letters + digits;
        if (letters != 4)
            break;
    }
    for (const char *mark = ".@"; *mark; mark++) {
        if (k == n || s[k] != *mark)
            continue;
        size_t from = ++k;
        while (k < n && (isalnum((unsigned char)s[k]) || s[k] == '-'))
            k++;
        if (k == from)
            return false;
    }
    return k == n;
}

/* Names of settings are compared without regard to case, as in PostgreSQL ("TimeZone"); the exact one wins. */
static json_value setting(json_value settings, const char *name)
{
    json_value found = json_get(settings, name);
    for (size_t i = 0; !found && i < json_size(settings); i++) {
        const char *key;
        json_value v = json_member(settings, i, &key);
        found = strcasecmp(key, name) == 0 ? v : NULL;
    }
    return found;
}

/* The two documented settings, the names that real clients use for them, and query_timeout; anything else is
 * accepted and unused. */
static int read_settings(json_value settings, struct d360_submit *out, struct err *e)
{
    if (!given(settings))
        return 0;
    if (json_kind(settings) != JSON_OBJECT)
        return wrong("settings", "an object", settings, e);
    static const struct {
        const char *key;
        int what;
    } known[] = {
        {"time_zone", 0}, {"timezone", 0},      {"lc_time", 1},
        {"language", 1},  {"query_timeout", 2}, /* documented names last: they win */
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        json_value v = setting(settings, known[i].key);
        if (!given(v))
            continue;
        size_t n;
        int64_t ms;
        const char *s = json_string(v, &n);
        if (!s && known[i].what == 2 && json_int(v, &ms) && ms >= 0) {
            out->run_timeout_ms = ms < DURATION_MAX_MS ? ms : DURATION_MAX_MS;
            continue;
        }
        if (!s)
            return wrong(known[i].key, "a string", v, e);
        if (known[i].what == 0) {
            const struct zone *z = zone_form(s, n) ? zone_find(s) : NULL;
            if (!z)
                return err_set(e, ERR_INVALID, "22023", "invalid value for setting %s: \"%.*s\"",
                               known[i].key, (int)utf8_cut(s, n, n > 64 ? 64 : n), s);
            out->timezone = zone_name(z);
        } else if (known[i].what == 1) {
            if (n > 64 || (n && !language_form(s, n)))
                return err_set(e, ERR_INVALID, "22023", "invalid value for setting %s: \"%.*s\"",
                               known[i].key, (int)utf8_cut(s, n, n > 64 ? 64 : n), s);
            out->language = n ? s : NULL;
        } else if (!data360__read_duration(s, &out->run_timeout_ms)) {
            return err_set(e, ERR_INVALID, "22023",
                           "invalid value for setting query_timeout: use \"1500ms\" or \"10s\"");
        }
    }
    return 0;
}

static int read_range(json_value range, struct d360_submit *out, struct err *e)
{
    if (!given(range))
        return 0;
    if (json_kind(range) != JSON_OBJECT)
        return wrong("resultRange", "an object", range, e);
    if (out->async) /* documented for ADAPTIVE only */
        return err_set(e, ERR_INVALID, "22023", "resultRange is allowed in transferMode ADAPTIVE only");
    json_value rows = json_get(range, "rowLimit"), bytes = json_get(range, "byteLimit");
    if (given(rows) && (!json_int(rows, &out->range_rows) || out->range_rows < 1))
        return err_set(e, ERR_INVALID, "22023", "resultRange.rowLimit must be an integer greater than 0");
    if (given(bytes) &&
        (!json_int(bytes, &out->range_bytes) || out->range_bytes < 1 || out->range_bytes > D360_BYTES_MAX))
        return err_set(e, ERR_INVALID, "22023", "resultRange.byteLimit must be an integer between 1 and %d",
                       D360_BYTES_MAX);
    out->has_range = true;
    return 0;
}

static int read_fields(struct arena *a, json_value root, struct d360_submit *out, struct err *e)
{
    size_t n;
    json_value sql = json_get(root, "sql");
    const char *text = json_string(sql, &n);
    if (!given(sql))
        return err_set(e, ERR_INVALID, "22023", "sql is required");
    if (!text)
        return wrong("sql", "a string", sql, e);
    if (strspn(text, " \t\r\n\f\v") == n)
        return err_set(e, ERR_INVALID, "22023", "sql must not be empty");
    static const char *const modes[] = {"ADAPTIVE", "ASYNC", NULL};
    static const char *const styles[] = {"QUESTION_MARK", "NAMED", "DOLLARED", "DOLLAR_NUMBERED", NULL};
    int async = 0, style = D360_QMARK;
    int r = read_word(root, "transferMode", modes, (const int[]){0, 1}, &async, "ADAPTIVE or ASYNC", e);
    if (!r)
        r = read_word(root, "paramStyle", styles,
                      (const int[]){D360_QMARK, D360_NAMED, D360_DOLLAR, D360_DOLLAR}, &style,
                      "QUESTION_MARK, NAMED or DOLLARED", e);
    if (r)
        return r;
    out->async = async != 0;
    out->style = (enum d360_style)style;
    json_value limit = json_get(root, "queryRowLimit");
    out->row_limit = -1;
    if (given(limit) && (!json_int(limit, &out->row_limit) || out->row_limit < -1))
        return err_set(
            e, ERR_INVALID, "22023",
            "queryRowLimit must be an integer: 0 for the schema only, -1 for no limit, or a number of rows");
    r = read_settings(json_get(root, "settings"), out, e);
    if (!r)
        r = read_range(json_get(root, "resultRange"), out, e);
    if (!r)
        r = data360__placeholders(a, out->style, text, n, &out->ph, e);
    if (!r)
        r = data360__parameters(a, out->style, &out->ph, json_get(root, "parameters"), &out->params, e);
    return r;
}

int data360__read_submit(struct arena *a, const char *body, size_t n, struct d360_submit *ret,
                         bool *ret_is_json, struct err *e)
{
    json_value root;
    int r = body_object(a, body, n, ret_is_json, &root, e);
    if (r)
        return r;
    struct d360_submit out = {0};
    r = read_fields(a, root, &out, e);
    if (!r)
        *ret = out;
    return r;
}

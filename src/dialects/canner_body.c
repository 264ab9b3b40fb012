/*
 * canner_body: the request bodies of Canner REST v1 (specs/canner.md sections 2 and 7) and of the GraphQL
 * operations that its Python client sends (section 8). Strict in types, lenient in what the page's own texts
 * allow: booleans also as "true" and "false", unknown fields ignored, an empty body where nothing is required.
 * Every refusal names the field. Pure; any thread; hostile bytes allowed, fuzzed.
 */
#include "dialects/canner_int.h"

#include <math.h>
#include <string.h>

static bool is_blank(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ' && (s[i] < '\t' || s[i] > '\r'))
            return false;
    return true;
}

static bool absent(json_value v)
{
    return json_kind(v) == JSON_ABSENT || json_kind(v) == JSON_NULL;
}

/* A text, NULL when absent. */
static int read_text(json_value object, const char *key, const char **ret, size_t *ret_len, struct err *e)
{
    json_value v = json_get(object, key);
    if (absent(v))
        return 0;
    size_t n;
    const char *s = json_string(v, &n);
    if (!s)
        return err_set(e, ERR_INVALID, "22023", "%s must be a string, not %s", key,
                       json_kind_name(json_kind(v)));
    *ret = s;
    if (ret_len)
        *ret_len = n;
    return 0;
}

/* A text that must be there and not be blank. */
static int need_text(json_value object, const char *key, const char **ret, size_t *ret_len, struct err *e)
{
    const char *s = NULL;
    size_t n = 0;
    int r = read_text(object, key, &s, &n, e);
    if (r)
        return r;
    if (!s)
        return err_set(e, ERR_INVALID, "22023", "%s is required", key);
    if (is_blank(s, n))
        return err_set(e, ERR_INVALID, "22023", "%s must not be blank", key);
    *ret = s;
    if (ret_len)
        *ret_len = n;
    return 0;
}

static int read_bool(json_value v, const char *key, bool *ret, struct err *e)
{
    const char *s = json_string(v, NULL);
    if (json_boolean(v, ret))
        return 0;
    if (s && (strcmp(s, "true") == 0 || strcmp(s, "false") == 0)) {
        *ret = s[0] == 't';
        return 0;
    }
    return err_set(e, ERR_INVALID, "22023", "%s must be true or false", key);
}

/* Reuse is asked for by both parameters together (7.6); cacheTTL is the age in seconds at which an earlier
 * result is still good (7.5). */
static int read_cache(json_value object, struct canner_submit *in, struct err *e)
{
    json_value refresh = json_get(object, "cacheRefresh"), ttl = json_get(object, "cacheTTL");
    bool fresh = true;
    double seconds = 0;
    int r = absent(refresh) ? 0 : read_bool(refresh, "cacheRefresh", &fresh, e);
    if (r)
        return r;
    if (!absent(ttl) && (!json_real(ttl, &seconds) || !isfinite(seconds) || seconds < 0))
        return err_set(e, ERR_INVALID, "22023", "cacheTTL must be a number of seconds from 0");
    in->reuse = !absent(refresh) && !absent(ttl) && !fresh;
    in->max_age_s = seconds < INT32_MAX ? (int32_t)seconds : INT32_MAX;
    return 0;
}

/* Absent where nothing was sent. */
static int read_object(struct arena *a, const char *body, size_t n, json_value *ret, struct err *e)
{
    *ret = NULL;
    return is_blank(body ? body : "", body ? n : 0) ? 0 : body_object(a, body, n, NULL, ret, e);
}

int canner__read_submit(struct arena *a, const char *body, size_t n, bool need_sql, struct canner_submit *ret,
                        struct err *e)
{
    json_value root;
    struct canner_submit in = {0};
    int r = read_object(a, body, n, &root, e);
    if (!r)
        r = read_text(root, "workspaceId", &in.workspace, NULL, e);
    if (!r && need_sql)
        r = need_text(root, "sql", &in.sql, &in.sql_len, e);
    if (!r)
        r = read_cache(root, &in, e);
    if (!r)
        *ret = in;
    return r;
}

int canner__read_save(struct arena *a, const char *body, size_t n, struct canner_save *ret, struct err *e)
{
    json_value root;
    struct canner_save in = {0};
    size_t title = 0, description = 0;
    int r = read_object(a, body, n, &root, e);
    if (!r)
        r = read_text(root, "workspaceId", &in.workspace, NULL, e);
    if (!r)
        r = need_text(root, "title", &in.title, &title, e);
    if (!r)
        r = need_text(root, "sql", &in.sql, &in.sql_len, e);
    if (!r)
        r = read_text(root, "description", &in.description, &description, e);
    if (r)
        return r;
    if (title > CANNER_TITLE_MAX)
        return err_set(e, ERR_INVALID, "54000", "title is longer than %d bytes", CANNER_TITLE_MAX);
    if (description > CANNER_DESCRIPTION_MAX)
        return err_set(e, ERR_INVALID, "54000", "description is longer than %d bytes",
                       CANNER_DESCRIPTION_MAX);
    *ret = in;
    return 0;
}

int canner__read_state(struct arena *a, const char *body, size_t n, bool *ret, struct err *e)
{
    json_value root;
    int r = read_object(a, body, n, &root, e);
    if (r)
        return r;
    json_value state = json_get(root, "state");
    return absent(state) ? err_set(e, ERR_INVALID, "22023", "state is required: true or false")
                         : read_bool(state, "state", ret, e);
}

int canner__read_workspace(struct arena *a, const char *body, size_t n, const char **ret, struct err *e)
{
    json_value root;
    *ret = NULL;
    int r = read_object(a, body, n, &root, e);
    return r ? r : read_text(root, "workspaceId", ret, NULL, e);
}

/* ---- GraphQL ---- */

static const struct {
    const char *name;
    enum canner_operation operation;
} operations[] = {
    {"createSqlQuery", CANNER_CREATE_QUERY},
    {"sqlQuery", CANNER_QUERY},
    {"sqlResultPagination", CANNER_RESULT},
    {"deleteStatement", CANNER_DELETE_STATEMENT},
    {"sqls", CANNER_SQLS},
    {"UserMe", CANNER_USER_ME},
    {"userMe", CANNER_USER_ME},
};

static enum canner_operation operation_of(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (strlen(operations[i].name) == n && memcmp(operations[i].name, name, n) == 0)
            return operations[i].operation;
    return CANNER_UNKNOWN;
}

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Without operationName: the word behind the first `query` or `mutation` of the text. */
static enum canner_operation operation_in(const char *text)
{
    const char *p = text;
    while (*p && !name_char(*p) && *p != '{')
        p++;
    size_t n = 0;
    while (name_char(p[n]))
        n++;
    bool begins = (n == 5 && memcmp(p, "query", 5) == 0) || (n == 8 && memcmp(p, "mutation", 8) == 0);
    if (!begins)
        return CANNER_UNKNOWN;
    p += n;
    while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')
        p++;
    for (n = 0; name_char(p[n]);)
        n++;
    return operation_of(p, n);
}

/* A word of the text that stands alone. */
static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = text; (p = strstr(p, word)) != NULL; p += n)
        if ((p == text || !name_char(p[-1])) && !name_char(p[n]))
            return true;
    return false;
}

static const char *source_of(json_value data)
{
    size_t n = 0;
    const char *s = json_string(json_get(data, "source"), &n);
    if (!s || n == 0 || n > CANNER_SOURCE_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= 'A' && s[i] <= 'Z') || s[i] == '_'))
            return NULL;
    return s;
}

static int read_number(json_value object, const char *key, int64_t *ret, struct err *e)
{
    json_value v = json_get(object, key);
    if (absent(v) || json_int(v, ret))
        return 0;
    return err_set(e, ERR_INVALID, "22023", "%s must be an integer, not %s", key,
                   json_kind_name(json_kind(v)));
}

static int read_variables(json_value variables, struct canner_graphql *g, struct err *e)
{
    json_value data = json_get(variables, "data"), where = json_get(variables, "where");
    int r = read_text(where, "workspaceId", &g->submit.workspace, NULL, e);
    if (!r)
        r = read_text(where, "id", &g->id, NULL, e);
    if (!r)
        r = read_number(where, "limit", &g->limit, e);
    if (!r)
        r = read_number(where, "offset", &g->offset, e);
    if (!r && g->limit < -1)
        r = err_set(e, ERR_INVALID, "22023", "limit must not be negative");
    if (!r && g->operation == CANNER_CREATE_QUERY) {
        r = need_text(data, "sql", &g->submit.sql, &g->submit.sql_len, e);
        if (!r)
            r = read_cache(data, &g->submit, e);
        g->submit.source = source_of(data);
    }
    bool needs_id = g->operation == CANNER_QUERY || g->operation == CANNER_RESULT ||
                    g->operation == CANNER_DELETE_STATEMENT;
    if (!r && needs_id && !g->id)
        r = err_set(e, ERR_INVALID, "22023", "variables.where.id is required");
    return r;
}

int canner__read_graphql(struct arena *a, const char *body, size_t n, struct canner_graphql *ret,
                         bool *ret_is_json, struct err *e)
{
    json_value root;
    struct canner_graphql g = {.name = "", .limit = -1};
    *ret_is_json = false;
    int r = body_object(a, body, n, NULL, &root, e);
    if (r)
        return r;
    *ret_is_json = true;
    const char *text = "", *name = NULL;
    size_t len = 0;
    r = read_text(root, "query", &text, NULL, e);
    if (!r)
        r = read_text(root, "operationName", &name, &len, e);
    if (r)
        return r;
    if (name) {
        g.name = name;
        g.operation = operation_of(name, len);
    } else {
        g.operation = operation_in(text);
    }
    g.with_columns = has_word(text, "columns") || has_word(text, "rowCount");
    if (g.operation)
        r = read_variables(json_get(root, "variables"), &g, e);
    if (!r)
        *ret = g;
    return r;
}

/*
 * duckdb_policy: which statements may run (design.md section 7, "What may be run").
 *
 * Three layers, each enough for most things: (1) the type that the engine gives the prepared statement, from
 * a list of allowed ones, so that numbers we do not know are refused; (2) for CREATE, DROP and ALTER the kind
 * of object: the words after the first one, read with the engine's own lexical rules, where anything not
 * recognised is refused; (3) the target: a writing job runs in a transaction that has already written to
 * data_catalog, and the engine itself lets a transaction change one database only (duckdb_run.c). Functions
 * with side effects are looked for as `name (` in the text; where that hits, the engine's own parse tree of
 * the SELECT decides.
 *
 * Behind all of it is the sandbox. Job thread; no state.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/sql_blank.h"
#include "engines/duckdb_int.h"

enum token_kind { T_END, T_WORD, T_QUOTED, T_OTHER, T_UNSURE };
struct token {
    enum token_kind kind;
    const char *p;
    size_t n;
};
struct scan {
    const char *p;
    size_t n, at;
    bool
        open; /* a comment was not closed: what is behind it is looked at too, as if there were none from there */
};

static const char SETTING[] = "current_setting";
/* What a writing transaction makes and drops first (DUCK_TOUCH_WRITER): nobody else may have one of that name. */
#define INTERNAL_SCHEMA "quern_internal"
/* Functions that change the instance, reach outside, or hide other functions from this check. */
static const char *const side_effects[] = {"query",
                                           "checkpoint",
                                           "force_checkpoint",
                                           "enable_logging",
                                           "disable_logging",
                                           "truncate_duckdb_logs",
                                           "write_log",
                                           "enable_profiling",
                                           "disable_profiling",
                                           "enable_peg_parser",
                                           "disable_peg_parser",
                                           "json_execute_serialized_sql",
                                           "arrow_scan",
                                           "arrow_scan_dumb",
                                           "seq_scan",
                                           "read_duckdb",
                                           "duckdb_secrets",
                                           "which_secret",
                                           /* tell paths of the machine */ "duckdb_settings",
                                           "duckdb_databases",
                                           "duckdb_views",
                                           "duckdb_extensions",
                                           "duckdb_external_file_cache",
                                           "duckdb_temporary_files",
                                           "json_serialize_plan",
                                           "query_table",
                                           "histogram_values",
                                           "pragma_database_list",
                                           SETTING};
/* The engine's own views over them: they tell the files of the catalog and of the datasets. A table of one's
 * own cannot have such a name either. */
static const char *const telling_views[] = {
    "duckdb_databases",
    "duckdb_views",
    "duckdb_settings",
    "pragma_database_list",
    "sqlite_master",
    "sqlite_schema",
    "sqlite_temp_master",
    "sqlite_temp_schema",
    "pg_settings",
    "pg_views",
    "views", /* of information_schema; a table "views" elsewhere is fine */
    INTERNAL_SCHEMA,
};

static bool word_start(unsigned char c)
{
    return isalpha(c) || c == '_' || c >= 0x80;
}
static bool word_char(unsigned char c)
{
    return word_start(c) || isdigit(c) || c == '$';
}

/* Skips blanks and comments, which nest. False for a comment that is not closed; only the first is looked for, so
 * that a text of many costs no more than its length. */
static bool skip_blank(struct scan *s)
{
    while (s->at < s->n) {
        const char *p = s->p + s->at;
        size_t left = s->n - s->at, blank = sql_blank(p, left);
        if (blank) {
            s->at += blank;
        } else if (left >= 2 && p[0] == '-' && p[1] == '-') {
            while (s->at < s->n && s->p[s->at] != '\n' && s->p[s->at] != '\r')
                s->at++;
        } else if (!s->open && left >= 2 && p[0] == '/' && p[1] == '*') {
            size_t i = s->at + 2;
            for (unsigned depth = 1; depth; i += 2) {
                while (i + 1 < s->n && !(s->p[i] == '/' && s->p[i + 1] == '*') &&
                       !(s->p[i] == '*' && s->p[i + 1] == '/'))
                    i++;
                if (i + 1 >= s->n) {
                    s->open = true;
                    return false;
                }
                depth += s->p[i] == '/' ? 1u : -1u;
            }
            s->at = i;
        } else {
            return true;
        }
    }
    return true;
}

static size_t skip_quoted(const struct scan *s, size_t at, char quote, bool escapes)
{
    while (at < s->n) {
        if (escapes && s->p[at] == '\\') {
            at += 2;
        } else if (s->p[at] == quote) {
            if (at + 1 >= s->n || s->p[at + 1] != quote)
                return at + 1;
            at += 2;
        } else {
            at++;
        }
    }
    return s->n;
}

/* $tag$ ... $tag$; returns the end, or `at` when it is none. */
static size_t skip_dollar(const struct scan *s, size_t at)
{
    size_t tag = at + 1;
    while (tag < s->n && word_char((unsigned char)s->p[tag]) && s->p[tag] != '$')
        tag++;
    if (tag >= s->n || s->p[tag] != '$' || (tag > at + 1 && isdigit((unsigned char)s->p[at + 1])))
        return at;
    size_t n = tag + 1 - at;
    const char *end = memmem(s->p + tag + 1, s->n - tag - 1, s->p + at, n);
    return end ? (size_t)(end - s->p) + n : s->n;
}

static struct token next(struct scan *s)
{
    if (!skip_blank(s))
        return (struct token){T_UNSURE, s->p, 0};
    if (s->at >= s->n)
        return (struct token){T_END, s->p + s->n, 0};
    size_t from = s->at;
    unsigned char c = (unsigned char)s->p[from];
    enum token_kind kind = T_OTHER;
    if (c == '\'') {
        s->at = skip_quoted(s, from + 1, '\'', false);
    } else if ((c == 'e' || c == 'E') && from + 1 < s->n && s->p[from + 1] == '\'') {
        s->at = skip_quoted(s, from + 2, '\'', true);
    } else if (c == '"') {
        s->at = skip_quoted(s, from + 1, '"', false);
        kind = T_QUOTED;
    } else if (c == '$' && skip_dollar(s, from) > from) {
        s->at = skip_dollar(s, from);
    } else if (word_start(c)) {
        while (s->at < s->n && word_char((unsigned char)s->p[s->at]) &&
               !sql_blank(s->p + s->at, s->n - s->at))
            s->at++;
        kind = T_WORD;
    } else {
        s->at++;
    }
    return (struct token){kind, s->p + from, s->at - from};
}

static bool is(struct token t, const char *word)
{
    return t.kind == T_WORD && t.n == strlen(word) && strncasecmp(t.p, word, t.n) == 0;
}

static bool is_any(struct token t, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (is(t, words[i]))
            return true;
    }
    return false;
}
#define IS_ANY(t, ...)                                                                                       \
    is_any((t), (const char *const[]){__VA_ARGS__},                                                          \
           sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static struct token first(struct scan *s)
{
    struct token t = next(s);
    while (t.kind == T_OTHER && (*t.p == ';' || *t.p == '('))
        t = next(s);
    return t;
}

static int refuse(struct err *e, const char *what)
{
    return err_set(e, ERR_DENIED, "42501", "%s is not allowed here", what);
}

bool duck__policy_pivot(const char *sql, size_t n)
{
    struct scan s = {.p = sql, .n = n};
    struct token t = first(&s);
    return IS_ANY(t, "pivot", "pivot_wider", "select", "with", "from");
}

/* What a word, a quoted name or a string says, lower case, as far as it fits; false when it is none of them. The
 * engine takes strings for names of tables too. */
static bool said(struct token t, char *out, size_t size, bool *ret_string)
{
    const char *p = t.p, *end = t.p + t.n;
    bool escapes = t.n > 2 && (*p | 32) == 'e' && p[1] == '\'';
    *ret_string = t.kind == T_OTHER && t.n > 1;
    if (t.kind == T_WORD)
        escapes = false;
    else if (t.kind == T_QUOTED || *p == '\'' || escapes)
        p += escapes ? 2 : 1, end -= end > p;
    else if (*p == '$' && t.n > 1)
        for (const char *tag = memchr(p + 1, '$', t.n - 1); tag && p == t.p;)
            p = tag + 1, end -= tag + 1 - t.p;
    else
        return false;
    size_t n = 0;
    for (; p < end && n + 1 < size; n++) {
        unsigned v = (unsigned char)*p++;
        int len = 0;
        if (escapes && v == '\\' && p < end) {
            v = (unsigned char)*p++;
            if (v == 'x' && sscanf(p, "%2x%n", &v, &len) == 1)
                p += len;
            else if ((v == 'u' || v == 'U') && sscanf(p, v == 'u' ? "%4x%n" : "%8x%n", &v, &len) == 1)
                p += len;
            else if (v >= '0' && v <= '7' && sscanf(p - 1, "%3o%n", &v, &len) == 1)
                p += len - 1;
        }
        out[n] = (char)tolower((int)(v & 0xFF));
    }
    out[n] = 0;
    return true;
}

/* The name of one of the engine's telling views, wherever it stands ("views" only behind its schema), also as a
 * string; "" for what may hide one: a string in two pieces, and the table function histogram, which reads the
 * table that its text names. NULL: none. */
static const char *telling(const char *sql, size_t n)
{
    struct scan s = {.p = sql, .n = n};
    char word[32];
    bool string = false, schema = false, from = false; /* what the last token was */
    for (;;) {
        struct token t = next(&s);
        /* behind an open comment in doubt everything is what it might be */
        bool after_string = s.open || string, after_schema = s.open || schema, after_from = s.open || from;
        if (t.kind == T_END)
            return NULL;
        if (t.kind == T_UNSURE) {
            s.at += 2;
            continue;
        }
        if (!said(t, word, sizeof word, &string)) {
            schema = after_schema && *t.p == '.';
            from = *t.p == ',';
            continue;
        }
        if ((after_string && string) || (after_from && strcmp(word, "histogram") == 0))
            return "";
        for (size_t i = 0; i < sizeof telling_views / sizeof *telling_views; i++)
            if (strcmp(word, telling_views[i]) == 0 && (strcmp(word, "views") != 0 || after_schema) &&
                !(string && strcmp(word, INTERNAL_SCHEMA) == 0)) /* no string makes a schema */
                return telling_views[i];
        schema = strcmp(word, "information_schema") == 0;
        from = IS_ANY(t, "from", "join", "lateral");
    }
}

/* Behind the parenthesis of current_setting: is it the name of a setting that tells nothing of the machine, as one
 * string? The paths of the catalog and of datasets are settings too. */
static bool harmless_setting(struct scan s)
{
    static const char *const known[] = {
        "timezone",         "calendar",      "search_path",        "schema",
        "integer_division", "default_order", "default_null_order", "default_collation"};
    char word[32];
    bool string;
    struct token name = next(&s), close = next(&s);
    if (name.kind != T_OTHER || *name.p != '\'' || !said(name, word, sizeof word, &string) || !string ||
        close.kind != T_OTHER || *close.p != ')')
        return false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(word, known[i]) == 0)
            return true;
    return false;
}

/* The name of a function in the list that stands before a parenthesis somewhere, or NULL. */
static const char *suspicious(const char *sql, size_t n)
{
    struct scan s = {.p = sql, .n = n};
    const char *last = NULL;
    for (;;) {
        struct token t = next(&s);
        if (t.kind == T_END)
            return NULL;
        if (t.kind == T_UNSURE) { /* an open comment: look at what is inside it too */
            s.at += 2;
            continue;
        }
        if (last && (s.open || (t.kind == T_OTHER && *t.p == '('))) {
            if (s.open || last != SETTING || !harmless_setting(s))
                return last;
        }
        last = NULL;
        const char *p = t.p;
        size_t len = t.n;
        if (t.kind == T_QUOTED && len >= 2) {
            p++;
            len -= 2;
        } else if (t.kind != T_WORD) {
            continue;
        }
        for (size_t i = 0; i < sizeof side_effects / sizeof *side_effects; i++) {
            if (len == strlen(side_effects[i]) && strncasecmp(p, side_effects[i], len) == 0)
                last = side_effects[i];
        }
    }
}

static bool tree_has(const char *tree, size_t n, const char *key, const char *const *names, size_t count)
{
    bool hit = false;
    for (size_t i = 0; !hit && i < count; i++) {
        char want[96];
        int w = snprintf(want, sizeof want, "\"%s\":\"%s\"", key, names[i]);
        hit = memmem(tree, n, want, (size_t)w) != NULL;
    }
    return hit;
}

/* Whether a table is made by the function histogram. */
static bool tree_has_histogram(const char *tree, size_t n)
{
    static const char table[] = "\"type\":\"table_function\"", name[] = "\"function_name\":\"",
                      histogram[] = "histogram\"";
    const char *end = tree + n, *p = tree;
    while ((p = memmem(p, (size_t)(end - p), table, sizeof table - 1))) {
        p = memmem(p, (size_t)(end - p), name, sizeof name - 1);
        if (!p)
            return true;
        p += sizeof name - 1;
        if ((size_t)(end - p) >= sizeof histogram - 1 && memcmp(p, histogram, sizeof histogram - 1) == 0)
            return true;
    }
    return false;
}

/* Whether the engine's own parse tree of this SELECT calls one of the functions or reads one of the views. True
 * when it cannot say. */
static bool tree_has_one(duckdb_connection c, const char *sql, size_t n)
{
    bool hit = true;
    duckdb_prepared_statement ps = NULL;
    duckdb_result r;
    memset(&r, 0, sizeof r);
    if (duckdb_prepare(c, "SELECT lower(json_serialize_sql($1::VARCHAR)::VARCHAR)", &ps) == DuckDBSuccess &&
        duckdb_bind_varchar_length(ps, 1, sql, n) == DuckDBSuccess &&
        duckdb_execute_prepared(ps, &r) == DuckDBSuccess) {
        duckdb_data_chunk chunk = duckdb_fetch_chunk(r);
        if (chunk && duckdb_data_chunk_get_size(chunk) == 1) {
            duckdb_string_t *text = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
            const char *p = duckdb_string_t_data(text);
            size_t len = duckdb_string_t_length(*text);
            hit =
                !memmem(p, len, "{\"error\":false", 14) || tree_has_histogram(p, len) ||
                tree_has(p, len, "function_name", side_effects, sizeof side_effects / sizeof *side_effects) ||
                tree_has(p, len, "table_name", telling_views, sizeof telling_views / sizeof *telling_views);
        }
        if (chunk)
            duckdb_destroy_data_chunk(&chunk);
    }
    duckdb_destroy_result(&r);
    duckdb_destroy_prepare(&ps);
    return hit;
}

#define NO_DROP  "DROP of anything but a table, a view or a schema"
#define NO_ALTER "ALTER of anything but a table or a view"

static int check_create(struct scan *s, struct err *e)
{
    struct token t = next(s);
    if (is(t, "or")) {
        t = next(s);
        if (!is(t, "replace"))
            return refuse(e, "this form of CREATE");
        t = next(s);
    }
    if (is(t, "recursive"))
        t = next(s);
    if (IS_ANY(t, "temp", "temporary", "local", "global", "unlogged"))
        return refuse(e, "CREATE TEMPORARY");
    return IS_ANY(t, "table", "view", "schema")
               ? 0
               : refuse(e, "CREATE of anything but a table, a view or a schema");
}

static int check_object(struct scan *s, const char *message, bool alter, struct err *e)
{
    struct token t = next(s);
    if (alter && is(t, "schema"))
        return refuse(e, message);
    return IS_ANY(t, "table", "view", "schema") ? 0 : refuse(e, message);
}

/* CREATE, DROP or ALTER: kind of object. */
static int check_kind(int type, const char *sql, size_t n, struct err *e)
{
    struct scan s = {.p = sql, .n = n};
    struct token t = first(&s);
    if (type == DUCKDB_STATEMENT_TYPE_CREATE && is(t, "create"))
        return check_create(&s, e);
    if (type == DUCKDB_STATEMENT_TYPE_DROP && is(t, "drop"))
        return check_object(&s, NO_DROP, false, e);
    if (type == DUCKDB_STATEMENT_TYPE_ALTER && is(t, "alter"))
        return check_object(&s, NO_ALTER, true, e);
    return refuse(e, "this form of the statement");
}

/* The library reads a run of operator characters to its end for each comment in it, and for each sign of it goes
 * back over it for each character: a megabyte would take hours, which no interrupt ends. */
#define RUN_COST_MAX ((uint64_t)1 << 26)

static size_t operator_run(const char *sql, size_t n, size_t at)
{
    while (at < n && strchr("~!@#^&|`?+-*/%<>=", sql[at]) && sql[at])
        at++;
    return at;
}

int duck__policy_runs(const char *sql, size_t n, struct err *e)
{
    struct scan s = {.p = sql, .n = n};
    size_t run = 0;     /* end of the run that the place looked at is in, if it is in one */
    unsigned depth = 0; /* of comments */
    for (uint64_t cost = 0; s.at < n;) {
        const char *p = sql + s.at;
        bool two = s.at + 1 < n, open = two && p[0] == '/' && p[1] == '*',
             close = two && p[0] == '*' && p[1] == '/', sign = !depth && (*p == '+' || *p == '-');
        if (!depth && two && p[0] == '-' && p[1] == '-') {
            (void)skip_blank(&s);
            continue;
        }
        if ((open || sign) && s.at >= run) {
            run = operator_run(sql, n, s.at);
            cost = 0;
        }
        uint64_t left = open || sign ? run - s.at : 0;
        cost += sign ? left * left : left;
        if (cost > RUN_COST_MAX)
            return err_set(e, ERR_LIMIT, "54001",
                           "signs and comments without anything between them are too many to be read");
        if (open || (close && depth)) {
            depth += open ? 1u : -1u;
            s.at += 2;
        } else if (depth || sign) {
            s.at++;
        } else if (sql_blank(p, n - s.at)) {
            s.at += sql_blank(p, n - s.at);
        } else {
            (void)next(&s);
        }
    }
    return 0;
}

int duck__policy_text(const char *sql, size_t n, struct err *e)
{
    struct scan s = {.p = sql, .n = n};
    struct token t = first(&s);
    if (t.kind == T_UNSURE)
        return refuse(e, "an open comment before the statement");
    if (IS_ANY(t, "pragma", "set", "reset", "attach", "detach", "copy", "export", "import", "install", "load",
               "call", "use", "checkpoint", "vacuum", "analyze", "begin", "start", "commit", "rollback",
               "abort", "prepare", "execute", "deallocate", "comment", "force", "grant", "revoke",
               "truncate")) {
        char word[32];
        size_t len = t.n < sizeof word ? t.n : sizeof word - 1;
        for (size_t i = 0; i < len; i++)
            word[i] = (char)toupper((unsigned char)t.p[i]);
        word[len] = 0;
        if (strcmp(word, "TRUNCATE") == 0)
            return 0; /* the engine calls it DELETE */
        return refuse(e, word);
    }
    if (is(t, "create"))
        return check_create(&s, e);
    if (is(t, "drop"))
        return check_object(&s, NO_DROP, false, e);
    if (is(t, "alter"))
        return check_object(&s, NO_ALTER, true, e);
    return 0;
}

static int check_type(int type, const char *sql, size_t n, bool allow_write, struct statement *ret,
                      struct err *e)
{
    bool write = true;
    switch (type) {
    case DUCKDB_STATEMENT_TYPE_SELECT:
        write = false;
        ret->kind = WIRE_KIND_ROWS;
        break;
    case DUCKDB_STATEMENT_TYPE_INSERT:
    case DUCKDB_STATEMENT_TYPE_UPDATE:
    case DUCKDB_STATEMENT_TYPE_DELETE:
    case DUCK_STATEMENT_MERGE:
        ret->kind = WIRE_KIND_UPDATE;
        break;
    case DUCKDB_STATEMENT_TYPE_CREATE:
    case DUCKDB_STATEMENT_TYPE_DROP:
    case DUCKDB_STATEMENT_TYPE_ALTER: {
        int r = check_kind(type, sql, n, e);
        if (r < 0)
            return r;
        ret->kind = WIRE_KIND_DDL;
        break;
    }
    default:
        return refuse(e, "this kind of statement");
    }
    if (write && !allow_write)
        return err_set(e, ERR_DENIED, "0A000", "a statement that changes data is not allowed here");
    ret->type = type;
    ret->writes = write;
    return 0;
}

/* EXPLAIN [ANALYZE] [(options)] inner: the inner statement must be allowed by itself. */
static int check_explain(duckdb_connection c, const struct wire_job *job, struct statement *ret,
                         struct err *e)
{
    struct scan s = {.p = job->sql, .n = job->sql_len};
    struct token t = first(&s);
    if (!is(t, "explain"))
        return refuse(e, "this form of EXPLAIN");
    size_t at = s.at;
    for (;;) {
        t = next(&s);
        if (IS_ANY(t, "analyze", "analyse", "verbose")) {
            at = s.at;
            continue;
        }
        if (t.kind == T_OTHER && *t.p == '(') { /* options, or a SELECT in parentheses */
            struct scan inside = s;
            struct token w = next(&inside);
            if (IS_ANY(w, "select", "with", "from", "values", "table") || (w.kind == T_OTHER && *w.p == '('))
                break;
            while (w.kind != T_END && w.kind != T_UNSURE && !(w.kind == T_OTHER && *w.p == ')'))
                w = next(&inside);
            s = inside;
            at = s.at;
            continue;
        }
        break;
    }
    char *inner = strndup(job->sql + at, job->sql_len - at);
    if (!inner)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    duckdb_extracted_statements ex = NULL;
    duckdb_prepared_statement ps = NULL;
    int type = 0;
    if (duckdb_extract_statements(c, inner, &ex) == 1 &&
        duckdb_prepare_extracted_statement(c, ex, 0, &ps) == DuckDBSuccess)
        type = (int)duckdb_prepared_statement_type(ps);
    duckdb_destroy_prepare(&ps);
    duckdb_destroy_extracted(&ex);
    struct statement in = {0};
    /* The engine explains a write only where it could run. */
    int r = type ? duck__policy_text(inner, strlen(inner), e) : refuse(e, "EXPLAIN of this statement");
    if (!r)
        r = check_type(type, inner, strlen(inner), job->allow_write, &in, e);
    free(inner);
    if (r < 0)
        return r;
    *ret = (struct statement){
        .type = DUCKDB_STATEMENT_TYPE_EXPLAIN, .kind = WIRE_KIND_TEXT, .writes = in.writes};
    return 0;
}

static bool has_word(const char *sql, size_t n, const char *word)
{
    struct scan s = {.p = sql, .n = n};
    for (struct token t = next(&s); t.kind != T_END; t = next(&s)) {
        if (t.kind == T_UNSURE)
            s.at += 2;
        if (is(t, word))
            return true;
    }
    return false;
}

bool duck__policy_mentions_any(const char *sql, size_t n, const char *const *names, size_t count)
{
    struct scan s = {.p = sql, .n = n};
    for (struct token t = next(&s); t.kind != T_END; t = next(&s)) {
        if (t.kind == T_UNSURE)
            s.at += 2;
        bool quoted = t.kind == T_QUOTED && t.n >= 2;
        if (!quoted && t.kind != T_WORD)
            continue;
        const char *p = t.p + (quoted ? 1 : 0);
        size_t len = t.n - (quoted ? 2 : 0);
        for (size_t i = 0; i < count; i++) {
            if (strncasecmp(p, names[i], len) == 0 && !names[i][len])
                return true;
        }
    }
    return false;
}

bool duck__policy_mentions(const char *sql, size_t n, const char *name)
{
    return duck__policy_mentions_any(sql, n, &name, 1);
}

int duck__policy_functions(duckdb_connection c, const struct wire_job *job, struct err *e)
{
    const char *function = suspicious(job->sql, job->sql_len), *view = telling(job->sql, job->sql_len);
    if ((!function && !view) ||
        !tree_has_one(c, job->sql, job->sql_len)) /* of a SELECT; of others it has none */
        return 0;
    return err_set(e, ERR_DENIED, "42501", "the %s %s is not allowed here",
                   function                             ? "function"
                   : strcmp(view, INTERNAL_SCHEMA) == 0 ? "schema"
                                                        : "view",
                   function ? function
                   : *view  ? view
                            : "that this statement may read");
}

int duck__policy(struct duck *d, duckdb_connection c, const struct wire_job *job,
                 duckdb_prepared_statement ps, struct statement *ret, struct err *e)
{
    (void)d;
    struct statement st = {0};
    int type = (int)duckdb_prepared_statement_type(ps);
    int r = type == DUCKDB_STATEMENT_TYPE_EXPLAIN
                ? check_explain(c, job, &st, e)
                : check_type(type, job->sql, job->sql_len, job->allow_write, &st, e);
    if (r < 0)
        return r;
    struct scan s = {.p = job->sql, .n = job->sql_len};
    struct token t = first(&s);
    if (st.kind == WIRE_KIND_ROWS && IS_ANY(t, "show", "describe", "desc", "summarize"))
        st.kind = WIRE_KIND_SHOW;
    if (st.kind == WIRE_KIND_UPDATE && has_word(job->sql, job->sql_len, "returning")) {
        st.returning = true;
        st.kind = WIRE_KIND_ROWS;
    }
    *ret = st;
    return 0;
}

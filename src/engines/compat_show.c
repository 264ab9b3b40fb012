/*
 * compat_show: SHOW, DESCRIBE and EXPLAIN of the Trino family, as SELECTs of the engine with Trino's column
 * names.
 *
 * Only what the user may see: no system databases, no schema of our own, no text of a dataset's view. Columns
 * and types come from the engine's plan of SELECT * of the named table, so that views and datasets show what
 * a query of them gives. Names that do not exist are errors as in Trino. Job thread.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engines/compat_int.h"

#define HIDDEN_SCHEMAS "('quern_internal','quern_nowhere','quern_trino','quern_pg','pg_catalog')"

struct name {
    char part[3][256];
    uint32_t n;
};

static int fail(const struct clex *l, uint32_t i, struct err *e, const char *state, const char *format,
                const char *what)
{
    char text[600];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof text, format, what);
#pragma GCC diagnostic pop
    err_set(e, ERR_INVALID, state, "%s", text);
    duck__position(e, l->p, l->n, l->t[i < l->count ? i : l->count].at);
    return ERR_INVALID;
}

static int syntax(const struct clex *l, uint32_t i, struct err *e)
{
    char near[80];
    const struct ctoken *t = &l->t[i < l->count ? i : l->count];
    snprintf(near, sizeof near, "%.*s", t->n < 60 ? (int)t->n : 60, l->p + t->at);
    return fail(l, i, e, "42601", t->n ? "syntax error at or near \"%s\"" : "syntax error at end of input%s",
                near);
}

/* a.b.c; false when it is none, *i is after it. Unquoted parts in lower case. */
static bool read_name(const struct clex *l, uint32_t *i, struct name *ret)
{
    memset(ret, 0, sizeof *ret);
    for (;;) {
        if (*i >= l->count || ret->n == 3)
            return false;
        const struct ctoken *t = &l->t[*i];
        const char *p = l->p + t->at;
        size_t n = t->n, k = 0;
        bool quoted = t->kind == CT_QUOTED;
        if (!quoted && t->kind != CT_WORD)
            return false;
        for (size_t j = quoted; j < n - quoted; j++) {
            if (quoted && p[j] == '"')
                j++;
            if (k + 1 >= sizeof ret->part[0])
                return false;
            ret->part[ret->n][k++] = quoted ? p[j] : (char)tolower((unsigned char)p[j]);
        }
        ret->n++;
        ++*i;
        if (!compat_op(l, *i, '.'))
            return true;
        ++*i;
    }
}

static bool at_end(const struct clex *l, uint32_t i)
{
    while (compat_op(l, i, ';'))
        i++;
    return i >= l->count;
}

/* [LIKE 'p' [ESCAPE 'e']] and the end; appends the condition on `column`. */
static int read_like(const struct clex *l, uint32_t i, const char *column, struct buf *cond, struct err *e)
{
    if (compat_is(l, i, "like")) {
        if (i + 1 >= l->count || l->t[i + 1].kind != CT_STRING || l->t[i + 1].prefix)
            return syntax(l, i + 1, e);
        (void)buf_printf(cond, " AND %s LIKE %.*s", column, (int)l->t[i + 1].n, l->p + l->t[i + 1].at);
        i += 2;
        if (compat_is(l, i, "escape") && i + 1 < l->count && l->t[i + 1].kind == CT_STRING &&
            !l->t[i + 1].prefix) {
            (void)buf_printf(cond, " ESCAPE %.*s", (int)l->t[i + 1].n, l->p + l->t[i + 1].at);
            i += 2;
        }
    }
    return at_end(l, i) ? FORM_DONE : syntax(l, i, e);
}

/* Whether the query gives a row. */
static bool any_row(duckdb_connection c, const char *sql)
{
    duckdb_result r;
    memset(&r, 0, sizeof r);
    bool any = false;
    if (sql && duckdb_query(c, sql, &r) == DuckDBSuccess) {
        duckdb_data_chunk chunk = duckdb_fetch_chunk(r);
        any = chunk && duckdb_data_chunk_get_size(chunk) > 0;
        if (chunk)
            duckdb_destroy_data_chunk(&chunk);
    }
    duckdb_destroy_result(&r);
    return any;
}

#define VISIBLE "database_name NOT IN ('system','temp','memory') AND schema_name NOT IN " HIDDEN_SCHEMAS

static bool visible(duckdb_connection c, const char *catalog, const char *schema)
{
    CLEANUP_BUF struct buf b = BUF_INIT(8192);
    (void)buf_str_add(&b, "SELECT 1 FROM system.main.duckdb_schemas() WHERE " VISIBLE
                          " AND lower(database_name)=lower(");
    duck__quote(&b, '\'', catalog);
    (void)buf_char(&b, ')');
    if (schema) {
        (void)buf_str_add(&b, " AND lower(schema_name)=lower(");
        duck__quote(&b, '\'', schema);
        (void)buf_char(&b, ')');
    }
    return any_row(c, buf_str(&b));
}

static int show_catalogs(const struct clex *l, uint32_t i, struct buf *out, struct err *e)
{
    CLEANUP_BUF struct buf cond = BUF_INIT(1u << 20);
    int r = read_like(l, i, "\"Catalog\"", &cond, e);
    const char *like = buf_str(&cond);
    (void)buf_printf(out,
                     "SELECT \"Catalog\" FROM (SELECT DISTINCT database_name AS \"Catalog\" FROM "
                     "duckdb_schemas() WHERE " VISIBLE ") WHERE true%s ORDER BY 1",
                     like ? like : "");
    return r;
}

static int show_schemas(duckdb_connection c, const struct clex *l, uint32_t i, const struct wire_job *job,
                        struct buf *out, struct err *e)
{
    struct name n = {0};
    uint32_t at = i;
    if (compat_is(l, i, "from") || compat_is(l, i, "in")) {
        at = ++i;
        if (!read_name(l, &i, &n) || n.n != 1)
            return syntax(l, at, e);
    }
    const char *catalog = n.n ? n.part[0] : job->default_catalog;
    if (!*catalog)
        return fail(l, at, e, "3DM00", "Catalog must be specified when session catalog is not set%s", "");
    if (!visible(c, catalog, NULL))
        return fail(l, at, e, "3D000", "Catalog '%s' not found", catalog);
    CLEANUP_BUF struct buf cond = BUF_INIT(1u << 20);
    int r = read_like(l, i, "schema_name", &cond, e);
    const char *like = buf_str(&cond);
    (void)buf_str_add(out, "SELECT schema_name AS \"Schema\" FROM duckdb_schemas() WHERE " VISIBLE
                           " AND lower(database_name)=lower(");
    duck__quote(out, '\'', catalog);
    (void)buf_printf(out, ")%s ORDER BY 1", like ? like : "");
    return r;
}

static int show_tables(duckdb_connection c, const struct clex *l, uint32_t i, const struct wire_job *job,
                       struct buf *out, struct err *e)
{
    struct name n = {0};
    uint32_t at = i;
    if (compat_is(l, i, "from") || compat_is(l, i, "in")) {
        at = ++i;
        if (!read_name(l, &i, &n) || n.n > 2)
            return syntax(l, at, e);
    }
    const char *catalog = n.n == 2 ? n.part[0] : job->default_catalog;
    const char *schema = n.n == 2 ? n.part[1] : n.n == 1 ? n.part[0] : job->default_schema;
    if (!*catalog)
        return fail(l, at, e, "3DM00", "Catalog must be specified when session catalog is not set%s", "");
    if (!*schema)
        return fail(l, at, e, "3FM00", "Schema must be specified when session schema is not set%s", "");
    if (!visible(c, catalog, NULL))
        return fail(l, at, e, "3D000", "Catalog '%s' not found", catalog);
    if (!visible(c, catalog, schema))
        return fail(l, at, e, "3F000", "Schema '%s' does not exist", schema);
    CLEANUP_BUF struct buf cond = BUF_INIT(1u << 20);
    int r = read_like(l, i, "table_name", &cond, e);
    const char *like = buf_str(&cond);
    (void)buf_str_add(out, "SELECT table_name AS \"Table\" FROM system.information_schema.tables WHERE "
                           "lower(table_catalog)=lower(");
    duck__quote(out, '\'', catalog);
    (void)buf_str_add(out, ") AND lower(table_schema)=lower(");
    duck__quote(out, '\'', schema);
    (void)buf_printf(out, ")%s ORDER BY 1", like ? like : "");
    return r;
}

static int show_functions(duckdb_connection c, const struct clex *l, uint32_t i, struct buf *out,
                          struct err *e)
{
    struct name n;
    bool any;
    if (compat_macros_rest(c, WIRE_PROFILE_TRINO, &any, e) < 0)
        return e->code;
    if ((compat_is(l, i, "from") || compat_is(l, i, "in")) && (++i, !read_name(l, &i, &n)))
        return syntax(l, i, e);
    CLEANUP_BUF struct buf cond = BUF_INIT(1u << 20);
    int r = read_like(l, i, "function_name", &cond, e);
    const char *like = buf_str(&cond);
    (void)buf_printf(
        out,
        "SELECT DISTINCT function_name AS \"Function\", lower(coalesce(return_type,'')) AS \"Return Type\", "
        "lower(array_to_string(coalesce(parameter_types,[]),', ')) AS \"Argument Types\", "
        "CASE function_type WHEN 'macro' THEN 'scalar' ELSE function_type END AS \"Function Type\", "
        "stability IS DISTINCT FROM 'VOLATILE' AS \"Deterministic\", coalesce(description,'') AS "
        "\"Description\" "
        "FROM duckdb_functions() WHERE function_type IN ('scalar','aggregate','macro') AND "
        "regexp_matches(function_name,'^[a-z]') AND NOT starts_with(function_name,'quern_') "
        "AND (database_name='system' OR schema_name='quern_trino')%s ORDER BY ALL",
        like ? like : "");
    return r;
}

/* ---- columns ---- */

/* The type as Trino writes it. */
static void type_text(struct buf *b, duckdb_logical_type t, unsigned depth)
{
    static const struct {
        duckdb_type id;
        const char *name;
    } names[] = {{DUCKDB_TYPE_BOOLEAN, "boolean"},
                 {DUCKDB_TYPE_TINYINT, "tinyint"},
                 {DUCKDB_TYPE_SMALLINT, "smallint"},
                 {DUCKDB_TYPE_INTEGER, "integer"},
                 {DUCKDB_TYPE_BIGINT, "bigint"},
                 {DUCKDB_TYPE_HUGEINT, "decimal(38,0)"},
                 {DUCKDB_TYPE_UTINYINT, "smallint"},
                 {DUCKDB_TYPE_USMALLINT, "integer"},
                 {DUCKDB_TYPE_UINTEGER, "bigint"},
                 {DUCKDB_TYPE_UBIGINT, "decimal(20,0)"},
                 {DUCKDB_TYPE_FLOAT, "real"},
                 {DUCKDB_TYPE_DOUBLE, "double"},
                 {DUCKDB_TYPE_BLOB, "varbinary"},
                 {DUCKDB_TYPE_DATE, "date"},
                 {DUCKDB_TYPE_TIME, "time(6)"},
                 {DUCKDB_TYPE_TIME_TZ, "time(6) with time zone"},
                 {DUCKDB_TYPE_TIMESTAMP_S, "timestamp(0)"},
                 {DUCKDB_TYPE_TIMESTAMP_MS, "timestamp(3)"},
                 {DUCKDB_TYPE_TIMESTAMP, "timestamp(6)"},
                 {DUCKDB_TYPE_TIMESTAMP_NS, "timestamp(9)"},
                 {DUCKDB_TYPE_TIMESTAMP_TZ, "timestamp(6) with time zone"},
                 {DUCKDB_TYPE_INTERVAL, "interval day to second"},
                 {DUCKDB_TYPE_UUID, "uuid"}};
    duckdb_type id = duckdb_get_type_id(t);
    const char *plain = "varchar";
    if (id == DUCKDB_TYPE_VARCHAR) {
        char *alias = duckdb_logical_type_get_alias(t);
        if (alias && strcasecmp(alias, "json") == 0)
            plain = "json";
        if (alias)
            duckdb_free(alias);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].id == id)
            plain = names[i].name;
    }
    if (depth > 32) {
        (void)buf_str_add(b, "varchar");
    } else if (id == DUCKDB_TYPE_DECIMAL) {
        (void)buf_printf(b, "decimal(%u,%u)", duckdb_decimal_width(t), duckdb_decimal_scale(t));
    } else if (id == DUCKDB_TYPE_LIST || id == DUCKDB_TYPE_ARRAY) {
        duckdb_logical_type child =
            id == DUCKDB_TYPE_LIST ? duckdb_list_type_child_type(t) : duckdb_array_type_child_type(t);
        (void)buf_str_add(b, "array(");
        type_text(b, child, depth + 1);
        (void)buf_char(b, ')');
        duckdb_destroy_logical_type(&child);
    } else if (id == DUCKDB_TYPE_MAP) {
        duckdb_logical_type key = duckdb_map_type_key_type(t), value = duckdb_map_type_value_type(t);
        (void)buf_str_add(b, "map(");
        type_text(b, key, depth + 1);
        (void)buf_str_add(b, ", ");
        type_text(b, value, depth + 1);
        (void)buf_char(b, ')');
        duckdb_destroy_logical_type(&key);
        duckdb_destroy_logical_type(&value);
    } else if (id == DUCKDB_TYPE_STRUCT) {
        (void)buf_str_add(b, "row(");
        for (idx_t i = 0; i < duckdb_struct_type_child_count(t); i++) {
            char *name = duckdb_struct_type_child_name(t, i);
            duckdb_logical_type child = duckdb_struct_type_child_type(t, i);
            (void)buf_printf(b, "%s%s%s", i ? ", " : "", name && *name ? name : "", name && *name ? " " : "");
            type_text(b, child, depth + 1);
            if (name)
                duckdb_free(name);
            duckdb_destroy_logical_type(&child);
        }
        (void)buf_char(b, ')');
    } else {
        (void)buf_str_add(b, plain);
    }
}

static bool simple(const char *s)
{
    if (!islower((unsigned char)*s) && *s != '_')
        return false;
    return s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_")] == 0;
}

static void ident(struct buf *b, const char *s)
{
    if (simple(s))
        (void)buf_str_add(b, s);
    else
        duck__quote(b, '"', s);
}

struct relation {
    duckdb_prepared_statement ps;
    struct name full;
};

/* Prepares SELECT * of the table named at *i. */
static int relation(struct duck *d, duckdb_connection c, const struct clex *l, uint32_t *i,
                    const struct wire_job *job, struct relation *ret, struct err *e, uint32_t *kind)
{
    uint32_t at = *i;
    struct name n;
    memset(ret, 0, sizeof *ret);
    if (!read_name(l, i, &n))
        return syntax(l, at, e);
    for (uint32_t k = 0; k < n.n; k++) {
        if (strncasecmp(n.part[k], "quern_", 6) == 0 && k + 1 < n.n)
            return fail(l, at, e, "3F000", "Schema '%s' does not exist", n.part[k]);
    }
    if (n.n < 3 && !*job->default_catalog)
        return fail(l, at, e, "3DM00", "Catalog must be specified when session catalog is not set%s", "");
    if (n.n < 2 && !*job->default_schema)
        return fail(l, at, e, "3FM00", "Schema must be specified when session schema is not set%s", "");
    snprintf(ret->full.part[0], sizeof ret->full.part[0], "%s", n.n == 3 ? n.part[0] : job->default_catalog);
    snprintf(ret->full.part[1], sizeof ret->full.part[1], "%s",
             n.n == 3   ? n.part[1]
             : n.n == 2 ? n.part[0]
                        : job->default_schema);
    snprintf(ret->full.part[2], sizeof ret->full.part[2], "%s", n.part[n.n - 1]);
    CLEANUP_BUF struct buf b = BUF_INIT(8192);
    (void)buf_str_add(&b, "SELECT * FROM ");
    for (uint32_t k = 0; k < 3; k++) {
        if (k)
            (void)buf_char(&b, '.');
        duck__quote(&b, '"', ret->full.part[k]);
    }
    if (!visible(c, ret->full.part[0], NULL))
        return fail(l, at, e, "3D000", "Catalog '%s' not found", ret->full.part[0]);
    if (!visible(c, ret->full.part[0], ret->full.part[1]))
        return fail(l, at, e, "3F000", "Schema '%s' does not exist", ret->full.part[1]);
    const char *sql = buf_str(&b);
    if (!sql || duckdb_prepare(c, sql, &ret->ps) != DuckDBSuccess) {
        int r =
            duck__error(d, ret->ps ? duckdb_prepare_error(ret->ps) : "out of memory", 0, NULL, 0, e, kind);
        duckdb_destroy_prepare(&ret->ps);
        duck__position(e, l->p, l->n, l->t[at].at);
        return r;
    }
    return 0;
}

static int show_columns(struct duck *d, duckdb_connection c, const struct clex *l, uint32_t i,
                        const struct wire_job *job, struct buf *out, struct err *e, uint32_t *kind)
{
    struct relation rel;
    int r = relation(d, c, l, &i, job, &rel, e, kind);
    if (r < 0)
        return r;
    CLEANUP_BUF struct buf cond = BUF_INIT(1u << 20);
    r = read_like(l, i, "\"Column\"", &cond, e);
    (void)buf_str_add(out, "SELECT \"Column\",\"Type\",\"Extra\",\"Comment\" FROM (VALUES ");
    for (idx_t k = 0; r > 0 && k < duckdb_prepared_statement_column_count(rel.ps); k++) {
        const char *name = duckdb_prepared_statement_column_name(rel.ps, k);
        duckdb_logical_type t = duckdb_prepared_statement_column_logical_type(rel.ps, k);
        CLEANUP_BUF struct buf type = BUF_INIT(1u << 20);
        type_text(&type, t, 0);
        const char *text = buf_str(&type);
        (void)buf_printf(out, "%s(%u,", k ? "," : "", (unsigned)k);
        duck__quote(out, '\'', name ? name : "");
        (void)buf_char(out, ',');
        duck__quote(out, '\'', text ? text : "");
        (void)buf_str_add(out, ",'','')");
        if (name)
            duckdb_free((void *)(uintptr_t)name);
        duckdb_destroy_logical_type(&t);
    }
    const char *like = buf_str(&cond);
    (void)buf_printf(out, ") AS t(i,\"Column\",\"Type\",\"Extra\",\"Comment\") WHERE true%s ORDER BY i",
                     like ? like : "");
    duckdb_destroy_prepare(&rel.ps);
    return r;
}

static bool not_null(duckdb_connection c, const struct name *t, const char *column)
{
    CLEANUP_BUF struct buf b = BUF_INIT(64 * 1024);
    static const char *const fields[] = {"database_name", "schema_name", "table_name"};
    (void)buf_str_add(&b,
                      "SELECT 1 FROM system.main.duckdb_columns() WHERE NOT is_nullable AND column_name=");
    duck__quote(&b, '\'', column);
    for (int k = 0; k < 3; k++) {
        (void)buf_printf(&b, " AND lower(%s)=lower(", fields[k]);
        duck__quote(&b, '\'', t->part[k]);
        (void)buf_char(&b, ')');
    }
    return any_row(c, buf_str(&b));
}

static int show_create_table(struct duck *d, duckdb_connection c, const struct clex *l, uint32_t i,
                             struct compat *x, struct buf *out, struct err *e, uint32_t *kind)
{
    struct relation rel;
    int r = relation(d, c, l, &i, &x->job, &rel, e, kind);
    if (r < 0)
        return r;
    CLEANUP_BUF struct buf text = BUF_INIT(16u << 20);
    (void)buf_str_add(&text, "CREATE TABLE ");
    for (int k = 0; k < 3; k++) {
        if (k)
            (void)buf_char(&text, '.');
        ident(&text, rel.full.part[k]);
    }
    (void)buf_str_add(&text, " (");
    for (idx_t k = 0; k < duckdb_prepared_statement_column_count(rel.ps); k++) {
        const char *name = duckdb_prepared_statement_column_name(rel.ps, k);
        duckdb_logical_type t = duckdb_prepared_statement_column_logical_type(rel.ps, k);
        (void)buf_str_add(&text, k ? ",\n   " : "\n   ");
        ident(&text, name ? name : "");
        (void)buf_char(&text, ' ');
        type_text(&text, t, 0);
        if (name && not_null(c, &rel.full, name))
            (void)buf_str_add(&text, " NOT NULL");
        if (name)
            duckdb_free((void *)(uintptr_t)name);
        duckdb_destroy_logical_type(&t);
    }
    (void)buf_str_add(&text, "\n)");
    duckdb_destroy_prepare(&rel.ps);
    const char *whole = buf_str(&text);
    (void)buf_str_add(out, "SELECT ");
    duck__quote(out, '\'', whole ? whole : "");
    (void)buf_str_add(out, " AS \"Create Table\"");
    x->has_kind = true;
    x->kind = WIRE_KIND_TEXT;
    x->text_column = "Create Table";
    return at_end(l, i) ? FORM_DONE : syntax(l, i, e);
}

int compat_show(struct duck *d, duckdb_connection c, const struct clex *l, struct compat *x, struct buf *out,
                struct err *e, uint32_t *kind)
{
    static const char *const query[] = {"select", "with", "values", "from", "table", "input", "output", NULL};
    *kind = WIRE_FAIL_SQL;
    x->has_kind = true;
    x->kind = WIRE_KIND_SHOW;
    if (compat_is(l, 0, "show")) {
        if (compat_is(l, 1, "catalogs"))
            return show_catalogs(l, 2, out, e);
        if (compat_is(l, 1, "schemas") || compat_is(l, 1, "databases"))
            return show_schemas(c, l, 2, &x->job, out, e);
        if (compat_is(l, 1, "tables"))
            return show_tables(c, l, 2, &x->job, out, e);
        if (compat_is(l, 1, "functions"))
            return show_functions(c, l, 2, out, e);
        if (compat_is(l, 1, "columns") && (compat_is(l, 2, "from") || compat_is(l, 2, "in")))
            return show_columns(d, c, l, 3, &x->job, out, e, kind);
        if (compat_is(l, 1, "create") && (compat_is(l, 2, "table") || compat_is(l, 2, "view")))
            return show_create_table(d, c, l, 3, x, out, e, kind);
        return syntax(l, 1, e);
    }
    bool describe = compat_is(l, 0, "describe") || compat_is(l, 0, "desc");
    if (describe && l->count > 1 &&
        (l->t[1].kind == CT_QUOTED || (l->t[1].kind == CT_WORD && !compat_is_any(l, 1, query))))
        return show_columns(d, c, l, 1, &x->job, out, e, kind);
    x->has_kind = false;
    return FORM_NONE;
}

int compat_explain(const struct clex *l, struct buf *out, uint32_t *ret_inner, bool *ret_validate,
                   struct err *e)
{
    static const char *const formats[] = {"text", "graphviz", "json", NULL}, *const types[] = {
                                                                                 "logical", "distributed",
                                                                                 "validate", "io", NULL};
    uint32_t i = 1;
    if (!compat_is(l, 0, "explain"))
        return FORM_NONE;
    bool analyze = compat_is(l, i, "analyze"), json = false, dot = false;
    if (analyze)
        i++;
    if (analyze && compat_is(l, i, "verbose"))
        i++;
    if (compat_op(l, i, '(') && (compat_is(l, i + 1, "format") || compat_is(l, i + 1, "type"))) {
        uint32_t close = l->t[i].match;
        for (i++; i < close; i++) {
            bool format = compat_is(l, i, "format"), type = compat_is(l, i, "type");
            if ((!format && !type) || !compat_is_any(l, i + 1, format ? formats : types))
                return syntax(l, format || type ? i + 1 : i, e);
            json |= compat_is(l, i + 1, "json") || compat_is(l, i + 1, "io");
            dot |= compat_is(l, i + 1, "graphviz");
            *ret_validate |= compat_is(l, i + 1, "validate");
            i += 2;
            if (i < close && !compat_op(l, i, ','))
                return syntax(l, i, e);
        }
        i = close + 1;
    }
    (void)buf_str_add(out, analyze ? "EXPLAIN ANALYZE "
                           : json  ? "EXPLAIN (FORMAT JSON) "
                           : dot   ? "EXPLAIN (FORMAT GRAPHVIZ) "
                                   : "EXPLAIN ");
    *ret_inner = i;
    return FORM_EXPLAIN;
}

/*
 * duckdb_plan: from a job's text to a prepared, permitted, bound statement and the schema of its rows. Job
 * thread.
 *
 * Exactly one statement. Parameters are bound as values of their type: the engine casts the text once (SELECT
 * CAST($1 AS type)), so that a bad value is the caller's error, with the engine's rules, before anything
 * runs. Where a column has a type that only the engine can print, the statement is prepared a second time
 * inside a SELECT that casts it to VARCHAR.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "engines/compat_int.h"
#include "engines/duckdb_int.h"

static int engine_error(struct duck *d, const struct wire_job *job, const char *message, struct err *e,
                        uint32_t *kind)
{
    return duck__error(d, message ? message : "unknown error", 0, job->sql, job->sql_len, e, kind);
}

/* ---- parameters ---- */

static bool plain_type_name(const char *t)
{
    size_t n = strlen(t);
    if (n == 0 || n > 200 || !isalpha((unsigned char)t[0]))
        return false;
    int depth = 0;
    for (const char *p = t; *p; p++) {
        if (*p == '(' && depth++ == 1)
            return false;
        if (*p == ')' && depth-- == 0)
            return false;
        if (*p == ',' && depth == 0)
            return false;
        if (!isalnum((unsigned char)*p) && !strchr("_ (),[]", *p))
            return false;
    }
    return depth == 0;
}

static bool valid_row(duckdb_vector v, idx_t row)
{
    uint64_t *mask = duckdb_vector_get_validity(v);
    return !mask || duckdb_validity_row_is_valid(mask, row);
}

static duckdb_value scalar_value(duckdb_logical_type type, duckdb_vector v, idx_t row)
{
    void *start = duckdb_vector_get_data(v);
    switch (duckdb_get_type_id(type)) {
    case DUCKDB_TYPE_BOOLEAN:
        return duckdb_create_bool(((const bool *)start)[row]);
    case DUCKDB_TYPE_TINYINT:
        return duckdb_create_int8(((const int8_t *)start)[row]);
    case DUCKDB_TYPE_SMALLINT:
        return duckdb_create_int16(((const int16_t *)start)[row]);
    case DUCKDB_TYPE_INTEGER:
        return duckdb_create_int32(((const int32_t *)start)[row]);
    case DUCKDB_TYPE_BIGINT:
        return duckdb_create_int64(((const int64_t *)start)[row]);
    case DUCKDB_TYPE_UTINYINT:
        return duckdb_create_uint8(((const uint8_t *)start)[row]);
    case DUCKDB_TYPE_USMALLINT:
        return duckdb_create_uint16(((const uint16_t *)start)[row]);
    case DUCKDB_TYPE_UINTEGER:
        return duckdb_create_uint32(((const uint32_t *)start)[row]);
    case DUCKDB_TYPE_UBIGINT:
        return duckdb_create_uint64(((const uint64_t *)start)[row]);
    case DUCKDB_TYPE_HUGEINT:
        return duckdb_create_hugeint(((const duckdb_hugeint *)start)[row]);
    case DUCKDB_TYPE_FLOAT:
        return duckdb_create_float(((const float *)start)[row]);
    case DUCKDB_TYPE_DOUBLE:
        return duckdb_create_double(((const double *)start)[row]);
    case DUCKDB_TYPE_DATE:
        return duckdb_create_date(((const duckdb_date *)start)[row]);
    case DUCKDB_TYPE_TIME:
        return duckdb_create_time(((const duckdb_time *)start)[row]);
    case DUCKDB_TYPE_TIME_TZ:
        return duckdb_create_time_tz_value(((const duckdb_time_tz *)start)[row]);
    case DUCKDB_TYPE_TIMESTAMP:
        return duckdb_create_timestamp(((const duckdb_timestamp *)start)[row]);
    case DUCKDB_TYPE_TIMESTAMP_TZ:
        return duckdb_create_timestamp_tz(((const duckdb_timestamp *)start)[row]);
    case DUCKDB_TYPE_INTERVAL:
        return duckdb_create_interval(((const duckdb_interval *)start)[row]);
    case DUCKDB_TYPE_UUID: {
        duckdb_hugeint h = ((const duckdb_hugeint *)start)[row];
        duckdb_uhugeint u = {h.lower, (uint64_t)h.upper ^ (UINT64_C(1) << 63)};
        return duckdb_create_uuid(u);
    }
    case DUCKDB_TYPE_BLOB:
        return duckdb_create_blob((const uint8_t *)duckdb_string_t_data((duckdb_string_t *)start + row),
                                  duckdb_string_t_length(((duckdb_string_t *)start)[row]));
    case DUCKDB_TYPE_DECIMAL: {
        duckdb_decimal dec = {duckdb_decimal_width(type), duckdb_decimal_scale(type), {0, 0}};
        __int128 x;
        switch (duckdb_decimal_internal_type(type)) {
        case DUCKDB_TYPE_SMALLINT:
            x = ((const int16_t *)start)[row];
            break;
        case DUCKDB_TYPE_INTEGER:
            x = ((const int32_t *)start)[row];
            break;
        case DUCKDB_TYPE_BIGINT:
            x = ((const int64_t *)start)[row];
            break;
        default:
            memcpy(&x, (const char *)start + row * sizeof x, sizeof x);
        }
        dec.value.lower = (uint64_t)x;
        dec.value.upper = (int64_t)(x >> 64);
        return duckdb_create_decimal(dec);
    }
    default:
        return NULL;
    }
}

/* The same value with exactly this type: JSON is a text with a name, and a NULL has none of its own. The C
 * interface casts only what goes into a list. */
static duckdb_value retyped(duckdb_logical_type type, duckdb_value v)
{
    duckdb_value list = v ? duckdb_create_list_value(type, &v, 1) : NULL;
    duckdb_value out = list ? duckdb_get_list_child(list, 0) : NULL;
    duckdb_destroy_value(&list);
    duckdb_destroy_value(&v);
    return out;
}

static duckdb_value value_of(duckdb_logical_type type, duckdb_vector v, idx_t row);

static duckdb_value list_value(duckdb_logical_type type, duckdb_vector v, idx_t row)
{
    duckdb_list_entry entry = ((const duckdb_list_entry *)duckdb_vector_get_data(v))[row];
    duckdb_logical_type child = duckdb_list_type_child_type(type);
    duckdb_value *items = calloc(entry.length + 1, sizeof *items), out = NULL;
    bool ok = items != NULL;
    for (idx_t i = 0; ok && i < entry.length; i++) {
        items[i] = value_of(child, duckdb_list_vector_get_child(v), entry.offset + i);
        ok = items[i] != NULL;
    }
    if (ok)
        out = duckdb_create_list_value(child, items, entry.length);
    for (idx_t i = 0; items && i < entry.length; i++) {
        if (items[i])
            duckdb_destroy_value(&items[i]);
    }
    free(items);
    duckdb_destroy_logical_type(&child);
    return out;
}

/* NULL for a type that has no value in the C interface. */
static duckdb_value value_of(duckdb_logical_type type, duckdb_vector v, idx_t row)
{
    if (!valid_row(v, row))
        return retyped(type, duckdb_create_null_value());
    switch ((int)duckdb_get_type_id(type)) {
    case DUCKDB_TYPE_LIST:
        return list_value(type, v, row);
    case DUCKDB_TYPE_VARCHAR: {
        duckdb_string_t *s = (duckdb_string_t *)duckdb_vector_get_data(v) + row;
        return retyped(type,
                       duckdb_create_varchar_length(duckdb_string_t_data(s), duckdb_string_t_length(*s)));
    }
    default:
        return scalar_value(type, v, row);
    }
}

/* The statement whose one value is the parameter: of a text, or of a JSON array of texts. */
static const char *cast_text(struct buf *b, const char *type)
{
    size_t n = strlen(type);
    bool list = n > 2 && strcmp(type + n - 2, "[]") == 0;
    size_t name = list ? n - 2 : n;
    bool blob = (name == 4 && strncasecmp(type, "BLOB", 4) == 0) ||
                (name == 5 && strncasecmp(type, "BYTEA", 5) == 0) ||
                (name == 9 && strncasecmp(type, "VARBINARY", 9) == 0);
    const char *items = "from_json_strict(CAST($1 AS VARCHAR), '[\"VARCHAR\"]')";
    if (list && blob)
        (void)buf_printf(b, "SELECT CAST(list_transform(%s, lambda x: unhex(x)) AS BLOB[])", items);
    else if (list)
        (void)buf_printf(b, "SELECT CAST(%s AS %s)", items, type);
    else if (blob)
        (void)buf_str_add(b, "SELECT unhex($1)");
    else
        (void)buf_printf(b, "SELECT CAST($1 AS %s)", type);
    return buf_str(b);
}

/* The value of a parameter by the engine's own cast. */
static int cast_value(struct duck *d, duckdb_connection c, const struct wire_param *p, uint32_t number,
                      duckdb_value *ret, struct err *e, uint32_t *kind)
{
    if (!plain_type_name(p->type))
        return err_set(e, ERR_INVALID, "42704", "parameter %u has an unknown type", number);
    CLEANUP_BUF struct buf b = BUF_INIT(1024);
    const char *sql = cast_text(&b, p->type);
    duckdb_prepared_statement ps = NULL;
    duckdb_result r;
    memset(&r, 0, sizeof r);
    int rc = 0;
    struct err inner;
    err_clear(&inner);
    if (!sql || duckdb_prepare(c, sql, &ps) != DuckDBSuccess) {
        rc = err_set(e, ERR_INVALID, "42704", "parameter %u has an unknown type", number);
    } else if ((p->is_null ? duckdb_bind_null(ps, 1)
                           : duckdb_bind_varchar_length(ps, 1, p->value, p->value_len)) != DuckDBSuccess) {
        rc = err_set(e, ERR_INVALID, "22021", "parameter %u is not valid text", number);
    } else if (duckdb_execute_prepared(ps, &r) != DuckDBSuccess) {
        rc =
            duck__error(d, duckdb_result_error(&r), (int)duckdb_result_error_type(&r), NULL, 0, &inner, kind);
        err_set(e, rc, inner.sqlstate, "parameter %u: %s", number, inner.text);
    }
    if (!rc) {
        duckdb_data_chunk chunk = duckdb_fetch_chunk(r);
        duckdb_logical_type type = duckdb_column_logical_type(&r, 0);
        duckdb_value v = chunk ? value_of(type, duckdb_data_chunk_get_vector(chunk, 0), 0) : NULL;
        if (!v) /* a type that has no value in the C interface: as text; the engine casts it where it is used */
            rc = err_set(e, ERR_INVALID, "0A000", "parameters of type %s are not supported", p->type);
        else
            *ret = v;
        duckdb_destroy_logical_type(&type);
        if (chunk)
            duckdb_destroy_data_chunk(&chunk);
    }
    duckdb_destroy_result(&r);
    duckdb_destroy_prepare(&ps);
    return rc;
}

static bool is_text_type(const char *t)
{
    return strcasecmp(t, "VARCHAR") == 0 || strcasecmp(t, "TEXT") == 0 || strcasecmp(t, "STRING") == 0 || !*t;
}

static int bind_one(struct duck *d, duckdb_connection c, duckdb_prepared_statement ps,
                    const struct wire_param *p, idx_t at, uint32_t number, struct err *e, uint32_t *kind)
{
    if (p->is_null && !*p->type)
        return duckdb_bind_null(ps, at) == DuckDBSuccess
                   ? 0
                   : err_set(e, ERR_INVALID, "42P02", "there is no parameter %u", number);
    if (is_text_type(p->type) && !p->is_null)
        return duckdb_bind_varchar_length(ps, at, p->value, p->value_len) == DuckDBSuccess
                   ? 0
                   : err_set(e, ERR_INVALID, "22021", "parameter %u is not valid text", number);
    duckdb_value v = NULL;
    int r = cast_value(d, c, p, number, &v, e, kind);
    if (r < 0)
        return r;
    if (duckdb_bind_value(ps, at, v) != DuckDBSuccess)
        r = err_set(e, ERR_INVALID, "42P02", "there is no parameter %u", number);
    duckdb_destroy_value(&v);
    return r;
}

int duck__bind(struct duck *d, duckdb_connection c, const struct wire_job *job, duckdb_prepared_statement ps,
               uint32_t *ret_n, struct err *e, uint32_t *kind)
{
    uint32_t n = (uint32_t)duckdb_nparams(ps);
    *ret_n = n;
    if (n != job->nparams) {
        if (job->plan_only && job->nparams == 0)
            return 0; /* a plan may leave them open */
        return err_set(e, ERR_INVALID, "42P02", "the statement has %u parameters, %u were given", n,
                       job->nparams);
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct wire_param *p = &job->params[i];
        idx_t at = i + 1;
        if (p->name[0] && duckdb_bind_parameter_index(ps, &at, p->name) != DuckDBSuccess)
            return err_set(e, ERR_INVALID, "42P02", "the statement has no parameter \"%.100s\"", p->name);
        int r = bind_one(d, c, ps, p, at, i + 1, e, kind);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- schema ---- */

static bool unresolved(duckdb_logical_type t);

static bool unresolved_child(duckdb_logical_type t)
{
    bool r = unresolved(t);
    duckdb_destroy_logical_type(&t);
    return r;
}

/* A parameter alone in a column, or as an element or field of one, has no type before it is bound. */
static bool unresolved(duckdb_logical_type t)
{
    duckdb_type id = t ? duckdb_get_type_id(t) : DUCKDB_TYPE_INVALID;
    bool r = false;
    switch ((int)id) {
    case DUCKDB_TYPE_LIST:
        return unresolved_child(duckdb_list_type_child_type(t));
    case DUCKDB_TYPE_ARRAY:
        return unresolved_child(duckdb_array_type_child_type(t));
    case DUCKDB_TYPE_MAP:
        return unresolved_child(duckdb_map_type_key_type(t)) ||
               unresolved_child(duckdb_map_type_value_type(t));
    case DUCKDB_TYPE_STRUCT:
        for (idx_t i = 0; !r && i < duckdb_struct_type_child_count(t); i++)
            r = unresolved_child(duckdb_struct_type_child_type(t, i));
        return r;
    default:
        return id == DUCKDB_TYPE_INVALID || id == DUCKDB_TYPE_ANY;
    }
}

int duck__plan_columns(struct arena *a, struct plan *p, duckdb_result *result, struct err *e)
{
    bool rows = p->st.kind == WIRE_KIND_ROWS || p->st.kind == WIRE_KIND_SHOW;
    idx_t n = !rows    ? 0
              : result ? duckdb_column_count(result)
                       : duckdb_prepared_statement_column_count(p->ps);
    if (p->st.kind == WIRE_KIND_TEXT)
        n = 1;
    if (n > SCHEMA_NODES_MAX)
        return err_set(e, ERR_LIMIT, "54000", "the result has too many columns");
    struct schema *s = arena_alloc(a, sizeof *s);
    struct node *nodes = arena_alloc(a, sizeof *nodes * (n + 1));
    if (!s || !nodes || !(s->columns = arena_alloc(a, sizeof *s->columns * (n + 1))))
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    s->ncolumns = (uint32_t)n;
    p->out = (struct rows_plan){s, nodes, false};
    if (p->st.kind == WIRE_KIND_TEXT) {
        s->columns[0] = (struct column){.name = p->text_column ? p->text_column : "Query Plan",
                                        .detail = "VARCHAR",
                                        .phys = PHYS_UTF8,
                                        .sql = SQLT_VARCHAR,
                                        .nullable = true};
        nodes[0] = (struct node){.column = &s->columns[0], .id = DUCKDB_TYPE_VARCHAR};
        return schema_number(s, e);
    }
    for (idx_t i = 0; i < n; i++) {
        duckdb_logical_type t = result ? duckdb_column_logical_type(result, i)
                                       : duckdb_prepared_statement_column_logical_type(p->ps, i);
        const char *name =
            result ? duckdb_column_name(result, i) : duckdb_prepared_statement_column_name(p->ps, i);
        if (unresolved(t))
            p->st.unreliable_schema = true;
        int r = duck__column(a, t, name ? name : "", 0, &s->columns[i], &nodes[i], &p->out.needs_cast, e);
        if (!result && name)
            duckdb_free((void *)(uintptr_t)name);
        duckdb_destroy_logical_type(&t);
        if (r < 0)
            return r;
    }
    return schema_number(s, e);
}

/* SELECT "a" :: type ... FROM (statement): the engine prints what we cannot. */
static int wrap(struct duck *d, duckdb_connection c, const struct wire_job *job, struct arena *a,
                struct plan *p, struct err *e, uint32_t *kind)
{
    idx_t n = p->out.schema->ncolumns;
    if (p->st.type != DUCKDB_STATEMENT_TYPE_SELECT || p->st.kind != WIRE_KIND_ROWS)
        return err_set(e, ERR_INVALID, "0A000", "a column's type cannot be returned by this statement");
    CLEANUP_BUF struct buf b = BUF_INIT(256u * 1024 * 1024);
    (void)buf_str_add(&b, "SELECT ");
    for (idx_t i = 0; i < n; i++) {
        duckdb_logical_type t = duckdb_prepared_statement_column_logical_type(p->ps, i);
        bool cast = false;
        struct column column;
        struct node node = {0};
        int r = duck__column(a, t, "", 0, &column, &node, &cast, e);
        if (r < 0)
            return r;
        (void)buf_printf(&b, "%s", i ? "," : "");
        if (cast)
            (void)buf_str_add(&b, "CAST(");
        (void)buf_printf(&b, "quern_c%u", (unsigned)i);
        if (cast) {
            (void)buf_str_add(&b, " AS ");
            duck__cast_type(&b, t);
            (void)buf_char(&b, ')');
        }
        (void)buf_str_add(&b, " AS ");
        duck__quote(&b, '"', p->out.schema->columns[i].name);
        duckdb_destroy_logical_type(&t);
    }
    size_t len = job->sql_len; /* the text without what ends a statement */
    while (len && (isspace((unsigned char)job->sql[len - 1]) || job->sql[len - 1] == ';'))
        len--;
    (void)buf_str_add(&b, " FROM (");
    (void)buf_add(&b, job->sql, len);
    (void)buf_str_add(&b, "\n) AS quern_t(");
    for (idx_t i = 0; i < n; i++)
        (void)buf_printf(&b, "%squern_c%u", i ? "," : "", (unsigned)i);
    (void)buf_char(&b, ')');
    const char *text = buf_str(&b);
    if (!text)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    duckdb_prepared_statement ps = NULL;
    if (duckdb_prepare(c, text, &ps) != DuckDBSuccess) {
        int r = duck__error(d, duckdb_prepare_error(ps), 0, NULL, 0, e, kind);
        duckdb_destroy_prepare(&ps);
        return r;
    }
    duckdb_destroy_prepare(&p->ps);
    p->ps = ps;
    p->wrapped = true;
    struct schema *before = p->out.schema;
    int r = duck__plan_columns(a, p, NULL, e);
    if (r < 0)
        return r;
    for (idx_t i = 0; i < n; i++) { /* what the engine called them */
        if (before->columns[i].phys != PHYS_UTF8)
            continue;
        p->out.schema->columns[i].sql = before->columns[i].sql;
        p->out.schema->columns[i].detail = before->columns[i].detail;
    }
    return p->out.needs_cast ? err_set(e, ERR_INVALID, "0A000", "a column's type cannot be returned") : 0;
}

/* ---- the whole ---- */

static int extract(struct duck *d, duckdb_connection c, const struct wire_job *job, struct plan *p,
                   idx_t *ret_last, struct err *e, uint32_t *kind)
{
    idx_t n = duckdb_extract_statements(c, job->sql, &p->extracted);
    const char *message = p->extracted ? duckdb_extract_statements_error(p->extracted) : NULL;
    if (n == 0 && message)
        return engine_error(d, job, message, e, kind);
    if (n == 0)
        return err_set(e, ERR_INVALID, "42601", "there is no statement in the text");
    if (n == 2 && duck__policy_pivot(job->sql, job->sql_len)) { /* the engine's own first half of a PIVOT */
        duckdb_prepared_statement ps = NULL;
        bool enum_first = duckdb_prepare_extracted_statement(c, p->extracted, 0, &ps) == DuckDBSuccess &&
                          duckdb_prepared_statement_type(ps) == DUCKDB_STATEMENT_TYPE_CREATE;
        duckdb_result r;
        memset(&r, 0, sizeof r);
        int rc = 0;
        if (enum_first && duckdb_execute_prepared(ps, &r) != DuckDBSuccess)
            rc = engine_error(d, job, duckdb_result_error(&r), e, kind);
        duckdb_destroy_result(&r);
        duckdb_destroy_prepare(&ps);
        if (rc < 0)
            return rc;
        if (enum_first)
            n = 1;
        *ret_last = 1;
        if (enum_first)
            return 0;
    }
    if (n != 1)
        return err_set(e, ERR_INVALID, "42601", "only one statement is allowed, the text has %u",
                       (unsigned)n);
    *ret_last = 0;
    return 0;
}

static int plan_once(struct duck *d, duckdb_connection c, const struct wire_job *job, struct arena *a,
                     struct plan *p, struct err *e, uint32_t *kind)
{
    *kind = WIRE_FAIL_SQL;
    if (memchr(job->sql, 0, job->sql_len))
        return err_set(e, ERR_INVALID, "22021", "the text holds a NUL character");
    int r = duck__policy_text(job->sql, job->sql_len, e);
    if (r < 0) {
        *kind = WIRE_FAIL_REFUSED;
        return r;
    }
    idx_t at = 0;
    r = extract(d, c, job, p, &at, e, kind);
    if (r < 0)
        return r;
    r = duck__policy_functions(c, job, e);
    if (r < 0) {
        *kind = WIRE_FAIL_REFUSED;
        return r;
    }
    if (duckdb_prepare_extracted_statement(c, p->extracted, at, &p->ps) != DuckDBSuccess)
        return engine_error(d, job, duckdb_prepare_error(p->ps), e, kind);
    r = duck__policy(d, c, job, p->ps, &p->st, e);
    if (r < 0) {
        *kind = WIRE_FAIL_REFUSED;
        return r;
    }
    if (p->kind && p->st.kind == WIRE_KIND_ROWS)
        p->st.kind = (uint8_t)(p->kind - 1);
    r = duck__bind(d, c, job, p->ps, &p->nparams, e, kind);
    if (!r)
        r = duck__plan_columns(a, p, NULL, e);
    if (!r && p->out.needs_cast && !p->st.unreliable_schema) {
        r = wrap(d, c, job, a, p, e, kind);
        if (!r)
            r = duck__bind(d, c, job, p->ps, &p->nparams, e, kind);
    }
    return r;
}

int duck__plan(struct duck *d, duckdb_connection c, const struct wire_job *job, struct arena *a,
               struct plan *p, struct err *e, uint32_t *kind)
{
    struct plan before = *p;
    bool more = false;
    int r = plan_once(d, c, job, a, p, e, kind);
    /* a function that nothing in the text names: one in the text of a view, which may be a macro that waits */
    if (r >= 0 || !e || strcmp(e->sqlstate, "42883") != 0 ||
        compat_macros_rest(c, job->profile, &more, NULL) < 0 || !more)
        return r;
    duck__plan_free(p);
    *p = before;
    return plan_once(d, c, job, a, p, e, kind);
}

void duck__plan_free(struct plan *p)
{
    if (p->ps)
        duckdb_destroy_prepare(&p->ps);
    if (p->extracted)
        duckdb_destroy_extracted(&p->extracted);
}

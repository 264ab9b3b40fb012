/*
 * duckdb_describe: the schema of a statement whose columns have no types before its parameters are bound.
 * Job thread.
 *
 * DESCRIBE tells the names, which a derived table would change where two are alike, and the types, without
 * running anything; the types become those of NULLs that are cast to them. Where the engine cannot read a type
 * as it writes it, the statement runs once with LIMIT 0.
 */
#include <ctype.h>
#include <string.h>

#include "engines/duckdb_int.h"

/* Names and types of a bound statement, as DESCRIBE tells them, without running any of it. */
struct described {
    const char **names;
    struct buf types; /* "SELECT CAST(NULL AS type),..." */
    uint32_t n;
};

static bool add_described(struct arena *a, struct described *x, duckdb_data_chunk chunk)
{
    idx_t rows = duckdb_data_chunk_get_size(chunk);
    duckdb_string_t *names = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
    duckdb_string_t *types = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 1));
    const char **more = arena_alloc(a, (x->n + rows + 1) * sizeof *more);
    if (!more)
        return false;
    if (x->n)
        memcpy(more, x->names, x->n * sizeof *more);
    x->names = more;
    for (idx_t i = 0; i < rows; i++) {
        more[x->n] = arena_strndup(a, duckdb_string_t_data(&names[i]), duckdb_string_t_length(names[i]));
        if (!more[x->n] || buf_str_add(&x->types, x->n ? "),CAST(NULL AS " : "SELECT CAST(NULL AS ") ||
            buf_add(&x->types, duckdb_string_t_data(&types[i]), duckdb_string_t_length(types[i])))
            return false;
        x->n++;
    }
    return true;
}

static bool describe(struct duck *d, duckdb_connection c, const struct wire_job *job, struct arena *a,
                     struct described *x)
{
    CLEANUP_BUF struct buf b = BUF_INIT(256u * 1024 * 1024);
    (void)buf_str_add(&b, "DESCRIBE ");
    (void)buf_add(&b, job->sql, job->sql_len);
    const char *text = buf_str(&b);
    duckdb_prepared_statement ps = NULL;
    duckdb_result r;
    memset(&r, 0, sizeof r);
    struct err e;
    uint32_t n, kind;
    bool ok = text && duckdb_prepare(c, text, &ps) == DuckDBSuccess &&
              (!job->nparams || duck__bind(d, c, job, ps, &n, &e, &kind) == 0) &&
              duckdb_execute_prepared(ps, &r) == DuckDBSuccess;
    for (duckdb_data_chunk chunk; ok && (chunk = duckdb_fetch_chunk(r)); duckdb_destroy_data_chunk(&chunk))
        ok = add_described(a, x, chunk);
    duckdb_destroy_result(&r);
    duckdb_destroy_prepare(&ps);
    return ok && x->n && !buf_str_add(&x->types, ")");
}

/* The schema of what was described: its types are those of NULLs that are cast to them. False where the
 * engine cannot read a type as it writes it (rows whose fields have no names). */
static bool plan_described(duckdb_connection c, struct arena *a, struct plan *p, struct described *x)
{
    duckdb_prepared_statement ps = NULL, own = p->ps;
    bool ok = duckdb_prepare(c, buf_str(&x->types), &ps) == DuckDBSuccess;
    struct rows_plan before = p->out;
    if (ok) {
        p->ps = ps;
        ok = duck__plan_columns(a, p, NULL, NULL) == 0 && p->out.schema->ncolumns == x->n;
        p->ps = own;
    }
    for (uint32_t i = 0; ok && i < x->n; i++)
        p->out.schema->columns[i].name = x->names[i];
    if (!ok)
        p->out = before;
    duckdb_destroy_prepare(&ps);
    return ok;
}

#define BEFORE "SELECT * FROM ("

/* What the engine says of the statement in brackets, with the place in the statement itself. */
static int inner_error(struct duck *d, const struct buf *b, const char *message, int type, struct err *e,
                       uint32_t *kind)
{
    int r = duck__error(d, message, type, b->p, b->len, e, kind);
    int32_t before = (int32_t)strlen(BEFORE);
    if (e && e->position >= before) {
        e->position -= before;
        e->column -= e->line == 1 ? before : 0;
    }
    return r;
}

/* Where types cannot be written: a run that ends before its first row. */
static int plan_empty(struct duck *d, duckdb_connection c, const struct wire_job *job, struct arena *a,
                      struct plan *p, struct err *e, uint32_t *kind)
{
    size_t len = job->sql_len;
    while (len && (isspace((unsigned char)job->sql[len - 1]) || job->sql[len - 1] == ';'))
        len--;
    CLEANUP_BUF struct buf b = BUF_INIT(256u * 1024 * 1024);
    (void)buf_str_add(&b, BEFORE);
    (void)buf_add(&b, job->sql, len);
    (void)buf_str_add(&b, "\n) LIMIT 0");
    duckdb_prepared_statement ps = NULL;
    duckdb_result r;
    memset(&r, 0, sizeof r);
    uint32_t n;
    int rc = 0;
    if (duckdb_prepare(c, buf_str(&b), &ps) != DuckDBSuccess)
        rc = inner_error(d, &b, duckdb_prepare_error(ps), 0, e, kind);
    if (!rc && job->nparams)
        rc = duck__bind(d, c, job, ps, &n, e, kind);
    for (idx_t i = 1; !rc && !job->nparams && i <= duckdb_nparams(ps); i++)
        (void)duckdb_bind_null(ps, i);
    if (!rc && duckdb_execute_prepared(ps, &r) != DuckDBSuccess)
        rc = inner_error(d, &b, duckdb_result_error(&r), (int)duckdb_result_error_type(&r), e, kind);
    if (!rc)
        rc = duck__plan_columns(a, p, &r, e);
    duckdb_destroy_result(&r);
    duckdb_destroy_prepare(&ps);
    return rc;
}

int duck__plan_resolve(struct duck *d, duckdb_connection c, const struct wire_job *job, struct arena *a,
                       struct plan *p, bool may_run, struct err *e, uint32_t *kind)
{
    if (p->st.type != DUCKDB_STATEMENT_TYPE_SELECT)
        return 0;
    struct described x = {.types = BUF_INIT(64u << 20)};
    bool known = describe(d, c, job, a, &x) && plan_described(c, a, p, &x);
    int r = known || !may_run ? 0 : plan_empty(d, c, job, a, p, e, kind);
    known = known || may_run;
    for (uint32_t i = 0; !r && known && x.n == p->out.schema->ncolumns && i < x.n; i++)
        p->out.schema->columns[i].name = x.names[i]; /* a derived table renames those that share a name */
    buf_free(&x.types);
    if (!r && known)
        p->st.unreliable_schema = false;
    return r;
}

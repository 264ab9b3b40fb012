/*
 * kylin_tables: what tables there are, for the drivers (clients page): tables_and_columns under both of its
 * paths, and tables.
 *
 * The lists are read by a statement on information_schema that runs as the caller's own query, so that they
 * show exactly what the caller can select from, and show in the history and the audit. One pass over its rows
 * writes the answer: they come ordered by table. Handlers wait parked; the rows are read on a worker.
 */
#include <string.h>

#include "dialects/kylin_int.h"

#define ROWS_AT_ONCE 1024
#define WINDOW_BYTES ((size_t)256 * 1024)
#define NAME_BYTES   ((size_t)1 << 20)

#define TABLES_SQL                                                                                           \
    "SELECT c.table_schema, c.table_name, t.table_type, c.column_name, c.data_type, c.is_nullable "          \
    "FROM information_schema.columns c JOIN information_schema.tables t ON t.table_catalog = "               \
    "c.table_catalog AND t.table_schema = c.table_schema AND t.table_name = c.table_name "                   \
    "WHERE c.table_catalog = 'data_catalog' AND c.table_schema <> 'quern_internal' "                         \
    "ORDER BY 1, 2, c.ordinal_position"

enum field { F_SCHEMA, F_TABLE, F_KIND, F_COLUMN, F_TYPE, F_NULLABLE, FIELDS };

/* Writes one list: called for each column, then once with NULL. */
struct writer {
    struct json_write w;
    struct request *rq;
    bool open; /* inside a table */
    struct buf schema, table;
    int ordinal;
};
typedef void (*put_fn)(struct writer *out, const char *const *f);

struct tables_state {
    struct query *query;
    put_fn put;
};

static bool is_text(const struct buf *b, const char *s)
{
    return b->len == strlen(s) && (!b->len || !memcmp(b->p, s, b->len));
}

/* f begins another table than the row before. */
static bool another(struct writer *out, const char *const *f)
{
    bool same = out->open && is_text(&out->schema, f[F_SCHEMA]) && is_text(&out->table, f[F_TABLE]);
    if (same)
        return false;
    buf_reset(&out->schema);
    buf_reset(&out->table);
    (void)buf_str_add(&out->schema, f[F_SCHEMA]); /* f has the same ceiling (put_window) */
    (void)buf_str_add(&out->table, f[F_TABLE]);
    return true;
}

static const char *kind(const char *table_type)
{
    return strcmp(table_type, "BASE TABLE") == 0 ? "TABLE" : table_type;
}

/* "DECIMAL(18,4)", as a client that inspects types wants it. */
static const char *full_type(struct request *rq, const char *name, int jdbc, int size, int digits)
{
    const char *s = jdbc == 3 ? arena_printf(rq->arena, "%s(%d,%d)", name, size, digits) : name;
    return s ? s : name;
}

/* ---- tables_and_columns: in the words of java.sql.DatabaseMetaData ---- */

static void write_jdbc_column(struct writer *out, const char *const *f)
{
    struct json_write *w = &out->w;
    const char *name;
    int jdbc, size, digits;
    bool nullable = strcmp(f[F_NULLABLE], "NO") != 0;
    kylin__type_of_name(f[F_TYPE], &name, &jdbc, &size, &digits);
    json_object_begin(w);
    json_kstr(w, "table_CAT", "data_catalog");
    json_kstr(w, "table_SCHEM", f[F_SCHEMA]);
    json_kstr(w, "table_NAME", f[F_TABLE]);
    json_kstr(w, "column_NAME", f[F_COLUMN]);
    json_ki64(w, "data_TYPE", jdbc);
    json_kstr(w, "type_NAME", full_type(out->rq, name, jdbc, size, digits));
    json_ki64(w, "column_SIZE", size);
    json_ki64(w, "buffer_LENGTH", -1);
    json_ki64(w, "decimal_DIGITS", digits);
    json_ki64(w, "num_PREC_RADIX", 10);
    json_ki64(w, "nullable", nullable);
    json_kstr(w, "remarks", NULL);
    json_kstr(w, "column_DEF", NULL);
    json_ki64(w, "sql_DATA_TYPE", -1);
    json_ki64(w, "sql_DATETIME_SUB", -1);
    json_ki64(w, "char_OCTET_LENGTH", size);
    json_ki64(w, "ordinal_POSITION", ++out->ordinal);
    json_kstr(w, "is_NULLABLE", nullable ? "YES" : "NO");
    json_kstr(w, "scope_CATLOG", NULL);
    json_kstr(w, "scope_SCHEMA", NULL);
    json_kstr(w, "scope_TABLE", NULL);
    json_ki64(w, "source_DATA_TYPE", -1);
    json_object_end(w);
}

static void close_table(struct writer *out)
{
    if (!out->open)
        return;
    json_array_end(&out->w);
    json_object_end(&out->w);
    out->open = false;
}

static void put_jdbc(struct writer *out, const char *const *f)
{
    static const char *const nulls[] = {
        "remarks", "type_CAT", "type_SCHEM", "type_NAME", "self_REFERENCING_COL_NAME", "ref_GENERATION"};
    struct json_write *w = &out->w;
    if (!f) {
        close_table(out);
        return;
    }
    if (another(out, f)) {
        close_table(out);
        json_object_begin(w);
        json_kstr(w, "table_CAT", "data_catalog");
        json_kstr(w, "table_SCHEM", f[F_SCHEMA]);
        json_kstr(w, "table_NAME", f[F_TABLE]);
        json_kstr(w, "table_TYPE", kind(f[F_KIND]));
        for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++)
            json_kstr(w, nulls[i], NULL);
        json_key(w, "columns");
        json_array_begin(w);
        out->open = true;
        out->ordinal = 0;
    }
    write_jdbc_column(out, f);
}

/* ---- tables: in Kylin's own words ---- */

static void put_table(struct writer *out, const char *const *f)
{
    struct json_write *w = &out->w;
    const char *name;
    int jdbc, size, digits;
    if (!f) {
        close_table(out);
        return;
    }
    if (another(out, f)) {
        close_table(out);
        json_object_begin(w);
        json_kstr(w, "name", f[F_TABLE]);
        json_kstr(w, "database", f[F_SCHEMA]);
        json_kstr(w, "table_type", kind(f[F_KIND]));
        json_key(w, "columns");
        json_array_begin(w);
        out->open = true;
        out->ordinal = 0;
    }
    kylin__type_of_name(f[F_TYPE], &name, &jdbc, &size, &digits);
    json_object_begin(w);
    json_kstr(w, "id", arena_printf(out->rq->arena, "%d", ++out->ordinal));
    json_kstr(w, "name", f[F_COLUMN]);
    json_kstr(w, "datatype", full_type(out->rq, name, jdbc, size, digits));
    json_kstr(w, "comment", NULL);
    json_object_end(w);
}

/* ---- reading ---- */

static int put_window(struct writer *out, put_fn put, const struct window *win, struct err *e)
{
    struct buf text[FIELDS];
    const char *f[FIELDS];
    int rc = 0;
    for (int i = 0; i < FIELDS; i++)
        buf_init(&text[i], NAME_BYTES);
    for (uint64_t row = 0; !rc && row < win->rows; row++) {
        for (int i = 0; !rc && i < FIELDS; i++) {
            buf_reset(&text[i]);
            if (!window_is_null(&win->columns[i], row))
                (void)value_text(TEXT_NEUTRAL, &win->columns[i], row, &text[i]);
            f[i] = buf_str(&text[i]);
            if (!f[i])
                rc = err_set(e, ERR_LIMIT, "54000", "the name of a table, column or type is too long");
        }
        if (!rc)
            put(out, f);
        if (!rc && buf_failed(out->w.b))
            rc = err_set(e, ERR_LIMIT, "54000", "the list of tables does not fit into an answer");
    }
    for (int i = 0; i < FIELDS; i++)
        buf_free(&text[i]);
    return rc;
}

static int put_rows(struct writer *out, put_fn put, struct query *q, struct err *e)
{
    struct rows *rows;
    int rc = rows_open(out->rq->service, q, UINT32_MAX, &rows, e);
    if (rc)
        return rc;
    struct segment *seg = rows_segment(rows);
    struct segment_scratch *x = segment_scratch_new();
    if (!x)
        rc = err_no_memory(e);
    if (!rc && segment_schema(seg)->ncolumns != FIELDS)
        rc = err_set(e, ERR_INTERNAL, "XX000", "the list of tables has another form");
    for (uint64_t at = 0; !rc && at < segment_rows(seg);) {
        struct window w;
        rc = segment_window(seg, at, ROWS_AT_ONCE, WINDOW_BYTES, x, &w, e);
        if (!rc)
            rc = put_window(out, put, &w, e);
        at += w.rows;
    }
    if (!rc)
        put(out, NULL);
    segment_scratch_free(x);
    rows_close(rows);
    return rc;
}

static enum handled write_list(struct request *rq) /* worker */
{
    struct tables_state *st = rq->state;
    struct err e;
    err_clear(&e);
    struct writer *out = arena_alloc(rq->arena, sizeof *out);
    if (!out)
        return reply_no_memory(rq);
    enum kylin_shape shape = kylin__shape(rq);
    bool paged = st->put == put_table && shape != KYLIN_PLAIN && shape != KYLIN_V2;
    out->rq = rq;
    buf_init(&out->schema, NAME_BYTES);
    buf_init(&out->table, NAME_BYTES);
    out->w = kylin__begin(rq, true, "000");
    if (paged) {
        json_object_begin(&out->w);
        json_key(&out->w, "value");
    }
    json_array_begin(&out->w);
    int rc = kylin__first_page(rq) ? put_rows(out, st->put, st->query, &e) : 0;
    buf_free(&out->schema);
    buf_free(&out->table);
    if (rc)
        return reply_error(rq, reply_status_of(rc), &e);
    json_array_end(&out->w);
    if (paged)
        json_object_end(&out->w);
    return kylin__end(rq, &out->w, true, "");
}

static enum handled listed(struct request *rq)
{
    struct tables_state *st = rq->state;
    struct query_view v;
    query_view(st->query, &v);
    if (!(v.flags & QF_ENDED))
        return request_park(rq, st->query, QF_ENDED, 0, 0, listed);
    if (v.state != QUERY_FINISHED)
        return kylin__fail(rq, KYLIN_FOREIGN, kylin__info(rq, &v, false));
    return rq->may_block ? write_list(rq) : request_defer(rq, write_list);
}

static void drop(void *query)
{
    query_unref(query);
}

static enum handled list(struct request *rq, put_fn put)
{
    struct kylin_submit in = {.sql = TABLES_SQL, .sql_len = strlen(TABLES_SQL)};
    struct tables_state *st = arena_alloc(rq->arena, sizeof *st);
    enum handled bad;
    struct err e;
    err_clear(&e);
    if (!kylin__project(rq, true, false, &bad))
        return bad;
    if (rq->who.role < ROLE_MEMBER)
        return kylin__fail(rq, KYLIN_NO_ACCESS, NULL);
    int r = st ? kylin__sync_submit(rq, &in, NULL, &st->query, &e) : err_no_memory(&e);
    if (!r && arena_on_free(rq->arena, drop, st->query)) {
        query_unref(st->query);
        r = err_no_memory(&e);
    }
    if (r)
        return reply_error(rq, reply_status_of(r), &e);
    st->put = put;
    rq->state = st;
    return listed(rq);
}

enum handled kylin__tables_and_columns(struct request *rq)
{
    return list(rq, put_jdbc);
}

enum handled kylin__tables(struct request *rq)
{
    return list(rq, put_table);
}

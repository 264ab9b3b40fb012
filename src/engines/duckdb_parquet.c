/*
 * duckdb_parquet: a stored result as a Parquet file, by the engine library's own writer over our batches.
 *
 * The instance holds nothing but the stream and runs one statement of ours: COPY (SELECT ...) TO 'out'. The
 * stream is read by several threads, rows keep their order. The engine's own types come back where the stored
 * layout is wider (TINYINT, the unsigned ones), so that a reader finds what the query had. Names that repeat
 * get a suffix (_1, _2, ...), an empty one becomes "_": a Parquet reader finds columns by name. Render thread.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encoders/unique_names.h"
#include "engines/arrow_abi.h"
#include "engines/duckdb_int.h"
#include "engines/render.h"

#define SQL_MAX     (64u << 20)
#define DICT_MAX    8192u /* entries: a column with more is given up as a dictionary soon */
#define DICT_ENTRY  40u   /* bytes: the library takes the room of all when a column begins */
#define DICT_BYTES  (64u << 20)
#define WIDE        500u /* columns */
#define GROUP_BYTES (128u << 20)
#define GROUP_LEAST 2048u  /* the library's vector */
#define GROUP_ROWS  65536u /* a stored batch: nothing is gathered from two */

/* ---- types ---- */

/* Version 2 writes 32-bit columns as deltas, which the library packs wider than other readers take when the
 * values lie far apart: they become 64 bits wide. */
static const char *narrow_type(enum sqltype t, bool v2)
{
    if (v2 && (t == SQLT_INTEGER || t == SQLT_UINTEGER))
        return "BIGINT";
    switch (t) {
    case SQLT_TINYINT:
        return "TINYINT";
    case SQLT_UTINYINT:
        return "UTINYINT";
    case SQLT_USMALLINT:
        return "USMALLINT";
    case SQLT_UINTEGER:
        return "UINTEGER";
    case SQLT_UBIGINT:
        return "UBIGINT";
    default:
        return NULL;
    }
}

static bool needs_cast(const struct column *c, bool v2)
{
    if (narrow_type(c->sql, v2))
        return true;
    for (uint32_t i = 0; i < c->nchildren; i++)
        if (needs_cast(&c->children[i], v2))
            return true;
    return false;
}

static const char *leaf_type(const struct column *c, bool v2)
{
    static const char *const names[PHYS_END] = {
        [PHYS_BOOL] = "BOOLEAN",        [PHYS_INT16] = "SMALLINT",
        [PHYS_INT32] = "INTEGER",       [PHYS_INT64] = "BIGINT",
        [PHYS_FLOAT32] = "FLOAT",       [PHYS_FLOAT64] = "DOUBLE",
        [PHYS_UTF8] = "VARCHAR",        [PHYS_BINARY] = "BLOB",
        [PHYS_DATE] = "DATE",           [PHYS_TIME] = "TIME",
        [PHYS_TIMESTAMP] = "TIMESTAMP", [PHYS_TIMESTAMPTZ] = "TIMESTAMP WITH TIME ZONE",
        [PHYS_INTERVAL] = "VARCHAR",
    };
    const char *narrow = narrow_type(c->sql, v2);
    return narrow ? narrow : names[c->phys];
}

static void put_type(struct buf *b, const struct column *c, bool v2)
{
    char room[RENDER_FIELD_MAX];
    switch (c->phys) {
    case PHYS_DECIMAL:
        if (narrow_type(c->sql, v2))
            (void)buf_str_add(b, narrow_type(c->sql, v2));
        else
            (void)buf_printf(b, "DECIMAL(%u,%u)", c->precision, c->scale);
        return;
    case PHYS_LIST:
        put_type(b, &c->children[0], v2);
        (void)buf_str_add(b, "[]");
        return;
    case PHYS_STRUCT:
        (void)buf_str_add(b, "STRUCT(");
        for (uint32_t i = 0; i < c->nchildren; i++) {
            (void)buf_str_add(b, i ? ", " : "");
            duck__quote(b, '"', render_field(c, i, room));
            (void)buf_char(b, ' ');
            put_type(b, &c->children[i], v2);
        }
        (void)buf_char(b, ')');
        return;
    case PHYS_MAP:
        (void)buf_str_add(b, "MAP(");
        put_type(b, &c->children[0].children[0], v2);
        (void)buf_str_add(b, ", ");
        put_type(b, &c->children[0].children[1], v2);
        (void)buf_char(b, ')');
        return;
    default:
        (void)buf_str_add(b, leaf_type(c, v2));
        return;
    }
}

/* ---- names ---- */

static int put_columns(const struct render_job *j, struct buf *b)
{
    const struct schema *s = segment_schema(j->segment);
    const struct name_rule rule = {.any_case = true, .underscores = j->order.underscores, .empty = "_"};
    bool v2 = j->order.version == 2;
    struct arena *a = arena_new(SQL_MAX);
    const char **names = a ? unique_names(s, &rule, a) : NULL;
    for (uint32_t i = 0; names && i < s->ncolumns; i++) {
        const struct column *c = &s->columns[i];
        (void)buf_str_add(b, i ? ", " : "");
        if (needs_cast(c, v2)) {
            (void)buf_printf(b, "CAST(c%u AS ", i);
            put_type(b, c, v2);
            (void)buf_str_add(b, ") AS ");
        } else {
            (void)buf_printf(b, "c%u AS ", i);
        }
        duck__quote(b, '"', names[i]);
    }
    arena_free(a);
    return names ? 0 : ERR_NOMEM;
}

/* ---- the statement ---- */

/* Rows of a group, which lies in memory until it is written. */
static uint32_t group_of(const struct render_job *j)
{
    uint32_t most = GROUP_BYTES / 16 / (segment_schema(j->segment)->nnodes + 1);
    return most > GROUP_ROWS ? GROUP_ROWS : most < GROUP_LEAST ? GROUP_LEAST : most;
}

/* Entries of one dictionary: of many columns each has fewer. */
static uint32_t dictionary_of(const struct render_job *j)
{
    uint32_t most = DICT_BYTES / DICT_ENTRY / (segment_schema(j->segment)->nnodes + 1);
    return most < DICT_MAX ? most : DICT_MAX;
}

static int statement(const struct render_job *j, uint64_t skip, struct buf *b)
{
    const struct wire_render *o = &j->order;
    (void)buf_str_add(b, "COPY (SELECT ");
    int rc = put_columns(j, b);
    (void)buf_str_add(b, " FROM result");
    if (!o->grows && j->end - j->first < segment_rows(j->segment))
        (void)buf_printf(b, " LIMIT %" PRIu64 " OFFSET %" PRIu64, j->end - j->first, skip);
    (void)buf_str_add(b, ") TO '" WIRE_RENDER_OUT "' (FORMAT parquet, USE_TMP_FILE false, COMPRESSION ");
    duck__quote(b, '\'',
                strcmp(o->codec, "none") == 0  ? "uncompressed"
                : strcmp(o->codec, "lz4") == 0 ? "lz4_raw"
                                               : o->codec);
    (void)buf_printf(b,
                     ", PARQUET_VERSION 'v%u', ROW_GROUP_SIZE %u, WRITE_BLOOM_FILTER false, "
                     "DICTIONARY_SIZE_LIMIT %u)",
                     o->version == 2 ? 2 : 1, group_of(j), o->plain ? 0 : dictionary_of(j));
    return rc || buf_failed(b) ? ERR_NOMEM : 0;
}

/* A thread holds vectors of 2,048 values of every column, several times over, and what keeps the order of several
 * threads holds batches. Wide results are written by one thread, in the order in which it reads them. */
static bool wide(const struct render_job *j)
{
    return segment_schema(j->segment)->nnodes > WIDE;
}

static int open_instance(const struct render_job *j, duckdb_database *ret, struct err *e)
{
    const struct wire_setup *s = j->setup;
    duckdb_config config;
    char memory[32], threads[16], *message = NULL;
    if (duckdb_create_config(&config) != DuckDBSuccess)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    snprintf(memory, sizeof memory, "%" PRIu64 "KiB", s->memory_wall / 10 * 7 / 1024);
    snprintf(threads, sizeof threads, "%u", wide(j) || !s->threads ? 1 : s->threads);
    const char *const settings[][2] = {{"threads", threads},
                                       {"memory_limit", memory},
                                       {"temp_directory", ""},
                                       {"autoinstall_known_extensions", "false"},
                                       {"autoload_known_extensions", "false"},
                                       {"preserve_insertion_order", wide(j) ? "false" : "true"}};
    bool ok = true;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        ok &= duckdb_set_config(config, settings[i][0], settings[i][1]) == DuckDBSuccess;
    ok = ok && duckdb_open_ext(NULL, ret, config, &message) == DuckDBSuccess;
    if (!ok)
        err_set(e, ERR_ENGINE, "XX000", "%s", message ? message : "the engine's settings were not accepted");
    duckdb_free(message);
    duckdb_destroy_config(&config);
    return ok ? 0 : ERR_ENGINE;
}

/* The library's words, unless our own part of the stream failed or a limit was met. */
static int failed(const struct render_job *j, const struct ArrowArrayStream *stream, duckdb_result *r,
                  struct err *e)
{
    const struct err *inner = render_arrow_error(stream);
    const char *text = duckdb_result_error(r);
    duckdb_error_type type = duckdb_result_error_type(r);
    if (inner->code) {
        *e = *inner;
        return inner->code;
    }
    if (type == DUCKDB_ERROR_OUT_OF_MEMORY ||
        (text && (strstr(text, "failed to allocate") || strstr(text, "bad_alloc"))))
        return err_set(e, ERR_NOMEM, "53200",
                       "rendering needs more memory than render.memory allows (%" PRIu64 " bytes)",
                       j->setup->memory_wall);
    if (text && strstr(text, "File too large"))
        return err_set(e, ERR_LIMIT, "54000", "too large");
    err_set(e, ERR_ENGINE, "XX000", "%s", text ? text : "the file could not be made");
    duck__scrub(NULL, e->text);
    return ERR_ENGINE;
}

int render_parquet(struct render_job *j, struct err *e)
{
    duckdb_database db = NULL;
    duckdb_connection c = NULL;
    duckdb_result r;
    struct ArrowArrayStream stream;
    uint64_t skip;
    memset(&r, 0, sizeof r);
    CLEANUP_BUF struct buf sql = BUF_INIT(SQL_MAX);
    int rc = render_arrow(j, &stream, &skip, e);
    if (!rc && statement(j, skip, &sql))
        rc = err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (!rc)
        rc = open_instance(j, &db, e);
    if (!rc && duckdb_connect(db, &c) != DuckDBSuccess)
        rc = err_set(e, ERR_ENGINE, "XX000", "the engine refuses a connection");
    if (!rc && duckdb_arrow_scan(c, "result", (duckdb_arrow_stream)&stream) != DuckDBSuccess)
        rc = err_set(e, ERR_ENGINE, "XX000", "the engine does not take the result's columns");
    if (!rc && duckdb_query(c, buf_str(&sql), &r) != DuckDBSuccess)
        rc = failed(j, &stream, &r, e);
    return rc; /* the process ends: nothing is given back */
}

/*
 * duckdb_sql: the engine's own text: run it, quote what comes from outside into it. Job thread.
 */
#include <string.h>

#include "engines/duckdb_int.h"
#include "engines/links.h"

void duck__quote(struct buf *b, char quote, const char *text)
{
    (void)buf_char(b, quote);
    for (; *text; text++) {
        if (*text == quote)
            (void)buf_char(b, quote);
        (void)buf_char(b, *text);
    }
    (void)buf_char(b, quote);
}

int duck__exec(duckdb_connection c, const char *sql, struct err *e)
{
    if (!sql)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    duckdb_result r;
    memset(&r, 0, sizeof r);
    int rc = 0;
    if (duckdb_query(c, sql, &r) != DuckDBSuccess) {
        const char *m = duckdb_result_error(&r);
        uint32_t kind;
        rc = duck__error(NULL, m ? m : "unknown error", (int)duckdb_result_error_type(&r), NULL, 0, e, &kind);
    }
    duckdb_destroy_result(&r);
    return rc;
}

void duck__dataset_place(struct buf *b, const struct wire_dataset *d)
{
    bool csv = strcmp(d->format, "csv") == 0, json = strcmp(d->format, "json") == 0;
    links_name(b, d);
    if (d->folder)
        (void)buf_str_add(b, csv ? "/**/*.csv*" : json ? "/**/*.json*" : "/**/*.parquet");
}

/*
 * duckdb_reason: why a streamed read failed of which the library says only that it was interrupted. Job thread.
 *
 * An error in one of the library's threads raises the connection's interrupt flag, so that the others stop; a fetch
 * from the stream that sees the flag first reports that instead of the error (joins and other plans that keep no
 * order; about every second time), and the error is gone with the stream. EXPLAIN ANALYZE runs the statement again
 * and throws its rows away in the library, where such errors come out whole.
 */
#include <string.h>

#include "engines/duckdb_int.h"

#define AGAIN "EXPLAIN ANALYZE "

static int again(struct duck *d, duckdb_connection c, const struct wire_job *job,
                 duckdb_prepared_statement ps, const struct buf *text, struct err *e, uint32_t *kind)
{
    uint32_t n;
    if (duck__bind(d, c, job, ps, &n, e, kind) < 0) {
        err_clear(e);
        return 0;
    }
    duckdb_result r;
    if (duckdb_execute_prepared(ps, &r) != DuckDBSuccess)
        (void)duck__error(d, duckdb_result_error(&r), (int)duckdb_result_error_type(&r), text->p,
                          text->len - 1, e, kind);
    duckdb_destroy_result(&r);
    return e->code;
}

int duck__reason(struct duck *d, duckdb_connection c, const struct wire_job *job, struct err *e,
                 uint32_t *kind)
{
    CLEANUP_BUF struct buf text = BUF_INIT(sizeof AGAIN + (size_t)job->sql_len);
    if (buf_str_add(&text, AGAIN) || buf_add(&text, job->sql, job->sql_len) || buf_add(&text, "", 1))
        return 0;
    duckdb_prepared_statement ps = NULL;
    int r = 0;
    err_clear(e);
    if (duckdb_prepare(c, text.p, &ps) == DuckDBSuccess)
        r = again(d, c, job, ps, &text, e, kind);
    duckdb_destroy_prepare(&ps);
    const int32_t n = (int32_t)strlen(AGAIN);
    if (r < 0 && e->position >= n) {
        e->position -= n;
        e->position_end -= e->position_end > n ? n : 0;
        e->column -= e->line == 1 ? n : 0;
    }
    return r;
}

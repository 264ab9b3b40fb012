/*
 * duckdb_stream: the rows of one job, from the library's chunks to batches on the wire. Job thread.
 *
 * Chunks are kept until 65,536 rows, about 4 MiB or 250 ms since the first kept row, then written at once into a slot
 * that the daemon made. A result that fits into inline_max travels in DONE. A NULL chunk is the end of a stream or its
 * failure: the result's error decides.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "encoders/batch.h"
#include "engines/duckdb_job.h"

#define BATCH_ROWS         65536u
#define BATCH_BYTES        (4u << 20)
#define BATCH_NS           INT64_C(250000000)
#define BODY_AT(index_len) (((uint64_t)(index_len) + 63) & ~UINT64_C(63))

static int send_memfd(struct duck_job *x, const struct buf *index, uint64_t body)
{
    uint32_t slot;
    int fd;
    if (port_slot(x->port, &slot, &fd) < 0)
        return duck__job_canceled(x);
    uint64_t at = BODY_AT(index->len);
    uint8_t *map;
    int r = slots_map(&x->d->slots, slot, fd, at + body, &map);
    (void)close(fd);
    if (r < 0)
        return duck__job_failed(x, WIRE_FAIL_LIMIT, ERR_LIMIT, "54000", "the memory of a batch is too small");
    memcpy(map, index->p, index->len);
    memset(map + index->len, 0, at - index->len);
    duck__rows_fill(&x->rows, map + at);
    struct wire_batch b = {x->job->job, slot, x->rows.nrows, (uint32_t)index->len, body};
    CLEANUP_BUF struct buf out = BUF_INIT(256);
    if (wire_put_batch(&out, &b) < 0)
        return duck__job_failed(x, WIRE_FAIL_FATAL, ERR_INTERNAL, "XX000", "a frame cannot be written");
    port_send(x->port, &out);
    x->sent_batch = true;
    x->bytes += body;
    return 0;
}

static int check_limits(struct duck_job *x, uint64_t more)
{
    if (x->job->max_rows && x->done.rows > x->job->max_rows)
        return duck__job_failed(x, WIRE_FAIL_LIMIT, ERR_LIMIT, "54000",
                                "the result has more rows than result.max_rows allows");
    if (x->job->max_bytes && x->bytes + more > x->job->max_bytes)
        return duck__job_failed(x, WIRE_FAIL_LIMIT, ERR_LIMIT, "54000",
                                "the result is larger than result.max_bytes allows");
    return 0;
}

void duck__stream_progress(struct duck_job *x)
{
    duckdb_query_progress_type p = duckdb_query_progress(x->session.conn);
    uint64_t n = p.rows_processed > p.total_rows_to_process ? p.total_rows_to_process : p.rows_processed;
    if (n > x->done.rows_scanned)
        x->done.rows_scanned = n;
}

static int flush(struct duck_job *x, bool last)
{
    if (!x->rows.nrows)
        return 0;
    CLEANUP_BUF struct buf index = BUF_INIT(16u << 20);
    uint64_t body = 0;
    if (duck__rows_index(&x->rows, &index, &body) < 0)
        return duck__job_failed(x, WIRE_FAIL_MEMORY, ERR_NOMEM, "53200", "out of memory");
    int r = check_limits(x, body);
    if (r < 0)
        return r;
    if (last && !x->sent_batch && index.len + body <= x->job->inline_max) {
        x->inline_body = calloc(1, body ? body : 1);
        if (!x->inline_body)
            return duck__job_failed(x, WIRE_FAIL_MEMORY, ERR_NOMEM, "53200", "out of memory");
        duck__rows_fill(&x->rows, x->inline_body);
        if (buf_add(&x->inline_index, index.p, index.len) < 0)
            return duck__job_failed(x, WIRE_FAIL_MEMORY, ERR_NOMEM, "53200", "out of memory");
        x->done.index_len = (uint32_t)index.len;
        x->done.body_len = (uint32_t)body;
    } else {
        r = send_memfd(x, &index, body);
        duck__stream_progress(x);
    }
    duck__rows_reset(&x->rows);
    return r;
}

/* Keeps rows [from, to) of a chunk; the chunk goes with the last of its parts. */
static int keep(struct duck_job *x, duckdb_data_chunk chunk, idx_t to)
{
    struct duck_rows *r = &x->rows;
    uint64_t room = x->d->setup->batch_max;
    uint64_t index = BODY_AT(batch_index_size(r->schema->nnodes, r->schema->nbuffers));
    idx_t from = 0, end = to;
    int rc = 0;
    while (from < to && !rc) {
        duck__rows_save(r);
        x->fail = WIRE_FAIL_SQL;
        rc = duck__rows_measure(r, chunk, from, end, &x->e);
        if (rc)
            break;
        if (duck__rows_body(r) + index > room && r->nrows) { /* what is kept goes first */
            duck__rows_restore(r);
            rc = flush(x, false);
        } else if (duck__rows_body(r) + index > room) {
            duck__rows_restore(r);
            if (end - from == 1)
                rc = duck__job_failed(x, WIRE_FAIL_LIMIT, ERR_LIMIT, "54000",
                                      "a single row is larger than a batch may be (result.max_batch)");
            end = from + (end - from) / 2;
        } else {
            if (!r->nrows)
                x->first_kept = sys_mono_ns();
            bool whole = end == to;
            r->kept[r->nkept++] = (struct kept){chunk, from, end, whole};
            r->nrows += end - from;
            if (whole)
                chunk = NULL;
            from = end;
            end = to;
            bool full =
                r->nrows + 2048 > BATCH_ROWS || duck__rows_body(r) >= BATCH_BYTES || r->nkept >= ROWS_CHUNKS;
            if (full || sys_mono_ns() - x->first_kept > BATCH_NS)
                rc = flush(x, false);
        }
    }
    if (chunk) {
        duck__rows_reset(r); /* nothing kept may point into it */
        duckdb_destroy_data_chunk(&chunk);
    }
    return rc;
}

/* EXPLAIN: the second column's text, one row a line. */
static int keep_plan_text(struct duck_job *x, duckdb_data_chunk chunk)
{
    duckdb_logical_type t = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
    idx_t columns = duckdb_data_chunk_get_column_count(chunk), n = duckdb_data_chunk_get_size(chunk);
    duckdb_vector v = duckdb_data_chunk_get_vector(chunk, columns - 1);
    duckdb_string_t *s = duckdb_vector_get_data(v);
    int rc = 0;
    for (idx_t i = 0; i < n && !rc; i++) {
        const char *p = duckdb_string_t_data(&s[i]), *end = p + duckdb_string_t_length(s[i]);
        char *text = strndup(p, (size_t)(end - p));
        if (!text)
            return duck__job_failed(x, WIRE_FAIL_MEMORY, ERR_NOMEM, "53200", "out of memory");
        duck__scrub(x->d, text);
        p = text;
        end = text + strlen(text);
        while (p < end && !rc) {
            duckdb_data_chunk out = duckdb_create_data_chunk(&t, 1);
            duckdb_vector ov = duckdb_data_chunk_get_vector(out, 0);
            idx_t k = 0;
            for (; p < end && k < duckdb_vector_size(); k++) {
                const char *nl = memchr(p, '\n', (size_t)(end - p));
                size_t len = (size_t)((nl ? nl : end) - p);
                duckdb_vector_assign_string_element_len(ov, k, p, len);
                p += len + (nl ? 1 : 0);
            }
            duckdb_data_chunk_set_size(out, k);
            x->done.rows += k;
            rc = keep(x, out, k);
        }
        free(text);
    }
    duckdb_destroy_logical_type(&t);
    duckdb_destroy_data_chunk(&chunk);
    return rc;
}

/* The library may say of an error in one of its threads only that the stream was interrupted, which nobody asked for. */
static int stream_failed(struct duck_job *x)
{
    int r = duck__job_engine_failed(x, duckdb_result_error(&x->result),
                                    (int)duckdb_result_error_type(&x->result));
    if (x->fail != WIRE_FAIL_CANCELED || port_canceled(x->port))
        return r;
    duckdb_destroy_result(&x->result);
    duckdb_destroy_pending(&x->pending);
    x->has_result = false;
    struct err why;
    uint32_t kind = WIRE_FAIL_SQL;
    bool again = x->plan.st.type == DUCKDB_STATEMENT_TYPE_SELECT && !x->plan.st.writes && !x->d->script_tx;
    if (!again || duck__reason(x->d, x->session.conn, x->job, &why, &kind) >= 0 || kind == WIRE_FAIL_CANCELED)
        return duck__job_failed(
            x, WIRE_FAIL_CANCELED, ERR_INTERNAL, "XX000",
            "the statement failed in one of the engine's threads, which does not say why");
    x->e = why;
    x->fail = kind;
    return why.code;
}

int duck__stream(struct duck_job *x)
{
    int64_t limit = x->plan.st.kind == WIRE_KIND_TEXT ? -1 : x->job->row_limit;
    for (;;) {
        if (port_canceled(x->port))
            return duck__job_canceled(x);
        duckdb_data_chunk chunk = duckdb_fetch_chunk(x->result);
        if (!chunk)
            break;
        idx_t n = duckdb_data_chunk_get_size(chunk);
        if (n == 0) {
            duckdb_destroy_data_chunk(&chunk);
            continue;
        }
        int r;
        if (x->plan.st.kind == WIRE_KIND_TEXT) {
            r = keep_plan_text(x, chunk);
        } else {
            if (limit >= 0 && n > (uint64_t)limit - x->done.rows) {
                n = (uint64_t)limit - x->done.rows;
                x->cut = true;
            }
            if (n == 0) {
                duckdb_destroy_data_chunk(&chunk);
                break;
            }
            x->done.rows += n;
            r = keep(x, chunk, n);
        }
        if (!r && x->done.rows > (x->job->max_rows ? x->job->max_rows : UINT64_MAX))
            r = check_limits(x, 0);
        if (r < 0)
            return r;
        if (x->cut)
            break;
    }
    return !x->cut && duckdb_result_error(&x->result) ? stream_failed(x) : flush(x, true);
}

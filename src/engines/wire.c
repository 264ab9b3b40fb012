/*
 * wire: payloads of the frames between daemon and engine process. The format is described in wire.h.
 *
 * Idea: each payload is one list of fields, walked to write it and walked to read it, so that both sides agree by
 * construction. The cursor (wire_io.h) only moves forward and remembers the first failure; one check at the end:
 * everything consumed, nothing failed. What a field must hold (io_check) is asked of what is read, never of what is
 * written.
 *
 * Field order of every payload is the order of the struct's fields in wire.h unless noted at the function.
 * bool is one byte, 0 or 1; every other value is a lie. Text is u32 length + bytes without NUL; readers
 * return NUL-terminated copies.
 *
 * Invariants: a reader never reads past n, never allocates more than a small multiple of n, and accepts
 * exactly what a writer produces. Any thread; no state.
 */
#include "engines/wire.h"

#include "engines/wire_io.h"

#define NAME_MAX_BYTES (64u * 1024u)
#define DATASETS_MAX   4096u
#define PARAMS_MAX     65536u

uint32_t wire_ceiling(enum wire_type t)
{
    switch (t) {
    case WIRE_SETUP:
        return 1024u * 1024u;
    case WIRE_JOB:
        return 64u * 1024u * 1024u;
    case WIRE_MEMFD:
        return 16;
    case WIRE_CANCEL:
        return 8;
    case WIRE_QUIT:
        return 0;
    case WIRE_RENDER:
        return 66u * 1024u * 1024u;
    case WIRE_MORE:
        return 16u * 1024u * 1024u;
    case WIRE_READY:
        return 4096;
    case WIRE_PLANNED:
        return 32u * 1024u * 1024u;
    case WIRE_BATCH:
        return 64;
    case WIRE_BEAT:
        return 64;
    case WIRE_DONE:
        return WIRE_INLINE_MAX + 1024u * 1024u;
    case WIRE_FAILED:
        return 16u * 1024u;
    case WIRE_SCRIPT:
        return 1024u * 1024u;
    case WIRE_WANT:
        return 16;
    }
    return 0;
}

static bool known(unsigned t)
{
    return (t >= WIRE_SETUP && t <= WIRE_MORE) || (t >= WIRE_READY && t <= WIRE_WANT);
}

int wire_header(const uint8_t h[8], enum wire_type *ret_type, uint32_t *ret_len)
{
    uint32_t len = (uint32_t)h[0] | (uint32_t)h[1] << 8 | (uint32_t)h[2] << 16 | (uint32_t)h[3] << 24;
    if (!known(h[4]) || h[5] || h[6] || h[7])
        return ERR_CORRUPT;
    if (len > wire_ceiling((enum wire_type)h[4]))
        return ERR_CORRUPT;
    *ret_type = (enum wire_type)h[4];
    *ret_len = len;
    return 0;
}

typedef void (*fields_fn)(struct io *io, void *message);

/* Appends a frame; one over its ceiling is taken back. */
static int put(struct buf *b, enum wire_type t, fields_fn fields, void *m)
{
    struct io io = {.out = b};
    size_t at = b->len;
    uint32_t len = 0, type = (uint32_t)t;
    io_u32(&io, &len);
    io_u32(&io, &type);
    if (fields)
        fields(&io, m);
    if (b->failed)
        return ERR_LIMIT;
    size_t n = b->len - at - 8;
    if (io.rc || n > wire_ceiling(t)) {
        b->len = at;
        return io.rc ? io.rc : ERR_LIMIT;
    }
    io_store_u32((uint8_t *)b->p + at, (uint32_t)n);
    return 0;
}

/* m is zeros and becomes what the payload says, which must be all of it. */
static int get(const uint8_t *p, size_t n, struct arena *a, fields_fn fields, void *m)
{
    struct io io = {.p = p, .n = n, .arena = a};
    fields(&io, m);
    return io.bad || io.n ? ERR_CORRUPT : 0;
}

/* ---- the payloads ---- */

static void setup(struct io *io, void *message)
{
    struct wire_setup *m = message;
    io_u32(io, &m->version);
    io_text(io, &m->private_dir, 4096);
    io_text(io, &m->catalog_path, 4096);
    io_bool(io, &m->catalog_write);
    io_u32(io, &m->ndatasets);
    struct wire_dataset *all = io_array(io, m->ndatasets, DATASETS_MAX, 13, sizeof *all);
    for (uint32_t i = 0; i < m->ndatasets && !io->bad; i++) {
        struct wire_dataset x = {0};
        if (io->out)
            x = m->datasets[i];
        io_text(io, &x.name, 4096);
        io_text(io, &x.path, 4096);
        io_text(io, &x.format, 32);
        io_bool(io, &x.folder);
        if (all)
            all[i] = x;
    }
    if (all)
        m->datasets = all;
    io_u64(io, &m->memory_wall);
    io_u64(io, &m->spill_max);
    io_u64(io, &m->batch_max);
    io_u32(io, &m->threads);
    io_i32(io, &m->landlock_abi_max);
    io_bool(io, &m->selftest);
    io_bool(io, &m->render);
}

static void ready(struct io *io, void *message)
{
    struct wire_ready *m = message;
    io_u32(io, &m->version);
    io_i32(io, &m->landlock_abi);
    io_bool(io, &m->seccomp);
    io_text(io, &m->library, 256);
}

static void params(struct io *io, struct wire_job *m)
{
    io_u32(io, &m->nparams);
    struct wire_param *all = io_array(io, m->nparams, PARAMS_MAX, 13, sizeof *all);
    for (uint32_t i = 0; i < m->nparams && !io->bad; i++) {
        struct wire_param x = {0};
        if (io->out)
            x = m->params[i];
        if (x.is_null)
            x.value_len = 0;
        io_text(io, &x.name, NAME_MAX_BYTES);
        io_text(io, &x.type, 256);
        io_bool(io, &x.is_null);
        io_bytes(io, &x.value, &x.value_len, UINT32_MAX);
        io_check(io, !x.is_null || !x.value_len);
        if (all)
            all[i] = x;
    }
    if (all)
        m->params = all;
}

static void job(struct io *io, void *message)
{
    struct wire_job *m = message;
    io_u64(io, &m->job);
    io_bool(io, &m->plan_only);
    io_u8(io, &m->profile);
    io_check(io, m->profile <= WIRE_PROFILE_PG);
    io_bytes(io, &m->sql, &m->sql_len, UINT32_MAX);
    io_text(io, &m->default_catalog, NAME_MAX_BYTES);
    io_text(io, &m->default_schema, NAME_MAX_BYTES);
    params(io, m);
    io_i64(io, &m->row_limit);
    io_check(io, m->row_limit >= -1);
    io_u64(io, &m->max_rows);
    io_u64(io, &m->max_bytes);
    io_u32(io, &m->inline_max);
    io_check(io, m->inline_max <= WIRE_INLINE_MAX);
    io_text(io, &m->timezone, 256);
    io_bool(io, &m->allow_write);
    io_u8(io, &m->step);
    io_check(io, m->step <= WIRE_STEP_ROLLBACK);
    io_bool(io, &m->one_transaction);
}

/* schema, index and body are the last three fields, so that they can be used in place. */
static void render(struct io *io, void *message)
{
    struct wire_render *m = message;
    io_u64(io, &m->job);
    io_u8(io, &m->format);
    io_check(io, m->format == WIRE_RENDER_XLSX || m->format == WIRE_RENDER_PARQUET);
    io_bool(io, &m->header);
    io_bool(io, &m->plain);
    io_bool(io, &m->underscores);
    io_bool(io, &m->grows);
    io_u8(io, &m->version);
    io_text(io, &m->codec, 64);
    io_text(io, &m->sheet, 256);
    io_text(io, &m->zone, 256);
    io_u64(io, &m->from);
    io_u64(io, &m->limit);
    io_u64(io, &m->rows);
    io_raw(io, m->id.b, sizeof m->id.b);
    io_u32(io, &m->ordinal);
    io_u64(io, &m->facts.file_size);
    io_u64(io, &m->facts.stream_len);
    io_u64(io, &m->facts.rows);
    io_u64(io, &m->facts.nbatches);
    io_u32(io, &m->facts.footer_crc);
    io_span(io, &m->schema, &m->schema_len);
    io_span(io, &m->index, &m->index_len);
    io_span(io, &m->body, &m->body_len);
    io_check(io, (m->index_len || !m->body_len) && (m->schema_len || !m->index_len));
    io_check(io, !m->grows || (m->schema_len && !m->index_len));
}

static void more(struct io *io, void *message)
{
    struct wire_more *m = message;
    io_u64(io, &m->job);
    io_bool(io, &m->last);
    io_span(io, &m->record, &m->record_len);
    io_span(io, &m->blocks, &m->blocks_len);
    io_check(io, m->last != (m->record_len > 0) && (!m->last || !m->blocks_len));
}

struct want {
    uint64_t job, batches;
};

static void want(struct io *io, void *message)
{
    struct want *m = message;
    io_u64(io, &m->job);
    io_u64(io, &m->batches);
}

struct memfd {
    uint64_t job;
    uint32_t slot;
};

static void memfd(struct io *io, void *message)
{
    struct memfd *m = message;
    io_u64(io, &m->job);
    io_u32(io, &m->slot);
}

static void cancel(struct io *io, void *message)
{
    io_u64(io, message);
}

/* The schema follows as u32 length + schema_write's bytes. */
static void put_schema(struct io *io, const struct schema *schema)
{
    struct buf *b = io->out;
    size_t at = b->len;
    uint32_t len = 0;
    io_u32(io, &len);
    if (!b->failed)
        io->rc = schema_write(schema, b);
    size_t n = b->len - at - 4;
    if (b->failed || io->rc)
        return;
    if (n > UINT32_MAX)
        io->rc = ERR_LIMIT;
    else
        io_store_u32((uint8_t *)b->p + at, (uint32_t)n);
}

static void planned(struct io *io, void *message)
{
    struct wire_planned *m = message;
    io_u64(io, &m->job);
    io_u8(io, &m->kind);
    io_check(io, m->kind <= WIRE_KIND_DDL);
    io_bool(io, &m->writes);
    io_u32(io, &m->nparams);
    io_u64(io, &m->plan_ns);
    if (io->out) {
        put_schema(io, m->schema);
        return;
    }
    uint32_t len = 0;
    const uint8_t *s = NULL;
    io_span(io, &s, &len);
    io_check(io, !io->bad && !io->n && schema_read(s, len, io->arena, &m->schema, NULL) == 0);
}

static void batch(struct io *io, void *message)
{
    struct wire_batch *m = message;
    io_u64(io, &m->job);
    io_u32(io, &m->slot);
    io_u64(io, &m->rows);
    io_u32(io, &m->index_len);
    io_u64(io, &m->body_len);
}

static void beat(struct io *io, void *message)
{
    struct wire_beat *m = message;
    io_u64(io, &m->job);
    io_u64(io, &m->rows_scanned);
    io_u64(io, &m->rows_total);
    io_i32(io, &m->permille);
    io_check(io, m->permille >= -1 && m->permille <= 1000);
    io_u64(io, &m->memory);
}

/* index and body are the last two fields, so that they can be used in place. */
static void done(struct io *io, void *message)
{
    struct wire_done *m = message;
    io_u64(io, &m->job);
    io_u64(io, &m->rows);
    io_i64(io, &m->update_count);
    io_check(io, m->update_count >= -1);
    io_u64(io, &m->rows_scanned);
    io_u64(io, &m->bytes_scanned);
    io_u64(io, &m->run_ns);
    io_bool(io, &m->scanned);
    io_bool(io, &m->reusable);
    io_bool(io, &m->cut);
    io_span(io, &m->index, &m->index_len);
    io_span(io, &m->body, &m->body_len);
    io_check(io, m->index_len || !m->body_len);
}

static void failed(struct io *io, void *message)
{
    struct wire_failed *m = message;
    struct err *e = &m->error;
    io_u64(io, &m->job);
    io_i32(io, &e->code);
    io_chars(io, e->sqlstate, sizeof e->sqlstate);
    io_chars(io, e->text, sizeof e->text);
    io_chars(io, e->hint, sizeof e->hint);
    io_i64(io, &e->position);
    io_i64(io, &e->position_end);
    io_i32(io, &e->line);
    io_i32(io, &e->column);
    io_u32(io, &m->kind);
    io_bool(io, &m->reusable);
    io_check(io, e->code < 0 && e->code >= ERR_END && e->position >= -1 && e->position_end >= -1);
    io_check(io, e->line >= 0 && e->column >= 0 && m->kind <= WIRE_FAIL_FATAL);
}

static void script(struct io *io, void *message)
{
    struct wire_script *m = message;
    io_u64(io, &m->job);
    io_u32(io, &m->npieces);
    io_check(io, m->npieces != 1);
    struct wire_piece *all = io_array(io, m->npieces, WIRE_PIECES_MAX, 8, sizeof *all);
    uint32_t from = 0;
    for (uint32_t i = 0; i < m->npieces && !io->bad; i++) {
        struct wire_piece x = {0};
        if (io->out)
            x = m->pieces[i];
        io_u32(io, &x.at);
        io_u32(io, &x.n);
        io_check(io, x.at >= from && x.n && x.n <= UINT32_MAX - x.at);
        from = x.at + x.n;
        if (all)
            all[i] = x;
    }
    if (all)
        m->pieces = all;
}

/* ---- to and fro ---- */

int wire_put_setup(struct buf *b, const struct wire_setup *m)
{
    struct wire_setup x = *m;
    return put(b, WIRE_SETUP, setup, &x);
}

int wire_get_setup(const uint8_t *p, size_t n, struct arena *a, struct wire_setup *ret)
{
    struct wire_setup x = {0};
    int rc = get(p, n, a, setup, &x);
    if (!rc)
        *ret = x;
    return rc;
}

int wire_put_ready(struct buf *b, const struct wire_ready *m)
{
    struct wire_ready x = *m;
    return put(b, WIRE_READY, ready, &x);
}

int wire_get_ready(const uint8_t *p, size_t n, struct arena *a, struct wire_ready *ret)
{
    struct wire_ready x = {0};
    int rc = get(p, n, a, ready, &x);
    if (!rc)
        *ret = x;
    return rc;
}

int wire_put_job(struct buf *b, const struct wire_job *m)
{
    struct wire_job x = *m;
    return put(b, WIRE_JOB, job, &x);
}

int wire_get_job(const uint8_t *p, size_t n, struct arena *a, struct wire_job *ret)
{
    struct wire_job x = {0};
    int rc = get(p, n, a, job, &x);
    if (!rc)
        *ret = x;
    return rc;
}

int wire_put_render(struct buf *b, const struct wire_render *m)
{
    struct wire_render x = *m;
    return put(b, WIRE_RENDER, render, &x);
}

int wire_get_render(const uint8_t *p, size_t n, struct arena *a, struct wire_render *ret)
{
    struct wire_render x = {0};
    int rc = get(p, n, a, render, &x);
    if (!rc)
        *ret = x;
    return rc;
}

int wire_put_more(struct buf *b, const struct wire_more *m)
{
    struct wire_more x = *m;
    return put(b, WIRE_MORE, more, &x);
}

int wire_get_more(const uint8_t *p, size_t n, struct wire_more *ret)
{
    struct wire_more x = {0};
    int rc = get(p, n, NULL, more, &x);
    if (!rc)
        *ret = x;
    return rc;
}

int wire_put_want(struct buf *b, uint64_t id, uint64_t batches)
{
    struct want x = {id, batches};
    return put(b, WIRE_WANT, want, &x);
}

int wire_get_want(const uint8_t *p, size_t n, uint64_t *ret_job, uint64_t *ret_batches)
{
    struct want x = {0};
    int rc = get(p, n, NULL, want, &x);
    if (!rc) {
        *ret_job = x.job;
        *ret_batches = x.batches;
    }
    return rc;
}

int wire_put_planned(struct buf *b, const struct wire_planned *m)
{
    struct wire_planned x = *m;
    return put(b, WIRE_PLANNED, planned, &x);
}

int wire_get_planned(const uint8_t *p, size_t n, struct arena *a, struct wire_planned *ret)
{
    struct wire_planned x = {0};
    int rc = get(p, n, a, planned, &x);
    if (!rc)
        *ret = x;
    return rc;
}

int wire_put_batch(struct buf *b, const struct wire_batch *m)
{
    struct wire_batch x = *m;
    return put(b, WIRE_BATCH, batch, &x);
}

int wire_get_batch(const uint8_t *p, size_t n, struct wire_batch *ret)
{
    struct wire_batch x = {0};
    int rc = get(p, n, NULL, batch, &x);
    if (!rc)
        *ret = x;
    return rc;
}

int wire_put_beat(struct buf *b, const struct wire_beat *m)
{
    struct wire_beat x = *m;
    return put(b, WIRE_BEAT, beat, &x);
}

int wire_get_beat(const uint8_t *p, size_t n, struct wire_beat *ret)
{
    struct wire_beat x = {0};
    int rc = get(p, n, NULL, beat, &x);
    if (!rc)
        *ret = x;
    return rc;
}

int wire_put_done(struct buf *b, const struct wire_done *m)
{
    struct wire_done x = *m;
    return put(b, WIRE_DONE, done, &x);
}

int wire_get_done(const uint8_t *p, size_t n, struct wire_done *ret)
{
    struct wire_done x = {0};
    int rc = get(p, n, NULL, done, &x);
    if (!rc)
        *ret = x;
    return rc;
}

int wire_put_failed(struct buf *b, const struct wire_failed *m)
{
    struct wire_failed x = *m;
    return put(b, WIRE_FAILED, failed, &x);
}

int wire_get_failed(const uint8_t *p, size_t n, struct wire_failed *ret)
{
    struct wire_failed x = {0};
    int rc = get(p, n, NULL, failed, &x);
    if (!rc)
        *ret = x;
    return rc;
}

int wire_put_script(struct buf *b, const struct wire_script *m)
{
    struct wire_script x = *m;
    return put(b, WIRE_SCRIPT, script, &x);
}

int wire_get_script(const uint8_t *p, size_t n, struct arena *a, struct wire_script *ret)
{
    struct wire_script x = {0};
    int rc = get(p, n, a, script, &x);
    if (!rc)
        *ret = x;
    return rc;
}

int wire_put_memfd(struct buf *b, uint64_t id, uint32_t slot)
{
    struct memfd x = {id, slot};
    return put(b, WIRE_MEMFD, memfd, &x);
}

int wire_get_memfd(const uint8_t *p, size_t n, uint64_t *ret_job, uint32_t *ret_slot)
{
    struct memfd x = {0};
    int rc = get(p, n, NULL, memfd, &x);
    if (!rc) {
        *ret_job = x.job;
        *ret_slot = x.slot;
    }
    return rc;
}

int wire_put_cancel(struct buf *b, uint64_t id)
{
    return put(b, WIRE_CANCEL, cancel, &id);
}

int wire_get_cancel(const uint8_t *p, size_t n, uint64_t *ret_job)
{
    uint64_t id = 0;
    int rc = get(p, n, NULL, cancel, &id);
    if (!rc)
        *ret_job = id;
    return rc;
}

int wire_put_quit(struct buf *b)
{
    return put(b, WIRE_QUIT, NULL, NULL);
}

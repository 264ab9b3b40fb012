/*
 * wire: payloads of the frames between daemon and engine process. The format is described in wire.h.
 *
 * Idea: one cursor type for reading (`struct in`), which only moves forward and remembers the first failure,
 * so that a reader is a plain list of fields and one check at the end: everything consumed, nothing failed.
 * Writers reserve the header, append, and patch the length.
 *
 * Field order of every payload is the order of the struct's fields in wire.h unless noted at the function.
 * bool is one byte, 0 or 1; every other value is a lie. Text is u32 length + bytes without NUL; readers
 * return NUL-terminated copies.
 *
 * Invariants: a reader never reads past n, never allocates more than a small multiple of n, and accepts
 * exactly what a writer produces. Any thread; no state.
 */
#include "engines/wire.h"

#include <string.h>

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
    }
    return 0;
}

static bool known(unsigned t)
{
    return (t >= WIRE_SETUP && t <= WIRE_RENDER) || (t >= WIRE_READY && t <= WIRE_SCRIPT);
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

/* ---- writing ---- */

static void put_u8(struct buf *b, uint8_t v)
{
    (void)buf_add(b, &v, 1);
}
static void put_bool(struct buf *b, bool v)
{
    put_u8(b, v ? 1 : 0);
}

static void put_u32(struct buf *b, uint32_t v)
{
    uint8_t x[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    (void)buf_add(b, x, sizeof x);
}

static void put_u64(struct buf *b, uint64_t v)
{
    put_u32(b, (uint32_t)v);
    put_u32(b, (uint32_t)(v >> 32));
}

static void put_i32(struct buf *b, int32_t v)
{
    put_u32(b, (uint32_t)v);
}
static void put_i64(struct buf *b, int64_t v)
{
    put_u64(b, (uint64_t)v);
}

static void put_bytes(struct buf *b, const void *p, size_t n)
{
    if (n > UINT32_MAX) {
        b->failed = true;
        return;
    }
    put_u32(b, (uint32_t)n);
    if (n)
        (void)buf_add(b, p, n);
}

static void put_text(struct buf *b, const char *s)
{
    put_bytes(b, s ? s : "", s ? strlen(s) : 0);
}

static size_t frame_begin(struct buf *b, enum wire_type t)
{
    size_t at = b->len;
    put_u32(b, 0);
    put_u32(b, (uint32_t)t);
    return at;
}

/* Patches the length. A frame over its ceiling is taken back. */
static int frame_end(struct buf *b, enum wire_type t, size_t at)
{
    if (b->failed)
        return ERR_LIMIT;
    size_t n = b->len - at - 8;
    if (n > wire_ceiling(t)) {
        b->len = at;
        return ERR_LIMIT;
    }
    uint8_t x[4] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24)};
    memcpy(b->p + at, x, sizeof x);
    return 0;
}

int wire_put_setup(struct buf *b, const struct wire_setup *m)
{
    size_t at = frame_begin(b, WIRE_SETUP);
    put_u32(b, m->version);
    put_text(b, m->private_dir);
    put_text(b, m->catalog_path);
    put_bool(b, m->catalog_write);
    put_u32(b, m->ndatasets);
    for (uint32_t i = 0; i < m->ndatasets; i++) {
        put_text(b, m->datasets[i].name);
        put_text(b, m->datasets[i].path);
        put_text(b, m->datasets[i].format);
        put_bool(b, m->datasets[i].folder);
    }
    put_u64(b, m->memory_wall);
    put_u64(b, m->spill_max);
    put_u64(b, m->batch_max);
    put_u32(b, m->threads);
    put_i32(b, m->landlock_abi_max);
    put_bool(b, m->selftest);
    put_bool(b, m->render);
    return frame_end(b, WIRE_SETUP, at);
}

int wire_put_ready(struct buf *b, const struct wire_ready *m)
{
    size_t at = frame_begin(b, WIRE_READY);
    put_u32(b, m->version);
    put_i32(b, m->landlock_abi);
    put_bool(b, m->seccomp);
    put_text(b, m->library);
    return frame_end(b, WIRE_READY, at);
}

int wire_put_job(struct buf *b, const struct wire_job *m)
{
    size_t at = frame_begin(b, WIRE_JOB);
    put_u64(b, m->job);
    put_bool(b, m->plan_only);
    put_u8(b, m->profile);
    put_bytes(b, m->sql, m->sql_len);
    put_text(b, m->default_catalog);
    put_text(b, m->default_schema);
    put_u32(b, m->nparams);
    for (uint32_t i = 0; i < m->nparams; i++) {
        put_text(b, m->params[i].name);
        put_text(b, m->params[i].type);
        put_bool(b, m->params[i].is_null);
        put_bytes(b, m->params[i].value, m->params[i].is_null ? 0 : m->params[i].value_len);
    }
    put_i64(b, m->row_limit);
    put_u64(b, m->max_rows);
    put_u64(b, m->max_bytes);
    put_u32(b, m->inline_max);
    put_text(b, m->timezone);
    put_bool(b, m->allow_write);
    put_u8(b, m->step);
    put_bool(b, m->one_transaction);
    return frame_end(b, WIRE_JOB, at);
}

/* schema, index and body are the last three fields, so that they can be used in place. */
int wire_put_render(struct buf *b, const struct wire_render *m)
{
    size_t at = frame_begin(b, WIRE_RENDER);
    put_u64(b, m->job);
    put_u8(b, m->format);
    put_bool(b, m->header);
    put_bool(b, m->plain);
    put_u8(b, m->version);
    put_text(b, m->codec);
    put_text(b, m->sheet);
    put_u64(b, m->from);
    put_u64(b, m->limit);
    put_u64(b, m->rows);
    (void)buf_add(b, m->id.b, sizeof m->id.b);
    put_u32(b, m->ordinal);
    put_u64(b, m->facts.file_size);
    put_u64(b, m->facts.stream_len);
    put_u64(b, m->facts.rows);
    put_u64(b, m->facts.nbatches);
    put_u32(b, m->facts.footer_crc);
    put_bytes(b, m->schema, m->schema_len);
    put_bytes(b, m->index, m->index_len);
    put_bytes(b, m->body, m->body_len);
    return frame_end(b, WIRE_RENDER, at);
}

int wire_put_memfd(struct buf *b, uint64_t job, uint32_t slot)
{
    size_t at = frame_begin(b, WIRE_MEMFD);
    put_u64(b, job);
    put_u32(b, slot);
    return frame_end(b, WIRE_MEMFD, at);
}

int wire_put_cancel(struct buf *b, uint64_t job)
{
    size_t at = frame_begin(b, WIRE_CANCEL);
    put_u64(b, job);
    return frame_end(b, WIRE_CANCEL, at);
}

int wire_put_quit(struct buf *b)
{
    return frame_end(b, WIRE_QUIT, frame_begin(b, WIRE_QUIT));
}

/* The schema follows as u32 length + schema_write's bytes. */
int wire_put_planned(struct buf *b, const struct wire_planned *m)
{
    size_t at = frame_begin(b, WIRE_PLANNED);
    put_u64(b, m->job);
    put_u8(b, m->kind);
    put_bool(b, m->writes);
    put_u32(b, m->nparams);
    put_u64(b, m->plan_ns);
    size_t len_at = b->len;
    put_u32(b, 0);
    if (b->failed)
        return ERR_LIMIT;
    int r = schema_write(m->schema, b);
    if (r < 0) {
        b->len = at;
        return r;
    }
    size_t n = b->len - len_at - 4;
    if (n > wire_ceiling(WIRE_PLANNED)) {
        b->len = at;
        return ERR_LIMIT;
    }
    uint8_t x[4] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24)};
    memcpy(b->p + len_at, x, sizeof x);
    return frame_end(b, WIRE_PLANNED, at);
}

int wire_put_batch(struct buf *b, const struct wire_batch *m)
{
    size_t at = frame_begin(b, WIRE_BATCH);
    put_u64(b, m->job);
    put_u32(b, m->slot);
    put_u64(b, m->rows);
    put_u32(b, m->index_len);
    put_u64(b, m->body_len);
    return frame_end(b, WIRE_BATCH, at);
}

int wire_put_beat(struct buf *b, const struct wire_beat *m)
{
    size_t at = frame_begin(b, WIRE_BEAT);
    put_u64(b, m->job);
    put_u64(b, m->rows_scanned);
    put_u64(b, m->rows_total);
    put_i32(b, m->permille);
    put_u64(b, m->memory);
    return frame_end(b, WIRE_BEAT, at);
}

/* index and body are the last two fields, so that they can be used in place. */
int wire_put_done(struct buf *b, const struct wire_done *m)
{
    size_t at = frame_begin(b, WIRE_DONE);
    put_u64(b, m->job);
    put_u64(b, m->rows);
    put_i64(b, m->update_count);
    put_u64(b, m->rows_scanned);
    put_u64(b, m->bytes_scanned);
    put_u64(b, m->run_ns);
    put_bool(b, m->scanned);
    put_bool(b, m->reusable);
    put_bool(b, m->cut);
    put_bytes(b, m->index, m->index_len);
    put_bytes(b, m->body, m->body_len);
    return frame_end(b, WIRE_DONE, at);
}

int wire_put_failed(struct buf *b, const struct wire_failed *m)
{
    size_t at = frame_begin(b, WIRE_FAILED);
    put_u64(b, m->job);
    put_i32(b, m->error.code);
    put_text(b, m->error.sqlstate);
    put_text(b, m->error.text);
    put_text(b, m->error.hint);
    put_i64(b, m->error.position);
    put_i64(b, m->error.position_end);
    put_i32(b, m->error.line);
    put_i32(b, m->error.column);
    put_u32(b, m->kind);
    put_bool(b, m->reusable);
    return frame_end(b, WIRE_FAILED, at);
}

int wire_put_script(struct buf *b, const struct wire_script *m)
{
    size_t at = frame_begin(b, WIRE_SCRIPT);
    put_u64(b, m->job);
    put_u32(b, m->npieces);
    for (uint32_t i = 0; i < m->npieces; i++) {
        put_u32(b, m->pieces[i].at);
        put_u32(b, m->pieces[i].n);
    }
    return frame_end(b, WIRE_SCRIPT, at);
}

/* ---- reading ---- */

struct in {
    const uint8_t *p;
    size_t n;
    bool bad;
};

static const uint8_t *take(struct in *in, size_t n)
{
    if (in->bad || n > in->n) {
        in->bad = true;
        return NULL;
    }
    const uint8_t *p = in->p;
    in->p += n;
    in->n -= n;
    return p;
}

static uint8_t get_u8(struct in *in)
{
    const uint8_t *p = take(in, 1);
    return p ? p[0] : 0;
}

static bool get_bool(struct in *in)
{
    uint8_t v = get_u8(in);
    if (v > 1)
        in->bad = true;
    return v == 1;
}

static uint32_t get_u32(struct in *in)
{
    const uint8_t *p = take(in, 4);
    return p ? (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24 : 0;
}

static uint64_t get_u64(struct in *in)
{
    uint64_t lo = get_u32(in);
    return lo | (uint64_t)get_u32(in) << 32;
}

static int32_t get_i32(struct in *in)
{
    return (int32_t)get_u32(in);
}
static int64_t get_i64(struct in *in)
{
    return (int64_t)get_u64(in);
}

static const char *get_bytes(struct in *in, struct arena *a, uint32_t max, bool nul_free, uint32_t *ret_len)
{
    uint32_t n = get_u32(in);
    if (n > max)
        in->bad = true;
    const uint8_t *p = take(in, n);
    if (!p || (nul_free && memchr(p, 0, n))) {
        in->bad = true;
        return "";
    }
    char *s = arena_strndup(a, (const char *)p, n);
    if (s && !nul_free) { /* strndup may stop at a NUL: copy the bytes themselves */
        s = arena_alloc(a, (size_t)n + 1);
        if (s && n)
            memcpy(s, p, n);
    }
    if (!s) {
        in->bad = true;
        return "";
    }
    if (ret_len)
        *ret_len = n;
    return s;
}

static const char *get_text(struct in *in, struct arena *a, uint32_t max)
{
    return get_bytes(in, a, max, true, NULL);
}

static void get_chars(struct in *in, char *to, size_t cap)
{
    uint32_t n = get_u32(in);
    const uint8_t *p = n < cap ? take(in, n) : NULL;
    if (!p || memchr(p, 0, n)) {
        in->bad = true;
        return;
    }
    memcpy(to, p, n);
    to[n] = 0;
}

static int finish(const struct in *in)
{
    return in->bad || in->n ? ERR_CORRUPT : 0;
}

int wire_get_setup(const uint8_t *p, size_t n, struct arena *a, struct wire_setup *ret)
{
    struct in in = {p, n, false};
    struct wire_setup m = {0};
    m.version = get_u32(&in);
    m.private_dir = get_text(&in, a, 4096);
    m.catalog_path = get_text(&in, a, 4096);
    m.catalog_write = get_bool(&in);
    m.ndatasets = get_u32(&in);
    if (m.ndatasets > DATASETS_MAX || m.ndatasets > in.n / 13)
        return ERR_CORRUPT;
    struct wire_dataset *d = arena_alloc(a, sizeof *d * m.ndatasets);
    if (!d)
        return ERR_CORRUPT;
    for (uint32_t i = 0; i < m.ndatasets && !in.bad; i++) {
        d[i].name = get_text(&in, a, 4096);
        d[i].path = get_text(&in, a, 4096);
        d[i].format = get_text(&in, a, 32);
        d[i].folder = get_bool(&in);
    }
    m.datasets = d;
    m.memory_wall = get_u64(&in);
    m.spill_max = get_u64(&in);
    m.batch_max = get_u64(&in);
    m.threads = get_u32(&in);
    m.landlock_abi_max = get_i32(&in);
    m.selftest = get_bool(&in);
    m.render = get_bool(&in);
    if (finish(&in) < 0)
        return ERR_CORRUPT;
    *ret = m;
    return 0;
}

int wire_get_ready(const uint8_t *p, size_t n, struct arena *a, struct wire_ready *ret)
{
    struct in in = {p, n, false};
    struct wire_ready m = {0};
    m.version = get_u32(&in);
    m.landlock_abi = get_i32(&in);
    m.seccomp = get_bool(&in);
    m.library = get_text(&in, a, 256);
    if (finish(&in) < 0)
        return ERR_CORRUPT;
    *ret = m;
    return 0;
}

int wire_get_job(const uint8_t *p, size_t n, struct arena *a, struct wire_job *ret)
{
    struct in in = {p, n, false};
    struct wire_job m = {0};
    m.job = get_u64(&in);
    m.plan_only = get_bool(&in);
    m.profile = get_u8(&in);
    if (m.profile > WIRE_PROFILE_PG)
        in.bad = true;
    m.sql = get_bytes(&in, a, UINT32_MAX, false, &m.sql_len);
    m.default_catalog = get_text(&in, a, NAME_MAX_BYTES);
    m.default_schema = get_text(&in, a, NAME_MAX_BYTES);
    m.nparams = get_u32(&in);
    if (in.bad || m.nparams > PARAMS_MAX || m.nparams > in.n / 13)
        return ERR_CORRUPT;
    struct wire_param *d = arena_alloc(a, sizeof *d * m.nparams);
    if (!d)
        return ERR_CORRUPT;
    for (uint32_t i = 0; i < m.nparams && !in.bad; i++) {
        d[i].name = get_text(&in, a, NAME_MAX_BYTES);
        d[i].type = get_text(&in, a, 256);
        d[i].is_null = get_bool(&in);
        d[i].value = get_bytes(&in, a, UINT32_MAX, false, &d[i].value_len);
        if (d[i].is_null && d[i].value_len)
            in.bad = true;
    }
    m.params = d;
    m.row_limit = get_i64(&in);
    if (m.row_limit < -1)
        in.bad = true;
    m.max_rows = get_u64(&in);
    m.max_bytes = get_u64(&in);
    m.inline_max = get_u32(&in);
    if (m.inline_max > WIRE_INLINE_MAX)
        in.bad = true;
    m.timezone = get_text(&in, a, 256);
    m.allow_write = get_bool(&in);
    m.step = get_u8(&in);
    if (m.step > WIRE_STEP_ROLLBACK)
        in.bad = true;
    m.one_transaction = get_bool(&in);
    if (finish(&in) < 0)
        return ERR_CORRUPT;
    *ret = m;
    return 0;
}

int wire_get_render(const uint8_t *p, size_t n, struct arena *a, struct wire_render *ret)
{
    struct in in = {p, n, false};
    struct wire_render m = {0};
    m.job = get_u64(&in);
    m.format = get_u8(&in);
    if (m.format != WIRE_RENDER_XLSX && m.format != WIRE_RENDER_PARQUET)
        in.bad = true;
    m.header = get_bool(&in);
    m.plain = get_bool(&in);
    m.version = get_u8(&in);
    m.codec = get_text(&in, a, 64);
    m.sheet = get_text(&in, a, 256);
    m.from = get_u64(&in);
    m.limit = get_u64(&in);
    m.rows = get_u64(&in);
    const uint8_t *id = take(&in, sizeof m.id.b);
    if (id)
        memcpy(m.id.b, id, sizeof m.id.b);
    m.ordinal = get_u32(&in);
    m.facts.file_size = get_u64(&in);
    m.facts.stream_len = get_u64(&in);
    m.facts.rows = get_u64(&in);
    m.facts.nbatches = get_u64(&in);
    m.facts.footer_crc = get_u32(&in);
    m.schema_len = get_u32(&in);
    m.schema = take(&in, m.schema_len);
    m.index_len = get_u32(&in);
    m.index = take(&in, m.index_len);
    m.body_len = get_u32(&in);
    m.body = take(&in, m.body_len);
    if (finish(&in) < 0 || (m.body_len && !m.index_len) || (m.index_len && !m.schema_len))
        return ERR_CORRUPT;
    *ret = m;
    return 0;
}

int wire_get_memfd(const uint8_t *p, size_t n, uint64_t *ret_job, uint32_t *ret_slot)
{
    struct in in = {p, n, false};
    uint64_t job = get_u64(&in);
    uint32_t slot = get_u32(&in);
    if (finish(&in) < 0)
        return ERR_CORRUPT;
    *ret_job = job;
    *ret_slot = slot;
    return 0;
}

int wire_get_cancel(const uint8_t *p, size_t n, uint64_t *ret_job)
{
    struct in in = {p, n, false};
    uint64_t job = get_u64(&in);
    if (finish(&in) < 0)
        return ERR_CORRUPT;
    *ret_job = job;
    return 0;
}

int wire_get_planned(const uint8_t *p, size_t n, struct arena *a, struct wire_planned *ret)
{
    struct in in = {p, n, false};
    struct wire_planned m = {0};
    m.job = get_u64(&in);
    m.kind = get_u8(&in);
    if (m.kind > WIRE_KIND_DDL)
        in.bad = true;
    m.writes = get_bool(&in);
    m.nparams = get_u32(&in);
    m.plan_ns = get_u64(&in);
    uint32_t len = get_u32(&in);
    const uint8_t *s = take(&in, len);
    if (finish(&in) < 0)
        return ERR_CORRUPT;
    if (schema_read(s, len, a, &m.schema, NULL) < 0)
        return ERR_CORRUPT;
    *ret = m;
    return 0;
}

int wire_get_batch(const uint8_t *p, size_t n, struct wire_batch *ret)
{
    struct in in = {p, n, false};
    struct wire_batch m = {0};
    m.job = get_u64(&in);
    m.slot = get_u32(&in);
    m.rows = get_u64(&in);
    m.index_len = get_u32(&in);
    m.body_len = get_u64(&in);
    if (finish(&in) < 0)
        return ERR_CORRUPT;
    *ret = m;
    return 0;
}

int wire_get_beat(const uint8_t *p, size_t n, struct wire_beat *ret)
{
    struct in in = {p, n, false};
    struct wire_beat m = {0};
    m.job = get_u64(&in);
    m.rows_scanned = get_u64(&in);
    m.rows_total = get_u64(&in);
    m.permille = get_i32(&in);
    if (m.permille < -1 || m.permille > 1000)
        in.bad = true;
    m.memory = get_u64(&in);
    if (finish(&in) < 0)
        return ERR_CORRUPT;
    *ret = m;
    return 0;
}

int wire_get_done(const uint8_t *p, size_t n, struct wire_done *ret)
{
    struct in in = {p, n, false};
    struct wire_done m = {0};
    m.job = get_u64(&in);
    m.rows = get_u64(&in);
    m.update_count = get_i64(&in);
    if (m.update_count < -1)
        in.bad = true;
    m.rows_scanned = get_u64(&in);
    m.bytes_scanned = get_u64(&in);
    m.run_ns = get_u64(&in);
    m.scanned = get_bool(&in);
    m.reusable = get_bool(&in);
    m.cut = get_bool(&in);
    m.index_len = get_u32(&in);
    m.index = take(&in, m.index_len);
    m.body_len = get_u32(&in);
    m.body = take(&in, m.body_len);
    if (finish(&in) < 0)
        return ERR_CORRUPT;
    if (m.body_len && !m.index_len)
        return ERR_CORRUPT;
    *ret = m;
    return 0;
}

int wire_get_failed(const uint8_t *p, size_t n, struct wire_failed *ret)
{
    struct in in = {p, n, false};
    struct wire_failed m;
    memset(&m, 0, sizeof m);
    m.job = get_u64(&in);
    m.error.code = get_i32(&in);
    get_chars(&in, m.error.sqlstate, sizeof m.error.sqlstate);
    get_chars(&in, m.error.text, sizeof m.error.text);
    get_chars(&in, m.error.hint, sizeof m.error.hint);
    m.error.position = get_i64(&in);
    m.error.position_end = get_i64(&in);
    m.error.line = get_i32(&in);
    m.error.column = get_i32(&in);
    m.kind = get_u32(&in);
    m.reusable = get_bool(&in);
    if (m.error.code >= 0 || m.error.code < ERR_END || m.error.position < -1 || m.error.position_end < -1 ||
        m.error.line < 0 || m.error.column < 0 || m.kind > WIRE_FAIL_FATAL)
        in.bad = true;
    if (finish(&in) < 0)
        return ERR_CORRUPT;
    *ret = m;
    return 0;
}

int wire_get_script(const uint8_t *p, size_t n, struct arena *a, struct wire_script *ret)
{
    struct in in = {p, n, false};
    struct wire_script m = {0};
    m.job = get_u64(&in);
    m.npieces = get_u32(&in);
    if (in.bad || m.npieces == 1 || m.npieces > WIRE_PIECES_MAX || m.npieces > in.n / 8)
        return ERR_CORRUPT;
    struct wire_piece *d = arena_alloc(a, sizeof *d * (m.npieces + 1));
    if (!d)
        return ERR_CORRUPT;
    uint32_t from = 0;
    for (uint32_t i = 0; i < m.npieces && !in.bad; i++) {
        d[i].at = get_u32(&in);
        d[i].n = get_u32(&in);
        if (d[i].at < from || d[i].n == 0 || d[i].n > UINT32_MAX - d[i].at)
            in.bad = true;
        from = d[i].at + d[i].n;
    }
    m.pieces = d;
    if (finish(&in) < 0)
        return ERR_CORRUPT;
    *ret = m;
    return 0;
}

/*
 * Opening a segment: a sealed file, checked from its footer to the last index entry, or an inline result out
 * of the registry.
 *
 * Nothing in the file is believed before its checksum matched and its numbers agreed with the manifest and
 * with each other: rows and bytes of the batches must follow each other without a gap. The batch records are
 * not kept (24 bytes a batch are), but each was parsed here once, and a later read of it compares its own
 * checksum. Any thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/sys.h"
#include "encoders/encoder.h"
#include "results/segment_int.h"

#define OPEN_READ    (256u << 10)
#define RECORD_ARENA (64u << 20)

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "53200", "out of memory while opening a result");
}

static int read_exact(int fd, uint64_t off, void *p, size_t n, struct err *e)
{
    ssize_t got = sys_pread(fd, p, n, (int64_t)off);
    if (got < 0)
        return segment__read_error(e, errno);
    if ((size_t)got != n)
        return segment__corrupt(e, "it is shorter than recorded");
    return 0;
}

/* Footer and manifest agree, and the parts follow each other inside the file. */
static bool footer_plausible(const struct segment_footer *f, const struct segment_facts *facts,
                             const struct qid *id, uint32_t ordinal)
{
    if (!id_equal(&f->id, id) || f->ordinal != ordinal)
        return false;
    if (f->footer_crc != facts->footer_crc || f->rows != facts->rows || f->stream_len != facts->stream_len ||
        f->nbatches != facts->nbatches)
        return false;
    uint64_t end = facts->file_size - SEGMENT_FOOTER;
    if (f->stream_len < 16 || f->stream_len % 8 != 0 || f->schema_off != f->stream_len)
        return false;
    if (f->batches_off < f->schema_off || f->blocks_off < f->batches_off || f->blocks_off > end)
        return false;
    if (f->batches_off - f->schema_off > SEGMENT_SCHEMA_MAX)
        return false;
    uint64_t blocks = (f->stream_len - 1) / SEGMENT_BLOCK + 1;
    return end - f->blocks_off == blocks * 4;
}

/* One batch record: follows its predecessor. `next` carries what the next one must start with. */
bool segment__record_follows(const uint8_t *r, size_t len, struct segment_entry *next,
                             struct segment_entry *entry)
{
    uint64_t rows = segment__get64(r + 8), head = segment__get64(r + 16), body = segment__get64(r + 24),
             body_len = segment__get64(r + 32);
    if (segment__get64(r) != next->first_row || rows > UINT64_MAX / 2 - next->first_row)
        return false;
    if (head != next->off || body <= head || body - head > SEGMENT_HEADER_MAX || (body - head) % 8 != 0)
        return false;
    if (body_len % 8 != 0 || body_len > INT64_MAX - body)
        return false;
    if (segment__get32(r + 40) != len - SEGMENT_RECORD_HEAD || segment__get32(r + 44) != 0)
        return false;
    *entry = (struct segment_entry){next->first_row, head, (uint32_t)(body - head), 0};
    next->first_row += rows;
    next->off = body + body_len;
    return true;
}

int segment__record_check(struct segment *s, const uint8_t *r, struct err *e)
{
    struct arena *a = arena_new(RECORD_ARENA);
    if (!a)
        return no_memory(e);
    struct batch_index *ix;
    int rc = batch_index_read(r + SEGMENT_RECORD_HEAD, s->record_len - SEGMENT_RECORD_HEAD, s->schema, a, &ix,
                              NULL);
    bool agrees = rc == 0 && ix->rows == segment__get64(r + 8) && ix->body_len == segment__get64(r + 32);
    arena_free(a);
    if (rc == ERR_NOMEM)
        return no_memory(e);
    return agrees ? 0 : segment__corrupt(e, "its index contradicts itself");
}

static int load_records(struct segment *s, const struct segment_footer *f, uint32_t *crc, struct err *e)
{
    size_t per = OPEN_READ / s->record_len;
    if (per == 0)
        per = 1;
    uint8_t *p = malloc(per * s->record_len);
    if (!p)
        return no_memory(e);
    struct segment_entry next = {0};
    int rc = 0;
    for (uint64_t i = 0; rc == 0 && i < f->nbatches; i += per) {
        size_t n = f->nbatches - i < per ? (size_t)(f->nbatches - i) : per;
        rc = read_exact(s->fd, f->batches_off + i * s->record_len, p, n * s->record_len, e);
        if (rc < 0)
            break;
        *crc = crypto_crc32c(*crc, p, n * s->record_len);
        for (size_t k = 0; rc == 0 && k < n; k++) {
            const uint8_t *r = p + k * s->record_len;
            struct segment_entry *entry = segment__entry(s, i + k);
            if (i + k == 0) { /* the schema message ends where the first batch begins */
                next.off = segment__get64(r + 16);
                s->schema_len = next.off;
            }
            if (!segment__record_follows(r, s->record_len, &next, entry))
                rc = segment__corrupt(e, "its index contradicts itself");
            if (rc == 0)
                rc = segment__record_check(s, r, e);
            entry->record_crc = crypto_crc32c(0, r, s->record_len);
        }
    }
    free(p);
    if (rc < 0)
        return rc;
    if (f->nbatches == 0)
        s->schema_len = next.off = f->stream_len - 8;
    if (s->schema_len < 8 || s->schema_len % 8 != 0 || next.off != f->stream_len - 8 ||
        next.first_row != f->rows)
        return segment__corrupt(e, "its index contradicts itself");
    *segment__entry(s, f->nbatches) = next;
    return 0;
}

static int load(int fd, const struct segment_footer *f, struct segment **ret, struct err *e)
{
    size_t schema_size = (size_t)(f->batches_off - f->schema_off);
    uint8_t *schema = malloc(schema_size + 1);
    if (!schema)
        return no_memory(e);
    uint64_t nblocks = (f->stream_len - 1) / SEGMENT_BLOCK + 1;
    uint64_t records = f->blocks_off - f->batches_off;
    /* A record is never shorter than its head, so a lie in nbatches cannot cost more memory than the file is
     * long. */
    int rc =
        f->nbatches > records / SEGMENT_RECORD_HEAD ? segment__corrupt(e, "its index contradicts itself") : 0;
    if (rc == 0)
        rc = read_exact(fd, f->schema_off, schema, schema_size, e);
    uint32_t crc = 0;
    struct segment *s = NULL;
    if (rc == 0) {
        crc = crypto_crc32c(0, schema, schema_size);
        rc = segment__new(fd, &f->id, f->ordinal, schema, schema_size, f->nbatches, nblocks, &s, e);
        if (rc == ERR_CORRUPT || rc == ERR_LIMIT)
            rc = segment__corrupt(e, "its schema cannot be read");
    }
    free(schema);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    if (segment__table_reserve(&s->batches, f->nbatches + 1) < 0 ||
        segment__table_reserve(&s->blocks, nblocks) < 0 ||
        segment__table_reserve(&s->verified, (nblocks + 63) / 64) < 0)
        rc = no_memory(e);
    if (rc == 0 && records != f->nbatches * s->record_len)
        rc = segment__corrupt(e, "its index contradicts itself");
    if (rc == 0)
        rc = load_records(s, f, &crc, e);
    if (rc == 0)
        rc = read_exact(fd, f->blocks_off, segment__table_at(&s->blocks, 0), (size_t)nblocks * 4, e);
    if (rc == 0 &&
        crypto_crc32c(crc, segment__table_at(&s->blocks, 0), (size_t)nblocks * 4) != f->trailer_crc)
        rc = segment__corrupt(e, "its index does not match its checksum");
    if (rc < 0) {
        segment_unref(s);
        return rc;
    }
    atomic_store(&s->records_off, f->batches_off);
    atomic_store(&s->stream_len, f->stream_len);
    atomic_store(&s->nblocks, nblocks);
    atomic_store(&s->nbatches, f->nbatches);
    *ret = s;
    return 0;
}

int segment_open(int dir_fd, const char *name, const struct qid *id, uint32_t ordinal,
                 const struct segment_facts *facts, struct segment **ret, struct err *e)
{
    int fd = sys_openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0) {
        if (errno == ENOENT)
            return err_set(e, ERR_GONE, NULL, "the stored result is gone");
        if (errno == ELOOP)
            return segment__corrupt(e, "it is not a file");
        return segment__read_error(e, errno);
    }
    return segment_open_fd(fd, id, ordinal, facts, ret, e);
}

int segment_open_fd(int fd, const struct qid *id, uint32_t ordinal, const struct segment_facts *facts,
                    struct segment **ret, struct err *e)
{
    struct stat st;
    int rc = 0;
    if (fstat(fd, &st) < 0)
        rc = segment__read_error(e, errno);
    else if (!S_ISREG(st.st_mode))
        rc = segment__corrupt(e, "it is not a file");
    else if ((uint64_t)st.st_size != facts->file_size || facts->file_size < SEGMENT_FOOTER)
        rc = segment__corrupt(e, "its size is not the recorded one");
    uint8_t raw[SEGMENT_FOOTER];
    struct segment_footer f;
    if (rc == 0)
        rc = read_exact(fd, facts->file_size - SEGMENT_FOOTER, raw, sizeof raw, e);
    if (rc == 0 && !segment__footer_get(raw, &f))
        rc = segment__corrupt(e, "its footer is damaged");
    if (rc == 0 && !footer_plausible(&f, facts, id, ordinal))
        rc = segment__corrupt(e, "it is not the recorded one");
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return load(fd, &f, ret, e);
}

/* ---- inline ---- */

/* Lays the stream out in memory: schema message, the batch, end marker. */
static int inline_stream(struct segment *s, const struct schema *schema, const struct batch_index *ix,
                         const void *index, size_t index_len, const void *body, struct err *e)
{
    CLEANUP_BUF struct buf out = BUF_INIT(SEGMENT_HEADER_MAX * 4ull);
    int rc = arrow_schema_message(schema, ARROW_NEUTRAL, &out, e);
    if (rc < 0)
        return rc;
    s->schema_len = out.len;
    segment__entry(s, 0)->off = out.len;
    if (ix) {
        rc = arrow_batch_header(schema, ix, &out, e);
        if (rc < 0)
            return rc;
        segment__entry(s, 0)->header_len = (uint32_t)(out.len - s->schema_len);
        rc = ix->body_len ? buf_add(&out, body, (size_t)ix->body_len) : 0;
        *segment__entry(s, 1) = (struct segment_entry){.first_row = ix->rows, .off = out.len};
        uint8_t head[SEGMENT_RECORD_HEAD] = {0};
        if (rc == 0)
            rc = buf_add(&s->tail, head, sizeof head);
        if (rc == 0)
            rc = buf_add(&s->tail, index, index_len);
    }
    if (rc == 0)
        rc = arrow_end(&out);
    if (rc < 0)
        return no_memory(e);
    s->mem = malloc(out.len); /* exact: many small results may be open */
    if (!s->mem)
        return no_memory(e);
    memcpy(s->mem, out.p, out.len);
    atomic_store(&s->stream_len, out.len);
    atomic_store(&s->nbatches, ix ? 1 : 0);
    return 0;
}

int segment_inline(const struct qid *id, uint32_t ordinal, const struct schema *s, const void *index,
                   size_t index_len, const void *body, size_t body_len, struct segment **ret, struct err *e)
{
    CLEANUP_BUF struct buf schema = BUF_INIT(SEGMENT_SCHEMA_MAX);
    if (schema_write(s, &schema) < 0)
        return no_memory(e);
    struct arena *a = arena_new(RECORD_ARENA);
    if (!a)
        return no_memory(e);
    struct batch_index *ix = NULL;
    struct segment *seg = NULL;
    int rc = segment__new(-1, id, ordinal, schema.p, schema.len, 1, 1, &seg, e);
    if (rc == 0 && segment__table_reserve(&seg->batches, 2) < 0)
        rc = no_memory(e);
    /* No block checksums here: what comes from the registry or the engine process is checked whole. */
    if (rc == 0 && index_len > 0) {
        rc = batch_index_read(index, index_len, seg->schema, a, &ix, e);
        if (rc == 0 && (ix->body_len != body_len || body_len % 8 != 0))
            rc = ERR_CORRUPT;
        if (rc == 0)
            rc = batch_check(seg->schema, ix, body, e);
        if (rc == ERR_CORRUPT)
            rc = segment__corrupt(e, "an inline result contradicts itself");
    }
    if (rc == 0)
        rc = inline_stream(seg, seg->schema, ix, index, index_len, body, e);
    arena_free(a);
    if (rc < 0) {
        segment_unref(seg);
        return rc;
    }
    *ret = seg;
    return 0;
}

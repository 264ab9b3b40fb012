/*
 * render_arrow: batches of a stored result as an Arrow stream for the engine library. No copies: an array's
 * buffers are the window's, and the window's memory lives as long as the array (a scratch of its own). Two
 * types are turned on the way: dates into 32-bit days (the engine's infinities stay the engine's), intervals
 * into text, since Parquet's own interval has no microseconds.
 *
 * get_next is called by one thread at a time (the library locks); release by any.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encoders/value_text.h"
#include "engines/arrow_abi.h"
#include "engines/render.h"

#define ARRAY_ARENA  (1ull << 30)
#define SCHEMA_ARENA (64u << 20)
#define TEXT_MAX     (1ull << 30)
#define DAY_MS       86400000

struct source {
    struct render_job *job;
    uint64_t next; /* row */
    struct err error;
};

/* ---- schema ---- */

static const char *format_of(struct arena *a, const struct column *c)
{
    switch (c->phys) {
    case PHYS_BOOL:
        return "b";
    case PHYS_INT16:
        return "s";
    case PHYS_INT32:
        return "i";
    case PHYS_INT64:
        return "l";
    case PHYS_FLOAT32:
        return "f";
    case PHYS_FLOAT64:
        return "g";
    case PHYS_DECIMAL:
        return arena_printf(a, "d:%u,%u", c->precision, c->scale);
    case PHYS_UTF8:
    case PHYS_INTERVAL:
        return "u";
    case PHYS_BINARY:
        return "z";
    case PHYS_DATE:
        return "tdD";
    case PHYS_TIME:
        return "ttu";
    case PHYS_TIMESTAMP:
        return "tsu:";
    case PHYS_TIMESTAMPTZ:
        return "tsu:UTC";
    case PHYS_LIST:
        return "+l";
    case PHYS_STRUCT:
        return "+s";
    case PHYS_MAP:
        return "+m";
    case PHYS_END:
        break;
    }
    return NULL;
}

static void release_child_schema(struct ArrowSchema *s)
{
    s->release = NULL;
}

static void release_schema(struct ArrowSchema *s)
{
    arena_free(s->private_data);
    s->release = NULL;
}

const char *render_field(const struct column *c, uint32_t i, char room[RENDER_FIELD_MAX])
{
    const char *name = c->children[i].name ? c->children[i].name : "";
    if (c->phys != PHYS_STRUCT || name[0])
        return name;
    (void)snprintf(room, RENDER_FIELD_MAX, "field%u", i);
    return room;
}

static int fill_schema(struct arena *a, const struct column *c, const char *name, struct ArrowSchema *out)
{
    *out = (struct ArrowSchema){.format = format_of(a, c),
                                .name = name,
                                .flags = c->nullable ? ARROW_FLAG_NULLABLE : 0,
                                .n_children = c->nchildren,
                                .release = release_child_schema};
    out->children = arena_alloc(a, sizeof(struct ArrowSchema *) * (c->nchildren + 1));
    if (!out->format || !out->children)
        return ENOMEM;
    for (uint32_t i = 0; i < c->nchildren; i++) {
        char room[RENDER_FIELD_MAX];
        const char *field = arena_strdup(a, render_field(c, i, room));
        out->children[i] = arena_alloc(a, sizeof(struct ArrowSchema));
        if (!field || !out->children[i] || fill_schema(a, &c->children[i], field, out->children[i]))
            return ENOMEM;
    }
    return 0;
}

static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    const struct source *s = stream->private_data;
    const struct schema *schema = segment_schema(s->job->segment);
    struct arena *a = arena_new(SCHEMA_ARENA);
    struct ArrowSchema **children = a ? arena_alloc(a, sizeof *children * schema->ncolumns) : NULL;
    int rc = children ? 0 : ENOMEM;
    for (uint32_t i = 0; !rc && i < schema->ncolumns; i++) {
        const char *name = arena_printf(a, "c%u", i);
        children[i] = arena_alloc(a, sizeof(struct ArrowSchema));
        rc = name && children[i] ? fill_schema(a, &schema->columns[i], name, children[i]) : ENOMEM;
    }
    if (rc) {
        arena_free(a);
        return rc;
    }
    *out = (struct ArrowSchema){.format = "+s",
                                .name = "",
                                .n_children = schema->ncolumns,
                                .children = children,
                                .release = release_schema,
                                .private_data = a};
    return 0;
}

/* ---- arrays ---- */

struct array_memory {
    struct arena *arena;
    struct segment_scratch *scratch;
    struct buf *texts; /* those made here */
    uint32_t ntexts;
};

static void free_memory(struct array_memory *m)
{
    for (uint32_t i = 0; i < m->ntexts; i++)
        buf_free(&m->texts[i]);
    segment_scratch_free(m->scratch);
    arena_free(m->arena);
}

static void release_child(struct ArrowArray *x)
{
    x->release = NULL;
}

static void release_array(struct ArrowArray *x)
{
    free_memory(x->private_data); /* itself inside its arena */
    x->release = NULL;
}

static const void *days(struct array_memory *m, const struct window_column *c)
{
    int32_t *out = arena_alloc(m->arena, (size_t)c->length * sizeof *out + 8);
    for (uint64_t i = 0; out && i < c->length; i++) {
        int64_t ms;
        memcpy(&ms, c->values + i * sizeof ms, sizeof ms);
        out[i] = (int32_t)(ms / DAY_MS); /* infinities are the engine's own again */
    }
    return out;
}

/* Offsets and bytes of a text column made of any other. */
static int texts(struct array_memory *m, const struct window_column *c, const void **buffers)
{
    struct buf *b = &m->texts[m->ntexts++];
    buf_init(b, TEXT_MAX);
    int32_t *offsets = arena_alloc(m->arena, (size_t)(c->length + 1) * sizeof *offsets);
    if (!offsets || buf_reserve(b, 16))
        return ENOMEM;
    for (uint64_t i = 0; i < c->length; i++) {
        if (!window_is_null(c, i) && value_text(TEXT_NEUTRAL, c, i, b))
            return ENOMEM;
        offsets[i + 1] = (int32_t)b->len;
    }
    buffers[1] = offsets;
    buffers[2] = b->p;
    return 0;
}

static int fill_array(struct array_memory *m, const struct window_column *c, struct ArrowArray *out)
{
    const struct column *k = c->column;
    struct arena *a = m->arena;
    const void **buffers = arena_alloc(a, 3 * sizeof *buffers);
    *out = (struct ArrowArray){.length = (int64_t)c->length,
                               .null_count = c->validity ? -1 : 0,
                               .n_children = k->nchildren,
                               .buffers = buffers,
                               .release = release_child};
    out->children = arena_alloc(a, sizeof(struct ArrowArray *) * (k->nchildren + 1));
    if (!buffers || !out->children)
        return ENOMEM;
    static const uint8_t nothing[16];
    buffers[0] = c->validity;
    out->n_buffers = 2;
    switch (k->phys) {
    case PHYS_UTF8:
    case PHYS_BINARY:
        out->n_buffers = 3;
        buffers[1] = c->offsets;
        buffers[2] = c->data ? c->data : nothing;
        break;
    case PHYS_INTERVAL:
        out->n_buffers = 3;
        if (texts(m, c, buffers))
            return ENOMEM;
        break;
    case PHYS_DATE:
        if (!(buffers[1] = days(m, c)))
            return ENOMEM;
        break;
    case PHYS_LIST:
    case PHYS_MAP:
        buffers[1] = c->offsets;
        break;
    case PHYS_STRUCT:
        out->n_buffers = 1;
        break;
    default:
        buffers[1] = c->values ? c->values : nothing;
        break;
    }
    for (uint32_t i = 0; i < k->nchildren; i++) {
        out->children[i] = arena_alloc(a, sizeof(struct ArrowArray));
        if (!out->children[i] || fill_array(m, &c->children[i], out->children[i]))
            return ENOMEM;
    }
    return 0;
}

static int make_array(struct array_memory *m, const struct window *w, struct ArrowArray *out)
{
    uint32_t n = w->schema->ncolumns;
    struct ArrowArray **children = arena_alloc(m->arena, sizeof *children * (n + 1));
    const void **buffers = arena_alloc(m->arena, sizeof *buffers);
    m->texts = arena_alloc(m->arena, sizeof *m->texts * w->schema->nnodes);
    if (!children || !buffers || !m->texts)
        return ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        children[i] = arena_alloc(m->arena, sizeof(struct ArrowArray));
        if (!children[i] || fill_array(m, &w->columns[i], children[i]))
            return ENOMEM;
    }
    *out = (struct ArrowArray){.length = (int64_t)w->rows,
                               .n_buffers = 1,
                               .n_children = n,
                               .buffers = buffers,
                               .children = children,
                               .release = release_array,
                               .private_data = m};
    return 0;
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    struct source *s = stream->private_data;
    struct render_job *j = s->job;
    memset(out, 0, sizeof *out);
    if (!render_has(j, s->next))
        return 0;
    struct arena *a = arena_new(ARRAY_ARENA);
    struct array_memory *m = a ? arena_alloc(a, sizeof *m) : NULL;
    if (!m) {
        arena_free(a);
        return ENOMEM;
    }
    struct window w;
    m->arena = a;
    m->scratch = segment_scratch_new();
    int rc = m->scratch ? segment_window(j->segment, s->next, UINT64_MAX, SIZE_MAX, m->scratch, &w, &s->error)
                        : ERR_NOMEM;
    rc = rc ? (rc == ERR_NOMEM ? ENOMEM : EIO) : make_array(m, &w, out);
    if (rc) {
        struct array_memory dead = *m;
        free_memory(&dead);
        memset(out, 0, sizeof *out);
        return rc;
    }
    s->next += w.rows;
    j->rows_done = s->next < j->first ? 0 : s->next - j->first;
    return 0;
}

static const char *get_last_error(struct ArrowArrayStream *stream)
{
    const struct source *s = stream->private_data;
    return s->error.code ? s->error.text : "out of memory";
}

static void release_stream(struct ArrowArrayStream *stream)
{
    stream->release = NULL; /* the source is the caller's, who asks it for its error */
}

const struct err *render_arrow_error(const struct ArrowArrayStream *stream)
{
    return &((const struct source *)stream->private_data)->error;
}

int render_arrow(struct render_job *j, struct ArrowArrayStream *ret, uint64_t *ret_skip, struct err *e)
{
    struct source *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    s->job = j;
    err_clear(&s->error);
    s->next = j->first;
    uint64_t first = j->first, rows;
    for (uint64_t i = 0; i < segment_nbatches(j->segment); i++) {
        segment_batch_rows(j->segment, i, &first, &rows);
        if (j->first < first + rows)
            break;
    }
    s->next = first < j->first ? first : j->first;
    *ret_skip = j->first - s->next;
    *ret = (struct ArrowArrayStream){get_schema, get_next, get_last_error, release_stream, s};
    return 0;
}

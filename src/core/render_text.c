/*
 * render_text: how long a text format of a result is, and where which row begins in it, found by encoding it
 * once without keeping the bytes; and reading a rendering as one run of bytes. Worker and delivery threads.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "core/render_int.h"

#define STEP_BYTES   (256u << 10) /* output of one step */
#define MARK_BYTES   (1u << 20)   /* least distance of two marks: a range begins at most so far behind one */
#define ROW_MAX      (1u << 30)
#define WINDOW_BYTES (256u << 10)

typedef int (*sink_fn)(void *arg, const void *p, size_t n, struct err *e);

struct walk {
    struct rendering *r;
    struct segment *segment;
    struct segment_scratch *x;
    struct encode_state state;
    struct buf out;
    uint64_t row, end; /* next, behind the last */
    /* Before each step: row and bytes made so far. May be NULL. */
    int (*mark)(struct walk *w, uint64_t row);
    sink_fn sink;
    void *arg;
    uint64_t bytes;
    size_t cap; /* of marks */
};

static int flush(struct walk *w, struct err *e)
{
    int rc = w->out.len && w->sink ? w->sink(w->arg, w->out.p, w->out.len, e) : 0;
    w->bytes += w->out.len;
    buf_reset(&w->out);
    return rc;
}

static int canceled(struct err *e)
{
    return err_set(e, ERR_CANCELED, "57014", "the rendering was canceled");
}

static int some_rows(struct walk *w, struct err *e)
{
    const struct render_spec *s = &w->r->spec;
    struct window win;
    int rc = segment_window(w->segment, w->row, w->end - w->row, WINDOW_BYTES, w->x, &win, e);
    if (rc)
        return rc;
    uint64_t from = 0, next = 0;
    while (!rc && from < win.rows) {
        if (atomic_load(&w->r->canceled))
            return canceled(e);
        rc = w->mark ? w->mark(w, win.first_row + from) : 0;
        if (!rc)
            rc = encode_rows(s->encoder, &s->options, &w->state, &win, from, win.rows, STEP_BYTES, &w->out,
                             &next, e);
        if (!rc && next == from)
            rc = err_set(e, ERR_INTERNAL, "XX000", "the encoder made no progress");
        if (!rc)
            rc = flush(w, e);
        from = next;
    }
    w->row = win.first_row + from;
    return rc;
}

static int walk(struct walk *w, struct err *e)
{
    struct rendering *r = w->r;
    const struct render_spec *s = &r->spec;
    const struct schema *schema = segment_schema(w->segment);
    uint64_t rows = segment_rows(w->segment), begin = s->from < rows ? s->from : rows;
    w->row = begin;
    w->end = s->limit < rows - begin ? begin + s->limit : rows;
    int rc = encode_head(s->encoder, &s->options, &w->state, schema, &w->out, e);
    if (!rc)
        rc = flush(w, e);
    while (!rc && w->row < w->end) {
        rc = some_rows(w, e);
        atomic_store(&r->permille, (int)((w->row - begin) * 999 / (w->end - begin)));
    }
    if (!rc)
        rc = encode_tail(s->encoder, &s->options, &w->state, schema, &w->out, e);
    return rc ? rc : flush(w, e);
}

static int put_mark(struct walk *w, uint64_t row)
{
    struct rendering *r = w->r;
    if (w->bytes - r->marks[r->nmarks - 1].off < MARK_BYTES)
        return 0;
    if (r->nmarks == w->cap) {
        struct render_mark *more = realloc(r->marks, 2 * w->cap * sizeof *more);
        if (!more)
            return ERR_NOMEM;
        r->marks = more;
        w->cap *= 2;
    }
    r->marks[r->nmarks++] = (struct render_mark){row, w->bytes};
    return 0;
}

int render__text(struct rendering *r, struct segment_scratch *x, struct err *e)
{
    struct walk w = {.r = r, .x = x, .mark = put_mark, .cap = 16};
    buf_init(&w.out, ROW_MAX);
    r->marks = malloc(w.cap * sizeof *r->marks);
    int rc =
        x && r->marks ? render__segment(r, &w.segment, e) : err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (!rc) {
        r->marks[0] = (struct render_mark){r->spec.from, 0}; /* the head and the first rows */
        r->nmarks = 1;
        rc = walk(&w, e);
        if (rc == ERR_NOMEM && !e->code)
            err_set(e, rc, "53200", "out of memory");
    }
    segment_unref(w.segment);
    buf_free(&w.out);
    if (rc)
        return rc;
    r->size = w.bytes;
    r->unmapped = w.state.unmapped;
    char text[sizeof r->media_type];
    const char *type = encoder_media_type(r->spec.encoder, r->spec.options.charset, text, sizeof text);
    memcpy(r->media_type, type, strlen(type) + 1);
    return 0;
}

void rendering_seek(const struct rendering *r, uint64_t off, uint64_t *ret_row, uint64_t *ret_off)
{
    size_t low = 0, high = r->nmarks;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (r->marks[mid].off <= off)
            low = mid;
        else
            high = mid;
    }
    *ret_row = r->marks[low].row;
    *ret_off = r->marks[low].off;
}

/* ---- all bytes in order ---- */

static int write_file(struct rendering *r, sink_fn fn, void *arg, struct err *e)
{
    char *p = malloc(STEP_BYTES);
    int rc = p ? 0 : err_set(e, ERR_NOMEM, "53200", "out of memory");
    for (uint64_t off = 0; !rc && off < r->size;) {
        ssize_t n = sys_pread(r->fd, p, STEP_BYTES, (int64_t)off);
        if (n <= 0)
            rc = err_set(e, ERR_IO, "58030", "a rendered file cannot be read");
        else
            rc = fn(arg, p, (size_t)n, e);
        off += n > 0 ? (uint64_t)n : 0;
    }
    free(p);
    return rc;
}

int rendering_write(struct rendering *r, int (*fn)(void *arg, const void *p, size_t n, struct err *e),
                    void *arg, struct err *e)
{
    if (r->spec.file)
        return write_file(r, fn, arg, e);
    struct walk w = {.r = r, .sink = fn, .arg = arg};
    buf_init(&w.out, ROW_MAX);
    w.x = segment_scratch_new();
    int rc = w.x ? render__segment(r, &w.segment, e) : err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (!rc)
        rc = walk(&w, e);
    segment_unref(w.segment);
    segment_scratch_free(w.x);
    buf_free(&w.out);
    return rc;
}

/*
 * batch: the fixed-layout index of a batch (written, read, its form checked) and the window over a whole
 * batch.
 *
 * The form is exact: buffers follow one another without gaps, each with just the bytes that its node's row
 * count asks for, so that a checked batch has no byte which nobody looked at. Contents are the business of
 * batch_check.c. Pure; any thread.
 */
#include "encoders/batch.h"

#include <string.h>

#define BATCH_MAGIC 0x54414251u /* 'QBAT' */
#define HEAD_LEN    32u
#define ROWS_MAX    INT32_MAX /* offsets are int32, with one entry more than rows */

_Static_assert(sizeof(struct batch_node) == 16 && sizeof(struct batch_buffer) == 16,
               "as they lie in the index");

size_t batch_index_size(uint32_t nnodes, uint32_t nbuffers)
{
    return HEAD_LEN + 16u * ((size_t)nnodes + nbuffers);
}

int batch_index_write(const struct batch_index *ix, struct buf *out)
{
    uint32_t head[4] = {BATCH_MAGIC, ix->nnodes, ix->nbuffers, 0};
    uint64_t size[2] = {ix->rows, ix->body_len};
    int rc = buf_add(out, head, sizeof head);
    if (!rc)
        rc = buf_add(out, size, sizeof size);
    if (!rc && ix->nnodes)
        rc = buf_add(out, ix->nodes, 16u * (size_t)ix->nnodes);
    if (!rc && ix->nbuffers)
        rc = buf_add(out, ix->buffers, 16u * (size_t)ix->nbuffers);
    return rc;
}

static int lie(struct err *e, const char *what, const struct column *c)
{
    if (c)
        return err_set(e, ERR_CORRUPT, "XX001", "bad batch index: %s, column %s", what,
                       c->name ? c->name : "");
    return err_set(e, ERR_CORRUPT, "XX001", "bad batch index: %s", what);
}

/* rows: length that this node must have; UINT64_MAX when its parent's offsets decide (then batch_check
 * compares). */
static int check_node(const struct column *c, const struct batch_index *ix, uint64_t rows, struct err *e)
{
    const struct batch_node *n = &ix->nodes[c->node];
    const struct batch_buffer *b = &ix->buffers[c->first_buffer];
    uint64_t len = n->length;
    if (rows != UINT64_MAX ? len != rows : len > ROWS_MAX)
        return lie(e, "row count", c);
    if (n->null_count > len)
        return lie(e, "more NULLs than rows", c);
    if (n->null_count && !c->nullable)
        return lie(e, "NULLs where there are none", c);
    uint64_t bits = (len + 7) / 8;
    if (b[0].length != bits && (b[0].length != 0 || n->null_count))
        return lie(e, "validity length", c);
    switch (c->phys) {
    case PHYS_BOOL:
        if (b[1].length != bits)
            return lie(e, "values length", c);
        break;
    case PHYS_UTF8:
    case PHYS_BINARY:
        if (b[2].length > INT32_MAX)
            return lie(e, "data length", c);
        /* fall through */
    case PHYS_LIST:
    case PHYS_MAP:
        if (b[1].length != (len + 1) * 4)
            return lie(e, "offsets length", c);
        break;
    case PHYS_STRUCT:
        break;
    default:
        if (b[1].length != len * phys_width(c->phys))
            return lie(e, "values length", c);
    }
    if (c->phys == PHYS_MAP &&
        (ix->nodes[c->children[0].node].null_count || ix->nodes[c->children[0].children[0].node].null_count))
        return lie(e, "a NULL key or entry of a map", c);
    for (uint32_t i = 0; i < c->nchildren; i++) {
        int rc = check_node(&c->children[i], ix, c->phys == PHYS_STRUCT ? len : UINT64_MAX, e);
        if (rc)
            return rc;
    }
    return 0;
}

int batch_index_read(const void *p, size_t n, const struct schema *s, struct arena *a,
                     struct batch_index **ret, struct err *e)
{
    uint32_t head[4];
    uint64_t size[2];
    if (n < HEAD_LEN)
        return lie(e, "cut short", NULL);
    memcpy(head, p, sizeof head);
    memcpy(size, (const uint8_t *)p + sizeof head, sizeof size);
    if (head[0] != BATCH_MAGIC || head[3])
        return lie(e, "not an index", NULL);
    if (head[1] != s->nnodes || head[2] != s->nbuffers)
        return lie(e, "not of this schema", NULL);
    if (n != batch_index_size(head[1], head[2]))
        return lie(e, "length", NULL);
    if (size[0] > ROWS_MAX || (!s->ncolumns && size[0]))
        return lie(e, "row count", NULL);

    struct batch_index *ix = arena_alloc(a, sizeof *ix);
    if (ix)
        ix->nodes = arena_alloc(a, 16u * (size_t)head[1]);
    if (ix && ix->nodes)
        ix->buffers = arena_alloc(a, 16u * (size_t)head[2]);
    if (!ix || !ix->nodes || !ix->buffers)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    ix->rows = size[0];
    ix->body_len = size[1];
    ix->nnodes = head[1];
    ix->nbuffers = head[2];
    memcpy(ix->nodes, (const uint8_t *)p + HEAD_LEN, 16u * (size_t)head[1]);
    memcpy(ix->buffers, (const uint8_t *)p + HEAD_LEN + 16u * (size_t)head[1], 16u * (size_t)head[2]);

    uint64_t end = 0; /* of the buffers so far, padded */
    for (uint32_t i = 0; i < ix->nbuffers; i++) {
        const struct batch_buffer *b = &ix->buffers[i];
        if (b->offset != end)
            return lie(e, "a buffer is out of place", NULL);
        if (b->length > ix->body_len - end)
            return lie(e, "a buffer passes the end of the body", NULL);
        end += b->length;
        if (ix->body_len - end < (-end & 7))
            return lie(e, "the body ends without padding", NULL);
        end += -end & 7;
    }
    if (end != ix->body_len)
        return lie(e, "body length", NULL);
    for (uint32_t i = 0; i < s->ncolumns; i++) {
        int rc = check_node(&s->columns[i], ix, ix->rows, e);
        if (rc)
            return rc;
    }
    *ret = ix;
    return 0;
}

/* ---- the window ---- */

static int fill(const struct column *c, const struct batch_index *ix, const uint8_t *body, struct arena *a,
                struct window_column *w)
{
    const struct batch_buffer *b = &ix->buffers[c->first_buffer];
    w->column = c;
    w->length = ix->nodes[c->node].length;
    w->validity = b[0].length && ix->nodes[c->node].null_count ? body + b[0].offset : NULL;
    switch (c->phys) {
    case PHYS_UTF8:
    case PHYS_BINARY:
        w->data = body + b[2].offset; /* fall through */
    case PHYS_LIST:
    case PHYS_MAP:
        w->offsets = (const int32_t *)(const void *)(body + b[1].offset);
        break;
    case PHYS_STRUCT:
        break;
    default:
        w->values = body + b[1].offset;
    }
    if (!c->nchildren)
        return 0;
    w->children = arena_alloc(a, c->nchildren * sizeof *w->children);
    if (!w->children)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < c->nchildren; i++) {
        int rc = fill(&c->children[i], ix, body, a, &w->children[i]);
        if (rc)
            return rc;
    }
    return 0;
}

int window_of_batch(const struct schema *s, const struct batch_index *ix, const uint8_t *body,
                    uint64_t first_row, struct arena *a, struct window *ret)
{
    if ((uintptr_t)body & 3)
        return ERR_INVALID;
    struct window_column *cs = arena_alloc(a, s->ncolumns * sizeof *cs);
    if (!cs)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < s->ncolumns; i++) {
        int rc = fill(&s->columns[i], ix, body, a, &cs[i]);
        if (rc)
            return rc;
    }
    *ret = (struct window){s, first_row, ix->rows, cs};
    return 0;
}

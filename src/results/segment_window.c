/*
 * segment_window: some consecutive rows of one batch, read by exact byte ranges, as decoded columns.
 *
 * How: find the batch (binary search in memory), read its record, then go down the schema level by level,
 * because the rows of a list's child are known only from the list's offsets. Each level's offsets are read
 * for the rows still wanted, then the number of rows is cut so that fixed widths + known offsets + averages
 * of what is deeper stay within max_bytes. Ranges are planned first and read together: neighbours with a gap
 * of at most 4 KiB become one pread. A batch of at most 64 KiB, or one that is wanted whole, is one pread.
 *
 * Offsets come from verified blocks and were checked when they were stored; they are compared again here
 * (order and bounds) because the encoders index by them: a file that lies with right checksums must not
 * become a wild read.
 *
 * Positions in the scratch memory are numbers until everything is read (it may move). A scratch belongs to
 * one thread.
 */
#include <stdlib.h>

#include "results/segment_int.h"

#define SCRATCH_KEEP (1u << 20)
#define READ_GAP     4096u
#define WHOLE_BODY   65536u
#define INDEX_ARENA  (64u << 20)
#define NOWHERE      SIZE_MAX

struct node {
    const struct column *column;
    uint32_t parent;                           /* position in this array; UINT32_MAX at the top */
    uint64_t from, count;                      /* rows of this node in the window */
    size_t offsets_at, validity_at, values_at; /* in the scratch memory */
    double estimate;                           /* rows, while the window is cut */
};

struct range {
    uint64_t off;
    size_t len, at;
};

struct segment_scratch {
    uint8_t *p;
    size_t cap, used;
    /* What it remembers of the last segment: the schema, breadth first (children of a node lie together,
     * parents before children). */
    uint64_t serial;
    struct node *nodes;
    struct window_column *columns;
    uint32_t *order; /* pre-order number -> position */
    uint32_t nnodes, nlevels, level[SCHEMA_DEPTH_MAX + 2];
    /* ... and of the last batch of it. */
    uint64_t batch;
    struct arena *index_arena;
    struct batch_index *ix;
    /* The plan. */
    struct range *ranges;
    size_t nranges, ranges_cap, planned; /* planned: ranges before it were read */
    bool whole;                          /* the body lies at 0 */
    uint64_t body_off;
};

static const int32_t no_rows[1];

struct segment_scratch *segment_scratch_new(void)
{
    return calloc(1, sizeof(struct segment_scratch));
}

static void forget(struct segment_scratch *x)
{
    arena_free(x->index_arena);
    x->index_arena = NULL;
    x->ix = NULL;
    x->serial = 0;
}

static void shrink(struct segment_scratch *x)
{
    if (x->cap <= SCRATCH_KEEP)
        return;
    free(x->p);
    x->p = NULL;
    x->cap = 0;
}

void segment_scratch_trim(struct segment_scratch *x)
{
    shrink(x);
    forget(x);
}

void segment_scratch_free(struct segment_scratch *x)
{
    if (!x)
        return;
    forget(x);
    free(x->p);
    free(x->nodes);
    free(x->columns);
    free(x->order);
    free(x->ranges);
    free(x);
}

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "53200", "out of memory while reading a result");
}
static int lie(struct err *e)
{
    return segment__corrupt(e, "a batch contradicts its index");
}

static bool has_offsets(enum phys p)
{
    return p == PHYS_UTF8 || p == PHYS_BINARY || p == PHYS_LIST || p == PHYS_MAP;
}
static bool has_bytes(enum phys p)
{
    return p == PHYS_UTF8 || p == PHYS_BINARY;
}

/* ---- schema and index ---- */

static int learn_schema(struct segment_scratch *x, const struct segment *s, struct err *e)
{
    forget(x);
    free(x->nodes);
    free(x->columns);
    free(x->order);
    size_t n = s->schema->nnodes;
    x->nodes = calloc(n + 1, sizeof *x->nodes);
    x->columns = calloc(n + 1, sizeof *x->columns);
    x->order = calloc(n + 1, sizeof *x->order);
    if (!x->nodes || !x->columns || !x->order)
        return no_memory(e);
    uint32_t end = 0;
    for (uint32_t i = 0; i < s->schema->ncolumns; i++) {
        x->nodes[end].column = &s->schema->columns[i];
        x->nodes[end++].parent = UINT32_MAX;
    }
    x->nlevels = 0;
    x->level[0] = 0;
    for (uint32_t at = 0; at < end;) {
        x->level[++x->nlevels] = end;
        for (uint32_t stop = end; at < stop; at++) {
            const struct column *c = x->nodes[at].column;
            x->columns[at].column = c;
            x->columns[at].children = c->nchildren ? &x->columns[end] : NULL;
            x->order[c->node] = at;
            for (uint32_t k = 0; k < c->nchildren; k++) {
                x->nodes[end].column = &c->children[k];
                x->nodes[end++].parent = at;
            }
        }
    }
    x->nnodes = end;
    x->serial = s->serial;
    return 0;
}

static int learn_batch(struct segment_scratch *x, struct segment *s, uint64_t b, struct err *e)
{
    if (x->ix && x->batch == b)
        return 0;
    arena_free(x->index_arena);
    x->ix = NULL;
    x->index_arena = arena_new(INDEX_ARENA);
    uint8_t *record = malloc(s->record_len);
    int rc = x->index_arena && record ? segment__record(s, b, record, e) : no_memory(e);
    if (rc == 0) {
        rc = batch_index_read(record + SEGMENT_RECORD_HEAD, s->record_len - SEGMENT_RECORD_HEAD, s->schema,
                              x->index_arena, &x->ix, e);
        if (rc == ERR_CORRUPT)
            rc = lie(e);
    }
    free(record);
    if (rc < 0) {
        x->ix = NULL;
        return rc;
    }
    const struct segment_entry *entry = segment__entry(s, b), *next = segment__entry(s, b + 1);
    if (x->ix->rows != next->first_row - entry->first_row ||
        x->ix->body_len != next->off - entry->off - entry->header_len) {
        x->ix = NULL;
        return lie(e);
    }
    x->batch = b;
    return 0;
}

static uint64_t find_batch(const struct segment *s, uint64_t row)
{
    uint64_t lo = 0, hi = segment_nbatches(s); /* first_row(lo) <= row < first_row(hi) */
    while (hi - lo > 1) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (segment__entry(s, mid)->first_row <= row)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* ---- plan and reads ---- */

static int grow(struct segment_scratch *x, size_t need, struct err *e)
{
    if (need <= x->cap)
        return 0;
    size_t cap = x->cap ? x->cap : 65536;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap > need && need > (4u << 20))
        cap = need;
    uint8_t *p = realloc(x->p, cap);
    if (!p)
        return no_memory(e);
    x->p = p;
    x->cap = cap;
    return 0;
}

/* Plans [from, from+len) of buffer `buffer`; *ret_at is where the bytes will be. Equal modulo 8 to the place
 * in the file, so aligned alike. */
static int plan(struct segment_scratch *x, uint32_t buffer, uint64_t from, uint64_t len, size_t *ret_at,
                struct err *e)
{
    const struct batch_buffer *b = &x->ix->buffers[buffer];
    if (from > b->length || len > b->length - from)
        return lie(e);
    uint64_t off = b->offset + from;
    if (x->whole) {
        *ret_at = (size_t)off;
        return 0;
    }
    off += x->body_off;
    struct range *last = x->nranges > x->planned ? &x->ranges[x->nranges - 1] : NULL;
    if (last && off >= last->off && off <= last->off + last->len + READ_GAP) {
        uint64_t end = off + len - last->off;
        *ret_at = last->at + (size_t)(off - last->off);
        if (end > last->len) {
            last->len = (size_t)end;
            x->used = last->at + last->len;
        }
        return 0;
    }
    if (x->nranges == x->ranges_cap) {
        size_t cap = x->ranges_cap ? x->ranges_cap * 2 : 64;
        struct range *r = realloc(x->ranges, cap * sizeof *r);
        if (!r)
            return no_memory(e);
        x->ranges = r;
        x->ranges_cap = cap;
    }
    size_t at = ((x->used + 7) & ~(size_t)7) + (size_t)(off & 7);
    x->ranges[x->nranges++] = (struct range){off, (size_t)len, at};
    x->used = at + (size_t)len;
    *ret_at = at;
    return 0;
}

static int run_plan(struct segment_scratch *x, struct segment *s, struct err *e)
{
    int rc = grow(x, x->used, e);
    for (; rc == 0 && x->planned < x->nranges; x->planned++) {
        const struct range *r = &x->ranges[x->planned];
        rc = segment_read(s, r->off, x->p + r->at, r->len, e);
    }
    return rc;
}

/* ---- rows ---- */

static const int32_t *offsets_of(const struct segment_scratch *x, const struct node *n)
{
    return n->offsets_at == NOWHERE ? no_rows : (const int32_t *)(const void *)(x->p + n->offsets_at);
}

/* Bytes one row of this node costs whatever its content. */
static double fixed_bytes(const struct segment_scratch *x, const struct column *c)
{
    double n = phys_width(c->phys);
    if (c->phys == PHYS_BOOL)
        n += 0.125;
    if (has_offsets(c->phys))
        n += 4;
    if (x->ix->buffers[c->first_buffer].length)
        n += 0.125;
    return n;
}

static double average(const struct segment_scratch *x, const struct column *c, double total)
{
    uint64_t rows = x->ix->nodes[c->node].length;
    return rows ? total / (double)rows : 0;
}

/* About how many bytes `rows` rows of the window cost; exact down to level `known`, whose offsets are read. */
static double measure(struct segment_scratch *x, uint32_t known, uint64_t rows)
{
    double total = 0;
    for (uint32_t i = 0; i < x->nnodes; i++) {
        struct node *n = &x->nodes[i];
        const struct column *c = n->column;
        if (n->parent == UINT32_MAX) {
            n->estimate = (double)rows;
        } else {
            const struct node *p = &x->nodes[n->parent];
            if (p->column->phys == PHYS_STRUCT)
                n->estimate = p->estimate;
            else if (n->parent < x->level[known]) {
                const int32_t *o = offsets_of(x, p);
                n->estimate = (double)o[(uint64_t)p->estimate] - (double)o[0];
            } else
                n->estimate = p->estimate * average(x, p->column, (double)x->ix->nodes[c->node].length);
        }
        total += n->estimate * fixed_bytes(x, c);
        if (!has_bytes(c->phys))
            continue;
        if (i < x->level[known]) {
            const int32_t *o = offsets_of(x, n);
            total += (double)o[(uint64_t)n->estimate] - (double)o[0];
        } else
            total += n->estimate * average(x, c, (double)x->ix->buffers[c->first_buffer + 2].length);
    }
    return total;
}

/* Sets from and count of the nodes [first, end) from their parents. */
static int place(struct segment_scratch *x, uint32_t first, uint32_t end, uint64_t from, uint64_t rows,
                 struct err *e)
{
    for (uint32_t i = first; i < end; i++) {
        struct node *n = &x->nodes[i];
        if (n->parent == UINT32_MAX) {
            n->from = from;
            n->count = rows;
        } else {
            const struct node *p = &x->nodes[n->parent];
            if (p->column->phys == PHYS_STRUCT) {
                n->from = p->from;
                n->count = p->count;
            } else {
                const int32_t *o = offsets_of(x, p);
                n->from = (uint64_t)o[0];
                n->count = (uint64_t)o[p->count] - (uint64_t)o[0];
            }
        }
        uint64_t length = x->ix->nodes[n->column->node].length;
        if (n->from > length || n->count > length - n->from)
            return lie(e);
    }
    return 0;
}

static bool offsets_right(const struct segment_scratch *x, const struct node *n)
{
    const int32_t *o = offsets_of(x, n);
    const struct column *c = n->column;
    uint64_t most = has_bytes(c->phys) ? x->ix->buffers[c->first_buffer + 2].length
                                       : x->ix->nodes[c->children[0].node].length;
    int bad = o[0] < 0;
    for (uint64_t i = 0; i < n->count; i++)
        bad |= o[i + 1] < o[i];
    return !bad && (uint64_t)o[n->count] <= most;
}

static int read_level(struct segment_scratch *x, struct segment *s, uint32_t first, uint32_t end,
                      struct err *e)
{
    int rc = 0;
    for (uint32_t i = first; rc == 0 && i < end; i++) {
        struct node *n = &x->nodes[i];
        n->offsets_at = NOWHERE;
        if (!has_offsets(n->column->phys))
            continue;
        if (n->count == 0)
            continue; /* no_rows stands in; a parent's empty range may even lie behind the offsets */
        rc = plan(x, n->column->first_buffer + 1, n->from * 4, (n->count + 1) * 4, &n->offsets_at, e);
    }
    if (rc == 0)
        rc = run_plan(x, s, e);
    for (uint32_t i = first; rc == 0 && i < end; i++)
        if (has_offsets(x->nodes[i].column->phys) && !offsets_right(x, &x->nodes[i]))
            rc = lie(e);
    return rc;
}

/* All levels' offsets; *rows shrinks to what fits. */
static int read_offsets(struct segment_scratch *x, struct segment *s, uint64_t from, uint64_t *rows,
                        size_t max_bytes, struct err *e)
{
    for (uint32_t l = 0; l < x->nlevels; l++) {
        int rc = place(x, x->level[l], x->level[l + 1], from, *rows, e);
        if (rc == 0)
            rc = read_level(x, s, x->level[l], x->level[l + 1], e);
        if (rc < 0)
            return rc;
        if (*rows <= 1 || measure(x, l + 1, *rows) <= (double)max_bytes)
            continue;
        uint64_t lo = 1, hi = *rows; /* lo fits or is the least, hi does not fit */
        while (hi - lo > 1) {
            uint64_t mid = lo + (hi - lo) / 2;
            if (measure(x, l + 1, mid) <= (double)max_bytes)
                lo = mid;
            else
                hi = mid;
        }
        *rows = lo;
        rc = place(x, 0, x->level[l + 1], from, *rows, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- values ---- */

static int read_values(struct segment_scratch *x, struct segment *s, struct err *e)
{
    int rc = 0;
    for (uint32_t k = 0; rc == 0 && k < x->nnodes; k++) { /* file order, so that neighbours meet */
        struct node *n = &x->nodes[x->order[k]];
        const struct column *c = n->column;
        n->validity_at = n->values_at = NOWHERE;
        if (n->count == 0)
            continue;
        if (x->ix->nodes[c->node].null_count > 0 && x->ix->buffers[c->first_buffer].length > 0)
            rc = plan(x, c->first_buffer, n->from / 8, (n->from + n->count + 7) / 8 - n->from / 8,
                      &n->validity_at, e);
        if (rc < 0)
            break;
        if (has_bytes(c->phys)) {
            const int32_t *o = offsets_of(x, n);
            uint64_t len = (uint64_t)(o[n->count] - o[0]);
            if (len)
                rc = plan(x, c->first_buffer + 2, (uint64_t)o[0], len, &n->values_at, e);
        } else if (c->phys == PHYS_BOOL) {
            rc = plan(x, c->first_buffer + 1, n->from / 8, (n->from + n->count + 7) / 8 - n->from / 8,
                      &n->values_at, e);
        } else if (phys_width(c->phys)) {
            uint64_t width = phys_width(c->phys);
            rc = plan(x, c->first_buffer + 1, n->from * width, n->count * width, &n->values_at, e);
        }
    }
    return rc == 0 ? run_plan(x, s, e) : rc;
}

static void fill(struct segment_scratch *x)
{
    for (uint32_t i = 0; i < x->nnodes; i++) {
        const struct node *n = &x->nodes[i];
        struct window_column *w = &x->columns[i];
        enum phys p = n->column->phys;
        const uint8_t *values = n->values_at == NOWHERE ? (const uint8_t *)no_rows : x->p + n->values_at;
        w->length = n->count;
        w->validity = n->validity_at == NOWHERE ? NULL : x->p + n->validity_at;
        w->validity_shift = n->validity_at == NOWHERE ? 0 : (uint32_t)(n->from % 8);
        w->values = !has_offsets(p) && p != PHYS_STRUCT ? values : NULL;
        w->values_shift = p == PHYS_BOOL ? (uint32_t)(n->from % 8) : 0;
        w->offsets = has_offsets(p) ? offsets_of(x, n) : NULL;
        w->offset_base = has_offsets(p) ? w->offsets[0] : 0;
        w->data = has_bytes(p) ? values : NULL;
    }
}

int segment_window(struct segment *s, uint64_t first, uint64_t max_rows, size_t max_bytes,
                   struct segment_scratch *x, struct window *ret, struct err *e)
{
    ASSERT(s->magic == SEGMENT_MAGIC);
    if (first >= segment_rows(s))
        return ERR_END;
    int rc = x->serial == s->serial ? 0 : learn_schema(x, s, e);
    if (rc < 0) {
        x->serial = 0;
        return rc;
    }
    uint64_t b = find_batch(s, first);
    rc = learn_batch(x, s, b, e);
    if (rc < 0)
        return rc;
    const struct segment_entry *entry = segment__entry(s, b);
    uint64_t from = first - entry->first_row, rows = x->ix->rows - from;
    if (max_rows == 0)
        max_rows = 1;
    if (rows > max_rows)
        rows = max_rows;
    double fixed = 0; /* of one row, without what lies in lists */
    for (uint32_t i = 0; i < x->nnodes; i++) {
        struct node *n = &x->nodes[i];
        bool flat = n->parent == UINT32_MAX ||
                    (x->nodes[n->parent].column->phys == PHYS_STRUCT && x->nodes[n->parent].estimate > 0);
        n->estimate = flat;
        if (flat)
            fixed += fixed_bytes(x, n->column);
    }
    if (fixed * (double)rows > (double)max_bytes)
        rows = (uint64_t)((double)max_bytes / fixed);
    if (rows == 0)
        rows = 1;

    if (x->cap > SCRATCH_KEEP && max_bytes < x->cap / 4)
        shrink(x);
    x->used = 0;
    x->nranges = x->planned = 0;
    x->body_off = entry->off + entry->header_len;
    x->whole = x->ix->body_len <= WHOLE_BODY || (rows == x->ix->rows && x->ix->body_len <= max_bytes);
    if (x->whole) {
        x->used = (size_t)x->ix->body_len;
        rc = grow(x, x->used, e);
        if (rc == 0)
            rc = segment_read(s, x->body_off, x->p, x->used, e);
    }
    if (rc == 0)
        rc = read_offsets(x, s, from, &rows, max_bytes, e);
    if (rc == 0)
        rc = read_values(x, s, e);
    if (rc < 0)
        return rc;
    fill(x);
    *ret = (struct window){s->schema, first, rows, x->columns};
    return 0;
}

/*
 * json: rows as JSON: objects in an array ("json"), one object a line ("ndjson"), arrays in an array ("rows",
 * for dialect pages), strings that hold an object each ("strings", Kylin's JSON).
 *
 * Every rows() call prepares its columns once (kind, writer, `,"name":`), then walks row by row with a pen
 * inside the output buffer. Text is copied 16 bytes a step until something needs escaping. Values in the
 * window are valid UTF-8 (batch_check). Nothing is allocated by the row. Any thread.
 */
#include <string.h>

#include "base/json_write.h"
#include "encoders/cell_int.h"
#include "encoders/unique_names.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum shape { SHAPE_OBJECTS, SHAPE_LINES, SHAPE_ARRAYS, SHAPE_STRINGS };

/* ---- text ---- */

static const char escapes[32] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};

static inline bool needs_escape(uint8_t c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

static char *escaped(struct sink *s, char *p, const char *src, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    const size_t step = 512;
    while (n) {
        size_t k = n < step ? n : step;
        if ((size_t)(s->lim - p) < 6 * k && !(p = sink_room(s, p, 6 * k)))
            return NULL;
        for (size_t i = 0; i < k; i++) {
            uint8_t c = (uint8_t)src[i];
            if (!needs_escape(c)) {
                *p++ = (char)c;
                continue;
            }
            *p++ = '\\';
            if (c >= 0x20) {
                *p++ = (char)c;
            } else if (escapes[c]) {
                *p++ = escapes[c];
            } else {
                memcpy(p, "u00", 3);
                p[3] = hex[c >> 4];
                p[4] = hex[c & 15];
                p += 5;
            }
        }
        src += k;
        n -= k;
    }
    return p;
}

#ifdef __SSE2__
/* Bit i says that byte i of v needs escaping. */
static inline unsigned special(__m128i v)
{
    __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"')), slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), low));
}
#endif

/* A quoted string. end: how far src may be read. */
static char *put_string(struct sink *s, char *p, const char *src, size_t n, const char *end)
{
    if ((size_t)(s->lim - p) < n + CELL_SLACK && !(p = sink_room(s, p, n + CELL_SLACK)))
        return NULL;
    *p++ = '"';
    size_t i = 0;
#ifdef __SSE2__
    for (; i < n && end - (src + i) >= 16; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(src + i));
        _mm_storeu_si128((__m128i *)(void *)(p + i), v);
        unsigned bad = special(v);
        if (n - i < 16)
            bad &= (1u << (n - i)) - 1;
        if (bad)
            goto slow;
    }
    if (i > n)
        i = n;
#endif
    for (; i < n; i++) {
        if (needs_escape((uint8_t)src[i]))
            goto slow;
        p[i] = src[i];
    }
    p += n;
    *p++ = '"';
    return p;
slow:
    (void)end;
    p = escaped(s, p + i, src + i, n - i);
    if (!p || (s->lim - p < 1 && !(p = sink_room(s, p, 1))))
        return NULL;
    *p++ = '"';
    return p;
}

/* ---- names ---- */

/* `,"name":` in memory of the arena; escaped once more inside of a string. */
static int object_lead(struct cell *k, const char *name, bool escape, struct arena *a)
{
    CLEANUP_BUF struct buf b = BUF_INIT(12 * 70000);
    int rc = buf_add(&b, ",\"", 2);
    if (!rc)
        rc = json_escape(&b, name, strlen(name));
    if (!rc)
        rc = buf_add(&b, "\":", 2);
    if (!rc && escape)
        rc = value__escape_tail(&b, 0);
    if (rc)
        return rc;
    char *t = arena_alloc(a, b.len + 32);
    if (!t)
        return ERR_NOMEM;
    memcpy(t, b.p, b.len);
    cell_lead(k, t, b.len);
    return 0;
}

static int prepare(const struct window *w, const struct text_rule *rule, enum shape shape, struct arena *a,
                   struct cell **ret)
{
    static const char comma[32] = ",";
    bool objects = shape != SHAPE_ARRAYS, escape = shape == SHAPE_STRINGS;
    uint32_t n = w->schema->ncolumns;
    struct cell *ks = arena_alloc(a, n * sizeof *ks);
    const char **names = objects ? unique_names(w->schema, &(struct name_rule){.empty = ""}, a) : NULL;
    if (!ks || (objects && !names))
        return ERR_NOMEM;
    for (uint32_t i = 0; i < n; i++) {
        cell_prepare(&ks[i], rule, true, &w->columns[i]);
        if (ks[i].kind == CELL_TEXT && !rule->all_strings &&
            (value__numeric_text(rule, w->columns[i].column) ||
             (w->columns[i].column->sql == SQLT_JSON && rule->embed_json)))
            ks[i].kind = CELL_OTHER;
        if (escape &&
            (w->columns[i].column->phys == PHYS_FLOAT32 || w->columns[i].column->phys == PHYS_FLOAT64))
            ks[i].kind = CELL_OTHER; /* "NaN" brings its own quotes */
        if (objects) {
            int rc = object_lead(&ks[i], names[i], escape, a);
            if (rc)
                return rc;
        } else {
            cell_lead(&ks[i], comma, 1);
        }
    }
    *ret = ks;
    return 0;
}

/* ---- rows ---- */

static char *put_other(struct sink *s, char *p, const struct cell *k, const struct text_rule *rule,
                       uint64_t row)
{
    s->b->len = (size_t)(p - s->b->p);
    s->rc = value__json(rule, k->c, row, s->b);
    return s->rc ? NULL : sink_room(s, NULL, 1);
}

/* Escapes what was written since `from`: the cell stands inside a string. */
static char *escape_cell(struct sink *s, char *p, size_t from)
{
    s->b->len = (size_t)(p - s->b->p);
    s->rc = value__escape_tail(s->b, from);
    return s->rc ? NULL : sink_room(s, NULL, 1);
}

/* The cells of one row with commas between them. */
static inline char *put_cells(struct sink *s, char *p, struct cell *ks, uint32_t n,
                              const struct text_rule *rule, uint64_t row, enum shape shape)
{
    bool omit_null = rule->omit_null && shape != SHAPE_ARRAYS, escape = shape == SHAPE_STRINGS;
    uint32_t skip = 1; /* the first one written has no comma */
    for (struct cell *k = ks; k < ks + n; k++) {
        bool null = window_is_null(k->c, row);
        if (null && omit_null)
            continue;
        if (__builtin_expect((size_t)(s->lim - p) < k->room, 0) && !(p = sink_room(s, p, k->room)))
            return NULL;
        p = copy_lead(p, k->lead + skip, k->lead_len - skip);
        skip = 0;
        if (null) {
            memcpy(p, "null", 4);
            p += 4;
            continue;
        }
        size_t from = (size_t)(p - s->b->p);
        switch (k->kind) {
        case CELL_FIXED:
            p = k->w.write(&k->w, row, p);
            break;
        case CELL_QUOTED:
            if (escape)
                *p++ = '\\';
            *p++ = '"';
            p = k->w.write(&k->w, row, p);
            if (escape)
                *p++ = '\\';
            *p++ = '"';
            break;
        case CELL_TEXT: {
            size_t len;
            const char *src = value__bytes(k->c, row, &len);
            p = put_string(s, p, src, len, k->data_end);
            break;
        }
        case CELL_OTHER:
            p = put_other(s, p, k, rule, row);
            break;
        }
        if (p && escape && k->kind >= CELL_TEXT)
            p = escape_cell(s, p, from);
        if (!p)
            return NULL;
    }
    return p;
}

static char *put_row(struct sink *s, char *p, struct cell *ks, uint32_t n, const struct text_rule *rule,
                     uint64_t row, enum shape shape, bool first)
{
    if ((size_t)(s->lim - p) < 8 && !(p = sink_room(s, p, 8)))
        return NULL;
    if (!first && shape != SHAPE_LINES)
        *p++ = ',';
    if (!first && shape == SHAPE_OBJECTS)
        *p++ = '\n';
    if (shape == SHAPE_STRINGS)
        *p++ = '"';
    *p++ = shape == SHAPE_ARRAYS ? '[' : '{';
    p = put_cells(s, p, ks, n, rule, row, shape);
    if (!p || ((size_t)(s->lim - p) < 4 && !(p = sink_room(s, p, 4))))
        return NULL;
    *p++ = shape == SHAPE_ARRAYS ? ']' : '}';
    if (shape == SHAPE_LINES)
        *p++ = '\n';
    if (shape == SHAPE_STRINGS)
        *p++ = '"';
    return p;
}

static int json_encode(enum shape shape, const struct encode_options *o, struct encode_state *st,
                       const struct window *w, uint64_t from, uint64_t to, size_t soft, struct buf *out,
                       uint64_t *ret_next, struct err *e)
{
    struct text_rule with_zone = value__json_rules[o->profile];
    with_zone.place = o->zone;
    const struct text_rule *rule = &with_zone;
    struct arena *a = arena_new((size_t)1 << 30);
    struct cell *ks = NULL;
    int rc = a ? prepare(w, rule, shape, a, &ks) : ERR_NOMEM;
    struct sink s = {.rc = rc};
    char *p = rc ? NULL : (sink_open(&s, out), sink_room(&s, NULL, 64));
    uint64_t row = from;
    size_t good = out->len; /* where the last whole row ends */
    for (; p && row < to && out->len < soft; row++) {
        p = put_row(&s, p, ks, w->schema->ncolumns, rule, row, shape, !st->rows_done && row == from);
        if (p)
            good = out->len = (size_t)(p - out->p);
    }
    if (!p)
        rc = s.rc;
    arena_free(a);
    if (rc) {
        out->len = good;
        return encode__full(rc, e);
    }
    st->rows_done += row - from;
    *ret_next = row;
    return 0;
}

static int rows_objects(const struct encode_options *o, struct encode_state *st, const struct window *w,
                        uint64_t from, uint64_t to, size_t soft, struct buf *out, uint64_t *ret_next,
                        struct err *e)
{
    return json_encode(SHAPE_OBJECTS, o, st, w, from, to, soft, out, ret_next, e);
}

static int rows_lines(const struct encode_options *o, struct encode_state *st, const struct window *w,
                      uint64_t from, uint64_t to, size_t soft, struct buf *out, uint64_t *ret_next,
                      struct err *e)
{
    return json_encode(SHAPE_LINES, o, st, w, from, to, soft, out, ret_next, e);
}

static int rows_arrays(const struct encode_options *o, struct encode_state *st, const struct window *w,
                       uint64_t from, uint64_t to, size_t soft, struct buf *out, uint64_t *ret_next,
                       struct err *e)
{
    return json_encode(SHAPE_ARRAYS, o, st, w, from, to, soft, out, ret_next, e);
}

static int rows_strings(const struct encode_options *o, struct encode_state *st, const struct window *w,
                        uint64_t from, uint64_t to, size_t soft, struct buf *out, uint64_t *ret_next,
                        struct err *e)
{
    return json_encode(SHAPE_STRINGS, o, st, w, from, to, soft, out, ret_next, e);
}

static int head_array(const struct encode_options *o, const struct schema *s, struct buf *out, struct err *e)
{
    (void)o;
    (void)s;
    int rc = buf_char(out, '[');
    return rc ? encode__full(rc, e) : 0;
}

static int tail_array(const struct encode_options *o, struct encode_state *st, const struct schema *s,
                      struct buf *out, struct err *e)
{
    (void)o;
    (void)st;
    (void)s;
    int rc = buf_char(out, ']');
    return rc ? encode__full(rc, e) : 0;
}

static int head_none(const struct encode_options *o, const struct schema *s, struct buf *out, struct err *e)
{
    (void)o;
    (void)s;
    (void)out;
    (void)e;
    return 0;
}

static int tail_none(const struct encode_options *o, struct encode_state *st, const struct schema *s,
                     struct buf *out, struct err *e)
{
    (void)st;
    return head_none(o, s, out, e);
}

#define JSON_TYPE .media_type = "application/json", .suffix = ".json"

const struct encoder encoder_json = {
    .name = "json", JSON_TYPE, .head = head_array, .put_rows = rows_objects, .tail = tail_array};
const struct encoder encoder_rows = {.name = "rows",
                                     JSON_TYPE,
                                     .dialect_only = true,
                                     .head = head_array,
                                     .put_rows = rows_arrays,
                                     .tail = tail_array};
const struct encoder encoder_strings = {.name = "strings",
                                        JSON_TYPE,
                                        .dialect_only = true,
                                        .head = head_array,
                                        .put_rows = rows_strings,
                                        .tail = tail_array};
const struct encoder encoder_ndjson = {
    .name = "ndjson",
    .media_type = "application/x-ndjson; charset=utf-8",
    .suffix = ".ndjson",
    .head = head_none,
    .put_rows = rows_lines,
    .tail = tail_none,
};

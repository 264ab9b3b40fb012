/*
 * csv: rows as comma (or anything) separated text; UTF-8, lines end with one LF.
 *
 * Neutral: NULL is an empty field, the empty string is `""`, a field is quoted when it holds the separator, a
 * quote, CR, LF or
 * `#` (a comment to many readers; DuckDB quotes it too), quotes are doubled. quote_all: every non-NULL field
 * is quoted. Kylin: quoted only for the separator, a quote, CR or LF; NULL and the empty string are both
 * nothing. The separator may be of any length. Where GBK makes "?" of it or of a part, fields that may hold such a "?" are
 * quoted. Prepared once for each rows() call; nothing is allocated
 * by the row. Any thread.
 */
#include <string.h>

#include "encoders/cell_int.h"
#include "encoders/charset.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

struct csv {
    struct text_rule rule;
    const char *sep;
    size_t sep_len;
    uint32_t *
        begins; /* of a longer one; [n]: how much of its beginning its first n bytes end with, themselves aside */
    bool *again; /* [n]: its last n bytes are its first n */
    bool quote_all, kylin;
    bool replaced;     /* the separator holds "?" in its charset: so may whatever is not ASCII in a field */
    bool special[256]; /* bytes that may ask for quotes */
    char first;        /* of the separator */
    char comment;      /* '#'; these four are a quote where they need no care */
    char lf, cr;
};

/* What makes looking at a field's end cost no more than its length, whatever the separator. */
static int learn_separator(struct csv *k, struct arena *a)
{
    size_t m = k->sep_len;
    if (m < 2)
        return 0;
    k->begins = arena_alloc(a, (m + 1) * sizeof *k->begins);
    k->again = arena_alloc(a, (m + 1) * sizeof *k->again);
    if (!k->begins || !k->again)
        return ERR_NOMEM;
    for (uint32_t i = 1, n = 0; i < m; i++) {
        while (n && k->sep[i] != k->sep[n])
            n = k->begins[n];
        n += k->sep[i] == k->sep[n];
        k->begins[i + 1] = n;
    }
    for (uint32_t n = k->begins[m]; n; n = k->begins[n])
        k->again[n] = true;
    return 0;
}

static int csv_open(struct csv *k, const struct encode_options *o, struct arena *a)
{
    memset(k, 0, sizeof *k);
    k->rule = value__text_rules[o->profile];
    k->rule.place = o->zone;
    k->sep = o->separator && *o->separator ? o->separator : ",";
    k->sep_len = strlen(k->sep);
    k->quote_all = o->quote_all;
    k->kylin = o->profile == TEXT_KYLIN;
    k->special['"'] = true;
    k->first = k->comment = k->lf = k->cr = '"';
    if (k->quote_all)
        return 0;
    k->special['\n'] = k->special['\r'] = true;
    k->lf = '\n';
    k->cr = '\r';
    k->special[(uint8_t)k->sep[0]] = true;
    k->first = k->sep[0];
    if (!k->kylin)
        k->special['#'] = true;
    if (!k->kylin)
        k->comment = '#';
    k->replaced = o->charset == CHARSET_GBK && gbk_has_question_mark(k->sep, k->sep_len);
    for (unsigned c = 0x80; k->replaced && c < 0x100; c++)
        k->special[c] = true;
    if (k->replaced)
        k->special['?'] = true;
    return learn_separator(k, a);
}

/* The field ends with the beginning of a long separator: with the real one behind it, a reader that takes the
 * first match would cut too early ("a|" "||" "b"). Kylin's own writer never cares; here its files are quoted where
 * the cut would really be another one. */
static bool ends_badly(const struct csv *k, const char *s, size_t n)
{
    uint32_t m = (uint32_t)k->sep_len, met = 0; /* so much of the separator's beginning ends where we are */
    if (m < 2)
        return false;
    for (size_t i = n < m ? 0 : n - m + 1; i < n; i++) {
        while (met && s[i] != k->sep[met])
            met = k->begins[met];
        met += s[i] == k->sep[met];
    }
    while (k->kylin && met && !k->again[m - met])
        met = k->begins[met];
    return met > 0;
}

/* In GBK it may be a part of the separator. */
static bool becomes_separator(const struct csv *k, char c)
{
    return k->replaced && (c == '?' || ((unsigned char)c & 0x80));
}

/* Whether a field that holds a special byte really needs quotes: the separator counts as a whole only. */
static bool needs_quotes(const struct csv *k, const char *s, size_t n)
{
    if (k->quote_all || (!n && !k->kylin))
        return true;
    if (k->sep_len > 1 && memmem(s, n, k->sep, k->sep_len))
        return true;
    for (size_t i = 0; i < n; i++) {
        if (!k->special[(uint8_t)s[i]])
            continue;
        if ((s[i] == k->sep[0] && k->sep_len == 1) || s[i] == '"' || s[i] == '\n' || s[i] == '\r' ||
            (s[i] == '#' && !k->kylin) || becomes_separator(k, s[i]))
            return true;
    }
    return ends_badly(k, s, n);
}

/* Puts quotes around out[from, len) if need be and doubles those inside, in place. */
static int quote_tail(const struct csv *k, struct buf *out, size_t from)
{
    if (!needs_quotes(k, out->p + from, out->len - from))
        return 0;
    size_t more = 2;
    for (size_t i = from; i < out->len; i++)
        more += out->p[i] == '"';
    int rc = buf_reserve(out, more);
    if (rc)
        return rc;
    char *first = out->p + from, *src = out->p + out->len, *dst = src + more;
    out->len += more;
    *--dst = '"';
    while (src > first) {
        char c = *--src;
        *--dst = c;
        if (c == '"')
            *--dst = c;
    }
    *--dst = '"';
    return 0;
}

/* A field with quotes, or one with special bytes that need none after all. */
static char *slow_field(const struct csv *k, struct sink *s, char *p, const char *src, size_t n)
{
    if (!(p = sink_room(s, p, n + CELL_SLACK)))
        return NULL;
    size_t from = s->b->len;
    memcpy(p, src, n);
    s->b->len += n;
    s->rc = quote_tail(k, s->b, from);
    return s->rc ? NULL : sink_room(s, NULL, CELL_SLACK);
}

static inline char *put_field(const struct csv *k, struct sink *s, char *p, const char *src, size_t n,
                              const char *end)
{
    if (!n) {
        if (k->kylin && !k->quote_all)
            return p;
        p[0] = p[1] = '"'; /* the cell's room has space for it */
        return p + 2;
    }
    if ((size_t)(s->lim - p) < n + CELL_SLACK && !(p = sink_room(s, p, n + CELL_SLACK)))
        return NULL;
    size_t i = 0;
    char *start = p;
    if (k->quote_all)
        *p++ = '"';
#ifdef __SSE2__
    for (; i < n && end - (src + i) >= 16; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(src + i));
        _mm_storeu_si128((__m128i *)(void *)(p + i), v);
        __m128i a =
            _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8(k->first)));
        __m128i b =
            _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(k->lf)), _mm_cmpeq_epi8(v, _mm_set1_epi8(k->cr)));
        __m128i c = _mm_or_si128(_mm_or_si128(a, b), _mm_cmpeq_epi8(v, _mm_set1_epi8(k->comment)));
        unsigned bad = (unsigned)_mm_movemask_epi8(c);
        if (n - i < 16)
            bad &= (1u << (n - i)) - 1;
        if (bad)
            return slow_field(k, s, start, src, n);
    }
    if (i > n)
        i = n;
#else
    (void)end;
#endif
    for (; i < n; i++) {
        if (k->special[(uint8_t)src[i]])
            return slow_field(k, s, start, src, n);
        p[i] = src[i];
    }
    p += n;
    if (k->quote_all)
        *p++ = '"';
    return p;
}

static char *put_other(const struct csv *k, struct sink *s, char *p, const struct cell *c, uint64_t row)
{
    size_t from = s->b->len = (size_t)(p - s->b->p);
    s->rc = value__text(&k->rule, c->c, row, s->b);
    if (!s->rc)
        s->rc = quote_tail(k, s->b, from);
    return s->rc ? NULL : sink_room(s, NULL, CELL_SLACK);
}

static char *put_line(const struct csv *k, struct sink *s, char *p, struct cell *cs, uint32_t n, uint64_t row)
{
    for (struct cell *c = cs; c < cs + n; c++) {
        if (__builtin_expect((size_t)(s->lim - p) < c->room, 0) && !(p = sink_room(s, p, c->room)))
            return NULL;
        p = copy_lead(p, c->lead, c->lead_len);
        if (window_is_null(c->c, row))
            continue;
        switch (c->kind) {
        case CELL_FIXED:
            p = c->w.write(&c->w, row, p);
            break;
        case CELL_QUOTED:
            *p++ = '"';
            p = c->w.write(&c->w, row, p);
            *p++ = '"';
            break;
        case CELL_TEXT: {
            size_t len;
            const char *src = value__bytes(c->c, row, &len);
            p = put_field(k, s, p, src, len, k->replaced ? src : c->data_end);
            break;
        }
        case CELL_OTHER:
            p = put_other(k, s, p, c, row);
            break;
        }
        if (!p)
            return NULL;
    }
    if (s->lim - p < 1 && !(p = sink_room(s, p, 1)))
        return NULL;
    *p++ = '\n';
    return p;
}

static int prepare(const struct csv *k, const struct window *w, struct arena *a, struct cell **ret)
{
    uint32_t n = w->schema->ncolumns;
    struct cell *cs = arena_alloc(a, n * sizeof *cs);
    char *sep = arena_alloc(a, k->sep_len + 16);
    if (!cs || !sep)
        return ERR_NOMEM;
    memcpy(sep, k->sep, k->sep_len);
    /* Numbers and times may hold such a separator themselves. */
    bool odd = k->sep[0] == ' ' || strchr("+-.:", k->sep[0]) || (k->sep[0] >= '0' && k->sep[0] <= '9') ||
               ((k->sep[0] | 32) >= 'a' && (k->sep[0] | 32) <= 'z');
    for (uint32_t i = 0; i < n; i++) {
        cell_prepare(&cs[i], &k->rule, false, &w->columns[i]);
        if (cs[i].kind == CELL_FIXED && k->quote_all)
            cs[i].kind = CELL_QUOTED;
        if (cs[i].kind == CELL_FIXED && odd)
            cs[i].kind = CELL_OTHER;
        cell_lead(&cs[i], sep, i ? k->sep_len : 0);
    }
    *ret = cs;
    return 0;
}

static int csv_rows(const struct encode_options *o, struct encode_state *st, const struct window *w,
                    uint64_t from, uint64_t to, size_t soft, struct buf *out, uint64_t *ret_next,
                    struct err *e)
{
    struct csv k;
    struct arena *a = arena_new((size_t)1 << 30);
    struct cell *cs = NULL;
    int rc = a ? csv_open(&k, o, a) : ERR_NOMEM;
    if (!rc)
        rc = prepare(&k, w, a, &cs);
    struct sink s = {.rc = rc};
    char *p = rc ? NULL : (sink_open(&s, out), sink_room(&s, NULL, 64));
    uint64_t row = from;
    size_t good = out->len; /* where the last whole row ends */
    for (; p && row < to && out->len < soft; row++) {
        p = put_line(&k, &s, p, cs, w->schema->ncolumns, row);
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

static int csv_head(const struct encode_options *o, const struct schema *s, struct buf *out, struct err *e)
{
    if (!o->header)
        return 0;
    struct csv k;
    struct arena *a = arena_new((size_t)1 << 30);
    int rc = a ? csv_open(&k, o, a) : ERR_NOMEM;
    for (uint32_t i = 0; !rc && i < s->ncolumns; i++) {
        if (i)
            rc = buf_add(out, k.sep, k.sep_len);
        size_t from = out->len;
        if (!rc)
            rc = buf_str_add(out, s->columns[i].name ? s->columns[i].name : "");
        if (!rc && !o->header_bare)
            rc = quote_tail(&k, out, from);
    }
    if (!rc)
        rc = buf_char(out, '\n');
    arena_free(a);
    return rc ? encode__full(rc, e) : 0;
}

static int csv_tail(const struct encode_options *o, struct encode_state *st, const struct schema *s,
                    struct buf *out, struct err *e)
{
    (void)o;
    (void)st;
    (void)s;
    (void)out;
    (void)e;
    return 0;
}

const struct encoder encoder_csv = {
    .name = "csv",
    .media_type = "text/csv; charset=utf-8",
    .suffix = ".csv",
    .head = csv_head,
    .put_rows = csv_rows,
    .tail = csv_tail,
};

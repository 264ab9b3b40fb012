/*
 * cell_int: what csv.c and json.c share: a sink (a pen inside the output buffer) and a column prepared for
 * writing cells. Nothing outside this folder includes it. Lives within one rows() call; one thread.
 *
 * The pen: text is written at a local pointer p and the buffer's len is set only when somebody else appends
 * or the row ends. Invariant: lim is the end of the room that the buffer has under its ceiling.
 */
#ifndef QUERN_ENCODERS_CELL_INT_H
#define QUERN_ENCODERS_CELL_INT_H

#include "encoders/encoder_int.h"
#include "encoders/value_int.h"

enum cell_kind {
    CELL_FIXED,  /* value_writer, as it is */
    CELL_QUOTED, /* value_writer, in quotes */
    CELL_TEXT,   /* UTF8 */
    CELL_OTHER,  /* by value__text / value__json */
};

struct cell {
    enum cell_kind kind;
    uint32_t lead_len; /* comma, separator, name */
    uint32_t room;     /* for lead, NULL, or a fixed value with quotes; and CELL_SLACK */
    const char *lead;  /* readable for 16 bytes beyond lead_len */
    const struct window_column *c;
    const char *data_end; /* CELL_TEXT: end of the readable text bytes */
    struct value_writer w;
};

#define CELL_SLACK 40u /* short copies write 16 bytes whatever their length */

struct sink {
    struct buf *b;
    char *lim;
    int rc; /* set when a writer returned NULL */
};

static inline void sink_open(struct sink *s, struct buf *b)
{
    size_t end = b->cap < b->ceiling ? b->cap : b->ceiling;
    s->b = b;
    s->lim = b->p ? b->p + end : NULL;
}

/* Takes the text up to p into the buffer and makes room for n more bytes: returns the new p, or NULL with
 * s->rc. */
static inline char *sink_room(struct sink *s, char *p, size_t n)
{
    if (p)
        s->b->len = (size_t)(p - s->b->p);
    s->rc = buf_reserve(s->b, n);
    if (s->rc)
        return NULL;
    sink_open(s, s->b);
    return s->b->p + s->b->len;
}

/* n bytes, most often few. Room for n + 16 bytes; src has 16 readable bytes. */
static inline char *copy_lead(char *p, const char *src, uint32_t n)
{
    __builtin_memcpy(p, src, 16);
    if (__builtin_expect(n > 16, 0))
        __builtin_memcpy(p + 16, src + 16, n - 16);
    return p + n;
}

/* Prepares kind, value and text bounds of one cell; the format decides the lead. */
static inline void cell_prepare(struct cell *k, const struct text_rule *rule, bool json,
                                const struct window_column *c)
{
    k->c = c;
    if (value__fixed(rule, json, c, &k->w)) {
        k->kind = json && (rule->all_strings || k->w.quoted) ? CELL_QUOTED : CELL_FIXED;
        if (rule->all_strings)
            k->w.json = false; /* no quotes of its own around NaN */
    } else if (c->column->phys == PHYS_UTF8) {
        k->kind = rule->cut_ns && c->column->sql == SQLT_TIMESTAMP_NS ? CELL_OTHER : CELL_TEXT;
        k->data_end = (const char *)c->data + (c->offsets[c->length] - c->offset_base);
    } else {
        k->kind = CELL_OTHER;
    }
}

static inline void cell_lead(struct cell *k, const char *lead, size_t n)
{
    k->lead = lead;
    k->lead_len = (uint32_t)n;
    k->room = k->lead_len + k->w.room + CELL_SLACK;
}

#endif

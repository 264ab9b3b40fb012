/*
 * encoder: the table of formats. A new format is one file and one line here (and its name in encoder_names
 * when callers may ask for it). Constant data; any thread.
 */
#include <string.h>

#include "encoders/charset.h"
#include "encoders/encoder_int.h"

static const struct encoder *const table[] = {
    &encoder_csv,  &encoder_json,    &encoder_ndjson, &encoder_arrow, /* formats of the neutral download */
    &encoder_rows, &encoder_strings,                                  /* pieces of dialect pages */
};

const struct encoder *encoder_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i]->name, name))
            return table[i];
    return NULL;
}

const char *encoder_names(void)
{
    return "csv|json|ndjson|arrow";
}

/* ---- charsets: the new bytes are turned where they lie ---- */

static int turn(const struct encoder *x, const struct encode_options *o, struct encode_state *st,
                struct buf *out, size_t from, int rc)
{
    if (o->charset == CHARSET_GBK && out->len > from && x != &encoder_arrow)
        out->len = from + gbk_in_place(out->p + from, out->len - from, &st->unmapped);
    return rc;
}

int encode_head(const struct encoder *x, const struct encode_options *o, struct encode_state *st,
                const struct schema *s, struct buf *out, struct err *e)
{
    size_t from = out->len;
    return turn(x, o, st, out, from, x->head(o, s, out, e));
}

int encode_rows(const struct encoder *x, const struct encode_options *o, struct encode_state *st,
                const struct window *w, uint64_t from, uint64_t to, size_t soft, struct buf *out,
                uint64_t *ret_next, struct err *e)
{
    size_t at = out->len;
    return turn(x, o, st, out, at, x->put_rows(o, st, w, from, to, soft, out, ret_next, e));
}

int encode_tail(const struct encoder *x, const struct encode_options *o, struct encode_state *st,
                const struct schema *s, struct buf *out, struct err *e)
{
    size_t from = out->len;
    return turn(x, o, st, out, from, x->tail(o, st, s, out, e));
}

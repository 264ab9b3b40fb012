/*
 * encoder: the table of formats. A new format is one file and one line here (and its name in encoder_names
 * when callers may ask for it). Constant data; any thread.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

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
    return turn(x, o, st, out, at, x->rows(o, st, w, from, to, soft, out, ret_next, e));
}

int encode_tail(const struct encoder *x, const struct encode_options *o, struct encode_state *st,
                const struct schema *s, struct buf *out, struct err *e)
{
    size_t from = out->len;
    return turn(x, o, st, out, from, x->tail(o, st, s, out, e));
}

static const char *const charsets[CHARSETS] = {[CHARSET_UTF8] = "utf-8", [CHARSET_GBK] = "gbk"};

const char *charset_name(enum charset c)
{
    return charsets[c];
}

bool charset_find(const char *name, enum charset *ret)
{
    for (int i = 0; i < CHARSETS; i++) {
        if (strcasecmp(name, charsets[i]) != 0 && !(i == CHARSET_UTF8 && strcasecmp(name, "utf8") == 0))
            continue;
        *ret = (enum charset)i;
        return true;
    }
    return false;
}

const char *encoder_media_type(const struct encoder *x, enum charset c, char *out, size_t n)
{
    if (c == CHARSET_UTF8)
        return x->media_type;
    (void)snprintf(out, n, "%.*s; charset=%s", (int)strcspn(x->media_type, ";"), x->media_type, charsets[c]);
    return out;
}

int encode__full(int rc, struct err *e)
{
    if (rc == ERR_NOMEM)
        return err_set(e, rc, "53200", "out of memory");
    return err_set(e, rc, "54000", "a row does not fit into the output buffer");
}

/*
 * media: what the encoders and their callers share below the table of formats: names of charsets, media types, the error
 * of an output that is full. Constant data; any thread.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "encoders/encoder_int.h"

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

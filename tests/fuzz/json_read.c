/* json_read: any bytes; what is accepted is walked and written; that text must be accepted,
 * and writing it again must change nothing more. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_read.h"
#include "base/json_write.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void copy(struct json_write *w, json_value v)
{
    static char number[1 << 20]; /* numbers keep their text */
    const char *s;
    size_t n;
    bool b;
    switch (json_kind(v)) {
    case JSON_OBJECT:
        json_object_begin(w);
        for (size_t i = 0; i < json_size(v); i++) {
            json_value member = json_member(v, i, &s);
            if (!member || json_get(v, s) != member)
                abort();
            json_key(w, s);
            copy(w, member);
        }
        json_object_end(w);
        break;
    case JSON_ARRAY:
        json_array_begin(w);
        for (size_t i = 0; i < json_size(v); i++)
            copy(w, json_at(v, i));
        json_array_end(w);
        break;
    case JSON_STRING:
        s = json_string(v, &n);
        if (!utf8_valid(s, n) || strlen(s) != n)
            abort();
        json_strn(w, s, n);
        break;
    case JSON_INT:
    case JSON_REAL: {
        int len = json_number_text(v, number, sizeof number);
        if (len <= 0)
            abort();
        json_raw(w, number, (size_t)len);
        break;
    }
    case JSON_BOOL:
        if (!json_boolean(v, &b))
            abort();
        json_bool(w, b);
        break;
    case JSON_NULL:
        json_null(w);
        break;
    case JSON_ABSENT:
        abort();
    }
}

static bool pass(const char *text, size_t n, struct buf *out)
{
    CLEANUP_JSON struct json_doc *d = NULL;
    struct err e;
    if (json_parse(text, n, &d, &e) < 0) {
        if (e.text[0] == 0 || e.line < 1 || e.column < 1)
            abort();
        return false;
    }
    struct json_write w = JSON_WRITE_INIT(out);
    copy(&w, json_root(d));
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP_BUF struct buf once = BUF_INIT(64 << 20), twice = BUF_INIT(64 << 20), thrice = BUF_INIT(64 << 20);
    /* Depth 64 is legal for the reader and one too many for the writer. */
    if (!pass((const char *)data, size, &once) || buf_failed(&once))
        return 0;
    /* The first writing may turn the real "-0e2" into "-0", which reads as the integer 0. */
    if (!pass(once.p, once.len, &twice) || !pass(twice.p, twice.len, &thrice) || twice.len != thrice.len ||
        memcmp(twice.p, thrice.p, twice.len) != 0)
        abort();
    return 0;
}

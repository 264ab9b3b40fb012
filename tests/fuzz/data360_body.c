/*
 * The submit body of the Data 360 dialect, with placeholders, parameters and the way back. The first byte
 * chooses: a whole body; or bare SQL in one of the styles, where undoing the rewriting must give the text
 * back.
 */
#include <string.h>

#include "dialects/data360_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stands in for the http room's helpers. */
struct json_write reply_json(struct request *rq, int status);
enum handled reply_error(struct request *rq, int status, const struct err *e);

struct json_write reply_json(struct request *rq, int status)
{
    rq->reply.status = status;
    return (struct json_write)JSON_WRITE_INIT(&rq->reply.body);
}

enum handled reply_error(struct request *rq, int status, const struct err *e)
{
    data360__write_error(rq, status, e);
    return REPLY_READY;
}

static void round_trip(struct arena *a, enum d360_style style, const char *sql, size_t n)
{
    struct d360_placeholders ph;
    struct err e;
    if (data360__placeholders(a, style, sql, n, &ph, &e))
        return;
    const char *back;
    size_t len;
    int64_t pos = (int64_t)(n / 2), end = pos + 1;
    int r = data360__restore(a, style, ph.names, ph.count, ph.sql, ph.sql_len, &pos, &end, &back, &len);
    ASSERT(r || (pos >= 0 && pos <= (int64_t)(n + 1) * 2));
    ASSERT(r || (len == n && memcmp(back, sql, n) == 0));
    struct buf b = BUF_INIT(1u << 20);
    ASSERT(!data360__caret(sql, n, pos, &b));
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct arena *a = arena_new(64u << 20);
    char *text = arena_strndup(a, (const char *)data + 1, size - 1);
    if (text && data[0] % 5 < 3 && memchr(text, 0, size - 1) == NULL) {
        round_trip(a, (enum d360_style)(data[0] % 5), text, size - 1);
    } else if (text && data[0] % 5 == 3) {
        struct d360_submit s;
        struct err e;
        bool is_json;
        if (!data360__read_submit(a, text, size - 1, &s, &is_json, &e)) {
            ASSERT(is_json && s.ph.sql && (s.ph.count == 0 || s.params));
            for (uint32_t i = 0; i < s.ph.count; i++)
                ASSERT(s.params[i].type && s.params[i].value);
        }
    } else if (text) {
        data360__accept(text);
        data360__content_type(text);
    }
    arena_free(a);
    return 0;
}

/*
 * json_write: see json_write.h. One writer per buf; one thread.
 *
 * The writer keeps only what it needs for commas: one flag per open container. Errors stay in the buf.
 * json_escape is on the path of every result cell: it finds the next byte that needs a decision 16 bytes at a
 * time and copies whole clean runs, valid multi-byte UTF-8 included.
 */
#include "base/json_write.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/number.h"
#include "base/utf8.h"

/* Everything before a value: the comma, unless a key has just put its colon. */
static void before_value(struct json_write *w)
{
    if (w->after_key)
        w->after_key = false;
    else if (w->need_comma[w->depth])
        buf_char(w->b, ',');
    w->need_comma[w->depth] = true;
}

static void begin(struct json_write *w, char bracket)
{
    before_value(w);
    buf_char(w->b, bracket);
    if (w->depth + 1 >= JSON_DEPTH_MAX) {
        buf_fail(w->b, ERR_LIMIT);
        return;
    }
    w->need_comma[++w->depth] = false;
}

static void end(struct json_write *w, char bracket)
{
    /* After a depth failure the ends no longer pair up; the text is lost anyway. */
    if (buf_failed(w->b))
        return;
    ASSERT(w->depth > 0 && !w->after_key);
    w->depth--;
    buf_char(w->b, bracket);
}

void json_object_begin(struct json_write *w)
{
    begin(w, '{');
}
void json_object_end(struct json_write *w)
{
    end(w, '}');
}
void json_array_begin(struct json_write *w)
{
    begin(w, '[');
}
void json_array_end(struct json_write *w)
{
    end(w, ']');
}

void json_strn(struct json_write *w, const char *s, size_t n)
{
    before_value(w);
    buf_char(w->b, '"');
    json_escape(w->b, s, n);
    buf_char(w->b, '"');
}

void json_str(struct json_write *w, const char *s)
{
    if (s)
        json_strn(w, s, strlen(s));
    else
        json_null(w);
}

void json_i64(struct json_write *w, int64_t v)
{
    before_value(w);
    buf_i64(w->b, v);
}

void json_u64(struct json_write *w, uint64_t v)
{
    before_value(w);
    buf_u64(w->b, v);
}

void json_double(struct json_write *w, double v)
{
    char text[NUMBER_DOUBLE_MAX];
    size_t n = number_double_json(v, text);
    if (n == 0)
        json_null(w);
    else
        json_raw(w, text, n);
}

void json_bool(struct json_write *w, bool v)
{
    if (v)
        json_raw(w, "true", 4);
    else
        json_raw(w, "false", 5);
}

void json_null(struct json_write *w)
{
    json_raw(w, "null", 4);
}

void json_raw(struct json_write *w, const char *text, size_t n)
{
    before_value(w);
    buf_add(w->b, text, n);
}

void json_kstr(struct json_write *w, const char *key, const char *s)
{
    json_key(w, key);
    json_str(w, s);
}

void json_ki64(struct json_write *w, const char *key, int64_t v)
{
    json_key(w, key);
    json_i64(w, v);
}

void json_kbool(struct json_write *w, const char *key, bool v)
{
    json_key(w, key);
    json_bool(w, v);
}

/* Number of bytes at s that may be copied as they are: ASCII without control characters, quote and backslash. */
static size_t clean_run(const char *s, size_t n)
{
    size_t i = 0;
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);
    for (; i + 16 <= n; i += 16) {
        __m128i v;
        memcpy(&v, s + i, 16);
        /* The comparison is signed: bytes from 0x80 are negative, so "< space" catches them and the controls
         * in one. */
        __m128i bad = _mm_or_si128(_mm_cmplt_epi8(v, space),
                                   _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash)));
        int mask = _mm_movemask_epi8(bad);
        if (mask != 0)
            return i + (size_t)__builtin_ctz((unsigned)mask);
    }
    if (i + 8 <= n) { /* most cells are short; the upper half of the register is zero and not looked at */
        __m128i v = _mm_loadl_epi64((const __m128i *)(const void *)(s + i));
        __m128i bad = _mm_or_si128(_mm_cmplt_epi8(v, space),
                                   _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash)));
        int mask = _mm_movemask_epi8(bad) & 0xFF;
        if (mask != 0)
            return i + (size_t)__builtin_ctz((unsigned)mask);
        i += 8;
    }
#endif
    for (; i < n; i++) {
        uint8_t c = (uint8_t)s[i];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
            break;
    }
    return i;
}

void json_key(struct json_write *w, const char *key)
{
    struct buf *b = w->b;
    size_t n = strlen(key);
    bool comma = w->need_comma[w->depth];
    w->need_comma[w->depth] = true;
    w->after_key = true;
    if (buf_reserve(b, n + 3 + comma) == 0 && clean_run(key, n) == n) { /* nearly always */
        char *p = b->p + b->len;
        if (comma)
            *p++ = ',';
        *p++ = '"';
        memcpy(p, key, n);
        memcpy(p + n, "\":", 2);
        b->len = (size_t)(p + n + 2 - b->p);
        return;
    }
    if (comma)
        buf_char(b, ',');
    buf_char(b, '"');
    json_escape(b, key, n);
    buf_add(b, "\":", 2);
}

static int escape_byte(struct buf *b, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    size_t n = 2;
    switch (c) {
    case '"':
    case '\\':
        text[1] = (char)c;
        break;
    case '\b':
        text[1] = 'b';
        break;
    case '\f':
        text[1] = 'f';
        break;
    case '\n':
        text[1] = 'n';
        break;
    case '\r':
        text[1] = 'r';
        break;
    case '\t':
        text[1] = 't';
        break;
    default:
        n = 6;
    }
    return buf_add(b, text, n);
}

int json_escape(struct buf *b, const char *s, size_t n)
{
    size_t start = 0, i = 0; /* start..i is clean and not yet copied */
    int r = b->failed ? b->why : 0;
    while (r == 0) {
        i += clean_run(s + i, n - i);
        /* Text in other scripts is mostly multi-byte: stay here while it lasts. */
        int k = 0;
        uint32_t cp;
        while (i < n && (uint8_t)s[i] >= 0x80 && (k = utf8_next(s + i, n - i, &cp)) > 0)
            i += (size_t)k;
        bool broken = k < 0;
        if (i < n && !broken && (uint8_t)s[i] >= 0x20 && s[i] != '"' && s[i] != '\\')
            continue;
        if (i > start)
            r = buf_add(b, s + start, i - start);
        if (i == n)
            break;
        if (r == 0)
            r = broken ? buf_add(b, UTF8_REPLACEMENT, 3) : escape_byte(b, (uint8_t)s[i]);
        i += broken ? (size_t)-k : 1;
        start = i;
    }
    return r;
}

/* json_write: JSON text straight into a buf; streams, builds no tree. One writer per buf; one thread. */
#ifndef QUERN_BASE_JSON_WRITE_H
#define QUERN_BASE_JSON_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define JSON_DEPTH_MAX 64

/* jansson exports this name too, and calls it from inside: ours must not take its place at link time. */
#define json_null quern_json_null

/* Puts commas and colons by itself. Start with JSON_WRITE_INIT(&buf). Errors stay in the buf (buf_failed);
 * more than JSON_DEPTH_MAX-1 open containers fail it too. */
struct json_write {
    struct buf *b;
    int depth;
    bool need_comma[JSON_DEPTH_MAX];
    bool after_key;
};
#define JSON_WRITE_INIT(bufp) ((struct json_write){(bufp), 0, {false}, false})

void json_object_begin(struct json_write *w);
void json_object_end(struct json_write *w);
void json_array_begin(struct json_write *w);
void json_array_end(struct json_write *w);
void json_key(struct json_write *w, const char *key); /* key is escaped too */
void json_str(struct json_write *w, const char *s);   /* NULL writes null */
void json_strn(struct json_write *w, const char *s, size_t n);
void json_i64(struct json_write *w, int64_t v);
void json_u64(struct json_write *w, uint64_t v);
void json_double(struct json_write *w, double v); /* shortest round trip; NaN and infinities write null */
void json_bool(struct json_write *w, bool v);
void json_null(struct json_write *w);
void json_raw(struct json_write *w, const char *text, size_t n); /* trusted JSON text */
/* key + value in one call */
void json_kstr(struct json_write *w, const char *key, const char *s);
void json_ki64(struct json_write *w, const char *key, int64_t v);
void json_kbool(struct json_write *w, const char *key, bool v);

/* Appends s escaped for the inside of a JSON string (no quotes). Control characters, quote and backslash are
 * escaped, U+2028/2029 and all other UTF-8 pass; invalid UTF-8 becomes U+FFFD. SWAR/SSE2 fast path for clean
 * ASCII. */
int json_escape(struct buf *b, const char *s, size_t n);

#endif

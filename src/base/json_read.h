/*
 * json_read: strict JSON from outside (jansson behind one door; no other file includes jansson.h).
 *
 * Rejects duplicate keys, invalid UTF-8, junk after the value, depth over 64, \u0000. A parsed document owns
 * all its values; strings live as long as the document. One thread per document.
 */
#ifndef QUERN_BASE_JSON_READ_H
#define QUERN_BASE_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* jansson exports these names too, and calls them from inside: ours must not take their place at link time. */
#define json_string quern_json_string
#define json_real   quern_json_real

#define JSON_READ_DEPTH_MAX 64
#define JSON_READ_VALUES_MAX                                                                                 \
    1000000 /* more values than this in one document are refused (memory per input byte) */

struct json_doc;                /* owner */
typedef const void *json_value; /* borrowed; NULL = absent */

enum json_kind {
    JSON_ABSENT,
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,
    JSON_REAL,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

/* Integers beyond int64 are kept as JSON_REAL. ERR_INVALID with "line L, column C: what" in the text (columns
 * count code points from 1; e->line and e->column are filled as well). ERR_NOMEM. */
int json_parse(const char *text, size_t len, struct json_doc **ret_doc, struct err *e) MUST_USE;
void json_doc_free(struct json_doc *d);
void json_doc_cleanup(struct json_doc **d);
#define CLEANUP_JSON __attribute__((cleanup(json_doc_cleanup)))

json_value json_root(const struct json_doc *d);
enum json_kind json_kind(json_value v);
const char *json_kind_name(enum json_kind k);            /* "a string", "an integer" ... for messages */
json_value json_get(json_value object, const char *key); /* NULL when absent or not an object */
size_t json_size(json_value v);                          /* members or elements, 0 otherwise */
json_value json_at(json_value array, size_t i);
/* The i-th member of an object, in document order. */
json_value json_member(json_value object, size_t i, const char **ret_key);
const char *json_string(json_value v, size_t *ret_len); /* NULL when not a string; ret_len may be NULL */
bool json_int(json_value v, int64_t *ret);              /* false when not an integer */
bool json_real(json_value v, double *ret);              /* integers too */
bool json_boolean(json_value v, bool *ret);
/* The number as it stood in the document, to the last digit (an integer within int64 anew). NUL-terminated;
 * returns the length, ERR_INVALID when v is not a number, ERR_LIMIT when n is too small. */
int json_number_text(json_value v, char *out, size_t n);

#endif

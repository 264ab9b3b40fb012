/*
 * encoder: rows to bytes of one format, pulled.
 *
 * An encoder keeps no rows and no buffer. The caller loads a window, asks for rows [from, to) and stops when
 * `soft` bytes are reached; a row is never cut, so out->len may pass `soft` by one row. Calls for one stream
 * are made by one thread at a time, in row order. Adding a format is one new file and one line in encoder.c's
 * table.
 */
#ifndef QUERN_ENCODERS_ENCODER_H
#define QUERN_ENCODERS_ENCODER_H

#include "encoders/value_text.h"

/* The bytes of text formats. GBK: exactly what Python's codec "gbk" maps; what it does not map becomes '?'
 * and is counted (encode_state.unmapped). */
enum charset { CHARSET_UTF8, CHARSET_GBK, CHARSETS };

struct encode_options {
    enum text_profile profile;
    const struct zone *zone; /* timestamps with time zone are shown in it; NULL: UTC */
    enum charset charset;    /* csv, json, ndjson, rows, strings; arrow has none */
    bool header;             /* csv: a line with the column names */
    const char *separator;   /* csv: any text without NUL, of any length; "" means "," */
    bool quote_all;          /* csv: Kakao's files: every non-NULL value in double quotes, the names too */
    bool header_bare;        /* csv: column names are never quoted (kylin.header_quoting = never) */
    bool stream_end;         /* arrow: end-of-stream marker at the end (neutral download only) */
    bool no_schema;          /* arrow: no schema message (Data 360 omitSchema) */
};

struct encode_state { /* kept by the caller, zeroed at the start of a stream */
    uint64_t rows_done;
    uint64_t unmapped; /* characters that the charset lacks */
};

/* Called through encode_head, encode_rows and encode_tail below only. */
struct encoder {
    const char *name;       /* "csv", as in ?format= */
    const char *media_type; /* with charset where text */
    const char *suffix;     /* ".csv" */
    bool dialect_only;      /* not a format that a caller of the neutral download may name */
    /* What comes before the first row (CSV header, "[", Arrow schema message). */
    int (*head)(const struct encode_options *o, const struct schema *s, struct buf *out, struct err *e);
    /* Encodes rows [from, to) of w; *ret_next is the first row not encoded. Stops early once out->len >= soft
     * (at least one row is encoded when out->len < soft). On an error out->len stands before the row that
     * failed. */
    int (*put_rows)(const struct encode_options *o, struct encode_state *st, const struct window *w,
                    uint64_t from, uint64_t to, size_t soft, struct buf *out, uint64_t *ret_next,
                    struct err *e);
    int (*tail)(const struct encode_options *o, struct encode_state *st, const struct schema *s,
                struct buf *out, struct err *e);
};

/* The same with the bytes in options.charset: what everybody calls. */
int encode_head(const struct encoder *x, const struct encode_options *o, struct encode_state *st,
                const struct schema *s, struct buf *out, struct err *e) MUST_USE;
int encode_rows(const struct encoder *x, const struct encode_options *o, struct encode_state *st,
                const struct window *w, uint64_t from, uint64_t to, size_t soft, struct buf *out,
                uint64_t *ret_next, struct err *e) MUST_USE;
int encode_tail(const struct encoder *x, const struct encode_options *o, struct encode_state *st,
                const struct schema *s, struct buf *out, struct err *e) MUST_USE;

/* "utf-8", "gbk": as in ?encoding= and in Content-Type. charset_find is case-insensitive and takes "utf8"
 * too; false when unknown. */
const char *charset_name(enum charset c);
bool charset_find(const char *name, enum charset *ret);
/* The encoder's media type with this charset, in `out` (64 bytes are enough). Returns out. */
const char *encoder_media_type(const struct encoder *x, enum charset c, char *out, size_t n);

/* csv, json (an array of objects), ndjson, arrow; for dialect pages only (dialect_only, not in
 * encoder_names): rows (an array of arrays) and strings (an array of strings that hold one object each:
 * Kylin's JSON). Repeated column names in objects get the suffix _1, _2, ... NULL when unknown. */
const struct encoder *encoder_find(const char *name);
/* Names of the formats of the neutral download made here, with '|' between them, for messages. */
const char *encoder_names(void);

/* ---- arrow pieces that the segment writer and Data 360 need ---- */

enum arrow_flavour {
    ARROW_NEUTRAL,
    ARROW_DATA360
}; /* DATA360: timezone "Utc", hyper:type field metadata, list child "$element" */

/* Appends the encapsulated schema message (continuation marker, padded to 8). */
int arrow_schema_message(const struct schema *s, enum arrow_flavour f, struct buf *out,
                         struct err *e) MUST_USE;
/* Appends the encapsulated message header of a record batch whose body is described by ix (the body itself is
 * not copied). Its length is a multiple of 8. */
int arrow_batch_header(const struct schema *s, const struct batch_index *ix, struct buf *out,
                       struct err *e) MUST_USE;
/* Appends the 8-byte end-of-stream marker. */
int arrow_end(struct buf *out);

#endif

/*
 * value_int: what value_text.c and the row encoders (csv.c, json.c) share: the rules, and the writers of
 * fixed-width types. Nothing outside this folder includes it. A value_writer belongs to one call; any thread.
 */
#ifndef QUERN_ENCODERS_VALUE_INT_H
#define QUERN_ENCODERS_VALUE_INT_H

#include "encoders/value_text.h"

enum fraction {
    FRACTION_3_OR_6,    /* .120 .123456 .000 */
    FRACTION_0_3_OR_6,  /* the same, but nothing for whole seconds */
    FRACTION_3_CUT,     /* always three digits, cut */
    FRACTION_3_TRIMMED, /* up to three digits, cut; trailing zeros and a bare point are dropped */
    FRACTION_6_TRIMMED, /* up to six digits, likewise */
};
enum years { YEARS_BC /* 0044-03-15 BC, 10000-01-01 */, YEARS_SIGNED /* -0043-03-15, +10000-01-01 */ };
enum real {
    REAL_POINT /* 100.0, 1e+16 */,
    REAL_JAVA /* 100.0, 1.0E7 */,
    REAL_DIGITS /* 100, never an exponent */
};
enum bytes_text { BYTES_HEX, BYTES_HEX_X /* \x.. */, BYTES_BASE64 };

/* One row of the table: how values of one profile read, bare or inside JSON. */
struct text_rule {
    enum years years;
    char date_time_gap; /* between date and time of day */
    enum fraction stamp, time;
    const char *zone; /* behind the time of a TIMESTAMPTZ in UTC: "", a name behind a blank, or an offset */
    bool zone_always; /* behind that of a TIMESTAMP too */
    enum real real;
    enum bytes_text bytes;
    bool interval_iso; /* P1DT2H, else Trino's 1 02:00:00.000 */
    bool nested_json;  /* lists, maps and rows as JSON text, else [a, b] {k=v} */
    /* inside JSON only */
    bool all_strings; /* every value is a string that holds its bare text */
    bool decimal_string, row_array, embed_json;
    bool wide_string; /* numbers that lie as text (wider than any number type of the page) are strings */
    bool omit_null;   /* in the objects of rows, not in arrays */
    const struct zone *place; /* where a TIMESTAMPTZ is shown; NULL: UTC. Set in a copy of the rule */
    bool cut_ns;              /* TIMESTAMP_NS like the other timestamps: three digits, the gap, the zone */
};

/* rules for bare text and for JSON */
extern const struct text_rule value__text_rules[TEXT_PROFILES], value__json_rules[TEXT_PROFILES];

#define VALUE_FIXED_MAX 400 /* most bytes that a value_writer writes: a DOUBLE in plain digits */

struct value_writer {
    /* Writes the text of a non-NULL row at p and returns its end. */
    char *(*write)(struct value_writer *w, uint64_t row, char *p);
    const struct window_column *c;
    const struct text_rule *rule;
    uint32_t room; /* most bytes that write needs */
    bool quoted;   /* in JSON the text stands in quotes */
    bool json;
    bool has_day; /* the date of the last row, as text: rows near each other share it */
    bool before_christ;
    uint8_t day_len;
    int64_t day;
    char day_text[24];
    struct zone_span span; /* of the last instant; from > to: none yet */
};

/* Prepares the writer for a fixed-width column. False for UTF8, BINARY, LIST, STRUCT, MAP. */
bool value__fixed(const struct text_rule *rule, bool json, const struct window_column *c,
                  struct value_writer *ret);
/* Bare text and JSON of any non-NULL value by a rule. */
int value__text(const struct text_rule *rule, const struct window_column *c, uint64_t row, struct buf *out);
int value__json(const struct text_rule *rule, const struct window_column *c, uint64_t row, struct buf *out);
/* The SQL type's values are numbers, also where they lie as text. */
bool value__numeric_text(const struct text_rule *rule, const struct column *c);
/* Escapes out[from, len) for the inside of a JSON string, in place. */
int value__escape_tail(struct buf *out, size_t from);
/* s is one JSON value (depth up to 512) with nothing but blanks around it. */
bool value__json_valid(const char *s, size_t n);
bool value__json_number(const char *s, size_t n);

/* Bytes of a text or binary value. */
static inline const char *value__bytes(const struct window_column *c, uint64_t row, size_t *ret_len)
{
    int32_t a = c->offsets[row], b = c->offsets[row + 1];
    *ret_len = (size_t)(b - a);
    return (const char *)c->data + (a - c->offset_base);
}

#endif

/*
 * value_text: the table of rules, and the text of any value by it.
 *
 * Fixed-width types are written by value_fixed.c; here are text, binary and nested types, bare and as JSON.
 * Nothing is allocated beside the output; recursion is bounded by SCHEMA_DEPTH_MAX. Pure; any thread.
 */
#include "encoders/value_text.h"

#include <string.h>

#include "base/crypto.h"
#include "base/json_write.h"
#include "encoders/digits.h"
#include "encoders/value_int.h"

/* The table. Pages: Kakao section 8, JackDB section 4, Canner section 5 (Trino's JSON), Data 360 section 2.2,
 * Kylin sections 2.5 and 2.6. */
const struct text_rule value__text_rules[TEXT_PROFILES] = {
    [TEXT_NEUTRAL] = {YEARS_BC, ' ', FRACTION_3_OR_6, FRACTION_3_OR_6, "+00:00", false, REAL_POINT, BYTES_HEX,
                      .interval_iso = false},
    [TEXT_KAKAO] = {YEARS_SIGNED, ' ', FRACTION_3_OR_6, FRACTION_3_OR_6, " UTC", false, REAL_JAVA, BYTES_HEX,
                    .interval_iso = false},
    [TEXT_DATA360] = {YEARS_BC, 'T', FRACTION_0_3_OR_6, FRACTION_0_3_OR_6, "+00:00", false, REAL_POINT,
                      BYTES_HEX_X, .interval_iso = true},
    [TEXT_KYLIN] = {YEARS_SIGNED, ' ', FRACTION_3_TRIMMED, FRACTION_3_TRIMMED, "", false, REAL_JAVA,
                    BYTES_HEX, .nested_json = true, .cut_ns = true},
    [TEXT_CANNER] = {YEARS_SIGNED, ' ', FRACTION_3_OR_6, FRACTION_3_OR_6, " UTC", false, REAL_JAVA, BYTES_HEX,
                     .interval_iso = false},
    [TEXT_JACKDB] = {YEARS_BC, 'T', FRACTION_3_CUT, FRACTION_6_TRIMMED, "Z", false, REAL_DIGITS, BYTES_HEX,
                     .cut_ns = true},
    [TEXT_KYLIN_ROWS] = {YEARS_SIGNED, ' ', FRACTION_3_CUT, FRACTION_3_CUT, "", false, REAL_JAVA, BYTES_HEX,
                         .cut_ns = true},
};
const struct text_rule value__json_rules[TEXT_PROFILES] = {
    [TEXT_NEUTRAL] = {YEARS_BC, ' ', FRACTION_3_OR_6, FRACTION_3_OR_6, "+00:00", false, REAL_POINT, BYTES_HEX,
                      .nested_json = true},
    [TEXT_KAKAO] = {YEARS_SIGNED, ' ', FRACTION_3_OR_6, FRACTION_3_OR_6, " UTC", false, REAL_JAVA, BYTES_HEX,
                    .all_strings = true},
    [TEXT_DATA360] = {YEARS_BC, 'T', FRACTION_0_3_OR_6, FRACTION_0_3_OR_6, "+00:00", false, REAL_POINT,
                      BYTES_HEX_X, .interval_iso = true, .nested_json = true, .embed_json = true,
                      .wide_string = true},
    [TEXT_KYLIN] = {YEARS_SIGNED, 'T', FRACTION_3_CUT, FRACTION_3_TRIMMED, "+0000", true, REAL_JAVA,
                    BYTES_HEX, .nested_json = true, .omit_null = true, .cut_ns = true},
    [TEXT_CANNER] = {YEARS_SIGNED, ' ', FRACTION_3_OR_6, FRACTION_3_OR_6, " UTC", false, REAL_JAVA,
                     BYTES_BASE64, .nested_json = true, .decimal_string = true, .row_array = true},
    [TEXT_JACKDB] = {YEARS_BC, 'T', FRACTION_3_CUT, FRACTION_6_TRIMMED, "Z", false, REAL_DIGITS, BYTES_HEX,
                     .all_strings = true, .cut_ns = true},
    [TEXT_KYLIN_ROWS] = {YEARS_SIGNED, ' ', FRACTION_3_CUT, FRACTION_3_CUT, "", false, REAL_JAVA, BYTES_HEX,
                         .all_strings = true, .cut_ns = true},
};

/* ---- bare text ---- */

static int fixed_text(const struct text_rule *rule, bool json, const struct window_column *c, uint64_t row,
                      struct buf *out)
{
    struct value_writer w;
    if (!value__fixed(rule, json, c, &w))
        return ERR_INTERNAL;
    int rc = buf_reserve(out, w.room + 2);
    if (rc)
        return rc;
    char *p = out->p + out->len;
    bool quoted = json && w.quoted;
    if (quoted)
        *p++ = '"';
    p = w.write(&w, row, p);
    if (quoted)
        *p++ = '"';
    out->len = (size_t)(p - out->p);
    return 0;
}

static int bytes_text(enum bytes_text how, const char *s, size_t n, struct buf *out)
{
    static const char hex[] = "0123456789abcdef";
    if (how == BYTES_BASE64) {
        size_t len = 4 * ((n + 2) / 3);
        int rc = buf_reserve(out, len + 1); /* the encoder writes a NUL behind it */
        if (rc)
            return rc;
        crypto_base64_encode(s, n, out->p + out->len);
        out->len += len;
        return 0;
    }
    int rc = how == BYTES_HEX_X ? buf_add(out, "\\x", 2) : 0;
    if (!rc)
        rc = buf_reserve(out, 2 * n);
    if (rc)
        return rc;
    char *p = out->p + out->len;
    for (size_t i = 0; i < n; i++) {
        *p++ = hex[(uint8_t)s[i] >> 4];
        *p++ = hex[(uint8_t)s[i] & 15];
    }
    out->len += 2 * n;
    return 0;
}

/* Name of field i of a row; Trino calls the nameless ones field0, field1, ... */
static const char *field_name(const struct column *c, uint32_t i, char scratch[24])
{
    if (c->children[i].name && *c->children[i].name)
        return c->children[i].name;
    memcpy(scratch, "field", 5);
    *digits_u64(scratch + 5, i) = 0;
    return scratch;
}

static int text_or_null(const struct text_rule *rule, const struct window_column *c, uint64_t row,
                        struct buf *out)
{
    return window_is_null(c, row) ? buf_add(out, "null", 4) : value__text(rule, c, row, out);
}

static int nested_text(const struct text_rule *rule, const struct window_column *c, uint64_t row,
                       struct buf *out)
{
    enum phys t = c->column->phys;
    int rc = buf_char(out, t == PHYS_LIST ? '[' : '{');
    if (t == PHYS_STRUCT) {
        char scratch[24];
        for (uint32_t i = 0; !rc && i < c->column->nchildren; i++) {
            if (i)
                rc = buf_add(out, ", ", 2);
            if (!rc)
                rc = buf_str_add(out, field_name(c->column, i, scratch));
            if (!rc)
                rc = buf_char(out, '=');
            if (!rc)
                rc = text_or_null(rule, &c->children[i], row, out);
        }
    } else {
        int64_t from = (int64_t)c->offsets[row] - c->offset_base,
                to = (int64_t)c->offsets[row + 1] - c->offset_base;
        for (int64_t i = from; !rc && i < to; i++) {
            const struct window_column *k = &c->children[0];
            if (i > from)
                rc = buf_add(out, ", ", 2);
            if (!rc && t == PHYS_MAP) {
                rc = text_or_null(rule, &k->children[0], (uint64_t)i, out);
                if (!rc)
                    rc = buf_char(out, '=');
                k = &k->children[1];
            }
            if (!rc)
                rc = text_or_null(rule, k, (uint64_t)i, out);
        }
    }
    return rc ? rc : buf_char(out, t == PHYS_LIST ? ']' : '}');
}

/* "YYYY-MM-DD HH:MM:SS[.n]" as the rule writes a TIMESTAMP: its gap, three digits at most, its zone; other texts
 * ("infinity") as they are. */
static int cut_ns_text(const struct text_rule *rule, const char *s, size_t n, struct buf *out)
{
    if (n < 19 || s[10] != ' ')
        return buf_add(out, s, n);
    char text[24] = "....-..-.. ..:..:...000";
    size_t len = 23;
    memcpy(text, s, 19);
    text[10] = rule->date_time_gap;
    for (size_t i = 20; i < n && i < 23; i++)
        text[i] = s[i];
    while (rule->stamp == FRACTION_3_TRIMMED && len > 19 && (text[len - 1] == '0' || len == 20))
        len--;
    int rc = buf_add(out, text, len);
    return rc || !rule->zone_always ? rc : buf_add(out, rule->zone, strlen(rule->zone));
}

int value__text(const struct text_rule *rule, const struct window_column *c, uint64_t row, struct buf *out)
{
    size_t n;
    const char *s;
    switch (c->column->phys) {
    case PHYS_UTF8:
        s = value__bytes(c, row, &n);
        if (rule->cut_ns && c->column->sql == SQLT_TIMESTAMP_NS)
            return cut_ns_text(rule, s, n, out);
        return buf_add(out, s, n);
    case PHYS_BINARY:
        s = value__bytes(c, row, &n);
        return bytes_text(rule->bytes, s, n, out);
    case PHYS_LIST:
    case PHYS_STRUCT:
    case PHYS_MAP:
        return rule->nested_json ? value__json(rule, c, row, out) : nested_text(rule, c, row, out);
    default:
        return fixed_text(rule, false, c, row, out);
    }
}

/* ---- JSON ---- */

int value__escape_tail(struct buf *out, size_t from)
{
    static const char hex[] = "0123456789abcdef";
    size_t more = 0;
    for (size_t i = from; i < out->len; i++) {
        uint8_t c = (uint8_t)out->p[i];
        if (c == '"' || c == '\\' || c == '\n' || c == '\r' || c == '\t' || c == '\b' || c == '\f')
            more += 1;
        else if (c < 0x20)
            more += 5;
    }
    if (!more)
        return 0;
    int rc = buf_reserve(out, more);
    if (rc)
        return rc;
    char *src = out->p + out->len, *dst = src + more; /* from behind, until nothing is left to move */
    out->len += more;
    while (dst != src) {
        char c = *--src;
        if ((uint8_t)c >= 0x20) {
            *--dst = c;
            if (c == '"' || c == '\\')
                *--dst = '\\';
            continue;
        }
        char letter = c == '\n'   ? 'n'
                      : c == '\r' ? 'r'
                      : c == '\t' ? 't'
                      : c == '\b' ? 'b'
                      : c == '\f' ? 'f'
                                  : 0;
        if (letter) {
            *--dst = letter;
            *--dst = '\\';
        } else {
            dst -= 6;
            memcpy(dst, "\\u00", 4);
            dst[4] = hex[(uint8_t)c >> 4];
            dst[5] = hex[(uint8_t)c & 15];
        }
    }
    return 0;
}

bool value__numeric_text(const struct text_rule *rule, const struct column *c)
{
    if (c->phys != PHYS_UTF8 || rule->all_strings || rule->decimal_string || rule->wide_string)
        return false;
    return (c->sql >= SQLT_TINYINT && c->sql <= SQLT_DECIMAL) || c->sql == SQLT_BIGNUM;
}

static int string_json(const struct text_rule *rule, const struct window_column *c, uint64_t row,
                       struct buf *out)
{
    size_t n;
    const char *s = value__bytes(c, row, &n);
    if (value__numeric_text(rule, c->column) && value__json_number(s, n))
        return buf_add(out, s, n);
    if (c->column->sql == SQLT_JSON && rule->embed_json && value__json_valid(s, n)) {
        size_t at = out->len;
        int rc = buf_add(out, s, n);
        for (size_t i = at; !rc && i < out->len; i++) /* outside of strings: inside them they are escaped */
            if (out->p[i] == '\n' || out->p[i] == '\r' || out->p[i] == '\t')
                out->p[i] = ' ';
        return rc;
    }
    int rc = buf_char(out, '"');
    if (!rc)
        rc = json_escape(out, s, n);
    return rc ? rc : buf_char(out, '"');
}

/* The bare text as a JSON string. */
static int text_string(const struct text_rule *rule, const struct window_column *c, uint64_t row,
                       struct buf *out)
{
    int rc = buf_char(out, '"');
    size_t from = out->len;
    if (!rc)
        rc = text_or_null(rule, c, row, out);
    if (!rc)
        rc = value__escape_tail(out, from);
    return rc ? rc : buf_char(out, '"');
}

static int json_or_null(const struct text_rule *rule, const struct window_column *c, uint64_t row,
                        struct buf *out)
{
    return window_is_null(c, row) ? buf_add(out, "null", 4) : value__json(rule, c, row, out);
}

static int struct_json(const struct text_rule *rule, const struct window_column *c, uint64_t row,
                       struct buf *out)
{
    char scratch[24];
    int rc = buf_char(out, rule->row_array ? '[' : '{');
    for (uint32_t i = 0; !rc && i < c->column->nchildren; i++) {
        if (i)
            rc = buf_char(out, ',');
        if (!rc && !rule->row_array) {
            const char *name = field_name(c->column, i, scratch);
            rc = buf_char(out, '"');
            if (!rc)
                rc = json_escape(out, name, strlen(name));
            if (!rc)
                rc = buf_add(out, "\":", 2);
        }
        if (!rc)
            rc = json_or_null(rule, &c->children[i], row, out);
    }
    return rc ? rc : buf_char(out, rule->row_array ? ']' : '}');
}

static int list_json(const struct text_rule *rule, const struct window_column *c, uint64_t row,
                     struct buf *out)
{
    bool map = c->column->phys == PHYS_MAP;
    int64_t from = (int64_t)c->offsets[row] - c->offset_base,
            to = (int64_t)c->offsets[row + 1] - c->offset_base;
    int rc = buf_char(out, map ? '{' : '[');
    for (int64_t i = from; !rc && i < to; i++) {
        const struct window_column *k = &c->children[0];
        if (i > from)
            rc = buf_char(out, ',');
        if (!rc && map) {
            rc = text_string(rule, &k->children[0], (uint64_t)i, out);
            if (!rc)
                rc = buf_char(out, ':');
            k = &k->children[1];
        }
        if (!rc)
            rc = json_or_null(rule, k, (uint64_t)i, out);
    }
    return rc ? rc : buf_char(out, map ? '}' : ']');
}

int value__json(const struct text_rule *rule, const struct window_column *c, uint64_t row, struct buf *out)
{
    if (rule->all_strings)
        return text_string(rule, c, row, out);
    switch (c->column->phys) {
    case PHYS_UTF8:
        if (rule->cut_ns && c->column->sql == SQLT_TIMESTAMP_NS)
            return text_string(rule, c, row, out);
        return string_json(rule, c, row, out);
    case PHYS_BINARY:
        return text_string(rule, c, row, out);
    case PHYS_LIST:
    case PHYS_MAP:
        return list_json(rule, c, row, out);
    case PHYS_STRUCT:
        return struct_json(rule, c, row, out);
    default:
        return fixed_text(rule, true, c, row, out);
    }
}

/* ---- what others call ---- */

int value_text(enum text_profile p, const struct window_column *c, uint64_t row, struct buf *out)
{
    return value__text(&value__text_rules[p], c, row, out);
}

int value_text_in(enum text_profile p, const struct zone *z, const struct window_column *c, uint64_t row,
                  struct buf *out)
{
    struct text_rule rule = value__text_rules[p];
    rule.place = z;
    return value__text(&rule, c, row, out);
}

int value_json(enum text_profile p, const struct window_column *c, uint64_t row, struct buf *out)
{
    return json_or_null(&value__json_rules[p], c, row, out);
}

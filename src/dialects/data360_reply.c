/*
 * data360_reply: what answers of the Data 360 Query v3 dialect are made of: Accept negotiation (specs 1.0),
 * chunk numbering, metadata (2.1) and the status object (1.2, 1.3). Pure except for
 * the functions that answer a request; any thread.
 */
#include "dialects/data360_int.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/config.h"

/* ---- negotiation ---- */

static bool same(struct slice s, const char *word)
{
    return strlen(word) == s.n && strncasecmp(s.p, word, s.n) == 0;
}

static struct slice trim(const char *p, size_t n)
{
    while (n && (*p == ' ' || *p == '\t'))
        p++, n--;
    while (n && (p[n - 1] == ' ' || p[n - 1] == '\t'))
        n--;
    return (struct slice){p, n};
}

/* "0.5" in thousandths; a malformed weight counts as 1. */
static int weight(struct slice s)
{
    int v = 0, scale = 1000;
    if (!s.n || s.p[0] < '0' || s.p[0] > '1')
        return 1000;
    v = (s.p[0] - '0') * 1000;
    for (size_t i = 2; i < s.n && s.p[1] == '.' && scale > 1; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return 1000;
        scale /= 10;
        v += (s.p[i] - '0') * scale;
    }
    return v > 1000 ? 1000 : v;
}

struct wish {
    int q, specific, order;
    bool set;
};

/* The most specific range that covers a type decides its weight (RFC 9110, 12.5.1). */
static void wish_for(struct wish *w, int q, int specific, int order)
{
    if (!w->set || specific > w->specific)
        *w = (struct wish){q, specific, order, true};
}

enum d360_format data360__accept(const char *header)
{
    struct wish json = {0}, arrow = {0};
    int order = 0, ranges = 0;
    for (const char *p = header ? header : ""; *p; order++) {
        size_t n = strcspn(p, ",");
        size_t type_n = 0;
        while (type_n < n && p[type_n] != ';')
            type_n++;
        struct slice type = trim(p, type_n);
        int q = 1000;
        for (size_t at = type_n; at < n;) {
            at++;
            size_t len = 0;
            while (at + len < n && p[at + len] != ';')
                len++;
            struct slice param = trim(p + at, len);
            if (param.n >= 2 && (param.p[0] | 0x20) == 'q' && param.p[1] == '=')
                q = weight((struct slice){param.p + 2, param.n - 2});
            at += len;
        }
        ranges += type.n > 0;
        if (same(type, "*/*")) {
            wish_for(&json, q, 1, order);
            wish_for(&arrow, q, 1, order);
        } else if (same(type, "application/*")) {
            wish_for(&json, q, 2, order);
            wish_for(&arrow, q, 2, order);
        } else if (same(type, "application/json")) {
            wish_for(&json, q, 3, order);
        } else if (same(type, D360_ARROW)) {
            wish_for(&arrow, q, 3, order);
        }
        p += n + (p[n] == ',');
    }
    if (!ranges)
        return D360_JSON;
    if (json.q == 0 && arrow.q == 0)
        return D360_NONE;
    if (json.q != arrow.q)
        return json.q > arrow.q ? D360_JSON : D360_ARROW_STREAM;
    if (json.specific != arrow.specific)
        return json.specific > arrow.specific ? D360_JSON : D360_ARROW_STREAM;
    return arrow.order < json.order ? D360_ARROW_STREAM : D360_JSON;
}

enum d360_format data360__content_type(const char *header)
{
    struct slice type = trim(header ? header : "", header ? strcspn(header, ";") : 0);
    if (!type.n || same(type, "application/json"))
        return D360_JSON;
    return same(type, D360_ARROW) ? D360_ARROW_STREAM : D360_NONE;
}

/* ---- chunk numbering ---- */

enum d360_layout data360__layout(const struct query_view *v)
{
    if (v->dialect != DIALECT_DATA360)
        return D360_ROWS;
    if (v->note == D360_ROWS || v->note == D360_EMPTY)
        return (enum d360_layout)v->note;
    /* no note: the submit was ADAPTIVE and answered with the complete result, or it must have chunks of rows
     * from the first one on */
    return v->request && strstr(v->request, "\"inline\":true") ? D360_INLINE : D360_ROWS;
}

uint64_t data360__inline_batches(const struct segment *s)
{
    uint64_t n = segment_nbatches(s), bytes = 0, k = 0;
    for (; k < n; k++) {
        uint64_t off, len;
        segment_batch_range(s, k, &off, &len);
        if (k && bytes + len > D360_BYTES_MAX)
            break;
        bytes += len;
    }
    return k;
}

uint64_t data360__chunk_count(enum d360_layout l, uint64_t batches, uint64_t inline_batches, bool complete)
{
    if (l == D360_ROWS)
        return batches;
    if (l == D360_EMPTY)
        return batches + 1;
    return complete ? batches - inline_batches + 1 : 0; /* INLINE: not closed before the end */
}

void data360__chunk(enum d360_layout l, uint64_t chunk, uint64_t inline_batches, uint64_t *ret_first,
                    uint64_t *ret_n)
{
    *ret_n = 1;
    if (l == D360_ROWS) {
        *ret_first = chunk;
    } else if (l == D360_EMPTY) {
        *ret_first = chunk ? chunk - 1 : 0;
        *ret_n = chunk ? 1 : 0;
    } else if (chunk) {
        *ret_first = inline_batches + chunk - 1;
    } else {
        *ret_first = 0;
        *ret_n = inline_batches;
    }
}

/* ---- metadata ---- */

const char *data360__type_name(const struct column *c)
{
    switch (c->sql) {
    case SQLT_BOOLEAN:
        return "bool";
    case SQLT_TINYINT:
    case SQLT_UTINYINT:
    case SQLT_SMALLINT:
        return "smallint";
    case SQLT_USMALLINT:
    case SQLT_INTEGER:
        return "integer";
    case SQLT_UINTEGER:
    case SQLT_BIGINT:
        return "bigint";
    case SQLT_HUGEINT:
    case SQLT_UBIGINT:
    case SQLT_DECIMAL:
        return c->phys == PHYS_DECIMAL ? "numeric" : "varchar";
    case SQLT_FLOAT:
        return "float4";
    case SQLT_DOUBLE:
        return "float8";
    case SQLT_BLOB:
        return "bytea";
    case SQLT_DATE:
        return "date";
    case SQLT_TIME:
        return "time";
    case SQLT_TIMESTAMP_S:
    case SQLT_TIMESTAMP_MS:
    case SQLT_TIMESTAMP:
        return "timestamp";
    case SQLT_TIMESTAMPTZ:
        return "timestamptz";
    case SQLT_INTERVAL:
        return "interval";
    case SQLT_JSON:
        return "json";
    case SQLT_LIST:
    case SQLT_ARRAY:
        return "array";
    case SQLT_STRUCT:
    case SQLT_MAP:
        return "json"; /* the product has no such types; cells are JSON objects */
    default:
        return "varchar";
    }
}

static void write_column(struct json_write *w, const struct column *c, bool named, int depth)
{
    const char *type = data360__type_name(c);
    json_object_begin(w);
    if (named)
        json_kstr(w, "name", c->name);
    json_kstr(w, "type", type);
    json_kbool(w, "nullable", c->nullable);
    if (strcmp(type, "numeric") == 0) { /* both, always and only here */
        json_ki64(w, "precision", c->precision);
        json_ki64(w, "scale", c->scale);
    }
    if ((c->sql == SQLT_LIST || c->sql == SQLT_ARRAY) && c->nchildren && depth < SCHEMA_DEPTH_MAX) {
        json_key(w, "innerElement");
        write_column(w, &c->children[0], false, depth + 1);
    }
    json_object_end(w);
}

void data360__metadata(struct json_write *w, const struct schema *s)
{
    json_object_begin(w);
    json_key(w, "columns");
    json_array_begin(w);
    for (uint32_t i = 0; s && i < s->ncolumns; i++)
        write_column(w, &s->columns[i], true, 0);
    json_array_end(w);
    json_object_end(w);
}

int data360__arrow_schema(const struct schema *s, struct buf *out, struct err *e)
{
    static const struct schema none;
    return arrow_schema_message(s ? s : &none, ARROW_DATA360, out, e);
}

/* ---- status ---- */

void data360__status(struct json_write *w, const struct query_view *v, uint64_t chunks)
{
    char id[ID_TEXT_MAX], time[40];
    bool running = !query_state_ended(v->state);
    json_object_begin(w);
    json_kstr(w, "queryId", id_uuid(&v->id, id));
    json_kstr(w, "completionStatus",
              running ? config_word("data360.running_word", config.data360_running_word) : "FINISHED");
    json_key(w, "chunkCount");
    json_u64(w, chunks);
    json_key(w, "rowCount");
    json_u64(w, v->rows);
    json_key(w, "progress");
    if (running) /* exactly 1.0 only when it ended */
        json_double(w, v->progress > 0.99 ? 0.99 : v->progress > 0 ? v->progress : 0.0);
    else
        json_raw(w, "1.0", 3);
    if (v->expires_ms)
        json_kstr(w, "expirationTime", clock_iso_ms(v->expires_ms, time, sizeof time));
    else
        json_kstr(w, "expirationTime", NULL);
    json_key(w, "executionStats");
    json_object_begin(w);
    json_key(w, "wallClockTime"); /* seconds */
    json_double(w, (double)v->elapsed_ns / 1e9);
    json_key(w, "rowsProcessed");
    json_u64(w, v->rows_scanned);
    json_object_end(w);
    json_object_end(w);
}

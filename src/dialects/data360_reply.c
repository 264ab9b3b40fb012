/*
 * data360_reply: what answers of the Data 360 Query v3 dialect are made of: Accept negotiation (specs 1.0),
 * chunk numbering, metadata (2.1), the status object (1.2, 1.3) and the error envelope (3.2). Pure except for
 * the functions that answer a request; any thread.
 */
#include "dialects/data360_int.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/sys.h"
#include "base/utf8.h"

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

/* ---- errors ---- */

int data360__caret(const char *sql, size_t n, int64_t position, struct buf *out)
{
    enum { BEFORE = 100, AFTER = 60 }; /* code points shown of a long line */
    size_t at = 0, line_start = 0;
    int64_t line = 1, column = 0; /* column: code points since line_start */
    for (int64_t i = 0; i < position && at < n; i++) {
        uint32_t cp = 0;
        int len = utf8_next(sql + at, n - at, &cp);
        at += (size_t)(len < 0 ? -len : len);
        column++;
        if (cp == '\n' && len == 1) {
            line++;
            line_start = at;
            column = 0;
        }
    }
    size_t from = line_start;
    int64_t skipped = 0;
    while (column - skipped > BEFORE) {
        uint32_t cp = 0;
        int len = utf8_next(sql + from, n - from, &cp);
        from += (size_t)(len < 0 ? -len : len);
        skipped++;
    }
    size_t end = at;
    for (int i = 0; i < AFTER && end < n && sql[end] != '\n' && sql[end] != '\r'; i++) {
        uint32_t cp = 0;
        int len = utf8_next(sql + end, n - end, &cp);
        end += (size_t)(len < 0 ? -len : len);
    }
    size_t begin = out->len;
    int r = buf_printf(out, "\nline %lld, column %lld: ", (long long)line, (long long)column + 1);
    if (r)
        return r;
    int64_t indent = (int64_t)(out->len - begin) - 1 + column - skipped;
    r = buf_add(out, sql + from, end - from);
    if (!r)
        r = buf_char(out, '\n');
    for (int64_t i = 0; !r && i < indent; i++)
        r = buf_char(out, ' ');
    return r ? r : buf_char(out, '^');
}

static const char *state_of_status(int status)
{
    switch (status) {
    case 401:
        return "28000";
    case 403:
        return "42501";
    case 404:
        return "42704";
    case 405:
    case 406:
    case 415:
        return "0A000";
    case 408:
        return "57014";
    case 413:
        return "54000";
    case 429:
        return "53300";
    case 503:
        return "57P03";
    default:
        return status >= 500 ? "XX000" : "22023";
    }
}

static const char *word_of_status(int status)
{
    switch (status) {
    case 401:
        return "INVALID_SESSION_ID"; /* what clients take for "log in again" */
    case 403:
        return "FORBIDDEN";
    case 404:
        return "NOT_FOUND";
    case 405:
        return "METHOD_NOT_ALLOWED";
    case 406:
        return "NOT_ACCEPTABLE";
    case 408:
        return "TIME_OUT";
    case 409:
        return "CONFLICT";
    case 413:
        return "PAYLOAD_TOO_LARGE";
    case 415:
        return "UNSUPPORTED_MEDIA_TYPE";
    case 429:
        return "TOO_MANY_REQUESTS";
    case 503:
        return "SERVICE_UNAVAILABLE";
    default:
        return status >= 500 ? "INTERNAL_ERROR" : "BAD_REQUEST";
    }
}

struct fault { /* an error in this dialect's terms */
    int status;
    bool user;
    const struct err *e;
    const struct qid *query; /* NULL none */
    const char *sql;         /* NULL none: then no customerDetail */
    size_t sql_len;
    int64_t position, end; /* in sql */
};

/* The engine's advice stands in further lines of its text: *ret_n is the length without it. */
static const char *advice(const char *text, size_t *ret_n)
{
    static const char *const begins[] = {"\nDid you mean", "\nCandidate bindings", "\n\tCandidate functions"};
    const char *found = NULL;
    for (size_t i = 0; i < sizeof begins / sizeof *begins && !found; i++)
        found = strstr(text, begins[i]);
    *ret_n = found ? (size_t)(found - text) : strlen(text);
    while (found && (*found == '\n' || *found == '\t'))
        found++;
    return found;
}

/* End of the word, name or number that begins at a code point of sql; of anything else the next place. */
static int64_t token_end(const char *sql, size_t n, int64_t position)
{
    size_t at = 0;
    int64_t k = 0;
    uint32_t cp = 0, quote = 0;
    for (; at < n && k <= position; k++) {
        int len = utf8_next(sql + at, n - at, &cp);
        at += (size_t)(len < 0 ? -len : len);
    }
    if (cp == '"' || cp == '\'')
        quote = cp;
    else if (k <= position || !(cp == '_' || cp >= 0x80 || (cp < 0x80 && isalnum((int)cp))))
        return position + 1;
    while (at < n) {
        int len = utf8_next(sql + at, n - at, &cp);
        if (!quote && !(cp == '_' || cp >= 0x80 || isalnum((int)cp)))
            break;
        at += (size_t)(len < 0 ? -len : len);
        k++;
        if (quote && cp == quote)
            break;
    }
    return k;
}

/* The envelope of specs 3.2: what all known clients read, nulls left out, offsets as strings. */
static void write_fault(struct request *rq, const struct fault *f)
{
    char time[40], id[ID_TEXT_MAX];
    const char *state = f->e && strlen(f->e->sqlstate) == 5 ? f->e->sqlstate : state_of_status(f->status);
    const char *text = f->e && f->e->text[0] ? f->e->text : "the request could not be answered";
    bool syntax = strcmp(state, "42601") == 0 && f->sql;
    int64_t position = f->position < 0 && syntax ? 0 : f->position;
    struct json_write w = reply_json(rq, f->status);
    json_object_begin(&w);
    json_kstr(&w, "timestamp", clock_iso_ms(sys_wall_ms(), time, sizeof time));
    json_kstr(&w, "error", state);
    json_kstr(&w, "errorCode", word_of_status(f->status));
    json_kstr(&w, "message", text);
    json_kstr(&w, "path", rq->path ? rq->path : "");
    json_key(&w, "details");
    json_object_begin(&w);
    json_kstr(&w, "sqlState", state);
    size_t primary;
    const char *hint = advice(text, &primary);
    json_key(&w, "primaryMessage");
    json_strn(&w, text, primary);
    if (f->sql && position >= 0) {
        CLEANUP_BUF struct buf detail = BUF_INIT(4096);
        if (!data360__caret(f->sql, f->sql_len, position, &detail)) {
            json_key(&w, "customerDetail");
            json_strn(&w, detail.p, detail.len);
        }
    }
    if (f->e && f->e->hint[0])
        hint = f->e->hint;
    if (hint)
        json_kstr(&w, "customerHint", hint);
    json_kstr(&w, "errorSource", f->user ? "User" : "System");
    if (position > 0 || (position == 0 && syntax)) {
        int64_t end = f->end > position ? f->end
                      : f->sql          ? token_end(f->sql, f->sql_len, position)
                                        : position + 1;
        json_key(&w, "position");
        json_object_begin(&w);
        json_kstr(&w, "errorBeginCharacterOffset", arena_printf(rq->arena, "%lld", (long long)position));
        json_kstr(&w, "errorEndCharacterOffset", arena_printf(rq->arena, "%lld", (long long)end));
        json_object_end(&w);
    }
    if (f->query)
        json_kstr(&w, "queryId", id_uuid(f->query, id));
    json_object_end(&w);
    json_object_end(&w);
}

void data360__write_error(struct request *rq, int status, const struct err *e)
{
    struct fault f = {.status = status, .user = status < 500, .e = e, .position = -1, .end = -1};
    if (e && e->position >= 0 &&
        strcmp(e->sqlstate, "42601") == 0) { /* a place in the SQL of this request's body */
        struct json_doc *doc = NULL;
        size_t n = 0;
        const char *sql = json_parse(rq->body ? rq->body : "", rq->body_len, &doc, NULL)
                              ? NULL
                              : json_string(json_get(json_root(doc), "sql"), &n);
        f.sql = sql ? arena_strndup(rq->arena, sql, n) : NULL;
        f.sql_len = n;
        f.position = e->position;
        f.end = e->position_end;
        json_doc_free(doc);
    }
    write_fault(rq, &f);
}

int data360__error_status(const struct query_view *v, bool *ret_user)
{
    const char *s = v->error.sqlstate;
    *ret_user = true;
    if (v->state == QUERY_CANCELED || strcmp(s, "57014") == 0)
        return 408;
    switch (v->ending) {
    case END_SQL_ERROR:
    case END_REFUSED:
        /* a user's error is never 5xx: the product's client would run it again, three times */
        if (strncmp(s, "XX", 2) != 0 && strncmp(s, "58", 2) != 0)
            return 400;
        break;
    case END_MEMORY:
    case END_RESULT_LIMIT:
        return 400;
    case END_RUN_TIMEOUT:
    case END_PLAN_TIMEOUT:
    case END_CATALOG_WAIT: /* it did nothing: asking again is right, but not at once and by itself as after a 5xx */
        return 408;
    default:
        break;
    }
    *ret_user = false;
    return 500;
}

static int style_of(const char *request)
{
    return !request                         ? D360_DOLLAR
           : strstr(request, "\"style\":0") ? D360_QMARK
           : strstr(request, "\"style\":1") ? D360_NAMED
                                            : D360_DOLLAR;
}

/* Names of a NAMED submit, as the request memory keeps them. */
static const char **names_of(struct arena *a, const char *request, uint32_t *ret_n)
{
    struct json_doc *doc = NULL;
    *ret_n = 0;
    if (!request || json_parse(request, strlen(request), &doc, NULL))
        return NULL;
    json_value names = json_get(json_root(doc), "names");
    size_t n = json_size(names);
    const char **out = arena_alloc(a, (n + 1) * sizeof *out);
    for (size_t i = 0; out && i < n; i++) {
        const char *s = json_string(json_at(names, i), NULL);
        out[i] = arena_strdup(a, s ? s : "");
        if (!out[i])
            out = NULL;
    }
    *ret_n = out ? (uint32_t)n : 0;
    json_doc_free(doc);
    return out;
}

/* A 0-based offset from line and column, for errors that have only those. */
static int64_t position_of(const char *sql, size_t n, int32_t line, int32_t column)
{
    int64_t position = 0;
    int32_t l = 1;
    size_t at = 0;
    while (at < n && l < line) {
        uint32_t cp = 0;
        int len = utf8_next(sql + at, n - at, &cp);
        at += (size_t)(len < 0 ? -len : len);
        position++;
        l += len == 1 && cp == '\n';
    }
    return position + (column > 0 ? column - 1 : 0);
}

enum handled data360__fail_query(struct request *rq, const struct query_view *v)
{
    struct err e = v->error;
    if (v->state == QUERY_CANCELED && !e.text[0])
        err_set(&e, ERR_CANCELED, "57014", "canceled by user");
    struct fault f = {.e = &e, .query = &v->id, .position = e.position, .end = e.position_end};
    f.status = data360__error_status(v, &f.user);
    if (!e.sqlstate[0])
        memcpy(e.sqlstate, f.status == 408 ? "57014" : f.status == 400 ? "42000" : "XX000", 6);
    if (f.position < 0 && e.line > 0)
        f.position = position_of(v->sql, v->sql_len, e.line, e.column);
    if (f.position >= 0 || strcmp(e.sqlstate, "42601") == 0) {
        f.sql = v->sql;
        f.sql_len = v->sql_len;
        if (v->dialect == DIALECT_DATA360) { /* positions must fit the text as it was sent */
            uint32_t n = 0;
            enum d360_style style = (enum d360_style)style_of(v->request);
            const char *const *names = style == D360_NAMED ? names_of(rq->arena, v->request, &n) : NULL;
            const char *sql;
            size_t len;
            if (!data360__restore(rq->arena, style, names, n, v->sql, v->sql_len, &f.position, &f.end, &sql,
                                  &len)) {
                f.sql = sql;
                f.sql_len = len;
            }
        }
    }
    write_fault(rq, &f);
    return REPLY_READY;
}

bool data360__ended_badly(struct request *rq, const struct query_view *v, enum handled *ret)
{
    struct err e;
    char id[ID_TEXT_MAX];
    bool canceled = v->state == QUERY_CANCELED;
    /* Deleted while it ran, and the cancel that goes with it is not durable yet: answered as it will be. */
    bool ending = v->gone_ms && !query_state_ended(v->state);
    if (ending || (canceled && sys_wall_ms() - v->ended_ms < D360_GRACE_MS)) {
        struct query_view as = *v;
        as.state = QUERY_CANCELED;
        *ret = data360__fail_query(rq, &as);
        return true;
    }
    if (canceled || v->gone_ms) {
        err_set(&e, ERR_NOTFOUND, "42704", "query %s not found or expired", id_uuid(&v->id, id));
        *ret = reply_error(rq, 404, &e);
        return true;
    }
    if (v->state == QUERY_FAILED) {
        *ret = data360__fail_query(rq, v);
        return true;
    }
    return false;
}

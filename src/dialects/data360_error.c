/*
 * data360_error: the error envelope of the Data 360 Query v3 dialect (specs 3.2): of a request, and of a query that failed,
 * in terms of the text that was sent. Any thread that owns the request.
 */
#include "dialects/data360_int.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "base/utf8.h"

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
    const char *word = reply_word(status);
    switch (status) {
    case 401:
        return "INVALID_SESSION_ID"; /* what clients take for "log in again" */
    case 406:
        return "NOT_ACCEPTABLE";
    case 408:
        return "TIME_OUT";
    default:
        return word ? word : status >= 500 ? "INTERNAL_ERROR" : "BAD_REQUEST";
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

/* The engine's message names placeholders as it got them ("$1"): in the spelling that was sent. */
static void sent_spelling(char text[ERR_TEXT_MAX], enum d360_style style, const char *const *names,
                          uint32_t n)
{
    CLEANUP_BUF struct buf b = BUF_INIT(4 * ERR_TEXT_MAX);
    size_t at = 0, len = strlen(text);
    for (size_t i = 0; i + 3 < len; i++) {
        size_t digits = strspn(text + i + 2, "0123456789");
        if (memcmp(text + i, "\"$", 2) != 0 || !digits || digits > 5 || text[i + 2 + digits] != '"')
            continue;
        unsigned long k = strtoul(text + i + 2, NULL, 10);
        int r = buf_add(&b, text + at, i + 1 - at);
        if (!r && style == D360_QMARK)
            r = buf_char(&b, '?');
        else if (!r && k >= 1 && k <= n)
            r = buf_printf(&b, ":%s", names[k - 1]);
        else if (!r)
            r = buf_add(&b, text + i + 1, 1 + digits);
        if (r)
            return;
        i = at = i + 2 + digits;
    }
    if (!at || buf_str_add(&b, text + at))
        return;
    size_t fits = b.len < ERR_TEXT_MAX ? b.len : utf8_cut(b.p, b.len, ERR_TEXT_MAX - 1);
    memcpy(text, b.p, fits);
    text[fits] = 0;
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
    bool own = v->dialect == DIALECT_DATA360; /* places and spellings must fit the text as it was sent */
    uint32_t n = 0;
    enum d360_style style = own ? (enum d360_style)style_of(v->request) : D360_DOLLAR;
    const char *const *names = style == D360_NAMED ? names_of(rq->arena, v->request, &n) : NULL;
    if (style != D360_DOLLAR)
        sent_spelling(e.text, style, names, n);
    if (f.position >= 0 || strcmp(e.sqlstate, "42601") == 0) {
        f.sql = v->sql;
        f.sql_len = v->sql_len;
        const char *sql;
        size_t len;
        if (own && !data360__restore(rq->arena, style, names, n, v->sql, v->sql_len, &f.position, &f.end,
                                     &sql, &len)) {
            f.sql = sql;
            f.sql_len = len;
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

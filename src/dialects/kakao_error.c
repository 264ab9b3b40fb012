/*
 * kakao_error: why a query FAILED, in Trino's words (specs section 8, Error names).
 *
 * Without X-Data-Source a name needs all its parts (source page: "you must prefix the table names"). The
 * engine only says that it does not know the rest of such a name; here it becomes what Trino says:
 * MISSING_SCHEMA_NAME for one part, MISSING_CATALOG_NAME for two, or when X-Database names a schema of no
 * catalog. Pure; any thread.
 */
#include "dialects/kakao_int.h"
#include "dialects/sql_scan.h"
#include "dialects/trino.h"

#include <string.h>
#include <strings.h>

#include "base/utf8.h"

#define NO_CATALOG "Catalog must be specified when session catalog is not set"
#define NO_SCHEMA  "Schema must be specified when session schema is not set"

struct dotted { /* a name as it stands in a statement */
    size_t at;  /* byte */
    unsigned parts;
    struct sql_piece last;
};

/* Reads on until a name begins; false at the end. `*next` is the token behind it. */
static bool next_name(struct sql_scan *s, struct sql_piece *next, struct dotted *ret)
{
    while (next->token != SQL_END && next->token != SQL_WORD && next->token != SQL_QUOTED)
        *next = sql_scan_next(s);
    if (next->token == SQL_END)
        return false;
    *ret = (struct dotted){next->at, 0, *next};
    for (bool more = true; more;) {
        ret->parts++;
        ret->last = *next;
        *next = sql_scan_next(s);
        more = next->token == SQL_OTHER && s->p[next->at] == '.';
        if (more)
            *next = sql_scan_next(s);
        more = more && (next->token == SQL_WORD || next->token == SQL_QUOTED);
    }
    return true;
}

static bool called(const struct sql_scan *s, struct sql_piece t, const char *name, size_t n)
{
    bool quoted = t.token == SQL_QUOTED && t.n >= 2;
    return t.n - (quoted ? 2 : 0) == n && strncasecmp(s->p + t.at + quoted, name, n) == 0;
}

/* "Table with name NAME does not exist!" */
static const char *table_of(const char *text, size_t *ret_n)
{
    static const char before[] = "Table with name ";
    const char *end = strstr(text, " does not exist!");
    if (strncmp(text, before, sizeof before - 1) != 0 || !end)
        return NULL;
    text += sizeof before - 1;
    *ret_n = (size_t)(end - text);
    return text;
}

/* Parts of the name that the error is about: the one at its place; else those that end in the unknown name; else what is made. 0: cannot be told. */
static unsigned parts_named(const struct query_view *v, bool *ret_schema)
{
    struct sql_scan s;
    sql_scan_init(&s, v->sql, v->sql_len);
    struct sql_piece next = sql_scan_next(&s);
    size_t n = 0;
    const char *table = table_of(v->error.text, &n);
    bool makes = false;
    unsigned most = 0;
    for (struct dotted name; next_name(&s, &next, &name);) {
        if (v->error.position >= 0) {
            if ((int64_t)utf8_length(v->sql, name.at) == v->error.position)
                return name.parts;
        } else if (table) {
            if (called(&s, name.last, table, n) && name.parts > most)
                most = name.parts;
        } else if (makes && !sql_piece_is(&s, name.last, "if") && !sql_piece_is(&s, name.last, "not") &&
                   !sql_piece_is(&s, name.last, "exists")) {
            return name.parts;
        } else if (!makes) {
            *ret_schema = sql_piece_is(&s, name.last, "schema");
            makes =
                *ret_schema || sql_piece_is(&s, name.last, "table") || sql_piece_is(&s, name.last, "view");
        }
    }
    return most;
}

static const char *missing(const struct query_view *v)
{
    const char *state = v->error.sqlstate;
    bool unknown = strncmp(v->error.text, "Table with name ", 16) == 0 &&
                   (strcmp(state, "42P01") == 0 || strcmp(state, "3F000") == 0);
    bool schema = false;
    bool elsewhere = strcmp(state, "42501") == 0 && strstr(v->error.text, "of data_catalog may be changed");
    if ((v->default_source && *v->default_source) || !(unknown || elsewhere))
        return NULL;
    unsigned parts = parts_named(v, &schema) + schema;
    if (parts == 1)
        return v->default_database && *v->default_database ? NO_CATALOG : NO_SCHEMA;
    return parts == 2 ? NO_CATALOG : NULL;
}

void kakao__write_query_error(struct json_write *w, struct arena *a, const struct query_view *v)
{
    struct query_view as = *v;
    const char *text = missing(v);
    if (text) {
        err_set(&as.error, v->error.code, text[0] == 'C' ? "3DM00" : "3FM00", "%s", text);
        as.error.line = v->error.line;
        as.error.column = v->error.column;
    }
    const struct trino_error *t = trino_error_of(as.error.sqlstate, v->ending);
    json_key(w, "error");
    json_object_begin(w);
    json_ki64(w, "code", t->number);
    json_kstr(w, "name", t->name);
    json_kstr(w, "type", t->type);
    json_kstr(w, "message", trino_message(a, &as));
    json_object_end(w);
}

/*
 * duckdb_error: the engine's errors as ours: SQLSTATE, a sentence without "Parser Error:" in front and
 * without any path of the machine, position as a code point. Job thread; no state.
 *
 * The engine is set to errors_as_json. A parser error puts its class before the JSON; some errors come
 * without JSON at all: then the class is taken from the prefix.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_read.h"
#include "base/utf8.h"
#include "engines/duckdb_job.h"

struct parts {
    char class[48], subtype[48], object[48];
    const char *text;
    int64_t position;
};

/* Class of the exception -> SQLSTATE, where the class alone says it. */
static const struct {
    const char *class, *sqlstate;
} classes[] = {
    {"Parser", "42601"},
    {"Syntax", "42601"},
    {"Binder", "42000"},
    {"Catalog", "42P01"},
    {"Conversion", "22P02"},
    {"Out of Range", "22003"},
    {"Decimal", "22003"},
    {"Divide by Zero", "22012"},
    {"Mismatch Type", "42804"},
    {"Invalid type", "42804"},
    {"Not implemented", "0A000"},
    {"Constraint", "23000"},
    {"Invalid Input", "22023"},
    {"Permission", "42501"},
    {"IO", "58030"},
    {"HTTP", "42501"},
    {"Network", "42501"},
    {"TransactionContext", "25000"},
    {"Sequence", "2200H"},
    {"Dependency", "2BP01"},
    {"Missing Extension", "0A000"},
    {"Extension Autoloading", "0A000"},
    {"Settings", "22023"},
    {"Parameter Not Resolved", "42P18"},
    {"Parameter Not Allowed", "42P02"},
    {"Out of Memory", "53200"},
    {"INTERRUPT", "57014"},
    {"FATAL", "XX000"},
    {"INTERNAL", "XX000"},
    {"Object Size", "54000"},
    {"Unknown Type", "42704"},
    {"Expression", "22000"},
    {"Executor", "XX000"},
};

/* Words of the message that say it better than the class. First match wins. */
static const struct {
    const char *class, *words, *sqlstate;
} refined[] = {
    {"Out of Memory", "max_temp_directory_size", "53100"},
    {"Out of Memory", "temp_directory", "53100"},
    {"Binder", "does not have a column", "42703"},
    {"Binder", "Ambiguous", "42702"},
    {"Binder", "Referenced table", "42P01"},
    {"Binder", "No function matches", "42883"},
    {"Binder", "must appear in the GROUP BY", "42803"},
    {"Binder", "GROUP BY", "42803"},
    {"Binder", "aggregate", "42803"},
    {"Binder", "Catalog \"", "3D000"},
    {"Binder", "does not exist", "42704"},
    {"Binder", "Cannot compare", "42804"},
    {"Binder", "Cannot mix", "42804"},
    {"Binder", "Could not choose a best candidate", "42725"},
    {"Binder", "read-only mode", "25006"},
    {"Binder", "type", "42804"},
    {"Binder", "permission", "42501"},
    {"Catalog", "Catalog with name", "3D000"},
    {"Catalog", "already exists", "42P07"},
    {"Catalog", "schema \"", "3F000"},
    {"Catalog", "Schema with name", "3F000"},
    {"Catalog", "Type with name", "42704"},
    {"Catalog", "unrecognized configuration", "42704"},
    {"Catalog", "Function with name", "42883"},
    {"Conversion", "out of range for the destination", "22003"},
    {"Conversion", "time field value out of range", "22008"},
    {"Conversion", "date field value out of range", "22008"},
    {"Conversion", "field value out of range", "22008"},
    {"Conversion", "invalid date", "22007"},
    {"Conversion", "invalid timestamp", "22007"},
    {"Conversion", "invalid time", "22007"},
    {"Conversion", "imestamp", "22007"},
    {"Conversion", "out of range", "22003"},
    {"Conversion", "Could not cast value", "22003"},
    {"Conversion", "Overflow", "22003"},
    {"Conversion", "too large", "22003"},
    {"Out of Range", "square root of a negative", "2201F"},
    {"Out of Range", "cannot take logarithm", "2201E"},
    {"Out of Range", "date", "22008"},
    {"Out of Range", "timestamp", "22008"},
    {"Invalid Input", "Values were not provided", "42P02"},
    {"Invalid Input", "division by zero", "22012"},
    {"Invalid Input", "Division by zero", "22012"},
    {"Invalid Input", "Overflow in", "22003"},
    {"Invalid Input", "Cannot cast JSON", "22P02"},
    {"Invalid Input", "negative substring length", "22011"},
    {"Invalid Input", "field value out of range", "22008"},
    {"Invalid Input", "invalid value \"", "22007"},
    {"Invalid Input", "invalid input syntax", "22P02"},
    {"Constraint", "Duplicate key", "23505"},
    {"Constraint", "NOT NULL", "23502"},
    {"Constraint", "foreign key", "23503"},
    {"Constraint", "CHECK", "23514"},
    {"TransactionContext", "single attached database", "42501"},
    {"TransactionContext", "Conflict", "40001"},
    {"IO", "No space left", "53100"},
    {"IO", "File too large", "53100"},
    {"IO", "Permission denied", "42501"},
    {"IO", "Cannot open file", "42501"},
    {"Invalid", "read-only mode", "25006"},
    {"Invalid Input", "read-only mode", "25006"},
};

static void copy(char *to, size_t cap, const char *from)
{
    size_t n = from ? strlen(from) : 0;
    if (n >= cap)
        n = cap - 1;
    if (n)
        memcpy(to, from, n);
    to[n] = 0;
}

static bool split_json(const char *message, struct json_doc **doc, struct parts *p)
{
    const char *brace = strchr(message, '{');
    if (!brace || json_parse(brace, strlen(brace), doc, NULL) < 0)
        return false;
    json_value root = json_root(*doc);
    const char *text = json_string(json_get(root, "exception_message"), NULL);
    if (!text)
        return false;
    p->text = text;
    copy(p->class, sizeof p->class, json_string(json_get(root, "exception_type"), NULL));
    copy(p->subtype, sizeof p->subtype, json_string(json_get(root, "error_subtype"), NULL));
    copy(p->object, sizeof p->object, json_string(json_get(root, "type"), NULL));
    const char *position = json_string(json_get(root, "position"), NULL);
    if (position && isdigit((unsigned char)position[0]))
        p->position = strtoll(position, NULL, 10);
    return true;
}

static void split_plain(const char *message, struct parts *p)
{
    const char *mark = strstr(message, " Error: ");
    const char *line = strpbrk(message, ":\n");
    p->text = message;
    if (mark && line && mark < line && (size_t)(mark - message) < sizeof p->class) {
        memcpy(p->class, message, (size_t)(mark - message));
        p->class[mark - message] = 0;
        p->text = mark + 8;
    }
}

static const char *sqlstate_of(const struct parts *p)
{
    if (strcmp(p->subtype, "COLUMN_NOT_FOUND") == 0)
        return "42703";
    if (strcmp(p->subtype, "NO_MATCHING_FUNCTION") == 0)
        return "42883";
    if (strcmp(p->subtype, "MISSING_ENTRY") == 0 && p->object[0]) {
        if (strstr(p->object, "Function") || strstr(p->object, "Macro"))
            return "42883";
        if (strcmp(p->object, "Schema") == 0)
            return "3F000";
        if (strcmp(p->object, "Type") == 0)
            return "42704";
        if (!strstr(p->text, "because schema"))
            return "42P01";
    }
    if (strcmp(p->class, "Catalog") == 0 && strstr(p->text, "already exists")) {
        if (strncmp(p->text, "Schema with name", 16) == 0)
            return "42P06";
        if (strncmp(p->text, "Column with name", 16) == 0)
            return "42701";
    }
    for (size_t i = 0; i < sizeof refined / sizeof *refined; i++) {
        if (strcmp(refined[i].class, p->class) == 0 && strstr(p->text, refined[i].words))
            return refined[i].sqlstate;
    }
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (strcasecmp(classes[i].class, p->class) == 0)
            return classes[i].sqlstate;
    }
    return "XX000";
}

static const char *class_of_type(int type)
{
    switch (type) {
    case DUCKDB_ERROR_OUT_OF_MEMORY:
        return "Out of Memory";
    case DUCKDB_ERROR_INTERRUPT:
        return "INTERRUPT";
    case DUCKDB_ERROR_FATAL:
        return "FATAL";
    case DUCKDB_ERROR_INTERNAL:
        return "INTERNAL";
    case DUCKDB_ERROR_PARSER:
        return "Parser";
    case DUCKDB_ERROR_BINDER:
        return "Binder";
    case DUCKDB_ERROR_CATALOG:
        return "Catalog";
    case DUCKDB_ERROR_CONVERSION:
        return "Conversion";
    case DUCKDB_ERROR_INVALID_INPUT:
        return "Invalid Input";
    default:
        return NULL;
    }
}

void duck__position(struct err *e, const char *sql, size_t n, size_t byte)
{
    if (!e || !sql || byte > n)
        return;
    size_t line_start = 0;
    int32_t line = 1;
    for (size_t i = 0; i < byte; i++) {
        if (sql[i] != '\n')
            continue;
        line++;
        line_start = i + 1;
    }
    e->position = (int64_t)utf8_length(sql, byte);
    e->line = line;
    e->column = (int32_t)utf8_length(sql + line_start, byte - line_start) + 1;
}

/* The parser proper counts code points, everything after it bytes. */
static size_t byte_offset(const struct parts *p, const char *sql, size_t n)
{
    size_t at = (size_t)p->position;
    if (strcmp(p->subtype, "SYNTAX_ERROR") != 0)
        return at;
    size_t byte = 0;
    for (size_t k = 0; k < at && byte < n; k++) {
        uint32_t cp;
        int len = utf8_next(sql + byte, n - byte, &cp);
        byte += (size_t)(len < 0 ? -len : len);
    }
    return byte;
}

static bool path_char(char c)
{
    return isalnum((unsigned char)c) || strchr("._-/+@%~=[]*?", c) != NULL || (unsigned char)c >= 0x80;
}

static void cut_out(char *at, size_t n, const char *with)
{
    size_t w = strlen(with);
    if (w > n)
        w = 0;
    memcpy(at, with, w);
    memmove(at + w, at + n, strlen(at + n) + 1);
}

void duck__scrub(const struct duck *d, char *text)
{
    if (d) {
        const struct wire_setup *s = d->setup;
        for (uint32_t i = 0; i <= s->ndatasets; i++) {
            const char *path = i < s->ndatasets ? s->datasets[i].path : s->catalog_path;
            const char *name = i < s->ndatasets ? s->datasets[i].name : "data_catalog";
            char *at;
            while (strlen(path) > 1 && (at = strstr(text, path)))
                cut_out(at, strlen(path), strlen(name) <= strlen(path) ? name : "file");
        }
    }
    /* Anything that still looks like an absolute path. */
    for (char *p = text; *p; p++) {
        if (*p != '/' || !(isalnum((unsigned char)p[1]) || p[1] == '.' || p[1] == '_'))
            continue;
        if (p > text && path_char(p[-1]))
            continue;
        size_t n = 1;
        while (p[n] && path_char(p[n]))
            n++;
        while (n > 1 && p[n - 1] == '.')
            n--;
        cut_out(p, n, n >= 6 ? "<path>" : "");
    }
}

int duck__error(const struct duck *d, const char *message, int type, const char *sql, size_t sql_len,
                struct err *e, uint32_t *ret_kind)
{
    struct parts p = {"", "", "", "", -1};
    struct json_doc *doc = NULL;
    if (!split_json(message, &doc, &p))
        split_plain(message, &p);
    const char *class = class_of_type(type);
    if (!p.class[0] && class)
        copy(p.class, sizeof p.class, class);
    if (strstr(p.text, "std::bad_alloc") || strstr(p.text, "Failed to allocate") ||
        strstr(p.text, "Allocation failure"))
        copy(p.class, sizeof p.class, "Out of Memory");
    const char *state = sqlstate_of(&p);
    bool memory = strcmp(p.class, "Out of Memory") == 0, fatal = strcmp(state, "XX000") == 0,
         interrupted = strcmp(state, "57014") == 0;
    *ret_kind = memory                        ? WIRE_FAIL_MEMORY
                : fatal                       ? WIRE_FAIL_FATAL
                : interrupted                 ? WIRE_FAIL_CANCELED
                : strcmp(state, "42501") == 0 ? WIRE_FAIL_REFUSED
                                              : WIRE_FAIL_SQL;
    int code = memory                        ? ERR_LIMIT
               : fatal                       ? ERR_ENGINE
               : interrupted                 ? ERR_CANCELED
               : strcmp(state, "42501") == 0 ? ERR_DENIED
                                             : ERR_INVALID;
    if (e) {
        err_set(e, code, state, "%s", p.text[0] ? p.text : "the engine gave no reason");
        char *caret = strstr(e->text, "\n\nLINE ");
        if (caret)
            *caret = 0;
        char *advice =
            strstr(e->text, "\n\nPossible solutions:"); /* about settings that nobody here may change */
        if (!advice)
            advice = strstr(e->text, "\nThis limit was set by the 'max_temp_directory");
        if (advice)
            *advice = 0;
        if (strcmp(state, "42501") == 0 && strstr(e->text, "single attached database"))
            err_set(e, code, state, "only tables, views and schemas of data_catalog may be changed");
        duck__scrub(d, e->text);
        size_t used = strlen(e->text);
        if (memory && !strstr(e->text, "engine."))
            (void)snprintf(e->text + used, sizeof e->text - used, " (limit: %s)",
                           strcmp(state, "53100") == 0 ? "engine.spill" : "engine.memory");
        bool in_macro = p.position >= COMPAT_MACRO_OFFSET &&
                        p.position < COMPAT_MACRO_OFFSET + COMPAT_MACRO_SPAN &&
                        strcmp(p.subtype, "SYNTAX_ERROR") != 0;
        if (p.position >= 0 && !in_macro && sql)
            duck__position(e, sql, sql_len, byte_offset(&p, sql, sql_len));
    }
    if (doc)
        json_doc_free(doc);
    return code;
}

int duck__job_failed(struct duck_job *x, uint32_t kind, int code, const char *state, const char *text)
{
    x->fail = kind;
    return err_set(&x->e, code, state, "%s", text);
}

int duck__job_canceled(struct duck_job *x)
{
    return duck__job_failed(x, WIRE_FAIL_CANCELED, ERR_CANCELED, "57014", "canceled");
}

int duck__job_engine_failed(struct duck_job *x, const char *message, int type)
{
    return duck__error(x->d, message ? message : "unknown error", type, x->job->sql, x->job->sql_len, &x->e,
                       &x->fail);
}

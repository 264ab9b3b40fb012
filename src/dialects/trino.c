/*
 * trino: see trino.h. The names of types are encoders/trino_type.c's. Pure; any thread.
 */
#include "dialects/trino.h"

#include <string.h>

/* ---- signatures ---- */

struct signature {
    const char *raw;
    int64_t arguments[2];
    int n;
};

static struct signature plain_signature(const struct column *c)
{
    switch (c->sql) {
    case SQLT_DECIMAL:
        return (struct signature){"decimal", {c->precision, c->scale}, 2};
    case SQLT_HUGEINT:
        return (struct signature){"decimal", {38, 0}, 2};
    case SQLT_UBIGINT:
        return (struct signature){"decimal", {20, 0}, 2};
    case SQLT_TIME:
        return (struct signature){"time", {6}, 1};
    case SQLT_TIMETZ:
        return (struct signature){"time with time zone", {6}, 1};
    case SQLT_TIMESTAMP_S:
        return (struct signature){"timestamp", {0}, 1};
    case SQLT_TIMESTAMP_MS:
        return (struct signature){"timestamp", {3}, 1};
    case SQLT_TIMESTAMP:
        return (struct signature){"timestamp", {6}, 1};
    case SQLT_TIMESTAMP_NS:
        return (struct signature){"timestamp", {9}, 1};
    case SQLT_TIMESTAMPTZ:
        return (struct signature){"timestamp with time zone", {6}, 1};
    default:
        break;
    }
    const char *name = trino_plain_name(c->sql);
    if (!name || strcmp(name, "varchar") == 0)
        return (struct signature){"varchar", {INT32_MAX}, 1}; /* unbounded */
    return (struct signature){name, {0}, 0};
}

static void write_signature(struct json_write *w, const struct column *c, int depth);

static void write_type_argument(struct json_write *w, const struct column *c, int depth)
{
    json_object_begin(w);
    json_kstr(w, "kind", "TYPE");
    json_key(w, "value");
    write_signature(w, c, depth);
    json_object_end(w);
}

static void write_field_argument(struct json_write *w, const struct column *c, int depth)
{
    json_object_begin(w);
    json_kstr(w, "kind", "NAMED_TYPE");
    json_key(w, "value");
    json_object_begin(w);
    json_key(w, "fieldName");
    json_object_begin(w);
    json_kstr(w, "name", c->name);
    json_object_end(w);
    json_key(w, "typeSignature");
    write_signature(w, c, depth);
    json_object_end(w);
    json_object_end(w);
}

static const char *nested_raw(const struct column *c, int depth)
{
    bool entry = c->sql == SQLT_MAP && c->nchildren && c->children[0].nchildren == 2;
    if (c->sql != SQLT_STRUCT && !entry && !((c->sql == SQLT_LIST || c->sql == SQLT_ARRAY) && c->nchildren))
        return NULL;
    if (depth >= TRINO_SIGNATURE_DEPTH)
        return "json";
    return c->sql == SQLT_STRUCT ? "row" : entry ? "map" : "array";
}

static void write_signature(struct json_write *w, const struct column *c, int depth)
{
    struct signature plain = plain_signature(c);
    const char *nested = nested_raw(c, depth);
    bool inside = nested && depth < TRINO_SIGNATURE_DEPTH;
    json_object_begin(w);
    json_kstr(w, "rawType", nested ? nested : plain.raw);
    json_key(w, "arguments");
    json_array_begin(w);
    if (inside && c->sql == SQLT_STRUCT) {
        for (uint32_t i = 0; i < c->nchildren; i++)
            write_field_argument(w, &c->children[i], depth + 1);
    } else if (inside) {
        const struct column *of = c->sql == SQLT_MAP ? &c->children[0] : c;
        for (uint32_t i = 0; i < (c->sql == SQLT_MAP ? 2u : 1u); i++)
            write_type_argument(w, &of->children[i], depth + 1);
    }
    for (int i = 0; !nested && i < plain.n; i++) {
        json_object_begin(w);
        json_kstr(w, "kind", "LONG");
        json_ki64(w, "value", plain.arguments[i]);
        json_object_end(w);
    }
    json_array_end(w);
    json_object_end(w);
}

int trino_columns(struct json_write *w, const struct schema *s)
{
    CLEANUP_BUF struct buf type = BUF_INIT(1 << 20);
    json_array_begin(w);
    for (uint32_t i = 0; s && i < s->ncolumns; i++) {
        buf_reset(&type);
        if (trino_type_name(&s->columns[i], &type))
            return ERR_LIMIT;
        json_object_begin(w);
        json_kstr(w, "name", s->columns[i].name);
        json_key(w, "type");
        json_strn(w, type.p, type.len);
        json_key(w, "typeSignature");
        write_signature(w, &s->columns[i], 0);
        json_object_end(w);
    }
    json_array_end(w);
    return 0;
}

/* ---- errors ---- */

const char *trino_message(struct arena *a, const struct query_view *v)
{
    if (v->error.line <= 0 || strncmp(v->error.text, "line ", 5) == 0)
        return v->error.text;
    const char *text = arena_printf(a, "line %d:%d: %s", v->error.line,
                                    v->error.column > 0 ? v->error.column : 1, v->error.text);
    return text ? text : v->error.text;
}

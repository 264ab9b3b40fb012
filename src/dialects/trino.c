/*
 * trino: see trino.h. One table of plain names; types with parameters by recursion, bounded by the schema's
 * own depth. Pure; any thread.
 */
#include "dialects/trino.h"

#include <string.h>

/* Names of types without parameters; "" for those that have some. Trino's words; what Trino lacks is the
 * nearest type that holds the values. */
static const char *const plain_names[SQLT_END] = {
    [SQLT_BOOLEAN] = "boolean",
    [SQLT_TINYINT] = "tinyint",
    [SQLT_SMALLINT] = "smallint",
    [SQLT_INTEGER] = "integer",
    [SQLT_BIGINT] = "bigint",
    [SQLT_HUGEINT] = "decimal(38,0)",
    [SQLT_UTINYINT] = "smallint",
    [SQLT_USMALLINT] = "integer",
    [SQLT_UINTEGER] = "bigint",
    [SQLT_UBIGINT] = "decimal(20,0)",
    [SQLT_UHUGEINT] = "varchar",
    [SQLT_FLOAT] = "real",
    [SQLT_DOUBLE] = "double",
    [SQLT_VARCHAR] = "varchar",
    [SQLT_BLOB] = "varbinary",
    [SQLT_DATE] = "date",
    [SQLT_TIME] = "time(6)",
    [SQLT_TIMETZ] = "time(6) with time zone",
    [SQLT_TIMESTAMP_S] = "timestamp(0)",
    [SQLT_TIMESTAMP_MS] = "timestamp(3)",
    [SQLT_TIMESTAMP] = "timestamp(6)",
    [SQLT_TIMESTAMP_NS] = "timestamp(9)",
    [SQLT_TIMESTAMPTZ] = "timestamp(6) with time zone",
    [SQLT_INTERVAL] = "interval day to second",
    [SQLT_UUID] = "uuid",
    [SQLT_JSON] = "json",
    [SQLT_ENUM] = "varchar",
    [SQLT_BIT] = "varchar",
    [SQLT_BIGNUM] = "varchar",
    [SQLT_GEOMETRY] = "varchar",
    [SQLT_UNION] = "varchar",
    [SQLT_NULL] = "unknown",
    [SQLT_OTHER] = "varchar",
};

static bool is_plain_name(const char *s)
{
    if (!((*s >= 'a' && *s <= 'z') || *s == '_'))
        return false;
    for (; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || *s == '_'))
            return false;
    return true;
}

static int field_name(const char *name, struct buf *out)
{
    if (is_plain_name(name))
        return buf_str_add(out, name);
    int r = buf_char(out, '"');
    for (; !r && *name; name++) {
        r = *name == '"' ? buf_char(out, '"') : 0;
        if (!r)
            r = buf_char(out, *name);
    }
    return r ? r : buf_char(out, '"');
}

static int type_name(const struct column *c, struct buf *out, int depth)
{
    if (depth > SCHEMA_DEPTH_MAX || (unsigned)c->sql >= SQLT_END)
        return buf_str_add(out, "varchar");
    int r = 0;
    switch (c->sql) {
    case SQLT_DECIMAL:
        return buf_printf(out, "decimal(%u,%u)", (unsigned)c->precision, (unsigned)c->scale);
    case SQLT_LIST:
    case SQLT_ARRAY:
        r = buf_str_add(out, "array(");
        if (!r && c->nchildren)
            r = type_name(&c->children[0], out, depth + 1);
        return r ? r : buf_char(out, ')');
    case SQLT_STRUCT:
        r = buf_str_add(out, "row(");
        for (uint32_t i = 0; !r && i < c->nchildren; i++) {
            if (i)
                r = buf_char(out, ',');
            if (!r)
                r = field_name(c->children[i].name, out);
            if (!r)
                r = buf_char(out, ' ');
            if (!r)
                r = type_name(&c->children[i], out, depth + 1);
        }
        return r ? r : buf_char(out, ')');
    case SQLT_MAP: {
        const struct column *entry = c->nchildren ? &c->children[0] : NULL;
        r = buf_str_add(out, "map(");
        if (!r && entry && entry->nchildren == 2) {
            r = type_name(&entry->children[0], out, depth + 2);
            if (!r)
                r = buf_char(out, ',');
            if (!r)
                r = type_name(&entry->children[1], out, depth + 2);
        }
        return r ? r : buf_char(out, ')');
    }
    default:
        return buf_str_add(out, plain_names[c->sql] ? plain_names[c->sql] : "varchar");
    }
}

int trino_type_name(const struct column *c, struct buf *out)
{
    return type_name(c, out, 0);
}

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
    const char *name = (unsigned)c->sql < SQLT_END ? plain_names[c->sql] : NULL;
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

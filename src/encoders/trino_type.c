/*
 * trino_type: see trino_type.h. One table of plain names; types with parameters by recursion, bounded by the
 * schema's own depth.
 */
#include "encoders/trino_type.h"

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
            if (!r && *c->children[i].name) {
                r = field_name(c->children[i].name, out);
                r = r ? r : buf_char(out, ' ');
            }
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

const char *trino_plain_name(enum sqltype sql)
{
    return (unsigned)sql < SQLT_END ? plain_names[sql] : NULL;
}

int trino_type_name(const struct column *c, struct buf *out)
{
    return type_name(c, out, 0);
}

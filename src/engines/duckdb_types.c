/*
 * duckdb_types: the engine's types as columns of our schema, and the tree of nodes that duckdb_rows.c fills.
 * Job thread.
 *
 * What has no exact physical form travels as text (schema.h). Types whose text cannot be made from vectors
 * here (UNION, VARIANT, GEOMETRY and numbers we do not know) set needs_cast: the statement is then wrapped so
 * that the engine itself casts them to VARCHAR.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engines/duckdb_int.h"

struct simple {
    duckdb_type id;
    enum phys phys;
    enum sqltype sql;
    uint8_t precision;
    const char *detail;
};

static const struct simple simple[] = {
    {DUCKDB_TYPE_BOOLEAN, PHYS_BOOL, SQLT_BOOLEAN, 0, "BOOLEAN"},
    {DUCKDB_TYPE_TINYINT, PHYS_INT16, SQLT_TINYINT, 0, "TINYINT"},
    {DUCKDB_TYPE_SMALLINT, PHYS_INT16, SQLT_SMALLINT, 0, "SMALLINT"},
    {DUCKDB_TYPE_INTEGER, PHYS_INT32, SQLT_INTEGER, 0, "INTEGER"},
    {DUCKDB_TYPE_BIGINT, PHYS_INT64, SQLT_BIGINT, 0, "BIGINT"},
    {DUCKDB_TYPE_HUGEINT, PHYS_DECIMAL, SQLT_HUGEINT, 38, "HUGEINT"},
    {DUCKDB_TYPE_UTINYINT, PHYS_INT16, SQLT_UTINYINT, 0, "UTINYINT"},
    {DUCKDB_TYPE_USMALLINT, PHYS_INT32, SQLT_USMALLINT, 0, "USMALLINT"},
    {DUCKDB_TYPE_UINTEGER, PHYS_INT64, SQLT_UINTEGER, 0, "UINTEGER"},
    {DUCKDB_TYPE_UBIGINT, PHYS_DECIMAL, SQLT_UBIGINT, 20, "UBIGINT"},
    {DUCKDB_TYPE_UHUGEINT, PHYS_UTF8, SQLT_UHUGEINT, 0, "UHUGEINT"},
    {DUCKDB_TYPE_FLOAT, PHYS_FLOAT32, SQLT_FLOAT, 0, "FLOAT"},
    {DUCKDB_TYPE_DOUBLE, PHYS_FLOAT64, SQLT_DOUBLE, 0, "DOUBLE"},
    {DUCKDB_TYPE_VARCHAR, PHYS_UTF8, SQLT_VARCHAR, 0, "VARCHAR"},
    {DUCKDB_TYPE_BLOB, PHYS_BINARY, SQLT_BLOB, 0, "BLOB"},
    {DUCKDB_TYPE_DATE, PHYS_DATE, SQLT_DATE, 0, "DATE"},
    {DUCKDB_TYPE_TIME, PHYS_TIME, SQLT_TIME, 0, "TIME"},
    {DUCKDB_TYPE_TIME_NS, PHYS_UTF8, SQLT_OTHER, 0, "TIME_NS"},
    {DUCKDB_TYPE_TIME_TZ, PHYS_UTF8, SQLT_TIMETZ, 0, "TIME WITH TIME ZONE"},
    {DUCKDB_TYPE_TIMESTAMP_S, PHYS_TIMESTAMP, SQLT_TIMESTAMP_S, 0, "TIMESTAMP_S"},
    {DUCKDB_TYPE_TIMESTAMP_MS, PHYS_TIMESTAMP, SQLT_TIMESTAMP_MS, 0, "TIMESTAMP_MS"},
    {DUCKDB_TYPE_TIMESTAMP, PHYS_TIMESTAMP, SQLT_TIMESTAMP, 0, "TIMESTAMP"},
    {DUCKDB_TYPE_TIMESTAMP_NS, PHYS_UTF8, SQLT_TIMESTAMP_NS, 0, "TIMESTAMP_NS"},
    {DUCKDB_TYPE_TIMESTAMP_TZ, PHYS_TIMESTAMPTZ, SQLT_TIMESTAMPTZ, 0, "TIMESTAMP WITH TIME ZONE"},
    {DUCKDB_TYPE_INTERVAL, PHYS_INTERVAL, SQLT_INTERVAL, 0, "INTERVAL"},
    {DUCKDB_TYPE_UUID, PHYS_UTF8, SQLT_UUID, 0, "UUID"},
    {DUCKDB_TYPE_BIT, PHYS_UTF8, SQLT_BIT, 0, "BIT"},
    {DUCKDB_TYPE_BIGNUM, PHYS_UTF8, SQLT_BIGNUM, 0, "BIGNUM"},
    {DUCKDB_TYPE_SQLNULL, PHYS_UTF8, SQLT_NULL, 0, "NULL"},
    {DUCKDB_TYPE_UNION, PHYS_UTF8, SQLT_UNION, 0, "UNION"},
    {(duckdb_type)DUCK_TYPE_GEOMETRY, PHYS_UTF8, SQLT_GEOMETRY, 0, "GEOMETRY"},
    {(duckdb_type)DUCK_TYPE_VARIANT, PHYS_UTF8, SQLT_OTHER, 0, "VARIANT"},
};

static const struct simple *find(duckdb_type id)
{
    for (size_t i = 0; i < sizeof simple / sizeof *simple; i++) {
        if (simple[i].id == id)
            return &simple[i];
    }
    return NULL;
}

static bool only_by_cast(duckdb_type id)
{
    return id == DUCKDB_TYPE_UNION || id == (duckdb_type)DUCK_TYPE_GEOMETRY ||
           id == (duckdb_type)DUCK_TYPE_VARIANT || !find(id);
}

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "53200", "out of memory");
}

static int children(struct arena *a, struct column *c, struct node *n, uint32_t count, struct err *e)
{
    c->children = arena_alloc(a, sizeof *c->children * count);
    n->children = arena_alloc(a, sizeof *n->children * count);
    if (!c->children || !n->children)
        return no_memory(e);
    c->nchildren = n->nchildren = count;
    return 0;
}

static int child(struct arena *a, duckdb_logical_type type, const char *name, unsigned depth,
                 struct column *c, struct node *n, bool *cast, struct err *e)
{
    int r = duck__column(a, type, name, depth + 1, c, n, cast, e);
    duckdb_destroy_logical_type(&type);
    return r;
}

static int list_column(struct arena *a, duckdb_logical_type type, duckdb_type id, unsigned depth,
                       struct column *c, struct node *n, bool *cast, struct err *e)
{
    bool array = id == DUCKDB_TYPE_ARRAY;
    c->phys = PHYS_LIST;
    c->sql = array ? SQLT_ARRAY : SQLT_LIST;
    if (array)
        n->array_size = duckdb_array_type_array_size(type);
    int r = children(a, c, n, 1, e);
    if (r < 0)
        return r;
    r = child(a, array ? duckdb_array_type_child_type(type) : duckdb_list_type_child_type(type), "item",
              depth, c->children, n->children, cast, e);
    if (r < 0)
        return r;
    c->detail = array ? arena_printf(a, "%.200s[%" PRIu64 "]", c->children->detail, n->array_size)
                      : arena_printf(a, "%.200s[]", c->children->detail);
    return c->detail ? 0 : no_memory(e);
}

static int struct_column(struct arena *a, duckdb_logical_type type, unsigned depth, struct column *c,
                         struct node *n, bool *cast, struct err *e)
{
    idx_t count = duckdb_struct_type_child_count(type);
    if (count == 0 || count > SCHEMA_NODES_MAX)
        return err_set(e, ERR_LIMIT, "54000", "a STRUCT has too many fields");
    c->phys = PHYS_STRUCT;
    c->sql = SQLT_STRUCT;
    int r = children(a, c, n, (uint32_t)count, e);
    CLEANUP_BUF struct buf b = BUF_INIT(4096);
    (void)buf_str_add(&b, "STRUCT(");
    for (idx_t i = 0; i < count && !r; i++) {
        char *name = duckdb_struct_type_child_name(type, i);
        r = child(a, duckdb_struct_type_child_type(type, i), name ? name : "", depth, &c->children[i],
                  &n->children[i], cast, e);
        if (!r && b.len < 1024)
            (void)buf_printf(&b, "%s%.100s %.200s", i ? ", " : "", name, c->children[i].detail);
        duckdb_free(name);
    }
    if (r < 0)
        return r;
    (void)buf_char(&b, ')');
    const char *text = buf_str(&b);
    c->detail = arena_strdup(a, text ? text : "STRUCT");
    return c->detail ? 0 : no_memory(e);
}

static int map_column(struct arena *a, duckdb_logical_type type, unsigned depth, struct column *c,
                      struct node *n, bool *cast, struct err *e)
{
    c->phys = PHYS_MAP;
    c->sql = SQLT_MAP;
    int r = children(a, c, n, 1, e);
    if (r < 0)
        return r;
    struct column *entries = c->children;
    n->children->column = entries;
    n->children->id = DUCKDB_TYPE_STRUCT;
    *entries = (struct column){
        .name = "entries", .detail = "", .phys = PHYS_STRUCT, .sql = SQLT_STRUCT, .nullable = false};
    r = children(a, entries, n->children, 2, e);
    if (!r)
        r = child(a, duckdb_map_type_key_type(type), "key", depth + 1, &entries->children[0],
                  &n->children->children[0], cast, e);
    if (!r)
        r = child(a, duckdb_map_type_value_type(type), "value", depth + 1, &entries->children[1],
                  &n->children->children[1], cast, e);
    if (r < 0)
        return r;
    entries->children[0].nullable = false;
    c->detail =
        arena_printf(a, "MAP(%.200s, %.200s)", entries->children[0].detail, entries->children[1].detail);
    return c->detail ? 0 : no_memory(e);
}

static int enum_column(struct arena *a, duckdb_logical_type type, struct column *c, struct node *n,
                       struct err *e)
{
    c->phys = PHYS_UTF8;
    c->sql = SQLT_ENUM;
    c->detail = "ENUM";
    n->internal = duckdb_enum_internal_type(type);
    n->dict_len = duckdb_enum_dictionary_size(type);
    const char **dict = arena_alloc(a, sizeof *dict * n->dict_len);
    uint32_t *bytes = arena_alloc(a, sizeof *bytes * n->dict_len);
    if (!dict || !bytes)
        return no_memory(e);
    for (uint32_t i = 0; i < n->dict_len; i++) {
        char *v = duckdb_enum_dictionary_value(type, i);
        dict[i] = arena_strdup(a, v ? v : "");
        duckdb_free(v);
        if (!dict[i])
            return no_memory(e);
        bytes[i] = (uint32_t)strlen(dict[i]);
    }
    n->dict = dict;
    n->dict_bytes = bytes;
    return 0;
}

int duck__column(struct arena *a, duckdb_logical_type type, const char *name, unsigned depth,
                 struct column *c, struct node *n, bool *needs_cast, struct err *e)
{
    if (depth >= SCHEMA_DEPTH_MAX)
        return err_set(e, ERR_LIMIT, "54000", "types are nested deeper than %d", SCHEMA_DEPTH_MAX);
    duckdb_type id = duckdb_get_type_id(type);
    *c = (struct column){.detail = "", .nullable = true};
    n->column = c;
    n->id = id;
    c->name = arena_strdup(a, name);
    if (!c->name)
        return no_memory(e);
    switch ((int)id) {
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_ARRAY:
        return list_column(a, type, id, depth, c, n, needs_cast, e);
    case DUCKDB_TYPE_STRUCT:
        return struct_column(a, type, depth, c, n, needs_cast, e);
    case DUCKDB_TYPE_MAP:
        return map_column(a, type, depth, c, n, needs_cast, e);
    case DUCKDB_TYPE_ENUM:
        return enum_column(a, type, c, n, e);
    case DUCKDB_TYPE_DECIMAL:
        c->phys = PHYS_DECIMAL;
        c->sql = SQLT_DECIMAL;
        c->precision = duckdb_decimal_width(type);
        c->scale = duckdb_decimal_scale(type);
        n->internal = duckdb_decimal_internal_type(type);
        c->detail = arena_printf(a, "DECIMAL(%u,%u)", c->precision, c->scale);
        return c->detail ? 0 : no_memory(e);
    default:
        break;
    }
    const struct simple *s = find(id);
    c->phys = s ? s->phys : PHYS_UTF8;
    c->sql = s ? s->sql : SQLT_OTHER;
    c->precision = s ? s->precision : 0;
    c->detail = s ? s->detail : "OTHER";
    if (only_by_cast(id))
        *needs_cast = true;
    if (id == DUCKDB_TYPE_VARCHAR) {
        char *alias = duckdb_logical_type_get_alias(type);
        if (alias && strcmp(alias, "JSON") == 0) {
            c->sql = SQLT_JSON;
            c->detail = "JSON";
        }
        duckdb_free(alias);
    }
    return 0;
}

static void cast_child(struct buf *b, duckdb_logical_type type)
{
    duck__cast_type(b, type);
    duckdb_destroy_logical_type(&type);
}

void duck__cast_type(struct buf *b, duckdb_logical_type type)
{
    duckdb_type id = duckdb_get_type_id(type);
    switch ((int)id) {
    case DUCKDB_TYPE_LIST:
        cast_child(b, duckdb_list_type_child_type(type));
        (void)buf_str_add(b, "[]");
        return;
    case DUCKDB_TYPE_ARRAY:
        cast_child(b, duckdb_array_type_child_type(type));
        (void)buf_printf(b, "[%" PRIu64 "]", (uint64_t)duckdb_array_type_array_size(type));
        return;
    case DUCKDB_TYPE_STRUCT:
        (void)buf_str_add(b, "STRUCT(");
        for (idx_t i = 0; i < duckdb_struct_type_child_count(type); i++) {
            char *name = duckdb_struct_type_child_name(type, i);
            if (i)
                (void)buf_char(b, ',');
            if (name && *name) /* a cast needs names; those are what the text formats call them */
                duck__quote(b, '"', name);
            else
                (void)buf_printf(b, "field%u", (unsigned)i);
            (void)buf_char(b, ' ');
            duckdb_free(name);
            cast_child(b, duckdb_struct_type_child_type(type, i));
        }
        (void)buf_char(b, ')');
        return;
    case DUCKDB_TYPE_MAP:
        (void)buf_str_add(b, "MAP(");
        cast_child(b, duckdb_map_type_key_type(type));
        (void)buf_char(b, ',');
        cast_child(b, duckdb_map_type_value_type(type));
        (void)buf_char(b, ')');
        return;
    case DUCKDB_TYPE_DECIMAL:
        (void)buf_printf(b, "DECIMAL(%u,%u)", duckdb_decimal_width(type), duckdb_decimal_scale(type));
        return;
    case DUCKDB_TYPE_ENUM:
        (void)buf_str_add(b, "VARCHAR");
        return;
    default:
        break;
    }
    const struct simple *s = find(id);
    (void)buf_str_add(b, only_by_cast(id) || id == DUCKDB_TYPE_SQLNULL ? "VARCHAR" : s->detail);
}

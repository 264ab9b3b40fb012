/*
 * schema: numbering, serialized form, and its strict reader.
 *
 * schema_read takes bytes from an engine process that may have been taken over, or from disk. Invariants of a
 * schema that it returned, on which all later code relies:
 *   - names and details are valid UTF-8 without NUL bytes;
 *   - the tree is at most SCHEMA_DEPTH_MAX deep, at most SCHEMA_NODES_MAX nodes; LIST and MAP have one child,
 * STRUCT at least one;
 *   - a MAP's child is a STRUCT of two (that neither it nor the key is NULL is checked with each batch);
 *   - the SQL type fits the physical type (or the value was written as text), DECIMAL has 1 <= precision <=
 * 38, scale <= precision. Every leaf needs at least one bit of body a row, so the row count of a batch is
 * bounded by its body. Pure; any thread.
 */
#include "encoders/schema.h"

#include <string.h>

#include "base/utf8.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "bytes at rest are little endian and read in place");

#define SCHEMA_MAGIC   0x48435351u /* 'QSCH' */
#define NODE_MIN       20u         /* bytes of a node with empty texts */
#define NAME_MAX_BYTES 65536u
#define FLAG_NULLABLE  1u

uint32_t phys_buffers(enum phys p)
{
    switch (p) {
    case PHYS_UTF8:
    case PHYS_BINARY:
        return 3;
    case PHYS_STRUCT:
        return 1;
    default:
        return 2;
    }
}

uint32_t phys_width(enum phys p)
{
    switch (p) {
    case PHYS_INT16:
        return 2;
    case PHYS_INT32:
    case PHYS_FLOAT32:
        return 4;
    case PHYS_INT64:
    case PHYS_FLOAT64:
    case PHYS_DATE:
    case PHYS_TIME:
    case PHYS_TIMESTAMP:
    case PHYS_TIMESTAMPTZ:
        return 8;
    case PHYS_DECIMAL:
    case PHYS_INTERVAL:
        return 16;
    default:
        return 0;
    }
}

static int number(struct column *c, struct schema *s, int depth, struct err *e)
{
    if (depth > SCHEMA_DEPTH_MAX)
        return err_set(e, ERR_LIMIT, "54011", "a column type is nested deeper than %d", SCHEMA_DEPTH_MAX);
    if (s->nnodes >= SCHEMA_NODES_MAX)
        return err_set(e, ERR_LIMIT, "54011", "a result has more than %d columns and fields",
                       SCHEMA_NODES_MAX);
    c->node = s->nnodes++;
    c->first_buffer = s->nbuffers;
    s->nbuffers += phys_buffers(c->phys);
    for (uint32_t i = 0; i < c->nchildren; i++) {
        int rc = number(&c->children[i], s, depth + 1, e);
        if (rc)
            return rc;
    }
    return 0;
}

int schema_number(struct schema *s, struct err *e)
{
    s->nnodes = s->nbuffers = 0;
    for (uint32_t i = 0; i < s->ncolumns; i++) {
        int rc = number(&s->columns[i], s, 1, e);
        if (rc)
            return rc;
    }
    return 0;
}

/* ---- writing ---- */

static int write_text(const char *t, struct buf *out)
{
    size_t n = t ? strlen(t) : 0;
    if (n > NAME_MAX_BYTES)
        return ERR_LIMIT;
    uint32_t n32 = (uint32_t)n;
    int rc = buf_add(out, &n32, 4);
    return rc ? rc : buf_add(out, t ? t : "", n);
}

static int write_column(const struct column *c, struct buf *out)
{
    uint8_t head[8] = {
        (uint8_t)c->phys, (uint8_t)c->sql, c->nullable ? FLAG_NULLABLE : 0, c->precision, c->scale, 0, 0, 0};
    int rc = buf_add(out, head, sizeof head);
    if (!rc)
        rc = buf_add(out, &c->nchildren, 4);
    if (!rc)
        rc = write_text(c->name, out);
    if (!rc)
        rc = write_text(c->detail, out);
    for (uint32_t i = 0; !rc && i < c->nchildren; i++)
        rc = write_column(&c->children[i], out);
    return rc;
}

int schema_write(const struct schema *s, struct buf *out)
{
    uint32_t head[2] = {SCHEMA_MAGIC, s->ncolumns};
    int rc = buf_add(out, head, sizeof head);
    for (uint32_t i = 0; !rc && i < s->ncolumns; i++)
        rc = write_column(&s->columns[i], out);
    return rc;
}

/* ---- reading ---- */

struct reader {
    const uint8_t *p;
    size_t left;
    struct arena *a;
    uint32_t nodes;
    struct err *e;
};

static int lie(struct err *e, const char *what)
{
    return err_set(e, ERR_CORRUPT, "XX001", "bad result schema: %s", what);
}

static uint32_t take_u32(struct reader *r) /* the caller knows that four bytes are left */
{
    uint32_t v;
    memcpy(&v, r->p, 4);
    r->p += 4;
    r->left -= 4;
    return v;
}

static int take_text(struct reader *r, const char **ret)
{
    if (r->left < 4)
        return lie(r->e, "cut short");
    uint32_t n = take_u32(r);
    if (n > r->left)
        return lie(r->e, "a name is cut short");
    if (n > NAME_MAX_BYTES)
        return err_set(r->e, ERR_LIMIT, "54000", "a column name is longer than %u bytes", NAME_MAX_BYTES);
    if (memchr(r->p, 0, n) || !utf8_valid((const char *)r->p, n))
        return lie(r->e, "a name is not valid text");
    char *t = arena_strndup(r->a, (const char *)r->p, n);
    if (!t)
        return ERR_NOMEM;
    r->p += n;
    r->left -= n;
    *ret = t;
    return 0;
}

/* The physical type that each SQL type has at rest. Any of them may also be PHYS_UTF8: written as text. */
static const uint8_t canonical[SQLT_END] = {
    [SQLT_BOOLEAN] = PHYS_BOOL,
    [SQLT_TINYINT] = PHYS_INT16,
    [SQLT_SMALLINT] = PHYS_INT16,
    [SQLT_INTEGER] = PHYS_INT32,
    [SQLT_BIGINT] = PHYS_INT64,
    [SQLT_HUGEINT] = PHYS_DECIMAL,
    [SQLT_UTINYINT] = PHYS_INT16,
    [SQLT_USMALLINT] = PHYS_INT32,
    [SQLT_UINTEGER] = PHYS_INT64,
    [SQLT_UBIGINT] = PHYS_DECIMAL,
    [SQLT_UHUGEINT] = PHYS_UTF8,
    [SQLT_FLOAT] = PHYS_FLOAT32,
    [SQLT_DOUBLE] = PHYS_FLOAT64,
    [SQLT_DECIMAL] = PHYS_DECIMAL,
    [SQLT_VARCHAR] = PHYS_UTF8,
    [SQLT_BLOB] = PHYS_BINARY,
    [SQLT_DATE] = PHYS_DATE,
    [SQLT_TIME] = PHYS_TIME,
    [SQLT_TIMETZ] = PHYS_UTF8,
    [SQLT_TIMESTAMP_S] = PHYS_TIMESTAMP,
    [SQLT_TIMESTAMP_MS] = PHYS_TIMESTAMP,
    [SQLT_TIMESTAMP] = PHYS_TIMESTAMP,
    [SQLT_TIMESTAMP_NS] = PHYS_UTF8,
    [SQLT_TIMESTAMPTZ] = PHYS_TIMESTAMPTZ,
    [SQLT_INTERVAL] = PHYS_INTERVAL,
    [SQLT_UUID] = PHYS_UTF8,
    [SQLT_JSON] = PHYS_UTF8,
    [SQLT_ENUM] = PHYS_UTF8,
    [SQLT_BIT] = PHYS_UTF8,
    [SQLT_BIGNUM] = PHYS_UTF8,
    [SQLT_GEOMETRY] = PHYS_UTF8,
    [SQLT_UNION] = PHYS_UTF8,
    [SQLT_NULL] = PHYS_UTF8,
    [SQLT_OTHER] = PHYS_UTF8,
    [SQLT_LIST] = PHYS_LIST,
    [SQLT_ARRAY] = PHYS_LIST,
    [SQLT_STRUCT] = PHYS_STRUCT,
    [SQLT_MAP] = PHYS_MAP,
};

static int check_types(const struct reader *r, const struct column *c)
{
    if (c->phys != (enum phys)canonical[c->sql] && c->phys != PHYS_UTF8)
        return lie(r->e, "a SQL type does not fit its physical type");
    if (c->phys == PHYS_DECIMAL) {
        if (c->precision < 1 || c->precision > 38 || c->scale > c->precision)
            return lie(r->e, "a decimal's precision or scale");
        if (c->sql == SQLT_HUGEINT && (c->precision != 38 || c->scale))
            return lie(r->e, "the precision of a HUGEINT");
        if (c->sql == SQLT_UBIGINT && (c->precision != 20 || c->scale))
            return lie(r->e, "the precision of a UBIGINT");
    } else if (c->precision || c->scale) {
        return lie(r->e, "precision on a type without one");
    }
    switch (c->phys) {
    case PHYS_LIST:
    case PHYS_MAP:
        return c->nchildren == 1 ? 0 : lie(r->e, "a list or map needs one child");
    case PHYS_STRUCT:
        return c->nchildren ? 0 : lie(r->e, "a row type without fields");
    default:
        return c->nchildren ? lie(r->e, "children of a plain type") : 0;
    }
}

static int take_columns(struct reader *r, uint32_t n, int depth, struct column **ret);

static int take_column(struct reader *r, int depth, struct column *c)
{
    if (r->left < NODE_MIN)
        return lie(r->e, "cut short");
    const uint8_t *h = r->p;
    r->p += 8;
    r->left -= 8;
    if (h[0] < PHYS_BOOL || h[0] >= PHYS_END)
        return lie(r->e, "unknown physical type");
    if (h[1] < SQLT_BOOLEAN || h[1] >= SQLT_END)
        return lie(r->e, "unknown SQL type");
    if ((h[2] & ~FLAG_NULLABLE) || h[5] || h[6] || h[7])
        return lie(r->e, "reserved bits are set");
    c->phys = (enum phys)h[0];
    c->sql = (enum sqltype)h[1];
    c->nullable = h[2] & FLAG_NULLABLE;
    c->precision = h[3];
    c->scale = h[4];
    c->nchildren = take_u32(r);
    int rc = take_text(r, &c->name);
    if (!rc)
        rc = take_text(r, &c->detail);
    if (!rc)
        rc = check_types(r, c);
    if (!rc)
        rc = take_columns(r, c->nchildren, depth + 1, &c->children);
    if (!rc && c->phys == PHYS_MAP) {
        const struct column *entry = &c->children[0];
        if (entry->phys != PHYS_STRUCT || entry->nchildren != 2)
            return lie(r->e, "a map's child is not a row of key and value");
    }
    return rc;
}

static int take_columns(struct reader *r, uint32_t n, int depth, struct column **ret)
{
    if (!n)
        return 0;
    if (depth > SCHEMA_DEPTH_MAX)
        return err_set(r->e, ERR_LIMIT, "54011", "a column type is nested deeper than %d", SCHEMA_DEPTH_MAX);
    if (n > r->left / NODE_MIN)
        return lie(r->e, "more columns than bytes");
    if (n > SCHEMA_NODES_MAX - r->nodes)
        return err_set(r->e, ERR_LIMIT, "54011", "a result has more than %d columns and fields",
                       SCHEMA_NODES_MAX);
    r->nodes += n;
    struct column *cs = arena_alloc(r->a, n * sizeof *cs);
    if (!cs)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < n; i++) {
        int rc = take_column(r, depth, &cs[i]);
        if (rc)
            return rc;
    }
    *ret = cs;
    return 0;
}

int schema_read(const void *p, size_t n, struct arena *a, struct schema **ret_schema, struct err *e)
{
    struct reader r = {p, n, a, 0, e};
    if (n < 8 || take_u32(&r) != SCHEMA_MAGIC)
        return lie(e, "not a schema");
    struct schema *s = arena_alloc(a, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    s->ncolumns = take_u32(&r);
    int rc = take_columns(&r, s->ncolumns, 1, &s->columns);
    if (rc == ERR_NOMEM)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (rc)
        return rc;
    if (r.left)
        return lie(e, "bytes after the end");
    rc = schema_number(s, e);
    if (rc)
        return rc;
    *ret_schema = s;
    return 0;
}

static bool columns_equal(const struct column *a, const struct column *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct column *x = &a[i], *y = &b[i];
        if (x->phys != y->phys || x->sql != y->sql || x->nullable != y->nullable ||
            x->precision != y->precision || x->scale != y->scale || x->nchildren != y->nchildren ||
            strcmp(x->name ? x->name : "", y->name ? y->name : "") != 0 ||
            strcmp(x->detail ? x->detail : "", y->detail ? y->detail : "") != 0 ||
            !columns_equal(x->children, y->children, x->nchildren))
            return false;
    }
    return true;
}

bool schema_equal(const struct schema *a, const struct schema *b)
{
    return a->ncolumns == b->ncolumns && columns_equal(a->columns, b->columns, a->ncolumns);
}

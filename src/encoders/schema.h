/*
 * schema: the columns of a result, as they lie at rest and as the engine called them.
 *
 * One physical layout (design.md decision 6): a column has one of the physical types below, whatever the
 * engine's type was; `sql` keeps the engine's own type, so that each dialect can name it in its own words.
 * The engine process widens or writes as text what Arrow would get silently wrong (specs/arrow.md section 2).
 *
 * Serialized form (wire and registry), little endian, strict: u32 magic 'QSCH', u32 column count, then per
 * column in pre-order: u8 phys, u8 sql, u8 flags (bit 0 nullable), u8 precision, u8 scale, u8 0, u16 0, u32
 * child count, u32 name bytes, name (UTF-8), u32 detail bytes, detail (UTF-8). At most SCHEMA_NODES_MAX
 * nodes, depth SCHEMA_DEPTH_MAX, names of 64 KiB.
 */
#ifndef QUERN_ENCODERS_SCHEMA_H
#define QUERN_ENCODERS_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#define SCHEMA_NODES_MAX 65536
#define SCHEMA_DEPTH_MAX 32

/* Physical types. Buffers per node, in this order (validity always first; length 0 means no NULL):
 *   PHYS_BOOL       validity, bits
 *   PHYS_INT16/32/64, FLOAT32/64, DECIMAL (16 bytes), DATE (int64 ms), TIME (int64 us), TIMESTAMP (int64 us),
 *   INTERVAL (16 bytes: i32 months, i32 days, i64 nanoseconds)      validity, values
 *   PHYS_UTF8/BINARY validity, offsets (int32, rows + 1), bytes
 *   PHYS_LIST       validity, offsets (int32, rows + 1); one child
 *   PHYS_STRUCT     validity; children
 *   PHYS_MAP        validity, offsets; one child: STRUCT (key, value), never NULL
 */
enum phys {
    PHYS_BOOL = 1,
    PHYS_INT16,
    PHYS_INT32,
    PHYS_INT64,
    PHYS_FLOAT32,
    PHYS_FLOAT64,
    PHYS_DECIMAL,
    PHYS_UTF8,
    PHYS_BINARY,
    PHYS_DATE,
    PHYS_TIME,
    PHYS_TIMESTAMP,
    PHYS_TIMESTAMPTZ,
    PHYS_INTERVAL,
    PHYS_LIST,
    PHYS_STRUCT,
    PHYS_MAP,
    PHYS_END
};

/* Dates at rest are milliseconds of whole days, as Arrow's date64 asks for; infinity is the engine's own last
 * day, which no finite date reaches. */
#define SCHEMA_DATE_INFINITY (INT64_C(86400000) * INT32_MAX)

/* What the engine called it. TIMESTAMPTZ at rest is UTC microseconds. Timestamps use INT64_MAX / -INT64_MAX for
 * +-infinity. */
enum sqltype {
    SQLT_BOOLEAN = 1,
    SQLT_TINYINT,
    SQLT_SMALLINT,
    SQLT_INTEGER,
    SQLT_BIGINT,
    SQLT_HUGEINT, /* hugeint: DECIMAL(38,0) */
    SQLT_UTINYINT,
    SQLT_USMALLINT,
    SQLT_UINTEGER,
    SQLT_UBIGINT,
    SQLT_UHUGEINT, /* i16, i32, i64, DECIMAL(20,0), UTF8 */
    SQLT_FLOAT,
    SQLT_DOUBLE,
    SQLT_DECIMAL,
    SQLT_VARCHAR,
    SQLT_BLOB,
    SQLT_DATE,
    SQLT_TIME,
    SQLT_TIMETZ /* UTF8 */,
    SQLT_TIMESTAMP_S,
    SQLT_TIMESTAMP_MS,
    SQLT_TIMESTAMP,
    SQLT_TIMESTAMP_NS /* UTF8 */,
    SQLT_TIMESTAMPTZ,
    SQLT_INTERVAL,
    SQLT_UUID,
    SQLT_JSON,
    SQLT_ENUM,
    SQLT_BIT,
    SQLT_BIGNUM,
    SQLT_GEOMETRY,
    SQLT_UNION,
    SQLT_NULL,
    SQLT_OTHER, /* UTF8 */
    SQLT_LIST,
    SQLT_ARRAY,
    SQLT_STRUCT,
    SQLT_MAP,
    SQLT_END
};

struct column {
    const char *name;   /* UTF-8, may be "" or repeated */
    const char *detail; /* the engine's type text, e.g. "DECIMAL(18,4)", for messages; may be "" */
    enum phys phys;
    enum sqltype sql;
    bool nullable;
    uint8_t precision, scale; /* DECIMAL: 1..38, 0..precision */
    uint32_t nchildren;
    struct column *children;
    uint32_t node;         /* pre-order number in the schema */
    uint32_t first_buffer; /* index of its first buffer in the batch */
};

struct schema {
    uint32_t ncolumns; /* top level */
    struct column *columns;
    uint32_t nnodes, nbuffers; /* all levels */
};

/* Number of buffers of one node of this type (children not counted). */
uint32_t phys_buffers(enum phys p);
/* Bytes of one value in the values buffer; 0 for BOOL, UTF8, BINARY, LIST, STRUCT, MAP. */
uint32_t phys_width(enum phys p);
/* Fills node, first_buffer, nnodes, nbuffers of a schema built by hand. ERR_LIMIT. */
int schema_number(struct schema *s, struct err *e) MUST_USE;
int schema_write(const struct schema *s, struct buf *out) MUST_USE;
/* Checks everything; the result lives in `a`. ERR_CORRUPT on any lie, ERR_LIMIT, ERR_NOMEM. Hostile bytes
 * allowed; fuzzed. */
int schema_read(const void *p, size_t n, struct arena *a, struct schema **ret_schema, struct err *e) MUST_USE;
bool schema_equal(const struct schema *a, const struct schema *b);

#endif

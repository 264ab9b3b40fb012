/* trino_type: Trino's names of our types (specs: Trino language/types). Pure; any thread. */
#ifndef QUERN_ENCODERS_TRINO_TYPE_H
#define QUERN_ENCODERS_TRINO_TYPE_H

#include "base/buf.h"
#include "encoders/schema.h"

/* Of a type without parameters; "" or NULL for those that have some. */
const char *trino_plain_name(enum sqltype sql);
/* Appends "decimal(10,2)", "array(bigint)", ... */
int trino_type_name(const struct column *c, struct buf *out) MUST_USE;

#endif

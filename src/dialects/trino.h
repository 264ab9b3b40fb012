/*
 * trino: what the dialects whose users write Trino's SQL (Kakao, Canner) share: Trino's names and signatures
 * of types, and the text of its errors. Facts: specs/trino.md sections 3 and 10. Pure; any thread.
 */
#ifndef QUERN_DIALECTS_TRINO_H
#define QUERN_DIALECTS_TRINO_H

#include "base/json_write.h"
#include "core/query.h"
#include "encoders/trino_type.h"

/* Writes Trino's column objects as an array: name, type, typeSignature {rawType, arguments [{kind, value}]};
 * [] without a schema. A type nested deeper than TRINO_SIGNATURE_DEPTH has the signature of json there.
 * ERR_LIMIT when a type's name is too long. */
#define TRINO_SIGNATURE_DEPTH 8
int trino_columns(struct json_write *w, const struct schema *s) MUST_USE;
/* The message of an ended query's error with Trino's "line L:C: " where the place is known. In `a`, or
 * borrowed from v; never NULL. */
const char *trino_message(struct arena *a, const struct query_view *v);

#endif

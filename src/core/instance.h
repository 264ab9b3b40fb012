/*
 * instance: the database servers that an administrator registered (id -> kind, host, port, TLS), so that users
 * of the API name an id, never a host, and so that nothing else is ever connected to. They belong to the
 * installation, not to a workspace. Kept in the registry and read from there: blocking, any thread that may.
 */
#ifndef QUERN_CORE_INSTANCE_H
#define QUERN_CORE_INSTANCE_H

#include "core/source.h"

/* ERR_INVALID unless `id` is a registered server of this kind. While none is registered at all ids cannot be
 * checked and all pass: a query that connects will say so. */
int instance_check(struct registry *r, const char *id, enum source_kind kind, struct err *e) MUST_USE;

/* ---- administration (durable on return; appends JSON) ---- */
/* type: mysql, postgresql or trino; port NULL = the kind's own; tls: off, prefer (NULL), require or verify. */
int instance_add(struct registry *r, const char *id, const char *type, const char *host, const char *port,
                 const char *tls, struct buf *out, struct err *e) MUST_USE;
int instance_list(struct registry *r, struct buf *out, struct err *e) MUST_USE;
/* Sources that name it stay and no longer work. */
int instance_remove(struct registry *r, const char *id, struct buf *out, struct err *e) MUST_USE;

#endif

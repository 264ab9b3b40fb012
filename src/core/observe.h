/*
 * observe: what is noted about a query beside its record: audit events, the slow-query line, metrics per
 * workspace.
 *
 * Everything here is called at the one place where the thing happens, never blocks and never fails.
 * Workspaces have a series each for the first OBSERVED that were registered; the rest share
 * workspace="other". Threads: any.
 */
#ifndef QUERN_CORE_OBSERVE_H
#define QUERN_CORE_OBSERVE_H

#include "core/query.h"

#define OBSERVED 64

struct query_record;

/* How the audit trail calls a dialect. Before any thread is started. */
void observe_name_dialect(enum dialect_id id, const char *name);

/* A query came into the table of those that are alive (state as it is), or moved. Query lock held or not yet
 * shared. */
void observe_alive(const struct query_record *r);
void observe_move(const struct query_record *r, enum query_state from, enum query_state to);
/* Accepted durably; ended durably; its cancel or delete was accepted. */
void observe_submit(const struct query_record *r);
void observe_end(const struct query_record *r);
void observe_cancel(const struct identity *who, const struct query_record *r);
void observe_delete(const struct identity *who, const struct query_record *r);
/* An admin saw a query that is somebody else's. */
void observe_admin(const struct identity *who, const struct query_record *r);
/* Somebody was refused what the role, the owner rule or the workspace forbids; r may be NULL. */
void observe_denied(const struct identity *who, const char *what, const struct query_record *r);
/* Retention took a result, or the query out of the history; workspace may be NULL. */
void observe_retention(const struct qid *id, const char *workspace, const char *what);
/* Bytes of stored results of a workspace now. */
void observe_spool(int64_t workspace, const char *name, uint64_t bytes);

#endif

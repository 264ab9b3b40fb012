/*
 * audit: the append-only trail of who did what, DIR/audit/audit.log: JSON lines, each with the hash of the
 * one before it. docs/operations.md.
 *
 * One trail in a process. audit_event and audit_refusal: any thread, never block, do nothing while no trail
 * is open. A full queue drops and counts (quern_audit_dropped_total, and a record "audit_dropped" where the
 * gap is); with audit.required=yes new queries are refused meanwhile. Never in it: SQL text, parameters,
 * secrets, cell values. Of a statement it holds a hash keyed with the installation's keyring.
 */
#ifndef QUERN_CORE_AUDIT_H
#define QUERN_CORE_AUDIT_H

#include "base/buf.h"
#include "base/err.h"

#define AUDIT_HASH_TEXT 65 /* hexadecimal BLAKE2b-256 and NUL */

/* The keyring must be there. DIR/lock is held. Mends a torn tail. */
int audit_open(const char *data_dir, struct err *e) MUST_USE;
/* Writes and fsyncs what is queued. */
void audit_close(void);
/* How the previous run of the daemon ended, by its records: "none", "clean", "unclean". Constant once open. */
const char *audit_previous(void);

/* "key", "value" pairs of C strings ended by NULL; a NULL value is left out. The words are OWASP's where it
 * has one (authn_login_fail, authz_fail, user_created ...). */
void audit_event(const char *word, ...) __attribute__((sentinel));
/* The same for what a stranger can cause at will: at most REFUSALS a second, the next one says how many were
 * left out. */
void audit_refusal(const char *word, ...) __attribute__((sentinel));
/* Hash of a statement under a key of this installation: equal texts are found, guessed ones cannot be tested
 * by a reader of the trail. */
void audit_statement(const char *sql, size_t n, char ret[AUDIT_HASH_TEXT]);
/* With audit.required: ERR_UNAVAILABLE while the trail cannot take events. */
int audit_admit(struct err *e) MUST_USE;
/* Waits until all that was queued before is on disk (threads that may block); false when it cannot be
 * written. */
bool audit_flush(void);

/* Calls fn for each file name of the trail, in an order in which copies agree, while none is renamed or
 * removed. */
int audit_each_file(const char *data_dir, int (*fn)(void *arg, const char *name, struct err *e), void *arg,
                    struct err *e) MUST_USE;

/* Checks the whole chain and appends what was found as a JSON object; ERR_CORRUPT names the first record that
 * does not fit. Works beside an open trail and without one. */
int audit_verify(const char *data_dir, struct buf *out, struct err *e) MUST_USE;

#endif

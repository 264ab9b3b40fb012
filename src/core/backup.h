/*
 * backup: a copy of DIR from which a daemon can start, made while this one serves. Threads: any that may
 * block; one at a time.
 *
 * In it: the registry as of one instant, every stored result that this registry names, the keyring, the audit
 * trail, and each workspace's catalog as of an instant of its own a little later (its writers wait while it
 * is copied). Not in it: default buckets (DIR/buckets), the configuration. backup.json is written last:
 * without it the copy is not whole.
 */
#ifndef QUERN_CORE_BACKUP_H
#define QUERN_CORE_BACKUP_H

#include "base/buf.h"
#include "base/err.h"

struct registry;
struct service;

/* s NULL: no daemon runs. `to`: absolute; made, or an empty folder. Appends JSON. */
int backup_make(struct registry *r, struct service *s, const char *data_dir, const char *to, struct buf *out,
                struct err *e) MUST_USE;
/* Removes what a backup left in data_dir whose daemon was killed. Nobody makes one meanwhile. */
void backup_sweep(const char *data_dir);

#endif

/* erase: the folders of a workspace that was removed, and all of one while no daemon runs. Threads that may block. */
#ifndef QUERN_CORE_ERASE_H
#define QUERN_CORE_ERASE_H

#include <stdint.h>

#include "base/err.h"

struct registry;

/* Its catalog and what was delivered below DIR; absent is fine. Durable when it returns. */
int erase_folders(const char *data_dir, int64_t workspace, struct err *e) MUST_USE;
/* Records that it is done: audit and log. */
void erase_tell(const char *uuid);
/* Everything of all removed workspaces. Nobody else has the data folder open. */
int erase_here(struct registry *r, const char *data_dir, struct err *e) MUST_USE;

#endif

/* erase: what a removed workspace leaves: its end, and all of it while no daemon runs. Threads that may block. */
#ifndef QUERN_CORE_ERASE_H
#define QUERN_CORE_ERASE_H

#include <stdint.h>

#include "base/err.h"

struct registry;

/* The end of it, once no query is left: its folders (absent is fine), its row, audit and log. May be done again. */
int erase_end(struct registry *r, const char *data_dir, int64_t workspace, const char *uuid,
              struct err *e) MUST_USE;
/* Everything of all removed workspaces. Nobody else has the data folder open. */
int erase_here(struct registry *r, const char *data_dir, struct err *e) MUST_USE;

#endif

/* selftest: the hostile list, run inside a confined engine process. */
#ifndef QUERN_ENGINES_SELFTEST_H
#define QUERN_ENGINES_SELFTEST_H

#include "engines/duck.h"

/* Sends DONE when nothing succeeded, FAILED naming what did. Returns the exit code. Main thread, no job
 * thread. */
int selftest(struct duck *d, const struct wire_setup *setup, struct port *port);

#endif

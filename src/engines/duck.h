/* duck: the embedded engine as engine_main.c sees it. Threads: see duckdb_int.h. */
#ifndef QUERN_ENGINES_DUCK_H
#define QUERN_ENGINES_DUCK_H

#include "engines/port.h"

struct duck;

/* Opens the instance for `setup` (which must stay alive). Call after sandbox_enter only. */
int duck_open(const struct wire_setup *setup, struct duck **ret, struct err *e) MUST_USE;
/* Runs one job from JOB to DONE or FAILED; both are sent from inside. Job thread. */
void duck_run(struct duck *d, const struct wire_job *job, struct arena *a, struct port *port);
/* Makes ready for the next job; job thread, after the job's last frame. */
void duck_between(struct duck *d);
/* Main thread, any time. */
void duck_interrupt(struct duck *d);
void duck_progress(struct duck *d, uint64_t *ret_scanned, uint64_t *ret_total, int32_t *ret_permille);
/* Takes the copying of the library's chunks over when its vectors are as duckdb_copy.c has them; false: they are not, and the
 * library does it itself. */
bool duck_copy_works(void);
/* "duckdb v1.5.5" */
const char *duck_library(void);
/* Runs text on a fresh connection without any policy (self-test of the sandbox). 0 = the engine carried it
 * out. */
int duck_raw(struct duck *d, const char *sql, struct err *e) MUST_USE;
/* Whether policy and engine would carry it out, as a job without the right to write. 0 = yes. */
int duck_try(struct duck *d, const char *sql, uint8_t profile, bool allow_write, struct err *e) MUST_USE;

#endif

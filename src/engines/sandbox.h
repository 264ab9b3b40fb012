/*
 * sandbox: confinement of the engine process (specs/reliability.md section 8, specs/engine-duckdb.md section
 * 3). Child only, one thread, before the engine library opens anything.
 *
 * Order: capabilities dropped, no_new_privs, PDEATHSIG, rlimits, descriptors closed, Landlock, seccomp.
 * Denied system calls answer EPERM, so that the library turns them into SQL errors; a wrong architecture or
 * x32 number kills.
 */
#ifndef QUERN_ENGINES_SANDBOX_H
#define QUERN_ENGINES_SANDBOX_H

#include "engines/wire.h"

struct sandbox_level {
    int landlock_abi;
    bool seccomp;
};

/* Confines this process for `setup`. Reading: dataset paths (folder of a file), catalog folder (rw for a
 * writer), system libraries and time zones, the two cgroup sources; writing: private_dir only (and the
 * catalog folder of a writer). ERR_INTERNAL with the step's name. */
int sandbox_enter(const struct wire_setup *setup, struct sandbox_level *ret, struct err *e) MUST_USE;

/* Raw probes after sandbox_enter: tries each denied system call and forbidden path once; returns the number
 * that succeeded and writes their names into `out`. */
int sandbox_probe(struct buf *out);

#endif

/*
 * machine: what the machine has. Any thread; blocking (reads a few small files).
 */
#ifndef QUERN_BASE_MACHINE_H
#define QUERN_BASE_MACHINE_H

#include <stdint.h>

/* Physical memory, or the smallest limit of the control groups this process is in when that is less.
 * *ret_from (may be NULL) says which: a constant text. */
uint64_t machine_memory(const char **ret_from);

#endif

/* sandbox_int: the pieces of the sandbox that live in files of their own. Child only, one thread. */
#ifndef QUERN_ENGINES_SANDBOX_INT_H
#define QUERN_ENGINES_SANDBOX_INT_H

#include "engines/sandbox.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif
#ifndef SANDBOX_SANITIZED
#define SANDBOX_SANITIZED 0
#endif

/* Landlock rules for `setup`; *ret_abi is the ABI in force, 0 when the kernel has none. */
int sandbox__landlock(const struct wire_setup *setup, int *ret_abi, struct err *e) MUST_USE;
/* The system call filter. */
int sandbox__seccomp(struct err *e) MUST_USE;

#endif

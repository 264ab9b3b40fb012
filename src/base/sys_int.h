/*
 * sys_int: what sys.c and sys_wait.c share. A call through the seam looks like this:
 *
 *     bool cut;
 *     if (sys__fails(SYS_OPEN, &cut))
 *         return -1;
 *     do
 *         r = cut ? -1 : open(...);
 *     while (r < 0 && sys__again(&cut));
 */
#ifndef QUERN_BASE_SYS_INT_H
#define QUERN_BASE_SYS_INT_H

#include <errno.h>

#include "base/sys.h"

/* Counts the call. True: the plan makes it fail, errno is set. *ret_cut: the plan interrupts it once. */
bool sys__fails(enum sys_kind kind, bool *ret_cut);

/* After a failure: whether the call is to be made again. */
static inline bool sys__again(bool *cut)
{
    bool planned = *cut;
    *cut = false;
    return planned || errno == EINTR;
}

#endif

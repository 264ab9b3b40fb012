/* audit_int: what audit.c (the trail) and audit_chain.c (reading it) share. Not for other files. */
#ifndef QUERN_CORE_AUDIT_INT_H
#define QUERN_CORE_AUDIT_INT_H

#include "base/crypto.h"
#include "core/audit.h"

#define AUDIT_LINE_MAX 8192u /* bytes of a record with its line end */
#define AUDIT_CURRENT  "audit.log"
#define AUDIT_HEAD     "audit.head"
#define AUDIT_NO_HASH                                                                                        \
    "0000000000000000000000000000000000000000000000000000000000000000" /* before the first record */

/* Where a chain stands: number and hash of its last record. seq 0: empty. */
struct audit_point {
    uint64_t seq;
    char hash[AUDIT_HASH_TEXT];
};

struct audit_tail {
    struct audit_point last;
    uint64_t first_seq; /* of the file */
    int64_t size, torn; /* bytes of whole records, bytes of a torn one behind them */
    int previous; /* what the last sys_startup or sys_shutdown in it says: 0 neither, 1 startup, 2 shutdown */
};

void audit__hash(const char *line, size_t n, char ret[AUDIT_HASH_TEXT]);
/* Number and "prev" of a record; false when it has not our shape. */
bool audit__parse(const char *line, size_t n, uint64_t *ret_seq, char ret_prev[AUDIT_HASH_TEXT]);
/* ERR_CORRUPT when the last whole line is no record. ERR_NOTFOUND. */
int audit__tail(int dir, const char *name, struct audit_tail *ret, struct err *e) MUST_USE;
bool audit__head(int dir, struct audit_point *ret);
/* Names of rotated files ("audit-<first seq>.log"), oldest first; freed by audit__names_free. */
int audit__names(int dir, char ***ret, size_t *ret_n, struct err *e) MUST_USE;
void audit__names_free(char **names, size_t n);
/* Held by whoever needs that no file is renamed or removed. */
void audit__files_lock(void);
void audit__files_unlock(void);

#endif

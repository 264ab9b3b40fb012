/*
 * sys: the one seam to the operating system. All file I/O, fsync, rename, spawn, clock and randomness of the
 * daemon go through here, so that tests can make the k-th call of a kind fail.
 *
 * Fault injection: environment QUERN_FAULT="KIND:K:ERRNO[:N]" (for example "fsync:3:EIO") makes the K-th call
 * of that kind (and the N-1 after it; default 1) fail with ERRNO; QUERN_FAULT_COUNT=FILE writes the number of
 * calls of each kind to FILE at exit, one "kind count" line each. Kinds are the names in enum sys_kind, or
 * "all": each kind on its own count.
 * EINTR is no failure: each of these calls is interrupted once, and made again as after a signal.
 * Compiled in always (a counter and a predictable branch); active only when the process was started with the
 * variable. Any thread.
 */
#ifndef QUERN_BASE_SYS_H
#define QUERN_BASE_SYS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"

enum sys_kind {
    SYS_OPEN,
    SYS_READ,
    SYS_WRITE,
    SYS_FSYNC,
    SYS_RENAME,
    SYS_UNLINK,
    SYS_MKDIR,
    SYS_SPAWN,
    SYS_SQLITE,
    SYS_MEMFD,
    SYS_MMAP,
    SYS_TRUNCATE,
    SYS_LOCK,
    SYS_POLL,
    SYS_RECV,
    SYS_SEND,
    SYS_ACCEPT,
    SYS_CONNECT,
    SYS_WAIT,
    SYS_EVENT,
    SYS_KINDS
};

/* True when the injected fault hits this call; then errno is set. Call it yourself around calls that sys does
 * not wrap (they are none that a signal interrupts: EINTR does not hit them). */
bool sys_fault(enum sys_kind kind);
/* Reads QUERN_FAULT, QUERN_FAULT_COUNT and QUERN_CLOCK_OFFSET_MS (a malformed one is an error message and
 * exit 2: a test that injects nothing must not pass). Call once from main before threads. */
void sys_init(void);

/* As the system call, -1 and errno on failure; EINTR is retried inside. Partial reads and writes are
 * completed inside: sys_pread returns less than n only at end of file. */
int sys_open(const char *path, int flags, unsigned mode);
int sys_openat(int dir, const char *path, int flags, unsigned mode);
ssize_t sys_pread(int fd, void *p, size_t n, int64_t off);
int sys_write_all(int fd, const void *p, size_t n);
int sys_writev_all(int fd, struct iovec *iov, int n); /* changes iov */
int sys_fsync(int fd);
/* Lets the disk begin with what was written there, so that a later fsync waits less. A hint: no error, no fault. */
void sys_write_behind(int fd, int64_t off, int64_t len);
int sys_rename(const char *from, const char *to);
int sys_renameat(int dir, const char *from, const char *to);
int sys_linkat(int dir, const char *from, const char *to); /* counts as SYS_RENAME */
int sys_unlinkat(int dir, const char *path, int flags);
int sys_mkdir_p(const char *path, unsigned mode); /* parents too; an existing folder is fine */
int sys_fsync_dir(const char *path);
int sys_syncfs(int fd); /* counts as SYS_FSYNC */
int sys_ftruncate(int fd, int64_t size);
int sys_fallocate(int fd, int64_t size); /* blocks from 0 to size; counts as SYS_WRITE */
int sys_flock(int fd, int operation);

/* Monotonic and wall clock. Both may be shifted by tests: QUERN_CLOCK_OFFSET_MS (wall only). */
int64_t sys_mono_ns(void);
int64_t sys_wall_ms(void); /* Unix epoch, milliseconds */
void sys_sleep_ms(unsigned ms);

/* Cryptographic randomness; aborts when the kernel has none. */
void sys_random(void *p, size_t n);

/* Starts `path` with argv and an otherwise empty environment (envp may be NULL). fds[i] becomes descriptor
 * 3+i in the child, all others above 2 are closed; 0 and 1 are /dev/null, 2 is the parent's. Signal mask and
 * dispositions are the default ones. The numbers in fds may be anything, also 0..2 or overlapping 3..; the
 * parent keeps its own. Returns the pid or -1 with errno. */
pid_t sys_spawn(const char *path, char *const argv[], char *const envp[], const int *fds, int nfds);

/* fd cleanup attribute: CLEANUP_FD int fd = -1; */
void sys_close_cleanup(int *fd);
#define CLEANUP_FD __attribute__((cleanup(sys_close_cleanup)))

#endif

/*
 * admin: `quernd admin ...`. One command table; run in-process under DIR/lock, or by the daemon for a client
 * on DIR/admin.sock (mode 0600, peer uid checked).
 *
 * Socket protocol: the client sends one JSON line {"argv":[...]} and shuts down writing; the daemon answers
 * one JSON line {"ok":true|false,"out":"text","error":"text","exit":0|1|2} and closes.
 */
#ifndef QUERN_CORE_ADMIN_H
#define QUERN_CORE_ADMIN_H

#include "core/identity.h"
#include "core/source.h"
#include "core/workspace.h"

#include <stdatomic.h>

struct registry;
struct service;

struct admin_context {
    struct registry *registry;
    struct identities *identities;
    struct workspaces *workspaces;
    struct sources *sources;
    struct service *service; /* NULL when no daemon runs */
    const char *data_dir;
    const atomic_bool *stopping; /* set when a command that waits should end; NULL: never */
};

/* Runs one command (argv without "quernd admin --data DIR"; --json anywhere). Appends what is to be printed.
 * A wrong command line is ERR_INVALID with SQLSTATE 42601 (exit code 2), anything else that fails is exit
 * code 1. */
int admin_run(struct admin_context *c, int argc, char *const argv[], struct buf *out, struct err *e) MUST_USE;
/* Usage text. */
const char *admin_usage(void);

struct admin_server;
/* Listens on DIR/admin.sock; a thread for each command under way, a few at a time. */
int admin_server_start(struct admin_context *c, const char *data_dir, struct admin_server **ret,
                       struct err *e) MUST_USE;
/* The daemon will stop: commands that wait end, and what would let queries in again is refused. */
void admin_server_stopping(struct admin_server *s);
/* Waits for commands that are under way. */
void admin_server_stop(struct admin_server *s);

/* The command line program: takes DIR/lock and opens the registry itself, or speaks to the socket. Returns
 * the exit code; prints to stdout and stderr. */
int admin_main(int argc, char **argv);

/* DIR/lock: 0 and the descriptor, or ERR_BUSY when a daemon holds it. Makes DIR (0700) if needed. */
int data_dir_lock(const char *data_dir, int *ret_fd, struct err *e) MUST_USE;

#endif

/* admin_int: what admin.c (commands), admin_text.c (readable answers), admin_server.c and admin_cli.c share. Not for other files. */
#ifndef QUERN_CORE_ADMIN_INT_H
#define QUERN_CORE_ADMIN_INT_H

#include "core/admin.h"

#define ADMIN_REQUEST_MAX (256u * 1024)
#define ADMIN_ANSWER_MAX (16u * 1024 * 1024)
#define ADMIN_SOCKET "admin.sock"

enum admin_flag { FLAG_WORKSPACE, FLAG_USER, FLAG_ROLE, FLAG_URL, FLAG_ENDPOINT, FLAG_REGION, FLAG_KEY_FILE, FLAG_READ_ONLY, FLAG_DEFAULT, FLAG_JSON, FLAGS };

struct admin_command;
/* A command line that was understood; texts are argv's. */
struct admin_args { const struct admin_command *command; const char *name; enum role role; const char *value[FLAGS]; /* NULL: not given */ };

/* ERR_INVALID with SQLSTATE ADMIN_USAGE: exit code 2. Touches nothing. */
#define ADMIN_USAGE "42601"
int admin__parse(int argc, char *const argv[], struct admin_args *ret, struct err *e) MUST_USE;

/* JSON as text for people: an object one member a line, a list of objects as a table. */
int admin__text(const struct buf *json, struct buf *out, struct err *e) MUST_USE;

#endif

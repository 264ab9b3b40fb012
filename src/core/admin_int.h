/* admin_int: what admin.c (commands), admin_text.c (readable answers), admin_server.c and admin_cli.c share.
 * Not for other files. */
#ifndef QUERN_CORE_ADMIN_INT_H
#define QUERN_CORE_ADMIN_INT_H

#include "core/admin.h"

#define ADMIN_REQUEST_MAX (256u * 1024)
#define ADMIN_ANSWER_MAX  (16u * 1024 * 1024)
#define ADMIN_SOCKET      "admin.sock"

enum admin_flag {
    FLAG_WORKSPACE,
    FLAG_USER,
    FLAG_ROLE,
    FLAG_TYPE,
    FLAG_HOST,
    FLAG_PORT,
    FLAG_TLS,
    FLAG_URL,
    FLAG_ENDPOINT,
    FLAG_REGION,
    FLAG_KEY_FILE,
    FLAG_READ_ONLY,
    FLAG_DEFAULT,
    FLAG_STATE,
    FLAG_LIMIT,
    FLAG_EXPIRES,
    FLAG_GRACE,
    FLAG_WAIT,
    FLAG_TO,
    FLAG_FORCE,
    FLAG_JSON,
    FLAGS
};

struct admin_command;
/* A command line that was understood; texts are argv's. */
struct admin_args {
    const struct admin_command *command;
    const char *name, *setting;
    enum role role;
    const char *value[FLAGS]; /* NULL: not given */
};

/* ERR_INVALID with SQLSTATE ADMIN_USAGE: exit code 2. Touches nothing. */
#define ADMIN_USAGE "42601"
int admin__parse(int argc, char *const argv[], struct admin_args *ret, struct err *e) MUST_USE;

/* False: the command must find the audit trail as it is. */
bool admin__audited(const struct admin_args *a);

/* admin_operate.c: commands of the table in admin.c. */
typedef int (*admin_fn)(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e);
int admin__query_list(struct admin_context *c, const struct admin_args *a, struct buf *json,
                      struct err *e) MUST_USE;
int admin__query_cancel(struct admin_context *c, const struct admin_args *a, struct buf *json,
                        struct err *e) MUST_USE;
int admin__source_test(struct admin_context *c, const struct admin_args *a, struct buf *json,
                       struct err *e) MUST_USE;
/* admin_remove.c */
int admin__workspace_remove(struct admin_context *c, const struct admin_args *a, struct buf *json,
                            struct err *e) MUST_USE;
int admin__drain(struct admin_context *c, const struct admin_args *a, struct buf *json,
                 struct err *e) MUST_USE;
int admin__undrain(struct admin_context *c, const struct admin_args *a, struct buf *json,
                   struct err *e) MUST_USE;
int admin__pause(struct admin_context *c, const struct admin_args *a, struct buf *json,
                 struct err *e) MUST_USE;
int admin__resume(struct admin_context *c, const struct admin_args *a, struct buf *json,
                  struct err *e) MUST_USE;
int admin__backup(struct admin_context *c, const struct admin_args *a, struct buf *json,
                  struct err *e) MUST_USE;
int admin__audit_verify(struct admin_context *c, const struct admin_args *a, struct buf *json,
                        struct err *e) MUST_USE;

/* JSON as text for people: an object one member a line, a list of objects as a table. */
int admin__text(const struct buf *json, struct buf *out, struct err *e) MUST_USE;

#endif

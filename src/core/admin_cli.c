/*
 * admin_cli: `quernd admin`. Under DIR/lock when nobody holds it, else through the daemon's socket. One
 * thread.
 *
 * A lock that is held without a socket that answers is another `quernd admin` at work, or a daemon that
 * starts or stops: both are waited for, WAIT_MS at most. Invariant: a wrong command line touches nothing, it
 * does not even make DIR.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/json_read.h"
#include "base/json_write.h"
#include "base/log.h"
#include "base/sys_wait.h"
#include "base/config.h"
#include "core/admin_int.h"
#include "core/audit.h"
#include "core/registry.h"

#define WAIT_MS 15000
#define ANSWER_SECONDS                                                                                       \
    (24 * 3600) /* a drain or a backup takes its time; a daemon that dies closes the socket */

int data_dir_lock(const char *data_dir, int *ret_fd, struct err *e)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/lock", data_dir) >= (int)sizeof path)
        return err_set(e, ERR_INVALID, NULL, "the name of the data folder is too long");
    if (sys_mkdir_p(data_dir, 0700) < 0)
        return err_errno(e, errno, "making the data folder");
    CLEANUP_FD int fd = sys_open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, errno, "opening the lock of the data folder");
    if (sys_flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? err_set(e, ERR_BUSY, "55006", "the data folder is in use by another quernd")
                   : err_errno(e, errno, "locking the data folder");
    *ret_fd = fd;
    fd = -1;
    return 0;
}

/* ---- without a daemon ---- */

static int run_here(const char *data_dir, const char *config_file, int argc, char *const argv[],
                    struct buf *out, struct err *e)
{
    struct registry *r = NULL;
    struct admin_context c = {.data_dir = data_dir};
    struct admin_args args;
    int rc = admin__parse(argc, argv, &args, e);
    if (!rc)
        rc = config_load(config_file, false, e);
    if (!rc)
        rc = registry_open(data_dir, &r, e);
    c.registry = r;
    if (!rc)
        rc = identities_open(r, data_dir, &c.identities, e);
    if (!rc && admin__audited(&args))
        rc = audit_open(data_dir, e);
    if (!rc)
        rc = workspaces_open(r, data_dir, &c.workspaces, e);
    if (!rc)
        rc = sources_open(r, data_dir, &c.sources, e);
    if (!rc)
        rc = admin_run(&c, argc, argv, out, e);
    sources_close(c.sources);
    workspaces_close(c.workspaces);
    audit_close();
    identities_close(c.identities);
    registry_close(r);
    return rc;
}

/* ---- through the daemon ---- */

static int speak_to(const char *data_dir)
{
    CLEANUP_FD int dir = sys_open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (dir < 0 || fd < 0)
        return -1;
    snprintf(at.sun_path, sizeof at.sun_path, "/proc/self/fd/%d/%s", dir, ADMIN_SOCKET);
    if (sys_connect(fd, (const struct sockaddr *)&at, sizeof at) < 0)
        return -1;
    struct timeval patience = {ANSWER_SECONDS, 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    int r = fd;
    fd = -1;
    return r;
}

static int read_answer(const struct buf *in, struct buf *out, struct err *e)
{
    CLEANUP_JSON struct json_doc *d = NULL;
    bool ok;
    size_t n = 0;
    int64_t code = 0;
    int rc = in->len > 0 ? json_parse(in->p, in->len, &d, NULL) : ERR_INVALID;
    if (rc || !json_boolean(json_get(json_root(d), "ok"), &ok))
        return err_set(
            e, ERR_UNAVAILABLE, NULL,
            "the running daemon gave no answer; whether it did anything is not known: list and see");
    const char *text = json_string(json_get(json_root(d), ok ? "out" : "error"), &n);
    if (ok)
        return buf_add(out, text ? text : "", n);
    (void)json_int(json_get(json_root(d), "exit"), &code);
    return err_set(e, ERR_INVALID, code == 2 ? ADMIN_USAGE : NULL, "%s", text ? text : "refused");
}

static int run_there(int fd, int argc, char *const argv[], struct buf *out, struct err *e)
{
    CLEANUP_BUF struct buf ask = BUF_INIT(ADMIN_REQUEST_MAX);
    CLEANUP_BUF struct buf in = BUF_INIT(8 * (size_t)ADMIN_ANSWER_MAX);
    struct json_write j = JSON_WRITE_INIT(&ask);
    json_object_begin(&j);
    json_key(&j, "argv");
    json_array_begin(&j);
    for (int i = 0; i < argc; i++)
        json_str(&j, argv[i]);
    json_array_end(&j);
    json_object_end(&j);
    buf_char(&ask, '\n');
    if (buf_failed(&ask))
        return err_set(e, ERR_INVALID, ADMIN_USAGE, "the command is too long");
    if (sys_write_all(fd, ask.p, ask.len) < 0)
        return err_errno(e, errno, "speaking to the running daemon");
    (void)shutdown(fd, SHUT_WR);
    for (;;) {
        if (buf_reserve(&in, 65536))
            break;
        ssize_t n = sys_recv(fd, in.p + in.len, 65536, 0);
        if (n <= 0)
            break;
        in.len += (size_t)n;
    }
    return read_answer(&in, out, e);
}

static int run_where_possible(const char *data_dir, const char *config_file, int argc, char *const argv[],
                              struct buf *out, struct err *e)
{
    int64_t until = sys_mono_ns() + WAIT_MS * 1000000LL;
    do {
        CLEANUP_FD int lock = -1;
        int rc = data_dir_lock(data_dir, &lock, e);
        if (rc == 0)
            return run_here(data_dir, config_file, argc, argv, out, e);
        if (rc != ERR_BUSY)
            return rc;
        err_clear(e);
        CLEANUP_FD int fd = speak_to(data_dir);
        if (fd >= 0)
            return run_there(fd, argc, argv, out, e);
        sys_sleep_ms(50);
    } while (sys_mono_ns() < until);
    return err_set(e, ERR_BUSY, "55006",
                   "another quernd holds the lock of the data folder, but its admin socket does not answer: "
                   "it is starting, stopping or hanging; try again");
}

/* ---- the program ---- */

static int finish(int rc, const struct buf *out, const struct err *e)
{
    if (rc == 0) {
        bool ok = out->len == 0 || fwrite(out->p, 1, out->len, stdout) == out->len;
        if (fflush(stdout) == 0 && ok)
            return 0;
        fprintf(stderr, "quernd admin: done, but the answer could not be written\n");
        return 1;
    }
    fprintf(stderr, "quernd admin: %s\n", e->text[0] ? e->text : err_name(rc));
    return strcmp(e->sqlstate, ADMIN_USAGE) == 0 ? 2 : 1;
}

/* Takes --data, --config and --help out of argv, the rest stays in rest. */
static int split(int argc, char **argv, const char **ret_data, const char **ret_config, bool *ret_help,
                 char **rest, struct err *e)
{
    int n = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || (i == 1 && strcmp(argv[i], "help") == 0)) {
            *ret_help = true;
        } else if (strncmp(argv[i], "--data=", 7) == 0) {
            *ret_data = argv[i] + 7;
        } else if (strcmp(argv[i], "--data") == 0) {
            if (i + 1 == argc)
                return err_set(e, ERR_INVALID, ADMIN_USAGE, "a folder must follow \"--data\"");
            *ret_data = argv[++i];
        } else if (strcmp(argv[i], "--config") == 0) {
            if (i + 1 == argc)
                return err_set(e, ERR_INVALID, ADMIN_USAGE, "a file must follow \"--config\"");
            *ret_config = argv[++i];
        } else {
            rest[n++] = argv[i];
        }
    }
    return n;
}

int admin_main(int argc, char **argv)
{
    struct err e;
    err_clear(&e);
    log_init(LOG_WARN, false);
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    const char *data = NULL, *config_file = NULL;
    bool help = false;
    char **rest = calloc((size_t)argc + 1, sizeof *rest);
    if (!rest)
        return 1;
    CLEANUP_BUF struct buf out = BUF_INIT(ADMIN_ANSWER_MAX);
    struct admin_args args;
    int n = split(argc, argv, &data, &config_file, &help, rest, &e), rc = n < 0 ? n : 0;
    if (help) {
        free(rest);
        return fputs(admin_usage(), stdout) < 0;
    }
    if (!rc)
        rc = admin__parse(n, rest, &args, &e);
    if (!rc && (!data || !data[0]))
        rc = err_set(&e, ERR_INVALID, ADMIN_USAGE, "\"--data DIR\" is missing");
    if (!rc)
        rc = run_where_possible(data, config_file, n, rest, &out, &e);
    free(rest);
    return finish(rc, &out, &e);
}

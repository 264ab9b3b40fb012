/* test_admin: the program `quernd admin`, without a daemon and through a daemon's socket; wrong command
 * lines; strangers and liars at the socket. */
#include <sys/socket.h>
#include <sys/un.h>

#include "base/json_read.h"
#include "core/admin.h"
#include "core_test.h"

struct fixture {
    struct place p;
    char data[400]; /* a name that no socket path could hold */
    char out[200000], err[4000];
    int lock;
    struct admin_context c;
    struct admin_server *server;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    place_make(&f->p);
    int n = snprintf(f->data, sizeof f->data, "%s/", f->p.dir);
    memset(f->data + n, 'd', 150);
    f->lock = -1;
    *state = f;
    return 0;
}

static void daemon_stop(struct fixture *f)
{
    admin_server_stop(f->server);
    sources_close(f->c.sources);
    workspaces_close(f->c.workspaces);
    identities_close(f->c.identities);
    registry_close(f->p.r);
    if (f->lock >= 0)
        close(f->lock);
    f->server = NULL;
    f->c = (struct admin_context){0};
    f->p.r = NULL;
    f->lock = -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    daemon_stop(f);
    place_remove(&f->p);
    free(f);
    return 0;
}

static void daemon_start(struct fixture *f)
{
    struct err e;
    assert_int_equal(data_dir_lock(f->data, &f->lock, &e), 0);
    assert_int_equal(registry_open(f->data, &f->p.r, &e), 0);
    assert_int_equal(identities_open(f->p.r, f->data, &f->c.identities, &e), 0);
    assert_int_equal(workspaces_open(f->p.r, f->data, &f->c.workspaces, &e), 0);
    assert_int_equal(sources_open(f->p.r, f->data, &f->c.sources, &e), 0);
    assert_int_equal(admin_server_start(&f->c, f->data, &f->server, &e), 0);
}

static void slurp(FILE *from, char *out, size_t cap)
{
    rewind(from);
    size_t n = fread(out, 1, cap - 1, from);
    out[n] = 0;
    fclose(from);
}

/* Runs `quernd admin --data DIR words...` in this process. */
static int admin(struct fixture *f, const char *words)
{
    char copy[2000], *argv[40] = {(char[]){"admin"}, (char[]){"--data"}, f->data}, *save = NULL;
    int argc = 3;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    FILE *o = tmpfile(), *e = tmpfile();
    fflush(stdout);
    fflush(stderr);
    int out = dup(1), err = dup(2);
    dup2(fileno(o), 1);
    dup2(fileno(e), 2);
    int rc = admin_main(argc, argv);
    fflush(stdout);
    fflush(stderr);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    slurp(o, f->out, sizeof f->out);
    slurp(e, f->err, sizeof f->err);
    return rc;
}

static void wrong(struct fixture *f, const char *words, const char *text)
{
    int rc = admin(f, words);
    if (rc != 2 || !strstr(f->err, text) || f->out[0])
        fail_msg("\"%s\": exit %d, \"%s\"", words, rc, f->err);
}

static void test_usage(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    wrong(f, "", "a command is missing");
    wrong(f, "frob", "unknown command \"frob\"");
    wrong(f, "key", "something must follow \"key\"");
    wrong(f, "key frob", "unknown command \"key frob\"");
    wrong(f, "key create --workspace W --user U", "missing: \"--role\"");
    wrong(f, "key create --workspace W --user U --role boss", "unknown role \"boss\"");
    wrong(f, "key create --workspace W --user U --role", "must follow \"--role\"");
    wrong(f, "key create --workspace --user U --role admin", "must follow \"--workspace\"");
    wrong(f, "key create --workspace W --user U --role admin extra", "unexpected \"extra\"");
    wrong(f, "key create --workspace W --workspace V --user U --role admin", "given twice: \"--workspace\"");
    wrong(f, "key list --frob", "unknown flag \"--frob\"");
    wrong(f, "key list --work W", "unknown flag \"--work\"");
    wrong(f, "key list --url x", "knows no flag \"--url\"");
    wrong(f, "key revoke", "missing: \"KEYID\"");
    wrong(f, "key revoke a b", "unexpected \"b\"");
    wrong(f, "bucket create b --url file:///b --workspace W --default=yes",
          "no value may follow \"--default\"");
    wrong(f, "key list \xff", "not UTF-8");
    wrong(f, "key list --data", "must follow \"--data\"");
    assert_int_not_equal(stat(f->data, &st), 0); /* none of that made the folder */
    assert_int_equal(admin(f, "--help"), 0);
    assert_string_equal(f->out, admin_usage());
}

static json_value parsed(struct fixture *f, struct json_doc **d)
{
    struct err e;
    json_doc_free(*d);
    *d = NULL;
    assert_int_equal(json_parse(f->out, strlen(f->out), d, &e), 0);
    return json_root(*d);
}

/* The same life in both ways of running. */
static void life(struct fixture *f)
{
    CLEANUP_JSON struct json_doc *d = NULL;
    char words[1000], id[64];
    assert_int_equal(admin(f, "--json key create --workspace=W --user U --role admin"), 0);
    json_value v = parsed(f, &d);
    snprintf(id, sizeof id, "%s", json_string(json_get(v, "keyId"), NULL));
    assert_int_equal(json_size(json_get(v, "headers")), 5);
    assert_int_equal(admin(f, "key create --workspace W --user V --role reader"), 0);
    assert_non_null(strstr(f->out, "shown this once"));
    assert_non_null(strstr(f->out, "Credential-Secret  "));
    assert_int_equal(admin(f, "key list --json --workspace W"), 0);
    assert_int_equal(json_size(parsed(f, &d)), 2);
    snprintf(words, sizeof words, "key revoke %s", id);
    assert_int_equal(admin(f, words), 0);
    assert_int_equal(admin(f, words), 1);
    assert_string_equal(f->err, "quernd admin: there is no active key of that id\n");
    assert_int_equal(admin(f, "key list"), 0);
    assert_non_null(strstr(f->out, "revoked"));
    snprintf(words, sizeof words, "%s/x.csv", f->p.dir);
    int fd = open(words, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    close(fd);
    snprintf(words, sizeof words, "dataset add t --workspace W --url file://%s/x.csv --json", f->p.dir);
    assert_int_equal(admin(f, words), 0);
    assert_string_equal(json_string(json_get(parsed(f, &d), "format"), NULL), "csv");
    assert_int_equal(admin(f, words), 1);
    assert_non_null(strstr(f->err, "exists already"));
    assert_int_equal(admin(f, "dataset list"), 0);
    assert_non_null(strstr(f->out, "x.csv"));
    assert_int_equal(admin(f, "dataset remove t --workspace W"), 0);
    assert_int_equal(admin(f, "dataset list --workspace W"), 0);
    assert_string_equal(f->out, "(none)\n");
    snprintf(words, sizeof words, "bucket create b --workspace W --url file://%s/bucket --default --json",
             f->p.dir);
    assert_int_equal(admin(f, words), 0);
    bool is_default = false;
    assert_true(json_boolean(json_get(parsed(f, &d), "default"), &is_default) && is_default);
    assert_int_equal(admin(f, "bucket create c --workspace W --url s3://b/c --region r"), 1);
    snprintf(words, sizeof words, "bucket create c --workspace W --url file://%s/bucket --region r",
             f->p.dir);
    assert_int_equal(admin(f, words), 2);
    assert_int_equal(admin(f, "bucket list"), 0);
    assert_int_equal(admin(f, "workspace list --json"), 0);
    assert_int_equal(json_size(parsed(f, &d)), 1);
    assert_int_equal(admin(f, "dataset list --workspace nobody"), 1);
}

static void test_alone(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    life(f);
    assert_int_equal(stat(f->data, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    daemon_start(f); /* finds what was made */
    assert_int_equal(admin(f, "key list"), 0);
    assert_non_null(strstr(f->out, "revoked"));
}

static void test_daemon(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    char path[600];
    daemon_start(f);
    life(f);
    snprintf(path, sizeof path, "%s/admin.sock", f->data);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    wrong(f, "key frob", "unknown command");
    int second;
    struct err e;
    assert_int_equal(data_dir_lock(f->data, &second, &e), ERR_BUSY);
    /* A key made through the socket works in the daemon at once, and a workspace of it is known. */
    assert_int_equal(admin(f, "key create --workspace New --user U --role member --json"), 0);
    CLEANUP_JSON struct json_doc *d = NULL;
    const char *token = json_string(json_get(parsed(f, &d), "token"), NULL);
    struct identity who;
    assert_int_equal(identity_check(f->c.identities, token, strlen(token), NULL, 0, "p", &who, &e), 0);
    struct arena *a = arena_new(1 << 16);
    struct engine_key k;
    assert_int_equal(workspace_engine_key(f->c.workspaces, who.workspace, false, a, &k, &e), 0);
    arena_free(a);
    daemon_stop(f);
    assert_int_not_equal(stat(path, &st), 0);
    assert_int_equal(admin(f, "key list"), 0);
    assert_non_null(strstr(f->out, "New"));
}

static int connect_to(struct fixture *f)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int dir = open(f->data, O_PATH | O_CLOEXEC), fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof at.sun_path, "/proc/self/fd/%d/admin.sock", dir);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    close(dir);
    return fd;
}

static void say(struct fixture *f, const char *text, size_t n, const char *expect)
{
    char reply[4000];
    size_t got = 0;
    ssize_t k;
    int fd = connect_to(f);
    (void)!send(fd, text, n, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    while (got < sizeof reply - 1 && (k = recv(fd, reply + got, sizeof reply - 1 - got, 0)) > 0)
        got += (size_t)k;
    reply[got] = 0;
    close(fd);
    if (expect && !strstr(reply, expect))
        fail_msg("%.60s: %s", text, reply);
    if (!expect)
        assert_int_equal(got, 0);
}

static void test_liars(void **state)
{
    struct fixture *f = *state;
    daemon_start(f);
    say(f, "", 0, "\"ok\":false");
    say(f, "garbage\n", 8, "\"ok\":false");
    say(f, "{}\n", 3, "no argv");
    say(f, "{\"argv\":[1]}\n", 13, "is no text");
    say(f, "{\"argv\":[]}", 11, "a command is missing");
    say(f, "{\"argv\":[\"key\",\"list\",\"--json\"]}", 32, "\"ok\":true");
    char *big = malloc(1 << 20);
    memset(big, 'x', 1 << 20);
    say(f, big, 1 << 20, NULL);
    free(big);
    close(connect_to(f)); /* says nothing and leaves */
    assert_int_equal(admin(f, "workspace list"), 0);
}

static void test_lock_without_socket(void **state)
{
    struct fixture *f = *state;
    struct err e;
    /* Another quernd admin holds the lock for a moment: waited for. */
    assert_int_equal(data_dir_lock(f->data, &f->lock, &e), 0);
    int64_t start = sys_mono_ns();
    pid_t pid = fork();
    if (pid == 0) {
        sys_sleep_ms(300);
        _exit(0); /* its copy of the lock's descriptor goes with it */
    }
    close(f->lock);
    f->lock = -1;
    assert_int_equal(admin(f, "workspace list"), 0);
    assert_true(sys_mono_ns() - start > 200 * 1000000LL);
}

int main(void)
{
    sys_init();
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_usage), T(test_lock_without_socket), T(test_alone),
                                       T(test_daemon), T(test_liars)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

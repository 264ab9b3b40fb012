/*
 * admin: the one table of commands, and their running. Where they run (in the daemon or under DIR/lock) is
 * admin_server.c's and admin_cli.c's.
 *
 * Invariants: a command line is understood as a whole before anything happens; every answer is made as JSON
 * once and, without --json, shown as text. Threads: any that may block; the rooms below take turns by
 * themselves.
 */
#include <pthread.h>
#include <string.h>

#include "base/config.h"
#include "base/sys.h"
#include "base/utf8.h"
#include "core/admin_int.h"
#include "core/instance.h"

#define YEARS_100_MS 3153600000000LL

struct admin_command {
    const char *noun, *verb,
        *name;           /* verb NULL: one word alone; name: what the word after them is, NULL none */
    const char *setting; /* what the word after that is; NULL none */
    unsigned need, may;  /* bits (1 << enum admin_flag) */
    admin_fn run;
    const char *after; /* a line below the readable answer */
};

static const struct {
    const char *name, *value;
} flags[FLAGS] = {
    [FLAG_WORKSPACE] = {"--workspace", "a name"},
    [FLAG_USER] = {"--user", "a name"},
    [FLAG_ROLE] = {"--role", "admin, member or reader"},
    [FLAG_TYPE] = {"--type", "mysql, postgresql or trino"},
    [FLAG_HOST] = {"--host", "a name or an address"},
    [FLAG_PORT] = {"--port", "a number"},
    [FLAG_TLS] = {"--tls", "off, prefer, require or verify"},
    [FLAG_URL] = {"--url", "a URL"},
    [FLAG_ENDPOINT] = {"--endpoint", "a URL"},
    [FLAG_REGION] = {"--region", "a name"},
    [FLAG_KEY_FILE] = {"--key-file", "a file"},
    [FLAG_READ_ONLY] = {"--read-only", NULL},
    [FLAG_DEFAULT] = {"--default", NULL},
    [FLAG_STATE] = {"--state", "a state"},
    [FLAG_LIMIT] = {"--limit", "a number"},
    [FLAG_EXPIRES] = {"--expires", "a time such as 30d"},
    [FLAG_GRACE] = {"--grace", "a time such as 1d"},
    [FLAG_WAIT] = {"--wait", "a time such as 30s"},
    [FLAG_TO] = {"--to", "a folder"},
    [FLAG_FORCE] = {"--force", NULL},
    [FLAG_JSON] = {"--json", NULL},
};

static int usage_error(struct err *e, const char *what, const char *word, const char *rest)
{
    return err_set(e, ERR_INVALID, ADMIN_USAGE, "%s \"%.200s\"%s", what, word, rest);
}

/* ---- the commands ---- */

/* A flag's span of time from now; 0 when it is not given. */
static int span(const struct admin_args *a, enum admin_flag f, int64_t least, int64_t *ret_ms, struct err *e)
{
    const char *text = a->value[f];
    *ret_ms = 0;
    if (!text)
        return 0;
    if (!config_number(CONFIG_MS, text, ret_ms) || *ret_ms < least || *ret_ms > YEARS_100_MS)
        return err_set(e, ERR_INVALID, ADMIN_USAGE, "%s is %s, not \"%.100s\"", flags[f].name, flags[f].value,
                       text);
    return 0;
}

static int expiry(const struct admin_args *a, int64_t *ret_ms, struct err *e)
{
    int rc = span(a, FLAG_EXPIRES, 1, ret_ms, e);
    if (!rc && *ret_ms)
        *ret_ms += sys_wall_ms();
    return rc;
}

static int key_create(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    int64_t expires;
    int rc = expiry(a, &expires, e);
    if (!rc)
        rc = identity_key_create(c->identities, a->value[FLAG_WORKSPACE], a->value[FLAG_USER], a->role,
                                 expires, json, e);
    return rc ? rc : workspaces_reload(c->workspaces, e); /* it may have made the workspace */
}

static int key_list(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    return identity_key_list(c->identities, a->value[FLAG_WORKSPACE], json, e);
}

static int key_revoke(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    return identity_key_revoke(c->identities, a->name, json, e);
}

static int key_rotate(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    int64_t expires, grace;
    int rc = expiry(a, &expires, e);
    if (!rc)
        rc = span(a, FLAG_GRACE, 0, &grace, e);
    return rc ? rc : identity_key_rotate(c->identities, a->name, grace, expires, json, e);
}

static int set_workspace(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    return workspace_set(c->workspaces, a->name, a->setting, json, e);
}

static int bucket_create(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    const char *url = a->value[FLAG_URL];
    for (enum admin_flag f = FLAG_ENDPOINT; f <= FLAG_KEY_FILE; f++)
        if (a->value[f] && strncmp(url, "file:", 5) == 0)
            return usage_error(e, "a local bucket has no", flags[f].name, "");
    return workspace_bucket_create(c->workspaces, a->value[FLAG_WORKSPACE], a->name, url,
                                   a->value[FLAG_READ_ONLY] != NULL, a->value[FLAG_DEFAULT] != NULL, json, e);
}

static int bucket_list(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    return workspace_bucket_list(c->workspaces, a->value[FLAG_WORKSPACE], json, e);
}

static int dataset_add(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    return workspace_dataset_add(c->workspaces, a->value[FLAG_WORKSPACE], a->name, a->value[FLAG_URL], json,
                                 e);
}

static int dataset_list(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    return workspace_dataset_list(c->workspaces, a->value[FLAG_WORKSPACE], json, e);
}

static int dataset_remove(struct admin_context *c, const struct admin_args *a, struct buf *json,
                          struct err *e)
{
    return workspace_dataset_remove(c->workspaces, a->value[FLAG_WORKSPACE], a->name, json, e);
}

static int add_instance(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    return instance_add(c->registry, a->name, a->value[FLAG_TYPE], a->value[FLAG_HOST], a->value[FLAG_PORT],
                        a->value[FLAG_TLS], json, e);
}

static int list_instances(struct admin_context *c, const struct admin_args *a, struct buf *json,
                          struct err *e)
{
    (void)a;
    return instance_list(c->registry, json, e);
}

static int remove_instance(struct admin_context *c, const struct admin_args *a, struct buf *json,
                           struct err *e)
{
    return instance_remove(c->registry, a->name, json, e);
}

static int list_sources(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    return source_admin_list(c->sources, a->value[FLAG_WORKSPACE], json, e);
}

static int remove_source(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    return source_admin_remove(c->sources, a->value[FLAG_WORKSPACE], a->name, json, e);
}

static int workspaces_all(struct admin_context *c, const struct admin_args *a, struct buf *json,
                          struct err *e)
{
    (void)a;
    return workspace_list(c->workspaces, json, e);
}

#define B(f) (1u << FLAG_##f)
#define ONCE "\nThe secret is shown this once; only a hash of it is kept.\n"

static const struct admin_command commands[] = {
    {"key", "create", NULL, NULL, B(WORKSPACE) | B(USER) | B(ROLE), B(EXPIRES), key_create, ONCE},
    {"key", "list", NULL, NULL, 0, B(WORKSPACE), key_list, NULL},
    {"key", "revoke", "KEYID", NULL, 0, 0, key_revoke, NULL},
    {"key", "rotate", "KEYID", NULL, 0, B(GRACE) | B(EXPIRES), key_rotate, ONCE},
    {"bucket", "create", "NAME", NULL, B(WORKSPACE) | B(URL),
     B(READ_ONLY) | B(DEFAULT) | B(ENDPOINT) | B(REGION) | B(KEY_FILE), bucket_create, NULL},
    {"bucket", "list", NULL, NULL, 0, B(WORKSPACE), bucket_list, NULL},
    {"dataset", "add", "NAME", NULL, B(WORKSPACE) | B(URL), 0, dataset_add, NULL},
    {"dataset", "list", NULL, NULL, 0, B(WORKSPACE), dataset_list, NULL},
    {"dataset", "remove", "NAME", NULL, B(WORKSPACE), 0, dataset_remove, NULL},
    {"instance", "add", "ID", NULL, B(TYPE) | B(HOST), B(PORT) | B(TLS), add_instance, NULL},
    {"instance", "list", NULL, NULL, 0, 0, list_instances, NULL},
    {"instance", "remove", "ID", NULL, 0, 0, remove_instance, NULL},
    {"workspace", "list", NULL, NULL, 0, 0, workspaces_all, NULL},
    {"workspace", "set", "W", "KEY=VALUE", 0, 0, set_workspace, NULL},
    {"workspace", "remove", "W", NULL, 0, B(FORCE), admin__workspace_remove, NULL},
    {"query", "list", NULL, NULL, 0, B(WORKSPACE) | B(STATE) | B(LIMIT), admin__query_list, NULL},
    {"query", "cancel", "ID", NULL, 0, 0, admin__query_cancel, NULL},
    {"source", "list", NULL, NULL, 0, B(WORKSPACE), list_sources, NULL},
    {"source", "remove", "NAME", NULL, B(WORKSPACE), 0, remove_source, NULL},
    {"source", "test", "NAME", NULL, B(WORKSPACE), 0, admin__source_test, NULL},
    {"drain", NULL, NULL, NULL, 0, B(WAIT), admin__drain, NULL},
    {"undrain", NULL, NULL, NULL, 0, 0, admin__undrain, NULL},
    {"pause", NULL, NULL, NULL, 0, 0, admin__pause, NULL},
    {"resume", NULL, NULL, NULL, 0, 0, admin__resume, NULL},
    {"backup", NULL, NULL, NULL, B(TO), 0, admin__backup, NULL},
    {"audit", "verify", NULL, NULL, 0, 0, admin__audit_verify, NULL},
};

bool admin__audited(const struct admin_args *a)
{
    return a->command->run != admin__audit_verify;
}

const char *admin_usage(void)
{
    return "usage: quernd admin --data DIR [--json] COMMAND\n"
           "  key create --workspace W --user U --role admin|member|reader [--expires 30d]\n"
           "  key list [--workspace W]\n"
           "  key revoke KEYID\n"
           "  key rotate KEYID [--grace 1d] [--expires 30d]     a new key in its place; the old one ends "
           "after the grace\n"
           "  bucket create NAME --url file:///DIR --workspace W [--read-only] [--default]\n"
           "  bucket list [--workspace W]\n"
           "  dataset add NAME --url file:///DIR-OR-FILE --workspace W\n"
           "  dataset list [--workspace W]\n"
           "  dataset remove NAME --workspace W\n"
           "  instance add ID --type mysql|postgresql|trino --host H [--port P] [--tls "
           "off|prefer|require|verify]\n"
           "  instance list\n"
           "  instance remove ID\n"
           "  workspace list\n"
           "  workspace set W KEY=VALUE                         queue, slots, spool_bytes, rows or "
           "run_timeout; \"default\" takes it away\n"
           "  workspace remove W [--force]                      for ever, with its keys, results, history "
           "and catalog\n"
           "  query list [--workspace W] [--state S] [--limit N]\n"
           "  query cancel ID\n"
           "  source list [--workspace W]\n"
           "  source test NAME --workspace W\n"
           "  source remove NAME --workspace W\n"
           "  drain [--wait 5m]                                 refuses new queries and waits for the "
           "running ones\n"
           "  undrain\n"
           "  pause                                             no queued query starts until \"resume\"\n"
           "  resume\n"
           "  backup --to DIR                                   a copy to start from, made while the daemon "
           "serves\n"
           "  audit verify\n"
           "A workspace and a user are made by the first key of theirs. --json prints one JSON value for "
           "machines.\n"
           "Works before the first start and while the daemon runs; then the daemon does it. [--config FILE] "
           "is read when none runs. Exit codes: 0 done, 1 refused or failed, 2 wrong command line.\n";
}

/* ---- the command line ---- */

/* argv[*at] begins with "--". */
static int parse_flag(int argc, char *const argv[], int *at, struct admin_args *a, struct err *e)
{
    const char *word = argv[*at];
    size_t n = strcspn(word, "=");
    enum admin_flag f = 0;
    while (f < FLAGS && !(strlen(flags[f].name) == n && memcmp(flags[f].name, word, n) == 0))
        f++;
    if (f == FLAGS)
        return usage_error(e, "unknown flag", word, "");
    const char *value = word[n] ? word + n + 1 : NULL;
    if (!flags[f].value) {
        if (value)
            return usage_error(e, "no value may follow", flags[f].name, "");
        value = "";
    } else if (!value) {
        if (*at + 1 >= argc || strncmp(argv[*at + 1], "--", 2) == 0)
            return err_set(e, ERR_INVALID, ADMIN_USAGE, "%s must follow \"%s\"", flags[f].value,
                           flags[f].name);
        value = argv[++*at];
    }
    if (a->value[f] && f != FLAG_JSON)
        return usage_error(e, "given twice:", flags[f].name, "");
    a->value[f] = value;
    return 0;
}

static int find_command(const char *const words[4], int nwords, struct admin_args *a, struct err *e)
{
    if (nwords == 0)
        return err_set(e, ERR_INVALID, ADMIN_USAGE, "a command is missing; --help lists them");
    bool noun = false;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        bool same = strcmp(commands[i].noun, words[0]) == 0;
        noun = noun || same;
        if (same && (!commands[i].verb || (nwords > 1 && strcmp(commands[i].verb, words[1]) == 0)))
            a->command = &commands[i];
    }
    const struct admin_command *c = a->command;
    if (!noun)
        return usage_error(e, "unknown command", words[0], "; --help lists them");
    if (!c && nwords == 1)
        return usage_error(e, "something must follow", words[0], "; --help lists what");
    if (!c)
        return err_set(e, ERR_INVALID, ADMIN_USAGE, "unknown command \"%.100s %.100s\"; --help lists them",
                       words[0], words[1]);
    int at = c->verb ? 2 : 1, most = at + (c->name != NULL) + (c->setting != NULL);
    if (c->name && nwords <= at)
        return usage_error(e, "missing:", c->name, "");
    if (c->setting && nwords <= at + 1)
        return usage_error(e, "missing:", c->setting, "");
    if (nwords > most)
        return usage_error(e, "unexpected", words[most], "");
    a->name = c->name ? words[at] : NULL;
    a->setting = c->setting ? words[at + 1] : NULL;
    return 0;
}

int admin__parse(int argc, char *const argv[], struct admin_args *ret, struct err *e)
{
    struct admin_args a = {0};
    const char *words[4] = {0};
    int n = 0;
    for (int i = 0; i < argc; i++) {
        if (!utf8_valid(argv[i], strlen(argv[i])))
            return err_set(e, ERR_INVALID, ADMIN_USAGE, "argument %d is not UTF-8", i + 1);
        if (strncmp(argv[i], "--", 2) == 0) {
            int rc = parse_flag(argc, argv, &i, &a, e);
            if (rc)
                return rc;
        } else if (n == 4) {
            return usage_error(e, "unexpected", argv[i], "");
        } else {
            words[n++] = argv[i];
        }
    }
    int rc = find_command(words, n, &a, e);
    if (rc)
        return rc;
    for (enum admin_flag f = 0; f < FLAG_JSON; f++) {
        if (!a.value[f] && (a.command->need & 1u << f))
            return usage_error(e, "missing:", flags[f].name, "");
        if (a.value[f] && !((a.command->need | a.command->may) & 1u << f))
            return err_set(e, ERR_INVALID, ADMIN_USAGE, "\"%s%s%s\" knows no flag \"%s\"", a.command->noun,
                           a.command->verb ? " " : "", a.command->verb ? a.command->verb : "", flags[f].name);
    }
    const char *role = a.value[FLAG_ROLE];
    if (role && !role_parse(role, &a.role))
        return usage_error(e, "unknown role", role, "; it is admin, member or reader");
    *ret = a;
    return 0;
}

int admin_run(struct admin_context *c, int argc, char *const argv[], struct buf *out, struct err *e)
{
    struct admin_args a;
    int rc = admin__parse(argc, argv, &a, e);
    if (rc)
        return rc;
    CLEANUP_BUF struct buf json = BUF_INIT(ADMIN_ANSWER_MAX);
    rc = a.command->run(c, &a, &json, e);
    if (rc)
        return rc;
    if (a.value[FLAG_JSON]) {
        buf_add(out, json.p, json.len);
        buf_char(out, '\n');
    } else {
        rc = admin__text(&json, out, e);
        if (!rc && a.command->after)
            buf_str_add(out, a.command->after);
    }
    return !rc && buf_failed(out) ? err_set(e, out->why, "54000", "the answer does not fit") : rc;
}

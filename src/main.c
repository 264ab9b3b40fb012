/*
 * main: wires the modules together, handles signals, drains, and decides the exit code. The only file that
 * knows all rooms.
 *
 * Threads: all signals are blocked before the first thread starts; the main thread takes them with
 * sigtimedwait. Exit codes: 0 after SIGTERM, 1 when the start or the service failed, 2 for a wrong command
 * line, 70 when an fsync of the registry failed (registry.c).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/config.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/metrics.h"
#include "base/sys.h"
#include "base/zone.h"
#include "core/admin.h"
#include "core/audit.h"
#include "core/observe.h"
#include "core/registry.h"
#include "core/service.h"
#include "core/source.h"
#include "core/workspace.h"
#include "dialects/dialect.h"
#include "http/server.h"
#include "pool/pool.h"

static const char usage[] =
    "usage: quernd serve --data DIR [--listen HOST:PORT] [--config FILE]\n"
    "       quernd admin --data DIR [--json] COMMAND ...     (quernd admin --help lists them)\n"
    "       quernd routes --json                             the route table\n"
    "       quernd check-config [--config FILE]              reads the configuration and says what is wrong\n"
    "       quernd config-help [--markdown]                  every key with its default\n"
    "       quernd --version\n";

struct options {
    const char *data, *listen, *config_file;
};

static int bad_usage(const char *what, const char *arg)
{
    fprintf(stderr, "quernd: %s%s%s\n%s", what, arg ? " " : "", arg ? arg : "", usage);
    return 2;
}

/* ---- serve ---- */

struct daemon {
    int lock;
    struct registry *registry;
    struct identities *identities;
    struct workspaces *workspaces;
    struct sources *sources;
    struct pool *pool;
    struct service *service;
    struct admin_context admin;
    struct admin_server *admin_server;
    struct server *server;
    struct engine_level level;
};

static char *engine_path(void)
{
    char exe[4096], *path = NULL;
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0)
        return NULL;
    exe[n] = 0;
    char *slash = strrchr(exe, '/');
    if (!slash || asprintf(&path, "%.*s/quern-engine", (int)(slash - exe), exe) < 0)
        return NULL;
    return path;
}

/* Refuses to serve when a hostile statement succeeded in a confined engine process (specs/reliability.md
 * section 8). */
static int check_sandbox(struct daemon *d, struct err *e)
{
    int rc = pool_selftest(d->pool, &d->level, e);
    metric_set(metrics_get(METRIC_GAUGE, "quern_sandbox_landlock_abi", "",
                           "Landlock ABI that confines engine processes; 0 is none."),
               d->level.landlock_abi);
    metric_set(metrics_get(METRIC_GAUGE, "quern_sandbox_seccomp", "",
                           "1 when a seccomp filter confines engine processes."),
               d->level.seccomp);
    if (rc == 0) {
        log_line(LOG_INFO, "main", "engine self-test passed: %s, Landlock ABI %d, seccomp %s",
                 d->level.library, d->level.landlock_abi, d->level.seccomp ? "on" : "off");
        return 0;
    }
    if (rc == ERR_DENIED && config.engine_unsafe_no_sandbox) {
        log_line(LOG_WARN, "main",
                 "serving although the engine self-test failed (engine.unsafe_no_sandbox): %s", e->text);
        return 0;
    }
    return rc;
}

/* Render processes come first: their walls are small, and a download must not wait for a query to end. At most
 * half of the share. */
static int64_t fit_renderings(int64_t share)
{
    int64_t most = share / 2 / config.render_memory, slots = config.render_slots;
    if (most < 1) {
        log_line(LOG_WARN, "main", "render.memory lowered from %lld to %lld MiB: half of engine.memory_share",
                 (long long)(config.render_memory >> 20), (long long)(share / 2 >> 20));
        config.render_memory = share / 2;
        most = 1;
    }
    if (slots > most) {
        log_line(LOG_WARN, "main",
                 "render.slots lowered from %lld to %lld: processes of render.memory = %lld MiB have half of "
                 "engine.memory_share",
                 (long long)slots, (long long)most, (long long)(config.render_memory >> 20));
        config.render_slots = most;
    }
    return share - config.render_slots * config.render_memory;
}

/* The memory walls of all engine processes together keep to the machine's share (engine.memory_share): slots
 * are lowered until they fit, an idle process leaves when another one is needed, and a query waits while that
 * one dies. Returns the most processes that may live at once. */
static int64_t fit_memory(void)
{
    const char *from;
    int64_t memory = (int64_t)machine_memory(&from),
            share = fit_renderings(memory / 100 * config.engine_memory_share),
            most = share / config.engine_memory;
    if (most < 1) {
        log_line(
            LOG_WARN, "main",
            "engine.memory lowered from %lld to %lld MiB: engine.memory_share is %lld %% of %lld MiB (%s)",
            (long long)(config.engine_memory >> 20), (long long)(share >> 20),
            (long long)config.engine_memory_share, (long long)(memory >> 20), from);
        config.engine_memory = share;
        most = 1;
    }
    int64_t slots = config.engine_slots, plan = config.engine_plan_slots;
    if (slots + plan > most) {
        int64_t left =
            most - slots > 1 ? most - slots : 1; /* one keeps compiling when there are two at all */
        plan = most < 2 ? 0 : plan < left ? plan : left;
        slots = slots < most - plan ? slots : most - plan;
        log_line(LOG_WARN, "main",
                 "engine.slots lowered from %lld to %lld, engine.plan_slots from %lld to %lld: %lld "
                 "processes of engine.memory = %lld MiB fit into "
                 "engine.memory_share = %lld %% of %lld MiB (%s)",
                 (long long)config.engine_slots, (long long)slots, (long long)config.engine_plan_slots,
                 (long long)plan, (long long)most, (long long)(config.engine_memory >> 20),
                 (long long)config.engine_memory_share, (long long)(memory >> 20), from);
        config.engine_slots = slots;
        config.engine_plan_slots = plan;
    } else {
        log_line(LOG_INFO, "main",
                 "engine memory: at most %lld processes of %lld MiB, %lld %% of %lld MiB (%s)",
                 (long long)most, (long long)(config.engine_memory >> 20),
                 (long long)config.engine_memory_share, (long long)(memory >> 20), from);
    }
    return most;
}

static int open_all(struct daemon *d, const char *data, const char *engine, struct err *e)
{
    int rc = data_dir_lock(data, &d->lock, e);
    if (!rc)
        rc = registry_open(data, &d->registry, e);
    if (!rc)
        rc = identities_open(d->registry, data, &d->identities, e);
    if (!rc)
        rc = audit_open(data, e);
    if (!rc)
        audit_event("sys_startup", "version", QUERN_VERSION, "previous", audit_previous(), NULL);
    if (!rc)
        rc = workspaces_open(d->registry, data, &d->workspaces, e);
    if (!rc)
        rc = sources_open(d->registry, data, &d->sources, e);
    struct pool_options po = {.data_dir = data, .engine_path = engine, .max_processes = fit_memory()};
    if (!rc)
        rc = pool_open(&po, &d->pool, e);
    if (!rc)
        rc = check_sandbox(d, e);
    struct service_options so = {.registry = d->registry,
                                 .workspaces = d->workspaces,
                                 .sources = d->sources,
                                 .pool = d->pool,
                                 .data_dir = data};
    for (int i = 0; dialects[i]; i++) {
        const struct dialect *x = dialects[i];
        so.plan[x->id] = x->plan;
        so.metadata[x->id] = x->metadata;
        observe_name_dialect(x->id, x->name);
    }
    if (!rc)
        rc = service_open(&so, &d->service, e);
    if (rc)
        return rc;
    d->admin = (struct admin_context){.identities = d->identities,
                                      .workspaces = d->workspaces,
                                      .sources = d->sources,
                                      .service = d->service,
                                      .registry = d->registry,
                                      .data_dir = data};
    return admin_server_start(&d->admin, data, &d->admin_server, e);
}

static void prewarm(void *arg, int64_t workspace)
{
    struct daemon *d = arg;
    struct arena *a = arena_new(1u << 20);
    struct engine_key key;
    if (a && workspace_engine_key(d->workspaces, workspace, false, a, &key, NULL) == 0) {
        key.catalog_path = ""; /* the catalog's file only under its lock (core/catalog.h) */
        pool_prewarm(d->pool, &key);
    }
    arena_free(a);
}

/* The part of /readyz that only main knows. */
static void status(void *arg, struct json_write *w)
{
    const struct daemon *d = arg;
    json_key(w, "sandbox");
    json_object_begin(w);
    json_ki64(w, "landlockAbi", d->level.landlock_abi);
    json_kbool(w, "seccomp", d->level.seccomp);
    json_kstr(w, "library", d->level.library);
    json_object_end(w);
}

static void close_all(struct daemon *d)
{
    server_stop(d->server);
    admin_server_stop(d->admin_server);
    service_close(d->service);
    audit_event("sys_shutdown", NULL);
    audit_close();
    pool_close(d->pool);
    sources_close(d->sources);
    workspaces_close(d->workspaces);
    identities_close(d->identities);
    registry_close(d->registry);
    if (d->lock >= 0)
        close(d->lock);
}

static void reload(const struct options *o, struct daemon *d)
{
    struct err e;
    err_clear(&e);
    if (config_load(o->config_file, true, &e)) {
        log_line(LOG_ERROR, "main", "reload refused, the old configuration stays: %s", e.text);
        audit_event("sys_config_refused", "error", e.text, NULL);
    } else {
        log_set_level((enum log_level)config.log_level);
        log_event(LOG_INFO, "main", "configuration reloaded", "changed", config_changes(), NULL);
        audit_event("sys_config_reload", "file", o->config_file, "changed", config_changes(), NULL);
    }
    err_clear(&e);
    if (server_reload(d->server, &e))
        log_line(LOG_ERROR, "main", "the TLS certificate in use stays: %s", e.text);
}

static void wait_for_stop(const struct options *o, struct daemon *d, const sigset_t *set)
{
    for (;;) {
        int sig = sigwaitinfo(set, NULL);
        if (sig == SIGHUP)
            reload(o, d);
        else if (sig == SIGTERM || sig == SIGINT)
            return;
    }
}

/* Submits are refused, queued queries stay queued, running ones and answers on their way may end; polls and
 * downloads go on. A second signal ends the wait. */
static void drain(struct daemon *d, const sigset_t *set)
{
    log_line(LOG_INFO, "main", "draining: %d running, up to %lld ms (server.drain)",
             service_running(d->service), (long long)config.server_drain);
    audit_event("sys_drain", "by", "signal", NULL);
    admin_server_stopping(d->admin_server);
    server_drain(d->server);
    service_drain(d->service);
    int64_t until = sys_mono_ns() + config.server_drain * 1000000;
    struct timespec pause = {0, 20000000};
    while (service_running(d->service) + server_streams(d->server) > 0 && sys_mono_ns() < until) {
        int sig = sigtimedwait(set, NULL, &pause);
        if (sig == SIGTERM || sig == SIGINT)
            break;
    }
}

static int serve(const struct options *o)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    struct err e;
    err_clear(&e);
    struct daemon d = {.lock = -1};
    char *engine = engine_path(), address[320];
    int rc = engine ? open_all(&d, o->data, engine, &e)
                    : err_set(&e, ERR_INTERNAL, NULL, "cannot find quern-engine beside quernd");
    struct server_options so = {.service = d.service,
                                .identities = d.identities,
                                .listen = o->listen ? o->listen : config.http_listen,
                                .status = status,
                                .status_arg = &d};
    if (!rc)
        rc = server_start(&so, &d.server, address, sizeof address, &e);
    if (rc) {
        fprintf(stderr, "quernd: %s\n", e.text);
    } else {
        workspaces_each(d.workspaces, prewarm, &d);
        fprintf(stderr, "quernd: listening on %s\n", address);
        wait_for_stop(o, &d, &set);
        drain(&d, &set);
    }
    close_all(&d);
    free(engine);
    if (!rc)
        log_event(LOG_INFO, "main", "stopped", NULL);
    return rc ? 1 : 0;
}

/* ---- the small commands ---- */

static int print(int rc, struct buf *b)
{
    const char *text = rc ? NULL : buf_str(b);
    if (text)
        fputs(text, stdout);
    buf_free(b);
    return text ? 0 : 1;
}

/* What a start would refuse: the table's own ranges, then the texts that other rooms read. */
static int load_config(const struct options *o, struct err *e)
{
    int rc = config_load(o->config_file, false, e);
    if (!rc)
        log_init((enum log_level)config.log_level, config.log_format != 0);
    for (char **v = environ; *v && !rc; v++)
        if (config_stray(*v))
            log_line(LOG_WARN, "main", "environment %.*s: no key of the configuration has this name",
                     (int)(strcspn(*v, "=") < 100 ? strcspn(*v, "=") : 100), *v);
    if (!rc && zones_load() == 0)
        log_line(LOG_WARN, "main", "no time zone data (package tzdata): queries can ask for UTC only");
    else if (!rc && zones_unread() > 0)
        log_line(LOG_WARN, "main",
                 "%d files of time zones could not be read: their zones are unknown until the next start",
                 zones_unread());
    for (int i = 0; dialects[i] && !rc; i++)
        rc = dialects[i]->check ? dialects[i]->check(e) : 0;
    if (!rc)
        rc = server_check(o->listen ? o->listen : config.http_listen, e);
    if (rc)
        fprintf(stderr, "quernd: %s\n", e->text);
    return rc;
}

static int parse(int argc, char **argv, struct options *o)
{
    for (int i = 2; i < argc; i++) {
        const char **to = strcmp(argv[i], "--data") == 0     ? &o->data
                          : strcmp(argv[i], "--listen") == 0 ? &o->listen
                          : strcmp(argv[i], "--config") == 0 ? &o->config_file
                                                             : NULL;
        if (!to)
            return bad_usage("unknown argument", argv[i]);
        if (i + 1 == argc)
            return bad_usage("a value is missing after", argv[i]);
        *to = argv[++i];
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct options o = {NULL, NULL, NULL};
    struct buf out = BUF_INIT(4u << 20);
    if (argc < 2)
        return bad_usage("a command is missing", NULL);
    const char *command = argv[1];
    sys_init();
    if (crypto_init())
        return 1;
    config_defaults();
    if (strcmp(command, "--version") == 0)
        return printf("quernd %s\n", QUERN_VERSION) < 0;
    if (strcmp(command, "--help") == 0 || strcmp(command, "help") == 0)
        return fputs(usage, stdout) < 0;
    if (strcmp(command, "admin") == 0)
        return admin_main(argc - 1, argv + 1);
    if (strcmp(command, "routes") == 0)
        return print(server_routes_json(&out), &out);
    if (strcmp(command, "config-help") == 0)
        return print(
            argc > 2 && strcmp(argv[2], "--markdown") == 0 ? config_markdown(&out) : config_help(&out), &out);
    bool is_serve = strcmp(command, "serve") == 0;
    if (!is_serve && strcmp(command, "check-config") != 0)
        return bad_usage("unknown command", command);
    int rc = parse(argc, argv, &o);
    if (rc)
        return rc;
    if (is_serve && !o.data)
        return bad_usage("serve needs --data DIR", NULL);
    struct err e;
    err_clear(&e);
    rc = load_config(&o, &e) ? 1 : is_serve ? serve(&o) : puts("the configuration is good") < 0;
    zones_free();
    return rc;
}

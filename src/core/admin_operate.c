/*
 * admin_operate: the administrator's commands that look at or steer what runs: queries, sources, drain,
 * pause, backup, audit.
 *
 * Lists are read from the registry, so that they are the same with and without a daemon; everything that acts
 * needs the daemon (context.service). Threads: the admin server's, which may block.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/json_write.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/admin_int.h"
#include "core/audit.h"
#include "core/backup.h"
#include "core/service_int.h"

#define LIST_DEFAULT    50
#define LIST_MOST       10000
#define IDS_BYTES       ((size_t)64 << 20)
#define RECORD_BYTES    ((size_t)256 << 20)
#define WAIT_DEFAULT_MS 300000

static int written(const struct buf *out, struct err *e)
{
    return buf_failed(out) ? err_set(e, out->why, "54000", "the answer does not fit; ask for less") : 0;
}

static int need_daemon(const struct admin_context *c, struct err *e)
{
    return c->service ? 0 : err_set(e, ERR_UNAVAILABLE, "57P03", "no daemon runs on this data folder");
}

static void json_time(struct json_write *j, const char *key, int64_t ms)
{
    char text[40];
    json_kstr(j, key, ms ? clock_iso_ms(ms, text, sizeof text) : NULL);
}

/* ---- queries ---- */

/* "RUNNING" or "queued,running" as bits; false for an unknown word. */
static bool parse_states(const char *text, uint32_t *ret)
{
    uint32_t bits = 0;
    while (*text) {
        size_t n = strcspn(text, ",");
        int s = QUERY_QUEUED;
        while (s < QUERY_STATES && !(strlen(query_state_name((enum query_state)s)) == n &&
                                     strncasecmp(query_state_name((enum query_state)s), text, n) == 0))
            s++;
        if (s == QUERY_STATES)
            return false;
        bits |= 1u << s;
        text += n + (text[n] != 0);
    }
    *ret = bits;
    return bits != 0;
}

struct found {
    struct qid id;
    size_t at;
};
struct gather {
    struct registry *r;
    struct arena *a;
    const char *only;
    struct registry_list_filter f;
    struct found *all; /* of all workspaces */
    int64_t *workspaces;
    size_t n, nw;
    bool found, failed;
};

static void gather_workspace(void *arg, const struct workspace_row *w)
{
    struct gather *g = arg;
    if (g->only && strcmp(g->only, w->name) != 0)
        return;
    g->found = true;
    int64_t *p = realloc(g->workspaces, (g->nw + 1) * sizeof *p);
    if (p)
        g->workspaces = p;
    if (p)
        p[g->nw++] = w->id;
    else
        g->failed = true;
}

static int newest_first(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    int64_t p = id_second(&x->id), q = id_second(&y->id);
    if (p != q)
        return p < q ? 1 : -1;
    return x->at < y->at ? -1 : 1; /* within a second as the workspace's list had them */
}

static int gather(struct gather *g, struct err *e)
{
    int rc = registry_each_workspace(g->r, gather_workspace, g, e);
    if (!rc && g->failed)
        rc = err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (!rc && !g->found && g->only)
        rc = err_set(e, ERR_NOTFOUND, "02000", "there is no workspace \"%.255s\"", g->only);
    for (size_t i = 0; i < g->nw && !rc; i++) {
        struct qid *ids;
        size_t n;
        uint64_t total;
        g->f.workspace = g->workspaces[i];
        rc = registry_list(g->r, &g->f, g->a, &ids, &n, &total, e);
        if (rc || n == 0)
            continue;
        struct found *p = realloc(g->all, (g->n + n) * sizeof *p);
        if (!p)
            return err_set(e, ERR_NOMEM, "53200", "out of memory");
        g->all = p;
        for (size_t k = 0; k < n; k++, g->n++)
            p[g->n] = (struct found){ids[k], g->n};
    }
    if (g->n)
        qsort(g->all, g->n, sizeof *g->all, newest_first);
    if (g->n > g->f.limit)
        g->n = g->f.limit;
    return rc;
}

static void write_query(struct json_write *j, const struct query_record *q)
{
    char id[ID_TEXT_MAX];
    uint64_t rows = 0;
    for (uint32_t i = 0; i < q->nresults; i++)
        rows += q->results[i].rows;
    json_object_begin(j);
    json_kstr(j, "id", id_uuid(&q->id, id));
    json_kstr(j, "workspace", q->workspace_name);
    json_kstr(j, "user", q->user_name);
    json_kstr(j, "state", query_state_name(q->state));
    json_kstr(j, "ending", query_state_ended(q->state) ? endings[q->ending].name : NULL);
    json_time(j, "createdAt", q->created_ms);
    json_time(j, "startedAt", q->started_ms);
    json_time(j, "endedAt", q->ended_ms);
    json_ki64(j, "runs", q->runs);
    json_ki64(j, "rows", (int64_t)rows);
    json_object_end(j);
}

static int write_queries(struct gather *g, struct buf *out, struct err *e)
{
    struct json_write j = JSON_WRITE_INIT(out);
    int rc = 0;
    json_array_begin(&j);
    for (size_t i = 0; i < g->n && !rc; i++) {
        struct query_record q;
        struct arena *a = arena_new(RECORD_BYTES);
        rc = a ? registry_get_query(g->r, &g->all[i].id, a, &q, e)
               : err_set(e, ERR_NOMEM, "53200", "out of memory");
        if (!rc)
            write_query(&j, &q);
        if (rc == ERR_NOTFOUND)
            rc = 0; /* it left the history meanwhile */
        arena_free(a);
    }
    json_array_end(&j);
    return rc ? rc : written(out, e);
}

int admin__query_list(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    struct gather g = {.r = c->registry,
                       .only = a->value[FLAG_WORKSPACE],
                       .f = {.limit = LIST_DEFAULT, .by_created = true, .desc = true}};
    const char *limit = a->value[FLAG_LIMIT], *state = a->value[FLAG_STATE];
    int64_t n = LIST_DEFAULT;
    if (limit && (!config_number(CONFIG_INT, limit, &n) || n < 1 || n > LIST_MOST))
        return err_set(e, ERR_INVALID, ADMIN_USAGE, "--limit is 1 to %d, not \"%.100s\"", LIST_MOST, limit);
    if (state && !parse_states(state, &g.f.states))
        return err_set(
            e, ERR_INVALID, ADMIN_USAGE,
            "--state is QUEUED, RUNNING, FINISHED, FAILED or CANCELED (several with commas), not \"%.100s\"",
            state);
    g.f.limit = (uint32_t)n;
    g.a = arena_new(IDS_BYTES);
    int rc = g.a ? gather(&g, e) : err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (!rc)
        rc = write_queries(&g, json, e);
    arena_free(g.a);
    free(g.all);
    free(g.workspaces);
    return rc;
}

int admin__query_cancel(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    struct qid id;
    struct query *q = NULL;
    char text[ID_TEXT_MAX];
    int rc = need_daemon(c, e);
    if (rc)
        return rc;
    if (!id_parse(a->name, strlen(a->name), &id))
        return err_set(e, ERR_NOTFOUND, "02000", "query not found");
    q = service__lookup(c->service, &id);
    if (!q)
        rc = service__load(c->service, &id, &q, e);
    if (rc)
        return rc == ERR_NOTFOUND ? err_set(e, ERR_NOTFOUND, "02000", "query not found") : rc;
    struct identity who = {.workspace = q->rec.workspace, .role = ROLE_ADMIN, .user_name = "admin"};
    rc = query_state_ended(q->shown) ? err_set(e, ERR_CONFLICT, "55000", "the query has ended already")
                                     : service_cancel(c->service, &who, q, e);
    query_unref(q);
    if (rc)
        return rc;
    registry_sync(c->registry);
    struct json_write j = JSON_WRITE_INIT(json);
    json_object_begin(&j);
    json_kstr(&j, "id", id_uuid(&id, text));
    json_kstr(&j, "state", query_state_name(QUERY_CANCELED));
    json_object_end(&j);
    return written(json, e);
}

/* ---- sources ---- */

/* Runs SELECT 1 in an engine of the workspace that has not the pool's queue before it. */
static int try_engine(struct service *s, int64_t workspace, struct err *e)
{
    struct engine *x = NULL;
    struct engine_key key;
    struct engine_event ev;
    struct arena *arena = arena_new(1u << 20);
    int rc = arena ? workspace_engine_key(s->workspaces, workspace, false, arena, &key, e)
                   : err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (!rc)
        key.catalog_path = ""; /* the file is only for those who hold its lock */
    if (!rc)
        rc = pool_acquire(s->pool, &key, &x, e);
    arena_free(arena);
    if (rc)
        return rc;
    struct wire_job job = {.job = 1,
                           .profile = WIRE_PROFILE_PLAIN,
                           .sql = "SELECT 1",
                           .sql_len = 8,
                           .default_catalog = "",
                           .default_schema = "",
                           .row_limit = -1,
                           .max_rows = 1,
                           .max_bytes = 1 << 20,
                           .inline_max = 16384,
                           .timezone = ""};
    int64_t deadline = sys_mono_ns() + 30 * 1000000000LL;
    rc = engine_start(x, &job, e);
    while (!rc) {
        rc = engine_next(x, deadline, &ev, e);
        if (rc || ev.type == ENGINE_DONE)
            break;
        if (ev.type == ENGINE_FAILED)
            *e = ev.failed.error, rc = e->code ? e->code : ERR_ENGINE;
        else if (ev.type == ENGINE_TICK)
            rc = err_set(e, ERR_TIMEOUT, "57014", "no answer within 30 s");
        else if (ev.type != ENGINE_PLANNED && ev.type != ENGINE_BATCH && ev.type != ENGINE_BEAT)
            rc = err_set(e, ERR_ENGINE, "58000", "the engine process ended");
    }
    if (rc)
        engine_cancel(x, true);
    engine_release(x);
    return rc;
}

int admin__source_test(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    enum source_kind kind;
    const char *workspace = a->value[FLAG_WORKSPACE];
    int64_t id = 0;
    int rc = need_daemon(c, e);
    if (!rc)
        rc = source_admin_test(c->sources, workspace, a->name, &id, &kind, e);
    if (!rc && kind != SOURCE_CATALOG)
        rc =
            err_set(e, ERR_INVALID, "0A000",
                    "data source \"%.100s\" is stored and its secret opens, but queries to its kind, %s, are "
                    "not enabled yet",
                    a->name, source_kind_name(kind));
    int64_t start = sys_mono_ns();
    if (!rc)
        rc = try_engine(c->service, id, e);
    audit_event("source_tested", "workspace", workspace, "source", a->name, "ok", rc ? "no" : "yes", "by",
                "admin", NULL);
    if (rc)
        return rc;
    struct json_write j = JSON_WRITE_INIT(json);
    json_object_begin(&j);
    json_kstr(&j, "workspace", workspace);
    json_kstr(&j, "name", a->name);
    json_kbool(&j, "ok", true);
    json_ki64(&j, "ms", (sys_mono_ns() - start) / 1000000);
    json_object_end(&j);
    return written(json, e);
}

/* ---- steering ---- */

static int write_state(struct admin_context *c, struct buf *json, struct err *e)
{
    int running = service_running(c->service), live = service_live(c->service);
    struct json_write j = JSON_WRITE_INIT(json);
    json_object_begin(&j);
    json_kbool(&j, "draining", service_draining(c->service));
    json_kbool(&j, "paused", atomic_load(&c->service->paused));
    json_ki64(&j, "running", running);
    json_ki64(&j, "queued", live > running ? live - running : 0);
    json_object_end(&j);
    return written(json, e);
}

static bool stopping(const struct admin_context *c)
{
    return c->stopping && atomic_load(c->stopping);
}

int admin__drain(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    int64_t wait = WAIT_DEFAULT_MS;
    const char *text = a->value[FLAG_WAIT];
    if (text && !config_number(CONFIG_MS, text, &wait))
        return err_set(e, ERR_INVALID, ADMIN_USAGE, "--wait is a time such as 30s, not \"%.100s\"", text);
    int rc = need_daemon(c, e);
    if (rc)
        return rc;
    service_drain(c->service);
    audit_event("sys_drain", "by", "admin", NULL);
    log_event(LOG_INFO, "core", "draining: new queries are refused", "by", "admin", NULL);
    int64_t until = sys_mono_ns() + wait * 1000000;
    while (service_running(c->service) > 0 && sys_mono_ns() < until && !stopping(c) &&
           service_draining(c->service))
        sys_sleep_ms(50);
    return write_state(c, json, e);
}

int admin__undrain(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    (void)a;
    int rc = need_daemon(c, e);
    if (!rc && stopping(c))
        rc = err_set(e, ERR_UNAVAILABLE, "57P01", "the daemon is stopping");
    if (rc)
        return rc;
    service_undrain(c->service);
    audit_event("sys_undrain", "by", "admin", NULL);
    log_event(LOG_INFO, "core", "queries are accepted again", "by", "admin", NULL);
    return write_state(c, json, e);
}

static int steer(struct admin_context *c, bool pause, struct buf *json, struct err *e)
{
    int rc = need_daemon(c, e);
    if (!rc && stopping(c))
        rc = err_set(e, ERR_UNAVAILABLE, "57P01", "the daemon is stopping");
    if (rc)
        return rc;
    service_pause(c->service, pause);
    audit_event(pause ? "sys_pause" : "sys_resume", "by", "admin", NULL);
    log_event(LOG_INFO, "core",
              pause ? "no queued query starts until \"resume\"" : "queued queries start again", "by", "admin",
              NULL);
    return write_state(c, json, e);
}

int admin__pause(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    (void)a;
    return steer(c, true, json, e);
}

int admin__resume(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    (void)a;
    return steer(c, false, json, e);
}

int admin__backup(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    return backup_make(c->registry, c->service, c->data_dir, a->value[FLAG_TO], json, e);
}

int admin__audit_verify(struct admin_context *c, const struct admin_args *a, struct buf *json, struct err *e)
{
    (void)a;
    (void)audit_flush();
    return audit_verify(c->data_dir, json, e);
}

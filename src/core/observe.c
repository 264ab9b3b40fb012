/* observe: see observe.h. */
#include "core/observe.h"

#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "core/audit.h"
#include "core/registry.h"

struct series {
    _Atomic(struct metric *) ended, queued, running, spool;
};

/* By row id, which is the order of registration (rows of workspaces are never deleted); [0] is the rest. */
static struct series all[OBSERVED + 1];

static const struct {
    const char *name, *help;
    enum metric_kind kind;
    size_t at;
} families[] = {
    {"quern_workspace_queries_ended_total", "Queries that ended, by workspace.", METRIC_COUNTER,
     offsetof(struct series, ended)},
    {"quern_workspace_queries_queued", "Queries that wait, by workspace.", METRIC_GAUGE,
     offsetof(struct series, queued)},
    {"quern_workspace_queries_running", "Queries that run or are being delivered, by workspace.",
     METRIC_GAUGE, offsetof(struct series, running)},
    {"quern_workspace_spool_bytes", "Bytes of stored results, by workspace.", METRIC_GAUGE,
     offsetof(struct series, spool)},
};
enum family { ENDED, QUEUED, RUNNING, SPOOL };

/* Label values as Prometheus wants them. */
static void label(const char *name, char *out, size_t cap)
{
    size_t n = (size_t)snprintf(out, cap, "workspace=\"");
    for (; *name && n + 4 < cap; name++) {
        if (*name == '"' || *name == '\\')
            out[n++] = '\\';
        out[n++] = *name; /* names hold no control characters */
    }
    snprintf(out + n, cap - n, "\"");
}

static struct metric *series(int64_t workspace, const char *name, enum family f)
{
    bool own = workspace >= 1 && workspace <= OBSERVED && name;
    struct series *s = &all[own ? workspace : 0];
    _Atomic(struct metric *) *at = (_Atomic(struct metric *) *)(void *)((char *)s + families[f].at);
    struct metric *m = atomic_load_explicit(at, memory_order_acquire);
    if (m)
        return m;
    char labels[2 * NAME_MAX_LEN + 32];
    label(own ? name : "other", labels, sizeof labels);
    m = metrics_get(families[f].kind, families[f].name, labels, families[f].help);
    atomic_store_explicit(at, m, memory_order_release);
    return m;
}

static void count(const struct query_record *r, enum query_state state, int64_t n)
{
    if (state == QUERY_QUEUED || state == QUERY_RUNNING)
        metric_add(series(r->workspace, r->workspace_name, state == QUERY_QUEUED ? QUEUED : RUNNING), n);
}

void observe_alive(const struct query_record *r)
{
    count(r, (enum query_state)r->state, 1);
}

void observe_move(const struct query_record *r, enum query_state from, enum query_state to)
{
    count(r, from, -1);
    count(r, to, 1);
}

void observe_spool(int64_t workspace, const char *name, uint64_t bytes)
{
    metric_set(series(workspace, name, SPOOL), (int64_t)bytes);
}

/* ---- audit ---- */

static const char *dialect_names[DIALECTS];

void observe_name_dialect(enum dialect_id id, const char *name)
{
    dialect_names[id] = name;
}

static const char *dialect_word(const struct query_record *r)
{
    const char *name = r->dialect < DIALECTS ? dialect_names[r->dialect] : NULL;
    return name ? name : "none";
}

void observe_submit(const struct query_record *r)
{
    char id[ID_TEXT_MAX], hash[AUDIT_HASH_TEXT];
    audit_statement(r->sql, r->sql_len, hash);
    audit_event("query_submit", "query", id_uuid(&r->id, id), "workspace", r->workspace_name, "user",
                r->user_name, "dialect", dialect_word(r), "source", r->default_source, "statement", hash,
                NULL);
}

static void slow_line(const struct query_record *r, const char *id, int64_t rows)
{
    char ms[32], queued[32], run[32], nrows[32];
    snprintf(ms, sizeof ms, "%lld", (long long)(r->elapsed_ns / 1000000));
    snprintf(queued, sizeof queued, "%lld", (long long)(r->queued_ns / 1000000));
    snprintf(run, sizeof run, "%lld", (long long)(r->run_ns / 1000000));
    snprintf(nrows, sizeof nrows, "%lld", (long long)rows);
    log_event(LOG_WARN, "core", "slow query", "query", id, "workspace", r->workspace_name, "user",
              r->user_name, "ms", ms, "queued_ms", queued, "run_ms", run, "rows", nrows, "ending",
              endings[r->ending].name, config.log_sql ? "sql" : (const char *)NULL, r->sql, NULL);
}

void observe_end(const struct query_record *r)
{
    char id[ID_TEXT_MAX], hash[AUDIT_HASH_TEXT], rows[32];
    uint64_t n = 0;
    for (uint32_t i = 0; i < r->nresults; i++)
        n += r->results[i].rows;
    id_uuid(&r->id, id);
    snprintf(rows, sizeof rows, "%llu", (unsigned long long)n);
    audit_statement(r->sql, r->sql_len, hash);
    metric_add(series(r->workspace, r->workspace_name, ENDED), 1);
    audit_event("query_end", "query", id, "workspace", r->workspace_name, "user", r->user_name, "dialect",
                dialect_word(r), "statement", hash, "ending", endings[r->ending].name, "rows", rows, NULL);
    if (config.log_slow_query && r->elapsed_ns >= config.log_slow_query * 1000000)
        slow_line(r, id, (int64_t)n);
}

static void by(const char *word, const struct identity *who, const struct query_record *r)
{
    char id[ID_TEXT_MAX];
    audit_event(word, "query", id_uuid(&r->id, id), "workspace", r->workspace_name, "user", r->user_name,
                "by", who->user_name, "key", who->key_id[0] ? who->key_id : NULL, NULL);
}

void observe_cancel(const struct identity *who, const struct query_record *r)
{
    by("query_cancel", who, r);
}

void observe_delete(const struct identity *who, const struct query_record *r)
{
    by("query_delete", who, r);
}

void observe_admin(const struct identity *who, const struct query_record *r)
{
    by("authz_admin", who, r);
}

void observe_denied(const struct identity *who, const char *what, const struct query_record *r)
{
    char id[ID_TEXT_MAX];
    audit_refusal("authz_fail", "workspace", who->workspace_name, "user", who->user_name, "key", who->key_id,
                  "what", what, "query", r ? id_uuid(&r->id, id) : NULL, "of_workspace",
                  r ? r->workspace_name : NULL, NULL);
}

void observe_retention(const struct qid *id, const char *workspace, const char *what)
{
    char text[ID_TEXT_MAX];
    audit_event("retention_delete", "query", id_uuid(id, text), "workspace", workspace, "what", what, NULL);
}

/*
 * service_submit: from what a dialect submits to a query that is recorded and on its way.
 *
 * A submitted query is in the table at once; it is answered only when its record is durable (QF_ACCEPTED).
 * With an idempotency key nothing starts before the registry has said that no earlier query has the key; and
 * a submit that comes again is answered as the first was, also when nothing new would be accepted (a full
 * queue, a drain): its client may only have lost the answer. Any thread; the record is written by the
 * registry's.
 */
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/sys.h"
#include "core/audit.h"
#include "core/observe.h"
#include "core/service_int.h"

/* How long an accept may wait for its query's end, so that both share one transaction (design.md decision 1). */
#define HOLD_NS 2000000

static int apply_insert(struct registry *r, struct registry_write *w, struct err *e)
{
    struct query *q = service__write_query(w);
    struct query_record rec;
    pthread_mutex_lock(&q->lock);
    rec = q->rec;
    bool keeps = q->keeps;
    pthread_mutex_unlock(&q->lock);
    rec.gone_ms = 0; /* written by its own write */
    if (rec.reuse_key && reuse_outdated(q->service, q))
        rec.reuse_key = NULL; /* it may have read what was there before a write that is recorded already */
    /* A query that has ended while its accept waited is written once, whole; the writes behind this one find nothing to do. */
    q->whole = query_state_ended(rec.state) && !keeps;
    if (!q->whole) {
        /* The record as it was at submit; what changes later is written by the writes that change it. */
        rec.state = QUERY_QUEUED;
        rec.phase = PHASE_NONE;
        rec.ending = END_NONE;
        rec.ended_ms = rec.expires_ms = rec.started_ms = 0;
        rec.runs = 0;
        rec.error = NULL;
        rec.nresults = 0;
    }
    if (q->idempotency_key) {
        struct qid original;
        int rc = registry_get_idempotency(r, &rec, q->idempotency_key, q->body_hash, &original, e);
        if (rc > 0) {
            pthread_mutex_lock(&q->lock);
            q->duplicate = true;
            q->original = original;
            pthread_mutex_unlock(&q->lock);
            return err_set(e, ERR_CONFLICT, "23505", "an earlier query has the same Idempotency-Key");
        }
        if (!rc && q->no_room) {
            *e = *q->no_room;
            return e->code;
        }
        if (!rc)
            rc = registry_put_idempotency(r, &rec, q->idempotency_key, q->body_hash, e);
        if (rc)
            return rc;
    }
    return registry_put_query(r, &rec, e);
}

/* Where a new query goes: to a result that is there or under way, or to the queue. */
static void dispatch(struct service *s, struct query *q)
{
    if (!reuse_submit(s, q))
        scheduler_push(s->scheduler, q, q->plan_now);
}

static void refuse(struct query *q, const struct err *e)
{
    struct service *s = q->service;
    pthread_mutex_lock(&q->lock);
    struct err *copy = arena_alloc(q->arena, sizeof *copy);
    if (copy)
        *copy = *e;
    q->rec.error = copy;
    q->refused = true;
    bool ended = query_state_ended(q->rec.state);
    if (!ended)
        query_move(q, QUERY_FAILED);
    q->shown = QUERY_FAILED;
    if (q->engine)
        engine_cancel(q->engine, true);
    query_signal_unlock(q, QF_ENDED, true);
    scheduler_leave(s->scheduler, q);
    reuse_ended(s, q, false);
    if (!ended)
        atomic_fetch_sub(&s->live, 1);
    service__table_remove(s, q);
}

static void insert_done(struct registry_write *w, int rc, const struct err *e)
{
    struct query *q = service__write_query(w);
    if (rc) {
        refuse(q, e);
    } else {
        observe_submit(&q->rec);
        metric_add(q->service->m_submitted, 1);
        /* With an idempotency key nothing starts before it is known that no earlier query has the key. */
        if (q->idempotency_key)
            dispatch(q->service, q);
        /* One that is recorded whole has its end's write right behind this one, which tells both at once. */
        if (!q->whole) {
            pthread_mutex_lock(&q->lock);
            query_signal_unlock(q, QF_ACCEPTED, true);
        }
    }
    query_unref(q);
    free(w);
}

int service_settle(struct service *s, const struct identity *who, bool may_block, struct query **inout,
                   struct err *e)
{
    struct query *q = *inout;
    pthread_mutex_lock(&q->lock);
    bool duplicate = q->duplicate;
    pthread_mutex_unlock(&q->lock);
    if (!duplicate)
        return service_refusal(q, e);
    char id[ID_TEXT_MAX];
    struct query *original;
    int rc = service_find(s, who, id_uuid(&q->original, id), ID_UUID_LEN, may_block, &original, e);
    if (rc == ERR_NOTFOUND)
        return err_set(e, ERR_CONFLICT, "22023", "the query of this Idempotency-Key has left the history");
    if (rc)
        return rc;
    *inout = original;
    return 0;
}

int service_refusal(struct query *q, struct err *e)
{
    pthread_mutex_lock(&q->lock);
    int rc = 0;
    if (q->refused) {
        rc = q->rec.error ? q->rec.error->code : ERR_UNAVAILABLE;
        if (e && q->rec.error)
            *e = *q->rec.error;
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

static const char *keep(struct arena *a, const char *s)
{
    return s ? arena_strdup(a, s) : NULL;
}

/* What makes two submits the same request. The folder in `path` depends on the day and is left out: `request`
 * holds the path as it was asked for. */
static int hash_body(struct query *q, const char *key, struct err *e)
{
    static const uint8_t no_key[CRYPTO_KEY_LEN];
    struct query_record *r = &q->rec;
    size_t n = strlen(key);
    if (n == 0 || n > 255)
        return err_set(e, ERR_INVALID, "22023", "Idempotency-Key must have 1 to 255 characters");
    const char *const texts[] = {r->sql,      r->default_source, r->default_database, r->timezone,
                                 r->language, r->bucket,         r->request};
    const int64_t numbers[] = {r->dialect,        r->profile, r->row_limit,
                               r->run_timeout_ms, r->reuse,   r->max_reuse_age_s};
    CLEANUP_BUF struct buf b = BUF_INIT((size_t)128 << 20);
    buf_add(&b, numbers, sizeof numbers);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        uint64_t len = texts[i] ? strlen(texts[i]) : UINT64_MAX;
        buf_add(&b, &len, sizeof len);
        if (texts[i])
            buf_str_add(&b, texts[i]);
    }
    buf_add(&b, r->params, r->params_len);
    if (buf_failed(&b))
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    crypto_hash(no_key, b.p, b.len, q->body_hash);
    q->idempotency_key = arena_strdup(q->arena, key);
    return q->idempotency_key ? 0 : err_set(e, ERR_NOMEM, "53200", "out of memory");
}

static int fill_record(struct query *q, const struct identity *who, const struct submit *in, struct err *e)
{
    struct query_record *r = &q->rec;
    struct arena *a = q->arena;
    r->created_ms = in->created_ms ? in->created_ms : sys_wall_ms();
    r->id = id_new(r->created_ms);
    r->workspace = who->workspace;
    r->user = who->user;
    r->user_name = arena_strdup(a, who->user_name);
    r->workspace_name = arena_strdup(a, who->workspace_name);
    r->dialect = (uint8_t)in->dialect;
    r->state = QUERY_QUEUED;
    r->profile = in->profile;
    r->sql = arena_strndup(a, in->sql, in->sql_len);
    r->sql_len = in->sql_len;
    r->default_source = keep(a, in->default_source);
    r->default_database = keep(a, in->default_database);
    r->timezone = keep(a, in->timezone);
    r->language = keep(a, in->language);
    r->bucket = keep(a, in->bucket);
    r->path = keep(a, in->path);
    r->request = keep(a, in->request);
    r->row_limit = in->row_limit;
    r->run_timeout_ms = in->run_timeout_ms;
    r->reuse = in->reuse;
    r->max_reuse_age_s = in->max_reuse_age_s;
    r->read_only = in->read_only;
    r->script = in->script;
    r->keep_ms = in->keep_ms;
    q->shown = QUERY_QUEUED;
    q->submitted_ns = sys_mono_ns();
    q->plan_now = in->plan_now;
    q->hold = in->hold;
    q->hold_until_ns = in->hold ? q->submitted_ns + HOLD_NS : 0;
    if (!r->sql || !r->user_name || !r->workspace_name)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    int rc = params_encode(in->params, in->nparams, a, &r->params, &r->params_len, e);
    if (!rc && in->idempotency_key)
        rc = hash_body(q, in->idempotency_key, e);
    if (!rc && !r->script)
        reuse_key(q->service, q);
    return rc;
}

static int spool_room(struct service *s, int64_t workspace, struct err *e)
{
    const char *key;
    int64_t most = service__spool_limit(s, workspace, &key);
    uint64_t used = most > 0 ? usage_of(s->usage, workspace) : 0;
    if (most <= 0 || used < (uint64_t)most)
        return 0;
    return err_set(e, ERR_LIMIT, "53400",
                   "the workspace's stored results take %llu bytes of %lld (%s): delete results or wait "
                   "until some expire",
                   (unsigned long long)used, (long long)most, key);
}

/* May a new query come? */
static int room(struct service *s, const struct identity *who, struct err *e)
{
    if (atomic_load(&s->draining))
        return err_set(e, ERR_UNAVAILABLE, "57P03", "the server is draining: it accepts no new queries");
    int rc = audit_admit(e);
    if (!rc && !disk_ok(s->disk, e))
        rc = ERR_UNAVAILABLE;
    if (!rc)
        rc = spool_room(s, who->workspace, e);
    return rc ? rc : scheduler_room(s->scheduler, who->workspace, e);
}

int service_submit(struct service *s, const struct identity *who, const struct submit *in, struct query **ret,
                   struct err *e)
{
    if (who->role < ROLE_MEMBER) {
        observe_denied(who, "submit", NULL);
        return err_set(e, ERR_DENIED, "42501", "the key's role is reader: it may not run queries");
    }
    if (workspace_epoch(s->workspaces, who->workspace) == 0)
        return err_set(e, ERR_NOTFOUND, "02000", "the workspace was removed");
    if (in->sql_len == 0)
        return err_set(e, ERR_INVALID, "42601", "the SQL text is empty");
    if (memchr(in->sql, 0, in->sql_len))
        return err_set(e, ERR_INVALID, "22021", "the SQL text contains a NUL character");
    struct err why;
    err_clear(&why);
    int rc = room(s, who, &why);
    if (rc && !in->idempotency_key) {
        *e = why;
        return rc;
    }
    struct query *q = query_new(s);
    if (!q)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (rc) {
        struct err *copy = arena_alloc(q->arena, sizeof *copy);
        q->no_room = copy;
        if (copy)
            *copy = why;
        rc = copy ? 0 : err_set(e, ERR_NOMEM, "53200", "out of memory");
    }
    if (!rc)
        rc = fill_record(q, who, in, e);
    if (!rc && in->bucket) {
        const char *url;
        rc = workspace_bucket_url(s->workspaces, who->workspace, in->bucket, q->arena, &url, e);
    }
    if (rc) {
        query_unref(q);
        return rc;
    }
    atomic_fetch_add(&s->live, 1);
    service__table_add(s, q);
    service__write(q, apply_insert, insert_done, q->hold_until_ns, 0, 0);
    if (!q->idempotency_key)
        dispatch(s, q);
    *ret = q;
    return 0;
}

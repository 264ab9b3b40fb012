/*
 * service: submit, find, cancel, delete, and the one way a query ends. See service.h for who may call what on which thread.
 *
 * A submitted query is in the table at once; it is answered only when its record is durable (QF_ACCEPTED). An end is decided under the query's
 * lock by query_move(), written by the registry's thread, and told to readers only when that is committed (QF_ENDED).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/audit.h"
#include "core/observe.h"
#include "core/service_int.h"

/* How long an accept may wait for its query's end, so that both share one transaction (design.md decision 1). */
#define HOLD_NS 2000000

/* ---- table ---- */

static struct query **table_slot(struct service *s, const struct qid *id)
{
    return &s->table[id_hash(id) & (TABLE_BUCKETS - 1)];
}

struct query *service__lookup(struct service *s, const struct qid *id)
{
    pthread_mutex_lock(&s->table_lock);
    struct query *q = *table_slot(s, id);
    while (q && !id_equal(&q->rec.id, id)) q = q->table_next;
    if (q) query_ref(q);
    pthread_mutex_unlock(&s->table_lock);
    return q;
}

void service__table_add(struct service *s, struct query *q)
{
    pthread_mutex_lock(&s->table_lock);
    struct query **slot = table_slot(s, &q->rec.id);
    q->table_next = *slot;
    *slot = query_ref(q);
    q->in_table = true;
    pthread_mutex_unlock(&s->table_lock);
    observe_alive(&q->rec);
}

static bool table_remove_locked(struct service *s, struct query *q)
{
    if (!q->in_table) return false;
    struct query **p = table_slot(s, &q->rec.id);
    while (*p != q) p = &(*p)->table_next;
    *p = q->table_next;
    q->table_next = NULL;
    q->in_table = false;
    return true;
}

/* Keeps an ended query in memory for a while: it pushes the one that ended RECENT_KEPT ends ago out. */
static void table_retire(struct service *s, struct query *q)
{
    pthread_mutex_lock(&s->table_lock);
    struct query **slot = &s->recent[s->recent_next++ % RECENT_KEPT], *old = *slot;
    *slot = query_ref(q);
    bool out = old && table_remove_locked(s, old);
    pthread_mutex_unlock(&s->table_lock);
    if (out) query_unref(old); /* the table's reference */
    query_unref(old);          /* the ring's */
}

/* ---- small registry writes ---- */

void service__write_done(struct registry_write *w, int rc, const struct err *e)
{
    struct query_write *qw = (struct query_write *)(void *)w;
    if (rc) log_event(LOG_ERROR, "core", "a query's record could not be written", "error", e->text, NULL);
    query_unref(qw->q);
    free(qw);
}

void service__write(struct query *q, int (*apply)(struct registry *, struct registry_write *, struct err *),
                    void (*done)(struct registry_write *, int, const struct err *), int64_t hold_until_ns, int64_t at_ms, uint32_t runs)
{
    struct query_write *qw = calloc(1, sizeof *qw);
    ASSERT(qw);
    qw->w.apply = apply;
    qw->w.done = done;
    qw->w.hold_until_ns = hold_until_ns;
    qw->q = query_ref(q);
    qw->at_ms = at_ms;
    qw->runs = runs;
    registry_queue(q->service->registry, &qw->w);
}

static struct query *write_query(struct registry_write *w)
{
    return ((struct query_write *)(void *)w)->q;
}

/* ---- ends ---- */

static int apply_end(struct registry *r, struct registry_write *w, struct err *e)
{
    /* A copy: the run worker of a query that somebody else ended may still be learning its kind and times. */
    struct query *q = write_query(w);
    pthread_mutex_lock(&q->lock);
    struct query_record rec = q->rec;
    pthread_mutex_unlock(&q->lock);
    int rc = registry_put_end(r, &rec, e);
    bool changed = rec.writes && rec.ending != END_SQL_ERROR && rec.ending != END_REFUSED;
    if (!rc && changed && config.reuse_invalidate_on_write == 0) rc = registry_put_unreusable(r, rec.workspace, e);
    return rc;
}

static void end_shown(struct query *q)
{
    struct service *s = q->service;
    if (!q->refused) observe_end(&q->rec); /* before anybody is told */
    pthread_mutex_lock(&q->lock);
    q->shown = (enum query_state)q->rec.state;
    enum ending ending = q->rec.ending;
    int64_t elapsed = q->rec.elapsed_ns;
    query_signal_unlock(q, QF_ENDED, true);
    reuse_ended(s, q, q->rec.state == QUERY_FINISHED);
    atomic_fetch_sub(&s->live, 1);
    metric_add(s->m_ended[ending], 1);
    metric_observe_ns(s->m_seconds, elapsed);
    table_retire(s, q);
}

/* Nothing is told before it is durable. When it cannot be recorded (the disk is full, or cannot be written) the janitor tries again; see service__end_again. */
static void end_failed(struct query *q, const struct err *e, int tries)
{
    if (tries == 0) log_event(LOG_ERROR, "core", "the end of a query could not be recorded: it will be tried again", "error", e->text, NULL);
    janitor_again(q->service->janitor, q, service__end_again, tries + 1);
}

static void end_done(struct registry_write *w, int rc, const struct err *e)
{
    struct query_write *qw = (struct query_write *)(void *)w;
    struct query *q = qw->q;
    pthread_mutex_lock(&q->lock);
    bool told = q->end_told, refused = q->refused;
    pthread_mutex_unlock(&q->lock);
    if (rc && !refused) end_failed(q, e, (int)qw->runs);
    else if (!told) end_shown(q);
    query_unref(q);
    free(w);
}

/* After END_TRIES a query that waits for its record for so long ends for its readers too: FAILED when it was FINISHED (its result goes: that makes room), else as it
 * ended. The record is tried until it succeeds; a crash before that leaves it RUNNING, and the next start decides. */
#define END_TRIES 4

void service__end_again(struct query *q, int tries)
{
    bool tell = false, drop = false;
    pthread_mutex_lock(&q->lock);
    if (tries >= END_TRIES && !q->end_told) {
        tell = q->end_told = true;
        drop = q->rec.state == QUERY_FINISHED;
    }
    pthread_mutex_unlock(&q->lock);
    if (drop) {
        service__drop_result(q->service, q);
        pthread_mutex_lock(&q->lock);
        struct err *copy = arena_alloc(q->arena, sizeof *copy);
        if (copy) err_set(copy, ERR_UNAVAILABLE, endings[END_DISK_FULL].sqlstate, "%s", endings[END_DISK_FULL].text);
        q->rec.state = QUERY_FAILED; /* nobody was told of the other end, and no other thread changes an ended query */
        q->rec.ending = END_DISK_FULL;
        q->rec.error = copy;
        q->rec.nresults = 0;
        pthread_mutex_unlock(&q->lock);
    }
    if (tell) end_shown(q);
    service__write(q, apply_end, end_done, 0, 0, (uint32_t)tries);
}

static void end_times(struct query *q)
{
    struct query_record *r = &q->rec;
    int64_t now = sys_mono_ns();
    r->ended_ms = sys_wall_ms();
    if (r->ended_ms < r->created_ms) r->ended_ms = r->created_ms;
    r->expires_ms = r->ended_ms + config.result_retention;
    r->elapsed_ns = now - q->submitted_ns;
    if (!q->started_ns) r->queued_ns = r->elapsed_ns;
    else if (!r->run_ns) r->run_ns = now - q->started_ns;
}

bool service__end(struct query *q, enum ending ending, const struct err *e, struct result *results, uint32_t nresults)
{
    const struct ending_row *row = &endings[ending];
    pthread_mutex_lock(&q->lock);
    if (!query_move(q, row->state)) {
        pthread_mutex_unlock(&q->lock);
        return false;
    }
    q->rec.ending = (uint8_t)ending;
    q->rec.phase = PHASE_NONE;
    end_times(q);
    if (row->state == QUERY_FINISHED) {
        q->rec.results = results;
        q->rec.nresults = nresults;
    } else {
        q->left = q->rec.results; /* it was being delivered */
        q->nleft = q->rec.nresults;
        q->rec.results = NULL;
        q->rec.nresults = 0;
        struct err *copy = arena_alloc(q->arena, sizeof *copy);
        if (copy) {
            if (e && (!row->text[0] || ending == END_RUN_TIMEOUT)) *copy = *e; /* a quota names itself */
            else err_set(copy, ERR_ENGINE, row->sqlstate, "%s", row->text);
            if (row->sqlstate[0]) memcpy(copy->sqlstate, row->sqlstate, 6); /* what the table says, it says */
            if (!copy->code) copy->code = ERR_ENGINE;
        }
        q->rec.error = copy;
    }
    bool left = q->nleft > 0;
    pthread_mutex_unlock(&q->lock);
    scheduler_leave(q->service->scheduler, q);
    if (left) janitor_remove(q->service->janitor, q);
    service__write(q, apply_end, end_done, 0, 0, 0);
    registry_hurry(q->service->registry);
    return true;
}

/* ---- submit ---- */

static int apply_insert(struct registry *r, struct registry_write *w, struct err *e)
{
    struct query *q = write_query(w);
    /* The record as it was at submit; the fields that change later are written by the writes that change them. */
    struct query_record rec;
    pthread_mutex_lock(&q->lock);
    rec = q->rec;
    pthread_mutex_unlock(&q->lock);
    rec.state = QUERY_QUEUED;
    rec.phase = PHASE_NONE;
    rec.ending = END_NONE;
    rec.ended_ms = rec.expires_ms = rec.started_ms = rec.gone_ms = 0;
    rec.runs = 0;
    rec.error = NULL;
    rec.nresults = 0;
    if (q->idempotency_key) {
        struct qid original;
        int rc = registry_put_idempotency(r, &rec, q->idempotency_key, q->body_hash, &original, e);
        if (rc > 0) {
            pthread_mutex_lock(&q->lock);
            q->duplicate = true;
            q->original = original;
            pthread_mutex_unlock(&q->lock);
            return err_set(e, ERR_CONFLICT, "23505", "an earlier query has the same Idempotency-Key");
        }
        if (rc < 0) return rc;
    }
    return registry_put_query(r, &rec, e);
}

/* Where a new query goes: to a result that is there or under way, or to the queue. */
static void dispatch(struct service *s, struct query *q)
{
    if (!reuse_submit(s, q)) scheduler_push(s->scheduler, q, q->plan_now);
}

static void refuse(struct query *q, const struct err *e)
{
    struct service *s = q->service;
    pthread_mutex_lock(&q->lock);
    struct err *copy = arena_alloc(q->arena, sizeof *copy);
    if (copy) *copy = *e;
    q->rec.error = copy;
    q->refused = true;
    bool ended = query_state_ended(q->rec.state);
    if (!ended) query_move(q, QUERY_FAILED);
    q->shown = QUERY_FAILED;
    if (q->engine) engine_cancel(q->engine, true);
    query_signal_unlock(q, QF_ENDED, true);
    scheduler_leave(s->scheduler, q);
    reuse_ended(s, q, false);
    if (!ended) atomic_fetch_sub(&s->live, 1);
    pthread_mutex_lock(&s->table_lock);
    bool out = table_remove_locked(s, q);
    pthread_mutex_unlock(&s->table_lock);
    if (out) query_unref(q);
}

static void insert_done(struct registry_write *w, int rc, const struct err *e)
{
    struct query *q = write_query(w);
    if (rc) {
        refuse(q, e);
    } else {
        observe_submit(&q->rec);
        /* With an idempotency key nothing starts before it is known that no earlier query has the key. */
        if (q->idempotency_key) dispatch(q->service, q);
        pthread_mutex_lock(&q->lock);
        query_signal_unlock(q, QF_ACCEPTED, true);
    }
    query_unref(q);
    free(w);
}

int service_settle(struct service *s, const struct identity *who, bool may_block, struct query **inout, struct err *e)
{
    struct query *q = *inout;
    pthread_mutex_lock(&q->lock);
    bool duplicate = q->duplicate;
    pthread_mutex_unlock(&q->lock);
    if (!duplicate) return service_refusal(q, e);
    char id[ID_TEXT_MAX];
    struct query *original;
    int rc = service_find(s, who, id_uuid(&q->original, id), ID_UUID_LEN, may_block, &original, e);
    if (rc == ERR_NOTFOUND) return err_set(e, ERR_CONFLICT, "22023", "the query of this Idempotency-Key has left the history");
    if (rc) return rc;
    *inout = original;
    return 0;
}

int service_refusal(struct query *q, struct err *e)
{
    pthread_mutex_lock(&q->lock);
    int rc = 0;
    if (q->refused) {
        rc = q->rec.error ? q->rec.error->code : ERR_UNAVAILABLE;
        if (e && q->rec.error) *e = *q->rec.error;
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

static const char *keep(struct arena *a, const char *s)
{
    return s ? arena_strdup(a, s) : NULL;
}

/* What makes two submits the same request. The folder in `path` depends on the day and is left out: `request` holds the path as it was asked for. */
static int hash_body(struct query *q, const char *key, struct err *e)
{
    static const uint8_t no_key[CRYPTO_KEY_LEN];
    struct query_record *r = &q->rec;
    size_t n = strlen(key);
    if (n == 0 || n > 255) return err_set(e, ERR_INVALID, "22023", "Idempotency-Key must have 1 to 255 characters");
    const char *const texts[] = {r->sql, r->default_source, r->default_database, r->timezone, r->language, r->bucket, r->request};
    const int64_t numbers[] = {r->dialect, r->profile, r->row_limit, r->run_timeout_ms, r->reuse, r->max_reuse_age_min};
    CLEANUP_BUF struct buf b = BUF_INIT((size_t)128 << 20);
    buf_add(&b, numbers, sizeof numbers);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        uint64_t len = texts[i] ? strlen(texts[i]) : UINT64_MAX;
        buf_add(&b, &len, sizeof len);
        if (texts[i]) buf_str_add(&b, texts[i]);
    }
    buf_add(&b, r->params, r->params_len);
    if (buf_failed(&b)) return err_set(e, ERR_NOMEM, "53200", "out of memory");
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
    r->max_reuse_age_min = in->max_reuse_age_min;
    r->read_only = in->read_only;
    q->shown = QUERY_QUEUED;
    q->submitted_ns = sys_mono_ns();
    q->plan_now = in->plan_now;
    q->hold = in->hold;
    q->hold_until_ns = in->hold ? q->submitted_ns + HOLD_NS : 0;
    if (!r->sql || !r->user_name || !r->workspace_name) return err_set(e, ERR_NOMEM, "53200", "out of memory");
    int rc = params_encode(in->params, in->nparams, a, &r->params, &r->params_len, e);
    if (!rc && in->idempotency_key) rc = hash_body(q, in->idempotency_key, e);
    if (!rc) reuse_key(q->service, q);
    return rc;
}

int64_t service__spool_limit(struct service *s, int64_t workspace, const char **ret_key)
{
    int64_t quota = workspace_limit(s->workspaces, workspace, LIMIT_SPOOL_BYTES);
    if (ret_key) *ret_key = quota > 0 ? "the workspace's quota spool_bytes" : "spool.per_workspace";
    return quota > 0 ? quota : config.spool_per_workspace;
}

static int spool_room(struct service *s, int64_t workspace, struct err *e)
{
    const char *key;
    int64_t most = service__spool_limit(s, workspace, &key);
    uint64_t used = most > 0 ? usage_of(s->usage, workspace) : 0;
    if (most <= 0 || used < (uint64_t)most) return 0;
    return err_set(e, ERR_LIMIT, "53400", "the workspace's stored results take %llu bytes of %lld (%s): delete results or wait until some expire", (unsigned long long)used,
                   (long long)most, key);
}

int service_submit(struct service *s, const struct identity *who, const struct submit *in, struct query **ret, struct err *e)
{
    if (who->role < ROLE_MEMBER) {
        observe_denied(who, "submit", NULL);
        return err_set(e, ERR_DENIED, "42501", "the key's role is reader: it may not run queries");
    }
    if (atomic_load(&s->draining)) return err_set(e, ERR_UNAVAILABLE, "57P03", "the server is draining: it accepts no new queries");
    if (in->sql_len == 0) return err_set(e, ERR_INVALID, "42601", "the SQL text is empty");
    if (memchr(in->sql, 0, in->sql_len)) return err_set(e, ERR_INVALID, "22021", "the SQL text contains a NUL character");
    int rc = audit_admit(e);
    if (!rc && !disk_ok(s->disk, e)) rc = ERR_UNAVAILABLE;
    if (!rc) rc = spool_room(s, who->workspace, e);
    if (!rc) rc = scheduler_room(s->scheduler, who->workspace, e);
    if (rc) return rc;
    struct query *q = query_new(s);
    if (!q) return err_set(e, ERR_NOMEM, "53200", "out of memory");
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
    metric_add(s->m_submitted, 1);
    service__table_add(s, q);
    service__write(q, apply_insert, insert_done, q->hold_until_ns, 0, 0);
    if (!q->idempotency_key) dispatch(s, q);
    *ret = q;
    return 0;
}

/* ---- who sees what ---- */

static bool owner_or_admin(const struct identity *who, const struct query *q)
{
    return who->role == ROLE_ADMIN || who->user == q->rec.user;
}

static bool visible(const struct identity *who, const struct query *q)
{
    if (q->rec.workspace != who->workspace) return false;
    return config.access_queries == 0 || owner_or_admin(who, q);
}

static int not_found(struct err *e)
{
    return err_set(e, ERR_NOTFOUND, "02000", "query not found");
}

int service__load(struct service *s, const struct qid *id, struct query **ret, struct err *e)
{
    struct query *q = query_new(s);
    if (!q) return err_set(e, ERR_NOMEM, "53200", "out of memory");
    int rc = registry_get_query(s->registry, id, q->arena, &q->rec, e);
    if (rc) {
        query_unref(q);
        return rc;
    }
    q->shown = q->rec.state;
    struct result *shown = query_shown_result(q);
    q->schema = shown ? shown->schema : NULL;
    q->exposing = q->rec.exposed;
    q->flags = QF_ACCEPTED;
    if (query_state_ended(q->shown)) q->flags = QF_ACCEPTED | QF_PLANNED | QF_ROWS | QF_ENDED;
    *ret = q;
    return 0;
}

/* Loads an ended query into the table, unless another thread did meanwhile. */
static int find_stored(struct service *s, const struct qid *id, struct query **ret, struct err *e)
{
    struct query *q;
    int rc = service__load(s, id, &q, e);
    if (rc) return rc == ERR_NOTFOUND ? not_found(e) : rc;
    if (!query_state_ended(q->shown)) { /* it ended and left the table between lookup and load, or is being accepted: the table knows */
        query_unref(q);
        q = service__lookup(s, id);
        if (!q) return not_found(e);
        *ret = q;
        return 0;
    }
    pthread_mutex_lock(&s->table_lock);
    struct query *other = *table_slot(s, id);
    while (other && !id_equal(&other->rec.id, id)) other = other->table_next;
    if (other) {
        query_ref(other);
    } else {
        struct query **slot = table_slot(s, id);
        q->table_next = *slot;
        *slot = query_ref(q);
        q->in_table = true;
    }
    pthread_mutex_unlock(&s->table_lock);
    if (other) {
        query_unref(q);
        q = other;
    } else {
        table_retire(s, q);
    }
    *ret = q;
    return 0;
}

int service_find(struct service *s, const struct identity *who, const char *text, size_t len, bool may_block, struct query **ret, struct err *e)
{
    struct qid id;
    if (!id_parse(text, len, &id)) return not_found(e);
    struct query *q = service__lookup(s, &id);
    if (!q) {
        if (!may_block) return ERR_WOULDBLOCK;
        int rc = find_stored(s, &id, &q, e);
        if (rc) return rc;
    }
    if (!visible(who, q)) {
        observe_denied(who, "see", &q->rec);
        query_unref(q);
        return not_found(e);
    }
    *ret = q;
    return 0;
}

/* ---- cancel and delete ---- */

static int may_change(const struct identity *who, const struct query *q, struct err *e)
{
    if (who->role >= ROLE_MEMBER && owner_or_admin(who, q)) return 0;
    observe_denied(who, "change", &q->rec);
    if (who->role < ROLE_MEMBER) return err_set(e, ERR_DENIED, "42501", "the key's role is reader: it may not change queries");
    return err_set(e, ERR_DENIED, "42501", "only the query's owner or an admin may do this");
}

static void interrupt(struct query *q)
{
    pthread_mutex_lock(&q->lock);
    if (q->engine && !q->cancel_sent) {
        q->cancel_sent = true;
        engine_cancel(q->engine, false);
    }
    pthread_mutex_unlock(&q->lock);
}

int service_cancel(struct service *s, const struct identity *who, struct query *q, struct err *e)
{
    int rc = may_change(who, q, e);
    if (rc) return rc;
    pthread_mutex_lock(&q->lock);
    enum ending ending = q->rec.state == QUERY_QUEUED ? END_CANCELED_QUEUED : END_CANCELED_RUNNING;
    pthread_mutex_unlock(&q->lock);
    if (!service__end(q, ending, NULL, NULL, 0)) return err_set(e, ERR_CONFLICT, "55000", "the query has ended already");
    observe_cancel(who, &q->rec);
    if (catalog_forget(s->catalog, &q->claim)) query_unref(q);
    interrupt(q);
    return 0;
}

static int apply_gone(struct registry *r, struct registry_write *w, struct err *e)
{
    struct query_write *qw = (struct query_write *)(void *)w;
    return registry_put_gone(r, &qw->q->rec.id, qw->at_ms, e);
}

static void gone_done(struct registry_write *w, int rc, const struct err *e)
{
    struct query_write *qw = (struct query_write *)(void *)w;
    struct query *q = qw->q;
    if (rc && qw->runs == 0) log_event(LOG_ERROR, "core", "the deletion of a result could not be recorded: it will be tried again", "error", e->text, NULL);
    if (rc) janitor_again(q->service->janitor, q, service__gone_again, (int)qw->runs + 1);
    else janitor_remove(q->service->janitor, q);
    query_unref(q);
    free(w);
}

void service__gone_again(struct query *q, int tries)
{
    service__write(q, apply_gone, gone_done, 0, q->rec.gone_ms, (uint32_t)tries);
}

int service_delete(struct service *s, const struct identity *who, struct query *q, struct err *e)
{
    int rc = service_cancel(s, who, q, e);
    if (rc && rc != ERR_CONFLICT) return rc;
    int64_t now = sys_wall_ms();
    pthread_mutex_lock(&q->lock);
    bool first = q->rec.gone_ms == 0;
    if (first) q->rec.gone_ms = now;
    q->version++;
    pthread_mutex_unlock(&q->lock);
    if (!first) return 0;
    observe_delete(who, &q->rec);
    service__write(q, apply_gone, gone_done, 0, now, 0);
    return 0;
}

void service__drop_result(struct service *s, struct query *q)
{
    pthread_mutex_lock(&q->lock);
    struct segment *old = q->segment;
    q->segment = NULL;
    uint32_t n = q->rec.nresults, nleft = q->nleft;
    q->nleft = 0;
    pthread_mutex_unlock(&q->lock);
    segment_unref(old);
    pthread_mutex_lock(&s->files_lock);
    for (uint32_t i = 0; i < n; i++)
        if (q->rec.results[i].sealed) service__remove_file(s, q, q->rec.results[i].ordinal);
    for (uint32_t i = 0; i < nleft; i++)
        if (q->left[i].sealed) service__remove_file(s, q, q->left[i].ordinal);
    pthread_mutex_unlock(&s->files_lock);
}

void service__remove_file(struct service *s, const struct query *q, uint32_t ordinal)
{
    struct err e;
    err_clear(&e);
    uint64_t bytes = 0;
    if (spool_remove(s->spool, &q->rec.id, ordinal, &bytes, &e)) log_event(LOG_WARN, "core", "a stored result could not be removed", "error", e.text, NULL);
    usage_add(s->usage, q->rec.workspace, -(int64_t)bytes);
    observe_spool(q->rec.workspace, q->rec.workspace_name, usage_of(s->usage, q->rec.workspace));
}

/* ---- life ---- */

static void make_metrics(struct service *s)
{
    for (int i = 0; i < ENDINGS; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "ending=\"%s\"", endings[i].name);
        s->m_ended[i] = metrics_get(METRIC_COUNTER, "quern_queries_ended_total", labels, "Queries that ended, by ending.");
    }
    s->m_submitted = metrics_get(METRIC_COUNTER, "quern_queries_submitted_total", "", "Queries submitted.");
    s->m_queued = metrics_get(METRIC_GAUGE, "quern_queries_queued", "", "Queries that wait for a slot.");
    s->m_running = metrics_get(METRIC_GAUGE, "quern_queries_running", "", "Run slots in use.");
    s->m_spool = metrics_get(METRIC_GAUGE, "quern_spool_bytes", "", "Bytes of stored results, those under way included.");
    s->m_disk_free = metrics_get(METRIC_GAUGE, "quern_disk_free_bytes", "", "Free space of the data folder's file system.");
    s->m_disk_low = metrics_get(METRIC_GAUGE, "quern_disk_low", "", "1 while no queries are accepted for want of space.");
    s->m_seconds = metrics_get(METRIC_HISTOGRAM, "quern_query_seconds", "", "Time from submit to end.");
}

static void count_stored(void *arg, int64_t workspace, int64_t bytes)
{
    usage_add(arg, workspace, bytes);
}

static void show_stored(void *arg, const struct workspace_row *w)
{
    observe_spool(w->id, w->name, usage_of(((struct service *)arg)->usage, w->id));
}

static bool on_full(void *arg)
{
    return disk_give_up(arg);
}

static int open_space(struct service *s, const char *data_dir, struct err *e)
{
    int rc = disk_open(data_dir, &s->disk, e);
    if (rc) return rc;
    registry_on_full(s->registry, on_full, s->disk);
    s->usage = usage_new();
    if (!s->usage) return err_set(e, ERR_NOMEM, "53200", "out of memory");
    rc = registry_each_stored(s->registry, count_stored, s->usage, e);
    return rc ? rc : registry_each_workspace(s->registry, show_stored, s, e);
}

int service_open(const struct service_options *o, struct service **ret, struct err *e)
{
    struct service *s = calloc(1, sizeof *s);
    if (!s) return err_set(e, ERR_NOMEM, "53200", "out of memory");
    s->registry = o->registry;
    s->workspaces = o->workspaces;
    s->pool = o->pool;
    memcpy(s->metadata, o->metadata, sizeof s->metadata);
    pthread_mutex_init(&s->table_lock, NULL);
    pthread_mutex_init(&s->files_lock, NULL);
    make_metrics(s);
    int rc = spool_open(o->data_dir, &s->spool, e);
    if (!rc) rc = open_space(s, o->data_dir, e);
    if (!rc) rc = delivery_start(s, &s->delivery, e);
    if (!rc) rc = reuse_open(s, &s->reuse, e);
    if (!rc) rc = catalog_open(&s->catalog, e);
    if (!rc) rc = scheduler_start(s, &s->scheduler, e);
    if (!rc) rc = janitor_start(s, &s->janitor, e);
    if (!rc) rc = service__recover(s, e);
    if (rc) {
        service_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void service_drain(struct service *s)
{
    atomic_store(&s->draining, true);
    scheduler_pause(s->scheduler, true);
}

void service_undrain(struct service *s)
{
    atomic_store(&s->draining, false);
    scheduler_pause(s->scheduler, atomic_load(&s->paused));
}

bool service_draining(struct service *s)
{
    return atomic_load(&s->draining);
}

int service_running(struct service *s)
{
    return scheduler_running(s->scheduler) + delivery_backlog(s->delivery);
}

static void table_clear(struct service *s)
{
    for (uint32_t i = 0; i < RECENT_KEPT; i++) query_unref(s->recent[i]);
    for (uint32_t i = 0; i < SEGMENTS_OPEN; i++) query_unref(s->open[i]);
    for (uint32_t i = 0; i < TABLE_BUCKETS; i++) {
        for (struct query *q = s->table[i], *next; q; q = next) {
            next = q->table_next;
            q->in_table = false;
            query_unref(q);
        }
    }
}

void service_close(struct service *s)
{
    if (!s) return;
    atomic_store(&s->draining, true);
    scheduler_stop(s->scheduler, 0);
    catalog_close(s->catalog); /* before the registry is waited for: an expired wait writes an end */
    s->catalog = NULL;
    registry_sync(s->registry); /* the runners' last writes hand queries to the delivery */
    delivery_stop(s->delivery);
    registry_sync(s->registry);
    janitor_stop(s->janitor);
    registry_sync(s->registry); /* what it began */
    janitor_free(s->janitor);
    scheduler_free(s->scheduler);
    reuse_close(s->reuse);
    table_clear(s);
    spool_close(s->spool);
    registry_on_full(s->registry, NULL, NULL); /* its writer has nothing of ours any more */
    usage_free(s->usage);
    disk_close(s->disk);
    pthread_mutex_destroy(&s->table_lock);
    pthread_mutex_destroy(&s->files_lock);
    free(s);
}

int service_live(struct service *s)
{
    return atomic_load(&s->live);
}

void service_pause(struct service *s, bool pause)
{
    atomic_store(&s->paused, pause);
    scheduler_pause(s->scheduler, pause || atomic_load(&s->draining));
}

bool service_ready(struct service *s, struct err *e)
{
    if (!atomic_load(&s->draining)) return disk_ok(s->disk, e);
    err_set(e, ERR_UNAVAILABLE, "57P03", "draining");
    return false;
}

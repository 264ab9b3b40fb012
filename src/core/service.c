/*
 * service: find, cancel, delete, and the service's own start and stop. See service.h for who may call what on
 * which thread; submitting is service_submit.c, ends are service_life.c, rows and lists service_rows.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/backup.h"
#include "core/firsts.h"
#include "core/keyring.h"
#include "core/observe.h"
#include "core/service_int.h"

/* ---- who sees what ---- */

static bool owner_or_admin(const struct identity *who, const struct query *q)
{
    return who->role == ROLE_ADMIN || who->user == q->rec.user;
}

static bool visible(const struct identity *who, const struct query *q)
{
    if (q->rec.workspace != who->workspace)
        return false;
    return config.access_queries == 0 || owner_or_admin(who, q);
}

static int not_found(struct err *e)
{
    return err_set(e, ERR_NOTFOUND, "02000", "query not found");
}

int service__load(struct service *s, const struct qid *id, struct query **ret, struct err *e)
{
    struct query *q = query_new(s);
    if (!q)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    int rc = registry_get_query(s->registry, id, q->arena, &q->rec, e);
    if (rc) {
        query_unref(q);
        return rc;
    }
    q->shown = q->rec.state;
    struct result *shown = query_shown_result(q);
    bool bad = q->shown == QUERY_FAILED || q->shown == QUERY_CANCELED;
    q->schema = shown && !bad ? shown->schema : NULL;
    q->exposing = q->rec.exposed;
    q->flags = QF_ACCEPTED;
    if (query_state_ended(q->shown))
        q->flags = QF_ACCEPTED | QF_PLANNED | QF_ROWS | QF_ENDED;
    *ret = q;
    return 0;
}

/* Loads an ended query into the table, unless another thread did meanwhile. */
static int find_stored(struct service *s, const struct qid *id, struct query **ret, struct err *e)
{
    struct query *q;
    int rc = service__load(s, id, &q, e);
    if (rc)
        return rc == ERR_NOTFOUND ? not_found(e) : rc;
    if (!query_state_ended(
            q->shown)) { /* it ended and left the table between lookup and load, or is being accepted: the table knows */
        query_unref(q);
        q = service__lookup(s, id);
        if (!q)
            return not_found(e);
        *ret = q;
        return 0;
    }
    q = service__table_enter(s, q);
    *ret = q;
    return 0;
}

int service_find_linked(struct service *s, const char *text, size_t len, bool may_block, struct query **ret,
                        struct err *e)
{
    struct qid id;
    if (!id_parse(text, len, &id))
        return not_found(e);
    struct query *q = service__lookup(s, &id);
    if (q) {
        *ret = q;
        return 0;
    }
    return may_block ? find_stored(s, &id, ret, e) : ERR_WOULDBLOCK;
}

int service_find(struct service *s, const struct identity *who, const char *text, size_t len, bool may_block,
                 struct query **ret, struct err *e)
{
    struct query *q;
    int rc = service_find_linked(s, text, len, may_block, &q, e);
    if (rc)
        return rc;
    if (!visible(who, q)) {
        observe_denied(who, "see", &q->rec);
        query_unref(q);
        return not_found(e);
    }
    if (who->role == ROLE_ADMIN && who->user != q->rec.user &&
        firsts_is(s->admin_reads, who->key, &q->rec.id, sizeof q->rec.id))
        observe_admin(who, &q->rec);
    *ret = q;
    return 0;
}

/* ---- links ---- */

/* The installation's key under a label of its own, so that no mark of a link is one of anything else. Without a
 * keyring (only the room's own tests) marks are this process's. */
static void link_key(struct service *s, const char *data_dir)
{
    static const char label[] = "quern: links to results";
    uint8_t key[CRYPTO_KEY_LEN];
    if (keyring_open(data_dir, false, key, NULL))
        sys_random(key, sizeof key);
    crypto_hash(key, label, sizeof label, s->link_key);
    crypto_wipe(key, sizeof key);
}

void service_link(struct service *s, const char *text, size_t n, char ret_mark[LINK_MARK_LEN + 1])
{
    uint8_t hash[CRYPTO_HASH_LEN];
    char out[4 * ((CRYPTO_HASH_LEN + 2) / 3) + 1];
    crypto_hash(s->link_key, text, n, hash);
    crypto_base64_encode(hash, sizeof hash, out);
    for (size_t i = 0; i < LINK_MARK_LEN; i++)
        ret_mark[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    ret_mark[LINK_MARK_LEN] = 0;
}

bool service_linked(struct service *s, const char *text, size_t n, const char *mark, size_t mark_len)
{
    char right[LINK_MARK_LEN + 1];
    service_link(s, text, n, right);
    return mark_len == LINK_MARK_LEN && crypto_equal(right, mark, LINK_MARK_LEN);
}

/* ---- cancel and delete ---- */

static int may_change(const struct identity *who, const struct query *q, struct err *e)
{
    if (who->role >= ROLE_MEMBER && owner_or_admin(who, q))
        return 0;
    observe_denied(who, "change", &q->rec);
    if (who->role < ROLE_MEMBER)
        return err_set(e, ERR_DENIED, "42501", "the key's role is reader: it may not change queries");
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
    if (rc)
        return rc;
    pthread_mutex_lock(&q->lock);
    enum ending ending = q->rec.state == QUERY_QUEUED ? END_CANCELED_QUEUED : END_CANCELED_RUNNING;
    pthread_mutex_unlock(&q->lock);
    if (!service__end(q, ending, NULL, NULL, 0))
        return err_set(e, ERR_CONFLICT, "55000", "the query has ended already");
    observe_cancel(who, &q->rec);
    if (catalog_forget(s->catalog, &q->claim))
        query_unref(q);
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
    if (rc && qw->runs == 0)
        log_event(LOG_ERROR, "core", "the deletion of a result could not be recorded: it will be tried again",
                  "error", e->text, NULL);
    if (rc)
        janitor_again(q->service->janitor, q, service__gone_again, (int)qw->runs + 1);
    else
        janitor_remove(q->service->janitor, q);
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
    if (rc && rc != ERR_CONFLICT)
        return rc;
    int64_t now = sys_wall_ms();
    pthread_mutex_lock(&q->lock);
    bool first = q->rec.gone_ms == 0;
    if (first)
        q->rec.gone_ms = now;
    q->version++;
    pthread_mutex_unlock(&q->lock);
    if (!first)
        return 0;
    observe_delete(who, &q->rec);
    service__write(q, apply_gone, gone_done, 0, now, 0);
    return 0;
}

void service_sync(struct service *s)
{
    registry_sync(s->registry);
}

#define OLDER_BATCH 250

int service_delete_older(struct service *s, const struct identity *who, enum dialect_id dialect,
                         int64_t before_ms, uint64_t *ret_n, struct err *e)
{
    if (who->role != ROLE_ADMIN)
        return err_set(e, ERR_DENIED, "42501", "only an admin may delete the results of all");
    struct registry_place place = {0};
    uint64_t done = 0;
    size_t n = OLDER_BATCH;
    int rc = 0;
    registry_sync(s->registry); /* what was accepted or ended before now is found */
    while (!rc && n == OLDER_BATCH) {
        struct arena *a = arena_new(1u << 20);
        struct qid *ids;
        rc = a ? registry_delivered(s->registry, who->workspace, (uint8_t)dialect, before_ms, OLDER_BATCH,
                                    &place, a, &ids, &n, e)
               : err_set(e, ERR_NOMEM, "53200", "out of memory");
        for (size_t i = 0; !rc && i < n; i++) {
            struct query *q = service__lookup(s, &ids[i]);
            if (!q && find_stored(s, &ids[i], &q, NULL))
                continue; /* it left the history meanwhile */
            rc = service_delete(s, who, q, e);
            done += rc == 0;
            query_unref(q);
        }
        arena_free(a);
        registry_sync(s->registry);
    }
    if (!rc && ret_n)
        *ret_n = done;
    return rc;
}

void service__drop_result(struct service *s, struct query *q)
{
    pthread_mutex_lock(&q->lock);
    struct segment *old = q->live_segment ? NULL : q->segment; /* its worker's, while there is one */
    if (old)
        q->segment = NULL;
    uint32_t n = q->rec.nresults, nleft = q->nleft;
    const struct result *all = q->rec.results; /* what it has of them does not change */
    q->nleft = 0;
    pthread_mutex_unlock(&q->lock);
    segment_unref(old);
    render_forget(s->render, &q->rec.id);
    pthread_mutex_lock(&s->files_lock);
    for (uint32_t i = 0; i < n; i++)
        if (all[i].sealed)
            service__remove_file(s, q, all[i].ordinal);
    for (uint32_t i = 0; i < nleft; i++)
        if (q->left[i].sealed)
            service__remove_file(s, q, q->left[i].ordinal);
    pthread_mutex_unlock(&s->files_lock);
    delivery_remove(s, q);
}

void service__remove_file(struct service *s, const struct query *q, uint32_t ordinal)
{
    struct err e;
    err_clear(&e);
    uint64_t bytes = 0;
    if (spool_remove(s->spool, &q->rec.id, ordinal, &bytes, &e))
        log_event(LOG_WARN, "core", "a stored result could not be removed", "error", e.text, NULL);
    usage_add(s->usage, q->rec.workspace, -(int64_t)bytes);
    observe_spool(q->rec.workspace, q->rec.workspace_name, usage_of(s->usage, q->rec.workspace));
}

/* ---- life ---- */

static void make_metrics(struct service *s)
{
    for (int i = 0; i < ENDINGS; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "ending=\"%s\"", endings[i].name);
        s->m_ended[i] = metrics_get(METRIC_COUNTER, "quern_queries_ended_total", labels,
                                    "Queries that ended, by ending.");
    }
    s->m_submitted = metrics_get(METRIC_COUNTER, "quern_queries_submitted_total", "", "Queries submitted.");
    s->m_queued = metrics_get(METRIC_GAUGE, "quern_queries_queued", "", "Queries that wait for a slot.");
    s->m_running = metrics_get(METRIC_GAUGE, "quern_queries_running", "", "Run slots in use.");
    s->m_spool = metrics_get(METRIC_GAUGE, "quern_spool_bytes", "",
                             "Bytes of stored results, those under way included.");
    s->m_disk_free = metrics_get(METRIC_GAUGE, "quern_disk_free_bytes", "",
                                 "Free space of the data folder's file system.");
    s->m_disk_low =
        metrics_get(METRIC_GAUGE, "quern_disk_low", "", "1 while no queries are accepted for want of space.");
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
    if (rc)
        return rc;
    registry_on_full(s->registry, on_full, s->disk);
    s->usage = usage_new();
    s->admin_reads = firsts_new();
    if (!s->usage || !s->admin_reads)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    rc = registry_each_stored(s->registry, count_stored, s->usage, e);
    return rc ? rc : registry_each_workspace(s->registry, show_stored, s, e);
}

int service_open(const struct service_options *o, struct service **ret, struct err *e)
{
    struct service *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    s->registry = o->registry;
    s->workspaces = o->workspaces;
    s->sources = o->sources;
    s->pool = o->pool;
    memcpy(s->plan, o->plan, sizeof s->plan);
    memcpy(s->metadata, o->metadata, sizeof s->metadata);
    pthread_mutex_init(&s->table_lock, NULL);
    pthread_mutex_init(&s->files_lock, NULL);
    make_metrics(s);
    link_key(s, o->data_dir);
    backup_sweep(o->data_dir);
    int rc = spool_open(o->data_dir, &s->spool, e);
    if (!rc)
        rc = service__buckets_open(s, e);
    if (!rc)
        rc = open_space(s, o->data_dir, e);
    if (!rc)
        rc = delivery_start(s, &s->delivery, e);
    if (!rc)
        rc = reuse_open(s, &s->reuse, e);
    if (!rc)
        rc = catalog_open(&s->catalog, e);
    if (!rc)
        rc = power_open(&s->power, e);
    if (!rc)
        rc = scheduler_start(s, &s->scheduler, e);
    if (!rc)
        rc = render_open(s, &s->render, e);
    if (!rc)
        rc = janitor_start(s, &s->janitor, e);
    if (!rc)
        rc = service__recover(s, e);
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

void service_close(struct service *s)
{
    if (!s)
        return;
    atomic_store(&s->draining, true);
    render_stop(s->render); /* a delivery may wait for one */
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
    render_close(s->render);
    service__table_clear(s);
    spool_close(s->spool);
    registry_on_full(s->registry, NULL, NULL); /* its writer has nothing of ours any more */
    power_close(s->power);
    usage_free(s->usage);
    firsts_free(s->admin_reads);
    disk_close(s->disk);
    service__buckets_close(s);
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
    if (!atomic_load(&s->draining))
        return disk_ok(s->disk, e);
    err_set(e, ERR_UNAVAILABLE, "57P03", "draining");
    return false;
}

/*
 * service: its own start and stop. See service.h for who may call what on which thread; submitting is service_submit.c,
 * finding service_find.c, cancel and delete service_change.c, ends service_life.c, rows and lists service_rows.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/backup.h"
#include "core/firsts.h"
#include "core/keyring.h"
#include "core/observe.h"
#include "core/service_int.h"

/* ---- cancel and delete ---- */

void service_sync(struct service *s)
{
    registry_sync(s->registry);
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
    s->data_dir = o->data_dir;
    atomic_init(&s->erase_wanted, 1); /* of an earlier run */
    service__link_key(s, o->data_dir);
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
        rc = scheduler_start(s, &runner_work, &s->scheduler, e);
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

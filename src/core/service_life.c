/*
 * service_life: the one way a query ends.
 *
 * An end is decided under the query's lock by query_move(), written by the registry's thread, and told to
 * readers only when that is committed (QF_ENDED). Any thread.
 */
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/observe.h"
#include "core/service_int.h"

/* ---- ends ---- */

static int apply_end(struct registry *r, struct registry_write *w, struct err *e)
{
    /* A copy: the run worker of a query that somebody else ended may still be learning its kind and times. */
    struct query *q = service__write_query(w);
    if (q->whole)
        return 0;
    pthread_mutex_lock(&q->lock);
    struct query_record rec = q->rec;
    pthread_mutex_unlock(&q->lock);
    if (rec.script && rec.gone_ms)
        rec.nresults = 0; /* deleted while it ran: nothing of it is kept */
    int rc = registry_put_end(r, &rec, e);
    bool changed = rec.writes && (rec.script || (rec.ending != END_SQL_ERROR && rec.ending != END_REFUSED));
    if (!rc && changed && config.reuse_invalidate_on_write == 0)
        rc = registry_put_unreusable(r, rec.workspace, e);
    return rc;
}

static void end_shown(struct query *q)
{
    struct service *s = q->service;
    if (!q->refused)
        observe_end(&q->rec); /* before anybody is told */
    pthread_mutex_lock(&q->lock);
    q->shown = (enum query_state)q->rec.state;
    enum ending ending = q->rec.ending;
    int64_t elapsed = q->rec.elapsed_ns;
    bool good = reuse_remember(s, q);
    query_signal_unlock(q, QF_ENDED, true);
    reuse_ended(s, q, good);
    atomic_fetch_sub(&s->live, 1);
    metric_add(s->m_ended[ending], 1);
    metric_observe_ns(s->m_seconds, elapsed);
    service__table_retire(s, q);
}

/* Nothing is told before it is durable. When it cannot be recorded (the disk is full, or cannot be written)
 * the janitor tries again; see service__end_again. */
static void end_failed(struct query *q, const struct err *e, int tries)
{
    if (tries == 0)
        log_event(LOG_ERROR, "core", "the end of a query could not be recorded: it will be tried again",
                  "error", e->text, NULL);
    janitor_again(q->service->janitor, q, service__end_again, tries + 1);
}

static void end_done(struct registry_write *w, int rc, const struct err *e)
{
    struct query_write *qw = (struct query_write *)(void *)w;
    struct query *q = qw->q;
    pthread_mutex_lock(&q->lock);
    bool refused = q->refused;
    pthread_mutex_unlock(&q->lock);
    if (rc && !refused)
        end_failed(q, e, (int)qw->runs);
    else
        end_shown(q);
    query_unref(q);
    free(w);
}

/* The record is tried until it succeeds, and readers see the query as it is recorded until then: RUNNING; a crash
 * before that leaves it so, and the next start decides. After END_TRIES a result goes (that makes room): the
 * query will be FAILED, of which nobody was told otherwise. And those who would wait for its end for ever are
 * told that it cannot be recorded now (QF_UNRECORDED). */
#define END_TRIES 4

void service__end_again(struct query *q, int tries)
{
    pthread_mutex_lock(&q->lock);
    bool give_up = tries == END_TRIES, drop = give_up && q->rec.state == QUERY_FINISHED;
    if (give_up)
        query_signal_unlock(q, QF_UNRECORDED, false);
    else
        pthread_mutex_unlock(&q->lock);
    if (drop) {
        service__drop_result(q->service, q);
        pthread_mutex_lock(&q->lock);
        struct err *copy = arena_alloc(q->arena, sizeof *copy);
        if (copy)
            err_set(copy, ERR_UNAVAILABLE, endings[END_DISK_FULL].sqlstate, "%s",
                    endings[END_DISK_FULL].text);
        q->rec.state =
            QUERY_FAILED; /* nobody was told of the other end, and no other thread changes an ended query */
        q->rec.ending = END_DISK_FULL;
        q->rec.error = copy;
        q->rec.nresults = 0;
        pthread_mutex_unlock(&q->lock);
    }
    service__write(q, apply_end, end_done, 0, 0, (uint32_t)tries);
}

static void end_times(struct query *q)
{
    struct query_record *r = &q->rec;
    int64_t now = sys_mono_ns();
    r->ended_ms = sys_wall_ms();
    if (r->ended_ms < r->created_ms)
        r->ended_ms = r->created_ms;
    int64_t keep = r->keep_ms ? r->keep_ms : config.result_retention;
    r->expires_ms = keep < 0 ? 0 : r->ended_ms + keep;
    q->expires_mono_ms = keep < 0 ? 0 : now / 1000000 + keep;
    r->elapsed_ns = now - q->submitted_ns;
    if (!q->started_ns)
        r->queued_ns = r->elapsed_ns;
    else if (!r->run_ns)
        r->run_ns = now - q->started_ns;
}

static const struct err *end_error(struct query *q, enum ending ending, const struct err *e)
{
    const struct ending_row *row = &endings[ending];
    struct err *copy = arena_alloc(q->arena, sizeof *copy);
    if (!copy)
        return NULL;
    if (e && (!row->text[0] || ending == END_RUN_TIMEOUT))
        *copy = *e; /* a quota names itself */
    else
        err_set(copy, ERR_ENGINE, row->sqlstate, "%s", row->text);
    if (row->sqlstate[0])
        memcpy(copy->sqlstate, row->sqlstate, 6); /* what the table says, it says */
    if (!copy->code)
        copy->code = ERR_ENGINE;
    return copy;
}

/* The move, with its ending, times and error. Lock held. */
static bool end_move(struct query *q, enum ending ending, const struct err *e)
{
    if (!query_move(q, endings[ending].state))
        return false;
    q->rec.ending = (uint8_t)ending;
    q->rec.phase = PHASE_NONE;
    end_times(q);
    if (endings[ending].state != QUERY_FINISHED)
        q->rec.error = end_error(q, ending, e);
    return true;
}

static void end_record(struct query *q)
{
    service__write(q, apply_end, end_done, 0, 0, 0);
    registry_hurry(q->service->registry);
}

/* Decides the end. *ret_record: the caller writes the record (else the script's worker does). */
static bool end(struct query *q, enum ending ending, const struct err *e, struct result *results,
                uint32_t nresults, bool *ret_record)
{
    pthread_mutex_lock(&q->lock);
    if (!end_move(q, ending, e)) {
        pthread_mutex_unlock(&q->lock);
        return false;
    }
    bool keeps = q->keeps; /* what its worker has becomes part of it */
    if (q->rec.state == QUERY_FINISHED) {
        q->rec.results = results;
        q->rec.nresults = nresults;
    } else if (!keeps) {
        q->left = q->rec.results; /* it was being delivered */
        q->nleft = q->rec.nresults;
        q->rec.results = NULL;
        q->rec.nresults = 0;
    }
    bool left = q->nleft > 0, lost = q->followed && q->rec.state != QUERY_FINISHED;
    pthread_mutex_unlock(&q->lock);
    if (lost)
        render_forget(q->service->render, &q->rec.id);
    *ret_record = !keeps;
    if (keeps)
        return true;
    scheduler_leave(q->service->scheduler, q);
    if (left)
        janitor_remove(q->service->janitor, q);
    return true;
}

bool service__end(struct query *q, enum ending ending, const struct err *e, struct result *results,
                  uint32_t nresults)
{
    bool record;
    if (!end(q, ending, e, results, nresults, &record))
        return false;
    if (record)
        end_record(q);
    return true;
}

bool service__end_here(struct query *q, enum ending ending, struct result *results, uint32_t nresults)
{
    if (!scheduler_idle(q->service->scheduler))
        return service__end(q, ending, NULL, results, nresults);
    bool record;
    if (!end(q, ending, NULL, results, nresults, &record))
        return false;
    if (record)
        registry_queue_here(q->service->registry, &service__write_new(q, apply_end, end_done)->w);
    return true;
}

/* The last result of a script that ended badly says why. Lock held. */
static void add_why(struct query *q, struct result *broken)
{
    struct query_record *r = &q->rec;
    struct result *all = r->error ? arena_alloc(q->arena, (r->nresults + 1) * sizeof *all) : NULL;
    if (!all)
        return;
    if (r->nresults)
        memcpy(all, r->results, r->nresults * sizeof *all);
    struct result *x = &all[r->nresults];
    *x = broken ? *broken : (struct result){.kind = RESULT_ERROR, .update_count = -1, .origin = r->id};
    x->ordinal = r->nresults;
    x->error = r->error;
    x->started_ms = q->statement_ms ? q->statement_ms : r->started_ms ? r->started_ms : r->ended_ms;
    x->ended_ms = r->ended_ms > x->started_ms ? r->ended_ms : x->started_ms;
    r->results = all;
    r->nresults++;
    q->why = !broken;
}

void service__end_script(struct query *q, enum ending ending, const struct err *e, struct result *broken,
                         bool told)
{
    pthread_mutex_lock(&q->lock);
    bool first = end_move(q, ending, e); /* else somebody was quicker, and left the rest to us */
    if (q->rec.state != QUERY_FINISHED && (!told || !first))
        add_why(q, broken);
    q->keeps = false;
    struct segment *view = q->live_segment ? q->segment : NULL;
    if (view)
        q->segment = NULL; /* later readers open the sealed file */
    q->live_segment = false;
    struct result *shown = query_shown_result(q);
    q->schema = shown && q->rec.state == QUERY_FINISHED ? shown->schema : NULL;
    if (shown && shown->kind != RESULT_ERROR)
        q->rec.kind = shown->kind;
    bool gone = q->rec.gone_ms != 0 || q->refused, refused = q->refused;
    pthread_mutex_unlock(&q->lock);
    segment_unref(view);
    scheduler_leave(q->service->scheduler, q);
    if (!refused)
        end_record(q);
    if (gone)
        janitor_remove(q->service->janitor, q);
}

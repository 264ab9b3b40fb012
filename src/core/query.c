/*
 * query: reference counts, moves, waiters and the view. See query.h.
 *
 * Invariants: states only move along `moves` (ending.c); flags only gain bits; a waiter is woken at most once and is off
 * the list before its wake() runs; nobody calls wake() with the query's lock held.
 */
#include "core/query.h"

#include <stdlib.h>

#include "base/sys.h"
#include "core/observe.h"
#include "core/query_int.h"

/* ---- references ---- */

struct query *query_new(struct service *s)
{
    struct query *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    /* The inline result and a 16 MiB statement fit; a schema of very many columns too. */
    q->arena = arena_new((size_t)256 << 20);
    if (!q->arena) {
        free(q);
        return NULL;
    }
    atomic_init(&q->refs, 1);
    pthread_mutex_init(&q->lock, NULL);
    q->service = s;
    q->version = 1;
    return q;
}

struct query *query_ref(struct query *q)
{
    atomic_fetch_add_explicit(&q->refs, 1, memory_order_relaxed);
    return q;
}

void query_unref(struct query *q)
{
    if (!q || atomic_fetch_sub_explicit(&q->refs, 1, memory_order_acq_rel) != 1)
        return;
    ASSERT(!q->waiters && !q->in_table);
    segment_unref(q->segment);
    pthread_mutex_destroy(&q->lock);
    arena_free(q->arena);
    free(q);
}

const struct qid *query_id(const struct query *q)
{
    return &q->rec.id;
}

/* ---- the mover and the waiters ---- */

bool query_move(struct query *q, enum query_state to)
{
    if (!query_move_legal(q->rec.state, to))
        return false;
    observe_move(&q->rec, q->rec.state, to);
    q->rec.state = (uint8_t)to;
    if (!query_state_ended(to))
        q->shown = to;
    return true;
}

static bool waiter_due(const struct query *q, const struct query_waiter *w)
{
    return (w->until && (q->flags & w->until) == w->until) || (w->version && w->version != q->version) ||
           (w->for_ever && (q->flags & QF_UNRECORDED));
}

static void waiter_unlink(struct query_waiter *w)
{
    *w->prev = w->next;
    if (w->next)
        w->next->prev = w->prev;
    w->queued = false;
}

void query_signal_unlock(struct query *q, uint32_t flags, bool moved)
{
    if (flags & QF_ENDED)
        flags |= QF_ACCEPTED | QF_PLANNED | QF_ROWS;
    q->flags |= flags;
    if (moved)
        q->version++;
    struct query_waiter *due = NULL, **tail = &due;
    for (struct query_waiter *w = q->waiters, *next; w; w = next) {
        next = w->next;
        if (!waiter_due(q, w))
            continue;
        waiter_unlink(w);
        w->next = NULL;
        *tail = w;
        tail = &w->next;
    }
    pthread_mutex_unlock(&q->lock);
    while (due) {
        struct query_waiter *w = due;
        due = w->next; /* wake() may free w */
        w->wake(w);
    }
}

bool query_wait(struct query *q, struct query_waiter *w)
{
    pthread_mutex_lock(&q->lock);
    bool wait = !waiter_due(q, w);
    if (wait) {
        w->next = q->waiters;
        if (w->next)
            w->next->prev = &w->next;
        w->prev = &q->waiters;
        q->waiters = w;
        w->queued = true;
    }
    pthread_mutex_unlock(&q->lock);
    return wait;
}

bool query_unwait(struct query *q, struct query_waiter *w)
{
    pthread_mutex_lock(&q->lock);
    bool mine = w->queued;
    if (mine)
        waiter_unlink(w);
    pthread_mutex_unlock(&q->lock);
    return mine;
}

/* ---- the view ---- */

struct result *query_shown_result(struct query *q)
{
    struct result *last = NULL;
    for (uint32_t i = 0; i < q->rec.nresults; i++) {
        struct result *r = &q->rec.results[i];
        if (!last || r->schema || !last->schema)
            last = r;
    }
    return last;
}

bool query_gone(const struct query *q)
{
    const struct query_record *r = &q->rec;
    if (r->gone_ms || !r->expires_ms || !query_state_ended(r->state))
        return r->gone_ms != 0;
    return q->expires_mono_ms ? sys_mono_ns() / 1000000 >= q->expires_mono_ms
                              : sys_wall_ms() >= r->expires_ms;
}

static void view_times(struct query *q, struct query_view *v)
{
    const struct query_record *r = &q->rec;
    v->created_ms = r->created_ms;
    v->started_ms = r->started_ms;
    v->expires_ms = r->expires_ms;
    v->gone_ms = r->gone_ms ? r->gone_ms : query_gone(q) ? r->expires_ms : 0;
    v->queued_ns = r->queued_ns;
    v->plan_ns = r->plan_ns;
    v->run_ns = r->run_ns;
    v->elapsed_ns = r->elapsed_ns;
    if (query_state_ended(v->state)) {
        v->ended_ms = r->ended_ms;
        return;
    }
    int64_t now = sys_mono_ns();
    v->elapsed_ns = q->submitted_ns ? now - q->submitted_ns : 0;
    if (v->state == QUERY_QUEUED)
        v->queued_ns = v->elapsed_ns;
    else
        v->run_ns = q->started_ns ? now - q->started_ns : 0;
}

static void view_rows(struct query *q, struct query_view *v)
{
    struct result *shown = query_shown_result(q);
    bool hidden = q->multi && !query_state_ended(v->state); /* which result is its last is not known yet */
    v->schema = hidden ? NULL : q->schema;
    v->kind = q->rec.kind;
    v->nresults = q->rec.nresults;
    if (query_state_ended(v->state)) {
        if (shown && v->state == QUERY_FINISHED) {
            v->rows = shown->rows;
            v->bytes = shown->bytes;
            v->batches = shown->is_inline ? (shown->rows > 0) : shown->facts.nbatches;
            v->cut = shown->cut;
        }
        v->progress = v->state == QUERY_FINISHED ? 1.0 : q->progress;
        return;
    }
    v->rows = hidden ? 0 : q->live_rows;
    v->bytes = hidden ? 0 : q->live_bytes;
    v->batches = hidden ? 0 : q->live_batches;
    v->progress = q->progress > 0.99 ? 0.99 : q->progress;
}

static uint64_t processed(const struct query *q, const struct query_view *v)
{
    if (q->rec.reused) /* a hit reads nothing */
        return 0;
    uint64_t out = q->live_rows > v->rows ? q->live_rows : v->rows;
    return q->rec.rows_scanned > out ? q->rec.rows_scanned : out;
}

void query_view(struct query *q, struct query_view *v)
{
    err_clear(&v->error);
    pthread_mutex_lock(&q->lock);
    const struct query_record *r = &q->rec;
    v->id = r->id;
    v->workspace = r->workspace;
    v->user = r->user;
    v->workspace_name = r->workspace_name;
    v->user_name = r->user_name;
    v->dialect = r->dialect;
    v->state = q->shown;
    v->phase = r->phase;
    v->waiting = q->waiting && v->state == QUERY_QUEUED;
    v->ending = query_state_ended(v->state) ? r->ending : END_NONE;
    v->flags = q->flags;
    v->version = q->version;
    v->sql = r->sql;
    v->sql_len = r->sql_len;
    v->default_source = r->default_source;
    v->default_database = r->default_database;
    v->timezone = r->timezone;
    v->language = r->language;
    v->bucket = r->bucket;
    v->path = r->path;
    v->request = r->request;
    v->row_limit = r->row_limit;
    v->reuse = r->reuse;
    v->max_reuse_age_s = r->max_reuse_age_s;
    v->reused = r->reused;
    v->reused_created_ms = r->reused_created_ms;
    v->rows_scanned = r->rows_scanned;
    v->bytes_scanned = r->bytes_scanned;
    v->peak_memory = r->peak_memory;
    v->scanned = r->scanned;
    v->runs = r->runs;
    v->note = r->note;
    v->stored = r->stored;
    v->file_bytes = r->file_bytes;
    v->file_replaced = r->file_replaced;
    v->rows = v->bytes = v->batches = 0;
    v->ended_ms = 0;
    v->cut = false;
    view_times(q, v);
    view_rows(q, v);
    v->rows_processed = processed(q, v);
    if (r->error && (query_state_ended(v->state) || q->refused))
        v->error = *r->error;
    pthread_mutex_unlock(&q->lock);
}

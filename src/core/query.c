/*
 * query: the state table, the endings, reference counts, waiters and the view. See query.h.
 *
 * Invariants: states only move along `moves`; flags only gain bits; a waiter is woken at most once and is off
 * the list before its wake() runs; nobody calls wake() with the query's lock held.
 */
#include "core/query.h"

#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "core/observe.h"
#include "core/query_int.h"

/* Rows: from; columns: to. QUEUED -> FINISHED is a reuse hit; RUNNING -> QUEUED is a restart, or a statement
 * that turned out to need the catalog. */
static const bool moves[QUERY_STATES][QUERY_STATES] = {
    [QUERY_QUEUED] =
        {[QUERY_RUNNING] = true, [QUERY_FINISHED] = true, [QUERY_FAILED] = true, [QUERY_CANCELED] = true},
    [QUERY_RUNNING] =
        {[QUERY_QUEUED] = true, [QUERY_FINISHED] = true, [QUERY_FAILED] = true, [QUERY_CANCELED] = true},
};

static const char *const state_names[QUERY_STATES] = {"NONE",     "QUEUED", "RUNNING",
                                                      "FINISHED", "FAILED", "CANCELED"};

const char *query_state_name(enum query_state s)
{
    return (unsigned)s < QUERY_STATES ? state_names[s] : "NONE";
}

bool query_move_legal(enum query_state from, enum query_state to)
{
    return (unsigned)from < QUERY_STATES && (unsigned)to < QUERY_STATES && moves[from][to];
}

#define AT_ONCE "at once"
const struct ending_row endings[ENDINGS] = {
    [END_NONE] = {END_NONE, "none", 0, "", "", "", ""},
    [END_FINISHED] = {END_FINISHED, "finished", QUERY_FINISHED, "", "", "",
                      "when the engine sent its last row, before fsync and delivery"},
    [END_SQL_ERROR] = {END_SQL_ERROR, "sql_error", QUERY_FAILED, "", "", "", AT_ONCE},
    [END_REFUSED] = {END_REFUSED, "refused", QUERY_FAILED, "", "", "", AT_ONCE},
    [END_CANCELED_QUEUED] = {END_CANCELED_QUEUED, "canceled_queued", QUERY_CANCELED, "57014", "USER_CANCELED",
                             "canceled by user", "it held none"},
    [END_CANCELED_RUNNING] =
        {END_CANCELED_RUNNING, "canceled_running", QUERY_CANCELED, "57014", "USER_CANCELED",
         "canceled by user",
         "when the engine obeys the interrupt, at the latest engine.grace later (SIGKILL)"},
    [END_RUN_TIMEOUT] = {END_RUN_TIMEOUT, "run_timeout", QUERY_FAILED, "57014", "EXCEEDED_TIME_LIMIT",
                         "canceled by query timeout: the run time limit was reached (engine.run_timeout)",
                         "as canceled while running"},
    [END_PLAN_TIMEOUT] =
        {END_PLAN_TIMEOUT, "plan_timeout", QUERY_FAILED, "57014", "EXCEEDED_TIME_LIMIT",
         "canceled by query timeout: the planning time limit was reached (engine.plan_timeout)",
         "as canceled while running"},
    [END_MEMORY] = {END_MEMORY, "memory", QUERY_FAILED, "53200", "EXCEEDED_LOCAL_MEMORY_LIMIT", "",
                    AT_ONCE ", the process is not used again"},
    [END_RESULT_LIMIT] = {END_RESULT_LIMIT, "result_limit", QUERY_FAILED, "54000",
                          "GENERIC_INSUFFICIENT_RESOURCES", "", AT_ONCE},
    [END_ENGINE_CRASHED] = {END_ENGINE_CRASHED, "engine_crashed", QUERY_FAILED, "58000",
                            "GENERIC_INTERNAL_ERROR", "", AT_ONCE},
    [END_ENGINE_HUNG] = {END_ENGINE_HUNG, "engine_hung", QUERY_FAILED, "58000", "GENERIC_INTERNAL_ERROR",
                         "the engine stopped answering and was ended (engine.silence)",
                         "engine.silence after its last sign of life"},
    [END_ENGINE_LIED] = {END_ENGINE_LIED, "engine_lied", QUERY_FAILED, "58000", "GENERIC_INTERNAL_ERROR",
                         "the engine sent a malformed answer and was ended", AT_ONCE},
    [END_DISK_FULL] = {END_DISK_FULL, "disk_full", QUERY_FAILED, "53100", "GENERIC_INSUFFICIENT_RESOURCES",
                       "the result could not be stored: the disk is full or cannot be written", AT_ONCE},
    [END_RESTARTED] = {END_RESTARTED, "restarted", QUERY_FAILED, "57P01", "GENERIC_INTERNAL_ERROR",
                       "interrupted by restart", "it held none"},
    [END_DELIVERY] = {END_DELIVERY, "delivery", QUERY_FAILED, "58030", "GENERIC_EXTERNAL", "",
                      "it held none"},
    [END_INTERNAL] = {END_INTERNAL, "internal", QUERY_FAILED, "XX000", "GENERIC_INTERNAL_ERROR", "", AT_ONCE},
    [END_CATALOG_WAIT] = {END_CATALOG_WAIT, "catalog_wait", QUERY_FAILED, "55P03", "EXCEEDED_TIME_LIMIT",
                          "other statements used the workspace's catalog for longer than a statement waits "
                          "for it (catalog.wait)",
                          "it held none"},
};

/* Trino's StandardErrorCode for our SQLSTATEs (specs: Kakao page section 8, Error names). An ending's own
 * name wins; then the first row with the SQLSTATE. */
static const struct trino_error trino_errors[] = {
    {"42601", "SYNTAX_ERROR", 1, "USER_ERROR"},
    {"57014", "USER_CANCELED", 3, "USER_ERROR"},
    {"42501", "PERMISSION_DENIED", 4, "USER_ERROR"},
    {"42883", "FUNCTION_NOT_FOUND", 6, "USER_ERROR"},
    {"22023", "INVALID_FUNCTION_ARGUMENT", 7, "USER_ERROR"},
    {"22012", "DIVISION_BY_ZERO", 8, "USER_ERROR"},
    {"22P02", "INVALID_CAST_ARGUMENT", 9, "USER_ERROR"},
    {"22007", "INVALID_CAST_ARGUMENT", 9, "USER_ERROR"},
    {"0A000", "NOT_SUPPORTED", 13, "USER_ERROR"},
    {"22003", "NUMERIC_VALUE_OUT_OF_RANGE", 19, "USER_ERROR"},
    {"22008", "NUMERIC_VALUE_OUT_OF_RANGE", 19, "USER_ERROR"},
    {"3D000", "CATALOG_NOT_FOUND", 44, "USER_ERROR"},
    {"3F000", "SCHEMA_NOT_FOUND", 45, "USER_ERROR"},
    {"42P01", "TABLE_NOT_FOUND", 46, "USER_ERROR"},
    {"42703", "COLUMN_NOT_FOUND", 47, "USER_ERROR"},
    {"42P06", "SCHEMA_ALREADY_EXISTS", 49, "USER_ERROR"},
    {"42P07", "TABLE_ALREADY_EXISTS", 50, "USER_ERROR"},
    {"42804", "TYPE_MISMATCH", 58, "USER_ERROR"},
    {"42702", "AMBIGUOUS_NAME", 62, "USER_ERROR"},
    {"", "GENERIC_USER_ERROR", 0, "USER_ERROR"},
    {"XX000", "GENERIC_INTERNAL_ERROR", 65536, "INTERNAL_ERROR"},
    {"53000", "GENERIC_INSUFFICIENT_RESOURCES", 131072, "INSUFFICIENT_RESOURCES"},
    {"", "EXCEEDED_TIME_LIMIT", 131075, "INSUFFICIENT_RESOURCES"},
    {"53100", "EXCEEDED_SPILL_LIMIT", 131078, "INSUFFICIENT_RESOURCES"},
    {"53200", "EXCEEDED_LOCAL_MEMORY_LIMIT", 131079, "INSUFFICIENT_RESOURCES"},
    {"58030", "GENERIC_EXTERNAL", 16777216, "EXTERNAL"},
};
#define NERRORS (sizeof trino_errors / sizeof trino_errors[0])

static const struct trino_error *trino_by_name(const char *name)
{
    for (size_t i = 0; i < NERRORS; i++)
        if (strcmp(trino_errors[i].name, name) == 0)
            return &trino_errors[i];
    return NULL;
}

const struct trino_error *trino_error_of(const char *sqlstate, enum ending ending)
{
    const struct trino_error *t =
        (unsigned)ending < ENDINGS ? trino_by_name(endings[ending].trino_name) : NULL;
    for (size_t i = 0; i < NERRORS && !t; i++)
        if (sqlstate[0] && strcmp(trino_errors[i].sqlstate, sqlstate) == 0)
            t = &trino_errors[i];
    bool user = ending == END_SQL_ERROR || ending == END_REFUSED;
    return t ? t : trino_by_name(user ? "GENERIC_USER_ERROR" : "GENERIC_INTERNAL_ERROR");
}

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

static void view_times(struct query *q, struct query_view *v)
{
    const struct query_record *r = &q->rec;
    v->created_ms = r->created_ms;
    v->started_ms = r->started_ms;
    v->expires_ms = r->expires_ms;
    v->gone_ms = r->gone_ms;
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

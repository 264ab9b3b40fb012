/*
 * render: who waits for which rendering, the queue before the workers, and how long what was made is kept. See
 * render.h.
 *
 * A rendering is in the list from its start until it fails, is forgotten (its result went) or is pushed out;
 * while listed, equal ones are found there. Whoever holds a reference may go on reading after that: a file
 * has no name any more then, but its descriptor.
 *
 * Whose turn it is: as for queries (turns.h), so that a workspace with many renderings holds another one's next
 * back by at most one. A rendering that follows a running query starts on an idle worker only and leaves it
 * when another one is wanted (give_way).
 *
 * Threads: `render.slots` workers for files, one for text; the janitor's tick; holders on any thread.
 */
#include "core/render_int.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/sys.h"

#define SPEC_ARENA   (4u << 20)
#define CODECS       "none|snappy|gzip|zstd|lz4|brotli"
#define XLSX_ROWS    1048576u
#define XLSX_COLUMNS 16384u

const char *render_codecs(void)
{
    return CODECS;
}

bool render_codec_known(const char *name)
{
    size_t n = strlen(name);
    for (const char *p = CODECS; n > 0 && *p; p += strcspn(p, "|"), p += *p == '|')
        if (strcspn(p, "|") == n && memcmp(p, name, n) == 0)
            return true;
    return false;
}

/* ---- the queue ---- */

static struct render_queue *queue_of(struct rendering *r)
{
    return &r->render->queues[r->spec.file ? LANE_FILE : LANE_TEXT];
}

/* (L) One that follows its query lets go of its worker, when no other is idle for those who wait. */
static void give_way(struct render *n)
{
    const struct render_queue *u = &n->queues[LANE_FILE];
    int64_t over = turns_queued(u->turns) - (int64_t)u->idle;
    for (struct rendering *r = n->list; r && over > 0; r = r->next) {
        if (!r->follows || r->complete || r->state != RENDERING_RUNNING)
            continue;
        over--; /* it may be on its way out already */
        if (atomic_exchange(&r->gave_way, true))
            continue;
        if (r->engine)
            engine_cancel(r->engine, true);
    }
}

/* (L) */
static int wait_for_turn(struct render *n, struct rendering *r, struct err *e)
{
    struct render_queue *u = queue_of(r);
    if (n->stop)
        return err_set(e, ERR_UNAVAILABLE, "57P01", "the server is stopping");
    if (!turns_push(u->turns, r->q->rec.workspace, &r->turn))
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    n->waiting++;
    r->state = RENDERING_QUEUED;
    atomic_store(&r->permille, -1);
    if (!r->follows)
        give_way(n);
    pthread_cond_signal(&u->wanted);
    return 0;
}

/* ---- start ---- */

static int full(struct err *e)
{
    return err_set(e, ERR_NOMEM, "53200", "out of memory");
}

static int check_limits(const struct rendering *r, const struct schema *s, struct err *e)
{
    if (r->spec.file != WIRE_RENDER_XLSX)
        return 0;
    uint64_t rows = r->rows + (r->spec.options.header ? 1 : 0);
    if (rows > XLSX_ROWS)
        return err_set(
            e, ERR_INVALID, "54000",
            "an XLSX sheet holds at most 1,048,576 rows%s; this would need %llu (parameters offset "
            "and limit take a part)",
            r->spec.options.header ? " with the header" : "", (unsigned long long)rows);
    if (s->ncolumns > XLSX_COLUMNS)
        return err_set(e, ERR_INVALID, "54000",
                       "an XLSX sheet holds at most 16,384 columns; the result has %u", s->ncolumns);
    return 0;
}

static int copy_spec(struct rendering *r, const struct render_spec *in, struct err *e)
{
    struct arena *a = r->arena;
    struct render_spec *s = &r->spec;
    *s = *in;
    const char *separator = in->options.separator ? in->options.separator : "";
    s->options.separator = arena_strdup(a, separator);
    s->codec = arena_strdup(a, in->codec ? in->codec : "snappy");
    s->sheet = arena_strdup(a, in->sheet ? in->sheet : "query_result");
    if (!s->version)
        s->version = 1;
    if (!s->options.separator || !s->codec || !s->sheet)
        return full(e);
    const struct encode_options *o = &s->options;
    if (s->file != WIRE_RENDER_XLSX && s->file)
        s->options.zone = NULL; /* keeps instants */
    const char *zone = o->zone ? zone_name(o->zone) : "UTC";
    r->key = s->file ? arena_printf(a, "%u %d %d %llu %llu %s %u %d %d %s %s", s->file, o->profile, o->header,
                                    (unsigned long long)s->from, (unsigned long long)s->limit, s->codec,
                                    s->version, s->plain, s->underscores, zone, s->sheet)
                     : arena_printf(a, "%s %d %s %d %d%d%d%d%d %llu %llu %s", s->encoder->name, o->profile,
                                    zone, o->charset, o->header, o->quote_all, o->header_bare, o->stream_end,
                                    o->no_schema, (unsigned long long)s->from, (unsigned long long)s->limit,
                                    s->options.separator);
    return r->key ? 0 : full(e);
}

/* Which result it is of. */
static int find_result(struct query *q, uint32_t ordinal, const struct result **ret, struct err *e)
{
    const struct result *res = NULL;
    pthread_mutex_lock(&q->lock);
    bool finished = q->shown == QUERY_FINISHED, gone = query_gone(q);
    if (finished && !gone && ordinal == UINT32_MAX)
        res = query_shown_result(q);
    for (uint32_t i = 0; finished && !gone && i < q->rec.nresults; i++)
        if (q->rec.results[i].ordinal == ordinal)
            res = &q->rec.results[i];
    pthread_mutex_unlock(&q->lock);
    if (gone)
        return err_set(e, ERR_GONE, "02000", "the result was deleted or has expired");
    if (!finished)
        return err_set(e, ERR_CONFLICT, "55000", "the query has not ended yet");
    *ret = res;
    return 0;
}

static int take_result(struct rendering *r, const struct result *res, struct err *e)
{
    if (!res || !res->schema)
        return err_set(e, ERR_CONFLICT, "55000", "the query has no rows to read");
    r->result = res;
    r->ordinal = res->ordinal;
    uint64_t left = res->rows > r->spec.from ? res->rows - r->spec.from : 0;
    r->rows = left < r->spec.limit ? left : r->spec.limit;
    return check_limits(r, res->schema, e);
}

static struct rendering *find_equal(const struct render *n, const struct rendering *like)
{
    for (struct rendering *r = n->list; r; r = r->next)
        if (id_equal(&r->id, &like->id) && r->ordinal == like->ordinal && !strcmp(r->key, like->key) &&
            (r->state == RENDERING_READY || !atomic_load(&r->canceled)))
            return r;
    return NULL;
}

/* (L) */
static int enqueue(struct render *n, struct rendering *r, struct err *e)
{
    if (n->waiting >= (uint64_t)config.render_queue)
        return err_set(e, ERR_BUSY, "53300", "too many results wait to be rendered (render.queue = %lld)",
                       (long long)config.render_queue);
    int rc = wait_for_turn(n, r, e);
    if (rc)
        return rc;
    r->refs = 3; /* list, worker, holder */
    r->holders = 1;
    r->listed = true;
    render__list_first(r);
    n->count++;
    return 0;
}

static struct rendering *rendering_new(struct render *n, struct query *q, const struct render_spec *spec,
                                       struct err *e)
{
    struct rendering *r = calloc(1, sizeof *r);
    if (!r) {
        (void)full(e);
        return NULL;
    }
    r->render = n;
    r->q = query_ref(q);
    r->id = *query_id(q);
    r->fd = -1;
    r->arena = arena_new(SPEC_ARENA);
    if (r->arena ? copy_spec(r, spec, e) == 0 : full(e) == 0)
        return r;
    render__destroy(r);
    return NULL;
}

/* (L) One more holds it: the most recently used one comes first. */
static void hold(struct rendering *r)
{
    r->refs++;
    r->holders++;
    *r->prev = r->next;
    if (r->next)
        r->next->prev = r->prev;
    render__list_first(r);
}

int render_start(struct service *s, struct query *q, uint32_t ordinal, const struct render_spec *spec,
                 struct rendering **ret, struct err *e)
{
    const struct result *res = NULL;
    int rc = find_result(q, ordinal, &res, e);
    return rc ? rc : render_start_result(s, q, res, spec, ret, e);
}

int render_start_result(struct service *s, struct query *q, const struct result *res,
                        const struct render_spec *spec, struct rendering **ret, struct err *e)
{
    struct render *n = s->render;
    struct rendering *r = rendering_new(n, q, spec, e);
    if (!r)
        return e->code;
    int rc = take_result(r, res, e);
    if (rc) {
        render__destroy(r);
        return rc;
    }
    pthread_mutex_lock(&n->lock);
    struct rendering *old = find_equal(n, r);
    if (old) {
        hold(old);
        if (old->follows && !old->result) { /* from now on it may not be given up for nothing */
            old->result = r->result;
            old->rows = r->rows;
        }
    } else {
        rc = enqueue(n, r, e);
    }
    render__make_room(n, false);
    pthread_mutex_unlock(&n->lock);
    if (old || rc)
        render__destroy(r);
    if (!rc)
        *ret = old ? old : r;
    return rc;
}

/* (query's lock) Its rows, while they are being written; a reference. */
static struct segment *growing(struct query *q)
{
    bool grows = q->rec.state == QUERY_RUNNING && q->live_segment && !q->multi && !q->rec.script;
    return grows ? segment_ref(q->segment) : NULL;
}

struct rendering *render_follow(struct service *s, struct query *q, const struct render_spec *spec)
{
    struct render *n = s->render;
    struct err e;
    err_clear(&e);
    if (!spec->file || spec->from || spec->limit != UINT64_MAX || disk_low(s->disk))
        return NULL;
    struct rendering *r = rendering_new(n, q, spec, &e), *old = NULL;
    if (!r)
        return NULL;
    pthread_mutex_lock(&q->lock);
    r->view = growing(q);
    q->followed |= r->view != NULL;
    pthread_mutex_unlock(&q->lock);
    r->follows = true;
    pthread_mutex_lock(&n->lock);
    const struct render_queue *u = queue_of(r);
    bool go = r->view && (int64_t)u->idle > turns_queued(u->turns);
    old = find_equal(n, r);
    if (old)
        hold(old);
    else
        go = go && enqueue(n, r, &e) == 0;
    pthread_mutex_unlock(&n->lock);
    if (old || !go)
        render__destroy(r);
    return old ? old : go ? r : NULL;
}

void render_more(struct render *n, const struct qid *id)
{
    pthread_mutex_lock(&n->lock);
    for (struct rendering *r = n->list; r; r = r->next)
        if (r->follows && r->engine && id_equal(&r->id, id))
            engine_wake(r->engine);
    pthread_mutex_unlock(&n->lock);
}

void render_drop_ahead(struct query *q)
{
    pthread_mutex_lock(&q->lock);
    struct rendering *r = q->ahead;
    q->ahead = NULL;
    pthread_mutex_unlock(&q->lock);
    rendering_close(r);
}

/* ---- workers ---- */

/* (L) One that followed its query was given up, and its query has ended well meanwhile: it begins again. */
static bool again(struct render *n, struct rendering *r)
{
    struct err e;
    if (!r->follows || !r->result || atomic_load(&r->canceled))
        return false;
    err_clear(&e);
    r->follows = r->complete = false;
    atomic_store(&r->gave_way, false);
    return wait_for_turn(n, r, &e) == 0;
}

/* The end of one: told to all who wait. */
static void ended(struct render *n, struct rendering *r, int rc, const struct err *e)
{
    pthread_mutex_lock(&n->lock);
    turns_done(queue_of(r)->turns, r->q->rec.workspace);
    if (rc && again(n, r)) {
        pthread_mutex_unlock(&n->lock);
        return;
    }
    struct query *q = query_ref(r->q);
    if (!rc || !r->follows)
        metric_add(rc ? n->m_failed : n->m_done, 1);
    r->state = rc ? RENDERING_FAILED : RENDERING_READY;
    r->idle_ns = sys_mono_ns();
    if (rc) {
        r->error = *e;
        if (!r->error.code)
            r->error.code = rc;
    } else {
        atomic_store(&r->permille, 1000);
        n->bytes += r->spec.file && r->listed ? r->size : 0;
    }
    bool last = false;
    if (rc && r->listed) {
        render__unlist(r);
        last = render__unref(r);
        ASSERT(!last); /* the worker's own is left */
    }
    pthread_cond_broadcast(&n->changed);
    last = render__unref(r);
    render__make_room(n, false);
    metric_set(n->m_bytes, (int64_t)n->bytes);
    pthread_mutex_unlock(&n->lock);
    if (last)
        render__destroy(r);
    pthread_mutex_lock(&q->lock);
    query_signal_unlock(q, 0, true);
    query_unref(q);
}

static void work(struct render *n, struct rendering *r, struct segment_scratch *x)
{
    struct err e;
    err_clear(&e);
    int rc = 0;
    if (atomic_load(&r->canceled))
        rc = err_set(&e, ERR_CANCELED, "57014", "the rendering was canceled");
    metric_add(n->m_running, 1);
    if (!rc)
        rc = r->follows ? render__follow(r, &e) : r->spec.file ? render__file(r, &e) : render__text(r, x, &e);
    metric_add(n->m_running, -1);
    ended(n, r, rc, &e);
}

struct worker_arg {
    struct render *render;
    enum render_lane lane;
};

static void *worker_main(void *arg)
{
    struct worker_arg w = *(struct worker_arg *)arg;
    struct render *n = w.render;
    struct render_queue *u = &n->queues[w.lane];
    free(arg);
    (void)pthread_setname_np(pthread_self(), w.lane == LANE_FILE ? "q-render" : "q-measure");
    struct segment_scratch *x = segment_scratch_new();
    pthread_mutex_lock(&n->lock);
    while (!n->stop) {
        struct turn_item *item = turns_take(u->turns);
        if (!item) {
            u->idle++;
            pthread_cond_wait(&u->wanted, &n->lock);
            u->idle--;
            continue;
        }
        struct rendering *r = (struct rendering *)(void *)((char *)item - offsetof(struct rendering, turn));
        n->waiting--;
        r->state = RENDERING_RUNNING;
        atomic_store(&r->permille, 0);
        pthread_mutex_unlock(&n->lock);
        work(n, r, x);
        if (x)
            segment_scratch_trim(x);
        pthread_mutex_lock(&n->lock);
    }
    pthread_mutex_unlock(&n->lock);
    segment_scratch_free(x);
    return NULL;
}

/* ---- the janitor's part ---- */

void render_tick(struct render *n, bool disk_low)
{
    int64_t now = sys_mono_ns();
    pthread_mutex_lock(&n->lock);
    for (struct rendering *r = n->list; r; r = r->next) {
        bool left = r->holders == 0 && now - r->idle_ns > config.render_linger * 1000000;
        if (r->state < RENDERING_READY && left && !atomic_load(&r->canceled))
            render__cancel(r);
    }
    render__make_room(n, disk_low);
    metric_set(n->m_bytes, (int64_t)n->bytes);
    pthread_mutex_unlock(&n->lock);
}

void render_forget(struct render *n, const struct qid *id)
{
    if (!n)
        return;
    pthread_mutex_lock(&n->lock);
    for (struct rendering *r = n->list, *next; r; r = next) {
        next = r->next;
        if (!id_equal(&r->id, id))
            continue;
        render__cancel(r);
        if (r->state != RENDERING_READY)
            continue; /* the worker takes it out */
        render__unlist(r);
        bool last = render__unref(r);
        if (last) {
            pthread_mutex_unlock(&n->lock);
            render__destroy(r);
            pthread_mutex_lock(&n->lock);
            next = n->list; /* it may have changed meanwhile */
        }
    }
    pthread_mutex_unlock(&n->lock);
}

/* ---- life ---- */

static int start_thread(struct render *n, enum render_lane lane, struct err *e)
{
    struct worker_arg *w = malloc(sizeof *w);
    if (!w)
        return full(e);
    *w = (struct worker_arg){n, lane};
    if (pthread_create(&n->threads[n->nthreads], NULL, worker_main, w)) {
        free(w);
        return err_set(e, ERR_NOMEM, "53000", "cannot start a render worker");
    }
    n->nthreads++;
    return 0;
}

int render_open(struct service *s, struct render **ret, struct err *e)
{
    struct render *n = calloc(1, sizeof *n);
    if (!n)
        return full(e);
    n->service = s;
    pthread_mutex_init(&n->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&n->changed, &attr);
    pthread_condattr_destroy(&attr);
    *ret = n;
    bool ok = true;
    for (int i = 0; i < LANES; i++) {
        pthread_cond_init(&n->queues[i].wanted, NULL);
        n->queues[i].turns = turns_new();
        ok &= n->queues[i].turns != NULL;
    }
    if (!ok)
        return full(e);
    n->m_done = metrics_get(METRIC_COUNTER, "quern_renderings_total", "outcome=\"done\"",
                            "Renderings of results that ended.");
    n->m_failed = metrics_get(METRIC_COUNTER, "quern_renderings_total", "outcome=\"failed\"",
                              "Renderings of results that ended.");
    n->m_running = metrics_get(METRIC_GAUGE, "quern_renderings_running", "", "Renderings under way.");
    n->m_bytes = metrics_get(METRIC_GAUGE, "quern_rendered_bytes", "", "Bytes of rendered files kept.");
    int rc = 0;
    for (int64_t i = 0; !rc && i < config.render_slots; i++)
        rc = start_thread(n, LANE_FILE, e);
    return rc ? rc : start_thread(n, LANE_TEXT, e);
}

void render_stop(struct render *n)
{
    if (!n)
        return;
    pthread_mutex_lock(&n->lock);
    n->stop = true;
    for (struct rendering *r = n->list; r; r = r->next)
        if (r->state < RENDERING_READY)
            render__cancel(r);
    for (int i = 0; i < LANES; i++)
        pthread_cond_broadcast(&n->queues[i].wanted);
    pthread_mutex_unlock(&n->lock);
    for (uint32_t i = 0; i < n->nthreads; i++)
        pthread_join(n->threads[i], NULL);
    n->nthreads = 0;
}

void render_close(struct render *n)
{
    if (!n)
        return;
    render_stop(n);
    while (n->list) {
        struct rendering *r = n->list;
        bool queued = r->state == RENDERING_QUEUED;
        render__unlist(r);
        r->refs -= queued ? 2 : 1; /* the list's, and that of the worker that never came */
        ASSERT(r->refs == 0);
        render__destroy(r);
    }
    pthread_cond_destroy(&n->changed);
    for (int i = 0; i < LANES; i++) {
        pthread_cond_destroy(&n->queues[i].wanted);
        turns_free(n->queues[i].turns);
    }
    pthread_mutex_destroy(&n->lock);
    free(n);
}

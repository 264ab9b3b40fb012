/*
 * engine: one job in one process, seen from the daemon.
 *
 * The child is not trusted. What it says must come in this order, each with the job's number: PLANNED once;
 * then BATCH, each for a memfd that it was given and has not used; DONE or FAILED once (FAILED also before
 * PLANNED); for a job that asked for it SCRIPT instead of all that; BEAT anywhere before the end. Row counts must add up and stay under the limits that the job
 * named. Anything else is a lie: the process is killed and the job ends as ENGINE_LIED. What the batches hold
 * is the caller's to check. No frame for engine.silence ends it as ENGINE_HUNG; EOF before the end as
 * ENGINE_CRASHED.
 *
 * A job ends exactly once. When one of our own calls fails (no memory, no descriptors) engine_next returns
 * the error; the process is killed and the job is over as well. Cancel: engine_cancel sends CANCEL itself
 * when the socket is free, else the owner does; the spawner thread kills after the grace, so that a slow
 * owner delays nothing. Threads: the acquiring one; engine_cancel any.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "encoders/batch.h"
#include "pool/pool_int.h"
#include "base/sys_wait.h"

#define JOB_ARENA (160u * 1024u * 1024u)
#define REAP_NS   MS_NS(2000)

/* ---- ends ---- */

static void job_over(struct engine *x, bool reusable)
{
    x->reusable = reusable;
    pthread_mutex_lock(&x->send_mu);
    x->job_live = false;
    pthread_mutex_unlock(&x->send_mu);
    pthread_mutex_lock(&x->pool->mu);
    x->running = false;
    x->kill_at_ns = 0;
    pthread_mutex_unlock(&x->pool->mu);
}

static int end_with(struct engine *x, struct engine_event *ret, enum engine_event_type type,
                    const char *sqlstate, const char *text)
{
    job_over(x, false);
    ret->type = type;
    memset(&ret->failed, 0, sizeof ret->failed);
    ret->failed.job = x->job;
    ret->failed.kind = WIRE_FAIL_FATAL;
    (void)err_set(&ret->failed.error, ERR_ENGINE, sqlstate, "%s", text);
    return 0;
}

static int lied(struct engine *x, struct engine_event *ret, const char *how)
{
    char text[320];
    (void)snprintf(text, sizeof text, "engine lied: %s", how);
    engine__kill(x, REASON_LIED);
    return end_with(x, ret, ENGINE_LIED, "XX000", text);
}

static int hung(struct engine *x, struct engine_event *ret)
{
    engine__kill(x, REASON_HUNG);
    return end_with(x, ret, ENGINE_HUNG, "XX000", "engine stopped answering");
}

/* The socket ended. Says why. */
static int gone(struct engine *x, struct engine_event *ret)
{
    bool closed = !engine__await_death(x, sys_mono_ns() + MS_NS(500));
    if (closed) { /* it closed its side and lives on */
        engine__kill(x, REASON_CRASHED);
        (void)engine__await_death(x, sys_mono_ns() + REAP_NS);
    }
    pthread_mutex_lock(&x->pool->mu);
    if (x->reason == REASON_NONE)
        x->reason = REASON_CRASHED;
    enum pool_reason why = x->reason;
    pthread_mutex_unlock(&x->pool->mu);
    char text[160];
    if (closed)
        (void)snprintf(text, sizeof text, "engine process closed its connection");
    else
        engine__death_text(x, text, sizeof text);
    if (why == REASON_KILLED)
        return end_with(x, ret, ENGINE_KILLED, "57014", "engine process was killed to cancel its query");
    if (why == REASON_CLOSED)
        return end_with(x, ret, ENGINE_CRASHED, "57P01",
                        "engine process was killed because the daemon stops");
    return end_with(x, ret, ENGINE_CRASHED, "XX000", text);
}

/* One of our own calls failed. */
static int give_up(struct engine *x, int rc)
{
    engine__kill(x, REASON_ABANDONED);
    job_over(x, false);
    return rc;
}

static int send_failed(struct engine *x, struct engine_event *ret, int rc)
{
    return rc == ERR_TIMEOUT ? hung(x, ret) : gone(x, ret);
}

/* ---- cancel ---- */

/* Under send_mu. */
static int send_cancel_locked(struct engine *x, bool wait)
{
    if (!x->job_live || x->cancel_sent || atomic_load(&x->cancel) == 0)
        return 0;
    CLEANUP_BUF struct buf b = BUF_INIT(64);
    if (wire_put_cancel(&b, x->job))
        return ERR_NOMEM;
    if (wait) {
        int rc = link__send(x, &b, -1);
        x->cancel_sent = rc == 0;
        return rc;
    }
    ssize_t n = sys_send(x->sock, b.p, b.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    x->cancel_sent = n == (ssize_t)b.len;
    return n > 0 && !x->cancel_sent ? ERR_IO : 0; /* half a frame cannot be taken back */
}

static int send_cancel(struct engine *x)
{
    pthread_mutex_lock(&x->send_mu);
    int rc = send_cancel_locked(x, true);
    pthread_mutex_unlock(&x->send_mu);
    return rc;
}

void engine_cancel(struct engine *x, bool kill_now)
{
    ASSERT(x->magic == ENGINE_MAGIC);
    struct pool *p = x->pool;
    int before = 0, want = kill_now ? 2 : 1;
    while (before < want && !atomic_compare_exchange_weak(&x->cancel, &before, want)) {
    }
    pthread_mutex_lock(&p->mu);
    bool wake = false;
    if (kill_now) {
        pool__kill(x, REASON_KILLED);
    } else if (x->running && x->kill_at_ns == 0 && !x->killed) {
        x->kill_at_ns = sys_mono_ns() + MS_NS(CONF(engine_grace)) + 1;
        wake = true;
    }
    pthread_mutex_unlock(&p->mu);
    if (wake)
        pool__wake(p);
    if (!kill_now && pthread_mutex_trylock(&x->send_mu) == 0) {
        int rc = send_cancel_locked(x, false);
        pthread_mutex_unlock(&x->send_mu);
        if (rc == ERR_IO)
            engine__kill(x, REASON_KILLED);
    }
    sys_event_set(x->wake);
}

void engine_wake(struct engine *x)
{
    ASSERT(x->magic == ENGINE_MAGIC);
    atomic_store(&x->woken, true);
    uint64_t one = 1;
    ssize_t n = write(x->wake, &one, sizeof one);
    (void)n;
}

void engine_liar(struct engine *x, const char *text)
{
    ASSERT(x->magic == ENGINE_MAGIC);
    x->liar = true;
    (void)snprintf(x->liar_text, sizeof x->liar_text, "%s", text);
    engine__kill(x, REASON_LIED);
}

/* ---- start ---- */

/* Gives the child the slot's memfd. */
static int give(struct engine *x, uint32_t slot, struct err *e)
{
    int rc = x->slots[slot].fd < 0 ? slot__make(&x->slots[slot], e) : 0;
    if (rc)
        return rc;
    CLEANUP_BUF struct buf b = BUF_INIT(64);
    rc = wire_put_memfd(&b, x->job, slot);
    if (rc)
        return err_set(e, rc, NULL, "out of memory");
    pthread_mutex_lock(&x->send_mu);
    rc = link__send(x, &b, x->slots[slot].fd);
    pthread_mutex_unlock(&x->send_mu);
    if (rc == 0)
        x->slots[slot].given = true;
    return rc;
}

static bool ours(int rc)
{
    return rc != ERR_TIMEOUT && rc != ERR_END;
}

/* The child is gone or does not read: engine_next tells, in the same words as later on. */
static int begun(struct engine *x, int rc, struct err *e)
{
    x->last_frame_ns = sys_mono_ns();
    if (rc == 0)
        return 0;
    if (ours(rc))
        return give_up(x, rc);
    if (rc == ERR_TIMEOUT) {
        struct engine_event ev;
        (void)hung(x, &ev);
        if (e)
            *e = ev.failed.error;
        return ERR_ENGINE;
    }
    if (!engine__await_death(x, sys_mono_ns() + MS_NS(500)))
        engine__kill(x, REASON_CRASHED); /* it lives on without its job, and its heartbeats would never end */
    return 0;
}

int engine__begin(struct engine *x, uint64_t job, const struct buf *frame, int fd, struct err *e)
{
    struct pool *p = x->pool;
    int rc = 0;
    engine__job_clear(x);
    x->arena = arena_new(JOB_ARENA);
    if (!x->arena)
        return err_set(e, ERR_NOMEM, NULL, "out of memory");
    pthread_mutex_lock(&p->mu);
    ASSERT(x->state == STATE_BUSY && !x->running);
    if (atomic_load(&x->cancel))
        rc = err_set(e, ERR_CANCELED, "57014", "canceled before it started");
    else if (x->killed || x->dead || !x->reusable)
        rc = err_set(e, ERR_ENGINE, "XX000", "this engine process cannot take another job");
    else
        x->running = true;
    pthread_mutex_unlock(&p->mu);
    if (rc)
        return rc;
    x->planned = x->has_columns = x->reusable = x->liar = x->plan_only = x->follows = false;
    x->rows = x->bytes = 0;
    pthread_mutex_lock(&x->send_mu);
    x->job = job;
    x->job_live = true;
    x->cancel_sent = false;
    rc = link__send(x, frame, fd);
    pthread_mutex_unlock(&x->send_mu);
    return begun(x, rc, e);
}

int engine_start(struct engine *x, const struct wire_job *job, struct err *e)
{
    ASSERT(x->magic == ENGINE_MAGIC);
    CLEANUP_BUF struct buf b = BUF_INIT(8u + (size_t)wire_ceiling(WIRE_JOB));
    int rc = wire_put_job(&b, job);
    if (rc)
        return err_set(e, rc, rc == ERR_LIMIT ? "54000" : NULL,
                       rc == ERR_LIMIT ? "the statement and its parameters are too long for an engine"
                                       : "out of memory");
    rc = engine__begin(x, job->job, &b, -1, e);
    if (rc)
        return rc;
    x->plan_only = job->plan_only;
    x->may_split = job->step == WIRE_STEP_SCRIPT;
    x->sql_len = job->sql_len;
    x->row_limit = job->row_limit;
    x->max_rows = job->max_rows;
    x->max_bytes = job->max_bytes;
    x->inline_max = job->inline_max;
    for (uint32_t i = 0; i < WIRE_SLOTS && rc == 0 && !job->plan_only; i++)
        if (!x->slots[i].given)
            rc = give(x, i, e);
    return begun(x, rc, e);
}

/* ---- frames ---- */

static int on_planned(struct engine *x, const uint8_t *p, uint32_t n, struct engine_event *ret)
{
    struct wire_planned *m = &ret->planned;
    if (x->planned)
        return lied(x, ret, "planned twice");
    if (wire_get_planned(p, n, x->arena, m))
        return lied(x, ret, "PLANNED does not decode");
    if (m->job != x->job)
        return lied(x, ret, "an answer to another job");
    x->planned = true;
    x->planned_kind = m->kind;
    x->has_columns = m->schema && m->schema->ncolumns > 0;
    ret->type = ENGINE_PLANNED;
    return 0;
}

/* Adds rows; false when the limits of the job are passed. */
static bool count_rows(struct engine *x, uint64_t rows, uint64_t bytes)
{
    if (__builtin_add_overflow(x->rows, rows, &x->rows) || __builtin_add_overflow(x->bytes, bytes, &x->bytes))
        return false;
    if (x->max_rows && x->rows > x->max_rows)
        return false;
    if (x->max_bytes && x->bytes > x->max_bytes && x->bytes - x->max_bytes > slot__size())
        return false;
    return x->planned_kind != WIRE_KIND_ROWS || x->row_limit < 0 || x->rows <= (uint64_t)x->row_limit;
}

static int on_batch(struct engine *x, const uint8_t *p, uint32_t n, struct engine_event *ret, struct err *e)
{
    struct wire_batch m;
    if (wire_get_batch(p, n, &m))
        return lied(x, ret, "BATCH does not decode");
    if (m.job != x->job)
        return lied(x, ret, "an answer to another job");
    if (!x->planned)
        return lied(x, ret, "a batch before the plan");
    if (!x->has_columns)
        return lied(x, ret, "a batch of a statement without columns");
    if (m.slot >= WIRE_SLOTS || !x->slots[m.slot].given)
        return lied(x, ret, "a batch in memory that it was not given");
    x->slots[m.slot].given = false;
    if (!count_rows(x, m.rows, m.body_len))
        return lied(x, ret, "more rows or bytes than the job allows");
    const char *lie = NULL;
    int rc = slot__read(&x->slots[m.slot], &m, &x->copy, &ret->batch, &lie, e);
    if (rc == ERR_CORRUPT)
        return lied(x, ret, lie);
    if (rc)
        return give_up(x, rc);
    x->batch_slot = (int)m.slot;
    ret->type = ENGINE_BATCH;
    return 0;
}

/* The inline batch moves to aligned memory that lives as long as the job. Its index begins: u32 magic, 3 x
 * u32, u64 rows. */
static int take_inline(struct engine *x, struct wire_done *m, uint64_t *ret_rows)
{
    uint8_t *index = arena_alloc(x->arena, m->index_len), *body = arena_alloc(x->arena, m->body_len);
    if (!index || !body)
        return ERR_NOMEM;
    memcpy(index, m->index, m->index_len);
    if (m->body_len)
        memcpy(body, m->body, m->body_len);
    memcpy(ret_rows, index + 16, sizeof *ret_rows);
    m->index = index;
    m->body = body;
    return 0;
}

static int on_done(struct engine *x, const uint8_t *p, uint32_t n, struct engine_event *ret, struct err *e)
{
    struct wire_done *m = &ret->done;
    if (wire_get_done(p, n, m))
        return lied(x, ret, "DONE does not decode");
    if (m->job != x->job)
        return lied(x, ret, "an answer to another job");
    if (!x->planned)
        return lied(x, ret, "done before the plan");
    uint64_t rows = 0;
    if (m->index_len || m->body_len) {
        if (!x->has_columns || x->plan_only)
            return lied(x, ret, "rows of a statement that has none");
        if (m->index_len < batch_index_size(0, 0))
            return lied(x, ret, "index length out of range");
        if (m->body_len > x->inline_max)
            return lied(x, ret, "an inline result that is too large");
        int rc = take_inline(x, m, &rows);
        if (rc)
            return give_up(x, err_set(e, rc, NULL, "out of memory"));
    }
    if (!count_rows(x, rows, m->body_len))
        return lied(x, ret, "more rows or bytes than the job allows");
    if (m->rows != x->rows)
        return lied(x, ret, "row counts that do not add up");
    job_over(x, m->reusable);
    ret->type = ENGINE_DONE;
    return 0;
}

static int on_failed(struct engine *x, const uint8_t *p, uint32_t n, struct engine_event *ret)
{
    struct wire_failed *m = &ret->failed;
    if (wire_get_failed(p, n, m))
        return lied(x, ret, "FAILED does not decode");
    if (m->job != x->job)
        return lied(x, ret, "an answer to another job");
    job_over(x, m->reusable && m->kind != WIRE_FAIL_FATAL);
    ret->type = ENGINE_FAILED;
    return 0;
}

static int on_script(struct engine *x, const uint8_t *p, uint32_t n, struct engine_event *ret)
{
    struct wire_script *m = &ret->script;
    if (wire_get_script(p, n, x->arena, m))
        return lied(x, ret, "SCRIPT does not decode");
    if (m->job != x->job)
        return lied(x, ret, "an answer to another job");
    if (!x->may_split || x->planned)
        return lied(x, ret, "a script where none was asked for");
    for (uint32_t i = 0; i < m->npieces; i++)
        if (m->pieces[i].at > x->sql_len || m->pieces[i].n > x->sql_len - m->pieces[i].at)
            return lied(x, ret, "a statement outside of the text");
    job_over(x, true);
    ret->type = ENGINE_SCRIPT;
    return 0;
}

static int on_want(struct engine *x, const uint8_t *p, uint32_t n, struct engine_event *ret)
{
    uint64_t job, batches;
    if (wire_get_want(p, n, &job, &batches))
        return lied(x, ret, "WANT does not decode");
    if (job != x->job)
        return lied(x, ret, "an answer to another job");
    if (!x->follows || batches <= x->wanted)
        return lied(x, ret, "batches that it may not ask for");
    x->wanted = batches;
    ret->type = ENGINE_WANT;
    ret->want = batches;
    return 0;
}

static int on_frame(struct engine *x, enum wire_type t, const uint8_t *p, uint32_t n,
                    struct engine_event *ret, struct err *e)
{
    x->last_frame_ns = sys_mono_ns();
    switch (t) {
    case WIRE_PLANNED:
        return on_planned(x, p, n, ret);
    case WIRE_BATCH:
        return on_batch(x, p, n, ret, e);
    case WIRE_DONE:
        return on_done(x, p, n, ret, e);
    case WIRE_FAILED:
        return on_failed(x, p, n, ret);
    case WIRE_SCRIPT:
        return on_script(x, p, n, ret);
    case WIRE_BEAT:
        if (wire_get_beat(p, n, &ret->beat))
            return lied(x, ret, "BEAT does not decode");
        if (ret->beat.job != x->job)
            return lied(x, ret, "an answer to another job");
        ret->type = ENGINE_BEAT;
        return 0;
    case WIRE_WANT:
        return on_want(x, p, n, ret);
    case WIRE_SETUP:
    case WIRE_JOB:
    case WIRE_MEMFD:
    case WIRE_CANCEL:
    case WIRE_QUIT:
    case WIRE_RENDER:
    case WIRE_MORE:
    case WIRE_READY:
        break;
    }
    return lied(x, ret, "a frame out of turn");
}

/* Gives back the batch the caller has looked at, and its credit. 0 to go on, 1 when *ret holds the end. */
static int recycle(struct engine *x, struct engine_event *ret, struct err *e)
{
    if (x->batch_slot < 0)
        return 0;
    uint32_t slot = (uint32_t)x->batch_slot;
    x->batch_slot = -1;
    int rc = give(x, slot, e);
    if (rc == 0 || rc == ERR_END)
        return 0; /* gone: frames that it sent before are still read */
    if (ours(rc))
        return give_up(x, rc);
    (void)send_failed(x, ret, rc);
    return 1;
}

int engine_next(struct engine *x, int64_t deadline_ns, struct engine_event *ret, struct err *e)
{
    ASSERT(x->magic == ENGINE_MAGIC);
    pthread_mutex_lock(&x->send_mu);
    bool live = x->job_live;
    pthread_mutex_unlock(&x->send_mu);
    if (!live)
        return err_set(e, ERR_INTERNAL, "XX000", "no job is running in this engine");
    if (x->liar)
        return lied(x, ret, x->liar_text);
    int rc = recycle(x, ret, e);
    if (rc)
        return rc > 0 ? 0 : rc;
    for (;;) {
        enum wire_type t;
        const uint8_t *p;
        uint32_t n;
        if (atomic_load(&x->cancel)) {
            rc = send_cancel(x);
            if (rc == ERR_TIMEOUT)
                return hung(x, ret);
        }
        rc = link__next(x, &t, &p, &n);
        if (rc == 0)
            return on_frame(x, t, p, n, ret, e);
        if (rc == ERR_CORRUPT)
            return lied(x, ret, "bytes that are no frame");
        if (rc == ERR_END)
            return gone(x, ret);
        if (rc != ERR_WOULDBLOCK)
            return give_up(x, err_set(e, rc, NULL, "out of memory"));
        int64_t now = sys_mono_ns(), silence = MS_NS(CONF(engine_silence)),
                until = x->last_frame_ns + silence;
        if (now >= until)
            return hung(x, ret);
        if (now >= deadline_ns || atomic_exchange(&x->woken, false)) {
            ret->type = ENGINE_TICK;
            return 0;
        }
        if (deadline_ns < until)
            until = deadline_ns;
        link__wait(x, until);
        /* Not scheduled for a long time (the machine or the daemon was stopped): the child was perhaps
         * stopped as well. */
        if (sys_mono_ns() > until + silence / 2)
            x->last_frame_ns = sys_mono_ns();
    }
}

void engine_release(struct engine *x)
{
    ASSERT(x->magic == ENGINE_MAGIC);
    pthread_mutex_lock(&x->send_mu);
    bool live = x->job_live;
    x->job_live = false;
    pthread_mutex_unlock(&x->send_mu);
    pool__put(x, !live && x->reusable);
}

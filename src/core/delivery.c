/*
 * delivery: finished results to a bucket as files, and reused results to the queries that asked for them, on
 * delivery.threads threads of its own; holds no engine slot. Whose is next is the rule of queries (turns.h): one
 * workspace's long files hold another one's back by at most one.
 *
 * What is written, under which name and in which format, is the dialect's plan (service.h). The results are
 * sealed and committed before (phase DELIVERING), so that a restart resumes here. The file of rows comes
 * first, the metadata file last: its presence means "complete" (Kakao page section 5). Each is written under a
 * temporary name and renamed. A failed delivery ends the query FAILED; the ends race with a cancel as
 * everywhere, and what was delivered for a query that lost is removed.
 */
#include <stdlib.h>

#include "base/config.h"
#include "base/log.h"
#include "base/sys.h"
#include "core/delivery_int.h"
#include "core/render.h"
#include "results/bucket.h"

#define CHUNK   (256u * 1024u)
#define WAIT_NS 100000000

static bool canceled(struct query *q)
{
    pthread_mutex_lock(&q->lock);
    bool c = query_state_ended(q->rec.state);
    pthread_mutex_unlock(&q->lock);
    return c;
}

/* One line of text per row, for EXPLAIN and the like. */
static int text_rows(enum text_profile p, const struct window *w, struct buf *out)
{
    for (uint64_t i = 0; i < w->rows; i++) {
        if (w->schema->ncolumns > 0 && !window_is_null(&w->columns[0], i))
            value_text(p, &w->columns[0], i, out);
        buf_char(out, '\n');
    }
    return buf_failed(out) ? ERR_LIMIT : 0;
}

struct file_job {
    struct delivery *d;
    struct query *q;
    const struct result *res;
    struct segment *seg;
    const struct delivery_plan *plan;
    struct encode_state state;
    struct bucket_upload *upload;
    bool text; /* lines, not rows */
    uint64_t bytes;
};

static int put(struct file_job *j, struct buf *b, struct err *e)
{
    int rc = b->len ? bucket_write(j->upload, b->p, b->len, e) : 0;
    j->bytes += b->len;
    buf_reset(b);
    return rc;
}

static int write_rows(struct delivery *d, struct file_job *j, struct segment_scratch *x, struct err *e)
{
    CLEANUP_BUF struct buf b = BUF_INIT((size_t)1 << 30);
    const struct encoder *enc = j->plan->encoder;
    const struct encode_options *o = &j->plan->options;
    int rc = j->text ? 0 : encode_head(enc, o, &j->state, segment_schema(j->seg), &b, e);
    uint64_t row = 0, total = segment_rows(j->seg);
    while (!rc && row < total) {
        struct window w;
        rc = segment_window(j->seg, row, 65536, CHUNK, x, &w, e);
        if (rc)
            break;
        uint64_t next = w.rows;
        if (j->text)
            rc = text_rows(o->profile, &w, &b);
        else
            rc = encode_rows(enc, o, &j->state, &w, 0, w.rows, SIZE_MAX, &b, &next, e);
        row += next;
        if (!rc && (b.len >= CHUNK || row >= total))
            rc = put(j, &b, e);
        if (d->stop || canceled(j->q))
            return ERR_CANCELED;
    }
    if (!rc && !j->text)
        rc = encode_tail(enc, o, &j->state, segment_schema(j->seg), &b, e);
    return rc ? rc : put(j, &b, e);
}

static int put_piece(void *arg, const void *p, size_t n, struct err *e)
{
    struct file_job *j = arg;
    if (j->d->stop || canceled(j->q))
        return ERR_CANCELED;
    j->bytes += n;
    return bucket_write(j->upload, p, n, e);
}

/* A file that a render process makes, perhaps since its query ran (q->ahead). This thread waits for it; a cancel or a
 * stop ends that. */
static int write_rendering(struct delivery *d, struct file_job *j, struct err *e)
{
    struct rendering *r;
    int rc = render_start_result(d->service, j->q, j->res, j->plan->render, &r, e);
    if (rc)
        return rc;
    do
        rc = d->stop || canceled(j->q) ? ERR_CANCELED : rendering_wait(r, sys_mono_ns() + WAIT_NS, e);
    while (rc == ERR_WOULDBLOCK);
    if (!rc)
        rc = rendering_write(r, put_piece, j, e);
    render_drop_ahead(j->q); /* after that, so that it is found */
    rendering_close(r);
    return rc;
}

static int put_file(struct delivery *d, struct file_job *j, const char *url, struct err *e)
{
    int rc = bucket_begin(url, j->plan->key, &j->upload, e);
    if (rc)
        return rc;
    if (j->plan->render && !j->text) {
        rc = write_rendering(d, j, e);
    } else {
        struct segment_scratch *x = segment_scratch_new();
        rc = x ? write_rows(d, j, x, e) : err_set(e, ERR_NOMEM, "53200", "out of memory");
        segment_scratch_free(x);
    }
    if (rc) {
        bucket_abort(j->upload);
        return rc;
    }
    return bucket_commit(j->upload, e);
}

static int put_metadata(struct service *s, struct query *q, uint64_t rows, const char *url, const char *key,
                        struct err *e)
{
    delivery_metadata_fn fn = s->metadata[q->rec.dialect];
    if (!fn)
        return 0;
    struct query_view v;
    query_view(q, &v);
    v.rows = rows;
    CLEANUP_BUF struct buf b = BUF_INIT((size_t)64 << 20);
    struct bucket_upload *u;
    int rc = fn(&v, &b);
    if (rc)
        return err_set(e, rc, "XX000", "the metadata file could not be made");
    rc = bucket_begin(url, key, &u, e);
    if (rc)
        return rc;
    rc = bucket_write(u, b.p, b.len, e);
    if (!rc)
        return bucket_commit(u, e);
    bucket_abort(u);
    return rc;
}

static int write_files(struct delivery *d, struct query *q, const struct result *res, struct arena *a,
                       const struct delivery_plan *plan, struct err *e)
{
    struct service *s = d->service;
    struct file_job j = {
        .d = d, .q = q, .res = res, .plan = plan, .text = plan->text_lines && q->rec.kind == WIRE_KIND_TEXT};
    const char *url = NULL;
    int rc = workspace_bucket_url(s->workspaces, q->rec.workspace, q->rec.bucket, a, &url, e);
    if (!rc)
        rc = res->is_inline ? segment_inline(&q->rec.id, res->ordinal, res->schema, res->index,
                                             res->index_len, res->body, res->body_len, &j.seg, e)
                            : spool_open_result(s->spool, &q->rec.id, res->ordinal, &res->origin, &res->facts,
                                                &j.seg, e);
    if (!rc)
        rc = put_file(d, &j, url, e);
    if (!rc && plan->metadata_key)
        rc = put_metadata(s, q, res->rows, url, plan->metadata_key, e);
    if (!rc && canceled(q)) {
        if (plan->metadata_key)
            (void)!bucket_remove(url, plan->metadata_key, NULL);
        (void)!bucket_remove(url, plan->key, NULL);
    } else if (!rc) {
        pthread_mutex_lock(&q->lock);
        q->rec.stored = true;
        q->rec.file_bytes = j.bytes;
        q->rec.file_replaced = j.state.unmapped;
        pthread_mutex_unlock(&q->lock);
    }
    segment_unref(j.seg);
    return rc;
}

/* res: taken under the query's lock, since a cancel may take it away meanwhile; it stays in the arena. */
static int deliver(struct delivery *d, struct query *q, const struct result *res, struct err *e)
{
    struct arena *a = arena_new(1u << 20);
    struct delivery_plan plan;
    int rc = a ? delivery__plan(d->service, q, a, &plan, e) : err_set(e, ERR_NOMEM, "53200", "out of memory");
    if (!rc && plan.key)
        rc = write_files(d, q, res, a, &plan, e);
    arena_free(a);
    return rc;
}

static void drop_files(struct delivery *d, struct query *q, const struct result *res, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (res[i].sealed)
            service__remove_file(d->service, q, res[i].ordinal);
}

static void one(struct delivery *d, struct query *q)
{
    struct err e;
    err_clear(&e);
    if (canceled(q)) {
        if (q->redelivers)
            delivery__unmake(d->service, q);
        return;
    }
    if (q->source_set && !reuse_take(d->service, q)) {
        scheduler_push(d->service->scheduler, q, false); /* the source is gone: it runs like any other */
        return;
    }
    pthread_mutex_lock(&q->lock);
    struct result *res = q->rec.results, *shown = query_shown_result(q);
    uint32_t n = q->rec.nresults;
    pthread_mutex_unlock(&q->lock);
    int rc = q->rec.bucket && shown ? deliver(d, q, shown, &e) : 0;
    if (rc == ERR_CANCELED && d->stop)
        return; /* the next start resumes */
    if (rc == 0) {
        if (!service__end(q, END_FINISHED, NULL, res, n))
            drop_files(d, q, res, n);
        return;
    }
    if (rc != ERR_CANCELED)
        log_event(LOG_WARN, "core", "a result could not be delivered to its bucket", "error", e.text, NULL);
    service__end(q, END_DELIVERY, &e, NULL, 0);
    drop_files(d, q, res, n);
}

static void node_free(struct delivery_node *n)
{
    render_drop_ahead(n->q);
    query_unref(n->q);
    free(n);
}

static void *delivery_main(void *arg)
{
    struct delivery *d = arg;
    pthread_setname_np(pthread_self(), "q-deliver");
    pthread_mutex_lock(&d->lock);
    while (!d->stop) {
        struct delivery_node *n = (struct delivery_node *)(void *)turns_take(d->turns);
        if (!n) {
            pthread_cond_wait(&d->cond, &d->lock);
            continue;
        }
        pthread_mutex_unlock(&d->lock);
        one(d, n->q);
        pthread_mutex_lock(&d->lock);
        turns_done(d->turns, n->q->rec.workspace);
        d->backlog--;
        pthread_mutex_unlock(&d->lock);
        node_free(n);
        pthread_mutex_lock(&d->lock);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

int delivery_start(struct service *s, struct delivery **ret, struct err *e)
{
    struct delivery *d = calloc(1, sizeof *d);
    if (!d)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    d->service = s;
    d->turns = turns_new();
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->cond, NULL);
    *ret = d;
    bool ok = d->turns != NULL;
    for (int64_t i = 0; ok && i < config.delivery_threads; i++) {
        ok = pthread_create(&d->threads[d->nthreads], NULL, delivery_main, d) == 0;
        d->nthreads += ok;
    }
    return ok ? 0 : err_set(e, ERR_NOMEM, "53000", "cannot start the delivery threads");
}

void delivery_stop(struct delivery *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_broadcast(&d->cond);
    pthread_mutex_unlock(&d->lock);
    for (int i = 0; i < d->nthreads; i++)
        pthread_join(d->threads[i], NULL);
    for (struct turn_item *n; d->turns && (n = turns_drop(d->turns));)
        node_free((struct delivery_node *)(void *)n);
    turns_free(d->turns);
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->cond);
    free(d);
}

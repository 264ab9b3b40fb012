/*
 * delivery: finished results to a bucket as files, and reused results to the queries that asked for them, on
 * one thread of its own; holds no engine slot.
 *
 * The results are sealed and committed before (phase DELIVERING), so that a restart resumes here. Files:
 * {path}/{id}.csv, then {path}/{id}.metadata last: its presence means "complete" (Kakao page section 5). Each
 * is written under a temporary name and renamed. A failed delivery ends the query FAILED; the ends race with
 * a cancel as everywhere, and what was delivered for a query that lost is removed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sys.h"
#include "core/service_int.h"
#include "results/bucket.h"

#define CHUNK (256u * 1024u)

struct delivery_node {
    struct query *q;
    struct delivery_node *next;
};

struct delivery {
    struct service *service;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct delivery_node *head, **tail;
    bool running;
    int backlog;
    atomic_bool stop;
};

static bool canceled(struct query *q)
{
    pthread_mutex_lock(&q->lock);
    bool c = query_state_ended(q->rec.state);
    pthread_mutex_unlock(&q->lock);
    return c;
}

/* One line of text per row, for EXPLAIN and the like. */
static int text_rows(const struct window *w, struct buf *out)
{
    for (uint64_t i = 0; i < w->rows; i++) {
        if (w->schema->ncolumns > 0 && !window_is_null(&w->columns[0], i))
            value_text(TEXT_KAKAO, &w->columns[0], i, out);
        buf_char(out, '\n');
    }
    return buf_failed(out) ? ERR_LIMIT : 0;
}

struct csv_job {
    struct query *q;
    struct segment *seg;
    const struct encoder *csv;
    struct encode_options options;
    struct encode_state state;
    bool text;
};

static int write_rows(struct delivery *d, struct csv_job *j, struct bucket_upload *u,
                      struct segment_scratch *x, struct err *e)
{
    CLEANUP_BUF struct buf b = BUF_INIT((size_t)1 << 30);
    int rc = j->text ? 0 : j->csv->head(&j->options, segment_schema(j->seg), &b, e);
    uint64_t row = 0, total = segment_rows(j->seg);
    while (!rc && row < total) {
        struct window w;
        rc = segment_window(j->seg, row, 65536, CHUNK, x, &w, e);
        if (rc)
            break;
        uint64_t next = w.rows;
        if (j->text)
            rc = text_rows(&w, &b);
        else
            rc = j->csv->rows(&j->options, &j->state, &w, 0, w.rows, SIZE_MAX, &b, &next, e);
        row += next;
        if (!rc && (b.len >= CHUNK || row >= total)) {
            rc = bucket_write(u, b.p, b.len, e);
            buf_reset(&b);
        }
        if (d->stop || canceled(j->q))
            return ERR_CANCELED;
    }
    if (!rc && !j->text)
        rc = j->csv->tail(&j->options, &j->state, segment_schema(j->seg), &b, e);
    if (!rc && b.len)
        rc = bucket_write(u, b.p, b.len, e);
    return rc;
}

static int put_csv(struct delivery *d, struct csv_job *j, const char *url, const char *key, struct err *e)
{
    struct bucket_upload *u;
    int rc = bucket_begin(url, key, &u, e);
    if (rc)
        return rc;
    struct segment_scratch *x = segment_scratch_new();
    rc = x ? write_rows(d, j, u, x, e) : err_set(e, ERR_NOMEM, "53200", "out of memory");
    segment_scratch_free(x);
    if (rc) {
        bucket_abort(u);
        return rc;
    }
    return bucket_commit(u, e);
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

/* res: taken under the query's lock, since a cancel may take it away meanwhile; it stays in the arena. */
static int deliver(struct delivery *d, struct query *q, const struct result *res, struct err *e)
{
    struct service *s = d->service;
    struct arena *a = arena_new(1u << 20);
    char id[ID_TEXT_MAX];
    const char *url = NULL, *path = q->rec.path ? q->rec.path : "";
    struct csv_job j = {
        .q = q,
        .csv = encoder_find("csv"),
        .text = q->rec.kind == WIRE_KIND_TEXT,
        .options = {.profile = TEXT_KAKAO, .header = true, .separator = "", .quote_all = true}};
    if (!a)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    id_kakao(&q->rec.id, id);
    const char *slash = path[0] ? "/" : "";
    const char *csv = arena_printf(a, "%s%s%s.csv", path, slash, id),
               *meta = arena_printf(a, "%s%s%s.metadata", path, slash, id);
    int rc = workspace_bucket_url(s->workspaces, q->rec.workspace, q->rec.bucket, a, &url, e);
    if (!rc)
        rc = res->is_inline ? segment_inline(&q->rec.id, res->ordinal, res->schema, res->index,
                                             res->index_len, res->body, res->body_len, &j.seg, e)
                            : spool_open_result(s->spool, &q->rec.id, res->ordinal, &res->origin, &res->facts,
                                                &j.seg, e);
    if (!rc)
        rc = put_csv(d, &j, url, csv, e);
    if (!rc)
        rc = put_metadata(s, q, res->rows, url, meta, e);
    if (!rc && canceled(q)) {
        (void)!bucket_remove(url, meta, NULL);
        (void)!bucket_remove(url, csv, NULL);
    }
    segment_unref(j.seg);
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
    if (canceled(q))
        return;
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
        pthread_mutex_lock(&q->lock);
        q->rec.stored = q->rec.bucket != NULL;
        pthread_mutex_unlock(&q->lock);
        if (!service__end(q, END_FINISHED, NULL, res, n))
            drop_files(d, q, res, n);
        return;
    }
    if (rc != ERR_CANCELED)
        log_event(LOG_WARN, "core", "a result could not be delivered to its bucket", "error", e.text, NULL);
    service__end(q, END_DELIVERY, &e, NULL, 0);
    drop_files(d, q, res, n);
}

static void *delivery_main(void *arg)
{
    struct delivery *d = arg;
    pthread_setname_np(pthread_self(), "q-deliver");
    pthread_mutex_lock(&d->lock);
    while (!d->stop) {
        struct delivery_node *n = d->head;
        if (!n) {
            pthread_cond_wait(&d->cond, &d->lock);
            continue;
        }
        d->head = n->next;
        if (!d->head)
            d->tail = &d->head;
        pthread_mutex_unlock(&d->lock);
        one(d, n->q);
        query_unref(n->q);
        free(n);
        pthread_mutex_lock(&d->lock);
        d->backlog--;
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

void delivery_push(struct delivery *d, struct query *q)
{
    struct delivery_node *n = malloc(sizeof *n);
    ASSERT(n);
    *n = (struct delivery_node){query_ref(q), NULL};
    pthread_mutex_lock(&d->lock);
    *d->tail = n;
    d->tail = &n->next;
    d->backlog++;
    pthread_cond_signal(&d->cond);
    pthread_mutex_unlock(&d->lock);
}

int delivery_backlog(struct delivery *d)
{
    pthread_mutex_lock(&d->lock);
    int n = d->backlog;
    pthread_mutex_unlock(&d->lock);
    return n;
}

int delivery_start(struct service *s, struct delivery **ret, struct err *e)
{
    struct delivery *d = calloc(1, sizeof *d);
    if (!d)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    d->service = s;
    d->tail = &d->head;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->cond, NULL);
    d->running = pthread_create(&d->thread, NULL, delivery_main, d) == 0;
    *ret = d;
    return d->running ? 0 : err_set(e, ERR_NOMEM, "53000", "cannot start the delivery thread");
}

void delivery_stop(struct delivery *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_signal(&d->cond);
    pthread_mutex_unlock(&d->lock);
    if (d->running)
        pthread_join(d->thread, NULL);
    while (d->head) {
        struct delivery_node *n = d->head;
        d->head = n->next;
        query_unref(n->q);
        free(n);
    }
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->cond);
    free(d);
}

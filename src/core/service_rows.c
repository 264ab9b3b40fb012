/*
 * service_rows: reading results and lists. All calls block (disk, registry): worker threads only.
 */
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/sys.h"
#include "core/service_int.h"
#include "results/bucket.h"

struct rows {
    struct query *q;
    struct segment *segment;
    bool complete;
};

static int apply_exposed(struct registry *r, struct registry_write *w, struct err *e)
{
    return registry_put_exposed(r, &((struct query_write *)(void *)w)->q->rec.id, e);
}

/* The flag is durable before the first early row leaves: after a restart the same statement might give other
 * rows. */
static int expose(struct service *s, struct query *q, struct err *e)
{
    struct query_write w = {.w = {.apply = apply_exposed}, .q = q};
    int rc = registry_do(s->registry, &w.w, e);
    if (rc)
        return rc;
    pthread_mutex_lock(&q->lock);
    q->exposing = true;
    q->rec.exposed = true;
    pthread_mutex_unlock(&q->lock);
    return 0;
}

static int apply_note(struct registry *r, struct registry_write *w, struct err *e)
{
    struct query_write *qw = (struct query_write *)(void *)w;
    return registry_put_note(r, &qw->q->rec.id, qw->runs, e);
}

int service_note(struct service *s, struct query *q, uint32_t note, struct err *e)
{
    struct query_write w = {.w = {.apply = apply_note}, .q = q, .runs = note};
    pthread_mutex_lock(&q->lock);
    q->rec.note = note;
    pthread_mutex_unlock(&q->lock);
    return registry_do(s->registry, &w.w, e);
}

/* Remembers that q's segment is open; pushes out the one opened SEGMENTS_OPEN opens ago. */
static void remember_open(struct service *s, struct query *q)
{
    pthread_mutex_lock(&s->table_lock);
    struct query **slot = &s->open[s->open_next++ % SEGMENTS_OPEN], *old = *slot;
    *slot = query_ref(q);
    pthread_mutex_unlock(&s->table_lock);
    if (!old)
        return;
    struct segment *seg = NULL;
    pthread_mutex_lock(&old->lock);
    if (old != q && !old->live_segment) {
        seg = old->segment;
        old->segment = NULL;
    }
    pthread_mutex_unlock(&old->lock);
    segment_unref(seg);
    query_unref(old);
}

int service__open_result(struct service *s, struct query *q, const struct result *res, struct segment **ret,
                         struct err *e)
{
    if (res->is_inline)
        return segment_inline(&q->rec.id, res->ordinal, res->schema, res->index, res->index_len, res->body,
                              res->body_len, ret, e);
    int rc = spool_open_result(s->spool, &q->rec.id, res->ordinal, &res->origin, &res->facts, ret, e);
    if (rc != ERR_GONE)
        return rc;
    pthread_mutex_lock(&q->lock);
    bool gone = query_gone(q); /* since the caller looked: its file goes after that */
    pthread_mutex_unlock(&q->lock);
    if (gone)
        return err_set(e, ERR_GONE, "02000", "the result was deleted or has expired");
    /* The manifest says that the file is there: its absence is damage, not expiry. */
    segment_count_corrupt();
    return err_set(e, ERR_CORRUPT, "XX001", "the stored result is corrupt: its file is missing");
}

static const struct result *choose(struct query *q, uint32_t ordinal)
{
    for (uint32_t i = 0; i < q->rec.nresults; i++)
        if (q->rec.results[i].ordinal == ordinal)
            return &q->rec.results[i];
    return NULL;
}

static int rows_new(struct query *q, struct segment *seg, bool complete, struct rows **ret, struct err *e)
{
    struct rows *r = malloc(sizeof *r);
    if (!r) {
        segment_unref(seg);
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    }
    *r = (struct rows){query_ref(q), seg, complete};
    *ret = r;
    return 0;
}

/* Of a query that runs: the result is complete (res), or its rows are still coming (seg), or there is none. */
static int open_early(struct service *s, struct query *q, const struct result *res, struct segment *seg,
                      struct rows **ret, struct err *e)
{
    if (res ? !res->schema : !seg)
        return err_set(e, ERR_CONFLICT, "55000", "the query has no rows yet");
    pthread_mutex_lock(&q->lock);
    bool exposed = q->exposing;
    pthread_mutex_unlock(&q->lock);
    int rc = exposed ? 0 : expose(s, q, e);
    if (!rc && res)
        rc = service__open_result(s, q, res, &seg, e);
    if (rc) {
        segment_unref(seg);
        return rc;
    }
    return rows_new(q, seg, res != NULL, ret, e);
}

int rows_open(struct service *s, struct query *q, uint32_t ordinal, struct rows **ret, struct err *e)
{
    pthread_mutex_lock(&q->lock);
    enum query_state state = q->shown;
    bool gone = query_gone(q);
    bool ended = query_state_ended(state), one = ordinal == UINT32_MAX;
    const struct result *shown =
        state == QUERY_FINISHED || (!ended && !q->multi) ? query_shown_result(q) : NULL;
    const struct result *res = one ? shown : choose(q, ordinal);
    bool held = ended && res && res == shown && q->segment && !q->live_segment;
    bool live = !ended && !res && q->segment && q->live_segment &&
                (one ? !q->multi : ordinal == (q->multi ? q->statement : 0));
    struct segment *seg = held || live ? segment_ref(q->segment) : NULL;
    pthread_mutex_unlock(&q->lock);
    if (gone) {
        segment_unref(seg);
        return err_set(e, ERR_GONE, "02000", "the result was deleted or has expired");
    }
    if (!ended)
        return open_early(s, q, res, seg, ret, e);
    if (!res || !res->schema)
        return err_set(e, ERR_CONFLICT, "55000", "the query has no rows to read");
    if (!seg) {
        int rc = service__open_result(s, q, res, &seg, e);
        if (rc)
            return rc;
        pthread_mutex_lock(&q->lock);
        bool cache = res == shown && !q->segment;
        if (cache)
            q->segment = segment_ref(seg);
        pthread_mutex_unlock(&q->lock);
        if (cache)
            remember_open(s, q);
    }
    return rows_new(q, seg, true, ret, e);
}

bool rows_at_once(struct query *q)
{
    pthread_mutex_lock(&q->lock);
    const struct result *res = q->shown == QUERY_FINISHED && !q->live_segment ? query_shown_result(q) : NULL;
    bool held = res && res->schema && res->is_inline && (!q->segment || segment_inline_held(q->segment));
    pthread_mutex_unlock(&q->lock);
    return held;
}

void rows_close(struct rows *r)
{
    if (!r)
        return;
    segment_unref(r->segment);
    query_unref(r->q);
    free(r);
}

struct segment *rows_segment(struct rows *r)
{
    return r->segment;
}

bool rows_complete(const struct rows *r)
{
    return r->complete;
}

struct sources *service_sources(struct service *s)
{
    return s->sources;
}

int service_default_bucket(struct service *s, const struct identity *who, struct arena *a, const char **ret,
                           struct err *e)
{
    return workspace_default_bucket(s->workspaces, who->workspace, a, ret, e);
}

int service_bucket_url(struct service *s, const struct query_view *v, struct arena *a, const char **ret,
                       struct err *e)
{
    if (!v->bucket)
        return err_set(e, ERR_NOTFOUND, "02000", "the query delivers no file");
    return workspace_bucket_url(s->workspaces, v->workspace, v->bucket, a, ret, e);
}

/* ---- lists ---- */

/* States by their names; ids as Kakao spells them, second and then random part (base/id.h), which for the ids
 * of one second is not the order of the bytes. */
static const char *const sort_sql[] = {
    [SORT_CREATED] = "created_ms",
    [SORT_ID] = "substr(id, 1, 5)",
    [SORT_TEXT] = "substr(sql, 1, 300)",
    [SORT_STATE] = "CASE state WHEN 5 THEN 0 WHEN 4 THEN 1 WHEN 3 THEN 2 WHEN 1 THEN 3 ELSE 4 END",
    [SORT_ELAPSED] = "elapsed_ns",
    [SORT_SCANNED] = "bytes_scanned",
    [SORT_CREATOR] = "user_name",
    [SORT_STORAGE] = "storage_url",
};
_Static_assert(QUERY_QUEUED == 1 && QUERY_FINISHED == 3 && QUERY_FAILED == 4 && QUERY_CANCELED == 5,
               "the order of states by name");

static void order_text(const struct list_filter *f, struct buf *out)
{
    for (uint32_t i = 0; i < f->norders; i++) {
        const char *way = f->orders[i].desc ? "DESC" : "ASC";
        buf_printf(out, "%s %s, ", sort_sql[f->orders[i].by], way);
        if (f->orders[i].by == SORT_ID)
            buf_printf(out, "substr(id, 9) %s, ", way);
    }
    buf_str_add(out, "created_ms DESC, seq DESC");
}

int service_list_ids(struct service *s, const struct identity *who, const struct list_filter *f,
                     struct arena *a, struct qid **ret_ids, size_t *ret_n, uint64_t *ret_total, struct err *e)
{
    CLEANUP_BUF struct buf order = BUF_INIT(1024);
    order_text(f, &order);
    bool own = config.access_queries != 0 && who->role != ROLE_ADMIN;
    struct registry_list_filter rf = {.workspace = who->workspace,
                                      .states = f->states,
                                      .creator = f->creator,
                                      .id = f->id,
                                      .offset = f->offset,
                                      .limit = f->limit,
                                      .by_created = f->norders == 0 ||
                                                    (f->norders == 1 && f->orders[0].by == SORT_CREATED),
                                      .desc = f->norders == 0 || f->orders[0].desc,
                                      .order_sql = buf_str(&order),
                                      .user = own ? who->user : 0,
                                      .there_ms = f->there ? sys_wall_ms() : 0};
    *ret_ids = NULL;
    *ret_n = 0;
    *ret_total = 0;
    return registry_list(s->registry, &rf, a, ret_ids, ret_n, ret_total, e);
}

int service_list_get(struct service *s, const struct qid *id, struct query **ret, struct err *e)
{
    struct query *q = service__lookup(s, id);
    if (!q)
        return service__load(s, id, ret, e);
    *ret = q;
    return 0;
}

int service_list(struct service *s, const struct identity *who, const struct list_filter *f, struct list *ret,
                 struct err *e)
{
    struct arena *a = arena_new((size_t)64 << 20);
    if (!a)
        return err_set(e, ERR_NOMEM, "53200", "out of memory");
    struct qid *ids;
    size_t n;
    uint64_t total;
    int rc = service_list_ids(s, who, f, a, &ids, &n, &total, e);
    struct query **list = rc || n == 0 ? NULL : calloc(n, sizeof(struct query *));
    if (!rc && n > 0 && !list)
        rc = err_set(e, ERR_NOMEM, "53200", "out of memory");
    uint32_t filled = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        struct query *q;
        rc = service_list_get(s, &ids[i], &q, e);
        if (rc == ERR_NOTFOUND) { /* history retention took it between the two reads */
            rc = 0;
            continue;
        }
        if (!rc)
            list[filled++] = q;
    }
    arena_free(a);
    struct list l = {list, filled, total};
    if (rc)
        list_free(&l);
    else
        *ret = l;
    return rc;
}

void list_free(struct list *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        query_unref(l->queries[i]);
    free(l->queries);
    *l = (struct list){NULL, 0, 0};
}

const struct qid *rows_query_id(const struct rows *r)
{
    return &r->q->rec.id;
}
